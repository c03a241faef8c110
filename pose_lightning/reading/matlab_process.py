"""Read a MATLAB file as a process of its own, which a damaged file may crash: `matlab.load_mat` starts it.

The file is standard input. Standard output gets the length of a JSON text (8 bytes, little-endian), the text, and the
arrays that it numbers, each as `.npy`. It imports nothing of this package, so that it starts fast.
"""

import json
import resource
import struct
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.io

SMALL: Final = 64
"""Elements up to which an array is written into the JSON text."""

PLAIN: Final = "biuf"
"""Kinds of dtype that JSON holds exactly."""


def main() -> None:
    """Answer `MEMORY SECONDS SQUEEZE KEY...`: the variables of standard input that are named, or all."""
    memory, seconds, squeeze, *keys = sys.argv[1:]
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, int(seconds))
    if (statm := Path("/proc/self/statm")).exists():
        _limit(resource.RLIMIT_AS, int(statm.read_text().split()[0]) * resource.getpagesize() + int(memory))
    arrays: list[np.ndarray] = []
    answer: dict[str, Any]
    try:
        answer = {"variables": _variables(keys, squeeze == "1", arrays)}
    except MemoryError:
        arrays, answer = [], {"error": "memory"}
    except NotImplementedError:
        arrays, answer = [], {"error": "v7.3"}
    except Exception as error:  # scipy lets anything that a damaged file provokes escape
        arrays, answer = [], {"error": f"{type(error).__name__}: {error}"[:300]}
    text = json.dumps(answer).encode()
    with open(1, "wb") as out:
        out.write(struct.pack("<q", len(text)) + text)
        for array in arrays:
            np.lib.format.write_array_header_1_0(out, np.lib.format.header_data_from_array_1_0(array))
            out.write(array.tobytes())


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


def _variables(keys: list[str], squeeze: bool, arrays: list[np.ndarray]) -> dict[str, Any]:
    with open(0, "rb") as file:
        source: Any = file  # which scipy takes, and its stubs do not know
        content = scipy.io.loadmat(source, struct_as_record=False, squeeze_me=squeeze, variable_names=keys or None)
    return {key: _plain(value, arrays) for key, value in content.items() if not key.startswith("__")}


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value as JSON: text, true or false, numbers, or an object with one key that says how it is built."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if hasattr(value, "_fieldnames"):
        return {"struct": {name: _plain(getattr(value, name), arrays) for name in value._fieldnames}}
    if not isinstance(value, np.ndarray) or value.dtype.names:
        return {"other": type(value).__name__}
    if value.dtype.kind == "O":
        return {"objects": [_plain(item, arrays) for item in value.ravel()], "shape": value.shape}
    if value.size <= SMALL and value.dtype.kind in PLAIN:
        return {"numbers": value.ravel().tolist(), "dtype": value.dtype.str, "shape": value.shape}
    arrays.append(np.ascontiguousarray(value).reshape(value.shape))
    return {"array": len(arrays) - 1}


if __name__ == "__main__":
    main()
