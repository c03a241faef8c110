"""Reading YAML as plain data: no code runs, and neither size, depth nor references can grow without bound."""

from pathlib import Path
from typing import Any, Final

import yaml

from pose_lightning.errors import UserError
from pose_lightning.reading import raw

LARGEST: Final = raw.MIB
"""Bytes of a YAML file; the configuration of a run has some 4 KB."""

DEEPEST: Final = 40
"""Mappings and lists inside each other; the deepest configuration has some 8."""

MOST_NODES: Final = 100_000
"""Values, mappings and lists of a file, each as often as references repeat it."""

LONGEST_WORD: Final = 4_000
"""Characters of a value without quotes, which may be a number: those are slow to read when they are long."""

PLAIN_TAGS: Final = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))
"""Tags that a person's own file may have."""

_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _StrictLoader(_Loader):  # type: ignore[misc]
    """Refuses a key that stands twice, of which PyYAML would take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key.value, str):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, *, own: bool, error: type[UserError] = UserError) -> Any:
    """The value of a YAML file.

    Args:
        path: The file.
        own: Whether the person wrote it who gives the command: it may have some anchors, aliases and merge keys. Files
            of runs and sweeps, which travel, have none.
        error: Class of the error.

    Raises:
        UserError: If it is no regular file, no YAML in UTF-8, too large or too deep, or has tags or references.
    """
    return parse_yaml(raw.read_text(path, LARGEST, error=error), raw.shortened(path), own=own, error=error)


def parse_yaml(text: str, name: str, *, own: bool, error: type[UserError] = UserError) -> Any:
    """The value of YAML text, as `read_yaml`; `name` is that of its file."""
    try:
        if fault := _fault(text, own=own):
            raise error(f"{name} is not read: {fault}")
        return yaml.load(text, Loader=_Loader if own else _StrictLoader)  # noqa: S506 - both are safe
    except UserError:
        raise
    except (
        yaml.YAMLError,
        ValueError,
        OverflowError,
        RecursionError,
    ) as reason:  # ValueError: 2026-02-30, long numbers
        raise error(f"{name} is no YAML, or damaged: {' '.join(str(reason).split())}") from None


def _fault(text: str, *, own: bool) -> str | None:
    """The reason to refuse YAML text before any value is made of it."""
    if len(text) > LARGEST:
        return f"it has more than {LARGEST:,} characters"
    size = _Size()
    event: Any
    for event in yaml.parse(text, Loader=_Loader):
        fault = _own_fault(event) if own else _foreign_fault(event)
        if fault := fault or size.add(event):
            return f"line {event.start_mark.line + 1} {fault}"
    return None


def _own_fault(event: Any) -> str | None:
    if getattr(event, "tag", None) is not None and event.tag not in PLAIN_TAGS:
        return f"has the tag {event.tag[:80]!r}; only plain values are allowed"
    return None


def _foreign_fault(event: Any) -> str | None:
    if getattr(event, "tag", None) is not None:
        return f"has the tag {event.tag[:80]!r}; only plain values are allowed"
    if getattr(event, "anchor", None) is not None:
        return f"has the anchor or alias {event.anchor[:40]!r}; write the values out"
    if isinstance(event, yaml.ScalarEvent) and not event.style and event.value == "<<":
        return "has a merge key (<<); write the values out"
    return None


class _Size:
    """Counts values as often as aliases repeat them, and how deep they lie."""

    def __init__(self) -> None:
        self.total = 0
        self.open: list[tuple[str | None, int]] = []
        self.sizes: dict[str, int] = {}

    def add(self, event: Any) -> str | None:
        """Count an event; returns the reason to refuse it."""
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.sizes:
                return f"has the alias {str(event.anchor)[:40]!r}, which refers to what is not complete, or nowhere"
            self.total += self.sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            if not event.style and len(event.value) > LONGEST_WORD:
                return f"has a value of {len(event.value):,} characters without quotes"
            self.total += 1
            self._close(event.anchor, self.total - 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.open.append((event.anchor, self.total))
            self.total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(*self.open.pop())
        if len(self.open) > DEEPEST:
            return f"is nested deeper than {DEEPEST} levels"
        if self.total > MOST_NODES:
            return f"exceeds {MOST_NODES:,} values, those counted that aliases repeat"
        return None

    def _close(self, anchor: str | None, before: int) -> None:
        if anchor is not None:
            self.sizes[anchor] = self.total - before
