"""What training costs, by a clock that the test turns."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pose_lightning.training.cost import CostRecorder

TRAINER: Any = SimpleNamespace(ckpt_path=None, world_size=1, strategy=SimpleNamespace(root_device=torch.device("cpu")))
BATCH = {"weight": torch.ones(4)}


def epoch(recorder: CostRecorder, *, validates: bool) -> None:
    recorder.on_train_epoch_start(TRAINER, None)
    recorder.on_train_batch_start(TRAINER, None, BATCH, 0)
    recorder.on_train_batch_end(TRAINER, None, None, BATCH, 0)
    if validates:
        recorder.on_validation_start(TRAINER, None)
    recorder.on_train_batch_start(TRAINER, None, BATCH, 1)
    recorder.on_train_batch_end(TRAINER, None, None, BATCH, 1)
    recorder.on_train_epoch_end(TRAINER, None)


def test_waiting_is_from_batch_to_batch(tmp_path: Path) -> None:
    times = iter([0.0, 1.0, 4.0, 6.0, 9.0, 10.0])  # waits 1, works 3, waits 2, works 3
    epoch(CostRecorder(tmp_path / "cost.json", clock=times.__next__), validates=False)
    told = json.loads((tmp_path / "cost.json").read_text())
    assert told["waiting_share"] == pytest.approx(3 / 9)
    assert told["samples_per_second"] == pytest.approx(8 / 9)
    assert told["epoch_seconds"] == 10
    assert told["peak_memory_bytes"] > 0


def test_validation_is_no_waiting(tmp_path: Path) -> None:
    times = iter([0.0, 1.0, 4.0, 104.0, 107.0, 110.0])
    epoch(CostRecorder(tmp_path / "cost.json", clock=times.__next__), validates=True)
    assert json.loads((tmp_path / "cost.json").read_text())["waiting"] == pytest.approx(1)


def test_a_resumed_run_adds_up(tmp_path: Path) -> None:
    for resumed in (None, "last.ckpt"):
        times = iter([0.0, 1.0, 4.0, 6.0, 9.0, 10.0])
        recorder = CostRecorder(tmp_path / "cost.json", clock=times.__next__)
        TRAINER.ckpt_path = resumed
        recorder.on_fit_start(TRAINER, None)
        epoch(recorder, validates=False)
    told = json.loads((tmp_path / "cost.json").read_text())
    assert (told["epochs"], told["seconds"], told["samples"]) == (2, 20, 16)
    assert told["epoch_seconds"] == 10
