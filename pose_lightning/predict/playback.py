"""The animation of a film's poses: every frame beside its pose, which turns as the film goes on."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from pose_lightning import draw
from pose_lightning.predict import turntable
from pose_lightning.predict.films import Frame
from pose_lightning.predict.recording import DIMMED, Recording

TURN: Final = 6.0
"""Seconds of a turn."""

SHORT: Final = 32
"""Frames up to which a film is played again until the turn is done."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What is shown of a frame.

    Attributes:
        number: Of the frame.
        picture: Of `turntable.small`; None where the frame has no pose.
        square: What the network was shown, as left edge, top edge and side in px of the picture.
        pose: Mm (17, 3); None where it has none, or not yet.
        note: Why it has none.
        time: When the film shows it, s; None where nobody says.
    """

    number: int
    picture: draw.Picture | None
    square: tuple[float, float, float]
    pose: np.ndarray | None = None
    note: str = ""
    time: float | None = None


def scene_of(frame: Frame, square: tuple[int, int, int]) -> Scene:
    """A frame of which the network sees a square, x0, y0 and side in px."""
    picture, factor, above = turntable.small(np.asarray(frame.picture))
    x0, y0, side = square
    shown = (x0 * factor - 0.5, y0 * factor - 0.5 + above, side * factor)
    return Scene(frame.number, picture, shown, time=frame.time)


class Playback:
    """Adds scenes to a recording; a short film is played several times, until the pose has turned once.

    Args:
        recording: Gets the pictures.
        rate: Of the frames, per second.
        title: Of all pictures.
    """

    def __init__(self, recording: Recording, rate: Fraction, title: str) -> None:
        self.recording, self.title = recording, title
        self._turn = max(2, round(TURN * rate))
        self._first: list[Scene] | None = []
        self._shown = 0
        self._before: draw.Picture | None = None
        self._waiting: list[Scene] = []

    def add(self, scene: Scene) -> None:
        """The next one."""
        if self._first is None:
            self._show(scene)
            return
        self._first.append(scene)
        if len(self._first) > SHORT:
            for each in self._first:
                self._show(each)
            self._first = None

    def finish(self) -> None:
        """Show what waits: all of a short film."""
        if not self._first:
            return
        rounds = max(1, math.ceil(self._turn / len(self._first)))
        self._turn = rounds * len(self._first)
        for _ in range(rounds):
            for scene in self._first:
                self._show(scene)

    def _show(self, scene: Scene) -> None:
        picture = scene.picture
        if picture is None:
            if self._before is None:  # nobody knows yet how large it is
                self._waiting.append(scene)
                return
            picture = draw.label((self._before * DIMMED).astype(np.uint8), [scene.note])
        else:
            self._before = picture
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                self._show(each)
        angle = 2 * math.pi * self._shown / self._turn
        caption = f"{self.title}   frame {scene.number}"
        self.recording.add(turntable.beside(picture, scene.square, scene.pose, angle, caption))
        self._shown += 1
