"""Dividing samples: whole groups, classes in proportion, the same every time."""

from collections import Counter

import numpy as np
import pytest

from pose_lightning.convert import ConvertError
from pose_lightning.convert.splits import Division, Shares, absent_classes, assign, divide

WHOLE = Shares(test=0.2, validation=0.1)


def names_of(count: int) -> list[str]:
    return [f"{index:05d}.jpg" for index in range(count)]


def alone(names: list[str], classes: list[str], shares: Shares) -> Division:
    return divide(names, classes, np.arange(len(names)), shares, what="each picture by itself")


def sizes(classes: list[str], division: Division) -> dict[str, Counter[str]]:
    return {
        name: Counter(str(split) for split, label in zip(division.split, classes, strict=True) if label == name)
        for name in sorted(set(classes))
    }


@pytest.mark.parametrize(
    ("count", "parts"),
    [
        (1, [1, 0, 0]),
        (2, [2, 0, 0]),  # the second seat: 1.5 / 0.7 = 2.14 < 0.5 / 0.2 = 2.5
        (3, [2, 0, 1]),  # the third: 2.5 / 0.7 = 3.57 > 2.5
        (10, [7, 1, 2]),
        (100, [70, 10, 20]),
    ],
)
def test_single_samples_are_shared_out_as_seats_are(count: int, parts: list[int]) -> None:
    names, group = np.array(names_of(count)), np.arange(count)
    found = assign(names, np.zeros(count, np.int64), group, [0.7, 0.1, 0.2], seed=0)
    assert np.bincount(found, minlength=3).tolist() == parts


def test_every_class_has_its_shares() -> None:
    classes = ["often"] * 200 + ["seldom"] * 20 + ["rare"] * 10
    found = sizes(classes, alone(names_of(230), classes, WHOLE))
    assert found["often"] == {"train": 140, "val": 20, "test": 40}
    assert found["seldom"] == {"train": 14, "val": 2, "test": 4}
    assert found["rare"] == {"train": 7, "val": 1, "test": 2}


def test_folds_are_even_in_every_class_and_hold_all_that_is_not_test() -> None:
    classes = ["a"] * 53 + ["b"] * 31 + ["c"] * 7
    division = alone(names_of(91), classes, Shares(test=0.2, validation=0.0, folds=4))
    assert set(division.split.tolist()) == {"train", "test"}
    assert ((division.fold >= 0) == (division.split == "train")).all()
    assert (division.folds, set(division.fold.tolist())) == (4, {-1, 0, 1, 2, 3})
    assert division.fold.dtype == np.int32
    for name in "abc":
        counts = np.bincount(division.fold[(np.array(classes) == name) & (division.fold >= 0)], minlength=4)
        assert counts.max() - counts.min() <= 1


def test_groups_stay_whole_and_classes_near_their_shares() -> None:
    rng = np.random.default_rng(0)
    video = rng.integers(0, 400, 1500)
    kind = rng.choice(6, 400, p=[0.4, 0.25, 0.15, 0.1, 0.06, 0.04])[video]
    classes = [f"class {number}" for number in kind]
    division = divide(names_of(1500), classes, video, WHOLE, what="whole videos")
    for number in np.unique(video):
        assert len(set(division.split[video == number].tolist())) == 1
    largest = np.bincount(video).max()
    for name, counts in sizes(classes, division).items():
        total = classes.count(name)
        for split, share in (("train", 0.7), ("val", 0.1), ("test", 0.2)):
            assert abs(counts[split] - share * total) <= largest
    assert division.rule == (
        "0.7 train, 0.1 val, 0.2 test; whole videos, stratified by category; drawn by xxh3-64 of the names with seed 0"
    )


def test_the_split_does_not_depend_on_the_order_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    names, video = names_of(300), rng.integers(0, 90, 300)
    classes = [f"{number % 5}" for number in video]
    order = rng.permutation(300)
    division = divide(names, classes, video, WHOLE, what="x")
    shuffled = divide([names[i] for i in order], [classes[i] for i in order], -7 * video[order], WHOLE, what="x")
    assert division.split[order].tolist() == shuffled.split.tolist()


def test_another_seed_holds_out_others() -> None:
    names, classes = names_of(100), ["a"] * 100
    splits = [alone(names, classes, Shares(test=0.2, validation=0.1, seed=seed)).split.tolist() for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


def test_classes_that_are_not_everywhere_are_named() -> None:
    classes = ["a"] * 50 + ["b"] * 2
    assert absent_classes(classes, alone(names_of(52), classes, WHOLE)) == {"b": ["test", "val"]}
    folds = alone(names_of(52), classes, Shares(test=0.0, validation=0.0, folds=3))
    (missing,) = absent_classes(classes, folds)["b"]
    assert missing.startswith("fold ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test": 1.0, "validation": 0.1}, r"--test 1.0: wanted a share"),
        ({"test": -0.1, "validation": 0.1}, r"--test -0.1: wanted a share"),
        ({"test": 0.5, "validation": 0.5}, r"--validation 0.5 --test 0.5: wanted more than 0"),
        ({"test": 0.5, "validation": 0.0}, r"--validation 0.0 --test 0.5: wanted more than 0"),
        ({"test": 0.2, "validation": 0.1, "folds": 1}, r"--folds 1: wanted at least 2"),
    ],
)
def test_shares_that_cannot_be_meant_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConvertError, match=message):
        Shares(**settings)  # type: ignore[arg-type]


def test_a_split_that_would_be_empty_is_refused() -> None:
    with pytest.raises(ConvertError, match=r"nothing is left for test and val; there are 4 samples in 1 groups"):
        divide(names_of(4), ["a", "a", "b", "b"], np.zeros(4, np.int64), WHOLE, what="whole videos")
    with pytest.raises(ConvertError, match=r"--folds 5: nothing is left for fold \d; there are 4 samples in 4 groups"):
        alone(names_of(4), ["a"] * 4, Shares(test=0.0, validation=0.0, folds=5))
