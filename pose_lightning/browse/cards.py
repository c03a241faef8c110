"""What the page shows of one sample: a small picture, its labels in px of that picture, and a few facts."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import cv2
import numpy as np
import simplejpeg
import torch
from jaxtyping import Float64, UInt8

from pose_lightning.joints import JointSet

QUALITY: Final = 72
FLOOR_GREY: Final = 96
"""Of the ground under labels that have no picture."""


@dataclass(frozen=True)
class Card:
    """One sample.

    Attributes:
        frames: Its pictures, all of one size; of a clip several.
        points: Joints in px of each frame (t, j, 2), NaN where unlabelled; None where a sample has no places.
        pose: Joints in space (t, j, 3), mm; None where there are none.
        facts: Name and value, in order.
        size: What the page's size filter goes by, px; None where unknown.
    """

    frames: tuple[UInt8[np.ndarray, "h w 3"], ...]
    points: Float64[np.ndarray, "t j 2"] | None = None
    pose: Float64[np.ndarray, "t j 3"] | None = None
    facts: Sequence[tuple[str, str]] = ()
    size: float | None = None
    note: str = field(default="")

    def to_json(self) -> dict[str, Any]:
        """What the page reads; the frames are side by side in one JPEG file."""
        height, width = self.frames[0].shape[:2]
        return {
            "image": data_uri(np.concatenate(self.frames, axis=1)),
            "width": width,
            "height": height,
            "frames": len(self.frames),
            "points": None if self.points is None else _numbers(self.points, 1),
            "pose": None if self.pose is None else _numbers(self.pose, 0),
            "facts": [list(fact) for fact in self.facts],
            "size": None if self.size is None or not np.isfinite(self.size) else round(float(self.size), 1),
            "note": self.note,
        }


def data_uri(picture: UInt8[np.ndarray, "h w 3"]) -> str:
    """The picture as a JPEG in text."""
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), QUALITY, "RGB", "420", fastdct=False)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def fitted(picture: UInt8[np.ndarray, "h w 3"], side: int) -> tuple[UInt8[np.ndarray, "h2 w2 3"], float]:
    """The picture with a longer side of at most `side` px, and the factor."""
    factor = min(1.0, side / max(picture.shape[:2]))
    if factor == 1.0:
        return picture, 1.0
    size = [max(1, round(length * factor)) for length in picture.shape[1::-1]]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8), factor


def scaled(points: np.ndarray, factor: float) -> np.ndarray:
    """Points in px of the picture after `fitted`: it begins half a px before its first pixel's centre."""
    return (np.asarray(points, dtype=np.float64) + 0.5) * factor - 0.5


def ground(side: int) -> UInt8[np.ndarray, "h w 3"]:
    """What labels without a picture are drawn on."""
    return np.full((side, side, 3), FLOOR_GREY, dtype=np.uint8)


def _numbers(points: np.ndarray, digits: int) -> list[list[Any]]:
    """Frame by frame and joint by joint; None where a joint is unlabelled."""
    rounded = np.round(points.astype(np.float64), digits)
    whole = rounded.astype(np.int64) if digits == 0 and np.isfinite(rounded).all() else rounded
    return [
        [joint if known else None for joint, known in zip(frame.tolist(), np.isfinite(frame).all(axis=1), strict=True)]
        for frame in whole
    ]


def skeleton_of(joint_set: JointSet, bones: Sequence[tuple[int, int]], labelled: Sequence[bool]) -> dict[str, Any]:
    """Names, bones and sides of the joints, and which of them the data set labels at all, as the page reads them."""
    rights, lefts = ({pair[side] for pair in joint_set.pairs} for side in (0, 1))
    sides = [1 if joint in rights else 2 if joint in lefts else 0 for joint in range(len(joint_set))]
    return {"joints": joint_set.names, "bones": bones, "sides": sides, "labelled": labelled}


def pixels(image: torch.Tensor) -> UInt8[np.ndarray, "h w 3"]:
    """An image (3, h, w) in [0, 1] as RGB."""
    return (image.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
