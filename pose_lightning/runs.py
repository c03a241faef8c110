"""A run is a directory: configuration, checkpoints, metrics, log and W&B files; every door takes it whole."""

import csv
import io
import json
import logging
import os
import re
import secrets
import subprocess
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from pose_lightning import sealed
from pose_lightning.errors import UserError

RUN_ID: Final = "POSE_LIGHTNING_RUN_ID"
"""Environment variable that hands the id to the processes that DDP starts; under torchrun or SLURM, set it yourself."""

COUNTERS: Final = ("step", "samples", "epoch")
"""The first columns of metrics.csv: optimizer steps, training samples and epochs behind the row."""


@dataclass(frozen=True)
class RunDirectory:
    """Where everything of one run lies.

    Layout: `config.yaml`, `checkpoints/{last,last.prev,best}.ckpt`, `metrics.csv`, `log.txt`, `wandb/`, and after
    `evaluate` `metrics.json`, `predictions.h5`, `curves/` and `overlays/`; of activities `classes.csv` and
    `confusion.{csv,png}`.
    """

    path: Path

    @classmethod
    def create(cls, runs: Path, experiment: str) -> Self:
        """A new directory `runs/<experiment>/<time>-<random>`; the same one in every process of the run.

        Raises:
            UserError: If a launcher started several processes and they have no name in common.
        """
        if RUN_ID in os.environ:
            name = os.environ[RUN_ID]
        elif int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1:
            raise UserError(f"the launcher's processes must agree on a run: set {RUN_ID} to a new name for all of them")
        else:
            name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        return cls.at(runs / experiment / name)

    @classmethod
    def at(cls, path: Path) -> Self:
        """A directory that the caller names; it may hold other files."""
        run = cls(path)
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        return run

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hand the id to the processes that DDP starts meanwhile."""
        before = os.environ.get(RUN_ID)
        os.environ[RUN_ID] = self.id
        try:
            yield
        finally:
            del os.environ[RUN_ID]
            if before is not None:
                os.environ[RUN_ID] = before

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run at `path`.

        Raises:
            UserError: If `path` holds no run.
        """
        run = cls(path)
        if not run.config.is_file():
            raise UserError(
                f"{path} is no run directory: it has no config.yaml; `ls runs/*/*` lists the runs there are"
            )
        return run

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def wandb_id(self) -> str:
        """The W&B run's id where it is given no other: the directory's name, without what W&B refuses in one."""
        return re.sub(r"[^A-Za-z0-9_.-]", "-", self.id)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.checkpoints / "last.ckpt"

    @property
    def resumable(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self.last.is_file() or sealed.previous(self.last).is_file()

    def whole_checkpoint(self) -> Path:
        """The last checkpoint, or the one before it where the last is damaged, which is said loudly.

        Raises:
            SealError: If neither is whole.
        """
        return sealed.first_whole((self.last, sealed.previous(self.last)))

    @property
    def best(self) -> Path:
        """The checkpoint with the best monitored metric."""
        return self.checkpoints / "best.ckpt"

    def clear(self) -> None:
        """Forget a run that was stopped before its first checkpoint; what else lies in its directory stays."""
        for name in ("metrics.csv", "log.txt", "config.yaml"):
            (self.path / name).unlink(missing_ok=True)

    def write_config(self, text: str) -> None:
        """Write the configuration, whole or not at all."""
        write_text(self.config, text)

    @contextmanager
    def log(self) -> Iterator[None]:
        """Keep what the libraries log and warn in log.txt, beside what goes to the terminal."""
        handler = logging.FileHandler(self.path / "log.txt")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning_fabric")]
        show = warnings.showwarning

        def show_and_keep(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, *rest: Any
        ) -> None:
            show(message, category, filename, lineno, *rest)
            text = warnings.formatwarning(message, category, filename, lineno)
            handler.emit(logging.LogRecord("py.warnings", logging.WARNING, filename, lineno, text, None, None))

        for logger in loggers:
            logger.addHandler(handler)
        warnings.showwarning = show_and_keep  # type: ignore[assignment]
        try:
            yield
        finally:
            warnings.showwarning = show
            for logger in loggers:
                logger.removeHandler(handler)
            handler.close()


class MetricsFile:
    """metrics.csv: a row per logged step, with the samples seen.

    A resumed run replays the steps between its checkpoint and the moment it was killed. `fresh` drops what the file
    held when it was opened, so that neither the file nor W&B gets a step twice. A row that a kill cut short is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = list(COUNTERS)
        self._known: set[tuple[int, str]] = set()
        if path.is_file() and getattr(rank_zero_only, "rank", 0) == 0:
            self._read()

    def _read(self) -> None:
        text, whole = self.path.read_text(), whole_rows(self.path)
        rows = list(csv.DictReader(io.StringIO(whole)))
        if whole != text:
            write_text(self.path, whole)
        if rows:
            self.columns = list(rows[0])
        for row in rows:
            self._known |= {(int(row["step"]), name) for name, value in row.items() if value and name not in COUNTERS}

    def fresh(self, metrics: Mapping[str, float], step: int) -> dict[str, float]:
        """The metrics that the file did not hold for this step when it was opened."""
        return {name: value for name, value in metrics.items() if (step, name) not in self._known}

    def once(self) -> "Once":
        """For a logger that takes every value of a step once, however often Lightning hands it over."""
        return Once(self)

    def append(self, metrics: Mapping[str, float], *, step: int, samples: int, epoch: int) -> None:
        """Add a row; the header grows with new names."""
        if new := [name for name in metrics if name not in self.columns]:
            self.columns += new
            rows = list(csv.DictReader(io.StringIO(self.path.read_text()))) if self.path.is_file() else []
            text = io.StringIO()
            writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            write_text(self.path, text.getvalue())
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
            writer.writerow({"step": step, "samples": samples, "epoch": epoch, **metrics})


class Once:
    """Lets a value through that neither the file held when it was opened nor this logger has had in the same step."""

    def __init__(self, file: MetricsFile) -> None:
        self.file = file
        self._step, self._names = 0, set[str]()

    def __call__(self, metrics: Mapping[str, float], step: int) -> dict[str, float]:
        """What is new of the metrics of `step`, without the epoch."""
        if step != self._step:
            self._step, self._names = step, set()
        new = {name: value for name, value in metrics.items() if name != "epoch" and name not in self._names}
        self._names |= set(new)
        return self.file.fresh(new, step)


class MetricsLogger(Logger):
    """Writes what Lightning logs to metrics.csv, by step and samples seen.

    Args:
        file: The file.
        samples_seen: Training samples behind a number of optimizer steps.
    """

    def __init__(self, file: MetricsFile, samples_seen: Callable[[int], int]) -> None:
        super().__init__()
        self.file, self.samples_seen = file, samples_seen
        self._new = file.once()

    @property
    def name(self) -> str:
        """The kind of record."""
        return "metrics"

    @property
    def version(self) -> str:
        """The file it goes to."""
        return str(self.file.path)

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row. Lightning counts the step that is under way from 0; a row says how many are done."""
        done = (step or 0) + 1
        if fresh := self._new(metrics, done):
            epoch = int(metrics.get("epoch", 0))
            self.file.append(fresh, step=done, samples=self.samples_seen(done), epoch=epoch)


class RunWandbLogger(WandbLogger):
    """A W&B run that lives in the run's directory, with samples seen as the axis of every metric.

    Args:
        run: The run.
        tracked: The W&B run's id, under which a resumed run goes on; None leaves it to the agent of a W&B server's
            sweep, and the project too.
        file: Decides which steps are fresh.
        samples_seen: Training samples behind a number of optimizer steps.
        settings: Further arguments of `wandb.init`.
    """

    def __init__(
        self,
        run: RunDirectory,
        file: MetricsFile,
        samples_seen: Callable[[int], int],
        *,
        tracked: str | None,
        **settings: Any,
    ) -> None:
        super().__init__(save_dir=run.path, version=tracked, **settings)
        if tracked is None:
            self._wandb_init["project"] = None
        self._wandb_init.pop("anonymous")  # which wandb has dropped, and warns about
        self.samples_seen, self._new = samples_seen, file.once()
        self._axis_defined = False

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Send what this step has not sent before."""
        done = (step or 0) + 1
        if not (fresh := self._new(metrics, done)):
            return
        if not self._axis_defined:
            self.experiment.define_metric("samples")
            self.experiment.define_metric("*", step_metric="samples")
            self._axis_defined = True
        counters = {"samples": self.samples_seen(done), "epoch": metrics.get("epoch", 0), "trainer/global_step": done}
        self.experiment.log({**fresh, **counters})


def revision() -> str | None:
    """The git commit of this code, with `+` where files differ from it; None where it is no checkout."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S607
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}+" if changes else commit


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv that may just be written to; none where it is not there."""
    return list(csv.DictReader(io.StringIO(whole_rows(path)))) if path.is_file() else []


def whole_rows(path: Path) -> str:
    """The text of a metrics.csv, without a last row that is cut short."""
    text = path.read_text()
    return text[: text.rfind("\n") + 1]


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all; NaN is refused, because JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
