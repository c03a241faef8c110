"""What training costs, written into the run's directory while it trains: time, waiting for data, memory, machine."""

import os
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_only

from pose_lightning.errors import UserError
from pose_lightning.files import write_json
from pose_lightning.reading.records import read_object
from pose_lightning.runs import revision


class CostRecorder(pl.Callback):
    """Writes `cost.json` after every epoch of training; a resumed run adds to what its file has.

    Waiting is the time from the end of a batch to the beginning of the next one, in which the loop fetches it and moves
    it to the device, as the first process sees it; validation is not in it.

    Args:
        path: The file.
        clock: Seconds from some beginning.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.perf_counter) -> None:
        self.path, self._clock = path, clock
        self._told: dict[str, Any] = {"epochs": 0, "samples": 0, "seconds": 0.0, "busy": 0.0, "waiting": 0.0}
        self._epoch_began = self._batch_began = 0.0
        self._batch_ended: float | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Go on from an earlier part of the run."""
        if self.path.is_file() and trainer.ckpt_path is not None:
            record = read_object(self.path)
            for key in self._told:
                if type(record.get(key)) not in (int, float):
                    raise UserError(f"{self.path} is damaged: it has no number {key!r}; remove it")
            self._told |= record

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin an epoch, which begins by fetching a batch."""
        self._epoch_began = self._clock()
        self._batch_ended = self._epoch_began

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """The batch is there."""
        self._batch_began = self._clock()
        if self._batch_ended is not None:
            self._told["waiting"] += self._batch_began - self._batch_ended

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The batch is done."""
        self._batch_ended = self._clock()
        self._told["busy"] += self._batch_ended - self._batch_began
        self._told["samples"] += int(batch["weight"].numel()) * trainer.world_size

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """What follows is no waiting."""
        self._batch_ended = None

    @rank_zero_only
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the file."""
        told = self._told
        told["epochs"] += 1
        told["seconds"] += self._clock() - self._epoch_began
        training = told["busy"] + told["waiting"]
        told |= {
            "epoch_seconds": told["seconds"] / told["epochs"],
            "samples_per_second": told["samples"] / training if training else None,
            "waiting_share": told["waiting"] / training if training else None,
            "peak_memory_bytes": peak_memory(trainer.strategy.root_device),
            "machine": machine(trainer.strategy.root_device),
            "devices": trainer.world_size,
            "revision": revision(),
        }
        write_json(self.path, told)


def peak_memory(device: torch.device) -> int:
    """Largest so far, bytes: of a GPU what tensors took, else what the process had."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine(device: torch.device) -> str:
    """What a time depends on, in a few words, without the machine's name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{name}, {os.cpu_count()} cores, {platform.system()}, torch {torch.__version__}"
