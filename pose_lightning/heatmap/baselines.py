"""What predictors score that never look at the image: they show how much of a score the box alone gives away.

Poses are in box coordinates here: (joint - centre) / side, so that the box spans -0.5 to 0.5.
"""

import numpy as np
from jaxtyping import Float64
from scipy.spatial import cKDTree

from pose_lightning.heatmap.truth import Truth

MEAN_POSE, NEAREST_POSE = "mean train pose", "nearest box shape"


def baselines(train: Truth, truth: Truth) -> dict[str, Float64[np.ndarray, "n j 2"]]:
    """Predictions of both baselines for `truth`, by title, in image px; NaN for joints that no training pose has."""
    return {MEAN_POSE: mean_pose(train, truth), NEAREST_POSE: nearest_pose(train, truth)}


def mean_pose(train: Truth, truth: Truth) -> Float64[np.ndarray, "n j 2"]:
    """The mean of each joint over the training persons that have it, placed into every box."""
    return _into_image(np.broadcast_to(_mean(train), (len(truth), *train.joints.shape[1:])), truth)


def nearest_pose(train: Truth, truth: Truth) -> Float64[np.ndarray, "n j 2"]:
    """The training pose whose labelled joints fill their box in the width and height most alike, placed into the box.

    Privileged: the width and height of the person's labelled joints are taken from the truth. Joints that the neighbour
    lacks, and persons without a labelled joint, come from the mean pose. Where both splits share a person (by name),
    nobody is his own neighbour.
    """
    poses, mean = _in_box(train), _mean(train)
    known = np.flatnonzero(train.labelled.any(axis=1))
    asked = np.flatnonzero(truth.labelled.any(axis=1))
    placed = np.broadcast_to(mean, (len(truth), *mean.shape)).copy()
    if len(known) and len(asked):
        tree = cKDTree(_shapes(train)[known])
        neighbours = np.asarray(tree.query(_shapes(truth)[asked], k=[1, 2])[1])
        for index, (first, second) in zip(asked.tolist(), neighbours.tolist(), strict=True):
            own = train.names[known[first]] == truth.names[index]
            chosen = second if own else first
            if chosen < len(known):  # cKDTree says so where there is no second
                pose = poses[known[chosen]]
                placed[index] = np.where(np.isnan(pose), mean, pose)
    return _into_image(placed, truth)


def _in_box(truth: Truth) -> Float64[np.ndarray, "n j 2"]:
    """Joints in box coordinates, NaN where unlabelled."""
    poses = (truth.joints - truth.center[:, None]) / truth.box[:, None, None]
    return np.where(truth.labelled[..., None], poses, np.nan)


def _into_image(poses: Float64[np.ndarray, "n j 2"], truth: Truth) -> Float64[np.ndarray, "n j 2"]:
    return poses * truth.box[:, None, None] + truth.center[:, None]


def _mean(train: Truth) -> Float64[np.ndarray, "j 2"]:
    count = train.labelled.sum(axis=0)[:, None]
    total = np.where(train.labelled[..., None], _in_box(train), 0.0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _shapes(truth: Truth) -> Float64[np.ndarray, "n 2"]:
    """Width and height of the labelled joints' tight box, as shares of the person box; 0 without labelled joints."""
    poses, labelled = _in_box(truth), truth.labelled[..., None]
    high = np.where(labelled, poses, -np.inf).max(axis=1)
    low = np.where(labelled, poses, np.inf).min(axis=1)
    return np.where(truth.labelled.any(axis=1, keepdims=True), high - low, 0.0)
