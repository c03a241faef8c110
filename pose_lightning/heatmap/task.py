"""The LightningModule of heatmap estimation."""

from typing import Any, ClassVar, Final, Literal

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric

from pose_lightning import joints
from pose_lightning.errors import UserError
from pose_lightning.geometry import apply_to_points
from pose_lightning.heatmap.codec import DecodeMethod, decode, encode, heatmap_to_input, input_to_heatmap, mirror_back
from pose_lightning.heatmap.loss import LossName, cross_entropy, probabilities, squared_error
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.metrics.points import PCKh
from pose_lightning.optim import OptimizerName, Schedule, ScheduleName, make_optimizer

Batch = dict[str, Any]

JOINTS: Final = joints.MPII
"""The joint set of every pose store (LSP is mapped to it)."""


class HeatmapEstimation(pl.LightningModule):
    """A stacked hourglass, trained on gaussian heatmaps and measured by PCKh.

    Batches come from `heatmap.data.PoseData`: `image` (B, 3, H, W) float32 RGB in [0, 1], `joints` (B, J, 2) in input
    px, `labelled` and `visible` (B, J), `matrix` (B, 2, 3) from input px to image px, `head_size` (B,) in image px.
    Logs `train/loss`, `val/loss` and what `metrics.PCKh` computes: `val/pckh` (PCKh@0.5 in per cent, mean of 14
    joints), `val/pckh_0.1`, `val/auc` and others.

    Args:
        stacks: Hourglasses in a row, each supervised.
        features: Width of the network.
        depth: Halvings of the resolution inside an hourglass.
        sigma: Standard deviation of the target gaussians, heatmap px.
        loss: `mse` between heatmaps and gaussians, as every published hourglass; `cross_entropy` of their softmax
            learns faster from few photographs.
        missing: What an unlabelled joint is trained to: `mask` leaves it out of the loss, `zero` trains its map towards
            zero, as Newell's and psh's code do.
        decoding: How a peak becomes a position.
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
        channels_last: Memory layout; about 1.25 times faster on a CPU, and what GPUs with mixed precision want.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/pckh", "max")
    """What `best.ckpt` follows."""

    def __init__(
        self,
        *,
        stacks: int = 8,
        features: int = 256,
        depth: int = 4,
        sigma: float = 1.0,
        loss: LossName = "mse",
        missing: Literal["mask", "zero"] = "mask",
        decoding: DecodeMethod = "quarter",
        optimizer: OptimizerName = "rmsprop",
        lr: float = 2.5e-4,
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
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        if loss == "cross_entropy" and missing == "zero":
            raise UserError("missing=zero needs loss=mse: a softmax cannot be empty; take missing=mask")
        self.model = StackedHourglass(
            stacks=stacks, features=features, joints=len(JOINTS), depth=depth, channels_last=channels_last
        )
        self.loss = loss
        self.sigma, self.missing, self.decoding = sigma, missing, decoding
        self.flip_test = False
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
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.train_loss.persistent(True)  # half an epoch's mean survives in the checkpoint
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.val_pckh = PCKh()

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b s j h4 w4"]:
        """Heatmaps of every stack, at a quarter of the image's size."""
        return self.model(image)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this process's share of the global batch."""
        total = self._losses(self(batch["image"]), batch).sum()
        count = self._global_count(batch)
        mean = total / count.clamp(min=1)
        self.train_loss.update(mean.detach(), count)
        # DDP averages over ranks and Lightning divides by the accumulation: undo both, divide once, by the global count
        parts = self.trainer.world_size * self.trainer.accumulate_grad_batches
        loss = mean * parts
        self.log("train/loss_step", loss, prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Log the epoch's loss, exact over unequal batches."""
        parts = self.trainer.world_size * self.trainer.accumulate_grad_batches
        self.log("train/loss", self.train_loss.compute() * parts)
        self.train_loss.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add the batch to the metrics."""
        heatmaps = self(batch["image"])
        losses = self._losses(heatmaps, batch)
        self.val_loss.update(losses, self._counted(batch).to(losses.dtype))
        points, _ = self._decode(self._peaked(heatmaps[:, -1]), batch)
        self.val_pckh.update(
            points,
            apply_to_points(batch["matrix"], batch["joints"].double()),
            batch["labelled"],
            batch["visible"],
            batch["head_size"],
            batch["weight"],
        )

    def on_validation_epoch_end(self) -> None:
        """Log the metrics; each has counted every sample of every rank once."""
        self.log("val/loss", self.val_loss.compute())
        for name, value in self.val_pckh.compute().items():
            self.log(f"val/{name}", value, prog_bar=name == "pckh")
        self.val_loss.reset()
        self.val_pckh.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Joints in image px (B, J, 2) float64, their confidences (B, J), the samples' numbers and their weights."""
        heatmaps = self._peaked(self(batch["image"])[:, -1])
        if self.flip_test:
            mirrored = self._peaked(self(batch["image"].flip(-1))[:, -1])
            heatmaps = (heatmaps + mirror_back(mirrored, JOINTS)) / 2
        points, confidence = self._decode(heatmaps, batch)
        return {"preds": points, "confidence": confidence, "index": batch["index"], "weight": batch["weight"]}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer by name, and its schedule as a function of steps or samples."""
        optimizer = make_optimizer(self.parameters(), **self.optimizer_arguments)
        schedule = Schedule(**self.schedule_arguments, total=self._schedule_total())
        samples_seen = self.trainer.datamodule.samples_seen  # type: ignore[attr-defined]
        progress = samples_seen if self.schedule_unit == "samples" else float
        scheduler = LambdaLR(optimizer, lambda step: schedule.factor(progress(step)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the schedule's end: a run that is resumed with a larger budget follows the same curve."""
        checkpoint["schedule_total"] = self.schedule_total

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the schedule's end."""
        self.schedule_total = checkpoint["schedule_total"]

    def _losses(self, heatmaps: Float[Tensor, "b s j h w"], batch: Batch) -> Float[Tensor, "b j"]:
        """The loss of every joint, summed over stacks; 0 where it does not count."""
        targets = encode(input_to_heatmap(batch["joints"]), batch["labelled"], heatmaps.shape[-1], self.sigma)
        errors = (squared_error if self.loss == "mse" else cross_entropy)(heatmaps, targets)
        return torch.where(self._counted(batch), errors, 0.0)

    def _counted(self, batch: Batch) -> Bool[Tensor, "b j"]:
        """Which joints the loss counts; a sample of weight 0 only fills up a rank's share."""
        real = batch["weight"][:, None] > 0
        return (batch["labelled"] & real) if self.missing == "mask" else real.expand(-1, len(JOINTS))

    def _global_count(self, batch: Batch) -> Tensor:
        return batch["total_labelled"] if self.missing == "mask" else batch["total_samples"] * len(JOINTS)

    def _peaked(self, heatmaps: Float[Tensor, "b j h w"]) -> Float[Tensor, "b j h w"]:
        return probabilities(heatmaps) if self.loss == "cross_entropy" else heatmaps.float()

    def _decode(self, heatmaps: Float[Tensor, "b j h w"], batch: Batch) -> tuple[Tensor, Tensor]:
        points, confidence = decode(heatmaps, self.decoding)
        return apply_to_points(batch["matrix"], heatmap_to_input(points).double()), confidence

    def _schedule_total(self) -> float | None:
        if self.schedule_total is None and self.schedule_arguments["name"] in ("cosine", "one_cycle"):
            data, trainer = self.trainer.datamodule, self.trainer  # type: ignore[attr-defined]
            ends = (trainer.max_steps, (trainer.max_epochs or 0) * data.steps_per_epoch)
            if not any(end > 0 for end in ends):
                raise UserError(
                    f"schedule={self.schedule_arguments['name']} needs an end: set model.schedule_total, "
                    "trainer.max_steps or trainer.max_epochs"
                )
            steps = min(end for end in ends if end > 0)
            self.schedule_total = float(data.samples_seen(steps) if self.schedule_unit == "samples" else steps)
        return self.schedule_total
