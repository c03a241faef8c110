"""Random numbers keyed by seed, epoch and sample: the same on every rank, in every thread and after a resume."""

from enum import IntEnum
from typing import Final

import numpy as np
from jaxtyping import Float64

STREAM: Final = 0x61637469
"""Keeps these numbers apart from every other use of the same seed and epoch."""


class Use(IntEnum):
    """What numbers are for; each use has its own, whatever the others take."""

    CHANGE = 0
    POLICY = 1
    MIXING = 2
    SAMPLING = 3


def draws(use: Use, *, seed: int, epoch: int, sample: int, count: int) -> Float64[np.ndarray, " n"]:
    """Return `count` numbers, uniform in [0, 1)."""
    key = np.array([seed, epoch], dtype=np.uint64)
    # numpy promises that a bit generator's raw stream never changes; of its distributions it does not
    raw = np.random.Philox(key=key, counter=[0, sample, int(use), STREAM]).random_raw(count)
    numbers: np.ndarray = (raw >> np.uint64(11)) * 2.0**-53
    return numbers
