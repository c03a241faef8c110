"""MPII Human Pose (Andriluka et al., CVPR 2014) -> stores TARGET/pose/train.h5 and val.h5, and TARGET/activity/.

Annotations may be the official MATLAB file, Newell's h5 files, the JSON of bearpaw's or anibali's repositories (also
gzipped), or HRNet's JSON files; what they are is found out from their content. Give further files to be checked
against the first, or to add what it lacks:

- the official .mat takes the validation persons from Newell's valid.h5, from either JSON, or from his list of images
  (valid_images.txt); without one, whole videos are held out;
- Newell's h5 and the .mat hold head sizes; --headboxes adds those of the evaluation's gt_valid.mat;
- activities.csv and the .mat hold activities, which become labels.

Coordinates become 0-based. Centre and scale are adjusted as Newell does it (center.y += 15 * scale, scale *= 1.25),
unless the file's are adjusted already; the box is 200 px x the adjusted scale.

--activities FILE (activities.csv or the official .mat; without FILE, the .mat among the annotations) also writes whole
pictures with their category, activity and tags to TARGET/activity/{train,val,test}.h5; without --annotations only
these. A class is an activity's whole name, commas included; its tags are the phrases between the commas. Frames of one
video stay together where the .mat says which they are, else near duplicates do; or the split is Newell's, by image
name, which it is for labels only of a csv.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import xxhash

from pose_lightning.convert import ConvertError, mpii_activities
from pose_lightning.convert.activities import FOLDER as ACTIVITY_FOLDER
from pose_lightning.convert.crops import (
    Pixels,
    add_pixel_arguments,
    pixels_from,
    print_summary,
    report_path,
    write_split,
)
from pose_lightning.convert.mpii_sources import (
    Form,
    Source,
    detect_form,
    read_head_sizes,
    read_list,
    read_source,
)
from pose_lightning.convert.people import People, by_first_appearance, check_names, hash_files
from pose_lightning.convert.staging import owning, staged
from pose_lightning.joints import MPII
from pose_lightning.reading.raw import LARGEST_ANNOTATIONS, MIB
from pose_lightning.reading.records import read_csv

RANK: Final[tuple[Form, ...]] = ("matlab", "bearpaw", "hrnet", "newell")
"""Whose coordinates are taken: from the form that says most to the one that says least."""

SAME_POINT: Final = 1.5  # px; Newell's h5 has heads and necks cut to whole pixels
SAME_BOX: Final = 0.02  # of the box
SAME_HEAD: Final = 0.1  # px
SCALE_CONVENTION: Final = "box = 200 px x 1.25 x MPII scale, centred at objpos + (0, 15 x MPII scale)"
VIDEO_RULE: Final = "whole videos (frames without a video: whole images), {share:g} of them, by xxh3-64 of their number"
NAMED_ACTIVITY_NONE: Final = "[]"
FOLDER: Final = "pose"


@dataclass(frozen=True)
class Annotations:
    """Everything that the given files say together.

    Attributes:
        splits: Split -> its persons, in the order that predictions have.
        attrs: What the stores say of where it came from.
        notes: What the user should know.
    """

    splits: Mapping[str, People]
    attrs: Mapping[str, Any]
    notes: list[str]


def read_annotations(
    paths: Sequence[Path],
    *,
    headboxes: Path | None = None,
    adjusted: bool | None = None,
    split: str | None = None,
    validation: float = 0.1,
    limit: int = LARGEST_ANNOTATIONS,
) -> Annotations:
    """Read annotation files and put them together.

    Args:
        paths: Files of any form.
        headboxes: The evaluation's `gt_valid.mat`.
        adjusted: Whether centres and scales are adjusted, for files that leave it in doubt.
        split: Of files that do not say.
        validation: Share of the videos to hold out where no file says which persons are validation.
        limit: Bytes of a JSON file, unpacked.

    Raises:
        ConvertError: If a file cannot be read, or two contradict each other.
    """
    forms = {path: detect_form(path) for path in paths}
    sources = [
        read_source(path, form, split=split, adjusted=adjusted, limit=limit)
        for path, form in forms.items()
        if form in RANK
    ]
    if not sources:
        raise ConvertError(f"--annotations {', '.join(map(str, paths))}: no file has joints")
    best = min((source.form for source in sources), key=RANK.index)
    primary = _joined([source for source in sources if source.form == best])
    others = [source for source in sources if source.form != best]
    lists = [path for path, form in forms.items() if form == "list"]
    left_out = dict(primary.left_out)
    if best == "matlab":
        rows, rule = _choose(primary, others, lists, validation)
        left_out["other_persons_in_val_images"] = len(primary.people) - sum(map(len, rows.values()))
    elif lists:
        raise ConvertError(f"--annotations {lists[0]}: a list of images is of use with the official .mat only")
    else:
        names = list(dict.fromkeys(primary.split.tolist()))
        rows = {name: np.flatnonzero(primary.split == name) for name in names}
        rule = "as in the annotation files (Newell's)"
    splits = {name: primary.people.take(chosen) for name, chosen in rows.items() if len(chosen)}
    head_sizes = {primary.form} if np.isfinite(primary.people.head_size).any() else set()
    notes = []
    for other in others:
        for name in dict.fromkeys(other.split.tolist()):
            splits[name] = _compare(splits, name, other)
            if differ := int((splits[name].labelled != other.people.take(other.split == name).labelled).sum()):
                notes.append(f"{other.path.name}: {differ} joints of {name} are labelled there or here only")
            if np.isfinite(other.people.head_size).any():
                head_sizes.add(other.form)
    if headboxes is not None:
        splits["val"] = _with_headboxes(splits, headboxes)
    for path, form in forms.items():
        if form == "activities":
            splits = _with_activities(splits, path)
    attrs = _attrs(sources, primary, paths, headboxes, rule=rule, left_out=left_out, head_sizes=head_sizes)
    return Annotations(splits, attrs, [*_notes(splits, sources, rule, left_out), *notes])


def _joined(sources: list[Source]) -> Source:
    """Files of one form as one."""
    if len(sources) == 1:
        return sources[0]
    first = sources[0]
    if first.form == "matlab":
        raise ConvertError(f"--annotations: {first.path} and {sources[1].path} are both official .mat files; give one")
    people = [source.people for source in sources]
    image = np.concatenate([part.image for part in people])
    columns = ("number", "joints", "labelled", "visible", "center", "box", "head_size")
    rows: dict[str, Any] = {column: np.concatenate([getattr(part, column) for part in people]) for column in columns}
    joined = replace(people[0], image=image, group=by_first_appearance(image), **rows)
    check_names(joined, " and ".join(str(source.path) for source in sources))
    left_out = {
        key: sum(source.left_out.get(key, 0) for source in sources) for source in sources for key in source.left_out
    }
    split, video = (np.concatenate([getattr(source, key) for source in sources]) for key in ("split", "video"))
    return replace(first, people=joined, split=split, video=video, left_out=left_out)


def _choose(
    official: Source, others: list[Source], lists: list[Path], validation: float
) -> tuple[dict[str, np.ndarray], str]:
    """Rows of the official file's persons that are train and val; no image is in both."""
    people = official.people
    listing = next((other for other in others if (other.split == "val").any()), None)
    if listing is not None:
        val = _find(people, listing.people.take(listing.split == "val"), listing.path, official.path)
        rule = f"the validation persons of {listing.path.name}; train is every other usable person of other images"
    elif lists:
        names = read_list(lists[0])
        if unknown := sorted(set(names) - set(people.image.tolist())):
            raise ConvertError(f"{lists[0]}: image {unknown[0]} has no usable person in {official.path}")
        order = {name: position for position, name in enumerate(names)}
        places = np.array([order.get(image, len(names)) for image in people.image.tolist()])
        val = np.argsort(places, kind="stable")[: int((places < len(names)).sum())]
        rule = f"usable persons of the images in {lists[0].name}; train is every usable person of other images"
    else:
        units = np.where(official.video >= 0, official.video.astype(np.str_), people.image)
        val = np.flatnonzero(np.isin(units, _held_out(np.unique(units).tolist(), validation, official.path)))
        rule = VIDEO_RULE.format(share=validation)
    train = np.flatnonzero(~np.isin(people.image, people.image[val]))
    return {"train": train, "val": val}, rule


def _held_out(units: list[str], share: float, path: Path) -> list[str]:
    count = max(1, round(share * len(units)))
    if not 0 < share < 1 or count >= len(units):
        raise ConvertError(f"{path}: --validation {share} of {len(units)} videos leaves train or val empty")
    return sorted(units, key=lambda unit: xxhash.xxh3_64_intdigest(unit.encode()))[:count]


def _find(people: People, wanted: People, source: Path, path: Path) -> np.ndarray:
    """For every wanted person its row in `people`: same image, same box."""
    rows: dict[str, list[int]] = {}
    for row, image in enumerate(people.image.tolist()):
        rows.setdefault(image, []).append(row)
    found = np.empty(len(wanted), dtype=np.int64)
    for index in range(len(wanted)):
        candidates = np.array(rows.get(str(wanted.image[index]), []), dtype=np.int64)
        far = np.abs(people.center[candidates] - wanted.center[index]).max(axis=1, initial=0) > SAME_POINT
        other_box = np.abs(people.box[candidates] / wanted.box[index] - 1) > SAME_BOX
        same = candidates[~far & ~other_box]
        if len(same) > 1:
            same = same[people.number[same] == wanted.number[index]]
        if len(same) != 1:
            raise ConvertError(
                f"{source}: person {wanted.name(index)} (row {index}) is not among the persons of {path}"
            )
        found[index] = same[0]
    return found


def _compare(splits: Mapping[str, People], name: str, other: Source) -> People:
    """Check one split against another file's, and take head sizes from there where unknown."""
    theirs = other.people.take(other.split == name)
    if name not in splits:
        raise ConvertError(f"{other.path} has {len(theirs)} persons for {name}; the other annotations have none")
    ours = splits[name]
    if len(ours) != len(theirs):
        raise ConvertError(f"{other.path} has {len(theirs)} persons for {name}; the other annotations have {len(ours)}")
    both = ours.labelled & theirs.labelled
    checks = {
        "image": ours.image != theirs.image,
        "center": (np.abs(ours.center - theirs.center) > SAME_POINT).any(axis=1),
        "box": np.abs(ours.box / theirs.box - 1) > SAME_BOX,
        "joints": (both & (np.abs(ours.joints - theirs.joints) > SAME_POINT).any(axis=2)).any(axis=1),
        "head size": np.abs(ours.head_size - theirs.head_size) > SAME_HEAD,
    }
    for what, differ in checks.items():
        if differ.any():
            row = int(differ.argmax())
            raise ConvertError(
                f"{other.path}: {what} of {name} person {row} ({theirs.name(row)}) is not that of the other "
                f"annotations ({ours.name(row)}); in all {int(differ.sum())} persons differ"
            )
    return replace(ours, head_size=np.where(np.isnan(ours.head_size), theirs.head_size, ours.head_size))


def _with_headboxes(splits: Mapping[str, People], path: Path) -> People:
    if "val" not in splits:
        raise ConvertError(f"--headboxes {path}: the annotations have no validation persons")
    people = splits["val"]
    sizes = read_head_sizes(path, people)
    differ = np.abs(sizes - people.head_size) > SAME_HEAD
    if differ.any():
        row = int(differ.argmax())
        raise ConvertError(
            f"{path}: the head size of {people.name(row)} is {sizes[row]:.2f} px; the annotations say "
            f"{people.head_size[row]:.2f} px"
        )
    return replace(people, head_size=np.where(np.isnan(sizes), people.head_size, sizes))


def _with_activities(splits: Mapping[str, People], path: Path) -> dict[str, People]:
    """Add the labels `activity` and `category` by image; empty where the file does not say."""
    wanted = ("NAME", "Activity", "Category")
    rows = {row["NAME"]: (row["Activity"], row["Category"]) for row in read_csv(path, *wanted, error=ConvertError)}
    return {name: replace(people, tags=_tags(people, rows)) for name, people in splits.items()}


def _tags(people: People, rows: Mapping[str, tuple[str, str]]) -> dict[str, np.ndarray]:
    pairs = [rows.get(image, ("", "")) for image in people.image.tolist()]
    cleaned = [tuple("" if text == NAMED_ACTIVITY_NONE else text for text in pair) for pair in pairs]
    return {key: np.array([pair[place] for pair in cleaned]) for place, key in enumerate(("activity", "category"))}


def _attrs(
    sources: list[Source],
    primary: Source,
    paths: Sequence[Path],
    headboxes: Path | None,
    *,
    rule: str,
    left_out: Mapping[str, int],
    head_sizes: set[Form],
) -> dict[str, Any]:
    known = [f"{form} annotations" for form in RANK if form in head_sizes] + (["head boxes file"] if headboxes else [])
    return {
        "kind": "pose",
        "dataset": "mpii",
        "joint_set": MPII.plain(),
        "origin": 0,
        "units": "px",
        "source_origin": "1",
        "source_forms": {source.path.name: source.form for source in sources},
        "source_adjusted": {source.path.name: source.adjusted for source in sources},
        "scale_convention": SCALE_CONVENTION,
        "box_source": "annotation",
        "head_size_source": f"0.6 x head box diagonal ({', '.join(known)})" if known else "unknown",
        "visible_source": "annotation" if primary.occlusion else "none: every labelled joint counts as visible",
        "sources": hash_files([*paths, *([headboxes] if headboxes else [])]),
        "split_rule": rule,
        "left_out": {reason: count for reason, count in left_out.items() if count},
    }


def _notes(splits: Mapping[str, People], sources: list[Source], rule: str, left_out: Mapping[str, int]) -> list[str]:
    notes = [
        f"{source.path.name}: {source.form} form; centre and scale {'adjusted' if source.adjusted else 'as annotated'}"
        for source in sources
    ]
    notes.append(f"split: {rule}")
    notes += [f"left out: {count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items() if count]
    for name, people in splits.items():
        if unknown := int(np.isnan(people.head_size).sum()):
            notes.append(
                f"{unknown:,} of {len(people):,} {name} persons have no head size: they train, but have no PCKh"
            )
        else:
            low, middle, high = np.percentile(people.head_size, (0, 50, 100))
            notes.append(f"{name}: head size {low:.1f} to {high:.1f} px, median {middle:.1f}")
    return notes


def write(
    annotations: Annotations, target: Path, pixels: Pixels, *, synthetic: bool = False
) -> dict[Path, dict[str, int] | None]:
    """Write TARGET/pose/<split>.h5; return each store's counts, None where no person was left for it.

    Args:
        annotations: What to write.
        target: Folder of the data set.
        pixels: How persons are cut and stored.
        synthetic: Whether the photographs are drawn; whatever is trained on them says so.

    Raises:
        ConvertError: If photographs are missing or undecodable, or annotations of persons cannot be meant, and
            `pixels.skip_missing` is false; or if no person is left.
        BusyError: If another process converts into the same folder.
    """
    common = {"synthetic": synthetic, "crop_size": pixels.crop, "box_in_crop": pixels.box_in_crop}
    results: dict[Path, dict[str, int] | None] = {}
    folder = target / FOLDER
    stores = {name: folder / f"{name}.h5" for name in annotations.splits}
    names = [path.name for store in stores.values() for path in (store, report_path(store))]
    with owning(folder), staged(folder, names) as unfinished:
        # The small split first: what fails, fails early.
        for name, people in sorted(annotations.splits.items(), key=lambda item: len(item[1])):
            attrs = {**annotations.attrs, **common, "split": name}
            results[stores[name]] = write_split(stores[name], people, pixels, attrs, unfinished=unfinished)
        if not any(results.values()):
            raise ConvertError(f"{pixels.images}: not one of the photographs is there and readable")
    return results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert mpii`."""
    parser.add_argument("--annotations", type=Path, nargs="+", metavar="FILE", help="files of any of the forms above")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the photographs")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="gets pose/ and activity/")
    parser.add_argument("--headboxes", type=Path, metavar="FILE", help="gt_valid.mat: head boxes of the val persons")
    parser.add_argument("--labels-only", action="store_true", help="write labels without pixels; needs no --images")
    parser.add_argument("--split", choices=("train", "val", "test"), help="of files that do not say which they are")
    parser.add_argument("--adjusted", choices=("yes", "no"), help="are centre and scale adjusted; for files in doubt")
    parser.add_argument(
        "--validation", type=float, default=0.1, metavar="SHARE", help="of the videos, where no file says (0.1)"
    )
    parser.add_argument(
        "--largest-json",
        type=int,
        default=LARGEST_ANNOTATIONS // MIB,
        metavar="MIB",
        help=f"JSON annotations, unpacked, that are larger are refused ({LARGEST_ANNOTATIONS // MIB})",
    )
    add_pixel_arguments(parser)
    mpii_activities.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Convert MPII and print what was written."""
    if args.labels_only == (args.images is not None):
        raise ConvertError("give either --images DIR or --labels-only")
    if args.images is not None and not args.images.is_dir():
        raise ConvertError(f"--images {args.images}: no such folder")
    if args.annotations is None and args.activities is None:
        raise ConvertError("give --annotations FILE, --activities FILE, or both")
    mpii_activities.check_arguments(args)
    folders = {FOLDER: args.annotations, ACTIVITY_FOLDER: args.activities}
    with owning(*(args.target / name for name, source in folders.items() if source is not None)):
        _convert(args)


def _convert(args: argparse.Namespace) -> None:
    annotations = None
    if args.annotations is not None:
        annotations = read_annotations(
            args.annotations,
            headboxes=args.headboxes,
            adjusted=None if args.adjusted is None else args.adjusted == "yes",
            split=args.split,
            validation=args.validation,
            limit=args.largest_json * MIB,
        )
    people = {} if annotations is None else annotations.splits
    activities = None if args.activities is None else mpii_activities.plan_from(args, people)
    if annotations is not None:
        results = write(annotations, args.target, pixels_from(args, args.images))
        print_summary(results, annotations.notes)
    if activities is not None:
        settings = mpii_activities.settings_from(args)
        print_summary(mpii_activities.write_plan(activities, settings, args.target), activities.notes)
