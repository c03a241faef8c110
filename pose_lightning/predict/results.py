"""Numbers on their way into files: written as they come, and under their name when all are there."""

import csv
import errno
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pose_lightning.errors import UserError
from pose_lightning.files import as_cell, writing

LONGEST_NAME: Final = 255 - len(".partial") - len("-99999")
"""Bytes of a file's name, of the 255 that file systems take."""


def make_folder(folder: Path) -> None:
    """Make the folder of what is written.

    Raises:
        UserError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "no permission to write into it", str(folder))
    except OSError as error:
        raise UserError(f"--out {folder} cannot be made: {error.strerror}; name a folder") from error


class Names:
    """Names of files in a folder, none of which this call has given before, or is taken otherwise."""

    def __init__(self, folder: Path, taken: Iterable[Path] = ()) -> None:
        self.folder = folder
        self.given: list[Path] = []
        self._taken = set(taken)

    def new(self, stem: str, suffix: str) -> Path:
        """`FOLDER/STEM+SUFFIX`, or with a number between the two; with neither an end nor a path of its own."""
        while len(os.fsencode(stem)) + len(suffix) > LONGEST_NAME:
            stem = stem[:-1]
        number, target = 2, self.folder / f"{stem}{suffix}"
        while target in self._taken:
            target = self.folder / f"{stem}-{number}{suffix}"
            number += 1
        self._taken.add(target)
        self.given.append(target)
        return target


class _Growing:
    """A text file that has its name when the context ends without an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        partial = self._stack.enter_context(writing(path))
        text = partial.open("w", encoding="utf-8", errors="surrogateescape", newline="")
        self._file = self._stack.enter_context(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with self._stack:
                self._finish()
        else:
            self._stack.__exit__(kind, error, trace)

    def _finish(self) -> None:
        """Write what comes last."""


class JsonFile(_Growing):
    """A JSON object whose members come one by one; NaN is refused, because JSON has none.

    Raises:
        UserError: If it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._closing: list[str] = []
        self._first = True
        self.begin("{")

    def begin(self, bracket: str, key: str | None = None) -> None:
        """Open an object `{` or an array `[`, under a key where it is an object's member."""
        self._lead(key)
        self._file.write(bracket)
        self._closing.append({"{": "}", "[": "]"}[bracket])
        self._first = True

    def end(self) -> None:
        """Close what was opened last."""
        closing = self._closing.pop()
        self._file.write(("" if self._first else "\n" + "  " * len(self._closing)) + closing)
        self._first = False

    def item(self, value: Any, key: str | None = None) -> None:
        """An element, or a member; on one line."""
        text = json.dumps(value, allow_nan=False)
        self._lead(key)
        self._file.write(text)

    def _lead(self, key: str | None) -> None:
        if self._closing:
            self._file.write(("" if self._first else ",") + "\n" + "  " * len(self._closing))
        self._file.write("" if key is None else f"{json.dumps(key)}: ")
        self._first = False

    def _finish(self) -> None:
        self.end()
        self._file.write("\n")


class CsvFile(_Growing):
    """A table with a line of names, none of whose cells is a formula to a spreadsheet.

    Raises:
        UserError: If it cannot be written.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        super().__init__(path)
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(columns)

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Add lines."""
        self._writer.writerows([as_cell(value) for value in row] for row in rows)
