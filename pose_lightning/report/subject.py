"""What a report is about: runs, and the comparison of their cells where there are several."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Final

from pose_lightning import kinds
from pose_lightning.errors import UserError
from pose_lightning.joints import JointSet
from pose_lightning.kind import Kind
from pose_lightning.reading.raw import is_file
from pose_lightning.scoring import read_scores
from pose_lightning.sweep import compare
from pose_lightning.sweep.results import Trial

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

    @cached_property
    def kind(self) -> Kind | None:
        """The task that its LightningModule is, or is derived from, as its data or its metrics tell."""
        named = (kinds.of_class(str(self.config[group]["class_path"])) for group in ("model", "data"))
        logged = (kind for kind in kinds.KINDS if any(map(self.trial.history, kind.measures)))
        return next((kind for kind in chain(named, logged) if kind is not None), None)

    @property
    def page(self) -> Any:
        """The module that knows what a page says of its task; None where there is none."""
        return self.kind.part("page") if self.kind and self.kind.has("page") else None

    @property
    def task(self) -> str:
        """What the page calls its task."""
        return self.kind.task_name if self.kind else str(self.config["model"]["class_path"]).rpartition(".")[2]

    @property
    def metric(self) -> str:
        """The logged name of what stands for it."""
        measures = self.kind.measures if self.kind else ("val/loss",)
        return next(filter(self.trial.history, measures), measures[-1])

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """What `evaluate` has written, by split."""
        found = {}
        for split in SPLITS:
            path = self.folder / f"metrics{suffix(split)}.json"
            if is_file(path):
                found[split] = read_scores(path)
        return found

    @property
    def split(self) -> str | None:
        """The split that is shown: one that nothing was chosen on, where there are scores of it."""
        return "test" if "test" in self.scores else next(iter(self.scores), None)

    @cached_property
    def joint_set(self) -> JointSet:
        """Of its poses.

        Raises:
            UserError: If its scores do not say it.
        """
        return JointSet.read(self.scores[self.split or "val"].get("joint_set"), self.folder / "metrics.json")

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
        splits: tuple[str, ...] = (split,)
        if split == "val":
            splits = self.kind.validation if self.kind else splits
            splits = splits if settings.get("fold") is None else ("train",)
        for each in splits:
            path = self.base / settings["root"] / f"{each}.h5"
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
        """The run whose metric ended best, among those of the first run's."""
        return self.bests[0]

    @cached_property
    def bests(self) -> list[Run]:
        """For every task and metric of the runs, in their order, the run that ended best."""
        by_metric: dict[tuple[str, str], list[Run]] = defaultdict(list)
        for run in self.runs:
            by_metric[run.task, run.metric].append(run)
        return [_best(runs) for runs in by_metric.values()]


def _best(runs: Sequence[Run]) -> Run:
    ended = [run for run in runs if math.isfinite(run.last)]
    if not ended:
        return runs[0]
    return (min if lower_is_better(runs[0].metric) else max)(ended, key=lambda run: run.last)


def suffix(split: str) -> str:
    """How the names of a split's files end."""
    return "" if split == "val" else f"-{split}"


def lower_is_better(metric: str) -> bool:
    """Whether less of a logged metric is better."""
    return any(part in metric for part in compare.LESS)
