"""What a search draws, and what hyperband stops."""

import math

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from pose_lightning.sweep.search import bands, should_stop, suggest

SPACE = {"x": FloatDistribution(-5.0, 5.0)}


def trial(x: float, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    value = (x - 1.0) ** 2 if state == TrialState.COMPLETE else None
    return optuna.create_trial(state=state, params={"x": x}, distributions=SPACE, value=value)


def test_the_same_trials_and_seed_draw_the_same() -> None:
    trials = [trial(-4.0 + 0.5 * step) for step in range(16)]
    for method in ("random", "bayes"):
        draws = [suggest(trials, SPACE, method=method, goal="minimize", seed=7) for _ in range(2)]
        assert draws[0] == draws[1]
        assert draws[0] != suggest(trials, SPACE, method=method, goal="minimize", seed=8)


@pytest.mark.parametrize("engine", ["tpe", "gp"])
@pytest.mark.parametrize(("goal", "best"), [("minimize", 1.0), ("maximize", -5.0)])
def test_bayes_draws_where_it_was_good(engine: str, goal: str, best: float) -> None:
    trials = [trial(-5.0 + 0.5 * step) for step in range(21)]
    near = [suggest(trials, SPACE, method="bayes", goal=goal, engine=engine, seed=seed)["x"] for seed in range(5)]
    assert sum(abs(x - best) for x in near) / 5 < 1.0


def test_trials_without_a_value_do_not_disturb_a_search() -> None:
    odd = [trial(x, state) for x, state in ((1.0, TrialState.WAITING), (2.0, TrialState.RUNNING))]
    odd += [trial(3.0, TrialState.PRUNED), trial(4.0, TrialState.FAIL)]
    drawn = suggest([*(trial(0.1 * step) for step in range(12)), *odd], SPACE, method="bayes", goal="minimize", seed=0)
    assert -5.0 <= drawn["x"] <= 5.0


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"min_iter": 3, "eta": 3}, [3, 9, 27, 81]),
        ({"min_iter": 2, "eta": 2.5}, [2, 5, 12, 31]),
        ({"max_iter": 27, "s": 2, "eta": 3}, [3, 9]),
        ({"max_iter": 27, "s": 2}, [3, 9]),
        ({"max_iter": 10, "s": 9, "eta": 2}, [1, 2, 5]),
    ],
)
def test_the_bands_are_those_of_wandb(rule: dict[str, float], expected: list[int]) -> None:
    assert bands(rule)[: len(expected)] == expected
    assert "max_iter" not in rule or len(bands(rule)) == len(expected)


def test_hyperband_decides_by_hand() -> None:
    """Band 2 with eta 3: of 6 runs the value of rank 2 is the worst that goes on."""
    rule = {"min_iter": 2, "eta": 3}
    runs = [[9.0, 9.0, value] for value in (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)]
    assert [should_stop(run, runs, rule, goal="minimize") for run in runs] == [False] * 3 + [True] * 3
    assert [should_stop(run, runs, rule, goal="maximize") for run in runs] == [True] * 3 + [False] * 3
    assert not should_stop([9.0, 9.0], runs, rule, goal="minimize"), "it has not come to a band yet"
    assert should_stop([9.0, 9.0, 4.0, 0.0], runs, rule, goal="minimize"), "what counts is the value at the band"
    assert not should_stop([9.0, 9.0, 4.0, *[0.0] * 4], [*runs, [0.0] * 7], rule, goal="minimize"), "the last band"


def test_the_first_run_at_a_band_goes_on() -> None:
    assert not should_stop([5.0, 5.0, math.pi], [[5.0, 5.0, math.pi]], {"min_iter": 2}, goal="minimize")
