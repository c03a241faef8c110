"""What to do about a batch that does not fit into a GPU's memory."""

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from pose_lightning.errors import UserError
from pose_lightning.recomputation import still_statistics


class MemoryAdvice(Callback):
    """Finds out, when a batch does not fit, which one would: with parts of the same batch, before the run ends.

    Attributes:
        advice: One sentence, once a batch did not fit.
    """

    def __init__(self) -> None:
        self.advice: str | None = None
        self._batch: dict[str, Any] | None = None
        self._begun = False
        self._fitted = 0

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on it is batches that take memory."""
        self._begun = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on it is batches that take memory."""
        self._begun = True

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the batch within reach."""
        self._batch = batch

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let go of the batch, whose size did fit."""
        self._batch, self._fitted = None, max(self._fitted, len(batch["weight"]))

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Keep the batch within reach."""
        self._batch = batch

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Let go of the batch."""
        self._batch = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Look for the largest batch that fits, with the one that did not; without it, name the next smaller."""
        batch, self._batch = self._batch, None
        if not isinstance(exception, torch.OutOfMemoryError) or not self._begun or trainer.state.fn != "fit":
            return
        traceback.clear_frames(exception.__traceback__)  # they hold the activations
        self.advice = self._advise(trainer, pl_module, batch)

    def _advise(self, trainer: pl.Trainer, module: pl.LightningModule, batch: dict[str, Any] | None) -> str:
        whole: int = trainer.datamodule.batch_size  # type: ignore[attr-defined]
        # without a batch it was the warp on the device that did not fit, before the network had one
        asked = len(batch["weight"]) if batch else whole // trainer.world_size // trainer.accumulate_grad_batches
        doing = "training" if module.training else "validation"
        failed = f"CUDA ran out of memory in {doing} on a batch of {asked} on one device"
        parts = _parts(whole, trainer.world_size, asked)
        if (
            batch is None or trainer.world_size > 1
        ):  # the other processes wait for this one, and would for every attempt
            before = f"the largest batch that did fit is {self._fitted}" if self._fitted else "none did fit before"
            fitting = next(iter(parts), None)
        else:
            fitting = next((count for count in parts if _fits(trainer, module, batch, whole // count)), None)
            before = f"the largest batch that did fit is {fitting and whole // fitting}"
        if fitting is None:
            return (
                f"{failed}, and no smaller one fits: take smaller pictures or a smaller network, "
                "--model.checkpoint_activations=true or --trainer.precision=bf16-mixed"
            )
        return f"{failed}; {before}: --trainer.accumulate_grad_batches={fitting} keeps data.batch_size={whole}"


def _parts(whole: int, devices: int, asked: int) -> list[int]:
    """Into how many accumulated parts a global batch can be cut whose shares are smaller than what was asked for."""
    shares = whole // devices
    return [count for count in range(1, shares + 1) if shares % count == 0 and shares // count < asked]


def _fits(trainer: pl.Trainer, module: Any, batch: dict[str, Any], size: int) -> bool:
    """Whether so many samples of the batch go through a step; weights and statistics stay as they are."""
    asked = len(batch["weight"])
    part = {
        key: value[:size] if isinstance(value, Tensor) and value.ndim and len(value) == asked else value
        for key, value in batch.items()
    }
    gc.collect()
    torch.cuda.empty_cache()
    try:
        with torch.set_grad_enabled(module.training), still_statistics(module):
            with trainer.precision_plugin.forward_context():
                total, count = module.training_loss(part)
            if module.training:
                (total / count.clamp(min=1)).backward()
                _step_nowhere(trainer)
    except torch.OutOfMemoryError as error:
        traceback.clear_frames(error.__traceback__)
        return False
    finally:
        for optimizer in trainer.optimizers:
            optimizer.zero_grad(set_to_none=True)
    return True


def _step_nowhere(trainer: pl.Trainer) -> None:
    """Have optimizers that have not stepped yet take the memory of their state, and step by nothing."""
    for optimizer in trainer.optimizers:
        if not optimizer.state:
            rates = [group["lr"] for group in optimizer.param_groups]
            for group in optimizer.param_groups:
                group["lr"] = 0.0
            optimizer.step()
            optimizer.state.clear()
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate


@contextmanager
def explained(trainer: pl.Trainer) -> Iterator[None]:
    """Replace an error of memory by what `MemoryAdvice` has found out about it.

    Raises:
        UserError: In its place.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        advice = next((each.advice for each in trainer.callbacks if isinstance(each, MemoryAdvice)), None)  # type: ignore[attr-defined]
        if advice is None:
            raise
        raise UserError(advice) from error
