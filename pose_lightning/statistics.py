"""Uncertainty of what was measured: arrays in, numbers out.

Shapes: n samples, c columns, r resamples, s statistics; of repeated training k seeds, g clusters of samples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product
from typing import Final

import numpy as np
import scipy.special
from jaxtyping import Float64, Int64

RESAMPLES: Final = 2000
LEVEL: Final = 0.95
UNDEFINED: Final = 0.01
"""Share of resamples in which a statistic may be undefined (0/0) before its interval is withheld: with k clusters that
inform it, about exp(-k) of the resamples draw none of them, so fewer than about five give no interval."""

RESAMPLED_FROM: Final = 6
"""Seeds from which their own resamples and sign flips say anything: of five, 2 of 32 sign patterns are the extremes."""

Statistic = Callable[[Float64[np.ndarray, "r c"]], Float64[np.ndarray, "r s"]]
"""From sums of the columns to any numbers made of them, a row at a time; NaN where undefined."""


def cluster_bootstrap(
    columns: Float64[np.ndarray, "n c"],
    groups: Int64[np.ndarray, " n"],
    statistic: Statistic,
    *,
    strata: Int64[np.ndarray, " n"] | None = None,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = 0,
) -> Float64[np.ndarray, "2 s"]:
    """Lower and upper ends of percentile intervals of `statistic`, by drawing whole groups with replacement.

    Persons in one image share its photographer, crowd and light: drawing persons would call them independent and the
    interval would come out too narrow. Resampling clusters and recomputing ratios of sums is the ratio estimator's
    bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8).

    Args:
        columns: Per sample, whatever sums the statistic needs (for a ratio: numerator and denominator). Finite.
        groups: Samples with the same number belong to the same cluster.
        statistic: Called once with the sums of every resample.
        strata: Samples with the same number are of one stratum, and so is each cluster: a stratum's clusters are drawn
            among themselves, for a statistic that takes its ratios within strata and would be undefined where one is
            not drawn. Of a stratum's k clusters k - 1 are drawn, because k of them would make the interval too narrow
            by sqrt((k - 1) / k) (Rao and Wu, Resampling Inference with Complex Survey Data, JASA 1988).
        resamples: How many.
        level: Covered share, 0.95 for a 95 % interval.
        seed: Same seed, same interval.

    Returns:
        The ends; NaN for every statistic if there is but one group, and for one that too many resamples leave undefined
        (see `UNDEFINED`).

    Raises:
        ValueError: If a column holds a value that is not finite: it would spread over all statistics. Or if a
            cluster lies in two strata.
    """
    if not np.isfinite(columns).all():
        raise ValueError(f"column {int(np.argwhere(~np.isfinite(columns))[0, 1])} holds a value that is not finite")
    clusters, member = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(clusters), columns.shape[1]))
    np.add.at(sums, member, columns)
    if strata is None:
        counts = draws(len(clusters), resamples, seed)
    else:
        of_cluster = np.zeros(len(clusters), dtype=np.int64)
        of_cluster[member] = strata
        if (of_cluster[member] != strata).any():
            raise ValueError("a cluster lies in two strata")
        counts = _stratified_draws(of_cluster, resamples, seed)
    values = statistic(counts @ sums)
    return ends(values, clusters=len(clusters), level=level)


def ends(values: Float64[np.ndarray, "r s"], *, clusters: int, level: float = LEVEL) -> Float64[np.ndarray, "2 s"]:
    """Percentile intervals of statistics of resamples.

    Args:
        values: By resample and statistic; NaN where a resample has none.
        clusters: How many there are to resample.
        level: Covered share.

    Returns:
        Lower and upper ends; NaN where there are fewer than two clusters, or too many resamples have no value (see
        `UNDEFINED`).
    """
    undefined = np.isnan(values)
    withheld = (undefined.mean(axis=0) > UNDEFINED) | (clusters < 2)
    found = np.full((2, values.shape[1]), np.nan)
    tails = [(1 - level) / 2, (1 + level) / 2]
    whole = ~withheld & ~undefined.any(axis=0)
    some = ~withheld & ~whole
    found[:, whole] = np.quantile(values[:, whole], tails, axis=0)
    found[:, some] = np.nanquantile(values[:, some], tails, axis=0)  # a hundred times slower: only where it is needed
    return found


def draws(clusters: int, resamples: int, seed: int) -> Float64[np.ndarray, "r g"]:
    """How often each resample draws each cluster: rows of multinomial counts that sum to `clusters`."""
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, clusters))
    for row in weights:  # one row at a time: all indices at once would be eight bytes per draw
        row[:] = np.bincount(rng.integers(clusters, size=clusters), minlength=clusters)
    return weights


def _stratified_draws(strata: Int64[np.ndarray, " g"], resamples: int, seed: int) -> Float64[np.ndarray, "r g"]:
    """As `draws`, but one cluster less than there are from each stratum; none where it has but one."""
    rng = np.random.default_rng(seed)
    weights = np.empty((resamples, len(strata)))
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        weights[:, members] = rng.multinomial(len(members) - 1, np.full(len(members), 1 / len(members)), size=resamples)
    return weights


@dataclass(frozen=True, eq=False)
class Repeated:
    """A number that training with several seeds gave, each seed scored on the same samples.

    The unit is the seed and the sample at once: another seed would give other weights, other photographs another score.
    With a seed's part a, a sample's part b and the rest e, of variances A, B and E per observation, the mean over k
    seeds and g clusters has variance A/k + B/g + E/(kg). The spread between seeds estimates the first and the last
    term together; the spread between clusters of the mean over seeds the last two; what is left of the clusters' spread
    after both effects, the last (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007, which also shows
    that drawing seeds and samples together would count E three times).

    Attributes:
        values: The number by seed.
        influences: What each cluster adds to it, by seed: the number moves by their mean when clusters get other
            weights, and they are 0 on average. No columns where samples are not known: then the error is that of other
            seeds on these samples.
    """

    values: Float64[np.ndarray, " k"]
    influences: Float64[np.ndarray, "k g"]

    def __sub__(self, other: "Repeated") -> "Repeated":
        return combined([(1.0, self), (-1.0, other)])

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.values)

    @property
    def clusters(self) -> int:
        """How many; 0 where samples are not known."""
        return self.influences.shape[1]

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())

    @cached_property
    def seed_variance(self) -> float:
        """Of the mean, from other seeds (A/k + E/(kg)); NaN with one."""
        return float(self.values.var(ddof=1)) / self.seeds if self.seeds > 1 else math.nan

    @cached_property
    def rest_variance(self) -> float:
        """Of the mean, from what is left of both (E/(kg)), which the seeds' variance has in it; 0 where not known."""
        k, g = self.influences.shape
        if k < 2 or g < 2:
            return 0.0
        left = np.square(self.influences - self.influences.mean(axis=0)).sum()
        return float(left) / ((k - 1) * (g - 1)) / (k * g)

    @cached_property
    def sample_variance(self) -> float:
        """Of the mean, from other samples, without what shows between seeds already (B/g); not below 0."""
        if self.clusters < 2:
            return 0.0
        both = float(self.influences.mean(axis=0).var(ddof=1)) / self.clusters
        return max(both - self.rest_variance, 0.0)

    def quantile(self, tail: float) -> float:
        """How many standard errors leave `tail` on one side of an interval.

        The seeds' part of the error has k - 1 degrees of freedom, the samples' part g - 1; no distribution of the sum
        is exact (the Behrens-Fisher problem). Welch's degrees of freedom cover 87 to 95 % where they should cover
        95 %, with 2 seeds, and 92 to 95 % with 3; Cochran's mean of both quantiles, weighted by variance, 94 to 98 %.
        Between them, the weight to the power of 1.75 covers 93.9 to 95.6 % from 3 seeds on, whatever the shares of the
        variance. No power does with 2 seeds, which keep Cochran's.
        """
        own, samples = self.seed_variance, self.sample_variance
        of_samples = -float(scipy.special.stdtrit(max(self.clusters - 1, 1), tail))
        if self.seeds < 2 or own + samples == 0:
            return of_samples
        share = own / (own + samples)
        weight = share if self.seeds == 2 else share**1.75
        return (1 - weight) * of_samples - weight * float(scipy.special.stdtrit(self.seeds - 1, tail))

    @property
    def error(self) -> float:
        """The standard error of the mean; of samples alone with one seed, NaN where nothing tells it."""
        if self.seeds < 2 and self.clusters < 2:
            return math.nan
        own = self.seed_variance if self.seeds > 1 else 0.0
        return math.sqrt(own + self.sample_variance)

    def interval(self, *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
        """The ends of an interval; with one seed, of other samples alone.

        With fewer than six seeds, a t interval. With more, percentiles of resamples of the seeds and of the clusters,
        which may be lopsided, stretched to the t interval's width: as they are, percentiles of 6 seeds would cover 89 %
        (Hesterberg, What Teachers Should Know about the Bootstrap, The American Statistician 2015). One seed less than
        there are is drawn, which makes the resamples' variance that of the mean, and seeds and clusters are drawn apart
        and their parts added, which counts E once.
        """
        tail = (1 - level) / 2
        half = self.quantile(tail) * self.error
        if self.seeds < RESAMPLED_FROM or not half:
            return self.value - half, self.value + half
        low, high = np.quantile(self._resampled(resamples, seed), [tail, 1 - tail]).tolist()
        stretch = 2 * half / (high - low)
        return self.value + stretch * low, self.value + stretch * high

    def _resampled(self, resamples: int, seed: int) -> Float64[np.ndarray, " r"]:
        """By how much each resample's mean differs."""
        k, g = self.influences.shape
        by_seed = _equal_draws(k, k - 1, resamples, seed) @ (self.values - self.value) / (k - 1)
        if not self.sample_variance:
            return by_seed
        mean = self.influences.mean(axis=0)
        mean *= math.sqrt(self.sample_variance / (float(mean.var()) / g))
        return by_seed + _equal_draws(g, g, resamples, seed + 1) @ mean / g

    def p_value(self) -> float:
        """Of the number being 0, two-sided, for claims; NaN with fewer than two seeds, or where nothing varies.

        A t test with the seeds' degrees of freedom for the whole error, which is never too bold (Mickey and Brown,
        Bounds on the Distribution Functions of the Behrens-Fisher Statistic, Annals of Mathematical Statistics 1966).
        The quantiles of `interval` are right at 95 %, but far out, where a correction for many comparisons looks, up to
        three times too bold with 3 seeds. Two seeds may have the same score by chance, as shares of few samples do; so
        their variance counts for no less than chance within it would make it.
        """
        if self.seeds < 2 or not self.error:
            return math.nan
        error = math.sqrt(max(self.seed_variance, self.rest_variance) + self.sample_variance)
        return 2 * float(scipy.special.stdtr(self.seeds - 1, -abs(self.value) / error))

    def sign_flip_p_value(self) -> float:
        """Of the seeds' numbers being as likely with the other sign, two-sided, on these samples; NaN below six seeds.

        All patterns of signs up to 12 seeds, and as many random ones from there on.
        """
        if self.seeds < RESAMPLED_FROM:
            return math.nan
        found = abs(self.values.sum())
        if self.seeds <= 12:
            signs = np.array(list(product((-1.0, 1.0), repeat=self.seeds)))
        else:
            signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(4096, self.seeds))
            signs[0] = 1.0
        return float((np.abs(signs @ self.values) >= found * (1 - 1e-12)).mean())


def combined(parts: Sequence[tuple[float, Repeated]]) -> Repeated:
    """A weighted sum of numbers of the same seeds and the same clusters, such as a difference.

    Raises:
        ValueError: If the seeds or clusters differ in number.
    """
    if len({each.influences.shape for _, each in parts}) != 1:
        raise ValueError(f"seeds and clusters differ: {[each.influences.shape for _, each in parts]}")
    values = np.sum([weight * each.values for weight, each in parts], axis=0)
    return Repeated(values, np.sum([weight * each.influences for weight, each in parts], axis=0))


def ratio_influences(
    numerators: Float64[np.ndarray, "n c"], counts: Float64[np.ndarray, "n c"], groups: Int64[np.ndarray, " n"]
) -> tuple[float, Float64[np.ndarray, " g"]]:
    """The mean over columns of sum / count, and each cluster's influence on it (see `Repeated`).

    A column without any count is left out of the mean. The influence is the derivative (infinitesimal jackknife).

    Returns:
        The mean, NaN where nothing was counted; and the influences, in the order of the clusters' numbers.
    """
    total, count = numerators.sum(axis=0), counts.sum(axis=0)
    counted = count > 0
    if not counted.any():
        return math.nan, np.zeros(len(np.unique(groups)))
    ratio = total[counted] / count[counted]
    each = ((numerators[:, counted] - ratio * counts[:, counted]) / count[counted]).mean(axis=1)
    clusters, member = np.unique(groups, return_inverse=True)
    return float(ratio.mean()), len(clusters) * np.bincount(member, weights=each, minlength=len(clusters))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: calling those below 0.05 different makes a false claim in at most 5 % of all sweeps.

    NaN, where a test could not be made, stays and counts for nothing.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 1979.
    """
    order = sorted((index for index, p in enumerate(p_values) if not math.isnan(p)), key=lambda index: p_values[index])
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


@lru_cache(maxsize=8)
def _equal_draws(number: int, drawn: int, resamples: int, seed: int) -> Float64[np.ndarray, "r n"]:
    """How often each resample draws each of `number`, `drawn` times in all; the same for all that ask."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(drawn, np.full(number, 1 / number), size=resamples).astype(np.float64)
