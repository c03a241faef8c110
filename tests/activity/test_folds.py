"""Predictions of several runs, each of one fold, scored as one."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from rich.console import Console

from pose_lightning.activity.baselines import PRIOR
from pose_lightning.activity.folds import judge_folds, measures, spread
from pose_lightning.activity.predictions import write_predictions
from pose_lightning.activity.truth import Truth
from pose_lightning.errors import UserError
from pose_lightning.files import write_json
from pose_lightning.store import Store, StoreWriter

CLASSES = ("a", "b", "c")
FOLDS = 3
COUNT = 30


def write_store(path: Path, *, folds: int = FOLDS) -> Store:
    attrs = {"kind": "activity", "categories": list(CLASSES), "activities": [], "tags": [], "folds": folds}
    rng = np.random.default_rng(0)
    with StoreWriter(path, codec=None, attrs={**attrs, "split": "train", "dataset": "demo"}) as writer:
        for place in range(COUNT):
            category = "" if place == 7 else CLASSES[int(rng.integers(3))]  # one picture is unlabelled
            fold = np.int32(place % folds if folds else -1)
            labels = {"name": f"{place}.jpg", "category": category, "activity": "", "group": np.int64(place)}
            writer.append(None, labels | {"fold": fold})
    return Store(path)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return write_store(tmp_path / "train.h5")


@pytest.fixture
def preds(store: Store) -> np.ndarray:
    """Probabilities of all labelled pictures, in the store's order."""
    has = Truth.from_store(store, "category").has
    values = np.random.default_rng(1).random(has.shape) + 0.4 * has
    return values / values.sum(axis=1, keepdims=True)


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, store: Store, preds: np.ndarray) -> Write:
    """Writes the predictions of some pictures, by their place among the labelled ones."""
    names = Truth.from_store(store, "category").names

    def predictions(title: str, rows: np.ndarray, *, classes: tuple[str, ...] = CLASSES) -> Path:
        path = tmp_path / title / "predictions.h5"
        chosen = [names[row] for row in rows.tolist()]
        write_predictions(path, preds[rows], chosen, classes, target="category", store=store.path, split="val")
        return path

    return predictions


@pytest.fixture
def runs(store: Store, write: Write) -> list[Path]:
    fold = Truth.from_store(store, "category").fold
    return [write(f"run {each}", np.flatnonzero(fold == each)) for each in (2, 0, 1)]


def test_all_folds_are_scored_as_one(store: Store, preds: np.ndarray, runs: list[Path]) -> None:
    outcome = judge_folds(runs, store, target="category", title="activity_xception")
    truth = Truth.from_store(store, "category")
    found = outcome.scores[0].measures["top1"]
    right = preds.argmax(axis=1) == truth.label
    assert found.value == pytest.approx(100 * right.mean())
    assert found.low < found.value < found.high
    by_fold = outcome.json["folds"]["measures"]["top1"]
    expected = [100 * right[truth.fold == fold].mean() for fold in range(FOLDS)]
    assert by_fold["values"] == pytest.approx(expected)
    assert by_fold["mean"] == pytest.approx(np.mean(expected))
    assert outcome.json["folds"]["pictures"] == [10, 9, 10]
    assert outcome.json["folds"]["folds"] == [0, 1, 2]


def test_a_baseline_knows_the_other_folds_only(store: Store, runs: list[Path]) -> None:
    outcome = judge_folds(runs, store, target="category", title="run")
    truth = Truth.from_store(store, "category")
    losses = []
    for fold, label in zip(truth.fold.tolist(), truth.label.tolist(), strict=True):
        others = truth.label[truth.fold != fold]
        losses.append(-math.log((others == label).mean()))
    prior = next(each for each in outcome.scores if each.title == PRIOR)
    assert prior.measures["nll"].value == pytest.approx(np.mean(losses))


def test_the_interval_over_folds_is_scipys_t_interval() -> None:
    values = [71.0, 75.0, 68.5, 74.0, 70.0]
    found = spread([{"top1": value} for value in values])["top1"]
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.deviation == pytest.approx(np.std(values, ddof=1))
    alone = spread([{"top1": 70.0}])["top1"]
    assert alone.mean == 70
    assert math.isnan(alone.low)


def test_tables_and_json_say_how_often_a_network_was_trained(store: Store, runs: list[Path], tmp_path: Path) -> None:
    outcome = judge_folds(runs, store, target="category", title="activity_inception_resnet_v2_demo")
    write_json(tmp_path / "metrics.json", outcome.json)
    assert json.loads((tmp_path / "metrics.json").read_text())["folds"]["measures"]["nll"]["sd"] > 0
    console = Console(width=80, file=io.StringIO())
    console.print(outcome.table)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "the one of 3 networks that had not seen its fold" in " ".join(text.split())
    assert "By fold" in text


def test_a_fold_without_a_run_is_named(store: Store, runs: list[Path]) -> None:
    with pytest.raises(UserError, match="no run predicts fold 1: give one run for every fold, 0 to 2"):
        judge_folds(runs[:2], store, target="category", title="run")


def test_a_fold_with_two_runs_is_named(store: Store, runs: list[Path], write: Write) -> None:
    again = write("again", np.flatnonzero(Truth.from_store(store, "category").fold == 0))
    with pytest.raises(UserError, match="both predict fold 0"):
        judge_folds([*runs, again], store, target="category", title="run")


def test_a_picture_that_is_missing_or_twice_in_a_run_is_named(store: Store, runs: list[Path], write: Write) -> None:
    rows = np.flatnonzero(Truth.from_store(store, "category").fold == 1)
    fewer = write("fewer", rows[1:])
    with pytest.raises(UserError, match=r"fewer/predictions.h5 does not predict '1.jpg' of fold 1"):
        judge_folds([*runs[:2], fewer], store, target="category", title="run")
    twice = write("twice", rows[[0, *range(len(rows))]])
    with pytest.raises(UserError, match=r"twice/predictions.h5 predicts '1.jpg' twice"):
        judge_folds([*runs[:2], twice], store, target="category", title="run")


def test_a_run_of_several_folds_or_other_pictures_or_classes_is_refused(
    store: Store, runs: list[Path], write: Write, tmp_path: Path
) -> None:
    mixed = write("mixed", np.arange(4))
    with pytest.raises(UserError, match="pictures of folds 0, 1, 2; wanted one fold a run"):
        judge_folds([*runs[:2], mixed], store, target="category", title="run")
    other = write("other", np.arange(4), classes=("a", "b", "d"))
    with pytest.raises(UserError, match="column 2 is 'd', the store's class 2 is 'c'"):
        judge_folds([*runs[:2], other], store, target="category", title="run")
    strange = tmp_path / "strange.h5"
    write_predictions(
        strange, np.full((1, 3), 1 / 3), ["7.jpg"], CLASSES, target="category", store=store.path, split="val"
    )
    with pytest.raises(UserError, match=r"predicts '7.jpg', which is not among the pictures of the folds"):
        judge_folds([*runs[:2], strange], store, target="category", title="run")
    np.save(tmp_path / "bare.npy", np.full((2, 3), 1 / 3))
    with pytest.raises(UserError, match="does not name its pictures"):
        judge_folds([tmp_path / "bare.npy"], store, target="category", title="run")


def test_a_split_without_folds_is_refused(tmp_path: Path, runs: list[Path]) -> None:
    with (
        write_store(tmp_path / "other" / "train.h5", folds=0) as store,
        pytest.raises(UserError, match="has no folds; convert with `--folds K`"),
    ):
        judge_folds(runs, store, target="category", title="run")


def test_measures_of_tags_are_those_of_the_metric() -> None:
    has = np.array([[True, False], [False, True], [True, True]])
    truth = Truth("tags", ("x", "y"), has, ("0", "1", "2"), np.arange(3), np.zeros(3, dtype=np.int64), {})
    found = measures(has.astype(float), truth)
    assert found["map"] == found["subset_accuracy"] == 100
    assert found["hamming_loss"] == 0
