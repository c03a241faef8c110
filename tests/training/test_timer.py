"""A run in time slots: each resume has the whole time again, and nothing is lost or seen twice."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pose_lightning import fit
from pose_lightning.training.timer import SlotTimer
from tests.exact import differences
from tests.training.test_flags import arguments

SLOT = 3
"""Batches that a slot has time for."""


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_in_slots_ends_like_one_without_a_limit_of_time(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    monkeypatch.setattr(fit, "_evaluate", lambda *_, **__: None)
    monkeypatch.setattr(SlotTimer, "time_elapsed", lambda timer, *_: getattr(timer, "batches", 0))
    check: Any = SlotTimer.on_train_batch_end

    def count(timer: Any, *args: Any, **kwargs: Any) -> None:
        timer.batches = getattr(timer, "batches", 0) + 1
        check(timer, *args, **kwargs)

    monkeypatch.setattr(SlotTimer, "on_train_batch_end", count)
    limits = ("--trainer.max_steps=9", f"--trainer.accumulate_grad_batches={accumulate}")
    whole, slots = tmp_path / "whole", tmp_path / "slots"
    fit.fit(arguments(demo_stores, *limits, f"--run_dir={whole}"))
    steps = []
    flags = arguments(demo_stores, *limits, f"--run_dir={slots}", f"--trainer.max_time=00:00:00:0{SLOT}")
    for args in (flags, *[["--resume", str(slots)]] * 9):
        fit.fit(args)
        state = torch.load(slots / "checkpoints" / "last.ckpt", weights_only=True)
        steps.append(state["global_step"])
        if steps[-1] == 9:
            break
    assert steps == ([3, 6, 9] if accumulate == 1 else [2, 4, 6, 8, 9])
    other = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
        assert not list(differences(state[key], other[key], key))
