"""Where trials run: one or more GPUs each, or a share of the processor's cores."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pose_lightning.errors import UserError

ON_A_CPU: Final = 2
"""Slots on a CPU where nobody says how many: each trial has its own memory."""


@dataclass(frozen=True)
class Slot:
    """Where one trial runs at a time.

    Attributes:
        index: From 0.
        label: Such as `gpu 0,1` or `cpu 1`.
        environment: Variables that keep a trial to it.
    """

    index: int
    label: str
    environment: Mapping[str, str] = field(default_factory=dict)


def slots(asked: int | None, devices: int) -> list[Slot]:
    """The slots of this machine.

    Args:
        asked: How many; by default as many as the GPUs make, or two on a CPU.
        devices: Processes, each with its GPU, that a trial has.

    Raises:
        UserError: If there are not so many GPUs.
    """
    if devices < 1 or (asked is not None and asked < 1):
        raise UserError("--slots and --devices-per-trial are 1 or more")
    gpus = _gpus()
    return _on_gpus(gpus, asked, devices) if gpus else _on_cpu(asked, devices)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls the GPUs that this process sees."""
    import torch  # noqa: PLC0415 - seconds of start-up, for one number

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(index) for index in range(count)]


def _on_gpus(gpus: list[str], asked: int | None, devices: int) -> list[Slot]:
    most = len(gpus) // devices
    if not most or (asked or 1) > most:
        raise UserError(
            f"{len(gpus)} GPUs make {most} slots of --devices-per-trial {devices}; --slots {asked or 1} has no room"
        )
    made = asked or most
    threads = _threads(made * devices)
    groups = [",".join(gpus[index * devices : (index + 1) * devices]) for index in range(made)]
    return [
        Slot(index, f"gpu {names}", {"CUDA_VISIBLE_DEVICES": names, **threads}) for index, names in enumerate(groups)
    ]


def _on_cpu(asked: int | None, devices: int) -> list[Slot]:
    made = asked or max(1, min(ON_A_CPU, cores() // devices))
    return [Slot(index, f"cpu {index}", _threads(made * devices)) for index in range(made)]


def _threads(processes: int) -> dict[str, str]:
    """The cores shared out; no more threads than the user allows."""
    share = max(1, cores() // processes)
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    share = min(share, int(allowed)) if allowed.isdigit() and int(allowed) else share
    return {"OMP_NUM_THREADS": str(share), "MKL_NUM_THREADS": str(share)}
