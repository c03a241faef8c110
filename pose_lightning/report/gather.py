"""What a report is about: runs, and the comparison of their cells where there are several."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from pose_lightning.errors import UserError
from pose_lightning.sweep import compare, findings, offline
from pose_lightning.sweep.comparison import compare as compare_trials
from pose_lightning.sweep.results import FIRST, OWN, Trial

FOLLOWED: Final[Mapping[str, tuple[str, str, str]]] = {
    "HeatmapEstimation": ("val/pckh", "PCKh@0.5, mean of 14 joints", "%"),
    "ClipRegression": ("val/mpjpe", "MPJPE", "mm"),
    "ActivityClassification": ("val/top1", "top-1", "%"),
}
"""By task: the metric that stands for a run, its name and its unit."""

MOST_NAMED: Final = 4
"""Settings in the name of a cell, unless more are needed to tell all cells apart."""

MOST_CELLS: Final = 12
"""Of runs that no sweep has made, so many cells are compared pair by pair."""

SPLITS: Final = ("val", "test", "train")


@dataclass(frozen=True)
class Run:
    """One run of a report.

    Attributes:
        trial: Its directory, state and logged values.
        label: Runs of one label differ in their seed only.
        config: The resolved configuration, as it is nested.
    """

    trial: Trial
    label: str
    config: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The run's directory."""
        return self.trial.folder

    @property
    def name(self) -> str:
        """What tells it from all others of the report."""
        return "/".join(self.folder.resolve().parts[-2:])

    @property
    def experiment(self) -> str:
        """The experiment that it is a run of."""
        return str(self.config.get("experiment", "unnamed"))

    @property
    def task(self) -> str:
        """The class of its LightningModule."""
        return str(self.config["model"]["class_path"]).rpartition(".")[2]

    @property
    def metric(self) -> str:
        """The logged name of what stands for it."""
        if self.task == "ActivityClassification" and not self.trial.history("val/top1"):
            return "val/map"
        return FOLLOWED[self.task][0] if self.task in FOLLOWED else "val/loss"

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """What `evaluate` has written, by split."""
        found = {}
        for split in SPLITS:
            path = self.folder / f"metrics{suffix(split)}.json"
            if path.is_file():
                found[split] = json.loads(path.read_text())
        return found

    @property
    def split(self) -> str | None:
        """The split that is shown: one that nothing was chosen on, where there are scores of it."""
        return "test" if "test" in self.scores else next(iter(self.scores), None)

    @property
    def notes(self) -> Mapping[str, Any]:
        """The store's attributes, as far as a score has kept them."""
        return dict(next(iter(self.scores.values())).get("notes", {})) if self.scores else {}

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on drawn data."""
        return (
            bool(self.notes.get("synthetic", False))
            or "demo" in (self.config.get("tags") or [])
            or (self.experiment.endswith("_demo"))
        )

    @property
    def last(self) -> float:
        """The last value of its metric, NaN where there is none."""
        value = self.trial.last(self.metric)
        return math.nan if value is None else value

    @cached_property
    def base(self) -> Path | None:
        """The directory that its relative paths start from: the one that holds its stores; None where none does."""
        root = Path(self.config["data"]["init_args"]["root"])
        for place in (Path.cwd(), *self.folder.resolve().parents):
            if (place / root).is_dir():
                return place
        return None

    def store_path(self, split: str) -> Path | None:
        """The store of a split, where it still is."""
        if self.base is None:
            return None
        settings = self.config["data"]["init_args"]
        names = [f"{split}.h5"]
        if split == "val" and settings.get("fold") is not None:
            names = ["train.h5"]
        elif split == "val":  # clips without a validation split fall back to the test subjects
            names += ["test.h5"]
        for name in names:
            path = self.base / settings["root"] / name
            if path.is_file():
                return path
        return None

    def scored(self) -> tuple[Path, Path]:
        """The store and the predictions of the split that is shown.

        Raises:
            UserError: If the run was not scored, or the store is not there any more.
        """
        if self.split is None:
            raise UserError(f"{self.name} has not been scored; `python -m pose_lightning.evaluate` does it")
        store = self.store_path(self.split)
        if store is None:
            root = self.config["data"]["init_args"]["root"]
            raise UserError(f"the store {root}/{self.split}.h5 is not there; convert it again")
        return store, self.folder / f"predictions{suffix(self.split)}.h5"

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint that is scored."""
        wanted = (self.config.get("checkpoint") or {}).get("evaluate", "best")
        for name in (wanted, "best", "last"):
            path = self.folder / "checkpoints" / f"{name}.ckpt"
            if path.is_file():
                return path
        return None


@dataclass(frozen=True)
class Subject:
    """Everything that a report is about.

    Attributes:
        title: Of the page.
        runs: In the order of their labels, then seeds.
        comparison: As `results.json` of a sweep has it; None where there is nothing to compare.
        sweep: The sweep's directory, where it is one.
        remarks: What could not be read, and why.
    """

    title: str
    runs: Sequence[Run]
    comparison: Mapping[str, Any] | None = None
    sweep: Path | None = None
    remarks: Sequence[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """Every label once, in order."""
        return list(dict.fromkeys(run.label for run in self.runs))

    @property
    def synthetic(self) -> bool:
        """Whether any run was on drawn data."""
        return any(run.synthetic for run in self.runs)

    @property
    def best(self) -> Run:
        """The run whose metric ended best, among those of the first run's task."""
        first = self.runs[0]
        alike = [run for run in self.runs if run.metric == first.metric and math.isfinite(run.last)]
        if not alike:
            return first
        return (min if lower_is_better(first.metric) else max)(alike, key=lambda run: run.last)


def suffix(split: str) -> str:
    """How the names of a split's files end."""
    return "" if split == "val" else f"-{split}"


def lower_is_better(metric: str) -> bool:
    """Whether less of a logged metric is better."""
    return any(part in metric for part in compare.LESS)


def gather(paths: Sequence[Path]) -> Subject:
    """The runs at or below `paths`, or the trials of a sweep.

    Raises:
        UserError: If a path holds no run.
    """
    for path in paths:
        if not path.is_dir():
            raise UserError(f"no directory {path}; `ls runs/*` lists the runs there are")
    if len(paths) == 1 and is_sweep(paths[0]):
        return _sweep(paths[0])
    folders = list(dict.fromkeys(folder.resolve() for path in paths for folder in _below(path)))
    runs = _labelled([_run(folder) for folder in folders])
    title = runs[0].name if len(runs) == 1 else ", ".join(dict.fromkeys(run.experiment for run in runs))
    if len(title) > 80:
        title = f"{len(runs)} runs of {len({run.experiment for run in runs})} experiments"
    comparison, remarks = _compared(paths, runs)
    return Subject(title, runs, comparison, remarks=remarks)


def is_sweep(path: Path) -> bool:
    """Whether a directory is a sweep's."""
    return (path / "study.json").is_file() or (path / "trials").is_dir()


def newest(experiment: str, runs: Path) -> list[Path]:
    """The newest sweep or run of that name, of the demo too; of a run also those that differ in the seed only.

    Raises:
        UserError: If there is none.
    """
    names = (experiment, f"{experiment}_demo")
    found: list[tuple[float, list[Path]]] = []
    for name in names:
        folder = runs / "sweeps" / name
        if is_sweep(folder):
            found.append((max(_time(path) for path in (folder, *folder.glob("trials/*/*/metrics.csv"))), [folder]))
        if begun := [path.parent for path in (runs / name).glob("*/config.yaml")]:
            last = max(begun, key=lambda path: _time(path / "config.yaml"))
            alike = [path for path in begun if _cell(path) == _cell(last)]
            found.append((_time(last / "config.yaml"), sorted(alike)))
    if not found:
        places = ", ".join(f"{runs}/{place}{name}" for place in ("", "sweeps/") for name in names)
        raise UserError(f"EXP={experiment}: no run or sweep at {places}; make one with `make fit` or `make sweep`")
    return max(found, key=lambda each: each[0])[1]


def _time(path: Path) -> float:
    return path.stat().st_mtime


def _cell(folder: Path) -> dict[str, Any]:
    """The settings that runs of one cell share."""
    return {name: value for name, value in _settings(_read_config(folder)).items() if not OWN.match(name)}


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.yaml"
    try:
        config = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except yaml.YAMLError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or not {"model", "data"} <= set(config):
        raise UserError(f"{path} is no run's configuration: it has no model and data")
    return config


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("init_args.", ""): value for key, value in offline.flat(config).items()}


def _run(folder: Path) -> Run:
    config = _read_config(folder)
    told = folder / "trial.json"
    known = json.loads(told.read_text()) if told.is_file() else {}
    scored = (folder / "metrics.json").is_file()
    trial = Trial(
        cell=str(known.get("cell", "")),
        seed=int(known.get("seed", config.get("seed_everything") or 0)),
        values=known.get("values", {}),
        folder=folder,
        state=known.get("state", "complete" if scored else "not evaluated"),
        error=known.get("error"),
        log_end=tuple(known.get("log_end") or ()),
        seconds=known.get("seconds"),
        peak_memory_bytes=known.get("peak_memory_bytes"),
        settings=_settings(config),
    )
    return Run(trial, trial.cell, config)


def _below(path: Path) -> list[Path]:
    if (path / "config.yaml").is_file():
        return [path]
    below = sorted(each.parent for each in path.glob("**/config.yaml") if (each.parent / "metrics.csv").is_file())
    if not below:
        raise UserError(f"{path} holds no run: there is no config.yaml with a metrics.csv in or below it")
    return below


def _labelled(runs: Sequence[Run]) -> list[Run]:
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


def _sweep(folder: Path) -> Subject:
    trials = sorted(path.parent for path in folder.glob("trials/*/*/config.yaml"))
    if not trials:
        raise UserError(f"{folder} holds no trials; `python -m pose_lightning.sweep sweeps/NAME.yaml` runs some")
    runs = [_run(path) for path in trials]
    kept = folder / "results.json"
    remarks: list[str] = []
    ended = [_time(path) for path in folder.glob("trials/*/*/trial.json")]
    comparison = None
    if kept.is_file() and _time(kept) >= max(ended, default=0.0):
        comparison = json.loads(kept.read_text())
    else:
        comparison, remarks = _compared([folder], runs)
    order = [cell["cell"] for cell in comparison["cells"]] if comparison else []
    runs.sort(key=lambda run: (order.index(run.label) if run.label in order else len(order), run.label, run.trial.seed))
    return Subject(folder.resolve().name, runs, comparison, folder, remarks)


def _compared(paths: Sequence[Path], runs: Sequence[Run]) -> tuple[Mapping[str, Any] | None, list[str]]:
    """The comparison of the cells, or why there is none."""
    cells = {run.label for run in runs}
    if len(cells) < 2:
        return None, []
    if len({run.metric for run in runs}) > 1:
        return None, ["The runs are of different tasks or targets: nothing is compared."]
    if len(cells) > MOST_CELLS and not is_sweep(paths[0]):
        return None, [f"{len(cells)} cells are too many to compare by pairs here; give fewer than {MOST_CELLS + 1}."]
    try:
        trials, subject = compare.read(paths, None) if is_sweep(paths[0]) else _own(runs)
        return compare.to_json(compare_trials(trials, subject)), []
    except (UserError, ValueError) as error:
        return None, [f"The cells were not compared: {error}"]


def _own(runs: Sequence[Run]) -> tuple[list[Trial], findings.Subject]:
    """Trials of runs that no sweep has made, and what is asked of them.

    Raises:
        UserError: If two runs are the same cell and seed.
    """
    known: dict[tuple[str, int], Run] = {}
    for run in runs:
        if twin := known.get((run.label, run.trial.seed)):
            raise UserError(f"{run.name} and {twin.name} have the same settings and seed")
        known[run.label, run.trial.seed] = run
    metric = runs[0].metric
    trials = [replace(run.trial, state="complete") if run.trial.state == "not evaluated" else run.trial for run in runs]
    goal: findings.Goal = "minimize" if lower_is_better(metric) else "maximize"
    return trials, findings.Subject(", ".join(dict.fromkeys(run.experiment for run in runs)), metric, goal)
