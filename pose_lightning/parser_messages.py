"""The parser's and Lightning's refusals in the user's own terms: one line, with the key, the value and the remedy."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Final

KINDS: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list",
    "tuple": "a list",
}


def closest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence that asks for the most similar name; empty where none is similar."""
    similar = difflib.get_close_matches(name, sorted(set(names)), 1)
    return f"; did you mean {similar[0]}?" if similar else ""


def explain_parser(message: str, known: Iterable[str]) -> str:
    """A refusal of jsonargparse in one line.

    Args:
        message: Its own words.
        known: Every setting that there is, such as `trainer.max_steps`.
    """
    key = ".".join(re.findall(r'[Pp]arser key "([^"]+)"', message)).replace(".init_args.", ".")
    if match := re.search(r"[Uu]nrecognized arguments: (\S+)", message):
        name = match[1].removeprefix("--").partition("=")[0]
        return f"{match[1]} is no setting{closest(name, known)}"
    if match := re.search(r"Option '([^']+)' is not accepted", message):
        name = f"{key}.{match[1]}"
        return f"{name} is no setting{closest(name, known)}"
    value = re.search(r"(?:Got|Given) value: (?!NestedArg)(.*)", message)
    if value and (match := re.search(r"Expected an? typing\.Literal\[(.*?)\]", message)):
        names = re.findall(r"'([^']*)'|(?<=, )([^',]+)|^([^',]+)", match[1])
        choices = [one or two or three for one, two, three in names]
        return f"{key}={value[1]} is not one of {', '.join(choices)}{closest(value[1], choices)}"
    if match := re.search(r"dot import path string: (.*)", message):
        return f"{key}={match[1]} names no class"
    types = [name for name in re.findall(r"Expected an? <class '(\w+)'>", message) if name != "NoneType"]
    if value and types:
        return f"{key}={value[1]} is not {' or '.join(KINDS.get(name, name) for name in dict.fromkeys(types))}"
    lines = [line.strip(" -") for line in message.splitlines() if line.strip(" -")]
    shown = [line for line in lines if not re.search(r"Union subtypes|Subtypes:|NestedArg|Errors:|--help|<class", line)]
    return " ".join(shown)


def explain_trainer(message: str, settings: Mapping[str, object]) -> str:
    """A refusal of Lightning's trainer in one line, with the settings that it names."""
    if "in callbacks list" in message:
        return (
            "trainer.callbacks has a ModelCheckpoint, but a run writes its own checkpoints; leave it out, and see "
            "checkpoint.every_n_steps and checkpoint.follow"
        )
    text = re.sub(r"\s+", " ", message.replace("`", ""))
    named = [key for key in settings if re.search(rf"\b{key}\b", text)]
    if "backend found" in text:
        named = ["accelerator"]
    values = ", ".join(f"trainer.{key}={settings[key]}" for key in named)
    return f"{values or 'trainer'}: {text}"
