"""Scores of predicted clips against a split's labels, with intervals; `table` shows them.

Shapes: n clips, t frames, j joints (17, Human3.6M's), r resamples, m measures, c columns.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64, Int64

from pose_lightning import statistics
from pose_lightning.errors import UserError
from pose_lightning.joints import H36M, H36M_ROOT
from pose_lightning.metrics.poses import PoseErrors, clip_measures
from pose_lightning.regression.data import Clips
from pose_lightning.scoring import Estimate, Part

MEASURES: Final = PoseErrors.NAMES
"""What is measured, in this order; units in `units`."""

CHUNK: Final = 256
"""Clips measured at a time: the thresholds of the AUC take 31 numbers per joint."""

MM2_PER_M2: Final = 1e6

ACTION_POSE: Final = "action's mean pose"
"""The title of the baseline that knows the clip's action."""


@dataclass(frozen=True, eq=False)
class Truth:
    """The labels of a split: poses in mm, relative to the root on every frame."""

    joints: Float64[np.ndarray, "n t 17 3"]
    names: tuple[str, ...]
    subject: np.ndarray
    action: np.ndarray
    """Empty text where unknown."""
    group: Int64[np.ndarray, " n"]
    """Clips with the same number are of one sequence."""
    notes: Mapping[str, Any]
    """The store's attributes."""

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_store(cls, store: Clips, *, frames: int | None = None) -> "Truth":
        """The labels of a clip store, or of its clips' first frames.

        Raises:
            UserError: If the store is of another kind, joint set or unit, or a joint has no finite coordinates.
        """
        for key, wanted in (("kind", "clips"), ("joint_set", H36M.name), ("root", H36M_ROOT), ("units", "mm")):
            if store.attrs.get(key) != wanted:
                raise UserError(f"{store.path}: {key} is {store.attrs.get(key)!r}, wanted {wanted!r}")
        labels = store.labels
        joints = np.array(labels["joints"][:, :frames], dtype=np.float64)
        if not np.isfinite(joints).all():
            clip = int(np.argwhere(~np.isfinite(joints))[0, 0])
            raise UserError(f"{store.path}: clip {labels['name'][clip]!r} has a joint without finite coordinates")
        return cls(
            joints=joints,
            names=tuple(str(name) for name in labels["name"]),
            subject=np.asarray(labels["subject"], dtype=str),
            action=np.asarray(labels["action"], dtype=str),
            group=np.unique(labels["sequence"], return_inverse=True)[1].astype(np.int64),
            notes=dict(store.attrs),
        )


@dataclass(frozen=True)
class Score:
    """What `score` found: every measure by name, overall and by joint, action and subject.

    Attributes:
        title: Of the predictor.
        measures: Over all frames.
        over_actions: Mean of the actions' values; empty where no action is known.
        joints: MPJPE as predicted, mm.
        actions: By action, and then by measure.
        subjects: By subject, and then by measure.
        counts: Clips, frames, sequences; clips per action and subject.
        notes: The store's attributes.
        loss: Mean of the clips' losses, in what the network was trained to; NaN where there is no network.
    """

    title: str
    measures: Mapping[str, Estimate]
    over_actions: Mapping[str, Estimate]
    joints: Mapping[str, Estimate]
    actions: Mapping[str, Mapping[str, Estimate]]
    subjects: Mapping[str, Mapping[str, Estimate]]
    counts: Mapping[str, Any]
    notes: Mapping[str, Any]
    loss: float = math.nan


def units(notes: Mapping[str, Any]) -> dict[str, str]:
    """The unit of every measure; squared errors are in the unit of the labels' source."""
    return {
        **dict.fromkeys(MEASURES, "mm"),
        "mpjve": "mm per frame",
        "pck_150": "%",
        "auc": "%",
        "mse": f"{notes.get('source_unit', 'm')}^2",
    }


def score(
    preds: Float64[np.ndarray, "n t 17 3"],
    truth: Truth,
    *,
    title: str = "model",
    loss: float = math.nan,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> Score:
    """Every measure of `preds` (mm, root-relative), with 95 % intervals from resampled sequences.

    The mean over actions has its own resamples, in which every action keeps its sequences; an action without any would
    leave it undefined.

    Raises:
        UserError: If there are not as many predictions as clips, or one is not finite.
    """
    _check(preds, truth, title)
    sums, counts, by_joint = _measure(preds, truth)
    actions, subjects = _kinds(truth.action), _kinds(truth.subject)
    measured = np.hstack([sums, counts])
    masks = [
        np.ones(len(truth)),
        *((truth.action == name).astype(float) for name in actions),
        *((truth.subject == name).astype(float) for name in subjects),
    ]
    blocks = [measured * mask[:, None] for mask in masks]
    frames = np.full((len(truth), 1), float(truth.joints.shape[1]))

    def statistic(totals: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, "r s"]:
        joints, rest = totals[:, : len(H36M)] / totals[:, [len(H36M)]], totals[:, len(H36M) + 1 :]
        return np.hstack([joints, _ratios(rest).reshape(len(totals), -1)])

    def estimate(columns: np.ndarray, of: statistics.Statistic, strata: np.ndarray | None) -> list[Estimate]:
        ends = statistics.cluster_bootstrap(columns, truth.group, of, strata=strata, resamples=resamples, seed=seed)
        values = of(columns.sum(axis=0, keepdims=True))[0]
        return [Estimate(*each) for each in zip(values.tolist(), *ends.tolist(), strict=True)]

    estimates = estimate(np.hstack([by_joint, frames, *blocks]), statistic, None)
    overall, *rest = (
        dict(zip(MEASURES, estimates[start : start + len(MEASURES)], strict=True))
        for start in range(len(H36M), len(estimates), len(MEASURES))
    )
    mean: dict[str, Estimate] = {}
    if actions:
        columns = np.hstack(blocks[1 : 1 + len(actions)])
        found = estimate(columns, lambda totals: _ratios(totals).mean(axis=1), _action_strata(truth))
        mean = dict(zip(MEASURES, found, strict=True))
    return Score(
        title=title,
        measures=overall,
        over_actions=mean,
        joints=dict(zip(H36M.names, estimates, strict=False)),
        actions=dict(zip(actions, rest, strict=False)),
        subjects=dict(zip(subjects, rest[len(actions) :], strict=True)),
        counts=_counts(truth, actions, subjects),
        notes=truth.notes,
        loss=loss,
    )


def _ratios(totals: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, "r k m"]:
    """The measures of every group of clips from its sums and counts; NaN where it has no clip."""
    blocks = totals.reshape(len(totals), -1, 2, len(MEASURES))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(blocks[:, :, 1] > 0, blocks[:, :, 0] / blocks[:, :, 1], np.nan)


def _action_strata(truth: Truth) -> Int64[np.ndarray, " n"] | None:
    """The clips' actions as numbers; None where a sequence is of more than one."""
    action = np.unique(truth.action, return_inverse=True)[1].astype(np.int64)
    pairs = np.unique(np.stack([truth.group, action], axis=1), axis=0)
    return action if len(pairs) == len(np.unique(truth.group)) else None


def _check(preds: np.ndarray, truth: Truth, title: str) -> None:
    if preds.shape != truth.joints.shape:
        raise UserError(f"{title}: predictions {preds.shape}, the split has clips {truth.joints.shape}")
    if not np.isfinite(preds).all():
        clip, frame, joint, _ = np.argwhere(~np.isfinite(preds))[0].tolist()
        raise UserError(
            f"{title}: the prediction of clip {truth.names[clip]!r}, frame {frame}, {H36M.names[joint]}, is not "
            "finite; leaving it out would flatter, so there is no score"
        )


def _kinds(labels: np.ndarray) -> list[str]:
    """The names there are, in order; none if one is unknown."""
    names = sorted(set(labels.tolist()))
    return [] if "" in names else names


def _measure(
    preds: Float64[np.ndarray, "n t 17 3"], truth: Truth
) -> tuple[Float64[np.ndarray, "n m"], Float64[np.ndarray, "n m"], Float64[np.ndarray, "n 17"]]:
    """Sums and counts of every measure of every clip, and its sums of distances per joint."""
    sums, counts, joints = [], [], []
    for start in range(0, len(truth), CHUNK):
        part = slice(start, start + CHUNK)
        found = clip_measures(torch.tensor(preds[part]), torch.tensor(truth.joints[part]))
        sums.append(torch.stack([each.sum(dim=(1, 2)) for each in found.values()], dim=1))
        counts.append(torch.tensor([[float(each[0].numel()) for each in found.values()]]).expand(len(sums[-1]), -1))
        joints.append(found["mpjpe"].sum(dim=1))
    total = torch.cat(sums).numpy()
    if truth.notes.get("source_unit") == "mm":
        total[:, MEASURES.index("mse")] *= MM2_PER_M2
    return total, torch.cat(counts).double().numpy(), torch.cat(joints).numpy()


def _counts(truth: Truth, actions: Sequence[str], subjects: Sequence[str]) -> dict[str, Any]:
    return {
        "clips": len(truth),
        "frames": int(np.prod(truth.joints.shape[:2])),
        "sequences": len(np.unique(truth.group)),
        "clips_by_action": {name: int((truth.action == name).sum()) for name in actions},
        "clips_by_subject": {name: int((truth.subject == name).sum()) for name in subjects},
    }


def sample_parts(preds: Float64[np.ndarray, "n t 17 3"], truth: Truth) -> dict[str, Part]:
    """What every clip adds to what `PoseErrors` computes, by its names."""
    _check(preds, truth, "predictions")
    sums, counts, _ = _measure(preds, truth)
    if truth.notes.get("source_unit") == "mm":  # logged in m^2, whatever the labels' source has
        sums[:, MEASURES.index("mse")] /= MM2_PER_M2
    return {name: (sums[:, [column]], counts[:, [column]]) for column, name in enumerate(MEASURES)}


def clip_errors(preds: Float64[np.ndarray, "n t 17 3"], truth: Truth) -> Float64[np.ndarray, " n"]:
    """MPJPE of every clip, as predicted, mm."""
    return np.linalg.norm(preds - truth.joints, axis=-1).mean(axis=(1, 2))


def to_json(scores: Sequence[Score]) -> dict[str, Any]:
    """The first score with its baselines, for `metrics.json`; None where a number is undefined."""
    model, *baselines = scores
    return {
        **_score_json(model),
        "loss": None if math.isnan(model.loss) else model.loss,
        "counts": dict(model.counts),
        "notes": dict(model.notes),
        "definitions": footnotes(scores),
        "interval": {"level": statistics.LEVEL, "method": "percentile bootstrap of sequences"},
        "baselines": [_score_json(baseline) for baseline in baselines],
    }


def footnotes(scores: Sequence[Score]) -> list[str]:
    """What a reader has to know to trust or compare the numbers, a sentence or two each."""
    model, *baselines = scores
    notes, counts = model.notes, model.counts
    protocol = notes.get("protocol")
    lines = [
        f"{counts['clips']} clips ({counts['frames']} frames) of {counts['sequences']} sequences; "
        f"{notes.get('dataset', 'unnamed')} {notes.get('split', '')}: {notes.get('split_rule', 'split not recorded')}.",
        f"Protocol: {protocol}." if protocol else "No published protocol: compare with nothing outside this split.",
        "95 % intervals: percentile bootstrap, sequences resampled (a clip is its own where its sequence is unknown)"
        + (", within each action for the mean of actions." if model.actions else "."),
        "As predicted: distance to the label, predicted pelvis included, which is what the course's reports measure. "
        "Rooted: the predicted pelvis moved to 0 (Human3.6M's MPJPE, protocol 1); 16: without the pelvis, whose error "
        "is then 0 by definition. PA: after a similarity without reflection per frame (protocol 2). N: after scaling.",
        "MPJVE: error of the step from a frame to the next of the same clip"
        + (f", at {notes['frame_rate']:g} frames a second" if notes.get("frame_rate") else ", frame rate unknown")
        + ". 3D-PCK and AUC: rooted, 150 mm and 0 to 150 mm by 5.",
        "Means over frames; by action, and their mean, rooted.",
    ]
    if seen := notes.get("in_training"):
        lines.insert(0, f"WARNING: {seen} of these clips were trained on, by their poses: the scores flatter.")
    if any(math.isnan(each["mpjpe"].low) for each in (*model.actions.values(), *model.subjects.values())):
        lines.append("A dash for an interval: fewer than about five sequences tell too little of it.")
    if not model.actions:
        lines.append("The clips' actions are unknown: no table by action, and no baseline that knows it.")
    if baselines:
        lines.append("Baselines never look at the image.")
        if ACTION_POSE in {each.title for each in baselines}:
            lines[-1] += " The action's mean pose knows the clip's action (privileged)."
        elif model.actions:
            lines[-1] += " None knows the clip's action: the training split does not have them all."
    else:
        lines.append("No baselines: there is no train.h5 that they could come from.")
    return lines


def _score_json(each: Score) -> dict[str, Any]:
    unit = units(each.notes)

    def block(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
        return {name: {"unit": unit[name], **value.to_json()} for name, value in estimates.items()}

    return {
        "title": each.title,
        "measures": block(each.measures),
        "over_actions": block(each.over_actions),
        "joints": {name: {"unit": "mm", **value.to_json()} for name, value in each.joints.items()},
        "actions": {name: block(estimates) for name, estimates in each.actions.items()},
        "subjects": {name: block(estimates) for name, estimates in each.subjects.items()},
    }
