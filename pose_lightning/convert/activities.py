"""Labelled pictures -> stores TARGET/activity/{train,val,test}.h5: their table, their tags, and the writing."""

import csv
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Int64

from pose_lightning import files
from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import Image, in_threads, no_photograph
from pose_lightning.convert.groups import Fingerprints, fingerprint
from pose_lightning.convert.pictures import encoded, shrunk
from pose_lightning.convert.splits import Division
from pose_lightning.convert.staging import staged
from pose_lightning.store import ANY_SIZE, StoreWriter

FOLDER: Final = "activity"
SPLITS: Final = ("train", "val", "test")
REPORT: Final = "left_out.csv"
UNKNOWN: Final = ""
NO_VIDEO: Final = -1
LISTED: Final = 5

Reader = Callable[[Path], Image]


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures, one row each, in the order of their source.

    Attributes:
        name: Unique: the file below the folder of the pictures.
        category: What kind of activity; empty where unknown.
        activity: Which one; empty where unknown.
        video: Number of the video that the picture is a frame of; -1 where unknown.
        left_out: Reason -> number of pictures that are not among them.
    """

    name: np.ndarray
    category: np.ndarray
    activity: np.ndarray
    video: Int64[np.ndarray, " n"]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.name)

    def take(self, rows: np.ndarray) -> "Pictures":
        """The named rows (indices or truth values)."""
        columns = {column: getattr(self, column)[rows] for column in ("name", "category", "activity", "video")}
        return replace(self, **columns)

    def without(self, reason: str, rows: Bool[np.ndarray, " n"]) -> "Pictures":
        """The others, with the count of `rows` under `reason`."""
        if not rows.any():
            return self
        return replace(self.take(~rows), left_out={**self.left_out, reason: int(rows.sum())})


@dataclass(frozen=True)
class Tags:
    """Which of the tags that are kept each picture has.

    Attributes:
        names: The kept tags, sorted.
        rare: Tag -> number of its pictures, of those that are not kept.
        rule: A sentence for the user.
        held: One row for each picture.
    """

    names: list[str]
    rare: Mapping[str, int]
    rule: str
    held: Bool[np.ndarray, "n t"]


@dataclass(frozen=True)
class Trouble:
    """Why a picture is left out; `of` names the picture or class that it is in conflict with."""

    name: str
    reason: str
    of: str = ""


def find_tags(activities: Sequence[str], min_count: int) -> Tags:
    """The comma-separated phrases of the activities, of all pictures of the data set.

    Raises:
        ConvertError: If `min_count` is less than 1.
    """
    if min_count < 1:
        raise ConvertError(f"--min-count {min_count}: wanted at least 1")
    phrases = [{phrase.strip() for phrase in activity.split(",")} - {UNKNOWN} for activity in activities]
    counts = Counter(phrase for row in phrases for phrase in row)
    names = sorted(phrase for phrase, count in counts.items() if count >= min_count)
    rare = {phrase: count for phrase, count in sorted(counts.items()) if count < min_count}
    places = {phrase: place for place, phrase in enumerate(names)}
    held = np.zeros((len(phrases), len(names)), dtype=np.bool_)
    for row, found in enumerate(phrases):
        held[row, [places[phrase] for phrase in found if phrase in places]] = True
    rule = (
        "the phrases between the commas of the activity's name, without blanks around them, each once; those of fewer "
        f"than {min_count} pictures of the whole data set are left out"
    )
    return Tags(names, rare, rule, held)


def survey(pictures: Pictures, folder: Path, read: Reader) -> tuple[Fingerprints, list[Trouble]]:
    """Decode every picture once: the fingerprints of all that can be, and what is wrong with the others."""

    def look(name: str) -> tuple[int, np.ndarray, np.ndarray] | Trouble:
        if trouble := no_photograph(folder / name):
            return Trouble(name, trouble)
        try:
            return fingerprint(read(folder / name))
        except (ValueError, OSError) as error:
            return Trouble(name, f"unreadable: {error}")

    found = list(in_threads(look, pictures.name.tolist(), title="looking at pictures"))
    troubles = [result for result in found if isinstance(result, Trouble)]
    return Fingerprints.of([result for result in found if not isinstance(result, Trouble)]), troubles


def report_path(target: Path) -> Path:
    """Where pictures that were left out are listed."""
    return target / FOLDER / REPORT


def report(path: Path, troubles: Sequence[Trouble]) -> None:
    """List what is left out, one row each."""
    text = StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "reason", "of"])
    for trouble in sorted(troubles, key=_by_name):
        rows.writerow(map(files.as_cell, (trouble.name, trouble.reason, trouble.of)))
    files.write_text(path, text.getvalue())


def _by_name(trouble: Trouble) -> str:
    return trouble.name


def write(
    pictures: Pictures,
    division: Division,
    tags: Tags,
    target: Path,
    *,
    attrs: Mapping[str, Any],
    encode: Callable[[str], tuple[bytes, int, int]] | None,
    troubles: Sequence[Trouble],
) -> dict[Path, dict[str, int] | None]:
    """Write TARGET/activity/<split>.h5 for every split that has pictures; return each store's counts.

    The stores and the list of what is left out take their places together, at the end, and what an earlier conversion
    left of other splits goes.

    Args:
        pictures: What to write.
        division: The split of each.
        tags: The tags of each.
        target: Folder of the data set.
        attrs: What the stores say of where they came from.
        encode: A picture's JPEG file, height and width, by name (`encoder`); None for labels only.
        troubles: The pictures that are left out, with the reason.

    Raises:
        ConvertError: If there is no picture to train on.
    """
    if not (division.split == "train").any():
        raise ConvertError(f"{target / FOLDER}: not one picture is left to train on")
    attrs = {**_shared_attrs(pictures, division, tags), **attrs}
    results: dict[Path, dict[str, int] | None] = {}
    with _replacing(target / FOLDER) as folder:
        # The small split first: what fails, fails early.
        for split in sorted(SPLITS, key=lambda split: int((division.split == split).sum())):
            rows = np.flatnonzero(division.split == split)
            if len(rows):
                counts = _counts(pictures, division, rows)
                own = {**attrs, "split": split, "folds": division.folds if split == "train" else 0, "counts": counts}
                _write_split(folder / f"{split}.h5", pictures, division, tags, rows, attrs=own, encode=encode)
                results[target / FOLDER / f"{split}.h5"] = counts
        if troubles:
            report(folder / REPORT, troubles)
    return results


def encoder(folder: Path, read: Reader, shorter_side: int) -> Callable[[str], tuple[bytes, int, int]]:
    """What `write` stores of the pictures below `folder`."""

    def encode(name: str) -> tuple[bytes, int, int]:
        try:
            picture = shrunk(read(folder / name), shorter_side)
        except (ValueError, OSError) as error:
            raise ConvertError(f"{folder / name} changed while it was converted: {error}; convert again") from error
        return encoded(picture), *picture.shape[:2]

    return encode


def _shared_attrs(pictures: Pictures, division: Division, tags: Tags) -> dict[str, Any]:
    """What all splits' stores say alike; class numbers are positions in these lists."""
    return {
        "kind": FOLDER,
        "split_rule": division.rule,
        "categories": sorted(set(pictures.category.tolist()) - {UNKNOWN}),
        "activities": sorted(set(pictures.activity.tolist()) - {UNKNOWN}),
        "tags": tags.names,
        "tag_rule": tags.rule,
        "tags_left_out": dict(tags.rare),
        "left_out": dict(pictures.left_out),
    }


def _counts(pictures: Pictures, division: Division, rows: np.ndarray) -> dict[str, int]:
    part = pictures.take(rows)
    categories, activities = (len(set(column.tolist()) - {UNKNOWN}) for column in (part.category, part.activity))
    found = {"pictures": len(part), "categories": categories, "activities": activities}
    return {key: count for key, count in found.items() if count} | {"groups": len(np.unique(division.group[rows]))}


def _write_split(
    path: Path,
    pictures: Pictures,
    division: Division,
    tags: Tags,
    rows: np.ndarray,
    *,
    attrs: Mapping[str, Any],
    encode: Callable[[str], tuple[bytes, int, int]] | None,
) -> None:
    def payload(row: int) -> tuple[bytes | None, int, int]:
        return (None, 0, 0) if encode is None else encode(str(pictures.name[row]))

    work = rows.tolist()
    with StoreWriter(path, codec="jpeg" if encode else None, attrs=attrs, shape=ANY_SIZE if encode else None) as writer:
        for row, (data, height, width) in zip(work, in_threads(payload, work, title=path.stem), strict=True):
            labels = {
                "name": str(pictures.name[row]),
                "image": str(pictures.name[row]),
                "category": str(pictures.category[row]),
                "activity": str(pictures.activity[row]),
                "group": np.int64(division.group[row]),
                "fold": np.int32(division.fold[row]),
                "height": np.int32(height),
                "width": np.int32(width),
            }
            writer.append(data, labels | ({"tags": tags.held[row]} if tags.names else {}))


def _replacing(folder: Path) -> AbstractContextManager[Path]:
    """A folder for new stores, which take their places in `folder` when the block ends well; others than these go."""
    return staged(folder, [*(f"{split}.h5" for split in SPLITS), REPORT])
