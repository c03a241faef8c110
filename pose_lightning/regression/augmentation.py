"""Random changes of a training clip and of its poses, drawn from (seed, epoch, sample) and from nothing else.

All frames of a clip change alike, so that what moves in it is the person.
"""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from pose_lightning import geometry
from pose_lightning.errors import UserError
from pose_lightning.joints import H36M

STREAM: Final = 0x636C6970
"""Keeps these numbers apart from every other use of the same seed and epoch."""

_LARGEST: Final = {"rotation": 180.0, "scale": 0.9, "shift": 0.5}


class Change(NamedTuple):
    """What happens to one clip.

    Attributes:
        degrees: Turn of the picture about its centre, clockwise.
        zoom: Factor by which the person grows in the picture.
        shift: By which share of the picture's side it moves to the right and down.
        mirrored: Whether left and right trade places, before the shift.
        gain: Factor of each colour channel; values are in [0, 1].
        offset: Added to every channel afterwards.
    """

    degrees: float
    zoom: float
    shift: Float64[np.ndarray, " 2"]
    mirrored: bool
    gain: Float64[np.ndarray, " 3"]
    offset: float

    def matrix(self, size: int) -> geometry.Matrix:
        """The map from a picture of this size to the changed one."""
        matrix = geometry.turn_and_scale(self.degrees, self.zoom, size)
        if self.mirrored:
            matrix = geometry.compose(geometry.mirror_matrix(size), matrix)
        matrix[:, 2] += size * self.shift
        return matrix

    def poses(self, joints: Float[np.ndarray, "t 17 3"]) -> Float[np.ndarray, "t 17 3"]:
        """The root-relative poses that the changed clip shows.

        x and y turn with the picture, and a mirrored pose has x negated and left and right exchanged. Zoom and shift
        leave a pose as it is: another distance, another place in the picture. All this is exact for a weak-perspective
        camera, which shows x and y times one factor. A true camera sees a person beside its optical axis from a
        slightly other direction; a picture that is shifted, or turned about a point off that axis, does not show this.
        """
        if self.degrees:
            turn = geometry.turn_and_scale(self.degrees, 1.0, 1)[:, :2].astype(joints.dtype)
            joints = np.concatenate([joints[..., :2] @ turn.T, joints[..., 2:]], axis=-1)
        if self.mirrored:
            joints = joints[:, list(H36M.mirrored)] * np.array([-1, 1, 1], joints.dtype)
        return joints


UNCHANGED: Final = Change(degrees=0.0, zoom=1.0, shift=np.zeros(2), mirrored=False, gain=np.ones(3), offset=0.0)


@dataclass(frozen=True)
class Augmentation:
    """How far training clips may change; all draws are uniform, and a setting of 0 switches its change off.

    Args:
        rotation: Largest turn about the optical axis, degrees.
        rotation_probability: Share of the clips that turn at all.
        scale: The side of what the input shows is multiplied by 1 - scale to 1 + scale.
        shift: Largest way of the picture along x and along y, as a share of its side.
        flip: Share of the clips that are mirrored.
        contrast: Distances from mid grey are multiplied by 1 - contrast to 1 + contrast.
        brightness: Added to all channels, where 1 is the distance from black to white: -brightness to brightness.
        color: Each channel is multiplied by its own factor, 1 - color to 1 + color, before contrast and brightness.

    Raises:
        UserError: If a value is out of range.
    """

    rotation: float
    rotation_probability: float
    scale: float
    shift: float
    flip: float
    contrast: float
    brightness: float
    color: float

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for key, value in vars(self).items():
            largest = _LARGEST.get(key, 1.0)
            if not (math.isfinite(value) and 0 <= value <= largest):
                raise UserError(f"{key}={value} is out of range; it is from 0 to {largest}")

    @property
    def moves(self) -> bool:
        """Whether pixels may change their places."""
        return (self.rotation > 0 and self.rotation_probability > 0) or max(self.scale, self.shift, self.flip) > 0

    @property
    def colors(self) -> bool:
        """Whether pixels may change their values."""
        return max(self.contrast, self.brightness, self.color) > 0

    def draw(self, seed: int, epoch: int, sample: int) -> Change:
        """Return the change of one clip in one epoch; each setting has its own draws, whatever the others are."""
        key = np.array([seed, epoch], dtype=np.uint64)
        # numpy promises that a bit generator's raw stream never changes; of its distributions it does not
        raw = np.random.Philox(key=key, counter=[0, sample, 0, STREAM]).random_raw(11)
        draws = (raw >> np.uint64(11)) * 2.0**-53  # in [0, 1)
        turns, flips = draws[:2]
        angle, scale, across, down, contrast, brightness, *channels = 2 * draws[2:] - 1
        contrast_factor = 1 + self.contrast * contrast
        return Change(
            degrees=float(self.rotation * angle) if turns < self.rotation_probability else 0.0,
            zoom=float(1 / (1 + self.scale * scale)),
            shift=self.shift * np.array([across, down]),
            mirrored=bool(flips < self.flip),
            gain=contrast_factor * (1 + self.color * np.array(channels)),
            offset=float((1 - contrast_factor) / 2 + self.brightness * brightness),
        )
