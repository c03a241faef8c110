"""Scores, baselines, tables and files of classes and tags."""

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console

from pose_lightning.activity import baselines, confusion, report, table
from pose_lightning.activity.evaluation import score
from pose_lightning.activity.scoring import ActivityScoring
from pose_lightning.activity.truth import Target, Truth
from pose_lightning.errors import UserError
from pose_lightning.files import write_json
from pose_lightning.metrics.classes import ClassErrors, TagErrors
from pose_lightning.scoring import Outcome
from pose_lightning.store import Selection, Store, StoreWriter

CATEGORIES = ("bicycling", "dancing", "home repair", "running")
ACTIVITIES = ("cycling, fast", "dance, [aerobic]", "painting, inside house", "running")
TAGS = ("fast", "inside house", "running")
ATTRS: dict[str, Any] = {
    "kind": "activity",
    "split": "val",
    "dataset": "demo",
    "synthetic": True,
    "split_rule": "whole videos, stratified by category",
    "tag_rule": "phrases between commas, at least 1 picture each",
    "folds": 0,
    "categories": list(CATEGORIES),
    "activities": list(ACTIVITIES),
    "tags": list(TAGS),
}


def truth(count: int = 40, *, target: Target = "category", seed: int = 0, **notes: object) -> Truth:
    """Pictures in groups of two; the last class never occurs, tags do at random."""
    rng = np.random.default_rng(seed)
    names = {"category": CATEGORIES, "activity": ACTIVITIES, "tags": TAGS}[target]
    has = np.eye(len(names), dtype=bool)[np.minimum(rng.geometric(0.5, count), len(names) - 1) - 1]
    return Truth(
        target=target,
        classes=names,
        has=rng.random(has.shape) < 0.4 if target == "tags" else has,
        names=tuple(f"{index}.jpg" for index in range(count)),
        group=np.arange(count) // 2,
        fold=np.full(count, -1),
        notes={**ATTRS, **notes},
    )


def guesses(labels: Truth, seed: int = 1) -> np.ndarray:
    """Probabilities that know something."""
    values = np.random.default_rng(seed).random(labels.has.shape) + 0.5 * labels.has
    return values / 1.5 if labels.target == "tags" else values / values.sum(axis=1, keepdims=True)


def shown(scores: list[Any]) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(table.render(scores))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def write_store(path: Path, rows: list[tuple[str, str]], **attrs: object) -> Path:
    """A store of labels: (category, activity), with tags from the activities' commas."""
    with StoreWriter(path, codec=None, attrs={**ATTRS, **attrs}) as writer:
        for place, (category, activity) in enumerate(rows):
            text = f"{path.stem} {place}.jpg"
            labels = {"name": text, "image": text, "category": category, "activity": activity}
            numbers = {"group": np.int64(place // 2), "fold": np.int32(place % 2 if attrs.get("folds") else -1)}
            size = {"height": np.int32(0), "width": np.int32(0)}
            tags = np.array([tag in activity.split(", ") for tag in TAGS])
            writer.append(None, labels | numbers | size | {"tags": tags})
    return path


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Path, Path]:
    """A training split, and a validation split of which one picture has no activity and one no category."""
    known = [*zip(CATEGORIES, ACTIVITIES, strict=True)]
    train = write_store(tmp_path / "train.h5", [known[0], known[0], known[0], known[1], known[2]], split="train")
    val = write_store(tmp_path / "val.h5", [known[0], ("running", ""), known[1], ("", "running"), known[2], known[0]])
    return train, val


@pytest.mark.parametrize("target", ["category", "tags"])
def test_the_values_are_those_that_training_logs(target: Target) -> None:
    labels = truth(target=target)
    preds = guesses(labels)
    metric: ClassErrors | TagErrors = TagErrors(3) if target == "tags" else ClassErrors(4)
    wanted = torch.from_numpy(labels.has).double() if target == "tags" else torch.from_numpy(labels.label)
    metric.update(torch.from_numpy(preds), wanted, torch.ones(40))
    found = score(preds, labels, resamples=20).measures
    assert list(found) == list(metric.NAMES)
    for name, value in metric.compute().items():
        assert found[name].value == pytest.approx(value.item(), rel=1e-12), name


def test_every_class_is_scored_by_hand() -> None:
    labels = replace(truth(4), has=np.eye(4, dtype=bool)[[0, 0, 1, 2]])
    preds = np.eye(4)[[0, 1, 1, 1]]
    found = score(preds, labels, resamples=20)
    values = {name: [each.value for each in found.by_class[name].values()] for name in CATEGORIES}
    assert values["bicycling"] == [100, 50, pytest.approx(100 * 2 / 3)]
    assert values["dancing"] == [pytest.approx(100 / 3), 100, 50]
    assert math.isnan(values["home repair"][0])  # never predicted
    assert values["home repair"][1:] == [0, 0]
    assert all(math.isnan(value) for value in values["running"])  # not in the split
    assert found.support == {"bicycling": 2, "dancing": 1, "home repair": 1, "running": 0}
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert report.confusions(found) == [("bicycling", "dancing", 1), ("home repair", "dancing", 1)]


def test_intervals_resample_groups() -> None:
    labels = truth(200)
    right = np.repeat(np.arange(100) % 2 == 0, 2)  # in every second group both are right
    preds = np.where(right[:, None], labels.has, np.eye(4)[3])
    found = score(preds.astype(float), labels).measures["top1"]
    assert found.value == 50
    half = 100 * 1.96 * 0.5 / math.sqrt(100)  # of 100 independent groups, not of 200 pictures
    assert found.low == pytest.approx(50 - half, abs=1)
    assert found.high == pytest.approx(50 + half, abs=1)


def test_intervals_of_macro_f1_hold_the_value_where_most_classes_have_few_pictures() -> None:
    rng = np.random.default_rng(0)
    names = tuple(f"class {place}" for place in range(150))
    has = np.eye(150, dtype=bool)[rng.integers(0, 150, 300)]
    labels = truth(300)
    labels = replace(labels, has=has, classes=names, group=np.arange(300))
    found = score(guesses(labels), labels, resamples=300).measures
    for name in ("macro_f1", "balanced", "ece"):
        assert found[name].low < found[name].value < found[name].high, name
        middle = (found[name].low + found[name].high) / 2
        assert middle == pytest.approx(found[name].value, abs=0.2 * (found[name].high - found[name].low)), name


def test_intervals_of_mean_average_precision_cover_its_expectation() -> None:
    rng = np.random.default_rng(5)
    names = tuple(f"tag {place}" for place in range(20))
    share = np.geomspace(0.01, 0.2, 20)

    def draw() -> tuple[Truth, np.ndarray]:
        has = rng.random((200, 20)) < share
        labels = replace(truth(200, target="tags"), has=has, classes=names, group=np.arange(200))
        return labels, 1 / (1 + np.exp(-rng.normal(size=has.shape) - 1.5 * has))

    def value(labels: Truth, preds: np.ndarray) -> float:
        metric = TagErrors(20)
        metric.update(torch.from_numpy(preds), torch.from_numpy(labels.has).double(), torch.ones(200))
        return metric.compute()["map"].item()

    expected = np.mean([value(*draw()) for _ in range(300)])
    covered = 0
    for _ in range(40):
        labels, preds = draw()
        found = score(preds, labels, resamples=100).measures["map"]
        covered += found.low <= expected <= found.high
    assert covered >= 33  # 38 of 40 would be 95 %


def test_one_group_tells_no_interval() -> None:
    labels = truth(2)
    for target in (labels, truth(2, target="tags")):
        found = score(guesses(target), target, resamples=20)
        assert all(math.isnan(each.low) for each in found.measures.values())


def test_predictions_that_do_not_fit_are_refused() -> None:
    labels = truth(6)
    preds = guesses(labels)
    with pytest.raises(UserError, match=r"model: predictions \(5, 4\); the split has 6 pictures with a label"):
        score(preds[:5], labels)
    preds[3, 2] = math.nan
    with pytest.raises(UserError, match=r"'3.jpg' for 'home repair' is not finite"):
        score(preds, labels)


def test_the_majority_class_and_the_prior_are_those_of_the_training_split() -> None:
    train = truth(50, seed=3)
    labels = truth(40)
    found = baselines.baselines(train, labels)
    shares = train.has.mean(axis=0)
    assert shares.argmax() == 0
    assert (found[baselines.MAJORITY] == np.eye(4)[0]).all()
    assert (found[baselines.PRIOR] == shares).all()
    for preds in found.values():
        top1 = score(preds, labels, resamples=20).measures["top1"].value
        assert top1 == pytest.approx(100 * (labels.label == 0).mean())


def test_the_majority_of_tags_answers_each_by_itself() -> None:
    train = truth(50, target="tags", seed=3)
    has = np.stack([np.arange(50) < count for count in (40, 25, 3)], axis=1)
    train = replace(train, has=has)
    found = baselines.baselines(train, truth(6, target="tags"))
    assert found[baselines.MAJORITY].tolist() == [[1, 0, 0]] * 6
    assert found[baselines.PRIOR].tolist() == [[0.8, 0.5, 0.06]] * 6


def test_only_pictures_with_a_label_of_the_target_are_scored(stores: tuple[Path, Path]) -> None:
    with Store(stores[1]) as store:
        categories, activities, tags = (Truth.from_store(store, target) for target in ("category", "activity", "tags"))
    assert categories.names == ("val 0.jpg", "val 1.jpg", "val 2.jpg", "val 4.jpg", "val 5.jpg")
    assert categories.label.tolist() == [0, 3, 1, 2, 0]
    assert activities.names == tags.names == ("val 0.jpg", "val 2.jpg", "val 3.jpg", "val 4.jpg", "val 5.jpg")
    assert activities.label.tolist() == [0, 1, 3, 2, 0]
    assert tags.has.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]]


def test_stores_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    path = write_store(tmp_path / "val.h5", [("bicycling", ""), ("running", "")], activities=[], kind="clips")
    with Store(path) as store, pytest.raises(UserError, match="kind is 'clips', wanted 'activity'"):
        Truth.from_store(store, "category")
    path = write_store(tmp_path / "val.h5", [("bicycling", ""), ("running", "")], activities=[])
    with Store(path) as store:
        with pytest.raises(UserError, match="no labels for target=activity; it has category"):
            Truth.from_store(store, "activity")
        with pytest.raises(UserError, match="no picture has a label for target=tags"):
            Truth.from_store(store, "tags")
    path = write_store(tmp_path / "val.h5", [("bicycling", ""), ("swimming", "")])
    with Store(path) as store, pytest.raises(UserError, match="has category 'swimming', which is not among"):
        Truth.from_store(store, "category")


@pytest.mark.parametrize("target", ["category", "activity", "tags"])
def test_a_run_is_judged_beside_baselines_that_fit_in_80_columns(stores: tuple[Path, Path], target: Target) -> None:
    scoring = ActivityScoring(target)
    with Store(stores[0]) as train, Store(stores[1]) as store:
        labels = Truth.from_store(store, target)
        found = {"preds": guesses(labels), "loss": np.full(5, 0.25)}
        rows = np.array([name in labels.names for name in store.labels["name"].tolist()])
        outcome = scoring.judge(found, Selection(store, np.flatnonzero(rows)), train, title="activity_xception_demo")
    assert [each.title for each in outcome.scores] == ["activity_xception_demo", "majority class", "training prior"]
    text = shown(list(outcome.scores))
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "SYNTHETIC" in text
    assert "whole videos, stratified by category." in text
    assert "loss, as trained" in text
    assert "never look at the picture" in text
    first = next(line for line in text.splitlines() if line.startswith("mAP, %" if target == "tags" else "top-1, %"))
    value = outcome.scores[0].measures["map" if target == "tags" else "top1"].value
    assert f" {value:.2f} " in first


def test_the_majority_class_has_no_measure_of_probabilities(stores: tuple[Path, Path]) -> None:
    with Store(stores[0]) as train, Store(stores[1]) as store:
        labels = Truth.from_store(store, "category")
        found = {"preds": guesses(labels), "loss": np.zeros(5)}
        outcome = ActivityScoring("category").judge(found, store, train, title="run")
    _, majority, prior = outcome.scores
    assert {name for name, each in majority.measures.items() if math.isnan(each.value)} == {"top5", "ece", "nll"}
    assert not any(math.isnan(each.value) for each in prior.measures.values())
    assert majority.measures["top1"].value == prior.measures["top1"].value == pytest.approx(40)  # bicycling: 2 of 5


def test_the_json_has_no_nan_and_says_what_the_tables_say(stores: tuple[Path, Path], tmp_path: Path) -> None:
    with Store(stores[0]) as train, Store(stores[1]) as store:
        labels = Truth.from_store(store, "category")
        found = {"preds": guesses(labels), "loss": np.full(5, 0.25)}
        outcome = ActivityScoring("category").judge(found, store, train, title="run")
    write_json(tmp_path / "metrics.json", outcome.json)
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read["target"] == "category"
    assert read["measures"]["top1"]["value"] == outcome.scores[0].measures["top1"].value
    assert read["measures"]["nll"]["unit"] == "nats"
    assert read["classes"]["bicycling"]["pictures"] == 2
    assert read["loss"] == 0.25
    assert read["notes"]["split_rule"] == ATTRS["split_rule"]
    assert [each["title"] for each in read["baselines"]] == ["majority class", "training prior"]
    assert read["baselines"][0]["measures"]["top5"]["value"] is None


def test_two_kinds_of_literature_never_meet_unsaid() -> None:
    labels = truth(20, dataset="mpii")
    lines = " ".join(report.footnotes([score(guesses(labels), labels, resamples=20)]))
    assert "393 activities" in lines
    assert "20 categories" in lines
    assert "hold-out of labelled images" in lines
    tags = truth(20, target="tags", dataset="mpii")
    lines = " ".join(report.footnotes([score(guesses(tags), tags, resamples=20)]))
    assert "99.91 %" in lines
    assert ATTRS["tag_rule"] in lines
    assert "393" not in " ".join(report.footnotes([score(guesses(truth()), truth(), resamples=20)]))


def test_a_fold_is_named() -> None:
    labels = replace(truth(8, folds=5), fold=np.full(8, 2))
    assert ", fold 2 of 5 (from 0):" in report.footnotes([score(guesses(labels), labels, resamples=20)])[0]


def test_of_many_classes_the_most_frequent_and_the_worst_are_shown() -> None:
    rng = np.random.default_rng(1)
    names = tuple(f"sitting, talking in person, on the phone, number {place}" for place in range(60))
    label = np.concatenate([np.arange(60), rng.integers(0, 12, 140)])
    labels = replace(truth(200), has=np.eye(60, dtype=bool)[label], classes=names)
    found = score(guesses(labels), labels, resamples=20)
    frequent, worst = report.listed_classes(found)
    assert [found.support[name] for name in frequent] == sorted(found.support.values(), reverse=True)
    values = [found.by_class[name]["f1"].value for name in worst]
    assert values == sorted(values)
    assert set(worst) == {name for name, count in found.support.items() if count >= report.ENOUGH}
    text = shown([found])
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "The 10 most frequent classes" in text
    assert "The 10 with the lowest F1" in text


@pytest.fixture
def outcome() -> Outcome:
    labels = truth(40, target="category")
    found = score(guesses(labels), labels, title="run", resamples=20)
    return Outcome(scores=[found], table="", json={})


def test_files_hold_the_whole_matrix_and_every_class(outcome: Outcome, tmp_path: Path) -> None:
    written = ActivityScoring("category").write_files(tmp_path, outcome, suffix="-test")
    assert [path.name for path in written] == ["classes-test.csv", "confusion-test.csv", "confusion-test.png"]
    assert sorted(written) == sorted(tmp_path.iterdir())  # nothing half-written is left
    found = outcome.scores[0]
    with written[1].open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header[1:]) == tuple(row[0] for row in rows) == CATEGORIES
    assert [[int(cell) for cell in row[1:]] for row in rows] == found.confusion.tolist()
    with written[0].open(newline="") as file:
        classes = list(csv.DictReader(file))
    assert [int(row["pictures"]) for row in classes] == sorted(found.support.values(), reverse=True)
    first = found.by_class[classes[0]["category"]]["recall"]
    assert float(classes[0]["recall_high"]) == pytest.approx(first.high, abs=1e-4)
    assert classes[-1]["f1"] == ""  # running is not in the split


def test_tags_have_no_confusion_matrix(tmp_path: Path) -> None:
    labels = truth(20, target="tags")
    outcome = Outcome(scores=[score(guesses(labels), labels, resamples=20)], table="", json={})
    written = ActivityScoring("tags").write_files(tmp_path, outcome)
    assert [path.name for path in written] == ["classes.csv"]
    assert "ap_low" in written[0].read_text().splitlines()[0]


def test_the_picture_of_a_matrix_is_darkest_where_the_share_is_largest(tmp_path: Path) -> None:
    for classes in (3, 70):
        matrix = np.eye(classes, dtype=np.int64) * 900 + 1
        path = tmp_path / "confusion.png"
        names = [f"class $_{place}^ and a long name that does not fit" for place in range(classes)]
        confusion.write_confusion_png(path, matrix, names, title="run (synthetic data)")
        picture = cv2.imread(str(path))
        assert picture is not None
        height, width = picture.shape[:2]
        assert 200 < height < 3000
        assert 200 < width < 3000
        blue = (picture[..., 0].astype(int) - picture[..., 2]) > 60
        columns = np.flatnonzero(blue.any(axis=0))
        end = columns[np.flatnonzero(np.diff(columns) > 1)[0]] + 1  # before the bar of colours
        rows = np.flatnonzero(blue[:, :end].any(axis=1))
        drawn = blue[rows[0] : rows[-1] + 1, columns[0] : end]
        shown = min(classes, confusion.MOST)
        places = [(np.arange(shown) + 0.2) / shown * size for size in drawn.shape]  # beside a cell's number
        found = drawn[np.ix_(places[0].astype(int), places[1].astype(int))]
        assert (found == np.eye(shown, dtype=bool)).all()
