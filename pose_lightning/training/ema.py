"""Averaged weights: an exponential moving average that validation, `best.ckpt` and every later door use."""

from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from pose_lightning.errors import UserError


@dataclass(frozen=True)
class Averaging:
    """The moving average of the weights; none unless `decay` is set.

    Args:
        decay: What stays of the average at an update, such as 0.999; `None` trains without one. The average follows the
            weights faster at first: after n updates min(decay, (1 + n) / (10 + n)) stays, or else it would still be
            mostly the random start after 1 / (1 - decay) updates.
        every_n_steps: Optimizer steps between two updates.
    """

    decay: float | None = None
    every_n_steps: int = 1

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.decay is not None and not 0 < self.decay < 1:
            raise UserError(f"ema.decay={self.decay} is out of range; it is above 0 and below 1, such as 0.999")
        if self.every_n_steps < 1:
            raise UserError(f"ema.every_n_steps={self.every_n_steps} is out of range; it is 1 or more")


class AveragedWeights(WeightAveraging):
    """Lightning's weight averaging, as an exponential moving average whose decay rises to the one asked for.

    Parameters and the statistics of batch norms are averaged; counters are copied. Validation sees the average,
    checkpoints hold it as their `state_dict` (so that `evaluate`, `predict` and `best.ckpt` mean it) and the weights in
    training beside it, from which a resumed run goes on.

    Source of the rising decay: the `num_updates` of TensorFlow's tf.train.ExponentialMovingAverage.
    """

    def __init__(self, decay: float, every_n_steps: int = 1) -> None:
        self.decay, self.every_n_steps = decay, every_n_steps
        super().__init__(multi_avg_fn=self._update)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After every so many optimizer steps, the first included."""
        return step_idx is not None and step_idx % self.every_n_steps == 0

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the average in place for whoever looks at the network when the epoch ends, such as its pictures."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Put the weights in training back, before a checkpoint is written."""
        super().on_validation_epoch_end(trainer, pl_module)

    def decay_after(self, updates: int) -> float:
        """What stays of the average at the next update, after so many."""
        return min(self.decay, (1 + updates) / (10 + updates))

    def _update(self, averages: Any, values: Any, updates: Tensor | int) -> None:
        if torch.is_floating_point(averages[0]):
            update: Any = get_ema_multi_avg_fn(self.decay_after(int(updates)))  # type: ignore[no-untyped-call]
            update(averages, values, updates)
        else:
            torch._foreach_copy_(averages, values)
