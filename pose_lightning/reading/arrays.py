"""Arrays in .npy files, whose headers are compared with the file before any memory is taken."""

import math
import os
import tokenize
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from pose_lightning.errors import UserError
from pose_lightning.reading.raw import open_regular, reason_of, shortened, sized

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
                f"{shortened(path)} is cut short or damaged: its header declares {dtype} {shape}, {sized(wanted)}, and "
                f"{sized(held)} follow"
            )
        order: Any = "F" if in_fortran else "C"
        try:
            if mapped and wanted:
                return np.memmap(file, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)
            return np.frombuffer(bytearray(file.read(wanted)), dtype).reshape(shape, order=order)
        except (OSError, ValueError, OverflowError, TypeError) as reason:
            raise error(f"{shortened(path)} cannot be read as .npy: {reason_of(reason)}") from reason


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
