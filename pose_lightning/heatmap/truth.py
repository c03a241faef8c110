"""What people's joints are: the labels of a split, and as published scores have them.

Shapes: n persons, 16 joints, MPII's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from pose_lightning.errors import UserError
from pose_lightning.joints import MPII
from pose_lightning.metrics import points as metrics
from pose_lightning.reading.matlab import load_mat
from pose_lightning.store import Store

SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    "pos_gt_src": (len(MPII), 2),
    "jnt_missing": (len(MPII),),
    "headboxes_src": (2, 2),
}
"""Of the arrays of HRNet's gt_valid.mat, before the axis of persons."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The labels of a split, in 0-based image px."""

    joints: Float64[np.ndarray, "n 16 2"]
    labelled: Bool[np.ndarray, "n 16"]
    visible: Bool[np.ndarray, "n 16"]
    head_size: Float64[np.ndarray, " n"]
    """NaN where unknown: such persons have no PCKh."""
    center: Float64[np.ndarray, "n 2"]
    box: Float64[np.ndarray, " n"]
    group: Int64[np.ndarray, " n"]
    """Persons with the same number share an image."""
    names: tuple[str, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)
    """The store's attributes: split, dataset, synthetic, box_source, head_size_source, ..."""

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_store(cls, store: Store) -> "Truth":
        """The labels of a pose store.

        Raises:
            UserError: If the store is of another kind, joint set or origin, or a label contradicts itself.
        """
        for key, wanted in (("kind", "pose"), ("joint_set", MPII.name), ("origin", 0)):
            if store.attrs.get(key) != wanted:
                raise UserError(f"{store.path}: {key} is {store.attrs.get(key)!r}, wanted {wanted!r}")
        labels = store.labels
        truth = cls(
            joints=np.array(labels["joints"], dtype=np.float64),
            labelled=np.array(labels["labelled"], dtype=bool),
            visible=np.array(labels["visible"], dtype=bool),
            head_size=np.array(labels["head_size"], dtype=np.float64),
            center=np.array(labels["center"], dtype=np.float64),
            box=np.array(labels["box"], dtype=np.float64),
            group=np.array(labels["group"], dtype=np.int64),
            names=tuple(str(name) for name in labels["name"]),
            notes=dict(store.attrs),
        )
        truth._check(store.path)
        return truth

    def _check(self, path: Path) -> None:
        without = self.labelled & ~np.isfinite(self.joints).all(axis=-1)
        for wrong, what in (
            (without.any(axis=1), "a labelled joint has no finite coordinates"),
            (self.head_size <= 0, "the head size is not positive"),
            (~(self.box > 0), "the side of the box is not positive"),
        ):
            if wrong.any():
                raise UserError(f"{path}: sample {self.names[int(wrong.argmax())]!r}: {what}")

    def select(self, indices: Sequence[int] | Int64[np.ndarray, " m"]) -> "Truth":
        """The persons at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        arrays = {key: getattr(self, key)[chosen] for key in ("joints", "labelled", "visible", "head_size", "center")}
        return replace(
            self, **arrays, box=self.box[chosen], group=self.group[chosen], names=tuple(self.names[i] for i in chosen)
        )


def as_published(truth: Truth, path: Path) -> Truth:
    """MPII's validation split as published scores have it: `pos_gt_src` of HRNet's gt_valid.mat.

    That file zeroes one coordinate of 13 annotated joints, so that a correct prediction of them is a miss (and one
    clipped at the image's border, where they are, a hit). Everything else is as in the store, to the rounding of the
    annotation files.

    Raises:
        UserError: If the file cannot be read, or has not the same persons in the same order.
    """
    file = load_mat(path, *SHAPES, squeeze=False)
    count = len(truth)
    for key, shape in SHAPES.items():
        if key not in file:
            raise UserError(f"{path} has no {sorted(SHAPES.keys() - file.keys())}; wanted HRNet's gt_valid.mat")
        array = file[key]
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or array.ndim != len(shape) + 1:
            raise UserError(f"{path}: {key} is no array of {len(shape) + 1} axes; wanted HRNet's gt_valid.mat")
        if array.shape[-1] != count:
            raise UserError(f"{path} holds {array.shape[-1]} persons, the store {count}")
        if array.shape != (*shape, count):
            raise UserError(f"{path}: {key} is {array.shape}, wanted {(*shape, count)}")
    joints = file["pos_gt_src"].transpose(2, 0, 1).astype(np.float64)
    labelled = ~file["jnt_missing"].T.astype(bool)
    zeroed = labelled & (joints == 0).any(axis=-1)
    joints -= 1  # MATLAB's first pixel is 1
    joints[~labelled] = np.nan
    corners = file["headboxes_src"].astype(np.float64)
    compared = labelled & ~zeroed
    far = np.zeros(compared.shape, dtype=bool)
    far[compared] = (
        np.abs(joints - truth.joints).max(axis=-1)[compared] > 1
    )  # neck and head-top are floored in Newell's
    wrong = (far | (labelled != truth.labelled)).any(axis=1)
    if wrong.any():
        raise UserError(
            f"{path}: person {int(wrong.argmax())} is not {truth.names[int(wrong.argmax())]!r} of the store"
        )
    return replace(
        truth,
        joints=joints,
        labelled=labelled,
        head_size=0.6 * np.linalg.norm(corners[1] - corners[0], axis=0),
        notes={**truth.notes, "published_truth": f"{path.name}, {int(zeroed.sum())} joints with a coordinate zeroed"},
    )


def zeroed_joints(preds: Float64[np.ndarray, "n 16 2"], truth: Truth, published: Truth) -> str:
    """A sentence on what the zeroed joints of `as_published` do to the score of `preds`."""
    zeroed = published.labelled & (published.joints == -1).any(axis=-1)
    hits = []
    for each in (published, truth):
        arrays = (preds, each.joints, each.head_size)
        errors = metrics.joint_errors(*(torch.tensor(array) for array in arrays)).numpy()
        hits.append(int((errors[zeroed] <= metrics.FOUND).sum()))
    return (
        f"Of the {int(zeroed.sum())} joints that published scores zero, {hits[0]} are hits where the zeros are and "
        f"{hits[1]} where they were annotated."
    )
