"""The store: samples of one split in one immutable HDF5 file, each with its checksum.

A file holds `labels`, a table with one row per sample, and, unless it is labels only, `pixels`: either uint8 arrays of
one shape (codec `raw`, one sample per chunk) or JPEG files laid end to end (codec `jpeg`, where `offsets` says where
each begins). Nothing is filtered, so a sample is a range of bytes of the file: the reader asks HDF5 once where the
chunks lie, closes it, and reads with `preadv`, which is safe in threads and after a fork and costs what the disk costs.

Every sample carries two xxh3-64 checksums: of its pixels, and of its row in the tables (labels, place, and the first
checksum). Both are seeded with the sample's index, so that a sample at the wrong place is as wrong as a flipped bit; a
third one covers the header. Rows and header are verified at opening, pixels on every read. They find accidents, not
attackers.

    python -m pose_lightning.store verify FILE    names every damaged sample
    python -m pose_lightning.store info FILE      says what a store holds
"""

import argparse
import fcntl
import importlib.metadata
import json
import math
import os
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

import h5py
import numpy as np
import simplejpeg
import xxhash
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from pose_lightning.errors import UserError

Codec = Literal["raw", "jpeg"]

FORMAT: Final = "pose_lightning store"
LAYOUT: Final = 1
HEADER: Final = ("format", "layout", "package_version", "codec", "shape", "attrs")  # root attributes under the checksum
JPEG_CHUNK: Final = 1 << 20  # bytes; a sample may straddle two chunks, so large against a sample and small in memory
PAGE: Final = 4096  # bytes; the kernel copies between pages that begin alike twice as fast as between others
ALIGNED_FROM: Final = (
    1 << 16
)  # bytes from which a chunk begins at a page: below, the gaps would cost more than they gain
GROWTH: Final = 256  # chunks by which `pixels` grows while it is written
LONGEST_ATTRIBUTE: Final = 300  # characters that `info` shows
REMAKE: Final = "make it again with `python -m pose_lightning.convert`"

_NOT_RGB: Final = ("CMYK", "YCCK")

# What h5py raises on files that are damaged in ways that HDF5 notices late.
_HDF5_ERRORS: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError)


class StoreError(UserError):
    """A store that cannot be written, opened or read; the message names the file and the sample."""


class StoreWriter:
    """Write a store whole or not at all.

    Samples go to `<name>.partial` beside the target. When the `with` block ends well, the file is closed, opened again,
    every sample is compared with its checksum, and only then does it get its name, replacing what was there. When the
    block raises, the partial file is removed; a killed writer leaves one, which the next writer overwrites.

    Args:
        path: The store's file; its directory is made.
        codec: How `append` gets pixels: `raw` arrays, `jpeg` files, or None for a store of labels only.
        attrs: What the reader must know of the whole split; anything that JSON can hold.
        shape: Shape of one sample's pixels, channels last. Raw stores need it; a JPEG store takes the first sample's.

    Raises:
        StoreError: If another process is writing the same store, or a sample does not fit; and, at the end of the
            block, if there is no sample or the file does not hold what was written.
    """

    def __init__(
        self, path: Path, *, codec: Codec | None, attrs: Mapping[str, Any], shape: tuple[int, ...] | None = None
    ) -> None:
        if codec == "raw" and shape is None:
            raise StoreError(f"{path}: a raw store needs `shape`, that of one sample's pixels")
        try:
            self._attrs = json.dumps(dict(attrs), allow_nan=False, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise StoreError(f"{path}: attrs cannot be written as JSON: {error}") from error
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.codec = codec
        self.shape = None if shape is None else tuple(int(size) for size in shape)
        self._names: dict[str, int] = {}
        self._fields: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._columns: dict[str, bytearray] = {}
        self._texts: dict[str, list[bytes]] = {}
        self._checksums: list[int] = []
        self._offsets = [0]
        self._packed = bytearray()  # JPEG bytes that do not fill a chunk yet
        self._chunks = 0

    def __len__(self) -> int:
        return len(self._names)

    def __enter__(self) -> "StoreWriter":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.partial)
        except OSError as error:
            raise StoreError(f"{self.partial} cannot be written: {error.strerror}") from error
        try:
            # HDF5's own lock would meet ours, which outlives the file's closing.
            self._file = h5py.File(
                self.partial,
                "w",
                libver="latest",
                locking=False,
                alignment_threshold=ALIGNED_FROM,
                alignment_interval=PAGE,
            )
            if self.codec is not None:
                chunk = (JPEG_CHUNK,) if self.codec == "jpeg" else (1, *(self.shape or ()))
                self._pixels = _empty(self._file, chunk)
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            try:
                self._file.close()
            finally:
                if self._partial_is_ours():
                    self.partial.unlink()
                os.close(self._lock)

    def append(self, pixels: np.ndarray | bytes | None, labels: Mapping[str, Any]) -> None:
        """Add one sample.

        Args:
            pixels: uint8 array of the store's shape (raw), a JPEG file's bytes (jpeg), or None (labels only).
            labels: One row: text, numbers, truth values, or arrays of numbers or truth values. `name` is text and
                unlike every other sample's. All samples have the same fields, shapes and dtypes.

        Raises:
            StoreError: If the sample does not fit (the next one may) or cannot be written.
        """
        where = f"{self.path}: sample {len(self)} ({labels.get('name')!r})"
        row = {field: _cell(value, f"{where}: label {field!r}") for field, value in labels.items()}
        self._check_row(row, where)
        payload, shape = self._checked_pixels(pixels, where)
        try:
            self._write(payload)
        except (OSError, RuntimeError) as error:
            raise StoreError(f"{where} cannot be written: {error}") from error
        for field, cell in row.items():
            self._fields[field] = (_storable(cell), cell.shape)
            if cell.dtype.kind == "S":
                self._texts.setdefault(field, []).append(cell.item())
            else:
                self._columns.setdefault(field, bytearray()).extend(cell.tobytes())
        self._names[row["name"].item().decode()] = len(self)
        self.shape = shape

    def _check_row(self, row: Mapping[str, np.ndarray], where: str) -> None:
        if "name" not in row or row["name"].dtype.kind != "S":
            raise StoreError(f"{where}: a sample needs a label `name`, which is text")
        name = row["name"].item().decode()
        if name in self._names:
            raise StoreError(f"{where}: sample {self._names[name]} has the same name")
        fields = {field: (_storable(cell), cell.shape) for field, cell in row.items()}
        wanted = self._fields or fields
        if fields.keys() != wanted.keys():
            raise StoreError(f"{where}: labels {sorted(fields)}; the samples before have {sorted(wanted)}")
        for field, (dtype, shape) in fields.items():
            if (dtype, shape) != wanted[field]:
                raise StoreError(
                    f"{where}: label {field!r} is {_describe(row[field])}; the samples before have "
                    f"{wanted[field][0]} {wanted[field][1]}"
                )

    def _checked_pixels(
        self, pixels: np.ndarray | bytes | None, where: str
    ) -> tuple[memoryview, tuple[int, ...] | None]:
        """The bytes to store, and their shape when decoded."""
        if self.codec is None:
            if pixels is not None:
                raise StoreError(f"{where}: pixels for a store of labels only")
            return memoryview(b""), self.shape
        if self.codec == "raw":
            if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != self.shape:
                raise StoreError(f"{where}: pixels are {_describe(pixels)}; the store has uint8 {self.shape}")
            return np.ascontiguousarray(pixels).data.cast("B"), self.shape
        if not isinstance(pixels, bytes) or not pixels.startswith(b"\xff\xd8"):
            raise StoreError(f"{where}: pixels are {_describe(pixels)}, wanted the bytes of a JPEG file")
        try:
            height, width, colorspace, _ = simplejpeg.decode_jpeg_header(pixels)
        except ValueError as error:
            raise StoreError(f"{where}: the JPEG header cannot be read: {error}") from error
        shape = (height, width, 3)
        if colorspace in _NOT_RGB or shape != (self.shape or shape):
            raise StoreError(f"{where}: a {colorspace} JPEG of {shape}; the store has RGB {self.shape or shape}")
        return memoryview(pixels), shape

    def _write(self, payload: memoryview) -> None:
        if self.codec is None:
            return
        if self.codec == "raw":
            self._write_chunk(payload)
        else:
            self._packed += payload
            while len(self._packed) >= JPEG_CHUNK:
                self._write_chunk(bytes(self._packed[:JPEG_CHUNK]))
                del self._packed[:JPEG_CHUNK]
        self._offsets.append(self._offsets[-1] + len(payload))
        self._checksums.append(xxhash.xxh3_64_intdigest(payload, seed=len(self)))

    def _write_chunk(self, payload: memoryview | bytes) -> None:
        chunk = self._pixels.chunks
        if self._chunks * chunk[0] >= self._pixels.shape[0]:
            self._pixels.resize((self._chunks + GROWTH) * chunk[0], axis=0)
        self._pixels.id.write_direct_chunk((self._chunks * chunk[0],) + (0,) * (len(chunk) - 1), payload)
        self._chunks += 1

    def _finish(self) -> None:
        if not len(self):
            raise StoreError(f"{self.path}: not one sample to write")
        try:
            self._write_tables()
            self._file.close()
        except (OSError, RuntimeError) as error:
            raise StoreError(f"{self.partial} cannot be written: {error}") from error
        if damaged := list(damaged_samples(self.partial)):
            raise StoreError(f"{damaged[0]}; {len(damaged)} of {len(self)} samples are not as they were written")
        os.fsync(self._lock)
        self.partial.replace(self.path)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _write_tables(self) -> None:
        if self._packed:
            self._write_chunk(bytes(self._packed) + bytes(JPEG_CHUNK - len(self._packed)))
        starts, checksums = np.array(self._offsets, dtype="<i8"), np.array(self._checksums, dtype="<u8")
        if self.codec is not None:
            self._pixels.resize(len(self) if self.codec == "raw" else self._offsets[-1], axis=0)
            self._file["offsets"], self._file["pixel_checksums"] = starts, checksums
        rows = self._rows()
        self._file["labels"] = rows
        self._file["row_checksums"] = _row_checksums(rows, starts, checksums)
        header: dict[str, str | int] = {
            "format": FORMAT,
            "layout": LAYOUT,
            "package_version": importlib.metadata.version("pose_lightning"),
            "codec": json.dumps(self.codec),
            "shape": json.dumps(self.shape),
            "attrs": self._attrs,
        }
        for key, value in header.items():
            self._file.attrs[key] = _fixed_text(value) if isinstance(value, str) else value
        self._file.attrs["header_checksum"] = np.uint64(_header_checksum(header, rows))

    def _rows(self) -> np.ndarray:
        """The labels as a table, one record per sample; text becomes UTF-8 of the longest one's length."""
        widths = {field: max(1, *map(len, texts)) for field, texts in self._texts.items()}
        rows = np.zeros(
            len(self),
            dtype=[
                (field, h5py.string_dtype("utf-8", widths[field]) if field in widths else dtype, shape)
                for field, (dtype, shape) in self._fields.items()
            ],
        )
        for field, (dtype, shape) in self._fields.items():
            if field in widths:
                rows[field] = self._texts[field]
            else:
                rows[field] = np.frombuffer(self._columns[field], dtype).reshape(len(self), *shape)
        return rows

    def _partial_is_ours(self) -> bool:
        try:
            return os.path.samestat(self.partial.stat(), os.fstat(self._lock))
        except FileNotFoundError:  # it has its final name
            return False


class Store:
    """Read the samples of one split.

    Usable from many threads, after a fork, and picklable (another process opens the file itself). Labels are read and
    verified at opening and are then in memory; pixels are read from the file each time.

    Args:
        path: The store's file.
        verify: Compare the pixels with their checksum on every read, which costs about a tenth of the read.

    Attributes:
        path: As given.
        verify: As given.
        attrs: What the writer said of the whole split.
        codec: `raw`, `jpeg`, or None where there are only labels.
        shape: Shape of one sample's pixels, channels last, or None.
        labels: Field name -> read-only array (n, ...), text as `str`; `name` is always there.
        package_version: Version of this package that wrote the store.

    Raises:
        StoreError: If the file is missing, no store, of another layout or damaged.
    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        self._open(path, verify)
        if self._damaged_rows:
            self.close()
            others = len(self._damaged_rows) - 1
            raise StoreError(f"{self._row_damage(self._damaged_rows[0])}{f' ({others} more are)' if others else ''}")

    @classmethod
    def _despite_damage(cls, path: Path) -> "Store":
        """Open a store to find out which of its rows are damaged."""
        store = cls.__new__(cls)
        store._open(path, verify=True)
        return store

    def _open(self, path: Path, verify: bool) -> None:
        self.path, self.verify = Path(path), verify
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise StoreError(f"no store at {path}; make it with `python -m pose_lightning.convert`") from None
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror}") from error
        self._finalizer = weakref.finalize(self, os.close, self._descriptor)
        try:
            with h5py.File(
                path, "r", locking=False
            ) as file:  # immutable: no lock is wanted, some file systems have none
                self._read_tables(file)
        except StoreError:
            self.close()
            raise
        except _HDF5_ERRORS as error:
            self.close()
            raise StoreError(f"{path} is no store, or truncated or damaged ({error}); {REMAKE}") from error

    def _read_tables(self, file: h5py.File) -> None:
        if _text(file.attrs.get("format")) != FORMAT:
            raise StoreError(f"{self.path} is an HDF5 file, but not a store of pose_lightning; {REMAKE}")
        if (layout := file.attrs["layout"]) != LAYOUT:
            raise StoreError(f"{self.path} has layout {layout}; this version of the package reads {LAYOUT}; {REMAKE}")
        header = {key: _text(file.attrs[key]) for key in HEADER}
        rows: np.ndarray = file["labels"][()]
        if int(file.attrs["header_checksum"]) != _header_checksum(header, rows):
            raise StoreError(f"{self.path}: the header does not match its checksum; {REMAKE}")
        self.attrs: dict[str, Any] = json.loads(header["attrs"])
        self.package_version: str = header["package_version"]
        self.codec: Codec | None = json.loads(header["codec"])
        shape = json.loads(header["shape"])
        self.shape: tuple[int, ...] | None = None if shape is None else tuple(shape)
        self._length = len(rows)
        self._starts: list[int] = [0]
        self._checksums: list[int] = []
        if self.codec is not None:
            self._read_places(file)
        expected = _row_checksums(rows, np.array(self._starts, "<i8"), np.array(self._checksums, "<u8"))
        self._damaged_rows: list[int] = np.flatnonzero(expected != file["row_checksums"][()]).tolist()
        readable = "replace" if self._damaged_rows else "strict"
        self.labels = {field: _column(rows[field], readable) for field in rows.dtype.names or ()}

    def _read_places(self, file: h5py.File) -> None:
        """Where the payloads are: sample i is bytes starts[i] to starts[i + 1] of all chunks, one after the other."""
        pixels = file["pixels"]
        places = np.full(-(-pixels.shape[0] // pixels.chunks[0]), -1)

        def note(chunk: Any) -> None:
            places[chunk.chunk_offset[0] // pixels.chunks[0]] = chunk.byte_offset

        pixels.id.chunk_iter(note)
        if (places < 0).any():
            raise StoreError(f"{self.path}: pixels are missing; {REMAKE}")
        self._chunk_size = math.prod(pixels.chunks)
        self._places: list[int] = places.tolist()  # lists: an item costs a third of what numpy's scalars do
        self._starts = file["offsets"][()].tolist()
        self._checksums = file["pixel_checksums"][()].tolist()

    def close(self) -> None:
        """Close the file; labels stay. Twice is harmless."""
        self._finalizer()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.verify)

    def __len__(self) -> int:
        return self._length

    def name(self, index: int) -> str:
        """The sample's unique name."""
        return str(self.labels["name"][index])

    def payload(self, index: int) -> bytes:
        """The sample's pixels as stored: a JPEG file, or the array's bytes.

        Raises:
            StoreError: If they cannot be read or do not match their checksum.
        """
        buffer = bytearray(self._size(index))
        self._read(index, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, index: int, out: np.ndarray) -> None:
        """Read (and decode) the sample's pixels into `out`, a contiguous uint8 array of the store's shape.

        Raises:
            StoreError: If they cannot be read or decoded, or do not match their checksum.
        """
        size = self._size(index)
        if out.dtype != np.uint8 or out.shape != self.shape or not out.flags.c_contiguous:
            raise ValueError(f"{self.path} has contiguous uint8 {self.shape}; `out` is {_describe(out)}")
        if self.codec == "raw":
            self._read(index, out.data.cast("B"))
            return
        buffer = bytearray(size)
        self._read(index, memoryview(buffer))
        try:
            simplejpeg.decode_jpeg(buffer, "RGB", buffer=out)
        except ValueError as error:
            raise StoreError(f"{self._where(index)}: the JPEG cannot be decoded: {error}; {REMAKE}") from error

    def buffer(self, size: int) -> np.ndarray:
        """An array (size, *shape) of uint8 and any content to read into; it begins at a page, as large samples do."""
        if self.shape is None:
            raise self._no_pixels()
        count = size * math.prod(self.shape)
        memory = np.empty(count + PAGE, np.uint8)
        first = -memory.ctypes.data % PAGE
        return memory[first : first + count].reshape(size, *self.shape)

    def pixels(self, index: int) -> np.ndarray:
        """The sample's pixels: uint8 of the store's shape; RGB where the codec is `jpeg`.

        Raises:
            StoreError: As `read_into`; and if there are no pixels.
        """
        out: np.ndarray = self.buffer(1)[0]
        self.read_into(index, out)
        return out

    def _size(self, index: int) -> int:
        """Bytes of the sample's payload."""
        if self.codec is None:
            raise self._no_pixels()
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path}: sample {index} of {len(self)}")
        return self._starts[index + 1] - self._starts[index]

    def _no_pixels(self) -> StoreError:
        return StoreError(f"{self.path} holds labels only, no pixels; convert again without `--labels-only`")

    def _read(self, index: int, out: memoryview) -> None:
        """Fill `out` with the sample's payload, chunk after chunk."""
        if not self._finalizer.alive:
            raise StoreError(f"{self._where(index)}: the store was closed")
        position, done = self._starts[index], 0
        while done < len(out):
            chunk, within = divmod(position + done, self._chunk_size)
            count = min(len(out) - done, self._chunk_size - within)
            try:
                got = os.preadv(self._descriptor, [out[done : done + count]], self._places[chunk] + within)
            except OSError as error:
                raise StoreError(f"{self._where(index)} cannot be read: {error.strerror}") from error
            if not got:
                raise StoreError(f"{self._where(index)}: the file ends before it; {REMAKE}")
            done += got
        if self.verify and xxhash.xxh3_64_intdigest(out, seed=index) != self._checksums[index]:
            raise StoreError(f"{self._where(index)}: its pixels do not match their checksum; {REMAKE}")

    def _row_damage(self, index: int) -> str:
        return f"{self._where(index)}: its labels or its place do not match their checksum; {REMAKE}"

    def _where(self, index: int) -> str:
        return f"{self.path}: sample {index} ({self.name(index)!r})"


def damaged_samples(path: Path, *, progress: bool = False) -> Iterator[str]:
    """One line for every sample that is not what was written, naming it; the store may be read to its end.

    Raises:
        StoreError: If the file cannot be opened as a store at all.
    """
    with Store._despite_damage(path) as store:
        rows, console = set(store._damaged_rows), Console(stderr=True)
        buffer = memoryview(bytearray(max(np.diff(store._starts), default=0)))
        for index in track(range(len(store)), f"verify {path.name}", console=console, disable=not progress):
            if index in rows:
                yield store._row_damage(index)
            elif store.codec is not None:
                try:
                    store._read(index, buffer[: store._size(index)])
                except StoreError as error:
                    yield str(error)


def _reopen(path: Path, verify: bool) -> Store:
    return Store(path, verify=verify)


def _lock(partial: Path) -> int:
    """A descriptor of the partial file that no other process has, locked until it is closed."""
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking, the writer before us may have given the file its final name.
            if partial.exists() and os.path.samestat(partial.stat(), os.fstat(descriptor)):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise StoreError(f"{partial} is being written by another process; wait for it or stop it") from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _empty(file: h5py.File, chunk: tuple[int, ...]) -> h5py.Dataset:
    """A dataset of uint8 without a chunk in it, which grows along its first axis."""
    shape, most = (0, *chunk[1:]), (None, *chunk[1:])
    return file.create_dataset("pixels", shape, np.uint8, maxshape=most, chunks=chunk, fill_time="never")


def _cell(value: Any, where: str) -> np.ndarray:
    """A label as an array; text as UTF-8 bytes."""
    if isinstance(value, str):
        if "\0" in value:
            raise StoreError(f"{where} has a NUL in its text {value!r}")
        try:
            return np.array(value.encode())
        except UnicodeEncodeError as error:
            raise StoreError(f"{where} is no valid Unicode: {error}") from error
    cell = np.asarray(value)
    if cell.dtype.kind not in "biuf":
        raise StoreError(f"{where} is {_describe(value)}; wanted text, numbers or truth values")
    return cell.astype(cell.dtype.newbyteorder("<"), order="C", copy=False)


def _storable(cell: np.ndarray) -> np.dtype[Any]:
    """The cell's dtype, apart from the length of a text, which differs from sample to sample."""
    return np.dtype("S") if cell.dtype.kind == "S" else cell.dtype


def _column(column: np.ndarray, errors: str) -> np.ndarray:
    """One field of all rows, read-only, so that nobody mirrors the truth in place."""
    column = np.char.decode(column, "utf-8", errors) if column.dtype.kind == "S" else np.ascontiguousarray(column)
    column.flags.writeable = False
    return column


def _row_checksums(rows: np.ndarray, starts: np.ndarray, checksums: np.ndarray) -> np.ndarray:
    """One checksum per sample of its labels, its place and the checksum of its pixels (uint64), seeded by its index."""
    columns = [column for column in (rows, starts[:-1], starts[1:], checksums) if len(column)]
    table = np.hstack([np.ascontiguousarray(column).view(np.uint8).reshape(len(rows), -1) for column in columns])
    digests = (xxhash.xxh3_64_intdigest(row, seed=index) for index, row in enumerate(table))
    return np.fromiter(digests, dtype=np.uint64, count=len(rows))


def _fixed_text(text: str) -> np.ndarray:
    """Text as an attribute of fixed length: HDF5 keeps other text without a checksum, and hangs if its bits flip."""
    encoded = text.encode()
    return np.array(encoded, h5py.string_dtype("utf-8", len(encoded)))


def _text(attribute: Any) -> Any:
    return attribute.decode() if isinstance(attribute, bytes) else attribute


def _header_checksum(header: Mapping[str, Any], rows: np.ndarray) -> int:
    fields = [(name, dtype.base.str, dtype.shape) for name, (dtype, *_) in (rows.dtype.fields or {}).items()]
    text = json.dumps([[str(header[key]) for key in HEADER], fields, len(rows)])
    return xxhash.xxh3_64_intdigest(text.encode())


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"{type(value).__name__} {repr(value)[:40]}"


def _info(path: Path) -> None:
    with Store(path) as store:
        pixels = "none, labels only" if store.codec is None else f"{store.codec}, uint8 {store.shape}"
        facts = {
            "samples": f"{len(store):,}",
            "pixels": pixels,
            "on disk": f"{path.stat().st_size / 2**20:,.1f} MiB",
            "written by": f"pose_lightning {store.package_version}, layout {LAYOUT}",
        }
        fields = {field: f"{_text_or_dtype(column)} {column.shape[1:] or ''}" for field, column in store.labels.items()}
        attrs = {key: _abbreviated(json.dumps(value, ensure_ascii=False)) for key, value in store.attrs.items()}
    console = Console()
    for title, entries in ((str(path), facts), ("labels", fields), ("attributes", attrs)):
        console.print(Text(title, style="bold"))
        table = Table.grid(padding=(0, 1, 0, 2))
        for key, text in entries.items():
            table.add_row(Text(key), Text(text))
        console.print(table)


def _text_or_dtype(column: np.ndarray) -> str:
    return "text" if column.dtype.kind == "U" else str(column.dtype)


def _abbreviated(text: str) -> str:
    return text if len(text) <= LONGEST_ATTRIBUTE else f"{text[:LONGEST_ATTRIBUTE]}... ({len(text):,} characters)"


def _verify(path: Path) -> int:
    damaged = list(damaged_samples(path, progress=True))
    for line in damaged:
        print(line)
    print(f"{path}: {f'{len(damaged)} samples are damaged' if damaged else 'every sample is as it was written'}")
    return 1 if damaged else 0


def main(args: Sequence[str] | None = None) -> int:
    """Run `python -m pose_lightning.store`; returns the exit status: 1 where samples are damaged, 2 for no store."""
    parser = argparse.ArgumentParser(prog="python -m pose_lightning.store", description="Look into a store.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (("verify", "read everything; name every damaged sample"), ("info", "say what a store holds")):
        commands.add_parser(command, help=text, description=text).add_argument("file", type=Path)
    chosen = parser.parse_args(args)
    try:
        if chosen.command == "verify":
            return _verify(chosen.file)
        _info(chosen.file)
    except StoreError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
