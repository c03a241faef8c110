"""Keypoint annotations in the form of COCO, with values that one can check by hand."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pose_lightning.convert import ConvertError, coco
from pose_lightning.convert.__main__ import main as convert
from pose_lightning.convert.coco import find_pairs, joint_set_of, read, with_detections
from pose_lightning.joints import COCO, JointSet
from pose_lightning.store import Store
from tests import toy_skeleton

CROWDPOSE = (
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip"),
    *("right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck"),
)


def store_of(folder: Path, *more: str, split: str = "val") -> Path:
    """The birds of a folder as one store."""
    words = [f"--annotations={folder / 'birds.json'}", f"--images={folder / 'images'}", f"--target={folder / 'stores'}"]
    assert convert(["coco", *words, f"--split={split}", "--crop=112", "--box=64", "--codec=raw", *more]) == 0
    return folder / "stores" / f"{split}.h5"


def change(path: Path, **changes: Any) -> Path:
    """Write an annotation file again with other values of its keys; of lists, functions change them."""
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content[key] = value(content[key]) if callable(value) else value
    path.write_text(json.dumps(content))
    return path


def test_a_store_says_its_joints_and_keeps_what_oks_needs(tmp_path: Path) -> None:
    annotations = json.loads(toy_skeleton.write(tmp_path, pictures=3).read_text())["annotations"]
    with Store(store_of(tmp_path)) as store:
        joint_set = JointSet.read(store.attrs["joint_set"], store.path)
        labels = store.labels
        assert joint_set.names == tuple(name.replace("_", " ") for name in toy_skeleton.NAMES)
        assert joint_set.bones == ((0, 5), (1, 5), (2, 5), (5, 6), (6, 3), (6, 4))
        assert joint_set.pairs == ((2, 1), (4, 3))
        assert (joint_set.reference, joint_set.torso, joint_set.sigmas) == ("box", None, None)
        assert labels["name"].tolist() == ["bird000.jpg#0", "bird001.jpg#0", "bird001.jpg#1", "bird002.jpg#0"]
        for row, annotation in enumerate(annotations):
            points = np.array(annotation["keypoints"]).reshape(7, 3)
            known = points[:, 2] > 0
            np.testing.assert_array_equal(labels["labelled"][row], known)
            np.testing.assert_array_equal(labels["visible"][row], points[:, 2] == 2)
            np.testing.assert_array_equal(labels["joints"][row][known], points[known, :2])
            assert np.isnan(labels["joints"][row][~known]).all()
            left, top, width, height = annotation["bbox"]
            np.testing.assert_allclose(labels["center"][row], [left + width / 2 - 0.5, top + height / 2 - 0.5])
            assert labels["box"][row] == pytest.approx(1.25 * max(width, height))
            assert labels["extent"][row] == pytest.approx(max(width, height))
            assert labels["area"][row] == pytest.approx(annotation["area"])
            assert (labels["image_id"][row], labels["annotation_id"][row]) == (annotation["image_id"], annotation["id"])
        assert store.attrs["image_ids"] == [1, 2, 3]


def test_a_joint_is_where_its_disc_is_in_the_crop(tmp_path: Path) -> None:
    toy_skeleton.write(tmp_path, pictures=2)
    with Store(store_of(tmp_path)) as store:
        for row in range(len(store)):
            x0, y0, scale = store.labels["crop"][row]
            for joint in np.flatnonzero(store.labels["visible"][row]):
                x, y = ((store.labels["joints"][row, joint] - (x0, y0) + 0.5) * scale - 0.5).round().astype(int)
                seen = store.pixels(row)[y, x].astype(int)
                assert np.abs(seen - toy_skeleton.COLOURS[joint]).max() < 110


def test_crowds_and_persons_without_joints_are_kept_for_oks_and_no_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = toy_skeleton.write(tmp_path, pictures=3)

    def with_ignored(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        nobody = {"keypoints": [0.0] * 21, "bbox": [1.0, 2.0, 30.0, 40.0], "area": 77.0, "category_id": 3}
        crowd = {**annotations[0], "id": 900, "iscrowd": 1}
        return [{**nobody, "id": 901, "image_id": 3}, *annotations, crowd, {**crowd, "id": 902, "category_id": 8}]

    change(path, annotations=with_ignored)
    with Store(store_of(tmp_path)) as store:
        assert len(store) == 4
        assert store.attrs["ignored"]["image_id"] == [3, 1]
        assert store.attrs["ignored"]["iscrowd"] == [0, 1]
        assert store.attrs["ignored"]["area"][0] == 77.0
        assert store.attrs["counts"]["crowds"] == store.attrs["counts"]["unlabelled_persons"] == 1
    assert "1 crowds and 1 persons without a labelled joint" in capsys.readouterr().out


def test_a_share_of_whole_photographs_validates_where_nothing_divides(tmp_path: Path) -> None:
    toy_skeleton.write(tmp_path, pictures=20)
    words = [f"--annotations={tmp_path / 'birds.json'}", f"--images={tmp_path / 'images'}", "--validation=0.3"]
    assert convert(["coco", *words, f"--target={tmp_path / 'a'}", "--crop=112", "--box=64"]) == 0
    with Store(tmp_path / "a" / "train.h5") as train, Store(tmp_path / "a" / "val.h5") as val:
        assert len(train) + len(val) == 30
        assert 4 <= len(val) <= 9
        assert not set(train.labels["image"]) & set(val.labels["image"])
        assert "ignored" not in train.attrs
        assert set(val.attrs["image_ids"]) == set(val.labels["image_id"].tolist())


def test_cocos_own_joints_are_cocos_and_crowdposes_have_pairs_and_a_torso() -> None:
    names = [name.replace(" ", "_") for name in COCO.names]
    assert joint_set_of({"name": "person", "keypoints": names, "skeleton": []}, None, Path("a.json")) is COCO
    crowd = joint_set_of({"name": "person", "keypoints": list(CROWDPOSE)}, None, Path("a.json"))
    assert len(crowd) == 14
    assert crowd.pairs == tuple((left + 1, left) for left in range(0, 12, 2))
    assert [crowd.names[joint] for joint in crowd.torso or ()] == ["left shoulder", "right hip"]


@pytest.mark.parametrize(
    "names",
    [
        ("nose", "left_eye", "right_eye"),
        ("nose", "eye_left", "eye_right"),
        ("Nose", "LEye", "REye"),
        ("nose", "l_eye", "r_eye"),
        ("nose", "Left-Eye", "Right-Eye"),
        ("nose", "leftEye", "rightEye"),
    ],
)
def test_pairs_are_read_from_names(names: tuple[str, ...]) -> None:
    assert find_pairs(names) == [(2, 1)]


def test_names_that_do_not_say_sides_have_no_pairs_unless_given(tmp_path: Path) -> None:
    category = {"name": "box", "keypoints": ["a_1", "a_2", "top", "rung"]}
    assert joint_set_of(category, None, tmp_path).pairs == ()
    assert joint_set_of(category, "a_2:a_1", tmp_path).pairs == ((1, 0),)
    with pytest.raises(ConvertError, match=r"--pairs a_2:b: wanted RIGHT:LEFT.* of the joints a_1, a_2, top, rung"):
        joint_set_of(category, "a_2:b", tmp_path)


def test_the_surest_detection_takes_the_person_whom_it_overlaps_most(tmp_path: Path) -> None:
    path = toy_skeleton.write(tmp_path, pictures=2)
    people = read(path, None).people
    boxes = people.numbers["bbox"]
    shifted = boxes[2] + [2, 0, 0, 0]
    far = boxes[1] + [90, 90, 0, 0]
    found, without = with_detections(people, {2: np.array([shifted, boxes[2], far]), 9: boxes[:1]})
    assert without == 2  # the bird of image 1, and the first of image 2
    np.testing.assert_allclose(found.center[2], people.center[2] + [2, 0])
    np.testing.assert_array_equal(found.center[:2], people.center[:2])
    np.testing.assert_array_equal(found.numbers["bbox"], boxes)


def test_detections_are_read_from_a_file_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = toy_skeleton.write(tmp_path, pictures=2)
    box = json.loads(path.read_text())["annotations"][0]["bbox"]
    detection = {"image_id": 1, "category_id": 3, "bbox": [box[0] + 1, *box[1:]], "score": 0.9}
    (tmp_path / "boxes.json").write_text(json.dumps([detection, {**detection, "category_id": 1}]))
    with Store(store_of(tmp_path, f"--detections={tmp_path / 'boxes.json'}")) as store:
        assert store.labels["center"][0, 0] == pytest.approx(box[0] + 1 + box[2] / 2 - 0.5)
        assert "detections of boxes.json" in store.attrs["box_source"]
    assert "2 of 3 persons have no detection" in capsys.readouterr().out


@pytest.mark.parametrize("declared", ["stored", "turned"])
def test_a_picture_is_turned_where_the_annotations_mean_the_turned_one(tmp_path: Path, declared: str) -> None:
    path = toy_skeleton.write(tmp_path, pictures=1)
    picture = cv2.imread(str(tmp_path / "images" / "bird000.jpg"))
    assert picture is not None
    if declared == "turned":  # stored on its side, to be shown turned clockwise (orientation 6)
        picture = cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    tag = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    (tmp_path / "images" / "bird000.jpg").write_bytes(
        jpeg[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2) + tag + jpeg[2:]
    )
    with Store(store_of(tmp_path)) as store:
        x0, y0, scale = store.labels["crop"][0]
        x, y = ((store.labels["joints"][0, 5] - (x0, y0) + 0.5) * scale - 0.5).round().astype(int)
        assert np.abs(store.pixels(0)[y, x].astype(int) - toy_skeleton.COLOURS[5]).max() < 110
    assert path.is_file()


def test_a_picture_of_another_size_than_its_annotation_says_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = toy_skeleton.write(tmp_path, pictures=2)
    change(path, images=lambda images: [{**images[0], "width": 640}, images[1]])
    words = [f"--annotations={path}", f"--images={tmp_path / 'images'}", f"--target={tmp_path / 'stores'}"]
    assert convert(["coco", *words, "--split=val"]) == 2
    assert "bird000.jpg (undecodable: 200 x 160 px, and its annotation says 640 x 160)" in capsys.readouterr().err
    assert not (tmp_path / "stores" / "val.h5").exists()
    assert convert(["coco", *words, "--split=val", "--skip-missing"]) == 0


def first(**changes: Any) -> Any:
    """A function that changes the first of a list."""
    return lambda values: [{**values[0], **changes}, *values[1:]]


WRONG = {
    "no images": ({"images": None}, "has no list `images`"),
    "no categories": ({"categories": []}, "categories with keypoints are none"),
    "two categories": (
        {"categories": [toy_skeleton.CATEGORY, {**toy_skeleton.CATEGORY, "id": 4, "name": "cat"}]},
        "are bird, cat; name one by --category",
    ),
    "a bone of no joint": ({"categories": first(skeleton=[[1, 8]])}, r"skeleton has \[1, 8\]; wanted two joints"),
    "a name twice": ({"categories": first(keypoints=["a"] * 7)}, "two joints are called a"),
    "an escape": ({"images": first(file_name="../bird.jpg")}, "wanted a file below the folder"),
    "an absolute name": ({"images": first(file_name="/etc/passwd")}, "wanted a file below the folder"),
    "an id twice": ({"images": first(id=2)}, "two images have the id 2"),
    "a file twice": ({"images": first(file_name="bird001.jpg")}, "two images have the file_name 'bird001.jpg'"),
    "no id": ({"images": first(id=None)}, r"of images\[0\], /id is null"),
    "an annotation twice": ({"annotations": first(id=101)}, "annotation 101 is there twice"),
    "an unknown image": ({"annotations": first(image_id=77)}, "annotation 100 is of image 77"),
    "too few numbers": ({"annotations": first(keypoints=[1.0] * 20)}, "has 20 numbers in keypoints; wanted 3 for each"),
    "a visibility": ({"annotations": first(keypoints=[1.0, 1.0, 3.0] * 7)}, "has visibility 3; wanted 0"),
    "NaN": ({"annotations": first(keypoints=[float("nan"), 1.0, 2.0] * 7)}, "a labelled joint that is not a finite"),
    "text": ({"annotations": first(keypoints=["1"] * 21)}, "annotation 100: /keypoints/0 is '1'"),
    "a flat box": ({"annotations": first(bbox=[1, 2, 0, 5])}, r"has bbox \[1, 2, 0, 5\], which has no width"),
    "three numbers": ({"annotations": first(bbox=[1, 2, 3])}, "wanted 4 numbers"),
    "an area": ({"annotations": first(area="big")}, "annotation 100 has area 'big'"),
    "nobody": ({"annotations": []}, "no annotation of category 3 has a labelled joint"),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_meant_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = change(toy_skeleton.write(tmp_path, pictures=3), **changes)
    with pytest.raises(ConvertError, match=rf"birds\.json.*{message}"):
        read(path, tmp_path / "images")


def test_two_files_of_other_joints_are_refused(tmp_path: Path) -> None:
    one, other = toy_skeleton.write(tmp_path / "a", pictures=2), toy_skeleton.write(tmp_path / "b", pictures=2)
    change(other, categories=first(keypoints=["nose", *toy_skeleton.NAMES[1:]]))
    parts = {"train": read(one, None), "val": read(other, None)}
    with pytest.raises(ConvertError, match=r"has other joints than .*: it lacks beak and it has nose beside them"):
        coco.convert(parts, tmp_path / "stores", coco.Pixels(None))


def test_joints_are_mapped_by_name_where_one_asks_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = toy_skeleton.write(tmp_path, pictures=2)
    annotations = json.loads(path.read_text())["annotations"]
    tail = {"keypoints": [0.0] * 18 + [150.0, 90.0, 2.0], "id": 555}
    change(path, annotations=lambda given: [*given, {**given[0], **tail}])  # one with a tail alone
    names = {"beak": "nose", "left_wing": "left_shoulder", "right_wing": "right_shoulder"}
    rename = f"--rename={','.join(f'{old}:{new}' for old, new in names.items())}"
    with Store(store_of(tmp_path, rename, "--like=coco")) as store:
        assert JointSet.read(store.attrs["joint_set"], store.path) == COCO
        points = np.array(annotations[0]["keypoints"]).reshape(7, 3)
        for joint, source in ((0, 0), (5, 1), (6, 2)):
            np.testing.assert_array_equal(store.labels["joints"][0, joint], points[source, :2])
        assert store.labels["labelled"][0].nonzero()[0].tolist() == [0, 5, 6]
        assert 555 not in store.labels["annotation_id"]
        assert store.attrs["counts"]["unlabelled_persons"] == len(store.attrs["ignored"]["area"]) == 1
        like = tmp_path / "coco.h5"
        store.path.rename(like)
    assert "val: joints of coco; left out: left foot, right foot, back, tail" in capsys.readouterr().out
    with Store(store_of(tmp_path, rename, f"--like={like}")) as store:
        assert JointSet.read(store.attrs["joint_set"], store.path) == COCO


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--like=coco"], "no joint is called as one of coco"),
        (["--like=nowhere.h5"], "wanted a store, or one of mpii, lsp"),
        (["--rename=bill:nose"], "--rename bill:nose: wanted OLD:NEW"),
        (["--rename=beak:tail"], "two joints are called tail"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], reason: str
) -> None:
    toy_skeleton.write(tmp_path, pictures=2)
    given = [f"--annotations={tmp_path / 'birds.json'}", f"--target={tmp_path / 'stores'}", "--split=val", *words]
    assert convert(["coco", *given]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "stores").exists()
