"""Sealed files: PyTorch files that carry their own checksum, are written whole or not at all, and refused if damaged.

A file of `torch.save` is a zip archive, and a zip archive may end with a comment. The seal is that comment: the xxh3-64
of everything before it, with the comment's own length counted as none. The file stays one that `torch.load` reads.
"""

import os
import pickle
import re
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
import xxhash
from pytorch_lightning.utilities import rank_zero_only, rank_zero_warn

from pose_lightning.errors import FULL, REMEDIES, UserError
from pose_lightning.files import writing
from pose_lightning.reading.raw import is_file, open_regular

MARK: Final = b"xxh3-64:"
SEAL_BYTES: Final = len(MARK) + 16
"""Of the mark and 16 hexadecimal digits."""

LENGTH: Final = struct.pack("<H", SEAL_BYTES)
"""How a zip archive says that its comment is a seal's length."""

END: Final = b"PK\x05\x06"
END_BYTES: Final = 22
"""A zip archive's last record, without the comment whose length its last two bytes are."""

_CHUNK: Final = 1 << 22

LOAD_ERRORS: Final = (
    pickle.UnpicklingError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)
"""Errors that `torch.load` lets escape from a file that is damaged or foreign."""


class SealError(UserError):
    """A file is damaged, missing, or could not be written."""


class _Hashed:
    """What `torch.save` writes to: the file, and the hash of what went there.

    An error of the file is kept for later, because `torch.save` answers one with another of its own.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.hash = file, xxhash.xxh3_64()
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error
            else:
                self.hash.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing: `write` does it once, at its end."""


def previous(path: Path) -> Path:
    """Where the file that was at `path` before is kept: `last.prev.ckpt` of `last.ckpt`."""
    return path.with_name(f"{path.stem}.prev{path.suffix}")


def write(value: Any, path: Path, *, keep: bool) -> None:
    """Write `value` beside the target, sync it, and rename it: a reader sees the old file or the new one.

    Args:
        value: What `torch.load` with `weights_only=True` can read.
        path: The target.
        keep: Keep the file that the target replaces, as `previous` names it.

    Raises:
        SealError: If it cannot be written, as on a full disk; what was there stays.
    """
    try:
        with writing(path) as partial:
            with partial.open("wb") as file:
                hashed = _Hashed(file)
                torch.save(value, hashed)  # type: ignore[arg-type]
                if hashed.error is not None:
                    raise hashed.error
                file.seek(-2, os.SEEK_END)
                file.write(LENGTH + MARK + hashed.hash.hexdigest().encode())
                file.flush()
                os.fsync(file.fileno())  # before the file at `path` takes the place of the one before it
            if keep and path.is_file():
                _keep(path)
    except UserError as error:
        if not isinstance(cause := error.__cause__, OSError):
            raise
        left = shutil.disk_usage(path.parent).free
        stays = f"; the one before it is untouched ({path})" if path.is_file() else ""
        remedy = "make room" if cause.errno in FULL else REMEDIES.get(cause.errno or 0, "mend it")
        raise SealError(
            f"{path} could not be written: {cause.strerror or cause} ({left / 1e6:.0f} MB free){stays}; {remedy} and "
            "go on with `--resume`"
        ) from error


def verify(path: Path) -> None:
    """Read the whole file, and compare it with its seal; a file that was written without one passes.

    Raises:
        SealError: If it is missing, cut short, a bit of it differs, or the disk does not give it back.
    """
    if not is_file(path):
        raise SealError(f"{path} is not there")
    try:
        _compare(path)
    except OSError as error:
        raise SealError(f"{path} cannot be read: {error.strerror or error}") from error


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint: tensors and plain data alone, on the CPU.

    Raises:
        SealError: As `verify`, and if it is no checkpoint, or holds anything else.
    """
    verify(path)
    return read(path)


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint that was verified just now.

    Raises:
        SealError: As `load`, but for its checksum.
    """
    with explained(path), open_regular(path, error=SealError) as file:
        state = torch.load(file, map_location="cpu", weights_only=True)
    return checked(state, path)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what PyTorch says of a file that it cannot load into a user's error, without its advice to run the file.

    Raises:
        SealError: In place of it.
    """
    try:
        yield
    except UserError:
        raise
    except LOAD_ERRORS as error:
        raise SealError(f"{path} is no checkpoint of this package: {reason(error)}; train the run again") from error


def checked(state: Any, path: Path) -> dict[str, Any]:
    """A checkpoint, as far as every one has the same.

    Raises:
        SealError: If it is none.
    """
    weights = state.get("state_dict") if isinstance(state, dict) else None
    step = state.get("global_step") if isinstance(state, dict) else None
    named = isinstance(weights, dict) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()
    )
    if not named or type(step) is not int or step < 0:
        raise SealError(f"{path} is no checkpoint: it has no weights by name, or no step; train the run again")
    return dict(state)


def reason(error: BaseException) -> str:
    """Why PyTorch could not load a file, in a few words of ours."""
    if blocked := re.search(r"GLOBAL ([\w.]+) (?:whose module|was not an allowed)", str(error)):
        return f"it holds {blocked[1]}, which would run code of the file's choice, and no weights need it"
    if isinstance(error, RuntimeError | MemoryError) and "alloc" in str(error):
        return "it declares more than the memory holds"
    return f"it is damaged, or something else ({type(error).__name__})"


def first_whole(paths: Sequence[Path]) -> Path:
    """The first of the files that is there and not damaged; a damaged one is said loudly, and set aside.

    It is renamed, to `last.damaged.ckpt` of `last.ckpt`, so that it never takes the place of one that is whole.

    Raises:
        SealError: If there is none.
    """
    refused = []
    for path in paths:
        try:
            verify(path)
        except SealError as error:
            refused.append(error)
            continue
        for reason, bad in zip(refused, paths, strict=False):
            if bad.is_file():
                _set_aside(bad)
            rank_zero_warn(f"{reason}; going on from the one before it, {path}")
        return path
    raise SealError("; ".join(map(str, refused)))


def _compare(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - END_BYTES - SEAL_BYTES))
        tail = file.read()
        record, seal = tail[:END_BYTES], tail[END_BYTES:]
        is_sealed = record.startswith(END) and record.endswith(LENGTH) and seal.startswith(MARK)
        if not is_sealed:
            if tail[-END_BYTES:].startswith(END) and tail.endswith(b"\0\0"):
                return
            raise SealError(f"{path} is damaged: it is cut short ({size} bytes), or its end is overwritten")
        file.seek(0)
        found, left = xxhash.xxh3_64(), size - SEAL_BYTES - 2
        while left and (chunk := file.read(min(_CHUNK, left))):
            found.update(chunk)
            left -= len(chunk)
    found.update(b"\0\0")
    if found.hexdigest().encode() != seal.removeprefix(MARK):
        raise SealError(f"{path} is damaged: its checksum is {found.hexdigest()}, and {seal.decode('latin-1')} is kept")


@rank_zero_only
def _set_aside(path: Path) -> None:
    path.replace(path.with_name(f"{path.stem}.damaged{path.suffix}"))


def _keep(path: Path) -> None:
    """Give the file its name of the one before, while it has its own."""
    link = path.with_name(f"{path.name}.link")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:  # a file system without hard links; for a moment only the name of the one before is there
        path.replace(previous(path))
    else:
        link.replace(previous(path))
