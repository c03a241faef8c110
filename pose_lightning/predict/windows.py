"""Clips cut out of films: which frames the network sees together, and what of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8

from pose_lightning.convert import crops
from pose_lightning.predict.boxes import Box
from pose_lightning.predict.films import Frame


@dataclass(frozen=True, eq=False)
class Shot:
    """A readable frame and the person's box in it."""

    frame: Frame
    box: Box

    @property
    def picture(self) -> np.ndarray:
        """RGB."""
        return np.asarray(self.frame.picture)


@dataclass(frozen=True, eq=False)
class Window:
    """Frames that the network sees together.

    Attributes:
        shots: As many as a clip has.
        fresh: The places of those that no window before had; of frames seen twice the first pose stands.
        repeated: How many at its end are the last one again, because there were too few.
    """

    shots: Sequence[Shot]
    fresh: range
    repeated: int = 0


@dataclass(frozen=True)
class Gap:
    """A frame that cannot be shown to the network: it ends a clip, and another begins behind it."""

    frame: Frame
    reason: str


def windows(shots: Iterable[Shot | Gap], length: int) -> Iterator[Window | Gap]:
    """Cut into clips of `length` frames: one after the other, the last one overlapping the one before it."""
    before: list[Shot] = []
    fresh: list[Shot] = []
    for each in shots:
        if isinstance(each, Gap):
            yield from _last(before, fresh, length)
            yield each
            before, fresh = [], []
            continue
        fresh.append(each)
        if len(fresh) == length:
            yield Window(fresh, range(length))
            before, fresh = fresh, []
    yield from _last(before, fresh, length)


def _last(before: Sequence[Shot], fresh: Sequence[Shot], length: int) -> Iterator[Window]:
    lacking = length - len(fresh)
    if not fresh:
        return
    if before:
        yield Window([*before[-lacking:], *fresh], range(lacking, length))
    else:
        yield Window([*fresh, *[fresh[-1]] * lacking], range(len(fresh)), lacking)


def stride(rate: Fraction | None, trained: Fraction | None) -> int:
    """Frames of a film of this rate from one that is shown to the next; 1 where a rate is unknown."""
    return 1 if rate is None or trained is None else max(1, round(rate / trained))


def cut(window: Window, size: int) -> tuple[tuple[int, int, int], UInt8[np.ndarray, "t s s 3"]]:
    """The square (x0, y0, side) around the boxes of all frames, and its pixels at `size` px a side."""
    low = np.array([[shot.box.x - shot.box.side / 2, shot.box.y - shot.box.side / 2] for shot in window.shots])
    high = low + np.array([[shot.box.side] for shot in window.shots])
    lowest, highest = low.min(axis=0), high.max(axis=0)
    square = crops.window((lowest + highest) / 2, float((highest - lowest).max()), size, size)
    return square, np.stack([crops.cut(shot.picture, *square, size) for shot in window.shots])
