"""Activity labels of MPII: the official .mat, or activities.csv, each read into `Pictures`."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from pose_lightning.convert import ConvertError
from pose_lightning.convert.activities import NO_VIDEO, UNKNOWN, Pictures
from pose_lightning.convert.matlab import items_of, number_of, text_of
from pose_lightning.convert.mpii_sources import detect_form
from pose_lightning.convert.people import check_image_name, read_mat
from pose_lightning.reading.records import read_csv

NONE: Final = ("", "[]")
"""What the csv and MATLAB write for no label."""
COLUMNS: Final = ("NAME", "Activity", "Category")
INVALID_ID: Final = -1


@dataclass
class _Rows:
    """Pictures as a file has them, column by column."""

    name: list[str] = field(default_factory=list)
    category: list[str] = field(default_factory=list)
    activity: list[str] = field(default_factory=list)
    video: list[int] = field(default_factory=list)


def read_activities(path: Path) -> Pictures:
    """The labelled pictures of activities.csv or of the official .mat, whichever the content says it is.

    Raises:
        ConvertError: If it is neither, or damaged, or contradicts itself.
    """
    form = detect_form(path)
    if form not in ("activities", "matlab"):
        raise ConvertError(f"--activities {path}: wanted the official .mat or activities.csv, not {form} annotations")
    rows, left_out = _read_csv(path) if form == "activities" else _read_matlab(path)
    return _pictures(rows, left_out, path)


def read_videos(path: Path) -> dict[str, int]:
    """Picture -> number of its video, from the official .mat; pictures without one are not there."""
    release = read_mat(path, "RELEASE")["RELEASE"]
    videos = {}
    for image in items_of(getattr(release, "annolist", None)):
        name, video = _name(image), number_of(getattr(image, "vididx", None))
        if name and video is not None:
            videos[name] = int(video)
    return videos


def _name(image: Any) -> str:
    return text_of(getattr(getattr(image, "image", None), "name", None))


def _read_csv(path: Path) -> tuple[_Rows, dict[str, int]]:
    rows = _Rows()
    for number, row in enumerate(read_csv(path, *COLUMNS, error=ConvertError), 2):
        name, activity, category = (row[key] for key in COLUMNS)
        if not name:
            raise ConvertError(f"{path}: row {number} has no NAME")
        _add(rows, name, category, activity, NO_VIDEO)
    return rows, {}


def _read_matlab(path: Path) -> tuple[_Rows, dict[str, int]]:
    release = read_mat(path, "RELEASE")["RELEASE"]
    images, acts = (items_of(getattr(release, key, None)) for key in ("annolist", "act"))
    if not images or len(acts) != len(images):
        raise ConvertError(f"{path}: RELEASE.annolist has {len(images)} images, RELEASE.act {len(acts)}")
    rows, invalid = _Rows(), 0
    for index, (image, act) in enumerate(zip(images, acts, strict=True)):
        if not _name(image):
            raise ConvertError(f"{path}: RELEASE.annolist({index + 1}).image.name is empty")
        activity, category = (text_of(getattr(act, key, None)) for key in ("act_name", "cat_name"))
        video = number_of(getattr(image, "vididx", None))
        if number_of(getattr(act, "act_id", None)) == INVALID_ID and not {activity, category} <= set(NONE):
            invalid += 1
            continue
        _add(rows, _name(image), category, activity, NO_VIDEO if video is None else int(video))
    return rows, {"invalid_activity": invalid} if invalid else {}


def _add(rows: _Rows, name: str, category: str, activity: str, video: int) -> None:
    rows.name.append(name)
    for column, text in ((rows.category, category), (rows.activity, activity)):
        column.append(UNKNOWN if text.strip() in NONE else text.strip())
    rows.video.append(video)


def _pictures(rows: _Rows, left_out: dict[str, int], path: Path) -> Pictures:
    """The rows that have a label.

    Raises:
        ConvertError: If there is none, or one is no file's name.
    """
    for name in rows.name:
        check_image_name(name, path)
    pictures = Pictures(
        np.array(rows.name, dtype=np.str_),
        np.array(rows.category, dtype=np.str_),
        np.array(rows.activity, dtype=np.str_),
        np.array(rows.video, dtype=np.int64),
        left_out,
    )
    pictures = pictures.without("without_label", (pictures.category == UNKNOWN) & (pictures.activity == UNKNOWN))
    pictures = pictures.without("contradicting_rows", np.isin(pictures.name, _contradicted(pictures)))
    first = np.zeros(len(pictures), dtype=np.bool_)
    first[np.unique(pictures.name, return_index=True)[1]] = True
    pictures = pictures.without("repeated", ~first)
    if not len(pictures):
        raise ConvertError(f"{path}: not one picture with a category or an activity")
    return pictures


def _contradicted(pictures: Pictures) -> list[str]:
    """Pictures whose rows disagree about their labels."""
    labels = {*zip(*(column.tolist() for column in (pictures.name, pictures.category, pictures.activity)), strict=True)}
    counts = Counter(name for name, _, _ in labels)
    return [name for name, count in counts.items() if count > 1]
