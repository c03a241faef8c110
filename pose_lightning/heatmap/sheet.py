"""Pose stores: persons in pictures, with joints in image px."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from pose_lightning.browse import limbs, sides
from pose_lightning.browse.cards import Card, fitted, ground, pixels, scaled, skeleton_of
from pose_lightning.browse.overview import Chart, classes, histogram
from pose_lightning.browse.scan import SAME_CROP, Scanned, duplicates, plain
from pose_lightning.browse.splits import Doubt, Splits
from pose_lightning.joints import Bone, JointSet

SWAP_GAIN: Final = 4.0
"""Fall of the bones' cost from which sides look swapped."""

TOO_LONG: Final = 4.0
"""Spreads above its usual length at which a limb is too long."""

LEAST_RATIO: Final = 1.6
"""And how many times its usual length it then has at least."""

BEYOND: Final = 0.015
"""Share of the crop's side by which a joint lies outside the photograph before it is told."""

HEAD: Final = 5.0
"""Robust standard deviations of the logarithm of head size to body size."""

TINY_BOX: Final = 40.0
"""Px of a person's box below which there is little to see."""

MARGIN: Final = 1.1
"""Side of what the page shows, relative to the person's box."""

TOGETHER: Final = 0.5
"""Px between two joints that are one."""

FACETS: Final = ("category", "activity")
"""Text fields that a menu filters by."""

SIZE: Final = "Box"
"""What `Card.size` is of."""

NOUN: Final = "samples"
"""Of several samples."""


def joint_set(splits: Splits) -> JointSet:
    """Of the stores.

    Raises:
        UserError: If they do not say it.
    """
    return splits.joint_set or JointSet.read(None, splits.stores[0].path)


def joints(splits: Splits) -> Float64[np.ndarray, "n j 2"]:
    """Image px; NaN where unlabelled."""
    return np.where(splits.labels["labelled"][..., None], splits.labels["joints"], np.nan).astype(np.float64)


def bones(splits: Splits, points: Float64[np.ndarray, "n j 2"]) -> tuple[tuple[int, int], ...]:
    """The skeleton that the data set labels: of LSP, which has no pelvis and thorax, the sparse one."""
    return joint_set(splits).limbs(np.isfinite(points).all(axis=2).any(axis=0))


def doubts(splits: Splits, scanned: Scanned | None) -> list[Doubt]:
    """What looks wrong; without `scanned`, by the labels alone."""
    points, limbs_ = joints(splits), bones(splits, joints(splits))
    names = joint_set(splits).names
    found = [*_boxes(splits), *_together(points, names)]
    if limbs_:
        found += [*sides.doubts(points, joint_set(splits), limbs_, SWAP_GAIN), *_too_long(points, limbs_, names)]
        found += _heads(splits, points, limbs_)
    if scanned is not None:
        found += [*_outside(splits, points, scanned, names), *plain(scanned)]
        images = splits.labels["image"]
        found += duplicates(splits, scanned, lambda first, second: images[first] != images[second], SAME_CROP)
    else:
        found += _negative(points, names)
    return found


def _too_long(points: Float64[np.ndarray, "n j 2"], bones: Sequence[Bone], names: Sequence[str]) -> Iterable[Doubt]:
    lengths = limbs.Lengths.of(points, bones)
    excess = np.nan_to_num(lengths.excess(points), nan=0.0)
    spreads = np.where(excess >= np.log(LEAST_RATIO), excess / lengths.spread, 0.0)
    for index in np.flatnonzero(spreads.max(axis=1) >= TOO_LONG).tolist():
        worst = int(spreads[index].argmax())
        start, end = (names[joint] for joint in lengths.bones[worst])
        text = f"{start} to {end} is {np.exp(excess[index, worst]):.1f} x as long as usual for this body"
        yield Doubt(index, "long limb", text, min(3.0, float(spreads[index, worst]) / TOO_LONG))


def _heads(splits: Splits, points: Float64[np.ndarray, "n j 2"], bones: Sequence[Bone]) -> Iterable[Doubt]:
    if "head_size" not in splits.labels:
        return
    sizes, heads = limbs.Lengths.of(points, bones).sizes, splits.labels["head_size"].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(heads) - sizes
    known = np.isfinite(ratio)
    if not known.any():
        return
    middle = np.median(ratio[known])
    spread = max(limbs.FLOOR, limbs.MAD * float(np.median(np.abs(ratio[known] - middle))))
    for index in np.flatnonzero(known & (np.abs(ratio - middle) >= HEAD * spread)).tolist():
        off = float(ratio[index] - middle)
        text = f"head size {heads[index]:.1f} px, {np.exp(off):.2f} x what is usual for this body"
        yield Doubt(index, "head", text, min(3.0, abs(off) / (HEAD * spread)))


def _boxes(splits: Splits) -> Iterable[Doubt]:
    sides = splits.labels["box"]
    for index in np.flatnonzero(sides < TINY_BOX).tolist():
        text = f"the person's box is {sides[index]:.0f} px wide"
        yield Doubt(index, "tiny", text, min(3.0, TINY_BOX / max(1.0, float(sides[index]))))


def _together(points: Float64[np.ndarray, "n j 2"], names: Sequence[str]) -> Iterable[Doubt]:
    distances = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    with np.errstate(invalid="ignore"):
        near = np.triu(distances <= TOGETHER, 1)
    for index in np.flatnonzero(near.any(axis=(1, 2))).tolist():
        first, second = (int(each[0]) for each in np.nonzero(near[index]))
        count = int(near[index].sum())
        more = f" (and {count - 1} more pairs)" if count > 1 else ""
        text = f"{names[first]} and {names[second]} are at one place{more}"
        yield Doubt(index, "together", text, 0.8 + 0.2 * count)


def _outside(
    splits: Splits, points: Float64[np.ndarray, "n j 2"], scanned: Scanned, names: Sequence[str]
) -> Iterable[Doubt]:
    crops = splits.labels["crop"][scanned.rows].astype(np.float64)
    places = _in_crop(points[scanned.rows], crops)
    for row, index in enumerate(scanned.rows.tolist()):
        side = float(splits.at(index)[0].attrs["crop_size"])
        low, high = scanned.inside[row, :2] * side, scanned.inside[row, 2:] * side - 1
        with np.errstate(invalid="ignore"):
            far = np.maximum(low - places[row], places[row] - high).max(axis=1) / side
        # beyond the crop nothing is seen; that is no fault of the label
        with np.errstate(invalid="ignore"):
            seen = ((places[row] >= 0) & (places[row] <= side - 1)).all(axis=1)
        out = np.flatnonzero((np.nan_to_num(far) > BEYOND) & seen)
        yield from _told(index, out, far[out] * side / crops[row, 2], names)


def _negative(points: Float64[np.ndarray, "n j 2"], names: Sequence[str]) -> Iterable[Doubt]:
    """Outside at least on the left or above: without pictures, nobody knows where they end."""
    far = np.nan_to_num(-points.min(axis=2), nan=0.0)
    for index in np.flatnonzero((far > 1).any(axis=1)).tolist():
        out = np.flatnonzero(far[index] > 1)
        yield from _told(index, out, far[index, out], names)


def _told(index: int, out: np.ndarray, far_px: np.ndarray, names: Sequence[str]) -> Iterable[Doubt]:
    if len(out):
        named = ", ".join(names[joint] for joint in out[:3]) + (" ..." if len(out) > 3 else "")
        count = "1 joint" if len(out) == 1 else f"{len(out)} joints"
        text = f"{count} outside the photograph, by up to {far_px.max():.0f} px: {named}"
        yield Doubt(index, "outside", text, min(3.0, 1 + 0.25 * len(out)))


def card(splits: Splits, index: int, side: int) -> Card:
    """The person's crop, or the skeleton alone."""
    store, row = splits.at(index)
    labels = store.labels
    points = np.where(labels["labelled"][row][:, None], labels["joints"][row], np.nan).astype(np.float64)
    places = _in_crop(points[None], labels["crop"][row][None].astype(np.float64))[0]
    picture = ground(int(store.attrs["crop_size"])) if store.codec is None else store.pixels(row)
    corner, picture = _near(picture, places, float(store.attrs["box_in_crop"]))
    places = places - corner
    small, factor = fitted(picture, side)
    missing = [joint_set(splits).names[joint] for joint in np.flatnonzero(~labels["labelled"][row])]
    facts = [
        ("box", f"{labels['box'][row]:.0f} px"),
        *_sizes(labels, row),
        ("labelled joints", f"{int(labels['labelled'][row].sum())}, visible {int(labels['visible'][row].sum())}"),
        ("not labelled", ", ".join(missing) or "none"),
        *((key, str(labels[key][row])) for key in ("category", "activity") if key in labels and labels[key][row]),
    ]
    return Card((small,), scaled(places, factor)[None], facts=facts, size=float(labels["box"][row]))


def _sizes(labels: Mapping[str, np.ndarray], row: int) -> list[tuple[str, str]]:
    """What distances may be measured by, as the page says it."""
    kinds = {"head size": "head_size", "longer side of the labelled box": "extent"}
    return [
        (kind, f"{labels[label][row]:.1f} px" if np.isfinite(labels[label][row]) else "unknown")
        for kind, label in kinds.items()
        if label in labels
    ]


def _near(
    picture: UInt8[np.ndarray, "h w 3"], places: Float64[np.ndarray, "j 2"], box: float
) -> tuple[int, UInt8[np.ndarray, "s s 3"]]:
    """The middle of the crop, with the box and all joints that the crop shows; and px that are cut off on each side."""
    middle = (len(picture) - 1) / 2
    reach = np.nanmax(np.abs(places - middle)) if np.isfinite(places).any() else 0.0
    half = max(MARGIN * box / 2, float(reach) + box / 20)
    corner = max(0, int(middle - half))
    return corner, picture[corner : len(picture) - corner, corner : len(picture) - corner]


def poses(splits: Splits) -> Float64[np.ndarray, "n d"]:
    """Joints relative to their mean, divided by their spread, missing ones at their mean place; flat.

    NaN where fewer than 4 joints are labelled.
    """
    points = joints(splits)
    used = np.isfinite(points).all(axis=2).any(axis=0)
    points = points[:, used]
    known = np.isfinite(points).all(axis=2)
    count = known.sum(axis=1)
    filled = np.where(known[..., None], points, 0.0)
    centre = filled.sum(axis=1) / np.maximum(count, 1)[:, None]
    rest = np.where(known[..., None], points - centre[:, None], 0.0)
    size = np.sqrt((rest**2).sum(axis=(1, 2)) / np.maximum(count, 1))
    normal = rest / np.where(size > 0, size, 1.0)[:, None, None]
    usual = normal.sum(axis=0) / np.maximum(known.sum(axis=0), 1)[:, None]
    found = np.where(known[..., None], normal, usual).reshape(len(points), -1)
    found[(count < 4) | (size <= 0)] = np.nan
    return found


def _in_crop(points: Float64[np.ndarray, "n j 2"], crops: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n j 2"]:
    """Image px in px of the stored crop, whose label is x0, y0 and the scale."""
    return (points - crops[:, None, :2] + 0.5) * crops[:, None, 2:] - 0.5


def charts(splits: Splits) -> list[Chart]:
    """Joints, sizes and classes."""
    found = [_joints(splits, "labelled"), _joints(splits, "visible")]
    found += [histogram(splits, splits.labels["box"], "Side of the person's box", "px")]
    for label, title in (("head_size", "Head size"), ("extent", "Longer side of the labelled box")):
        if label in splits.labels:
            found.append(histogram(splits, splits.labels[label], title, "px"))
    return [*found, _missing(splits), *classes(splits, FACETS)]


def _joints(splits: Splits, what: str) -> Chart:
    """How many of the persons have each joint labelled, or labelled and visible."""
    parts = [splits.labels[what][splits.split == number] for number in range(len(splits.stores))]
    shares = np.stack([100 * part.mean(axis=0) for part in parts], axis=1)
    return Chart(f"Joints that are {what}, % of persons", tuple(splits.names), joint_set(splits).names, shares, "%")


def _missing(splits: Splits) -> Chart:
    """How many joints persons lack."""
    missing = (~splits.labels["labelled"]).sum(axis=1)
    numbers = np.unique(missing)
    counts = [
        [int((missing[splits.split == number] == each).sum()) for number in range(len(splits.stores))]
        for each in numbers
    ]
    rows = tuple(str(each) for each in numbers)
    values = np.array(counts)
    return Chart("Joints that are not labelled, persons", tuple(splits.names), rows, values, "")


def features(splits: Splits, scanned: Scanned | None) -> tuple[Float64[np.ndarray, "n d"], str]:
    """What the map is made of, and its title."""
    return poses(splits), "Poses, without place and size, missing joints at their mean"


def skeleton(splits: Splits) -> dict[str, Any]:
    """Names, bones and sides of the joints, and which of them the data set labels at all."""
    labelled: Any = splits.labels["labelled"].any(axis=0).tolist()
    return skeleton_of(joint_set(splits), bones(splits, joints(splits)), labelled)


def version(data: object, batch: dict[str, torch.Tensor], side: int, note: str) -> Card:
    """A sample of a batch as training sees it."""
    small, factor = fitted(pixels(batch["image"][0]), side)
    joints = np.where(batch["labelled"][0].numpy()[:, None], batch["joints"][0].double().numpy(), np.nan)
    return Card((small,), ((joints + 0.5) * factor - 0.5)[None], note=note)
