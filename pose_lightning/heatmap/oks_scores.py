"""OKS AP of persons in whole images: of a run's predictions, and of files of results in COCO's form."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pose_lightning.errors import UserError
from pose_lightning.heatmap.table import SYNTHETIC
from pose_lightning.joints import JointSet
from pose_lightning.metrics import oks
from pose_lightning.metrics.oks import Detections, Persons
from pose_lightning.reading.raw import LARGEST_ANNOTATIONS, shortened
from pose_lightning.reading.records import is_number, misfit, read_json
from pose_lightning.scoring import Estimate, Outcome
from pose_lightning.store import Store

LABELS: Final = ("image_id", "annotation_id", "bbox", "area")
ATTRS: Final = ("image_ids", "ignored", "category_id")
"""What a store has that was converted from annotations in COCO's form."""

HEADINGS: Final = {
    **{
        "ap": "AP",
        "ap_50": "AP at OKS .50",
        "ap_75": "AP at OKS .75",
        "ap_medium": "AP, medium",
        "ap_large": "AP, large",
    },
    **{
        "ar": "AR",
        "ar_50": "AR at OKS .50",
        "ar_75": "AR at OKS .75",
        "ar_medium": "AR, medium",
        "ar_large": "AR, large",
    },
}

_RESULT: Final = {
    "image_id": lambda value: type(value) is int,
    "category_id": lambda value: type(value) is int,
    "keypoints": [lambda value: value is not None and is_number(value)],
    "score": lambda value: value is not None and is_number(value),
}


def has_labels(store: Store) -> bool:
    """Whether a store knows what OKS AP needs."""
    return all(label in store.labels for label in LABELS) and all(key in store.attrs for key in ATTRS)


def persons_of(store: Store) -> Persons:
    """The labelled persons of a store, and those that are ignored.

    Raises:
        UserError: If the store was not converted from annotations in COCO's form, or is of a split that keeps none.
    """
    if not has_labels(store):
        raise UserError(
            f"{store.path} lacks what OKS is measured by; it is scored on `val.h5` or `test.h5` of "
            "`python -m pose_lightning.convert coco`"
        )
    labels, ignored = store.labels, store.attrs["ignored"]
    joints = len(JointSet.read(store.attrs.get("joint_set"), store.path))
    count = len(ignored["image_id"])
    visibility = labels["labelled"].astype(np.int64) + labels["visible"]
    return Persons(
        images=np.array(store.attrs["image_ids"], dtype=np.int64),
        image=np.concatenate([labels["image_id"], np.array(ignored["image_id"], dtype=np.int64)]),
        joints=np.concatenate([labels["joints"].astype(np.float64), np.zeros((count, joints, 2))]),
        visibility=np.concatenate([visibility, np.zeros((count, joints), dtype=np.int64)]),
        box=np.concatenate([labels["bbox"], np.array(ignored["bbox"], dtype=np.float64).reshape(count, 4)]),
        area=np.concatenate([labels["area"], np.array(ignored["area"], dtype=np.float64)]),
        crowd=np.concatenate([np.zeros(len(labels["image_id"]), dtype=bool), np.array(ignored["iscrowd"], dtype=bool)]),
    )


def read_results(path: Path, store: Store) -> Detections:
    """Persons of a file of results in COCO's form, of the store's category.

    Raises:
        UserError: If it is no such file, or of other images or joints than the store.
    """
    content = read_json(path, LARGEST_ANNOTATIONS)
    if not isinstance(content, list):
        raise UserError(f"{shortened(path)}: wanted a list of results (image_id, category_id, keypoints, score)")
    joints = len(JointSet.read(store.attrs.get("joint_set"), store.path))
    category, images = store.attrs["category_id"], set(store.attrs["image_ids"])
    chosen = []
    for index, result in enumerate(content):
        if reason := misfit(result, _RESULT):
            raise UserError(f"{shortened(path)}: of result {index}, {reason}")
        if result["category_id"] != category:
            continue
        place = f"{shortened(path)}: result {index}"
        if result["image_id"] not in images:
            raise UserError(f"{place} is of image {result['image_id']}, which {store.path} has not")
        if len(result["keypoints"]) != 3 * joints:
            raise UserError(
                f"{place} has {len(result['keypoints'])} numbers in keypoints; wanted 3 for each of {joints} joints"
            )
        if not np.isfinite([*result["keypoints"], result["score"]]).all():
            raise UserError(f"{place} has a number that is not finite in keypoints or score")
        chosen.append(result)
    if content and not chosen:
        raise UserError(f"{shortened(path)} has no result of category {category}, which {store.path} is of")
    points = np.array([result["keypoints"] for result in chosen], dtype=np.float64).reshape(len(chosen), joints, 3)
    return Detections(
        image=np.array([result["image_id"] for result in chosen], dtype=np.int64),
        joints=points[..., :2],
        score=np.array([result["score"] for result in chosen], dtype=np.float64),
    )


def judge_file(path: Path, store: Store) -> tuple[Outcome, dict[str, object]]:
    """Score a file of results in COCO's form on a store; and what `metrics.json` should say of it."""
    persons, detections = persons_of(store), read_results(path, store)
    scores = evaluate(persons, detections, store)
    outcome = Outcome(scores=[], table=render(scores, path.stem, store), json=to_json(scores))
    return outcome, {"predictions": path.name}


def of_predictions(
    preds: Float[np.ndarray, "n j 2"], confidence: Float[np.ndarray, "n j"], store: Store
) -> Mapping[str, Any]:
    """OKS AP of a network that was shown the store's persons.

    Everybody is found, as sure as the mean height of their joints' peaks; who was predicted nowhere is missed.
    """
    found = np.isfinite(preds).all(axis=(1, 2))
    detections = Detections(
        image=store.labels["image_id"][found].astype(np.int64),
        joints=preds[found].astype(np.float64),
        score=confidence[found].mean(axis=1).astype(np.float64),
    )
    return evaluate(persons_of(store), detections, store)


def evaluate(persons: Persons, detections: Detections, store: Store) -> Mapping[str, Any]:
    """The measures, with what a reader has to know."""
    joint_set = JointSet.read(store.attrs.get("joint_set"), store.path)
    sigmas = joint_set.sigmas or (oks.USUAL_SIGMA,) * len(joint_set)
    ignored = persons.ignored
    spread = (
        "as measured for this set"
        if joint_set.sigmas
        else f"{oks.USUAL_SIGMA:g} for every joint: this set's were never measured, so compare within it alone"
    )
    return {
        "measures": {
            name: Estimate(*ends) for name, ends in oks.evaluate(persons, detections, np.array(sigmas)).items()
        },
        "counts": {
            "images": len(persons.images),
            "persons": int((~ignored).sum()),
            "crowds": int(persons.crowd.sum()),
            "persons_without_joints": int((ignored & ~persons.crowd).sum()),
            "persons_left_out": int((store.attrs.get("counts") or {}).get("persons_left_out", 0)),
            "detections": len(detections.image),
        },
        "sigmas": spread,
    }


def to_json(scores: Mapping[str, Any]) -> dict[str, Any]:
    """For `metrics.json`."""
    measures = {name: {"unit": "%", **estimate.to_json()} for name, estimate in scores["measures"].items()}
    return {"oks": {**scores, "measures": measures}}


def footnotes(scores: Mapping[str, Any]) -> list[str]:
    """What a reader has to know to trust or compare the numbers."""
    counts = scores["counts"]
    lines = [
        f"OKS: {counts['detections']} detections, {counts['persons']} persons in {counts['images']} images; "
        f"{counts['crowds']} crowds and {counts['persons_without_joints']} persons without a labelled joint are "
        "ignored. By faster-coco-eval, at most 20 detections of an image; 95 % intervals: percentile bootstrap of "
        "images, accumulated again.",
        f"Sigmas: {scores['sigmas']}.",
    ]
    if counts["persons_left_out"]:
        lines.append(
            f"{counts['persons_left_out']} labelled persons were left out when the store was converted: this is no AP "
            "of the whole split, and finding them counts as a false alarm."
        )
    return lines


def rows(scores: Mapping[str, Any]) -> list[list[str]]:
    """Heading, value and interval of every measure."""
    return [
        [f"OKS {HEADINGS[name]}", _number(estimate.value), _interval(estimate)]
        for name, estimate in scores["measures"].items()
    ]


def render(scores: Mapping[str, Any], title: str, store: Store) -> RenderableType:
    """A table of at most 80 columns."""
    parts: list[RenderableType] = []
    if store.attrs.get("synthetic", False):
        parts.append(Text(SYNTHETIC, style="bold white on red"))
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("%", no_wrap=True)
    table.add_column(title, justify="right", max_width=24, overflow="fold")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for row in rows(scores):
        table.add_row(*row)
    return Group(*parts, table, Text(), *(Padding(Text(line), (0, 0, 0, 2)) for line in footnotes(scores)))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _interval(estimate: Estimate) -> str:
    return "-" if math.isnan(estimate.low) else f"{estimate.low:.2f} to {estimate.high:.2f}"
