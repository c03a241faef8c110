"""Where people are in the inputs of a call: in one box, in those of a file, or in all of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pose_lightning.errors import UserError
from pose_lightning.predict.boxes import Box, boxes_of, read_boxes, whole
from pose_lightning.predict.inputs import Inputs


class Places(Protocol):
    """How people are found."""

    def of_picture(self, path: Path, width: int, height: int) -> Sequence[Box]:
        """Those in a picture."""

    def of_film(self, path: Path, width: int, height: int) -> Sequence[Box]:
        """Those in a film; each is of one frame, or of all."""


class WholePicture:
    """Every picture is of one person."""

    def of_picture(self, path: Path, width: int, height: int) -> Sequence[Box]:
        """The whole of it."""
        return [whole(width, height)]

    of_film = of_picture


@dataclass(frozen=True)
class OneBox:
    """The same box in all frames."""

    box: Box

    @classmethod
    def tight(cls, x: float, y: float, w: float, h: float) -> "OneBox":
        """A tight one."""
        return cls(Box.around(x, y, w, h, source="--box"))

    @classmethod
    def of_mpii(cls, x: float, y: float, scale: float) -> "OneBox":
        """MPII's centre and scale."""
        return cls(Box.of_mpii(x, y, scale, source="--center and --scale"))

    def of_picture(self, path: Path, width: int, height: int) -> Sequence[Box]:
        """That one."""
        return [self.box]

    of_film = of_picture


class BoxesOfFile:
    """What a file lists.

    Raises:
        UserError: If it has none for one of the inputs, or single frames of a picture.
    """

    def __init__(self, path: Path, inputs: Inputs) -> None:
        listed = read_boxes(path)
        films = [film.path for film in inputs.films]
        self._found = {name: boxes_of(listed, name, path) for name in [*inputs.photographs, *films]}
        for name in inputs.photographs:
            if numbered := [box for box in self._found[name] if box.frame is not None]:
                raise UserError(
                    f"--boxes {numbered[0].source}: {name} is a picture, and has no frame {numbered[0].frame}"
                )

    def of_picture(self, path: Path, width: int, height: int) -> Sequence[Box]:
        """Those of its name."""
        return self._found[path]

    of_film = of_picture
