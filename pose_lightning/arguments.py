"""Command lines and layers of YAML as people and a sweep's agent write them, in the form that the parser wants."""

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pose_lightning import kinds
from pose_lightning.reading.configs import parse_yaml, read_yaml
from pose_lightning.reading.raw import is_file

GROUPS: Final = ("--model", "--data", "--trainer", "--checkpoint", "--budget", "--wandb")
"""Settings that nested parameters of a sweep may lie in."""


def arrange(args: Sequence[str]) -> list[str]:
    """The same arguments, YAMLs first, and classes before their settings.

    `--model={'lr': 0.1}`, as nested parameters arrive, becomes `--model.lr=0.1`; short names of classes, such as
    `model.network=hourglass`, become their full ones.

    Raises:
        UserError: If such a mapping, or a YAML, cannot be read.
    """
    configs: list[str] = []
    others: list[str] = []
    words = iter(args)
    for word in words:
        key, equals, value = word.partition("=")
        if key == "--config":
            configs.append(f"--config={_layer(value if equals else next(words, ''))}")
        elif key in GROUPS and value.startswith("{"):
            others += _spread(key, _read(word, value))
        elif key in _class_flags() and not equals:
            others.append(f"{word}={next(words, '')}")
        else:
            others.append(word)
    others = [_with_full_name(word) for word in others]
    first = {"--model": 0, **dict.fromkeys(_class_flags(), 1)}
    return [*configs, *sorted(others, key=lambda word: first.get(word.partition("=")[0], 2) if "=" in word else 2)]


def first_name(args: Sequence[str]) -> str | None:
    """The name of the first YAML's file, by which a run is called."""
    files = [
        value if equals else following
        for word, following in itertools.pairwise([*args, ""])
        for key, equals, value in [word.partition("=")]
        if key == "--config"
    ]
    return Path(files[0]).stem if files and "\n" not in files[0] else None


def names(args: Sequence[str]) -> set[str]:
    """The settings that flags name, such as `trainer.max_steps`."""
    return {arg.partition("=")[0].removeprefix("--") for arg in args if arg.startswith("--")}


def _named() -> Mapping[str, Mapping[str, str]]:
    """By setting, short names of classes and their full ones, of all tasks."""
    return {setting: classes for kind in kinds.KINDS for setting, classes in kind.named.items()}


def _class_flags() -> set[str]:
    return {f"--model.{setting}" for setting in _named()}


def _with_full_name(word: str) -> str:
    key, equals, value = word.partition("=")
    if not equals or key not in _class_flags():
        return word
    classes = _named()[key.removeprefix("--model.")]
    if value.startswith("{"):
        return f"{key}={json.dumps(_full(_read(word, value), classes))}"
    return f"{key}={classes.get(value, value)}"


def _full(value: Any, classes: Mapping[str, str]) -> Any:
    """A class with its full name: `hourglass`, or a mapping whose `class_path` that is."""
    if isinstance(value, str):
        return {"class_path": classes.get(value, value)}
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        return {**value, "class_path": classes.get(value["class_path"], value["class_path"])}
    return value


def _layer(text: str) -> str:
    """A YAML's file name; its content where that has short names of classes."""
    if "\n" in text or not is_file(Path(text)):
        return text
    content = read_yaml(Path(text), own=True)
    model = content.get("model") if isinstance(content, dict) else None
    settings = model.get("init_args") if isinstance(model, dict) else None
    if not (isinstance(content, dict) and isinstance(model, dict) and isinstance(settings, dict)):
        return text
    full = {
        setting: _full(settings[setting], classes)
        for setting, classes in _named().items()
        if settings.get(setting) is not None
    }
    if all(settings[setting] == value for setting, value in full.items()):
        return text
    return json.dumps({**content, "model": {**model, "init_args": {**settings, **full}}}) + "\n"


def _read(word: str, text: str) -> Any:
    return parse_yaml(text, word, own=True)


def _spread(key: str, value: Any) -> list[str]:
    """A flag for every value below `key`; a class with its arguments stays together."""
    if not isinstance(value, dict) or "class_path" in value:
        return [f"{key}={value}"]
    return [flag for inner, below in value.items() for flag in _spread(f"{key}.{inner}", below)]
