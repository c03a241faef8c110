"""The keys of a sweep file: what W&B would refuse, and what could not be run here, is refused when it is read."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pose_lightning.errors import UserError
from pose_lightning.sweep import space

SEED: Final = "seed_everything"
OPENING: Final = ("${env}", "${interpreter}", "-m", "pose_lightning.fit")
PROGRAM: Final = "pose_lightning/fit.py"
NEEDED: Final = ("program", "command", "method", "metric", "parameters")
KEYS: Final = (*NEEDED, "name", "description", "project", "entity", "run_cap", "early_terminate")
METRIC_KEYS: Final = ("name", "goal", "target", "impute", "impute_while_running")


def fields(raw: Any) -> dict[str, Any]:
    """The fields of a `SweepFile`, of what the YAML holds.

    Raises:
        UserError: If W&B would refuse it, or it could not be run here; the message names the key.
    """
    if not isinstance(raw, Mapping):
        raise UserError("a sweep file is a mapping of program, command, method, metric and parameters")
    if foreign := [str(key) for key in raw if key not in KEYS]:
        raise UserError(f"{', '.join(foreign)} has no place here; there are {', '.join(KEYS)}")
    if missing := [key for key in NEEDED if key not in raw]:
        raise UserError(f"{' and '.join(missing)} missing")
    method = raw["method"]
    if method not in ("grid", "random", "bayes"):
        raise UserError(f"method={method}; it is grid, random or bayes")
    if raw["program"] != PROGRAM:
        raise UserError(f"program={raw['program']}; an agent of W&B wants {PROGRAM}")
    run_cap = raw.get("run_cap")
    if run_cap is not None and (type(run_cap) is not int or run_cap < 1):
        raise UserError(f"run_cap={run_cap}; it is a whole number of trials, 1 or more")
    metric, goal = _metric(raw["metric"])
    experiment, flags = _command(raw["command"])
    parameters, fixed, seeds = _parameters(raw["parameters"], method)
    return {
        "experiment": experiment,
        "flags": flags,
        "method": method,
        "metric": metric,
        "goal": goal,
        "parameters": parameters,
        "fixed": fixed,
        "seeds": seeds,
        "run_cap": run_cap,
        "early_terminate": _early_terminate(raw.get("early_terminate")),
    }


def _metric(metric: Any) -> tuple[str, Literal["minimize", "maximize"]]:
    if not isinstance(metric, Mapping) or not isinstance(metric.get("name"), str):
        raise UserError("metric is a mapping with a name and a goal")
    if foreign := [str(key) for key in metric if key not in METRIC_KEYS]:
        raise UserError(f"metric.{foreign[0]} has no place here; there are {', '.join(METRIC_KEYS)}")
    goal = metric.get("goal")
    if goal not in ("minimize", "maximize"):
        raise UserError(f"metric.goal={goal}; say minimize or maximize")
    return metric["name"], goal


def _command(command: Any) -> tuple[str, tuple[str, ...]]:
    """The experiment that a command names, and its further arguments."""
    form = " ".join([*OPENING, "--config=experiments/NAME.yaml", "[--KEY=VALUE ...]", "${args}"])
    words = [str(each) for each in command] if isinstance(command, list) else []
    named = words[len(OPENING)] if len(words) > len(OPENING) + 1 else ""
    found = re.fullmatch(r"--config=experiments/([A-Za-z0-9_]+)\.yaml", named)
    if tuple(words[: len(OPENING)]) != OPENING or words[-1:] != ["${args}"] or not found:
        raise UserError(f"command is {' '.join(words) or command}; it is {form}")
    flags = words[len(OPENING) + 1 : -1]
    for flag in flags:
        if not flag.startswith("--") or "=" not in flag or flag.startswith("--config="):
            raise UserError(f"command: {flag} is no --KEY=VALUE; it is {form}")
    return found[1], tuple(flags)


def _parameters(raw: Any, method: str) -> tuple[dict[str, dict[str, Any]], dict[str, Any], tuple[int, ...]]:
    """What varies, what is fixed, and the seeds."""
    specs = dict(space.flatten(raw))
    seeds = _seeds(specs.pop(SEED, {"value": 1}), method)
    for name, spec in specs.items():
        try:
            space.check(spec, method)
        except UserError as error:
            raise UserError(f"parameters.{name}: {error}") from None
    fixed = {name: spec["value"] for name, spec in specs.items() if "value" in spec}
    varied = {name: spec for name, spec in specs.items() if name not in fixed}
    if not varied:
        raise UserError("parameters: nothing varies; give one of them `values`")
    _check_recipes(specs.get("config"))
    return varied, fixed, seeds


def _seeds(spec: Mapping[str, Any], method: str) -> tuple[int, ...]:
    values = spec.get("values", [spec["value"]] if "value" in spec else None)
    if (
        not isinstance(values, list)
        or not values
        or any(type(each) is not int or each < 0 for each in values)
        or len(set(values)) < len(values)
    ):
        raise UserError(f"parameters.{SEED} is {dict(spec)}; give it `values`, different whole numbers from 0 up")
    if method != "grid" and len(values) > 1:
        raise UserError(f"parameters.{SEED}: method={method} would search over seeds; give it one value")
    return tuple(values)


def _check_recipes(spec: Mapping[str, Any] | None) -> None:
    """Refuse recipes that are not there, or whose names would not tell them apart."""
    if spec is None:
        return
    if "values" not in spec and "value" not in spec:
        raise UserError("parameters.config: give it `values`, YAML files")
    paths = [Path(str(each)) for each in spec.get("values", [spec.get("value")])]
    if absent := [str(path) for path in paths if not path.is_file()]:
        raise UserError(f"parameters.config: no file {', '.join(absent)}; recipes are in experiments/optimizers")
    if len({path.stem for path in paths}) < len(paths):
        raise UserError("parameters.config: two files of one name; a cell is named after its recipe")


def _early_terminate(raw: Any) -> Mapping[str, Any] | None:
    """W&B's early termination, checked."""
    if raw is None:
        return None
    known = {"type", "min_iter", "max_iter", "s", "eta", "strict"}
    if not isinstance(raw, Mapping) or raw.get("type") != "hyperband" or set(raw) - known:
        raise UserError(f"early_terminate is {raw}; it has type: hyperband, and {', '.join(sorted(known - {'type'}))}")
    for key, least in (("min_iter", 1), ("max_iter", 1), ("s", 1), ("eta", math.nextafter(1, 2))):
        value = raw.get(key, least)
        whole = key in ("min_iter", "max_iter")
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or value < least:
            raise UserError(f"early_terminate.{key}={value} is out of range")
    if type(raw.get("strict", True)) is not bool:
        raise UserError(f"early_terminate.strict={raw['strict']}; it is true or false")
    if "min_iter" not in raw and not {"max_iter", "s"} <= set(raw):
        raise UserError("early_terminate needs min_iter, or max_iter and s")
    return dict(raw)
