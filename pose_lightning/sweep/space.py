"""What a parameter of a sweep may be: W&B's distributions, their grids, and how Optuna draws from them.

Optuna draws uniformly, by logarithm or by choice. Every other distribution of W&B is drawn as a quantile: a number from
0 to 1, of which the inverse of the distribution function makes the value, as W&B's own engine does.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from scipy import stats

from pose_lightning.errors import UserError

_BOUNDS: Final = ("min", "max")

DISTRIBUTIONS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = MappingProxyType(
    {
        "constant": (("value",), ()),
        "categorical": (("values",), ()),
        "categorical_w_probabilities": (("values", "probabilities"), ()),
        "int_uniform": (_BOUNDS, ()),
        "uniform": (_BOUNDS, ()),
        "q_uniform": (_BOUNDS, ("q",)),
        "log_uniform": (_BOUNDS, ()),
        "log_uniform_values": (_BOUNDS, ()),
        "q_log_uniform": (_BOUNDS, ("q",)),
        "q_log_uniform_values": (_BOUNDS, ("q",)),
        "inv_log_uniform": (_BOUNDS, ()),
        "inv_log_uniform_values": (_BOUNDS, ()),
        "normal": ((), ("mu", "sigma")),
        "q_normal": ((), ("mu", "sigma", "q")),
        "log_normal": ((), ("mu", "sigma")),
        "q_log_normal": ((), ("mu", "sigma", "q")),
        "beta": ((), ("a", "b")),
        "q_beta": ((), ("a", "b", "q")),
    }
)
"""W&B's name -> the keys that it needs, and those that it may have."""

_DEFAULTS: Final[Mapping[str, float]] = MappingProxyType({"mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0, "q": 1})
_POSITIVE: Final = ("log_uniform_values", "q_log_uniform_values", "inv_log_uniform_values")
_INSIDE: Final = 1e-9
"""A quantile's distance from 0 and 1, where a normal distribution has no value."""


def flatten(parameters: Any, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each parameter by its dotted name: `model: {parameters: {lr: ...}}` is `model.lr`.

    Raises:
        UserError: If a parameter is no mapping, or one name is said twice.
    """
    if not isinstance(parameters, Mapping) or not parameters:
        raise UserError(f"parameters{prefix and '.'}{prefix.rstrip('.')} is {parameters}; it maps names to what varies")
    seen: set[str] = set()
    for key, spec in parameters.items():
        name = f"{prefix}{key}"
        if not isinstance(spec, Mapping):
            raise UserError(f"parameters.{name} is {spec!r}; write {{value: {spec}}} or {{values: [...]}}")
        nested = set(spec) == {"parameters"}
        for inner, found in flatten(spec["parameters"], f"{name}.") if nested else [(name, dict(spec))]:
            if inner in seen:
                raise UserError(f"parameters.{inner} is said twice")
            seen.add(inner)
            yield inner, found


def kind(spec: Mapping[str, Any]) -> str:
    """W&B's name of a parameter's distribution, where it is left out too."""
    if "distribution" in spec:
        return str(spec["distribution"])
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical_w_probabilities" if "probabilities" in spec else "categorical"
    return "int_uniform" if all(type(spec.get(bound)) is int for bound in _BOUNDS) else "uniform"


def check(spec: Mapping[str, Any], method: str) -> None:
    """Refuse what W&B would refuse, and what would not arrive as it was meant.

    Raises:
        UserError: With the reason.
    """
    name = kind(spec)
    if name not in DISTRIBUTIONS:
        raise UserError(f"distribution={name}; there are {', '.join(DISTRIBUTIONS)}")
    needed, optional = DISTRIBUTIONS[name]
    keys = set(spec) - {"distribution"}
    if missing := [key for key in needed if key not in keys]:
        raise UserError(f"{name} needs {' and '.join(missing)}")
    if foreign := sorted(keys - {*needed, *optional}):
        raise UserError(f"{name} has no {', '.join(foreign)}; it has {', '.join(needed + optional) or 'nothing'}")
    if name in ("constant", "categorical", "categorical_w_probabilities"):
        _check_values(spec, name)
    else:
        _check_numbers(spec, name)
    if method == "grid" and name not in ("constant", "categorical", "int_uniform", "q_uniform"):
        raise UserError(f"a grid has no {name}; give `values`")


def _check_values(spec: Mapping[str, Any], name: str) -> None:
    values = spec.get("values", [spec.get("value")])
    if not isinstance(values, list) or not values:
        raise UserError(f"values={values}; it is a list of at least one")
    for value in values:
        if value is None:
            raise UserError("null reaches the trial as the text None; leave it to a YAML layer, as recipes do")
        if isinstance(value, str) and _is_number(value):
            raise UserError(f"{value!r} is text to YAML; write the number with a point, such as 1.0e-3")
    if len({json.dumps(value, sort_keys=True) for value in values}) < len(values):
        raise UserError(f"values={values} has one of them twice")
    if name == "categorical_w_probabilities":
        chances = spec["probabilities"]
        if (
            not isinstance(chances, list)
            or len(chances) != len(values)
            or any(not _number(each) or each < 0 for each in chances)
            or not math.isclose(sum(chances), 1.0, rel_tol=1e-5, abs_tol=1e-8)
        ):
            raise UserError(f"probabilities={chances}; they are one for each of the values, and sum to 1")


def _check_numbers(spec: Mapping[str, Any], name: str) -> None:
    for key in set(spec) - {"distribution"}:
        if not _number(spec[key]) or (name == "int_uniform" and type(spec[key]) is not int):
            raise UserError(f"{key}={spec[key]!r} is no {'whole ' if name == 'int_uniform' else ''}number")
    low, high = spec.get("min", 0), spec.get("max", 1)
    if low >= high:
        raise UserError(f"min={low} is not below max={high}")
    if name in _POSITIVE and low <= 0:
        raise UserError(f"min={low} is out of range; {name} starts above 0")
    if spec.get("q", 1) <= 0:
        raise UserError(f"q={spec['q']} is out of range; it is above 0")
    for key in ("sigma", "a", "b"):
        if spec.get(key, 1) <= 0:
            raise UserError(f"{key}={spec[key]} is out of range; it is above 0")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def grid_values(spec: Mapping[str, Any]) -> list[Any]:
    """What a grid takes of a parameter; `q_uniform` ends before its maximum, as W&B's own engine does."""
    name = kind(spec)
    if name == "int_uniform":
        return list(range(spec["min"], spec["max"] + 1))
    if name == "q_uniform":
        step = spec.get("q", _DEFAULTS["q"])
        steps = (spec["min"] + place * step for place in itertools.count())
        return list(itertools.takewhile(lambda value: value < spec["max"] - 1e-9 * step, steps))
    return list(spec["values"])


def holds(spec: Mapping[str, Any], value: Any) -> bool:
    """Whether a value may be a parameter's: one of a list, or a number."""
    if "values" in spec:
        return _choice(value) in map(_choice, spec["values"])
    return type(value) is int if kind(spec) == "int_uniform" else _number(value)


def distribution(spec: Mapping[str, Any]) -> BaseDistribution:
    """What Optuna draws for a parameter; `decode` makes its value of it."""
    name = kind(spec)
    if name == "categorical":
        return CategoricalDistribution([_choice(value) for value in spec["values"]])
    if name == "int_uniform":
        return IntDistribution(spec["min"], spec["max"])
    if name == "uniform":
        return FloatDistribution(spec["min"], spec["max"])
    if name in ("log_uniform_values", "inv_log_uniform_values"):
        return FloatDistribution(spec["min"], spec["max"], log=True)
    if name in ("log_uniform", "inv_log_uniform"):
        low, high = sorted(math.exp(spec[bound] if name == "log_uniform" else -spec[bound]) for bound in _BOUNDS)
        return FloatDistribution(low, high, log=True)
    return FloatDistribution(0.0, 1.0)


def decode(spec: Mapping[str, Any], drawn: Any) -> Any:
    """The parameter's value, of what Optuna drew."""
    name = kind(spec)
    if name == "categorical":
        return next(value for value in spec["values"] if _choice(value) == drawn)
    if distribution(spec) != FloatDistribution(0.0, 1.0) or name == "uniform":
        return drawn
    if name == "categorical_w_probabilities":
        ends = itertools.accumulate(spec["probabilities"])
        return next((value for value, end in zip(spec["values"], ends, strict=True) if drawn < end), spec["values"][-1])
    value = float(_inverse(spec, name).ppf(min(max(drawn, _INSIDE), 1 - _INSIDE)))
    if not name.startswith("q_"):
        return value
    step = spec.get("q", _DEFAULTS["q"])
    rounded = round(value / step) * step
    return int(rounded) if isinstance(step, int) else rounded


def _choice(value: Any) -> Any:
    """What stands for a value in Optuna's storage, which keeps numbers and texts only."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, sort_keys=True)


def _inverse(spec: Mapping[str, Any], name: str) -> Any:
    """The distribution, with its inverse, before rounding to `q`."""
    setting = {key: spec.get(key, default) for key, default in _DEFAULTS.items()}
    shape = name.removeprefix("q_")
    if shape == "uniform":
        return stats.uniform(spec["min"], spec["max"] - spec["min"])
    if shape == "log_uniform":
        return stats.loguniform(math.exp(spec["min"]), math.exp(spec["max"]))
    if shape == "log_uniform_values":
        return stats.loguniform(spec["min"], spec["max"])
    if shape == "normal":
        return stats.norm(setting["mu"], setting["sigma"])
    if shape == "log_normal":
        return stats.lognorm(s=setting["sigma"], scale=math.exp(setting["mu"]))
    return stats.beta(setting["a"], setting["b"])
