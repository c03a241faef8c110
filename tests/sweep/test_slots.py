"""Slots: GPUs, or a share of the cores."""

import pytest
import torch

from pose_lightning.errors import UserError
from pose_lightning.sweep import slots as module
from pose_lightning.sweep.slots import slots


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "cores", lambda: 16)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    return monkeypatch


def test_each_gpu_is_a_slot_and_the_cores_are_shared_out(machine: pytest.MonkeyPatch) -> None:
    made = slots(None, 1)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in made] == ["0", "1", "2", "3"]
    assert {slot.environment["OMP_NUM_THREADS"] for slot in made} == {"4"}
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(None, 2)] == ["0,1", "2,3"]
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(1, 3)] == ["0,1,2"]


def test_gpus_keep_the_names_that_they_were_given(machine: pytest.MonkeyPatch) -> None:
    machine.setenv("CUDA_VISIBLE_DEVICES", "6, GPU-abc")
    machine.setattr(torch.cuda, "device_count", lambda: 2)
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in slots(None, 1)] == ["6", "GPU-abc"]


@pytest.mark.parametrize(("asked", "devices"), [(5, 1), (3, 2), (None, 5), (0, 1), (1, 0)])
def test_more_than_there_is_is_refused(machine: pytest.MonkeyPatch, asked: int | None, devices: int) -> None:
    with pytest.raises(UserError, match="slots"):
        slots(asked, devices)


@pytest.mark.parametrize(
    ("asked", "devices", "count", "threads"), [(None, 1, 2, 8), (4, 1, 4, 4), (None, 16, 1, 1), (3, 2, 3, 2)]
)
def test_a_cpu_is_shared(
    machine: pytest.MonkeyPatch, asked: int | None, devices: int, count: int, threads: int
) -> None:
    machine.setattr(torch.cuda, "device_count", lambda: 0)
    made = slots(asked, devices)
    assert len(made) == count
    assert {slot.environment["OMP_NUM_THREADS"] for slot in made} == {str(threads)}
    machine.setenv("OMP_NUM_THREADS", "1")
    assert {slot.environment["OMP_NUM_THREADS"] for slot in slots(asked, devices)} == {"1"}
