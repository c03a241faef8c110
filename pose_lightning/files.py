"""Writing files: whole or not at all, synced with their folder, by one process at a time, and never through a link."""

import argparse
import ctypes
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import tempfile
import time
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self, TextIO

from pose_lightning.errors import UserError, system_fault

PATIENCE: Final = 10.0
"""Seconds for which a short write waits for another one of the same file."""

_WITHOUT_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
_FORMULA: Final = "=+-@\t\r\n"
_NOBODY: Final = "another process"
_SILENCE: Final = 1.0
"""Seconds for which a holder without a name is waited for."""
_EXCHANGE: Final = 2
_HERE: Final = -100
"""`RENAME_EXCHANGE` and `AT_FDCWD` of Linux's renameat2."""


class BusyError(UserError):
    """Another process holds what this one wants to write."""


class PathError(UserError, argparse.ArgumentTypeError):
    """A path that a person typed is none of this machine; argparse shows the message as it is."""


def local_path(text: str | os.PathLike[str]) -> Path:
    """The path that a person typed, with `~` expanded: the type of every option that names a file or a folder.

    Raises:
        PathError: If it is a URL, or nobody knows whose home it begins with.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(text)):  # one slash is left where it has been a Path already
        url = re.sub(":/+", "://", str(text), count=1)
        raise PathError(f"{url} is a URL; give a file or a folder of this machine")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise PathError(f"{text}: {error}; write the folder out") from error


class Lock:
    """An exclusive lock on a path, held by a file beside what it guards until `release`, or the process's end.

    The lock file holds who took it, for the message of the process that comes second, and a token by which processes
    that its holder starts can be known. It is removed on release; one that a killed process left is taken over. Where
    the file system has no locks, this is warned of once, and nothing is refused.
    """

    def __init__(self, path: Path, descriptor: int, token: str) -> None:
        self.path, self.token, self._descriptor = path, token, descriptor

    @classmethod
    def take(cls, path: Path, *, guards: Path, patience: float = 0.0) -> Self:
        """Take the lock.

        Args:
            path: The lock file.
            guards: The file or folder that is guarded, for the message.
            patience: Seconds to wait for its holder.

        Raises:
            BusyError: If another process holds it; the message names that process.
            UserError: If a link is in its place.
            OSError: If it cannot be written.
        """
        end = time.monotonic() + patience
        while True:
            refuse_link(path)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                raise UserError(f"{path} is no regular file; remove it")
            try:
                flocked(descriptor, path)
                if _is_at(path, descriptor):
                    return cls(path, descriptor, sign(descriptor))
            except BlockingIOError:
                holder, late = _holder(descriptor), time.monotonic() - end
                if late >= (0 if holder != _NOBODY else _SILENCE):  # a holder may not have written its name yet
                    os.close(descriptor)
                    raise BusyError(f"{guards} is being written by {holder}; wait for it, or stop it") from None
                time.sleep(0.02)
            except BaseException:
                cls(path, descriptor, "").release()
                raise
            os.close(descriptor)

    def release(self) -> None:
        """Remove the lock file, and let go."""
        if self._descriptor < 0:
            return
        with suppress(OSError):
            if _is_at(self.path, self._descriptor):
                self.path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def sign(descriptor: int) -> str:
    """Write into a lock file who holds it; returns the token by which processes that its holder starts are known."""
    token = secrets.token_hex(8)
    text = f"{token}\n{os.getpid()}\n{socket.gethostname()}\n{' '.join(sys.argv) or 'python'}\n"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(errors="surrogateescape")[:4096], 0)
    return token


def lock_path(path: Path) -> Path:
    """The lock file of a path, beside it."""
    return path.with_name(f".{path.name}.lock")


def held_by(path: Path) -> tuple[str, str] | None:
    """Token and holder of the lock file at `path`, or None where no process holds it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 4096, 0).decode(errors="replace").partition("\n")[0], _holder(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def refuse_link(path: Path) -> None:
    """Refuse a link in the place of something that will be written.

    Raises:
        UserError: If there is one.
    """
    if path.is_symlink():
        raise UserError(f"{path} is a link, to {path.readlink()}: nothing is written through it; remove it")


def check_target(path: Path) -> None:
    """Refuse, before long work, a file that could not be written after it.

    Raises:
        UserError: If the target is a folder or a link, or its folder cannot be written to.
    """
    with explained(path):
        refuse_target(path)
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass


def appending(path: Path) -> TextIO:
    """Open a file to add lines at its end.

    Raises:
        OSError: If it cannot be opened, or a link is in its place.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    return os.fdopen(descriptor, "a", newline="", encoding="utf-8", errors="backslashreplace")  # as `write_text`


def refuse_target(path: Path) -> None:
    """Refuse a folder or a link in the place of a file that will be written.

    Raises:
        UserError: If there is one.
    """
    refuse_link(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file")


def make_folder(folder: Path, *, inside: Path) -> Path:
    """Make a folder inside another one, such as a run's `curves/`, and return it.

    Raises:
        UserError: If a link stands in its place, or in that of a folder between the two; or if it cannot be made.
    """
    with explained(folder):
        _make(inside)
        path = inside
        for part in folder.relative_to(inside).parts:
            path /= part
            refuse_link(path)
            path.mkdir(exist_ok=True)
    return folder


@contextmanager
def writing(path: Path, *, extension: str = "", patience: float = 0.0) -> Iterator[Path]:
    """Give the path of an empty partial file, which becomes the file at `path` when the block ends well.

    The partial file is `NAME.partial` beside the target. It is removed when anything fails; one that a killed process
    left is removed first. The target's folder is made.

    Args:
        path: The target.
        extension: End of the partial file's name, for writers that choose a format by it, such as `.onnx`.
        patience: Seconds to wait for another writer of the same file.

    Raises:
        BusyError: If another process writes the same file.
        UserError: If the target is a folder or a link, or the disk refuses: full, read-only, not permitted.
    """
    partial = path.with_name(f"{path.name}.partial{extension}")
    with explained(path):
        _make(path.parent)
        refuse_target(path)
        with Lock.take(lock_path(path), guards=path, patience=patience):
            refuse_link(partial)
            partial.unlink(missing_ok=True)
            os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
            try:
                yield partial
                put(partial, path)
            finally:
                with suppress(OSError):
                    partial.unlink(missing_ok=True)


def put(partial: Path, path: Path) -> None:
    """Give a finished file its name, in one step that outlasts a failure of power.

    Raises:
        UserError: If a folder or a link is in its place.
        OSError: If the disk refuses.
    """
    _sync(partial, os.O_NOFOLLOW)
    refuse_target(path)
    partial.replace(path)
    _sync(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, after waiting a little for another writer of it.

    Raises:
        UserError: As `writing`.
    """
    with writing(path, patience=PATIENCE) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str, *, errors: str = "backslashreplace") -> None:
    """Write a file of UTF-8 with the line ends that `text` has, whole or not at all.

    Bytes of a file name that are no UTF-8 are written as escapes.

    Raises:
        UserError: As `writing`.
    """
    write_bytes(path, text.encode(errors=errors))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all; NaN is refused, because JSON has none.

    Raises:
        UserError: As `writing`.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def as_cell(value: Any) -> Any:
    """A value for a table: text that a spreadsheet would run as a formula begins with an apostrophe."""
    text = str(value)
    if not text or unicodedata.normalize("NFKC", text[0])[0] not in _FORMULA:
        return value
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return value


@contextmanager
def owning(folder: Path) -> Iterator[None]:
    """Let no other process write into a folder, which is made, while the block runs.

    Raises:
        BusyError: If another process does.
        UserError: If the disk refuses, or a link is in the lock's place.
    """
    with explained(folder):
        _make(folder)
        lock = Lock.take(folder / ".lock", guards=folder)
    with lock:
        yield


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, which takes its place, all at once, when the block ends well.

    Raises:
        BusyError: If another process replaces the same folder.
        UserError: If a file or a link is in its place, or the disk refuses.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    with explained(folder):
        _make(folder.parent)
        refuse_link(folder)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file, where a folder is to be written; remove it")
        with Lock.take(lock_path(folder), guards=folder):
            refuse_link(partial)
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
            try:
                yield partial
                os.sync()
                refuse_link(folder)
                _take_place(partial, folder)
                _sync(folder.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)


def _take_place(partial: Path, folder: Path) -> None:
    """Rename a folder over another one; where the system can, there is no moment without it."""
    if not folder.exists():
        partial.rename(folder)
        return
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None and not rename(_HERE, os.fsencode(partial), _HERE, os.fsencode(folder), _EXCHANGE):
        return  # the old folder has the partial one's name now, and is removed like one
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    try:
        partial.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, "", str(folder)) from error


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a fault of the disk, also one that a library has wrapped in its own error, into a user's error."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if not isinstance(cause, MemoryError) and (fault := system_fault(cause)) is not None:
                filename = getattr(cause, "filename", None)
                where = "" if filename is None or str(filename) == str(path) else f"{filename}: "
                reason = fault.removeprefix(f"{filename}: ")
                raise UserError(f"{path} cannot be written: {where}{reason}") from error
            cause = cause.__cause__ or cause.__context__
        raise


def flocked(descriptor: int, path: Path, *, wait: bool = False) -> None:
    """Lock a descriptor of a lock file; where the file system has no locks, warn of it.

    Raises:
        BlockingIOError: If another process has it locked, unless it is waited for.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
        warnings.warn(
            f"{path.parent}: this file system has no locks ({error.strerror}): do not write to it from two processes",
            stacklevel=2,
        )


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    """The process that a lock file names."""
    _, process, host, command, *_ = [*os.pread(descriptor, 4096, 0).decode(errors="replace").split("\n"), *[""] * 4]
    if not process:
        return _NOBODY
    elsewhere = "" if host == socket.gethostname() else f" on {host}"
    return f"process {process}{elsewhere} ({command})"


def _sync(path: Path, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # folders of some file systems cannot be synced
            raise
    finally:
        os.close(descriptor)
