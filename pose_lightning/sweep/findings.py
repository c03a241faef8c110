"""What comparing the cells of a sweep finds."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pose_lightning.sweep.results import Trial

CLAIM: Final = 0.05
"""A difference is claimed where its corrected p-value lies below: of sweeps without any, at most 5 % make a claim in a
family of differences."""

PAIRS: Final = "pairs of cells"
"""The family of differences between cells; the others are named by the parameter whose values differ."""

Goal = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Subject:
    """What is compared.

    Attributes:
        name: Of the sweep, or of the runs.
        metric: As logged.
        goal: Whether less or more of it is better.
        kind: `as the source ran it`, `tuned`, or `runs`.
        tuning_seeds: Seeds that a rate was chosen on; they are left out.
    """

    name: str
    metric: str
    goal: Goal
    kind: str = "runs"
    tuning_seeds: tuple[int, ...] = ()


@dataclass(frozen=True)
class Row:
    """A cell; means over its scored seeds, NaN where unknown.

    Attributes:
        cell: Its name.
        values: Of the varied parameters.
        shown: The same as people read them: `{"optimizer": "adam_1e-3"}`.
        seeds: That were scored, and are averaged.
        value: The metric at the last step.
        low: End of its 95 % interval, over seeds and samples.
        high: The other end.
        best: The metric at its best step: optimistic, because the step was chosen on the same samples.
        samples: Seen in training.
        reached: How many seeds reached the stated score.
        samples_to_reach: Of those that did.
        seconds_to_reach: Of those that did, s.
        seconds: Wall time, s.
        throughput: Samples per s.
        peak_memory: Bytes.
        lost: Seeds that are not averaged, by state: `diverged`, `failed`, `pruned` and others.
    """

    cell: str
    values: Mapping[str, Any]
    shown: Mapping[str, str]
    seeds: tuple[int, ...]
    value: float
    low: float
    high: float
    best: float
    samples: float
    reached: int
    samples_to_reach: float
    seconds_to_reach: float
    seconds: float
    throughput: float
    peak_memory: float
    lost: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Difference:
    """First minus second, over the same seeds and samples.

    Attributes:
        parameter: Whose values differ, all else the same; empty for a pair of cells.
        first: A cell, or a parameter's value.
        second: The other.
        value: Mean difference.
        low: End of its 95 % interval, not corrected for the number of comparisons.
        high: The other end.
        p_value: Not corrected; NaN where it cannot be had.
        corrected: By Holm, over the differences of its family.
        sign_flips: The p-value of flipping the seeds' signs, on these samples; NaN below six seeds.
        seeds: That both have.
        matched: Cells on each side.
        diverged: Which of the two lost seeds because they diverged.
    """

    parameter: str
    first: str
    second: str
    value: float
    low: float
    high: float
    p_value: float
    sign_flips: float
    seeds: int
    matched: int
    diverged: frozenset[str]
    corrected: float = math.nan

    @property
    def family(self) -> str:
        """The differences that it is corrected with: those of one parameter's values, or all pairs of cells."""
        return self.parameter or PAIRS

    def better(self, goal: Goal) -> str:
        """Which of the two."""
        return self.first if (self.value > 0) == (goal == "maximize") else self.second

    def claimed(self, goal: Goal) -> bool:
        """Whether it can be told: significant after correction, and not by runs that survived where others diverged."""
        apart = self.low > 0 or self.high < 0
        return self.corrected < CLAIM and apart and self.better(goal) not in self.diverged


@dataclass(frozen=True)
class Level:
    """The mean of a parameter's value over the cells that have it.

    Attributes:
        parameter: Whose.
        level: The value, as it is shown.
        value: The mean.
        low: End of its 95 % interval.
        high: The other end.
        cells: That have it.
        seeds: That all of them have.
        balanced: Whether every other value has the same cells but for this parameter; not so in a search.
    """

    parameter: str
    level: str
    value: float
    low: float
    high: float
    cells: int
    seeds: int
    balanced: bool = True


@dataclass(frozen=True)
class Trend:
    """How the metric goes with a number of many values: Spearman's rank correlation over cells.

    Attributes:
        parameter: The number.
        value: The correlation, from -1 to 1.
        low: End of its 95 % interval.
        high: The other end.
        cells: It is over.
    """

    parameter: str
    value: float
    low: float
    high: float
    cells: int


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Attributes:
        subject: Of what.
        rows: Cells, best first.
        levels: Marginal means, where more than one parameter varies.
        trends: Of parameters that are numbers with many values.
        differences: Main effects first, a family for each parameter; then pairs of cells.
        score: That `samples_to_reach` is about.
        clusters: Groups of samples that the intervals know of; 0 for those of seeds alone.
        samples: In them.
        synthetic: Whether the data was drawn.
        notes: What a reader has to know.
        trials: All, with those that are not averaged.
    """

    subject: Subject
    rows: tuple[Row, ...]
    levels: tuple[Level, ...]
    trends: tuple[Trend, ...]
    differences: tuple[Difference, ...]
    score: float
    clusters: int
    samples: int
    synthetic: bool
    notes: tuple[str, ...]
    trials: tuple[Trial, ...] = field(repr=False)

    @property
    def families(self) -> dict[str, int]:
        """The families of differences, and how many of each could be tested."""
        sizes = dict.fromkeys((each.family for each in self.differences), 0)
        for each in self.differences:
            sizes[each.family] += math.isfinite(each.p_value)
        return sizes

    @property
    def explores(self) -> bool:
        """Whether pairs of cells are looked through beside main effects; where one parameter varies they are these."""
        return any(each.parameter for each in self.differences)
