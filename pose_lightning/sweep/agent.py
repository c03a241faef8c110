"""One trial, as an agent of a W&B server starts it: it hands over values, and they become a trial like any other.

The sweep that `server` registers has this as its command:

    python -m pose_lightning.sweep.agent SWEEP.yaml --folder=DIR --devices=N [--retry=N] [--timeout=SECONDS] \
        -- LAYER ... -- ${args}
"""

import argparse
import importlib
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pose_lightning import cli, trust
from pose_lightning.errors import UserError
from pose_lightning.reading.raw import is_file
from pose_lightning.runs import revision
from pose_lightning.sweep import space
from pose_lightning.sweep.files import Cell, SweepFile
from pose_lightning.sweep.limits import Limits
from pose_lightning.sweep.records import read_trial
from pose_lightning.sweep.runner import Command, Outcome
from pose_lightning.sweep.schema import SEED
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.stopping import told_to_stop
from pose_lightning.sweep.study import Entry, State
from pose_lightning.sweep.trials import Process, TrialFolder, complaint
from pose_lightning.terminal import say
from pose_lightning.trust import Trust

IDENTITY: Final = ("WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH")
"""What an agent tells its trial, in the environment."""

LIMITS: Final = "POSE_LIGHTNING_AGENT_LIMITS"
"""Environment variable of agents: `--retry` and `--timeout` in place of those that the sweep was registered with."""


@dataclass(frozen=True)
class Order:
    """What an agent of the W&B server wants to be run.

    Attributes:
        file: The sweep.
        folder: Of the sweep on this machine.
        devices: Processes of the trial.
        layers: The experiment and its demo layer.
        cell: Which combination.
        seed: Which seed.
        limits: How often it is run again where it fails, and how long an attempt may take.
        trusted: Arguments that hand the sweep's trust to the trial.
    """

    file: SweepFile
    folder: Path
    devices: int
    layers: Sequence[str]
    cell: Cell
    seed: int
    limits: Limits = field(default_factory=Limits)
    trusted: Sequence[str] = ()

    @classmethod
    def read(cls, args: Sequence[str]) -> "Order":
        """Read the command line that the agent has made.

        Raises:
            UserError: If the values are not the sweep's.
        """
        first = list(args).index("--")
        second = list(args).index("--", first + 1)
        parser = argparse.ArgumentParser(prog="python -m pose_lightning.sweep.agent")
        parser.add_argument("file", type=Path)
        parser.add_argument("--folder", type=Path, required=True)
        parser.add_argument("--devices", type=int, default=1)
        parser.add_argument("--retry", type=int, default=0)
        parser.add_argument("--timeout", type=float)
        trust.add_argument(parser)
        options = parser.parse_args([*args[:first], *os.environ.get(LIMITS, "").split()])
        file = SweepFile.read(options.file)
        given = dict(flag.removeprefix("--").split("=", 1) for flag in args[second + 1 :])
        seed = int(given.pop(SEED, file.seeds[0]))
        values = {name: value(file.parameters[name], given[name]) for name in given if name in file.parameters}
        trusted = Trust.of("sweep", [], options.trust).flags
        limits, layers = Limits(retry=options.retry, timeout=options.timeout), args[first + 1 : second]
        return cls(file, options.folder, options.devices, layers, file.cell(values), seed, limits, trusted)

    @property
    def place(self) -> TrialFolder:
        """The trial's directory."""
        return TrialFolder(self.folder / "trials" / self.cell.name / str(self.seed))


def value(spec: Mapping[str, Any], text: str) -> Any:
    """The value of a parameter that the agent has written as `text`; it may have come as 1 where the file has 1.0.

    Raises:
        UserError: If the parameter has no such value.
    """
    if "values" in spec:
        found = [each for each in spec["values"] if str(each) == text]
        found += [each for each in spec["values"] if _same_number(each, text)]
        if not found:
            raise UserError(f"the server sent {text}, which is none of {spec['values']}: its sweep is of another file")
        return found[0]
    number = float(text)
    whole = space.kind(spec) == "int_uniform" or (
        space.kind(spec).startswith("q_") and isinstance(spec.get("q", 1), int)
    )
    return round(number) if whole else number


def _same_number(known: Any, text: str) -> bool:
    try:
        return not isinstance(known, bool | str) and float(known) == float(text)
    except (TypeError, ValueError):
        return False


def run(order: Order, command: Command, outcome: Outcome) -> int:
    """Run the trial, or go on with it, again where it fails and may; returns the exit status.

    Args:
        order: Which one.
        command: Makes its command.
        outcome: Says whether it diverged.

    Raises:
        UserError: If another process has it.
    """
    place = order.place
    lock = place.grasp()
    if lock is None:
        raise UserError(f"{place.path} is being run already, by {place.holder}")
    try:
        if place.finished:
            say(f"{place.path} is finished")
            return 0
        for left in reversed(range(order.limits.retry + 1)):
            place.end_strays()
            state = _attempt(order, place, lock, command, outcome)
            if state != "failed" or not left:
                break
            say(f"{place.path}: it runs again")
        return 0 if state in ("complete", "diverged", "pruned") else 1
    finally:
        os.close(lock)


def _attempt(order: Order, place: TrialFolder, lock: int, command: Command, outcome: Outcome) -> State:
    resume = place.resumable
    if not resume:
        place.clear()
    entry, identity = _entry(order, place), {key: os.environ[key] for key in IDENTITY if key in os.environ}
    made = command(entry, place.path, resume)
    if "WANDB_RUN_ID" in identity and not resume:
        made = [*made, f"--wandb.id={identity['WANDB_RUN_ID']}"]  # under which it goes on, whoever resumes it
    process = Process(entry, place, Slot(0, "agent"), lock, made, entry.seconds)
    with told_to_stop() as signals:
        process.start({} if resume else identity)
        _record(order, process, "running", None)
        while not process.poll():
            if signals:
                process.stop("interrupted", grace=order.limits.grace)
            if len(signals) > 1:
                process.kill()
            if order.limits.timeout is not None and process.running_seconds > order.limits.timeout:
                process.stop("timeout", grace=order.limits.grace)
            time.sleep(order.limits.poll)
    state, error = _judge(order, process, outcome, by_server=signals[:1] == [signal.SIGTERM])
    _record(order, process, state, error)
    say(f"{place.path}: {state}{f': {error}' if error else ''}")
    return state


def _entry(order: Order, place: TrialFolder) -> Entry:
    """The trial as the runner knows its own; earlier attempts count."""
    kept = place.path / "trial.json"
    before = read_trial(kept) if is_file(kept) else {}
    return Entry(
        id=-1,
        number=-1,
        cell=order.cell.name,
        seed=order.seed,
        values=order.cell.values,
        state="running",
        attempts=before.get("attempts", 0),
        failures=0,
        holder={},
        value=None,
        history=(),
        seconds=before.get("seconds", 0.0),
    )


def _judge(order: Order, process: Process, outcome: Outcome, *, by_server: bool) -> tuple[State, str | None]:
    """How the trial ended; a server that terminates early says so with SIGTERM, a person with SIGINT."""
    if process.status == 0 and (process.stopped is None or process.folder.finished):
        state: State = outcome(process.folder.path)
        return state, "its loss or its metric is no number, or its maps are empty" if state == "diverged" else None
    if process.stopped == "interrupted":
        early = by_server and order.file.early_terminate is not None
        return ("pruned", "stopped early by the server") if early else ("waiting", None)
    why = complaint(process, timeout=order.limits.timeout)
    broken = process.stopped is None and outcome(process.folder.path) == "diverged"
    return ("diverged" if broken else "failed"), why


def _record(order: Order, process: Process, state: State, error: str | None) -> None:
    process.folder.record(
        order.folder.name,
        process.entry,
        state,
        error=error,
        log_end=process.folder.end_of_log() if state == "failed" else [],
        attempts=process.entry.attempts + 1,
        seconds=round(process.seconds, 3),
        command=list(process.command),
        revision=revision(),
        peak_memory_bytes=process.peak_memory_bytes,
    )


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    order = Order.read(sys.argv[1:] if args is None else args)
    door = importlib.import_module("pose_lightning.sweep.__main__")
    results = importlib.import_module("pose_lightning.sweep.results")
    command = door.command(
        order.file, order.layers, devices=order.devices, token="", name=order.folder.name, trusted=order.trusted
    )
    if status := run(order, command, results.outcome):
        raise SystemExit(status)


if __name__ == "__main__":
    main()
