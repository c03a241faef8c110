"""Random changes of a training picture, drawn from (seed, epoch, sample) and from nothing else."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float64

from pose_lightning import geometry
from pose_lightning.activity.draws import Use, draws
from pose_lightning.activity.framing import Box, Picture
from pose_lightning.errors import UserError

RATIOS: Final = (3 / 4, 4 / 3)
"""Width over height of a random crop. Source: Szegedy et al., Going Deeper with Convolutions, CVPR 2015, section 6."""

_LARGEST: Final = {"rotation": 180.0, "zoom": 0.9, "shear": 60.0, "shift": 0.5}


class Change(NamedTuple):
    """What happens to one picture.

    Attributes:
        linear: Turn, slant and zoom of the picture about its centre.
        shift: By which share of the input's side it moves to the right and down.
        mirrored: Whether left and right trade places, before the shift.
        crop: Area share, logarithm of width over height, and place (0 to 1 across and down) of a random crop, or None.
        gain: Factor of each colour channel; values are in [0, 1].
        offset: Added to every channel afterwards.
    """

    linear: Float64[np.ndarray, "2 2"]
    shift: Float64[np.ndarray, " 2"]
    mirrored: bool
    crop: tuple[float, float, float, float] | None
    gain: Float64[np.ndarray, " 3"]
    offset: float

    def matrix(self, size: int) -> geometry.Matrix:
        """The map from an input of this size to the changed one."""
        matrix = geometry.about_center(self.linear, size)
        if self.mirrored:
            matrix = geometry.compose(geometry.mirror_matrix(size), matrix)
        matrix[:, 2] += size * self.shift
        return matrix

    def box(self, picture: Picture, otherwise: Box) -> Box:
        """The part of the picture that the input shows: the random crop, or the other box where there is none.

        A crop that is too wide or too high for the picture is cut off there, so that nothing has to be drawn again.
        """
        if self.crop is None:
            return otherwise
        height, width = picture.shape[:2]
        area, ratio, across, down = self.crop
        crop_width = min(float(width), math.sqrt(area * height * width * math.exp(ratio)))
        crop_height = min(float(height), math.sqrt(area * height * width / math.exp(ratio)))
        return Box(across * (width - crop_width), down * (height - crop_height), crop_width, crop_height)

    def color(self, picture: Picture) -> None:
        """Change the picture's values in place; they are rounded to whole grey levels."""
        if self.offset == 0 and (self.gain == 1).all():
            return
        levels = np.arange(256)[:, None] * self.gain + 255 * self.offset
        cv2.LUT(picture, np.rint(levels).clip(0, 255).astype(np.uint8)[None], dst=picture)


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures may change; all draws are uniform, and a setting of 0 switches its change off.

    Args:
        rotation: Largest turn, degrees.
        zoom: Each side of what the input shows is multiplied by its own factor, 1 - zoom to 1 + zoom, as Keras does.
        shear: Largest slant of the vertical, degrees.
        shift: Largest way of the picture along x and along y, as a share of its side.
        flip: Share of the pictures that are mirrored.
        random_crop: Smallest share of the picture's area that the input shows, stretched to a square; the share is
            uniform up to 1, and width over height log-uniform from 3/4 to 4/3, both before it is cut to the picture.
        contrast: Distances from mid grey are multiplied by 1 - contrast to 1 + contrast.
        brightness: Added to all channels, where 1 is the distance from black to white: -brightness to brightness.
        color: Each channel is multiplied by its own factor, 1 - color to 1 + color, before contrast and brightness.

    Raises:
        UserError: If a value is out of range.
    """

    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    flip: float = 0.0
    random_crop: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    color: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for key, value in vars(self).items():
            largest = _LARGEST.get(key, 1.0)
            if not (math.isfinite(value) and 0 <= value <= largest):
                raise UserError(f"{key}={value} is out of range; it is from 0 to {largest}")

    def draw(self, seed: int, epoch: int, sample: int) -> Change:
        """Return the change of one sample in one epoch; each setting has its own draws, whatever the others are."""
        numbers = draws(Use.CHANGE, seed=seed, epoch=epoch, sample=sample, count=16)
        flips, area, ratio, left, top = numbers[:5].tolist()
        angle, slant, wide, high, across, down, contrast, brightness, *channels = 2 * numbers[5:] - 1
        low, high_ratio = np.log(RATIOS)
        turn = geometry.turn_and_scale(float(self.rotation * angle), 1.0, 1)[:, :2]
        shear = np.array([[1.0, math.tan(math.radians(self.shear * slant))], [0.0, 1.0]])
        zoom = np.diag(1 / (1 + self.zoom * np.array([wide, high])))
        crop = (self.random_crop + (1 - self.random_crop) * area, low + (high_ratio - low) * ratio, left, top)
        contrast_factor = 1 + self.contrast * contrast
        return Change(
            linear=turn @ shear @ zoom,
            shift=self.shift * np.array([across, down]),
            mirrored=bool(flips < self.flip),
            crop=crop if self.random_crop else None,
            gain=contrast_factor * (1 + self.color * np.array(channels)),
            offset=float((1 - contrast_factor) / 2 + self.brightness * brightness),
        )
