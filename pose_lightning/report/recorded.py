"""What a run has recorded of where and how it ran: revision, machine, time and memory."""

import math
from functools import lru_cache
from pathlib import Path
from typing import Any

from pose_lightning.errors import UserError
from pose_lightning.reading.raw import is_file
from pose_lightning.report.subject import Run
from pose_lightning.sweep import offline
from pose_lightning.sweep.records import read_cost, read_trial


def recorded(run: Run) -> dict[str, Any]:
    """Revision and machine, as far as its files know them."""
    return _recorded(run.folder)


@lru_cache(maxsize=1024)
def _recorded(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    trial = folder / "trial.json"
    for record in (read_trial(trial) if is_file(trial) else {}, read_cost(folder)):
        facts |= {key: record[key] for key in ("revision", "machine") if record.get(key)}
    if "revision" not in facts and (config := _tracked(folder)):
        facts["revision"] = config.get("revision")
    return facts


def _tracked(folder: Path) -> dict[str, Any]:
    """The configuration that W&B's own files have of a run; nothing where they are absent or damaged."""
    try:
        return offline.history(folder)[0] if offline.files(folder) else {}
    except UserError:
        return {}


def cost(run: Run) -> dict[str, Any]:
    """Cost of training: what the run has written of it, or what its log allows to say.

    Returns:
        `seconds` of training and validation, `epoch_seconds`, `samples_per_second`, `waiting_share` (0 to 1) and
        `peak_memory_bytes`, as far as known, with `source`.
    """
    if recorded_cost := read_cost(run.folder):
        return {**recorded_cost, "source": "recorded while training"}
    trial = run.trial
    found: dict[str, Any] = {"seconds": trial.seconds, "peak_memory_bytes": trial.peak_memory_bytes}
    points = [point for point in trial.history(run.metric) if math.isfinite(point.seconds)]
    if len(points) > 1:
        passed = points[-1].seconds - points[0].seconds
        seen = points[-1].samples - points[0].samples
        found |= {"source": "from the times of W&B's files, validation included", "seconds": points[-1].seconds}
        if passed > 0:
            found |= {"samples_per_second": seen / passed, "epoch_seconds": passed / (len(points) - 1)}
    if trial.seconds:
        found |= {"seconds": trial.seconds, "source": found.get("source", "the trial's wall time")}
    return {key: value for key, value in found.items() if value is not None}
