"""Any folder of pictures with one folder per class -> stores TARGET/activity/{train,val,test}.h5.

A picture's class is the first folder below --source. Formats are found out from the content, whatever a file is called:
JPEG, PNG, GIF and WebP (the first frame), BMP, TIFF, PPM, AVIF; with palettes, transparency (over white), 16-bit grey,
CMYK and EXIF orientation.

Listed in TARGET/activity/left_out.csv and left out:

- files that are no picture, or damaged, or smaller than 16 px;
- of pictures of one class that are the same, exactly or nearly, all but the first by name;
- pictures that are the same in several classes: all of them, as their class is in doubt.

Linked folders inside a class folder are not followed: they are an error, unless --skip-missing lists them instead.

Pictures that are alike without being the same never come into different splits.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from pose_lightning.convert import ConvertError
from pose_lightning.convert.activities import (
    FOLDER,
    NO_VIDEO,
    UNKNOWN,
    Pictures,
    Trouble,
    encoder,
    find_tags,
    report,
    report_path,
    survey,
    write,
)
from pose_lightning.convert.crops import print_summary
from pose_lightning.convert.groups import ALIKE, SAME, Fingerprints, alike, near_pairs
from pose_lightning.convert.people import by_first_appearance
from pose_lightning.convert.pictures import RULE, check_shorter_side, read_picture
from pose_lightning.convert.splits import Division, Shares, absent_classes, divide
from pose_lightning.convert.staging import owning
from pose_lightning.terminal import say

SPLIT_WORDS: Final = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
GROUPS: Final = f"whole groups of pictures that are alike ({ALIKE}; and so on from picture to picture)"
HIDDEN: Final = (".", "__MACOSX")
LISTED: Final = 10
VALIDATION: Final = 0.1
TEST: Final = 0.2
BAD_NAME: Final = "unreadable: its name is no valid Unicode"
EXACT: Final = "duplicate"
LINKED: Final = "linked folder"
BROKEN: Final = "link to nothing"
UNLISTED: Final = "folder that cannot be listed"
NEAR: Final = "near duplicate"
IN_DOUBT: Final = "the same picture in another class"
SHORTER_SIDE: Final = 320


@dataclass(frozen=True)
class ImagesPlan:
    """What is going to be stored; nothing is written yet."""

    pictures: Pictures
    division: Division
    notes: list[str]
    troubles: list[Trouble]


def find(source: Path) -> Pictures:
    """Every file of every class folder, by name.

    Raises:
        ConvertError: If there are no class folders.
    """
    if not source.is_dir():
        raise ConvertError(f"--source {source}: no such folder")
    folders = sorted(path.name for path in source.iterdir() if path.is_dir() and not path.name.startswith(HIDDEN))
    if len(folders) < 2:
        found = f"only {folders[0]}" if folders else "none"
        raise ConvertError(f"--source {source}: wanted a folder for each of at least two classes; there is {found}")
    if {folder.lower() for folder in folders} <= SPLIT_WORDS:
        raise ConvertError(
            f"--source {source}: {', '.join(folders)} are splits, not classes; give one of them, or put their class "
            "folders together: the stores are divided anew"
        )
    names = [name for folder in folders for name in sorted(_files(source, folder, []))]
    if not names:
        raise ConvertError(f"--source {source}: not one file in {', '.join(folders)}")
    text = np.array(names, dtype=np.str_)
    category = np.array([name.split("/")[0] for name in names], dtype=np.str_)
    return Pictures(text, category, np.full_like(text, UNKNOWN), np.full(len(text), NO_VIDEO))


def _files(source: Path, folder: str, unread: list[Trouble]) -> list[str]:
    """Files below a class folder, at any depth, relative to `source`; hidden ones are not meant.

    Folders that are not looked into are added to `unread`.
    """

    def fail(error: OSError) -> None:
        unread.append(Trouble(Path(error.filename).relative_to(source).as_posix(), f"{UNLISTED}: {error.strerror}"))

    found = []
    for path, folders, names in os.walk(source / folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(HIDDEN)]
        below = Path(path).relative_to(source)
        unread += [Trouble((below / name).as_posix(), LINKED) for name in folders if (Path(path) / name).is_symlink()]
        found += [(below / name).as_posix() for name in names if not name.startswith(HIDDEN)]
    return found


def find_unread(source: Path) -> list[Trouble]:
    """Folders of classes, and below them, that `find` does not look into."""
    unread: list[Trouble] = []
    for path in sorted(source.iterdir()):
        if path.is_dir() and not path.name.startswith(HIDDEN):
            _files(source, path.name, unread)
        elif path.is_symlink() and not path.exists():
            unread.append(Trouble(path.name, BROKEN))
    return unread


def plan(source: Path, target: Path, shares: Shares, *, skip_missing: bool = False) -> ImagesPlan:
    """Look at every picture, find those that are the same, list what is left out, and divide the others.

    Raises:
        ConvertError: If there are no class folders, fewer than two classes are left, or a split would be empty; or if
            folders cannot be looked into, and `skip_missing` is false.
    """
    pictures = find(source)
    unread = find_unread(source)
    if unread and not skip_missing:
        report(report_path(target), unread)
        some = ", ".join(f"{trouble.name} ({trouble.reason})" for trouble in unread[:LISTED])
        more = ", ..." if len(unread) > LISTED else ""
        raise ConvertError(
            f"--source {source}: {len(unread)} folders are not looked into: {some}{more}. All are listed in "
            f"{report_path(target)}; put their pictures in their place, or leave them out by --skip-missing"
        )
    classes = np.unique(pictures.category).tolist()
    troubles = [Trouble(name, BAD_NAME) for name in pictures.name.tolist() if not _is_unicode(name)]
    pictures = _without(pictures, troubles, "unreadable")
    for trouble in unread:
        pictures = _without(pictures, [trouble], trouble.reason.partition(":")[0])
    prints, unreadable = survey(pictures, source, read_picture)
    pictures = _without(pictures, unreadable, "unreadable")
    twins = find_twins(pictures, prints)
    prints = prints.take(~np.isin(pictures.name, [twin.name for twin in twins]))
    for reason in (NEAR, EXACT, IN_DOUBT):
        pictures = _without(pictures, [twin for twin in twins if twin.reason == reason], reason)
    troubles += unread + unreadable + twins
    if len(left := np.unique(pictures.category).tolist()) < 2:
        if troubles:
            report(report_path(target), troubles)
        found = " and ".join(left) or "no class"
        raise ConvertError(f"--source {source}: usable pictures are in {found} only{_see(target)}")
    group = by_first_appearance(alike(prints))
    division = divide(pictures.name.tolist(), pictures.category.tolist(), group, shares, what=GROUPS)
    return ImagesPlan(pictures, division, [*_notes(pictures, division, classes), *_loose(source)], troubles)


def _loose(source: Path) -> list[str]:
    """A note on files beside the class folders."""
    names = [path.name for path in sorted(source.iterdir()) if path.is_file() and not path.name.startswith(HIDDEN)]
    if not names:
        return []
    some = f"{', '.join(names[:LISTED])}{', ...' if len(names) > LISTED else ''}"
    return [f"left out: {len(names):,} files beside the class folders, which are of no class: {some}"]


def _see(target: Path) -> str:
    return f"; {report_path(target)} says why" if report_path(target).exists() else ""


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _without(pictures: Pictures, troubles: Sequence[Trouble], reason: str) -> Pictures:
    count = pictures.left_out.get(reason, 0)
    rest = pictures.without(reason, np.isin(pictures.name, [trouble.name for trouble in troubles]))
    return replace(rest, left_out={**rest.left_out, reason: count + len(troubles)}) if troubles else rest


def find_twins(pictures: Pictures, prints: Fingerprints) -> list[Trouble]:
    """Pictures to leave out because others are the same, in the order of their names.

    A picture that is the same as one of another class goes, and so does the other. Of the rest, a picture goes that is
    the same as one of its class that comes before it and stays.
    """
    partners: dict[int, list[int]] = {}
    for first, second in near_pairs(prints, SAME).tolist():
        partners.setdefault(first, []).append(second)
        partners.setdefault(second, []).append(first)
    troubles: dict[int, Trouble] = {}
    for row, others in sorted(partners.items()):
        strange = [other for other in sorted(others) if pictures.category[other] != pictures.category[row]]
        if strange:
            troubles[row] = Trouble(str(pictures.name[row]), IN_DOUBT, str(pictures.name[strange[0]]))
    for row, others in sorted(partners.items()):
        stays = [other for other in sorted(others) if other < row and other not in troubles]
        if row not in troubles and stays:
            equal = prints.pixels[row] == prints.pixels[stays[0]]
            troubles[row] = Trouble(str(pictures.name[row]), EXACT if equal else NEAR, str(pictures.name[stays[0]]))
    return [troubles[row] for row in sorted(troubles)]


def _notes(pictures: Pictures, division: Division, classes: Sequence[str]) -> list[str]:
    notes = [
        f"{len(pictures):,} pictures of {len(np.unique(pictures.category))} classes; {RULE}",
        f"split: {division.rule}",
        *(f"left out: {count:,} {reason}" for reason, count in pictures.left_out.items()),
    ]
    if empty := sorted(set(classes) - set(pictures.category.tolist())):
        notes.append(f"no usable picture is in {', '.join(empty)}: no class of that name")
    thin = absent_classes(pictures.category.tolist(), division)
    some = [f"{name} (none in {', '.join(places)})" for name, places in thin.items()]
    if some:
        more = f" and {len(some) - LISTED} more" if len(some) > LISTED else ""
        notes.append(f"classes too small to be everywhere: {'; '.join(some[:LISTED])}{more}")
    return notes


def convert(
    source: Path, target: Path, shares: Shares, *, shorter_side: int = SHORTER_SIDE, skip_missing: bool = False
) -> None:
    """Write TARGET/activity/{train,val,test}.h5 and print what was written.

    Raises:
        ConvertError: As `plan`.
        BusyError: If another process converts into the same folder.
    """
    check_shorter_side(shorter_side)
    if not source.is_dir():
        raise ConvertError(f"--source {source}: no such folder")
    with owning(target / FOLDER):
        _convert(source, target, shares, shorter_side=shorter_side, skip_missing=skip_missing)


def _convert(source: Path, target: Path, shares: Shares, *, shorter_side: int, skip_missing: bool) -> None:
    found = plan(source, target, shares, skip_missing=skip_missing)
    tags = find_tags(found.pictures.activity.tolist(), 1)  # folders have categories, and no activities
    attrs = {
        "dataset": source.resolve().name,
        "synthetic": False,
        "sources": {},
        "shorter_side": shorter_side,
        "pixel_rule": RULE,
    }
    encode = encoder(source, read_picture, shorter_side)
    counts = write(found.pictures, found.division, tags, target, attrs=attrs, encode=encode, troubles=found.troubles)
    print_summary(counts, found.notes)
    if report_path(target).exists():
        say(report_path(target))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert images`."""
    parser.add_argument("--source", type=Path, required=True, metavar="DIR", help="has a folder for each class")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="gets activity/train.h5 and others")
    parser.add_argument(
        "--shorter-side",
        type=int,
        default=SHORTER_SIDE,
        metavar="PX",
        help=f"of stored pictures, at most; smaller ones stay as they are ({SHORTER_SIDE})",
    )
    parser.add_argument("--test", type=float, default=TEST, metavar="SHARE", help=f"held out for test ({TEST})")
    parser.add_argument(
        "--validation",
        type=float,
        metavar="SHARE",
        help=f"held out to choose the checkpoint by ({VALIDATION}); not with --folds",
    )
    parser.add_argument("--folds", type=int, default=0, metavar="K", help="for cross-validation, in place of val.h5")
    parser.add_argument("--skip-missing", action="store_true", help="leave out and list linked and unreadable folders")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed holds out other pictures (0)")


def run(args: argparse.Namespace) -> None:
    """Convert a folder of pictures and print what was written."""
    if args.folds and args.validation is not None:
        raise ConvertError("--validation and --folds exclude each other: each fold is validation once")
    validation = VALIDATION if args.validation is None else args.validation
    shares = Shares(test=args.test, validation=validation, folds=args.folds, seed=args.seed)
    convert(args.source, args.target, shares, shorter_side=args.shorter_side, skip_missing=args.skip_missing)
