"""Clip stores: some frames of a person, with joints in space."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64

from pose_lightning.browse import limbs, sides
from pose_lightning.browse.cards import Card, fitted, ground, pixels, scaled, skeleton_of
from pose_lightning.browse.overview import Chart, classes, histogram
from pose_lightning.browse.scan import Scanned, duplicates, plain
from pose_lightning.browse.splits import Doubt, Splits
from pose_lightning.joints import H36M, H36M_ROOT

LEG: Final = (550.0, 1200.0)
"""Mm of thigh and shin together that an adult may have."""

STRETCH: Final = (5.0, 0.03)
"""Mm, and share of its length, by which a bone may change within a clip."""

BONE: Final = 0.15
"""Logarithm of a bone's length to what is usual for the subject from which it is told."""

SWAP_GAIN: Final = 6.0
"""As for persons in pictures; in space nothing is foreshortened, and a swap costs more."""

JUMP: Final = (300.0, 3.0)
"""Mm between two frames, and times what 99.5 % of all steps stay below."""

OFF_ROOT: Final = 1.0
"""Mm that the root of a root-relative pose may be from the origin."""

BEYOND: Final = 0.015
"""Share of the frame's side by which a joint lies outside."""

ONE_POSE: Final = 20.0
"""Mm of mean distance below which two clips show one pose."""

FRAME_SIDE: Final = 112
"""Px of a frame on the page, at most: a clip has several."""

FACETS: Final = ("action", "subject", "camera")
"""Text fields that a menu filters by."""

SIZE: Final = "Person"
"""What `Card.size` is of."""

NOUN: Final = "clips"
"""Of several samples."""


def joints(splits: Splits) -> Float64[np.ndarray, "n t 17 3"]:
    """Mm, as stored."""
    return splits.labels["joints"].astype(np.float64)


def bones() -> tuple[tuple[int, int], ...]:
    """The skeleton."""
    return H36M.bones


def doubts(splits: Splits, scanned: Scanned | None) -> list[Doubt]:
    """What looks wrong; without `scanned`, by the labels alone."""
    poses = joints(splits)
    middle = poses[:, poses.shape[1] // 2]
    found = [*_units(poses), *_bones(splits, poses), *_stretching(poses), *_jumps(poses)]
    found += sides.doubts(middle, H36M, bones(), SWAP_GAIN)
    found += [*_off_root(poses), *_outside(splits), *_behind(splits), *_repeated(splits, poses)]
    if scanned is not None:
        sequences = splits.labels["sequence"] if "sequence" in splits.labels else splits.labels["name"]

        def distinct(first: int, second: int) -> bool:
            same = sequences[first] == sequences[second] and sequences[first] != ""
            return not same and bool(np.linalg.norm(poses[first] - poses[second], axis=-1).mean() < ONE_POSE)

        found += [*plain(scanned), *duplicates(splits, scanned, distinct)]
    return found


def _lengths(poses: Float64[np.ndarray, "n t 17 3"]) -> Float64[np.ndarray, "n t b"]:
    starts, ends = (list(each) for each in zip(*bones(), strict=True))
    return np.linalg.norm(poses[:, :, starts] - poses[:, :, ends], axis=-1)


def _units(poses: Float64[np.ndarray, "n t 17 3"]) -> Iterable[Doubt]:
    lengths = np.median(_lengths(poses), axis=1)
    kinds = [{H36M.names[joint].split(" ")[-1] for joint in bone} for bone in bones()]
    thigh, shin = ([place for place, kind in enumerate(kinds) if kind == wanted] for wanted in (
        {"hip", "knee"},
        {"knee", "ankle"},
    ))  # fmt: skip
    legs = lengths[:, thigh].mean(axis=1) + lengths[:, shin].mean(axis=1)
    for index in np.flatnonzero((legs < LEG[0]) | (legs > LEG[1])).tolist():
        off = max(LEG[0] / max(legs[index], 1e-9), legs[index] / LEG[1])
        text = f"thigh and shin are {legs[index]:.4g} mm long together: is the unit mm, and the order H36M's?"
        yield Doubt(index, "unit", text, float(min(3.0, 1.0 + np.log(off))))


def _bones(splits: Splits, poses: Float64[np.ndarray, "n t 17 3"]) -> Iterable[Doubt]:
    lengths = np.median(_lengths(poses), axis=1)
    subjects = splits.labels.get("subject", np.full(len(poses), ""))
    for subject in np.unique(subjects):
        rows = np.flatnonzero(subjects == subject)
        usual = np.maximum(np.median(lengths[rows], axis=0), 1.0)
        off = np.abs(np.log(np.maximum(lengths[rows], 1e-3) / usual))
        spread = np.maximum(limbs.MAD * np.median(off, axis=0), BONE / 5)
        whose = f"{subject}'s" if subject else "all clips'"
        for row, index in enumerate(rows.tolist()):
            worst = int((off[row] / spread).argmax())
            if off[row, worst] >= BONE and off[row, worst] >= 5 * spread[worst]:
                start, end = (H36M.names[joint] for joint in bones()[worst])
                text = f"{start} to {end} is {lengths[index, worst]:.0f} mm; {whose} median is {usual[worst]:.0f}"
                yield Doubt(index, "bone", text, float(min(3.0, off[row, worst] / BONE)))


def _stretching(poses: Float64[np.ndarray, "n t 17 3"]) -> Iterable[Doubt]:
    lengths = _lengths(poses)
    change, usual = np.ptp(lengths, axis=1), np.median(lengths, axis=1)
    found = (change > STRETCH[0]) & (change > STRETCH[1] * usual)
    for index in np.flatnonzero(found.any(axis=1)).tolist():
        worst = int(np.where(found[index], change[index], 0).argmax())
        start, end = (H36M.names[joint] for joint in bones()[worst])
        text = f"{start} to {end} changes by {change[index, worst]:.0f} mm within the clip"
        yield Doubt(index, "bone", text, float(min(2.5, 1 + change[index, worst] / 100)))


def _jumps(poses: Float64[np.ndarray, "n t 17 3"]) -> Iterable[Doubt]:
    if poses.shape[1] < 2:
        return
    steps = np.linalg.norm(np.diff(poses, axis=1), axis=-1)
    least = max(JUMP[0], JUMP[1] * float(np.quantile(steps, 0.995)))
    for index in np.flatnonzero(steps.max(axis=(1, 2)) > least).tolist():
        frame, joint = (int(each) for each in np.unravel_index(steps[index].argmax(), steps[index].shape))
        far = float(steps[index, frame, joint])
        text = f"{H36M.names[joint]} moves {far:.0f} mm from frame {frame + 1} to {frame + 2}"
        yield Doubt(index, "jump", text, min(3.0, far / least))


def _off_root(poses: Float64[np.ndarray, "n t 17 3"]) -> Iterable[Doubt]:
    off = np.linalg.norm(poses[:, :, H36M_ROOT], axis=-1).max(axis=1)
    for index in np.flatnonzero(off > OFF_ROOT).tolist():
        yield Doubt(index, "root", f"the pelvis is {off[index]:.1f} mm from the origin", min(3.0, 1 + off[index] / 100))


def _outside(splits: Splits) -> Iterable[Doubt]:
    shape = splits.stores[0].shape
    if "points" not in splits.labels or shape is None:
        return
    height, width = shape[1:3]
    points = splits.labels["points"].astype(np.float64)
    far = np.maximum(-points, points - (width - 1, height - 1)).max(axis=-1) / max(height, width)
    for index in np.flatnonzero((far > BEYOND).any(axis=(1, 2))).tolist():
        out = np.flatnonzero((far[index] > BEYOND).any(axis=0))
        named = ", ".join(H36M.names[joint] for joint in out[:3]) + (" ..." if len(out) > 3 else "")
        count = "1 joint" if len(out) == 1 else f"{len(out)} joints"
        text = f"{count} outside the frame, by up to {far[index].max() * max(height, width):.0f} px: {named}"
        yield Doubt(index, "outside", text, min(3.0, 1 + 0.2 * len(out)))


def _behind(splits: Splits) -> Iterable[Doubt]:
    if "root" in splits.labels:
        depth = splits.labels["root"][..., 2].astype(np.float64).min(axis=1)
        for index in np.flatnonzero(depth <= 0).tolist():  # NaN where the camera is unknown
            yield Doubt(index, "unit", f"the pelvis is {depth[index]:.0f} mm before the camera, so behind it", 2.0)


def _repeated(splits: Splits, poses: Float64[np.ndarray, "n t 17 3"]) -> Iterable[Doubt]:
    """Poses that are equal to the last bit; of other cameras they are not."""
    first: dict[bytes, int] = {}
    for index, pose in enumerate(splits.labels["joints"]):
        mate = first.setdefault(pose.tobytes(), index)
        if mate != index:
            across = splits.split[mate] != splits.split[index]
            rule = "other split" if across else "duplicate"
            where = f" of {splits.names[int(splits.split[mate])]}" if across else ""
            text = f"has the poses of {splits.labels['name'][mate]}{where} to the last bit"
            yield Doubt(index, rule, text, 2.5 if across else 1.5)


def card(splits: Splits, index: int, side: int) -> Card:
    """The frames, or the skeleton alone."""
    store, row = splits.at(index)
    labels = store.labels
    pose = labels["joints"][row].astype(np.float64)
    facts = [
        *((key, str(labels[key][row])) for key in ("subject", "action", "camera", "sequence") if labels[key][row]),
        ("first frame", str(labels["frame"][row])),
        *_distance(labels, row),
    ]
    points, size = None, None
    frames = (ground(FRAME_SIDE),) * len(pose)
    if store.codec is not None:
        pixels = store.pixels(row)
        made = [fitted(frame, min(side, FRAME_SIDE)) for frame in pixels]
        frames, factor = tuple(frame for frame, _ in made), made[0][1]
        if "points" in labels and np.isfinite(labels["points"][row]).any():
            places = labels["points"][row].astype(np.float64)
            points, size = scaled(places, factor), float(np.ptp(places, axis=1).max())
    return Card(frames, points, pose, facts, size, str(labels["action"][row]))


def _distance(labels: dict[str, np.ndarray], row: int) -> list[tuple[str, str]]:
    if "root" not in labels or not np.isfinite(labels["root"][row]).all():
        return []
    return [("distance of the pelvis", f"{np.linalg.norm(labels['root'][row], axis=-1).mean() / 1000:.2f} m")]


def poses(splits: Splits) -> Float64[np.ndarray, "n 51"]:
    """The middle frame's joints, divided by their spread; flat."""
    middle = joints(splits)[:, splits.labels["joints"].shape[1] // 2]
    rest = middle - middle.mean(axis=1, keepdims=True)
    size = np.sqrt((rest**2).sum(axis=(1, 2), keepdims=True))
    return np.where(size > 0, rest / np.where(size > 0, size, 1.0), np.nan).reshape(len(middle), -1)


def charts(splits: Splits) -> list[Chart]:
    """Who does what, how far away and how tall."""
    found = classes(splits, FACETS)
    if "root" in splits.labels:
        depth = np.linalg.norm(splits.labels["root"][:, 0].astype(np.float64), axis=-1) / 1000
        found.append(histogram(splits, depth, "Distance of the pelvis", "m"))
    heights = np.ptp(splits.labels["joints"][:, 0, :, 1].astype(np.float64), axis=1)
    return [*found, histogram(splits, heights, "Height of the pose in the first frame", "mm")]


def features(splits: Splits, scanned: Scanned | None) -> tuple[Float64[np.ndarray, "n d"], str]:
    """What the map is made of, and its title."""
    return poses(splits), "Poses of the middle frames, without size, in camera axes"


def skeleton(splits: Splits) -> dict[str, Any]:
    """Names, bones and sides of the joints, all of which are labelled."""
    return skeleton_of(H36M, bones(), [True] * len(H36M))


def version(data: object, batch: dict[str, torch.Tensor], side: int, note: str) -> Card:
    """A sample of a batch as training sees it."""
    frames = [pixels(frame) for frame in batch["clip"][0]]
    pose = batch["joints"][0].double().numpy()
    return Card(tuple(fitted(frame, side // 2)[0] for frame in frames), pose=pose, note=note)
