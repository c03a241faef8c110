"""Persons with their predicted joints: curves over the threshold, the best and worst, confident mistakes, heatmaps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Bool, Float64

from pose_lightning import draw
from pose_lightning.errors import UserError
from pose_lightning.geometry import apply_to_points
from pose_lightning.heatmap import KIND, stacks
from pose_lightning.heatmap.evaluation import person_errors
from pose_lightning.heatmap.oks_scores import HEADINGS
from pose_lightning.heatmap.overlays import choose, ranked, store_pictures
from pose_lightning.heatmap.predictions import Predictions, read_predictions
from pose_lightning.heatmap.table import rows
from pose_lightning.heatmap.truth import Truth
from pose_lightning.joints import JointSet
from pose_lightning.metrics import points as metrics
from pose_lightning.report import joints
from pose_lightning.report.estimates import at, by_cell, over_seeds, shown
from pose_lightning.report.page import Content, Html, Page, element, interval, join, keys, note, picture, table
from pose_lightning.report.subject import Run, Subject
from pose_lightning.store import Store
from pose_lightning.trust import NOBODY, Trust

COUNT: Final = 4
"""Of the best, median and worst persons, and of confident mistakes."""

SIDE: Final = 400
"""Of a picture, px."""

MARGIN: Final = 0.35
"""Around the labelled joints, in sides of their box."""

SMALLEST: Final = 96
"""Side of a close-up, px of the stored picture."""

MOST_CURVES: Final = 12


@dataclass(frozen=True, eq=False)
class Split:
    """A run's predictions beside the labels of their store."""

    store: Store
    truth: Truth
    found: Predictions
    errors: Float64[np.ndarray, "n j"]
    """In units of `Truth.unit`; NaN where unlabelled or the unit is unknown, infinite where not predicted."""

    @property
    def joint_set(self) -> JointSet:
        """Of the poses."""
        return self.truth.joint_set

    @property
    def found_within(self) -> float:
        """Units within which a joint counts as found."""
        return metrics.FOUND[self.joint_set.reference]

    @property
    def units(self) -> str:
        """What the errors are in, such as head sizes."""
        return metrics.UNIT_NAMES[self.joint_set.reference][1]

    @property
    def right(self) -> Bool[np.ndarray, "n j"]:
        """Whether a joint counts as found."""
        return self.errors <= self.found_within


def read(run: Run) -> Split:
    """The predictions of the split that is shown.

    Raises:
        UserError: If the predictions or their store are not there any more, or are not of each other.
    """
    path, predicted = run.scored()
    store = Store(path)
    truth = Truth.from_store(store)
    found = read_predictions(predicted, truth.names, truth.joint_set)
    tensors = (torch.tensor(each) for each in (found.preds, truth.joints, truth.unit))
    errors = metrics.joint_errors(*tensors).numpy()
    return Split(store, truth, found, np.where(truth.labelled, errors, np.nan))


def input_shape(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Of a sample, by the settings of its data module."""
    height, width = np.broadcast_to(settings["input_size"], 2).tolist()
    return 3, height, width


def subset(run: Run) -> str:
    """Runs of one joint set alone compare."""
    return f"joints of {run.joint_set.name}"


def columns(run: Run) -> list[tuple[str, list[str]]]:
    """Heading of every measure, and where in a run's measures it lies."""
    return [(heading, [measure, statistic]) for measure, statistic, heading, _ in rows(run.joint_set)]


def scores(page: Page, runs: Sequence[Run], best: Run) -> list[Content]:
    """PCKh or PCK by group and joint, beside published numbers."""
    return [joints.groups(page, runs), _oks(runs), joints.published_table(runs)]


def _oks(runs: Sequence[Run]) -> Html | None:
    """AP and AR of OKS, a row for each cell; None where no run has them."""
    if not any(shown(run).get("oks") for run in runs):
        return None
    rows: list[list[Content]] = []
    for label, members in by_cell(runs).items():
        estimates = [over_seeds([at(shown(run), ["oks", "measures", name]) for run in members]) for name in HEADINGS]
        rows.append([label, *(interval(estimate, 2) for estimate in estimates)])
    sigmas = next(at(shown(run), ["oks", "sigmas"]) for run in runs if shown(run).get("oks"))
    made = table("Object keypoint similarity (small: the interval), %", ["", *HEADINGS.values()], rows)
    return join([made, note(f"Sigmas: {sigmas}.")])


def compare(page: Page, subject: Subject) -> None:
    """PCKh over its threshold: the mean of every cell, and the best run's groups."""
    runs = [run for run in subject.runs if run.kind is KIND and run.scores]
    if not runs:
        return
    joint_set = runs[0].joint_set
    runs = [run for run in runs if joint_set.differences(run.joint_set) is None]
    title, units = metrics.title(joint_set), metrics.UNIT_NAMES[joint_set.reference][1]
    best = [run for run in subject.bests if run in runs]
    one = {run.label: run for run in [*reversed(runs), *best]}  # of each cell, the best where it is of the cell
    shown = [one[label] for label in subject.labels if label in one][:MOST_CURVES]
    series: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    remarks = []
    for run in shown:
        try:
            split = read(run)
        except UserError as error:
            remarks.append(f"{run.name} has no curve: {error}")
            continue
        mean, said = _curve(split, joint_set.scored), f"mean of {len(joint_set.scored)} joints"
        label = f"{run.label}, {said}" if len(shown) > 1 else said
        series.append({"label": label, "y": mean, "wide": True})
        if run in best:
            groups = [
                {"label": group, "y": _curve(split, joints), "off": len(shown) > 1}
                for group, joints in joint_set.columns.items()
            ]
    series += groups
    data = {"x": list(metrics.THRESHOLDS), "xLabel": f"threshold, {units}", "yLabel": f"{title}, %", "series": series}
    several = ", one run of each cell; the groups of joints are the best run's" if len(shown) > 1 else ""
    chart = page.chart("lines", f"{title} over its threshold{several}", data) if series else None
    page.section("thresholds", f"{title} by threshold", chart, *(note(remark) for remark in remarks[:3]))


def _curve(split: Split, joints: tuple[int, ...]) -> list[float]:
    """PCKh or PCK in %, every joint the same, at every threshold."""
    errors = split.errors[:, list(joints)]
    known = ~np.isnan(errors)
    counts = known.sum(axis=0)
    shares = []
    for threshold in metrics.THRESHOLDS:
        hits = (known & (np.nan_to_num(errors, nan=np.inf) <= threshold)).sum(axis=0)
        shares.append(float(100 * np.mean(hits[counts > 0] / counts[counts > 0])) if counts.any() else float("nan"))
    return shares


def add(page: Page, run: Run, *, with_network: bool, trusted: Trust = NOBODY) -> None:
    """The persons of a run, and their heatmaps."""
    add_people(page, run)
    add_heatmaps(page, run, with_network=with_network, trusted=trusted)


def add_people(page: Page, run: Run) -> None:
    """The best, median and worst persons, and the most confident mistakes."""
    try:
        split = read(run)
    except UserError as error:
        page.section("people", "People", note(f"No pictures: {error}."))
        return
    if split.store.shape is None:
        page.section("people", "People", note("No pictures: the store holds labels only; convert it with --images."))
        return
    chosen = choose(ranked(split.found.preds, split.truth), COUNT)
    parts: list[Content] = [
        note(f"{run.name}, {run.split} split. Ranked by the mean error of their joints."),
        keys({"white": "truth", "pink": f"right: within {split.found_within:g} {split.units}", "red": "wrong"}),
    ]
    for kind, indices in chosen.items():
        parts += [element("h3", kind.capitalize()), _gallery([_person(split, int(index)) for index in indices])]
    mistakes = _confident_mistakes(split)
    if mistakes:
        parts.append(element("h3", "Most confident mistakes"))
        parts.append(_gallery([_person(split, index, mistake=joint) for index, joint in mistakes]))
    page.section("people", "People", *parts)


def add_heatmaps(page: Page, run: Run, *, with_network: bool, trusted: Trust = NOBODY) -> None:
    """Heatmaps of the median person and the worst, from the checkpoint."""
    if not with_network:
        said = note("Left out by --without-network; `python -m pose_lightning.report RUN` shows them.")
        page.section("heatmaps", "Heatmaps by joint and stack", said)
        return
    if run.checkpoint is None:
        page.section("heatmaps", "Heatmaps by joint and stack", note(f"{run.name} has no checkpoint any more."))
        return
    try:
        split = read(run)
        chosen = choose(ranked(split.found.preds, split.truth), 1)
        samples = [(kind, int(chosen[kind][0])) for kind in ("best", "median", "worst") if len(chosen[kind])]
        content: Content = stacks.heatmaps(run, run.split or "val", samples, trusted)
    except (UserError, OSError, RuntimeError) as error:
        content = note(f"No heatmaps: {error}.")
    page.section("heatmaps", "Heatmaps by joint and stack", content)


def _gallery(figures: list[Html]) -> Html:
    return element("div", *figures, class_="gallery")


def _confident_mistakes(split: Split) -> list[tuple[int, int]]:
    """Person and joint of the wrong joints with the highest peaks, one for each person."""
    if split.found.confidence is None:
        return []
    wrong = split.errors > split.found_within
    wrong[:, list(split.joint_set.unscored)] = False
    sure = np.where(wrong & np.isfinite(split.errors), split.found.confidence, -np.inf)
    joint = sure.argmax(axis=1)
    order = np.argsort(-sure.max(axis=1), kind="stable")[:COUNT]
    return [(int(index), int(joint[index])) for index in order if np.isfinite(sure[index].max())]


def _person(split: Split, index: int, *, mistake: int | None = None) -> Html:
    truth = split.truth
    pixels, matrix = store_pictures(split.store)(index)
    labelled = truth.labelled[index]
    joints = np.where(labelled[:, None], truth.joints[index], np.nan)
    seen, preds = (apply_to_points(matrix, points) for points in (joints, split.found.preds[index]))
    close, shift = _close_up(pixels, seen)
    limbs = split.joint_set.limbs(labelled)
    drawn = draw.overlay(close, seen - shift, preds - shift, limbs, split.right[index], side=SIDE)
    count, right = int(labelled.sum()), int((split.right[index] & labelled).sum())
    error = person_errors(split.found.preds[[index]], truth.select([index]))[0]
    said = f"{right} of {count} joints right, mean error {error:.2f} {split.units}"
    if mistake is not None and split.found.confidence is not None:
        peak, off = split.found.confidence[index, mistake], split.errors[index, mistake]
        said = f"{split.joint_set.names[mistake]}: peak {peak:.2g}, {off:.1f} {split.units} off; {said}"
    name = truth.names[index]
    shown = picture(drawn, f"{name}: {said}")
    return element("figure", shown, element("figcaption", element("strong", name), f" {said}"))


def _close_up(
    pixels: draw.Picture, joints: Float64[np.ndarray, "j 2"]
) -> tuple[draw.Picture, Float64[np.ndarray, "2"]]:
    """The square around the labelled joints, as far as there are pixels, and where its corner is."""
    known = joints[np.isfinite(joints).all(axis=1)]
    low, high = known.min(axis=0), known.max(axis=0)
    side = max(float((high - low).max()) * (1 + 2 * MARGIN), SMALLEST)
    limits = np.array(pixels.shape[1::-1])
    start = np.clip(np.round((low + high - side) / 2), 0, limits - 1).astype(int)
    end = np.clip(np.round((low + high + side) / 2), start + 1, limits).astype(int)
    return pixels[start[1] : end[1], start[0] : end[0]], start.astype(np.float64)
