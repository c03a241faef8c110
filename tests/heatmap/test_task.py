"""The task: what its loss divides by, and that ranks change nothing."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from pose_lightning.errors import UserError
from pose_lightning.heatmap.data import PoseData
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.heatmap.task import HeatmapEstimation

SMALL = partial(StackedHourglass, stacks=1, features=8, depth=2)


class NormFree(nn.Module):
    """A network without batch norm, whose gradient over a batch is the sum over its parts."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(3)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.Conv2d(8, 16, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)[:, None]


def task(**arguments: Any) -> HeatmapEstimation:
    module = HeatmapEstimation(network=SMALL, sigma=2.0, optimizer="sgd", lr=0.1, **arguments)
    module.model = NormFree()  # type: ignore[assignment]
    return module


def data(root: Path, batch_size: int = 6) -> PoseData:
    return PoseData(root, batch_size, input_size=64, num_threads=1)


def trainer(**arguments: Any) -> pl.Trainer:
    settings: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "max_epochs": 1, "num_sanity_val_steps": 0}
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(**{**settings, **quiet, **arguments})


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_accumulated_batches_weigh_every_labelled_joint_the_same(demo_stores: Path, loss: str) -> None:
    whole, parts = task(loss=loss), task(loss=loss)
    trainer(max_steps=3).fit(whole, data(demo_stores))
    trainer(max_steps=3, accumulate_grad_batches=3).fit(parts, data(demo_stores))
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_masked_joints_leave_no_trace_and_zeroed_ones_do() -> None:
    heatmaps = torch.ones(1, 1, 16, 16, 16)
    labelled = torch.ones(1, 16, dtype=torch.bool)
    labelled[0, 9] = False
    batch = {"joints": torch.full((1, 16, 2), 20.0), "labelled": labelled, "weight": torch.ones(1)}
    batch["joints"][0, 9] = torch.nan
    masked, zeroed = task(missing="mask")._losses(heatmaps, batch), task(missing="zero")._losses(heatmaps, batch)
    assert masked[0, 9] == 0
    assert zeroed[0, 9] == 1  # a map of ones against an empty one
    assert_close(masked[0, :9], zeroed[0, :9])


def test_a_sample_of_weight_zero_has_no_loss() -> None:
    batch = {"joints": torch.full((2, 16, 2), 20.0), "labelled": torch.ones(2, 16, dtype=torch.bool)}
    losses = task(missing="zero")._losses(torch.ones(2, 1, 16, 16, 16), {**batch, "weight": torch.tensor([1.0, 0.0])})
    assert losses[0].all()
    assert not losses[1].any()


def test_cross_entropy_refuses_empty_targets() -> None:
    with pytest.raises(UserError, match="missing=zero needs loss=mse"):
        HeatmapEstimation(loss="cross_entropy", missing="zero", network=SMALL)


@pytest.mark.parametrize("sigma", [0.0, -2.0, float("nan"), float("inf")])
def test_maps_without_a_width_are_refused(sigma: float) -> None:
    with pytest.raises(UserError, match=r"model\.sigma=.* is out of range; it is above 0"):
        HeatmapEstimation(network=SMALL, sigma=sigma, optimizer="sgd", lr=0.1)


def test_predictions_are_in_image_px_and_flipping_back_agrees(demo_stores: Path) -> None:
    module = task()
    module.flip_test = True
    source = data(demo_stores)
    source.predict_split = "val"
    batches = trainer().predict(module, datamodule=source)
    assert batches
    with source.store("val") as store:
        center, box = store.labels["center"], store.labels["box"]
    for batch in batches:
        index = batch["index"].numpy()
        assert batch["preds"].dtype == torch.float64
        offset = abs(batch["preds"].numpy() - center[index][:, None]) / box[index][:, None, None]
        assert offset.max() <= 0.5  # inside the person's box, whatever the network says


@pytest.mark.parametrize("missing", ["mask", "zero"])
def test_the_losses_of_samples_add_up_to_the_validation_loss(demo_stores: Path, missing: str) -> None:
    module, source = task(missing=missing), data(demo_stores)
    logged = trainer().validate(module, datamodule=source, verbose=False)[0]["val/loss"]
    source.predict_split = "val"
    batches = trainer().predict(module, datamodule=source)
    assert batches
    loss, counted = (sum(float(batch[name].sum()) for batch in batches) for name in ("loss", "counted"))
    assert all(len(batch["loss"]) == len(batch["index"]) for batch in batches)
    assert loss / counted == pytest.approx(logged, rel=1e-6)
