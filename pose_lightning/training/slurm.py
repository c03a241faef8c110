"""Jobs of SLURM: which run a job has begun, and how a job that runs out of time waits for its next turn."""

import os
import subprocess
from pathlib import Path
from signal import Signals
from typing import Any, Final

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only

from pose_lightning.errors import UserError
from pose_lightning.files import write_text
from pose_lightning.reading.configs import parse_yaml
from pose_lightning.runs import RunDirectory

JOB: Final = "slurm_job"
"""File of a run's directory: the job that began it."""

OWN: Final = (("run_dir",), ("wandb", "id"))
"""Settings that a run gets when it begins; its configuration has them, and the command has not."""


def requeue_signal(trainer: pl.Trainer) -> Signals | None:
    """The signal upon which the trainer's job is to be requeued; None outside SLURM, or where its plugin says no."""
    environment = trainer._accelerator_connector.cluster_environment
    if isinstance(environment, SLURMEnvironment) and environment.auto_requeue and os.environ.get("SLURM_JOB_ID"):
        return environment.requeue_signal
    return None


@rank_zero_only
def requeue() -> None:
    """Have SLURM run this job again, from its command on.

    Raises:
        UserError: If it does not.
    """
    job = os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(["scontrol", "requeue", job], check=False, capture_output=True, text=True)  # noqa: S607
        status, said = done.returncode, (done.stderr or done.stdout).strip()
    except OSError as error:
        status, said = 1, str(error)
    if status:
        raise UserError(f"`scontrol requeue {job}` failed ({said}); submit the job again, with `--resume`")
    rank_zero_info(f"job {job} waits for its next turn")


@rank_zero_only
def mark(run: RunDirectory) -> None:
    """Write down which job began the run, if one did."""
    if job := os.environ.get("SLURM_JOB_ID"):
        write_text(run.path / JOB, f"{job}\n")


def is_restarted() -> bool:
    """Whether this is not the first turn of a job."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def begun(runs: Path, experiment: str, run_dir: Path | None, config: str) -> RunDirectory | None:
    """The run of the same configuration that this job began on its last turn.

    Args:
        runs: Directory of all runs.
        experiment: Name of the experiment.
        run_dir: The run's directory, where the command names it.
        config: The resolved configuration.
    """
    wanted = _settings(config)
    marks = [run_dir / JOB] if run_dir is not None else sorted((runs / experiment).glob(f"*/{JOB}"))
    for path in marks:
        run = RunDirectory(path.parent)
        if not (path.is_file() and run.config.is_file()):
            continue
        same_job = path.read_text().strip() == os.environ.get("SLURM_JOB_ID")
        if same_job and _settings(run.config.read_text()) == wanted:
            return run
    return None


def _settings(config: str) -> dict[str, Any]:
    settings: dict[str, Any] = parse_yaml(config, "config.yaml", own=True)
    for *groups, key in OWN:
        place = settings
        for group in groups:
            place = place[group]
        place.pop(key, None)
    return settings
