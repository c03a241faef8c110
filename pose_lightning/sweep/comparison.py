"""Cells of a sweep against each other: runs in, numbers out. `sentences` says them, `compare` shows them.

Seeds and samples vary at once (see `statistics.Repeated`); differences are taken over the same seeds and samples.
"""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pose_lightning.errors import UserError
from pose_lightning.statistics import Repeated, combined, holm, ratio_influences
from pose_lightning.sweep.findings import Comparison, Difference, Goal, Level, Row, Subject
from pose_lightning.sweep.results import Point, Trial

LARGEST: Final = 24
"""Cells of which every pair is compared; a search with more tells what its parameters do, and no more."""


@dataclass(frozen=True, eq=False)
class _Scored:
    """A finished trial: its last value, and each cluster's influence on it."""

    trial: Trial
    history: Sequence[Point]
    value: float
    influences: np.ndarray


def compare(trials: Sequence[Trial], subject: Subject, *, score: float | None = None) -> Comparison:
    """Compare cells.

    Args:
        trials: All that have begun.
        subject: What is asked.
        score: To count samples and s to; default: what the worst cell ends with.

    Raises:
        UserError: If no trial has logged the metric to its end.
    """
    trials = [_checked(trial, subject.metric) for trial in trials if trial.seed not in subject.tuning_seeds]
    finished = [trial for trial in trials if trial.state == "complete"]
    if not finished:
        raise UserError(f"{subject.name}: no finished trial has logged {subject.metric}; there is nothing to compare")
    scored, samples, notes = _scored(finished, subject.metric)
    cells: dict[str, dict[int, _Scored]] = defaultdict(dict)
    for each in scored:
        cells[each.trial.cell][each.trial.seed] = each
    best_first = sorted(cells, key=lambda cell: _mean(cells[cell]), reverse=subject.goal == "maximize")
    score = _mean(cells[best_first[-1]]) if score is None else score
    rows = [_row(cell, cells[cell], trials, subject.goal, score) for cell in best_first]
    gone = sorted({trial.cell for trial in trials} - set(cells))
    rows += [_row(cell, {}, trials, subject.goal, score) for cell in gone]
    levels, marginal = _marginals(cells, trials)
    names = best_first if len(best_first) <= LARGEST else []
    pairs = [_difference("", a, b, [(a, b)], cells, trials) for a, b in itertools.combinations(names, 2)]
    differences = [each for each in [*marginal, *pairs] if each is not None]
    corrected = holm([each.p_value for each in differences])
    return Comparison(
        subject=subject,
        rows=tuple(rows),
        levels=tuple(levels),
        differences=tuple(replace(each, corrected=p) for each, p in zip(differences, corrected, strict=True)),
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


def _scored(finished: Sequence[Trial], metric: str) -> tuple[list[_Scored], int, list[str]]:
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
        whole.append(_Scored(trial, history, value, influences))
    return whole, 0 if lacking or first is None else len(first.names), notes


def _mean(cell: Mapping[int, _Scored]) -> float:
    return float(np.mean([each.value for each in cell.values()]))


def _repeated(cell: Mapping[int, _Scored], seeds: Sequence[int]) -> Repeated:
    return Repeated(np.array([cell[seed].value for seed in seeds]), np.stack([cell[seed].influences for seed in seeds]))


def _average(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _row(cell: str, scored: Mapping[int, _Scored], trials: Sequence[Trial], goal: Goal, score: float) -> Row:
    members = [trial for trial in trials if trial.cell == cell]
    lost: dict[str, tuple[int, ...]] = {}
    for trial in sorted(members, key=lambda trial: trial.seed):
        if trial.seed not in scored:
            lost[trial.state] = (*lost.get(trial.state, ()), trial.seed)
    seeds = tuple(sorted(scored))
    number = _repeated(scored, seeds) if seeds else None
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


def label(value: Any) -> str:
    """A parameter's value as it is shown: a recipe by its name."""
    text = value if isinstance(value, str) else json.dumps(value)
    return Path(text).stem if text.endswith(".yaml") else text


def parameter_label(name: str, values: Sequence[Any]) -> str:
    """A parameter as it is shown: a recipe by what it is of."""
    folders = {Path(str(value)).parent.name for value in values}
    return folders.pop().removesuffix("s") if name == "config" and len(folders) == 1 else name.rpartition(".")[2]


def _marginals(
    cells: Mapping[str, Mapping[int, _Scored]], trials: Sequence[Trial]
) -> tuple[list[Level], list[Difference | None]]:
    """What each parameter does, all others the same; nothing where only one varies, whose cells are its values."""
    values = {cell: next(iter(scored.values())).trial.values for cell, scored in cells.items()}
    names = [
        name for name in next(iter(values.values())) if len({repr(each.get(name)) for each in values.values()}) > 1
    ]
    if len(names) < 2:
        return [], []
    levels: list[Level] = []
    differences: list[Difference | None] = []
    for name in names:
        strata: dict[str, dict[str, str]] = defaultdict(dict)
        for cell, each in values.items():
            strata[repr({key: value for key, value in each.items() if key != name})][label(each[name])] = cell
        shown = parameter_label(name, [each[name] for each in values.values()])
        known = list(dict.fromkeys(label(each[name]) for each in values.values()))
        balanced = [each for each in strata.values() if len(each) == len(known)]
        levels += [_level(shown, level, [each[level] for each in balanced], cells) for level in known if balanced]
        for a, b in itertools.combinations(known, 2):
            matched = [(each[a], each[b]) for each in strata.values() if a in each and b in each]
            differences.append(_difference(shown, a, b, matched, cells, trials))
    return levels, differences


def _level(parameter: str, level: str, members: Sequence[str], cells: Mapping[str, Mapping[int, _Scored]]) -> Level:
    seeds = sorted(set.intersection(*(set(cells[cell]) for cell in members)))
    if not seeds:
        return Level(parameter, level, math.nan, math.nan, math.nan, len(members), 0)
    number = combined([(1 / len(members), _repeated(cells[cell], seeds)) for cell in members])
    return Level(parameter, level, number.value, *number.interval(), len(members), len(seeds))


def _difference(
    parameter: str,
    first: str,
    second: str,
    matched: Sequence[tuple[str, str]],
    cells: Mapping[str, Mapping[int, _Scored]],
    trials: Sequence[Trial],
) -> Difference | None:
    """The mean difference of matched cells; None where no seed has them all."""
    shared = [set(cells[cell]) for pair in matched for cell in pair]
    seeds = sorted(set.intersection(*shared)) if shared else []
    if not seeds:
        return None
    number = combined(
        [
            (sign / len(matched), _repeated(cells[cell], seeds))
            for pair in matched
            for sign, cell in zip((1.0, -1.0), pair, strict=True)
        ]
    )
    broken = {trial.cell for trial in trials if trial.state == "diverged"}
    sides = {first: {a for a, _ in matched}, second: {b for _, b in matched}}
    low, high = number.interval()
    return Difference(
        parameter=parameter,
        first=first,
        second=second,
        value=number.value,
        low=low,
        high=high,
        p_value=number.p_value(),
        sign_flips=number.sign_flip_p_value(),
        seeds=len(seeds),
        matched=len(matched),
        diverged=frozenset(side for side, members in sides.items() if members & broken),
    )
