"""Poses in mm, from an exported regression network."""

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning import geometry
from pose_lightning.exported.heatmap import as_input
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.joints import H36M
from pose_lightning.regression.framing import frame_to_input, reduction

MIRROR: Final = np.array([-1.0, 1.0, 1.0], np.float32)
"""What a mirrored picture does to x, y and z."""


class OnnxPoses:
    """Regresses the poses of clips as the run that was exported does, without PyTorch.

    Args:
        network: Of clips.
        flip_test: Average with what the mirrored clip gives.

    Attributes:
        frames: Of a clip.
        side: Of a stored frame, px; clips of this size go the way of the validation split's.
        frame_rate: Frames per second that it was trained at; None where nobody knows.

    Raises:
        UserError: If the network is of another task or joint set.
    """

    def __init__(self, network: OnnxNetwork, *, flip_test: bool = False) -> None:
        details = network.details("regression", "frames", "side", "frame_rate", joint_order=list(H36M.names), unit="mm")
        self.network, self.flip_test = network, flip_test
        self.frames: int = details["frames"]
        self.side: int = details["side"]
        self.frame_rate: float | None = details["frame_rate"]

    def poses(self, clips: UInt8[np.ndarray, "n t s s 3"]) -> Float64[np.ndarray, "n t 17 3"]:
        """In mm, relative to the root on every frame, along the camera's axes, of RGB clips of square frames."""
        seen = as_input(np.stack([np.stack([self._shown(frame) for frame in clip]) for clip in clips]))
        found = self.network(seen)
        if self.flip_test:
            mirrored = self.network(np.ascontiguousarray(seen[..., ::-1]))
            found = (found + mirrored[:, :, list(H36M.mirrored)] * MIRROR) / 2
        return found.astype(np.float64)

    def _shown(self, frame: UInt8[np.ndarray, "s s 3"]) -> UInt8[np.ndarray, "i i 3"]:
        """A frame as large as the input: as `regression.data.ClipSource` does."""
        size = self.network.facts.input.shape[-1]
        if (factor := reduction(len(frame), size)) > 1:
            smaller = (len(frame) // factor,) * 2
            frame = np.asarray(cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA))
        if len(frame) == size:
            return frame
        input_to_frame = geometry.invert(frame_to_input(len(frame), size))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(frame, input_to_frame, (size, size), flags=flags))
