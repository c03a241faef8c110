"""What an exported file says of itself: text by key, each value JSON, in every format alike."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from pose_lightning import kinds
from pose_lightning.errors import UserError
from pose_lightning.exported import rules
from pose_lightning.exported.rules import AGAIN, Rule

LAYOUT: Final = 2
"""Of what is said; a reader refuses another one."""

MARK: Final = "pose_lightning"
"""The key of the layout."""

MOST_AXES: Final = 8
"""Of an input or an output."""

LARGEST_AXIS: Final = 2**31 - 1


@dataclass(frozen=True)
class Tensor:
    """An input or an output.

    Attributes:
        name: In the file.
        shape: Without the batch, which comes first and may have any size.
        values: What they are, their range and unit; always float32.
    """

    name: str
    shape: tuple[int, ...]
    values: str

    def __str__(self) -> str:
        """As messages show it, such as `image (batch, 3, 64, 64) float32`."""
        return f"{self.name} ({', '.join(map(str, ('batch', *self.shape)))}) float32"

    @classmethod
    def from_json(cls, said: Any, key: str, path: Path) -> "Tensor":
        """What `asdict` made of it.

        Raises:
            UserError: If it is something else.
        """
        found = {f"{key} {each}": said[each] for each in AXES if each in said}
        rules.check(path, found, {f"{key} {each}": rule for each, rule in AXES.items()})
        return cls(said["name"], tuple(said["shape"]), said["values"])


AXES: Final[Mapping[str, Rule]] = {
    "name": rules.TEXT,
    "shape": Rule(
        f"a list of 1 to {MOST_AXES} sizes",
        lambda value: (
            isinstance(value, list)
            and 1 <= len(value) <= MOST_AXES
            and all(map(rules.whole(1, LARGEST_AXIS).holds, value))
        ),
    ),
    "values": rules.TEXT,
}
"""Of an input or an output, what each fact may be."""


@dataclass(frozen=True)
class Facts:
    """What an exported network is, and what must be known to ask it.

    Attributes:
        task: What it was trained for, a `Kind.name`.
        experiment: The run's.
        checkpoint: Name of the file that the weights are from.
        step: Optimizer steps behind them.
        synthetic: Whether it was trained on drawn data; None where the stores are gone and nobody knows.
        input: What it takes.
        output: What it gives.
        details: Of the task; `OnnxEstimator.wanted` of its `exported` says them all.
        model: The run's settings of the network, without the weights that it started from.
        package_version: Of this package.
    """

    task: str
    experiment: str
    checkpoint: str
    step: int
    synthetic: bool | None
    input: Tensor
    output: Tensor
    details: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    package_version: str = ""

    @property
    def stated(self) -> Mapping[str, Any]:
        """The details, beside them `input shape` and `output shape`: what a task's rules are about."""
        return {**self.details, "input shape": self.input.shape, "output shape": self.output.shape}

    def to_metadata(self) -> dict[str, str]:
        """Text by key."""
        return {key: json.dumps(value, allow_nan=False) for key, value in {MARK: LAYOUT, **asdict(self)}.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> "Facts":
        """What `to_metadata` wrote.

        Raises:
            UserError: If it is not there, is damaged, of another layout, or no such facts.
        """
        if MARK not in metadata:
            raise UserError(f"{path} does not say what it is, as an exported run does; {AGAIN}")
        try:
            found = {key: json.loads(metadata[key]) for key in (MARK, "task", *RULES) if key in metadata}
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: what it says of itself is damaged ({error!r}); {AGAIN}") from error
        layout = found.pop(MARK)
        rules.check(path, {MARK: layout}, {MARK: rules.whole(1, LARGEST_AXIS)})
        if layout > LAYOUT:
            raise UserError(f"{path} has layout {layout}, which is newer than this package's {LAYOUT}; update it")
        if layout < LAYOUT:
            raise UserError(f"{path} was written by an earlier version of this package; {AGAIN}")
        rules.check(path, found, {"task": rules.one_of([kind.name for kind in kinds.KINDS]), **RULES})
        for key in ("input", "output"):
            found[key] = Tensor.from_json(found[key], key, path)
        return cls(**found)


RULES: Final[Mapping[str, Rule]] = {
    "experiment": rules.TEXT,
    "checkpoint": rules.TEXT,
    "step": rules.whole(0, 2**63 - 1),
    "synthetic": rules.optional(rules.YES_OR_NO),
    "input": rules.SETTINGS,
    "output": rules.SETTINGS,
    "details": rules.SETTINGS,
    "model": rules.SETTINGS,
    "package_version": rules.TEXT,
}
"""What each fact but the task may be; the details are checked where they are used."""
