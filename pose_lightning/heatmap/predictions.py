"""Files of predicted poses: ours are written here, anyone's are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Float64

from pose_lightning.errors import UserError
from pose_lightning.joints import JointSet
from pose_lightning.reading import arrays, hdf5, matlab, raw
from pose_lightning.scoring import write_arrays

KEY: Final = "preds"
AXES: Final = "sample joint xy"
"""The axis order that our own files record; a foreign file's is told from its shape."""


HDF5_MARK: Final = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predicted joints (n, j, 2) in 0-based image px, NaN where there is no prediction."""

    preds: Float64[np.ndarray, "n j 2"]
    confidence: Float64[np.ndarray, "n j"] | None
    path: Path
    origin: int
    """Of the file's coordinates; already taken off here."""


def write_predictions(
    path: Path,
    preds: Float[np.ndarray, "n j 2"],
    names: Sequence[str],
    *,
    joint_set: JointSet,
    store: Path,
    split: str,
    confidence: Float[np.ndarray, "n j"] | None = None,
) -> None:
    """Write poses in 0-based image px with their samples' names, whole or not at all.

    Args:
        path: File to write, replaced if it is there.
        preds: Joints of every sample, in the order of `names`.
        names: The store's sample names; whoever reads the file can check the order.
        joint_set: Of the poses; its name is recorded.
        store: Where the samples are from; its name is recorded.
        split: Of the store.
        confidence: Height of each joint's peak.
    """
    if len(preds) != len(names):
        raise ValueError(f"{len(preds)} predictions for {len(names)} names")
    arrays: dict[str, np.ndarray | Sequence[str]] = {KEY: np.asarray(preds), "name": names}
    if confidence is not None:
        arrays["confidence"] = np.asarray(confidence)
    write_arrays(path, arrays, store=store, split=split, origin=0, axes=AXES, units="px", joint_set=joint_set.name)


def read_predictions(
    path: Path, names: Sequence[str], joint_set: JointSet, *, origin: int | None = None
) -> Predictions:
    """Read `preds` from an HDF5 or MATLAB file (v5 or v7.3), or the array of a `.npy` file.

    Any order of the three axes is understood, from the shape; nothing is unpickled.

    Args:
        path: File with one pose per sample, in the store's order.
        names: Names of the store's samples. A file that has names of its own must have the same.
        joint_set: Of the store.
        origin: 0 or 1, the coordinates of the centre of the top-left pixel. Our own files record it; most published
            predictions on MPII are 1-based.

    Raises:
        UserError: If the file cannot be read, does not fit the store, or the origin is not known.
    """
    fields, attrs = _read(path)
    if KEY not in fields:
        raise UserError(f"{path} has no `{KEY}`; it has {sorted(fields)}")
    origin = _origin(path, attrs, origin)
    raw = fields[KEY]
    if raw.dtype.kind not in "fiu":
        raise UserError(f"{path}: `{KEY}` holds {raw.dtype}, wanted real numbers")
    preds = _in_our_axes(path, raw, (len(names), len(joint_set), 2), recorded=_axes(attrs.get("axes")) == AXES)
    if "name" in fields:
        _check_names(path, fields["name"], names)
    confidence = fields.get("confidence")
    if confidence is not None and (confidence.shape != preds.shape[:2] or confidence.dtype.kind not in "fiu"):
        raise UserError(f"{path}: `confidence` is {confidence.dtype} {confidence.shape}, wanted {preds.shape[:2]}")
    return Predictions(
        preds=preds.astype(np.float64) - origin,
        confidence=None if confidence is None else confidence.astype(np.float64),
        path=path,
        origin=origin,
    )


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name and the file's attributes."""
    if path.suffix == ".npy":
        return {KEY: arrays.read_array(path)}, {}
    start = raw.read_start(path, 1024)
    if HDF5_MARK in (start[:8], start[512:520]):  # MATLAB v7.3 is HDF5 behind a header of 512 bytes
        return _read_hdf5(path)
    if path.suffix == ".mat":
        content = matlab.load_mat(path, squeeze=False)
        return {key: value for key, value in content.items() if isinstance(value, np.ndarray)}, {}
    raise UserError(f"{path} is not HDF5, MATLAB (.mat) or .npy")


def _read_hdf5(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with hdf5.open_hdf5(path) as file:
        fields = {KEY: hdf5.read_dataset(file, KEY, path)}
        if "confidence" in file:
            fields["confidence"] = hdf5.read_dataset(file, "confidence", path)
        if "name" in file:
            fields["name"] = np.array(hdf5.read_texts(file, "name", path), dtype=object)
        return fields, hdf5.read_attributes(file)


def _origin(path: Path, attrs: dict[str, Any], given: int | None) -> int:
    recorded = attrs.get("origin")
    if recorded is None and given is None:
        raise UserError(
            f"{path} does not record whether its coordinates begin at 0 or 1: say --origin 0 or --origin 1 (published "
            "predictions on MPII are 1-based as a rule)"
        )
    if recorded is not None and not (isinstance(recorded, int | float) and recorded in (0, 1)):
        raise UserError(f"{path} records origin {str(recorded)[:80]}; wanted 0 or 1")
    if None not in (recorded, given) and recorded != given:
        raise UserError(f"{path} records origin {recorded}, but --origin {given} was given; leave it out")
    origin = recorded if given is None else given
    if origin not in (0, 1):
        raise UserError(f"{path}: origin {origin}, wanted 0 or 1")
    return int(origin)


def _axes(recorded: Any) -> str:
    """Axes as our own files record them; others may have a list."""
    return " ".join(map(str, recorded)) if isinstance(recorded, np.ndarray) else str(recorded)


def _in_our_axes(path: Path, raw: np.ndarray, wanted: tuple[int, int, int], *, recorded: bool) -> np.ndarray:
    """The array in the wanted shape."""
    count, joints, _ = wanted
    orders = [(0, 1, 2)] if recorded else list(permutations(range(3)))
    fitting = [order for order in orders if raw.ndim == 3 and tuple(raw.shape[axis] for axis in order) == wanted]
    if len(fitting) == 1:
        return raw.transpose(fitting[0])
    if fitting:
        raise UserError(
            f"{path}: `{KEY}` is {raw.shape}, which fits {count} samples in more than one axis order; write it as an "
            f'HDF5 file {wanted} with the attributes axes="{AXES}" and origin'
        )
    rest = list(raw.shape)
    if raw.ndim == 3 and joints in rest and 2 in rest:
        rest.remove(joints)
        rest.remove(2)
        raise UserError(f"{path} holds predictions for {rest[0]} samples, the store has {count}")
    raise UserError(f"{path}: `{KEY}` is {raw.shape}, wanted {wanted} in any order of axes")


def _check_names(path: Path, found: np.ndarray, names: Sequence[str]) -> None:
    texts = [str(hdf5.plain(text)) for text in np.ravel(found)]
    if len(texts) != len(names):
        raise UserError(f"{path} names {len(texts)} samples, the store has {len(names)}")
    for index, (text, name) in enumerate(zip(texts, names, strict=True)):
        if text != name:
            raise UserError(f"{path}: sample {index} is {text!r}, in the store {name!r}: another store or order")
