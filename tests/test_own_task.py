"""A task, data and callback of a person's own, in processes that the suite starts: they inherit what was typed."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml

from pose_lightning.runs import RunDirectory
from tests.test_trust import PAYLOAD, own

ROOT = Path(__file__).resolve().parents[1]
CALLBACK = "--trainer.callbacks=payload.Cb"
RECIPE = "--config=experiments/hourglass_mpii.yaml"
FAILS_ONCE = """
class Cb(pl.Callback):
    def on_train_batch_end(self, trainer, *_):
        marker = Path(__file__).with_name(f"failed{trainer.datamodule.seed}")
        if trainer.global_step == 2 and not marker.exists():
            marker.touch()
            raise RuntimeError("once")
"""
TWO = ("--trainer.devices=2", "--trainer.strategy=ddp")

pytestmark = [pytest.mark.ddp, pytest.mark.slow]


def door(
    module: str, arguments: Sequence[str], folder: Path, payload: str = PAYLOAD
) -> "subprocess.CompletedProcess[str]":
    """A door with `payload` to be imported."""
    (folder / "payload.py").write_text(payload)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "WANDB_MODE": "disabled",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", f"pose_lightning.{module}", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=600)


def test_two_processes_and_their_evaluation_need_no_word_and_a_resume_needs_one(
    demo_stores: Path, tmp_path: Path
) -> None:
    done = door("fit", [*own(demo_stores, tmp_path / "runs", "payload.Task"), CALLBACK, *TWO], tmp_path)
    assert done.returncode == 0, done.stderr
    run = RunDirectory(next((tmp_path / "runs").glob("*/*")))
    assert (run.path / "metrics.json").is_file()
    resume = [f"--resume={run.path}", "--trainer.max_steps=3"]

    (tmp_path / "imported").unlink()
    refused = door("fit", resume, tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.count("error: ") == 1
    assert f"{' '.join(resume)} --trust payload" in refused.stderr
    assert not (tmp_path / "imported").exists()

    (run.path / "metrics.json").unlink()
    done = door("fit", [*resume, "--trust", "payload"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert torch.load(run.last, weights_only=True)["global_step"] == 3
    assert (run.path / "metrics.json").is_file()


def test_a_trial_of_a_sweep_goes_on_by_the_sweeps_one_word(demo_stores: Path, tmp_path: Path) -> None:
    left_out = ("--runs=", "--trainer.max_")
    flags = [flag for flag in own(demo_stores, tmp_path, "payload.Task") if not flag.startswith(left_out)]
    flags += ["--budget.max_samples=16", "--budget.validations=1", "--checkpoint.every_n_steps=1", CALLBACK]
    document = {
        "program": "pose_lightning/fit.py",
        "command": ["${env}", "${interpreter}", "-m", "pose_lightning.fit", RECIPE, *flags, "${args}"],
        "method": "grid",
        "metric": {"name": "val/pckh", "goal": "maximize"},
        "parameters": {"model.lr": {"values": [1.0e-3]}, "seed_everything": {"values": [1, 2]}},
    }
    (file := tmp_path / "mine.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    given = [str(file), f"--runs={tmp_path / 'runs'}", "--slots=1"]
    payload = PAYLOAD.replace("class Cb(pl.Callback): ...", FAILS_ONCE)
    refused = door("sweep", [*given, "--retry=1"], tmp_path, payload)
    assert refused.returncode != 0
    assert "lr=0.001/1 --trust payload" in refused.stdout
    assert "2 trials failed; --retry 2 runs them again" in refused.stdout
    done = door("sweep", [*given, "--retry=2", "--trust=payload"], tmp_path, payload)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("goes on") == 2
    assert len(list((tmp_path / "runs").rglob("metrics.json"))) == 2
