"""What the trials of a sweep, or any runs, have left on disk."""

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from pose_lightning.errors import UserError
from pose_lightning.history import read_metrics
from pose_lightning.reading.configs import read_yaml
from pose_lightning.reading.hdf5 import open_hdf5, read_dataset
from pose_lightning.reading.raw import is_file
from pose_lightning.scoring import SampleScores, read_notes
from pose_lightning.sweep import offline
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.records import read_cost, read_study, read_trial

LOSSES: Final = ("train/loss_step", "train/loss", "val/loss")
"""Logged names that are a number as long as training has not diverged."""

EMPTY_PEAK: Final = 0.01
"""Heatmaps are called empty where no joint of any person has a higher peak; the targets' peaks are 1."""

OWN: Final = re.compile(
    r"seed_everything$|runs$|run_dir$|experiment$|tags|wandb\.|trainer\.default_root_dir|.*init_args\.seed$"
)
"""Settings of config.yaml that tell runs of one cell apart, or do not matter."""

FIRST: Final = ("model.optimizer", "model.lr", "data.batch_size")
"""Settings that come first in a cell's name."""

COLUMNS: Final = ("optimizer", "lr", "batch_size", "seed", "experiment", "sweep", "cell", "revision")
"""Of a W&B configuration, what repeats other settings."""


@dataclass(frozen=True)
class Point:
    """A logged value: optimizer steps, samples and s (NaN where nobody took the time) behind it."""

    step: int
    samples: int
    seconds: float
    value: float


@dataclass(frozen=True)
class Trial:
    """One run of a comparison.

    Attributes:
        cell: The combination that it is of.
        seed: Of its `seed_everything`.
        values: Of the varied parameters, without the seed.
        folder: The run's directory.
        state: As in trial.json: `complete`, `failed`, `diverged`, `pruned`, `running` or `waiting`.
        error: Why it failed.
        log_end: The last lines of its output, of one that failed.
        seconds: Wall time of all attempts; None where nobody took it.
        peak_memory_bytes: Of training, as `cost.peak_memory` has it; where the run has not written it, of the trial's
            largest process; None where unknown.
        settings: The experiment, and other resolved settings by dotted name.
    """

    cell: str
    seed: int
    values: Mapping[str, Any]
    folder: Path
    state: str
    error: str | None = None
    log_end: Sequence[str] = ()
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Logged rows, oldest first: from metrics.csv, or where there is none from W&B's files."""
        path = self.folder / "metrics.csv"
        if path.is_file():
            return list(read_metrics(path))
        found = offline.history(self.folder)[1] if offline.files(self.folder) else []
        return [{**row, "step": int(row.get("trainer/global_step", row.get("_step", 0)))} for row in found]

    @cached_property
    def seconds_at(self) -> Mapping[int, float]:
        """When each step was logged, s; W&B's files know it, and nothing is known where they are damaged."""
        try:
            rows = offline.history(self.folder)[1] if offline.files(self.folder) else []
        except UserError:
            return {}
        return {int(row["trainer/global_step"]): row["_runtime"] for row in rows if "trainer/global_step" in row}

    def history(self, metric: str) -> list[Point]:
        """Every logged value of `metric`, the last one of each step."""
        found = {}
        for row in self.rows:
            if row.get(metric) not in (None, ""):
                step, samples = int(row["step"]), int(float(row.get("samples") or 0))
                seconds = row.get("seconds") or self.seconds_at.get(step, math.nan)
                found[step] = Point(step, samples, float(seconds), float(row[metric]))
        return [found[step] for step in sorted(found)]

    def last(self, metric: str) -> float | None:
        """The last logged value; None where there is none."""
        return next((float(row[metric]) for row in reversed(self.rows) if row.get(metric) not in (None, "")), None)

    def sample_scores(self, metric: str) -> SampleScores | None:
        """What each sample adds to the last logged value; None where the run was scored at another step, or never."""
        split, _, name = metric.partition("/")
        path = self.folder / ("samples.h5" if split == "val" else f"samples-{split}.h5")
        history = self.history(metric)
        if not (path.is_file() and history):
            return None
        read = SampleScores.read(path, name)
        if read is None:
            return None
        scores, facts = read
        as_validated = facts.get("as_validated", not facts.get("flip_test", False))
        return scores if as_validated and int(facts.get("step", -1)) == history[-1].step else None

    @property
    def synthetic(self) -> bool:
        """Whether it was scored on drawn data."""
        path = self.folder / "metrics.json"
        return is_file(path) and bool(read_notes(path).get("synthetic", False))


def outcome(folder: Path) -> Literal["complete", "diverged"]:
    """Whether the training in a run's directory diverged: a loss or the metric that it follows is no finite number.

    Or its heatmaps, trained towards gaussians with a peak of 1, are empty.
    """
    trial = Trial("", 0, {}, folder, "complete")
    followed = read_study(folder.parents[2]).get("metric") if len(folder.parts) > 3 else None
    for metric in (*LOSSES, *([followed] if followed else [])):
        value = trial.last(metric)
        if value is not None and not math.isfinite(value):
            return "diverged"
    return "diverged" if _empty_heatmaps(folder) else "complete"


def _empty_heatmaps(folder: Path) -> bool:
    path = folder / "predictions.h5"
    if not path.is_file() or _settings(folder).get("model.loss") == "cross_entropy":  # a softmax cannot be empty
        return False
    with open_hdf5(path, remedy="evaluate the run again") as file:
        peaks = read_dataset(file, "confidence", path) if "confidence" in file else np.ones(1)
    return not bool((peaks > EMPTY_PEAK).any())


def _settings(folder: Path) -> dict[str, Any]:
    """The resolved configuration by dotted name, without `init_args`."""
    path = folder / "config.yaml"
    if path.is_file():
        nested = _mapping(path, own=False)
    elif offline.files(folder):
        nested = {
            key: value for key, value in offline.history(folder)[0].items() if key not in COLUMNS or key == "experiment"
        }
    else:
        return {}
    return {key.replace("init_args.", ""): value for key, value in offline.flat(nested).items()}


def _mapping(path: Path, *, own: bool) -> dict[str, Any]:
    settings = read_yaml(path, own=own)
    if not isinstance(settings, dict):
        raise UserError(f"{path} holds no settings; wanted a mapping such as `model:` and `data:`")
    return settings


def _peak_memory(folder: Path) -> int | None:
    return read_cost(folder).get("peak_memory_bytes")


def read_sweep(folder: Path) -> list[Trial]:
    """The trials of a sweep that have begun.

    Raises:
        UserError: If there is none.
    """
    paths = sorted(folder.glob("trials/*/*/trial.json"))
    if not paths:
        raise UserError(f"{folder} holds no trials; `python -m pose_lightning.sweep sweeps/NAME.yaml` runs some")
    trials = []
    for path in paths:
        record = read_trial(path)
        trials.append(
            Trial(
                cell=record["cell"],
                seed=record["seed"],
                values=record["values"],
                folder=path.parent,
                state=record["state"],
                error=record.get("error"),
                log_end=tuple(record.get("log_end") or ()),
                seconds=record.get("seconds"),
                peak_memory_bytes=_peak_memory(path.parent) or record.get("peak_memory_bytes"),
                settings=_settings(path.parent),
            )
        )
    return trials


def read_runs(folders: Sequence[Path]) -> list[Trial]:
    """Runs that no sweep has made, each a directory, or all below one; what differs between them makes the cells.

    Raises:
        UserError: If a directory holds no run, or two runs are the same cell and seed.
    """
    found = [run for folder in folders for run in _runs_below(folder)]
    settings = [_settings(run) for run in found]
    names = {name for each in settings for name in each if not OWN.match(name)}
    differing = [name for name in names if len({repr(each.get(name)) for each in settings}) > 1]
    differing.sort(key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    trials: list[Trial] = []
    for run, each in zip(found, settings, strict=True):
        values = {name: each.get(name) for name in differing}
        cell = "-".join(f"{name.rpartition('.')[2]}={value}" for name, value in values.items()) or "only"
        seed, peak = int(each.get("seed_everything") or 0), _peak_memory(run)
        trial = Trial(cell, seed, values, run, "complete", peak_memory_bytes=peak, settings=each)
        if twin := next((one for one in trials if (one.cell, one.seed) == (trial.cell, trial.seed)), None):
            raise UserError(f"{run} and {twin.folder} have the same settings and seed; give one of them only")
        if outcome(run) == "diverged":
            trial = Trial(cell, trial.seed, values, run, "diverged", "its loss or metric is no number", settings=each)
        trials.append(trial)
    return trials


def _runs_below(folder: Path) -> list[Path]:
    if (folder / "config.yaml").is_file() or any(folder.glob("*.wandb")):
        return [folder]
    below = sorted(path.parent for path in folder.glob("**/config.yaml") if (path.parent / "metrics.csv").is_file())
    below = below or sorted({path.parent for path in folder.glob("**/*.wandb")})
    if not below:
        raise UserError(f"{folder} holds no run: no config.yaml and no W&B file")
    return below


def group(values: Mapping[str, Any]) -> tuple[str, str]:
    """What a rate is tuned for: the optimizer that the recipe names, and every parameter but recipe and rate."""
    optimizer = values.get("model.optimizer", "")
    if "config" in values and Path(str(values["config"])).is_file():
        recipe = _mapping(Path(str(values["config"])), own=True)
        optimizer = offline.flat(recipe).get(
            "model.init_args.optimizer", offline.flat(recipe).get("model.optimizer", optimizer)
        )
    rest = {name: value for name, value in values.items() if name not in ("config", "model.lr", "model.optimizer")}
    return str(optimizer), json.dumps(rest, sort_keys=True)


def chosen(trials: Sequence[Trial], file: SweepFile) -> list[str]:
    """The cells of a tuned sweep that are compared: of each group, the best on the tuning seeds, in the file's order.

    Cells that diverged on a tuning seed, or lack one, lose to those that did not.
    """
    sign = 1 if file.goal == "maximize" else -1
    by_cell: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.seed in file.tuning_seeds:
            by_cell[trial.cell].append(trial)
    best: dict[tuple[str, str], tuple[tuple[int, float], str]] = {}
    for cell, members in by_cell.items():
        last = [
            each.history(file.metric)[-1].value
            for each in members
            if each.state == "complete" and each.history(file.metric)
        ]
        score = (len(last), sign * float(np.mean(last)) if last else -math.inf)
        place = group(members[0].values)
        if last and (place not in best or score > best[place][0]):
            best[place] = score, cell
    names = {cell for _, cell in best.values()}
    return [cell.name for cell in file.cells() if cell.name in names]


def at_edge(trials: Sequence[Trial], tuning_seeds: Sequence[int]) -> list[str]:
    """The cells of a tuned sweep whose rate is the smallest or the largest of those that it was chosen from."""
    tried: dict[str, dict[str, float]] = defaultdict(dict)
    for trial in trials:
        rate = trial.settings.get("model.lr")
        if trial.seed in tuning_seeds and isinstance(rate, float):
            rest = {name: value for name, value in trial.values.items() if name not in ("config", "model.lr")}
            place = json.dumps([trial.settings.get("model.optimizer"), rest], sort_keys=True)
            tried[place][trial.cell] = rate
    compared = {trial.cell for trial in trials if trial.seed not in tuning_seeds}
    return [
        cell
        for rates in tried.values()
        for cell, rate in rates.items()
        if len(set(rates.values())) > 1 and cell in compared and rate in (min(rates.values()), max(rates.values()))
    ]
