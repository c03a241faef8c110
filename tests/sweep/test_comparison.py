import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from made import trial

from pose_lightning.errors import UserError
from pose_lightning.sweep.comparison import compare
from pose_lightning.sweep.effects import rank_correlation
from pose_lightning.sweep.findings import Comparison, Difference, Subject
from pose_lightning.sweep.results import read_sweep
from pose_lightning.sweep.sentences import footnotes, sentences

SUBJECT = Subject("made", "val/pckh", "maximize", "as the source ran it")
BATCHES = (8, 16)
RECIPES = ("experiments/optimizers/sgd.yaml", "experiments/optimizers/rmsprop.yaml", "experiments/optimizers/adam.yaml")


def cell(recipe: str, batch: int) -> tuple[str, dict[str, object]]:
    return f"{Path(recipe).stem}-batch_size={batch}", {"config": recipe, "data.batch_size": batch}


def found_of(sweep: Path) -> Comparison:
    return compare(read_sweep(sweep), SUBJECT)


def pair(found: Comparison, first: str, second: str) -> Difference:
    return next(each for each in found.differences if {each.first, each.second} == {first, second})


def write(sweep: Path, effects: dict[str, float], *, seeds: int = 3, spread: float = 0.1, persons: int = 0) -> None:
    """Cells of one parameter, around 50 plus their effect."""
    rng = np.random.default_rng(0)
    for name, effect in effects.items():
        for seed in range(1, seeds + 1):
            value = 50 + effect + spread * rng.normal()
            scores = value + 5 * rng.normal(size=persons) if persons else None
            last = value if scores is None else float(scores.mean())
            trial(sweep, name, seed, {"model.optimizer": name}, [40.0, last], scores=scores)


def test_a_difference_of_two_cells_is_the_paired_t_test_over_seeds(tmp_path: Path) -> None:
    numbers = {"adam": [60.0, 61.0, 63.5], "sgd": [55.0, 57.0, 58.0]}
    for name, values in numbers.items():
        for seed, value in enumerate(values, 1):
            trial(tmp_path, name, seed, {"model.optimizer": name}, [value])
    found = found_of(tmp_path)
    expected = scipy.stats.ttest_rel(numbers["adam"], numbers["sgd"])
    (difference,) = found.differences
    assert (difference.first, difference.seeds) == ("adam", 3)
    assert difference.value == pytest.approx(4.8333333)
    assert difference.p_value == pytest.approx(expected.pvalue)
    assert (difference.low, difference.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert difference.corrected == difference.p_value
    assert [row.cell for row in found.rows] == ["adam", "sgd"]
    assert any("No score by sample" in note for note in footnotes(found))


def test_a_large_effect_is_said_with_its_interval_and_seeds(tmp_path: Path) -> None:
    write(tmp_path, {"adam": 3.0, "sgd": 0.0}, seeds=6)
    (said, *_) = [line for line in sentences(found_of(tmp_path)) if "beats" in line]
    assert said.startswith("adam beats sgd by 2.9") or said.startswith("adam beats sgd by 3.0")
    assert "PCKh (95 % 2." in said
    assert "; 6 seeds; sign flips p = 0.031)" in said


def test_two_seeds_claim_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"adam": 0.3, "sgd": 0.0}, seeds=2, spread=2.0)
    assert any("no difference can be told with 2 seeds" in line for line in sentences(found_of(tmp_path)))


def test_one_seed_claims_nothing_and_its_interval_is_of_samples(tmp_path: Path) -> None:
    write(tmp_path, {"adam": 9.0, "sgd": 0.0}, seeds=1, persons=50)
    found = found_of(tmp_path)
    assert found.clusters == 50
    assert all(math.isfinite(row.low) for row in found.rows)
    assert any("no difference can be told with 1 seed" in line for line in sentences(found))


def test_persons_of_one_image_count_once(tmp_path: Path) -> None:
    scores = np.random.default_rng(1).normal(size=40)
    for name, repeat in (("alone", 1), ("together", 3)):
        for seed in (1, 2, 3):
            groups = np.repeat(np.arange(40), repeat)
            trial(tmp_path / name, "only", seed, {}, [0.0], scores=np.repeat(scores, repeat), groups=groups.tolist())
    alone, together = (found_of(tmp_path / name).rows[0] for name in ("alone", "together"))
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high))


def test_a_diverged_trial_is_named_and_not_averaged(tmp_path: Path) -> None:
    write(tmp_path, {"adam": 0.0, "sgd": 5.0})
    trial(tmp_path, "sgd", 4, {"model.optimizer": "sgd"}, [3.0, math.nan])
    trial(tmp_path, "adam", 4, {"model.optimizer": "adam"}, [3.0, 50.0])
    trial(tmp_path, "rmsprop", 1, {"model.optimizer": "rmsprop"}, [1.0], state="diverged")
    found = found_of(tmp_path)
    sgd, adam, rmsprop = found.rows
    assert sgd.lost == {"diverged": (4,)}
    assert sgd.value == pytest.approx(55, abs=0.3)
    assert math.isnan(rmsprop.value)
    said = "\n".join(sentences(found))
    assert "sgd diverged with seed 4: its row is the mean of the other 3 seeds, which flatters it." in said
    assert "rmsprop diverged with seed 1: it has no row of numbers." in said
    assert not pair(found, "sgd", "adam").claimed("maximize")  # by the runs that survived
    assert "because sgd diverged with other seeds" in said
    assert adam.seeds == (1, 2, 3, 4)


def test_a_failed_trial_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"adam": 0.0, "sgd": 5.0})
    trial(tmp_path, "sgd", 4, {"model.optimizer": "sgd"}, [3.0], state="failed", error="no memory")
    assert any("sgd failed with seed 4" in line for line in sentences(found_of(tmp_path)))


def test_marginal_effects_average_over_matched_cells(tmp_path: Path) -> None:
    effects = {"sgd": 0.0, "rmsprop": 4.0, "adam": 6.0}
    for recipe, batch in itertools.product(RECIPES, BATCHES):
        name, values = cell(recipe, batch)
        for seed in (1, 2, 3):
            noise = 0.01 * (seed - 2) * (1 if batch == 8 else -0.5)
            trial(tmp_path, name, seed, values, [50 + effects[Path(recipe).stem] + batch / 8 + noise])
    found = found_of(tmp_path)
    marginal = {(each.first, each.second): each for each in found.differences if each.parameter}
    assert set(marginal) == {("adam", "rmsprop"), ("adam", "sgd"), ("rmsprop", "sgd"), ("16", "8")}
    assert marginal["adam", "sgd"].value == pytest.approx(6.0)
    assert (marginal["adam", "sgd"].parameter, marginal["adam", "sgd"].matched) == ("optimizer", 2)
    assert marginal["16", "8"].value == pytest.approx(1.0)
    assert marginal["16", "8"].matched == 3
    assert {each.level: each.value for each in found.levels if each.parameter == "optimizer"} == pytest.approx(
        {"sgd": 51.5, "rmsprop": 55.5, "adam": 57.5}
    )
    assert len(found.differences) == 4 + 15


def test_each_parameter_is_corrected_for_its_own_comparisons(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    for recipe, batch in itertools.product(RECIPES, BATCHES):
        name, values = cell(recipe, batch)
        for seed in (1, 2, 3):
            trial(tmp_path, name, seed, values, [50 + rng.normal()])
    found = found_of(tmp_path)
    assert found.families == {"optimizer": 3, "batch_size": 1, "pairs of cells": 15}
    for family, count in found.families.items():
        members = [each for each in found.differences if each.family == family]
        least = min(members, key=lambda each: each.p_value)
        assert least.corrected == pytest.approx(min(1.0, count * least.p_value))
    said = "\n".join([*sentences(found), *footnotes(found)])
    assert "a family for each parameter, by number of comparisons: optimizer (3), batch_size (1)." in said
    assert "All pairs of cells (15) are a family of their own" in said
    assert "Exploring: between the 15 pairs of cells, no difference can be told with 3 seeds." in said


def test_a_main_effect_is_told_where_pairs_of_cells_cannot_be(tmp_path: Path) -> None:
    noise = iter(np.random.default_rng(9).normal(size=18))
    for recipe, batch in itertools.product(RECIPES, BATCHES):
        name, values = cell(recipe, batch)
        for seed in (1, 2, 3):
            trial(tmp_path, name, seed, values, [50 + (6.0 if "adam" in recipe else 0.0) + next(noise)])
    found = found_of(tmp_path)
    claimed = {each.family for each in found.differences if each.claimed("maximize")}
    assert claimed == {"optimizer"}
    assert any(line.startswith("optimizer adam beats optimizer sgd by") for line in sentences(found))


def test_a_tuned_recipe_counts_as_its_optimizer(tmp_path: Path) -> None:
    rates = {("adam", 8): "1e-3", ("adam", 16): "4e-3", ("sgd", 8): "1e-1", ("sgd", 16): "1e-1"}
    for (optimizer, batch), rate in rates.items():
        values = {"config": f"experiments/optimizers/{optimizer}_{rate}.yaml", "data.batch_size": batch}
        for seed in (1, 2, 3):
            last = 50 + 5 * (optimizer == "adam") + 0.1 * seed + 0.01 * seed * (batch == 8)
            settings = {"model": {"init_args": {"optimizer": optimizer}}}
            trial(tmp_path, f"{optimizer}_{rate}-{batch}", seed, values, [last], settings=settings)
    found = compare(read_sweep(tmp_path), Subject("made", "val/pckh", "maximize", "tuned"))
    (main,) = [each for each in found.differences if each.parameter == "optimizer"]
    assert ({main.first, main.second}, main.matched, abs(main.value)) == ({"adam", "sgd"}, 2, pytest.approx(5.0))


def drawn(sweep: Path, cells: int) -> Comparison:
    """A random search: the metric grows with the rate, and recipes do nothing."""
    rng = np.random.default_rng(4)
    for number in range(cells):
        rate, width = float(10 ** rng.uniform(-4, -2)), float(rng.uniform())
        recipe = RECIPES[number % 2]
        values = {"config": recipe, "model.lr": rate, "model.width": width, "data.batch_size": 8 * (1 + number % 3)}
        trial(sweep, f"cell{number}", 1, values, [50 + 5 * math.log10(rate) + 0.1 * rng.normal()])
    return compare(read_sweep(sweep), SUBJECT)


def test_a_search_describes_numbers_by_rank_correlation(tmp_path: Path) -> None:
    found = drawn(tmp_path, 30)
    rate, width = found.trends
    assert (rate.parameter, width.parameter) == ("lr", "width")
    values = {row.cell: row.values for row in found.rows}
    expected = scipy.stats.spearmanr(
        [values[row.cell]["model.lr"] for row in found.rows], [row.value for row in found.rows]
    )
    assert rate.value == pytest.approx(expected.statistic)
    assert 0.9 < rate.low < rate.value < rate.high < 1.0
    assert width.low < 0 < width.high
    assert not found.differences
    said = "\n".join([*sentences(found), *footnotes(found)])
    assert "lr: rank correlation 0.99" in said
    assert "no test" in said
    assert "Searched values" in said
    assert "beats" not in said


def test_many_values_of_a_grid_were_not_searched(tmp_path: Path) -> None:
    for seed in (1, 2):
        for size in range(1, 8):
            trial(tmp_path, f"batch_size={size}", seed, {"data.batch_size": size}, [50.0 + size + 0.1 * seed])
    found = compare(read_sweep(tmp_path), SUBJECT)
    assert [each.parameter for each in found.trends] == ["batch_size"]
    said = "\n".join(footnotes(found))
    assert "Spearman's, over cells" in said
    assert "earched" not in said


def test_a_search_describes_categories_by_the_mean_of_their_cells(tmp_path: Path) -> None:
    found = drawn(tmp_path, 12)
    assert [(each.parameter, each.cells) for each in found.levels] == [("optimizer", 6)] * 2 + [("batch_size", 4)] * 3
    for each in found.levels:
        assert not each.balanced
        having = [row.value for row in found.rows if row.shown[each.parameter] == each.level]
        low, high = scipy.stats.ttest_1samp(having, 0).confidence_interval()
        assert each.value == pytest.approx(np.mean(having))
        if len(having) < 6:
            assert (each.low, each.high) == pytest.approx((low, high))


def test_intervals_of_rank_correlations_cover_in_95_of_100() -> None:
    rng = np.random.default_rng(5)
    truth = 6 / math.pi * math.asin(0.6 / 2)  # of normals with a correlation of 0.6 (Pearson, 1907)
    covered = []
    for _ in range(1000):
        first = rng.normal(size=40)
        _, low, high = rank_correlation(first, 0.6 * first + 0.8 * rng.normal(size=40))
        covered.append(low <= truth <= high)
    assert 0.935 <= np.mean(covered) <= 0.97


def test_a_constant_has_no_rank_correlation() -> None:
    assert all(math.isnan(each) for each in rank_correlation(np.ones(9), np.arange(9.0)))


def test_what_a_cell_cost_by_hand(tmp_path: Path) -> None:
    trial(tmp_path, "adam", 1, {"a": 1}, [10.0, 30.0, 25.0], seconds=8.0)
    trial(tmp_path, "adam", 2, {"a": 1}, [10.0, 20.0, 31.0], seconds=10.0)
    found = compare(read_sweep(tmp_path), SUBJECT, score=30.0)
    (row,) = found.rows
    assert (row.value, row.best, row.samples) == (28.0, 30.5, 300.0)
    assert (row.reached, row.samples_to_reach, row.seconds_to_reach) == (2, 250.0, 5.0)
    assert (row.seconds, row.throughput, row.peak_memory) == (9.0, 50.0, 2.0**30)


def test_memory_is_what_training_recorded_of_itself_where_it_did(tmp_path: Path) -> None:
    for seed in (1, 2):
        folder = trial(tmp_path, "adam", seed, {"a": 1}, [10.0, 20.0], peak_memory_bytes=None)
        (folder / "cost.json").write_text(json.dumps({"peak_memory_bytes": seed * 2**20}))
    (row,) = compare(read_sweep(tmp_path), SUBJECT).rows
    assert row.peak_memory == 1.5 * 2**20


def test_less_is_better_where_the_goal_says_so(tmp_path: Path) -> None:
    write(tmp_path, {"adam": -9.0, "sgd": 0.0}, seeds=6)
    found = compare(read_sweep(tmp_path), Subject("made", "val/pckh", "minimize"))
    assert found.rows[0].cell == "adam"
    assert any(
        line.startswith("adam beats sgd by 9.") or line.startswith("adam beats sgd by 8.9") for line in sentences(found)
    )


def test_a_score_of_another_step_is_not_taken_for_the_last(tmp_path: Path) -> None:
    folder = trial(tmp_path, "adam", 1, {}, [10.0, 20.0], scores=np.full(4, 20.0))
    with (folder / "metrics.csv").open("a") as file:
        file.write("30,300,0,6.0,,25.0\n")
    found = found_of(tmp_path)
    assert found.rows[0].value == 25.0
    assert found.clusters == 0


def test_runs_of_other_samples_are_refused(tmp_path: Path) -> None:
    trial(tmp_path, "adam", 1, {"a": 1}, [1.0], scores=np.ones(4))
    trial(tmp_path, "sgd", 1, {"a": 2}, [1.0], scores=np.ones(5))
    with pytest.raises(UserError, match="different samples"):
        found_of(tmp_path)


def test_tuning_seeds_are_left_out(tmp_path: Path) -> None:
    trial(tmp_path, "adam", 100, {"a": 1}, [90.0])
    trial(tmp_path, "adam", 1, {"a": 1}, [50.0])
    found = compare(read_sweep(tmp_path), Subject("made", "val/pckh", "maximize", "tuned", (100, 101)))
    assert found.rows[0].seeds == (1,)
    assert found.rows[0].value == 50.0
    assert any("chosen on seeds 100, 101" in line for line in footnotes(found))


def test_a_chosen_rate_at_the_edge_of_those_tried_is_named(tmp_path: Path) -> None:
    for size, best in ((8, 2), (16, 1)):
        for place, rate in enumerate((1e-4, 1e-3, 1e-2)):
            cell, values = f"adam{place}-{size}", {"data.batch_size": size, "model.lr": rate}
            settings = {"model": {"optimizer": "adam", "lr": rate}}
            trial(tmp_path, cell, 100, values, [50.0 + (place == best)], settings=settings)
            if place == best:
                trial(tmp_path, cell, 1, values, [50.0], settings=settings)
    found = compare(read_sweep(tmp_path), Subject("made", "val/pckh", "maximize", "tuned", (100,)))
    assert [line for line in footnotes(found) if "edge" in line] == [
        "At the edge of the rates that were tried, so that one beyond may be better: adam2-8."
    ]


def test_nothing_finished_is_said(tmp_path: Path) -> None:
    trial(tmp_path, "adam", 1, {}, [90.0], state="failed")
    with pytest.raises(UserError, match="nothing to compare"):
        found_of(tmp_path)
