"""The LightningModule of 3D regression."""

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanMetric

from pose_lightning import joints
from pose_lightning.errors import UserError
from pose_lightning.metrics.poses import PoseErrors, joint_distances
from pose_lightning.optim import OptimizerName, ScheduleName
from pose_lightning.regression.loss import LossName, bone_length_loss, clip_loss, velocity_loss
from pose_lightning.regression.model import ClipRegressor
from pose_lightning.regression.targets import TargetName, TargetTransform, check_range
from pose_lightning.task import Batch, Task

JOINTS: Final = joints.H36M
"""The joint set of every clip store."""

MM_PER_M: Final = 1000.0


class ClipRegression(Task):
    """Regresses the root-relative pose of every frame of a clip; measured by MPJPE.

    Batches come from `regression.data.ClipData`: `clip` (B, T, 3, H, W) float32 RGB in [0, 1] and `joints`
    (B, T, 17, 3) float32 in mm, relative to the pelvis on every frame, along the camera's axes. Logs `train/loss`,
    `val/loss`, `train/mpjpe` (of the predictions that trained, as Keras does) and what `metrics.poses.PoseErrors`
    computes: `val/mpjpe`, `val/pa_mpjpe` and others.

    Args:
        target_transform: What the network learns: metres (`none`), or each coordinate's range (`minmax`) or spread
            (`standardize`) over the training split; turned back before any metric.
        loss: Between targets and outputs: `mse`, `l1` or `smooth_l1`.
        beta: Where `smooth_l1` turns straight, in target space.
        bone_weight: Weight of the bones' errors in length (m), added to the loss.
        velocity_weight: Weight of the errors of the steps between frames (m), added to the loss.
        optimizer: See `Task`, as all that follows.
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
        network: Settings of `regression.model.ClipRegressor`.

    Raises:
        UserError: If settings contradict each other.
    """

    monitor: tuple[str, Literal["min", "max"]] = ("val/mpjpe", "min")
    curves: Mapping[str, str] = {"loss": "loss", "mpjpe": "MPJPE, mm"}

    def __init__(
        self,
        *,
        target_transform: TargetName = "none",
        loss: LossName = "mse",
        beta: float = 0.05,
        bone_weight: float = 0.0,
        velocity_weight: float = 0.0,
        optimizer: OptimizerName = "sgd",
        lr: float = 1e-2,
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
        **network: Any,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            alpha=alpha,
            eps=eps,
            schedule=schedule,
            schedule_unit=schedule_unit,
            schedule_total=schedule_total,
            warmup=warmup,
            milestones=milestones,
            step_every=step_every,
            decay=decay,
            final=final,
        )
        for key, value in (("bone_weight", bone_weight), ("velocity_weight", velocity_weight)):
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"model.{key}={value} is out of range; it is a number, 0 or more")
        self.model = ClipRegressor(**network)
        if self.model.integral is not None and target_transform != "none":
            raise UserError(f"head=integral says metres; target_transform={target_transform} goes with head=mlp")
        self.targets = TargetTransform(target_transform)
        self.loss, self.beta = loss, beta
        self.bone_weight, self.velocity_weight = bone_weight, velocity_weight
        self.bounded = network.get("head_activation") == "sigmoid"
        self.flip_test = False
        self.train_mpjpe = MeanMetric(nan_strategy=math.nan)
        self.train_mpjpe.persistent(True)  # half an epoch's mean survives in the checkpoint
        self.val_loss = MeanMetric(nan_strategy=math.nan)
        self.val_errors = PoseErrors()

    def forward(self, clip: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t j 3"]:
        """Poses in mm, root-relative."""
        return self.targets.inverse(self.model(clip).float())

    def setup(self, stage: str) -> None:
        """Fit the targets to the training split, and refuse what the network cannot say.

        Raises:
            UserError: If frames are of another size than the network's, or labels lie outside a sigmoid's range.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.input_size != self.model.input_size:
            raise UserError(
                f"data.input_size is {data.input_size} and model.input_size {self.model.input_size}; give both the same"
            )
        if stage == "fit":
            poses = data.training_joints()
            self.targets.fit(poses)
            if self.bounded:
                check_range(self.targets, poses)

    def example(self, data: Any, samples: int) -> Tensor:
        """Clips as a batch of `data` has them."""
        with data.samples("train") as clips:
            frames = data.frames or clips.shape[0]
        return torch.zeros(samples, frames, 3, data.input_size, data.input_size, device="meta")

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses of the share's clips, and how many clips the global batch has."""
        outputs = self.model(batch["clip"]).float()
        preds = self.targets.inverse(outputs.detach())
        distances = joint_distances(preds, batch["joints"]).mean(dim=(1, 2))
        self.train_mpjpe.update(distances, batch["weight"])
        return (self._losses(outputs, batch["joints"]) * batch["weight"]).sum(), batch["total_samples"]

    def training_metrics(self) -> dict[str, Tensor]:
        """The epoch's loss and MPJPE, exact over unequal batches."""
        return {**super().training_metrics(), "train/mpjpe": self.train_mpjpe.compute()}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Add the batch to the metrics; returns the network's `outputs` (B, T, 17, 3)."""
        outputs = self.model(batch["clip"]).float()
        self.val_loss.update(self._losses(outputs, batch["joints"]), batch["weight"])
        self.val_errors.update(self.targets.inverse(outputs), batch["joints"], batch["weight"])
        return {"outputs": outputs}

    def on_validation_epoch_end(self) -> None:
        """Log the metrics; each has counted every clip of every rank once."""
        self.log("val/loss", self.val_loss.compute())
        for name, value in self.val_errors.compute().items():
            self.log(f"val/{name}", value, prog_bar=name == "mpjpe")
        self.val_loss.reset()
        self.val_errors.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Poses in mm (B, T, 17, 3) float64, the clips' losses (B,), their numbers and their weights."""
        outputs = self.model(batch["clip"]).float()
        preds = self.targets.inverse(outputs)
        if self.flip_test:
            mirrored = self(batch["clip"].flip(-1))[:, :, list(JOINTS.mirrored)]
            preds = (preds + mirrored * mirrored.new_tensor([-1.0, 1.0, 1.0])) / 2
        return {
            "preds": preds.double(),
            "loss": self._losses(outputs, batch["joints"]).double(),
            "index": batch["index"],
            "weight": batch["weight"],
        }

    def _losses(self, outputs: Float[Tensor, "b t j 3"], truth: Float[Tensor, "b t j 3"]) -> Float[Tensor, " b"]:
        """The loss of every clip."""
        losses = clip_loss(outputs, self.targets(truth), loss=self.loss, beta=self.beta)
        if self.bone_weight or self.velocity_weight:
            preds, metres = self.targets.inverse(outputs) / MM_PER_M, truth / MM_PER_M
            losses = losses + self.bone_weight * bone_length_loss(preds, metres)
            losses = losses + self.velocity_weight * velocity_loss(preds, metres)
        return losses
