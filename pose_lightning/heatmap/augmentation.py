"""Random changes of a training sample, drawn from (seed, epoch, sample) and from nothing else."""

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float64

from pose_lightning import geometry
from pose_lightning.errors import UserError

STREAM: Final = 0x706F7365
"""Keeps these numbers apart from every other use of the same seed and epoch."""


class Change(NamedTuple):
    """What happens to one sample.

    Attributes:
        degrees: Turn of the picture, clockwise.
        zoom: Factor by which the person grows.
        mirrored: Whether left and right trade places.
        gain: Factor of each colour channel; values are in [0, 1].
        offset: Added to every channel afterwards.
    """

    degrees: float
    zoom: float
    mirrored: bool
    gain: Float64[np.ndarray, " 3"]
    offset: float

    def matrix(self, size: geometry.Size) -> geometry.Matrix:
        """The map from an input of this size to the changed one."""
        turned = geometry.turn_and_scale(self.degrees, self.zoom, size)
        return geometry.compose(geometry.mirror_matrix(geometry.sides(size)[1]), turned) if self.mirrored else turned


UNCHANGED: Final = Change(degrees=0.0, zoom=1.0, mirrored=False, gain=np.ones(3), offset=0.0)


@dataclass(frozen=True)
class Augmentation:
    """How far training samples may change; all draws are uniform, and a setting of 0 switches its change off.

    Newell's code draws angle and scale from gaussians cut off at two sigmas (pose-hg-train, src/util/pose.lua), psh's
    uniformly (pytorch_stacked_hourglass, data/MPII/dp.py). Uniform draws have a bound, so a stored crop can cover it.

    Args:
        rotation: Largest turn, degrees.
        rotation_probability: Share of the samples that turn at all.
        scale: The box's side is multiplied by 1 - scale to 1 + scale.
        flip: Share of the samples that are mirrored.
        contrast: Distances from mid grey are multiplied by 1 - contrast to 1 + contrast.
        brightness: Added to all channels, where 1 is the distance from black to white: -brightness to brightness.
        color: Each channel is multiplied by its own factor, 1 - color to 1 + color, before contrast and brightness.

    Raises:
        UserError: If a value is out of range.
    """

    rotation: float
    rotation_probability: float
    scale: float
    flip: float
    contrast: float
    brightness: float
    color: float

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for key, value in vars(self).items():
            largest = 180.0 if key == "rotation" else 0.9 if key == "scale" else 1.0
            if not (math.isfinite(value) and 0 <= value <= largest):
                raise UserError(f"{key}={value} is out of range; it is from 0 to {largest}")

    def draw(self, seed: int, epoch: int, sample: int) -> Change:
        """Return the change of one sample in one epoch; each setting has its own draw, whatever the others are."""
        key = np.array([seed, epoch], dtype=np.uint64)
        # numpy promises that a bit generator's raw stream never changes; of its distributions it does not
        raw = np.random.Philox(key=key, counter=[0, sample, 0, STREAM]).random_raw(9)
        draws = (raw >> np.uint64(11)) * 2.0**-53  # in [0, 1)
        turns, flips = draws[:2]
        angle, scale, contrast, brightness, *channels = 2 * draws[2:] - 1
        contrast_factor = 1 + self.contrast * contrast
        return Change(
            degrees=float(self.rotation * angle) if turns < self.rotation_probability else 0.0,
            zoom=float(1 / (1 + self.scale * scale)),
            mirrored=bool(flips < self.flip),
            gain=contrast_factor * (1 + self.color * np.array(channels)),
            offset=float((1 - contrast_factor) / 2 + self.brightness * brightness),
        )
