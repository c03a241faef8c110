"""Reading files that somebody else made: regular files alone, of bounded size, and nothing in them is run.

Each reader raises `UserError`, or the subclass that it is given, and names the file, the reason and the remedy.
"""

import csv
import errno
import io
import json
import math
import os
import signal
import stat
import struct
import subprocess
import sys
import tokenize
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, Final

import h5py
import numpy as np

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

DEFLATE: Final = 1032
"""Times that deflate, HDF5's usual compression, can make bytes fewer at most."""

LARGEST_UNPACKED_DATASET: Final = 512 * MIB
"""Bytes of a compressed dataset, unpacked."""

NAME_SHOWN: Final = 160
"""Characters of a file's name that a message shows."""

MAT_MEMORY: Final = (640 * MIB, 300)
"""Bytes that reading a .mat file may take: so many, and so many times its size. MPII's 12 MB take some 2 GB."""

MAT_SECONDS: Final = (8, 60)
"""CPU seconds that it may take: so many, and so many for each MB. MPII's file takes a minute."""

H5CLEAR: Final = (
    "another program has it open for writing, or died while it had: close that program, or run `h5clear -s "
)

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
_NPY_ERRORS: Final = (
    ValueError,  # of which UnicodeDecodeError
    TypeError,
    KeyError,
    AttributeError,
    SyntaxError,
    OverflowError,
    RecursionError,
    MemoryError,
    EOFError,
    tokenize.TokenError,
)
HDF5_ERRORS: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, IndexError)
"""The kinds that h5py raises on files that are damaged in ways that HDF5 notices late."""


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
        raise error(f"{shortened(path)} cannot be opened: {_reason(reason)}") from None
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


def _reason(error: Exception) -> str:
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
            raise error(f"{shortened(path)} has {_size(size)}, more than the {_size(limit)} that are read")
        try:
            return file.read(limit)
        except OSError as reason:
            raise error(f"{shortened(path)} cannot be read: {_reason(reason)}") from reason


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


def read_json(path: Path, limit: int = LARGEST_RECORD, *, error: type[UserError] = UserError) -> Any:
    """The value of a JSON file, which may be packed by gzip, whatever its name ends with.

    Args:
        path: The file.
        limit: Bytes, unpacked.
        error: Class of the error.

    Raises:
        UserError: As `read_text`, and if it is no JSON, is nested too deep, or unpacks to too much.
    """
    text = read_packed_text(path, limit, error=error)
    try:
        return json.loads(text)
    except RecursionError:
        raise error(f"{shortened(path)} is no usable JSON: it is nested too deep") from None
    except ValueError as reason:
        raise error(f"{shortened(path)} is no JSON, or damaged: {reason}") from None


def read_object(path: Path, limit: int = LARGEST_RECORD, *, error: type[UserError] = UserError) -> dict[str, Any]:
    """The value of a JSON file that holds an object.

    Raises:
        UserError: As `read_json`, and if it is something else.
    """
    value = read_json(path, limit, error=error)
    if not isinstance(value, dict):
        raise error(f"{shortened(path)} holds {_json_kind(value)}; wanted a JSON object")
    return value


def is_number(value: object) -> bool:
    """Whether a JSON value is a number that fits a float, or null, which stands for an unknown one."""
    return value is None or type(value) is float or (type(value) is int and abs(value) < 1 << 63)


def misfit(value: Any, shape: Any, place: str = "") -> str | None:
    """Where a JSON value is not of a shape, and what is there; None where it is.

    Args:
        value: A value of the JSON file.
        shape: A type; a function that says whether a value will do; several of these, as a tuple; `{name: shape}` of an
            object's keys, where a name that ends with `?` may be missing and others may be there; `{...: shape}` of all
            of its values; or `[shape]` of a list's elements.
        place: Before the names, for the message.
    """
    if isinstance(shape, tuple):
        return None if any(misfit(value, part) is None for part in shape) else f"{place or 'it'} is {shown_json(value)}"
    if isinstance(shape, type) or callable(shape):
        fits = type(value) is shape if isinstance(shape, type) else shape(value)
        return None if fits else f"{place or 'it'} is {shown_json(value)}"
    if not isinstance(value, type(shape)):
        return f"{place or 'it'} is {shown_json(value)}"
    if isinstance(value, list):
        parts = [(str(index), item, shape[0]) for index, item in enumerate(value)]
    elif ... in shape:
        parts = [(key, item, shape[...]) for key, item in value.items()]
    else:
        names = {key.removesuffix("?"): wanted for key, wanted in shape.items()}
        if missing := [key for key in shape if not key.endswith("?") and key not in value]:
            return f"{place or 'it'} has no {missing[0]!r}"
        parts = [(name, value[name], wanted) for name, wanted in names.items() if name in value]
    return next((reason for name, item, wanted in parts if (reason := misfit(item, wanted, f"{place}/{name}"))), None)


def read_record(path: Path, shape: Any, *, remedy: str, limit: int = LARGEST_RECORD) -> dict[str, Any]:
    """The object of a JSON file that this package wrote, checked.

    Args:
        path: The file.
        shape: Of the object, as `misfit` takes it.
        remedy: End of the message.
        limit: Bytes.

    Raises:
        UserError: As `read_object`, and if it is of another shape.
    """
    value = read_object(path, limit)
    if reason := misfit(value, shape):
        raise UserError(f"{shortened(path)} is damaged, or of another version: {reason}; {remedy}")
    return value


def shown_json(value: object) -> str:
    """A JSON value in a few words."""
    return shortened(repr(value)) if isinstance(value, str | int | float) else _json_kind(value)


def _json_kind(value: object) -> str:
    return {list: "a list", str: "a text", bool: "true or false", dict: "an object", type(None): "null"}.get(
        type(value), "a number"
    )


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
            raise error(f"{shortened(path)} unpacks to more than {_size(limit)}, which no annotations of its size do")
        if not member.eof:
            raise error(f"{shortened(path)} cannot be unpacked: it ends too early; copy it again")
        data = member.unused_data.lstrip(b"\0")
    return b"".join(pieces)


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < MIB else f"{count / MIB:,.0f} MiB"


def read_csv(
    path: Path, *columns: str, limit: int = LARGEST_TABLE, error: type[UserError] = UserError
) -> list[dict[str, str]]:
    """The rows of a .csv file by its header.

    Raises:
        UserError: As `read_text`, and as `csv_rows`.
    """
    return csv_rows(read_text(path, limit, error=error), path, *columns, error=error)


def csv_rows(text: str, path: Path, *columns: str, error: type[UserError] = UserError) -> list[dict[str, str]]:
    """The rows of CSV text by its header.

    Args:
        text: The text of the file.
        path: From where.
        columns: That must be among the header's.
        error: Class of the error.

    Raises:
        UserError: If a column is missing, a row has more or fewer fields than the header, or a field is longer than
            `csv` takes.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""))
    read: list[dict[str, str]] = []
    try:
        if missing := [column for column in columns if column not in (rows.fieldnames or ())]:
            raise error(f"{shortened(path)} lacks the columns {missing}; wanted {list(columns)}")
        for row in rows:
            if None in row or None in row.values():
                number = "more" if None in row else "fewer"
                raise error(f"{shortened(path)}: line {rows.line_num} has {number} fields than the header")
            read.append(row)
    except csv.Error as reason:
        raise error(f"{shortened(path)}: line {rows.line_num + 1} cannot be read: {reason}; it is damaged") from None
    return read


def read_array(path: Path, *, mapped: bool = False, error: type[UserError] = UserError) -> np.ndarray:
    """The array of a .npy file, whose size is compared with the file's before any memory is taken.

    Args:
        path: The file.
        mapped: Give an `np.memmap`, which reads when its elements are used.
        error: Class of the error.

    Raises:
        UserError: As `open_regular`, and if it is no .npy file, an archive, holds Python objects, or is cut short.
    """
    with open_regular(path, error=error) as file:
        shape, in_fortran, dtype = _npy_header(file, path, error)
        offset = file.tell()
        held = os.fstat(file.fileno()).st_size - offset
        wanted = math.prod(shape) * dtype.itemsize
        if wanted > held:
            raise error(
                f"{shortened(path)} is cut short or damaged: its header declares {dtype} {shape}, {_size(wanted)}, and "
                f"{_size(held)} follow"
            )
        order: Any = "F" if in_fortran else "C"
        try:
            if mapped and wanted:
                return np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)
            return np.frombuffer(bytearray(file.read(wanted)), dtype).reshape(shape, order=order)
        except (OSError, ValueError, OverflowError, TypeError) as reason:
            raise error(f"{shortened(path)} cannot be read as .npy: {_reason(reason)}") from reason


def _npy_header(file: BinaryIO, path: Path, error: type[UserError]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version[0]}.{version[1]}")
        shape, in_fortran, dtype = read(file)
    except _NPY_ERRORS as reason:
        file.seek(0)
        start = file.read(4)
        if not start:
            text = "it is empty"
        elif start.startswith(b"PK"):
            text = "it is an archive (.npz); save its array with numpy.save"
        elif not start.startswith(b"\x93NUM"):
            text = "it is something else"
        else:
            text = f"its header is damaged ({str(reason).partition(chr(10))[0][:120]})"
        raise error(f"{shortened(path)} cannot be read as .npy: {text}") from None
    if dtype.hasobject:
        raise error(f"{shortened(path)} holds Python objects, which are not read; save numbers")
    if not dtype.itemsize or any(size < 0 or size >= 1 << 63 for size in shape):
        raise error(f"{shortened(path)}: its header is damaged: {dtype} {shape}")
    return shape, in_fortran, dtype


@contextmanager
def open_hdf5(
    path: Path, *, error: type[UserError] = UserError, kind: str = "HDF5 file", remedy: str = "copy it again"
) -> Iterator[h5py.File]:
    """Open an HDF5 file to read, and turn what HDF5 says of a damaged one, then or in the block, into a user's error.

    No lock is taken. Datasets are read with `read_dataset`, and attributes with `read_attributes`.

    Args:
        path: The file.
        error: Class of the error.
        kind: The file's, for the message of a damaged one, as is the remedy.
        remedy: Of a damaged file.

    Raises:
        UserError: As `open_regular`, and if it is no HDF5, damaged, or open for writing elsewhere.
    """
    check_regular(path, error=error)
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except UserError:
        raise
    except HDF5_ERRORS as reason:
        raise error(f"{shortened(path)} {_hdf5_reason(reason, path, kind, remedy)}") from reason


def _hdf5_reason(reason: Exception, path: Path, kind: str, remedy: str) -> str:
    text = str(reason)
    if "h5clear" in text or "already open for write" in text:
        return f"is marked as being written: {H5CLEAR}{path}`, which comes with HDF5, and take away the mark"
    number = next((number for number in (errno.EMFILE, errno.ENFILE) if f"errno = {number}," in text), None)
    if isinstance(reason, OSError) and reason.errno in (errno.EMFILE, errno.ENFILE):
        number = reason.errno
    if number is not None:
        return f"cannot be opened: {REMEDIES[number]}"
    words = text.partition("\n")[0][:200] or type(reason).__name__
    return f"is no {kind}, or truncated or damaged ({words}); {remedy}"


def dataset_of(file: h5py.Group, name: str, path: Path, *, error: type[UserError] = UserError) -> h5py.Dataset:
    """A dataset that lies inside the file, and is no larger than the file can hold.

    Raises:
        UserError: If it is missing, or a link to elsewhere, or its declared shape does not fit the file.
        OSError: Or another of `HDF5_ERRORS`, which `open_hdf5` explains.
    """
    *folders, last = name.split("/")
    for part in (*folders, last):
        link = file.get(part, getlink=True)
        if link is None:
            raise error(f"{shortened(path)} has no dataset {name!r}; it has {_listed(file)}")
        if not isinstance(link, h5py.HardLink):
            raise error(f"{shortened(path)}: {name!r} is a link to elsewhere, which is not followed")
        part_of_file = file[part]
        if part != last:
            file = part_of_file
    if not isinstance(part_of_file, h5py.Dataset):
        raise error(f"{shortened(path)}: {name!r} is no dataset")
    check_dataset(part_of_file, path, error=error)
    return part_of_file


def _listed(file: h5py.Group) -> list[str]:
    return [shortened(name) for name, _ in zip(sorted(file), range(20), strict=False)]


def check_dataset(dataset: h5py.Dataset, path: Path, *, error: type[UserError] = UserError) -> None:
    """Refuse a dataset with elements elsewhere, or that declares more than the file holds.

    Raises:
        UserError: If so.
    """
    where = f"{shortened(path)}: {dataset.name!r}"
    if dataset.is_virtual or dataset.external:
        raise error(f"{where} keeps its elements in other files, which are not read; copy them into one file")
    if dataset.shape is None:
        raise error(f"{where} is empty")
    itemsize = dataset.id.get_type().get_size()
    declared = math.prod(dataset.shape) * itemsize
    stored, held = dataset.id.get_storage_size(), path.stat().st_size
    packed = dataset.chunks is not None and dataset.id.get_create_plist().get_nfilters() > 0
    most = min(DEFLATE * min(stored, held), LARGEST_UNPACKED_DATASET) if packed else min(stored, held)
    chunk = math.prod(dataset.chunks) * itemsize if dataset.chunks else 0
    if declared > most or chunk > max(LARGEST_UNPACKED_DATASET if packed else held, declared):
        raise error(
            f"{where} declares {dataset.dtype} {dataset.shape}, {_size(declared)}, and the file holds {_size(stored)} "
            "of it; it is damaged"
        )


def read_dataset(file: h5py.Group, name: str, path: Path, *, error: type[UserError] = UserError) -> np.ndarray:
    """The elements of a dataset; texts as objects of `str` or `bytes`, as h5py gives them.

    Raises:
        UserError: As `dataset_of`.
    """
    return np.asarray(dataset_of(file, name, path, error=error)[()])


def read_texts(file: h5py.Group, name: str, path: Path, *, error: type[UserError] = UserError) -> tuple[str, ...]:
    """The texts of a dataset of one axis.

    Raises:
        UserError: As `dataset_of`, and if it holds something else, or no UTF-8.
    """
    values = read_dataset(file, name, path, error=error)
    if values.ndim != 1 or values.dtype.kind not in "SO":
        raise error(f"{shortened(path)}: {name!r} is {values.dtype} {values.shape}; wanted texts")
    try:
        return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values.tolist())
    except UnicodeDecodeError:
        raise error(f"{shortened(path)}: {name!r} holds text that is not UTF-8") from None


def read_attributes(file: h5py.HLObject) -> dict[str, Any]:
    """The attributes; one of a single element, as MATLAB writes them all, as that element, and bytes as `str`.

    Raises:
        OSError: Or another of `HDF5_ERRORS`, which `open_hdf5` explains.
    """
    return {key: plain(file.attrs[key]) for key in file.attrs}


def plain(value: Any) -> Any:
    """A value of an HDF5 attribute or a .mat file as Python's own, where it has one element."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if isinstance(value, np.generic):
        value = value.item()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def load_mat(path: Path, *keys: str, squeeze: bool = True, error: type[UserError] = UserError) -> dict[str, Any]:
    """Variables of a MATLAB file up to v7, read in a process of its own, which a damaged file may crash.

    Structs have their fields as attributes; cells and arrays of structs are arrays of objects; a MATLAB class's object
    is `Unread`.

    Args:
        path: The file.
        keys: Names of the variables; all where none is given. Those that the file lacks are left out.
        squeeze: Leave out axes of size 1.
        error: Class of the error.

    Raises:
        UserError: As `open_regular`, and if it is of v7.3, no MATLAB file or damaged, or takes too much time or memory.
    """
    with open_regular(path, error=error) as file:
        size = os.fstat(file.fileno()).st_size
        memory = MAT_MEMORY[0] + MAT_MEMORY[1] * size
        seconds = MAT_SECONDS[0] + MAT_SECONDS[1] * size // MIB
        command = [sys.executable, "-P", str(Path(__file__).with_name("mat_process.py"))]
        child = subprocess.run(
            [*command, str(memory), str(seconds), str(int(squeeze)), *keys],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            check=False,
        )
    where = f"{shortened(path)} cannot be read as a MATLAB file"
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise error(f"{where}: it would take more than {seconds} s; it is damaged, or save less in it")
    if child.returncode:
        crashed = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
        raise error(f"{where}: it is damaged, and its reader crashed on it ({crashed}); copy it again")
    answer, arrays = _mat_answer(child.stdout)
    if (fault := answer.get("error")) == "memory":
        raise error(f"{where}: it would take more than {_size(memory)} of memory; it is damaged, or save less in it")
    if fault == "v7.3":
        raise error(f"{shortened(path)} is a MATLAB v7.3 file; save it again with `save -v7`")
    if fault is not None:
        raise error(f"{where}: it is no such file, or damaged ({fault}); copy it again")
    return {key: _rebuilt(value, arrays) for key, value in answer["variables"].items()}


class Unread:
    """A value of a .mat file that is neither numbers, text, a struct nor a cell."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def _mat_answer(data: bytes) -> tuple[dict[str, Any], list[np.ndarray]]:
    (length,) = struct.unpack_from("<q", data)
    stream, arrays = io.BytesIO(data), []
    stream.seek(8 + length)
    while stream.tell() < len(data):
        arrays.append(np.lib.format.read_array(stream, allow_pickle=False))
    return json.loads(data[8 : 8 + length]), arrays


def _rebuilt(value: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "struct" in value:
        return SimpleNamespace(**{name: _rebuilt(item, arrays) for name, item in value["struct"].items()})
    if "array" in value:
        return arrays[value["array"]]
    if "numbers" in value:
        return np.array(value["numbers"], dtype=value["dtype"]).reshape(value["shape"])
    if "other" in value:
        return Unread(value["other"])
    objects = np.empty(len(value["objects"]), dtype=object)
    for index, item in enumerate(value["objects"]):
        objects[index] = _rebuilt(item, arrays)
    return objects.reshape(value["shape"])
