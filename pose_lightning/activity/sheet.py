"""Activity stores: pictures and their classes."""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64

from pose_lightning.activity.data import ActivityData
from pose_lightning.browse.cards import Card, fitted, ground, pixels
from pose_lightning.browse.overview import Chart, classes, histogram
from pose_lightning.browse.scan import SAME, Scanned, duplicates, plain
from pose_lightning.browse.splits import Doubt, Splits
from pose_lightning.convert.groups import near_pairs

TINY: Final = 96
"""Px of the shorter side below which a picture is tiny."""

LONG: Final = 3.0
"""How many times as long as wide a picture may be before it is told."""

LISTED: Final = 3
"""Classes of a mixed picture that are named."""

FACETS: Final = ("category", "activity")
"""Text fields that a menu filters by."""

SIZE: Final = "Shorter side"
"""What `Card.size` is of."""

NOUN: Final = "pictures"
"""Of several samples."""


def doubts(splits: Splits, scanned: Scanned | None) -> list[Doubt]:
    """What looks wrong; without `scanned`, by the labels alone."""
    found = [*_sizes(splits), *_unlabelled(splits)]
    if scanned is not None:
        found += [*plain(scanned), *duplicates(splits, scanned, lambda *_: True), *_disagreeing(splits, scanned)]
    return found


def _sizes(splits: Splits) -> Iterable[Doubt]:
    heights, widths = (splits.labels[key].astype(np.int64) for key in ("height", "width"))
    for index, (height, width) in enumerate(zip(heights.tolist(), widths.tolist(), strict=True)):
        short, long = sorted((height, width))
        if short < TINY:
            yield Doubt(index, "tiny", f"{width} x {height} px", TINY / max(short, 1))
        if long > LONG * short:
            yield Doubt(index, "shape", f"{long / short:.1f} times as long as wide", long / short / LONG)


def _unlabelled(splits: Splits) -> Iterable[Doubt]:
    for index in np.flatnonzero((splits.labels["category"] == "") & (splits.labels["activity"] == "")).tolist():
        yield Doubt(index, "unlabelled", "has neither a category nor an activity", 1.0)


def _disagreeing(splits: Splits, scanned: Scanned) -> Iterable[Doubt]:
    """The same picture under two labels."""
    rows, names = scanned.rows, splits.labels["name"]
    told: set[int] = set()
    for first, second in rows[near_pairs(scanned.prints, SAME)].tolist():
        for index, mate in ((first, second), (second, first)):
            labels = [
                next(
                    (str(splits.labels[key][each]) for key in ("activity", "category") if splits.labels[key][each]), ""
                )
                for each in (index, mate)
            ]
            if labels[0] != labels[1] and index not in told:
                told.add(index)
                text = f"is {labels[0]!r}, but {names[mate]}, which looks the same, is {labels[1]!r}"
                yield Doubt(index, "label", text, 3.0)


def card(splits: Splits, index: int, side: int) -> Card:
    """The picture."""
    store, row = splits.at(index)
    labels = store.labels
    picture = ground(side) if store.codec is None else store.pixels(row)
    small, _ = fitted(picture, side)
    facts = [
        *((key, str(labels[key][row])) for key in ("category", "activity") if labels[key][row]),
        ("size", f"{labels['width'][row]} x {labels['height'][row]} px"),
        *([("fold", str(labels["fold"][row]))] if store.attrs.get("folds") else []),
    ]
    note = next((str(labels[key][row]) for key in ("activity", "category") if labels[key][row]), "unlabelled")
    size = float(min(labels["width"][row], labels["height"][row]))
    return Card((small,), facts=facts, size=size, note=note)


def thumbnails(splits: Splits, scanned: Scanned) -> Float64[np.ndarray, "n d"]:
    """Colours of 8 x 8 cells; NaN where a picture was not scanned."""
    cells = scanned.prints.thumbnail.astype(np.float64).reshape(len(scanned), 8, 2, 8, 2, 3).mean(axis=(2, 4))
    found = np.full((len(splits), cells[0].size if len(cells) else 1), np.nan)
    found[scanned.rows] = cells.reshape(len(cells), -1)
    return found


def charts(splits: Splits) -> list[Chart]:
    """Classes and sizes."""
    found = classes(splits, FACETS)
    shorter = np.minimum(splits.labels["height"], splits.labels["width"])
    found.append(histogram(splits, shorter, "Shorter side as stored", "px"))
    ratio = splits.labels["width"] / np.maximum(splits.labels["height"], 1)
    return [*found, histogram(splits, ratio, "Width relative to height", "")]


def features(splits: Splits, scanned: Scanned | None) -> tuple[Float64[np.ndarray, "n d"], str] | None:
    """What the map is made of, and its title; None without enough pictures."""
    if scanned is None or len(scanned) < 3:
        return None
    return thumbnails(splits, scanned), "Pictures, by the colours of 8 x 8 cells"


def skeleton(splits: Splits) -> dict[str, Any]:
    """None."""
    return {"joints": [], "bones": [], "sides": [], "labelled": []}


def version(data: ActivityData, batch: dict[str, torch.Tensor], side: int, note: str) -> Card:
    """A sample of a batch as training sees it."""
    small, _ = fitted(pixels(batch["image"][0]), side)
    return Card((small,), note=f"{note}: {_shares(data, batch['target'][0])}")


def _shares(data: ActivityData, target: torch.Tensor) -> str:
    """The classes of a picture, with their shares where they are mixed."""
    order = torch.argsort(target, descending=True)[:LISTED].tolist()
    named = [(data.classes[place], float(target[place])) for place in order if target[place] > 0]
    return ", ".join(name if share == 1 else f"{share:.2f} {name}" for name, share in named)
