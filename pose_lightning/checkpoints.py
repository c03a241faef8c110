"""Checkpoints that are always whole, and the moments at which they are written."""

import os
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning_fabric.utilities.types import _PATH
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, syncs, then renames: a reader sees the old file or the new one.

    Lightning's own save goes through the temporary directory, which may lie on another file system, where a rename is a
    copy that a kill can cut in two.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`."""
        if storage_options is not None:
            raise TypeError("storage options are for remote file systems; runs are local directories")
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)


class RunCheckpoints(Checkpoint):
    """Writes `last.ckpt` often enough to resume from, and `best.ckpt` when the monitored metric improves.

    `last.ckpt` is written between optimizer steps only, and never where Lightning still owes a validation: a run
    resumed there would skip it. Replaying the few steps since the last write gives the same weights, because the order
    of samples and every augmentation is a pure function of (seed, epoch, sample).

    Args:
        directory: Where both files go.
        monitor: The logged metric that `best.ckpt` follows; a value that is not finite is never the best.
        mode: Whether a larger or a smaller value is better.
        every_n_steps: Optimizer steps between two writes of `last.ckpt`.
    """

    def __init__(self, directory: Path, *, monitor: str, mode: Literal["min", "max"], every_n_steps: int) -> None:
        self.last = directory / "last.ckpt"
        self.best = directory / "best.ckpt"
        self.monitor, self.mode, self.every_n_steps = monitor, mode, every_n_steps
        self.best_score: float | None = None
        self.best_step: int | None = None
        self._written: int | None = None

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write `last.ckpt` where the optimizer has stepped and the epoch goes on."""
        loop = trainer.fit_loop.epoch_loop
        fetcher = trainer.fit_loop._data_fetcher
        if fetcher is None or loop._should_accumulate() or loop._num_ready_batches_reached():
            return
        if loop._should_check_val_fx(fetcher):
            return
        due = trainer.global_step % self.every_n_steps == 0 or trainer.global_step == trainer.max_steps
        if due:
            self._save_last(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `last.ckpt`, after `best.ckpt` where the metric improved."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self._improved(trainer.callback_metrics.get(self.monitor)):
            self.best_step = trainer.global_step
            trainer.save_checkpoint(self.best)
        self._save_last(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `last.ckpt` at the end of an epoch that had no validation at its end."""
        if self._written != trainer.global_step:
            self._save_last(trainer)

    def _save_last(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.last)
        self._written = trainer.global_step

    def _improved(self, score: Tensor | None) -> bool:
        if score is None or not torch.isfinite(score):
            return False
        value = float(score)
        sign = 1 if self.mode == "max" else -1
        if self.best_score is not None and sign * value <= sign * self.best_score:
            return False
        self.best_score = value
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best score so far and its step."""
        return {"best_score": self.best_score, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score of the run that is resumed."""
        self.best_score, self.best_step = state_dict["best_score"], state_dict["best_step"]
