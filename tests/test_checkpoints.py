"""A run that stops at any hook and goes on from its last checkpoint ends as if nothing had happened."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from pose_lightning.checkpoints import AtomicCheckpointIO, RunCheckpoints


class KilledError(Exception):
    """Stands for a kill: nothing runs after it."""


class Batches:
    """Six batches an epoch, each a pure function of (epoch, batch), from wherever the trainer stands."""

    def __init__(self, accumulation: int) -> None:
        self.trainer: pl.Trainer | None = None
        self.length = 6 * accumulation

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Tensor]:
        assert self.trainer is not None
        epoch = self.trainer.current_epoch
        start = self.trainer.fit_loop.epoch_loop.batch_progress.current.completed
        for index in range(start, self.length):
            yield torch.randn(4, 3, generator=torch.Generator().manual_seed(1000 * epoch + index)) + index


class Line(pl.LightningModule):
    """The smallest network that Adam's state matters to."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(3, 1)
        self.trained: list[tuple[int, int]] = []
        self.validated: list[tuple[int, float]] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.trained.append((self.current_epoch, batch_idx))
        return self.line(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/score", self.line(batch).mean())

    def on_validation_epoch_end(self) -> None:
        self.validated.append((self.global_step, self.line.weight.sum().item()))

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


@dataclass
class Outcome:
    weights: Tensor
    step: int
    best: float | None
    trained: set[tuple[int, int]] = field(default_factory=set)
    validated: set[tuple[int, float]] = field(default_factory=set)


def run(directory: Path, *, moment: int, budget: dict[str, Any], accumulation: int) -> tuple[Outcome, bool]:
    """Train, from `last.ckpt` where there is one; returns the outcome and whether it came to the end."""
    torch.manual_seed(0)
    module, batches = Line(), Batches(accumulation)
    checkpoints = RunCheckpoints(directory, monitor="val/score", mode="max", every_n_steps=2)
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accumulate_grad_batches=accumulation,
        plugins=[AtomicCheckpointIO()],
        callbacks=[checkpoints, KillAt(moment)],
        **budget,
    )
    batches.trainer = trainer
    last = directory / "last.ckpt"
    whole = True
    try:
        validation = torch.utils.data.DataLoader(torch.ones(4, 3), batch_size=2)  # type: ignore[arg-type]
        trainer.fit(module, batches, validation, ckpt_path=last if last.is_file() else None, weights_only=True)
    except KilledError:
        whole = False
    weights = module.line.weight.detach().clone()
    outcome = Outcome(weights, trainer.global_step, checkpoints.best_score)
    outcome.trained, outcome.validated = set(module.trained), set(module.validated)
    return outcome, whole


BUDGETS = {
    "epochs": {"max_epochs": 3},
    "validation inside epochs": {"max_epochs": 2, "val_check_interval": 2},
    "validation every other epoch": {"max_epochs": 4, "check_val_every_n_epoch": 2},
    "steps": {"max_steps": 15, "max_epochs": -1},
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


def check(directory: Path, budget: dict[str, Any], accumulation: int, stride: int) -> None:
    undisturbed, _ = run(directory / "undisturbed", moment=0, budget=budget, accumulation=accumulation)
    last = torch.load(directory / "undisturbed" / "last.ckpt", weights_only=True)
    assert last["global_step"] == undisturbed.step  # the final weights are there
    moments, whole = 0, False
    for moment in range(1, 1000, stride):
        folder = directory / str(moment)
        killed, whole = run(folder, moment=moment, budget=budget, accumulation=accumulation)
        if whole:
            break
        moments += 1
        resumed, finished = run(folder, moment=0, budget=budget, accumulation=accumulation)
        assert finished
        assert torch.equal(resumed.weights, undisturbed.weights), f"killed at hook {moment}"
        assert (resumed.step, resumed.best) == (undisturbed.step, undisturbed.best), f"killed at hook {moment}"
        assert killed.trained | resumed.trained == undisturbed.trained
        assert killed.validated | resumed.validated == undisturbed.validated
    assert whole
    assert moments > 5


@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS.keys())
def test_a_run_killed_at_a_hook_ends_as_if_nothing_had_happened(tmp_path: Path, budget: dict[str, Any]) -> None:
    check(tmp_path, budget, accumulation=1, stride=11)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning")
@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS.keys())
def test_a_run_killed_at_every_hook_ends_as_if_nothing_had_happened(
    tmp_path: Path, budget: dict[str, Any], accumulation: int
) -> None:
    check(tmp_path, budget, accumulation=accumulation, stride=1)


def test_a_failed_save_leaves_the_checkpoint_before_it(tmp_path: Path) -> None:
    saver, path = AtomicCheckpointIO(), tmp_path / "checkpoints" / "last.ckpt"
    saver.save_checkpoint({"step": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        saver.save_checkpoint({"step": (n for n in range(3))}, path)
    assert saver.load_checkpoint(path, weights_only=True) == {"step": 1}


def test_a_score_that_is_not_a_number_is_never_the_best(tmp_path: Path) -> None:
    checkpoints = RunCheckpoints(tmp_path, monitor="val/score", mode="min", every_n_steps=1)
    improved = [checkpoints._improved(torch.tensor(value)) for value in (float("nan"), 2.0, 3.0, float("-inf"), 1.0)]
    assert improved == [False, True, False, False, True]
