"""Validation that says nothing any more: one warning, and none for a healthy run."""

import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn
from torchmetrics import Metric

from pose_lightning.heatmap.data import PoseData
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.training import collapse
from pose_lightning.training.collapse import CollapseWarning, CollapseWatch


class Spoil(Callback):
    """Spoils the network before every validation."""

    def __init__(self, norm_shift: float = 0.0, constant: float | None = None) -> None:
        self.norm_shift, self.constant = norm_shift, constant

    def on_validation_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for module in pl_module.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean += self.norm_shift  # type: ignore[operator]
        if self.constant is not None:
            for head in pl_module.model.stacks:
                nn.init.zeros_(head.heatmaps.weight)
                nn.init.constant_(head.heatmaps.bias, self.constant)


SMALL = partial(StackedHourglass, stacks=1, features=8, depth=2)


def fitted(
    root: Path, *callbacks: Callback, steps: int = 8, momentum: float = 0.5, **settings: Any
) -> HeatmapEstimation:
    """Two validations, after four steps each; the norms' statistics settle within seven steps."""
    pl.seed_everything(1)
    module = HeatmapEstimation(network=SMALL, **{"optimizer": "adam", "lr": 1e-3, **settings})
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.momentum = momentum
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        val_check_interval=4,
        check_val_every_n_epoch=None,
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=PoseData(root, 5, input_size=64, num_threads=1))
    return module


def caught(root: Path, *callbacks: Callback, **settings: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        fitted(root, *callbacks, **settings)
    return [str(each.message) for each in found if issubclass(each.category, CollapseWarning)]


def test_a_healthy_run_is_not_warned_about_and_not_touched(demo_stores: Path) -> None:
    states = []
    for callbacks in ((), (CollapseWatch(),)):
        module = fitted(demo_stores, *callbacks, steps=16)
        random = torch.get_rng_state()
        metrics = {name: value.clone() for name, value in module.trainer.callback_metrics.items()}
        states.append({**module.state_dict(), **metrics, "random": random})
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


def test_statistics_gone_wrong_are_told_once_with_both_losses(demo_stores: Path) -> None:
    (said,) = caught(demo_stores, Spoil(norm_shift=-20.0), CollapseWatch(), steps=16)
    assert said.startswith("validation collapsed at step 8: the running statistics of ")
    assert "batch norms do not fit" in said
    assert "may help" in said


def test_statistics_that_have_not_settled_are_not_blamed(demo_stores: Path) -> None:
    assert not caught(demo_stores, Spoil(norm_shift=-20.0), CollapseWatch(), steps=16, momentum=0.1)


def test_frozen_statistics_are_not_blamed(demo_stores: Path) -> None:
    class Freeze(Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
            for module in pl_module.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    assert not caught(demo_stores, Freeze(), Spoil(norm_shift=-20.0), CollapseWatch(), steps=16)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_empty_heatmaps_are_told_once_they_should_not_be(
    demo_stores: Path, loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not caught(demo_stores, Spoil(constant=0.3), CollapseWatch(), loss=loss)
    monkeypatch.setattr(collapse, "GRACE", 4)
    (said,) = caught(demo_stores, Spoil(constant=0.3), CollapseWatch(), loss=loss)
    assert said.startswith("validation collapsed at step 4: every heatmap is empty")


def test_heatmaps_that_are_not_finite_are_told_once(demo_stores: Path) -> None:
    (said,) = caught(demo_stores, Spoil(constant=float("nan")), CollapseWatch(), steps=4)
    assert said == "validation collapsed at step 4: the network's outputs are not finite (NaN or infinite)"


def test_a_resumed_run_does_not_say_it_again(demo_stores: Path) -> None:
    first, second = CollapseWatch(), CollapseWatch()
    assert caught(demo_stores, Spoil(norm_shift=-20.0), first, steps=16)
    second.load_state_dict(first.state_dict())
    assert not caught(demo_stores, Spoil(norm_shift=-20.0), second, steps=16)


def test_a_look_aside_leaves_the_metrics_alone() -> None:
    class Total(Metric):
        total: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

        def update(self, value: float) -> None:
            self.total += value

        def compute(self) -> Tensor:
            return self.total

    module = nn.Module()
    module.seen = Total()
    module.seen.update(1.0)
    with collapse._aside(module):
        module.seen.update(2.0)
        assert module.seen.compute() == 3
    assert module.seen.compute() == 1


class TwoProcesses:
    """A strategy whose other process has other samples; it notes what was agreed on."""

    def __init__(self, others: bool, losses: tuple[float, float]) -> None:
        self.others, self.losses = others, torch.tensor(losses, dtype=torch.float64)
        self.asked: list[bool] = []

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        self.asked.append(decision)
        return decision and self.others

    def reduce(self, value: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "sum"
        return value + self.losses


@pytest.mark.parametrize(("samples", "live", "others"), [(4, True, False), (1, True, True), (4, False, True)])
def test_no_process_runs_a_training_pass_that_another_does_not(
    samples: int, live: bool, others: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "_loss", lambda *_: pytest.fail("a forward pass"))
    watch, strategy = CollapseWatch(), TwoProcesses(others, (0, 0))
    trainer: Any = SimpleNamespace(state=SimpleNamespace(fn="fit"), sanity_checking=False, strategy=strategy)
    watch._live = [nn.BatchNorm2d(1)] if live else []
    watch.on_validation_batch_start(trainer, pl.LightningModule(), {"weight": torch.ones(samples)}, 0)
    assert strategy.asked == [samples > 1 and live]


@pytest.mark.parametrize(("others", "warned"), [((0.0, 0.0), []), ((9.0, 0.0), ["statistics"])])
def test_all_processes_judge_the_same_losses(
    others: tuple[float, float], warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collapse, "_loss", lambda *_: 1.0)
    watch, strategy = CollapseWatch(), TwoProcesses(True, others)
    state = SimpleNamespace(fn="fit")
    trainer: Any = SimpleNamespace(state=state, sanity_checking=False, strategy=strategy, global_step=4)
    watch._live = [nn.BatchNorm2d(1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watch.on_validation_batch_start(trainer, pl.LightningModule(), {"weight": torch.ones(2)}, 0)
    assert watch.warned == warned
