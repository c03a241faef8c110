"""Every picture looked at once, small and in threads: its fingerprint, its plainness, and where the photograph ends."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import simplejpeg
from jaxtyping import Int64, UInt8
from rich.progress import track

from pose_lightning.browse.splits import Doubt, Splits
from pose_lightning.convert.groups import Fingerprints, Likeness, fingerprint, near_pairs
from pose_lightning.errors import UserError
from pose_lightning.terminal import Terminal

SMALLEST: Final = 96
"""JPEG files are decoded at the smallest of their scales that leaves so many px."""

BLACK: Final = 14
"""Largest grey level of padding: it is black, and JPEG adds a little."""

SAME: Final = Likeness(bits=5, levels=4.0)
"""One picture, saved or resized again."""

SAME_CROP: Final = Likeness(bits=2, levels=8.0)
"""Crops of one photograph that differ a little; neighbouring frames of a film differ in more bits."""

PLAIN: Final = 4.0
"""Standard deviation of grey levels below which a picture shows nothing."""


@dataclass(frozen=True)
class Scanned:
    """What one look at each picture found; a row per scanned sample.

    Attributes:
        rows: The samples' numbers, ascending.
        prints: Their fingerprints, without black borders.
        contrast: Standard deviation of the grey levels.
        inside: The part that is not a black border, as shares of the sides: left, top, right, bottom.
    """

    rows: Int64[np.ndarray, " m"]
    prints: Fingerprints
    contrast: np.ndarray
    inside: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def scan(splits: Splits, rows: Int64[np.ndarray, " m"]) -> Scanned:
    """Look at the named samples; of a clip at its middle frame.

    Raises:
        StoreError: If a picture is damaged.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "scan") as threads:
        looks = threads.map(lambda row: _look(splits, int(row)), rows, chunksize=1)
        found = list(
            track(looks, "Looking at pictures", total=len(rows), console=Terminal(stderr=True), transient=True)
        )
    return Scanned(
        rows,
        Fingerprints.of([each[0] for each in found]),
        np.array([each[1] for each in found]),
        np.array([each[2] for each in found]).reshape(-1, 4),
    )


def _look(splits: Splits, index: int) -> tuple[tuple[int, np.ndarray, np.ndarray], float, tuple[float, ...]]:
    picture = small(splits, index)
    left, top, right, bottom = inside(picture)
    part = picture[top:bottom, left:right]
    height, width = picture.shape[:2]
    grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY)
    shares = (left / width, top / height, right / width, bottom / height)
    return fingerprint(part), float(grey.std()), shares


def small(splits: Splits, index: int) -> UInt8[np.ndarray, "h w 3"]:
    """A sample's picture, smaller where that saves work; of a clip the middle frame."""
    store, row = splits.at(index)
    if store.codec == "jpeg" and not splits.kind.clips:
        payload = store.payload(row)
        try:
            return simplejpeg.decode_jpeg(
                payload, "RGB", fastdct=True, fastupsample=True, min_height=SMALLEST, min_width=SMALLEST
            )
        except ValueError as error:
            raise UserError(f"{store.path}: sample {row} ({store.name(row)!r}) cannot be decoded: {error}") from error
    pixels = store.pixels(row)
    return pixels[len(pixels) // 2] if pixels.ndim == 4 else pixels


def inside(picture: UInt8[np.ndarray, "h w 3"]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom px of what is not a black border; everything where all is black."""
    bright = picture.max(axis=2) > BLACK
    ends: list[tuple[int, int]] = []
    for axis in (0, 1):
        lines = np.flatnonzero(bright.mean(axis=axis) > 0.02)  # a bright speck of JPEG's is no photograph
        ends.append((int(lines[0]), int(lines[-1]) + 1) if len(lines) else (0, bright.shape[1 - axis]))
    (left, right), (top, bottom) = ends
    return left, top, right, bottom


def duplicates(
    splits: Splits, scanned: Scanned, distinct: Callable[[int, int], bool], likeness: Likeness = SAME
) -> list[Doubt]:
    """Pictures that are one, under different names.

    Args:
        splits: The data set.
        scanned: Of its samples.
        distinct: Whether two samples should not look the same; two persons of one photograph may.
        likeness: How near their fingerprints must be.
    """
    told = scanned.contrast >= PLAIN
    rows = scanned.rows[told]
    pairs = near_pairs(scanned.prints.take(np.flatnonzero(told)), likeness)
    names, splits_of = splits.labels["name"], splits.names
    mates: dict[int, list[int]] = {}
    for first, second in rows[pairs].tolist():
        if distinct(first, second):
            mates.setdefault(first, []).append(second)
            mates.setdefault(second, []).append(first)
    doubts = []
    for index, others in mates.items():
        across = [each for each in others if splits.split[each] != splits.split[index]]
        mate = (across or others)[0]
        where = f" of {splits_of[splits.split[mate]]}" if across else ""
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        rule = "other split" if across else "duplicate"
        doubts.append(Doubt(index, rule, f"looks like {names[mate]}{where}{more}", 2.0 if across else 1.2))
    return doubts


def plain(scanned: Scanned) -> list[Doubt]:
    """Pictures that show nothing."""
    found = np.flatnonzero(scanned.contrast < PLAIN)
    return [
        Doubt(int(scanned.rows[row]), "plain", f"grey levels differ by {scanned.contrast[row]:.1f} of 255 only", 1.5)
        for row in found
    ]
