"""Scores of predicted poses against a split's labels, with intervals; `table` shows them.

Shapes: n persons, j joints, r resamples, s statistics (`metrics.statistic_names`).
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
from pose_lightning.joints import JointSet
from pose_lightning.metrics import points as metrics
from pose_lightning.scoring import Estimate, Part

TORSO: Final = f"pck@{metrics.TORSO_THRESHOLD:g}_torso"
"""PCK of the torso, beside the main measure: Yang and Ramanan, TPAMI 2013, in the LSP evaluation of MPI."""


def measure_unit(measure: str, joint_set: JointSet) -> str:
    """Of a measure's numbers."""
    if measure == "error":
        return metrics.UNIT_NAMES[joint_set.reference][1]
    return "px of a 64 px heatmap of the box" if measure.startswith("bias") else "%"


@dataclass(frozen=True)
class Score:
    """What one predictor scores on one split.

    Attributes:
        title: Who predicted.
        joint_set: Of the poses.
        measures: Measure -> statistic (`metrics.statistic_names`) -> estimate.
        counts: Persons and joints: all, scored, not scored and why, not predicted.
        labelled: Scored labels per joint, by its name.
        notes: The truth's.
    """

    title: str
    joint_set: JointSet
    measures: Mapping[str, Mapping[str, Estimate]]
    counts: Mapping[str, int]
    labelled: Mapping[str, int]
    notes: Mapping[str, Any]

    def value(self, measure: str | None = None, statistic: str | None = None) -> float:
        """One number of the table: unless told otherwise, the main measure's unweighted mean."""
        main, mean = metrics.measure(self.joint_set), metrics.means(self.joint_set)[0]
        return self.measures[measure or main][statistic or mean].value


@dataclass(frozen=True)
class _Sums:
    """Per person and joint: what a measure adds up and divides by."""

    numerators: Float64[Tensor, "n j"]
    counts: Float64[Tensor, "n j"]
    strict: Float64[Tensor, "n j"] | None = None

    @property
    def columns(self) -> list[Tensor]:
        return [self.numerators, self.counts] + ([] if self.strict is None else [self.strict])


def person_errors(preds: Float64[np.ndarray, "n j 2"], truth: Truth) -> Float64[np.ndarray, " n"]:
    """Mean error of every person over the labelled joints, in units of `Truth.unit`.

    Infinite where a labelled joint was not predicted, NaN where the unit is unknown or no joint is labelled.
    """
    errors = metrics.joint_errors(*_tensors(preds, truth.joints, truth.unit)).numpy()
    count = truth.labelled.sum(axis=1)
    total = np.where(truth.labelled, errors, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def score(
    preds: Float64[np.ndarray, "n j 2"],
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
    joint_set, sums = truth.joint_set, _measure(preds, truth)
    columns = torch.cat([column for each in sums.values() for column in each.columns], dim=1).numpy()
    statistic = _statistic(joint_set, sums)
    values = statistic(columns.sum(axis=0, keepdims=True))[0]
    low, high = statistics.cluster_bootstrap(columns, truth.group, statistic, resamples=resamples, seed=seed)
    estimates = [Estimate(*each) for each in zip(values.tolist(), low.tolist(), high.tolist(), strict=True)]
    names = metrics.statistic_names(joint_set)
    measures = {
        measure: dict(zip(names, estimates[start : start + len(names)], strict=True))
        for measure, start in zip(sums, range(0, len(estimates), len(names)), strict=True)
    }
    unpredicted = ~np.isfinite(preds).all(axis=-1) & truth.labelled
    _withhold_error(joint_set, measures, unpredicted & (truth.unit > 0)[:, None])
    counts = _counts(truth) | {"joints_not_predicted": int(unpredicted.sum())}
    scored = sums[metrics.measure(joint_set)].counts.sum(dim=0).int().tolist()
    labelled = dict(zip(joint_set.names, scored, strict=True))
    return Score(
        title=title, joint_set=joint_set, measures=measures, counts=counts, labelled=labelled, notes=truth.notes
    )


def to_json(scores: Sequence[Score]) -> dict[str, Any]:
    """The first score with its baselines, for `metrics.json`; None where a number is undefined."""
    model, *baselines = scores
    return {
        **_score_json(model),
        "counts": dict(model.counts),
        "labelled": dict(model.labelled),
        "notes": dict(model.notes),
        "definitions": footnotes(scores),
        "joint_set": model.joint_set.plain(),
        "interval": {"level": statistics.LEVEL, "method": "percentile bootstrap of images"},
        "baselines": [_score_json(baseline) for baseline in baselines],
    }


def footnotes(scores: Sequence[Score]) -> list[str]:
    """What a reader has to know to trust or compare the numbers, a sentence or two each."""
    model, *baselines = scores
    notes, counts, joint_set = model.notes, model.counts, model.joint_set
    title, (unit, units) = metrics.title(joint_set), metrics.UNIT_NAMES[joint_set.reference]
    unscored = ", ".join(f"no {joint_set.names[joint]}" for joint in joint_set.unscored)
    scored = f"{len(joint_set.scored)} joints{f' ({unscored})' if unscored else ''}"
    within = f"{metrics.FOUND[joint_set.reference]:g} {units}"
    torso = f", {counts['persons_without_torso']} without torso not in PCK@0.2" if joint_set.torso else ""
    lines = [
        f"{counts['persons']} persons in {counts['images']} images of {notes.get('dataset', 'an unnamed data set')} "
        f"{notes.get('split', '')}".rstrip()
        + f"; {counts['persons_without_unit']} without {unit} are not in {title} and error{torso}.",
        "95 % intervals: percentile bootstrap, images resampled.",
        f"Mean: of {scored}, each joint the same (bearpaw's); weighted: each label the same (HRNet's); all "
        f"{len(joint_set)}, strict: every label, error < threshold (psh's). Elsewhere error <= threshold. A joint that "
        "is not predicted is a miss.",
        f"Visible, occluded, error: {len(joint_set.scored)} joints, weighted. Bias: over joints found within {within}, "
        "in px of a 64 px heatmap of the box. AUC: trapezoids, thresholds 0 to 0.5 by 0.01.",
        _unit_note(joint_set, notes),
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


def _unit_note(joint_set: JointSet, notes: Mapping[str, Any]) -> str:
    """What distances are measured by."""
    match joint_set.reference:
        case "head":
            return f"Head size: {notes.get('head_size_source', 'not recorded')}."
        case "box":
            return "Box side: the longer side of the labelled box."
        case "torso":
            first, second = (joint_set.names[joint] for joint in joint_set.torso or ())
            return f"Torso length: {first} to {second}."


def sample_parts(preds: Float64[np.ndarray, "n j 2"], truth: Truth) -> dict[str, Part]:
    """What every person adds to what `metrics.PCK` computes, by its names."""
    joint_set, sums = truth.joint_set, _measure(preds, truth)
    scored, everything = list(joint_set.scored), list(range(len(joint_set)))
    close = metrics.measure(joint_set, metrics.CLOSE[joint_set.reference])
    main, name = metrics.measure(joint_set), metrics.NAME[joint_set.reference]
    visible, occluded = sums[f"{main}_visible"], sums[f"{main}_occluded"]
    strict = _strict(sums[main])

    def joint_by_joint(part: _Sums) -> Part:
        return part.numerators[:, scored].numpy(), part.counts[:, scored].numpy()

    def together(above: Tensor, below: Tensor, joints: list[int]) -> Part:
        return above[:, joints].sum(dim=1, keepdim=True).numpy(), below[:, joints].sum(dim=1, keepdim=True).numpy()

    parts = [
        joint_by_joint(sums[main]),
        together(sums[main].numerators, sums[main].counts, scored),
        together(strict, sums[main].counts, everything),
        joint_by_joint(sums[close]),
        joint_by_joint(sums[f"{name}_auc"]),
        together(visible.numerators, visible.counts, scored),
        together(occluded.numerators, occluded.counts, scored),
    ]
    return dict(zip(metrics.logged_names(joint_set), parts, strict=True))


def _strict(sums: _Sums) -> Tensor:
    return sums.numerators if sums.strict is None else sums.strict


def _tensors(*arrays: np.ndarray) -> list[Tensor]:
    return [torch.tensor(array) for array in arrays]  # a copy: a store's arrays are read-only


def _measure(preds: Float64[np.ndarray, "n j 2"], truth: Truth) -> dict[str, _Sums]:
    joint_set, reference = truth.joint_set, truth.joint_set.reference
    points, joints, labelled, visible = _tensors(preds, truth.joints, truth.labelled, truth.visible)
    unit, box = _tensors(truth.unit, truth.box)
    counted = labelled & (unit > 0)[:, None]
    errors = metrics.joint_errors(points, joints, unit)
    thresholds = torch.tensor(metrics.THRESHOLDS, dtype=torch.float64)
    found, close, main = metrics.FOUND[reference], metrics.CLOSE[reference], metrics.measure(joint_set)
    shift, is_found = metrics.joint_shifts(points, joints, labelled, unit, box, found)
    predicted = counted & errors.isfinite()
    area = metrics.area_under_curve((errors[..., None] <= thresholds).double())
    strict_area = metrics.area_under_curve((errors[..., None] < thresholds).double())
    sums = {
        main: _within(errors, found, counted),
        metrics.measure(joint_set, close): _within(errors, close, counted),
        f"{metrics.NAME[reference]}_auc": _Sums(100 * area * counted, counted.double(), 100 * strict_area * counted),
        f"{main}_visible": _within(errors, found, counted & visible),
        f"{main}_occluded": _within(errors, found, counted & ~visible),
    }
    if joint_set.torso is not None and reference != "torso":
        torso = metrics.torso_lengths(joints, labelled, joint_set.torso)
        torso_errors = metrics.joint_errors(points, joints, torso)
        sums[TORSO] = _within(torso_errors, metrics.TORSO_THRESHOLD, labelled & (torso > 0)[:, None])
    return {
        **sums,
        "error": _Sums(torch.where(predicted, errors, 0.0), predicted.double()),
        "bias_x": _Sums(shift[..., 0], is_found.double()),
        "bias_y": _Sums(shift[..., 1], is_found.double()),
    }


def _within(errors: Float64[Tensor, "n j"], threshold: float, counted: Bool[Tensor, "n j"]) -> _Sums:
    hits, strict = ((right & counted).double() for right in (errors <= threshold, errors < threshold))
    return _Sums(100 * hits, counted.double(), 100 * strict)


def _statistic(
    joint_set: JointSet, sums: Mapping[str, _Sums]
) -> Callable[[Float64[np.ndarray, "r c"]], Float64[np.ndarray, "r s"]]:
    """The function from sums of the columns to all statistics of all measures, in order."""
    widths = [len(each.columns) for each in sums.values()]
    starts = [0, *np.cumsum(widths).tolist()]

    def statistic(totals: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, "r s"]:
        blocks = torch.chunk(torch.from_numpy(totals), starts[-1], dim=1)
        summaries = [metrics.summary(joint_set, *blocks[start:end]) for start, end in pairwise(starts)]
        return torch.cat(summaries, dim=1).numpy()

    return statistic


def _withhold_error(
    joint_set: JointSet, measures: dict[str, dict[str, Estimate]], unpredicted: Bool[np.ndarray, "n j"]
) -> None:
    """Make the mean error infinite wherever a joint that was not predicted belongs to it.

    The mean over what was predicted would reward leaving out the hard joints.
    """
    joints = torch.tensor(unpredicted.sum(axis=0), dtype=torch.float64)
    touched = metrics.summary(joint_set, joints, torch.ones_like(joints)) > 0
    for name, is_touched in zip(metrics.statistic_names(joint_set), touched.tolist(), strict=True):
        if is_touched:
            measures["error"][name] = Estimate(math.inf, math.nan, math.nan)


def _counts(truth: Truth) -> dict[str, int]:
    known = truth.unit > 0
    counted = truth.labelled & known[:, None]
    counts = {
        "persons": len(truth),
        "images": len(np.unique(truth.group)),
        "persons_scored": int(known.sum()),
        "persons_without_unit": int((~known).sum()),
        "joints_scored": int(counted.sum()),
        "joints_visible": int((counted & truth.visible).sum()),
        "joints_occluded": int((counted & ~truth.visible).sum()),
    }
    if (pair := truth.joint_set.torso) is not None:
        joints, labelled = _tensors(truth.joints, truth.labelled)
        torso = metrics.torso_lengths(joints, labelled, pair)
        counts["persons_without_torso"] = int(torso.isnan().sum())
    return counts


def _score_json(each: Score) -> dict[str, Any]:
    return {
        "title": each.title,
        "measures": {
            measure: {
                "unit": measure_unit(measure, each.joint_set),
                **{name: value.to_json() for name, value in estimates.items()},
            }
            for measure, estimates in each.measures.items()
        },
    }
