"""A run's configuration checked as data, before anything that it names is imported.

A run may come from somebody else. Its config.yaml may name the classes of this package, and those of Lightning that are
listed here, with plain values. Any other class needs `--trust NAME` on the command line.
"""

import argparse
import importlib.util
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pose_lightning import kinds
from pose_lightning.errors import UserError
from pose_lightning.reading.configs import read_yaml
from pose_lightning.reading.raw import shortened

Known = Mapping[str, frozenset[str] | None]
"""Names of classes, and the arguments that they may have; None is any that are plain."""


def _named(modules: Mapping[str, str | None]) -> Known:
    """Classes by their short and their full names; the values are the names of arguments."""
    known: dict[str, frozenset[str] | None] = {}
    for path, arguments in modules.items():
        allowed = None if arguments is None else frozenset(arguments.split())
        for spelling in (path, path.rpartition(".")[2]):
            known[spelling] = allowed
    return known


def _tasks() -> Known:
    return _named({kind.task: None for kind in kinds.KINDS})


def _parts() -> Mapping[str, Known]:
    """By setting of a task, the classes of this package that it may name."""
    return {
        setting: _named(dict.fromkeys(classes.values()))
        for kind in kinds.KINDS
        for setting, classes in kind.named.items()
    }


def _data_modules() -> Known:
    return _named({kind.data: None for kind in kinds.KINDS})


CALLBACKS: Final = _named(
    {
        "pose_lightning.training.collapse.CollapseWatch": "",
        "pose_lightning.training.memory.MemoryAdvice": "",
        "pose_lightning.training.progress.MetricBar": "refresh_rate leave theme",
        "pytorch_lightning.callbacks.DeviceStatsMonitor": "cpu_stats",
        "pytorch_lightning.callbacks.EMAWeightAveraging": (
            "device use_buffers decay update_every_n_steps update_starting_at_step update_starting_at_epoch"
        ),
        "pytorch_lightning.callbacks.EarlyStopping": (
            "monitor min_delta patience verbose mode strict check_finite stopping_threshold divergence_threshold "
            "check_on_train_epoch_end log_rank_zero_only"
        ),
        "pytorch_lightning.callbacks.GradientAccumulationScheduler": "scheduling",
        "pytorch_lightning.callbacks.LearningRateMonitor": "logging_interval log_momentum log_weight_decay",
        "pytorch_lightning.callbacks.ModelCheckpoint": (
            "dirpath monitor verbose save_last save_top_k save_on_exception save_weights_only mode "
            "auto_insert_metric_name every_n_train_steps train_time_interval every_n_epochs save_on_train_epoch_end "
            "enable_version_counter"
        ),
        "pytorch_lightning.callbacks.ModelSummary": "max_depth",
        "pytorch_lightning.callbacks.RichModelSummary": "max_depth",
        "pytorch_lightning.callbacks.RichProgressBar": "refresh_rate leave theme",
        "pytorch_lightning.callbacks.SpikeDetection": "mode window warmup atol rtol exclude_batches_path finite_only",
        "pytorch_lightning.callbacks.StochasticWeightAveraging": (
            "swa_lrs swa_epoch_start annealing_epochs annealing_strategy device"
        ),
        "pytorch_lightning.callbacks.TQDMProgressBar": "refresh_rate process_position leave",
        "pytorch_lightning.callbacks.Timer": "duration interval verbose",
    }
)
STRATEGIES: Final = _named(
    {
        "pytorch_lightning.strategies.DDPStrategy": (
            "process_group_backend timeout start_method find_unused_parameters static_graph gradient_as_bucket_view "
            "broadcast_buffers bucket_cap_mb"
        ),
        "pytorch_lightning.strategies.SingleDeviceStrategy": "device",
    }
)
PLUGINS: Final = _named(
    {
        "pytorch_lightning.plugins.MixedPrecision": "precision device",
        "pytorch_lightning.plugins.HalfPrecision": "precision",
        "pytorch_lightning.plugins.DoublePrecision": "",
        "pytorch_lightning.plugins.environments.SLURMEnvironment": "auto_requeue requeue_signal",
        "pytorch_lightning.plugins.environments.LightningEnvironment": "",
        "pytorch_lightning.plugins.environments.TorchElasticEnvironment": "",
        "lightning_fabric.plugins.environments.SLURMEnvironment": "auto_requeue requeue_signal",
        "lightning_fabric.plugins.environments.LightningEnvironment": "",
        "lightning_fabric.plugins.environments.TorchElasticEnvironment": "",
        "lightning_fabric.plugins.environments.slurm.SLURMEnvironment": "auto_requeue requeue_signal",
        "lightning_fabric.plugins.environments.lightning.LightningEnvironment": "",
        "lightning_fabric.plugins.environments.torchelastic.TorchElasticEnvironment": "",
    }
)
PROFILERS: Final = _named(
    {
        "pytorch_lightning.profilers.PassThroughProfiler": "dirpath",
        "pytorch_lightning.profilers.SimpleProfiler": "dirpath extended",
        "pytorch_lightning.profilers.AdvancedProfiler": "dirpath line_count_restriction",
    }
)

CLASSES: Final[Mapping[str, Known]] = {
    "accelerator": {},
    "callbacks": CALLBACKS,
    "logger": {},
    "plugins": PLUGINS,
    "profiler": PROFILERS,
    "strategy": STRATEGIES,
}
"""Keys of `trainer` that hold classes, and those that they may hold."""

WORDS: Final[Mapping[str, re.Pattern[str]]] = {
    "accelerator": re.compile(r"[a-z]{1,20}"),
    "profiler": re.compile(r"simple|advanced"),
    "strategy": re.compile(r"[a-z][a-z0-9_]{0,60}"),
}
"""Plain words that these keys may hold in place of a class; Lightning looks them up in a list of its own."""

TRAINER: Final = frozenset(
    {
        "devices",
        "num_nodes",
        "precision",
        "fast_dev_run",
        "max_epochs",
        "min_epochs",
        "max_steps",
        "min_steps",
        "max_time",
        "limit_train_batches",
        "limit_val_batches",
        "limit_test_batches",
        "limit_predict_batches",
        "overfit_batches",
        "val_check_interval",
        "check_val_every_n_epoch",
        "num_sanity_val_steps",
        "log_every_n_steps",
        "enable_checkpointing",
        "enable_progress_bar",
        "enable_model_summary",
        "accumulate_grad_batches",
        "gradient_clip_val",
        "gradient_clip_algorithm",
        "deterministic",
        "benchmark",
        "inference_mode",
        "use_distributed_sampler",
        "detect_anomaly",
        "barebones",
        "sync_batchnorm",
        "reload_dataloaders_every_n_epochs",
        "enable_autolog_hparams",
        "default_root_dir",
    }
)
"""Keys of `trainer` that hold plain values."""

UNSET: Final = frozenset({"model_registry"})
"""Keys of `trainer` that must be unset."""

SECTIONS: Final = ("wandb", "checkpoint", "pictures", "budget", "ema")
VALUES: Final = ("seed_everything", "experiment", "runs", "run_dir", "tags", "compile", "optimizer", "lr_scheduler")
CLASS_KEYS: Final = frozenset({"class_path", "init_args", "dict_kwargs"})
PATHS: Final = frozenset({"dirpath", "exclude_batches_path", "default_root_dir"})
"""Arguments that name a place which is written."""

READ: Final = frozenset({"root", "weights"})
"""Arguments of tasks and data that name what is read."""

CALLED: Final = frozenset({"loss"})
"""Arguments of tasks that are a word, or name what is called."""

MAPPINGS: Final = frozenset({"freeze", "theme"})
"""Arguments that are mappings, of which the parser would read a file that a text names."""

_YAML: Final = re.compile(r"[\0\n{}\[\]&*!|>]|: ")
_KEY: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_DOTTED: Final = re.compile(r"[^\W\d]\w*([.:][^\W\d]\w*)+")


@dataclass(frozen=True)
class Trust:
    """The names that a command line trusts.

    Attributes:
        names: Modules, packages or classes; whatever lies below one is trusted too.
        command: The command line, which a refusal prints with `--trust`.
    """

    names: tuple[str, ...] = ()
    command: str | None = None

    @classmethod
    def of(cls, door: str, args: Sequence[str], names: Iterable[str] | None) -> Self:
        """The trust of a door's command line.

        Raises:
            UserError: If a name is no Python name.
        """
        for name in (trusted := tuple(names or ())):
            if not all(part.isidentifier() for part in name.split(".")):
                raise UserError(f"--trust {name}: wanted a module, a package or a class, such as mine or mine.networks")
        return cls(trusted, shlex.join(["python", "-m", f"pose_lightning.{door}", *args]))

    @property
    def flags(self) -> list[str]:
        """The arguments that hand this trust to another process."""
        return [f"--trust={name}" for name in self.names]

    def covers(self, name: str) -> bool:
        """Whether a class, or a function, is trusted."""
        return any(name == trusted or name.startswith((f"{trusted}.", f"{trusted}:")) for trusted in self.names)


NOBODY: Final = Trust()


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--trust` to a door's options."""
    parser.add_argument(
        "--trust",
        action="append",
        metavar="NAME",
        help="import the classes of this module or package that the run's configuration names (may be repeated)",
    )


def split(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names after `--trust`, and the other arguments.

    Raises:
        UserError: If a name is missing.
    """
    names, others, words = [], [], iter(args)
    for word in words:
        key, equals, value = word.partition("=")
        if key != "--trust":
            others.append(word)
            continue
        name = value if equals else next(words, "")
        if not name or name.startswith("-"):
            raise UserError("--trust needs a NAME: the module or package whose classes the run may name, such as mine")
        names.append(name)
    return names, others


def read_config(path: Path, trust: Trust = NOBODY) -> dict[str, Any]:
    """The configuration of a run as checked data.

    Args:
        path: The run's config.yaml.
        trust: Names that may be imported beside those that are known.

    Raises:
        UserError: If it is no configuration of a run, or names what is neither known nor trusted.
    """
    settings = read_yaml(path, own=False)
    if strangers := find_strangers(settings, path, trust):
        raise UserError(_refusal(path, strangers[0], trust))
    return dict(settings)


def find_strangers(settings: Any, path: Path, trust: Trust = NOBODY) -> list["Stranger"]:
    """The classes and functions that a configuration would import or call, and that are neither known nor trusted.

    Raises:
        UserError: If the configuration has another form than those that this package writes.
    """
    check = _Check(path, trust)
    check.configuration(settings)
    return check.strangers


def _refusal(path: Path, stranger: "Stranger", trust: Trust) -> str:
    key, name = stranger.key[:100], stranger.name
    module = name.replace(":", ".").rpartition(".")[0]
    known = module.partition(".")[0] in (
        "pytorch_lightning",
        "lightning_fabric",
        "lightning",
        "torch",
        "pose_lightning",
    )
    trusted = name.replace(":", ".") if known or not module else module
    if not all(part.isidentifier() for part in trusted.split(".")):
        return (
            f"{shortened(path)}: {key} names {name[:200]!r}, which is no class of this package or of Lightning's list"
        )
    command = f"{trust.command or 'the command'} --trust {trusted}"
    return (
        f"{shortened(path)}: {key} {stranger.reason or f'names {name[:200]}, which runs may not name untrusted'}; "
        f"if you trust its code: {command}"
    )


@dataclass(frozen=True)
class Stranger:
    """A class or function that needs trust.

    Attributes:
        key: Where the configuration names it.
        name: Its name.
        reason: The reason, where it is one of Lightning's list, and its argument is at fault.
    """

    key: str
    name: str
    reason: str | None = None


class _Check:
    """Walks through a configuration, and keeps the names that need trust."""

    def __init__(self, path: Path, trust: Trust) -> None:
        self.path, self.trust = path, trust
        self.folder = path.parent.resolve()
        self.strangers: list[Stranger] = []

    def refuse(self, key: str, text: str) -> UserError:
        return UserError(f"{shortened(self.path)}: {key[:100]} {text}")

    def mapping(self, value: Any, key: str) -> Mapping[str, Any]:
        """A mapping whose keys are plain words."""
        if not isinstance(value, dict):
            raise self.refuse(key, f"is {_shown(value)}; wanted a mapping")
        for name in value:
            if not (isinstance(name, str) and _KEY.fullmatch(name)):
                raise self.refuse(key, f"has the key {_shown(name)}, which is no plain name")
        return value

    def configuration(self, settings: Any) -> None:
        if not isinstance(settings, dict) or not {"model", "data"} <= set(settings):
            raise UserError(f"{shortened(self.path)} is no run's configuration: it has no model and data")
        self.mapping(settings, "it")
        for key in ("model", "data"):
            if not isinstance(spec := settings[key], dict) or not isinstance(spec.get("init_args"), dict):
                raise self.refuse(key, f"is {_shown(spec)}; wanted class_path and init_args")
        for key, value in settings.items():
            if key == "model":
                self.one_class(value, key, _tasks())
            elif key == "data":
                self.one_class(value, key, _data_modules())
            elif key == "trainer":
                self.trainer(value)
            elif key in SECTIONS:
                for name, setting in self.mapping(value, key).items():
                    self.free(setting, f"{key}.{name}")
            elif key in VALUES:
                self.free(value, key)
            else:
                raise self.refuse(key, "is no key of a run's configuration")
        experiment = settings.get("experiment")
        if experiment is not None and (
            not isinstance(experiment, str) or Path(experiment).is_absolute() or ".." in Path(experiment).parts
        ):
            raise self.refuse("experiment", f"is {_shown(experiment)}; wanted a name that stays inside the run")

    def trainer(self, settings: Any) -> None:
        for name, value in self.mapping(settings, "trainer").items():
            key = f"trainer.{name}"
            if name in CLASSES:
                self.classes(value, key, CLASSES[name], WORDS.get(name))
            elif name in TRAINER:
                self.argument(value, name, key)
            elif name not in UNSET:
                raise self.refuse(key, "is no setting of the trainer")
            elif value is not None:
                raise self.refuse(key, f"is {_shown(value)}; it must be unset")

    def classes(self, value: Any, key: str, known: Known, words: re.Pattern[str] | None) -> None:
        """None, a flag, a plain word, a class, or a list of classes."""
        if value is None or (isinstance(value, str) and words and words.fullmatch(value)):
            return
        if key == "trainer.logger" and isinstance(value, bool):
            return
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            self.one_class(item, f"{key}[{index}]" if isinstance(value, list) else key, known)

    def one_class(self, value: Any, key: str, known: Known) -> None:
        """A class by its name, or by a mapping of `class_path` and `init_args`."""
        if isinstance(value, str):
            value = {"class_path": value}
        spec = self.mapping(value, key)
        name = spec.get("class_path")
        if not isinstance(name, str) or not name or not set(spec) <= CLASS_KEYS:
            raise self.refuse(key, "is no class: wanted class_path and init_args, and nothing else")
        arguments = {
            f"{key}.{part}": self.mapping(spec[part], f"{key}.{part}")
            for part in ("init_args", "dict_kwargs")
            if spec.get(part) is not None
        }
        if name in known and not self.trust.covers(name):
            for place, settings in arguments.items():
                for argument, setting in settings.items():
                    self.known_argument(name, known[name], f"{place}.{argument}", argument, setting)
            return
        if not self.trust.covers(name):
            self.strangers.append(Stranger(key, name))
        for where, settings in arguments.items():
            self.foreign(settings, where)

    def known_argument(self, name: str, allowed: frozenset[str] | None, key: str, argument: str, setting: Any) -> None:
        """An argument of a class that runs may name."""
        if allowed is None and ".dict_kwargs." in key:
            raise self.refuse(key, f"is {_shown(setting)}; arguments of {name} lie in init_args")
        if allowed is None:
            self.own_argument(setting, argument, key)
        elif setting is not None:
            try:
                if argument not in allowed or ".dict_kwargs." in key:
                    raise self.refuse(key, "")
                self.argument(setting, argument, key)
            except UserError:
                reason = f"is {_shown(setting)}, which runs may not give {name} untrusted"
                self.strangers.append(Stranger(key, name, reason))

    def own_argument(self, value: Any, name: str, key: str) -> None:
        """An argument of a task or data module of this package: plain values and mappings of them."""
        if name in READ:
            self.free(value, key)
        elif name in (parts := _parts()):
            self.one_class(value, key, parts[name])
        elif name in CALLED and not (isinstance(value, str) and _KEY.fullmatch(value)):
            self.one_class(value, key, {})
        elif name in MAPPINGS and isinstance(value, str):
            raise self.refuse(key, f"is {_shown(value)}; wanted a mapping")
        else:
            self.plain(value, key)

    def argument(self, value: Any, name: str, key: str) -> None:
        """An argument of the trainer or of a class of Lightning's list."""
        if name in PATHS and value is not None:
            if not isinstance(value, str) or not self.is_inside(value):
                raise self.refuse(
                    key, f"is {_shown(value)}; a run may write inside its own folder only; leave it unset"
                )
        elif name in MAPPINGS and isinstance(value, str):
            raise self.refuse(key, f"is {_shown(value)}; wanted a mapping")
        elif name == "scheduling" and isinstance(value, dict):
            for epoch, batches in value.items():
                if type(epoch) is not int or type(batches) is not int:
                    raise self.refuse(key, f"has {_shown(epoch)}: {_shown(batches)}; wanted whole numbers")
        else:
            self.plain(value, key)

    def is_inside(self, path: str) -> bool:
        """Whether a path lies in the run's folder, links followed."""
        try:
            return Path(path).resolve().is_relative_to(self.folder)
        except (OSError, ValueError, RuntimeError):  # no path, or links in a circle
            return False

    def free(self, value: Any, key: str) -> None:
        """A name or another text that the person chose, a number, true, false, null, or a list of them."""
        if isinstance(value, list):
            for index, item in enumerate(value):
                self.free(item, f"{key}[{index}]")
        elif isinstance(value, str):
            # the parser reads texts as YAML, with its aliases
            if "\0" in value or "class_path" in value or {"&", "*"} <= set(value):
                raise self.refuse(key, f"is {_shown(value)}; wanted a plain text")
        elif value is not None and not isinstance(value, bool | int | float):
            raise self.refuse(key, f"is {_shown(value)}; wanted a plain value")

    def plain(self, value: Any, key: str) -> None:
        """A number, a word, true, false, null, or lists and mappings of them; no class, and nothing that is read."""
        if isinstance(value, list):
            for index, item in enumerate(value):
                self.plain(item, f"{key}[{index}]")
        elif isinstance(value, dict):
            for name, item in self.mapping(value, key).items():
                if name in CLASS_KEYS:
                    raise self.refuse(key, f"has the key {name}; wanted plain values")
                self.plain(item, f"{key}.{name}")
        elif isinstance(value, str):
            # the parser reads texts as YAML, and the files that they name
            if _YAML.search(value) or _is_file(value):
                raise self.refuse(key, f"is {_shown(value)}; wanted a plain word")
        else:
            self.free(value, key)

    def foreign(self, value: Any, key: str) -> None:
        """An argument of a class that somebody else wrote: all that it would import must be trusted too."""
        if isinstance(value, dict):
            for name, item in value.items():
                if isinstance(name, str) and name.startswith("__"):
                    raise self.refuse(key, f"has the key {_shown(name)}, which is no plain name")
                known = name == "class_path" and isinstance(item, str) and _is_known(item)
                if name == "class_path" and not known:
                    if not isinstance(item, str) or not item:
                        raise self.refuse(key, f"has the class_path {_shown(item)}; wanted a name")
                    if not self.trust.covers(item):
                        self.strangers.append(Stranger(key, item))
                elif not known:
                    self.foreign(item, f"{key}.{name}")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.foreign(item, f"{key}[{index}]")
        elif isinstance(value, str):
            if _is_importable(value) and not self.trust.covers(value):
                self.strangers.append(Stranger(key, value))
            elif value.lower().endswith((".yaml", ".yml", ".json", ".jsonnet", ".toml")):
                raise self.refuse(key, f"is {_shown(value)}; a run's configuration reads no other one")


def _is_known(name: str) -> bool:
    return any(name in known for known in (_tasks(), _data_modules(), *_parts().values()))


def _is_file(text: str) -> bool:
    """Whether a text names a file, pipe or device; a word without dot or slash is a word, whatever lies beside it."""
    try:
        return ("." in text or "/" in text) and Path(text).exists() and not Path(text).is_dir()
    except (OSError, ValueError):
        return True


def _is_importable(text: str) -> bool:
    """Whether a text could be the name of something that Python can import; nothing is imported to find out."""
    if not _DOTTED.fullmatch(text):
        return False
    try:
        return importlib.util.find_spec(re.split(r"[.:]", text)[0]) is not None
    except (ImportError, ValueError, AttributeError):
        return True


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."
