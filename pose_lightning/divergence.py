"""The end of a training that has diverged: its loss is no finite number, and no step makes it one again."""

import math
from typing import Final

import pytorch_lightning as pl
import torch
from torch import Tensor

from pose_lightning.errors import UserError

NEVER: Final = 2**62


class DivergedError(UserError):
    """The loss or the weights are no finite numbers any more."""


class LossWatch:
    """Looks at the loss of every batch, and finds the first step at which it is no finite number.

    On a CPU it looks at once. Elsewhere the answer waits on the device until somebody asks, because fetching it at
    every step would hold up the device.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._loss: Tensor | None = None

    def see(self, loss: Tensor, step: int) -> None:
        """Look at the loss of a batch of optimizer step `step`, counted from 1."""
        bad = torch.where(loss.detach().isfinite(), NEVER, step)
        earlier = self._first if self._first is not None else torch.full_like(bad, NEVER)
        self._loss = loss.detach() if self._loss is None else torch.where(bad < earlier, loss.detach(), self._loss)
        self._first = torch.minimum(earlier, bad)

    def check(self, trainer: pl.Trainer, last: str) -> None:
        """Stop the run if a loss was not finite, in any process; all ask at the same moment.

        Args:
            trainer: The run's; its loggers get the loss that was not finite.
            last: What to say of the checkpoint that is kept.

        Raises:
            DivergedError: With the step, counted from 1.
        """
        if self._first is None or self._loss is None:
            return
        first = self._first.clone()
        if trainer.world_size > 1:
            torch.distributed.all_reduce(first, torch.distributed.ReduceOp.MIN)
        if (step := int(first)) == NEVER:
            return
        loss = float(self._loss) if int(self._first) == step else math.nan
        record(trainer, loss, step)
        raise DivergedError(
            f"the loss is {loss} at step {step} (epoch {trainer.current_epoch}): the training has diverged. {last} "
            "A lower model.lr, a warm-up or trainer.gradient_clip_val may keep it finite"
        )


def record(trainer: pl.Trainer, loss: float, step: int) -> None:
    """Log a loss that is no finite number, whatever the interval of logging: it is how the run ended."""
    for logger in trainer.loggers:
        logger.log_metrics({"train/loss_step": loss, "epoch": trainer.current_epoch}, step=step - 1)


def finite(module: pl.LightningModule) -> bool:
    """Whether every weight is a finite number."""
    return all(bool(torch.isfinite(each).all()) for each in module.parameters())
