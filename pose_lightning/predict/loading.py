"""The network that a command line names, where PyTorch runs it."""

import argparse
from pathlib import Path

from pose_lightning.activity.task import ActivityClassification
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.predict.classes import Classifier
from pose_lightning.predict.clips import ClipEstimator
from pose_lightning.predict.poses import PoseEstimator
from pose_lightning.runs import RunDirectory
from pose_lightning.trained import load, manner_from
from pose_lightning.weight_files import WeightFile


def of_weights(options: argparse.Namespace) -> PoseEstimator:
    """The one of `--weights`.

    Raises:
        UserError: If it cannot be had.
    """
    file = WeightFile.open(options.weights)
    return PoseEstimator.of_weights(file, input_size=options.input_size, manner=manner_from(options))


def of_run(path: Path, options: argparse.Namespace) -> PoseEstimator | Classifier | ClipEstimator:
    """That of a run.

    Raises:
        UserError: If it cannot be had.
    """
    built, checkpoint, step = load(RunDirectory.open(path), manner=manner_from(options))
    if isinstance(built.model, HeatmapEstimation):
        return PoseEstimator.of_run(built, checkpoint, step)
    kind = Classifier if isinstance(built.model, ActivityClassification) else ClipEstimator
    return kind(built, checkpoint, step)
