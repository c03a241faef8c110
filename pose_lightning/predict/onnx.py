"""Exported networks: the same answers as `poses`, `classes` and `clips` give, without PyTorch."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning.activity.exported import OnnxActivities
from pose_lightning.errors import UserError
from pose_lightning.exported.estimator import OnnxEstimator
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.heatmap.exported import OnnxJoints
from pose_lightning.manner import LARGEST_BATCH, DecodeMethod
from pose_lightning.predict.answers import Asked, Pose, Ranking
from pose_lightning.predict.boxes import Box
from pose_lightning.predict.containers import LARGEST_DENOMINATOR
from pose_lightning.predict.windows import USUAL_MARGIN
from pose_lightning.regression.exported import OnnxPoses


def read(
    path: Path, *, flip_test: bool, decoding: DecodeMethod | None
) -> "OnnxPoseEstimator | OnnxClassifier | OnnxClipEstimator":
    """What a file holds, by its own word.

    Args:
        path: What `python -m pose_lightning.export --format onnx` wrote.
        flip_test: Average with what the mirrored picture gives.
        decoding: Of heatmaps: how a peak becomes a position; None is as the run says.

    Raises:
        UserError: If it cannot be read, or has no heatmaps to decode.
    """
    network = OnnxNetwork(path)
    task = network.facts.task
    if decoding is not None and task != "heatmap":
        raise UserError(f"--decoding cannot go with {path}, a network of {task}, which has no heatmaps")
    match task:
        case "heatmap":
            return OnnxPoseEstimator(OnnxJoints(network, flip_test=flip_test, decoding=decoding))
        case "activity":
            return OnnxClassifier(OnnxActivities(network, flip_test=flip_test))
        case "regression":
            return OnnxClipEstimator(OnnxPoses(network, flip_test=flip_test))


class OnnxPoseEstimator:
    """An exported network of heatmaps, for people in pictures of any kind and size."""

    task: Final = "heatmap"

    def __init__(self, joints: OnnxJoints) -> None:
        about = joints.network.facts
        self._joints = joints
        self.name, self.synthetic, self.taught = about.experiment, about.synthetic, joints.taught
        self.facts: dict[str, Any] = {
            "onnx": str(joints.network.path),
            "checkpoint": about.checkpoint,
            "step": about.step,
        }
        self.manner: dict[str, Any] = {
            "flip_test": joints.flip_test,
            "scales": [1.0],
            "decoding": joints.decoding,
        }

    def poses(self, picture: UInt8[np.ndarray, "h w 3"], boxes: Sequence[Box]) -> list[Pose]:
        """Of the people in these boxes of an RGB picture."""
        return self.poses_in([(picture, boxes)], LARGEST_BATCH)[0]

    def poses_in(self, asked: Sequence[Asked], batch_size: int) -> list[list[Pose]]:
        """Of the people in each of these pictures, up to `batch_size` of them in the network at once."""
        pictures = [picture for picture, listed in asked for _ in listed]
        boxes = [box for _, listed in asked for box in listed]
        squares = np.array([[box.x, box.y, box.side] for box in boxes])
        poses: list[Pose] = []
        for start in range(0, len(boxes), batch_size):
            chosen = slice(start, start + batch_size)
            found = self._joints.joints(pictures[chosen], squares[chosen])
            for box, joints, confidence in zip(boxes[chosen], *found, strict=True):
                poses.append(Pose(box, np.where(self.taught[:, None], joints, np.nan), confidence))
        ends = np.cumsum([len(listed) for _, listed in asked]).tolist()
        return [poses[end - len(listed) : end] for end, (_, listed) in zip(ends, asked, strict=True)]


class _OfFile:
    """Where the answers of a file are from, as those of a run say it."""

    def __init__(self, estimator: OnnxEstimator) -> None:
        about = estimator.network.facts
        self.checkpoint, self.step, self.experiment = estimator.network.path, about.step, about.experiment
        self.synthetic, self.flip_test = about.synthetic, estimator.flip_test


class OnnxClassifier(_OfFile):
    """An exported network of activity classification, for pictures of any kind and size."""

    task: Final = "activity"

    def __init__(self, activities: OnnxActivities) -> None:
        super().__init__(activities)
        self._activities = activities
        self.classes, self.target = activities.classes, activities.target

    def probabilities(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, " k"]:
        """Of every class, for an RGB picture."""
        return self.probabilities_of([picture])[0]

    def probabilities_of(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float64[np.ndarray, "n k"]:
        """Of every class, for RGB pictures of any sizes, which go through the network at once."""
        return self._activities.probabilities(pictures)

    def ranking(self, path: Path, found: Float64[np.ndarray, " k"]) -> Ranking:
        """The likeliest classes of a picture by their probabilities."""
        return Ranking.of(path, self.classes, found)


class OnnxClipEstimator(_OfFile):
    """An exported network of clip regression, for films of any size and rate.

    Attributes:
        frames: Of a clip.
        rate: Frames per second that it was trained at; None where nobody knows.
        side: Of the frames that it takes, px.
        margin: On each side of the people there, as a share of the square around them.
    """

    task: Final = "regression"

    def __init__(self, poses: OnnxPoses) -> None:
        super().__init__(poses)
        self._poses = poses
        self.frames, self.side = poses.frames, poses.side
        rate, margin = poses.frame_rate, poses.margin
        self.rate = Fraction(rate).limit_denominator(LARGEST_DENOMINATOR) if rate else None
        self.margin = USUAL_MARGIN if margin is None else margin

    def poses(self, clips: Sequence[UInt8[np.ndarray, "t s s 3"]]) -> Float64[np.ndarray, "n t 17 3"]:
        """Of clips of `side` px: mm, relative to the pelvis, along the camera's axes."""
        return self._poses.poses(np.stack(clips))
