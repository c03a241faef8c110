"""What `evaluate` asks of a task: score predictions of one split, show the scores, and write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import RenderableType

Found = Mapping[str, np.ndarray]
"""What `predict_step` returned for every sample of a split, in the store's order: `preds` (n, ...) and others."""


@dataclass(frozen=True)
class Outcome:
    """Scores of one split.

    Attributes:
        scores: The model's, then the baselines'.
        table: The same for a terminal of 80 columns.
        json: The same for `metrics.json`.
    """

    scores: Sequence[Any]
    table: RenderableType
    json: Mapping[str, Any]


class Scoring(Protocol):
    """The functions of a task's module `scoring`; a store is a `Store`, or what serves samples as one does."""

    def judge(self, found: Found, store: Any, train: Any, *, title: str) -> Outcome:
        """Score predictions beside the baselines that `train` gives."""

    def write_predictions(self, path: Path, found: Found, store: Any, *, split: str) -> None:
        """Write the predictions, whole or not at all."""
