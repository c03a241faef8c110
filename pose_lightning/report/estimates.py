"""Scores of runs, gathered by cell."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pose_lightning.report.subject import Run


def shown(run: Run) -> Mapping[str, Any]:
    """The scores of the split that is shown."""
    return run.scores[run.split or "val"]


def by_cell(runs: Sequence[Run]) -> Mapping[str, list[Run]]:
    """The runs of each cell, by its label."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.label].append(run)
    return found


def over_seeds(estimates: Sequence[Mapping[str, Any] | None]) -> dict[str, float | None]:
    """One run's estimate as it is; of several the mean, between the lowest and the highest."""
    known = [each for each in estimates if each and each.get("value") is not None]
    if not known:
        return {"value": None, "low": None, "high": None}
    if len(known) == 1:
        return {key: known[0].get(key) for key in ("value", "low", "high")}
    values = [each["value"] for each in known]
    return {"value": float(np.mean(values)), "low": min(values), "high": max(values)}


def at(found: Any, path: Sequence[str]) -> Any:
    """What lies at a path of keys; an empty mapping where nothing does."""
    for key in path:
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    return found
