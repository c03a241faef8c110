"""The C library's memory, which training on a CPU asks for again and again."""

import ctypes
import platform
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_MAX: Final = -4
"""Settings of glibc. Source: mallopt(3)."""


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next allocation, instead of giving it back to the system.

    Activations and gradients of one step are freed before the next one. Given back, they come again page by page and
    filled with zeros, which can take as long as the network itself (`tests/bench/bench_allocator.py`). The price is
    that memory once used stays with the process until it ends, about a tenth more of it, since glibc before 2.38 first
    leaves some aligned blocks unused (up to seven of a size). What runs on a GPU gains nothing and loses nothing.

    Returns:
        Whether this C library could be told.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
