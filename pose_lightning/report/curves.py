"""Loss and metrics, training and validation, by epoch and by samples seen."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pose_lightning.history import COUNTERS
from pose_lightning.report.page import Page, note
from pose_lightning.report.scores import NAMES
from pose_lightning.report.subject import Run, Subject
from pose_lightning.sweep.published import published

POINTS: Final = 400
"""Of one curve; longer ones are thinned out evenly."""

MOST_METRICS: Final = 8
"""Beside the loss and the followed metric, of a report with many runs."""

MANY: Final = 30

PREFIXES: Final = ("train/", "val/")


def add(page: Page, subject: Subject) -> None:
    """Add the section."""
    runs = [(run, _rows(run)) for run in subject.runs]
    names = _metrics(subject, [rows for _, rows in runs])
    if not names:
        page.section("curves", "Curves", note("No run has logged anything yet: there is no metrics.csv with values."))
        return
    charts = [
        page.chart("curves", caption, _data(subject, runs, chosen, caption))
        for chosen, caption in (
            (["loss"], "Loss"),
            ([name for name in names if name != "loss"], "Metrics"),
        )
        if set(chosen) <= set(names) and chosen
    ]
    seeds = "Of cells with several seeds the line is their mean, and the band reaches from the lowest to the highest. "
    several = len(subject.runs) > len(subject.labels)
    explained = (
        "Dashed: training; solid: validation. Arrow keys move through the points of a chart that has the focus; "
        "a press on a name shows or hides it."
    )
    page.section("curves", "Curves", note(f"{seeds if several else ''}{explained}"), *charts)


def _metrics(subject: Subject, logged: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of metrics without the split: the followed one first, loss, then others."""
    found = dict.fromkeys(name.partition("/")[2] for rows in logged for name in rows["values"])
    followed = list(dict.fromkeys(run.metric.partition("/")[2] for run in subject.runs))
    order = [name for name in (*followed, "loss", *found) if name in found]
    order = list(dict.fromkeys(order))
    return order[:MOST_METRICS] if len(subject.runs) > MANY else order


def _rows(run: Run) -> dict[str, Any]:
    """Steps that ended an epoch or validation, with every value logged there."""
    values: dict[str, dict[int, float]] = {}
    counters: dict[int, tuple[float, float]] = {}
    per_epoch = math.nan
    for row in run.trial.rows:
        step = int(row["step"])
        for name, value in row.items():
            if not name or name in COUNTERS or value in (None, "") or name.endswith("_step"):
                continue
            if name.startswith(PREFIXES):
                values.setdefault(name, {})[step] = float(value)
                samples, epoch = float(row.get("samples") or 0), float(row.get("epoch") or 0) + 1
                counters[step] = samples, epoch
                per_epoch = samples / epoch if math.isnan(per_epoch) else max(per_epoch, samples / epoch)
    steps = sorted(counters)
    if len(steps) > POINTS:
        steps = sorted({steps[round(place * (len(steps) - 1) / (POINTS - 1))] for place in range(POINTS)})
    return {
        "steps": steps,
        "samples": [counters[step][0] for step in steps],
        "epochs": [counters[step][0] / per_epoch for step in steps] if per_epoch > 0 else steps,
        "values": {name: [found.get(step) for step in steps] for name, found in values.items()},
    }


def _data(
    subject: Subject, runs: Sequence[tuple[Run, Mapping[str, Any]]], chosen: Sequence[str], caption: str
) -> dict[str, Any]:
    labels = subject.labels
    return {
        "title": caption,
        "labels": labels,
        "metrics": [{"name": name, "title": NAMES.get(name, name)} for name in chosen],
        "published": {name: _references(subject, name) for name in chosen},
        "runs": [
            {
                "label": labels.index(run.label),
                "seed": run.trial.seed,
                "samples": rows["samples"],
                "epochs": rows["epochs"],
                "values": {name: values for name, values in rows["values"].items() if name.partition("/")[2] in chosen},
            }
            for run, rows in runs
        ],
    }


def _references(subject: Subject, name: str) -> list[dict[str, Any]]:
    """Published numbers of the same kind, which stand beside real data only."""
    if subject.synthetic:
        return []
    found = {
        (each.value, each.source): {"value": each.value, "label": f"{each.source}: {each.value:g} ({each.data})"}
        for run in subject.runs
        for each in published(run.trial.settings, f"val/{name}")
        if run.notes.get("dataset") == "mpii" or "mpii" not in run.experiment
    }
    return list(found.values())
