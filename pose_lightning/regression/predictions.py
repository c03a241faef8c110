"""Files of predicted clips: ours are written here, anyone's are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Float64

from pose_lightning.errors import UserError
from pose_lightning.joints import H36M
from pose_lightning.reading import arrays, hdf5
from pose_lightning.scoring import write_arrays

KEY: Final = "preds"
MM_PER_M: Final = 1000.0
IN_METRES_BELOW: Final = 5.0
IN_MM_ABOVE: Final = 100.0
"""Largest coordinate of the median frame of root-relative people: about 1 m. Between these two, no unit can be told."""

Unit = Literal["m", "mm"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted poses in mm."""

    preds: Float64[np.ndarray, "n t 17 3"]
    path: Path
    unit: Unit
    """Of the file."""


def write_predictions(
    path: Path, preds: Float[np.ndarray, "n t 17 3"], names: Sequence[str], *, store: Path, split: str
) -> None:
    """Write poses in mm with their clips' names, whole or not at all."""
    if len(preds) != len(names):
        raise ValueError(f"{len(preds)} predictions for {len(names)} names")
    facts = {"units": "mm", "joint_set": H36M.name}
    write_arrays(path, {KEY: np.asarray(preds), "name": names}, store=store, split=split, **facts)


def read_predictions(
    path: Path, shape: tuple[int, ...], names: Sequence[str], *, unit: Unit | None = None
) -> Predictions:
    """Read `preds` of an HDF5 file, or the array of a `.npy` file, of a store's clips in its order.

    Args:
        path: The file: poses (n, t, 17, 3), (n, t, 51), or (n * t, 17, 3).
        shape: Of the store's poses, (n, t, 17, 3).
        names: Of its clips; a file of ours that names other clips is refused.
        unit: Of the file; `None` takes what it records, or tells it from the median frame.

    Raises:
        UserError: If the file cannot be read, has another size or order, holds a number that is not finite, or its unit
            cannot be told or is not what it records.
    """
    array, recorded, written = _read(path)
    clips, frames, joints, _ = shape
    accepted = (shape, (clips, frames, 3 * joints), (clips * frames, joints, 3))
    if array.dtype.kind not in "fiu" or array.shape not in accepted:  # never by size: swapped axes have the same
        raise UserError(
            f"{path}: {array.dtype} {array.shape}; the store's clips need numbers of shape "
            f"{accepted[0]}, {accepted[1]} or {accepted[2]}"
        )
    if written is not None and list(written) != list(names):
        wrong = next((i for i, (ours, theirs) in enumerate(zip(names, written, strict=False)) if ours != theirs), 0)
        raise UserError(f"{path}: its prediction {wrong} is of another clip than the store's {names[wrong]!r}")
    preds = np.asarray(array, dtype=np.float64).reshape(shape)
    if not np.isfinite(preds).all():
        clip, frame, joint, _ = np.argwhere(~np.isfinite(preds))[0].tolist()
        raise UserError(
            f"{path}: clip {names[clip]!r}, frame {frame}, {H36M.names[joint]} is not finite; predict every joint"
        )
    if None not in (unit, recorded) and unit != recorded:
        raise UserError(f"{path} records {recorded}, but --unit {unit} was given; leave it out")
    unit = unit or recorded or _tell(path, preds)
    return Predictions(preds * (MM_PER_M if unit == "m" else 1.0), path, unit)


def _read(path: Path) -> tuple[np.ndarray, Unit | None, list[str] | None]:
    """The array, and the unit and the clips' names where the file records them."""
    if path.suffix == ".mat":
        raise UserError(f"{path}: MATLAB files are read for joints in px only; save clips as .npy, (n, t, 17, 3)")
    if path.suffix == ".npy":
        return arrays.read_array(path), None, None
    with hdf5.open_hdf5(path, kind="HDF5 file, nor a .npy") as file:
        names = list(hdf5.read_texts(file, "name", path)) if "name" in file else None
        unit = hdf5.read_attributes(file).get("units")
        return hdf5.read_dataset(file, KEY, path), "m" if unit == "m" else "mm" if unit == "mm" else None, names


def _tell(path: Path, preds: Float64[np.ndarray, "n t 17 3"]) -> Unit:
    largest = float(np.median(np.abs(preds).max(axis=(2, 3))))  # of all frames, one wild joint would decide
    if largest < IN_METRES_BELOW:
        return "m"
    if largest > IN_MM_ABOVE:
        return "mm"
    raise UserError(
        f"{path}: the median frame's largest coordinate is {largest:.3g}, which is neither m nor mm; say `--unit m` or "
        "`--unit mm`"
    )
