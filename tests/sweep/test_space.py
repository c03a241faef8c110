"""W&B's distributions: what a grid takes of them, and what Optuna's draws become."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from pose_lightning.sweep import space

SAMPLES = 600
CONTINUOUS = {  # of `min` 1 and `max` 3 where there are bounds
    "uniform": stats.uniform(1, 2),
    "log_uniform": stats.loguniform(math.e, math.e**3),
    "log_uniform_values": stats.loguniform(1, 3),
    "inv_log_uniform": stats.loguniform(math.e**-3, math.e**-1),
    "inv_log_uniform_values": stats.loguniform(1, 3),
    "normal": stats.norm(2, 3),
    "log_normal": stats.lognorm(s=3, scale=math.e**2),
    "beta": stats.beta(2, 5),
}
SHAPES = {"normal": {"mu": 2, "sigma": 3}, "log_normal": {"mu": 2, "sigma": 3}, "beta": {"a": 2, "b": 5}}
BOUNDS = {"min": 1.0, "max": 3.0}


def drawn(spec: dict[str, Any]) -> list[Any]:
    """Values of a random search, as the runner draws them."""
    space.check(spec, "random")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    wanted = {"x": space.distribution(spec)}
    return [space.decode(spec, study.ask(wanted).params["x"]) for _ in range(SAMPLES)]


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("name", CONTINUOUS)
def test_draws_follow_the_distribution(name: str) -> None:
    values = drawn({"distribution": name, **SHAPES.get(name, BOUNDS)})
    assert stats.kstest(values, CONTINUOUS[name].cdf).pvalue > 0.001


@pytest.mark.parametrize("name", ["uniform", "log_uniform", "log_uniform_values", "normal", "log_normal", "beta"])
def test_quantized_draws_are_multiples_and_as_likely_as_their_neighbourhood(name: str) -> None:
    spec = {"distribution": f"q_{name}", "q": 0.5, **SHAPES.get(name, BOUNDS)}
    values = np.array(drawn(spec))
    assert np.allclose(values / 0.5, np.round(values / 0.5))
    middle = float(np.median(values))
    chance = CONTINUOUS[name].cdf(middle + 0.25) - CONTINUOUS[name].cdf(middle - 0.25)
    assert stats.binomtest(int((values == middle).sum()), SAMPLES, chance).pvalue > 0.001


def test_a_whole_step_gives_whole_numbers() -> None:
    assert all(type(value) is int for value in drawn({"distribution": "q_normal", "mu": 10, "sigma": 3, "q": 2})[:50])
    assert {type(value) for value in drawn({"min": 1, "max": 3})} == {int}


def test_choices_come_as_often_as_they_say() -> None:
    spec = {"values": ["a", "b", "c"], "probabilities": [0.2, 0.0, 0.8]}
    values = drawn(spec)
    assert "b" not in values
    assert stats.binomtest(values.count("a"), SAMPLES, 0.2).pvalue > 0.001
    assert [space.decode(spec, place) for place in (0.0, 0.199, 0.2, 1.0)] == ["a", "a", "c", "c"]


def test_values_that_optuna_cannot_store_come_back_as_they_were() -> None:
    values = [{"mode": "all", "n": 0}, [1, 2], "text", 3]
    assert {str(value) for value in drawn({"values": values})} == {str(value) for value in values}


def test_a_grid_takes_whole_numbers_with_both_ends_and_steps_without_the_last() -> None:
    assert space.grid_values({"min": 2, "max": 5}) == [2, 3, 4, 5]
    assert space.grid_values({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}) == [0.0, 0.25, 0.5, 0.75]
    thirds = space.grid_values({"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1})
    assert thirds == pytest.approx([0.0, 0.1, 0.2])


def test_nested_parameters_have_dotted_names() -> None:
    nested = {"model": {"parameters": {"lr": {"value": 1}, "freeze": {"parameters": {"n": {"values": [1]}}}}}}
    assert dict(space.flatten(nested)) == {"model.lr": {"value": 1}, "model.freeze.n": {"values": [1]}}
