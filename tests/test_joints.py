"""Joint sets as data: what a store holds of one is read back, and what is none is refused."""

import ast
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_lightning.errors import UserError
from pose_lightning.joints import COCO, H36M, H36M_32, H36M_32_TO_17, JOINT_SETS, LSP, LSP_TO_MPII, MPII, JointSet

SETS = list(JOINT_SETS.values())


@pytest.mark.parametrize("joints", SETS, ids=lambda joints: joints.name)
def test_a_set_goes_through_json_and_comes_back(joints: JointSet) -> None:
    assert JointSet.read(json.loads(json.dumps(joints.plain())), "a.h5") == joints
    assert JointSet.read(joints.name, "an older store") is joints


@pytest.mark.parametrize("joints", SETS, ids=lambda joints: joints.name)
def test_a_mirrored_set_is_itself_twice_mirrored_and_pairs_are_of_one_kind(joints: JointSet) -> None:
    order = np.array(joints.mirrored)
    assert order[order].tolist() == list(range(len(joints)))
    for right, left in joints.pairs:
        assert joints.names[right] == joints.names[left].replace("left", "right")
    sided = {joint for joint, name in enumerate(joints.names) if name.startswith(("left ", "right "))}
    assert {joint for pair in joints.pairs for joint in pair} == sided


def test_maps_between_sets_name_the_same_joints() -> None:
    names = [MPII.names[joint] for joint in LSP_TO_MPII]
    assert [name.removeprefix("upper ") for name in names] == list(LSP.names)
    assert [H36M_32.names[joint] for joint in H36M_32_TO_17] == list(H36M.names)
    assert MPII.sparse_bones == tuple((LSP_TO_MPII[start], LSP_TO_MPII[end]) for start, end in LSP.bones)


def test_mpii_scores_14_joints_in_the_published_columns() -> None:
    assert len(MPII.scored) == 14
    assert list(MPII.columns) == ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle"]
    assert [MPII.names[joint] for joint in MPII.unscored] == ["pelvis", "thorax"]
    assert [MPII.names[joint] for joint in MPII.torso or ()] == ["left shoulder", "right hip"]


def test_a_set_without_groups_has_a_column_for_every_pair_and_every_other_joint() -> None:
    names = ("tail", "left paw", "right paw", "paw_front_L", "paw_front_R")
    joints = JointSet("cat", names, bones=((0, 1),), pairs=((2, 1), (4, 3)))
    assert joints.columns == {"tail": (0,), "paw": (2, 1), "paw front": (4, 3)}


def test_a_person_without_pelvis_and_thorax_is_drawn_with_other_bones() -> None:
    labelled = np.ones(16, dtype=bool)
    assert MPII.limbs(labelled) == MPII.bones
    labelled[[6, 7]] = False
    assert MPII.limbs(labelled) == MPII.sparse_bones
    assert COCO.limbs(np.zeros(17, dtype=bool)) == COCO.bones


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (MPII, MPII, None),
        (MPII, LSP, "it lacks pelvis, thorax, upper neck and it has neck beside them"),
        (COCO, JointSet("c", COCO.names[::-1], (), ()), "its joints are in another order"),
        (COCO, JointSet("c", COCO.names, (), COCO.pairs[1:]), "other joints of it are pairs of right and left"),
    ],
)
def test_the_difference_of_two_sets_is_told_by_names(first: JointSet, second: JointSet, said: str | None) -> None:
    assert first.differences(second) == said


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no names": (lambda plain: plain.pop("names"), "it has no 'names'"),
    "an empty set": (lambda plain: plain.update(names=[]), "names has 0 joints"),
    "too many": (lambda plain: plain.update(names=[str(n) for n in range(1025)]), "names has 1025 joints"),
    "a name twice": (lambda plain: plain["names"].__setitem__(0, "pelvis"), "two joints are called pelvis"),
    "an escape": (lambda plain: plain["names"].__setitem__(0, "\x1b[2J"), "/names/0"),
    "a long name": (lambda plain: plain["names"].__setitem__(0, "a" * 81), "/names/0"),
    "a bone beyond": (lambda plain: plain["bones"].append([0, 16]), "joint 16 is named, of 16"),
    "a bone of three": (lambda plain: plain["bones"].append([0, 1, 2]), "/bones/15"),
    "a joint's own bone": (lambda plain: plain["bones"].append([1, 1]), "/bones/15"),
    "a negative joint": (lambda plain: plain["unscored"].append(-1), "/unscored/2"),
    "half a joint": (lambda plain: plain["unscored"].append(1.5), "/unscored/2"),
    "two pairs of a joint": (lambda plain: plain["pairs"].append([0, 4]), "a joint is in two pairs"),
    "a group beyond": (lambda plain: plain["groups"].append(["Tail", [99]]), "joint 99 is named, of 16"),
    "a heading twice": (lambda plain: plain["groups"].append(["Head", [1]]), "two groups have one heading"),
    "an empty group": (lambda plain: plain["groups"].append(["Tail", []]), "no joint is scored"),
    "nothing scored": (lambda plain: plain.update(unscored=list(range(16))), "no joint is scored"),
    "another reference": (lambda plain: plain.update(reference="foot"), "/reference"),
    "no torso": (lambda plain: plain.update(reference="torso", torso=None), "torso is null"),
    "few sigmas": (lambda plain: plain.update(sigmas=[0.1]), "1 sigmas for 16 joints"),
    "a sigma of none": (lambda plain: plain.update(sigmas=[0.0] * 16), "/sigmas"),
    "a NaN": (lambda plain: plain.update(sigmas=[float("nan")] * 16), "/sigmas"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_no_set_is_refused_with_the_file_and_the_place(change: str) -> None:
    plain = copy.deepcopy(MPII.plain())
    act, said = CHANGES[change]
    act(plain)
    with pytest.raises(UserError) as refusal:
        JointSet.read(plain, "a.h5")
    assert str(refusal.value).startswith("a.h5: of its joint set, ")
    assert said in str(refusal.value)


@pytest.mark.parametrize("value", [None, 3, "unknown", [], {}])
def test_what_is_no_mapping_is_refused(value: object) -> None:
    with pytest.raises(UserError, match=r"^a\.h5: of its joint set, "):
        JointSet.read(value, "a.h5")


PACKAGE = Path(__file__).resolve().parents[1] / "pose_lightning"
KNOW_MPII = {
    "joints.py": "the set itself",
    "heatmap/published.py": "weights that others published",
    "heatmap/published_truth.py": "labels that published scores are of",
    "report/published.py": "published numbers",
    "sweep/published.py": "published numbers",
}
"""Files beside the converters that may name MPII's joints, and why."""


def names_of_mpii(path: Path) -> set[str]:
    """Names of MPII's joints, and of the set itself, in a file's code; its prose may have them."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and node.value in MPII.names:
            found.add(str(node.value))
        elif isinstance(node, ast.Name) and "MPII" in node.id:
            found.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names if "MPII" in alias.name}
    return found


def test_no_file_but_converters_and_published_ones_names_mpiis_joints() -> None:
    files = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    others = {name: path for name, path in files.items() if not name.startswith("convert/") and name not in KNOW_MPII}
    assert len(others) > 200
    assert {name: found for name, path in others.items() if (found := names_of_mpii(path))} == {}
    assert all(names_of_mpii(files[name]) for name in KNOW_MPII)  # the list is no longer than it must be
