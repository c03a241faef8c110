"""MPII's activities: labels of the csv and the .mat, tags, the three ways to split, and what the store says."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from scipy.io import savemat

from pose_lightning.convert import ConvertError
from pose_lightning.convert.__main__ import main
from pose_lightning.convert.activities import find_tags
from pose_lightning.convert.activity_sources import read_activities, read_videos
from pose_lightning.convert.crops import decode
from pose_lightning.convert.mpii_activities import ActivitySettings, plan
from pose_lightning.convert.pictures import shrunk
from pose_lightning.convert.splits import Shares
from pose_lightning.store import Store

EMPTY = np.zeros((0, 0))
HEADER = ["ID", "NAME", "Scale", "Activity", "Category"]
PHONE = "sitting, talking in person, on the phone"

Row = tuple[str, str, str]  # image, category, activity


def write_csv(path: Path, rows: list[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows([index, name, 1.5, activity, kind] for index, (name, kind, activity) in enumerate(rows, 1))
    return path


def struct(rows: list[dict[str, Any]]) -> np.ndarray:
    """A MATLAB struct array."""
    array = np.empty((1, len(rows)), dtype=[(key, object) for key in rows[0]])
    for index, row in enumerate(rows):
        array[0, index] = tuple(row.values())
    return array


def write_matlab(path: Path, rows: list[tuple[str, Any, Any, float, Any]]) -> Path:
    """The official file: image, cat_name, act_name, act_id and vididx of each image, and no persons."""
    annolist = [{"image": struct([{"name": name}]), "annorect": EMPTY, "vididx": video} for name, *_, video in rows]
    acts = [{"cat_name": kind, "act_name": name, "act_id": number} for _, kind, name, number, _ in rows]
    release = {"annolist": struct(annolist), "img_train": np.ones((1, len(rows))), "act": struct(acts).T}
    savemat(path, {"RELEASE": struct([release])})
    return path


def write_json(path: Path, images: dict[str, bool]) -> Path:
    """Bearpaw's form: one person for each image, who is validation or not."""
    joints = [[float(10 + joint), 20.0, 1.0] for joint in range(16)]
    persons = [
        {
            "img_paths": name,
            "objpos": [50.0, 60.0],
            "scale_provided": 1.0 + 0.137 * index,
            "joint_self": joints,
            "isValidation": float(held_out),
        }
        for index, (name, held_out) in enumerate(images.items())
    ]
    path.write_text(json.dumps(persons))
    return path


def scene(seed: int, height: int = 90, width: int = 120) -> np.ndarray:
    """A picture with structure, unlike that of any other seed."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


def write_images(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for index, name in enumerate(names):
        (folder / name).write_bytes(simplejpeg.encode_jpeg(scene(index), 95, "RGB", "444"))
    return folder


def forty() -> list[Row]:
    """Forty images of two categories and four activities."""
    kinds = [("sports", "curling"), ("sports", "rowing, stationary"), ("home", PHONE), ("home", "rowing, on the phone")]
    return [(f"{index:03d}.jpg", *kinds[index % 4]) for index in range(40)]


def labels(target: Path, split: str) -> dict[str, tuple[str, str]]:
    with Store(target / "activity" / f"{split}.h5") as store:
        columns = (store.labels[key].tolist() for key in ("name", "category", "activity"))
        return {name: (category, activity) for name, category, activity in zip(*columns, strict=True)}


def test_rows_without_a_label_are_counted(tmp_path: Path) -> None:
    rows: list[Row] = [
        ("a.jpg", "sports", "curling"),
        ("b.jpg", "[]", "[]"),
        ("c.jpg", "", ""),
        ("d.jpg", "sports", "[]"),
        ("e.jpg", "", PHONE),
        ("a.jpg", "sports", "curling"),
        ("f.jpg", "sports", "rowing"),
        ("f.jpg", "sports", "curling"),
    ]
    found = read_activities(write_csv(tmp_path / "activities.csv", rows))
    assert found.name.tolist() == ["a.jpg", "d.jpg", "e.jpg"]
    assert found.category.tolist() == ["sports", "sports", ""]
    assert found.activity.tolist() == ["curling", "", PHONE]
    assert found.video.tolist() == [-1, -1, -1]
    assert found.left_out == {"without_label": 2, "contradicting_rows": 2, "repeated": 1}


def test_the_official_file_has_one_row_for_each_labelled_image(tmp_path: Path) -> None:
    path = write_matlab(
        tmp_path / "mpii.mat",
        [
            ("a.jpg", "sports", "curling", 7.0, 3.0),
            ("test.jpg", EMPTY, EMPTY, -1.0, 4.0),
            ("b.jpg", "home", PHONE, 8.0, EMPTY),
            ("c.jpg", "home", "[]", 9.0, 3.0),
            ("odd.jpg", "home", "unsure", -1.0, 5.0),
        ],
    )
    found = read_activities(path)
    assert found.name.tolist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert found.category.tolist() == ["sports", "home", "home"]
    assert found.activity.tolist() == ["curling", PHONE, ""]
    assert found.video.tolist() == [3, -1, 3]
    assert found.left_out == {"invalid_activity": 1, "without_label": 1}
    assert read_videos(path) == {"a.jpg": 3, "test.jpg": 4, "c.jpg": 3, "odd.jpg": 5}


def test_the_official_file_with_one_image(tmp_path: Path) -> None:
    found = read_activities(write_matlab(tmp_path / "mpii.mat", [("a.jpg", "sports", "curling", 7.0, 3.0)]))
    assert (found.name.tolist(), found.video.tolist()) == (["a.jpg"], [3])


def test_tags_are_the_phrases_between_commas() -> None:
    tags = find_tags(["rowing, stationary", "rowing,on the phone", "", "curling, curling ,"], 2)
    assert tags.names == ["rowing"]
    assert tags.rare == {"stationary": 1, "on the phone": 1, "curling": 1}
    assert tags.held.tolist() == [[True], [True], [False], [False]]
    assert "fewer than 2 pictures" in tags.rule
    assert find_tags(["b, a", "a"], 1).held.tolist() == [[True, True], [True, False]]
    with pytest.raises(ConvertError, match="--min-count 0"):
        find_tags(["a"], 0)


def test_whole_videos_stay_together(tmp_path: Path) -> None:
    rows = [(name, kind, activity, 1.0, float(index // 4)) for index, (name, kind, activity) in enumerate(forty())]
    path = write_matlab(tmp_path / "mpii.mat", rows)
    target = tmp_path / "out"
    arguments = ["mpii", f"--activities={path}", f"--target={target}", "--labels-only", "--min-count=15"]
    assert main([*arguments, "--test=0.2", "--validation=0.2"]) == 0
    sizes, groups = {}, {}
    for split in ("train", "val", "test"):
        with Store(target / "activity" / f"{split}.h5") as store:
            sizes[split] = len(store)
            groups[split] = set(store.labels["group"].tolist())
            assert store.labels["name"].tolist() == store.labels["image"].tolist()
            assert [int(name[:3]) // 4 for name in store.labels["name"]] == store.labels["group"].tolist()
            assert store.codec is None
            assert (store.attrs["dataset"], store.attrs["synthetic"], store.attrs["split"]) == ("mpii", False, split)
            assert store.attrs["categories"] == ["home", "sports"]
            assert store.attrs["activities"] == ["curling", "rowing, on the phone", "rowing, stationary", PHONE]
            assert store.attrs["tags"] == ["on the phone", "rowing"]
            assert store.attrs["tags_left_out"] == {
                "curling": 10, "sitting": 10, "stationary": 10, "talking in person": 10
            }  # fmt: skip
            assert store.labels["tags"].dtype == np.bool_
            expected = [["on the phone" in text, "rowing" in text] for text in store.labels["activity"]]
            assert store.labels["tags"].tolist() == expected
            assert store.attrs["split_rule"].startswith("0.6 train, 0.2 val, 0.2 test; whole videos, stratified")
            assert set(store.attrs["sources"]) == {"mpii.mat"}
            assert {store.labels[key].dtype for key in ("height", "width", "fold")} == {np.dtype(np.int32)}
    assert sizes == {"train": 24, "val": 8, "test": 8}
    assert not groups["train"] & groups["val"]
    assert not groups["test"] & (groups["train"] | groups["val"])
    assert not (target / "pose").exists()


def test_folds_share_one_store(tmp_path: Path) -> None:
    rows = [(name, kind, activity, 1.0, float(index // 2)) for index, (name, kind, activity) in enumerate(forty())]
    path = write_matlab(tmp_path / "mpii.mat", rows)
    arguments = ["mpii", f"--activities={path}", f"--target={tmp_path}", "--labels-only", "--folds=4", "--test=0.2"]
    assert main(arguments) == 0
    assert sorted(path.name for path in (tmp_path / "activity").iterdir()) == ["test.h5", "train.h5"]
    with Store(tmp_path / "activity" / "train.h5") as store:
        assert store.attrs["folds"] == 4
        assert np.bincount(store.labels["fold"]).tolist() == [8, 8, 8, 8]
        for group in np.unique(store.labels["group"]):
            assert len(set(store.labels["fold"][store.labels["group"] == group].tolist())) == 1


def test_newells_split_goes_by_image_name(tmp_path: Path) -> None:
    rows = forty()
    path = write_csv(tmp_path / "activities.csv", rows)
    held_out = {name: index % 5 == 0 for index, (name, _, _) in enumerate(rows[:35])}
    annotations = write_json(tmp_path / "mpii_annotations.json", held_out)
    target = tmp_path / "out"
    arguments = ["mpii", f"--activities={path}", f"--annotations={annotations}", "--labels-only", f"--target={target}"]
    assert main(arguments) == 0
    assert labels(target, "val") == {name: (kind, text) for name, kind, text in rows[:35] if held_out[name]}
    assert labels(target, "train") == {name: (kind, text) for name, kind, text in rows[:35] if not held_out[name]}
    with Store(target / "activity" / "val.h5") as store:
        assert store.attrs["left_out"] == {"in_no_split_of_the_annotations": 5}
        assert "Newell's split" in store.attrs["split_rule"]
        assert set(store.attrs["sources"]) == {"activities.csv", "mpii_annotations.json"}
        assert len(set(store.labels["group"].tolist())) == len(store)
    assert (target / "pose" / "train.h5").exists()
    assert not (target / "activity" / "test.h5").exists()


def test_pictures_are_stored_whole(tmp_path: Path) -> None:
    rows = forty()[:20]
    images = write_images(tmp_path / "images", [name for name, _, _ in rows])
    path, target = write_csv(tmp_path / "activities.csv", rows), tmp_path / "out"
    arguments = ["mpii", f"--activities={path}", f"--images={images}", f"--target={target}", "--shorter-side=60"]
    assert main(arguments) == 0
    found = 0
    for store_path in (target / "activity").glob("*.h5"):
        with Store(store_path) as store:
            assert "near duplicates" in store.attrs["split_rule"]
            assert store.attrs["shorter_side"] == 60
            for index in range(len(store)):
                pixels = store.pixels(index)
                assert (*pixels.shape[:2],) == (60, 80)
                assert (store.labels["height"][index], store.labels["width"][index]) == (60, 80)
                expected = shrunk(decode(images / store.name(index)), 60)
                assert np.abs(pixels.astype(int) - expected).mean() < 2
                found += 1
    assert found == 20


def test_the_videos_of_a_csv_come_from_the_official_file(tmp_path: Path) -> None:
    rows = forty()
    path = write_csv(tmp_path / "activities.csv", rows)
    images = [(name, EMPTY, EMPTY, -1.0, float(index // 4)) for index, (name, _, _) in enumerate(rows[:36])]
    matlab = write_matlab(tmp_path / "mpii.mat", images)
    settings = ActivitySettings(None, Shares(test=0.2, validation=0.2))
    found = plan(path, settings, tmp_path, matlab=matlab)
    assert found.pictures.video.tolist() == [index // 4 for index in range(36)] + [-1] * 4
    assert found.division.group.tolist() == [index // 4 for index in range(36)] + [9, 10, 11, 12]
    assert "whole videos, pictures without a video each by itself" in found.division.rule


def test_pictures_that_are_alike_stay_together(tmp_path: Path) -> None:
    rows = forty()
    images = write_images(tmp_path / "images", [name for name, _, _ in rows[:36]])
    for name, _, _ in rows[36:]:
        (images / name).write_bytes((images / "000.jpg").read_bytes())
    path = write_csv(tmp_path / "activities.csv", rows)
    found = plan(path, ActivitySettings(images, Shares(test=0.2, validation=0.2)), tmp_path)
    assert found.division.group.tolist() == [*range(36), 0, 0, 0, 0]
    assert len(set(found.division.split[[0, 36, 37, 38, 39]].tolist())) == 1


def test_missing_photographs_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = forty()[:20]
    images = write_images(tmp_path / "images", [name for name, _, _ in rows[:18]])
    (images / "003.jpg").write_bytes(b"\xff\xd8 cut short")
    path, target = write_csv(tmp_path / "activities.csv", rows), tmp_path / "out"
    arguments = ["mpii", f"--activities={path}", f"--images={images}", f"--target={target}"]
    assert main(arguments) == 2
    assert "3 of 20 photographs are missing or undecodable: 003.jpg (unreadable" in capsys.readouterr().err
    assert [path.name for path in (target / "activity").iterdir()] == ["left_out.csv"]
    assert main([*arguments, "--skip-missing"]) == 0
    with Store(target / "activity" / "train.h5") as store:
        assert store.attrs["left_out"] == {"missing_or_undecodable": 3}
        assert "003.jpg" not in store.labels["name"].tolist()
    with (target / "activity" / "left_out.csv").open(newline="") as file:
        reasons = {row["file"]: row["reason"].split(":")[0] for row in csv.DictReader(file)}
    assert reasons == {"003.jpg": "unreadable", "018.jpg": "missing", "019.jpg": "missing"}


CSV = "--activities=activities.csv"
JSON = "--annotations=people.json"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "error: give --annotations FILE, --activities FILE, or both"),
        (["--activities=gone.csv"], "error: gone.csv cannot be opened: there is no such file"),
        (["--activities"], "error: --activities: name activities.csv or the official .mat"),
        ([CSV], "error: nothing says how to split the activities: give the official .mat"),
        ([CSV, "--activity-split=videos"], "error: --activity-split videos: give the official .mat"),
        ([CSV, "--activity-split=newell"], "error: --activity-split newell: give in --annotations a file"),
        ([CSV, "--activity-split=images"], "error: --activity-split images: give --images DIR"),
        ([CSV, "--split=val"], "error: --split has no effect without --annotations"),
        (["--activities=people.json"], "wanted the official .mat or activities.csv, not bearpaw annotations"),
        ([JSON, "--folds=3"], "error: --folds has no effect without --activities"),
        ([JSON, CSV, "--folds=3"], "error: --folds 3: the split is Newell's"),
        ([JSON, CSV, "--min-count=0"], "error: --min-count 0: wanted"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = forty()
    write_csv(Path("activities.csv"), rows)
    write_json(Path("people.json"), {name: index % 5 == 0 for index, (name, _, _) in enumerate(rows)})
    assert main(["mpii", "--labels-only", "--target=out", *more]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.h5*"))


@pytest.mark.real_data
def test_all_rows_of_the_csv_on_newells_split(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mpii" / "annotations"
    arguments = ["mpii", f"--activities={folder / 'activities.csv'}", "--labels-only", f"--target={tmp_path}"]
    assert main([*arguments, f"--annotations={folder / 'mpii_annotations.json.gz'}"]) == 0
    with Store(tmp_path / "activity" / "train.h5") as train, Store(tmp_path / "activity" / "val.h5") as val:
        assert (len(train), len(val)) == (14_614, 2_717)
        assert train.attrs["left_out"] == {"without_label": 41}  # of 17,372 rows; Newell has all their images
        assert (len(train.attrs["categories"]), len(train.attrs["activities"])) == (20, 396)
        assert "[]" not in train.attrs["activities"]
        for key, own, trained in (("category", 22.4, 22.4), ("activity", 1.8, 1.3)):
            held_out = Counter(val.labels[key].tolist())
            assert 100 * max(held_out.values()) / len(val) == pytest.approx(own, abs=0.05)
            majority, _ = Counter(train.labels[key].tolist()).most_common(1)[0]
            assert 100 * held_out[majority] / len(val) == pytest.approx(trained, abs=0.05)
        for key in ("categories", "activities", "tags", "tags_left_out"):
            assert train.attrs[key] == val.attrs[key]
        assert len(train.attrs["tags"]) == 551
        assert len(train.attrs["tags_left_out"]) == 79
        assert max(train.attrs["tags_left_out"].values()) == 9
        counts = (train.labels["tags"].sum(axis=0) + val.labels["tags"].sum(axis=0)).tolist()
        assert min(counts) == 10
        with (folder / "activities.csv").open(newline="", encoding="utf-8") as file:
            rows = [row["Activity"] for row in csv.DictReader(file)]
        assert counts[train.attrs["tags"].index("standing")] == sum(
            "standing" in [phrase.strip() for phrase in row.split(",")] for row in rows
        )


@pytest.mark.real_data
def test_real_photographs_become_pictures(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mpii"
    arguments = ["mpii", f"--activities={folder / 'annotations' / 'activities.csv'}", f"--target={tmp_path}"]
    assert main([*arguments, f"--images={folder / 'images'}", "--skip-missing", "--test=0", "--validation=0.3"]) == 0
    found = {}
    for split in ("train", "val"):
        with Store(tmp_path / "activity" / f"{split}.h5") as store:
            assert {min(store.pixels(index).shape[:2]) for index in range(len(store))} == {320}
            found |= dict(zip(store.labels["name"].tolist(), store.labels["activity"].tolist(), strict=True))
    assert found["005808361.jpg"] == "curling"
    assert set(found) <= {path.name for path in (folder / "images").iterdir()}
