"""What the parameters of a sweep do, from the numbers of its cells.

Where cells differ in one parameter and in nothing else, as in a grid, its values are compared over such matched cells.
Where a search chose every combination there are none; then values are described, by the mean of the cells that have
them, or, of a number that takes many values, by its rank correlation with the metric.
"""

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float64

from pose_lightning.statistics import LEVEL, Repeated, combined
from pose_lightning.sweep.findings import Difference, Level, Subject, Trend
from pose_lightning.sweep.results import Point, Trial, group

MANY: Final = 5
"""Values up to which a number is described value by value."""

Shown = Mapping[str, Mapping[str, str]]
"""By cell, what it has of each parameter, as it is shown."""


@dataclass(frozen=True, eq=False)
class Scored:
    """A finished trial: its last value, and each cluster's influence on it."""

    trial: Trial
    history: Sequence[Point]
    value: float
    influences: np.ndarray


Cells = Mapping[str, Mapping[int, Scored]]
"""Finished trials by cell and seed."""


def label(value: Any) -> str:
    """A parameter's value as it is shown: a recipe by its name."""
    text = value if isinstance(value, str) else json.dumps(value)
    return Path(text).stem if text.endswith(".yaml") else text


def parameter_label(name: str, values: Sequence[Any]) -> str:
    """A parameter as it is shown: a recipe by what it is of, others by the end of their names."""
    folders = {Path(str(value)).parent.name for value in values}
    if name == "config" and len(folders) == 1:
        return folders.pop().removesuffix("s")
    last = name.rpartition(".")[2]
    return last if len(last) > 1 else ".".join(name.split(".")[-2:])


def shown_values(trials: Sequence[Trial], subject: Subject) -> dict[str, dict[str, str]]:
    """What each cell has of each parameter, as it is shown: `{"optimizer": "adam_1e-3", "batch_size": "16"}`.

    In a tuned sweep a recipe is shown as its optimizer: which rate was chosen for it may differ from batch to batch.
    """
    of_cell = {trial.cell: trial for trial in trials}
    names = list(dict.fromkeys(name for trial in of_cell.values() for name in trial.values))
    heads = {name: parameter_label(name, [each.values.get(name) for each in of_cell.values()]) for name in names}
    shown = {}
    for cell, trial in of_cell.items():
        shown[cell] = {heads[name]: label(value) for name, value in trial.values.items()}
        if subject.kind == "tuned" and (optimizer := trial.settings.get("model.optimizer") or group(trial.values)[0]):
            chosen = {"config", "model.lr", "model.optimizer"}
            rest = {heads[name]: label(value) for name, value in trial.values.items() if name not in chosen}
            shown[cell] = {"optimizer": str(optimizer), **rest}
    return shown


def repeated(cell: Mapping[int, Scored], seeds: Sequence[int]) -> Repeated:
    """A cell's number by seed."""
    return Repeated(np.array([cell[seed].value for seed in seeds]), np.stack([cell[seed].influences for seed in seeds]))


def main_effects(
    cells: Cells, diverged: Collection[str], shown: Shown
) -> tuple[list[Level], list[Trend], list[Difference]]:
    """What each parameter does; nothing where only one of few values varies, whose cells are its values.

    Args:
        cells: Finished trials.
        diverged: Cells that have lost seeds because they diverged.
        shown: Their values.
    """
    known = {
        name: list(dict.fromkeys(each[name] for each in shown.values() if name in each))
        for name in dict.fromkeys(name for each in shown.values() for name in each)
    }
    varied = {name: values for name, values in known.items() if len(values) > 1}
    levels: list[Level] = []
    trends: list[Trend] = []
    differences: list[Difference | None] = []
    for name, values in varied.items():
        strata = _strata(name, shown)
        matched = any(len(each) > 1 for each in strata)
        if len(values) > MANY and not (matched and len(varied) > 1) and all(map(_is_number, values)):
            trends.append(_trend(name, shown, cells))
        elif not matched:
            levels += [
                _mean_of(name, value, [cell for cell in shown if shown[cell].get(name) == value], cells)
                for value in values
            ]
        elif len(varied) > 1:
            balanced = [each for each in strata if len(each) == len(values)]
            levels += [_level(name, value, [each[value] for each in balanced], cells) for value in values if balanced]
            for a, b in itertools.combinations(values, 2):
                both = [(each[a], each[b]) for each in strata if a in each and b in each]
                differences.append(difference(name, a, b, both, cells, diverged))
    return levels, trends, [each for each in differences if each is not None]


def _strata(name: str, shown: Shown) -> list[dict[str, str]]:
    """Cells that differ in one parameter alone: each group's, by its value."""
    strata: dict[str, dict[str, str]] = defaultdict(dict)
    for cell, each in shown.items():
        if name in each:
            strata[repr({key: value for key, value in each.items() if key != name})][each[name]] = cell
    return list(strata.values())


def _level(parameter: str, level: str, members: Sequence[str], cells: Cells) -> Level:
    seeds = sorted(set.intersection(*(set(cells[cell]) for cell in members)))
    if not seeds:
        return Level(parameter, level, math.nan, math.nan, math.nan, len(members), 0)
    number = combined([(1 / len(members), repeated(cells[cell], seeds)) for cell in members])
    return Level(parameter, level, number.value, *number.interval(), len(members), len(seeds))


def _mean_of(parameter: str, level: str, members: Sequence[str], cells: Cells) -> Level:
    """The mean of cells that a search chose, which vary as seeds do."""
    means = [combined([(1.0, repeated(cells[cell], sorted(cells[cell])))]) for cell in members]
    number = Repeated(
        np.array([each.value for each in means]), np.stack([each.influences.mean(axis=0) for each in means])
    )
    low, high = number.interval() if len(members) > 1 else (math.nan, math.nan)
    seeds = set.intersection(*(set(cells[cell]) for cell in members))
    return Level(parameter, level, number.value, low, high, len(members), len(seeds), balanced=False)


def _trend(parameter: str, shown: Shown, cells: Cells) -> Trend:
    having = [cell for cell in shown if parameter in shown[cell]]
    numbers = np.array([float(shown[cell][parameter]) for cell in having])
    means = np.array([np.mean([each.value for each in cells[cell].values()]) for cell in having], dtype=np.float64)
    return Trend(parameter, *rank_correlation(numbers, means), len(having))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def rank_correlation(
    first: Float64[np.ndarray, " n"], second: Float64[np.ndarray, " n"], *, level: float = LEVEL
) -> tuple[float, float, float]:
    """Spearman's rank correlation and the ends of its interval; NaN where one of the two is constant, or of few.

    Fisher's transform, with the variance (1 + r^2 / 2) / (n - 3). Source: Bonett and Wright, Sample Size Requirements
    for Estimating Pearson, Kendall and Spearman Correlations, Psychometrika 2000.
    """
    n = len(first)
    if n < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan, math.nan, math.nan
    r = float(np.corrcoef(scipy.stats.rankdata(first), scipy.stats.rankdata(second))[0, 1])
    if n < MANY or abs(r) > 1 - 1e-12:
        return r, math.nan, math.nan
    half = float(scipy.special.ndtri((1 + level) / 2)) * math.sqrt((1 + r**2 / 2) / (n - 3))
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def difference(
    parameter: str,
    first: str,
    second: str,
    matched: Sequence[tuple[str, str]],
    cells: Cells,
    diverged: Collection[str],
) -> Difference | None:
    """The mean difference of matched cells; None where no seed has them all."""
    shared = [set(cells[cell]) for pair in matched for cell in pair]
    seeds = sorted(set.intersection(*shared)) if shared else []
    if not seeds:
        return None
    number = combined(
        [
            (sign / len(matched), repeated(cells[cell], seeds))
            for pair in matched
            for sign, cell in zip((1.0, -1.0), pair, strict=True)
        ]
    )
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
        diverged=frozenset(side for side, members in sides.items() if members & set(diverged)),
    )
