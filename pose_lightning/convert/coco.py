"""Keypoint annotations in the form of COCO, of any skeleton -> stores `train.h5`, `val.h5` and others.

An annotation file is a JSON object with `images` (id, file_name, width, height), `categories` (name, keypoints,
skeleton) and `annotations` (id, image_id, category_id, keypoints, bbox, area, iscrowd): COCO's own 17 joints,
CrowdPose, or what a laboratory has labelled. Joints, bones and pairs of left and right come from the file.

- A second file is the validation split (`--validation-annotations`); without one, a share of the photographs is held
  out, whole, and photographs that look alike are on one side. `--split NAME` makes one store of all.
- Visibility 0 is unlabelled, 1 occluded, 2 visible. Crowds and persons without a labelled joint are not trained on;
  they are counted, and stores of `val` and `test` keep them for OKS AP, as they keep photographs without anybody.
- `--like` gives the store the joints of another one, or of `mpii` or `coco`, in their order: joints of the same name
  (`--rename` changes names first) keep their labels, and joints that the annotations do not have are unlabelled.
- The box of a person is 1.25 x the longer side of the labelled box, or of a detection that overlaps it
  (`--detections`).
- Pictures are turned by their EXIF orientation where the turned picture has the width and height that the annotation
  file says, and stay as they are stored where those are of the stored one.
"""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import (
    Image,
    Pixels,
    add_pixel_arguments,
    pixels_from,
    print_summary,
    report_path,
    write_split,
)
from pose_lightning.convert.lsp import ALIKE, group_alike, held_out, look_all
from pose_lightning.convert.people import LONGEST_NAME, People, hash_files
from pose_lightning.convert.pictures import read_either_way
from pose_lightning.convert.staging import owning, staged
from pose_lightning.joints import COCO, JOINT_SETS, LARGEST_SET, JointSet, fault
from pose_lightning.reading.raw import LARGEST_ANNOTATIONS, MIB, shortened
from pose_lightning.reading.records import is_number, misfit, optional, read_object
from pose_lightning.store import Store

BOX_SCALE: Final = 1.25
"""Of the box that the network is shown, relative to the labelled one (SimpleBaseline's and HRNet's code, JointsDataset
and COCODataset)."""

OVERLAP: Final = 0.5
"""Intersection over union from which a detection is of a person."""

VALIDATION: Final = 0.1
SPLITS: Final = ("train", "val", "test")
KEEPS_IGNORED: Final = ("val", "test")
SCALE_CONVENTION: Final = "box = 1.25 x the longer side of the box, square, centred on it"
MOST_PEOPLE: Final = 1 << 22
_SIDES: Final = {"right": "right", "r": "right", "left": "left", "l": "left"}


def _is_real(value: object) -> bool:
    return value is not None and is_number(value)


def _is_id(value: object) -> bool:
    return type(value) is int and abs(value) < 1 << 63


_IMAGE: Final = {"id": _is_id, "file_name": str, "width?": optional(_is_id), "height?": optional(_is_id)}
_ANNOTATION: Final = {"id": _is_id, "image_id": _is_id, "category_id": _is_id}
_PERSON: Final = {"bbox": [_is_real], "keypoints": [_is_real], "iscrowd?": lambda value: value in (0, 1)}
_CATEGORY: Final = {"id": _is_id, "name": str}
_KEYPOINTS: Final = {"keypoints": [str], "skeleton?": optional([[_is_id]])}
_DETECTION: Final = {"image_id": _is_id, "category_id": _is_id, "bbox": [_is_real], "score": _is_real}


@dataclass(frozen=True)
class Annotations:
    """The persons of one annotation file.

    Attributes:
        path: The file.
        images: Folder of its photographs; None where there are none.
        joint_set: Of the persons.
        category: Number of the category that they are of.
        files: Image number -> name of its file.
        sizes: Image number -> width and height, where the file says them.
        people: Persons with a labelled joint, by image.
        ignored: Columns of crowds and persons without a labelled joint: `image_id`, `bbox`, `area`, `iscrowd`.
    """

    path: Path
    images: Path | None
    joint_set: JointSet
    category: int
    files: Mapping[int, str]
    sizes: Mapping[int, tuple[int, int]]
    people: People
    ignored: Mapping[str, list[Any]]


def read(
    path: Path,
    images: Path | None,
    *,
    category: str | None = None,
    pairs: str | None = None,
    limit: int = LARGEST_ANNOTATIONS,
) -> Annotations:
    """Read an annotation file.

    Args:
        path: The file.
        images: Folder of its photographs.
        category: Name of the category; needed where several have joints.
        pairs: `right:left` joints, comma-separated, where their names do not say it.
        limit: Bytes of the file, unpacked.

    Raises:
        ConvertError: If the file is none such, or contradicts itself; the message names the key or the annotation.
    """
    content = read_object(path, limit, error=ConvertError)
    for key in ("images", "categories", "annotations"):
        if not isinstance(content.get(key), list):
            raise ConvertError(
                f"{shortened(path)} has no list `{key}`; wanted keypoint annotations in the form of COCO"
            )
    chosen = _category(content["categories"], category, path)
    joint_set = joint_set_of(chosen, pairs, path)
    files, sizes = _files(content["images"], path)
    people, ignored = _people(content["annotations"], chosen["id"], joint_set, files, path)
    return Annotations(path, images, joint_set, int(chosen["id"]), files, sizes, people, ignored)


def _category(categories: Sequence[Any], wanted: str | None, path: Path) -> Mapping[str, Any]:
    with_joints = []
    for index, category in enumerate(categories):
        if reason := misfit(category, _CATEGORY):
            raise ConvertError(f"{shortened(path)}: of categories[{index}], {reason}")
        if category.get("keypoints"):
            if reason := misfit(category, _KEYPOINTS):
                raise ConvertError(f"{shortened(path)}: of categories[{index}], {reason}")
            with_joints.append(category)
    names = ", ".join(shortened(category["name"]) for category in with_joints) or "none"
    chosen = [category for category in with_joints if wanted in (None, category["name"])]
    if len(chosen) != 1:
        said = "" if wanted is None else f"--category {wanted}: "
        raise ConvertError(f"{said}{shortened(path)}: categories with keypoints are {names}; name one by --category")
    return dict(chosen[0])


def joint_set_of(category: Mapping[str, Any], pairs: str | None, path: Path) -> JointSet:
    """The joint set of a category: COCO's own where it is that.

    Raises:
        ConvertError: If it is none.
    """
    names = tuple(" ".join(name.replace("_", " ").split()) for name in category["keypoints"])
    if names == COCO.names and pairs is None:
        return COCO
    count = len(names)
    if count > LARGEST_SET:
        raise ConvertError(f"{shortened(path)}: category {category['name']} has {count} joints, above {LARGEST_SET}")
    bones = []
    for bone in category.get("skeleton") or []:
        if len(bone) != 2 or not all(1 <= joint <= count for joint in bone) or bone[0] == bone[1]:
            raise ConvertError(f"{shortened(path)}: skeleton has {bone}; wanted two joints, from 1 to {count}")
        bones.append([bone[0] - 1, bone[1] - 1])
    found = _given_pairs(pairs, category["keypoints"], names) if pairs is not None else find_pairs(names)
    value = {
        "name": str(category["name"]),
        "names": list(names),
        "bones": bones,
        "pairs": [list(pair) for pair in found],
        "groups": [],
        "unscored": [],
        "sparse_bones": [],
        "reference": "box",
        "torso": _torso(names),
        "sigmas": None,
    }
    if reason := fault(value):
        raise ConvertError(f"{shortened(path)}: of the joints of category {category['name']}, {reason}")
    return JointSet.read(value, path)


def _sided(name: str) -> tuple[str | None, str]:
    """A joint's side and the rest of its name: `LAnkle`, `left ankle` and `ankle_l` are the left ankle."""
    words = re.sub(r"^([RL])(?=[A-Z])", r"\1 ", name)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", words).replace("_", " ").replace("-", " ").lower()
    parts = words.split()
    sides = [word for word in parts if word in _SIDES]
    if len(sides) != 1:
        return None, " ".join(parts)
    return _SIDES[sides[0]], " ".join(word for word in parts if word not in _SIDES)


def find_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """(right, left) joints whose names differ in their side alone."""
    sided = {_sided(name): joint for joint, name in enumerate(names)}
    return [
        (joint, sided["left", rest])
        for (side, rest), joint in sided.items()
        if side == "right" and ("left", rest) in sided
    ]


def _given_pairs(pairs: str, keypoints: Sequence[str], names: Sequence[str]) -> list[tuple[int, int]]:
    numbers = {name: joint for part in (keypoints, names) for joint, name in enumerate(part)}
    found = []
    for pair in filter(None, (part.strip() for part in pairs.split(","))):
        right, colon, left = (part.strip() for part in pair.partition(":"))
        if not colon or right not in numbers or left not in numbers:
            raise ConvertError(
                f"--pairs {shortened(pair)}: wanted RIGHT:LEFT,RIGHT:LEFT of the joints {', '.join(keypoints[:40])}"
            )
        found.append((numbers[right], numbers[left]))
    return found


def _torso(names: Sequence[str]) -> list[int] | None:
    """Left shoulder and right hip, whose distance is a torso's length."""
    sided = {_sided(name): joint for joint, name in enumerate(names)}
    ends = [sided.get(("left", "shoulder")), sided.get(("right", "hip"))]
    return None if None in ends else [end for end in ends if end is not None]


def _files(images: Sequence[Any], path: Path) -> tuple[dict[int, str], dict[int, tuple[int, int]]]:
    files: dict[int, str] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for index, image in enumerate(images):
        if reason := misfit(image, _IMAGE):
            raise ConvertError(f"{shortened(path)}: of images[{index}], {reason}")
        number, name = image["id"], image["file_name"]
        if number in files:
            raise ConvertError(f"{shortened(path)}: two images have the id {number}")
        _check_name(name, path)
        files[number] = name
        if image.get("width") and image.get("height"):
            sizes[number] = (image["width"], image["height"])
    if len(set(files.values())) < len(files):
        names = list(files.values())
        twice = next(name for name in names if names.count(name) > 1)
        raise ConvertError(f"{shortened(path)}: two images have the file_name {shortened(repr(twice))}")
    return files, sizes


def _check_name(name: str, path: Path) -> None:
    parts = PurePosixPath(name).parts
    try:
        fits = all(0 < len(part.encode()) <= LONGEST_NAME for part in parts)
    except UnicodeEncodeError:
        fits = False
    if not (parts and fits) or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
        raise ConvertError(
            f"{shortened(path)}: file_name {shortened(repr(name))}; wanted a file below the folder of --images"
        )


def _people(
    annotations: Sequence[Any], category: int, joint_set: JointSet, files: Mapping[int, str], path: Path
) -> tuple[People, dict[str, list[Any]]]:
    """Persons with a labelled joint, in the order of their images, and columns of those that are ignored."""
    order = {number: place for place, number in enumerate(files)}
    rows: list[tuple[int, Mapping[str, Any], Float64[np.ndarray, "j 3"]]] = []
    ignored: dict[str, list[Any]] = {"image_id": [], "bbox": [], "area": [], "iscrowd": []}
    numbers = set()
    for index, annotation in enumerate(annotations):
        if reason := misfit(annotation, _ANNOTATION):
            raise ConvertError(f"{shortened(path)}: of annotations[{index}], {reason}")
        if annotation["category_id"] != category:
            continue
        number = annotation["id"]
        place = f"{shortened(path)}: annotation {number}"
        if number in numbers:
            raise ConvertError(f"{place} is there twice")
        numbers.add(number)
        if annotation["image_id"] not in files:
            raise ConvertError(f"{place} is of image {annotation['image_id']}, which `images` has not")
        points = _keypoints(annotation, len(joint_set), place)
        if annotation.get("iscrowd") or not (points[:, 2] > 0).any():
            ignored["image_id"].append(annotation["image_id"])
            ignored["bbox"].append([float(value) for value in annotation["bbox"]])
            ignored["area"].append(_area(annotation, place))
            ignored["iscrowd"].append(int(bool(annotation.get("iscrowd"))))
        else:
            rows.append((order[annotation["image_id"]], annotation, points))
    if not rows:
        raise ConvertError(f"{shortened(path)}: no annotation of category {category} has a labelled joint")
    rows.sort(key=lambda row: row[0])
    return _table(rows, joint_set, files, path), ignored


def _keypoints(annotation: Mapping[str, Any], count: int, place: str) -> Float64[np.ndarray, "j 3"]:
    """x, y and visibility of every joint; a crowd may have none."""
    if reason := misfit(annotation, _PERSON):
        raise ConvertError(f"{place}: {reason}")
    values = annotation["keypoints"]
    if len(values) != 3 * count:
        raise ConvertError(f"{place} has {len(values)} numbers in keypoints; wanted 3 for each of {count} joints")
    box = annotation["bbox"]
    if len(box) != 4 or not np.isfinite(box).all():
        raise ConvertError(f"{place} has bbox {box}; wanted 4 numbers: left, top, width, height")
    points = np.array(values, dtype=np.float64).reshape(count, 3)
    if not np.isin(points[:, 2], (0, 1, 2)).all():
        wrong = float(points[~np.isin(points[:, 2], (0, 1, 2)), 2][0])
        raise ConvertError(f"{place} has visibility {wrong:g}; wanted 0 (absent), 1 (occluded) or 2 (visible)")
    if not np.isfinite(points[points[:, 2] > 0]).all():
        raise ConvertError(f"{place} has a labelled joint that is not a finite number")
    return points


def _area(annotation: Mapping[str, Any], place: str) -> float:
    """The segment's area as the file says it; that of the box where it says none."""
    value = annotation.get("area")
    if value is None:
        return float(annotation["bbox"][2]) * float(annotation["bbox"][3])
    if not _is_real(value) or not np.isfinite(value) or value < 0:
        raise ConvertError(f"{place} has area {shortened(repr(value))}; wanted a number of square px")
    return float(value)


def _table(
    rows: Sequence[tuple[int, Mapping[str, Any], Float64[np.ndarray, "j 3"]]],
    joint_set: JointSet,
    files: Mapping[int, str],
    path: Path,
) -> People:
    boxes = np.array([annotation["bbox"] for _, annotation, _ in rows], dtype=np.float64)
    if (thin := (boxes[:, 2:] <= 0).any(axis=1)).any():
        annotation = rows[int(thin.argmax())][1]
        raise ConvertError(
            f"{shortened(path)}: annotation {annotation['id']} has bbox {annotation['bbox']}, which has no width or "
            "height"
        )
    points = np.stack([points for _, _, points in rows])
    labelled, image = points[..., 2] > 0, np.array([annotation["image_id"] for _, annotation, _ in rows])
    starts = np.concatenate([[True], image[1:] != image[:-1]])
    first = np.maximum.accumulate(np.where(starts, np.arange(len(rows)), 0))
    areas = [_area(annotation, f"{shortened(path)}: annotation {annotation['id']}") for _, annotation, _ in rows]
    center, box = square(boxes)
    return People(
        image=np.array([files[number] for number in image.tolist()], dtype=np.str_),
        number=np.arange(len(rows)) - first,
        group=np.cumsum(starts) - 1,
        joints=np.where(labelled[..., None], points[..., :2], np.nan),
        labelled=labelled,
        visible=points[..., 2] == 2,
        center=center,
        box=box,
        head_size=np.full(len(rows), np.nan),
        joint_set=joint_set,
        numbers={
            "bbox": boxes,
            "area": np.array(areas),
            "extent": boxes[:, 2:].max(axis=1),
            "person_size": boxes[:, 2:],
            "image_id": image.astype(np.int64),
            "annotation_id": np.array([annotation["id"] for _, annotation, _ in rows], dtype=np.int64),
        },
    )


def renamed(annotations: Annotations, names: str) -> Annotations:
    """The same annotations with other names of joints.

    Args:
        annotations: The annotations.
        names: `old:new` names, comma-separated.

    Raises:
        ConvertError: If there is no joint of an old name, or two get one name.
    """
    joint_set = annotations.joint_set
    changed = list(joint_set.names)
    for pair in filter(None, (part.strip() for part in names.split(","))):
        old, colon, new = (part.strip().replace("_", " ") for part in pair.partition(":"))
        if not colon or not new or old not in joint_set.names:
            known = ", ".join(joint_set.names[:40])
            raise ConvertError(f"--rename {shortened(pair)}: wanted OLD:NEW,OLD:NEW of {known}")
        changed[joint_set.names.index(old)] = new
    value = {**joint_set.plain(), "name": f"{joint_set.name}, renamed", "names": changed, "groups": []}
    if reason := fault(value):
        raise ConvertError(f"--rename {shortened(names)}: {reason}")
    other = JointSet.read(value, annotations.path)
    return replace(annotations, joint_set=other, people=replace(annotations.people, joint_set=other))


def mapped(annotations: Annotations, joint_set: JointSet) -> tuple[Annotations, list[str]]:
    """The same annotations in another joint set, by the joints' names, and the names that it does not have.

    Raises:
        ConvertError: If no joint has the name of one of the set's.
    """
    before, people = annotations.joint_set.names, annotations.people
    sources = [before.index(name) if name in before else None for name in joint_set.names]
    if not any(source is not None for source in sources):
        raise ConvertError(
            f"{shortened(annotations.path)}: no joint is called as one of {joint_set.name} "
            f"({', '.join(joint_set.names[:40])}); its joints are {', '.join(before[:40])}: see --rename"
        )
    shape = (len(people), len(joint_set))
    joints, labelled, visible = np.full((*shape, 2), np.nan), np.zeros(shape, bool), np.zeros(shape, bool)
    for joint, source in enumerate(sources):
        if source is not None:
            joints[:, joint], labelled[:, joint] = people.joints[:, source], people.labelled[:, source]
            visible[:, joint] = people.visible[:, source]
    other = replace(people, joints=joints, labelled=labelled, visible=visible, joint_set=joint_set)
    nobody = ~np.any(labelled, axis=1)
    ignored = {key: list(values) for key, values in annotations.ignored.items()}
    for row in np.flatnonzero(nobody).tolist():  # nothing of them is labelled any more
        ignored["image_id"].append(int(people.numbers["image_id"][row]))
        ignored["bbox"].append(people.numbers["bbox"][row].tolist())
        ignored["area"].append(float(people.numbers["area"][row]))
        ignored["iscrowd"].append(0)
    lost = [name for name in before if name not in joint_set.names]
    kept = replace(annotations, joint_set=joint_set, people=other.take(~nobody), ignored=ignored)
    return kept, lost


def _wanted_set(like: str) -> JointSet:
    """The joint set of a name, or of a store's path.

    Raises:
        ConvertError: If there is none.
    """
    if like in JOINT_SETS:
        return JOINT_SETS[like]
    if not Path(like).is_file():
        raise ConvertError(f"--like {shortened(like)}: wanted a store, or one of {', '.join(JOINT_SETS)}")
    with Store(Path(like)) as store:
        return JointSet.read(store.attrs.get("joint_set"), store.path)


def square(boxes: Float64[np.ndarray, "n 4"]) -> tuple[Float64[np.ndarray, "n 2"], Float64[np.ndarray, " n"]]:
    """Centre and side of the square that the network is shown, image px, of boxes (left, top, width, height).

    COCO's boxes begin at the edge of the first pixel, joints are counted from its centre.
    """
    return boxes[:, :2] + boxes[:, 2:] / 2 - 0.5, BOX_SCALE * boxes[:, 2:].max(axis=1)


def read_detections(path: Path, category: int, *, limit: int = LARGEST_ANNOTATIONS) -> dict[int, np.ndarray]:
    """Boxes (left, top, width, height) of the people that a detector has found, by image, surest first.

    Raises:
        ConvertError: If the file is no list of detections.
    """
    from pose_lightning.reading.records import read_json  # noqa: PLC0415 - used by this option alone

    content = read_json(path, limit, error=ConvertError)
    if not isinstance(content, list):
        raise ConvertError(f"{shortened(path)}: wanted a list of detections (image_id, category_id, bbox, score)")
    found: dict[int, list[tuple[float, list[float]]]] = {}
    for index, detection in enumerate(content):
        reason = misfit(detection, _DETECTION)
        if reason or len(detection["bbox"]) != 4 or not np.isfinite([*detection["bbox"], detection["score"]]).all():
            raise ConvertError(f"{shortened(path)}: of detection {index}, {reason or '/bbox or /score is no number'}")
        if detection["category_id"] == category:
            found.setdefault(detection["image_id"], []).append((-float(detection["score"]), detection["bbox"]))
    return {
        image: np.array([box for _, box in sorted(boxes, key=lambda each: each[0])], dtype=np.float64)
        for image, boxes in found.items()
    }


def with_detections(people: People, detections: Mapping[int, np.ndarray]) -> tuple[People, int]:
    """The persons with the boxes of the detections that overlap theirs, and how many have none and keep their own.

    The surest detection takes the person whom it overlaps most, from an intersection over union of 0.5 on.
    """
    boxes, image = people.numbers["bbox"], people.numbers["image_id"]
    taken = np.full(len(people), False)
    shown = boxes.copy()
    for number, found in detections.items():
        rows = np.flatnonzero(image == number)
        for box in found:
            free = rows[~taken[rows]]
            if not len(free):
                break
            overlaps = _overlaps(boxes[free], box)
            if overlaps.max() >= OVERLAP:
                row = free[overlaps.argmax()]
                taken[row], shown[row] = True, box
    center, box = square(shown)
    numbers = {**people.numbers, "person_size": shown[:, 2:]}
    return replace(people, center=center, box=box, numbers=numbers), int((~taken).sum())


def _overlaps(boxes: Float64[np.ndarray, "n 4"], box: Float64[np.ndarray, "4"]) -> Float64[np.ndarray, " n"]:
    """Intersection over union."""
    low = np.maximum(boxes[:, :2], box[:2])
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], box[:2] + box[2:])
    inside = np.clip(high - low, 0, None).prod(axis=1)
    return inside / (boxes[:, 2:].prod(axis=1) + max(float(box[2:].prod()), 0.0) - inside)


@dataclass(frozen=True)
class _AsAnnotated:
    """Reads pictures as their annotations mean them.

    Attributes:
        folder: Of the pictures.
        sizes: File name -> width and height.
    """

    folder: Path
    sizes: Mapping[str, tuple[int, int]]

    def __call__(self, path: Path) -> Image:
        """RGB; turned by its EXIF orientation where only then its size is that of the annotation.

        Raises:
            ValueError: If it cannot be decoded, or has another size either way.
        """
        stored, upright = read_either_way(path)
        size = self.sizes.get(path.relative_to(self.folder).as_posix(), stored.shape[1::-1])
        for pixels in (stored, upright):
            if pixels.shape[1::-1] == size:
                return pixels
        raise ValueError(f"{stored.shape[1]} x {stored.shape[0]} px, and its annotation says {size[0]} x {size[1]}")


def convert(
    parts: Mapping[str, Annotations],
    target: Path,
    pixels: Pixels,
    *,
    validation: float = VALIDATION,
    seed: int = 0,
    detections: Path | None = None,
    synthetic: bool = False,
) -> tuple[dict[Path, dict[str, int] | None], list[str]]:
    """Write the stores; return their counts, and notes on what was decided.

    Args:
        parts: By split; `train` alone gives `val` a share of its photographs, any other one alone is written alone.
        target: Folder of the stores.
        pixels: How persons are cut and stored.
        validation: Share of the persons to hold out of `train` where there is no `val`.
        seed: Of that choice.
        detections: Boxes to show the network in place of the labelled ones.
        synthetic: Whether the pictures are drawn or rendered, and no photographs.

    Raises:
        ConvertError: If the files are of different joints, or photographs are missing and `pixels.skip_missing` is
            false.
    """
    first = next(iter(parts.values()))
    for part in parts.values():
        if (difference := first.joint_set.differences(part.joint_set)) is not None:
            raise ConvertError(f"{shortened(part.path)} has other joints than {shortened(first.path)}: {difference}")
    with owning(target):
        return _convert(
            parts, target, pixels, validation=validation, seed=seed, detections=detections, synthetic=synthetic
        )


def _convert(
    parts: Mapping[str, Annotations],
    target: Path,
    pixels: Pixels,
    *,
    validation: float,
    seed: int,
    detections: Path | None,
    synthetic: bool,
) -> tuple[dict[Path, dict[str, int] | None], list[str]]:
    notes = [f"joints: {', '.join(next(iter(parts.values())).joint_set.names)}"]
    rule = "as the annotation files divide them"
    box_source = "labelled box"
    divided: dict[str, tuple[Annotations, People]] = {split: (part, part.people) for split, part in parts.items()}
    if set(parts) == {"train"}:
        part = parts["train"]
        groups, alike = _groups(part, pixels)
        held = held_out(groups, {"val": validation}, seed)["val"]
        people = replace(part.people, group=groups)
        divided = {"train": (part, people.take(~held)), "val": (part, people.take(held))}
        rule = (
            f"{validation:g} of the persons by whole photographs, by xxh3-64 of (seed {seed}, photograph){alike}; "
            "the annotation file divides nothing"
        )
    if detections is not None:
        boxes = read_detections(detections, next(iter(parts.values())).category)
        for split, (part, people) in divided.items():
            shown_people, without = with_detections(people, boxes)
            divided[split] = (part, shown_people)
            notes.append(f"{split}: {without} of {len(people)} persons have no detection and are shown by their label")
        box_source = f"detections of {detections.name} that overlap the labelled box by {OVERLAP:g}, or else that box"
    results: dict[Path, dict[str, int] | None] = {}
    stores = {split: target / f"{split}.h5" for split in divided}
    names = [path.name for store in stores.values() for path in (store, report_path(store))]
    with staged(target, names) as unfinished:
        for split, (part, people) in divided.items():
            attrs = {
                "kind": "pose",
                "dataset": part.joint_set.name if part.joint_set is COCO else part.path.stem,
                "joint_set": part.joint_set.plain(),
                "origin": 0,
                "units": "px",
                "source_origin": "0; boxes from the first pixel's edge",
                "visible_source": "annotation: 2 = visible, 1 = occluded",
                "scale_convention": SCALE_CONVENTION,
                "box_source": box_source,
                "synthetic": synthetic,
                "sources": hash_files([part.path, *([detections] if detections else [])]),
                "category_id": part.category,
                "crop_size": pixels.crop,
                "box_in_crop": pixels.box_in_crop,
                "split": split,
                "split_rule": rule,
                **_ignored(part, people, split, whole=len(people) == len(part.people)),
            }
            shown = pixels
            if part.images is not None:
                read_as = _AsAnnotated(part.images, {part.files[key]: size for key, size in part.sizes.items()})
                shown = replace(pixels, images=part.images, read=read_as)
            results[stores[split]] = write_split(stores[split], people, shown, attrs, unfinished=unfinished)
    crowds = sum(sum(part.ignored["iscrowd"]) for part in parts.values())
    empty = sum(len(part.ignored["iscrowd"]) for part in parts.values()) - crowds
    notes += [
        f"not trained on: {crowds} crowds and {empty} persons without a labelled joint",
        f"the box that the network is shown: {box_source}; {SCALE_CONVENTION}; inputs that are not square show "
        "it in their own proportion, with the same margin",
        "pictures are turned by their EXIF orientation where the annotation file has the turned picture's size",
        f"split: {rule}",
    ]
    return results, notes


def _groups(part: Annotations, pixels: Pixels) -> tuple[np.ndarray, str]:
    """For every person, the number of its photograph's group; and what the rule says of it."""
    group = part.people.group
    if part.images is None:
        return group, ""
    names = [str(part.people.image[row]) for row in np.unique(group, return_index=True)[1]]
    prints = look_all(part.images, names)
    hashes = np.array([0 if photo.trouble else photo.dhash for photo in prints], dtype=np.uint64)
    leaders = np.arange(len(names))
    readable = np.array([photo.trouble is None for photo in prints])
    leaders[readable] = np.flatnonzero(readable)[group_alike(hashes[readable])]
    return leaders[group], f"; photographs that differ in at most {ALIKE} of the 64 bits of a dHash are on one side"


def _ignored(part: Annotations, people: People, split: str, *, whole: bool) -> dict[str, Any]:
    """What OKS AP must know beside the persons: who is ignored, and which photographs there are.

    Where a share of the photographs is held out, those with nobody in them stay with the training split.
    """
    own = set(people.numbers["image_id"].tolist())
    chosen = [row for row, image in enumerate(part.ignored["image_id"]) if whole or image in own]
    counts = {
        "crowds": sum(part.ignored["iscrowd"][row] for row in chosen),
        "unlabelled_persons": sum(1 - part.ignored["iscrowd"][row] for row in chosen),
    }
    if split not in KEEPS_IGNORED:
        return {"counts": counts}
    columns = {key: [values[row] for row in chosen] for key, values in part.ignored.items()}
    return {"counts": counts, "ignored": columns, "image_ids": sorted(part.files) if whole else sorted(own)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert coco`."""
    parser.add_argument("--annotations", type=Path, required=True, metavar="JSON", help="keypoints in COCO's form")
    parser.add_argument("--images", type=Path, metavar="DIR", help="their photographs; without, labels only")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="gets train.h5 and val.h5")
    parser.add_argument("--validation-annotations", type=Path, metavar="JSON", help="of the validation split")
    parser.add_argument("--validation-images", type=Path, metavar="DIR", help="its photographs (--images)")
    parser.add_argument("--split", choices=SPLITS, help="all annotations are of this split, whose store alone is made")
    parser.add_argument(
        "--validation", type=float, metavar="SHARE", help=f"of the persons, where nothing divides them ({VALIDATION})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of that choice (0)")
    parser.add_argument("--category", metavar="NAME", help="where several categories have keypoints")
    parser.add_argument("--pairs", metavar="RIGHT:LEFT,...", help="where the joints' names do not tell left and right")
    parser.add_argument("--rename", metavar="OLD:NEW,...", help="names of joints to change, before --like")
    parser.add_argument("--like", metavar="STORE", help="take the joints of this store, or of mpii or coco, by name")
    parser.add_argument("--synthetic", action="store_true", help="the pictures are drawn or rendered, no photographs")
    parser.add_argument("--detections", type=Path, metavar="JSON", help="show people by a detector's boxes")
    parser.add_argument(
        "--largest-json",
        type=int,
        default=LARGEST_ANNOTATIONS // MIB,
        metavar="MIB",
        help=f"read annotation files up to so many MiB ({LARGEST_ANNOTATIONS // MIB})",
    )
    add_pixel_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Convert annotations in COCO's form and print what was written."""
    if args.validation is not None and (args.validation_annotations or args.split):
        raise ConvertError("--validation is for annotations that nothing divides; leave it out")
    if args.validation_annotations and args.split:
        raise ConvertError("--split and --validation-annotations exclude each other")
    if args.validation is not None and not 0 < args.validation < 1:
        raise ConvertError(f"--validation {args.validation}: wanted a share above 0 and below 1")
    common: dict[str, Any] = {
        "category": args.category,
        "pairs": args.pairs,
        "limit": args.largest_json * MIB,
    }
    for folder in (args.images, args.validation_images):
        if folder is not None and not folder.is_dir():
            raise ConvertError(f"{shortened(folder)}: no such folder")
    parts = {args.split or "train": read(args.annotations, args.images, **common)}
    if args.validation_annotations:
        folder = args.validation_images or args.images
        parts["val"] = read(args.validation_annotations, folder, **common)
    mapping: list[str] = []
    for split, part in parts.items():
        changed = part if args.rename is None else renamed(part, args.rename)
        if args.like is not None:
            changed, lost = mapped(changed, _wanted_set(args.like))
            mapping.append(f"{split}: joints of {changed.joint_set.name}; left out: {', '.join(lost) or 'none'}")
        parts[split] = changed
    results, notes = convert(
        parts,
        args.target,
        pixels_from(args, args.images),
        validation=VALIDATION if args.validation is None else args.validation,
        seed=args.seed,
        detections=args.detections,
        synthetic=args.synthetic,
    )
    print_summary(results, [*mapping, *notes], turned=None)
