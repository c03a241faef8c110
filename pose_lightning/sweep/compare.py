"""`python -m pose_lightning.sweep compare DIR...`: the cells of a sweep, or any runs, against each other.

DIR is a sweep's directory, or runs and directories of runs. A sweep's gets results.csv, results.json and results.md.
"""

import argparse
import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from pose_lightning import cli
from pose_lightning.errors import UserError
from pose_lightning.files import as_cell, check_target, local_path, write_json, write_text
from pose_lightning.options import OptionParser
from pose_lightning.sweep.comparison import compare
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.findings import Comparison, Difference, Goal, Row, Subject
from pose_lightning.sweep.published import published
from pose_lightning.sweep.records import read_study
from pose_lightning.sweep.results import Trial, read_runs, read_sweep
from pose_lightning.sweep.sentences import footnotes, sentences
from pose_lightning.sweep.tables import show, to_markdown
from pose_lightning.terminal import Terminal, say

WIDTH: Final = 80
"""Columns of a terminal that the tables keep to."""

LAYOUT: Final = 2
"""Version of the layout of results.json."""

LESS: Final = ("loss", "nll", "ece", "hamming", "mpj", "mse", "error")
"""Parts of the names of metrics of which less is better."""


def read(folders: Sequence[Path], metric: str | None) -> tuple[list[Trial], Subject]:
    """The trials, and what is asked of them.

    Raises:
        UserError: If a sweep's directory stands with others, or the metric of runs is not known.
    """
    about = folders[0] / "study.json"
    if not about.is_file() and not (folders[0] / "trials").is_dir():
        trials = read_runs(folders)
        followed = metric or _followed(trials)
        return trials, Subject(", ".join(each.name for each in folders), followed, _goal(followed))
    if len(folders) > 1:
        raise UserError(f"{folders[0]} is a sweep, which is compared alone; leave out {folders[1]}")
    trials = read_sweep(folders[0])
    study = read_study(folders[0])
    followed = metric or study.get("metric") or _followed(trials)
    goal = study.get("goal") if followed == study.get("metric") else None
    tuning: tuple[int, ...] = ()
    kept = folders[0] / "sweep.yaml"
    if study.get("kind") == "tuned" and kept.is_file():
        tuning = SweepFile.read(kept).tuning_seeds
    name, kind = study.get("name", folders[0].name), study.get("kind", "runs")
    return trials, Subject(name, followed, goal or _goal(followed), kind, tuning)


def _followed(trials: Sequence[Trial]) -> str:
    """The metric that the runs' task follows, of those they have logged."""
    for name in ("val/pckh", "val/mpjpe", "val/map", "val/top1", "val/loss"):
        if any(trial.history(name) for trial in trials):
            return name
    raise UserError("the runs have logged no metric that a task follows; say which with --metric")


def _goal(metric: str) -> Goal:
    return "minimize" if any(part in metric for part in LESS) else "maximize"


def write(folder: Path, found: Comparison, *, followed: bool = True) -> list[Path]:
    """Write results.csv, results.json and results.md; with the metric in their names where it is not the followed."""
    stem = "results" if followed else f"results-{found.subject.metric.replace('/', '_')}"
    paths = [folder / f"{stem}.{end}" for end in ("csv", "json", "md")]
    write_text(paths[0], to_csv(found))
    write_json(paths[1], to_json(found))
    write_text(paths[2], to_markdown(found))
    return paths


def write_others(folder: Path, metrics: Sequence[str]) -> None:
    """Write, beside a sweep's comparison, those by other metrics that its trials have logged."""
    trials, subject = read([folder], None)
    for metric in metrics:
        if metric != subject.metric and any(trial.history(metric) for trial in trials):
            write(folder, compare(*read([folder], metric)), followed=False)


def to_csv(found: Comparison) -> str:
    """A row for each cell, empty where a number is unknown."""
    names = list(dict.fromkeys(name for row in found.rows for name in row.values))
    text = io.StringIO()
    rows = [_flat(row, found) for row in found.rows]
    writer = csv.DictWriter(text, ["cell", *names, *[key for key in rows[0] if key != "cell"]], lineterminator="\n")
    writer.writeheader()
    for row, flat in zip(found.rows, rows, strict=True):
        cells = {**row.values, **{key: "" if _unknown(value) else value for key, value in flat.items()}}
        writer.writerow({key: as_cell(value) for key, value in cells.items()})
    return text.getvalue()


def _flat(row: Row, found: Comparison) -> dict[str, Any]:
    told = {key: value for key, value in asdict(row).items() if key not in ("values", "shown", "seeds", "lost")}
    lost = {state: " ".join(map(str, row.lost.get(state, ()))) for state in ("diverged", "failed", "pruned")}
    seeds = {"seeds": " ".join(map(str, row.seeds)), **lost}
    return {**told, **seeds, "score": found.score, "metric": found.subject.metric, "synthetic": found.synthetic}


def _unknown(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def to_json(found: Comparison) -> dict[str, Any]:
    """Everything, with null where a number is unknown."""
    told = {
        "layout": LAYOUT,
        **asdict(found.subject),
        "experiment": _common(found.trials, "experiment"),
        "data": Path(_common(found.trials, "data.root") or "").name or None,
        "synthetic": found.synthetic,
        "score": found.score,
        "clusters": found.clusters,
        "samples": found.samples,
        "sentences": sentences(found),
        "definitions": footnotes(found),
        "cells": [{**asdict(row), "published": _published(row, found)} for row in found.rows],
        "levels": [asdict(each) for each in found.levels],
        "trends": [asdict(each) for each in found.trends],
        "differences": [_difference_json(each, found.subject.goal) for each in found.differences],
        "trials": [_trial_json(trial, found.subject.metric) for trial in found.trials],
    }
    return dict(_plain(told))


def _common(trials: Sequence[Trial], name: str) -> str | None:
    """The setting that all trials have in common; None where they differ, or none is known."""
    values = {str(trial.settings[name]) for trial in trials if trial.settings.get(name) is not None}
    return values.pop() if len(values) == 1 else None


def _published(row: Row, found: Comparison) -> list[dict[str, Any]]:
    trial = next((each for each in found.trials if each.cell == row.cell and each.seed in row.seeds), None)
    return [] if trial is None else [asdict(each) for each in published(trial.settings, found.subject.metric)]


def _difference_json(each: Difference, goal: Goal) -> dict[str, Any]:
    told = {"family": each.family, "claimed": each.claimed(goal)}
    return {**asdict(each), "diverged": sorted(each.diverged), **told}


def _trial_json(trial: Trial, metric: str) -> dict[str, Any]:
    told = {key: getattr(trial, key) for key in ("cell", "seed", "values", "state", "error", "seconds", "log_end")}
    history = [asdict(point) for point in trial.history(metric)]
    return {
        **told,
        "folder": "/".join(trial.folder.parts[-3:]),
        "peak_memory_bytes": trial.peak_memory_bytes,
        "history": history,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [_plain(each) for each in value]
    return None if _unknown(value) else value


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(prog="python -m pose_lightning.sweep compare", description=__doc__)
    parser.add_argument("folders", nargs="+", type=local_path, metavar="DIR")
    parser.add_argument("--metric", help="logged name; default: the sweep's, or what the runs' task follows")
    parser.add_argument(
        "--score", type=float, help="count samples and seconds to it; default: what the worst cell reaches"
    )
    parser.add_argument(
        "--out", type=local_path, metavar="DIR", help="write the results here; default: a sweep's directory"
    )
    return parser


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    options = _parser().parse_args(args)
    for folder in options.folders:
        if not folder.is_dir():
            raise UserError(f"no directory {folder}; `ls runs/sweeps` lists the sweeps there are")
    out = options.out or (options.folders[0] if (options.folders[0] / "trials").is_dir() else None)
    if out is not None:
        check_target(out / "results.csv")
    trials, subject = read(options.folders, options.metric)
    found = compare(trials, subject, score=options.score)
    show(found, Terminal(width=min(WIDTH, Terminal().width), highlight=False))
    if out is not None:
        for path in write(out, found, followed=options.metric in (None, _asked(options.folders))):
            say(path)


def _asked(folders: Sequence[Path]) -> str | None:
    """The metric that a sweep follows."""
    return read_study(folders[0]).get("metric")
