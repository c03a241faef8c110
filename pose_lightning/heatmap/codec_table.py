"""What a perfect network would score under each way of turning joints into heatmaps and back.

Map positions are c = (x - center) * 64 / box + 32 here, from edge to edge: 0 to 64, the middle of cell k at k + 0.5.
Centre and joint may both count from 0 or from 1, so published conventions compare without asking which.
"""

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float64
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pose_lightning.errors import UserError, complain
from pose_lightning.files import local_path
from pose_lightning.heatmap.codec import decode, encode
from pose_lightning.heatmap.published_truth import as_published
from pose_lightning.heatmap.table import SYNTHETIC
from pose_lightning.heatmap.truth import Truth
from pose_lightning.manner import DecodeMethod
from pose_lightning.metrics import points as metrics
from pose_lightning.options import OptionParser
from pose_lightning.store import Store
from pose_lightning.terminal import Terminal

SIZE: Final = metrics.HEATMAP_SIZE
THRESHOLDS: Final = (0.5, 0.1, 0.05)
ADJUSTMENT: Final = (15.0, 1.25)
"""MPII's: center.y += 15 * scale, scale *= 1.25, where a box is 200 px times its scale (pose-hg-train, mpii.lua)."""

CHUNK: Final = 16
"""Persons whose maps are in memory at once."""

Places = Float64[np.ndarray, "n j 2"]


@dataclass(frozen=True)
class Ceiling:
    """What a perfect network scores under one convention.

    Attributes:
        convention: What it is called.
        within: Joints within each of `THRESHOLDS` units, per cent of the scored joints' labels; NaN without a label.
        bias: Mean of decoded minus true place, x and y, in px of a 64 px map of the box, over all those labels.
    """

    convention: str
    within: tuple[float, ...]
    bias: tuple[float, float]


def truncated(places: Places) -> Places:
    """The cell that holds the place, or the nearest one: what `int` or Torch's `drawGaussian` make of it."""
    return np.floor(places).clip(0, SIZE - 1)


def rounded(places: Places) -> Places:
    """The nearest cell, where cell k is counted as place k: int(c + 0.5) of MSRA's and HRNet's code."""
    return np.floor(places + 0.5).clip(0, SIZE - 1)


def exact(places: Places) -> Places:
    """The place itself, or the nearest of the map's edge."""
    return places.clip(0, SIZE)


@dataclass(frozen=True)
class _Convention:
    """How a place becomes another one.

    Attributes:
        name: In the table.
        decoded: From true to decoded place.
        image: From decoded to reported image px.
        adjusted: How often the box was adjusted once more.
    """

    name: str
    decoded: Callable[[Places], Places]
    image: Callable[[Places], Places] = lambda points: points
    adjusted: int = 0


CONVENTIONS: Final = (
    _Convention("exact sub-pixel (DARK's, UDP's ideal)", exact),
    _Convention("trunc encode, arg-max, no +0.5", truncated),
    _Convention("trunc encode, arg-max +0.5 (Newell, bearpaw)", lambda c: truncated(c) + 0.5),
    _Convention("same, int() of image px (Newell)", lambda c: truncated(c) + 0.5, image=np.trunc),
    _Convention("trunc +0.5 -0.25 (psh: a tie moves back)", lambda c: truncated(c) + 0.25),
    _Convention("round encode, arg-max (MSRA, HRNet)", rounded),
    _Convention("round encode, arg-max +0.5 (mixed)", lambda c: rounded(c) + 0.5),
    _Convention("round, 1-based for 0-based (+1 image px)", rounded, image=lambda points: points + 1),
    _Convention("exact, +1 image px", exact, image=lambda points: points + 1),
    _Convention("exact, unaligned flip average", lambda c: exact(c) + np.array([0.5, 0.0])),
    _Convention("center, scale adjusted twice, round, arg-max", rounded, adjusted=1),
)
"""The conventions of published code, each with a network that answers it perfectly."""


def ceilings(truth: Truth) -> Iterator[Ceiling]:
    """What each of `CONVENTIONS` costs on these labels."""
    for each in CONVENTIONS:
        center, box = truth.center, truth.box
        for _ in range(each.adjusted):
            center = center + np.stack([np.zeros_like(box), ADJUSTMENT[0] * box / 200], axis=-1)
            box = box * ADJUSTMENT[1]
        cells = (box / SIZE)[:, None, None]
        places = (truth.joints - center[:, None]) / cells + SIZE / 2
        points = (each.decoded(places) - SIZE / 2) * cells + center[:, None]
        yield _ceiling(each.name, each.image(points + 1) - 1, truth)  # int() sees MATLAB's px, which begin at 1


def decoders(truth: Truth, sigma: float) -> Iterator[Ceiling]:
    """What each of our decoders makes of our gaussians: the same, with maps."""
    cells = (truth.box / SIZE)[:, None, None]
    places = torch.from_numpy((truth.joints - truth.center[:, None]) / cells + (SIZE - 1) / 2)
    labelled = torch.from_numpy(truth.labelled)
    methods: tuple[DecodeMethod, ...] = get_args(DecodeMethod)
    decoded: dict[DecodeMethod, list[np.ndarray]] = {method: [] for method in methods}
    for start in range(0, len(places), CHUNK):
        chunk = slice(start, start + CHUNK)
        maps = encode(places[chunk], labelled[chunk], SIZE, sigma)
        for method, found in decoded.items():
            found.append(decode(maps, method, sigma=sigma)[0].double().numpy())
    for method, found in decoded.items():
        points = (np.concatenate(found) - (SIZE - 1) / 2) * cells + truth.center[:, None]
        yield _ceiling(f"ours, {method}", points, truth)


def _ceiling(convention: str, points: Places, truth: Truth) -> Ceiling:
    scored = list(truth.joint_set.scored)
    labelled = truth.labelled[:, scored]
    errors = metrics.joint_errors(
        torch.from_numpy(points[:, scored]), torch.from_numpy(truth.joints[:, scored]), torch.tensor(truth.unit)
    ).numpy()
    counted = errors[labelled & (truth.unit > 0)[:, None]]
    shift = ((points - truth.joints) * (SIZE / truth.box)[:, None, None])[:, scored][labelled]
    x, y = (_mean(shift[:, axis]) for axis in (0, 1))
    return Ceiling(convention, within=tuple(100 * _mean(counted <= each) for each in THRESHOLDS), bias=(x, y))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def without_zeroed(truth: Truth) -> tuple[Truth, int]:
    """The truth of `as_published` without the joints whose coordinates it zeroes, and how many these are.

    No network, however good, is meant to find them.
    """
    zeroed: Bool[np.ndarray, "n j"] = truth.labelled & (truth.joints == -1).any(axis=-1)
    return replace(truth, labelled=truth.labelled & ~zeroed), int(zeroed.sum())


def table(rows: Mapping[str, Sequence[Ceiling]], truth: Truth, footnotes: Sequence[str]) -> RenderableType:
    """Groups of rows, by their heading, as a table of at most 80 columns with its footnotes."""
    shown = Table(box=None, padding=(0, 0, 0, 1))
    shown.add_column(f"a perfect network, {len(truth.joint_set.scored)} joints", no_wrap=True)
    for name in (*(f"@{threshold:g}" for threshold in THRESHOLDS), "x", "y"):
        shown.add_column(name, justify="right", no_wrap=True)
    for heading, group in rows.items():
        shown.add_row(Text(heading, style="bold"))
        for row in group:
            shown.add_row(row.convention, *(f"{each:.2f}" for each in row.within), *map(_signed, row.bias))
    parts: list[RenderableType] = [shown, Text()]
    if truth.notes.get("synthetic", False):
        parts.insert(0, Text(SYNTHETIC, style="bold white on red"))
    return Group(*parts, *(Padding(Text(line), (0, 0, 0, 2)) for line in footnotes))


def _signed(value: float) -> str:
    text = f"{value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def _footnotes(truth: Truth, sigma: float, zeroed: int | None) -> list[str]:
    scored = truth.labelled[:, list(truth.joint_set.scored)]
    headless, unit = ~(truth.unit > 0), metrics.UNIT_NAMES[truth.joint_set.reference][0]
    title = metrics.title(truth.joint_set)
    center = np.abs(truth.joints - truth.center[:, None]).max(axis=-1)
    outside = (center > truth.box[:, None] / 2)[:, list(truth.joint_set.scored)] & scored
    notes = [
        f"{title} in per cent of {int(scored[~headless].sum()):,} labels, each the same; bias of "
        f"{int(scored.sum()):,} in px of a {SIZE} px map of the box. Ceilings, not expected scores.",
        f"{100 * outside.sum() / scored.sum():.2f} % of the joints are outside the box and decode to its edge.",
        f"Ours: gaussians of sigma {sigma:g} at the exact place, drawn and decoded.",
    ]
    if headless.any():
        notes.insert(1, f"{int(headless.sum())} of {len(truth)} persons have no {unit} and no {title}.")
    if zeroed is not None:
        notes.append(f"Truth: {truth.notes['published_truth']}, which are left out here.")
    return notes


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="python -m pose_lightning.heatmap.codec",
        description="What a perfect network would score on a store's labels under each way of drawing and decoding.",
    )
    parser.add_argument("store", type=local_path, help="a pose store; labels are enough")
    parser.add_argument(
        "--published-truth", type=local_path, metavar="MAT", help="HRNet's gt_valid.mat: the labels of published scores"
    )
    parser.add_argument("--sigma", type=float, default=1.0, help="of our gaussians, heatmap px (1)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; a user's mistake is printed alone and exits with 2."""
    options = _parser().parse_args(arguments)
    try:
        _print(options.store, options.published_truth, options.sigma)
    except UserError as error:
        complain(error)
        raise SystemExit(2) from None


def _print(path: Path, published: Path | None, sigma: float) -> None:
    if not 0 < sigma <= SIZE / 4:
        raise UserError(f"--sigma {sigma:g} is out of range; it is above 0 and at most {SIZE // 4} px")
    with Store(path) as store:
        truth = Truth.from_store(store)
    zeroed = None
    if published is not None:
        truth, zeroed = without_zeroed(as_published(truth, published))
    if not truth.labelled[:, list(truth.joint_set.scored)].any():
        raise UserError(f"{path} has no labelled joint; there is nothing to score")
    rows = {"published conventions": list(ceilings(truth)), "our codec": list(decoders(truth, sigma))}
    console = Terminal(width=min(80, Terminal().width), highlight=False)
    console.print(f"{path}: {len(truth):,} persons", soft_wrap=True)
    console.print(table(rows, truth, _footnotes(truth, sigma, zeroed)))
