"""Which part of a picture the network's square input shows, and the one warp that brings it there."""

import math
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from pose_lightning import geometry
from pose_lightning.errors import UserError
from pose_lightning.ranges import check_ranges

FitName = Literal["crop", "squash", "pad"]

Picture = UInt8[np.ndarray, "h w 3"]

_LARGEST_REDUCTION: Final = 8


class Box(NamedTuple):
    """A part of a picture, in px from its upper left edge: pixel i covers i to i + 1."""

    left: float
    top: float
    width: float
    height: float

    def to_input(self, size: int) -> geometry.Matrix:
        """The map from picture px to the px of a square input that shows exactly this box."""
        across, down = size / self.width, size / self.height
        shift_x, shift_y = (0.5 - self.left) * across - 0.5, (0.5 - self.top) * down - 0.5
        return np.array([[across, 0.0, shift_x], [0.0, down, shift_y]])


def whole(height: int, width: int, *, fit: FitName, share: float) -> Box:
    """The box in the picture's middle that evaluation shows.

    Args:
        height: Of the picture.
        width: Of the picture.
        fit: `crop` is a square over the shorter side; `squash` the picture, its sides stretched to a square (as Keras'
            flow_from_dataframe); `pad` a square over the longer side, black beside the picture.
        share: Of that box's sides, which part is shown.
    """
    shorter, longer = min(height, width), max(height, width)
    sides = {"crop": (shorter, shorter), "squash": (width, height), "pad": (longer, longer)}[fit]
    across, down = (share * side for side in sides)
    return Box((width - across) / 2, (height - down) / 2, across, down)


def warp(
    picture: Picture, picture_to_input: geometry.Matrix, out: UInt8[np.ndarray, "s s 3"], *, black_outside: bool
) -> None:
    """Write into `out` what the square input shows of a picture: bilinear.

    A side that shrinks to half or less is first averaged over 2, 4 or 8 px: bilinear look-ups alone would skip pixels.

    Args:
        picture: RGB.
        picture_to_input: From picture px to input px, pixel centres at whole numbers.
        out: Contiguous.
        black_outside: Whether what lies outside the picture is black; otherwise its edge goes on, as in Keras.
    """
    height, width = picture.shape[:2]
    reduced = tuple(
        max(1, round(side / _reduction(float(np.linalg.norm(picture_to_input[:, axis])))))
        for axis, side in enumerate((width, height))
    )
    if reduced != (width, height):
        picture = cv2.resize(picture, reduced, interpolation=cv2.INTER_AREA)
        picture_to_input = geometry.compose(picture_to_input, geometry.invert(_resized(width, height, *reduced)))
    cv2.warpAffine(
        picture,
        geometry.invert(picture_to_input),
        out.shape[1::-1],
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if black_outside else cv2.BORDER_REPLICATE,
    )


def _reduction(scale: float) -> int:
    """The power of two by which an axis is averaged that is then scaled by `scale`."""
    return int(min(_LARGEST_REDUCTION, 2 ** math.floor(math.log2(1 / scale)))) if scale < 1 else 1


def _resized(width: int, height: int, new_width: int, new_height: int) -> geometry.Matrix:
    """The map from the px of a picture to its px after `cv2.resize`."""
    across, down = new_width / width, new_height / height
    return np.array([[across, 0.0, (across - 1) / 2], [0.0, down, (down - 1) / 2]])


@dataclass(frozen=True)
class Framing:
    """What the network's input shows of a picture outside training.

    Args:
        input_size: Side of the input, px.
        fit: See `whole`.
        share: See `whole`.

    Raises:
        UserError: If a value is out of range.
    """

    input_size: int
    fit: FitName
    share: float

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.input_size < 1:
            raise UserError(f"data.input_size={self.input_size}; it is at least 1")
        check_ranges({"data.crop_share": self.share})

    def box(self, picture: Picture) -> Box:
        """The part of the picture."""
        return whole(*picture.shape[:2], fit=self.fit, share=self.share)

    def show(self, picture: Picture) -> UInt8[np.ndarray, "s s 3"]:
        """The input."""
        out = np.empty((self.input_size, self.input_size, 3), np.uint8)
        self.warp(picture, self.box(picture).to_input(self.input_size), out)
        return out

    def warp(self, picture: Picture, picture_to_input: geometry.Matrix, out: UInt8[np.ndarray, "s s 3"]) -> None:
        """Bring the picture into the input."""
        warp(picture, picture_to_input, out, black_outside=self.fit == "pad")
