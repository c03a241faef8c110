"""A warning where validation collapses: what a curve shows hours later, and does not explain."""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.utilities import rank_zero_warn
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchmetrics import Metric

from pose_lightning.recomputation import still_statistics

FLAT: Final = 0.01
"""Heatmaps are called empty where no map's highest value lies further above its lowest; a target's peak is 1."""

WORSE: Final = 1.5
"""How many times larger a loss must be with running statistics than with a batch's own to blame them."""

GRACE: Final = 100
"""Optimizer steps before which heatmaps may be empty: some networks start with almost nothing."""

SETTLED: Final = 0.01
"""Share of a batch norm's start that may be left in its running statistics before they are judged."""


class CollapseWarning(UserWarning):
    """Validation says nothing about the network any more."""


class CollapseWatch(Callback):
    """Warns, once for each, of outputs that are not finite, of empty heatmaps, and of batch norms gone wrong.

    A validation step returns its network's outputs for this, by name: maps as `heatmaps`. Batch norms are put to the
    test on the first batch of a validation: in a network that has learned, one loss with their running statistics and
    one with the batch's own are alike. Of norms that are frozen or whose statistics are still near their start nothing
    is said.

    Source: the issues of several hourglass repositories (bearpaw/pytorch-pose 4, 33 and 58; princeton-vl's
    pytorch_stacked_hourglass 27, 34, 44 and 45), where training went well and validation was chance.
    """

    def __init__(self) -> None:
        self.warned: list[str] = []
        self._updates: dict[str, int] = {}
        self._start: dict[str, int] = {}
        self._live: list[_BatchNorm] = []
        self._found = torch.zeros(2)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note where the batch norms' counters stand."""
        self._updates = self._start = _updates(pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the batch norms that train, before averaged weights take the place of those in training."""
        self._found = torch.zeros(2, device=pl_module.device)
        self._live = []
        if trainer.state.fn != "fit" or trainer.sanity_checking or "statistics" in self.warned:
            return
        updates = _updates(pl_module)
        for name, norm in _norms(pl_module):
            if updates[name] > self._updates.get(name, 0) and norm.momentum is not None:
                left = (1 - norm.momentum) ** (updates[name] - self._start.get(name, 0))
                if left < SETTLED:
                    self._live.append(norm)
        self._updates = updates

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Compare the first batch's loss with running statistics and with its own."""
        if batch_idx or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        # every process runs the forward passes or none does: a synchronised batch norm waits for all of them
        ready = bool(self._live) and len(batch["weight"]) > 1
        if not trainer.strategy.reduce_boolean_decision(ready, all=True):
            return
        with _aside(pl_module):
            running = _loss(trainer, pl_module, batch)
            for norm in self._live:
                norm.train()
            with still_statistics(pl_module):
                own = _loss(trainer, pl_module, batch)
            for norm in self._live:
                norm.eval()
        losses = torch.tensor([running, own], dtype=torch.float64, device=pl_module.device)
        running, own = trainer.strategy.reduce(losses, reduce_op="sum").tolist()
        if math.isfinite(own) and not running <= WORSE * own:
            self._warn(
                "statistics",
                trainer,
                f"the running statistics of {len(self._live)} batch norms do not fit: on one validation batch the loss "
                f"is {running:.3g} with them and {own:.3g} with the batch's own; a smaller model.lr, or more samples "
                "per device (on GPUs --trainer.sync_batchnorm=true), may help",
            )

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at the outputs; their verdict stays on the device."""
        if not isinstance(outputs, Mapping):
            return
        unfit = torch.stack([~torch.isfinite(each).all() for each in outputs.values()]).any()
        spread = torch.full_like(self._found[1], torch.inf)
        if (maps := outputs.get("heatmaps")) is not None:
            spread = (maps.amax(dim=(-2, -1)) - maps.amin(dim=(-2, -1))).max().float()
        self._found = torch.stack([unfit.float(), spread]).maximum(self._found)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say what was seen."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or {"finite", "empty"} <= set(self.warned):
            return
        unfit, spread = trainer.strategy.reduce(self._found, reduce_op="max").tolist()
        if unfit:
            self._warn("finite", trainer, "the network's outputs are not finite (NaN or infinite)")
        elif spread < FLAT and trainer.global_step >= GRACE:
            self._warn(
                "empty",
                trainer,
                f"every heatmap is empty: none rises by more than {spread:.2g}, where a target's peak is 1; another "
                "model.lr or model.loss=cross_entropy may help, if more training does not",
            )

    def state_dict(self) -> dict[str, Any]:
        """What has been said."""
        return {"warned": list(self.warned)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do not say it again when a run is resumed."""
        self.warned = list(state_dict["warned"])

    def _warn(self, what: str, trainer: pl.Trainer, text: str) -> None:
        if what not in self.warned:
            self.warned.append(what)
            rank_zero_warn(f"validation collapsed at step {trainer.global_step}: {text}", category=CollapseWarning)


def _norms(module: nn.Module) -> list[tuple[str, _BatchNorm]]:
    return [
        (name, each)
        for name, each in module.named_modules()
        if isinstance(each, _BatchNorm) and each.num_batches_tracked is not None
    ]


def _updates(module: nn.Module) -> dict[str, int]:
    """How many batches each batch norm has counted."""
    norms = _norms(module)
    if not norms:
        return {}
    counts = torch.stack([torch.as_tensor(norm.num_batches_tracked) for _, norm in norms]).tolist()
    return {name: int(count) for (name, _), count in zip(norms, counts, strict=True)}


def _loss(trainer: pl.Trainer, module: Any, batch: Any) -> float:
    with torch.no_grad(), trainer.precision_plugin.forward_context():
        total, _ = module.training_loss(batch)
    return float(total)


@contextmanager
def _aside(module: nn.Module) -> Iterator[None]:
    """While it lasts, a task's metrics are copies: what is added to them is forgotten."""
    metrics = {name: each for name, each in module.named_children() if isinstance(each, Metric)}
    for name, metric in metrics.items():
        setattr(module, name, copy.deepcopy(metric))
    try:
        yield
    finally:
        for name, metric in metrics.items():
            setattr(module, name, metric)
