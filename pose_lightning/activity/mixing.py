"""MixUp and CutMix: a training picture and its label become a blend with those of another.

The other is drawn over the whole training split, with the same keyed numbers as all else, so that neither batches,
ranks nor order matter. (Implementations that mix within a batch depend on all three.)
Source: Zhang et al., mixup, ICLR 2018; Yun et al., CutMix, ICCV 2019, algorithm 1.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import cv2
from scipy.special import betaincinv

from pose_lightning.activity.draws import Use, draws
from pose_lightning.activity.framing import Picture
from pose_lightning.errors import UserError


class Mix(NamedTuple):
    """How one sample is mixed.

    Attributes:
        partner: The other sample.
        share: What is left of the picture, 0 to 1, unless a rectangle is pasted.
        center: Of the rectangle, as shares of the sides across and down; None blends the whole pictures.
    """

    partner: int
    share: float
    center: tuple[float, float] | None

    def blend(self, picture: Picture, other: Picture) -> float:
        """Mix the other picture into this one, in place; returns the share of the label that is left."""
        if self.center is None:
            cv2.addWeighted(picture, self.share, other, 1 - self.share, 0, dst=picture)
            return self.share
        sides, part = (picture.shape[1], picture.shape[0]), math.sqrt(1 - self.share)
        (left, right), (top, bottom) = (
            (
                round(min(max(center * side - part * side / 2, 0), side)),
                round(min(max(center * side + part * side / 2, 0), side)),
            )
            for center, side in zip(self.center, sides, strict=True)
        )
        picture[top:bottom, left:right] = other[top:bottom, left:right]
        return 1 - (right - left) * (bottom - top) / (sides[0] * sides[1])


@dataclass(frozen=True)
class Mixing:
    """How often and how far pictures are mixed; both kinds equally often where both are on.

    Args:
        mixup: Alpha of the beta distribution of MixUp's shares; 0 switches it off.
        cutmix: Alpha of that of CutMix' areas; 0 switches it off.
        probability: Share of the training pictures that are mixed.

    Raises:
        UserError: If a value is out of range.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        for key, value in (("mixup", self.mixup), ("cutmix", self.cutmix)):
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"{key}={value} is out of range; it is 0, which is off, or a number above")
        if not 0 <= self.probability <= 1:
            raise UserError(f"mix_probability={self.probability} is out of range; it is from 0 to 1")

    def draw(self, seed: int, epoch: int, sample: int, length: int) -> Mix | None:
        """Return how one of `length` samples is mixed in one epoch, or None."""
        if not (self.mixup or self.cutmix):
            return None
        numbers = draws(Use.MIXING, seed=seed, epoch=epoch, sample=sample, count=6).tolist()
        mixes, kind, share, partner, across, down = numbers
        if mixes >= self.probability:
            return None
        pastes = self.cutmix > 0 and (self.mixup == 0 or kind < 0.5)
        alpha = self.cutmix if pastes else self.mixup
        return Mix(
            partner=int(partner * length),
            share=float(betaincinv(alpha, alpha, share)),
            center=(across, down) if pastes else None,
        )
