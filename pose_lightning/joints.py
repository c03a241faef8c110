"""Joint sets as data: names, bones, left and right, and what scores need. Joint numbers are known here alone.

A store carries its joint set in full, so that a skeleton that this file does not have is read like those that it has.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Bool

from pose_lightning.errors import UserError
from pose_lightning.reading.raw import shortened
from pose_lightning.reading.records import misfit, optional

Bone = tuple[int, int]
Reference = Literal["head", "torso", "box"]
"""What a distance between a prediction and the truth is measured by: the size of the person's head as the labels have
it, the distance between the two `torso` joints, or the longer side of the person's box."""

LARGEST_SET: Final = 1024
"""Joints. The largest published set, COCO-WholeBody, has 133."""


@dataclass(frozen=True)
class JointSet:
    """An ordered set of named joints; whatever is no name holds joint numbers of this set.

    Attributes:
        name: Of the set.
        names: Of the joints.
        bones: Pairs of joints between which a line is drawn.
        pairs: (right, left) joints that trade places in a mirrored image.
        groups: Columns of a table of scores: heading, and the joints whose unweighted mean it is. None: one for every
            pair, and one for every other joint.
        unscored: Joints that the usual mean leaves out.
        sparse_bones: Bones of a person of whom no `unscored` joint is labelled; none: the same ones.
        reference: What distances are measured by.
        torso: Two joints whose distance is the torso's length, where the set has them.
        sigmas: Of every joint, the spread of its labels that OKS divides by (Ronchi and Perona, ICCV 2017), where they
            were measured.
    """

    name: str
    names: tuple[str, ...]
    bones: tuple[Bone, ...]
    pairs: tuple[Bone, ...]
    groups: tuple[tuple[str, tuple[int, ...]], ...] = ()
    unscored: tuple[int, ...] = ()
    sparse_bones: tuple[Bone, ...] = ()
    reference: Reference = "box"
    torso: Bone | None = None
    sigmas: tuple[float, ...] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def mirrored(self) -> tuple[int, ...]:
        """For every joint, the joint that takes its place in a mirrored image."""
        order = list(range(len(self)))
        for right, left in self.pairs:
            order[right], order[left] = left, right
        return tuple(order)

    @property
    def scored(self) -> tuple[int, ...]:
        """The joints of the usual mean."""
        return tuple(joint for joint in range(len(self)) if joint not in self.unscored)

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """The joints of every column of a table, by its heading."""
        if self.groups:
            return dict(self.groups)
        partners = dict(self.pairs)
        taken = set(partners.values())
        return {
            self._heading(joint) if joint in partners else self.names[joint]: (
                (joint, partners[joint]) if joint in partners else (joint,)
            )
            for joint in self.scored
            if joint not in taken
        }

    def _heading(self, joint: int) -> str:
        """Of the column of a joint and its partner."""
        heading = unsided(self.names[joint])
        return f"{heading} (both)" if heading in self.names else heading

    def limbs(self, labelled: Bool[np.ndarray, " j"]) -> tuple[Bone, ...]:
        """The bones of a person of whom these joints are labelled."""
        is_sparse = self.sparse_bones and not labelled[list(self.unscored)].any()
        return self.sparse_bones if is_sparse else self.bones

    def differences(self, other: "JointSet") -> str | None:
        """In what another set differs, in a few words; None where joints, their order and their pairs are the same."""
        if self.names != other.names:
            lacks = [name for name in self.names if name not in other.names]
            more = [name for name in other.names if name not in self.names]
            parts = [
                f"it lacks {_listed(lacks)}" if lacks else "",
                f"it has {_listed(more)} beside them" if more else "",
            ]
            return " and ".join(part for part in parts if part) or "its joints are in another order"
        return None if set(self.pairs) == set(other.pairs) else "other joints of it are pairs of right and left"

    def plain(self) -> dict[str, Any]:
        """The set as dicts, lists, texts and numbers, as JSON and checkpoints hold it."""
        return {key: _listed_plain(value) for key, value in asdict(self).items()}

    @classmethod
    def read(cls, value: Any, place: object) -> "JointSet":
        """The set that `plain` has written; also the name of one that this file has, as older stores hold it.

        Args:
            value: What a file holds.
            place: The file, for the message.

        Raises:
            UserError: If it is no joint set, or contradicts itself.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str) and value in JOINT_SETS:
            return JOINT_SETS[value]
        if reason := fault(value):
            raise UserError(f"{shortened(place)}: of its joint set, {reason}; make it again")
        return cls(
            name=value["name"],
            names=tuple(value["names"]),
            bones=_pairs(value["bones"]),
            pairs=_pairs(value["pairs"]),
            groups=tuple((str(heading), tuple(joints)) for heading, joints in value["groups"]),
            unscored=tuple(value["unscored"]),
            sparse_bones=_pairs(value["sparse_bones"]),
            reference=value["reference"],
            torso=None if value["torso"] is None else (value["torso"][0], value["torso"][1]),
            sigmas=None if value["sigmas"] is None else tuple(value["sigmas"]),
        )


def fault(value: Any) -> str | None:
    """Why a value is not what `JointSet.plain` gives; None where it is."""
    return misfit(value, _SHAPE) or _contradiction(value)


def _is_joint(value: object) -> bool:
    return type(value) is int and 0 <= value < LARGEST_SET


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_joint, value)) and value[0] != value[1]


def _is_group(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_name(value[0]) and misfit(value[1], [_is_joint]) is None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 80 and not any(map(_is_control, value))


def _is_control(character: str) -> bool:
    return unicodedata.category(character).startswith("C")


_SHAPE: Final = {
    "name": _is_name,
    "names": [_is_name],
    "bones": [_is_pair],
    "pairs": [_is_pair],
    "groups": [_is_group],
    "unscored": [_is_joint],
    "sparse_bones": [_is_pair],
    "reference": lambda value: value in ("head", "torso", "box"),
    "torso": optional(_is_pair),
    "sigmas": optional([lambda value: type(value) is float and 0 < value < 1]),
}


def _contradiction(value: Mapping[str, Any]) -> str | None:
    """In what a value of the right shape is no joint set."""
    names, groups, sigmas = value["names"], value["groups"], value["sigmas"]
    count = len(names)
    paired = [joint for pair in value["pairs"] for joint in pair]
    bones = [*value["bones"], *value["sparse_bones"], value["torso"] or []]
    numbers = [
        *value["unscored"],
        *paired,
        *(joint for ends in [*bones, *(part for _, part in groups)] for joint in ends),
    ]
    twice, beyond = sorted({name for name in names if names.count(name) > 1}), max(numbers, default=0)
    reasons = {
        f"names has {count} joints; wanted 1 to {LARGEST_SET}": not 0 < count <= LARGEST_SET,
        f"joint {beyond} is named, of {count}": beyond >= count,
        f"two joints are called {', '.join(twice)}": twice,
        "a joint is in two pairs": len(set(paired)) < len(paired),
        "two groups have one heading": len({heading for heading, _ in groups}) < len(groups),
        "a group is called as another joint": any(
            heading in names and joints != [names.index(heading)] for heading, joints in groups
        ),
        "no joint is scored": len(set(value["unscored"])) >= count or not all(part for _, part in groups),
        f"there are {len(sigmas or [])} sigmas for {count} joints": sigmas is not None and len(sigmas) != count,
        "distances are measured by the torso, and torso is null": value["reference"] == "torso" and not value["torso"],
    }
    return next((reason for reason, is_so in reasons.items() if is_so), None)


def _pairs(value: Sequence[Sequence[int]]) -> tuple[Bone, ...]:
    return tuple((first, second) for first, second in value)


def _listed_plain(value: Any) -> Any:
    return [*map(_listed_plain, value)] if isinstance(value, tuple) else value


def unsided(name: str) -> str:
    """A joint's name without its side: `right ankle`, `ankle_right` and `RAnkle` are the ankle."""
    words = [
        word
        for word in re.sub(r"^[RL](?=[A-Z])", "", name).replace("_", " ").split()
        if word.lower() not in ("right", "left", "r", "l")
    ]
    return " ".join(words) or name


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


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
    groups=(
        ("Head", (9,)),
        ("Shoulder", (12, 13)),
        ("Elbow", (11, 14)),
        ("Wrist", (10, 15)),
        ("Hip", (2, 3)),
        ("Knee", (1, 4)),
        ("Ankle", (0, 5)),
    ),
    unscored=(6, 7),
    sparse_bones=(
        (0, 1),
        (1, 2),
        (3, 4),
        (4, 5),
        (10, 11),
        (11, 12),
        (12, 8),
        (8, 13),
        (13, 14),
        (14, 15),
        (8, 9),
        (12, 2),
        (13, 3),
    ),
    reference="head",
    torso=(13, 2),
)
"""MPII Human Pose, in the order of the annotation file's joint ids 0 to 15.

The groups are the columns of published PCKh tables, which leave out pelvis and thorax (SimpleBaseline issue 78). The
torso is that of the LSP evaluation of MPI (getDistPCK.m): left shoulder to right hip. The sparse bones are those of
LSP, whose people have no pelvis and thorax.
"""

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

COCO: Final = JointSet(
    name="coco",
    names=(
        "nose",
        "left eye",
        "right eye",
        "left ear",
        "right ear",
        "left shoulder",
        "right shoulder",
        "left elbow",
        "right elbow",
        "left wrist",
        "right wrist",
        "left hip",
        "right hip",
        "left knee",
        "right knee",
        "left ankle",
        "right ankle",
    ),
    bones=(
        (15, 13),
        (13, 11),
        (16, 14),
        (14, 12),
        (11, 12),
        (5, 11),
        (6, 12),
        (5, 6),
        (5, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (1, 2),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
    ),
    pairs=((2, 1), (4, 3), (6, 5), (8, 7), (10, 9), (12, 11), (14, 13), (16, 15)),
    groups=(
        ("Nose", (0,)),
        ("Eye", (1, 2)),
        ("Ear", (3, 4)),
        ("Shoulder", (5, 6)),
        ("Elbow", (7, 8)),
        ("Wrist", (9, 10)),
        ("Hip", (11, 12)),
        ("Knee", (13, 14)),
        ("Ankle", (15, 16)),
    ),
    torso=(5, 12),
    sigmas=(
        0.026,
        0.025,
        0.025,
        0.035,
        0.035,
        0.079,
        0.079,
        0.072,
        0.072,
        0.062,
        0.062,
        0.107,
        0.107,
        0.087,
        0.087,
        0.089,
        0.089,
    ),
)
"""COCO keypoints, in the order of the annotation file's category `person`; the sigmas are those of cocoeval.py."""

JOINT_SETS: Final[Mapping[str, JointSet]] = MappingProxyType(
    {joints.name: joints for joints in (MPII, LSP, H36M, H36M_32, COCO)}
)
"""The joint sets of official data, by name."""

DEFAULT: Final = MPII
"""The joint set of what does not say another: published weights, and a network that is made without data."""
