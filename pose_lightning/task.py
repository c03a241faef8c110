"""The LightningModule of all tasks: a loss over the global batch, an optimizer by name, and a schedule."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Final, Literal, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.utilities import rank_zero_warn
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric, Metric

from pose_lightning import sealed, settings
from pose_lightning.errors import UserError
from pose_lightning.geometry import in_words
from pose_lightning.optim import OptimizerName, Schedule, ScheduleName, make_optimizer
from pose_lightning.reading.records import misfit
from pose_lightning.sync_batchnorm import has_synchronised_norms

Batch = dict[str, Any]


class Task(pl.LightningModule, ABC):
    """Trains on `training_loss`; logs `train/loss_step` at every step and `train/loss`, exact, at every epoch.

    Args:
        optimizer: By name, with flat arguments: `None` is the optimizer's own default, and a value that it does not
            have is refused.
        lr: Learning rate.
        momentum: Momentum of SGD and RMSprop.
        weight_decay: L2 penalty (decoupled for AdamW).
        alpha: Smoothing constant of RMSprop.
        eps: Term that keeps the denominator from zero.
        schedule: How the learning rate moves.
        schedule_unit: What the schedule counts: optimizer steps, or training samples seen, which compares batch sizes.
        schedule_total: Where a cosine or one-cycle schedule ends; `None` is the trainer's budget.
        warmup: Length of the linear warm-up, in the same unit.
        milestones: Where `multistep` decays.
        step_every: Length of a step of `step`.
        decay: Factor of one decay.
        final: What is left of the learning rate at the end of a cosine or one-cycle schedule.
    """

    monitor: tuple[str, Literal["min", "max"]]
    """What `best.ckpt` follows."""
    model: Any
    """The network."""
    curves: Mapping[str, str]
    """Metrics to draw, and their axes' labels."""

    def __init__(
        self,
        *,
        optimizer: OptimizerName,
        lr: float,
        momentum: float | None = None,
        weight_decay: float | None = None,
        alpha: float | None = None,
        eps: float | None = None,
        schedule: ScheduleName = "constant",
        schedule_unit: Literal["steps", "samples"] = "steps",
        schedule_total: float | None = None,
        warmup: float = 0.0,
        milestones: list[float] | None = None,
        step_every: float | None = None,
        decay: float | None = None,
        final: float | None = None,
    ) -> None:
        super().__init__()
        arguments, self._left_out = settings.of_constructor(Task)
        self.save_hyperparameters(arguments, logger=False)
        self.optimizer_arguments: dict[str, Any] = {
            "optimizer": optimizer,
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "alpha": alpha,
            "eps": eps,
        }
        self.schedule_unit = schedule_unit
        self.schedule_total = schedule_total
        self.schedule_arguments: dict[str, Any] = {
            "name": schedule,
            "warmup": warmup,
            "milestones": milestones,
            "step_every": step_every,
            "decay": decay,
            "final": final,
        }
        self.train_loss = MeanMetric(nan_strategy=math.nan)  # NaN stays; "disable" drops the weights too
        self.train_loss.persistent(True)  # half an epoch's mean survives in the checkpoint

    def on_train_start(self) -> None:
        """Say once if batch norm makes the run depend on the number of devices, or if a schedule has ended."""
        self._warn_of_ended_schedule()
        devices = self.trainer.world_size
        if devices > 1 and any(_learns_alone(module) for module in self.modules()):
            size = self.trainer.datamodule.batch_size  # type: ignore[attr-defined]
            rank_zero_warn(
                f"batch norm takes its statistics from one device's {size // self._parts} of a batch's {size} samples, "
                f"so this is another optimisation than on any other number of devices than {devices}; on GPUs, "
                "--trainer.sync_batchnorm=true joins them"
            )

    def check(self, trainer: pl.Trainer, data: Any) -> None:
        """Refuse an optimizer and a schedule that cannot be made, before a run has a directory.

        Raises:
            UserError: As `make_optimizer` and `Schedule`, or if the schedule does not fit the trainer's budget.
        """
        make_optimizer(self.parameter_groups(), **self.optimizer_arguments)
        self._schedule(trainer, data)
        if not has_synchronised_norms(trainer):
            self._check_smallest_share(data)

    def _check_smallest_share(self, data: Any) -> None:
        """Pass the smallest share of a batch through the network on the meta device, which computes shapes alone."""
        samples = data.smallest_share()
        if (
            samples > 1
            or (example := self.example(data, samples)) is None
            or not any(_learns_alone(module) for module in self.modules())
        ):
            return
        tensors = [*self.parameters(), *self.buffers()]
        network = copy.deepcopy(self.model, {id(tensor): _on_meta(tensor) for tensor in tensors})
        try:
            with torch.no_grad(), torch.random.fork_rng([]):
                network.train()(example)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            sizes = " or ".join(str(size) for size in data.batch_sizes_of_pairs())
            raise UserError(
                f"an epoch ends with a batch that has one sample for a device (data.batch_size={data.batch_size}, "
                f"{data.samples_per_pass} training samples), and batch norm takes no statistics from one sample where "
                f"a map is one cell, as with data.input_size={in_words(data.input_size)}; take "
                + (f"data.batch_size={sizes}, or " if sizes else "")
                + "a larger input_size"
            ) from None

    @classmethod
    def settings_from(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Settings that follow from the data, where a configuration leaves them out, by name.

        Args:
            data: The data module's arguments.
        """
        return {}

    def example(self, data: Any, samples: int) -> Tensor | None:
        """The network's input for so many samples of `data`: zeros, on the meta device; None leaves it unchecked."""
        return None

    def logged(self) -> set[str]:
        """The metrics that callbacks may follow; a task that logs more than its metrics adds them."""
        metrics = [(name, module) for name, module in self.named_children() if isinstance(module, Metric)]
        training = {name.replace("_", "/", 1) for name, _ in metrics if name.startswith("train_")}
        validation = {f"val/{name}" for _, module in metrics for name in getattr(module, "NAMES", ())}
        return {"train/loss_step", "val/loss"} | training | validation

    def unscorable(self, data: Any) -> str | None:
        """Why the followed metric would be NaN throughout; None where it would not."""
        return None

    def _warn_of_ended_schedule(self) -> None:
        """Tell at which rate a resumed run trains on once its schedule has ended."""
        trainer, total = self.trainer, self.schedule_total
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.ckpt_path is None or total is None:
            return
        end = _last_step(trainer, data)
        has_ended = self._progress(data, trainer.global_step) >= total
        if trainer.global_step == end or not (has_ended or (end is not None and self._progress(data, end) > total)):
            return
        factor = Schedule(**self.schedule_arguments, total=total).factor(total)
        rates = sorted({group["initial_lr"] * factor for group in trainer.optimizers[0].param_groups})
        rank_zero_warn(
            f"model.schedule={self.schedule_arguments['name']} {'ended' if has_ended else 'ends'} at {total:g} "
            f"{self.schedule_unit}, before the end of the larger budget; from there on the run trains at "
            f"lr={', '.join(f'{rate:.3g}' for rate in rates)}"
        )

    @abstractmethod
    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss summed over this process's share of the batch, and what the *global* batch divides it by."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this process's share of the global batch."""
        total, count = self.training_loss(batch)
        mean = total / count.clamp(min=1)
        self.train_loss.update(mean.detach(), count)
        # DDP averages over ranks and Lightning divides by the accumulation: undo both, divide once, by the global count
        loss = mean * self._parts
        self.log("train/loss_step", loss, prog_bar=True, sync_dist=True)  # their mean is the global batch's loss
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the learning rate of the step, of every group of parameters where there are several."""
        groups = optimizer.param_groups
        for number, group in enumerate(groups):
            name = "lr" if len(groups) == 1 else f"lr/{group.get('name', number)}"
            self.log(name, torch.tensor(group["lr"], dtype=torch.float64))

    def on_train_epoch_end(self) -> None:
        """Log what the epoch has measured; the next one begins anew."""
        self.record_training()
        self.log_dict(self.training_metrics(), logger=False)
        for name, metric in self.named_children():
            if isinstance(metric, Metric) and name.startswith("train_"):
                metric.reset()

    def record_training(self) -> None:
        """Write down what the epoch has measured, at once: a run that is resumed at its end does not come by there."""
        row = {name: value.item() for name, value in self.training_metrics().items()}
        for logger in self.loggers:
            logger.log_metrics({**row, "epoch": self.current_epoch}, step=self.global_step - 1)

    def training_metrics(self) -> dict[str, Tensor]:
        """The epoch's loss so far, exact over unequal batches, by its logged name."""
        return {"train/loss": self.train_loss.compute() * self._parts}

    def parameter_groups(self) -> Iterable[Tensor] | Iterable[dict[str, Any]]:
        """What learns; or groups of it, where a task gives parts their own learning rates."""
        return [each for each in self.parameters() if each.requires_grad]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer by name, and its schedule as a function of steps or samples."""
        optimizer = make_optimizer(self.parameter_groups(), **self.optimizer_arguments)
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        schedule = self._schedule(self.trainer, data)
        self.schedule_total = schedule.total
        scheduler = LambdaLR(optimizer, lambda step: schedule.factor(self._progress(data, step)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the task's name, the schedule's end, for a larger budget, and the epoch's counts of every process.

        Lightning has put the settings there, as `hyper_parameters`.
        """
        checkpoint["task"] = self.record
        checkpoint["schedule_total"] = self.schedule_total
        if self.trainer.world_size > 1:
            self._change_counts(checkpoint, self._sum_over_processes)

    @property
    def record(self) -> dict[str, Any]:
        """The task's name, for checkpoints, and which of its settings are no plain data and not kept."""
        return {"name": type(self).__name__, "settings_left_out": self._left_out}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the schedule's end, and in the first process what all have counted.

        Raises:
            UserError: If the run that goes on has other settings than the checkpoint's.
        """
        if self._trainer is not None:
            self.check_settings(checkpoint, "the checkpoint")
        self.schedule_total = checkpoint["schedule_total"]
        if self._trainer is not None and self.trainer.global_rank:
            self._change_counts(checkpoint, torch.zeros_like)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **kwargs: Any,
    ) -> Self:
        """The trained task, with the settings of its run; those given here take the place of the run's.

        Raises:
            UserError: If the checkpoint is damaged, has no settings or is of another task.
        """
        if isinstance(checkpoint_path, str | Path) and hparams_file is None:
            checkpoint = sealed.load(Path(checkpoint_path))
            about = settings_of(checkpoint, str(checkpoint_path))
            if about["name"] not in [kind.__name__ for kind in cls.__mro__]:
                raise UserError(f"{checkpoint_path} is of {about['name']}; load it with that class, not {cls.__name__}")
            if missing := [name for name in about["settings_left_out"] if name not in kwargs]:
                raise UserError(f"{checkpoint_path} could not keep {', '.join(missing)}, no plain data; pass them here")
        loaded: Self = super().load_from_checkpoint(
            checkpoint_path, map_location, hparams_file, strict, weights_only, **kwargs
        )
        return loaded

    def check_settings(self, checkpoint: Mapping[str, Any], name: str) -> None:
        """Refuse a checkpoint that was trained with other settings than these.

        Raises:
            UserError: If they differ, or the checkpoint has none.
        """
        settings_of(checkpoint, name)
        trained: Mapping[str, Any] = checkpoint["hyper_parameters"]
        if unlike := settings.differences(trained, self.hparams):
            differences = ", ".join(f"model.{key}={trained.get(key)} (here {self.hparams.get(key)})" for key in unlike)
            raise UserError(f"{name} was trained with {differences}; put the run's config.yaml back as it was")

    def check_facts(self, facts: Mapping[str, Any], name: str) -> None:
        """Refuse facts of a checkpoint's data that its network cannot be of; most tasks have none such.

        Raises:
            UserError: If they are.
        """

    def _sum_over_processes(self, count: Tensor) -> Tensor:
        return self.trainer.strategy.all_gather(count).sum(dim=0)

    def _change_counts(self, checkpoint: dict[str, Any], change: Callable[[Tensor], Tensor]) -> None:
        """Change the metrics' sums and counts in a checkpoint; one of averaged weights has two states."""
        metrics = tuple(f"{name}." for name, module in self.named_children() if isinstance(module, Metric))
        for key in ("state_dict", "current_model_state"):  # in one order, for the processes change them together
            if key in checkpoint:
                counts = {name: change(value) for name, value in checkpoint[key].items() if name.startswith(metrics)}
                checkpoint[key] = {**checkpoint[key], **counts}

    @property
    def _parts(self) -> int:
        """Into how many parts a global batch is cut."""
        return self.trainer.world_size * self.trainer.accumulate_grad_batches

    def _progress(self, data: Any, step: int) -> float:
        """Where a schedule stands after so many optimizer steps, in its own unit."""
        return float(data.samples_seen(step) if self.schedule_unit == "samples" else step)

    def _schedule(self, trainer: pl.Trainer, data: Any) -> Schedule:
        """The schedule, which ends with the trainer's budget where it needs an end and has none of its own.

        Raises:
            UserError: If there is no such end, or the warm-up leaves nothing before it.
        """
        name, warmup = self.schedule_arguments["name"], self.schedule_arguments["warmup"]
        total = self.schedule_total
        if total is None and name in ("cosine", "one_cycle"):
            if (end := _last_step(trainer, data)) is None:
                only = "; trainer.max_time alone tells no step" if _has_timer(trainer) else ""
                raise UserError(
                    f"model.schedule={name} needs an end: set model.schedule_total, trainer.max_steps or "
                    f"trainer.max_epochs{only}"
                )
            total = self._progress(data, end)
            if trainer.fast_dev_run:  # type: ignore[attr-defined]  # a warm-up goes beyond these few batches
                total = max(total, warmup + self._progress(data, 1))
            elif warmup >= total:
                raise UserError(
                    f"{_described_budget(trainer, data, end, self.schedule_unit)} leave nothing after "
                    f"model.warmup={warmup:g} {self.schedule_unit}; train longer or set a shorter model.warmup"
                )
        return Schedule(**self.schedule_arguments, total=total)


def _on_meta(tensor: Tensor) -> Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _last_step(trainer: pl.Trainer, data: Any) -> int | None:
    """The optimizer step at which the trainer's limits of steps and epochs end a run; None without such a limit."""
    ends = (trainer.max_steps, (trainer.max_epochs or 0) * data.steps_per_epoch)
    return min((end for end in ends if end > 0), default=None)


def _described_budget(trainer: pl.Trainer, data: Any, end: int, unit: str) -> str:
    """The setting that ends a run at an optimizer step, and how many steps or samples that is."""
    if data.budget.max_samples is not None:
        setting, unit_size = f"budget.max_samples={data.budget.max_samples}", ""
    elif end == trainer.max_steps:
        setting, unit_size = f"trainer.max_steps={end}", f" x batch {data.batch_size}" if unit == "samples" else ""
    else:
        share = data.samples_seen(data.steps_per_epoch) if unit == "samples" else data.steps_per_epoch
        setting, unit_size = f"trainer.max_epochs={trainer.max_epochs}", f" x {share} {unit}"
    total = data.samples_seen(end) if unit == "samples" else end
    return f"{setting}{unit_size} = {total} {unit}"


def _has_timer(trainer: pl.Trainer) -> bool:
    return any(isinstance(callback, Timer) for callback in trainer.callbacks)  # type: ignore[attr-defined]


def settings_of(checkpoint: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A checkpoint's record of its task: `name`, and `settings_left_out`, those that are no plain data.

    Raises:
        UserError: If it has none, as those of earlier versions, or they are no plain data.
    """
    if reason := misfit(dict(checkpoint), _SETTINGS):
        raise UserError(
            f"{name} does not hold the settings of its task, as checkpoints of this version of the package do "
            f"({reason}): it was written by an earlier one, or by another program; train the run again"
        )
    about: Mapping[str, Any] = checkpoint["task"]
    return about


_SETTINGS: Final = {
    "task": {"name": str, "settings_left_out": [str]},
    "hyper_parameters": lambda value: misfit(value, {...: settings.is_plain}) is None and all(map(_is_text, value)),
}
"""Shape of what a checkpoint says of its task."""


def _is_text(value: object) -> bool:
    return type(value) is str


def _learns_alone(module: nn.Module) -> bool:
    """Whether this is a batch norm that takes its statistics from one device, now or once it has thawed."""
    if not isinstance(module, _BatchNorm) or isinstance(module, nn.SyncBatchNorm):
        return False
    return module.training or any(parameter.requires_grad for parameter in module.parameters())
