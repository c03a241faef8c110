import numpy as np
import pytest
import scipy.stats
from jaxtyping import Float64

from pose_lightning.statistics import cluster_bootstrap


def ratio(totals: Float64[np.ndarray, "r 2"]) -> Float64[np.ndarray, "r 1"]:
    with np.errstate(invalid="ignore"):
        return totals[:, :1] / totals[:, 1:]


def with_ones(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 2"]:
    return np.stack([values, np.ones_like(values)], axis=1)


def test_without_clusters_it_is_scipys_percentile_bootstrap_of_the_mean() -> None:
    values = np.random.default_rng(0).gamma(2.0, size=200)
    low, high = cluster_bootstrap(with_ones(values), np.arange(200), ratio, resamples=20_000)[:, 0]
    expected = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.03 * width)
    assert high == pytest.approx(expected.high, abs=0.03 * width)


def test_whole_clusters_are_drawn_by_hand_enumeration() -> None:
    # Two clusters, sums 1 and 9 over counts 1 and 3: the four equally likely draws give 1/1, 10/4, 10/4 and 9/3.
    columns = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0], [4.0, 1.0]])
    seen = []

    def note(totals: Float64[np.ndarray, "r 2"]) -> Float64[np.ndarray, "r 1"]:
        seen.append(ratio(totals))
        return seen[-1]

    cluster_bootstrap(columns, np.array([7, 5, 5, 5]), note, resamples=4000)
    values, counts = np.unique(seen[0], return_counts=True)
    assert values.tolist() == [1.0, 2.5, 3.0]
    assert counts / 4000 == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_the_interval_covers_the_truth_as_often_as_it_says_where_persons_share_images() -> None:
    rng = np.random.default_rng(3)
    clustered = alone = 0
    trials = 200
    for trial in range(trials):
        sizes = rng.integers(1, 6, size=60)
        group = np.repeat(np.arange(60), sizes)
        values = rng.normal(size=60)[group] + 0.3 * rng.normal(size=len(group))
        low, high = cluster_bootstrap(with_ones(values), group, ratio, resamples=300, seed=trial)[:, 0]
        clustered += low <= 0 <= high
        low, high = cluster_bootstrap(with_ones(values), np.arange(len(group)), ratio, resamples=300, seed=trial)[:, 0]
        alone += low <= 0 <= high
    assert 0.89 <= clustered / trials <= 0.98
    assert alone / trials < 0.85  # what calling persons independent would do


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    values = with_ones(np.random.default_rng(4).normal(size=50))
    group = np.arange(50) // 2
    first, again, other = (cluster_bootstrap(values, group, ratio, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_order_of_samples_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    values, group = with_ones(rng.integers(9, size=50).astype(float)), rng.integers(20, size=50)
    order = rng.permutation(50)
    assert np.array_equal(
        cluster_bootstrap(values, group, ratio), cluster_bootstrap(values[order], group[order], ratio)
    )


def test_one_cluster_has_no_interval() -> None:
    ends = cluster_bootstrap(with_ones(np.arange(9.0)), np.zeros(9, dtype=np.int64), ratio)
    assert ends.shape == (2, 1)
    assert np.isnan(ends).all()


def test_a_statistic_that_one_cluster_in_many_informs_has_no_interval_and_the_others_keep_theirs() -> None:
    rng = np.random.default_rng(6)
    columns = np.column_stack([with_ones(rng.normal(size=40)), np.zeros((40, 2))])
    columns[3, 2:] = 5.0, 1.0

    def two(totals: Float64[np.ndarray, "r 4"]) -> Float64[np.ndarray, "r 2"]:
        return np.column_stack([ratio(totals[:, :2]), ratio(totals[:, 2:])])

    ends = cluster_bootstrap(columns, np.arange(40), two)
    assert np.isfinite(ends[:, 0]).all()
    assert np.isnan(ends[:, 1]).all()


def test_a_value_that_is_not_finite_is_refused() -> None:
    columns = np.ones((3, 2))
    columns[1, 1] = np.inf
    with pytest.raises(ValueError, match="column 1"):
        cluster_bootstrap(columns, np.arange(3), ratio)


def test_a_statistic_that_hardly_ever_is_undefined_keeps_its_interval() -> None:
    values = np.random.default_rng(7).normal(size=40)
    informed = np.zeros((40, 2))
    informed[:8] = with_ones(values[:8])
    low, high = cluster_bootstrap(informed, np.arange(40), ratio, resamples=20_000)[:, 0]
    spread = values[:8].std() / np.sqrt(8)
    assert low == pytest.approx(values[:8].mean() - 1.96 * spread, abs=0.5 * spread)
    assert high == pytest.approx(values[:8].mean() + 1.96 * spread, abs=0.5 * spread)


def mean_of_ratios(totals: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, "r 1"]:
    """The mean over strata, which have two columns each."""
    with np.errstate(invalid="ignore"):
        return (totals[:, ::2] / totals[:, 1::2]).mean(axis=1, keepdims=True)


def by_stratum(values: Float64[np.ndarray, " n"], strata: np.ndarray) -> Float64[np.ndarray, "n c"]:
    return np.hstack([with_ones(values) * (strata == each)[:, None] for each in np.unique(strata)])


def test_a_mean_over_strata_of_few_clusters_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(60), 3)  # fifteen strata of four clusters of three samples
    strata = clusters // 4
    covered, trials = 0, 300
    for trial in range(trials):
        values = 5.0 * strata + rng.normal(size=60)[clusters] + 0.3 * rng.normal(size=180)
        ends = cluster_bootstrap(
            by_stratum(values, strata), clusters, mean_of_ratios, strata=strata, resamples=300, seed=trial
        )
        covered += ends[0, 0] <= 5.0 * 7 <= ends[1, 0]
    assert 0.91 <= covered / trials <= 0.98
    whole = cluster_bootstrap(by_stratum(values, strata), clusters, mean_of_ratios)
    assert np.isnan(whole).all()  # drawn as one, nearly every resample lacks a stratum


def test_two_clusters_of_a_stratum_give_one_or_the_other() -> None:
    seen = []

    def note(totals: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, "r 1"]:
        seen.append(mean_of_ratios(totals))
        return seen[-1]

    strata = np.array([0, 0, 1, 1])
    cluster_bootstrap(by_stratum(np.array([1.0, 3.0, 10.0, 30.0]), strata), np.arange(4), note, strata=strata)
    assert np.unique(seen[0]).tolist() == [5.5, 6.5, 15.5, 16.5]


def test_a_stratum_of_one_cluster_gives_no_interval() -> None:
    strata = np.array([0, 0, 0, 1])
    columns = by_stratum(np.arange(4.0), strata)
    assert np.isnan(cluster_bootstrap(columns, np.arange(4), mean_of_ratios, strata=strata)).all()


def test_a_cluster_in_two_strata_is_refused() -> None:
    with pytest.raises(ValueError, match="two strata"):
        cluster_bootstrap(with_ones(np.arange(4.0)), np.array([0, 0, 1, 1]), ratio, strata=np.array([0, 1, 1, 1]))
