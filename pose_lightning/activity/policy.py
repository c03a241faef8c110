"""RandAugment: a number of changes of equal strength, drawn per picture. The draws are ours, the pixel work is timm's.

Source: Cubuk et al., RandAugment, CVPR Workshops 2020; ranges as in timm's `inc1` policies, where a higher magnitude is
always a stronger change. Every drawn change is applied, as in the paper (timm leaves out half of them).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image
from timm.data import auto_augment

from pose_lightning import geometry
from pose_lightning.activity.draws import Use, draws
from pose_lightning.activity.framing import Picture
from pose_lightning.errors import UserError

STRONGEST: Final = 10.0

_Linear = Callable[[float, int], geometry.Matrix]
_Values = Callable[[float, float], Callable[[Any], Any]]


def _sheared(axis: int, level: float, size: int) -> geometry.Matrix:
    linear = np.eye(2)
    linear[axis, 1 - axis] = 0.3 * level
    return geometry.about_center(linear, size)


def _shifted(axis: int, level: float, size: int) -> geometry.Matrix:
    matrix = np.eye(3)[:2]
    matrix[axis, 2] = 0.45 * level * size
    return matrix


def _enhance(function: Callable[..., Any], share: float, sign: float) -> Callable[[Any], Any]:
    return partial(function, factor=max(0.1, 1 + sign * 0.9 * share))


MOVES: Final[Mapping[str, _Linear]] = MappingProxyType(
    {
        "rotate": lambda level, size: geometry.turn_and_scale(30.0 * level, 1.0, size),
        "shear_x": partial(_sheared, 0),
        "shear_y": partial(_sheared, 1),
        "translate_x": partial(_shifted, 0),
        "translate_y": partial(_shifted, 1),
    }
)
"""Changes of place, by their share of the greatest strength, -1 to 1."""

COLORS: Final[Mapping[str, _Values]] = MappingProxyType(
    {
        "auto_contrast": lambda share, sign: auto_augment.auto_contrast,
        "equalize": lambda share, sign: auto_augment.equalize,
        "invert": lambda share, sign: auto_augment.invert,
        "posterize": lambda share, sign: partial(auto_augment.posterize, bits_to_keep=max(1, 4 - int(4 * share))),
        "solarize": lambda share, sign: partial(auto_augment.solarize, thresh=256 - min(256, int(256 * share))),
        "solarize_add": lambda share, sign: partial(auto_augment.solarize_add, add=min(128, int(110 * share))),
        "color": partial(_enhance, auto_augment.color),
        "contrast": partial(_enhance, auto_augment.contrast),
        "brightness": partial(_enhance, auto_augment.brightness),
        "sharpness": partial(_enhance, auto_augment.sharpness),
    }
)
"""Changes of value, by their share of the greatest strength and a sign."""

NAMES: Final = (*MOVES, *COLORS)


class Step(NamedTuple):
    """One drawn change: its name, and its direction where it has two."""

    name: str
    sign: float


@dataclass(frozen=True)
class RandAugment:
    """How many changes, and how strong.

    Args:
        ops: Changes per picture, drawn with replacement from `NAMES`; 0 switches all off.
        magnitude: Strength of each, 0 to 10.

    Raises:
        UserError: If a value is out of range.
    """

    ops: int = 0
    magnitude: float = 9.0

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if self.ops < 0:
            raise UserError(f"rand_augment_ops={self.ops} is out of range; it is 0 or more")
        if not (math.isfinite(self.magnitude) and 0 <= self.magnitude <= STRONGEST):
            raise UserError(f"rand_augment_magnitude={self.magnitude} is out of range; it is from 0 to {STRONGEST}")

    def draw(self, seed: int, epoch: int, sample: int) -> tuple[Step, ...]:
        """Return the changes of one sample in one epoch."""
        numbers = draws(Use.POLICY, seed=seed, epoch=epoch, sample=sample, count=2 * self.ops).reshape(-1, 2)
        return tuple(Step(NAMES[int(which * len(NAMES))], 1.0 if sign < 0.5 else -1.0) for which, sign in numbers)

    def matrix(self, steps: Sequence[Step], size: int) -> geometry.Matrix:
        """The changes of place, one after the other, as one map from an input of this size to the changed one."""
        matrix = np.eye(3)[:2]
        for step in steps:
            if step.name in MOVES:
                moved = MOVES[step.name](step.sign * self.magnitude / STRONGEST, size)
                matrix = geometry.compose(moved, matrix)
        return matrix

    def color(self, steps: Sequence[Step], picture: Picture) -> None:
        """Make the changes of value in place, one after the other, on the picture that has already moved."""
        functions = [COLORS[step.name](self.magnitude / STRONGEST, step.sign) for step in steps if step.name in COLORS]
        if not functions:
            return
        image = Image.fromarray(picture)
        for function in functions:
            image = function(image)
        picture[...] = np.asarray(image)
