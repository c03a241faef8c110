"""The course's pair of `.npy` files: frames of clips and their joints, read where they lie, without unpickling."""

import math
import os
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from pose_lightning.convert import ConvertError
from pose_lightning.joints import H36M, H36M_ROOT
from pose_lightning.reading.arrays import read_array
from pose_lightning.reading.raw import open_descriptor

Unit = Literal["auto", "m", "cm", "mm"]

SIZE_MM: Final = (200.0, 5000.0)
"""A person's largest extent along an axis, whatever they do; curled up it is some 500 mm."""

FACTOR: Final = 8.0
"""Between a frame's extent and the median one's: people curl up, but no further."""

EXTENT_M: Final = (0.4, 4.0)
"""Metres: a person's largest extent along an axis, in the median frame."""

MM: Final[Mapping[Unit, float]] = {"m": 1000.0, "cm": 10.0, "mm": 1.0}
AUTOMATIC: Final[tuple[Unit, ...]] = ("m", "mm")
"""Units that are told; centimetres are rare enough that somebody should say so."""
ROOT_TOLERANCE: Final = 1e-3
"""Of the extent: a root joint nearer to 0 than this in every frame means that the poses are root-relative."""


class ClipPair:
    """Clips of two `.npy` files, served as a clip `Store` serves them.

    Pixels are read from the file each time, by offset and not through mapped pages, so that memory stays flat; `joints`
    are in memory. Usable from many threads.

    Args:
        frames: uint8 (clips, frames, height, width, 3), RGB.
        joints: Numbers (clips, frames, 17, 3), in m, cm or mm.
        unit: Of the joints; `auto` tells m and mm by the extent of a person.
        split: Recorded in `attrs`.

    Raises:
        ConvertError: If a file is no such array (or truncated, pickled or an archive), the two do not fit each other, a
            joint is not finite, the unit cannot be told, or nobody is as large as the joints say.
    """

    codec: Final = "raw"

    def __init__(self, frames: Path, joints: Path, *, unit: Unit = "auto", split: str = "test") -> None:
        self.path, self.joints_path = Path(frames), Path(joints)
        pixels = _mapped(self.path)
        poses = _mapped(self.joints_path)
        if pixels.dtype != np.uint8 or pixels.ndim != 5 or pixels.shape[-1] != 3:
            raise ConvertError(
                f"{frames}: {pixels.dtype} {pixels.shape}; wanted uint8 (clips, frames, height, width, 3), values 0 to "
                "255: convert floats back before saving"
            )
        if poses.dtype.kind not in "fi" or poses.shape != (*pixels.shape[:2], len(H36M), 3):
            raise ConvertError(
                f"{joints}: {poses.dtype} {poses.shape}; wanted numbers {(*pixels.shape[:2], len(H36M), 3)}, as "
                f"{frames} has clips {pixels.shape}"
            )
        self.shape: tuple[int, ...] = pixels.shape[1:]
        self._length, self._offset = len(pixels), int(pixels.offset)
        values = np.array(poses, dtype=np.float64)
        if not np.isfinite(values).all():
            clip, frame, joint, _ = np.argwhere(~np.isfinite(values))[0].tolist()
            raise ConvertError(f"{joints}: clip {clip}, frame {frame}: {H36M.names[joint]} is not finite")
        source_unit = _tell_unit(self.joints_path, values) if unit == "auto" else unit
        _check_size(self.joints_path, values, source_unit)
        values *= MM[source_unit]
        _check_extents(self.joints_path, values)
        root = values[:, :, H36M_ROOT].copy()
        relative = bool(np.abs(root).max() < ROOT_TOLERANCE * _extent(values))
        values -= root[:, :, None]
        names = np.array([f"clip {index:06d}" for index in range(self._length)])
        unknown = np.full(self._length, "")
        self.labels: dict[str, np.ndarray] = {
            "name": names,
            "subject": unknown,
            "action": unknown,
            "camera": unknown,
            "sequence": names,
            "frame": np.full(self._length, -1),
            "joints": values.astype(np.float32),
            "root": np.full_like(root, np.nan, dtype=np.float32) if relative else root.astype(np.float32),
            "points": np.full((self._length, self.shape[0], len(H36M), 2), np.nan, np.float32),
        }
        self.attrs: dict[str, Any] = {
            "kind": "clips",
            "split": split,
            "dataset": "course clips",
            "joint_set": H36M.name,
            "root": H36M_ROOT,
            "units": "mm",
            "source_unit": source_unit,
            "root_relative": "in the source" if relative else "by us, on every frame",
            "frames": self.shape[0],
            "frame_rate": None,
            "split_rule": "the course's own split of clips; subjects unknown",
            "protocol": None,
            "joint_order": "assumed: no source states it; report 001's errors by joint fit Human3.6M's 17",
            "synthetic": False,
            "dropped": [],
        }
        self._descriptor = open_descriptor(self.path, error=ConvertError)
        self._finalizer = weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self._length

    def __enter__(self) -> "ClipPair":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; labels stay."""
        self._finalizer()

    def name(self, index: int) -> str:
        """The clip's name: its number."""
        return str(self.labels["name"][index])

    def buffer(self, size: int) -> np.ndarray:
        """An array (size, frames, height, width, 3) of uint8 to read into."""
        return np.empty((size, *self.shape), np.uint8)

    def read_into(self, index: int, out: np.ndarray) -> None:
        """Read a clip's pixels into `out`, a contiguous uint8 array (frames, height, width, 3).

        Raises:
            ConvertError: If the file has become shorter, or was closed.
        """
        if not 0 <= index < self._length:
            raise IndexError(f"{self.path}: clip {index} of {self._length}")
        if out.dtype != np.uint8 or out.shape != self.shape or not out.flags.c_contiguous:
            raise ValueError(f"{self.path} has contiguous uint8 {self.shape}; `out` is {out.dtype} {out.shape}")
        if not self._finalizer.alive:
            raise ConvertError(f"{self.path}: clip {index}: the file was closed")
        left, offset = out.data.cast("B"), self._offset + index * math.prod(self.shape)
        while left:
            got = os.preadv(self._descriptor, [left], offset)
            if not got:
                raise ConvertError(f"{self.path}: the file ends before clip {index}; copy it again")
            left, offset = left[got:], offset + got

    def pixels(self, index: int) -> np.ndarray:
        """A clip's pixels: uint8 (frames, height, width, 3)."""
        out: np.ndarray = self.buffer(1)[0]
        self.read_into(index, out)
        return out


def _mapped(path: Path) -> np.memmap[Any, Any]:
    """The array of a `.npy` file, mapped.

    Raises:
        ConvertError: If it is no such file, or not in C order.
    """
    array = read_array(path, mapped=True, error=ConvertError)
    if not array.flags.c_contiguous:
        raise ConvertError(f"{path} is in Fortran order; save numpy.ascontiguousarray of it")
    if not isinstance(array, np.memmap):
        raise ConvertError(f"{path} holds no clip: {array.shape}")
    return array


def _extent(poses: np.ndarray) -> float:
    """The largest extent along an axis of the median frame's pose."""
    return float(np.median((poses.max(axis=2) - poses.min(axis=2)).max(axis=-1)))


def _check_extents(path: Path, poses: np.ndarray) -> None:
    """Refuse frames in which nobody can be: the median tells the unit, but a few others may have another, or none."""
    extents = (poses.max(axis=2) - poses.min(axis=2)).max(axis=-1)
    usual = float(np.median(extents))
    wrong = np.argwhere((extents * FACTOR < usual) | (extents > usual * FACTOR) | (extents == 0))
    if len(wrong):
        clip, frame = wrong[0].tolist()
        raise ConvertError(
            f"{path}: clip {clip}, frame {frame}: the person is {extents[clip, frame]:.4g} mm large, in the median "
            f"frame {usual:.4g} ({len(wrong)} are like that): are units mixed, or labels empty? Mend or remove them"
        )


def _possible(extent: float, unit: Unit) -> bool:
    """Whether a person can be so large."""
    low, high = EXTENT_M
    return low * MM["m"] <= extent * MM[unit] <= high * MM["m"]


def _tell_unit(path: Path, poses: np.ndarray) -> Unit:
    extent = _extent(poses)
    for unit in AUTOMATIC:
        if _possible(extent, unit):
            return unit
    low, high = EXTENT_M
    hint = "if that is cm, say `--unit cm`" if _possible(extent, "cm") else "mend the joints"
    raise ConvertError(
        f"{path}: a person is {extent:.4g} large, which is neither {low} to {high} m nor the same in mm; {hint}"
    )


def _check_size(path: Path, poses: np.ndarray, unit: Unit) -> None:
    """Refuse joints that cannot be in a unit."""
    extent = _extent(poses)
    if not _possible(extent, unit):
        low, high = EXTENT_M
        units = [other for other in MM if _possible(extent, other)]
        hint = f"say `--unit {units[0]}`" if units else "mend the joints"
        raise ConvertError(f"{path}: in {unit}, a person is {extent:.4g} {unit} large, not {low} to {high} m; {hint}")
