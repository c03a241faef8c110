import numpy as np
import pytest
import scipy.stats
from jaxtyping import Float64

from pose_lightning.statistics import Repeated, cluster_bootstrap, holm, ratio_influences


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


def repeated(rng: np.random.Generator, seeds: int, *, own: float, sample: float, rest: float) -> Repeated:
    """A number that is 0 in truth: scores of clusters with parts of the seed, of the sample and of both."""
    scores = own * rng.normal(size=(seeds, 1)) + sample * rng.normal(size=40) + rest * rng.normal(size=(seeds, 40))
    values = scores.mean(axis=1)
    return Repeated(values, scores - values[:, None])


@pytest.mark.parametrize("seeds", [3, 6])
@pytest.mark.parametrize(
    ("own", "sample", "rest"), [(1.0, 0.0, 0.0), (0.1, 0.0, 1.0), (0.1, 1.0, 0.2), (0.1, 1.0, 1.0), (0.3, 1.0, 1.0)]
)
def test_repeated_training_is_covered_in_95_of_100_whatever_varies(
    seeds: int, own: float, sample: float, rest: float
) -> None:
    rng = np.random.default_rng(10)
    trials = [repeated(rng, seeds, own=own, sample=sample, rest=rest) for _ in range(1500 if seeds > 5 else 3000)]
    ends = np.array([each.interval(resamples=200) for each in trials])
    assert 0.935 <= ((ends[:, 0] <= 0) & (ends[:, 1] >= 0)).mean() <= 0.965
    assert np.mean([each.p_value() < 0.05 for each in trials]) < 0.06


def test_an_interval_that_knew_only_one_of_seeds_and_samples_would_not_cover() -> None:
    rng = np.random.default_rng(11)
    trials = [repeated(rng, 5, own=0.2, sample=1.0, rest=1.0) for _ in range(500)]
    of_seeds = [Repeated(each.values, np.zeros((5, 0))).interval() for each in trials]
    of_samples = [Repeated(each.values[:1], each.influences[:1]).interval() for each in trials]
    for ends in (of_seeds, of_samples):
        assert np.mean([low <= 0 <= high for low, high in ends]) < 0.93


def test_without_samples_it_is_the_paired_t_test() -> None:
    first, second = np.array([3.0, 5.5, 4.0]), np.array([2.0, 5.0, 1.0])
    difference = Repeated(first, np.zeros((3, 0))) - Repeated(second, np.zeros((3, 0)))
    expected = scipy.stats.ttest_rel(first, second)
    assert difference.p_value() == pytest.approx(expected.pvalue)
    assert difference.interval() == pytest.approx(tuple(expected.confidence_interval()))


def test_variances_of_seeds_and_samples_by_hand() -> None:
    # Scores [[1, 3], [5, 7]] by seed and cluster: means 2 and 6; clusters' means 3 and 5; nothing is left of both.
    number = Repeated(np.array([2.0, 6.0]), np.array([[-1.0, 1.0], [-1.0, 1.0]]))
    assert number.value == 4.0
    assert number.seed_variance == pytest.approx(8 / 2)
    assert number.sample_variance == pytest.approx(2 / 2)
    # Scores [[1, 3], [7, 5]]: the clusters' means are equal, and all of their spread is left of both.
    assert Repeated(np.array([2.0, 6.0]), np.array([[-1.0, 1.0], [1.0, -1.0]])).sample_variance == 0.0


def test_one_seed_has_the_interval_of_its_samples_and_no_p_value() -> None:
    scores = np.array([1.0, 2.0, 6.0, 3.0])
    number = Repeated(scores[:1] * 0 + 3.0, (scores - 3.0)[None])
    expected = scipy.stats.t.interval(0.95, 3, loc=3.0, scale=scores.std(ddof=1) / 2)
    assert number.interval() == pytest.approx(expected)
    assert np.isnan(number.p_value())
    assert np.isnan(Repeated(np.ones(1), np.zeros((1, 0))).interval()).all()


def test_differences_that_do_not_vary_are_no_proof() -> None:
    assert np.isnan(Repeated(np.full(3, 0.5), np.zeros((3, 0))).p_value())


def test_two_seeds_that_agree_by_chance_are_no_proof() -> None:
    # Of eight samples, one seed has four right and the other the other four: the same score, of nothing but chance.
    right = np.array([[1.0, 0.0] * 4, [0.0, 1.0] * 4])
    agreeing = Repeated(np.array([0.5, 0.5 + 1e-9]), right - 0.5)
    assert agreeing.p_value() > 0.1


def test_six_seeds_have_a_lopsided_interval_where_their_values_are() -> None:
    low, high = Repeated(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 6.0]), np.zeros((6, 0))).interval()
    assert high - 1.0 > 1.0 - low


def test_signs_flip_by_hand() -> None:
    assert Repeated(np.arange(1.0, 7.0), np.zeros((6, 0))).sign_flip_p_value() == 2 / 64
    # Of the 64 patterns, those at least as far from 0 as 1 + 2 + 3 + 4 + 5 - 6 = 9: all but the sums of -7 to 7.
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)
    expected = (abs(np.arange(1, 7) @ signs) >= 9).mean()
    flipped = Repeated(np.array([1.0, 2.0, 3.0, 4.0, 5.0, -6.0]), np.zeros((6, 0)))
    assert flipped.sign_flip_p_value() == expected
    assert np.isnan(Repeated(np.arange(1.0, 6.0), np.zeros((5, 0))).sign_flip_p_value())


def test_more_seeds_than_can_be_enumerated_flip_at_random() -> None:
    exact = Repeated(np.linspace(-1, 1.6, 12), np.zeros((12, 0))).sign_flip_p_value()
    padded = Repeated(np.append(np.linspace(-1, 1.6, 12), 0.0), np.zeros((13, 0))).sign_flip_p_value()
    assert padded == pytest.approx(exact, abs=0.03)


def test_differences_of_other_seeds_or_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="seeds and clusters differ"):
        Repeated(np.ones(3), np.zeros((3, 4))) - Repeated(np.ones(3), np.zeros((3, 5)))


def test_influences_are_what_a_little_more_weight_moves() -> None:
    rng = np.random.default_rng(12)
    groups = np.array([7, 7, 2, 5, 5, 5, 9])
    counts = rng.integers(0, 3, size=(7, 3)).astype(float) + np.array([1.0, 1.0, 0.0])
    counts[:, 2] = 0.0
    numerators = counts * rng.normal(size=(7, 3))
    value, influences = ratio_influences(numerators, counts, groups)

    def mean(weights: Float64[np.ndarray, " n"]) -> float:
        return float(((weights @ numerators)[:2] / (weights @ counts)[:2]).mean())

    assert value == pytest.approx(mean(np.ones(7)))
    for place, group in enumerate([2, 5, 7, 9]):
        heavier = 1 + 1e-6 * (groups == group)
        assert influences[place] / 4 == pytest.approx((mean(heavier) - value) / 1e-6, abs=1e-5)
    assert influences.sum() == pytest.approx(0.0, abs=1e-12)


def test_nothing_counted_has_no_mean() -> None:
    value, influences = ratio_influences(np.zeros((3, 2)), np.zeros((3, 2)), np.array([1, 1, 4]))
    assert np.isnan(value)
    assert influences.tolist() == [0.0, 0.0]


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]


def test_holm_does_not_count_tests_that_could_not_be_made() -> None:
    adjusted = holm([float("nan"), 0.02, 0.03])
    assert np.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.04, 0.04])
