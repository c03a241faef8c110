"""The network that a command line names, where PyTorch runs it."""

import argparse
from pathlib import Path

from pose_lightning.activity.estimator import Classifier
from pose_lightning.activity.task import ActivityClassification
from pose_lightning.errors import UserError
from pose_lightning.heatmap.estimator import PoseEstimator
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.heatmap.weight_file import WeightFile
from pose_lightning.regression.estimator import ClipEstimator
from pose_lightning.regression.task import ClipRegression
from pose_lightning.runs import RunDirectory
from pose_lightning.trained import load, manner_from
from pose_lightning.trust import Trust


def of_weights(options: argparse.Namespace) -> PoseEstimator:
    """The one of `--weights`.

    Raises:
        UserError: If it cannot be had.
    """
    file = WeightFile.open(options.weights)
    return PoseEstimator.of_weights(file, input_size=options.input_size, manner=manner_from(options))


def of_run(path: Path, options: argparse.Namespace, trusted: Trust) -> PoseEstimator | Classifier | ClipEstimator:
    """That of a run.

    Raises:
        UserError: If it cannot be had.
    """
    built, checkpoint, step = load(RunDirectory.open(path), manner=manner_from(options), trusted=trusted)
    if isinstance(built.model, HeatmapEstimation):
        return PoseEstimator.of_run(built, checkpoint, step)
    if isinstance(built.model, ActivityClassification):
        return Classifier(built, checkpoint, step)
    if isinstance(built.model, ClipRegression):
        return ClipEstimator(built, checkpoint, step)
    raise UserError(
        f"{path} is a run of {type(built.model).__name__}, whose predictions cannot be shown: it is derived from none "
        "of HeatmapEstimation, ClipRegression and ActivityClassification"
    )
