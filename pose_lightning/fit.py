"""`python -m pose_lightning.fit --config experiments/NAME.yaml`: train, evaluate, and print the table."""

import atexit
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from signal import SIGINT
from typing import Any, Final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only, rank_zero_warn

from pose_lightning import cli, evaluate, sealed, trust
from pose_lightning.cli import PoseCLI
from pose_lightning.data import FLAG, FREE
from pose_lightning.divergence import DivergedError
from pose_lightning.errors import FULL, UserError, shown
from pose_lightning.files import local_path
from pose_lightning.history import MetricsFile, MetricsLogger, RunWandbLogger, finishing, record_evaluation
from pose_lightning.parser_messages import closest
from pose_lightning.randomness import RandomStates
from pose_lightning.reading import configs
from pose_lightning.runs import RUN_ID, RunDirectory, below, revision
from pose_lightning.sealed import SealError
from pose_lightning.settings import differences as differences_between
from pose_lightning.signals import SIGNALS, Stopped, StopRequest
from pose_lightning.task import Task
from pose_lightning.terminal import escape_logs
from pose_lightning.trained import data_state
from pose_lightning.training import checkpoints, slurm
from pose_lightning.training.checkpoints import RunCheckpoints
from pose_lightning.training.cost import CostRecorder
from pose_lightning.training.memory import explained
from pose_lightning.training.pictures import Pictures
from pose_lightning.trust import Trust

BUDGET: Final = ("trainer.max_epochs", "trainer.max_steps")
"""What may grow when a run is resumed."""

PLACE: Final = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
"""What may change when a run is resumed: it sees the same global batches wherever it runs."""

ROOT: Final = "data.root"
"""Also free to change: the stores have fingerprints, by which a run knows them wherever they are."""

KEPT: Final = (
    "checkpoint.follow",
    "ema.decay",
    "ema.every_n_steps",
    "trainer.gradient_clip_algorithm",
    "trainer.gradient_clip_val",
    "trainer.limit_train_batches",
    "trainer.limit_val_batches",
    "trainer.precision",
)
"""Must stay when a run is resumed: its losses, its scores or their order would not be those of one run."""

GROUP: Final = (
    "GROUP_RANK",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "NODE_RANK",
    "RANK",
    "TORCHELASTIC_RUN_ID",
    "WORLD_SIZE",
)
"""Environment variables that make a process one of a group."""


def train(
    args: Sequence[str],
    run: RunDirectory | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    held: ExitStack,
    accept_changed_stores: bool = False,
) -> tuple[RunDirectory, PoseCLI]:
    """Fit the experiment that `args` describe, in a directory of its own, or going on in `run` with its `settings`.

    A run without a checkpoint goes on from its beginning, and comes by the same rows of `metrics.csv` again.

    Args:
        args: As on the command line.
        run: To go on with; its caller owns it.
        settings: The configuration of `run`, checked; without it `args` are a whole command line.
        held: Gets what lasts until the run has been evaluated: the new run's lock, and the W&B run.
        accept_changed_stores: Go on with other stores than those of the checkpoint.

    Returns:
        The run and what was built for it.

    Raises:
        UserError: If the store is missing, or the run to go on with has no checkpoint that is whole, or had other
            stores and changes are not accepted; or if the training diverges, or the disk is full.
        Stopped: If a signal told it to stop.
    """
    resumed = run is not None
    from_checkpoint = run is not None and run.resumable
    built = _build(args, settings, from_checkpoint=from_checkpoint)
    _check(built)
    checkpoint = _resumed(built, run, accept_changed_stores) if run is not None and from_checkpoint else None
    run = run or _new_run(built, held)
    if resumed and not from_checkpoint:
        rank_zero_warn(f"{run.path} has no checkpoint yet: it begins anew")
    held.enter_context(finishing())
    built.config.wandb.id = built.config.wandb.id or os.environ.get("WANDB_RUN_ID") or run.wandb_id
    rank_zero_only(run.write_config)(built.dump())
    slurm.mark(run)
    trainer, model = built.trainer, built.model
    size = sum(parameter.numel() for parameter in model.parameters())
    rank_zero_info(f"run: {run.path}; {type(model).__name__}, {size / 1e6:.3f} M parameters")
    requeue = slurm.requeue_signal(trainer)
    request = StopRequest(SIGNALS if requeue is None else sorted({*SIGNALS, requeue}))
    shown = built.config.pictures
    pictures = Pictures(run.path / "samples", every=shown.every, count=shown.count)
    cost = CostRecorder(run.path / "cost.json")
    trainer.callbacks += [  # type: ignore[attr-defined]
        RandomStates(trainer),
        pictures,
        _checkpoints(built, run, request),
        cost,
    ]
    trainer.loggers = _loggers(built, run)
    trainer._default_root_dir = str(run.path)  # type: ignore[attr-defined]  # elsewhere Lightning may find another's job
    stopped = None
    try:
        with run.log(), run.shared(), request.listening(), explained(trainer), checkpoints.explained(checkpoint):
            trainer.fit(model, datamodule=built.datamodule, ckpt_path=checkpoint, weights_only=True)
    except (Stopped, DivergedError) as end:
        if trainer.global_rank:  # the first process says it, and needs time that a launcher may not leave it otherwise
            raise SystemExit(0) from None
        if isinstance(end, DivergedError):
            raise
        stopped = end
    except (OSError, UserError) as error:
        if (reason := _full(error)) is not None:
            raise UserError(
                f"{run.path} could not be written to: {reason}; make room and go on with `--resume {run.path}`"
            ) from error
        has_trained = resumed or trainer.fit_loop.epoch_loop.batch_progress.total.ready
        if not has_trained and built.config.run_dir is None:
            rank_zero_only(run.clear)()
        raise
    finally:
        atexit.register(_leave_group)
        for logger in trainer.loggers:
            logger.finalize("success" if trainer.state.finished else "failed")
    if stopped is not None:
        stopped.requeued = stopped.number == requeue
        stopped.add_note(f"go on with `python -m pose_lightning.fit --resume {run.path}`")
        raise stopped
    return run, built


def _full(error: OSError | UserError) -> str | None:
    """How the system says that the disk is full, where it does and the error has no remedy yet."""
    cause = error if isinstance(error, OSError) else error.__cause__
    full = isinstance(cause, OSError) and cause.errno in FULL and not isinstance(error, SealError)
    return cause.strerror if full else None  # type: ignore[union-attr]


def _build(args: Sequence[str], settings: Mapping[str, Any] | None, *, from_checkpoint: bool) -> PoseCLI:
    if settings is None:
        return cli.build(args, from_checkpoint=from_checkpoint)
    return cli.build_run(settings, args, from_checkpoint=from_checkpoint)


def _check(built: PoseCLI) -> None:
    """Refuse what Lightning would find only when the run has a directory, or a new place."""
    trainer, model, data = built.trainer, built.model, built.datamodule
    data.check()
    data.trainer, model.trainer = trainer, trainer
    trainer.datamodule = data  # type: ignore[attr-defined]
    data.setup("fit")
    model.setup("fit")
    model.check(trainer, data)
    data.check_validation_interval()
    _check_monitors(trainer, model)
    if built.followed == model.monitor and (reason := model.unscorable(data)):
        raise UserError(
            f"{reason}, so {model.monitor[0]} would be NaN throughout; follow val/loss by --checkpoint.follow=loss"
        )


def _check_monitors(trainer: pl.Trainer, model: Task) -> None:
    """Refuse callbacks that follow a metric that is never logged, of this package's tasks; others may log more."""
    if not type(model).__module__.startswith(f"{__package__}."):
        return
    names = model.logged()
    validates = trainer.limit_val_batches > 0 and trainer.check_val_every_n_epoch != 0
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str):
            continue
        name = f"trainer.callbacks: {type(callback).__name__}.monitor={monitor}"
        if monitor not in names:
            raise UserError(f"{name} is not logged{closest(monitor, names)} (there are {', '.join(sorted(names))})")
        if monitor.startswith("val/") and not validates:
            raise UserError(f"{name} is not logged without a validation; leave trainer.limit_val_batches=0 out")
        if isinstance(callback, EarlyStopping):
            _check_moment(callback, trainer, name)


def _check_moment(callback: EarlyStopping, trainer: pl.Trainer, name: str) -> None:
    """Refuse to look at a metric at a moment when it may not have been logged yet."""
    once = trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1
    at_ends = callback._check_on_train_epoch_end
    at_ends = once if at_ends is None else at_ends
    metric = str(callback.monitor)
    if metric.startswith("train/") and metric != "train/loss_step" and not at_ends:
        raise UserError(
            f"{name} is logged at the end of an epoch, and validations come at other times; "
            "set its check_on_train_epoch_end=true"
        )
    if metric.startswith("val/") and at_ends and not once:
        raise UserError(
            f"{name} is looked at at the end of every epoch, and not every epoch ends with a validation; "
            "leave its check_on_train_epoch_end out"
        )


def _resumed(built: PoseCLI, run: RunDirectory, accept_changed_stores: bool) -> Path:
    """The checkpoint to go on from.

    Raises:
        UserError: If none is whole, or it is of other settings or stores than what was built.
    """
    with run.log():
        path = run.whole_checkpoint()
    state = sealed.read(path)
    checkpoints.check(state, path)
    built.model.check_settings(state, str(path))
    # what Lightning would refuse of the batches, `load_state_dict` says better
    built.datamodule.check_settings(state, str(path), FREE | {"batch_size", "seed", "limit_samples"})
    _check_kept(built, state, path)
    built.datamodule.accept_changed_stores = accept_changed_stores
    built.datamodule.check_stores(data_state(state, built.datamodule, path))
    return path


def _check_kept(built: PoseCLI, state: Mapping[str, Any], path: Path) -> None:
    callbacks = state.get("callbacks")
    saved = callbacks.get(RunCheckpoints.__qualname__) if isinstance(callbacks, Mapping) else None
    before = saved.get("settings") if isinstance(saved, Mapping) else None
    if not isinstance(before, Mapping):
        return
    now = _kept(built)
    if unlike := differences_between(before, now):
        differences = ", ".join(f"{key}={before.get(key)} (here {now.get(key)})" for key in unlike)
        raise UserError(f"{path} was trained with {differences}; put the run's config.yaml back as it was")


def _kept(built: PoseCLI) -> dict[str, Any]:
    values = built.flat()
    return {key: values.get(key) for key in KEPT}


def _new_run(built: PoseCLI, held: ExitStack) -> RunDirectory:
    """The directory of a run that begins; of one that was stopped before its first checkpoint, the same again.

    Folders that were made for it are removed where nothing came to lie in them.
    """
    config = built.config
    place = config.run_dir or below(config.runs, config.experiment)
    made = [folder for folder in (place, *place.parents) if not folder.exists()]
    if config.run_dir is None:
        run = RunDirectory.create(config.runs, config.experiment)
        made.insert(0, run.path)
    else:
        run = RunDirectory(config.run_dir)
    held.callback(rank_zero_only(_remove_empty), [run.checkpoints, *made])
    held.enter_context(run.owned())
    if getattr(rank_zero_only, "rank", 0) == 0:
        if config.run_dir is not None and not run.resumable:
            run.clear()
        if run.config.exists():
            raise UserError(f"{run.path} holds a run; go on with `--resume {run.path}`, or set another {RUN_ID}")
    return run


def _remove_empty(folders: Sequence[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _checkpoints(built: PoseCLI, run: RunDirectory, request: StopRequest) -> RunCheckpoints:
    monitor, mode = built.followed
    return RunCheckpoints(
        run.checkpoints,
        monitor=monitor,
        mode=mode,
        every_n_steps=built.config.checkpoint.every_n_steps,
        request=request,
        settings=_kept(built),
    )


def _loggers(built: PoseCLI, run: RunDirectory) -> list[Logger]:
    file = MetricsFile(run.path / "metrics.csv")
    seen = built.datamodule.samples_seen
    loggers: list[Logger] = [MetricsLogger(file, seen)]
    mode = _wandb_mode(built.config.wandb.mode)
    if mode == "disabled":
        return loggers
    tags = {built.config.experiment, *built.config.tags} | ({"demo"} if built.datamodule.synthetic else set())
    import wandb  # noqa: PLC0415 - a second of start-up that a run without W&B does not pay

    offline = mode == "offline"
    if offline:
        rank_zero_info(f"W&B: offline; `wandb sync {run.path}/wandb/offline-run-*` uploads it")
    given, agent = built.config.wandb, os.environ.get("WANDB_SWEEP_ID")
    sweep = given.sweep or agent
    place = (sweep or built.config.experiment, given.cell, run.id)
    tracked = RunWandbLogger(
        run,
        file,
        seen,
        mode=mode,
        tracked=None if agent else given.id or run.wandb_id,
        project=given.project,
        name="/".join(part for part in place if part),
        group=given.group or sweep or built.config.experiment,
        tags=sorted(tags),
        config={**built.flat(), **_columns(built, sweep)},
        settings=wandb.Settings(silent=offline),
    )
    return [*loggers, tracked]


def _columns(built: PoseCLI, sweep: str | None) -> dict[str, Any]:
    """What a dashboard groups and plots by, under short names."""
    network, data = built.config.model.init_args, built.config.data.init_args
    return {
        "experiment": built.config.experiment,
        "optimizer": network.optimizer,
        "lr": network.lr,
        "batch_size": data.batch_size,
        "seed": built.config.seed_everything,
        "sweep": sweep,
        "cell": built.config.wandb.cell,
        "revision": revision(),
    }


def _wandb_mode(mode: str) -> str:
    if mode != "auto":
        return mode
    if named := os.environ.get("WANDB_MODE"):
        return named
    import wandb  # noqa: PLC0415 - a second of start-up that a run without W&B does not pay

    return "online" if wandb.login(prompt=False) else "offline"


def _leave_group() -> None:
    """Stop gloo's threads: at the interpreter's end they may abort the process. Lightning does it for NCCL only."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _check_budget(args: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Refuse arguments of a resumed run other than a larger budget, and where it runs."""
    old = settings.get("trainer") or {}
    for arg in args:
        key, _, value = arg.removeprefix("--").partition("=")
        if not arg.startswith("--") or key not in (*BUDGET, *PLACE, ROOT) or not value:
            allowed = ", ".join([*(f"--{name}=..." for name in (*BUDGET, *PLACE, ROOT)), FLAG])
            raise UserError(f"{arg}: a resumed run keeps its own configuration; only {allowed} may be added")
        if key in (*PLACE, ROOT):
            continue
        if (settings.get("budget") or {}).get("max_samples") is not None:
            raise UserError(f"{arg}: the run has a budget of samples and ends there; start another for more")
        before = old.get(key.removeprefix("trainer."))
        if not isinstance(before, int) or before < 0:
            raise UserError(f"{arg}: the run's budget has no such limit; extend the one that it has")
        try:
            after = int(value)
        except ValueError:
            raise UserError(f"{arg}: a budget is a whole number") from None
        if 0 <= after < before:
            raise UserError(f"{arg}: the run's budget was {before}; it can only be extended")


def fit(args: Sequence[str]) -> Path:
    """Train and evaluate; returns the run's directory."""
    escape_logs()
    try:
        with ExitStack() as held:
            return _fit(args, held)
    except Stopped as stopped:
        if stopped.requeued:
            slurm.requeue()
        raise


def _fit(args: Sequence[str], held: ExitStack) -> Path:
    names, args = trust.split(command := list(args))
    at = next((place for place, arg in enumerate(args) if arg.partition("=")[0] == "--resume"), None)
    if at is not None:
        words = args[at].split("=", 1)[1:] or args[at + 1 : at + 2]
        rest = [*args[:at], *args[at + (1 if "=" in args[at] else 2) :]]
        if not "".join(words) or words[0].startswith("--"):
            raise UserError("--resume has no value; name a run's directory: --resume runs/EXPERIMENT/ID")
        run = RunDirectory.open(local_path("".join(words)))
        held.enter_context(run.owned())
        trusted = Trust.of("fit", command, names)
        settings = trust.read_config(run.config, trusted)
        flags = [arg for arg in rest if arg != FLAG]
        _check_budget(flags, settings)
        run, built = train(flags, run, settings=settings, held=held, accept_changed_stores=FLAG in rest)
    else:
        if (begun := _begun(args)) is not None:
            held.enter_context(begun.owned())
        # of a job's next turn the configuration is the one that its command makes, or it would not have been found
        run, built = train([f"--config={begun.config}"] if begun else args, begun, held=held)
        trusted = _typed(built, run)
    if built.trainer.is_global_zero and not built.trainer.fast_dev_run:  # type: ignore[attr-defined]
        _evaluate(run, built.trainer, trusted, changes=built.datamodule.accept_changed_stores)
    return run.path


def _typed(built: PoseCLI, run: RunDirectory) -> Trust:
    """Trust in all that a command line names, which the person has typed."""
    settings = configs.parse_yaml(built.dump(), "the configuration", own=True)
    return Trust(tuple(dict.fromkeys(stranger.name for stranger in trust.find_strangers(settings, run.config))))


def _begun(args: Sequence[str]) -> RunDirectory | None:
    """The run that the same command has begun already, on an earlier turn of the same job of SLURM."""
    if not slurm.is_restarted():
        return None
    built = cli.build(args, from_checkpoint=True)
    given = built.config
    return slurm.begun(given.runs, given.experiment, given.run_dir, built.dump())


def _evaluate(run: RunDirectory, trainer: pl.Trainer, trusted: Trust, *, changes: bool) -> None:
    if trainer.world_size > 1:  # a process of its own: this one still belongs to the group
        alone = {key: value for key, value in os.environ.items() if key not in GROUP}
        command = [
            sys.executable,
            "-m",
            "pose_lightning.evaluate",
            str(run.path),
            *trusted.flags,
            *([FLAG] if changes else []),
        ]
        if status := subprocess.run(command, check=False, env=alone).returncode:
            raise SystemExit(status)
    else:
        evaluate.evaluate_run(run, trusted=trusted, accept_changed_stores=changes)
    record_evaluation(run)


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    try:
        fit(sys.argv[1:] if args is None else list(args))
    except Stopped as stopped:
        print(shown("; ".join([str(stopped), *stopped.__notes__])), file=sys.stderr)
        raise SystemExit(stopped.code) from None
    except KeyboardInterrupt:
        raise SystemExit(128 + SIGINT) from None


if __name__ == "__main__":
    main()
