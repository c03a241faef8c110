"""Poses in mm, from an exported regression network."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from pose_lightning import geometry
from pose_lightning.convert.crops import LARGEST_CROP
from pose_lightning.exported import rules
from pose_lightning.exported.estimator import OnnxEstimator, as_input
from pose_lightning.exported.facts import Facts
from pose_lightning.exported.rules import Rule
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.joints import H36M
from pose_lightning.regression.framing import frame_to_input, reduction

SLOWEST, FASTEST = 0.001, 100_000.0
"""Frames per second of a clip."""

LARGEST_MARGIN: Final = 2.0
"""As `convert.human36m_clips` takes."""

MIRROR: Final = np.array([-1.0, 1.0, 1.0], np.float32)
"""What a mirrored picture does to x, y and z."""


class OnnxPoses(OnnxEstimator):
    """Regresses the poses of clips as the run that was exported does, without PyTorch.

    Args:
        network: Of clips.
        flip_test: Average with what the mirrored clip gives.

    Attributes:
        frames: Of a clip.
        side: Of a stored frame, px; clips of this size go the way of the validation split's.
        frame_rate: Frames per second that it was trained at; None where nobody knows.
        margin: On each side of the person in a stored frame, as a share of the square around all of a clip's joints;
            None where nobody knows.

    Raises:
        UserError: As `OnnxEstimator`.
    """

    task: ClassVar[str] = "regression"

    def __init__(self, network: OnnxNetwork, *, flip_test: bool = False) -> None:
        super().__init__(network, flip_test=flip_test)
        self.frames: int = self.details["frames"]
        self.side: int = self.details["side"]
        self.frame_rate: float | None = self.details["frame_rate"]
        self.margin: float | None = self.details["margin"]

    @staticmethod
    def wanted(facts: Facts, path: Path) -> Mapping[str, Rule]:
        """As `exporting` writes them.

        `joint_set` in full, `root`, `unit`, `frames`, `frame_rate`; `side` of the stored frames that
        the input is resized from, px; `margin` on each side of the people, as a share of the square around them.
        """
        frames, side = facts.input.shape[0], facts.input.shape[-1]
        return {
            "input shape": rules.exactly((frames, 3, side, side)),
            "output shape": rules.exactly((frames, len(H36M), 3)),
            "joint_set": rules.exactly(H36M.plain()),
            "unit": rules.exactly("mm"),
            "frames": rules.exactly(frames),
            "frame_rate": rules.optional(rules.above(SLOWEST, FASTEST)),
            "side": rules.whole(1, LARGEST_CROP),
            "margin": rules.optional(rules.between(0.0, LARGEST_MARGIN)),
        }

    def mirror_back(self, mirrored: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Left and right change places, and x its sign."""
        return mirrored[:, :, list(H36M.mirrored)] * MIRROR

    def poses(self, clips: UInt8[np.ndarray, "n t s s 3"]) -> Float64[np.ndarray, "n t 17 3"]:
        """In mm, relative to the root on every frame, along the camera's axes, of RGB clips of square frames."""
        seen = as_input(np.stack([np.stack([self._shown(frame) for frame in clip]) for clip in clips]))
        return self.answers(seen).astype(np.float64)

    def _shown(self, frame: UInt8[np.ndarray, "s s 3"]) -> UInt8[np.ndarray, "i i 3"]:
        """A frame as large as the input: as `regression.data.ClipSource` does."""
        size = self.input_size
        if (factor := reduction(len(frame), size)) > 1:
            smaller = (len(frame) // factor,) * 2
            frame = np.asarray(cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA))
        if len(frame) == size:
            return frame
        input_to_frame = geometry.invert(frame_to_input(len(frame), size))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(frame, input_to_frame, (size, size), flags=flags))
