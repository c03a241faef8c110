"""The mean absolute error."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from rich.text import Text

from pose_lightning.scoring import Found, Outcome, SampleScores, Scoring, write_arrays


def of(data: object) -> Scoring:
    """This module."""
    return sys.modules[__name__]


def judge(found: Found, store: Any, train: Any, *, title: str) -> Outcome:
    """Of the network alone."""
    error = float(np.abs(found["preds"] - store.labels["brightness"]).mean())
    measure = {"value": error, "low": None, "high": None, "unit": ""}
    notes = {"dataset": "greys", "synthetic": True}
    json = {"measures": {"error": measure}, "definitions": ["error: mean"], "counts": {"n": len(store)}, "notes": notes}
    return Outcome([error], Text(f"{title}: brightness is off by {error:.4f}"), json)


def judge_file(path: Path, store: Any, train: Any) -> tuple[Outcome, dict[str, object]]:
    """Of a `.npy` file."""
    return judge({"preds": np.load(path)}, store, train, title=path.stem), {"predictions": path.name}


def write_predictions(path: Path, found: Found, store: Any, *, split: str) -> None:
    """Write them."""
    write_arrays(path, {"preds": found["preds"]}, store=store.path, split=split)


def sample_scores(found: Found, store: Any) -> SampleScores:
    """Each sample's error."""
    errors = np.abs(found["preds"] - store.labels["brightness"])[:, None]
    names = tuple(map(str, store.labels["name"]))
    return SampleScores(names, np.arange(len(names)), {"error": (errors, np.ones_like(errors))})


def write_files(folder: Path, outcome: Outcome, *, suffix: str = "") -> list[Path]:
    """Nothing."""
    return []
