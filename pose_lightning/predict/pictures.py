"""Pictures named on the command line, read one by one; what could not be read, and how far things are."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import rich.progress
from jaxtyping import UInt8
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from pose_lightning import draw
from pose_lightning.convert.pictures import read_picture
from pose_lightning.errors import UserError
from pose_lightning.predict.boxes import Box
from pose_lightning.predict.films import Film, Frame, batches
from pose_lightning.predict.inputs import Inputs
from pose_lightning.predict.results import Names, make_folder
from pose_lightning.terminal import Terminal

NAMED: Final = 5
"""Of unreadable pictures, of a film's frames and of boxes: those that a message names; JSON has all."""


class Progress:
    """A bar on the terminal's standard error for the frames of a film, or for pictures."""

    def __init__(self, film: Film | str, count: int | None = None) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        together = sys.stdout.isatty()  # else what is printed would go where the bar is, not into the file
        self._progress = rich.progress.Progress(*columns, console=Terminal(stderr=True), redirect_stdout=together)
        title, total = (film, count) if isinstance(film, str) else (film.path.name, film.count)
        self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> "Progress":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def advance(self) -> None:
        """One more is done."""
        self._progress.advance(self._task)


class Photographs:
    """Reads what can be read, and remembers what could not.

    Attributes:
        names: Of the files of this call.
        unreadable: Photographs that could not be read, and why.

    Raises:
        UserError: If the folder cannot be made.
    """

    def __init__(self, paths: Sequence[Path], folder: Path, taken: Iterable[Path] = ()) -> None:
        make_folder(folder)
        self.paths, self.names = paths, Names(folder, taken)
        self.unreadable: dict[Path, str] = {}

    def __iter__(self) -> Iterator[tuple[Path, UInt8[np.ndarray, "h w 3"]]]:
        """The readable ones, upright, as RGB."""
        if len(self.paths) < 2:
            yield from self._read(None)
            return
        with Progress("pictures", len(self.paths)) as progress:
            yield from self._read(progress)

    def _read(self, progress: Progress | None) -> Iterator[tuple[Path, UInt8[np.ndarray, "h w 3"]]]:
        for path in self.paths:
            try:
                picture = read_picture(path)
            except (ValueError, OSError) as error:
                self.unreadable[path] = (error.strerror if isinstance(error, OSError) else None) or str(error)
            else:
                yield path, picture
            if progress:
                progress.advance()

    def write(self, path: Path, drawn: draw.Picture) -> Path:
        """Write what was drawn of a photograph, under a name that no other of this call has; returns where."""
        target = self.names.new(path.name, ".png")
        draw.write_png(target, drawn)
        return target

    def to_json(self) -> list[dict[str, Any]]:
        """The unreadable ones."""
        return [{"file": str(path), "reason": reason} for path, reason in self.unreadable.items()]


class Troubles:
    """What is unreadable in films, and what else of the inputs has no answer."""

    def __init__(self, inputs: Inputs) -> None:
        self._unopened = inputs.unopened
        self._frames: dict[Path, list[tuple[int, str]]] = {}
        self._refused: list[tuple[Path, str]] = []

    def add(self, film: Film, frame: Frame) -> None:
        """A frame that cannot be read."""
        self._frames.setdefault(film.path, []).append((frame.number, frame.reason))

    def refuse(self, path: Path, message: str) -> None:
        """An input, or a box of it, that makes no sense; the message names both."""
        self._refused.append((path, message))

    def to_json(self) -> list[dict[str, Any]]:
        """All of them."""
        refused = [*self._unopened.items(), *self._refused]
        whole = [{"file": str(path), "reason": reason} for path, reason in refused]
        single = [
            {"file": str(path), "frame": number, "reason": reason}
            for path, frames in self._frames.items()
            for number, reason in frames
        ]
        return [*whole, *single]

    def check(self, photographs: Photographs) -> None:
        """Refuse, when all others are done, what could not be read.

        Raises:
            UserError: If there is something.
        """
        said: list[str] = []
        if photographs.unreadable:
            items = list(photographs.unreadable.items())
            listed = "; ".join(f"{path}: {reason}" for path, reason in items[:NAMED])
            listed += f"; and {len(items) - NAMED} more" if len(items) > NAMED else ""
            count = f"{len(photographs.unreadable)} of {len(photographs.paths)}"
            said.append(f"{count} pictures cannot be read: {listed}")
        said += [f"{path} {reason}" for path, reason in self._unopened.items()]
        messages = [message for _, message in self._refused]
        said += messages[:NAMED]
        if len(messages) > NAMED:
            said.append(f"and {len(messages) - NAMED} more such boxes")
        for path, frames in self._frames.items():
            listed = "; ".join(f"frame {number}: {reason}" for number, reason in frames[:NAMED])
            more = f"; and {len(frames) - NAMED} more" if len(frames) > NAMED else ""
            count = f"{len(frames)} frame{'' if len(frames) == 1 else 's'}"
            said.append(f"{path}: {count} without an answer: {listed}{more}")
        if said:
            raise UserError("\n".join(said))


def usable(boxes: Sequence[Box], width: int, height: int, path: Path, troubles: Troubles) -> list[Box]:
    """Those that show something of a picture of this size; the others are troubles."""
    found: list[Box] = []
    for box in boxes:
        try:
            box.check(width, height, path)
        except UserError as error:
            troubles.refuse(path, str(error))
        else:
            found.append(box)
    return found


def unused(boxes: Sequence[Box], frames: int, path: Path, troubles: Troubles) -> None:
    """Boxes of frames that a film of so many does not have are troubles, too, which nobody else would notice."""
    for box in boxes:
        if box.frame is not None and box.frame >= frames:
            troubles.refuse(path, f"{path} has frames 0 to {frames - 1}, and the box of {box.source} is of {box.frame}")


def in_batches(photographs: Photographs, size: int) -> Iterator[tuple[list[Path], list[draw.Picture]]]:
    """Up to `size` readable ones at once, and fewer of large ones."""
    paths: list[Path] = []

    def frames() -> Iterator[Frame]:
        for path, picture in photographs:
            paths.append(path)
            yield Frame(len(paths) - 1, picture)

    for batch in batches(frames(), size):
        yield [paths[each.number] for each in batch], [np.asarray(each.picture) for each in batch]
