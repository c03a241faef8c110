"""Joints of people, from an exported heatmap network."""

from collections.abc import Sequence
from typing import Final, get_args

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning import geometry
from pose_lightning.convert import crops
from pose_lightning.errors import UserError
from pose_lightning.exported import peaks
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.heatmap.decoding import STRIDE, DecodeMethod
from pose_lightning.heatmap.framing import image_to_crop, reduction
from pose_lightning.joints import MPII

NEEDED: Final = ("joints_never_taught", "decoding", "sigma", "grid", "crop", "box_in_crop")


class OnnxJoints:
    """Finds a person's joints as the run that was exported does, without PyTorch.

    Args:
        network: Of heatmaps.
        flip_test: Average with what the mirrored image gives.
        decoding: How a peak becomes a position; None is as the run says.

    Attributes:
        taught: Which of MPII's joints the network was ever taught.

    Raises:
        UserError: If the network is of another task or joint set.
    """

    def __init__(self, network: OnnxNetwork, *, flip_test: bool = False, decoding: DecodeMethod | None = None) -> None:
        details = network.details("heatmap", *NEEDED, joint_order=list(MPII.names), stride=STRIDE)
        self.network, self.flip_test = network, flip_test
        self.decoding: DecodeMethod = decoding or details["decoding"]
        if self.decoding not in get_args(DecodeMethod):
            raise UserError(f"{network.path}: decoding {self.decoding!r} is unknown; update this package")
        self.taught: np.ndarray = ~np.isin(MPII.names, details["joints_never_taught"])
        self._details = details
        self.input_size = network.facts.input.shape[-1]

    def joints(
        self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes: Float64[np.ndarray, "n 3"]
    ) -> tuple[Float64[np.ndarray, "n 16 2"], Float64[np.ndarray, "n 16"]]:
        """The joints of people, image px, and their confidences.

        Args:
            pictures: RGB, one for each person.
            boxes: Centre (x, y) and side of the square that the network is shown, image px.
        """
        pairs = [self._seen(picture, box) for picture, box in zip(pictures, boxes, strict=True)]
        images = np.stack([image for image, _ in pairs])
        maps = self.network(images)
        if self.flip_test:
            mirrored = self.network(np.ascontiguousarray(images[..., ::-1]))
            maps = (maps + peaks.mirror_back(mirrored, MPII.mirrored)) / 2
        points, confidence = peaks.decode(maps, self.decoding, sigma=self._details["sigma"])
        points = peaks.to_input(points, grid=self._details["grid"], size=maps.shape[-1])
        matrices = np.stack([matrix for _, matrix in pairs])
        return geometry.apply_to_points(matrices, points.astype(np.float64)), confidence.astype(np.float64)

    def _seen(
        self, picture: UInt8[np.ndarray, "_ _ 3"], box: Float64[np.ndarray, "3"]
    ) -> tuple[np.ndarray, geometry.Matrix]:
        """The input (3, s, s), in [0, 1], and the map from its px to the image's: as `heatmap.data.PoseSource` does."""
        crop, in_crop, size = self._details["crop"], self._details["box_in_crop"], self.input_size
        center, side = box[:2], float(box[2])
        x0, y0, length = crops.window(center, side, crop, in_crop)
        factor = reduction(crop, float(in_crop), size)
        shown = crops.cut(picture, x0, y0, length, crop)
        if factor > 1:
            shown = cv2.resize(shown, (crop // factor, crop // factor), interpolation=cv2.INTER_AREA)
        input_to_image = geometry.invert(geometry.box_to_input(center, side, size))
        to_crop = image_to_crop(np.array([[x0, y0, crop / length]]), factor)[0]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(shown, geometry.compose(to_crop, input_to_image), (size, size), flags=flags)
        return as_input(np.asarray(warped)), input_to_image


def as_input(pixels: UInt8[np.ndarray, "*any h w 3"]) -> np.ndarray:
    """Pictures as a network takes them: float32 in [0, 1], the colours first."""
    return np.moveaxis(pixels, -1, -3).astype(np.float32) * np.float32(1 / 255)
