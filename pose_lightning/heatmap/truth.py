"""What people's joints are: the labels of a split.

Shapes: n persons, j joints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from pose_lightning.errors import UserError
from pose_lightning.joints import JointSet
from pose_lightning.metrics import points as metrics
from pose_lightning.store import Store

LONG: Final = ("ignored", "image_ids")
"""Attributes of a store that are lists as long as the split: they are no notes."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The labels of a split, in 0-based image px."""

    joint_set: JointSet
    joints: Float64[np.ndarray, "n j 2"]
    labelled: Bool[np.ndarray, "n j"]
    visible: Bool[np.ndarray, "n j"]
    unit: Float64[np.ndarray, " n"]
    """What the person's distances are measured by (`units`); NaN where unknown: such persons are not scored."""
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
            UserError: If the store is of another kind or origin, has no joint set, or a label contradicts itself.
        """
        for key, wanted in (("kind", "pose"), ("origin", 0)):
            if store.attrs.get(key) != wanted:
                raise UserError(f"{store.path}: {key} is {store.attrs.get(key)!r}, wanted {wanted!r}")
        joint_set = JointSet.read(store.attrs.get("joint_set"), store.path)
        labels = store.labels
        truth = cls(
            joint_set=joint_set,
            joints=np.array(labels["joints"], dtype=np.float64),
            labelled=np.array(labels["labelled"], dtype=bool),
            visible=np.array(labels["visible"], dtype=bool),
            unit=units(labels, joint_set, store.path),
            center=np.array(labels["center"], dtype=np.float64),
            box=np.array(labels["box"], dtype=np.float64),
            group=np.array(labels["group"], dtype=np.int64),
            names=tuple(str(name) for name in labels["name"]),
            notes={key: value for key, value in store.attrs.items() if key not in LONG} | {"joint_set": joint_set.name},
        )
        truth._check(store.path)
        return truth

    def _check(self, path: Path) -> None:
        without = self.labelled & ~np.isfinite(self.joints).all(axis=-1)
        for wrong, what in (
            (without.any(axis=1), "a labelled joint has no finite coordinates"),
            (self.unit <= 0, f"the {metrics.UNIT_NAMES[self.joint_set.reference][0]} is not positive"),
            (~(self.box > 0), "the side of the box is not positive"),
        ):
            if wrong.any():
                raise UserError(f"{path}: sample {self.names[int(wrong.argmax())]!r}: {what}")

    def select(self, indices: Sequence[int] | Int64[np.ndarray, " m"]) -> "Truth":
        """The persons at `indices`, in that order."""
        chosen = np.asarray(indices, dtype=np.int64)
        arrays = {key: getattr(self, key)[chosen] for key in ("joints", "labelled", "visible", "unit", "center")}
        return replace(
            self, **arrays, box=self.box[chosen], group=self.group[chosen], names=tuple(self.names[i] for i in chosen)
        )


UNIT_LABELS: Final = {"head": "head_size", "box": "extent"}
"""Labels of a store that hold what distances are measured by, px."""


def units(labels: Mapping[str, np.ndarray], joint_set: JointSet, place: Path) -> Float64[np.ndarray, " n"]:
    """What every person's distances are measured by, in image px; NaN where it is not known.

    Args:
        labels: Of a pose store.
        joint_set: Says which it is: `head_size`, `extent` (longer side of the labelled box) or the torso joints.
        place: The store, for the message.

    Raises:
        UserError: If the labels lack it.
    """
    if joint_set.torso is not None and joint_set.reference == "torso":
        joints, labelled = torch.tensor(labels["joints"]), torch.tensor(labels["labelled"])
        return metrics.torso_lengths(joints, labelled, joint_set.torso).numpy()
    label = UNIT_LABELS[joint_set.reference]
    if label not in labels:
        raise UserError(
            f"{place} has no labels `{label}`, by which distances of the joint set {joint_set.name} are measured; "
            "convert it again"
        )
    return np.array(labels[label], dtype=np.float64)
