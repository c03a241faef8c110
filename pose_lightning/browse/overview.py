"""What a data set looks like as a whole: counts, sizes, and a map of its poses."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from pose_lightning.browse.splits import Splits

BINS: Final = 20
MOST_CLASSES: Final = 60
"""Rows of a table of classes."""


@dataclass(frozen=True)
class Chart:
    """A table with a bar in each cell.

    Attributes:
        title: Its caption.
        series: Names of the columns: the splits.
        labels: Names of the rows.
        values: (rows, columns).
        unit: `%` or empty.
        note: A sentence below.
    """

    title: str
    series: tuple[str, ...]
    labels: tuple[str, ...]
    values: np.ndarray
    unit: str
    note: str = ""

    @property
    def full(self) -> list[float]:
        """What a full bar stands for, by column: 100 %, or the column's most, because splits differ in size."""
        most = self.values.max(axis=0, initial=0).tolist()
        return [100.0 if self.unit == "%" else each or 1.0 for each in most]


def histogram(splits: Splits, values: np.ndarray, title: str, unit: str) -> Chart:
    """Counts in bins from the 0.5 % to the 99.5 % quantile; the outer bins hold the rest."""
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    note = "" if known.all() else f"Unknown for {int((~known).sum()):,} samples."
    if not known.any():
        return Chart(title, tuple(splits.names), (), np.zeros((0, len(splits.stores))), "")
    low, high = np.quantile(values[known], [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)
    counts = np.stack(
        [np.bincount(places[known & (splits.split == number)], minlength=BINS) for number in range(len(splits.stores))],
        axis=1,
    )
    rows = tuple(f"{start:.3g} to {end:.3g}" for start, end in pairwise(edges))
    caption = f"{title}{f', {unit}' if unit else ''}; median {np.median(values[known]):.3g}"
    return Chart(caption, tuple(splits.names), rows, counts, "", note)


def classes(splits: Splits, fields: tuple[str, ...]) -> list[Chart]:
    """How many samples each value of a text field has, the commonest first."""
    found = []
    for field in fields:
        if field not in splits.labels:
            continue
        counts = Counter(splits.labels[field].tolist())
        known = [(name, count) for name, count in counts.most_common() if name]
        if not known:
            continue
        names = [str(name) for name, _ in known[:MOST_CLASSES]]
        values = np.array(
            [
                [
                    int(((splits.labels[field] == name) & (splits.split == number)).sum())
                    for number in range(len(splits.stores))
                ]
                for name in names
            ]
        )
        note = f"{len(known) - len(names)} more have fewer." if len(known) > len(names) else ""
        note += f" {counts['']:,} samples have none." if counts.get("") else ""
        title = f"Samples of each {field} ({len(known)})"
        found.append(Chart(title, tuple(splits.names), tuple(names), values, "", note.strip()))
    return found


@dataclass(frozen=True)
class Map:
    """All samples in a plane.

    Attributes:
        title: What is near to what.
        places: (n, 2), NaN where a sample has none.
        explained: Share of the variance that each axis explains.
    """

    title: str
    places: Float64[np.ndarray, "n 2"]
    explained: tuple[float, float]

    def to_json(self, splits: Splits, shown: dict[int, int]) -> dict[str, Any]:
        """What the page draws: whole numbers, -1000 to 1000."""
        known = np.flatnonzero(np.isfinite(self.places).all(axis=1))
        largest = np.abs(self.places[known]).max() if len(known) else 1.0
        places = np.round(1000 * self.places[known] / (largest or 1.0)).astype(int)
        return {
            "title": self.title,
            "x": places[:, 0].tolist(),
            "y": places[:, 1].tolist(),
            "split": splits.split[known].tolist(),
            "name": splits.labels["name"][known].tolist(),
            "card": [shown.get(index, -1) for index in known.tolist()],
            "explained": [round(100 * share, 1) for share in self.explained],
        }


def principal(features: Float64[np.ndarray, "n d"], title: str) -> Map | None:
    """Principal components; rows with NaN have no place. None where fewer than 3 rows are left."""
    known = np.isfinite(features).all(axis=1)
    if known.sum() < 3:
        return None
    rest = features[known] - features[known].mean(axis=0)
    values, vectors = np.linalg.eigh(rest.T @ rest)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1.0, 1.0)
    places = np.full((len(features), 2), np.nan)
    places[known, : axes.shape[1]] = rest @ axes
    if axes.shape[1] < 2:
        places[known, 1] = 0.0
    total = max(float(values.sum()), 1e-12)
    shares = [max(0.0, float(value)) / total for value in values[::-1][:2]]
    return Map(title, places, (shares[0], shares[1] if len(shares) > 1 else 0.0))
