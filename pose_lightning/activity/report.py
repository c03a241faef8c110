"""What is said of scores beside the numbers: footnotes, `metrics.json`, and which classes and confusions to name."""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pose_lightning import statistics
from pose_lightning.activity.evaluation import MAP_RESAMPLES, Score, unit
from pose_lightning.activity.truth import LISTS, Truth
from pose_lightning.metrics.classes import BINS, SMALLEST

SHOWN: Final = 10
"""The most frequent and the worst classes that a table shows where there are too many for all."""

ENOUGH: Final = 5
"""Pictures of a class, below which its scores are too much chance to call it one of the worst."""

CONFUSED: Final = 5

OF_CLASSES: Final = (
    "Top-1: the likeliest class is right (accuracy). Top-5: the right one is among the five likeliest. Balanced: mean "
    "recall of the classes. Macro F1: mean F1 of the classes; weighted: by how many pictures each has. Both means are "
    "over the classes that the split has. "
    f"ECE: mean distance of accuracy from confidence, {BINS} bins of equal width (Guo et al., ICML 2017). "
    f"Log-loss: of the right class, natural logarithm, probabilities below {SMALLEST:g} taken as that."
)
OF_TAGS: Final = (
    "mAP: mean over the tags that the split has of the area under precision over recall, in steps. F1 and what "
    "follows: a tag is predicted above 0.5. Micro: of all pairs of a picture and a tag; macro: mean over those tags. "
    "Subset accuracy: pictures with every tag right. Element accuracy: pairs that are right, which is high for a model "
    "that says no to everything, because most pairs are no; Hamming loss: the other pairs. Course report 003's 99.91 % "
    "for many labels at once was probably element accuracy."
)
BASELINES_OF_CLASSES: Final = (
    "Baselines never look at the picture. The majority class is an answer without probabilities: it has no top-5, ECE "
    "or log-loss."
)
BASELINES_OF_TAGS: Final = (
    "Baselines never look at the picture. Majority: a tag is predicted if more than half of the training pictures have "
    "it. Both say the same of every picture, so that a tag's average precision is its share of the pictures."
)
LITERATURE: Final = (
    "MPII's literature classifies 393 activities (act_name), course report 003 20 categories: numbers of one are never "
    "to stand beside numbers of the other. The labels of MPII's own test images are not public: this is a hold-out of "
    "labelled images, so published test numbers are of other images."
)


def listed_classes(score: Score) -> tuple[list[str], list[str]]:
    """The classes with pictures, most frequent first; and those with `ENOUGH`, worst first by F1 (of tags, by AP)."""
    measure = "ap" if score.truth.target == "tags" else "f1"
    present = [name for name, count in score.support.items() if count]
    frequent = sorted(present, key=lambda name: -score.support[name])
    enough = [name for name in frequent if score.support[name] >= ENOUGH]
    return frequent, sorted(enough, key=lambda name: score.by_class[name][measure].value)


def confusions(score: Score) -> list[tuple[str, str, int]]:
    """True class, predicted class and pictures of what was wrong, most frequent first."""
    if score.confusion is None:
        return []
    wrong = score.confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[: int((wrong > 0).sum())]
    rows, columns = np.unravel_index(order, wrong.shape)
    classes = score.truth.classes
    return [
        (classes[row], classes[column], int(wrong[row, column]))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
    ]


def footnotes(scores: Sequence[Score], *, folds: int = 0) -> list[str]:
    """What a reader has to know to trust or compare the numbers, a sentence or two each.

    Args:
        scores: The model's, then the baselines'.
        folds: How many networks predicted, each the fold that it was not trained on; 0 is one network.
    """
    model, *baselines = scores
    truth, tags = model.truth, model.truth.target == "tags"
    notes = truth.notes
    kind = "tags" if tags else "classes"
    lines = [
        f"{len(truth)} pictures{_groups(truth)}; {truth.target}: "
        f"{int(truth.has.any(axis=0).sum())} of {len(truth.classes)} {kind} occur. {notes.get('dataset', 'unnamed')} "
        f"{notes.get('split', '')}{_folds(truth)}: {str(notes.get('split_rule', 'split not recorded')).rstrip('.')}.",
    ]
    if tags and notes.get("tag_rule"):
        lines.append(f"Tags: {str(notes['tag_rule']).rstrip('.')}.")
    if folds:
        lines.append(
            f"Every picture was predicted by the one of {folds} networks that had not seen its fold; baselines by the "
            "other folds. By fold: mean, standard deviation and 95 % t interval, which takes the folds for independent "
            "and is too narrow, as the networks share training pictures (Bengio and Grandvalet, JMLR 2004)."
        )
    if notes.get("dataset") == "mpii":
        lines.append(LITERATURE)
    lines += [
        "95 % intervals: bootstrap, groups resampled; percentiles, moved so that the resamples' mean is the value"
        + (f"; {statistics.RESAMPLES} resamples, of average precision {MAP_RESAMPLES}." if tags else "."),
        OF_TAGS if tags else OF_CLASSES,
    ]
    shown = [model.by_class[name] for name, count in model.support.items() if count]
    if any(math.isnan(values["f1"].low) for values in shown):
        lines.append(f"A dash for an interval: fewer than about five groups have the {'tag' if tags else 'class'}.")
    if baselines:
        lines.append(BASELINES_OF_TAGS if tags else BASELINES_OF_CLASSES)
    return lines


def _groups(truth: Truth) -> str:
    count = len(np.unique(truth.group))
    if count == len(truth):
        return ", each its own group"
    return f" in {count} groups (one video, or nearly the same picture)"


def _folds(truth: Truth) -> str:
    """Which folds the pictures are of, where a split has them."""
    count, there = int(truth.notes.get("folds") or 0), sorted(set(truth.fold.tolist()) - {-1})
    if not count or len(there) == count:
        return f", all {count} folds" if count else ""
    return f", fold {', '.join(map(str, there))} of {count} (from 0)"


def to_json(scores: Sequence[Score], *, folds: int = 0) -> dict[str, Any]:
    """The first score with its baselines, for `metrics.json`; None where a number is undefined."""
    model, *baselines = scores
    truth = model.truth
    return {
        **_score_json(model),
        "classes": {
            name: {"pictures": model.support[name], **{key: value.to_json() for key, value in values.items()}}
            for name, values in model.by_class.items()
        },
        "confusions": [
            {"true": true, "predicted": said, "pictures": count} for true, said, count in confusions(model)[:SHOWN]
        ],
        "loss": None if math.isnan(model.loss) else model.loss,
        "counts": {"pictures": len(truth), "groups": len(np.unique(truth.group)), "classes": len(truth.classes)},
        "notes": {key: value for key, value in truth.notes.items() if key not in LISTS.values()},
        "definitions": footnotes(scores, folds=folds),
        "interval": {
            "level": statistics.LEVEL,
            "method": "percentile bootstrap of groups, moved so that the resamples' mean is the value",
        },
        "baselines": [_score_json(baseline) for baseline in baselines],
    }


def _score_json(score: Score) -> dict[str, Any]:
    return {
        "title": score.title,
        "target": score.truth.target,
        "measures": {name: {"unit": unit(name), **value.to_json()} for name, value in score.measures.items()},
    }
