"""A linear probe: logistic regression on a backbone's features."""

from typing import Any, Final

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int64
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from pose_lightning.activity.model import ActivityClassifier
from pose_lightning.errors import UserError

STEPS: Final = 500
SMALLEST: Final = 1e-6
"""Spread below which a feature counts as constant."""


def fit(
    features: Float[Tensor, "n f"], labels: Int64[Tensor, " n"], *, classes: int, penalty: float
) -> tuple[Float[Tensor, "k f"], Float[Tensor, " k"]]:
    """Weights and biases of the logistic regression on standardized features, for features as they are.

    It minimizes the mean cross-entropy plus `penalty` times the sum of the squared weights, by L-BFGS from zeros. Each
    feature is brought to mean 0 and standard deviation 1 for it, since features of one backbone differ many times in
    spread and one penalty is to mean the same for all; weights and biases undo that.

    Args:
        features: Of the pictures to learn from.
        labels: Their classes, 0 to `classes` - 1.
        classes: How many there are.
        penalty: 0 or more.

    Raises:
        UserError: If a feature is not finite.
    """
    values = features.detach().double().cpu()
    if not values.isfinite().all():
        raise UserError("the backbone's features are not finite; its weights do not fit these pictures")
    mean, spread = values.mean(dim=0), values.std(dim=0, correction=0)
    spread = torch.where(spread < SMALLEST, torch.inf, spread)  # a constant feature says nothing
    scaled, truth = (values - mean) / spread, labels.cpu()
    weight = torch.zeros(classes, values.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def objective() -> Tensor:
        search.zero_grad()
        value = F.cross_entropy(scaled @ weight.T + bias, truth) + penalty * weight.square().sum()
        torch.autograd.backward(value)
        return value

    with torch.enable_grad():
        search.step(objective)  # type: ignore[no-untyped-call]
    raw = weight.detach() / spread
    return raw.float(), (bias.detach() - raw @ mean).float()


def training_features(
    model: ActivityClassifier, trainer: pl.Trainer
) -> tuple[Float[Tensor, "n f"], Int64[Tensor, " n"]]:
    """What the head sees of the training pictures as evaluation shows them, and their labels; those of all ranks."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    loader = data.evaluation_loader("train")
    rows = []
    model.eval()
    with torch.no_grad():
        for batch in track(loader, "probing the backbone", len(loader), disable=not trainer.is_global_zero):
            here: Any = trainer.strategy.batch_to_device(batch)  # runs the data module's hooks too
            learned = here["weight"] * (here["index"] < data.training_length())  # limit_samples are the first ones
            rows.append((model.features(here["image"]), here["label"], learned))
    model.train()
    columns = [torch.cat(column) for column in zip(*rows, strict=True)]
    if trainer.world_size > 1:
        gathered: list[Any] = [trainer.strategy.all_gather(column) for column in columns]
        columns = [column.flatten(0, 1) for column in gathered]
    features, labels, learned = columns
    return features[learned > 0], labels[learned > 0]
