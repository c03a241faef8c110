"""Exported networks of heatmaps: the same answers as `estimator` gives, without PyTorch."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.heatmap.exported import OnnxJoints
from pose_lightning.manner import LARGEST_BATCH, DecodeMethod
from pose_lightning.predict.answers import Asked, Pose
from pose_lightning.predict.boxes import Box


class OnnxPoseEstimator:
    """An exported network of heatmaps, for people in pictures of any kind and size."""

    task: Final = "heatmap"

    def __init__(self, joints: OnnxJoints) -> None:
        about = joints.network.facts
        self._joints = joints
        self.name, self.synthetic, self.taught = about.experiment, about.synthetic, joints.taught
        self.joint_set = joints.joint_set
        height, width = about.input.shape[1:]
        self.input_size = (height, width)
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
        places = np.array([[box.x, box.y, box.side, *box.extent] for box in boxes], dtype=np.float64)
        poses: list[Pose] = []
        for start in range(0, len(boxes), batch_size):
            chosen = slice(start, start + batch_size)
            found = self._joints.joints(pictures[chosen], places[chosen])
            for box, joints, confidence in zip(boxes[chosen], *found, strict=True):
                poses.append(Pose(box, np.where(self.taught[:, None], joints, np.nan), confidence))
        ends = np.cumsum([len(listed) for _, listed in asked]).tolist()
        return [poses[end - len(listed) : end] for end, (_, listed) in zip(ends, asked, strict=True)]


def of_file(network: OnnxNetwork, *, flip_test: bool, decoding: DecodeMethod | None = None) -> OnnxPoseEstimator:
    """That of a file; with a decoding of None as its run."""
    return OnnxPoseEstimator(OnnxJoints(network, flip_test=flip_test, decoding=decoding))
