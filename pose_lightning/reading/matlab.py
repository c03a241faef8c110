"""MATLAB files up to v7, read in a process of their own, which a damaged file may crash."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import numpy as np

from pose_lightning.errors import UserError
from pose_lightning.reading.raw import MIB, open_regular, shortened, sized

MAT_MEMORY: Final = (640 * MIB, 300)
"""Bytes that reading a .mat file may take: so many, and so many times its size. MPII's 12 MB take some 2 GB."""

MAT_SECONDS: Final = (8, 60)
"""CPU seconds that it may take: so many, and so many for each MB. MPII's file takes a minute."""


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
        command = [sys.executable, "-P", str(Path(__file__).with_name("matlab_process.py"))]
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
        raise error(f"{where}: it would take more than {sized(memory)} of memory; it is damaged, or save less in it")
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
