"""3D regression as `evaluate` sees it."""

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pose_lightning.regression import evaluation, predictions, table
from pose_lightning.regression.baselines import baselines
from pose_lightning.regression.data import Clips
from pose_lightning.regression.evaluation import Truth
from pose_lightning.scoring import Found, Outcome, SampleScores, Scoring


def of(data: object) -> Scoring:
    """This module, whatever the data module."""
    return sys.modules[__name__]


def write_files(folder: Path, outcome: Outcome, *, suffix: str = "") -> list[Path]:
    """Nothing: the table has it all."""
    return []


def judge(found: Found, store: Clips, train: Clips | None, *, title: str) -> Outcome:
    """MPJPE and its kin of `preds` (n, t, 17, 3) in mm, beside the baselines that never look at the image."""
    truth = Truth.from_store(store, frames=found["preds"].shape[1])
    return _compare(found["preds"], truth, train, title=title, loss=float(found["loss"].mean()))


def judge_file(
    path: Path, store: Clips, train: Clips | None, *, unit: predictions.Unit | None
) -> tuple[Outcome, dict[str, object]]:
    """Score anyone's predictions, in the store's order.

    Returns:
        The outcome, and what `metrics.json` should say of the file.
    """
    truth = Truth.from_store(store)
    read = predictions.read_predictions(path, truth.joints.shape, truth.names, unit=unit)
    return _compare(read.preds, truth, train, title=path.stem), {"predictions": path.name, "unit": read.unit}


def _compare(preds: np.ndarray, truth: Truth, train: Clips | None, *, title: str, loss: float = math.nan) -> Outcome:
    others: Mapping[str, np.ndarray] = {}
    if train is not None:
        learned = Truth.from_store(train, frames=truth.joints.shape[1])
        others = baselines(learned, truth)
        truth = replace(truth, notes={**truth.notes, "in_training": _in_both(truth, learned)})
    scores = [
        evaluation.score(preds, truth, title=title, loss=loss),
        *(evaluation.score(poses, truth, title=name) for name, poses in others.items()),
    ]
    return Outcome(scores=scores, table=table.render(scores), json=evaluation.to_json(scores))


def _in_both(truth: Truth, train: Truth) -> int:
    """How many clips have poses that training had too, equal to the last bit: no two takes are that alike."""
    known = {clip.astype(np.float32).tobytes() for clip in train.joints}
    return sum(clip.astype(np.float32).tobytes() in known for clip in truth.joints)


def write_predictions(path: Path, found: Found, store: Clips, *, split: str) -> None:
    """Write `preds` in mm, whole or not at all."""
    names = [str(name) for name in store.labels["name"]]
    predictions.write_predictions(path, found["preds"], names, store=store.path, split=split)


def sample_scores(found: Found, store: Clips) -> SampleScores:
    """What every clip adds to the logged scores; clips of one sequence are one group."""
    truth = Truth.from_store(store, frames=found["preds"].shape[1])
    loss = found["loss"][:, None]
    parts = {**evaluation.sample_parts(found["preds"], truth), "loss": (loss, np.ones_like(loss))}
    return SampleScores(truth.names, truth.group, parts)
