"""Where people are in the inputs of a call: in one box, in those of a file, or in all of the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pose_lightning.errors import UserError
from pose_lightning.predict.boxes import Box, name_in, read_boxes, whole
from pose_lightning.predict.inputs import NAMED, Inputs
from pose_lightning.terminal import say


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
        """Of a person's px, without a margin."""
        return cls(Box.around(x, y, w, h, source="--box"))

    @classmethod
    def of_mpii(cls, x: float, y: float, scale: float) -> "OneBox":
        """MPII's centre and scale."""
        return cls(Box.of_mpii(x, y, scale, source="--center and --scale"))

    def of_picture(self, path: Path, width: int, height: int) -> Sequence[Box]:
        """That one."""
        return [self.box]

    of_film = of_picture


def _by_key(names: Mapping[Path, str]) -> dict[str, list[Path]]:
    """Inputs by the name that a file has for them, without those that it names as they are given.

    One of these counts where another input has the same name but for the spelling of its accents.
    """
    found: dict[str, list[Path]] = {}
    for path, key in names.items():
        if str(path) != key:
            found.setdefault(key, []).append(path)
            if path.name != Path(key).name and Path(key) in names:
                found[key].append(Path(key))
    return found


class BoxesOfFile:
    """What a file lists.

    Raises:
        UserError: If it has none for one of the inputs, one bare name for two of them, or single frames of a picture.
    """

    def __init__(self, path: Path, inputs: Inputs) -> None:
        listed = read_boxes(path)
        named = list(dict.fromkeys([*inputs.photographs, *(film.path for film in inputs.films)]))
        names = {name: name_in(listed, name, path) for name in named}
        self._found = {name: listed[key] for name, key in names.items()}
        for key, several in _by_key(names).items():
            if len(several) > 1:
                raise UserError(f"--boxes {path}: {key} could be {several[0]} or {several[1]}; name them as given")
        known = {*names.values(), *(name for each in inputs.unopened for name in (str(each), each.name))}
        if unknown := [name for name in listed if name not in known]:
            more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
            say(f"--boxes {path}: no input is called {', '.join(unknown[:NAMED])}{more}")
        for name in inputs.photographs:
            if numbered := [box for box in self._found[name] if box.frame is not None]:
                raise UserError(
                    f"--boxes {numbered[0].source}: {name} is a picture, and has no frame {numbered[0].frame}"
                )

    def of_picture(self, path: Path, width: int, height: int) -> Sequence[Box]:
        """Those of its name."""
        return self._found[path]

    of_film = of_picture
