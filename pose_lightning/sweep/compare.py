"""`python -m pose_lightning.sweep compare DIR...`: the cells of a sweep, or any runs, against each other.

DIR is a sweep's directory, or runs and directories of runs. A sweep's gets results.csv, results.json and results.md.
"""

import argparse
import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pose_lightning import cli
from pose_lightning.errors import UserError
from pose_lightning.runs import write_json, write_text
from pose_lightning.sweep.comparison import compare
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.findings import Comparison, Difference, Goal, Row, Subject
from pose_lightning.sweep.published import published
from pose_lightning.sweep.results import Trial, read_runs, read_sweep
from pose_lightning.sweep.sentences import footnotes, number, sentences, unit

WIDTH = 80
LESS = ("loss", "nll", "ece", "hamming", "mpj", "mse", "error")
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
    told = json.loads(about.read_text()) if about.is_file() else {}
    followed = metric or told.get("metric") or _followed(trials)
    goal = told.get("goal") if followed == told.get("metric") else None
    tuning: tuple[int, ...] = ()
    kept = folders[0] / "sweep.yaml"
    if told.get("kind") == "tuned" and kept.is_file():
        tuning = SweepFile.read(kept).tuning_seeds
    name, kind = told.get("name", folders[0].name), told.get("kind", "runs")
    return trials, Subject(name, followed, goal or _goal(followed), kind, tuning)


def _followed(trials: Sequence[Trial]) -> str:
    """The metric that the runs' task follows, of those they have logged."""
    for name in ("val/pckh", "val/mpjpe", "val/map", "val/top1", "val/loss"):
        if any(trial.history(name) for trial in trials):
            return name
    raise UserError("the runs have logged no metric that a task follows; say which with --metric")


def _goal(metric: str) -> Goal:
    return "minimize" if any(part in metric for part in LESS) else "maximize"


def write(folder: Path, found: Comparison) -> list[Path]:
    """Write results.csv, results.json and results.md."""
    paths = [folder / f"results.{end}" for end in ("csv", "json", "md")]
    write_text(paths[0], to_csv(found))
    write_json(paths[1], to_json(found))
    write_text(paths[2], to_markdown(found))
    return paths


def to_csv(found: Comparison) -> str:
    """A row for each cell, empty where a number is unknown."""
    names = list(dict.fromkeys(name for row in found.rows for name in row.values))
    text = io.StringIO()
    rows = [_flat(row, found) for row in found.rows]
    writer = csv.DictWriter(text, ["cell", *names, *[key for key in rows[0] if key != "cell"]], lineterminator="\n")
    writer.writeheader()
    for row, flat in zip(found.rows, rows, strict=True):
        writer.writerow({**row.values, **{key: "" if _unknown(value) else value for key, value in flat.items()}})
    return text.getvalue()


def _flat(row: Row, found: Comparison) -> dict[str, Any]:
    told = {key: value for key, value in asdict(row).items() if key not in ("values", "seeds", "lost")}
    lost = {state: " ".join(map(str, row.lost.get(state, ()))) for state in ("diverged", "failed", "pruned")}
    seeds = {"seeds": " ".join(map(str, row.seeds)), **lost}
    return {**told, **seeds, "score": found.score, "metric": found.subject.metric, "synthetic": found.synthetic}


def _unknown(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def to_json(found: Comparison) -> dict[str, Any]:
    """Everything, with null where a number is unknown."""
    told = {
        **asdict(found.subject),
        "synthetic": found.synthetic,
        "score": found.score,
        "clusters": found.clusters,
        "samples": found.samples,
        "sentences": sentences(found),
        "definitions": footnotes(found),
        "cells": [{**asdict(row), "published": _published(row, found)} for row in found.rows],
        "levels": [asdict(each) for each in found.levels],
        "differences": [_difference_json(each, found.subject.goal) for each in found.differences],
        "trials": [_trial_json(trial, found.subject.metric) for trial in found.trials],
    }
    return dict(_plain(told))


def _published(row: Row, found: Comparison) -> list[dict[str, Any]]:
    trial = next((each for each in found.trials if each.cell == row.cell and each.seed in row.seeds), None)
    return [] if trial is None else [asdict(each) for each in published(trial.settings, found.subject.metric)]


def _difference_json(each: Difference, goal: Goal) -> dict[str, Any]:
    return {**asdict(each), "diverged": sorted(each.diverged), "claimed": each.claimed(goal)}


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


Column = tuple[str, Callable[[Row], str]]

SCORES: tuple[Column, ...] = (
    ("last", lambda row: number(row.value)),
    ("95 % from", lambda row: number(row.low)),
    ("to", lambda row: number(row.high)),
    ("best step", lambda row: number(row.best)),
    ("seeds", lambda row: f"{len(row.seeds)}" + (f" of {len(row.seeds) + _count(row)}" if row.lost else "")),
)
COSTS: tuple[Column, ...] = (
    ("samples", lambda row: _short(row.samples)),
    ("to reach", lambda row: _short(row.samples_to_reach) if row.reached else "-"),
    ("s", lambda row: _short(row.seconds_to_reach)),
    ("wall s", lambda row: _short(row.seconds)),
    ("samples/s", lambda row: _short(row.throughput)),
    ("GiB", lambda row: number(row.peak_memory / 2**30)),
)


def _count(row: Row) -> int:
    return sum(map(len, row.lost.values()))


def _short(value: float) -> str:
    return "-" if _unknown(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def title(found: Comparison) -> str:
    """What is shown."""
    kind = "" if found.subject.kind == "runs" else f", {found.subject.kind}"
    return f"{found.subject.name}{kind}{' (synthetic data)' if found.synthetic else ''}: {found.subject.metric}"


def show(found: Comparison, console: Console) -> None:
    """Print the tables and sentences."""
    console.print(Text(title(found), style="bold"))
    for columns in (SCORES, COSTS):
        console.print(_table("cell", [row.cell for row in found.rows], columns, found.rows))
    if found.levels:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for head in ("marginal", "mean", "95 % from", "to", "cells"):
            table.add_column(head, justify="left" if head == "marginal" else "right")
        for each in found.levels:
            numbers = [number(value) for value in (each.value, each.low, each.high)]
            table.add_row(f"{each.parameter} {each.level}", *numbers, str(each.cells))
        console.print(table)
    for line in sentences(found):
        console.print(Padding(Text(f"- {line}"), (0, 0, 0, 0)))
    for line in footnotes(found):
        console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2)))


def _table(head: str, names: Sequence[str], columns: Sequence[Column], rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(head, overflow="fold")
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for name, row in zip(names, rows, strict=True):
        table.add_row(name, *(make(row) for _, make in columns))
    return table


def to_markdown(found: Comparison) -> str:
    """The tables, sentences and definitions."""
    lines = [f"# {title(found)}", "", *[f"- {line}" for line in sentences(found)], ""]
    heads = [name for name, _ in (*SCORES, *COSTS)]
    lines += _markdown(
        ["cell", *heads], [[row.cell, *(make(row) for _, make in (*SCORES, *COSTS))] for row in found.rows]
    )
    if found.levels:
        levels = [
            [f"{each.parameter} {each.level}", number(each.value), number(each.low), number(each.high), str(each.cells)]
            for each in found.levels
        ]
        lines += _markdown(["marginal", "mean", "95 % from", "to", "cells"], levels)
    if found.differences:
        heads = [
            "first",
            "second",
            f"difference, {unit(found.subject.metric)}",
            "95 % from",
            "to",
            "p",
            "corrected",
            "seeds",
        ]
        rows = [
            [
                *(f"{each.parameter} {name}".strip() for name in (each.first, each.second)),
                *(number(value) for value in (each.value, each.low, each.high)),
                *("-" if math.isnan(p) else f"{p:.2g}" for p in (each.p_value, each.corrected)),
                str(each.seeds),
            ]
            for each in found.differences
        ]
        lines += _markdown(heads, rows)
    return "\n".join([*lines, *[f"{line}  " for line in footnotes(found)]]) + "\n"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruled = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (heads, ruled, *rows)] + [""]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pose_lightning.sweep compare", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--metric", help="logged name; default: the sweep's, or what the runs' task follows")
    parser.add_argument(
        "--score", type=float, help="count samples and seconds to it; default: what the worst cell reaches"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the results here; default: a sweep's directory")
    return parser


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    options = _parser().parse_args(args)
    for folder in options.folders:
        if not folder.is_dir():
            raise UserError(f"no directory {folder}; `ls runs/sweeps` lists the sweeps there are")
    trials, subject = read(options.folders, options.metric)
    found = compare(trials, subject, score=options.score)
    show(found, Console(width=min(WIDTH, Console().width), highlight=False))
    out = options.out or (options.folders[0] if (options.folders[0] / "trials").is_dir() else None)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for path in write(out, found):
            print(path)
