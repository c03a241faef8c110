"""Heatmap estimation as `evaluate` sees it."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Group
from rich.text import Text

from pose_lightning.errors import UserError
from pose_lightning.heatmap import evaluation, oks_scores, overlays, predictions, table
from pose_lightning.heatmap.baselines import baselines
from pose_lightning.heatmap.published_truth import as_published, zeroed_joints
from pose_lightning.heatmap.truth import Truth
from pose_lightning.joints import JointSet
from pose_lightning.scoring import Found, Outcome, SampleScores, Scoring
from pose_lightning.store import Store
from pose_lightning.terminal import say


def of(data: object) -> Scoring:
    """This module, whatever the data module."""
    return sys.modules[__name__]


def write_files(folder: Path, outcome: Outcome, *, suffix: str = "") -> list[Path]:
    """Nothing: the table has it all."""
    return []


def judge(found: Found, store: Store, train: Store | None, *, title: str) -> Outcome:
    """PCKh or PCK and its kin of `preds` (n, j, 2) in image px, beside the baselines that never look at the image.

    Where the store has what OKS AP needs, and the extra that computes it is installed, also that.
    """
    outcome = compare(found["preds"], Truth.from_store(store), train, title=title)
    if not oks_scores.has_labels(store):
        return outcome
    try:
        scores = oks_scores.of_predictions(found["preds"], found["confidence"], store)
    except UserError as error:
        return replace(outcome, table=Group(outcome.table, Text(), Text(f"  No OKS AP: {error}")))
    whole = Group(outcome.table, Text(), oks_scores.render(scores, title, store))
    return replace(outcome, table=whole, json={**outcome.json, **oks_scores.to_json(scores)})


def judge_file(
    path: Path, store: Store, train: Store | None, *, origin: int | None, published_truth: Path | None
) -> tuple[Outcome, dict[str, object]]:
    """Score anyone's predictions, in the store's order; a JSON file of results in COCO's form by OKS AP.

    Args:
        path: The file.
        store: The labels.
        train: What the baselines are made from, if there is one.
        origin: Coordinates of the first px in the file; `None` asks the file.
        published_truth: HRNet's gt_valid.mat, to score against what published numbers were scored against.

    Returns:
        The outcome, and what `metrics.json` should say of the file.
    """
    if path.suffix == ".json":
        if published_truth is not None or origin:
            raise UserError(
                f"{path}: --origin 1 and --published-truth cannot go with results in COCO's form, which count from 0"
            )
        return oks_scores.judge_file(path, store)
    truth = Truth.from_store(store)
    read = predictions.read_predictions(path, truth.names, truth.joint_set, origin=origin)
    if published_truth is not None:
        published = as_published(truth, published_truth)
        say(zeroed_joints(read.preds, truth, published))
        truth = published
    return compare(read.preds, truth, train, title=path.stem), {"predictions": path.name, "origin": read.origin}


def compare(preds: np.ndarray, truth: Truth, train: Store | None, *, title: str) -> Outcome:
    """The scores of `preds`, and of the baselines where there is a training split."""
    others = {} if train is None else baselines(_training(train, truth), truth)
    scores = [evaluation.score(poses, truth, title=name) for name, poses in {title: preds, **others}.items()]
    return Outcome(scores=scores, table=table.render(scores), json=evaluation.to_json(scores))


def _training(train: Store, truth: Truth) -> Truth:
    """The labels that baselines are made from.

    Raises:
        UserError: If they are of another joint set than the truth.
    """
    labels = Truth.from_store(train)
    if (difference := truth.joint_set.differences(labels.joint_set)) is not None:
        raise UserError(
            f"{train.path} is of another joint set than the store that is scored: {difference}; convert both alike"
        )
    return labels


def write_predictions(path: Path, found: Found, store: Store, *, split: str) -> None:
    """Write `preds` and their `confidence`, whole or not at all."""
    names = tuple(str(name) for name in store.labels["name"])
    predictions.write_predictions(
        path,
        found["preds"],
        names,
        joint_set=JointSet.read(store.attrs["joint_set"], store.path),
        store=store.path,
        split=split,
        confidence=found["confidence"],
    )


def sample_scores(found: Found, store: Store) -> SampleScores:
    """What every person adds to the logged scores; persons in one image are one group."""
    truth = Truth.from_store(store)
    parts = evaluation.sample_parts(found["preds"], truth)
    if "loss" in found:  # of one look at each person, as in training
        parts = {**parts, "loss": (found["loss"][:, None], found["counted"][:, None])}
    return SampleScores(truth.names, truth.group, parts)


def write_overlays(folder: Path, found: Found, store: Store, count: int) -> None:
    """Draw the best, median and worst persons."""
    pictures = overlays.store_pictures(store)
    overlays.write_overlays(folder, found["preds"], Truth.from_store(store), pictures, count)
