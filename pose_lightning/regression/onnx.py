"""Exported networks of clips: the same answers as `estimator` gives, without PyTorch."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.predict.containers import LARGEST_DENOMINATOR
from pose_lightning.predict.onnx import OfFile
from pose_lightning.predict.windows import USUAL_MARGIN
from pose_lightning.regression.exported import OnnxPoses


class OnnxClipEstimator(OfFile):
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


def of_file(network: OnnxNetwork, *, flip_test: bool) -> OnnxClipEstimator:
    """That of a file."""
    return OnnxClipEstimator(OnnxPoses(network, flip_test=flip_test))
