"""What the comparisons of several trainings share: a rate found in the same way for each, and runs that are kept."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TextIO, TypeVar

import numpy as np
from rich.progress import Progress

from pose_lightning import statistics
from pose_lightning.files import write_json

Trial = TypeVar("Trial")

FACTOR: Final = 3.0
"""Between neighbouring candidate rates; the source's is the first."""
MOST: Final = 6
"""Candidates of one network."""
TUNING_SEED: Final = 100


def next_rates(
    source: float, errors: Mapping[float, float], *, factor: float = FACTOR, most: int = MOST
) -> list[float]:
    """The candidates to run next: the source's rate and its neighbours, then beyond an end where that is the best.

    Args:
        source: The rate that the network's source has.
        errors: Of the candidates that were run; infinite where the network diverged.
        factor: Between neighbours.
        most: Candidates in all.
    """
    rates = [float(f"{source * each:.3g}") for each in (1 / factor, 1.0, factor)]
    if set(rates) <= set(errors):
        best = best_rate(errors)
        beyond = {min(errors): best / factor, max(errors): best * factor}
        rates = [float(f"{beyond[best]:.3g}")] if best in beyond and len(errors) < most else []
    return [rate for rate in rates if rate not in errors]


def best_rate(errors: Mapping[float, float]) -> float:
    """The rate with the lowest error."""
    return min(errors, key=lambda rate: errors[rate])


def train(folder: Path, fresh: Sequence[str], output: TextIO, **environment: str) -> None:
    """Train a run in its folder by `fit`, or go on with it where it has a checkpoint.

    Adds the processor time that it took, with its validations, to `processor.json`, in seconds.
    """
    alone = {**os.environ, "WANDB_MODE": "disabled", "POSE_LIGHTNING_RUN_ID": folder.name, **environment}
    resumed = (folder / "checkpoints" / "last.ckpt").is_file()
    if not resumed:
        (folder / "config.yaml").unlink(missing_ok=True)  # of a run that was stopped before its first checkpoint
    door = [sys.executable, "-m", "pose_lightning.fit", *([f"--resume={folder}"] if resumed else fresh)]
    process = subprocess.Popen(door, env=alone, stdout=output, stderr=subprocess.STDOUT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    spent = (processor_seconds(folder) if resumed else 0.0) + usage.ru_utime + usage.ru_stime
    write_json(folder / "processor.json", spent)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, door)


def processor_seconds(folder: Path) -> float:
    """What training the run has taken so far."""
    path = folder / "processor.json"
    return float(json.loads(path.read_text())) if path.is_file() else 0.0


def run_all(run: Callable[[Trial], None], trials: Sequence[Trial], *, jobs: int, title: str) -> None:
    """Run the trials, some at a time, under a progress bar."""
    with Progress() as progress, ThreadPoolExecutor(jobs) as pool:
        task = progress.add_task(title, total=len(trials))
        for future in [pool.submit(run, trial) for trial in trials]:
            future.result()
            progress.advance(task)


def interval(values: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Mean over samples, and its 95 % interval over groups of them."""
    columns = np.stack([values, np.ones_like(values)], axis=1)
    low, high = statistics.cluster_bootstrap(columns, groups, lambda totals: totals[:, :1] / totals[:, 1:])
    return float(values.mean()), float(low[0]), float(high[0])
