"""How long limbs are, against all others of the same data: too long ones, and sides that fit better when swapped.

In a picture a limb may look short, because it points at the camera, but not long. So lengths are compared by the upper
half of their spread, and in logarithms of their ratio to the person's own size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64

from pose_lightning.joints import unsided

Bones = Sequence[tuple[int, int]]

SHORTEST: Final = 1e-3
"""Lengths below this share of the person's size count as this: joints that coincide have no logarithm."""

FLOOR: Final = 0.15
"""Least spread, in logarithms: few samples, or equal skeletons, would else make a little much."""

MOST: Final = 40.0
"""Cost at which a bone is as wrong as can be: one joint far away shall not decide alone."""

ROUNDS: Final = 4  # of estimating sizes and lengths by turns; they settle in two or three
MAD: Final = 1.4826
"""The standard deviation of a normal distribution, in median absolute deviations."""

PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "hips": ("hip",),
    "legs": ("hip", "knee", "ankle"),
    "lower legs": ("knee", "ankle"),
    "knees": ("knee",),
    "ankles": ("ankle",),
    "shoulders": ("shoulder",),
    "arms": ("shoulder", "elbow", "wrist"),
    "lower arms": ("elbow", "wrist"),
    "elbows": ("elbow",),
    "wrists": ("wrist",),
}
"""What annotators take for the other side, by the joints' names without `left` and `right`."""


@dataclass(frozen=True)
class Lengths:
    """What is usual for the bones of a data set.

    Attributes:
        bones: Pairs of joint numbers.
        usual: Logarithm of each bone's median length relative to the person's size.
        spread: Standard deviation of the longer half, in logarithms.
        sizes: Logarithm of each person's size; NaN where no bone is labelled.
    """

    bones: tuple[tuple[int, int], ...]
    usual: Float64[np.ndarray, " b"]
    spread: Float64[np.ndarray, " b"]
    sizes: Float64[np.ndarray, " n"]

    @classmethod
    def of(cls, joints: Float64[np.ndarray, "n j d"], bones: Bones) -> "Lengths":
        """Estimate persons' sizes and bones' lengths by turns, with medians.

        Args:
            joints: In any unit and of any dimension; NaN where unlabelled.
            bones: Pairs of joint numbers.
        """
        lengths = _lengths(joints, bones)
        with np.errstate(divide="ignore"):
            logs = np.log(np.where(lengths > 0, lengths, np.nan))
        sizes = _median(logs, axis=1)
        usual = np.zeros(len(bones))
        for _ in range(ROUNDS):
            usual = np.nan_to_num(_median(logs - sizes[:, None], axis=0))
            sizes = _median(logs - usual, axis=1)
        rest = logs - sizes[:, None] - usual
        longer = np.nan_to_num(MAD * _median(np.where(rest > 0, rest, np.nan), axis=0))
        return cls(tuple(bones), usual, np.maximum(longer, FLOOR), sizes)

    def excess(self, joints: Float64[np.ndarray, "n j d"]) -> Float64[np.ndarray, "n b"]:
        """Logarithm of how many times its usual length each bone has, for the persons' sizes; NaN where unlabelled."""
        lengths = _lengths(joints, self.bones)
        sizes = np.exp(self.sizes)[:, None]
        with np.errstate(invalid="ignore"):
            return np.log(np.maximum(lengths, SHORTEST * sizes)) - np.log(sizes) - self.usual

    def cost(self, joints: Float64[np.ndarray, "n j d"]) -> Float64[np.ndarray, "n b"]:
        """Squares of how much too long the bones are, in spreads; 0 where they are not, or unlabelled."""
        return np.minimum((np.maximum(np.nan_to_num(self.excess(joints)), 0) / self.spread) ** 2, MOST)


def swapped(joints: Float64[np.ndarray, "n j d"], pairs: Sequence[tuple[int, int]]) -> Float64[np.ndarray, "n j d"]:
    """A copy in which the joints of each pair have traded places; labelled ones trade with labelled ones only."""
    found = joints.copy()
    for first, second in pairs:
        both = np.isfinite(joints[:, (first, second)]).all(axis=(1, 2))
        found[both, first], found[both, second] = joints[both, second], joints[both, first]
    return found


def parts_of(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> dict[str, list[tuple[int, int]]]:
    """The pairs of each of `PARTS`, of a joint set."""
    kinds = kinds_of(names, pairs)
    parts = {part: [kinds[kind] for kind in wanted if kind in kinds] for part, wanted in PARTS.items()}
    return {part: present for part, present in parts.items() if present}


def kinds_of(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Every pair by the name of its joints without `left` and `right`."""
    return {unsided(names[first]).lower(): (first, second) for first, second in pairs}


def swap_gains(
    joints: Float64[np.ndarray, "n j d"], lengths: Lengths, parts: Mapping[str, Sequence[tuple[int, int]]]
) -> Float64[np.ndarray, "p n"]:
    """By how much the bones' cost falls when a part trades sides; 0 where one of its joints is unlabelled."""
    before = lengths.cost(joints).sum(axis=1)
    gains = []
    for pairs in parts.values():
        whole = np.isfinite(joints[:, [joint for pair in pairs for joint in pair]]).all(axis=(1, 2))
        gains.append(np.where(whole, before - lengths.cost(swapped(joints, pairs)).sum(axis=1), 0.0))
    return np.array(gains)


def twist(
    joints: Float64[np.ndarray, "n j d"], hips: tuple[int, int], shoulders: tuple[int, int]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Angle between hips and shoulders, each from right to left, degrees; and the narrower one relative to the torso.

    Both NaN where one is unlabelled.
    """
    across = [joints[:, left] - joints[:, right] for right, left in (hips, shoulders)]
    torso = np.linalg.norm(joints[:, hips].mean(axis=1) - joints[:, shoulders].mean(axis=1), axis=1)
    widths = [np.linalg.norm(each, axis=1) for each in across]
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (across[0] * across[1]).sum(axis=1) / (widths[0] * widths[1])
        return np.degrees(np.arccos(np.clip(cosine, -1, 1))), np.minimum(*widths) / torso


def _lengths(joints: Float64[np.ndarray, "n j d"], bones: Bones) -> Float64[np.ndarray, "n b"]:
    starts, ends = (list(each) for each in zip(*bones, strict=True))
    return np.linalg.norm(joints[:, starts] - joints[:, ends], axis=-1)


def _median(values: Float64[np.ndarray, "n b"], axis: int) -> np.ndarray:
    """The median of what is not NaN; NaN where all is, without a warning."""
    known = np.isfinite(values)
    filled = np.where(known, values, np.inf)
    order, count = np.sort(filled, axis=axis), known.sum(axis=axis, keepdims=True)
    low, high = (np.take_along_axis(order, np.maximum(place, 0), axis=axis) for place in ((count - 1) // 2, count // 2))
    with np.errstate(invalid="ignore"):
        middle = (low + np.where(count > 0, high, np.nan)) / 2
    return np.where(count > 0, middle, np.nan).squeeze(axis)
