"""One parser for every door: YAMLs in layers, then flags; an unknown key is refused before anything is built."""

import argparse
import inspect
import logging
import re
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import or_
from pathlib import Path
from typing import Any, Final, Literal, get_args

import pytorch_lightning as pl
import yaml
from jsonargparse import ArgumentParser
from jsonargparse._parameter_resolvers import get_signature_parameters
from jsonargparse._util import import_object
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import (
    Callback,
    GradientAccumulationScheduler,
    RichProgressBar,
    SpikeDetection,
    StochasticWeightAveraging,
    Timer,
    WeightAveraging,
)
from pytorch_lightning.cli import ArgsType, LightningArgumentParser, LightningCLI

from pose_lightning import errors, kinds
from pose_lightning.allocator import keep_freed_memory
from pose_lightning.arguments import arrange, first_name, names
from pose_lightning.budget import Budget
from pose_lightning.data import StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.files import local_path
from pose_lightning.parser_messages import closest, explain_parser, explain_trainer
from pose_lightning.ranges import check_ranges
from pose_lightning.reading import configs, raw
from pose_lightning.settings import STARTING_POINTS
from pose_lightning.sync_batchnorm import synchronise_by_timm
from pose_lightning.task import Task
from pose_lightning.training.checkpoints import AtomicCheckpointIO
from pose_lightning.training.collapse import CollapseWatch
from pose_lightning.training.compilation import CompiledNetwork
from pose_lightning.training.ema import AveragedWeights, Averaging
from pose_lightning.training.memory import MemoryAdvice
from pose_lightning.training.progress import MetricBar
from pose_lightning.training.timer import SlotTimer
from pose_lightning.trust import CALLBACKS

USAGE: Final = "python -m pose_lightning.fit --config FILE.yaml [--config LAYER.yaml ...] [--KEY=VALUE ...]"

CHATTER: Final = (
    "pytorch_lightning.utilities.rank_zero",
    "pytorch_lightning.trainer.connectors.checkpoint_connector",
    "lightning_fabric.utilities.seed",
)
"""Loggers whose tips and notices nobody can act on."""

BUDGETED: Final[Mapping[str, int | None]] = {"max_steps": -1, "val_check_interval": None, "check_val_every_n_epoch": 1}
"""What a budget of samples sets of the trainer, beside `max_epochs`."""

REFUSED: Final[Mapping[type, str]] = {
    GradientAccumulationScheduler: (
        "cuts batches into other parts as it goes; leave it out, and set trainer.accumulate_grad_batches"
    ),
    SpikeDetection: "cannot go on after a resume; leave it out: a run stops by itself at a loss that is not finite",
    StochasticWeightAveraging: "sets rates and cuts batches itself; leave it out, and average by ema.decay=0.999",
    Timer: "is not kept in a run's configuration; leave it out, and set trainer.max_time",
}
"""Callbacks of Lightning's that a run cannot have, and the reasons with their remedies."""

door = errors.door
"""What the doors wrap themselves in, which those without PyTorch take from `errors`."""


@dataclass
class Tracking:
    """Where the run is tracked.

    Args:
        mode: `auto` is `WANDB_MODE` of the environment, or else online when logged in to W&B and offline otherwise.
        project: The W&B project.
        id: The W&B run's id (default: the name of the run's directory).
        group: The W&B group (default: the sweep, or else the experiment).
        sweep: The sweep that the run is a trial of.
        cell: Which combination of the sweep's parameters it is.
    """

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    project: str = "pose_lightning"
    id: str | None = None
    group: str | None = None
    sweep: str | None = None
    cell: str | None = None


@dataclass
class Saving:
    """When checkpoints are written, which one is the best, and which one is scored.

    Args:
        every_n_steps: Optimizer steps between two writes of `last.ckpt`; it is also written after each validation.
        follow: The number that `best.ckpt` follows: the task's own `metric`, or the validation `loss`.
        evaluate: Which one is scored, by `fit` at its end and by `evaluate`. The best was chosen on the validation
            split: comparisons on that split take the last.
    """

    every_n_steps: int = 500
    follow: Literal["metric", "loss"] = "metric"
    evaluate: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        """Refuse an interval of no steps."""
        if self.every_n_steps < 1:
            raise UserError(f"checkpoint.every_n_steps={self.every_n_steps} is out of range; it is 1 or more")


@dataclass
class Showing:
    """Pictures of what the network makes of some validation samples, in the run's `samples/` and on W&B.

    Args:
        every: Validations between two of them; the first one and the end of training have them too. 0 is never.
        count: Samples, the same ones every time.
    """

    every: int = 5
    count: int = 8

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn."""
        if self.every < 0 or self.count < 1:
            raise UserError(
                f"pictures.every={self.every}, pictures.count={self.count}; at least 0 and 1 are needed, and "
                "pictures.every=0 draws none"
            )


class PoseCLI(LightningCLI):
    """Trainer, model and data module of one experiment; they are built, and nothing is run.

    Attributes:
        from_checkpoint: Whether a checkpoint will be loaded, so that nothing else is.
        first_name: Of the first YAML, by which the run is called where it has no name.

    Raises:
        SystemExit: After a message that names the key, if the arguments do not fit the constructors.
    """

    from_checkpoint = False
    first_name: str | None = None

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make the parser, whose refusals `build` puts into the user's words."""
        parser = super().init_parser(**kwargs)
        parser.exit_on_error = False
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what a run has beside its trainer, model and data."""
        parser.add_argument(
            "--experiment", type=str | None, help="name of the run's directory (default: the first YAML)"
        )
        parser.add_argument("--runs", type=Path, default=Path("runs"), help="directory of all runs")
        parser.add_argument("--run_dir", type=Path | None, help="the run's directory, in place of RUNS/EXPERIMENT/ID")
        parser.add_argument("--tags", type=list[str], default=[], help="W&B tags")
        parser.add_class_arguments(Tracking, "wandb")
        parser.add_class_arguments(Saving, "checkpoint")
        parser.add_class_arguments(Showing, "pictures")
        parser.add_class_arguments(Budget, "budget")
        parser.add_class_arguments(Averaging, "ema")
        parser.add_argument("--compile", type=bool, default=False, help="compile the network for training")
        parser.link_arguments("seed_everything", "data.init_args.seed")
        _read_whole_numbers_first(parser)
        parser.set_defaults({"trainer.enable_model_summary": False})  # a table of submodules that says little

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse, and know which settings were flags."""
        self._flags = names(args if isinstance(args, list) else [])
        super().parse_arguments(parser, args)

    def before_instantiate_classes(self) -> None:
        """Check numbers; name the experiment after its first YAML where it has no name; set limits by the budget."""
        check_ranges(self.flat())
        self._check_nulls()
        self._take_from_data()
        for key in ("max_epochs", "max_steps"):
            if self.config.trainer[key] == 0:
                raise UserError(f"trainer.{key}=0 trains nothing; it is 1 or more, or -1 for no such limit")
        if self.config.experiment is None:
            self.config.experiment = self.first_name or "unnamed"
        for key, value in vars(self.config.as_flat()).items():
            if isinstance(value, Path):
                self.config[key] = local_path(value)
        if self.config.budget.max_samples is not None:
            self._apply_budget()

    def _check_nulls(self) -> None:
        """Refuse `null` where a task or a data module takes none, which the parser lets through.

        Raises:
            UserError: If there is one, by the user's own key.
        """
        for group in ("model", "data"):
            spec = self.config[group]
            for parameter in get_signature_parameters(import_object(spec.class_path), None):
                name, hint = parameter.name, parameter.annotation
                required = hint not in (None, Any, inspect.Parameter.empty) and type(None) not in get_args(hint)
                if required and name in spec.init_args and spec.init_args[name] is None:
                    raise UserError(f"{group}.{name}=null: this setting needs a value; leave it out for its default")

    def _take_from_data(self) -> None:
        """Set what the task's configuration leaves out and its data say, such as the joint set."""
        task = import_object(self.config.model.class_path)
        if not (isinstance(task, type) and issubclass(task, Task)):
            return
        settings = self.config.model.init_args
        for name, value in task.settings_from(self.config.data.init_args.as_dict()).items():
            if settings.get(name) is None:
                settings[name] = value

    def _apply_budget(self) -> None:
        """An epoch of the trainer is a part of the budget."""
        network = self.config.model.init_args
        if network.get("unfreeze_every") is not None and network.get("unfreeze_unit") == "epochs":
            raise UserError("budget.max_samples knows no epochs; set model.unfreeze_unit=samples, or no unfreeze_every")
        limits = {**BUDGETED, "max_epochs": self.config.budget.validations}
        limit = self.config.trainer.limit_train_batches
        if (
            limit is not None
            and (limit != 1 or isinstance(limit, int))
            and "trainer.limit_train_batches" not in self._flags
        ):
            raise UserError(
                f"trainer.limit_train_batches={limit} and budget.max_samples={self.config.budget.max_samples} exclude "
                "each other: the budget would end early; leave trainer.limit_train_batches out"
            )
        for key in (*limits, "limit_train_batches"):
            if f"trainer.{key}" in self._flags:
                raise UserError(
                    f"--trainer.{key} and budget.max_samples={self.config.budget.max_samples} exclude each other: the "
                    "budget sets the trainer's limits; --budget.max_samples=null leaves them to the trainer"
                )
        for key, value in limits.items():
            self.config.trainer[key] = value

    def instantiate_classes(self) -> None:
        """Make trainer, model and data module; of a checkpoint to come, without the weights that training started from.

        The configuration, which a run keeps, still names them.
        """
        given = self.config
        if self.from_checkpoint:
            self.config = given.clone()
            for key in self.config.as_flat().__dict__:
                name = key.rpartition(".")[2]
                if key.startswith("model.init_args.") and name in STARTING_POINTS:
                    self.config[key] = STARTING_POINTS[name]
        try:
            super().instantiate_classes()
        finally:
            self.config = given
        self.datamodule.budget = self.config_init.budget

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer, without a logger: a run adds its own."""
        settings = self.config_init.trainer
        for key in ("logger", "enable_checkpointing"):
            if settings[key] is not None:
                raise UserError(
                    f"trainer.{key} has no effect: a run keeps its own files; see wandb.mode and checkpoint"
                )
        if settings.barebones:
            raise UserError(
                "trainer.barebones=true leaves out checkpoints and metrics, of which a run consists; leave it out"
            )
        if (every := settings.log_every_n_steps) is not None and every < 0:
            raise UserError(f"trainer.log_every_n_steps={every} is out of range; it is 1 or more, or 0 for never")
        plugins = settings.plugins or []
        plugins = [*(plugins if isinstance(plugins, list) else [plugins]), AtomicCheckpointIO()]
        try:
            trainer = super().instantiate_trainer(logger=False, enable_checkpointing=False, plugins=plugins, **kwargs)
        except UserError:
            raise
        # ValueError is for names of accelerators and strategies, TypeError for devices of a CPU
        except (MisconfigurationException, ValueError, TypeError) as error:
            if isinstance(error, TypeError) and "`devices` selected" not in str(error):
                raise
            raise UserError(explain_trainer(str(error), settings.as_dict())) from error
        given = settings.callbacks or []
        for callback in given if isinstance(given, list) else [given]:
            if (reason := REFUSED.get(type(callback))) is not None:
                raise UserError(f"trainer.callbacks: {type(callback).__name__} {reason}")
        synchronise_by_timm(trainer)
        callbacks = [_own(callback) for callback in trainer.callbacks]  # type: ignore[attr-defined]
        trainer.callbacks = [*callbacks, *self._callbacks(callbacks)]  # type: ignore[attr-defined]
        return trainer

    def _callbacks(self, given: Sequence[Callback]) -> list[Callback]:
        """What every run has, and what its flags ask for."""
        callbacks: list[Callback] = []
        if (average := self.config_init.ema).decay is not None:
            if any(isinstance(each, WeightAveraging) for each in given):
                raise UserError(f"ema.decay={average.decay} and trainer.callbacks both average weights; leave one out")
            callbacks.append(AveragedWeights(average.decay, average.every_n_steps))
        if self.config_init.compile:
            if self.config.model.init_args.get("checkpoint_activations"):
                raise UserError(
                    "compile=true decides itself what to recompute; leave out model.checkpoint_activations=true, or "
                    "compile"
                )
            callbacks.append(CompiledNetwork())
        return [*callbacks, CollapseWatch(), MemoryAdvice()]

    @property
    def followed(self) -> tuple[str, Literal["min", "max"]]:
        """The logged metric that `best.ckpt` follows, and whether a smaller or a larger value is better."""
        return ("val/loss", "min") if self.config.checkpoint.follow == "loss" else self.model.monitor

    def dump(self) -> str:
        """The resolved configuration as YAML; the parser takes it back unchanged."""
        config = self.config.clone()
        config.pop("config", None)
        config.run_dir = None  # another run of the same settings has a directory of its own
        config.trainer.default_root_dir = None  # a run is its own
        return self.parser.dump(config, skip_none=False)

    def flat(self) -> dict[str, Any]:
        """Every setting by its short dotted name, such as `model.lr`, for tables and dashboards."""
        settings: dict[str, Any] = {}
        for key, value in self.config.as_flat().__dict__.items():
            if key != "config" and not key.startswith("config."):
                settings[key.replace(".init_args.", ".")] = str(value) if isinstance(value, Path) else value
        return settings


def _own(callback: Callback) -> Callback:
    """This suite's own form of what Lightning adds to every trainer."""
    if type(callback) is RichProgressBar:
        return MetricBar()
    return SlotTimer.like(callback) if type(callback) is Timer else callback


def _read_whole_numbers_first(parser: ArgumentParser) -> None:
    """Let `trainer.limit_train_batches=1` be one batch, and 1.0 all of them.

    `typing` keeps one object for unions that are equal, and their order, which is the parser's, is that of whichever
    package was imported first.
    """
    for action in parser._actions:
        kinds = get_args(hint := getattr(action, "_typehint", None))
        if hint is not None and int in kinds and float in kinds:
            action._typehint = reduce(or_, [int, *(kind for kind in kinds if kind is not int)])  # type: ignore[attr-defined]


class _CheckpointCLI(PoseCLI):
    from_checkpoint = True


def build_run(settings: Mapping[str, Any], flags: Sequence[str] = (), *, from_checkpoint: bool) -> PoseCLI:
    """Make what the configuration of a run describes, as `trust.read_config` has checked it, with further flags."""
    text = yaml.safe_dump({**settings, "run_dir": None}, sort_keys=False)
    return build([f"--config={text}", *flags], from_checkpoint=from_checkpoint)


def build_for_scoring(
    settings: Mapping[str, Any], accelerator: str | None = None, *, root: Path | None = None
) -> PoseCLI:
    """Make what the configuration of a run describes, as far as its predictions need it.

    Of the trainer that is its precision and where it runs: no callback, logger, profiler, plugin or strategy is made.
    """
    trainer = settings.get("trainer") or {}
    kept = {
        key: trainer[key]
        for key in ("accelerator", "precision", "accumulate_grad_batches")
        if isinstance(trainer.get(key), str | int)
    }
    alone = {**kept, "devices": 1, "num_nodes": 1, "strategy": "auto"}
    if accelerator is not None:
        alone["accelerator"] = accelerator
    others = {key: value for key, value in settings.items() if key not in ("trainer", "ema", "compile")}
    elsewhere = [] if root is None else [f"--data.root={root}"]
    return build_run({**others, "trainer": alone}, elsewhere, from_checkpoint=True)


def build(args: Sequence[str], *, from_checkpoint: bool = False) -> PoseCLI:
    """Parse `args` and make the trainer, model and data module they describe.

    Args:
        args: As on the command line. YAMLs are read before any flag, wherever they stand: a flag always has the last
            word, also where a sweep's agent puts a YAML behind it.
        from_checkpoint: Leave out the weights that training started from: they may be gone, or need a network.
    """
    _quieten()
    keep_freed_memory()
    _check_files(args)
    _check_flags(args)
    name = first_name(args)
    args = arrange(args)
    _own_classes()
    argv = sys.argv
    sys.argv = argv[:1]  # LightningCLI warns when both are given; here `args` is all there is
    try:
        base = _CheckpointCLI if from_checkpoint else PoseCLI
        built = type(base.__name__, (base,), {"first_name": name})(
            pl.LightningModule,
            StoreDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,  # config.yaml rebuilds a model, no pickled arguments
            save_config_callback=None,
            seed_everything_default=1,
            parser_kwargs={"usage": USAGE},
            run=False,
            args=args,
        )
        if not isinstance(built.model, Task):
            raise UserError(
                f"model={type(built.model).__module__}.{type(built.model).__qualname__} is no task of this package, "
                "which has a metric to follow and a way to be scored; derive it from "
                f"{kinds.listed(kinds.KINDS, ' or ')}"
            )
        return built
    except argparse.ArgumentError as error:
        raise UserError(explain_parser(str(error), _known_settings(), _known_classes())) from None
    except UserError:
        raise
    except ValueError as error:
        if "not in bounds, numpy accepts" in str(error):
            raise UserError(f"seed_everything: {error}") from None
        if isinstance(error.__cause__, UserError):  # jsonargparse buries it below all types that did not fit
            raise error.__cause__ from None
        if isinstance(error.__cause__, MisconfigurationException):  # a callback's own constructor
            raise UserError(f"trainer.callbacks: {str(error.__cause__).replace('`', '')}") from None
        raise
    finally:
        sys.argv = argv


def _known_settings() -> set[str]:
    """Every setting by its short dotted name, of any task."""
    owners: dict[str, list[type]] = {
        "trainer": [pl.Trainer],
        "wandb": [Tracking],
        "checkpoint": [Saving],
        "pictures": [Showing],
        "budget": [Budget],
        "ema": [Averaging],
        "model": [each for each in _own_classes() if issubclass(each, Task)],
        "data": [each for each in _own_classes() if issubclass(each, StoreDataModule)],
    }
    for setting, named in ((setting, named) for kind in kinds.KINDS for setting, named in kind.named.items()):
        owners[f"model.{setting}"] = [import_object(path) for path in named.values()]
    names = {"experiment", "runs", "run_dir", "tags", "compile", "seed_everything", "config"}
    for group, classes in owners.items():
        for owner in classes:
            names |= {f"{group}.{parameter.name}" for parameter in get_signature_parameters(owner, None)}
    return names


def _known_classes() -> set[str]:
    """The tasks, data modules and callbacks that a YAML names without a module."""
    named = {name for kind in kinds.KINDS for classes in kind.named.values() for name in classes}
    return {each.__name__ for each in _own_classes()} | named | {name.rpartition(".")[2] for name in CALLBACKS}


def _own_classes() -> list[type]:
    """Of every task: the module's tasks and data modules. Once they are imported, a YAML may leave out their module."""
    members = (each for kind in kinds.KINDS for module in kind.modules() for each in vars(module).values())
    return [each for each in members if isinstance(each, type) and issubclass(each, Task | StoreDataModule)]


def _check_flags(args: Sequence[str]) -> None:
    """Refuse flags without a value."""
    for word, following in pairwise([*args, "--"]):
        is_bare = word.startswith("--") and "=" not in word and following.startswith("--")
        if is_bare and not re.search(r"help$|^--(print|config$)", word):
            raise UserError(f"{word} has no value; write {word}=VALUE")


def _check_files(args: Sequence[str]) -> None:
    """Refuse YAMLs that are missing, or no settings, or that the parser, which knows no bounds, would read for minutes.

    The parser also takes a YAML's text in place of its name.
    """
    texts = []
    for index, word in enumerate(args):
        key, equals, value = word.partition("=")
        if key == "--config":
            texts.append(value if equals else "".join(args[index + 1 : index + 2]))
    for text in texts:
        path = Path(text)
        if "\n" in text:
            continue
        if not text or text.startswith("--"):
            raise UserError("--config has no value; name a YAML, such as --config experiments/hourglass_mpii.yaml")
        if raw.is_file(path):
            settings = configs.read_yaml(path, own=True)
        elif path.is_dir():
            raise UserError(f"--config {text} is a folder; name a YAML in it")
        elif path.suffix or "/" in text:
            beside = [file.name for file in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
            raise UserError(f"--config {text}: there is no such file{closest(path.name, beside)}")
        else:
            settings = configs.parse_yaml(text, f"--config {text}", own=True)
        if not isinstance(settings, dict) or not settings:
            raise UserError(f"--config {text} has no settings; it is a YAML with model, data and trainer")


def _quieten() -> None:
    """Drop what Lightning says and nobody can act on."""
    # Lightning 2.6.6 walks pytrees as torch before 2.13 did
    warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
    # this loader starts where the trainer stands; Lightning only knows loaders with a state
    warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")
    # the means of an interrupted epoch come from the checkpoint, not from an update
    warnings.filterwarnings("ignore", "The ``compute`` method of metric MeanMetric was called before the ``update``")
    for name in CHATTER:
        if _says_something not in (chatter := logging.getLogger(name)).filters:
            chatter.addFilter(_says_something)


def _says_something(record: logging.LogRecord) -> bool:
    return not any(
        text in record.getMessage()
        for text in ("litlogger", "TPU available", "Seed set to", "`weights_only` was not set")
    )
