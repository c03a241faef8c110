"""A run's limit of time."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer


class SlotTimer(Timer):
    """Lightning's timer, which counts anew after a resume and stops between optimizer steps only.

    A run that trains in time slots goes on where the last slot ended.
    """

    @classmethod
    def like(cls, timer: Timer) -> "SlotTimer":
        """Return a timer of the same duration."""
        made = cls(interval=timer._interval, verbose=timer._verbose)
        made._duration = timer._duration
        return made

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        remaining = self.time_remaining()
        return remaining is not None and remaining <= 0

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop if the time is up, but not between the parts of a batch."""
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            super().on_train_batch_end(trainer, *args, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the next slot has its own time."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing is taken up."""
