"""Annotated persons of any source in one form, and small helpers that all converters share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePath
from typing import Any, Final

import numpy as np
import xxhash
from jaxtyping import Bool, Float64, Int64

from pose_lightning.convert import ConvertError
from pose_lightning.joints import DEFAULT, JointSet
from pose_lightning.reading.matlab import load_mat
from pose_lightning.reading.raw import open_regular, shortened

READ_SIZE: Final = 1 << 20
LONGEST_NAME: Final = 255
"""Bytes of a file's name, on all common file systems."""


@dataclass(frozen=True)
class People:
    """Persons, one row each.

    Attributes:
        image: File names of the photographs.
        number: Which of its image's persons this is, from 0.
        group: The same number = the same photograph, or photographs too alike to count as independent.
        joints: Image px, 0-based, NaN where unlabelled.
        labelled: Whether a joint was annotated, occluded or not.
        visible: Labelled and not occluded.
        center: Centre of the person box, image px, 0-based.
        box: Side of the square person box, px.
        head_size: What PCKh divides by, px; NaN where unknown.
        tags: Further labels of the store, text.
        joint_set: Of the joints.
        numbers: Further labels of the store; `extent` is what PCK divides by where boxes are labelled, px.
    """

    image: np.ndarray
    number: Int64[np.ndarray, " n"]
    group: Int64[np.ndarray, " n"]
    joints: Float64[np.ndarray, "n j 2"]
    labelled: Bool[np.ndarray, "n j"]
    visible: Bool[np.ndarray, "n j"]
    center: Float64[np.ndarray, "n 2"]
    box: Float64[np.ndarray, " n"]
    head_size: Float64[np.ndarray, " n"]
    tags: Mapping[str, np.ndarray] = field(default_factory=dict)
    joint_set: JointSet = DEFAULT
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image)

    def take(self, rows: np.ndarray | list[int]) -> "People":
        """The named rows (indices or truth values), in that order."""
        rows = np.asarray(rows, dtype=None if len(rows) else np.int64)
        columns: dict[str, Any] = {
            part.name: getattr(self, part.name)[rows]
            for part in fields(self)
            if part.name not in ("tags", "joint_set", "numbers")
        }
        tags, numbers = ({key: values[rows] for key, values in labels.items()} for labels in (self.tags, self.numbers))
        return People(**columns, tags=tags, joint_set=self.joint_set, numbers=numbers)

    def name(self, row: int) -> str:
        """The sample's name: image and person."""
        return f"{self.image[row]}#{self.number[row]}"

    def labels(self, row: int) -> dict[str, Any]:
        """One row of the pose store's labels, but for `crop`."""
        return {
            "name": self.name(row),
            "image": str(self.image[row]),
            **{key: str(values[row]) for key, values in self.tags.items()},
            **{key: values[row] for key, values in self.numbers.items()},
            "group": self.group[row],
            "joints": self.joints[row],
            "labelled": self.labelled[row],
            "visible": self.visible[row],
            "center": self.center[row],
            "box": self.box[row],
            **({"head_size": self.head_size[row]} if self.joint_set.reference == "head" else {}),
        }

    def counts(self) -> dict[str, int]:
        """What a store says of itself."""
        counts = {
            "persons": len(self),
            "images": len(np.unique(self.image)),
            "labelled_joints": int(self.labelled.sum()),
            "visible_joints": int(self.visible.sum()),
        }
        if self.joint_set.reference == "head":
            counts["without_head_size"] = int(np.isnan(self.head_size).sum())
        return counts


def check_names(people: People, source: object) -> None:
    """Refuse persons that cannot be told apart.

    Raises:
        ConvertError: If two persons have one name, or an image's name is a path.
    """
    for image in people.image.tolist():
        check_image_name(image, source)
    names = [people.name(row) for row in range(len(people))]
    values, counts = np.unique(names, return_counts=True)
    if (counts > 1).any():
        raise ConvertError(f"{source}: person {values[counts > 1][0]} is there {counts.max()} times")


def check_people(people: People, source: object) -> None:
    """Refuse persons that cannot be told apart, or whose numbers no source of theirs can have.

    Raises:
        ConvertError: As `check_names`; or if a box or a labelled joint is not a finite number of pixels.
    """
    check_names(people, source)
    sane = np.isfinite(people.box) & (people.box > 0) & np.isfinite(people.center).all(axis=1)
    if not sane.all():
        row = int(np.argmin(sane))
        raise ConvertError(
            f"{source}: person {people.name(row)} has box {people.box[row]} px at {people.center[row].tolist()}"
        )
    wrong = (people.labelled != np.isfinite(people.joints).all(axis=2)).any(axis=1)
    if wrong.any():
        raise ConvertError(
            f"{source}: person {people.name(int(wrong.argmax()))} has a labelled joint that is not a finite number"
        )


def check_image_name(image: str, source: object) -> None:
    """Refuse what can be no file's name.

    Raises:
        ConvertError: If so.
    """
    try:
        possible = PurePath(image).name == image and "\0" not in image and len(image.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ConvertError(
            f"{source}: image {shortened(repr(image))}: wanted a file's name without folders, of 1 to {LONGEST_NAME} "
            "bytes"
        )


def by_first_appearance(values: np.ndarray) -> Int64[np.ndarray, " n"]:
    """Number equal values from 0, in the order in which they first appear."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def empty_joints(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Joints (n, 16, 2) of MPII, all NaN, and a mask (n, 16), all false."""
    return np.full((count, len(DEFAULT), 2), np.nan), np.zeros((count, len(DEFAULT)), dtype=bool)


def hash_files(paths: Iterable[Path]) -> dict[str, str]:
    """File name -> xxh3-64 of its bytes, in hexadecimal."""
    digests = {}
    for path in paths:
        digest = xxhash.xxh3_64()
        with open_regular(path, error=ConvertError) as file:
            while block := file.read(READ_SIZE):
                digest.update(block)
        name = path.name if path.name not in digests else str(path)
        digests[name] = digest.hexdigest()
    return digests


def read_mat(path: Path, *keys: str) -> dict[str, Any]:
    """Variables of a MATLAB file (up to v7); structs as objects with attributes, unit dimensions squeezed.

    Raises:
        ConvertError: If it is missing, no such file, damaged, or lacks the first of `keys`.
    """
    content = load_mat(path, *keys, error=ConvertError)
    if keys[0] not in content:
        raise ConvertError(f"{shortened(path)} has no variable {keys[0]!r}")
    return content
