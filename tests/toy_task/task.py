"""The LightningModule: one linear layer."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from pose_lightning.task import Batch, Task
from tests.toy_task.data import SIDE


class BrightnessEstimation(Task):
    """Logs `val/loss`, the mean squared error, and `val/error`, the mean absolute one.

    Args:
        lr: Learning rate of SGD.
    """

    monitor: tuple[str, Literal["min", "max"]] = ("val/error", "min")
    curves: Mapping[str, str] = {"loss": "loss", "error": "error"}

    def __init__(self, *, lr: float = 1e-2) -> None:
        super().__init__(optimizer="sgd", lr=lr)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 1), nn.Flatten(0))
        self.val_loss, self.val_error = MeanMetric(), MeanMetric()

    def forward(self, image: Tensor) -> Tensor:
        """Brightness (b,)."""
        return self.model(image)

    def logged(self) -> set[str]:
        """What callbacks may follow."""
        return {*super().logged(), "val/error"}

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Squared errors."""
        errors = (self(batch["image"]) - batch["brightness"]).square()
        return (errors * batch["weight"]).sum(), batch["total_samples"]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add to the metrics."""
        errors = self(batch["image"]) - batch["brightness"]
        self.val_loss.update(errors.square(), batch["weight"])
        self.val_error.update(errors.abs(), batch["weight"])

    def on_validation_epoch_end(self) -> None:
        """Log the metrics."""
        for name, metric in (("val/loss", self.val_loss), ("val/error", self.val_error)):
            self.log(name, metric.compute())
            metric.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Brightness, numbers and weights."""
        preds = self(batch["image"]).double()
        return {"preds": preds, "index": batch["index"], "weight": torch.as_tensor(batch["weight"])}
