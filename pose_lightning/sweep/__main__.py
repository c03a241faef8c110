"""`python -m pose_lightning.sweep sweeps/NAME.yaml`: run a sweep and compare its cells.

`compare DIR` only compares, and `claims DIR...` holds what was found against the reports' claims.

Where somebody is logged in to a W&B server the sweep is registered there, and agents of W&B take its trials. Otherwise,
or with --storage, Optuna keeps them. Trials that are finished are never run again.
"""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pose_lightning import cli, demo, trust
from pose_lightning.errors import UserError
from pose_lightning.files import local_path
from pose_lightning.options import OptionParser
from pose_lightning.runs import revision
from pose_lightning.sweep import claims, compare, keeping, results, server
from pose_lightning.sweep.console import Screen
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.limits import Limits
from pose_lightning.sweep.locks import grasp, holder
from pose_lightning.sweep.runner import Command, Runner
from pose_lightning.sweep.slots import Slot, slots
from pose_lightning.sweep.study import Entry, Study
from pose_lightning.terminal import say
from pose_lightning.trust import Trust

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells have it."""


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="python -m pose_lightning.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=local_path, help="the sweep, a YAML in W&B's form")
    parser.add_argument("--data", choices=["auto", "real", "demo"], default="auto", help="as with `make fit`")
    parser.add_argument("--runs", type=local_path, default=Path("runs"), help="directory of all runs")
    parser.add_argument("--dry-run", action="store_true", help="print every command, and run none")
    parser.add_argument("--slots", type=int, help="trials at a time (default: one per GPU, or two on a CPU)")
    parser.add_argument("--devices-per-trial", type=int, default=1, metavar="N", help="processes of a trial, under DDP")
    parser.add_argument("--count", type=int, metavar="N", help="start at most N trials")
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on with the sweep that is there; --no-resume refuses to",
    )
    parser.add_argument("--retry", type=int, default=0, metavar="N", help="run a failed trial again, up to N times")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="of one attempt of a trial")
    parser.add_argument("--storage", metavar="URL", help="a database that other machines reach: postgresql://...")
    parser.add_argument("--join", action="store_true", help="help other runners of the same sweep")
    parser.add_argument("--sampler", choices=["tpe", "gp"], default="tpe", help="of `method: bayes`")
    parser.add_argument("--project", default="pose_lightning", help="W&B's")
    trust.add_argument(parser)
    return parser


def arguments(
    file: SweepFile, entry: Entry, folder: Path, layers: Sequence[str], *, token: str, name: str
) -> list[str]:
    """The arguments of `fit` for a trial from its start.

    Args:
        file: The sweep file.
        entry: The trial.
        folder: Its directory.
        layers: The experiment and its demo layer.
        token: Tells this study from others of its name.
        name: The sweep's.
    """
    safe = re.sub(r"[^A-Za-z0-9_-]", "-", f"{token}-{entry.cell}-{entry.seed}")
    return [
        *file.arguments(entry.values, entry.seed, layers),
        f"--run_dir={folder}",
        *(
            []
            if any(flag.startswith("--checkpoint.evaluate=") for flag in file.flags)
            else ["--checkpoint.evaluate=last"]
        ),
        f"--wandb.id={safe}",
        f"--wandb.group={name}",
        f"--wandb.sweep={name}",
        f"--wandb.cell={entry.cell}",
    ]


def command(
    file: SweepFile, layers: Sequence[str], *, devices: int, token: str, name: str, trusted: Sequence[str] = ()
) -> Command:
    """What starts a trial, or goes on with it."""
    python = [sys.executable, "-m", "pose_lightning.fit"]

    def make(entry: Entry, folder: Path, resume: bool) -> list[str]:
        if resume:
            return [*python, f"--resume={folder}", *trusted]
        given = arguments(file, entry, folder, layers, token=token, name=name)
        return [*python, *given, f"--trainer.devices={devices}", *trusted]

    return make


def _layers(file: SweepFile, data: str, *, dry: bool = False) -> list[str]:
    """The experiment, and its demo layer where its store is absent."""
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in file.flags)
    root = file.fixed.get("data.root", flags.get("data.root"))
    return demo.layers(file.experiment, data, None if root is None else Path(str(root)), sweep=file.name, dry=dry)


def _trusted(options: argparse.Namespace) -> list[str]:
    """The arguments that hand the trust of this command to its trials."""
    return Trust.of("sweep", [], options.trust).flags


def _check(options: argparse.Namespace, file: SweepFile) -> None:
    for name, least in (("count", 1), ("retry", 0), ("timeout", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value} is out of range; it is {least} or more")
    if file.method != "grid" and file.run_cap is None and options.count is None:
        raise UserError(f"{file.path}: method={file.method} has no end; set run_cap in it, or --count")


def sweep(options: argparse.Namespace) -> int:
    """Run a sweep; returns the exit status."""
    file = SweepFile.read(options.file)
    _check(options, file)
    layers = _layers(file, options.data, dry=options.dry_run)
    is_demo = sum(each.startswith("--config=") for each in layers) > 1
    name = f"{file.name}_demo" if is_demo else file.name
    folder = options.runs / "sweeps" / name
    places = slots(options.slots, options.devices_per_trial)
    if options.dry_run:
        return _print_commands(file, layers, folder, name, options)
    if not options.resume and (folder / "study.json").exists():
        raise UserError(f"{folder} holds a sweep; go on with it (--resume), or move it away")
    with keeping.explained(folder):
        return _with_study(file, folder, layers, places, options)


def _with_study(
    file: SweepFile, folder: Path, layers: Sequence[str], places: Sequence[Slot], options: argparse.Namespace
) -> int:
    rest = _on_server(file, layers, folder, options)
    if rest == "interrupted":
        return _interrupted(folder)
    study = Study.open(file, folder, layers=layers, storage=options.storage)
    try:
        if rest != "elsewhere" and not _run(file, study, layers, places, options):
            return _interrupted(folder)
        return _end(study)
    finally:
        study.close()


def _on_server(file: SweepFile, layers: Sequence[str], folder: Path, options: argparse.Namespace) -> str:
    """Let a W&B server hand out the trials, where there is one; returns where the rest belongs."""
    if options.storage is not None or options.join or not server.available():
        return "here"
    return server.run(
        file,
        layers=layers,
        slots=options.slots,
        count=options.count,
        project=options.project,
        devices=options.devices_per_trial,
        folder=folder,
        limits=[
            *(f"--{name}={value}" for name, value in (("retry", options.retry), ("timeout", options.timeout)) if value),
            *_trusted(options),
        ],
    )


def _interrupted(folder: Path) -> int:
    say(f"interrupted; the same command goes on with {folder}")
    return INTERRUPTED


def _run(
    file: SweepFile, study: Study, layers: Sequence[str], places: Sequence[Slot], options: argparse.Namespace
) -> bool:
    """Run what is left on this machine; false if it was interrupted."""
    alone = None if options.join else grasp(study.folder / "runner.lock")
    if alone is None and not options.join:
        raise UserError(
            f"a runner is at work in {study.folder}: {holder(study.folder / 'runner.lock')}; help it with --join"
        )
    make = command(
        file,
        layers,
        devices=options.devices_per_trial,
        token=study.token,
        name=study.folder.name,
        trusted=_trusted(options),
    )
    try:
        return Runner(
            file,
            study,
            make,
            slots=places,
            screen=Screen(f"{study.folder.name} ({file.kind})", file.metric),
            outcome=results.outcome,
            choose=lambda: results.chosen(results.read_sweep(study.folder), file),
            limits=Limits(count=options.count, retry=options.retry, timeout=options.timeout),
            engine=options.sampler,
            revision=revision(),
            shared=options.join,
        ).run()
    finally:
        if alone is not None:
            os.close(alone)


def _end(study: Study) -> int:
    """Say what is missing, and compare what is there."""
    entries, folder = study.entries(), study.folder
    failed = [entry for entry in entries if entry.state == "failed"]
    waiting = [entry for entry in entries if entry.state in ("waiting", "running")]
    elsewhere = [entry for entry in entries if entry.holder and entry.holder["place"] != study.place]
    if waiting:
        say(f"{len(waiting)} trials are left; the same command goes on with them")
    if failed:
        attempts = max(entry.failures for entry in failed)
        say(f"{len(failed)} trials failed; --retry {attempts} runs them again")
    if elsewhere:
        say(f"{len(elsewhere)} trials ran in other folders; copy their directories to {folder}/trials to compare them")
    if any(folder.glob("trials/*/*/metrics.json")):
        compare.main([str(folder)])
        compare.write_others(folder, claims.metrics(folder.name.removesuffix(claims.DEMO)))
    return 1 if failed else 0


def _print_commands(
    file: SweepFile, layers: Sequence[str], folder: Path, name: str, options: argparse.Namespace
) -> int:
    """Print the command of every trial of a grid; a search has none before it has begun."""
    make = command(file, layers, devices=options.devices_per_trial, token="0" * 8, name=name, trusted=_trusted(options))
    if file.method != "grid":
        say(f"# {file.method}: the values are drawn while it runs; the arguments that every trial has:")
        say(shlex.join(["python", "-m", "pose_lightning.fit", *layers, *file.flags]))
        return 0
    for number, (seed, cell) in enumerate((seed, cell) for seed in file.seeds for cell in file.cells()):
        entry = Entry(number, number, cell.name, seed, cell.values, "waiting", 0, 0, {}, None, (), 0.0)
        say(shlex.join(make(entry, folder / "trials" / cell.name / str(seed), False)))
    return 0


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    args = sys.argv[1:] if args is None else list(args)
    other = {"compare": compare.main, "claims": claims.main}
    if args and args[0] in other:
        other[args[0]](args[1:])
        return
    if status := sweep(_parser().parse_args(args)):
        raise SystemExit(status)


if __name__ == "__main__":
    main()
