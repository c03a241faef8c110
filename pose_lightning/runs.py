"""A run is a directory: configuration, checkpoints, metrics, log and W&B files; every door takes it whole."""

import logging
import os
import re
import secrets
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from pose_lightning import sealed
from pose_lightning.errors import UserError
from pose_lightning.files import write_text

RUN_ID: Final = "POSE_LIGHTNING_RUN_ID"
"""Environment variable that hands the id to the processes that DDP starts; under torchrun or SLURM, set it yourself."""


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
