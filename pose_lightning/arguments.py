"""Command lines as a sweep's agent writes them, in the order and the form that the parser wants."""

import itertools
from collections.abc import Sequence
from typing import Any, Final

from pose_lightning.reading.configs import parse_yaml

GROUPS: Final = ("--model", "--data", "--trainer", "--checkpoint", "--budget", "--wandb")
"""Settings that nested parameters of a sweep may lie in."""


def arrange(args: Sequence[str]) -> list[str]:
    """The same arguments, YAMLs first; `--model={'lr': 0.1}`, as nested parameters arrive, becomes `--model.lr=0.1`.

    Raises:
        UserError: If such a mapping cannot be read.
    """
    configs: list[str] = []
    others: list[str] = []
    words = iter(args)
    for word in words:
        key, equals, value = word.partition("=")
        if key == "--config":
            configs += [word] if equals else [word, *itertools.islice(words, 1)]
        elif key in GROUPS and value.startswith("{"):
            others += _spread(key, _read(word, value))
        else:
            others.append(word)
    return [*configs, *others]


def names(args: Sequence[str]) -> set[str]:
    """The settings that flags name, such as `trainer.max_steps`."""
    return {arg.partition("=")[0].removeprefix("--") for arg in args if arg.startswith("--")}


def _read(word: str, text: str) -> Any:
    return parse_yaml(text, word, own=True)


def _spread(key: str, value: Any) -> list[str]:
    """A flag for every value below `key`; a class with its arguments stays together."""
    if not isinstance(value, dict) or "class_path" in value:
        return [f"{key}={value}"]
    return [flag for inner, below in value.items() for flag in _spread(f"{key}.{inner}", below)]
