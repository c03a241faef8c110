"""Locks that the system lets go of when their holder ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pose_lightning.files import flocked, held_by, sign


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, after waiting for it."""
    descriptor = _open(path)
    try:
        flocked(descriptor, path, wait=True)
        yield
    finally:
        os.close(descriptor)


def grasp(path: Path) -> int | None:
    """A descriptor that holds the lock at `path`, or None while another does.

    It belongs to whoever has the descriptor: a process that inherits it keeps the lock after its parent has ended.
    """
    descriptor = _open(path)
    try:
        flocked(descriptor, path)
    except BlockingIOError:
        os.close(descriptor)
        return None
    with suppress(OSError):  # a full disk keeps the name, not the lock
        sign(descriptor)
    return descriptor


def holder(path: Path) -> str:
    """The process that holds the lock at `path`, for a message."""
    return (held_by(path) or ("", "another process"))[1]


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
