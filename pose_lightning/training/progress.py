"""The progress bar of a run: the task's metric beside the loss, in a line that fits a terminal of 80 columns."""

from typing import Any, Final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.callbacks.progress.rich_progress import ProcessingSpeedColumn
from rich.progress import BarColumn, ProgressColumn

LOSS: Final = "train/loss_step"
"""As it is logged; the bar says `loss`."""

BAR: Final = 10
"""Of the bar itself, columns; rich would rather break the metrics than draw a bar shorter than asked for."""


class MetricBar(RichProgressBar):
    """Lightning's bar, shorter, and without the logger's version and steps per second (`cost.json` has those)."""

    def configure_columns(self, trainer: pl.Trainer) -> list[Any]:
        """What stands before the metrics."""
        columns: list[ProgressColumn] = super().configure_columns(trainer)
        for column in columns:
            if isinstance(column, BarColumn):
                column.bar_width = BAR
        return [column for column in columns if not isinstance(column, ProcessingSpeedColumn)]

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The loss of the step, and the metric that the task follows once it was validated."""
        shown = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        return {"loss" if name == LOSS else name: value for name, value in shown.items()}

    def _get_train_description(self, current_epoch: int) -> str:
        """The epoch, and of how many: a run whose end is a number of samples or steps has none of those."""
        description: str = super()._get_train_description(current_epoch)
        return description if self.trainer.max_epochs != -1 else description.replace("/-2", "")
