"""Activity classification as `evaluate` sees it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pose_lightning.activity import baselines, confusion, evaluation, predictions, report, table
from pose_lightning.activity.evaluation import Score
from pose_lightning.activity.truth import Pictures, Target, Truth
from pose_lightning.scoring import Estimate, Found, Outcome, SampleScores


@dataclass(frozen=True)
class ActivityScoring:
    """Scores predictions of one target.

    Attributes:
        target: What the columns of `preds` are: the store's categories, activities or tags.
    """

    target: Target

    def judge(self, found: Found, store: Pictures, train: Pictures | None, *, title: str) -> Outcome:
        """Accuracy and its kin of the probabilities `preds` (n, k), beside baselines that never look at the picture.

        Raises:
            UserError: If the predictions are not of the store's labelled pictures and of its classes.
        """
        truth = Truth.from_store(store, self.target)
        return self._compare(found["preds"], truth, train, title=title, loss=float(found["loss"].mean()))

    def judge_file(self, path: Path, store: Pictures, train: Pictures | None) -> tuple[Outcome, dict[str, object]]:
        """Score anyone's predictions of a store's labelled pictures, in its order.

        Returns:
            The outcome, and what `metrics.json` should say of the file.
        """
        truth = Truth.from_store(store, self.target)
        read = predictions.read_predictions(path, truth)
        return self._compare(read.preds, truth, train, title=path.stem), {"predictions": path.name}

    def write_predictions(self, path: Path, found: Found, store: Pictures, *, split: str) -> None:
        """Write `preds`, whole or not at all."""
        truth = Truth.from_store(store, self.target)
        predictions.write_predictions(
            path, found["preds"], truth.names, truth.classes, target=self.target, store=store.path, split=split
        )

    def sample_scores(self, found: Found, store: Pictures) -> SampleScores:
        """What every picture adds to the logged scores; pictures of one video, or nearly the same, are one group."""
        truth = Truth.from_store(store, self.target)
        loss = found["loss"][:, None]
        parts = {**evaluation.sample_parts(found["preds"], truth), "loss": (loss, np.ones_like(loss))}
        return SampleScores(truth.names, truth.group, parts)

    def write_files(self, folder: Path, outcome: Outcome, *, suffix: str = "") -> list[Path]:
        """Write what a table has no room for: `classes.csv`, and for classes `confusion.csv` and `confusion.png`.

        Args:
            folder: Is there.
            outcome: Of `judge`.
            suffix: Before the files' extensions.

        Returns:
            What was written.
        """
        score: Score = outcome.scores[0]
        paths = [folder / f"classes{suffix}.csv"]
        confusion.write_classes_csv(paths[0], score)
        if score.confusion is not None:
            paths += [folder / f"confusion{suffix}.csv", folder / f"confusion{suffix}.png"]
            confusion.write_confusion_csv(paths[1], score)
            drawn = " (synthetic data)" if score.truth.notes.get("synthetic", False) else ""
            title = f"{score.title}{drawn}"
            confusion.write_confusion_png(paths[2], score.confusion, score.truth.classes, title=title)
        return paths

    def _compare(
        self, preds: np.ndarray, truth: Truth, train: Pictures | None, *, title: str, loss: float = math.nan
    ) -> Outcome:
        model = evaluation.score(preds, truth, title=title, loss=loss)
        others = {} if train is None else baselines.baselines(Truth.from_store(train, self.target), truth)
        scores = [model, *baseline_scores(others, truth)]
        return Outcome(scores=scores, table=table.render(scores), json=report.to_json(scores))


def of(data: Any) -> ActivityScoring:
    """That of a data module's target."""
    return ActivityScoring(data.target)


def judge_file(
    path: Path, store: Pictures, train: Pictures | None, *, target: Target | None
) -> tuple[Outcome, dict[str, object]]:
    """Score anyone's predictions, of a target that the file tells where it is None."""
    return ActivityScoring(target or predictions.predicted_target(path, store)).judge_file(path, store, train)


def baseline_scores(others: baselines.Baselines, truth: Truth) -> Sequence[Score]:
    """Scores of the baselines; the majority class without what only probabilities have."""
    scores = [evaluation.score(preds, truth, title=name) for name, preds in others.items()]
    undefined = Estimate(math.nan, math.nan, math.nan)
    return [
        replace(each, measures={**each.measures, **dict.fromkeys(baselines.UNDEFINED & set(each.measures), undefined)})
        if each.title == baselines.MAJORITY
        else each
        for each in scores
    ]
