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

H36M_32: Final = JointSet(
    name="h36m_32",
    names=(
        "pelvis",
        "right hip",
        "right knee",
        "right ankle",
        "right toe base",
        "right toe end",
        "left hip",
        "left knee",
        "left ankle",
        "left toe base",
        "left toe end",
        "spine base",
        "spine",
        "thorax",
        "neck",
        "head top",
        "left shoulder base",
        "left shoulder",
        "left elbow",
        "left wrist",
        "left thumb base",
        "left thumb end",
        "left hand base",
        "left hand end",
        "right shoulder base",
        "right shoulder",
        "right elbow",
        "right wrist",
        "right thumb base",
        "right thumb end",
        "right hand base",
        "right hand end",
    ),
    bones=(
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5),
        (0, 6),
        (6, 7),
        (7, 8),
        (8, 9),
        (9, 10),
        (0, 11),
        (11, 12),
        (12, 13),
        (13, 14),
        (14, 15),
        (13, 16),
        (16, 17),
        (17, 18),
        (18, 19),
        (19, 20),
        (20, 21),
        (19, 22),
        (22, 23),
        (13, 24),
        (24, 25),
        (25, 26),
        (26, 27),
        (27, 28),
        (28, 29),
        (27, 30),
        (30, 31),
    ),
    pairs=(
        (1, 6),
        (2, 7),
        (3, 8),
        (4, 9),
        (5, 10),
        (24, 16),
        (25, 17),
        (26, 18),
        (27, 19),
        (28, 20),
        (29, 21),
        (30, 22),
        (31, 23),
    ),
)
"""Human3.6M, in the order of the official D3_Positions files; several of its joints share one place."""

H36M_32_TO_17: Final = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""For every joint of `H36M`, its number in `H36M_32` (3d-pose-baseline and VideoPose3D keep the same ones)."""

H36M: Final = JointSet(
    name="h36m",
    names=(
        "pelvis",
        "right hip",
        "right knee",
        "right ankle",
        "left hip",
        "left knee",
        "left ankle",
        "spine",
        "thorax",
        "neck",
        "head top",
        "left shoulder",
        "left elbow",
        "left wrist",
        "right shoulder",
        "right elbow",
        "right wrist",
    ),
    bones=(
        (0, 1),
        (1, 2),
        (2, 3),
        (0, 4),
        (4, 5),
        (5, 6),
        (0, 7),
        (7, 8),
        (8, 9),
        (9, 10),
        (8, 11),
        (11, 12),
        (12, 13),
        (8, 14),
        (14, 15),
        (15, 16),
    ),
    pairs=((1, 4), (2, 5), (3, 6), (14, 11), (15, 12), (16, 13)),
)
"""The 17 joints of Human3.6M that papers measure; `neck` is also called nose or neck/nose."""

H36M_ROOT: Final = 0
"""Poses of `H36M` are relative to the pelvis."""

JOINT_SETS: Final[Mapping[str, JointSet]] = MappingProxyType(
    {joints.name: joints for joints in (MPII, LSP, H36M, H36M_32)}
)
"""Joint sets by the name that a store records."""
