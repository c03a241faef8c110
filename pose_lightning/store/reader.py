"""Reading a store: labels at opening, pixels by byte offset, each against its checksum."""

import json
import math
import os
import weakref
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import simplejpeg
import xxhash
from rich.markup import escape
from rich.progress import track

from pose_lightning.reading import hdf5, raw
from pose_lightning.reading.hdf5 import read_dataset
from pose_lightning.reading.raw import shortened
from pose_lightning.store.layout import (
    ANY_SIZE,
    FORMAT,
    HEADER,
    LAYOUT,
    PAGE,
    REMAKE,
    Codec,
    StoreError,
    describe,
    fingerprint,
    header_checksum,
    row_checksums,
    text,
)
from pose_lightning.terminal import Terminal

LARGEST_SAMPLE: Final = 1 << 29
"""Bytes of a sample's pixels, decoded: 10 crops of the largest size, or a minute of small frames."""

_CODECS: Final = (None, "raw", "jpeg")


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
        shape: Shape of one sample's pixels, channels last; `ANY_SIZE` where each has its own; or None.
        labels: Field name -> read-only array (n, ...), text as `str`; `name` is always there.
        package_version: Version of this package that wrote the store.
        fingerprint: Of the header and of every sample's labels, place and pixels, 32 hexadecimal digits.

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
        if not os.path.lexists(path):
            raise StoreError(f"no store at {shortened(path)}; make it with `python -m pose_lightning.convert`")
        self._descriptor = raw.open_descriptor(self.path, error=StoreError)
        self._finalizer = weakref.finalize(self, os.close, self._descriptor)
        try:
            with hdf5.open_hdf5(self.path, error=StoreError, kind="store", remedy=REMAKE) as file:
                self._read_tables(file)
        except StoreError:
            self.close()
            raise

    def _read_tables(self, file: h5py.File) -> None:
        if text(file.attrs.get("format")) != FORMAT:
            raise StoreError(f"{self.path} is an HDF5 file, but not a store of pose_lightning; {REMAKE}")
        if (layout := file.attrs["layout"]) != LAYOUT:
            raise StoreError(f"{self.path} has layout {layout}; this version of the package reads {LAYOUT}; {REMAKE}")
        header = {key: text(file.attrs[key]) for key in HEADER}
        rows = read_dataset(file, "labels", self.path, error=StoreError)
        if int(file.attrs["header_checksum"]) != header_checksum(header, rows):
            raise self._damage("the header does not match its checksum")
        self._length = len(rows)
        self._check_labels(rows)
        self._read_header(header)
        self._starts: list[int] = [0]
        self._checksums: list[int] = []
        if self.codec is not None:
            self._read_places(file)
        expected = row_checksums(rows, np.array(self._starts, "<i8"), np.array(self._checksums, "<u8"))
        self._damaged_rows: list[int] = np.flatnonzero(expected != self._table(file, "row_checksums", "<u8")).tolist()
        readable = "replace" if self._damaged_rows else "strict"
        self.labels = {field: _column(rows[field], readable) for field in rows.dtype.names or ()}
        self.fingerprint = fingerprint(header_checksum(header, rows), expected)
        if self.codec is not None:
            self._check_places()

    def _check_labels(self, rows: np.ndarray) -> None:
        fields: Mapping[str, Any] = rows.dtype.fields or {}
        if rows.ndim != 1 or not len(rows) or "name" not in fields or fields["name"][0].kind != "S":
            raise self._damage(f"its labels are {rows.dtype} {rows.shape}, and no table of samples with a name each")
        if wrong := [field for field, (dtype, *_) in fields.items() if dtype.base.kind not in "biufS"]:
            raise self._damage(f"its label {wrong[0]!r} is {fields[wrong[0]][0]}, neither text nor numbers")

    def _read_header(self, header: dict[str, Any]) -> None:
        try:
            attrs, codec, shape = (json.loads(header[key]) for key in ("attrs", "codec", "shape"))
        except RecursionError:
            raise self._damage("its attributes are nested too deep") from None
        if not isinstance(attrs, dict):
            raise self._damage(f"its attributes are {describe(attrs)}, and no object")
        if codec not in _CODECS:
            raise self._damage(f"codec {describe(codec)}, wanted raw or jpeg")
        if not _is_shape(shape, codec):
            raise self._damage(f"shape {describe(shape)} of codec {codec}")
        self.attrs: dict[str, Any] = attrs
        self.package_version: str = str(header["package_version"])
        self.codec: Codec | None = codec
        self.shape: tuple[int, ...] | None = None if shape is None else tuple(shape)

    def _read_places(self, file: h5py.File) -> None:
        """Where the payloads are: sample i is bytes starts[i] to starts[i + 1] of all chunks, one after the other."""
        pixels = hdf5.dataset_of(file, "pixels", self.path, error=StoreError)
        if pixels.dtype != np.uint8 or pixels.chunks is None or pixels.id.get_create_plist().get_nfilters():
            raise self._damage("its pixels are no unpacked chunks of bytes")
        places = np.full(-(-pixels.shape[0] // pixels.chunks[0]), -1)

        def note(chunk: Any) -> None:
            places[chunk.chunk_offset[0] // pixels.chunks[0]] = chunk.byte_offset

        pixels.id.chunk_iter(note)
        if (places < 0).any():
            raise StoreError(f"{self.path}: pixels are missing; {REMAKE}")
        self._chunk_size = math.prod(pixels.chunks)
        self._places: list[int] = places.tolist()  # lists: an item costs a third of what numpy's scalars do
        self._starts = self._table(file, "offsets", "<i8", more=1).tolist()
        self._checksums = self._table(file, "pixel_checksums", "<u8").tolist()

    def _table(self, file: h5py.File, name: str, dtype: str, *, more: int = 0) -> np.ndarray:
        """A number for each sample, and so many more."""
        table = read_dataset(file, name, self.path, error=StoreError)
        if table.dtype != dtype or table.shape != (self._length + more,):
            raise self._damage(f"{name} is {describe(table)}; wanted {np.dtype(dtype)} ({self._length + more},)")
        return table

    def _check_places(self) -> None:
        """Refuse samples whose bytes cannot be where their rows, which match their checksums, say."""
        held, damaged = len(self._places) * self._chunk_size, set(self._damaged_rows)
        size = math.prod(self.shape or ()) if self.codec == "raw" else None
        for index, (start, end) in enumerate(pairwise(self._starts)):
            if index not in damaged and not (0 <= start <= end <= held and size in (None, end - start)):
                raise StoreError(
                    f"{self._where(index)}: it cannot be bytes {start} to {end} of {held}"
                    f"{'' if size is None else f', with {size} bytes a sample'}; {REMAKE}"
                )

    def _damage(self, reason: str) -> StoreError:
        return StoreError(f"{self.path}: {reason}; {REMAKE}")

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
        if self.shape == ANY_SIZE:
            raise ValueError(f"{self.path} has pictures of their own sizes; read them with `pixels`")
        size = self._size(index)
        if out.dtype != np.uint8 or out.shape != self.shape or not out.flags.c_contiguous:
            raise ValueError(f"{self.path} has contiguous uint8 {self.shape}; `out` is {describe(out)}")
        if self.codec == "raw":
            self._read(index, out.data.cast("B"))
            return
        buffer = bytearray(size)
        self._read(index, memoryview(buffer))
        self._decode(index, buffer, out.reshape(-1, *out.shape[-2:]))  # the frames of a clip are stacked

    def buffer(self, size: int) -> np.ndarray:
        """An array (size, *shape) of uint8 and any content to read into; it begins at a page, as large samples do."""
        if self.shape is None:
            raise self._no_pixels()
        if self.shape == ANY_SIZE:
            raise ValueError(f"{self.path} has pictures of their own sizes; read them with `pixels`")
        count = size * math.prod(self.shape)
        memory = np.empty(count + PAGE, np.uint8)
        first = -memory.ctypes.data % PAGE
        return memory[first : first + count].reshape(size, *self.shape)

    def pixels(self, index: int) -> np.ndarray:
        """The sample's pixels: uint8 of the store's shape, or of its own; RGB where the codec is `jpeg`.

        Raises:
            StoreError: As `read_into`; and if there are no pixels.
        """
        if self.shape == ANY_SIZE:
            return self._decode(index, self.payload(index))
        out: np.ndarray = self.buffer(1)[0]
        self.read_into(index, out)
        return out

    def _decode(self, index: int, payload: bytes | bytearray, out: np.ndarray | None = None) -> np.ndarray:
        try:
            if out is None and math.prod(simplejpeg.decode_jpeg_header(payload)[:2]) * 3 > LARGEST_SAMPLE:
                raise ValueError(f"its header declares more than {LARGEST_SAMPLE:,} bytes of pixels")
            return simplejpeg.decode_jpeg(payload, "RGB", buffer=out)
        except ValueError as error:
            raise StoreError(f"{self._where(index)}: the JPEG cannot be decoded: {error}; {REMAKE}") from error

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
        rows, console = set(store._damaged_rows), Terminal(stderr=True)
        whole = (store._size(index) for index in range(len(store)) if index not in rows and store.codec is not None)
        buffer = memoryview(bytearray(max(whole, default=0)))
        for index in track(range(len(store)), f"verify {escape(path.name)}", console=console, disable=not progress):
            if index in rows:
                yield store._row_damage(index)
            elif store.codec is not None:
                try:
                    store._read(index, buffer[: store._size(index)])
                except StoreError as error:
                    yield str(error)


def _reopen(path: Path, verify: bool) -> Store:
    return Store(path, verify=verify)


def _is_shape(shape: Any, codec: Codec | None) -> bool:
    """Whether a shape is one that samples can have."""
    if shape is None:
        return codec != "raw"
    if shape == list(ANY_SIZE):
        return codec != "raw"
    sizes = isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape)
    return sizes and bool(shape) and (codec == "raw" or math.prod(shape) <= LARGEST_SAMPLE)


def _column(column: np.ndarray, errors: str) -> np.ndarray:
    """One field of all rows, read-only, so that nobody mirrors the truth in place."""
    column = np.char.decode(column, "utf-8", errors) if column.dtype.kind == "S" else np.ascontiguousarray(column)
    column.flags.writeable = False
    return column
