"""Curves of a run: a PNG per metric, training and validation by samples seen."""

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pose_lightning.files import make_folder, writing
from pose_lightning.history import read_metrics

Curve = tuple[list[float], list[float]]
"""Places on the axis, and values."""

COLOURS: Final = {"train": "#4477aa", "val": "#cc3311"}
SIZE: Final = (6.4, 4.0)
DPI: Final = 120


def read_curves(metrics: Path, name: str) -> dict[str, Curve]:
    """The split's values of one metric in a metrics.csv, by samples seen, where they are finite."""
    curves: dict[str, Curve] = {}
    for row in read_metrics(metrics):
        for split in COLOURS:
            value = float(row.get(f"{split}/{name}") or math.nan)
            if math.isfinite(value):
                places, values = curves.setdefault(split, ([], []))
                places.append(float(row["samples"]))
                values.append(value)
    return curves


def write_curves(folder: Path, metrics: Path, names: Mapping[str, str], *, title: str, epoch: int) -> list[Path]:
    """Draw `folder`/NAME.png for every metric that metrics.csv has.

    Args:
        folder: Is made if need be.
        metrics: The run's metrics.csv.
        names: Metric after `train/` and `val/` -> label of its axis.
        title: Above every picture; says demo where the data is.
        epoch: Training samples of an epoch, for a second axis.

    Returns:
        What was written.
    """
    written = []
    for name, label in names.items():
        if curves := read_curves(metrics, name):
            path = make_folder(folder, inside=folder.parent) / f"{name}.png"
            _draw(path, curves, label, title, epoch)
            written.append(path)
    return written


def _draw(path: Path, curves: Mapping[str, Curve], label: str, title: str, epoch: int) -> None:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    for split, (places, values) in curves.items():
        axes.plot(places, values, color=COLOURS[split], label=split, marker="o", markersize=3, linewidth=1.5)
    if _spans_decades(curves.values()):
        axes.set_yscale("log")
    axes.set(xlabel="training samples seen", ylabel=label, title=title)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    above = axes.secondary_xaxis("top", functions=(partial(np.multiply, 1 / epoch), partial(np.multiply, epoch)))
    above.set_xlabel("epochs")
    with writing(path, extension=".png") as partial_path:
        FigureCanvasAgg(figure).print_figure(partial_path, dpi=DPI)


def _spans_decades(curves: Iterable[Curve]) -> bool:
    """Whether the values are positive and differ by more than a factor of 30, so that a linear axis would hide most."""
    values = [value for _, each in curves for value in each]
    return min(values) > 0 and max(values) > 30 * min(values)
