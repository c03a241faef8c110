"""A budget of training samples: every batch size sees the same stream of samples and is validated as often.

Without one, training counts epochs, and the last batch of each is smaller. Under a budget the passes over the data
follow one another in a single stream: a batch may hold the end of one pass and the start of the next, so that all are
full, and the k-th sample of a seed is the same, augmented alike, whatever the batch size.
"""

import math
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Int64

from pose_lightning.errors import UserError
from pose_lightning.loader import BatchPlan, Buffers, Source


@dataclass(frozen=True)
class Budget:
    """How much to train, in samples; takes the place of the trainer's own limits.

    Args:
        max_samples: Training samples in all; `None` leaves the trainer's limits as they are.
        validations: Into how many equal parts they are cut, with a validation after each. A part is rounded to whole
            batches, and has at least one. For the trainer, a part is an epoch.
    """

    max_samples: int | None = None
    validations: int = 10

    def __post_init__(self) -> None:
        """Refuse a budget of nothing."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 1:
                raise UserError(f"budget.{field.name}={value} is out of range; it is 1 or more")

    def steps(self, batch_size: int) -> int:
        """Optimizer steps of a part.

        Raises:
            UserError: If there is no budget.
        """
        if self.max_samples is None:
            raise UserError("budget.max_samples is not set")
        return max(1, math.floor(self.max_samples / self.validations / batch_size + 0.5))


class StreamPlan(BatchPlan):
    """The batches of a part, as places in the stream of all passes."""

    def order(self, epoch: int) -> Int64[np.ndarray, " n"]:
        """The part's places, one after the other."""
        return np.arange(epoch * self.length, (epoch + 1) * self.length)


class StreamSource:
    """A source whose indices are places in the stream: place 0 is the first sample of the first pass.

    Args:
        source: The samples.
        one_pass: Their order in every pass.
    """

    def __init__(self, source: Source, one_pass: BatchPlan) -> None:
        self.source, self.one_pass = source, one_pass

    def __len__(self) -> int:
        return len(self.source)

    def allocate(self, size: int) -> Buffers:
        """The source's own buffers."""
        return self.source.allocate(size)

    def fill(self, buffers: Buffers, position: int, index: int, epoch: int) -> None:
        """Fill in the sample at a place of the stream, as its own pass has it."""
        number, place = divmod(index, self.one_pass.length)
        self.source.fill(buffers, position, int(self.one_pass.order(number)[place]), number)

    def name(self, index: int) -> str:
        """The name of the sample at a place."""
        return self.source.name(int(self._samples(np.array([index]))[0]))

    def totals(self, indices: Int64[np.ndarray, " n"]) -> dict[str, float]:
        """The source's counts over the samples at these places."""
        return self.source.totals(self._samples(indices))

    def _samples(self, places: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        numbers, within = np.divmod(places, self.one_pass.length)
        return np.array([self.one_pass.order(int(n))[p] for n, p in zip(numbers, within, strict=True)], np.int64)
