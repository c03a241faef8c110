"""Bytes and text of files: regular ones alone, of bounded size, unpacked where gzip has packed them."""

import errno
import os
import stat
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final

from pose_lightning.errors import REMEDIES, UserError

MIB: Final = 1 << 20
LARGEST_RECORD: Final = 32 * MIB
"""Bytes of what a program writes about itself, such as metrics.json or trial.json; a run's largest has some KB."""

LARGEST_TABLE: Final = 256 * MIB
"""Bytes of a .csv file; metrics.csv of a run with a million rows has 100 MB."""

LARGEST_ANNOTATIONS: Final = 640 * MIB
"""Bytes of annotations as JSON, unpacked: COCO's largest file has 470 MB, MPII's 36 MB."""

LARGEST_PICTURE: Final = 1024 * MIB
"""Bytes of a picture file."""

PACKED: Final = 100
"""Times that JSON may be larger than its gzip file: annotations shrink to a tenth, zeros to a thousandth."""

LEAST_UNPACKED: Final = LARGEST_RECORD
"""Bytes that any gzip file may unpack to."""

NAME_SHOWN: Final = 160
"""Characters of a file's name that a message shows."""

_GZIP: Final = b"\x1f\x8b"
_REASONS: Final[Mapping[int, str]] = {
    **REMEDIES,
    errno.ENOENT: "there is no such file",
    errno.EACCES: "permission denied; change its permissions (`ls -l`)",
    errno.EPERM: "the system does not permit it",
    errno.ELOOP: "its links lead in a circle; remove them",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.ENXIO: "it is a socket or a device, not a regular file",
}
_KINDS: Final = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


def shortened(path: object) -> str:
    """A file's name as a message shows it."""
    text = str(path)
    return text if len(text) <= NAME_SHOWN else f"{text[:NAME_SHOWN]}... ({len(text):,} characters)"


def is_file(path: Path) -> bool:
    """Whether there is a regular file; a name that no file can have is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises OSError where a name is too long


def open_regular(path: Path, *, error: type[UserError] = UserError) -> BinaryIO:
    """Open a regular file to read its bytes; anything else is refused, and never waited for.

    Raises:
        UserError: If it is missing, is a folder, FIFO, socket or device, or cannot be opened.
    """
    descriptor = open_descriptor(path, error=error)
    return os.fdopen(descriptor, "rb")


def check_regular(path: Path, *, error: type[UserError] = UserError) -> None:
    """Refuse what another library would open by its name, and may wait for.

    Raises:
        UserError: As `open_regular`.
    """
    os.close(open_descriptor(path, error=error))


def open_descriptor(path: Path, *, error: type[UserError] = UserError) -> int:
    """The descriptor of a regular file, opened to read.

    Raises:
        UserError: As `open_regular`.
    """
    try:
        _check_kind(path, os.stat(path).st_mode, error)  # noqa: PTH116 - opening a device may do something
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as reason:
        if isinstance(reason, UserError):
            raise
        raise error(f"{shortened(path)} cannot be opened: {reason_of(reason)}") from None
    try:
        _check_kind(path, os.fstat(descriptor).st_mode, error)
    except UserError:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(path: Path, mode: int, error: type[UserError]) -> None:
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no regular file")
        raise error(f"{shortened(path)} is {kind}; wanted a regular file")


def reason_of(error: Exception) -> str:
    """The reason of an error in a few words."""
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return str(error) or type(error).__name__


def read_bytes(path: Path, limit: int = LARGEST_PICTURE, *, error: type[UserError] = UserError) -> bytes:
    """The bytes of a regular file.

    Raises:
        UserError: As `open_regular`, and if there are more than `limit`, or the disk does not give them.
    """
    with open_regular(path, error=error) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise error(f"{shortened(path)} has {sized(size)}, more than the {sized(limit)} that are read")
        try:
            return file.read(limit)
        except OSError as reason:
            raise error(f"{shortened(path)} cannot be read: {reason_of(reason)}") from reason


def read_text(path: Path, limit: int = LARGEST_RECORD, *, error: type[UserError] = UserError) -> str:
    """The text of a regular file in UTF-8, with or without a byte-order mark; line ends as they are.

    Raises:
        UserError: As `read_bytes`, and if it is not UTF-8.
    """
    return _decoded(read_bytes(path, limit, error=error), path, error)


def _decoded(data: bytes, path: Path, error: type[UserError]) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        line = data.count(b"\n", 0, reason.start) + 1
        raise error(
            f"{shortened(path)} is no text in UTF-8: line {line} has the byte 0x{data[reason.start]:02x}; save it as "
            "UTF-8"
        ) from None


def read_packed_text(path: Path, limit: int, *, error: type[UserError] = UserError) -> str:
    """The text of a file in UTF-8, which may be packed by gzip.

    Raises:
        UserError: As `read_text`, and if it cannot be unpacked, or unpacks to too much.
    """
    data = read_bytes(path, limit, error=error)
    if data.startswith(_GZIP):
        data = _unpacked(data, min(limit, max(LEAST_UNPACKED, PACKED * len(data))), path, error)
    return _decoded(data, path, error)


def read_start(path: Path, count: int, *, error: type[UserError] = UserError) -> bytes:
    """The first bytes of a file, unpacked where it is packed by gzip.

    Raises:
        UserError: As `open_regular`, and if it cannot be unpacked.
    """
    with open_regular(path, error=error) as file:
        start = file.read(count)
    if not start.startswith(_GZIP):
        return start
    try:
        return zlib.decompressobj(wbits=31).decompress(start, count)
    except zlib.error as reason:
        raise error(f"{shortened(path)} cannot be unpacked: {reason}") from None


def _unpacked(data: bytes, limit: int, path: Path, error: type[UserError]) -> bytes:
    pieces: list[bytes] = []
    total = 0
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            piece = member.decompress(data, limit - total + 1)
        except zlib.error as reason:
            raise error(f"{shortened(path)} cannot be unpacked: {reason}; it is damaged") from None
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise error(f"{shortened(path)} unpacks to more than {sized(limit)}, which no annotations of its size do")
        if not member.eof:
            raise error(f"{shortened(path)} cannot be unpacked: it ends too early; copy it again")
        data = member.unused_data.lstrip(b"\0")
    return b"".join(pieces)


def sized(count: int) -> str:
    """A number of bytes for a message."""
    return f"{count:,} bytes" if count < MIB else f"{count / MIB:,.0f} MiB"
