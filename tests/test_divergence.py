"""A training whose loss is no number ends, says where, and keeps the checkpoint from before."""

import csv
import math
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from pose_lightning import divergence, fit
from pose_lightning.divergence import DivergedError, LossWatch
from pose_lightning.runs import RunDirectory
from pose_lightning.sweep.results import outcome
from tests.test_fit import arguments, with_callback


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


class Spoil(pl.Callback):
    """Makes the weights no numbers after a step, or the loss of one batch."""

    def __init__(self, step: int, value: float) -> None:
        self.step, self.value = step, value

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step - 1:
            batch["image"].fill_(self.value)


def test_a_run_whose_loss_is_no_number_ends_with_the_step_and_the_checkpoint_before(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_callback(monkeypatch, Spoil(7, float("nan")))
    with pytest.raises(SystemExit) as stop:
        fit.main(arguments(demo_stores, tmp_path, "--trainer.log_every_n_steps=4"))
    assert stop.value.code == 2
    run = RunDirectory(next(tmp_path.glob("*/*")))
    error = capsys.readouterr().err
    assert "the loss is nan at step 7 (epoch 1)" in error
    assert f"{run.last}, of step 6, is from before" in error
    kept = torch.load(run.last, weights_only=True)
    assert kept["global_step"] == 6
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
    with (run.path / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert (last["step"], last["train/loss_step"]) == ("7", "nan")
    assert outcome(run.path) == "diverged"


def test_a_part_of_a_step_whose_loss_is_no_number_ends_the_run_before_a_save(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SpoilPart(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
            if (trainer.global_step, batch_idx % 2) == (7, 0):
                batch["image"].fill_(torch.nan)

    with_callback(monkeypatch, SpoilPart())
    with pytest.raises(DivergedError, match=r"the loss is nan at step 8 .*, of step 7, is from before"):
        fit.fit(arguments(demo_stores, tmp_path, "--trainer.accumulate_grad_batches=2", "--checkpoint.every_n_steps=1"))
    run = RunDirectory(next(tmp_path.glob("*/*")))
    kept = torch.load(run.last, weights_only=True)
    assert kept["global_step"] == 7
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


def diverge(rank: int, port: int, out: str) -> None:
    """One of two processes, of which the second has a loss that is no number."""
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)
    watch, trainer = LossWatch(), SimpleNamespace(world_size=2, loggers=[], current_epoch=0)
    for step in (1, 2, 3):
        watch.see(torch.tensor(math.inf if (rank, step) == (1, 2) else 0.5), step)
    try:
        watch.check(trainer, "")  # type: ignore[arg-type]
    except DivergedError as error:
        Path(out, str(rank)).write_text(str(error))
    torch.distributed.destroy_process_group()


@pytest.mark.ddp
def test_every_process_ends_when_the_loss_of_one_is_no_number(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(diverge, (port, str(tmp_path)), nprocs=2)  # type: ignore[attr-defined]
    said = [(tmp_path / str(rank)).read_text() for rank in range(2)]
    assert all("at step 2 (epoch 0): the training has diverged" in each for each in said)


@pytest.mark.filterwarnings("ignore::pose_lightning.training.collapse.CollapseWarning")
def test_weights_that_are_no_numbers_are_never_saved(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Explode(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
            if trainer.global_step == 10:  # the last
                next(module.parameters()).data.fill_(torch.inf)

    with_callback(monkeypatch, Explode())
    with pytest.raises(DivergedError, match=r"the last step, 10, has left weights that are no numbers.*of step 8"):
        fit.fit(arguments(demo_stores, tmp_path))
    run = RunDirectory(next(tmp_path.glob("*/*")))
    assert torch.load(run.last, weights_only=True)["global_step"] == 8
    assert outcome(run.path) == "diverged"


def test_the_watch_keeps_the_first_step_and_its_loss() -> None:
    watch = LossWatch()
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False)
    for step, loss in enumerate((0.5, float("inf"), 0.25, float("nan")), start=1):
        watch.see(torch.tensor(loss), step)
    with pytest.raises(DivergedError, match="the loss is inf at step 2"):
        watch.check(trainer, "")


def test_a_finite_loss_goes_on() -> None:
    watch = LossWatch()
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    watch.check(trainer, "")
    watch.see(torch.tensor(1e30), 1)
    watch.check(trainer, "")
    assert divergence.finite(pl.LightningModule())
