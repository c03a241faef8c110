"""Scores of predicted poses against a split's labels, with intervals; `table` shows them.

Shapes: n persons, j joints (16, MPII's), r resamples, s statistics (`metrics.SUMMARY`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from pose_lightning import statistics
from pose_lightning.errors import UserError
from pose_lightning.heatmap.truth import Truth
from pose_lightning.joints import MPII
from pose_lightning.metrics import points as metrics
from pose_lightning.scoring import Estimate, Part

UNITS: Final[Mapping[str, str]] = {
    "pckh@0.5": "%",
    "pckh@0.1": "%",
    "pckh_auc": "%",
    "pckh@0.5_visible": "%",
    "pckh@0.5_occluded": "%",
    "pck@0.2_torso": "%",
    "error": "head sizes",
    "bias_x": "px of a 64 px heatmap of the box",
    "bias_y": "px of a 64 px heatmap of the box",
}


@dataclass(frozen=True)
class Score:
    """What one predictor scores on one split.

    Attributes:
        title: Who predicted.
        measures: Measure (`UNITS`) -> statistic (`metrics.SUMMARY`) -> estimate.
        counts: Persons and joints: all, scored, not scored and why, not predicted.
        labelled: Scored labels per joint, by its name.
        notes: The truth's.
    """

    title: str
    measures: Mapping[str, Mapping[str, Estimate]]
    counts: Mapping[str, int]
    labelled: Mapping[str, int]
    notes: Mapping[str, Any]

    def value(self, measure: str = "pckh@0.5", statistic: str = "mean_unweighted_14") -> float:
        """One number of the table."""
        return self.measures[measure][statistic].value


@dataclass(frozen=True)
class _Sums:
    """Per person and joint: what a measure adds up and divides by."""

    numerators: Float64[Tensor, "n 16"]
    counts: Float64[Tensor, "n 16"]
    strict: Float64[Tensor, "n 16"] | None = None

    @property
    def columns(self) -> list[Tensor]:
        return [self.numerators, self.counts] + ([] if self.strict is None else [self.strict])


def person_errors(preds: Float64[np.ndarray, "n 16 2"], truth: Truth) -> Float64[np.ndarray, " n"]:
    """Mean error of every person over the labelled joints, in head sizes.

    Infinite where a labelled joint was not predicted, NaN where there is no head size or no labelled joint.
    """
    errors = metrics.joint_errors(*_tensors(preds, truth.joints, truth.head_size)).numpy()
    count = truth.labelled.sum(axis=1)
    total = np.where(truth.labelled, errors, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def score(
    preds: Float64[np.ndarray, "n 16 2"],
    truth: Truth,
    *,
    title: str = "model",
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> Score:
    """Every measure of `preds` (0-based image px; NaN is a miss), with 95 % intervals from resampled images.

    Raises:
        UserError: If there are not as many predictions as persons.
    """
    if len(preds) != len(truth):
        raise UserError(f"{title}: predictions for {len(preds)} persons, the store has {len(truth)}")
    sums = _measure(preds, truth)
    columns = torch.cat([column for each in sums.values() for column in each.columns], dim=1).numpy()
    statistic = _statistic(sums)
    values = statistic(columns.sum(axis=0, keepdims=True))[0]
    low, high = statistics.cluster_bootstrap(columns, truth.group, statistic, resamples=resamples, seed=seed)
    estimates = [Estimate(*each) for each in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)]
    size = len(metrics.SUMMARY)
    measures = {
        name: dict(zip(metrics.SUMMARY, estimates[place * size : (place + 1) * size], strict=True))
        for place, name in enumerate(sums)
    }
    unpredicted = ~np.isfinite(preds).all(axis=-1) & truth.labelled
    _withhold_error(measures, unpredicted & (truth.head_size > 0)[:, None])
    counts = _counts(truth) | {"joints_not_predicted": int(unpredicted.sum())}
    labelled = dict(zip(MPII.names, sums["pckh@0.5"].counts.sum(dim=0).int().tolist(), strict=True))
    return Score(title=title, measures=measures, counts=counts, labelled=labelled, notes=truth.notes)


def to_json(scores: Sequence[Score]) -> dict[str, Any]:
    """The first score with its baselines, for `metrics.json`; None where a number is undefined."""
    model, *baselines = scores
    return {
        **_score_json(model),
        "counts": dict(model.counts),
        "labelled": dict(model.labelled),
        "notes": dict(model.notes),
        "definitions": footnotes(scores),
        "interval": {"level": statistics.LEVEL, "method": "percentile bootstrap of images"},
        "baselines": [_score_json(baseline) for baseline in baselines],
    }


def footnotes(scores: Sequence[Score]) -> list[str]:
    """What a reader has to know to trust or compare the numbers, a sentence or two each."""
    model, *baselines = scores
    notes, counts = model.notes, model.counts
    lines = [
        f"{counts['persons']} persons in {counts['images']} images of {notes.get('dataset', 'an unnamed data set')} "
        f"{notes.get('split', '')}".rstrip()
        + f"; {counts['persons_without_head_size']} without head size are not in PCKh and error, "
        f"{counts['persons_without_torso']} without torso not in PCK@0.2.",
        "95 % intervals: percentile bootstrap, images resampled.",
        "Mean: of 14 joints (no pelvis, no thorax), each joint the same (bearpaw's); weighted: each label the same "
        "(HRNet's); all 16, strict: every label, error < threshold (psh's). Elsewhere error <= threshold. A joint that "
        "is not predicted is a miss.",
        "Visible, occluded, error: 14 joints, weighted. Bias: over joints found within half a head, in px of a 64 px "
        "heatmap of the box. AUC: trapezoids, thresholds 0 to 0.5 by 0.01.",
        f"Head size: {notes.get('head_size_source', 'not recorded')}.",
        f"Person box given to the model: {notes.get('box_source', 'not recorded')}; scale is privileged knowledge.",
    ]
    if model.counts["joints_not_predicted"]:
        lines.append(
            f"{counts['joints_not_predicted']} labelled joints have no prediction; the mean error is withheld."
        )
    if "published_truth" in notes:
        lines.append(f"Scored against {notes['published_truth']}, as published scores are.")
    if baselines:
        lines.append(
            "Baselines never look at the image, but know the box; nearest box shape also knows width and height of the "
            "labelled joints (privileged), and takes joints that its neighbour lacks from the mean pose."
        )
    return lines


def sample_parts(preds: Float64[np.ndarray, "n 16 2"], truth: Truth) -> dict[str, Part]:
    """What every person adds to what `metrics.PCKh` computes, by its names."""
    sums, scored, everything = _measure(preds, truth), list(metrics.SCORED_14), list(metrics.ALL_16)
    half = sums["pckh@0.5"]
    strict = half.numerators if half.strict is None else half.strict
    unweighted = {"pckh": half, "pckh_0.1": sums["pckh@0.1"], "auc": sums["pckh_auc"]}
    weighted = {
        "pckh_weighted": (half.numerators, half.counts, scored),
        "pckh_16": (strict, half.counts, everything),
        "pckh_visible": (sums["pckh@0.5_visible"].numerators, sums["pckh@0.5_visible"].counts, scored),
        "pckh_occluded": (sums["pckh@0.5_occluded"].numerators, sums["pckh@0.5_occluded"].counts, scored),
    }
    return {
        **{
            name: (part.numerators[:, scored].numpy(), part.counts[:, scored].numpy())
            for name, part in unweighted.items()
        },
        **{
            name: (above[:, joints].sum(dim=1, keepdim=True).numpy(), below[:, joints].sum(dim=1, keepdim=True).numpy())
            for name, (above, below, joints) in weighted.items()
        },
    }


def _tensors(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.tensor(array) for array in arrays]  # a copy: a store's arrays are read-only


def _measure(preds: Float64[np.ndarray, "n 16 2"], truth: Truth) -> dict[str, _Sums]:
    points, joints, labelled, visible = _tensors(preds, truth.joints, truth.labelled, truth.visible)
    head_size, box = _tensors(truth.head_size, truth.box)
    counted = labelled & (head_size > 0)[:, None]
    errors = metrics.joint_errors(points, joints, head_size)
    torso = metrics.torso_lengths(joints, labelled)
    on_torso = labelled & (torso > 0)[:, None]
    torso_errors = metrics.joint_errors(points, joints, torso)
    thresholds = torch.tensor(metrics.THRESHOLDS, dtype=torch.float64)
    shift, found = metrics.joint_shifts(points, joints, labelled, head_size, box)
    predicted = counted & errors.isfinite()
    area = metrics.area_under_curve((errors[..., None] <= thresholds).double())
    strict_area = metrics.area_under_curve((errors[..., None] < thresholds).double())
    return {
        "pckh@0.5": _within(errors, metrics.FOUND, counted),
        "pckh@0.1": _within(errors, 0.1, counted),
        "pckh_auc": _Sums(100 * area * counted, counted.double(), 100 * strict_area * counted),
        "pckh@0.5_visible": _within(errors, metrics.FOUND, counted & visible),
        "pckh@0.5_occluded": _within(errors, metrics.FOUND, counted & ~visible),
        "pck@0.2_torso": _within(torso_errors, metrics.TORSO_THRESHOLD, on_torso),
        "error": _Sums(torch.where(predicted, errors, 0.0), predicted.double()),
        "bias_x": _Sums(shift[..., 0], found.double()),
        "bias_y": _Sums(shift[..., 1], found.double()),
    }


def _within(errors: Float64[Tensor, "n 16"], threshold: float, counted: Bool[Tensor, "n 16"]) -> _Sums:
    hits, strict = ((right & counted).double() for right in (errors <= threshold, errors < threshold))
    return _Sums(100 * hits, counted.double(), 100 * strict)


def _statistic(sums: Mapping[str, _Sums]) -> Callable[[Float64[np.ndarray, "r c"]], Float64[np.ndarray, "r s"]]:
    """The function from sums of the columns to all statistics of all measures, in order."""
    widths = [len(each.columns) for each in sums.values()]
    starts = [0, *np.cumsum(widths).tolist()]

    def statistic(totals: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, "r s"]:
        blocks = torch.chunk(torch.from_numpy(totals), starts[-1], dim=1)
        summaries = [metrics.summary(*blocks[start:end]) for start, end in pairwise(starts)]
        return torch.cat(summaries, dim=1).numpy()

    return statistic


def _withhold_error(measures: dict[str, dict[str, Estimate]], unpredicted: Bool[np.ndarray, "n 16"]) -> None:
    """Make the mean error infinite wherever a joint that was not predicted belongs to it.

    The mean over what was predicted would reward leaving out the hard joints.
    """
    joints = torch.tensor(unpredicted.sum(axis=0), dtype=torch.float64)
    touched = metrics.summary(joints, torch.ones_like(joints)) > 0
    for name, is_touched in zip(metrics.SUMMARY, touched.tolist(), strict=True):
        if is_touched:
            measures["error"][name] = Estimate(math.inf, math.nan, math.nan)


def _counts(truth: Truth) -> dict[str, int]:
    known = truth.head_size > 0
    torso = metrics.torso_lengths(*_tensors(truth.joints, truth.labelled)).numpy()
    counted = truth.labelled & known[:, None]
    return {
        "persons": len(truth),
        "images": len(np.unique(truth.group)),
        "persons_scored": int(known.sum()),
        "persons_without_head_size": int((~known).sum()),
        "persons_without_torso": int(np.isnan(torso).sum()),
        "joints_scored": int(counted.sum()),
        "joints_visible": int((counted & truth.visible).sum()),
        "joints_occluded": int((counted & ~truth.visible).sum()),
    }


def _score_json(each: Score) -> dict[str, Any]:
    return {
        "title": each.title,
        "measures": {
            measure: {"unit": UNITS[measure], **{name: value.to_json() for name, value in estimates.items()}}
            for measure, estimates in each.measures.items()
        },
    }
