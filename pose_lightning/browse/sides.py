"""Left and right: sides that fit better when swapped, and hips that face another way than shoulders."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float64

from pose_lightning.browse import limbs
from pose_lightning.browse.splits import Doubt
from pose_lightning.joints import JointSet

EXPLAINED: Final = 0.5
"""Share of the bones' cost that a swap leaves at most; where more is left, joints are misplaced rather than swapped.

Of LSPET's 57 that gain enough, those below it are 16: 7 swaps, 3 labels wrong otherwise, 5 that cannot be told, 1 right
one. Of 29 above it that were looked at 2 are swaps, and 22 wrong otherwise.
"""

TWIST: Final = 110.0
"""Degrees between hips and shoulders that a spine does not allow, if both are seen wide enough."""

WIDE: Final = 0.2
"""Width of hips or shoulders, relative to the torso, below which their direction says nothing."""


def doubts(
    joints: Float64[np.ndarray, "n j d"], joint_set: JointSet, bones: Sequence[tuple[int, int]], least: float
) -> Iterable[Doubt]:
    """What speaks for swapped sides.

    Args:
        joints: In any unit, in a picture or in space; NaN where unlabelled.
        joint_set: Theirs.
        bones: Those that the data set labels.
        least: Fall of the bones' cost (`limbs.Lengths.cost`) from which sides look swapped.
    """
    yield from _swapped(joints, joint_set, bones, least)
    yield from _twisted(joints, joint_set)


def _swapped(
    joints: Float64[np.ndarray, "n j d"], joint_set: JointSet, bones: Sequence[tuple[int, int]], least: float
) -> Iterable[Doubt]:
    lengths = limbs.Lengths.of(joints, bones)
    parts = limbs.parts_of(joint_set.names, joint_set.pairs)
    if not parts:
        return
    gains, costs = limbs.swap_gains(joints, lengths, parts), lengths.cost(joints).sum(axis=1)
    for index in np.flatnonzero(gains.max(axis=0) >= least).tolist():
        part, gain = list(parts)[int(gains[:, index].argmax())], float(gains[:, index].max())
        explained = costs[index] - gain <= EXPLAINED * costs[index]
        better = f"better with right and left {part} swapped"
        text = f"limbs fit {better}" if explained else f"limbs do not fit one body; {better}, but not well"
        yield Doubt(index, "sides" if explained else "misfit", text, min(3.0, gain / least))


def _twisted(joints: Float64[np.ndarray, "n j d"], joint_set: JointSet) -> Iterable[Doubt]:
    kinds = limbs.kinds_of(joint_set.names, joint_set.pairs)
    if not {"hip", "shoulder"} <= kinds.keys():
        return
    angle, width = limbs.twist(joints, kinds["hip"], kinds["shoulder"])
    with np.errstate(invalid="ignore"):
        found = (angle >= TWIST) & (width >= WIDE)
    for index in np.flatnonzero(found).tolist():
        strength = 1 + 2 * (angle[index] - TWIST) / (180 - TWIST) * min(1.0, width[index] / 0.5)
        text = f"hips and shoulders face ways that are {angle[index]:.0f} degrees apart: arms or legs may be swapped"
        yield Doubt(index, "sides", text, float(strength))
