"""The confusion matrix and the classes' scores as files."""

import csv
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Int64
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pose_lightning.activity.evaluation import Score
from pose_lightning.files import as_cell, write_text, writing

MOST: Final = 40
"""Classes that a picture of the matrix has room for."""

NUMBERED: Final = 25
"""With no more classes than this, every cell says how many pictures it has."""

LONGEST: Final = 34
"""Letters of a class's name beside the matrix."""

DPI: Final = 120


def write_confusion_csv(path: Path, score: Score) -> None:
    """Write pictures by true class (row) and predicted class (column), whole or not at all."""
    assert score.confusion is not None, "tags have no confusion matrix"  # noqa: S101 - our own invariant
    rows = zip(score.truth.classes, score.confusion.tolist(), strict=True)
    _write_csv(path, [["true \\ predicted", *score.truth.classes], *([name, *row] for name, row in rows)])


def write_classes_csv(path: Path, score: Score) -> None:
    """Write every class's pictures and scores with their intervals, most frequent first; empty where undefined."""
    measures = list(next(iter(score.by_class.values())))
    header = [f"{name}{end}" for name in measures for end in ("", "_low", "_high")]
    rows: list[list[Any]] = [[score.truth.target, "pictures", *header]]
    for name, count in sorted(score.support.items(), key=lambda item: -item[1]):
        values = [each for measure in measures for each in vars(score.by_class[name][measure]).values()]
        rows.append([name, count, *("" if math.isnan(value) else f"{value:.4f}" for value in values)])
    _write_csv(path, rows)


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([as_cell(value) for value in row] for row in rows)
    write_text(path, text.getvalue(), errors="surrogateescape")


def write_confusion_png(path: Path, matrix: Int64[np.ndarray, "k k"], classes: Sequence[str], *, title: str) -> None:
    """Draw a confusion matrix: rows are true classes, coloured by the share of the row's pictures.

    Of more than `MOST` classes it shows the most frequent ones, which the title then says; what they were confused with
    outside of these counts in the shares.
    """
    support = matrix.sum(axis=1)
    chosen = np.arange(len(classes))
    if len(classes) > MOST:
        chosen = np.sort(np.argsort(-support, kind="stable")[:MOST])
        title = f"{title}\nthe {MOST} most frequent of {len(classes)} classes"
    shown = matrix[np.ix_(chosen, chosen)]
    shares = shown / np.maximum(support[chosen], 1)[:, None]
    names = [_short(classes[place]) for place in chosen.tolist()]
    side = 3.0 + 0.3 * len(chosen)
    figure = Figure(figsize=(side + 2.0, side), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    counted = [f"{name} ({count})" for name, count in zip(names, support[chosen].tolist(), strict=True)]
    axes.set_yticks(range(len(names)), counted, fontsize=8)
    axes.set(xlabel="predicted", ylabel="true (pictures)")
    axes.set_title(title, fontsize=10)
    axes.spines[:].set_visible(False)
    if len(chosen) <= NUMBERED:
        for row, column in np.argwhere(shown > 0).tolist():
            colour = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(shown[row, column]), ha="center", va="center", fontsize=7, color=colour)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02)
    bar.set_label("share of the true class", fontsize=8)
    with writing(path, extension=".png") as partial, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the CSV has the names in every script
        FigureCanvasAgg(figure).print_figure(partial, dpi=DPI)


def _short(name: str) -> str:
    text = name.replace("$", r"\$")  # which would begin mathematics
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
