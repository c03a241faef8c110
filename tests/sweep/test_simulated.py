"""Sweeps without any effect, simulated: how often the comparison claims one, and whether its intervals cover."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float64

from pose_lightning.scoring import SampleScores
from pose_lightning.sweep.comparison import compare
from pose_lightning.sweep.findings import PAIRS, Subject
from pose_lightning.sweep.results import Point, Trial

SUBJECT = Subject("simulated", "val/pckh", "maximize")
CELLS = tuple(itertools.product(("sgd", "rmsprop", "adam"), (8, 16)))
IMAGES = 30
GROUPS = np.repeat(np.arange(IMAGES), 2)
"""Two persons in each image."""

Scores = Float64[np.ndarray, "c k n"]
"""Of every person, by cell and seed."""


@dataclass(frozen=True)
class Simulated(Trial):
    """A trial whose scores by sample are in memory."""

    scores: tuple[float, ...] = ()

    def history(self, metric: str) -> list[Point]:
        return [Point(10, 100, 1.0, float(np.mean(self.scores)))]

    def sample_scores(self, metric: str) -> SampleScores:
        names = tuple(map(str, range(len(GROUPS))))
        part = (np.array(self.scores)[:, None], np.ones((len(GROUPS), 1)))
        return SampleScores(names, GROUPS, {"pckh": part})


def trials(scores: Scores) -> list[Trial]:
    return [
        Simulated(
            f"{name}-{batch}", seed, {"o": name, "b": batch}, Path("none"), "complete", scores=tuple(scores[at, seed])
        )
        for at, (name, batch) in enumerate(CELLS)
        for seed in range(scores.shape[1])
    ]


def normal(rng: np.random.Generator, seeds: int) -> Scores:
    """Hard and easy images, good and bad seeds, the order of the data (the same in all cells), and chance."""
    images = 3 * rng.normal(size=IMAGES)[GROUPS]
    order = rng.normal(size=(1, seeds, 1))
    weights = 0.5 * rng.normal(size=(len(CELLS), seeds, 1))
    in_image = rng.normal(size=(len(CELLS), seeds, IMAGES))[:, :, GROUPS]
    return 50 + images + order + weights + in_image + rng.normal(size=(len(CELLS), seeds, len(GROUPS)))


def rates_differ(rng: np.random.Generator, seeds: int) -> Scores:
    """As `normal`, but each cell is at home on other images, and the optimizers' seeds scatter by other amounts."""
    at_home = rng.normal(size=(len(CELLS), 1, IMAGES))[:, :, GROUPS]
    scatter = np.repeat([0.1, 1.0, 3.0], 2)[:, None, None]
    return normal(rng, seeds) + at_home + scatter * rng.normal(size=(len(CELLS), seeds, 1))


def right_or_wrong(rng: np.random.Generator, seeds: int) -> Scores:
    """Few persons, each right or wrong: seeds often have the same score."""
    chance = rng.beta(2, 2, size=IMAGES)[GROUPS]
    return 100.0 * (rng.random((len(CELLS), seeds, len(GROUPS))) < chance)


@pytest.mark.parametrize("draw", [normal, rates_differ, right_or_wrong])
@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize(("sweeps", "most"), [(40, 0.1), pytest.param(1000, 0.05, marks=pytest.mark.slow)])
def test_sweeps_without_an_effect_make_a_claim_in_fewer_than_5_of_100_in_every_family(
    draw: Callable[[np.random.Generator, int], Scores], seeds: int, sweeps: int, most: float
) -> None:
    rng = np.random.default_rng(20)
    claims = Counter[str]()
    for _ in range(sweeps):
        found = compare(trials(draw(rng, seeds)), SUBJECT)
        assert found.families.keys() == {"o", "b", PAIRS}
        claims.update({each.family for each in found.differences if each.claimed("maximize")})
    assert all(count / sweeps < most for count in claims.values()), claims


def test_an_effect_is_found() -> None:
    rng = np.random.default_rng(21)
    found_it = 0
    for _ in range(20):
        scores = normal(rng, 6)
        scores[4:] += 4.0
        found = compare(trials(scores), SUBJECT)
        claimed = {(each.parameter, each.better("maximize")) for each in found.differences if each.claimed("maximize")}
        found_it += ("o", "adam") in claimed
    assert found_it > 15


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 6])
def test_the_intervals_of_cells_and_of_differences_cover_in_95_of_100(seeds: int) -> None:
    rng = np.random.default_rng(22)
    cells, differences = [], []
    for _ in range(400):
        found = compare(trials(rates_differ(rng, seeds)), SUBJECT)
        cells += [row.low <= 50 <= row.high for row in found.rows]
        differences += [each.low <= 0 <= each.high for each in found.differences]
    assert 0.935 <= np.mean(cells) <= 0.965
    assert 0.935 <= np.mean(differences) <= 0.965
