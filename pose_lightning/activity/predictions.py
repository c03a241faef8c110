"""Files of predicted probabilities: ours are written here, anyone's are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from pose_lightning.activity.truth import LISTS, Pictures, Target, Truth, classes_of, targets_of
from pose_lightning.errors import UserError
from pose_lightning.reading import arrays, hdf5
from pose_lightning.scoring import write_arrays

KEY: Final = "preds"

TOLERANCE: Final = 0.01
"""How far from 1 a row's sum may be: half precision rounds hundreds of probabilities."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Probabilities of a file, and the pictures and classes that it names, where it does."""

    path: Path
    preds: Float64[np.ndarray, "n k"]
    names: tuple[str, ...] | None
    classes: tuple[str, ...] | None


def write_predictions(
    path: Path,
    preds: Float[np.ndarray, "n k"],
    names: Sequence[str],
    classes: Sequence[str],
    *,
    target: Target,
    store: Path,
    split: str,
) -> None:
    """Write probabilities with their pictures' and classes' names, whole or not at all."""
    if preds.shape != (len(names), len(classes)):
        raise ValueError(f"predictions {preds.shape} of {len(names)} pictures and {len(classes)} classes")
    write_arrays(
        path,
        {KEY: np.asarray(preds), "name": names, "classes": classes},
        store=store,
        split=split,
        target=target,
    )


def read_predictions(path: Path, truth: Truth) -> Predictions:
    """Read `preds` of an HDF5 file, or the array of a `.npy` file: probabilities (n, k) of a split's pictures in order.

    The pictures are those that have a label for the target, in the store's order; the classes as the store lists them.

    Raises:
        UserError: If the file cannot be read, is of other pictures or classes or another size, or holds no
            probabilities.
    """
    found = read(path, truth.target)
    if found.preds.shape != truth.has.shape:
        raise UserError(
            f"{path}: {found.preds.shape}; wanted {truth.has.shape}, one row for each picture of the split that has a "
            f"label for target={truth.target}, and one column for each class"
        )
    check_classes(found, truth)
    if found.names is not None and found.names != truth.names:
        row = next(i for i, (ours, theirs) in enumerate(zip(truth.names, found.names, strict=True)) if ours != theirs)
        raise UserError(
            f"{path}: its row {row} is of {found.names[row]!r}, the store's picture {row} with a label for "
            f"target={truth.target} is {truth.names[row]!r}; wanted the store's order"
        )
    return found


def predicted_target(path: Path, store: Pictures) -> Target:
    """What a file predicts: as it records, or the only target of the store that has as many classes as it has columns.

    Raises:
        UserError: If the file cannot be read, or no target or more than one has as many classes.
    """
    array, _, _, recorded = _read(path)
    if recorded is not None:
        for target in LISTS:
            if target == recorded:
                return target
        raise UserError(f"{path} records target {recorded!r}; wanted one of {', '.join(LISTS)}")
    sizes = {target: len(classes_of(store, target)) for target in targets_of(store)}
    fitting = [target for target, size in sizes.items() if array.shape[1:] == (size,)]
    if len(fitting) != 1:
        listed = ", ".join(f"{target} {size}" for target, size in sizes.items())
        raise UserError(
            f"{path}: {array.shape} does not tell what it predicts; {store.path} has {listed}; say it with --target"
        )
    return fitting[0]


def check_classes(found: Predictions, truth: Truth) -> None:
    """Refuse columns of other classes.

    Raises:
        UserError: If there are more or fewer classes than the store's, or they are named otherwise.
    """
    if found.preds.shape[1] != len(truth.classes):
        raise UserError(
            f"{found.path} has {found.preds.shape[1]} columns; the store has {len(truth.classes)} classes for "
            f"target={truth.target}"
        )
    if found.classes is not None and found.classes != truth.classes:
        pairs = zip(truth.classes, found.classes, strict=True)
        column = next(i for i, (ours, theirs) in enumerate(pairs) if ours != theirs)
        raise UserError(
            f"{found.path}: its column {column} is {found.classes[column]!r}, the store's class {column} is "
            f"{truth.classes[column]!r}; they are of different conversions"
        )


def read(path: Path, target: Target) -> Predictions:
    """Probabilities of any pictures.

    Raises:
        UserError: If the file cannot be read, is of another target, or holds no probabilities.
    """
    array, names, classes, recorded = _read(path)
    if recorded not in (None, target):
        raise UserError(f"{path} predicts {recorded}, not {target}; score it as target={recorded}")
    if array.dtype.kind not in "fiub" or array.ndim != 2:
        raise UserError(f"{path}: {array.dtype} {array.shape}; wanted probabilities of shape (pictures, classes)")
    preds = np.asarray(array, dtype=np.float64)
    for list_, size, what in ((names, preds.shape[0], "name"), (classes, preds.shape[1], "classes")):
        if list_ is not None and len(list_) != size:
            raise UserError(f"{path}: {KEY!r} is {preds.shape}, but {what!r} has {len(list_)}; it is damaged")
    _check_probabilities(path, preds, names, target)
    return Predictions(path, preds, names, classes)


def _check_probabilities(
    path: Path, preds: Float64[np.ndarray, "n k"], names: Sequence[str] | None, target: Target
) -> None:
    def where(row: int) -> str:
        return f"{path}: row {row}" if names is None else f"{path}: {names[row]!r}"

    if not np.isfinite(preds).all():
        row, column = np.argwhere(~np.isfinite(preds))[0].tolist()
        raise UserError(f"{where(row)}, column {column} is not finite; predict every class of every picture")
    outside = (preds < 0) | (preds > 1 + TOLERANCE)
    turn = "a sigmoid" if target == "tags" else "softmax over each row"
    if outside.any():
        row, column = np.argwhere(outside)[0].tolist()
        raise UserError(
            f"{where(row)}, column {column} is {preds[row, column]:.4g}, no probability; if these are logits, apply "
            f"{turn} first"
        )
    sums = preds.sum(axis=1)
    if target != "tags" and (wrong := np.abs(sums - 1) > TOLERANCE).any():
        row = int(np.flatnonzero(wrong)[0])
        raise UserError(
            f"{where(row)}: its probabilities add up to {sums[row]:.4g}, not to 1; if these are logits or sigmoids, "
            f"apply {turn} first"
        )


def _read(path: Path) -> tuple[np.ndarray, tuple[str, ...] | None, tuple[str, ...] | None, str | None]:
    """The array, and the pictures' names, the classes and the target where the file records them."""
    if path.suffix == ".npy":
        return arrays.read_array(path), None, None, None
    with hdf5.open_hdf5(path, kind="HDF5 file, nor a .npy") as file:
        names, classes = (hdf5.read_texts(file, key, path) if key in file else None for key in ("name", "classes"))
        target = hdf5.read_attributes(file).get("target")
        return hdf5.read_dataset(file, KEY, path), names, classes, None if target is None else str(target)
