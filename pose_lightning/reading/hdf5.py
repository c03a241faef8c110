"""HDF5 files, whose datasets are compared with the file before any memory is taken, and followed nowhere else."""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from pose_lightning.errors import REMEDIES, UserError
from pose_lightning.reading.raw import MIB, check_regular, shortened, sized

DEFLATE: Final = 1032
"""Times that deflate, HDF5's usual compression, can make bytes fewer at most."""

LARGEST_UNPACKED_DATASET: Final = 512 * MIB
"""Bytes of a compressed dataset, unpacked."""

H5CLEAR: Final = (
    "another program has it open for writing, or died while it had: close that program, or run `h5clear -s "
)
HDF5_ERRORS: Final = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, IndexError)
"""The kinds that h5py raises on files that are damaged in ways that HDF5 notices late."""


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
    member: h5py.Group | h5py.Dataset = file
    for part in name.split("/"):
        link = member.get(part, getlink=True) if isinstance(member, h5py.Group) else None
        if link is None:
            raise error(f"{shortened(path)} has no dataset {name!r}; it has {_listed(file)}")
        if not isinstance(link, h5py.HardLink):
            raise error(f"{shortened(path)}: {name!r} is a link to elsewhere, which is not followed")
        member = member[part]
    if not isinstance(member, h5py.Dataset):
        raise error(f"{shortened(path)}: {name!r} is no dataset")
    check_dataset(member, path, error=error)
    return member


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
            f"{where} declares {dataset.dtype} {dataset.shape}, {sized(declared)}, and the file holds {sized(stored)} "
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
