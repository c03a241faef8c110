"""Uncertainty of what was measured: arrays in, numbers out.

Shapes: n samples, c columns, r resamples, s statistics.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

RESAMPLES: Final = 2000
LEVEL: Final = 0.95
UNDEFINED: Final = 0.01
"""Share of resamples in which a statistic may be undefined (0/0) before its interval is withheld: with k clusters that
inform it, about exp(-k) of the resamples draw none of them, so fewer than about five give no interval."""

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
