"""The activity store of MPII: which of its pictures have a label, in which split each one is, and the writing."""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from jaxtyping import Int64

from pose_lightning.convert import ConvertError
from pose_lightning.convert.activities import (
    FOLDER,
    LISTED,
    NO_VIDEO,
    UNKNOWN,
    Pictures,
    Tags,
    Trouble,
    encoder,
    find_tags,
    report,
    report_path,
    survey,
    write,
)
from pose_lightning.convert.activity_sources import read_activities, read_videos
from pose_lightning.convert.crops import TURNED, count_turned, turned_note
from pose_lightning.convert.groups import ALIKE, Fingerprints, alike
from pose_lightning.convert.mpii_sources import detect_form
from pose_lightning.convert.people import People, by_first_appearance, hash_files
from pose_lightning.convert.pictures import check_shorter_side, read_as_stored
from pose_lightning.convert.splits import NO_FOLD, Division, Shares, absent_classes, divide
from pose_lightning.convert.staging import owning

Unit = Literal["videos", "images", "newell"]

OWN: Final = Path()
"""`--activities` without a file: the .mat among the annotations has its own."""
TEST: Final = 0.1
MOST_FREQUENT: Final = 12  # tags that are printed
VIDEOS: Final = "whole videos"
LOOSE_PICTURES: Final = "pictures without a video each by itself"
IMAGES: Final = f"whole groups of near duplicates ({ALIKE}; and so on from picture to picture)"
NEWELL: Final = "val: the images that the annotations call validation (Newell's split); train: those they call training"


@dataclass(frozen=True)
class ActivityPlan:
    """What the activity store is going to hold; nothing is written yet."""

    pictures: Pictures
    division: Division
    tags: Tags
    attrs: Mapping[str, Any]
    notes: list[str]
    troubles: list[Trouble]


@dataclass(frozen=True)
class ActivitySettings:
    """How the activity store is made.

    Attributes:
        images: Folder of the photographs; None writes labels only.
        shorter_side: Of stored pictures, px, at most.
        unit: What a split is made of; None finds out.
        shares: How much is held out.
        min_count: Pictures of the data set that a tag needs.
        skip_missing: Leave out pictures that are missing or undecodable, instead of failing.
        dataset: What the store says it is.
        synthetic: Whether the pictures are drawn.
    """

    images: Path | None
    shares: Shares
    shorter_side: int = 320
    unit: Unit | None = None
    min_count: int = 10
    skip_missing: bool = False
    dataset: str = "mpii"
    synthetic: bool = False

    def __post_init__(self) -> None:
        check_shorter_side(self.shorter_side)


def plan(
    source: Path,
    settings: ActivitySettings,
    target: Path,
    *,
    matlab: Path | None = None,
    split_images: Mapping[str, Iterable[str]] | None = None,
    files: Sequence[Path] = (),
) -> ActivityPlan:
    """Read the labels, look at the pictures and divide them.

    Args:
        source: activities.csv or the official .mat.
        settings: How the store is made.
        target: Folder of the data set; gets the list of pictures that are left out where that is an error.
        matlab: The official .mat, for the videos of a csv's pictures.
        split_images: Split -> its images, where the annotations say so.
        files: Further files that this is made from.

    Raises:
        ConvertError: If a file cannot be read, or the split cannot be made.
    """
    pictures = read_activities(source)
    if matlab is not None and (pictures.video == NO_VIDEO).all():
        videos = read_videos(matlab)
        pictures = replace(pictures, video=np.array([videos.get(name, NO_VIDEO) for name in pictures.name.tolist()]))
    unit = _unit(pictures, settings, split_images)
    if unit == "newell":
        pictures = _in_splits(pictures, split_images or {})
    prints, troubles = None, list[Trouble]()
    if settings.images is not None:
        pictures, prints, troubles = _seen(pictures, settings.images, target, skip_missing=settings.skip_missing)
    division = _divided(pictures, prints, unit, settings.shares, split_images or {})
    tags = find_tags(pictures.activity.tolist(), settings.min_count)
    notes = _notes(pictures, division, tags)
    turned = 0 if settings.images is None else count_turned(settings.images, pictures.name.tolist())
    if turned:
        notes.append(turned_note(turned))
    attrs: dict[str, Any] = {
        "dataset": settings.dataset,
        "synthetic": settings.synthetic,
        "sources": hash_files(dict.fromkeys([source, *([matlab] if matlab else []), *files])),
        "shorter_side": None if settings.images is None else settings.shorter_side,
    }
    if turned:
        attrs[TURNED] = turned
    return ActivityPlan(pictures, division, tags, attrs, notes, troubles)


def write_plan(plan: ActivityPlan, settings: ActivitySettings, target: Path) -> dict[Path, dict[str, int] | None]:
    """Write TARGET/activity/{train,val,test}.h5 and return each store's counts."""
    folder = settings.images
    encode = None if folder is None else encoder(folder, read_as_stored, settings.shorter_side)
    with owning(target / FOLDER):
        return write(
            plan.pictures, plan.division, plan.tags, target, attrs=plan.attrs, encode=encode, troubles=plan.troubles
        )


def _unit(pictures: Pictures, settings: ActivitySettings, split_images: Mapping[str, Iterable[str]] | None) -> Unit:
    """What the split is made of, as asked for or else as can be.

    Raises:
        ConvertError: If what was asked for is not known, or nothing is.
    """
    videos = bool((pictures.video != NO_VIDEO).any())
    known: dict[Unit, bool] = {
        "videos": videos,
        "images": settings.images is not None,
        "newell": split_images is not None,
    }
    wants: dict[Unit, str] = {
        "videos": "give the official .mat, which says of which video each image is, in --annotations or --activities",
        "images": "give --images DIR, so that the images can be compared",
        "newell": "give in --annotations a file that says which images are validation: either JSON, or Newell's h5",
    }
    if settings.unit is None:
        found = next((unit for unit, possible in known.items() if possible), None)
        if found is None:
            raise ConvertError(f"nothing says how to split the activities: {'; or '.join(wants.values())}")
    elif not known[settings.unit]:
        raise ConvertError(f"--activity-split {settings.unit}: {wants[settings.unit]}")
    else:
        found = settings.unit
    if found == "newell" and settings.shares.folds:
        raise ConvertError(
            f"--folds {settings.shares.folds}: the split is Newell's; {wants['videos']}; {wants['images']}"
        )
    return found


def _in_splits(pictures: Pictures, split_images: Mapping[str, Iterable[str]]) -> Pictures:
    names = [name for images in split_images.values() for name in images]
    return pictures.without("in_no_split_of_the_annotations", ~np.isin(pictures.name, names))


def _seen(
    pictures: Pictures, folder: Path, target: Path, *, skip_missing: bool
) -> tuple[Pictures, Fingerprints, list[Trouble]]:
    """The pictures that can be decoded, their fingerprints, and what is wrong with the others.

    Raises:
        ConvertError: If there are others, and `skip_missing` is false; or if none is left.
    """
    prints, troubles = survey(pictures, folder, read_as_stored)
    if troubles and not skip_missing:
        report(report_path(target), troubles)
        raise ConvertError(
            f"{folder}: {len(troubles)} of {len(pictures)} photographs are missing or undecodable: "
            f"{_some(troubles)}. All are listed in {report_path(target)}; --skip-missing leaves them out"
        )
    if len(troubles) == len(pictures):
        raise ConvertError(f"{folder}: not one of the photographs is there and readable: {_some(troubles)}")
    gone = [trouble.name for trouble in troubles]
    return pictures.without("missing_or_undecodable", np.isin(pictures.name, gone)), prints, troubles


def _some(troubles: Sequence[Trouble]) -> str:
    some = ", ".join(f"{trouble.name} ({trouble.reason})" for trouble in troubles[:LISTED])
    return f"{some}, ..." if len(troubles) > LISTED else some


def _divided(
    pictures: Pictures,
    prints: Fingerprints | None,
    unit: Unit,
    shares: Shares,
    split_images: Mapping[str, Iterable[str]],
) -> Division:
    group = _groups(pictures, None if unit == "videos" else prints, videos=unit != "images")
    if unit != "newell":
        what = IMAGES
        if unit == "videos":
            what = VIDEOS if (pictures.video != NO_VIDEO).all() else f"{VIDEOS}, {LOOSE_PICTURES}"
        return divide(pictures.name.tolist(), pictures.category.tolist(), group, shares, what=what)
    val = np.isin(pictures.name, list(split_images.get("val", ())))
    if val.all() or not val.any():
        raise ConvertError(f"--activity-split newell: {int(val.sum())} of {len(val)} labelled images are validation")
    fold = np.full(len(pictures), NO_FOLD, dtype=np.int32)
    return Division(np.where(val, "val", "train"), fold, group, 0, NEWELL)


def _groups(pictures: Pictures, prints: Fingerprints | None, *, videos: bool) -> Int64[np.ndarray, " n"]:
    """Numbers of the videos; where they are unknown or not wanted, of near duplicates or else of each picture."""
    group = np.arange(len(pictures)) if prints is None else alike(prints)
    if videos:
        known = pictures.video != NO_VIDEO
        group = np.where(known, pictures.video, group + pictures.video.max(initial=0) + 1)
    return by_first_appearance(group)


def _notes(pictures: Pictures, division: Division, tags: Tags) -> list[str]:
    held = Counter(dict(zip(tags.names, tags.held.sum(axis=0).tolist(), strict=True)))
    frequent = ", ".join(f"{tag} {count:,}" for tag, count in held.most_common(MOST_FREQUENT))
    categories, activities = (set(column.tolist()) - {UNKNOWN} for column in (pictures.category, pictures.activity))
    notes = [
        f"activities: {len(pictures):,} pictures, {len(categories)} categories, {len(activities)} activities",
        f"activity split: {division.rule}",
        *(f"left out: {count:,} {reason.replace('_', ' ')}" for reason, count in pictures.left_out.items()),
        f"tags: {tags.rule}; {len(tags.names)} are kept and {len(tags.rare)} left out",
    ]
    if frequent:
        notes.append(f"the most frequent tags, by pictures: {frequent}")
    if thin := absent_classes(pictures.category.tolist(), division):
        some = "; ".join(f"{name or 'unknown'}: none in {', '.join(places)}" for name, places in thin.items())
        notes.append(f"categories too small to be everywhere: {some}")
    return notes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the activity store to those of `convert mpii`."""
    group = parser.add_argument_group("activities")
    group.add_argument(
        "--activities", type=Path, nargs="?", const=OWN, metavar="FILE", help="activities.csv or the official .mat"
    )
    group.add_argument(
        "--activity-split",
        choices=get_args(Unit),
        metavar="RULE",
        help="videos, images (near duplicates) or newell: what a split keeps together; else the first that is known",
    )
    group.add_argument(
        "--shorter-side", type=int, metavar="PX", help=f"of whole pictures, at most ({ActivitySettings.shorter_side})"
    )
    group.add_argument("--test", type=float, metavar="SHARE", help=f"held out for test ({TEST})")
    group.add_argument("--folds", type=int, metavar="K", help="for cross-validation, in place of val.h5")
    group.add_argument(
        "--min-count", type=int, metavar="N", help=f"pictures that a tag needs ({ActivitySettings.min_count})"
    )


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse arguments that would have no effect.

    Raises:
        ConvertError: If there is one.
    """
    idle: tuple[str, ...] = ()
    needed = "--activities"
    if args.activities is None:
        idle = ("activity_split", "shorter_side", "test", "folds", "min_count")
    if args.annotations is None:
        idle, needed = ("headboxes", "split", "adjusted"), "--annotations"
    if given := [name for name in idle if getattr(args, name) is not None]:
        raise ConvertError(f"--{given[0].replace('_', '-')} has no effect without {needed}")


def settings_from(args: argparse.Namespace) -> ActivitySettings:
    """The settings that `add_arguments` asked for."""
    test = TEST if args.test is None else args.test
    given = {"shorter_side": args.shorter_side, "unit": args.activity_split, "min_count": args.min_count}
    return ActivitySettings(
        args.images,
        Shares(test=test, validation=args.validation, folds=args.folds or 0),
        skip_missing=args.skip_missing,
        **{key: value for key, value in given.items() if value is not None},
    )


def plan_from(args: argparse.Namespace, people: Mapping[str, People]) -> ActivityPlan:
    """What `add_arguments` asked for, before anything is written.

    Args:
        args: Of `convert mpii`.
        people: Split -> its persons, as the annotations have them; empty without annotations.

    Raises:
        ConvertError: As `plan`; and if no file has the activities.
    """
    forms = {path: detect_form(path) for path in args.annotations or []}
    matlab = next((path for path, form in forms.items() if form == "matlab"), None)
    source = matlab if args.activities == OWN else args.activities
    if source is None:
        raise ConvertError("--activities: name activities.csv or the official .mat; there is no .mat in --annotations")
    telling = [path for path, form in forms.items() if form not in ("matlab", "activities")]
    named = {split: part.image.tolist() for split, part in people.items()} if telling and "val" in people else None
    return plan(source, settings_from(args), args.target, matlab=matlab, split_images=named, files=telling)
