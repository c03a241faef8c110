"""The animation of a film's poses."""

from fractions import Fraction

import numpy as np
import pytest

from pose_lightning.predict import turntable
from pose_lightning.predict.films import Frame
from pose_lightning.predict.playback import Playback, Scene, scene_of
from pose_lightning.predict.recording import GifRecording


class Pictures(GifRecording):
    """What would be written."""

    def __init__(self) -> None:
        self.pictures: list[np.ndarray] = []

    def add(self, picture: np.ndarray) -> None:
        self.pictures.append(picture)


def test_the_square_of_a_frame_is_where_its_pixels_are() -> None:
    """Px 20 to 59, twice as large, are px 40 to 119: their edges are half a px outside."""
    scene = scene_of(Frame(0, np.zeros((180, 320, 3), np.uint8)), (20, 30, 40))
    assert scene.square == (39.5, 59.5, 80.0)
    tall = scene_of(Frame(0, np.zeros((100, 1280, 3), np.uint8)), (0, 0, 100))
    assert tall.square == (-0.5, 154.5, 50.0)


@pytest.mark.parametrize("count", [4, 40], ids=["short", "long"])
def test_unreadable_frames_at_the_beginning_are_shown_when_their_size_is_known(count: int) -> None:
    frame, _, _ = turntable.small(np.full((90, 160, 3), 200, np.uint8))
    recording = Pictures()
    playback = Playback(recording, Fraction(1, 6), "x")
    for number in range(count):
        none = number < 2
        playback.add(Scene(number, None if none else frame, (0.0, 0.0, 90.0), None, "cannot be read"))
    playback.finish()
    assert len(recording.pictures) == count
    dimmed = [float(picture[200:340, :600].mean()) < 100 for picture in recording.pictures]
    assert dimmed == [True, True] + [False] * (count - 2)
