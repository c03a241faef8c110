"""The JSON files of sweeps and runs, read as what they should hold: trial.json, study.json, results.json, cost.json."""

from pathlib import Path
from typing import Any, Final

from pose_lightning.reading.raw import is_file
from pose_lightning.reading.records import is_number, read_record

TEXT: Final = (str, lambda value: value is None)
"""Text, or null."""

ESTIMATE: Final = {"value": is_number, "low": is_number, "high": is_number}

TRIAL: Final = {
    "cell": str,
    "seed": int,
    "values": dict,
    "state": str,
    "error?": TEXT,
    "log_end?": ([str], lambda value: value is None),
    "seconds?": is_number,
    "peak_memory_bytes?": is_number,
    "attempts?": int,
    "revision?": TEXT,
    "machine?": TEXT,
}
STUDY: Final = {
    "name?": str,
    "kind?": str,
    "metric?": TEXT,
    "goal?": lambda value: value in ("minimize", "maximize", None),
    "demo?": bool,
    "sweep_file?": str,
}
COST: Final = {...: (is_number, str)}
RESULTS: Final = {
    "metric": str,
    "goal": lambda value: value in ("minimize", "maximize"),
    "kind": str,
    "experiment?": TEXT,
    "data?": TEXT,
    "synthetic": bool,
    "score": is_number,
    "sentences": [str],
    "definitions": [str],
    "cells": [
        ESTIMATE
        | {"cell": str, "values": dict, "shown": {...: str}, "seeds": [int], "lost": {...: [int]}, "best": is_number}
        | dict.fromkeys(("samples", "samples_to_reach", "seconds_to_reach", "seconds", "throughput"), is_number)
        | {"published": [{"value": (int, float), "source": str}]}
    ],
    "levels": [ESTIMATE | {"parameter": str, "level": str}],
    "differences": [
        ESTIMATE
        | {"parameter": str, "first": str, "second": str, "seeds": int, "claimed": bool, "diverged": [str]}
        | {"value": (int, float), "p_value": is_number, "corrected": is_number}
    ],
}

_COMPARE: Final = "`python -m pose_lightning.sweep compare DIR` writes it anew"


def read_trial(path: Path) -> dict[str, Any]:
    """A trial.json.

    Raises:
        UserError: If it cannot be read, or is damaged.
    """
    return read_record(path, TRIAL, remedy="remove it, and run the sweep again to make the trial anew")


def read_study(folder: Path) -> dict[str, Any]:
    """The study.json of a sweep; nothing where there is none.

    Raises:
        UserError: If it cannot be read, or is damaged.
    """
    path = folder / "study.json"
    return read_record(path, STUDY, remedy="remove it, and run the sweep again to write it") if is_file(path) else {}


def read_cost(folder: Path) -> dict[str, Any]:
    """The cost.json of a run; nothing where there is none.

    Raises:
        UserError: If it cannot be read, or is damaged.
    """
    path = folder / "cost.json"
    return read_record(path, COST, remedy="remove it: it says only what the run cost") if is_file(path) else {}


def read_results(path: Path, layout: int) -> dict[str, Any]:
    """A results.json.

    Raises:
        UserError: If it cannot be read, is damaged, or is of another layout.
    """
    return read_record(path, {"layout": lambda value: value == layout, **RESULTS}, remedy=_COMPARE)
