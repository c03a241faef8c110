"""The moments at which checkpoints are written, and at which a run stops that was told to."""

import math
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning_fabric.utilities.types import _PATH
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.trainer.connectors import checkpoint_connector
from torch import Tensor

from pose_lightning import divergence, sealed
from pose_lightning.divergence import DivergedError, LossWatch
from pose_lightning.errors import UserError
from pose_lightning.reading.records import misfit, optional
from pose_lightning.signals import Stopped, StopRequest
from pose_lightning.task import Task
from pose_lightning.training.timer import SlotTimer

LAST = "last.ckpt"
"""The file that the one before it is kept of."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes and reads sealed files: whole or not at all, with a checksum.

    Lightning's own save goes through the temporary directory, which may lie on another file system, where a rename is a
    copy that a kill can cut in two.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`; of `last.ckpt`, keep the one before it."""
        if storage_options is not None:
            raise TypeError("storage options are for remote file systems; runs are local directories")
        sealed.write(checkpoint, Path(path), keep=Path(path).name == LAST)

    def load_checkpoint(self, path: _PATH, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read what `save_checkpoint` wrote.

        Raises:
            SealError: If it is damaged, or no checkpoint.
        """
        sealed.verify(Path(path))
        with sealed.explained(Path(path)):
            state = super().load_checkpoint(path, *args, **kwargs)
        return sealed.checked(state, Path(path))


class RunCheckpoints(Checkpoint):
    """Writes `last.ckpt` often enough to resume from, and `best.ckpt` when the monitored metric improves.

    `last.ckpt` is written between optimizer steps only: at every n-th step, before and after each validation, at the
    end of an epoch, and where the run was told to stop. Replaying the few steps since the last write gives the same
    weights, because the order of samples and every augmentation is a pure function of (seed, epoch, sample).

    A loss or a weight that is no finite number is never saved.

    Args:
        directory: Where both files go.
        monitor: The logged metric that `best.ckpt` follows; a value that is not finite is never the best.
        mode: Whether a larger or a smaller value is better.
        every_n_steps: Optimizer steps between two writes of `last.ckpt`.
        request: What may tell the run to stop.
        settings: Kept in every checkpoint, for the run that goes on from it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        monitor: str,
        mode: Literal["min", "max"],
        every_n_steps: int,
        request: StopRequest | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = dict(settings or {})
        self.last = directory / LAST
        self.best = directory / "best.ckpt"
        self.monitor, self.mode, self.every_n_steps = monitor, mode, every_n_steps
        self.request = request or StopRequest(())
        self.best_score: float | None = None
        self.best_step: int | None = None
        self._watch = LossWatch()
        self._written: int | None = None
        self._owes_validation = False
        self._stopped = False
        self._validated: dict[str, Tensor] = {}

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen to signals from here on."""
        self.request.listen()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listen, where Lightning's own handlers are now: they save inside the signal, or between two steps' halves."""
        self.request.listen()
        if trainer.ckpt_path is not None and Path(trainer.ckpt_path) == self.last:
            self._written = trainer.global_step  # a run that has nothing left to do leaves its last checkpoint as it is
        if self.best_score is not None:
            self._record_best(trainer)
        # what a callback reads at the end of an epoch, which a resumed run may come by without another validation
        device = trainer.strategy.root_device
        trainer._logger_connector._callback_metrics.update(
            {name: value.to(device) for name, value in self._validated.items()}
        )
        trainer.should_stop = trainer.should_stop or self._stopped
        if self._owes_validation:  # Lightning has seen by now that it has to validate first
            _count_validation(trainer, -1)
            self._owes_validation = False
        if "val" in getattr(trainer.datamodule, "changed_stores", ()):  # type: ignore[attr-defined]
            self.best_score = self.best_step = None  # a score on other samples is none to improve on
        self._stop_if_asked(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write `last.ckpt` where the optimizer has stepped and the epoch goes on."""
        loop = trainer.fit_loop.epoch_loop
        accumulating = loop._should_accumulate()
        self._watch.see(outputs["loss"], trainer.global_step + accumulating)
        if accumulating:
            return
        due = trainer.global_step % self.every_n_steps == 0 or _is_last_step(trainer) or trainer.should_stop
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        logs = every > 0 and trainer.global_step % every == 0
        if due or logs or trainer.world_size > 1 or trainer.strategy.root_device.type == "cpu":
            self._watch.check(trainer, self._kept)
        fetcher = trainer.fit_loop._data_fetcher
        if fetcher is None or loop._num_ready_batches_reached() or loop._should_check_val_fx(fetcher):
            return
        asked = self.request.agreed(trainer)
        if due or asked:
            trainer._logger_connector.update_train_step_metrics()  # a resumed run does not come by here again
            self._save_last(trainer)
        self._stop(trainer, asked)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `last.ckpt` as of a run that owes a validation, so that no interruption of it costs a step."""
        if not _fitting(trainer) or trainer.fit_loop.epoch_loop._should_accumulate() or _is_last_step(trainer):
            return
        self._watch.check(trainer, self._kept)
        self._owes_validation = True
        _count_validation(trainer, 1)
        try:
            self._save_last(trainer)
        finally:
            _count_validation(trainer, -1)
            self._owes_validation = False
        self._stop_if_asked(trainer)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Stop where the run was told to; the whole validation is done again."""
        if _fitting(trainer) and not trainer.fit_loop.epoch_loop._should_accumulate() and not _is_last_step(trainer):
            self._stop_if_asked(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `last.ckpt`, after `best.ckpt` where the metric improved."""
        if not _fitting(trainer):
            return
        logged = sorted(trainer.callback_metrics.items())
        self._validated = {
            name: value.detach().cpu().clone()
            for name, value in logged
            if not name.startswith(("train/", "lr/")) and name != "lr"  # those of steps come again with the next one
        }
        if divergence.finite(pl_module) and self._improved(trainer.callback_metrics.get(self.monitor)):
            self.best_step = trainer.global_step
            trainer.save_checkpoint(self.best)
            self._record_best(trainer)
        if not trainer.fit_loop.epoch_loop._should_accumulate():
            self._save_last(trainer)
            self._stop_if_asked(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write `last.ckpt` at the end of an epoch that had no validation at its end."""
        self._watch.check(trainer, self._kept)
        if self._written != trainer.global_step:
            self._save_last(trainer)
        self._stop_if_asked(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a result that is no number; obey a signal that came after the last save.

        Raises:
            DivergedError: If the last step has left a weight that is not finite.
        """
        if not divergence.finite(pl_module):
            divergence.record(trainer, math.nan, trainer.global_step)
            raise DivergedError(
                f"the last step, {trainer.global_step}, has left weights that are no numbers. {self._kept}"
            )
        self._stop_if_asked(trainer)

    def _record_best(self, trainer: pl.Trainer) -> None:
        """Put the best score into the W&B run's summary, which has the last one of itself."""
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                best = {f"best/{self.monitor}": self.best_score, "best/step": self.best_step}
                logger.experiment.summary.update(best)

    def _save_last(self, trainer: pl.Trainer) -> None:
        if divergence.finite(trainer.lightning_module):  # where it is not, the next loss says so
            self._stopped = trainer.should_stop and not _out_of_time(trainer)
            if (_is_last_step(trainer) or self._stopped) and isinstance(trainer.lightning_module, Task):
                trainer.lightning_module.record_training()  # nor does it train, validate or end the epoch any more
            trainer.save_checkpoint(self.last)
            self._written = trainer.global_step

    def _stop_if_asked(self, trainer: pl.Trainer) -> None:
        self._stop(trainer, self.request.agreed(trainer))

    def _stop(self, trainer: pl.Trainer, asked: int | None) -> None:
        if asked:
            raise Stopped(asked, trainer.global_step)

    @property
    def _kept(self) -> str:
        if not self.last.is_file():
            return "There was no checkpoint yet."
        return f"{self.last}{'' if self._written is None else f', of step {self._written},'} is from before."

    def _improved(self, score: Tensor | None) -> bool:
        if score is None or not torch.isfinite(score):
            return False
        value = float(score)
        sign = 1 if self.mode == "max" else -1
        if self.best_score is not None and sign * value <= sign * self.best_score:
            return False
        self.best_score = value
        return True

    def state_dict(self) -> dict[str, Any]:
        """The best score and its step, whether a validation is still to do, and what callbacks know of the last one."""
        return {
            "best_score": self.best_score,
            "best_step": self.best_step,
            "owes_validation": self._owes_validation,
            "stopped": self._stopped,
            "callback_metrics": dict(self._validated),
            "settings": self.settings,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best score of the run that is resumed.

        Raises:
            UserError: If the checkpoint has something else in their place.
        """
        if reason := misfit(state_dict, _STATE):
            raise UserError(f"the checkpoint is damaged: of its scores, {reason}; train the run again")
        self.best_score, self.best_step = state_dict["best_score"], state_dict["best_step"]
        self._owes_validation = state_dict.get("owes_validation", False)
        self._stopped = state_dict.get("stopped", False)
        self._validated = dict(state_dict.get("callback_metrics", {}))


_STATE: Final = {
    "best_score": optional((int, float)),
    "best_step": optional(int),
    "owes_validation?": bool,
    "stopped?": bool,
    "callback_metrics?": {...: lambda value: isinstance(value, Tensor)},
}
"""Shape of what `RunCheckpoints` keeps."""


def check(state: Mapping[str, Any], path: Path) -> None:
    """Refuse a checkpoint that training cannot go on from: one of Lightning's parts is missing, or is something else.

    Raises:
        UserError: If it is.
    """
    if reason := misfit(dict(state), _TRAINING):
        raise UserError(f"{path} is damaged, or of another version: {reason}; train the run again")


def _are_counts(value: Any) -> bool:
    """Whether all that a loop keeps are whole numbers and flags."""
    if isinstance(value, dict | list):
        return all(map(_are_counts, value.values() if isinstance(value, dict) else value))
    return type(value) in (bool, int)


_TRAINING: Final = {
    "pytorch-lightning_version": str,
    "epoch": int,
    "loops": {"fit_loop": lambda value: isinstance(value, dict) and _are_counts(value)},
    "callbacks": {...: dict},
    "optimizer_states": [{"state": dict, "param_groups": [dict]}],
    "lr_schedulers": [
        {"last_epoch?": int, "_step_count?": int, "base_lrs?": [(int, float)], "_last_lr?": [(int, float)]}
    ],
    "schedule_total": optional((int, float)),
}
"""Shape of what Lightning and tasks keep to go on with training."""


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turn what cannot be taken up of a checkpoint, which may come from somebody else, into a user's error.

    Raises:
        UserError: In place of the errors of Lightning's and the callbacks' readers.
    """
    try:
        yield
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        if path is None or not _is_of_reader(error):
            raise
        raise UserError(
            f"{path} is damaged, or of another version: it cannot be gone on from ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); put back one that is whole, or train the run again"
        ) from error


def _is_of_reader(error: BaseException) -> bool:
    """Whether an error comes from below Lightning's functions that take up a checkpoint."""
    codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(
        code.co_filename == checkpoint_connector.__file__
        and code.co_name.lstrip("_").startswith(("resume_start", "restore"))
        for code in codes
    )


def _fitting(trainer: pl.Trainer) -> bool:
    return trainer.state.fn == "fit" and not trainer.sanity_checking


def _out_of_time(trainer: pl.Trainer) -> bool:
    """Whether it is the time that stops the run, of which a resumed one has more."""
    return any(isinstance(callback, SlotTimer) and callback.expired for callback in trainer.callbacks)  # type: ignore[attr-defined]


def _is_last_step(trainer: pl.Trainer) -> bool:
    """Whether Lightning takes a run that is resumed here for finished, whatever is left of its last epoch."""
    return trainer.global_step == trainer.max_steps


def _count_validation(trainer: pl.Trainer, number: int) -> None:
    """Count a validation batch as begun (1) or not (-1): by one in progress Lightning tells that it has to validate."""
    total: Any = trainer.fit_loop.epoch_loop.val_loop.batch_progress.total
    total.ready += number
    total.started += number
