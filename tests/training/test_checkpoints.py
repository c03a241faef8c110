"""A run that stops at any hook and goes on from its last checkpoint ends as if nothing had happened."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pose_lightning import sealed
from pose_lightning.history import MetricsFile, MetricsLogger
from pose_lightning.randomness import RandomStates
from pose_lightning.signals import Stopped, StopRequest
from pose_lightning.task import Task
from pose_lightning.training.checkpoints import AtomicCheckpointIO, RunCheckpoints
from tests.exact import differences


class KilledError(Exception):
    """Stands for a kill: nothing runs after it."""


class Batches:
    """Six batches an epoch, each a pure function of (epoch, batch), from wherever the trainer stands."""

    def __init__(self, accumulation: int) -> None:
        self.trainer: pl.Trainer | None = None
        self.length = 6 * accumulation

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        assert self.trainer is not None
        epoch = self.trainer.current_epoch
        start = self.trainer.fit_loop.epoch_loop.batch_progress.current.completed
        for index in range(start, self.length):
            yield {"values": torch.randn(4, 3, generator=torch.Generator().manual_seed(1000 * epoch + index)) + index}


class Line(Task):
    """The smallest network that Adam's state and dropout's randomness matter to."""

    def __init__(self) -> None:
        super().__init__(optimizer="adam", lr=0.01)
        self.line = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 1))
        self.trained: list[tuple[int, int]] = []

    def training_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        self.trained.append((self.current_epoch, self.trainer.fit_loop.epoch_loop.batch_idx))
        return self.line(batch["values"]).square().sum(), torch.tensor(len(batch["values"]))

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/score", self.line(batch).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.01)


class KillAt(pl.Callback):
    """Kills at the n-th hook; hooks are where Lightning's own state is half-way between two others."""

    HOOKS = (
        "on_train_epoch_start",
        "on_train_batch_start",
        "on_before_zero_grad",
        "on_before_optimizer_step",
        "on_train_batch_end",
        "on_validation_start",
        "on_validation_batch_end",
        "on_validation_epoch_end",
        "on_validation_end",
        "on_train_epoch_end",
    )

    def __init__(self, moment: int) -> None:
        self.moment, self.passed = moment, 0

    def tick(self, *_: Any, **__: Any) -> None:
        self.passed += 1
        if self.passed == self.moment:
            raise KilledError


for hook in KillAt.HOOKS:
    setattr(KillAt, hook, KillAt.tick)


class SignalAt(KillAt):
    """Sends the process a signal at the n-th hook; it is to be obeyed where the run can go on, after so long."""

    def tick(self, *_: Any, **__: Any) -> None:
        self.passed += 1
        if self.passed == self.moment:
            os.kill(os.getpid(), (signal.SIGTERM, signal.SIGUSR1)[self.moment % 2])


for hook in SignalAt.HOOKS:
    setattr(SignalAt, hook, SignalAt.tick)


@dataclass
class Outcome:
    last: dict[str, Any]
    metrics: str
    step: int
    best: float | None
    trained: set[tuple[int, int]]


def run(
    directory: Path, *, budget: dict[str, Any], accumulation: int, disturb: pl.Callback | None = None
) -> tuple[Outcome, bool]:
    """Train, from `last.ckpt` where there is one; returns the outcome and whether it came to the end."""
    pl.seed_everything(0)
    module, batches = Line(), Batches(accumulation)
    request = StopRequest()
    checkpoints = RunCheckpoints(directory, monitor="val/score", mode="max", every_n_steps=2, request=request)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        accumulate_grad_batches=accumulation,
        plugins=[AtomicCheckpointIO()],
        callbacks=[checkpoints, *([disturb] if disturb else [])],
        **budget,
    )
    trainer.callbacks.insert(0, RandomStates(trainer))  # type: ignore[attr-defined]
    directory.mkdir(exist_ok=True)
    trainer.loggers = [MetricsLogger(MetricsFile(directory / "metrics.csv"), lambda step: 4 * step)]
    batches.trainer = trainer
    last = directory / "last.ckpt"
    whole = True
    try:
        validation = torch.utils.data.DataLoader(torch.ones(4, 3), batch_size=2)  # type: ignore[arg-type]
        with request.listening():
            trainer.fit(module, batches, validation, ckpt_path=last if last.is_file() else None, weights_only=True)
    except (KilledError, Stopped):
        whole = False
    metrics = (directory / "metrics.csv").read_text() if (directory / "metrics.csv").is_file() else ""
    kept = torch.load(last, weights_only=True) if last.is_file() else {}
    return Outcome(kept, metrics, trainer.global_step, checkpoints.best_score, set(module.trained)), whole


BUDGETS = {
    "epochs": {"max_epochs": 3},
    "no validation": {"max_epochs": 3, "limit_val_batches": 0},
    "validation between the parts of a step": {"max_epochs": 2, "val_check_interval": 3},
    "validation inside epochs": {"max_epochs": 2, "val_check_interval": 2},
    "validation every other epoch": {"max_epochs": 4, "check_val_every_n_epoch": 2},
    "steps": {"max_steps": 15, "max_epochs": -1},
    "steps that end with a validation": {"max_steps": 12, "max_epochs": -1},
    "steps that end with a validation inside an epoch": {"max_steps": 11, "max_epochs": -1, "val_check_interval": 5},
    "validation that no epoch ends with": {
        "max_steps": 18,
        "max_epochs": -1,
        "val_check_interval": 10,
        "check_val_every_n_epoch": None,
    },
    "steps, validation across epochs": {
        "max_steps": 15,
        "max_epochs": -1,
        "val_check_interval": 4,
        "check_val_every_n_epoch": None,
    },
}


def check(directory: Path, budget: dict[str, Any], accumulation: int, stride: int, disturb: type[KillAt]) -> None:
    undisturbed, _ = run(directory / "undisturbed", budget=budget, accumulation=accumulation)
    assert undisturbed.last["global_step"] == undisturbed.step  # the final weights are there
    moments, whole = 0, False
    for moment in range(1, 1000, stride):
        folder = directory / str(moment)
        killed, whole = run(folder, budget=budget, accumulation=accumulation, disturb=disturb(moment))
        if whole:
            break
        moments += 1
        resumed, finished = run(folder, budget=budget, accumulation=accumulation)
        assert finished
        place = f"{disturb.__name__} at hook {moment}"
        for key in ("state_dict", "optimizer_states", "callbacks"):
            assert not list(differences(resumed.last[key], undisturbed.last[key], key)), place
        assert resumed.metrics == undisturbed.metrics, place
        assert (resumed.step, resumed.best) == (undisturbed.step, undisturbed.best), place
        assert killed.trained | resumed.trained == undisturbed.trained
        sealed.verify(folder / "last.ckpt")
    assert whole
    assert moments > 3


@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric MeanMetric")  # as `cli` does
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS.keys())
@pytest.mark.parametrize(("disturb", "accumulation"), [(KillAt, 1), (SignalAt, 2)], ids=["killed", "told to stop"])
def test_a_run_stopped_at_a_hook_ends_as_if_nothing_had_happened(
    tmp_path: Path, budget: dict[str, Any], disturb: type[KillAt], accumulation: int
) -> None:
    check(tmp_path, budget, accumulation=accumulation, stride=17, disturb=disturb)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric MeanMetric")  # as `cli` does
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("disturb", [KillAt, SignalAt], ids=["killed", "told to stop"])
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS.keys())
def test_a_run_stopped_at_every_hook_ends_as_if_nothing_had_happened(
    tmp_path: Path, budget: dict[str, Any], disturb: type[KillAt], accumulation: int
) -> None:
    check(tmp_path, budget, accumulation=accumulation, stride=1, disturb=disturb)


@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric MeanMetric")  # as `cli` does
@pytest.mark.parametrize("budget", ["epochs", "no validation", "steps"])
def test_a_finished_run_that_is_resumed_leaves_its_checkpoints_alone(tmp_path: Path, budget: str) -> None:
    run(tmp_path, budget=BUDGETS[budget], accumulation=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {"last.ckpt", "last.prev.ckpt"} <= before.keys()
    run(tmp_path, budget=BUDGETS[budget], accumulation=1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_failed_save_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    saver, path = AtomicCheckpointIO(), tmp_path / "checkpoints" / "last.ckpt"
    state = {"state_dict": {}, "global_step": 1}
    saver.save_checkpoint(state, path)
    with pytest.raises(Exception, match="pickle"):
        saver.save_checkpoint({"step": (n for n in range(3))}, path)
    assert saver.load_checkpoint(path, weights_only=True) == state


def test_a_score_that_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path, monitor="val/score", mode="min", every_n_steps=1)
    improved = [checkpoints._improved(torch.tensor(value)) for value in (float("nan"), 2.0, 3.0, float("-inf"), 1.0)]
    assert improved == [False, True, False, False, True]
