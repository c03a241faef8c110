"""What networks say of pictures, whatever runs them: joints and rankings."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning.errors import UserError
from pose_lightning.predict.boxes import Box
from pose_lightning.terminal import say

TOP: Final = 5

Asked = tuple[UInt8[np.ndarray, "h w 3"], Sequence[Box]]
"""An RGB picture, and the people in it."""


def marked(title: str, *synthetic: bool | None) -> str:
    """A title that says so where the network or what it is shown is of drawn data."""
    return f"{title} (synthetic data)" if any(synthetic) else title


def say_data(synthetic: bool | None, drawn: str, real: str) -> None:
    """Print what to expect of a network that was trained on drawn data, or nobody knows on what."""
    if synthetic:
        say(f"trained on SYNTHETIC (demo) {drawn}: {real} are nothing that it knows")
    elif synthetic is None:
        say("whether it was trained on drawn data is not known")


def check_numbers(values: np.ndarray, network: str) -> None:
    """Refuse what a network says that is no number.

    Raises:
        UserError: If there is NaN or infinity.
    """
    if not np.isfinite(values).all():
        raise UserError(
            f"{network} gives numbers that are none (NaN or infinity): its training diverged, or its weights are "
            "damaged; take another checkpoint"
        )


@dataclass(frozen=True, eq=False)
class Pose:
    """One person's joints, in the order of the network's joint set.

    Attributes:
        box: What the network was shown.
        joints: Image px; NaN where the network was never taught the joint.
        confidence: Height of each joint's peak; networks differ in how high a sure one is.
    """

    box: Box
    joints: Float64[np.ndarray, "j 2"]
    confidence: Float64[np.ndarray, " j"]


@dataclass(frozen=True)
class Ranking:
    """The likeliest classes of one picture, or its likeliest tags, each by itself.

    Attributes:
        path: The picture's file.
        names: Likeliest first.
        probabilities: Of each.
    """

    path: Path
    names: tuple[str, ...]
    probabilities: tuple[float, ...]

    @classmethod
    def of(cls, path: Path, classes: Sequence[str], found: Float64[np.ndarray, " k"]) -> "Ranking":
        """The likeliest classes of a picture by their probabilities."""
        order = np.argsort(-found, kind="stable")[:TOP].tolist()
        return cls(path, tuple(classes[place] for place in order), tuple(found[order].tolist()))
