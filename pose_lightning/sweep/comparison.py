"""Cells of a sweep against each other: runs in, numbers out. `sentences` says them, `compare` shows them.

Seeds and samples vary at once (see `statistics.Repeated`); differences are taken over the same seeds and samples. What
can be told is corrected family by family: a parameter's values, all else the same, are a family each; all pairs of
cells, through which one looks without a question, are another.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from pose_lightning.errors import UserError
from pose_lightning.statistics import holm, ratio_influences
from pose_lightning.sweep.effects import Scored, difference, main_effects, repeated, shown_values
from pose_lightning.sweep.findings import Comparison, Difference, Goal, Row, Subject
from pose_lightning.sweep.results import Trial, at_edge

LARGEST: Final = 24
"""Cells of which every pair is compared; a sweep with more tells what its parameters do, and no more."""


def compare(trials: Sequence[Trial], subject: Subject, *, score: float | None = None) -> Comparison:
    """Compare cells.

    Args:
        trials: All that have begun.
        subject: What is asked.
        score: To count samples and s to; default: what the worst cell ends with.

    Raises:
        UserError: If no trial has logged the metric to its end.
    """
    edge = at_edge(trials, subject.tuning_seeds)
    trials = [_checked(trial, subject.metric) for trial in trials if trial.seed not in subject.tuning_seeds]
    finished = [trial for trial in trials if trial.state == "complete"]
    if not finished:
        raise UserError(f"{subject.name}: no finished trial has logged {subject.metric}; there is nothing to compare")
    scored, samples, notes = _scored(finished, subject.metric)
    if edge:
        notes.append(
            f"At the edge of the rates that were tried, so that one beyond may be better: {', '.join(sorted(edge))}."
        )
    cells: dict[str, dict[int, Scored]] = defaultdict(dict)
    for each in scored:
        cells[each.trial.cell][each.trial.seed] = each
    best_first = sorted(cells, key=lambda cell: _mean(cells[cell]), reverse=subject.goal == "maximize")
    score = _mean(cells[best_first[-1]]) if score is None else score
    gone = sorted({trial.cell for trial in trials} - set(cells))
    shown = shown_values(trials, subject)
    rows = [_row(cell, cells.get(cell, {}), trials, subject.goal, score, shown[cell]) for cell in [*best_first, *gone]]
    diverged = {trial.cell for trial in trials if trial.state == "diverged"}
    levels, trends, differences = main_effects(cells, diverged, {cell: shown[cell] for cell in best_first})
    names = best_first if len(best_first) <= LARGEST else []
    pairs = [difference("", a, b, [(a, b)], cells, diverged) for a, b in itertools.combinations(names, 2)]
    return Comparison(
        subject=subject,
        rows=tuple(rows),
        levels=tuple(levels),
        trends=tuple(trends),
        differences=tuple(_corrected([*differences, *(each for each in pairs if each is not None)])),
        score=score,
        clusters=scored[0].influences.size,
        samples=samples,
        synthetic=any(trial.synthetic for trial in finished),
        notes=tuple(notes),
        trials=tuple(trials),
    )


def _checked(trial: Trial, metric: str) -> Trial:
    """The trial, as failed or diverged where it is not what it says."""
    if trial.state != "complete":
        return trial
    history = trial.history(metric)
    if not history:
        return replace(trial, state="failed", error=f"it has logged no {metric}")
    if not math.isfinite(history[-1].value):
        return replace(trial, state="diverged", error=f"its last {metric} is {history[-1].value}")
    return trial


def _scored(finished: Sequence[Trial], metric: str) -> tuple[list[Scored], int, list[str]]:
    """Every trial's last value; with its clusters' influences if all were scored on the same samples."""
    read = [trial.sample_scores(metric) for trial in finished]
    histories = [trial.history(metric) for trial in finished]
    nothing, notes = np.zeros(0), []
    first = next((each for each in read if each is not None), None)
    lacking = [f"{trial.cell} seed {trial.seed}" for trial, each in zip(finished, read, strict=True) if each is None]
    if lacking:
        notes.append(
            f"No score by sample of the last step in {len(lacking)} of {len(finished)} runs, such as {lacking[0]}: "
            "intervals are of other seeds on these samples, and know nothing of other samples."
        )
    elif any(each is not None and first is not None and each.names != first.names for each in read):
        raise UserError("the runs were scored on different samples, which are not to be compared; evaluate them on one")
    whole = []
    for trial, history, each in zip(finished, histories, read, strict=True):
        value, influences = history[-1].value, nothing
        if not lacking and each is not None and first is not None:
            value, influences = ratio_influences(*each.parts[metric.partition("/")[2]], first.groups)
        whole.append(Scored(trial, history, value, influences))
    return whole, 0 if lacking or first is None else len(first.names), notes


def _mean(cell: Mapping[int, Scored]) -> float:
    return float(np.mean([each.value for each in cell.values()]))


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """With p-values corrected by Holm in each family."""
    families: dict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(differences):
        families[each.family].append(place)
    found = list(differences)
    for places in families.values():
        for place, p in zip(places, holm([differences[place].p_value for place in places]), strict=True):
            found[place] = replace(differences[place], corrected=p)
    return found


def _average(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _row(
    cell: str,
    scored: Mapping[int, Scored],
    trials: Sequence[Trial],
    goal: Goal,
    score: float,
    shown: Mapping[str, str],
) -> Row:
    members = [trial for trial in trials if trial.cell == cell]
    lost: dict[str, tuple[int, ...]] = {}
    for trial in sorted(members, key=lambda trial: trial.seed):
        if trial.seed not in scored:
            lost[trial.state] = (*lost.get(trial.state, ()), trial.seed)
    seeds = tuple(sorted(scored))
    number = repeated(scored, seeds) if seeds else None
    low, high = number.interval() if number is not None else (math.nan, math.nan)
    pick: Callable[..., float] = max if goal == "maximize" else min
    best, first, seconds, speed = [], [], [], []
    for seed in seeds:
        each = scored[seed]
        finite = [point.value for point in each.history if math.isfinite(point.value)]
        best.append(pick(finite))
        hits = [
            point for point in each.history if (point.value >= score if goal == "maximize" else point.value <= score)
        ]
        first += hits[:1]
        last, wall = each.history[-1], each.trial.seconds
        took = last.seconds if math.isfinite(last.seconds) else (wall or math.nan)
        seconds.append(wall if wall else last.seconds)
        speed.append(last.samples / took)
    return Row(
        cell=cell,
        values=members[0].values,
        shown=shown,
        seeds=seeds,
        value=number.value if number is not None else math.nan,
        low=low,
        high=high,
        best=_average(best),
        samples=_average([scored[seed].history[-1].samples for seed in seeds]),
        reached=len(first),
        samples_to_reach=_average([point.samples for point in first]),
        seconds_to_reach=_average([point.seconds for point in first]),
        seconds=_average(seconds),
        throughput=_average(speed),
        peak_memory=_average([scored[seed].trial.peak_memory_bytes for seed in seeds]),
        lost=lost,
    )
