"""Photographs named on the command line, read one by one, and where their pictures go."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from pose_lightning import draw
from pose_lightning.convert.pictures import read_picture
from pose_lightning.errors import UserError


class Photographs:
    """Reads what can be read, and says at the end what could not.

    Attributes:
        folder: Gets the pictures.
        written: Those of this call.
        unreadable: Photographs that could not be read, and why.

    Raises:
        UserError: If the folder cannot be made.
    """

    def __init__(self, paths: Sequence[Path], folder: Path) -> None:
        self.paths, self.folder = paths, folder
        self.written: list[Path] = []
        self.unreadable: dict[Path, str] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {folder} cannot be made: {error.strerror}; name a folder") from error

    def __iter__(self) -> Iterator[tuple[Path, UInt8[np.ndarray, "h w 3"]]]:
        """The readable ones, upright, as RGB."""
        for path in self.paths:
            try:
                picture = read_picture(path)
            except (ValueError, OSError) as error:
                self.unreadable[path] = (error.strerror if isinstance(error, OSError) else None) or str(error)
                continue
            yield path, picture

    def write(self, path: Path, drawn: draw.Picture) -> Path:
        """Write what was drawn of a photograph, under a name that no other of this call has; returns where."""
        number, target = 2, self.folder / f"{path.name}.png"
        while target in self.written:
            target = self.folder / f"{path.name}-{number}.png"
            number += 1
        draw.write_png(target, drawn)
        self.written.append(target)
        return target

    def to_json(self) -> list[dict[str, Any]]:
        """The unreadable ones."""
        return [{"file": str(path), "reason": reason} for path, reason in self.unreadable.items()]

    def check(self) -> None:
        """Refuse, when all others are done, what could not be read.

        Raises:
            UserError: If there is such a photograph.
        """
        if self.unreadable:
            listed = "; ".join(f"{path}: {reason}" for path, reason in self.unreadable.items())
            raise UserError(f"{len(self.unreadable)} of {len(self.paths)} pictures cannot be read: {listed}")
