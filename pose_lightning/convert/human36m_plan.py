"""Which views of Human3.6M become which clips of which store, and which are left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import xxhash

from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import LISTED
from pose_lightning.convert.human36m_clips import Clips, UndecodableError, View, write_split
from pose_lightning.convert.human36m_frames import FrameError, open_frames
from pose_lightning.convert.human36m_sources import CAMERAS, Found, Metadata, find, read_metadata, read_positions
from pose_lightning.convert.staging import owning, staged

TRAIN: Final = ("S1", "S5", "S6", "S7", "S8")
TEST: Final = ("S9", "S11")

CORRUPT: Final = {("S11", "Directions"): "its video is corrupt (VideoPose3D leaves it out, too)"}
DAMAGED: Final = dict.fromkeys(
    (("S9", "Greeting"), ("S9", "SittingDown 1"), ("S9", "Waiting 1")),
    "its positions are shifted against the video (learnable-triangulation's damaged scenes)",
)
"""The shift is of the whole body, so that root-relative poses are right, but pictures and crops do not fit to them.

learnable-triangulation-pytorch names them Greeting-2, SittingDown-2 and Waiting-1 (mvn/datasets/human36m.py), by the
numbers of metadata.xml's `mapping`; these are the file names there. MHFormer issue 92 lists the same files.
"""

MOST_FRAMES_APART: Final = 10
"""By how many frames a video and its positions may differ in length; the official ones do by up to 7."""


@dataclass
class Plan:
    """What a conversion will write.

    Attributes:
        splits: Split -> its views, in the order in which they are stored; without those in `troubles`.
        attrs: Of every store.
        dropped: Sequences and views that are left out, with the reason of each.
        troubles: View, subject or folder -> why it cannot be converted.
        notes: What the user should know.
    """

    splits: dict[str, list[View]]
    attrs: dict[str, Any]
    dropped: list[str] = field(default_factory=list)
    troubles: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def make_plan(
    source: Path,
    clips: Clips,
    *,
    subjects: Sequence[str] | None = None,
    validation: str | None = None,
    metadata: Path | None = None,
    keep_damaged: bool = False,
    dataset: str = "human36m",
    synthetic: bool = False,
) -> Plan:
    """Look at all files, but decode no video; the arguments are those of `write`."""
    found = find(source)
    path = metadata or _metadata_below(source, found)
    official = read_metadata(path)
    chosen = _chosen(source, found, subjects)
    splits = _split(chosen, validation)
    plan = Plan({name: [] for name in splits}, {})
    bad = {} if dataset != "human36m" else CORRUPT if keep_damaged else CORRUPT | DAMAGED
    for name, members in splits.items():
        for subject in members:
            _plan_subject(plan, plan.splits[name], subject, found, official, bad)
    _plan_others(plan, source, found, subjects)
    if not any(plan.splits.values()):
        raise ConvertError(f"{source}: no sequence has both positions and frames{_first(plan.troubles)}")
    views = [view for views in plan.splits.values() for view in views]
    complete = set(chosen) == {*TRAIN, *TEST} and not synthetic
    plan.attrs = {
        "kind": "clips",
        "dataset": dataset,
        "joint_set": "h36m",
        "root": 0,
        "units": "mm",
        "source_unit": "mm",
        "root_relative": "by us, on every frame",
        "frames": clips.frames,
        "stride": clips.stride,
        "every": clips.every,
        "margin": clips.margin,
        "frame_rate": _rate(views) / clips.stride,
        "split_rule": _rule(splits),
        "protocol": _protocol(splits, plan, found, official) if complete else None,
        "joint_order": "as documented",
        "synthetic": synthetic,
        "sources": _checksums(source, [path, *dict.fromkeys(view.positions for view in views)]),
    }
    plan.notes.append(f"split: {plan.attrs['split_rule']}")
    return plan


def _metadata_below(source: Path, found: Found) -> Path:
    if not found.metadata:
        raise ConvertError(f"{source} has no metadata.xml; give the official one with --metadata")
    first, *others = found.metadata
    for other in others:
        if other.read_bytes() != first.read_bytes():
            raise ConvertError(f"{first} and {other} differ; say with --metadata which one holds")
    return first


def _chosen(source: Path, found: Found, subjects: Sequence[str] | None) -> list[str]:
    known: list[str] = [subject for subject in (*TRAIN, *TEST) if subject in found.subjects]
    if not known:
        hint = f"; {', '.join(sorted(found.ignored))} is of other skeletons" if found.ignored else ""
        raise ConvertError(f"{source} has no .cdf files in folders D3_Positions or D3_Positions_mono{hint}")
    if absent := [subject for subject in subjects or () if subject not in known]:
        raise ConvertError(f"{source}: no positions of {', '.join(absent)}, only of {', '.join(known)}")
    return known if subjects is None else [subject for subject in known if subject in subjects]


def _split(chosen: Sequence[str], validation: str | None) -> dict[str, list[str]]:
    """Split -> subjects; small splits first, because what fails, fails early."""
    if validation is not None and validation not in TRAIN:
        raise ConvertError(f"--validation {validation}: wanted one of the training subjects {', '.join(TRAIN)}")
    if validation is not None and validation not in chosen:
        raise ConvertError(f"--validation {validation} is none of the subjects to convert, {', '.join(chosen)}")
    return {
        "val": [subject for subject in chosen if subject == validation],
        "test": [subject for subject in chosen if subject in TEST],
        "train": [subject for subject in chosen if subject in TRAIN and subject != validation],
    }


def _rule(splits: Mapping[str, Sequence[str]]) -> str:
    parts = [f"{name} {' '.join(members)}" for name, members in splits.items() if members]
    return f"subjects: {', '.join(parts)}"


def _protocol(splits: Mapping[str, Sequence[str]], plan: Plan, found: Found, official: Metadata) -> str | None:
    """Protocol 1, or None where files are missing, or the metadata do not say which there are."""
    there = {(subject, sequence) for subject, sequence, _ in found.positions}
    wanted = {(subject, sequence) for subject in (*TRAIN, *TEST) for sequence in official.sequences.get(subject, ())}
    silent = [subject for subject in (*TRAIN, *TEST) if not official.sequences.get(subject)]
    if silent or plan.troubles or not wanted <= there | CORRUPT.keys():
        return None
    held_out = f"; {' '.join(splits['val'])} held out for validation" if splits["val"] else ""
    return f"1 (train {' '.join(splits['train'])}{held_out}; test {' '.join(splits['test'])})"


def _plan_subject(
    plan: Plan,
    views: list[View],
    subject: str,
    found: Found,
    official: Metadata,
    bad: Mapping[tuple[str, str], str],
) -> None:
    """Add a subject's views to `views`; what is left out, and why, to the plan."""
    with_positions = {sequence for who, sequence, _ in found.positions if who == subject}
    with_frames = {sequence for who, sequence, _ in found.frames if who == subject}
    length = cache(lambda path: len(read_positions(path)))
    uneven: dict[str, int] = {}
    for sequence in sorted(with_positions | with_frames):
        if (subject, sequence) in bad:
            plan.dropped.append(f"{subject}/{sequence}: {bad[subject, sequence]}")
            continue
        for camera in CAMERAS:
            try:
                view = _view(found, (subject, sequence, camera), official, length)
            except FrameError as error:
                plan.troubles[f"{subject}/{sequence}/{camera}"] = str(error)
            else:
                views.append(view)
                if apart := abs(view.frames.count - length(view.positions)):
                    uneven[view.name] = apart
    if uneven:
        plan.notes.append(
            f"{subject}: {len(uneven)} videos and their positions differ in length by up to {max(uneven.values())} "
            "frames; clips end with the shorter"
        )
    if absent := set(official.sequences.get(subject, ())) - with_positions:
        plan.notes.append(f"{subject}: no positions of {', '.join(sorted(absent))}, which metadata.xml names")


def _plan_others(plan: Plan, source: Path, found: Found, subjects: Sequence[str] | None) -> None:
    """Add to the plan what lies below the source and is no part of a subject with positions."""
    root = source.resolve()
    plan.troubles |= {str(path.relative_to(root)): reason for path, reason in found.unread.items()}
    silent = {subject: sum(who == subject for who, _, _ in found.frames) for subject, _, _ in found.frames}
    for subject in sorted(silent.keys() - found.subjects):
        if subject in (*TRAIN, *TEST) and (subjects is None or subject in subjects):
            plan.troubles[subject] = (
                f"{silent[subject]} videos, but no .cdf files in folders D3_Positions or D3_Positions_mono"
            )
    if others := sorted({*silent, *found.subjects} - {*TRAIN, *TEST}):
        plan.notes.append(f"left out: {', '.join(others)}, none of the subjects of protocol 1")


def _view(found: Found, key: tuple[str, str, str], official: Metadata, length: Callable[[Path], int]) -> View:
    subject, sequence, camera = key
    world, mono = found.positions.get((subject, sequence, "")), found.positions.get(key)
    positions = world or mono
    if positions is None:
        raise FrameError("has no positions")
    if key not in found.frames:
        raise FrameError("has neither a video nor a folder of frames")
    frames = open_frames(found.frames[key])
    try:
        labelled = length(positions)
    except ConvertError as error:
        raise FrameError(str(error)) from error
    if abs(frames.count - labelled) > MOST_FRAMES_APART:
        raise FrameError(f"{frames.path} has {frames.count} frames, {positions} {labelled}")
    count = min(frames.count, labelled)
    return View(
        subject, sequence, camera, official.cameras[subject, camera], positions, world is not None, frames, count
    )


def _rate(views: Sequence[View]) -> float:
    first = views[0].frames
    for view in views:
        if abs(view.frames.rate - first.rate) > 0.01 * first.rate:
            raise ConvertError(
                f"{view.frames.path} has {view.frames.rate:g} frames per second, {first.path} {first.rate:g}"
            )
    return first.rate


def _checksums(source: Path, paths: Sequence[Path]) -> dict[str, str]:
    """Path -> xxh3-64 of the file's bytes; of positions and cameras only, as the videos would be read twice."""
    root = source.resolve()
    return {
        str(path.relative_to(root) if path.is_relative_to(root) else path.name): xxhash.xxh3_64_hexdigest(
            path.read_bytes()
        )
        for path in paths
    }


def _first(troubles: Mapping[str, str]) -> str:
    some = "; ".join(f"{name}: {reason}" for name, reason in list(troubles.items())[:LISTED])
    return f": {some}{'; ...' if len(troubles) > LISTED else ''}" if troubles else ""


def write_stores(
    plan: Plan, target: Path, clips: Clips, *, skip_missing: bool, jobs: int | None = None
) -> dict[Path, dict[str, int]]:
    """Write the stores of a plan and return the counts of each.

    Raises:
        ConvertError: If there are troubles and `skip_missing` is false, or no clip is left, or the target has a store
            of an earlier conversion that this one does not replace.
        BusyError: If another process converts into the target.
    """
    _check_jobs(jobs)
    for name, views in plan.splits.items():
        plan.splits[name] = _long_enough(plan, views, clips)
    if not any(plan.splits.values()):
        raise ConvertError(f"not one sequence is as long as a clip of {clips.frames} frames, {clips.stride} apart")
    _settle(plan, skip_missing=skip_missing)
    with owning(target), staged(target, [f"{name}.h5" for name in plan.splits]) as unfinished:
        while True:
            try:
                return _write_all(plan, unfinished, target, clips, jobs=jobs, patient=skip_missing)
            except UndecodableError as error:
                # Rare, and every store must know what all of them leave out: begin again without these.
                plan.troubles |= error.troubles
                _settle(plan, skip_missing=skip_missing)


def _write_all(
    plan: Plan, unfinished: Path, target: Path, clips: Clips, *, jobs: int | None, patient: bool
) -> dict[Path, dict[str, int]]:
    """Write the stores beside their places, and return the counts by place."""
    results: dict[Path, dict[str, int]] = {}
    for name, views in plan.splits.items():
        store = target / f"{name}.h5"
        if not views:
            if store.exists():
                raise ConvertError(f"{store} is of an earlier conversion, and this one has no clip for it; remove it")
            continue
        counts = _counts(views, clips)
        attrs = {**plan.attrs, "split": name, "dropped": plan.dropped, "counts": counts}
        if name != "test":
            attrs["protocol"] = None  # nothing published was measured on them
        elif plan.dropped and plan.attrs["protocol"]:
            attrs["protocol"] = f"{plan.attrs['protocol']}; left out: {len(plan.dropped)} sequences or views"
        write_split(unfinished / store.name, views, clips, attrs, jobs=jobs, patient=patient)
        results[store] = counts
    return results


def _check_jobs(jobs: int | None) -> None:
    if jobs is not None and jobs < 1:
        raise ConvertError(f"--jobs {jobs}: wanted at least 1")


def _long_enough(plan: Plan, views: Sequence[View], clips: Clips) -> list[View]:
    short = [view for view in views if not clips.starts(view.count)]
    plan.dropped += [f"{view.name}: its {view.count} frames are less than a clip" for view in short]
    return [view for view in views if clips.starts(view.count)]


def _settle(plan: Plan, *, skip_missing: bool) -> None:
    """Move the plan's troubles to what is left out.

    Raises:
        ConvertError: If there are any and `skip_missing` is false.
    """
    if plan.troubles and not skip_missing:
        kind = "views" if all("/" in name for name in plan.troubles) else "subjects and views"
        raise ConvertError(
            f"{len(plan.troubles)} {kind} cannot be converted{_first(plan.troubles)}. --skip-missing leaves them out"
        )
    if plan.troubles:
        plan.attrs["protocol"] = None
    plan.dropped += [f"{name}: {reason}" for name, reason in plan.troubles.items()]
    for name, views in plan.splits.items():
        plan.splits[name] = [view for view in views if view.name not in plan.troubles]
    if not any(plan.splits.values()):
        raise ConvertError(f"not one view is left{_first(plan.troubles)}")
    plan.troubles = {}


def _counts(views: Sequence[View], clips: Clips) -> dict[str, int]:
    return {
        "clips": sum(len(clips.starts(view.count)) for view in views),
        "subjects": len({view.subject for view in views}),
        "sequences": len({(view.subject, view.sequence) for view in views}),
        "views": len(views),
    }
