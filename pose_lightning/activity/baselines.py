"""Predictors that never look at the picture: what a network must beat."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from jaxtyping import Float64

from pose_lightning.activity.truth import Truth

MAJORITY: Final = "majority class"
PRIOR: Final = "training prior"

UNDEFINED: Final = frozenset({"top5", "ece", "nll"})
"""What the majority class has none of: an answer without probabilities."""

Baselines = Mapping[str, Float64[np.ndarray, "n k"]]
"""Predictions by name."""


def baselines(train: Truth, truth: Truth) -> Baselines:
    """Predictions for every picture of `truth` by name: 0 and 1, and probabilities."""
    return {MAJORITY: majority(train, truth), PRIOR: prior(train, truth)}


def majority(train: Truth, truth: Truth) -> Float64[np.ndarray, "n k"]:
    """The commonest class of the training split; of tags, each that more than half of its pictures have."""
    share = train.has.mean(axis=0)
    answer = share > 0.5 if truth.target == "tags" else np.arange(len(share)) == share.argmax()
    return np.tile(answer.astype(np.float64), (len(truth), 1))


def prior(train: Truth, truth: Truth) -> Float64[np.ndarray, "n k"]:
    """The share of the training pictures that are of each class or have each tag."""
    return np.tile(train.has.mean(axis=0), (len(truth), 1))
