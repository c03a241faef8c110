"""A sweep file: one W&B sweep YAML that names one experiment, and what varies over it."""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import optuna

from pose_lightning.errors import UserError
from pose_lightning.reading.configs import LARGEST, parse_yaml
from pose_lightning.reading.raw import read_text, shortened
from pose_lightning.sweep import schema, space
from pose_lightning.sweep.schema import OPENING, SEED

TUNING: Final = 100
"""Seeds from here on are for choosing rates; those below are for comparing what was chosen."""

DEMO_SIZED: Final = ("budget.", "model.warmup", "model.milestones", "model.step_every", "model.schedule_total")
"""Fixed parameters that count samples: a demo layer has its own."""

LONGEST: Final = 100
"""Characters of a cell's name, before what tells long names apart."""


@dataclass(frozen=True)
class Cell:
    """One combination of the varied parameters, without the seed.

    Attributes:
        name: Safe in a file system, and the same for the same values in every process.
        values: By dotted name, in the file's order.
    """

    name: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class SweepFile:
    """What a sweep file says.

    Attributes:
        path: The file.
        text: What it holds, to the letter.
        name: Its stem, which names the sweep.
        experiment: The experiment that its command names, as a file of `experiments/`.
        flags: Further arguments of its command, the same for every trial.
        method: How combinations are chosen.
        metric: Logged name of what is compared.
        goal: Whether less or more of it is better.
        parameters: What varies, by dotted name in the file's order, each as W&B writes it; without the seed.
        fixed: Parameters that have a single value.
        seeds: Values of `seed_everything`; every cell runs with each.
        run_cap: At most so many trials.
        early_terminate: W&B's early termination, as written.
    """

    path: Path
    text: str
    name: str
    experiment: str
    flags: tuple[str, ...]
    method: Literal["grid", "random", "bayes"]
    metric: str
    goal: Literal["minimize", "maximize"]
    parameters: Mapping[str, Mapping[str, Any]]
    fixed: Mapping[str, Any]
    seeds: tuple[int, ...]
    run_cap: int | None
    early_terminate: Mapping[str, Any] | None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a sweep file.

        Raises:
            UserError: If it is missing, W&B would refuse it, or it says what cannot be run here; the message names the
                key.
        """
        if not os.path.lexists(path):
            there = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
            raise UserError(f"no sweep file {shortened(path)}; there are {there}")
        text = read_text(path, LARGEST)
        raw = parse_yaml(text, str(path), own=True)
        try:
            return cls(path=path, text=text, name=path.stem, **schema.fields(raw))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    @property
    def kind(self) -> str:
        """Which question it asks: with the source's settings, or with rates tuned alike for every group."""
        return "tuned" if self.tuning_seeds else "as the source ran it"

    @property
    def tuning_seeds(self) -> tuple[int, ...]:
        """Seeds that rates are chosen on."""
        return tuple(seed for seed in self.seeds if seed >= TUNING)

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """Seeds that are compared."""
        return tuple(seed for seed in self.seeds if seed < TUNING)

    def cells(self) -> list[Cell]:
        """Every combination of a grid, in the file's order: the last parameter varies fastest."""
        if self.method != "grid":
            raise UserError(f"{self.path}: method={self.method} has no list of cells; only a grid does")
        choices = [space.grid_values(spec) for spec in self.parameters.values()]
        return [self.cell(dict(zip(self.parameters, each, strict=True))) for each in itertools.product(*choices)]

    def cell(self, values: Mapping[str, Any]) -> Cell:
        """The cell of one combination of values, whatever their order.

        Raises:
            UserError: If they are not the values of this sweep's parameters.
        """
        if set(values) != set(self.parameters):
            raise UserError(f"{self.path} varies {', '.join(self.parameters)}, not {', '.join(values) or 'nothing'}")
        ordered = {name: values[name] for name in self.parameters}
        short = [name.rpartition(".")[2] for name in ordered]
        parts, exact = [], True
        for (name, value), last in zip(ordered.items(), short, strict=True):
            text = Path(value).stem if name == "config" else _readable(value)
            exact &= [_readable(each) for each in self.parameters[name].get("values", [value])].count(text) <= 1
            parts.append(text if name == "config" else f"{last if short.count(last) == 1 else name}={text}")
        label = "-".join(parts)
        if not exact or len(label) > LONGEST:
            told = json.dumps(ordered, sort_keys=True).encode()
            label = f"{label[:LONGEST]}-{hashlib.sha256(told).hexdigest()[:8]}"
        return Cell(label, ordered)

    def holds(self, cell: str, seed: int, values: Mapping[str, Any]) -> bool:
        """Whether this sweep can have made a trial, whose values become flags and whose cell a folder."""
        if seed not in self.seeds or set(values) != set(self.parameters):
            return False
        fits = all(space.holds(spec, values[name]) for name, spec in self.parameters.items())
        return fits and self.cell(values).name == cell

    def arguments(self, values: Mapping[str, Any], seed: int, layers: Sequence[str]) -> list[str]:
        """The arguments of `fit` for one trial: YAMLs from the general to the special, then flags.

        Args:
            values: Of the varied parameters.
            seed: The trial's.
            layers: What `demo.layers` returns: the experiment, and its demo layers where they are laid over.
        """
        everything = {**self._fixed(layers), **values}
        configs = [each for each in layers if each.startswith("--config=")]
        rest = [each for each in layers if not each.startswith("--config=")]
        recipe = [f"--config={everything.pop('config')}"] if "config" in everything else []
        flags = [f"--{name}={value}" for name, value in everything.items()]
        return [*configs, *recipe, *rest, *self.flags, *flags, f"--{SEED}={seed}"]

    def document(self, layers: Sequence[str]) -> dict[str, Any]:
        """The sweep as a W&B server takes it, with the experiment's demo layers in its command where they are."""
        raw: dict[str, Any] = parse_yaml(self.text, str(self.path), own=True)
        raw["command"] = [*OPENING, *layers, *self.flags, "${args}"]
        kept = self._fixed(layers)
        raw["parameters"] = {
            **({SEED: {"values": list(self.seeds)}}),
            **{name: {"value": value} for name, value in kept.items()},
            **{name: dict(spec) for name, spec in self.parameters.items()},
        }
        return {"name": self.name, **raw}

    def distributions(self) -> dict[str, optuna.distributions.BaseDistribution]:
        """What Optuna draws for each varied parameter; `decode` makes values of it."""
        return {name: space.distribution(spec) for name, spec in self.parameters.items()}

    def decode(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters' values, of what Optuna drew."""
        return {name: space.decode(spec, drawn[name]) for name, spec in self.parameters.items()}

    def _fixed(self, layers: Sequence[str]) -> dict[str, Any]:
        """The fixed parameters; a demo layer has a budget and a schedule of its own size."""
        demo = sum(each.startswith("--config=") for each in layers) > 1
        return {name: value for name, value in self.fixed.items() if not (demo and name.startswith(DEMO_SIZED))}


def _readable(value: Any) -> str:
    """A value in a file's name; two values may come to the same."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_readable(each)}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(_readable(each) for each in value)
    return re.sub(r"[^A-Za-z0-9_.+]", "_", value) if isinstance(value, str) else str(value)
