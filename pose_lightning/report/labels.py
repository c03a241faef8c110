"""What runs, settings and values are called, so that no two cells have one name."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pose_lightning.report.subject import Run
from pose_lightning.sweep.results import FIRST, OWN

MOST_NAMED: Final = 4
"""Settings in the name of a cell, unless more are needed to tell all cells apart."""


def labelled(runs: Sequence[Run]) -> list[Run]:
    """Name every run by its experiment, and by the settings in which runs of that experiment differ."""
    by_experiment: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_experiment[run.experiment].append(run)
    labelled: list[Run] = []
    varied: list[str] = []
    for experiment, members in by_experiment.items():
        names = {name for run in members for name in run.trial.settings if not OWN.match(name)}
        differing = [name for name in names if len({repr(run.trial.settings.get(name)) for run in members}) > 1]
        differing.sort(key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
        few = differing[:MOST_NAMED]
        if len({_levels(run, few) for run in members}) < len({_levels(run, differing) for run in members}):
            few = differing  # the first ones do not tell all cells apart
        varied += [name for name in differing if name not in varied]
        for run in members:
            told = (f"{short_name(name)}={level(run.trial.settings.get(name))}" for name in few)
            labelled.append(Run(run.trial, " ".join([experiment, *told]), run.config))
    told_by = [*(["experiment"] if len(by_experiment) > 1 else []), *varied]
    for place, run in enumerate(labelled):
        values = {name: run.trial.settings.get(name) for name in told_by}
        labelled[place] = Run(replace(run.trial, cell=run.label, values=values), run.label, run.config)
    return sorted(labelled, key=lambda run: (run.label, run.trial.seed, run.name))


def _levels(run: Run, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(repr(run.trial.settings.get(name)) for name in names)


def short_name(name: str) -> str:
    """A setting without the part that all of its kind begin with."""
    return name.removeprefix("model.").removeprefix("data.").removeprefix("trainer.")


def level(value: Any) -> str:
    """A setting's value as a name: few digits, and files without folder and ending."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return Path(text).stem if "/" in text else text
