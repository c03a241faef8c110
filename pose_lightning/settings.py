"""Settings of a task or a data module as plain data, for checkpoints that are read without running any code."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any, Final

from pytorch_lightning.utilities.parsing import collect_init_args

STARTING_POINTS: Final = {"pretrained": False, "weights": None}
"""Settings that say where a network's weights come from, each with the value that says nowhere."""


class NotPlainError(TypeError):
    """A value that is neither a number, a text, a path nor made of them."""


def of_constructor(base: type) -> tuple[dict[str, Any], list[str]]:
    """Arguments of the constructors that are running, from the caller's up to the most derived class's, with defaults.

    Starting points are left out: a checkpoint has the weights themselves.

    Returns:
        The arguments as plain data, and the names of those that cannot be written so.
    """
    settings: dict[str, Any] = {}
    left_out = []
    for arguments in collect_init_args(sys._getframe(1), [], classes=(base,)):
        settings |= arguments
    for name in list(settings):
        try:
            settings[name] = plain(settings[name])
        except NotPlainError:
            left_out.append(name)
            del settings[name]
    return {name: value for name, value in settings.items() if name not in STARTING_POINTS}, left_out


def plain(value: Any) -> Any:
    """A setting made of dicts, lists, tuples, texts, numbers and None alone.

    Raises:
        NotPlainError: If it is something else.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, type | FunctionType | partial):
        return spec_of(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(inner) for inner in value) if type(value) in (list, tuple) else [*map(plain, value)]
    raise NotPlainError(f"{type(value).__name__} is no plain data")


def behind(maker: partial[Any]) -> Any:
    """What a partial calls; the parser calls a class through a function of its own, whose last argument it is."""
    return maker.args[-1] if maker.args else maker.func


def spec_of(maker: Any) -> dict[str, Any]:
    """The class or function behind `functools.partial`, as `class_path` and plain `init_args`.

    Starting points are left out.

    Raises:
        NotPlainError: If an argument is no plain data.
    """
    init_args: dict[str, Any] = {}
    while isinstance(maker, partial):
        init_args, maker = {**maker.keywords, **init_args}, behind(maker)
    name = f"{maker.__module__}.{getattr(maker, '__qualname__', type(maker).__qualname__)}"
    kept = {key: plain(value) for key, value in init_args.items() if key not in STARTING_POINTS}
    return {"class_path": name, "init_args": {key: _with_lists(value) for key, value in kept.items()}}


def _with_lists(value: Any) -> Any:
    """The same with lists for tuples, as JSON and YAML have it."""
    return [*map(_with_lists, value)] if isinstance(value, list | tuple) else value


def is_plain(value: Any) -> bool:
    """Whether `plain` would take a value as it is; one that holds itself it would not."""
    try:
        plain(value)
    except (NotPlainError, RecursionError):
        return False
    return True


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Names of the settings in which two mappings differ."""
    return sorted(name for name in first.keys() | second.keys() if first.get(name) != second.get(name))
