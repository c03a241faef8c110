"""Cross-validation: predictions of several runs, each of the fold that it was not trained on, scored as one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64
from rich.table import Table
from scipy.special import stdtrit

from pose_lightning import statistics
from pose_lightning.activity import baselines, evaluation, predictions, report, table
from pose_lightning.activity.predictions import Predictions
from pose_lightning.activity.scoring import baseline_scores
from pose_lightning.activity.truth import Pictures, Target, Truth
from pose_lightning.errors import UserError
from pose_lightning.metrics.classes import ClassErrors, TagErrors
from pose_lightning.scoring import Outcome

SHOWN: Final[Mapping[bool, tuple[str, ...]]] = {
    False: ("top1", "top5", "balanced", "macro_f1", "nll"),
    True: ("map", "micro_f1", "macro_f1", "subset_accuracy"),
}
"""Columns of the table of folds; for tags or not."""


@dataclass(frozen=True)
class Spread:
    """One measure of every fold.

    Attributes:
        values: By fold.
        mean: Of them; every fold weighs the same.
        deviation: Their standard deviation, of a sample.
        low: Lower end of the mean's 95 % t interval, which takes the folds for independent.
        high: Upper end.
    """

    values: tuple[float, ...]
    mean: float
    deviation: float
    low: float
    high: float


def judge_folds(paths: Sequence[Path], store: Pictures, *, target: Target, title: str) -> Outcome:
    """Score the predictions of all folds as one, and each fold's.

    Args:
        paths: `predictions.h5` of one run for every fold, in any order.
        store: `train.h5` with all folds.
        target: What was predicted.
        title: Of the experiment.

    Raises:
        UserError: If not every labelled picture was predicted exactly once.
    """
    truth = Truth.from_store(store, target)
    preds = pool([predictions.read(path, target) for path in paths], truth)
    folds = sorted(set(truth.fold.tolist()))
    scores = [
        evaluation.score(preds, truth, title=title),
        *baseline_scores(_baselines(truth, folds), truth),
    ]
    spreads = spread([measures(preds[truth.fold == fold], truth[truth.fold == fold]) for fold in folds])
    pictures = [int((truth.fold == fold).sum()) for fold in folds]
    return Outcome(
        scores=scores,
        table=table.render(scores, folds=_table(spreads, folds, pictures), count=len(folds)),
        json={
            **report.to_json(scores, folds=len(folds)),
            "folds": {
                "folds": folds,
                "pictures": pictures,
                "predictions": [str(path) for path in paths],
                "measures": {name: _spread_json(each) for name, each in spreads.items()},
            },
        },
    )


def pool(parts: Sequence[Predictions], truth: Truth) -> Float64[np.ndarray, "n k"]:
    """Predictions of all pictures, in the order of `truth`, from files that hold one fold each.

    Raises:
        UserError: If a file is not of one fold of the split, or a picture is in two files or in none.
    """
    if set(truth.fold.tolist()) == {-1}:
        raise UserError(
            f"{truth.notes.get('dataset', 'the data')} has no folds; convert with `--folds K`, and train one run a fold"
        )
    rows = {name: row for row, name in enumerate(truth.names)}
    preds = np.full(truth.has.shape, np.nan)
    origin: dict[int, Path] = {}
    for part in parts:
        predictions.check_classes(part, truth)
        fold = _fold(part, truth, rows)
        if fold in origin:
            raise UserError(f"{part.path} and {origin[fold]} both predict fold {fold}; give one run for every fold")
        origin[fold] = part.path
        for name, values in zip(part.names or (), part.preds, strict=True):
            if not np.isnan(preds[rows[name], 0]):
                raise UserError(f"{part.path} predicts {name!r} twice")
            preds[rows[name]] = values
    if missing := sorted(set(truth.fold.tolist()) - set(origin)):
        raise UserError(
            f"no run predicts fold {', '.join(map(str, missing))}: give one run for every fold, 0 to "
            f"{int(truth.fold.max())} (`make fit EXP=... FOLD={missing[0]}`)"
        )
    if (left := np.isnan(preds).any(axis=1)).any():
        row = int(np.flatnonzero(left)[0])
        fold = int(truth.fold[row])
        raise UserError(f"{origin[fold]} does not predict {truth.names[row]!r} of fold {fold}; evaluate that run again")
    return preds


def _fold(part: Predictions, truth: Truth, rows: Mapping[str, int]) -> int:
    """The one fold that a file is of."""
    if part.names is None:
        raise UserError(f"{part.path} does not name its pictures; folds are pooled from the predictions.h5 of runs")
    if unknown := next((name for name in part.names if name not in rows), None):
        raise UserError(
            f"{part.path} predicts {unknown!r}, which is not among the pictures of the folds with a label for "
            f"target={truth.target}; it is of another split or conversion"
        )
    folds = sorted({int(truth.fold[rows[name]]) for name in part.names})
    if len(folds) != 1:
        raise UserError(f"{part.path} predicts pictures of folds {', '.join(map(str, folds))}; wanted one fold a run")
    return folds[0]


def measures(preds: Float64[np.ndarray, "n k"], truth: Truth) -> dict[str, float]:
    """Every measure of some pictures, without intervals."""
    scores, weight = torch.from_numpy(np.ascontiguousarray(preds)), torch.ones(len(truth))
    if truth.target == "tags":
        tags = TagErrors(len(truth.classes))
        tags.update(scores, torch.from_numpy(truth.has).double(), weight)
        return {name: value.item() for name, value in tags.compute().items()}
    classes = ClassErrors(len(truth.classes))
    classes.update(scores, torch.from_numpy(truth.label), weight)
    return {name: value.item() for name, value in classes.compute().items()}


def spread(folds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Mean and spread of every measure over folds."""
    found = {}
    for name in folds[0]:
        values = np.array([fold[name] for fold in folds])
        mean, count = float(values.mean()), len(values)
        deviation = float(values.std(ddof=1)) if count > 1 else math.nan
        half = float(stdtrit(count - 1, (1 + statistics.LEVEL) / 2)) * deviation / math.sqrt(count)
        found[name] = Spread(tuple(values.tolist()), mean, deviation, mean - half, mean + half)
    return found


def _baselines(truth: Truth, folds: Sequence[int]) -> baselines.Baselines:
    """Each fold's from the other folds."""
    pooled: dict[str, np.ndarray] = {}
    for fold in folds:
        held_out = truth.fold == fold
        for name, preds in baselines.baselines(truth[~held_out], truth[held_out]).items():
            pooled.setdefault(name, np.zeros(truth.has.shape))[held_out] = preds
    return pooled


def _table(spreads: Mapping[str, Spread], folds: Sequence[int], pictures: Sequence[int]) -> Table:
    shown = SHOWN["map" in spreads]
    result = Table(box=None, padding=(0, 1, 0, 0), title="By fold", title_justify="left")
    result.add_column("fold", no_wrap=True)
    result.add_column("n", justify="right", no_wrap=True)
    digits = {name: 3 if evaluation.unit(name) == "nats" else 1 for name in shown}
    for name in shown:
        result.add_column(f"{table.ROWS[name]}, {evaluation.unit(name)}", justify="right", max_width=13)
    for place, (fold, count) in enumerate(zip(folds, pictures, strict=True)):
        cells = [table.number(spreads[name].values[place], digits[name]) for name in shown]
        result.add_row(str(fold), str(count), *cells)
    means = [table.number(spreads[name].mean, digits[name]) for name in shown]
    result.add_row("mean", "", *means, style="bold")
    result.add_row("sd", "", *(table.number(spreads[name].deviation, digits[name]) for name in shown))
    ends = [(spreads[name].low, spreads[name].high) for name in shown]
    for label, side in (("95 % from", 0), ("95 % to", 1)):
        cells = [table.number(pair[side], digits[name]) for name, pair in zip(shown, ends, strict=True)]
        result.add_row(label, "", *cells)
    return result


def _spread_json(each: Spread) -> dict[str, Any]:
    numbers = {"mean": each.mean, "sd": each.deviation, "low": each.low, "high": each.high}
    return {
        "values": [value if math.isfinite(value) else None for value in each.values],
        **{key: value if math.isfinite(value) else None for key, value in numbers.items()},
    }
