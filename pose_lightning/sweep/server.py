"""A sweep on a W&B server: registered through its client, its trials taken by its agents, one in each slot.

The server hands out the combinations, to agents here and on any machine that has joined. Each becomes a trial in the
sweep's folder as it does without a server (see `agent`), so what is left there, failed or interrupted, can be gone on
with and compared alike.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final, Literal

from pose_lightning.errors import UserError
from pose_lightning.files import appending
from pose_lightning.sweep.agent import LIMITS
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.locks import grasp, holder
from pose_lightning.sweep.records import read_trial
from pose_lightning.sweep.schema import SEED
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.slots import slots as places
from pose_lightning.sweep.stopping import heard_by_children, told_to_stop
from pose_lightning.sweep.study import Study

PATIENCE: Final = {"WANDB_AGENT_DISABLE_FLAPPING": "true", "WANDB_AGENT_MAX_INITIAL_FAILURES": "1000000"}
"""Settings of an agent, which would otherwise end when its first trials fail."""

POLL: Final = 0.5
"""Seconds between two looks at the agents and their trials."""

Say = Callable[[str], None]

Rest = Literal["here", "elsewhere", "interrupted"]
"""Of what the agents left (failed and interrupted trials, and those of a tuned sweep's choice): it may be run `here`,
without the server; or some of it is `elsewhere`, on other machines or still to come; or they were `interrupted`.
"""


def available() -> bool:
    """Whether somebody is logged in to a W&B server, and has not asked for runs without one."""
    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    import wandb  # noqa: PLC0415 - a second of start-up that a sweep without W&B does not pay

    return bool(wandb.login(prompt=False, verify=False))


def run(
    file: SweepFile,
    *,
    layers: Sequence[str],
    slots: int | None,
    count: int | None,
    project: str,
    devices: int = 1,
    folder: Path,
    limits: Sequence[str] = (),
    say: Say = print,
) -> Rest:
    """Register the sweep, or go on with the one that was, and let agents run until the server has no more for them.

    Args:
        file: The sweep file; of a tuned sweep the server has the trials that rates are chosen on.
        layers: The experiment and its demo layer.
        slots: Trials at a time; by default what this machine has room for.
        count: Trials in all.
        project: Of W&B.
        devices: Processes of a trial.
        folder: `runs/sweeps/NAME`.
        limits: `--retry=N` and `--timeout=SECONDS` of its trials, as it is registered for agents elsewhere too.
        say: What shows a line.

    Returns:
        Where the rest belongs; see `Rest`.

    Raises:
        UserError: If the server cannot be reached or refuses, or agents of this sweep are at work here already.
    """
    with closing(Study.open(file, folder, layers=layers)) as study:
        wanted = document(file, layers, folder=folder, devices=devices, limits=limits)
        path = study.settle("server", lambda: _register(wanted, project))
    url, _ = _look_up(path)
    say(f"dashboard: {url}")
    say(f"other machines join, in a checkout of this revision, with: wandb agent {path}")
    lock = grasp(folder / "agents.lock")
    if lock is None:
        raise UserError(f"agents are at work in {folder}: {holder(folder / 'agents.lock')}; wait for them, or end them")
    try:
        shares = _shares(count, places(slots, devices))
        with heard_by_children(signal.SIGINT):
            agents = [_agent(path, slot, folder, share, lock, limits) for slot, share in shares]
        interrupted = _attend(agents, folder, say)
    finally:
        os.close(lock)
    if interrupted:
        return "interrupted"
    return "here" if count is None and _whole(file, folder, path, say) else "elsewhere"


def document(
    file: SweepFile, layers: Sequence[str], *, folder: Path, devices: int, limits: Sequence[str] = ()
) -> dict[str, Any]:
    """The sweep as it is registered: its trials are started by `agent`, on whichever machine."""
    found = file.document(layers)
    door = ["${env}", "${interpreter}", "-m", "pose_lightning.sweep.agent", str(file.path)]
    found["command"] = [*door, f"--folder={folder}", f"--devices={devices}", *limits, "--", *layers, "--", "${args}"]
    found["name"] = folder.name
    if file.tuning_seeds:
        found["parameters"] = {**found["parameters"], SEED: {"values": list(file.tuning_seeds)}}
    return found


def _register(found: dict[str, Any], project: str) -> str:
    """Register a sweep; returns `entity/project/id`."""
    import wandb  # noqa: PLC0415 - see above

    project = found.get("project", project)
    try:
        with redirect_stdout(StringIO()):  # it prints what is said better here
            name = wandb.sweep(found, entity=found.get("entity"), project=project)
        entity = found.get("entity") or os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B does not take the sweep: {error}; WANDB_MODE=offline runs it without a server") from error
    return f"{entity}/{project}/{name}"


def _look_up(path: str) -> tuple[str, int]:
    """A registered sweep's address, and how many trials the server has handed out."""
    import wandb  # noqa: PLC0415 - see above

    try:
        sweep: Any = wandb.Api().sweep(path)  # type: ignore[no-untyped-call]
        return str(sweep.url), int(sweep.load(force=True).get("runCount") or 0)
    except (wandb.Error, ValueError) as error:
        raise UserError(f"W&B has no sweep {path}: {error}; WANDB_MODE=offline goes on without a server") from error


def _shares(count: int | None, slots: Sequence[Slot]) -> list[tuple[Slot, int | None]]:
    """The slots that get an agent, and how many trials it may take; without end where there is no count."""
    if count is None:
        return [(slot, None) for slot in slots]
    shares = [len(range(slot.index, count, len(slots))) for slot in slots]
    return [(slot, share) for slot, share in zip(slots, shares, strict=True) if share]


def _agent(
    path: str, slot: Slot, folder: Path, share: int | None, lock: int, limits: Sequence[str]
) -> "subprocess.Popen[bytes]":
    """Start an agent in a session of its own: the terminal's Ctrl-C is passed on to it."""
    at_most = [] if share is None else ["--count", str(share)]
    environment = {
        **os.environ,
        **PATIENCE,
        **slot.environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",  # whose python it starts
        "WANDB_DIR": str(folder.resolve()),
        LIMITS: " ".join(limits),
    }
    with appending(folder / f"agent{slot.index}.txt") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "wandb", "agent", "--forward-signals", *at_most, path],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=(lock,),
        )


def _attend(agents: Sequence["subprocess.Popen[bytes]"], folder: Path, say: Say) -> bool:
    """Wait for the agents, and say what becomes of the trials; whether they were interrupted.

    Raises:
        UserError: If an agent failed.
    """
    known, passed_on = states(folder), 0
    with told_to_stop() as signals:
        while any(agent.poll() is None for agent in agents):
            if len(signals) > passed_on:
                say("stopping: the trials write their checkpoints; once more kills them")
                passed_on = len(signals)
                for agent in agents:
                    agent.send_signal(signal.SIGINT)
            for trial, state in (now := states(folder)).items():
                if known.get(trial) != state:
                    say(f"{trial}: {state}")
            known = now
            time.sleep(POLL)
    for slot, agent in enumerate(agents):
        if agent.returncode and not signals:
            raise UserError(f"an agent of W&B ended with status {agent.returncode}: see {folder}/agent{slot}.txt")
    for trial, state in states(folder).items():
        if known.get(trial) != state:
            say(f"{trial}: {state}")
    return bool(signals)


def states(folder: Path) -> dict[str, str]:
    """The trials in a sweep's folder, by cell and seed, and how they stand."""
    found = {}
    for path in sorted(folder.glob("trials/*/*/trial.json")):
        record = read_trial(path)
        found[f"{record['cell']} seed {record['seed']}"] = record["state"]
    return found


def _whole(file: SweepFile, folder: Path, path: str, say: Say) -> bool:
    """Whether every trial that the server has handed out lies here, and there are no others to come."""
    if file.method != "grid":
        return False
    seeds = file.tuning_seeds or file.seeds
    here = sum(
        (folder / "trials" / cell.name / str(seed) / "trial.json").is_file() for cell in file.cells() for seed in seeds
    )
    handed_out = _look_up(path)[1]
    if handed_out > here:
        say(
            f"{handed_out - here} of {handed_out} trials are with other agents: once they have ended, copy their "
            f"directories to {folder}/trials if they are on other machines, and run this again"
        )
    return handed_out <= here
