"""Joint sets: names, bones, left/right pairs and the maps between them. The only place with joint numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True)
class JointSet:
    """An ordered set of named joints; `bones` and `pairs` hold joint numbers of this set."""

    name: str
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    pairs: tuple[tuple[int, int], ...]
    """(right, left) joints that trade places in a mirrored image."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """For every joint, the joint that takes its place in a mirrored image."""
        order = list(range(len(self)))
        for right, left in self.pairs:
            order[right], order[left] = left, right
        return tuple(order)


MPII: Final = JointSet(
    name="mpii",
    names=(
        "right ankle",
        "right knee",
        "right hip",
        "left hip",
        "left knee",
        "left ankle",
        "pelvis",
        "thorax",
        "upper neck",
        "head top",
        "right wrist",
        "right elbow",
        "right shoulder",
        "left shoulder",
        "left elbow",
        "left wrist",
    ),
    bones=(
        (0, 1),
        (1, 2),
        (2, 6),
        (3, 6),
        (3, 4),
        (4, 5),
        (6, 7),
        (7, 8),
        (8, 9),
        (10, 11),
        (11, 12),
        (12, 7),
        (13, 7),
        (13, 14),
        (14, 15),
    ),
    pairs=((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
)
"""MPII Human Pose, in the order of the annotation file's joint ids 0 to 15."""

MPII_UNSCORED: Final = (6, 7)
"""Pelvis and thorax: left out of the usual mean over 14 joints (SimpleBaseline issue 78)."""

MPII_GROUPS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "Head": (9,),
        "Shoulder": (12, 13),
        "Elbow": (11, 14),
        "Wrist": (10, 15),
        "Hip": (2, 3),
        "Knee": (1, 4),
        "Ankle": (0, 5),
    }
)
"""The columns of published PCKh tables; each is the unweighted mean of its joints."""

LSP: Final = JointSet(
    name="lsp",
    names=(
        "right ankle",
        "right knee",
        "right hip",
        "left hip",
        "left knee",
        "left ankle",
        "right wrist",
        "right elbow",
        "right shoulder",
        "left shoulder",
        "left elbow",
        "left wrist",
        "neck",
        "head top",
    ),
    bones=(
        (0, 1),
        (1, 2),
        (3, 4),
        (4, 5),
        (6, 7),
        (7, 8),
        (8, 12),
        (12, 9),
        (9, 10),
        (10, 11),
        (12, 13),
        (8, 2),
        (9, 3),
    ),
    pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)),
)
"""Leeds Sports Pose and its extension, in the order of their `joints.mat`."""

LSP_TO_MPII: Final = (0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 8, 9)
"""For every LSP joint, its number in `MPII`; pelvis and thorax stay unlabelled."""

JOINT_SETS: Final[Mapping[str, JointSet]] = MappingProxyType({joints.name: joints for joints in (MPII, LSP)})
"""Joint sets by the name that a store records."""
