"""Clips cut out of films: which frames the network sees together, and what of them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from jaxtyping import UInt8

from pose_lightning.convert import crops
from pose_lightning.predict.boxes import MARGIN, Box
from pose_lightning.predict.films import Frame

NEARLY: Final = 1e-6
"""Of the time between two frames that are shown: of two that are as near, the earlier one is taken."""

USUAL_MARGIN: Final = (MARGIN - 1) / 2
"""Of clips that were cut nobody knows how, on each side."""


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


class Pace:
    """Which frames of a film are shown: at training's rate those that are nearest in time, and of a slower film all.

    Args:
        rate: Of the film, frames per second; None where it is unknown.
        trained: Of training; None where it is unknown.

    Attributes:
        step: How many frames of the film there are to each one that is shown, in the mean.
    """

    def __init__(self, rate: Fraction | None, trained: Fraction | None) -> None:
        self.step = Fraction(1) if rate is None or trained is None else max(Fraction(1), rate / trained)
        self._rate, self._begin, self._last = float(rate or 1), 0.0, -1

    def takes(self, frame: Frame) -> bool:
        """Whether this one is shown; ask once for every frame, in their order.

        Frames whose time nobody says, such as unreadable ones, are taken to come at the film's rate.
        """
        if self.step == 1:
            return True
        place = frame.number if frame.time is None else (frame.time - self._begin) * self._rate
        if frame.number == 0 and frame.time is not None:
            self._begin, place = frame.time, 0.0
        ticks = math.floor((place + 0.5) / float(self.step) + NEARLY)
        taken, self._last = ticks > self._last, max(ticks, self._last)
        return taken


def square(window: Window, size: int, margin: float) -> tuple[int, int, int]:
    """The square (x0, y0, side) around the person in all frames, as clips of Human3.6M are cut.

    Args:
        window: Whose boxes are of a person, or are the whole of what is to be seen.
        size: What its side will be made, px.
        margin: On each side, as a share of the square around the person; not of boxes without one.
    """
    people = [shot.box.person for shot in window.shots]
    extents = np.array([person or (shot.box.side,) * 2 for shot, person in zip(window.shots, people, strict=True)])
    centres = np.array([[shot.box.x, shot.box.y] for shot in window.shots])
    lowest, highest = (centres - extents / 2).min(axis=0), (centres + extents / 2).max(axis=0)
    side = float((highest - lowest).max()) * (1 if None in people else 1 + 2 * margin)
    return crops.window((lowest + highest) / 2, side, size, size)


def cut(window: Window, square: tuple[int, int, int], size: int) -> UInt8[np.ndarray, "t s s 3"]:
    """The pixels of a square of every frame, at `size` px a side."""
    return np.stack([crops.cut(shot.picture, *square, size) for shot in window.shots])
