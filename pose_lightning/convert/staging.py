"""The folders of stores: one conversion at a time, whose stores take their places together."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from pose_lightning import files

UNFINISHED: Final = "unfinished"
"""Folder below that of the stores; stores of two conversions must never stand beside each other."""

_owned: Final[dict[Path, bool]] = {}
"""Folders of this process, and whether stores were begun in them."""


@contextmanager
def owning(*folders: Path) -> Iterator[None]:
    """Let no other process convert into these folders, which are made, while the block runs.

    Folders that were made, but in which nothing was begun, are removed at the end. A converter that runs inside another
    one's block shares what that one owns.

    Raises:
        BusyError: If another process converts into one of them; the message names it.
        UserError: If one cannot be made.
    """
    with ExitStack() as stack:
        for folder in folders:
            if (path := folder.resolve()) not in _owned:
                stack.enter_context(_owning(path))
        yield


@contextmanager
def _owning(folder: Path) -> Iterator[None]:
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with _lock(folder):
            _owned[folder] = False
            try:
                yield
            finally:
                if _owned.pop(folder):
                    absent.clear()
    finally:
        with suppress(OSError):  # the first that is not empty, and those above it, stay
            for path in absent:
                path.rmdir()


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    with ExitStack() as stack:
        for last in (False, True):
            try:
                stack.enter_context(files.owning(folder))
                break
            except FileNotFoundError:  # another process has just removed the folder that it had made
                if last:
                    raise
        yield


@contextmanager
def staged(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give an empty folder below `folder` for files that take their places in it, together, when the block ends well.

    Args:
        folder: Is made.
        names: Of the files; those that the block did not write are removed from `folder`.

    Raises:
        BusyError: If another process, or another block, has files there.
        UserError: If a folder or a link is in the place of one, or the disk refuses.
    """
    unfinished = folder / UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    if folder.resolve() in _owned:
        _owned[folder.resolve()] = True
    for name in names:
        files.refuse_target(folder / name)
    with files.Lock.take(files.lock_path(unfinished), guards=folder):
        files.refuse_link(unfinished)
        if unfinished.exists():  # a killed run left it
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        try:
            yield unfinished
            for name in names:
                if not (unfinished / name).exists():
                    (folder / name).unlink(missing_ok=True)
            for name in names:
                if (unfinished / name).exists():
                    files.put(unfinished / name, folder / name)
        finally:
            with suppress(OSError):
                shutil.rmtree(unfinished)
