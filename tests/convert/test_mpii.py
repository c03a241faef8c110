"""MPII's annotations in their four forms: the same persons, 0-based, adjusted once."""

import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import simplejpeg
import xxhash
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import savemat

from pose_lightning.convert import ConvertError, mpii
from pose_lightning.convert.crops import Pixels, write_split
from pose_lightning.convert.mpii import Annotations, read_annotations, write
from pose_lightning.convert.mpii_sources import detect_form, is_adjusted, read_source
from pose_lightning.convert.people import People
from pose_lightning.store import Store

EMPTY = np.zeros((0, 0))


@dataclass(frozen=True)
class Person:
    """What an annotator wrote down, 1-based."""

    image: str
    number: int
    split: str
    video: int
    center: tuple[float, float]
    scale: float
    joints: np.ndarray  # (16, 2), NaN = not annotated
    visible: np.ndarray
    head_box: tuple[float, float, float, float]


def make_people() -> list[Person]:
    """Eight persons in six photographs; three persons in two photographs are validation."""
    rng = np.random.default_rng(7)
    places = [
        ("a.jpg", 0),
        ("a.jpg", 1),
        ("b.jpg", 0),
        ("c.jpg", 0),
        ("d.jpg", 0),
        ("d.jpg", 2),
        ("e.jpg", 0),
        ("f.jpg", 0),
    ]
    people = []
    for index, (image, number) in enumerate(places):
        joints = np.round(rng.uniform(20, 180, (16, 2)))
        joints[8:10] += rng.uniform(0.1, 0.9, (2, 2)).round(3)  # neck and head top are fractional in the official file
        joints[rng.choice(8, 2, replace=False)] = np.nan
        split = "val" if image in ("b.jpg", "d.jpg") else "train"
        center = (float(rng.integers(60, 140)), float(rng.integers(60, 140)))
        scale = round(float(rng.uniform(0.4, 0.9)), 3) + 0.0004
        corner = rng.uniform(20, 60, 2).round(2)
        box = (corner[0], corner[1], corner[0] + 30.0, corner[1] + 40.0 + index)
        people.append(Person(image, number, split, ord(image[0]), center, scale, joints, rng.random(16) < 0.7, box))
    return people


PEOPLE = make_people()
VAL = [person for person in PEOPLE if person.split == "val"]
TRAIN = [person for person in PEOPLE if person.split == "train"]


def expected_center(person: Person) -> tuple[float, float]:
    return person.center[0] - 1, person.center[1] + 15 * person.scale - 1


def expected_head_size(person: Person) -> float:
    x1, y1, x2, y2 = person.head_box
    return 0.6 * float(np.hypot(x2 - x1, y2 - y1))


def struct(rows: list[dict[str, Any]]) -> np.ndarray:
    """A MATLAB struct array."""
    array = np.empty((1, len(rows)), dtype=[(key, object) for key in rows[0]])
    for index, row in enumerate(rows):
        array[0, index] = tuple(row.values())
    return array


def annorect(person: Person) -> dict[str, Any]:
    points = []
    for joint in np.flatnonzero(~np.isnan(person.joints).any(axis=1)):
        x, y = person.joints[joint]
        visible: Any = {True: "1", False: "0"}[bool(person.visible[joint])]
        if joint % 3 == 0:
            visible = float(person.visible[joint])
        elif person.visible[joint] and joint in (8, 9):
            visible = EMPTY
        points.append({"x": x, "y": y, "id": float(joint), "is_visible": visible})
    x1, y1, x2, y2 = person.head_box
    return {
        "x1": x1, "y1": y1, "x2": x2, "y2": y2,
        "annopoints": struct([{"point": struct(points)}]),
        "scale": person.scale,
        "objpos": struct([{"x": person.center[0], "y": person.center[1]}]),
    }  # fmt: skip


def write_matlab(path: Path, people: Sequence[Person] = PEOPLE) -> Path:
    """The official file: the six photographs, one without persons, and one of the test set without joints."""
    hollow = annorect(PEOPLE[0]) | {"annopoints": EMPTY, "scale": EMPTY, "objpos": EMPTY}
    images, acts = [], []
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"):
        persons: dict[int, dict[str, Any]] = {p.number: annorect(p) for p in people if p.image == name}
        rects = [persons.get(number, hollow) for number in range(max(persons) + 1)]
        if name == "d.jpg":
            rects.append(annorect(VAL[0]) | {"objpos": EMPTY})
        images.append({"name": name, "annorect": struct(rects), "video": float(ord(name[0]))})
        acts.append({"cat_name": "sports", "act_name": f"sport {name}", "act_id": 1.0})
    images.append({"name": "nobody.jpg", "annorect": EMPTY, "video": 1.0})
    images.append({"name": "test.jpg", "annorect": struct([{"scale": 1.0, "objpos": EMPTY}]), "video": 2.0})
    acts += [{"cat_name": EMPTY, "act_name": EMPTY, "act_id": -1.0}] * 2
    annolist = struct(
        [
            {"image": struct([{"name": image["name"]}]), "annorect": image["annorect"], "vididx": image["video"]}
            for image in images
        ]
    )
    training = np.array([[1.0] * 7 + [0.0]])
    savemat(path, {"RELEASE": struct([{"annolist": annolist, "img_train": training, "act": struct(acts).T}])})
    return path


def write_newell(path: Path, people: list[Person], adjusted: bool = True) -> Path:
    joints = np.stack([person.joints for person in people])
    scale = np.array([person.scale for person in people])
    center = np.array([person.center for person in people])
    if adjusted:
        center[:, 1] += 15 * scale
        scale = scale * 1.25
    with h5py.File(path, "w") as file:
        file["imgname"] = np.array([person.image.encode() for person in people])
        file["person"] = np.array([float(person.number) for person in people])
        file["center"], file["scale"] = center, scale
        file["part"] = np.floor(np.nan_to_num(joints, posinf=np.inf))
        visible = np.stack([person.visible for person in people]) & ~np.isnan(joints).any(axis=2)
        file["visible"] = visible.astype(np.float64)
        file["normalize"] = np.array([expected_head_size(person) for person in people])
    return path


def bearpaw(people: list[Person]) -> list[dict[str, Any]]:
    return [
        {
            "img_paths": person.image,
            "people_index": person.number + 1.0,
            "isValidation": float(person.split == "val"),
            "objpos": list(person.center),
            "scale_provided": round(person.scale, 3),
            "joint_self": [
                [0.0, 0.0, 0.0] if np.isnan(x) else [round(x, 3), round(y, 3), float(visible)]
                for (x, y), visible in zip(person.joints, person.visible, strict=True)
            ],
        }
        for person in people
    ]


def hrnet(people: list[Person]) -> list[dict[str, Any]]:
    return [
        {
            "image": person.image,
            "center": list(person.center),
            "scale": round(person.scale, 6),
            "joints": [[-1.0, -1.0] if np.isnan(x) else [round(x, 4), round(y, 4)] for x, y in person.joints],
            "joints_vis": [int(not np.isnan(x)) for x, _ in person.joints],
        }
        for person in people
    ]


def write_json(path: Path, persons: list[dict[str, Any]]) -> Path:
    text = json.dumps(persons).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


def write_headboxes(path: Path, people: list[Person], shift: float = 0.0) -> Path:
    boxes = np.array([person.head_box for person in people]).reshape(-1, 2, 2).transpose(1, 2, 0)
    truth = np.nan_to_num(np.stack([person.joints for person in people])).transpose(1, 2, 0) + shift
    truth[9, 0, 0] = 0.0  # as in the public file, a coordinate is zeroed
    savemat(path, {"headboxes_src": boxes, "pos_gt_src": truth})
    return path


def check(
    people: People, truth: list[Person], *, tolerance: float, scale_tolerance: float, occlusion: bool = True
) -> None:
    """Compare with what the annotator wrote, computed here."""
    assert people.image.tolist() == [person.image for person in truth]
    joints = np.stack([person.joints for person in truth])
    labelled = ~np.isnan(joints).any(axis=2)
    assert_array_equal(people.labelled, labelled)
    assert_array_equal(np.isnan(people.joints).all(axis=2), ~labelled)
    assert_allclose(people.joints[labelled], joints[labelled] - 1, atol=tolerance, rtol=0)
    visible = np.stack([person.visible for person in truth]) if occlusion else labelled
    assert_array_equal(people.visible, labelled & visible)
    assert_allclose(people.center, [expected_center(person) for person in truth], atol=15 * scale_tolerance + 1e-9)
    assert_allclose(people.box, [250 * person.scale for person in truth], atol=250 * scale_tolerance + 1e-9)


def test_the_official_file_with_newells_list(tmp_path: Path) -> None:
    files = [write_matlab(tmp_path / "mpii_human_pose_v1_u12_1.mat"), write_newell(tmp_path / "valid.h5", VAL)]
    annotations = read_annotations(files)
    check(annotations.splits["val"], VAL, tolerance=1e-9, scale_tolerance=1e-9)
    check(annotations.splits["train"], TRAIN, tolerance=1e-9, scale_tolerance=1e-9)
    assert annotations.splits["val"].number.tolist() == [0, 0, 2]
    for split, truth in (("val", VAL), ("train", TRAIN)):
        assert_allclose(annotations.splits[split].head_size, [expected_head_size(person) for person in truth])
    # d.jpg's hollow second person and the last one without objpos; nobody.jpg has no person to leave out.
    assert annotations.attrs["left_out"] == {"test_images": 1, "without_joints": 1, "without_center_or_scale": 1}
    assert annotations.splits["val"].tags["activity"].tolist() == ["sport b.jpg", "sport d.jpg", "sport d.jpg"]


def test_newells_h5(tmp_path: Path) -> None:
    files = [write_newell(tmp_path / "train.h5", TRAIN), write_newell(tmp_path / "valid.h5", VAL)]
    annotations = read_annotations(files)
    check(annotations.splits["train"], TRAIN, tolerance=1.0, scale_tolerance=1e-9)
    check(annotations.splits["val"], VAL, tolerance=1.0, scale_tolerance=1e-9)
    assert annotations.attrs["source_adjusted"] == {"train.h5": True, "valid.h5": True}
    assert_allclose(annotations.splits["val"].head_size, [expected_head_size(person) for person in VAL])


def test_newells_first_files_have_names_of_character_codes(tmp_path: Path) -> None:
    path = write_newell(tmp_path / "valid.h5", VAL)
    with h5py.File(path, "a") as file:
        names = np.array([list(name.ljust(16, b"\0")) for name in file["imgname"][()]], dtype=np.float64)
        del file["imgname"]
        file["imgname"] = names
    assert read_annotations([path]).splits["val"].image.tolist() == [person.image for person in VAL]


@pytest.mark.parametrize("name", ["mpii_annotations.json", "mpii_annotations.json.gz", "no_suffix.gz"])
def test_bearpaws_json(tmp_path: Path, name: str) -> None:
    annotations = read_annotations([write_json(tmp_path / name, bearpaw(PEOPLE))])
    check(annotations.splits["train"], TRAIN, tolerance=5.01e-4, scale_tolerance=5.01e-4)
    check(annotations.splits["val"], VAL, tolerance=5.01e-4, scale_tolerance=5.01e-4)
    assert annotations.splits["val"].number.tolist() == [0, 0, 2]
    assert np.isnan(annotations.splits["val"].head_size).all()
    assert "3 of 3 val persons have no head size: they train, but have no PCKh" in annotations.notes


def test_hrnets_json(tmp_path: Path) -> None:
    files = [write_json(tmp_path / "train.json", hrnet(TRAIN)), write_json(tmp_path / "valid.json", hrnet(VAL))]
    annotations = read_annotations(files)
    check(annotations.splits["train"], TRAIN, tolerance=5.01e-5, scale_tolerance=5.01e-7, occlusion=False)
    check(annotations.splits["val"], VAL, tolerance=5.01e-5, scale_tolerance=5.01e-7, occlusion=False)
    assert annotations.attrs["visible_source"] == "none: every labelled joint counts as visible"


def test_a_coordinate_of_zero_is_annotated(tmp_path: Path) -> None:
    persons = bearpaw(PEOPLE)
    persons[0]["joint_self"][12] = [0.0, 37.0, 1.0]
    persons[0]["joint_self"][13] = [41.0, 0.0, 0.0]
    people = read_annotations([write_json(tmp_path / "a.json", persons)]).splits["train"]
    assert_allclose(people.joints[0, 12:14], [[-1, 36], [40, -1]])
    assert people.labelled[0, 12:14].all()
    assert people.visible[0, 12:14].tolist() == [True, False]


def test_adjusted_files_of_any_form_are_not_adjusted_again(tmp_path: Path) -> None:
    raw = read_annotations([write_newell(tmp_path / "raw_valid.h5", VAL, adjusted=False)])
    adjusted = read_annotations([write_newell(tmp_path / "valid.h5", VAL)])
    assert raw.attrs["source_adjusted"] == {"raw_valid.h5": False}
    assert_allclose(raw.splits["val"].center, adjusted.splits["val"].center)
    assert_allclose(raw.splits["val"].box, adjusted.splits["val"].box)
    persons = bearpaw(PEOPLE)
    for person in persons:
        person["objpos"][1] += 15 * person["scale_provided"]
        person["scale_provided"] *= 1.25
    moved = read_annotations([write_json(tmp_path / "moved.json", persons)])
    assert moved.attrs["source_adjusted"] == {"moved.json": True}
    check(moved.splits["val"], VAL, tolerance=5.01e-4, scale_tolerance=5.01e-4)


def test_a_file_in_doubt_asks() -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.5, 5, 100)
    center = np.round(rng.uniform(0, 1000, (100, 2)))
    moved = center + np.stack([np.zeros(100), 15 * scale], axis=1)
    assert is_adjusted(center, scale) is False
    assert is_adjusted(moved, 1.25 * scale) is True
    assert is_adjusted(center + 0.3, scale) is None  # centres of somebody's own, between pixels
    assert is_adjusted(center, np.round(scale) + 1) is None  # whole either way
    assert is_adjusted(np.full((3, 2), -1.0), np.ones(3)) is None
    half = np.where(np.arange(100)[:, None] % 2, center, moved)
    assert is_adjusted(half, np.where(np.arange(100) % 2, 1, 1.25) * scale) is None


def test_a_file_in_doubt_is_an_error_until_the_user_says(tmp_path: Path) -> None:
    persons = hrnet(VAL)
    for person in persons:
        person["center"][1] += 0.37
    path = write_json(tmp_path / "valid.json", persons)
    with pytest.raises(ConvertError, match=r"valid\.json: cannot tell whether .* --adjusted yes or --adjusted no"):
        read_annotations([path])
    as_is = read_source(path, "hrnet", adjusted=True).people
    moved = read_source(path, "hrnet", adjusted=False).people
    assert_allclose(as_is.box * 1.25, moved.box)
    assert_allclose(as_is.center[:, 1] + 15 * as_is.box / 200, moved.center[:, 1])


def test_the_user_cannot_contradict_a_clear_file(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"valid\.h5: --adjusted no, but .* after taking the adjustment back"):
        read_annotations([write_newell(tmp_path / "valid.h5", VAL)], adjusted=False)


def test_a_second_file_is_checked_and_gives_head_sizes(tmp_path: Path) -> None:
    files = [write_json(tmp_path / "a.json.gz", bearpaw(PEOPLE)), write_newell(tmp_path / "newell_valid.h5", VAL)]
    annotations = read_annotations(files)
    assert_allclose(annotations.splits["val"].head_size, [expected_head_size(person) for person in VAL])
    assert np.isnan(annotations.splits["train"].head_size).all()
    assert not any("labelled there or here only" in note for note in annotations.notes)
    hidden = [
        Person(**(vars(VAL[0]) | {"joints": np.where(np.arange(16)[:, None] == 12, np.nan, VAL[0].joints)})),
        *VAL[1:],
    ]
    notes = read_annotations([files[0], write_newell(tmp_path / "other_valid.h5", hidden)]).notes
    assert "other_valid.h5: 1 joints of val are labelled there or here only" in notes
    digests = {path.name: xxhash.xxh3_64_hexdigest(path.read_bytes()) for path in files}
    assert annotations.attrs["sources"] == digests


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda people: people[::-1], r"newell_valid\.h5: image of val person 0 \(d\.jpg#2\).*\(b\.jpg#0\)"),
        (lambda people: people[:2], r"newell_valid\.h5 has 2 persons for val; the other annotations have 3"),
        (
            lambda people: [people[0], Person(**(vars(people[1]) | {"joints": people[1].joints + 3})), people[2]],
            r"newell_valid\.h5: joints of val person 1 \(d\.jpg#0\)",
        ),
        (
            lambda people: [Person(**(vars(people[0]) | {"center": (1.0, 2.0)})), *people[1:]],
            r"newell_valid\.h5: center of val person 0",
        ),
    ],
)
def test_files_that_contradict_each_other_are_refused(
    tmp_path: Path, change: Callable[[list[Person]], list[Person]], message: str
) -> None:
    files = [write_json(tmp_path / "a.json", bearpaw(PEOPLE)), write_newell(tmp_path / "newell_valid.h5", change(VAL))]
    with pytest.raises(ConvertError, match=message):
        read_annotations(files)


def test_head_boxes_follow_the_order_of_the_validation_persons(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", bearpaw(PEOPLE))
    annotations = read_annotations([path], headboxes=write_headboxes(tmp_path / "gt_valid.mat", VAL))
    assert_allclose(annotations.splits["val"].head_size, [expected_head_size(person) for person in VAL])
    with pytest.raises(ConvertError, match=r"gt_valid\.mat: headboxes_src is \(2, 2, 2\); wanted \(2, 2, 3\)"):
        read_annotations([path], headboxes=write_headboxes(tmp_path / "gt_valid.mat", VAL[:2]))
    with pytest.raises(ConvertError, match=r"gt_valid\.mat: pos_gt_src\(1\) is not person b\.jpg#0"):
        read_annotations([path], headboxes=write_headboxes(tmp_path / "gt_valid.mat", VAL, shift=4.0))


def test_without_a_list_whole_videos_are_held_out(tmp_path: Path) -> None:
    path = write_matlab(tmp_path / "release.mat")
    first, second = read_annotations([path]), read_annotations([path])
    videos = {name: {image[0] for image in people.image} for name, people in first.splits.items()}
    assert len(videos["val"]) == 1  # a tenth of six, and never none
    assert not videos["train"] & videos["val"]
    assert len(videos["train"] | videos["val"]) == 6
    assert_array_equal(first.splits["val"].image, second.splits["val"].image)
    assert first.attrs["split_rule"].startswith("whole videos")
    with pytest.raises(ConvertError, match=r"release\.mat: --validation 0\.99 of 6 videos leaves train or val empty"):
        read_annotations([path], validation=0.99)


def test_newells_list_of_images(tmp_path: Path) -> None:
    (tmp_path / "valid_images.txt").write_text("d.jpg\nd.jpg\nb.jpg\n")
    annotations = read_annotations([write_matlab(tmp_path / "release.mat"), tmp_path / "valid_images.txt"])
    val = annotations.splits["val"]
    assert [val.name(row) for row in range(len(val))] == ["d.jpg#0", "d.jpg#2", "b.jpg#0"]
    assert annotations.splits["train"].image.tolist() == [person.image for person in TRAIN]


def test_persons_beside_listed_ones_are_left_out(tmp_path: Path) -> None:
    files = [write_matlab(tmp_path / "release.mat"), write_newell(tmp_path / "valid.h5", [VAL[0], VAL[2]])]
    annotations = read_annotations(files)
    assert "d.jpg" not in annotations.splits["train"].image
    assert annotations.attrs["left_out"]["other_persons_in_val_images"] == 1


def test_activities_by_image(tmp_path: Path) -> None:
    (tmp_path / "activities.csv").write_text(
        'ID,NAME,r ankle_X,Scale,Activity,Category\n1,b.jpg,1,1,"sitting, talking",quiet\n2,a.jpg,1,1,[],[]\n'
    )
    files = [write_json(tmp_path / "a.json", bearpaw(PEOPLE)), tmp_path / "activities.csv"]
    tags = read_annotations(files).splits["val"].tags
    assert tags["activity"].tolist() == ["sitting, talking", "", ""]
    assert tags["category"].tolist() == ["quiet", "", ""]
    assert read_annotations(files).splits["train"].tags["activity"].tolist() == [""] * 5


def without(key: str) -> bytes:
    return json.dumps([{name: value for name, value in bearpaw(PEOPLE)[0].items() if name != key}]).encode()


def with_value(key: str, value: object) -> bytes:
    return json.dumps([bearpaw(PEOPLE)[0] | {key: value}]).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MATLAB v5 file, Newell's HDF5, a JSON list"),
        (b"hello", "not a MATLAB v5 file"),
        (b"\x1f\x8b broken", "cannot be unpacked"),
        (gzip.compress(b"[" + b" " * 9000 + b"]", mtime=0)[:-9], "cannot be unpacked"),
        (b"\x89HDF\r\n\x1a\n broken", "is no HDF5 file, or truncated or damaged"),
        (b"MATLAB 5.0 MAT-file" + bytes(500), "cannot be read as a MATLAB file"),
        (b"[{]", "is no JSON, or damaged"),
        (b"[" * 100_000, "nested too deep"),
        (b"[3]", "person 0 lacks"),
        (b'[{"image": "a.jpg", "scale": 1, "center": [1, 2]}]', r"no joints, as in HRNet's test\.json"),
        (b"[]", "not one person"),
        (without("objpos"), r"person 0 lacks \['objpos'\]"),
        (with_value("objpos", [1, None]), "person 0: objpos is .*; wanted finite numbers"),
        (with_value("objpos", "x"), "person 0: objpos is x; wanted finite numbers"),
        (with_value("scale_provided", [1, 2]), "person 0: scale_provided is"),
        (with_value("joint_self", [[1, 2, 3]]), r"person 0: joint_self is .* shape \(16, 3\)"),
        (with_value("img_paths", "../../a.jpg"), "without folders"),
        (with_value("img_paths", "a" * 5000), r"aaa\.\.\. \(5,002 characters\).* of 1 to 255 bytes"),
        (with_value("img_paths", "\ud800.jpg"), "wanted a file's name"),
        (with_value("img_paths", "a\0.jpg"), "wanted a file's name"),
        (with_value("scale_provided", 10**400), "person 0: scale_provided is 1000"),
        (b"\xef\xbb\xbf[]", "not one person"),
        (gzip.compress(b"[" + b" " * (40 << 20) + b"]"), "unpacks to more than 32 MiB"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "annotations"
    path.write_bytes(content)
    with pytest.raises(ConvertError, match=rf"(?s)annotations.*({message})"):
        read_annotations([path], adjusted=False)


def test_newells_keys_and_shapes_are_checked(tmp_path: Path) -> None:
    path = write_newell(tmp_path / "valid.h5", VAL)
    with h5py.File(path, "a") as file:
        del file["part"]
    with pytest.raises(ConvertError, match=r"valid\.h5 lacks \['part'\]"):
        read_annotations([path])
    with h5py.File(path, "a") as file:
        file["part"] = np.zeros((3, 14, 2))
    with pytest.raises(ConvertError, match=r"valid\.h5: part is float64 \(3, 14, 2\), wanted .* \(3, 16, 2\)"):
        read_annotations([path])


def test_a_split_that_no_name_tells_is_asked_for(tmp_path: Path) -> None:
    path = write_json(tmp_path / "sample.json", hrnet(VAL))
    with pytest.raises(ConvertError, match=r"sample\.json: the file's name does not say .* --split"):
        read_annotations([path])
    assert list(read_annotations([path], split="val").splits) == ["val"]


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ({"annolist": EMPTY, "img_train": EMPTY}, r"RELEASE\.annolist has 0 images"),
        (
            {"annolist": struct([{"image": EMPTY, "annorect": EMPTY}]), "img_train": 1.0},
            r"RELEASE\.annolist\(1\)\.image\.name is empty",
        ),
        (
            {
                "annolist": struct(
                    [
                        {
                            "image": struct([{"name": "a.jpg"}]),
                            "annorect": struct(
                                [
                                    {
                                        "scale": 1.0,
                                        "objpos": struct([{"x": 1.0, "y": 1.0}]),
                                        "annopoints": struct([{"point": struct([{"x": 1.0, "y": EMPTY, "id": 16.0}])}]),
                                    }
                                ]
                            ),
                        }
                    ]
                ),
                "img_train": 1.0,
            },
            r"RELEASE\.annolist\(1\)\.annorect\(1\)\.annopoints\.point\(1\) has id 16\.0, x 1\.0, y None",
        ),
    ],
)
def test_hostile_structs_are_named(tmp_path: Path, release: dict[str, Any], message: str) -> None:
    savemat(tmp_path / "release.mat", {"RELEASE": struct([release])})
    with pytest.raises(ConvertError, match=rf"release\.mat: {message}"):
        read_annotations([tmp_path / "release.mat"])


def test_a_matlab_file_of_something_else_is_named(tmp_path: Path) -> None:
    savemat(tmp_path / "other.mat", {"joints": np.zeros(3)})
    with pytest.raises(ConvertError, match=r"other\.mat has no variable 'RELEASE'"):
        read_annotations([tmp_path / "other.mat"])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in {person.image for person in PEOPLE}:
        pixels = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
        (folder / name).write_bytes(simplejpeg.encode_jpeg(pixels, 95, "RGB", "444"))
    return folder


def annotations_of(tmp_path: Path) -> Annotations:
    return read_annotations(
        [write_json(tmp_path / "a.json", bearpaw(PEOPLE)), write_newell(tmp_path / "valid.h5", VAL)]
    )


@pytest.mark.parametrize("codec", ["jpeg", "raw"])
def test_the_stores_hold_everyone_under_pose(tmp_path: Path, images: Path, codec: str) -> None:
    results = write(annotations_of(tmp_path), tmp_path / "mpii", Pixels(images, codec, 56, 32), synthetic=True)
    assert set(results) == {tmp_path / "mpii" / "pose" / "train.h5", tmp_path / "mpii" / "pose" / "val.h5"}
    val = Store(tmp_path / "mpii" / "pose" / "val.h5")
    assert val.labels["name"].tolist() == ["b.jpg#0", "d.jpg#0", "d.jpg#2"]
    assert val.codec == codec
    assert val.shape == (56, 56, 3)
    assert len(set(val.labels["group"])) == 2
    assert val.attrs["synthetic"] is True
    assert (val.attrs["split"], val.attrs["crop_size"], val.attrs["box_in_crop"]) == ("val", 56, 32)
    assert results[val.path] == val.attrs["counts"]
    assert (val.attrs["counts"]["persons"], val.attrs["counts"]["images"]) == (3, 2)
    x0, y0, s = val.labels["crop"].T
    assert_allclose((val.labels["center"] - np.stack([x0, y0], 1) + 0.5) * s[:, None] - 0.5, 27.5, atol=0.51 * s.max())


def test_a_split_is_replaced_whole_when_converted_again(tmp_path: Path, images: Path) -> None:
    annotations = annotations_of(tmp_path)
    write(annotations, tmp_path / "mpii", Pixels(None))
    write(annotations, tmp_path / "mpii", Pixels(images, "jpeg", 56, 32))
    assert Store(tmp_path / "mpii" / "pose" / "train.h5").codec == "jpeg"
    assert sorted(path.name for path in (tmp_path / "mpii" / "pose").iterdir()) == ["train.h5", "val.h5"]


def spoilt(**changes: Any) -> list[Person]:
    """Everyone, the second person changed."""
    return [replace(person, **changes) if place == 1 else person for place, person in enumerate(PEOPLE)]


def with_joint(*point: float) -> dict[str, Any]:
    joints = PEOPLE[1].joints.copy()
    joints[12] = point
    return {"joints": joints}


SPOILT = [
    (spoilt(center=(-400.0, -400.0)), r"a box of \d+ px at \(-401, -\d+\), wholly outside the photograph"),
    (spoilt(center=(700.0, 100.0)), r"a box of \d+ px at \(699, \d+\), wholly outside the photograph"),
    (spoilt(scale=1e-6), r"a box of 0(\.00025)? px"),
    (spoilt(scale=1e6), r"a box of 250000000 px"),
    (spoilt(scale=float("nan")), r"a box of nan px"),
    (spoilt(center=(float("inf"), 90.0)), r"a box of \d+(\.\d+)? px at \(inf, "),
    (spoilt(**with_joint(1e9, 80.0)), r"its right shoulder is at \(1e\+09, 79\), far from its box of \d+ px"),
    (spoilt(**with_joint(float("inf"), 80.0)), r"its right shoulder is at no finite place"),
]


@pytest.mark.parametrize("form", ["matlab", "bearpaw", "hrnet", "newell"])
@pytest.mark.parametrize(("people", "reason"), SPOILT, ids=range(len(SPOILT)))
def test_a_person_that_cannot_be_meant_is_named_and_can_be_left_out(
    tmp_path: Path, images: Path, people: list[Person], reason: str, form: str
) -> None:
    path = tmp_path / "annotations"
    if form == "matlab":
        write_matlab(path, people)
    elif form == "newell":
        write_newell(path, people)
    else:
        write_json(path, bearpaw(people) if form == "bearpaw" else hrnet(people))
    annotations = read_annotations([path], adjusted=form == "newell", split="train", validation=0.2)
    target = tmp_path / "mpii"
    with pytest.raises(
        ConvertError, match=rf"1 of \d persons for train\.h5 cannot be meant: person a\.jpg#1: {reason}"
    ):
        write(annotations, target, Pixels(images, "jpeg", 56, 32))
    assert [path.name for path in (target / "pose").iterdir()] == ["train.missing.txt"]
    results = write(annotations, target, Pixels(images, "jpeg", 56, 32, skip_missing=True))
    counts = results[target / "pose" / "train.h5"] or {}
    assert (counts["images_left_out"], counts["persons_left_out"]) == (0, 1)
    with Store(target / "pose" / "train.h5") as store:
        assert "a.jpg#1" not in store.labels["name"]
        assert "a.jpg#0" in store.labels["name"]
    assert re.fullmatch(rf"a\.jpg#1\t{reason}.*\n", (target / "pose" / "train.missing.txt").read_text())


def test_joints_and_boxes_a_little_outside_stay(tmp_path: Path, images: Path) -> None:
    people = spoilt(center=(250.0, 100.0), **with_joint(-39.0, 230.0))
    annotations = read_annotations([write_json(tmp_path / "a.json", bearpaw(people))], adjusted=False)
    write(annotations, tmp_path / "mpii", Pixels(images, "jpeg", 56, 32))
    with Store(tmp_path / "mpii" / "pose" / "train.h5") as store:
        row = store.labels["name"].tolist().index("a.jpg#1")
        assert store.labels["joints"][row, 12].tolist() == [-40.0, 229.0]


def test_a_split_that_fails_leaves_all_earlier_ones(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotations, folder = annotations_of(tmp_path), tmp_path / "mpii" / "pose"
    write(annotations, tmp_path / "mpii", Pixels(None))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(mpii, "write_split", failing_for("train", mpii.write_split))
    with pytest.raises(ZeroDivisionError):
        write(annotations, tmp_path / "mpii", Pixels(images, "jpeg", 56, 32))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def failing_for(split: str, write_split: Callable[..., Any]) -> Callable[..., Any]:
    def fail(store: Path, *rest: Any, **more: Any) -> Any:
        return 1 / 0 if store.stem == split else write_split(store, *rest, **more)

    return fail


def test_not_one_photograph_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="not one of the photographs is there and readable"):
        write(annotations_of(tmp_path), tmp_path / "mpii", Pixels(tmp_path, skip_missing=True))


MPII_COUNTS = [2115, 2485, 2889, 2888, 2478, 2119, 2878, 2932, 2932, 2932, 2928, 2935, 2944, 2944, 2932, 2909]


@pytest.mark.real_data
def test_the_real_annotations_have_the_known_numbers(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "mpii" / "annotations"
    files = [folder / name for name in ("mpii_annotations.json.gz", "newell_valid.h5", "activities.csv")]
    annotations = read_annotations(files, headboxes=folder / "headboxes_valid.mat")
    train, val = annotations.splits["train"], annotations.splits["val"]
    assert (len(train), len(val)) == (22_246, 2_958)
    assert len(np.unique(val.image)) == 2_729
    assert len(np.unique([*train.image, *val.image])) == 17_408
    assert val.labelled.sum(axis=0).tolist() == MPII_COUNTS
    assert val.labelled.sum() == 44_240
    assert_allclose(np.percentile(val.head_size, (0, 50, 100)), (14.5, 68.9, 311.1), atol=0.05)
    assert_allclose(val.head_size, val.box / 10, rtol=2e-3)  # the privileged scale of MPII *is* the head size
    assert annotations.attrs["source_adjusted"] == {"mpii_annotations.json.gz": False, "newell_valid.h5": True}
    assert len(set(train.tags["category"]) - {""}) == 20
    counts = write_split(tmp_path / "val.h5", val, Pixels(None), {"kind": "pose"})
    assert counts == {
        "persons": 2_958,
        "images": 2_729,
        "labelled_joints": 44_240,
        "visible_joints": 33_997,
        "without_head_size": 0,
    }
    assert Store(tmp_path / "val.h5").labels["joints"].shape == (2_958, 16, 2)


@pytest.fixture(scope="module")
def real_json(shared_data: Path) -> Annotations:
    """The real JSON alone, read once."""
    return read_annotations([shared_data / "mpii" / "annotations" / "mpii_annotations.json.gz"])


@pytest.mark.real_data
def test_real_files_of_three_forms_agree(shared_data: Path, real_json: Annotations) -> None:
    folder = shared_data / "mpii" / "annotations"
    everyone = real_json.splits["val"]
    newell = read_annotations([folder / "newell_valid.h5"]).splits["val"]
    assert detect_form(folder / "hrnet_format_sample.json") == "hrnet"
    sample = read_annotations([folder / "hrnet_format_sample.json"], split="val").splits["val"]
    assert_array_equal(newell.labelled, everyone.labelled)
    assert_array_equal(newell.visible, everyone.visible)
    assert np.nanmax(np.abs(newell.joints - everyone.joints)) <= 1
    assert_allclose(newell.center, everyone.center, atol=0.0076)
    assert_allclose(newell.box, everyone.box, atol=0.13)
    for row in range(len(sample)):
        same = np.flatnonzero((everyone.image == sample.image[row]) & (everyone.number == sample.number[row]))
        assert_array_equal(everyone.labelled[same[0]], sample.labelled[row])
        assert_allclose(everyone.joints[same[0]], sample.joints[row], atol=6e-4)
        assert_allclose(everyone.center[same[0]], sample.center[row], atol=0.0076)


@pytest.mark.real_data
def test_real_photographs_become_crops(shared_data: Path, real_json: Annotations, tmp_path: Path) -> None:
    folder = shared_data / "mpii" / "images"
    with pytest.raises(ConvertError, match=r"2724 of 2729 photographs for val\.h5 are missing"):
        write(real_json, tmp_path, Pixels(folder))
    results = write(real_json, tmp_path, Pixels(folder, skip_missing=True))
    assert results[tmp_path / "pose" / "train.h5"] is None
    val = Store(tmp_path / "pose" / "val.h5")
    assert len(val) == 5
    assert val.attrs["counts"]["images_left_out"] == 2_724
    assert len((tmp_path / "pose" / "val.missing.txt").read_text().splitlines()) == 2_724
