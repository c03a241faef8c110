"""The store's format: what its file holds, under which names, and what its checksums cover."""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

import h5py
import numpy as np
import xxhash

from pose_lightning.errors import UserError

Codec = Literal["raw", "jpeg"]

FORMAT: Final = "pose_lightning store"
LAYOUT: Final = 1
HEADER: Final = ("format", "layout", "package_version", "codec", "shape", "attrs")
"""Root attributes under the header's checksum."""

ANY_SIZE: Final = (0, 0, 3)
"""Shape of a JPEG store whose pictures have each their own size."""

PAGE: Final = 4096
"""Bytes; the kernel copies between pages that begin alike twice as fast as between others."""

REMAKE: Final = "make it again with `python -m pose_lightning.convert`"


class StoreError(UserError):
    """A store that cannot be written, opened or read; the message names the file and the sample."""


def row_checksums(rows: np.ndarray, starts: np.ndarray, checksums: np.ndarray) -> np.ndarray:
    """One checksum per sample of its labels, its place and the checksum of its pixels (uint64), seeded by its index."""
    columns = [column for column in (rows, starts[:-1], starts[1:], checksums) if len(column)]
    table = np.hstack([np.ascontiguousarray(column).view(np.uint8).reshape(len(rows), -1) for column in columns])
    digests = (xxhash.xxh3_64_intdigest(row, seed=index) for index, row in enumerate(table))
    return np.fromiter(digests, dtype=np.uint64, count=len(rows))


def fixed_text(text: str) -> np.ndarray:
    """Text as an attribute of fixed length: HDF5 keeps other text without a checksum, and hangs if its bits flip."""
    encoded = text.encode()
    return np.array(encoded, h5py.string_dtype("utf-8", len(encoded)))


def text(attribute: Any) -> Any:
    """A text attribute as `str`, whichever way it was written; anything else as it is."""
    return attribute.decode() if isinstance(attribute, bytes) else attribute


def header_checksum(header: Mapping[str, Any], rows: np.ndarray) -> int:
    """One checksum of the header and of the labels' names, dtypes and number."""
    fields = [(name, dtype.base.str, dtype.shape) for name, (dtype, *_) in (rows.dtype.fields or {}).items()]
    text = json.dumps([[str(header[key]) for key in HEADER], fields, len(rows)])
    return xxhash.xxh3_64_intdigest(text.encode())


def fingerprint(header: int, rows: np.ndarray) -> str:
    """One checksum of a store by those of its header and its rows: of order, labels, pixels, shape and attributes."""
    digest = xxhash.xxh3_128(header.to_bytes(8, "little"))
    digest.update(np.ascontiguousarray(rows, dtype="<u8").tobytes())
    return digest.hexdigest()


def describe(value: object) -> str:
    """What a value is, in a few words, for an error message."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"{type(value).__name__} {repr(value)[:40]}"
