"""MPII's validation labels as published scores have them.

Shapes: n persons, j joints.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float64

from pose_lightning.errors import UserError
from pose_lightning.heatmap.truth import Truth
from pose_lightning.joints import MPII
from pose_lightning.metrics import points as metrics
from pose_lightning.reading.matlab import load_mat

SHAPES: Final[Mapping[str, tuple[int, ...]]] = {
    "pos_gt_src": (len(MPII), 2),
    "jnt_missing": (len(MPII),),
    "headboxes_src": (2, 2),
}
"""Of the arrays of HRNet's gt_valid.mat, before the axis of persons."""


def as_published(truth: Truth, path: Path) -> Truth:
    """MPII's validation split as published scores have it: `pos_gt_src` of HRNet's gt_valid.mat.

    That file zeroes one coordinate of 13 annotated joints, so that a correct prediction of them is a miss (and one
    clipped at the image's border, where they are, a hit). Everything else is as in the store, to the rounding of the
    annotation files.

    Raises:
        UserError: If the file cannot be read, or has not the same persons in the same order.
    """
    if (difference := truth.joint_set.differences(MPII)) is not None:
        raise UserError(f"{path} is of MPII, and the store of {truth.joint_set.name} beside it: {difference}")
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
        unit=0.6 * np.linalg.norm(corners[1] - corners[0], axis=0),
        notes={**truth.notes, "published_truth": f"{path.name}, {int(zeroed.sum())} joints with a coordinate zeroed"},
    )


def zeroed_joints(preds: Float64[np.ndarray, "n j 2"], truth: Truth, published: Truth) -> str:
    """A sentence on what the zeroed joints of `as_published` do to the score of `preds`."""
    zeroed = published.labelled & (published.joints == -1).any(axis=-1)
    hits = []
    for each in (published, truth):
        arrays = (preds, each.joints, each.unit)
        errors = metrics.joint_errors(*(torch.tensor(array) for array in arrays)).numpy()
        hits.append(int((errors[zeroed] <= metrics.FOUND["head"]).sum()))
    return (
        f"Of the {int(zeroed.sum())} joints that published scores zero, {hits[0]} are hits where the zeros are and "
        f"{hits[1]} where they were annotated."
    )
