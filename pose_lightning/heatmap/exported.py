"""Joints of people, from an exported heatmap network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, get_args

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from pose_lightning import geometry
from pose_lightning.convert import crops
from pose_lightning.exported import rules
from pose_lightning.exported.estimator import OnnxEstimator, as_input
from pose_lightning.exported.facts import Facts
from pose_lightning.exported.rules import Rule
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.heatmap import peaks
from pose_lightning.heatmap.decoding import STRIDE, Grid
from pose_lightning.heatmap.framing import image_to_crop, reduction
from pose_lightning.joints import JointSet
from pose_lightning.manner import DecodeMethod


def joint_set_of(facts: Facts, path: Path) -> JointSet:
    """The joint set of an exported network of poses.

    Raises:
        UserError: If it is none.
    """
    return JointSet.read(facts.details.get("joint_set"), path)


class OnnxJoints(OnnxEstimator):
    """Finds a person's joints as the run that was exported does, without PyTorch.

    Args:
        network: Of heatmaps.
        flip_test: Average with what the mirrored image gives.
        decoding: How a peak becomes a position; None is as the run says.

    Attributes:
        joint_set: Of the poses.
        taught: Which joints the network was ever taught.

    Raises:
        UserError: As `OnnxEstimator`.
    """

    task: ClassVar[str] = "heatmap"

    def __init__(self, network: OnnxNetwork, *, flip_test: bool = False, decoding: DecodeMethod | None = None) -> None:
        super().__init__(network, flip_test=flip_test)
        self.decoding: DecodeMethod = decoding or self.details["decoding"]
        self.joint_set = joint_set_of(network.facts, network.path)
        self.taught: np.ndarray = ~np.isin(self.joint_set.names, self.details["joints_never_taught"])

    @staticmethod
    def wanted(facts: Facts, path: Path) -> Mapping[str, Rule]:
        """As `exporting` writes them.

        `joint_set` in full, `joints_never_taught`; `decoding`, `sigma`, `grid` and `stride` of `codec`;
        `crop` and `box_in_crop`, px, of the crop that the input is cut from.
        """
        joint_set = joint_set_of(facts, path)
        height, width = (*facts.input.shape, 0, 0)[1:3]
        crop = facts.details.get("crop")
        return {
            "input shape": rules.exactly((3, height, width)),
            "output shape": rules.exactly((len(joint_set), height // STRIDE, width // STRIDE)),
            "stride": rules.exactly(STRIDE),
            "joints_never_taught": rules.some_of(joint_set.names),
            "decoding": rules.one_of(get_args(DecodeMethod)),
            "sigma": rules.above(0.0, max(height, width) / STRIDE),
            "grid": rules.one_of(get_args(Grid)),
            "crop": rules.whole(1, crops.LARGEST_CROP),
            "box_in_crop": rules.whole(1, crop if isinstance(crop, int) else crops.LARGEST_CROP),
        }

    def mirror_back(self, mirrored: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Left and right change places, and so do columns."""
        return peaks.mirror_back(mirrored, self.joint_set.mirrored)

    def joints(
        self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes: Float64[np.ndarray, "n 5"]
    ) -> tuple[Float64[np.ndarray, "n j 2"], Float64[np.ndarray, "n j"]]:
        """The joints of people, image px, and their confidences.

        Args:
            pictures: RGB, one for each person.
            boxes: Centre (x, y) and side of the square box, and width and height of the person in it, image px.
        """
        pairs = [self._seen(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
        maps = self.answers(np.stack([image for image, _ in pairs]))
        points, confidence = peaks.decode(maps, self.decoding, sigma=self.details["sigma"])
        points = peaks.to_input(points, grid=self.details["grid"], size=maps.shape[-2:])
        matrices = np.stack([matrix for _, matrix in pairs])
        return geometry.apply_to_points(matrices, points.astype(np.float64)), confidence.astype(np.float64)

    def _seen(
        self, picture: UInt8[np.ndarray, "_ _ 3"], box: Float64[np.ndarray, "5"]
    ) -> tuple[np.ndarray, geometry.Matrix]:
        """The input (3, h, w), in [0, 1], and the map from its px to the image's: as `heatmap.data.PoseSource` does."""
        crop, in_crop = self.details["crop"], self.details["box_in_crop"]
        height, width = self.network.facts.input.shape[1:]
        center, side = box[:2], float(box[2])
        x0, y0, length = crops.window(center, side, crop, in_crop)
        factor = reduction(crop, float(in_crop), (height, width))
        shown = crops.cut(picture, x0, y0, length, crop)
        if factor > 1:
            shown = cv2.resize(shown, (crop // factor, crop // factor), interpolation=cv2.INTER_AREA)
        shown_height = geometry.shown_heights(box[None, 2], box[None, 3:], (height, width))[0]
        input_to_image = geometry.invert(geometry.box_to_input(center, shown_height, (height, width)))
        to_crop = image_to_crop(np.array([[x0, y0, crop / length]]), factor)[0]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(shown, geometry.compose(to_crop, input_to_image), (width, height), flags=flags)
        return as_input(np.asarray(warped)), input_to_image
