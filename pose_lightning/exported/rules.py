"""What the facts beside an exported network may be; the file may be damaged, changed, or of someone with bad intent."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pose_lightning.errors import UserError

AGAIN: Final = "write it with `python -m pose_lightning.export RUN_DIR`"

SHOWN: Final = 80
"""Characters of a wrong value in a message."""


@dataclass(frozen=True)
class Rule:
    """A rule for one fact.

    Attributes:
        wanted: In words.
        holds: Of any value that JSON has.
    """

    wanted: str
    holds: Callable[[Any], bool]


def check(path: Path, found: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Refuse a file that lacks a fact, or says it otherwise than its rule wants.

    Raises:
        UserError: If it does; the message names the first such fact.
    """
    if missing := [key for key in rules if key not in found]:
        raise UserError(f"{path}: what it says of itself lacks {', '.join(missing)}; {AGAIN}")
    for key, rule in rules.items():
        if not rule.holds(found[key]):
            said = repr(found[key])
            said = said if len(said) <= SHOWN else f"{said[: SHOWN - 3]}..."
            raise UserError(f"{path} says that its {key} is {said}; wanted {rule.wanted}; {AGAIN}")


TEXT: Final = Rule("text of one line", lambda value: isinstance(value, str) and value.isprintable())

YES_OR_NO: Final = Rule("true or false", lambda value: isinstance(value, bool))

SETTINGS: Final = Rule("an object with names", lambda value: isinstance(value, Mapping))


def whole(low: int, high: int) -> Rule:
    """A whole number in a range that has both its ends."""
    return Rule(
        f"a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def above(low: float, high: float) -> Rule:
    """A number in a range without its lower end."""
    return Rule(f"a number above {low:g} and up to {high:g}", lambda value: is_number(value) and low < value <= high)


def between(low: float, high: float) -> Rule:
    """A number in a range that has both its ends."""
    return Rule(f"a number from {low:g} to {high:g}", lambda value: is_number(value) and low <= value <= high)


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def exactly(wanted: Any) -> Rule:
    """One value and no other."""
    return Rule(repr(wanted), lambda value: type(value) is type(wanted) and value == wanted)


def one_of(names: Sequence[str]) -> Rule:
    """One of several names."""
    return Rule(f"one of {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


def some_of(names: Sequence[str]) -> Rule:
    """Any of several names, or none of them."""
    return Rule(
        f"a list of some of {', '.join(names)}",
        lambda value: isinstance(value, list) and all(isinstance(each, str) and each in names for each in value),
    )


def names(count: int) -> Rule:
    """A list of so many names, each once."""
    return Rule(
        f"a list of {count} names, each once",
        lambda value: (
            isinstance(value, list)
            and all(isinstance(each, str) for each in value)
            and len(value) == len(set(value)) == count
        ),
    )


def optional(rule: Rule) -> Rule:
    """The same, or null."""
    return Rule(f"{rule.wanted}, or null", lambda value: value is None or rule.holds(value))
