"""metrics.csv and W&B report how a run really ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from pose_lightning import fit
from pose_lightning.errors import UserError
from pose_lightning.history import read_metrics
from pose_lightning.runs import RunDirectory
from pose_lightning.training import slurm
from tests import tracked
from tests.test_fit import arguments, with_callback


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def the_run(runs: Path) -> RunDirectory:
    return RunDirectory(next(runs.glob("*/*/wandb")).parent)


def test_a_run_is_tracked_with_its_rate_its_best_score_and_its_evaluation(demo_stores: Path, tmp_path: Path) -> None:
    schedule = [
        "--model.schedule_unit=steps",
        "--model.schedule=multistep",
        "--model.milestones=[8]",
        "--model.decay=0.5",
        "--model.lr=0.002",
    ]
    run = RunDirectory(fit.fit(arguments(demo_stores, tmp_path, *schedule)))
    rows = read_metrics(run.path / "metrics.csv")
    rates = {int(row["step"]): float(row["lr"]) for row in rows if row["lr"]}
    assert rates[1] == pytest.approx(0.002 * 1e-3)  # the rate of the step itself, in the warm-up of 6 steps
    assert (rates[7], rates[8], rates[9]) == (0.002, 0.002, 0.001)
    assert all(row["lr"] for row in rows if row["train/loss_step"])
    sent = tracked.history(run.path)
    assert [row["lr"] for row in sent if "lr" in row] == list(rates.values())

    assert tracked.exit_code(run.path) == 0
    summary = tracked.summary(run.path)
    scores = [float(row["val/pckh"]) for row in rows if row["val/pckh"]]
    assert summary["best/val/pckh"] == pytest.approx(max(scores))
    measures = json.loads((run.path / "metrics.json").read_text())["measures"]
    assert summary["evaluation/pckh@0.5/mean_16"] == measures["pckh@0.5"]["mean_16"]["value"]
    assert [row["evaluation/table/_type"] for row in sent if "evaluation/table/_type" in row] == ["html-file"]
    shown = next(run.path.glob("wandb/offline-run-*/files/media/html/evaluation/*.html")).read_text()
    assert "<td>pckh@0.5/mean_16</td>" in shown


class At(pl.Callback):
    """Does something before the third step."""

    def __init__(self, act: Any) -> None:
        self.act = act

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 2:
            self.act()


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def refuse() -> None:
    raise UserError("refused")


def fail() -> None:
    raise RuntimeError("a bug")


@pytest.mark.parametrize(("act", "code"), [(stop, 143), (refuse, 2), (fail, 1)])
def test_the_dashboard_gets_the_exit_code_that_the_shell_gets(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Any, code: int
) -> None:
    with_callback(monkeypatch, At(act))
    with pytest.raises((SystemExit, RuntimeError)) as end:
        fit.main(arguments(demo_stores, tmp_path))
    assert isinstance(end.value, RuntimeError) or end.value.code == code
    run = the_run(tmp_path)
    assert tracked.exit_code(run.path) == code
    assert "preempting" not in {kind for kind, _ in tracked.records(run.path)}


def test_a_run_whose_evaluation_fails_has_failed(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit.evaluate, "evaluate_run", lambda *_, **__: refuse())
    with pytest.raises(SystemExit):
        fit.main(arguments(demo_stores, tmp_path))
    assert tracked.exit_code(the_run(tmp_path).path) == 2


def test_a_job_that_is_requeued_is_preempting(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int | None] = []
    monkeypatch.setattr(slurm, "requeue_signal", lambda _: signal.SIGTERM)
    monkeypatch.setattr(slurm, "requeue", lambda: ended.append(tracked.exit_code(the_run(tmp_path).path)))
    with_callback(monkeypatch, At(stop))
    with pytest.raises(SystemExit):
        fit.main(arguments(demo_stores, tmp_path))
    assert ended == [143]  # W&B has been told before SLURM may end the job
    assert "preempting" in {kind for kind, _ in tracked.records(the_run(tmp_path).path)}


@pytest.mark.ddp
def test_the_evaluation_of_two_processes_runs_belongs_to_the_run(demo_stores: Path, tmp_path: Path) -> None:
    flags = arguments(demo_stores, tmp_path, "--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_steps=2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "pose_lightning.fit", *flags], check=True, env=environment)
    run = the_run(tmp_path)
    assert (run.path / "metrics.json").is_file()
    assert "evaluation/pckh@0.5/mean_16" in tracked.summary(run.path)
    assert tracked.exit_code(run.path) == 0
    assert not list(run.path.rglob("*.lock"))
