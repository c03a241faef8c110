"""Where a search looks next, and which of its trials it stops early."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

Goal = Literal["minimize", "maximize"]

Engine = Literal["tpe", "gp"]
"""How `method: bayes` chooses: a tree of Parzen estimators, or a Gaussian process."""

_UNBOUNDED: Final = 100
"""Bands of a run without `max_iter`, as in W&B's engine; no run gets to the last of them."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def suggest(
    trials: Sequence[FrozenTrial],
    distributions: Mapping[str, BaseDistribution],
    *,
    method: str,
    goal: Goal,
    engine: Engine = "tpe",
    seed: int = 0,
) -> dict[str, Any]:
    """What Optuna draws next, given the trials so far; the same trials and seed give the same.

    It asks a study in memory, so that a runner killed meanwhile leaves no half trial in the shared one. Trials that run
    count as running, and a pruned or diverged one as worse than any that is complete.

    Args:
        trials: In their order; those that wait or run have no value yet.
        distributions: By parameter.
        method: `random` or `bayes`.
        goal: `minimize` or `maximize`.
        engine: Of `bayes`.
        seed: Of the draw.
    """
    sampler: BaseSampler = RandomSampler(seed)
    if method == "bayes":
        sampler = TPESampler(seed=seed, constant_liar=True) if engine == "tpe" else GPSampler(seed=seed)
    study = optuna.create_study(direction=goal, sampler=sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        for trial in trials:
            if trial.state == TrialState.FAIL or set(trial.params) != set(distributions):
                continue
            state = TrialState.RUNNING if trial.state == TrialState.WAITING else trial.state
            study.add_trial(
                optuna.create_trial(
                    state=state,
                    value=trial.value if state == TrialState.COMPLETE else None,
                    params=trial.params,
                    distributions=trial.distributions,
                    intermediate_values=trial.intermediate_values,
                )
            )
        return dict(study.ask(dict(distributions)).params)


def bands(rule: Mapping[str, Any]) -> list[int]:
    """The iterations at which W&B's hyperband compares a run with the others, ascending.

    With `min_iter`: min_iter, min_iter * eta, and so on; with `max_iter` and `s`: max_iter / eta, max_iter / eta^2, and
    so on, `s` of them and none below 1.
    """
    eta = rule.get("eta", 3)
    if "max_iter" in rule:
        ends = [rule["max_iter"] / eta**power for power in range(1, int(rule["s"]) + 1)]
        return sorted(int(end) for end in ends if end >= 1)
    return [int(rule["min_iter"] * eta**power) for power in range(_UNBOUNDED)]


def should_stop(
    history: Sequence[float], histories: Sequence[Sequence[float]], rule: Mapping[str, Any], *, goal: Goal
) -> bool:
    """Whether hyperband stops a run: at the last band that it has passed it is not in the best 1 / eta of all runs.

    As in W&B's engine (`hyperband_stop_runs` of its `sweeps` package), an iteration is one logged value of the metric,
    the first being iteration 0, and the worst that goes on is the value of rank floor(n / eta), from 0.

    Args:
        history: The metric of the run, value by value as logged; finite.
        histories: Of every run, this one and those that have ended too.
        rule: W&B's `early_terminate`.
        goal: `minimize` or `maximize`.
    """
    passed = [band for band in bands(rule) if band < len(history)]
    if not passed:
        return False
    sign, last = (-1 if goal == "maximize" else 1), passed[-1]
    values = sorted(sign * each[last] for each in histories if last < len(each))
    return sign * history[last] > values[int(len(values) / rule.get("eta", 3))] if values else False
