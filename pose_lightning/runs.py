"""A run is a directory: configuration, checkpoints, metrics, log and W&B files; every door takes it whole."""

import logging
import os
import re
import secrets
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, Self, TextIO

from pose_lightning import sealed
from pose_lightning.errors import UserError
from pose_lightning.files import Lock, appending, explained, held_by, make_folder, refuse_link, write_text

RUN_ID: Final = "POSE_LIGHTNING_RUN_ID"
"""Environment variable that hands the id to the processes that DDP starts; under torchrun or SLURM, set it yourself."""

OWNER: Final = "POSE_LIGHTNING_OWNER"
"""Environment variable that hands the token of a run's lock to the processes that its owner starts."""

GLANCE: Final = 0.1
"""Seconds for which a process that only looks who holds a lock may be in the way of one that takes it."""

RANKS: Final = (
    "RANK",
    "LOCAL_RANK",
    "NODE_RANK",
    "GROUP_RANK",
    "SLURM_PROCID",
    "JSM_NAMESPACE_RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
)
"""Environment variables by which launchers number processes; only the first process of a run locks it."""

WRITTEN: Final = (
    "checkpoints",
    "classes*",
    "config.yaml",
    "confusion*",
    "cost.json",
    "curves",
    "log.txt",
    "metrics*",
    "overlays*",
    "predictions*.h5",
    "samples*",
    "slurm_job",
    "wandb",
)
"""Names that training and evaluation write in a run's directory, of which none may be a link."""


def _nearby(path: Path) -> str:
    """The end of a sentence that tells which run may have been meant by a path that is none."""
    above = [folder for folder in path.parents if (folder / "config.yaml").is_file()]
    below = [] if above or not path.is_dir() else sorted(file.parent for file in path.glob("*/config.yaml"))
    if above:
        return f"its run is {above[0]}"
    if below:
        return f"the newest run in it is {below[-1]}"
    return "`ls runs/*/*` lists the runs there are"


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
            UserError: If the experiment's name leaves `runs`, or a launcher started several processes and they have no
                name in common.
        """
        folder = below(runs, experiment)
        if RUN_ID in os.environ:
            return cls(below(folder, os.environ[RUN_ID]))
        if int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) > 1:
            raise UserError(f"the launcher's processes must agree on a run: set {RUN_ID} to a new name for all of them")
        while True:
            run = cls(folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}")
            with explained(run.path):
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    run.path.mkdir()
                except FileExistsError:  # another run of this second
                    continue
            return run

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Let no process but this one, and those that it starts, train or score this run meanwhile.

        Raises:
            BusyError: If another process does; the message names it.
            UserError: If a link is in the place of what is written, or the disk refuses.
        """
        path, token = self.path / ".lock", os.environ.get(OWNER)
        if token is not None and (held_by(path) or ("",))[0] == token:
            yield
            return
        if not is_first_process():
            make_folder(self.checkpoints, inside=self.path)
            yield
            return
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = Lock.take(path, guards=self.path, patience=GLANCE)
        with lock, _environment(OWNER, lock.token):
            for path in self.path.iterdir():
                if any(fnmatch(path.name, pattern) for pattern in WRITTEN):
                    refuse_link(path)
            make_folder(self.checkpoints, inside=self.path)
            yield

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hand the id to the processes that DDP starts meanwhile."""
        with _environment(RUN_ID, self.id):
            yield

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run at `path`.

        Raises:
            UserError: If `path` holds no run.
        """
        run = cls(path)
        if not run.config.is_file():
            raise UserError(f"{path} is no run directory: it has no config.yaml; {_nearby(path)}")
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
        for name in ("metrics.csv", "log.txt", "config.yaml", "slurm_job"):
            (self.path / name).unlink(missing_ok=True)

    def write_config(self, text: str) -> None:
        """Write the configuration, whole or not at all."""
        write_text(self.config, text)

    @contextmanager
    def log(self) -> Iterator[None]:
        """Keep what the libraries log and warn in log.txt, beside what goes to the terminal."""
        handler = _LogFile(appending(self.path / "log.txt"))
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
            with suppress(OSError):
                handler.stream.close()


class _LogFile(logging.StreamHandler[TextIO]):
    """Leaves out what a full disk does not take: the run's other files say so."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Report what is no fault of the disk."""
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)


def below(folder: Path, name: str) -> Path:
    """The folder of that name below another one.

    Raises:
        UserError: If the name leads out of it.
    """
    if not Path(name).parts or Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{name!r} is no name of a folder below {folder}; leave out / at its start and ..")
    return folder / name


def is_first_process() -> bool:
    """Whether no launcher counts other processes of this run before this one."""
    return all(os.environ.get(name, "0") == "0" for name in RANKS)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


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
