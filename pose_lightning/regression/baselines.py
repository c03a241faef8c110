"""Predictors that never look at the image: what a network must beat."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Float64

from pose_lightning.regression.evaluation import ACTION_POSE, Truth

MEAN_POSE: Final = "mean training pose"


def baselines(train: Truth, truth: Truth) -> Mapping[str, Float64[np.ndarray, "n t 17 3"]]:
    """Predictions for every clip of `truth` by name; without the second where an action is unknown or untrained."""
    poses = {MEAN_POSE: mean_pose(train, truth)}
    if set(truth.action.tolist()) <= set(train.action.tolist()) - {""}:
        poses[ACTION_POSE] = action_pose(train, truth)
    return poses


def mean_pose(train: Truth, truth: Truth) -> Float64[np.ndarray, "n t 17 3"]:
    """The mean of all training poses, for every frame."""
    return np.broadcast_to(train.joints.mean(axis=(0, 1)), truth.joints.shape).copy()


def action_pose(train: Truth, truth: Truth) -> Float64[np.ndarray, "n t 17 3"]:
    """The mean training pose of the clip's action, for every frame.

    Raises:
        KeyError: If the training split lacks an action.
    """
    means = {action: train.joints[train.action == action].mean(axis=(0, 1)) for action in set(train.action.tolist())}
    poses = np.stack([means[action] for action in truth.action.tolist()])
    return np.broadcast_to(poses[:, None], truth.joints.shape).copy()
