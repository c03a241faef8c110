"""What a run has logged: metrics.csv, and the loggers that write it and W&B's files."""

import csv
import html
import io
import json
import math
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from typing import Any, Final

from pytorch_lightning.loggers import Logger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from pose_lightning.errors import UserError, system_fault
from pose_lightning.files import appending, write_text
from pose_lightning.reading.raw import LARGEST_TABLE, is_file, read_text, shortened
from pose_lightning.reading.records import csv_rows
from pose_lightning.runs import RunDirectory
from pose_lightning.signals import Stopped

COUNTERS: Final = ("step", "samples", "epoch")
"""The first columns of metrics.csv: optimizer steps, training samples and epochs behind the row."""

LARGEST_COUNT: Final = 1 << 53

STEP_LOSS: Final = "train/loss_step"
"""The loss of a step; of a training that has diverged, the last one is no number."""


class MetricsFile:
    """metrics.csv: a row per logged step, with the samples seen.

    A resumed run replays the steps between its checkpoint and the moment it was killed. `fresh` drops what the file
    held when it was opened, so that neither the file nor W&B gets a step twice. A row that a kill cut short is dropped,
    and the loss that was no number and ended the run: the run that goes on from before has the step still to do.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns: list[str] = list(COUNTERS)
        self._known: set[tuple[int, str]] = set()
        if is_file(path) and getattr(rank_zero_only, "rank", 0) == 0:
            self._read()

    def _read(self) -> None:
        text = read_text(self.path, LARGEST_TABLE)
        whole = text[: text.rfind("\n") + 1]
        held = _rows(whole, self.path)
        rows = [row for row in held if math.isfinite(float(row.get(STEP_LOSS) or 0))]
        if held:
            self.columns = list(held[0])
        if len(rows) < len(held):
            self._write(rows)
        elif whole != text:
            write_text(self.path, whole)
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
            self._write(read_metrics(self.path))
        with appending(self.path) as file:
            writer = csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
            writer.writerow({"step": step, "samples": samples, "epoch": epoch, **metrics})

    def _write(self, rows: Iterable[Mapping[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


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


@contextmanager
def finishing() -> Iterator[None]:
    """Finish the W&B run that the block has begun, with the exit status of its process."""
    status, requeued = 0, False
    try:
        yield
    except BaseException as error:
        status, requeued = _exit_status(error), isinstance(error, Stopped) and error.requeued
        raise
    finally:
        if (tracked := _tracked_run()) is not None:
            if requeued:
                tracked.mark_preempting()
            tracked.finish(exit_code=status)


def _tracked_run() -> Any:
    return sys.modules["wandb"].run if "wandb" in sys.modules else None


def _exit_status(error: BaseException) -> int:
    if isinstance(error, SystemExit | Stopped):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return 128 + SIGINT
    return 2 if isinstance(error, UserError) or system_fault(error) is not None else 1


def record_evaluation(run: RunDirectory) -> None:
    """Put the scores that `evaluate` has written into the W&B run: means into its summary, and all into a table."""
    if (tracked := _tracked_run()) is None:
        return
    import wandb  # noqa: PLC0415 - a second of start-up that a run without W&B does not pay

    told = json.loads((run.path / "metrics.json").read_text())
    means = {name: score["value"] for name, score in _estimates(told["measures"]) if "/" not in name or "/mean" in name}
    tracked.summary.update({f"evaluation/{name}": value for name, value in means.items() if value is not None})
    rows = [["", "score", "value", "95 % from", "to"]]
    for scored in (told, *told["baselines"]):
        for name, score in _estimates(scored["measures"]):
            numbers = ["-" if score[key] is None else f"{score[key]:.4g}" for key in ("value", "low", "high")]
            rows.append([scored["title"], name, *numbers])
    cells = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    tracked.log({"evaluation/table": wandb.Html(f"<table>{cells}</table>", inject=False)})


def _estimates(measures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every estimate of a metrics.json's `measures`, by its names joined with a slash."""
    for name, value in measures.items():
        if isinstance(value, Mapping):
            if "value" in value:
                yield f"{prefix}{name}", value
            else:
                yield from _estimates(value, f"{prefix}{name}/")


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics.csv that may just be written to; none where it is not there.

    Raises:
        UserError: If it is damaged.
    """
    if not is_file(path):
        return []
    text = read_text(path, LARGEST_TABLE)
    return _rows(text[: text.rfind("\n") + 1], path)


def _rows(text: str, path: Path) -> list[dict[str, str]]:
    """The rows, whose cells are empty or numbers.

    Raises:
        UserError: If they are not.
    """
    rows = csv_rows(text, path, *COUNTERS) if text else []
    for line, row in enumerate(rows, 2):
        for name, cell in row.items():
            if cell and not _is_number(cell, whole=name == "step", finite=name in COUNTERS):
                raise UserError(f"{path}: line {line}: {name} is {shortened(repr(cell))}, no number; remove the line")
        if not row["step"]:
            raise UserError(f"{path}: line {line} has no step; remove the line")
    return rows


def _is_number(cell: str, *, whole: bool, finite: bool) -> bool:
    try:
        value = int(cell) if whole else float(cell)
    except ValueError:
        return False
    return not finite or (math.isfinite(value) and abs(value) < LARGEST_COUNT)
