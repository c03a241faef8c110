"""Directories of runs as `fit` and the runner leave them, without any training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from pose_lightning.scoring import SampleScores

PARAMETERS = ("config", "data.batch_size")


def run(
    folder: Path,
    values: Sequence[float],
    *,
    scores: Float64[np.ndarray, " n"] | None = None,
    groups: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    loss: float = 1.0,
) -> Path:
    """A run that logged `val/pckh` every 100 samples; of its last step, `scores` by sample, whose mean is the value."""
    folder.mkdir(parents=True)
    rows = ["step,samples,epoch,seconds,train/loss_step,val/pckh"]
    for number, value in enumerate(values, 1):
        rows += [
            f"{10 * number},{100 * number},0,{2.0 * number},{loss},",
            f"{10 * number},{100 * number},0,{2.0 * number},,{value}",
        ]
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    (folder / "metrics.json").write_text(json.dumps({"notes": {"synthetic": True}}))
    if settings is not None:
        (folder / "config.yaml").write_text(json.dumps(settings))
    if scores is not None:
        names = tuple(f"sample {number}" for number in range(len(scores)))
        part = (scores[:, None], np.ones((len(scores), 1)))
        found = SampleScores(names, np.array(range(len(scores)) if groups is None else groups), {"pckh": part})
        found.write(folder / "samples.h5", step=10 * len(values), flip_test=False)
    return folder


def trial(sweep: Path, cell: str, seed: int, values: Mapping[str, Any], curve: Sequence[float], **told: Any) -> Path:
    """A trial of a sweep; `told` goes into trial.json, and to `run` what it takes."""
    taken = {key: told.pop(key) for key in ("scores", "groups", "settings", "loss") if key in told}
    folder = run(sweep / "trials" / cell / str(seed), curve, **taken)
    head = {"sweep": sweep.name, "cell": cell, "seed": seed, "values": dict(values), "state": "complete", "error": None}
    (folder / "trial.json").write_text(json.dumps({**head, "seconds": 9.0, "peak_memory_bytes": 2**30, **told}))
    return folder


def study(sweep: Path, **told: Any) -> Path:
    """A sweep's study.json."""
    sweep.mkdir(parents=True, exist_ok=True)
    about = {"name": sweep.name, "experiment": "hourglass_mpii", "demo": False, "kind": "as the source ran it"}
    (sweep / "study.json").write_text(json.dumps({**about, "metric": "val/pckh", "goal": "maximize", **told}))
    return sweep
