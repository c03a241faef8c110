"""Scores of predicted classes or tags against a split's labels, with intervals; `table` shows them.

Shapes: n pictures, k classes or tags, r resamples, s statistics, c columns, m bins of confidence.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from pose_lightning import statistics
from pose_lightning.activity.truth import Target, Truth
from pose_lightning.errors import UserError
from pose_lightning.metrics import classes as metrics
from pose_lightning.metrics.classes import BINS, ClassErrors, RankedTags, TagErrors
from pose_lightning.scoring import Estimate, Part

BY_CLASS: Final = ("precision", "recall", "f1")
"""What is told of every class; of a tag also `ap`, average precision."""

MAP_RESAMPLES: Final = 500
"""Of average precision, which has to be taken anew from every resample's ranking: the others are made of sums."""


@dataclass(frozen=True, eq=False)
class Score:
    """What `score` found.

    Attributes:
        title: Of the predictor.
        truth: What was predicted.
        measures: Over all pictures: as `names` lists them, in the unit that `unit` says.
        by_class: By class or tag, and then by measure, %.
        confusion: True class x predicted class, pictures; None for tags.
        loss: Mean of the pictures' losses, as trained; NaN where there is no network.
    """

    title: str
    truth: Truth
    measures: Mapping[str, Estimate]
    by_class: Mapping[str, Mapping[str, Estimate]]
    confusion: Int64[np.ndarray, "k k"] | None
    loss: float = math.nan

    @property
    def support(self) -> Mapping[str, int]:
        """Pictures of every class."""
        return dict(zip(self.truth.classes, self.truth.has.sum(axis=0).tolist(), strict=True))


def names(target: Target) -> tuple[str, ...]:
    """What is measured, in this order."""
    return TagErrors.NAMES if target == "tags" else ClassErrors.NAMES


def unit(measure: str) -> str:
    """The unit of a measure."""
    return "nats" if measure == "nll" else "%"


def score(
    preds: Float64[np.ndarray, "n k"],
    truth: Truth,
    *,
    title: str = "model",
    loss: float = math.nan,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> Score:
    """Every measure of probabilities, with 95 % intervals from resampled groups of pictures.

    The intervals are percentiles of the resamples, moved so that the resamples' mean is the value. A resample has some
    pictures twice and others not at all, so that its mean F1, mean average precision or calibration error lies beside
    what other pictures would give. (Of generated data, 60 tags of 2 to 100 pictures: percentiles of mean average
    precision held its expectation in 52 to 85 % of the trials, moved ones in 85 to 95 %.)

    A mean over classes is one over those that a resample has. Average precision has no more than `MAP_RESAMPLES`.

    Raises:
        UserError: If there are not as many predictions as pictures and classes, or one is not finite.
    """
    check(preds, truth, title)
    scores, has = torch.from_numpy(np.ascontiguousarray(preds)), torch.from_numpy(truth.has)
    tags, count = truth.target == "tags", len(truth.classes)
    columns = (_tag_columns if tags else _class_columns)(scores, has)
    measure = _tag_measures if tags else _class_measures

    def statistic(sums: Float64[Tensor, "r c"]) -> Float64[Tensor, "r s"]:
        hits, support, predicted, rest = torch.tensor_split(sums, (count, 2 * count, 3 * count), dim=1)
        overall = measure(hits, support, predicted, rest)
        return torch.cat([torch.stack([*overall.values()], dim=1), *_by_class(hits, support, predicted)], dim=1)

    estimates = _bootstrap(columns, truth, statistic, resamples=resamples, seed=seed)
    listed = [name for name in names(truth.target) if name != "map"]
    found, rest = dict(zip(listed, estimates, strict=False)), estimates[len(listed) :]
    blocks = [rest[start : start + count] for start in range(0, len(rest), count)]
    told: tuple[str, ...] = BY_CLASS
    if tags:
        found["map"], *each = _average_precision(scores, has, truth, resamples=resamples, seed=seed)
        blocks, told = [*blocks, each], (*BY_CLASS, "ap")
    return Score(
        title=title,
        truth=truth,
        measures={name: found[name] for name in names(truth.target)},
        by_class={
            name: dict(zip(told, values, strict=True)) for name, *values in zip(truth.classes, *blocks, strict=True)
        },
        confusion=None if tags else confusion(preds, truth),
        loss=loss,
    )


def sample_parts(preds: Float64[np.ndarray, "n k"], truth: Truth) -> dict[str, Part]:
    """What every picture adds to what `ClassErrors` or `TagErrors` computes, by its names.

    Not to `ece` and `weighted_f1`, which are no mean of ratios. Neither is `map`: there a picture's number is the value
    and by how much more weight of the picture would move it, so that their mean is the value.
    """
    check(preds, truth, "predictions")
    scores, has = torch.from_numpy(np.ascontiguousarray(preds)), torch.from_numpy(truth.has)
    tags, count = truth.target == "tags", len(truth.classes)
    columns = (_tag_columns if tags else _class_columns)(scores, has)
    hits, support, predicted, rest = torch.tensor_split(columns, (count, 2 * count, 3 * count), dim=1)
    one, occurs = torch.ones(len(has), 1, dtype=torch.float64), (support.sum(dim=0) > 0).double()
    found = {"macro_f1": (200 * hits, (support + predicted) * occurs)}
    if tags:
        moved = 100 * metrics.average_precision_influences(scores, has)
        found |= {
            "map": (100 * RankedTags(scores, has).average_precision().nanmean() + moved[:, None], one),
            "micro_f1": (200 * hits.sum(dim=1, keepdim=True), (support + predicted).sum(dim=1, keepdim=True)),
            "subset_accuracy": (100 * rest[:, 1:2], one),
            "element_accuracy": (100 * rest[:, 2:3], one),
            "hamming_loss": (100 * (1 - rest[:, 2:3]), one),
        }
    else:
        found |= {
            "top1": (100 * hits.sum(dim=1, keepdim=True), one),
            "top5": (100 * rest[:, 0:1], one),
            "balanced": (100 * hits, support),
            "nll": (rest[:, 1:2], one),
        }
    return {name: (above.numpy(), below.numpy()) for name, (above, below) in found.items()}


def check(preds: np.ndarray, truth: Truth, title: str) -> None:
    """Refuse what could not be scored.

    Raises:
        UserError: If there are not as many predictions as pictures and classes, or one is not finite.
    """
    if preds.shape != truth.has.shape:
        raise UserError(
            f"{title}: predictions {preds.shape}; the split has {len(truth)} pictures with a label, and there are "
            f"{len(truth.classes)} classes for target={truth.target}"
        )
    if not np.isfinite(preds).all():
        row, column = np.argwhere(~np.isfinite(preds))[0].tolist()
        raise UserError(
            f"{title}: the prediction of {truth.names[row]!r} for {truth.classes[column]!r} is not finite; leaving it "
            "out would flatter, so there is no score"
        )


def confusion(preds: Float64[np.ndarray, "n k"], truth: Truth) -> Int64[np.ndarray, "k k"]:
    """How many pictures of each class (row) were said to be of each class (column)."""
    count = len(truth.classes)
    pairs = truth.label * count + metrics.predicted_classes(torch.from_numpy(np.ascontiguousarray(preds))).numpy()
    return np.bincount(pairs, minlength=count * count).reshape(count, count).astype(np.int64)


def _class_columns(scores: Float64[Tensor, "n k"], has: Bool[Tensor, "n k"]) -> Float64[Tensor, "n c"]:
    """Per picture: hits, support and predictions of every class, whether it is among the first five, log-loss, bins.

    The bins are pictures, right ones and confidence by bin of confidence.
    """
    label, predicted = has.long().argmax(dim=1), metrics.predicted_classes(scores)
    chosen = torch.nn.functional.one_hot(predicted, scores.shape[1]).bool()
    confidence, rank = metrics.confidences(scores), metrics.ranks(scores, label)
    lies_in = torch.nn.functional.one_hot(metrics.confidence_bins(confidence), BINS).double()
    bins = [lies_in, lies_in * (predicted == label)[:, None], lies_in * confidence[:, None]]
    others = torch.stack([(rank < metrics.TOP).double(), metrics.log_losses(scores, label)], dim=1)
    return torch.cat([(chosen & has).double(), has.double(), chosen.double(), others, *bins], dim=1)


def _tag_columns(scores: Float64[Tensor, "n k"], has: Bool[Tensor, "n k"]) -> Float64[Tensor, "n c"]:
    """Per picture: hits, support and predictions of every tag, 1, whether all are right, and the share that is."""
    chosen = scores > metrics.THRESHOLD
    right = (chosen == has).double()
    others = torch.stack([torch.ones(len(has), dtype=torch.float64), right.prod(dim=1), right.mean(dim=1)], dim=1)
    return torch.cat([(chosen & has).double(), has.double(), chosen.double(), others], dim=1)


def _class_measures(
    hits: Float64[Tensor, "r k"],
    support: Float64[Tensor, "r k"],
    predicted: Float64[Tensor, "r k"],
    rest: Float64[Tensor, "r c"],
) -> dict[str, Float64[Tensor, " r"]]:
    """As `ClassErrors.NAMES`."""
    count = support.sum(dim=1)
    bins = rest[:, 2:].unflatten(1, (3, BINS))  # type: ignore[no-untyped-call]
    return {
        "top1": 100 * hits.sum(dim=1) / count,
        "top5": 100 * rest[:, 0] / count,
        "balanced": 100 * metrics.recall(hits, support).nanmean(dim=1),
        "macro_f1": 100 * metrics.f1(hits, support, predicted).nanmean(dim=1),
        "weighted_f1": 100 * metrics.weighted_f1(hits, support, predicted),
        "ece": 100 * metrics.calibration_error(*bins.unbind(dim=1)),
        "nll": rest[:, 1] / count,
    }


def _tag_measures(
    hits: Float64[Tensor, "r k"],
    support: Float64[Tensor, "r k"],
    predicted: Float64[Tensor, "r k"],
    rest: Float64[Tensor, "r 3"],
) -> dict[str, Float64[Tensor, " r"]]:
    """As `TagErrors.NAMES`, but for `map`."""
    count, whole, right = rest.unbind(dim=1)
    return {
        "micro_f1": 100 * metrics.micro_f1(hits, support, predicted),
        "macro_f1": 100 * metrics.f1(hits, support, predicted).nanmean(dim=1),
        "subset_accuracy": 100 * whole / count,
        "element_accuracy": 100 * right / count,
        "hamming_loss": 100 * (1 - right / count),
    }


def _by_class(
    hits: Float64[Tensor, "r k"], support: Float64[Tensor, "r k"], predicted: Float64[Tensor, "r k"]
) -> list[Float64[Tensor, "r k"]]:
    """As `BY_CLASS`; precision is undefined where the class was never predicted."""
    precision = torch.where(predicted > 0, metrics.precision(hits, predicted), torch.nan)
    return [100 * each for each in (precision, metrics.recall(hits, support), metrics.f1(hits, support, predicted))]


def _bootstrap(
    columns: Float64[Tensor, "n c"],
    truth: Truth,
    statistic: Callable[[Tensor], Tensor],
    *,
    resamples: int,
    seed: int,
) -> list[Estimate]:
    def deviations(totals: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, "r s"]:
        values = statistic(torch.from_numpy(np.ascontiguousarray(totals)))
        return (values - values.nanmean(dim=0)).numpy()

    ends = statistics.cluster_bootstrap(columns.numpy(), truth.group, deviations, resamples=resamples, seed=seed)
    return _estimates(statistic(columns.sum(dim=0, keepdim=True))[0], ends)


def _average_precision(
    scores: Float64[Tensor, "n k"], has: Bool[Tensor, "n k"], truth: Truth, *, resamples: int, seed: int
) -> list[Estimate]:
    """The mean over tags, and every tag's own."""
    ranked = RankedTags(scores, has)
    clusters, member = np.unique(truth.group, return_inverse=True)
    counts = statistics.draws(len(clusters), min(resamples, MAP_RESAMPLES), seed)
    drawn = [ranked.average_precision(torch.from_numpy(row[member]).long()) for row in counts]
    values = 100 * torch.stack([ranked.average_precision(), *drawn])
    values = torch.cat([values.nanmean(dim=1, keepdim=True), values], dim=1)
    deviations = (values[1:] - values[1:].nanmean(dim=0)).numpy()
    return _estimates(values[0], statistics.ends(deviations, clusters=len(clusters)))


def _estimates(values: Float64[Tensor, " s"], ends: Float64[np.ndarray, "2 s"]) -> list[Estimate]:
    """Values and intervals from the ends of their deviations; 0 to 100 are the limits, which no log-loss reaches."""
    limits = np.clip(values.numpy() + ends, 0.0, 100.0)
    return [Estimate(*each) for each in zip(values.tolist(), *limits.tolist(), strict=True)]
