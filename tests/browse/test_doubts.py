"""What each kind of store is suspected of: mistakes that were made on purpose are found, with their samples' names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_lightning.activity import sheet as pictures
from pose_lightning.browse.scan import Scanned, inside, scan
from pose_lightning.browse.splits import Doubt, Splits
from pose_lightning.heatmap import sheet as persons
from pose_lightning.joints import H36M, MPII
from pose_lightning.regression import sheet as clips
from pose_lightning.store import Store

Labels = dict[str, Any]
KNEES, ANKLES, WRISTS = (4, 1), (5, 0), (15, 10)


def looked(splits: Splits) -> Scanned:
    return scan(splits, np.arange(len(splits)))


def rules(doubts: list[Doubt], index: int) -> set[str]:
    return {doubt.rule for doubt in doubts if doubt.index == index}


@pytest.fixture
def damage(rewrite: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A folder with one split of a data set, in which `change` went wrong."""

    def write(stores: Path, split: str, change: Callable[[int, Labels], Labels], name: str | None = None) -> Path:
        rewrite(stores / f"{split}.h5", tmp_path / f"{name or split}.h5", change)
        return tmp_path

    return write


def test_persons_with_known_mistakes_are_suspected_of_them(demo_stores: Path, damage: Callable[..., Path]) -> None:
    def change(index: int, labels: Labels) -> Labels:
        joints, s = labels["joints"], labels["crop"][2]
        if index == 0:
            joints[[0, 1, 2, 3, 4, 5]] = joints[[5, 4, 3, 2, 1, 0]]
        if index == 1:
            joints[10] = joints[11] + 4 * (joints[10] - joints[11]) + 60 / s
        if index == 2:
            labels["head_size"] = np.float64(labels["head_size"] / 9)
        if index == 3:
            joints[15] = joints[14]
            labels["labelled"][14:16] = True
        if index == 4:
            labels["pixels_of"] = 20
        if index == 6:
            labels["box"] = np.float64(20)
        return labels

    with Splits.open([damage(demo_stores, "train", change)]) as splits:
        doubts = persons.doubts(splits, looked(splits))
    assert "sides" in rules(doubts, 0)
    assert "long limb" in rules(doubts, 1)
    assert "head" in rules(doubts, 2)
    assert "together" in rules(doubts, 3)
    assert "duplicate" in rules(doubts, 4) & rules(doubts, 20)
    assert "tiny" in rules(doubts, 6)


def test_persons_without_mistakes_are_hardly_suspected(demo_stores: Path) -> None:
    with Splits.open([demo_stores]) as splits:
        doubts = persons.doubts(splits, looked(splits))
        assert len({doubt.index for doubt in doubts}) <= 0.15 * len(splits)


def test_joints_beyond_the_end_of_the_photograph_are_outside(demo_stores: Path, damage: Callable[..., Path]) -> None:
    with Splits.open([demo_stores / "train.h5"]) as splits:
        found = looked(splits)
        bordered = int(found.inside[:, 0].argmax())
        assert found.inside[bordered, 0] > 0.03, "the drawn people should stand at a picture's edge somewhere"
        x0, _, s = splits.labels["crop"][bordered]
        edge = float(found.inside[bordered, 0]) * splits.stores[0].attrs["crop_size"]

    def change(index: int, labels: Labels) -> Labels:
        if index == bordered:
            labels["joints"][10] = ((2 + 0.5) / s - 0.5 + x0, labels["joints"][11][1])
            labels["labelled"][10] = True
        return labels

    with Splits.open([damage(demo_stores, "train", change)]) as splits:
        doubt = next(each for each in persons.doubts(splits, looked(splits)) if each.rule == "outside")
    assert doubt.index == bordered
    assert f"by up to {(edge - 2) / s:.0f} px: right wrist" in doubt.reason


def test_the_black_border_of_a_picture_is_not_inside() -> None:
    picture = np.zeros((80, 100, 3), dtype=np.uint8)
    picture[10:60, 20:90] = 120
    assert inside(picture) == (20, 10, 90, 60)


def test_a_black_picture_is_all_inside() -> None:
    assert inside(np.zeros((8, 9, 3), dtype=np.uint8)) == (0, 0, 9, 8)


def test_clips_with_known_mistakes_are_suspected_of_them(demo_clip_stores: Path, damage: Callable[..., Path]) -> None:
    def change(index: int, labels: Labels) -> Labels:
        joints = labels["joints"]
        if index == 0:
            labels["joints"] = (joints / 1000).astype(np.float32)
        if index == 1:
            joints[:, [1, 2, 3, 4, 5, 6]] = joints[:, [4, 5, 6, 1, 2, 3]]
        if index == 2:
            joints[4, 13] += 2500
        if index == 3:
            joints[:, 16] = joints[:, 15] + 1.6 * (joints[:, 16] - joints[:, 15])
        if index == 4:
            joints[:, 0] += 30
        if index == 5:
            labels["points"][:, 16] = -50
        return labels

    with Splits.open([damage(demo_clip_stores, "train", change)]) as splits:
        doubts = clips.doubts(splits, looked(splits))
    assert "unit" in rules(doubts, 0)
    assert "sides" in rules(doubts, 1)
    assert "jump" in rules(doubts, 2)
    assert "bone" in rules(doubts, 3)
    assert "root" in rules(doubts, 4)
    assert "outside" in rules(doubts, 5)
    unit = next(doubt for doubt in doubts if doubt.rule == "unit")
    assert "is the unit mm" in unit.reason


def test_clips_without_mistakes_are_not_suspected(demo_clip_stores: Path) -> None:
    with Splits.open([demo_clip_stores]) as splits:
        assert clips.doubts(splits, looked(splits)) == []


def test_a_clip_that_is_in_two_splits_is_told(
    demo_clip_stores: Path, rewrite: Callable[..., Path], tmp_path: Path
) -> None:
    for split in ("train", "val"):
        rewrite(demo_clip_stores / f"{split}.h5", tmp_path / f"{split}.h5", lambda _, labels: labels)
    with Store(demo_clip_stores / "val.h5") as store:
        leaked = store.labels["joints"][0].copy()

    def leak(index: int, labels: Labels) -> Labels:
        return labels | ({"joints": leaked} if index == 2 else {})

    rewrite(demo_clip_stores / "train.h5", tmp_path / "train.h5", leak)
    with Splits.open([tmp_path]) as splits:
        doubts = [each for each in clips.doubts(splits, None) if each.rule == "other split"]
        assert [doubt.index for doubt in doubts] == [len(splits.stores[0])]
        assert splits.labels["name"][2] in doubts[0].reason
        assert "of train" in doubts[0].reason


def test_one_picture_under_two_labels_is_the_worst(demo_activity_stores: Path, damage: Callable[..., Path]) -> None:
    with Store(demo_activity_stores / "train.h5") as store:
        categories = store.labels["category"]
        other = int(np.flatnonzero(categories != categories[0])[0])

    def change(index: int, labels: Labels) -> Labels:
        if index == other:
            labels["pixels_of"] = 0
        if index == other + 1:
            labels["width"] = np.int32(9 * labels["height"])
        if index == other + 2:
            labels["category"] = labels["activity"] = ""
        return labels

    with Splits.open([damage(demo_activity_stores, "train", change)]) as splits:
        doubts = pictures.doubts(splits, looked(splits))
    assert {"label", "duplicate"} <= rules(doubts, 0) & rules(doubts, other)
    assert "shape" in rules(doubts, other + 1)
    assert "unlabelled" in rules(doubts, other + 2)
    assert max(doubts, key=lambda doubt: doubt.strength).rule in {"label", "shape"}


def test_sides_are_those_of_the_joint_sets() -> None:
    assert MPII.names[10] == "right wrist"
    assert (H36M.names[13], H36M.names[16]) == ("left wrist", "right wrist")
