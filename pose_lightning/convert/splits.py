"""Dividing samples among splits or folds: whole groups, each class in the same proportions, the same every time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xxhash
from jaxtyping import Float64, Int32, Int64

from pose_lightning.convert import ConvertError

NO_FOLD: Final = -1
DIGITS: Final = 9  # of a cost; what differs less is a tie


@dataclass(frozen=True)
class Division:
    """Which sample is in which split, and why.

    Attributes:
        split: `train`, `val` or `test`; one for each sample.
        fold: 0 to K - 1, or -1 where the split has no folds.
        group: Equal = never in different splits or folds.
        folds: K, or 0.
        rule: A sentence for the user.
    """

    split: np.ndarray
    fold: Int32[np.ndarray, " n"]
    group: Int64[np.ndarray, " n"]
    folds: int
    rule: str


@dataclass(frozen=True)
class Shares:
    """How much of the samples is held out.

    Attributes:
        test: Share of the test split; 0 for none.
        validation: Share of the validation split; of no meaning with folds.
        folds: In how many folds to divide what is not test; 0 for none.
        seed: Another seed holds out others.
    """

    test: float
    validation: float
    folds: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.test < 1:
            raise ConvertError(f"--test {self.test}: wanted a share from 0 to less than 1")
        if self.folds < 0 or self.folds == 1:
            raise ConvertError(f"--folds {self.folds}: wanted at least 2, or 0 for none")
        if not self.folds and not (self.validation > 0 and self.test + self.validation < 1):
            raise ConvertError(
                f"--validation {self.validation} --test {self.test}: wanted more than 0 for validation, and something "
                "left to train on"
            )

    def __str__(self) -> str:
        if self.folds:
            parts = [f"{self.test:g} test", f"the rest in {self.folds} folds of equal size"]
        else:
            train = 1 - self.test - self.validation
            parts = [f"{train:g} train", f"{self.validation:g} val", f"{self.test:g} test"]
        return ", ".join(part for part in parts if not part.startswith("0 "))


def divide(
    names: Sequence[str], classes: Sequence[str], group: Int64[np.ndarray, " n"], shares: Shares, *, what: str
) -> Division:
    """Divide samples so that no group is in two splits, and each class is shared out as `shares` says, as near as may.

    Args:
        names: Unique names of the samples; a group's place in the draw is by the hash of its first one.
        classes: What to stratify by.
        group: Equal = belongs together.
        shares: How much goes where.
        what: What a group is, in the plural, for the rule.

    Raises:
        ConvertError: If a split or a fold would be empty.
    """
    labels = np.unique(np.asarray(classes, dtype=np.str_), return_inverse=True)[1]
    order = np.asarray(names, dtype=np.str_)
    fold = np.full(len(order), NO_FOLD, dtype=np.int32)
    if shares.folds:
        parts = assign(order, labels, group, [1 - shares.test, shares.test], seed=shares.seed)
        split = np.array(["train", "test"])[parts]
        rest = np.flatnonzero(parts == 0)
        equal = [1 / shares.folds] * shares.folds
        fold[rest] = assign(order[rest], labels[rest], group[rest], equal, seed=shares.seed)
    else:
        wanted = [1 - shares.validation - shares.test, shares.validation, shares.test]
        split = np.array(["train", "val", "test"])[assign(order, labels, group, wanted, seed=shares.seed)]
    _check(split, fold, shares, groups=len(np.unique(group)), what=what)
    rule = f"{shares}; {what}, stratified by category; drawn by xxh3-64 of the names with seed {shares.seed}"
    return Division(split, fold, group, shares.folds, rule)


def _check(split: np.ndarray, fold: np.ndarray, shares: Shares, *, groups: int, what: str) -> None:
    wanted = ["train", *(["test"] if shares.test else []), *([] if shares.folds else ["val"])]
    if missing := [name for name in wanted if not (split == name).any()]:
        raise ConvertError(
            f"--test {shares.test} --validation {shares.validation}: nothing is left for {' and '.join(missing)}; "
            f"there are {len(split)} samples in {groups} groups ({what}); hold out a larger share, or convert more"
        )
    if missing := [str(k) for k in range(shares.folds) if not (fold == k).any()]:
        raise ConvertError(
            f"--folds {shares.folds}: nothing is left for fold {', '.join(missing)}; there are {len(split)} samples in "
            f"{groups} groups ({what}); take fewer folds"
        )


def assign(
    names: np.ndarray,
    labels: Int64[np.ndarray, " n"],
    group: Int64[np.ndarray, " n"],
    shares: Sequence[float],
    *,
    seed: int,
) -> Int64[np.ndarray, " n"]:
    """The part of every sample, 0 to len(shares) - 1; whole groups, the largest first.

    Each group goes where it adds least to the sum over parts and classes of (have - wanted)^2 / share, in units of the
    class's size. For groups of one sample that is the method of Webster and Sainte-Lague: of three samples at shares
    of 0.7, 0.1 and 0.2, two go to the first part and one to the last.
    """
    units, first, unit = _units(names, group)
    counts = np.zeros((units, int(labels.max(initial=0)) + 1))
    np.add.at(counts, (unit, labels), 1)
    sizes = counts.sum(axis=1)
    keys = [xxhash.xxh3_64_intdigest(str(name).encode(), seed=seed) for name in names[first]]
    share = np.asarray(shares, dtype=np.float64)
    parts = np.empty(units, dtype=np.int64)
    have = np.zeros((len(share), counts.shape[1]))
    total = counts.sum(axis=0)
    for row in sorted(range(units), key=lambda row: (-sizes[row], keys[row])):
        parts[row] = _best(counts[row], have, total, share)
        have[parts[row]] += counts[row]
    return parts[unit]


def _best(
    added: Float64[np.ndarray, " c"],
    have: Float64[np.ndarray, "p c"],
    total: Float64[np.ndarray, " c"],
    share: Float64[np.ndarray, " p"],
) -> int:
    """The part that a group with `added` samples of each class goes to; of equals the emptiest."""
    held = added > 0
    added, have_of, total = added[held], have[:, held], total[held]
    costs = np.full(len(share), np.inf)
    used = share > 0
    above = have_of[used] - share[used, None] * total
    costs[used] = ((2 * above + added) * added / total**2).sum(axis=1) / share[used]
    fill = np.divide(have.sum(axis=1), share, out=np.full(len(share), np.inf), where=used)
    return min(range(len(share)), key=lambda part: (round(float(costs[part]), DIGITS), fill[part], part))


def _units(names: np.ndarray, group: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """The number of groups, the row of each one's first name, and each row's group from 0."""
    by_name = np.argsort(names, kind="stable")
    values, first, inverse = np.unique(group[by_name], return_index=True, return_inverse=True)
    unit = np.empty(len(names), dtype=np.int64)
    unit[by_name] = inverse
    return len(values), by_name[first], unit


def absent_classes(classes: Sequence[str], division: Division) -> Mapping[str, list[str]]:
    """Class -> the splits and folds that have none of it, for every class that is not everywhere."""
    labels = np.asarray(classes, dtype=np.str_)
    folds = np.char.add("fold ", division.fold.astype(np.str_))
    places = np.where(division.fold == NO_FOLD, division.split, folds)
    found = {name: set(places[labels == name].tolist()) for name in np.unique(labels).tolist()}
    return {
        name: sorted(set(places.tolist()) - there) for name, there in found.items() if there != set(places.tolist())
    }
