"""Writing a store: whole or not at all."""

import importlib.metadata
import json
import math
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import h5py
import numpy as np
import simplejpeg
import xxhash

from pose_lightning import files
from pose_lightning.errors import system_fault
from pose_lightning.store.layout import (
    ANY_SIZE,
    FORMAT,
    LAYOUT,
    PAGE,
    Codec,
    StoreError,
    describe,
    fixed_text,
    header_checksum,
    row_checksums,
)
from pose_lightning.store.reader import damaged_samples

JPEG_CHUNK: Final = 1 << 20
"""Bytes; a sample may straddle two chunks, so large against a sample and small in memory."""

ALIGNED_FROM: Final = 1 << 16
"""Bytes from which a chunk begins at a page: below, the gaps would cost more than they gain."""

GROWTH: Final = 256
"""Chunks by which `pixels` grows while it is written."""

_NOT_RGB: Final = ("CMYK", "YCCK")


TABLES: Final = 1 << 14
"""Bytes that HDF5 needs for its own tables."""


class StoreWriter:
    """Write a store whole or not at all.

    Samples go to `<name>.partial` beside the target. When the `with` block ends well, the file is closed, opened again,
    every sample is compared with its checksum, and only then does it get its name, replacing what was there. When the
    block raises, the partial file is removed; a killed writer leaves one, which the next writer removes.

    Args:
        path: The store's file; its directory is made.
        codec: How `append` gets pixels: `raw` arrays, `jpeg` files, or None for a store of labels only.
        attrs: What the reader must know of the whole split; anything that JSON can hold.
        shape: Shape of one sample's pixels, channels last. Raw stores need it; a JPEG store takes the first sample's,
            or `ANY_SIZE` for pictures that have each their own. A JPEG of a clip (frames, height, width, 3) shows its
            frames below each other.

    Raises:
        StoreError: If a sample does not fit; and, at the end of the block, if there is no sample or the file does not
            hold what was written.
        UserError: If the file cannot be written; `BusyError` if another process is writing it.
    """

    def __init__(
        self, path: Path, *, codec: Codec | None, attrs: Mapping[str, Any], shape: tuple[int, ...] | None = None
    ) -> None:
        if codec == "raw" and shape is None:
            raise StoreError(f"{path}: a raw store needs `shape`, that of one sample's pixels")
        if codec == "raw" and shape == ANY_SIZE:
            raise StoreError(f"{path}: pictures that have each their own size need the codec `jpeg`")
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
        if self.path.is_dir():
            raise StoreError(f"{self.path} is a folder; a store is a file: remove it, or choose another target")
        with ExitStack() as stack:
            self.partial = stack.enter_context(files.writing(self.path))
            # HDF5's own lock says less than ours, and some file systems have none.
            self._file = h5py.File(
                self.partial,
                "w",
                libver="latest",
                locking=False,
                alignment_threshold=ALIGNED_FROM,
                alignment_interval=PAGE,
            )
            stack.push(self._close)
            if self.codec is not None:
                chunk = (JPEG_CHUNK,) if self.codec == "jpeg" else (1, *(self.shape or ()))
                self._pixels = _empty(self._file, chunk)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def _close(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the file's content, if the block ended well, before it gets its name."""
        whole = False
        try:
            if kind is None:
                self._finish()
                whole = True
        finally:
            if not whole and self._file:
                _divert(self._file)
            with suppress(OSError, RuntimeError):  # the file is closed, or the first error says more
                self._file.close()

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
            raise StoreError(f"{where} cannot be written: {_reason(error)}") from error
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
                    f"{where}: label {field!r} is {describe(row[field])}; the samples before have "
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
                raise StoreError(f"{where}: pixels are {describe(pixels)}; the store has uint8 {self.shape}")
            return np.ascontiguousarray(pixels).data.cast("B"), self.shape
        if not isinstance(pixels, bytes) or not pixels.startswith(b"\xff\xd8"):
            raise StoreError(f"{where}: pixels are {describe(pixels)}, wanted the bytes of a JPEG file")
        try:
            height, width, colorspace, _ = simplejpeg.decode_jpeg_header(pixels)
        except ValueError as error:
            raise StoreError(f"{where}: the JPEG header cannot be read: {error}") from error
        shape = self.shape or (height, width, 3)
        stacked = (height, width, 3) if shape == ANY_SIZE else (math.prod(shape[:-2]), *shape[-2:])
        if colorspace in _NOT_RGB or stacked != (height, width, 3):
            raise StoreError(f"{where}: a {colorspace} JPEG of {(height, width, 3)}; the store has RGB {stacked}")
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
            self._file.flush()
            self._file.close()
        except (OSError, RuntimeError) as error:
            raise StoreError(f"{self.path} cannot be written: {_reason(error)}") from error
        if damaged := list(damaged_samples(self.partial)):
            raise StoreError(f"{damaged[0]}; {len(damaged)} of {len(self)} samples are not as they were written")

    def _write_tables(self) -> None:
        if self._packed:
            self._write_chunk(bytes(self._packed) + bytes(JPEG_CHUNK - len(self._packed)))
        starts, checksums = np.array(self._offsets, dtype="<i8"), np.array(self._checksums, dtype="<u8")
        rows = self._rows()
        if self.codec is not None:
            self._pixels.resize(len(self) if self.codec == "raw" else self._offsets[-1], axis=0)
            self._file["offsets"], self._file["pixel_checksums"] = starts, checksums
        self._check_room(rows.nbytes + 2 * checksums.nbytes + starts.nbytes + len(self._attrs))
        self._file["labels"] = rows
        self._file["row_checksums"] = row_checksums(rows, starts, checksums)
        header: dict[str, str | int] = {
            "format": FORMAT,
            "layout": LAYOUT,
            "package_version": importlib.metadata.version("pose_lightning"),
            "codec": json.dumps(self.codec),
            "shape": json.dumps(self.shape),
            "attrs": self._attrs,
        }
        for key, value in header.items():
            self._file.attrs[key] = fixed_text(value) if isinstance(value, str) else value
        self._file.attrs["header_checksum"] = np.uint64(header_checksum(header, rows))

    def _check_room(self, size: int) -> None:
        """Write so many bytes, and remove them again: HDF5 crashes later where the disk refuses its tables."""
        with self.partial.open("r+b") as file:
            end = file.seek(0, os.SEEK_END)
            try:
                file.write(bytes(size + TABLES))
                file.flush()
            finally:
                file.truncate(end)

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


def _divert(file: h5py.File) -> None:
    """Let what HDF5 still wants to write go nowhere: it crashes on its way out where a full disk refuses that."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(nowhere, file.id.get_vfd_handle(), inheritable=False)
    os.close(nowhere)


def _reason(error: Exception) -> str:
    """The reason why HDF5 could not write; its text says the system's error number."""
    return system_fault(error) or system_fault(OSError(str(error))) or str(error)


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
        raise StoreError(f"{where} is {describe(value)}; wanted text, numbers or truth values")
    return cell.astype(cell.dtype.newbyteorder("<"), order="C", copy=False)


def _storable(cell: np.ndarray) -> np.dtype[Any]:
    """The cell's dtype, apart from the length of a text, which differs from sample to sample."""
    return np.dtype("S") if cell.dtype.kind == "S" else cell.dtype
