"""The LightningModule of heatmap estimation."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import MeanMetric

from pose_lightning.errors import UserError
from pose_lightning.geometry import apply_to_points, sides
from pose_lightning.heatmap import networks
from pose_lightning.heatmap.codec import (
    decode,
    encode,
    heatmap_to_input,
    input_to_heatmap,
    mirror_back,
)
from pose_lightning.heatmap.decoding import STRIDE, Grid
from pose_lightning.heatmap.loss import LOSSES, Loss, LossName, check_loss, probabilities
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.heatmap.networks import Network
from pose_lightning.heatmap.testing import average_scales
from pose_lightning.heatmap.truth import units
from pose_lightning.joints import DEFAULT, JOINT_SETS, JointSet
from pose_lightning.manner import UNSCALED, DecodeMethod, Scales
from pose_lightning.metrics import points
from pose_lightning.optim import OptimizerName
from pose_lightning.ranges import check_ranges
from pose_lightning.recomputation import recompute_blocks
from pose_lightning.store import Store
from pose_lightning.task import Batch, Task


class HeatmapEstimation(Task):
    """A network trained on gaussian heatmaps and measured by PCKh or PCK: a stacked hourglass, or one with a backbone.

    Batches come from `heatmap.data.PoseData`: `image` (B, 3, H, W) float32 RGB in [0, 1], `joints` (B, J, 2) in input
    px, `labelled` and `visible` (B, J), `matrix` (B, 2, 3) from input px to image px, `unit` (B,) in image px.
    Logs `train/loss`, `val/loss` and what `metrics.points.PCK` computes: of MPII `val/pckh` (PCKh@0.5 in per cent, mean
    of 14 joints), `val/pckh_0.1`, `val/auc` and others.

    Args:
        joint_set: Of the poses: the name of one that `joints` has, or one in full, as `JointSet.plain` gives it; left
            out, `fit` takes that of the training store.
        network: `hourglass` (Newell et al., 2016), `simple_baseline` (Xiao et al., 2018) or `vit` (ViTPose, 2022); or a
            class of your own, by its full name, whose first argument is the number of joints, and which maps images to
            heatmaps (`heatmap.networks.Network`). Its settings are `model.network.stacks=8` and so on.
        weights: Start from a file's weights, .safetensors or a state dict of PyTorch: of a backbone, under timm's
            names, or of a whole network, such as a run's checkpoint or what `heatmap.published` makes.
        sigma: Standard deviation of the target gaussians, heatmap px.
        loss: `mse` between heatmaps and gaussians, as every published hourglass; `cross_entropy` of their softmax
            learns faster from few photographs. Or a function or class of your own by its full name: of heatmaps
            (b, s, j, h, w) and gaussians (b, j, h, w) it gives the loss of every joint (b, j).
        missing: What an unlabelled joint is trained to: `mask` leaves it out of the loss, `zero` trains its map towards
            zero, as Newell's and psh's code do.
        decoding: How a peak becomes a position (`codec.decode`).
        grid: Where the px of a map stand in the input (`codec.input_to_heatmap`); `udp` for weights trained so.
        checkpoint_activations: Keep only what passes between the network's blocks, and compute the rest again for the
            gradient: less memory, about a third more time.
        settings: Optimizer and schedule, as `Task` takes them.
    """

    monitor: tuple[str, Literal["min", "max"]]
    curves: Mapping[str, str]

    def __init__(
        self,
        *,
        joint_set: str | dict[str, Any] | None = None,
        network: Network = StackedHourglass,
        weights: Path | None = None,
        sigma: float = 1.0,
        loss: LossName | Callable[..., Any] = "mse",
        missing: Literal["mask", "zero"] = "mask",
        decoding: DecodeMethod = "quarter",
        grid: Grid = "cells",
        optimizer: OptimizerName = "rmsprop",
        lr: float = 2.5e-4,
        checkpoint_activations: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(optimizer=optimizer, lr=lr, **settings)
        check_ranges({"model.sigma": sigma})
        if loss == "cross_entropy" and missing == "zero":
            raise UserError("missing=zero needs loss=mse: a softmax cannot be empty; take missing=mask")
        self.joint_set = DEFAULT if joint_set is None else JointSet.read(joint_set, "model.joint_set")
        self.network_name = networks.name_of(network)
        self.model = networks.make(network, joints=len(self.joint_set), path=weights)
        if checkpoint_activations:
            recompute_blocks(self.model)
        self.loss = loss
        self.sigma, self.missing, self.decoding = sigma, missing, decoding
        self.grid = grid
        self.flip_test = False
        self.scales: Scales = UNSCALED
        self.val_loss = MeanMetric(nan_strategy=math.nan)
        self.val_points = points.PCK(self.joint_set)
        name, found = points.NAME[self.joint_set.reference], points.FOUND[self.joint_set.reference]
        self.monitor = (f"val/{name}", "max")
        self.curves = {"loss": "loss", name: f"{points.title(self.joint_set)}@{found:g}, %"}

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b s j h4 w4"]:
        """Heatmaps of every stack, at a quarter of the image's size."""
        return networks.staged(self.model(image))

    def check(self, trainer: pl.Trainer, data: Any) -> None:
        """Refuse a network and a loss of a person's own that cannot work, before a run has a directory.

        Raises:
            UserError: As `Task.check`, and if the network gives no heatmaps, or the loss no number for every joint.
        """
        if self.network_name not in networks.NAMES.values():
            image = torch.zeros(1, 3, *sides(data.input_size))
            networks.check(self.model, self.network_name, image, len(self.joint_set), STRIDE)
        if not isinstance(self.loss, str):
            height, width = sides(data.input_size)
            check_loss(self.loss, len(self.joint_set), (height // STRIDE, width // STRIDE))
        super().check(trainer, data)

    def example(self, data: Any, samples: int) -> Tensor:
        """Pictures as a batch of `data` has them."""
        return torch.zeros(samples, 3, *sides(data.input_size), device="meta")

    @classmethod
    def settings_from(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """The joint set of the training store."""
        path = Path(data["root"]) / "train.h5"
        if not path.is_file():
            return {}
        with Store(path) as store:
            if store.attrs.get("kind") != "pose":
                return {}
            joint_set = JointSet.read(store.attrs.get("joint_set"), path)
        is_known = JOINT_SETS.get(joint_set.name) == joint_set
        return {"joint_set": joint_set.name if is_known else joint_set.plain()}

    def check_facts(self, facts: Mapping[str, Any], name: str) -> None:
        """Refuse data of other joints than the network's.

        Raises:
            UserError: If they are.
        """
        joint_set = JointSet.read(facts["joint_set"], name)
        if (difference := self.joint_set.differences(joint_set)) is not None:
            raise UserError(
                f"{name} has the joint set {joint_set.name}, and the network is of {self.joint_set.name}: "
                f"{difference}; take data of the same joints, or leave model.joint_set out"
            )
        if len(facts["taught"]) != len(joint_set):
            raise UserError(f"{name} is damaged: it tells of {len(facts['taught'])} joints; train the run again")

    def setup(self, stage: str) -> None:
        """Refuse data of other joints.

        Raises:
            UserError: As `check_facts`.
        """
        if stage == "fit":
            data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self.check_facts(data.facts, str(data.store_path("train")))

    def unscorable(self, data: Any) -> str | None:
        """Tell whether no validation person has the unit of PCK beside a labelled joint."""
        with data.samples("val") as people:
            known = units(people.labels, self.joint_set, people.path) > 0
            known &= people.labels["labelled"].any(axis=1)
        if known.any():
            return None
        unit = points.UNIT_NAMES[self.joint_set.reference][0]
        return f"{data.store_path('val')}: none of {len(known)} persons has a {unit} and a labelled joint"

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses of the share's joints, and how many joints of the global batch count."""
        return self._losses(self(batch["image"]), batch).sum(), self._global_count(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Add the batch to the metrics; returns the last stack's maps as `heatmaps` (B, J, H, W)."""
        heatmaps = self(batch["image"])
        losses = self._losses(heatmaps, batch)
        self.val_loss.update(losses, self._counted(batch).to(losses.dtype))
        preds, _ = self._decode(self._peaked(heatmaps[:, -1]), batch)
        self.val_points.update(
            preds,
            apply_to_points(batch["matrix"], batch["joints"].double()),
            batch["labelled"],
            batch["visible"],
            batch["unit"],
            batch["weight"],
        )
        return {"heatmaps": heatmaps[:, -1]}

    def on_validation_epoch_end(self) -> None:
        """Log the metrics; each has counted every sample of every rank once."""
        self.log("val/loss", self.val_loss.compute())
        for name, value in self.val_points.compute().items():
            self.log(f"val/{name}", value, prog_bar=f"val/{name}" == self.monitor[0])
        self.val_loss.reset()
        self.val_points.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Joints in image px (B, J, 2) float64, their confidences (B, J), the samples' numbers and their weights.

        Where a batch has labels and one scale is looked at, also what `val/loss` is made of: each sample's `loss` (B,),
        without a flip test, summed over its `counted` joints (B,).
        """
        images = [batch["image"]] if self.scales == UNSCALED else list(batch["views"].unbind(1))
        outputs = [self(image) for image in images]
        answers = [self._answer(image, output) for image, output in zip(images, outputs, strict=True)]
        preds, confidence = self._decode(average_scales(answers, self.scales), batch)
        found = {"preds": preds, "confidence": confidence, "index": batch["index"], "weight": batch["weight"]}
        if "labelled" in batch and self.scales == UNSCALED:
            found["loss"] = self._losses(outputs[0], batch).double().sum(dim=1)
            found["counted"] = self._counted(batch).sum(dim=1)
        return found

    def _answer(
        self, image: Float[Tensor, "b 3 h w"], heatmaps: Float[Tensor, "b s j h4 w4"]
    ) -> Float[Tensor, "b j h4 w4"]:
        """The last stack's maps, averaged with those of the mirrored image in a flip test."""
        maps = self._peaked(heatmaps[:, -1])
        if not self.flip_test:
            return maps
        mirrored = self._peaked(self(image.flip(-1))[:, -1])
        return (maps + mirror_back(mirrored, self.joint_set)) / 2

    def _losses(self, heatmaps: Float[Tensor, "b s j h w"], batch: Batch) -> Float[Tensor, "b j"]:
        """The loss of every joint, summed over stacks; 0 where it does not count."""
        height, width = heatmaps.shape[-2:]
        places = input_to_heatmap(batch["joints"], grid=self.grid, size=(height, width))
        targets = encode(places, batch["labelled"], (height, width), self.sigma)
        errors = self._loss(heatmaps, targets)
        return torch.where(self._counted(batch), errors, 0.0)

    @property
    def _loss(self) -> Loss:
        """Of heatmaps and gaussians, by joint."""
        if isinstance(self.loss, str):
            return LOSSES[self.loss]
        return self.loss

    def _counted(self, batch: Batch) -> Bool[Tensor, "b j"]:
        """Which joints the loss counts; a sample of weight 0 only fills up a rank's share."""
        real = batch["weight"][:, None] > 0
        return (batch["labelled"] & real) if self.missing == "mask" else real.expand(-1, len(self.joint_set))

    def _global_count(self, batch: Batch) -> Tensor:
        return batch["total_labelled"] if self.missing == "mask" else batch["total_samples"] * len(self.joint_set)

    def _peaked(self, heatmaps: Float[Tensor, "b j h w"]) -> Float[Tensor, "b j h w"]:
        return probabilities(heatmaps) if self.loss == "cross_entropy" else heatmaps.float()

    def _decode(self, heatmaps: Float[Tensor, "b j h w"], batch: Batch) -> tuple[Tensor, Tensor]:
        peaks, confidence = decode(heatmaps, self.decoding, sigma=self.sigma)
        height, width = heatmaps.shape[-2:]
        peaks = heatmap_to_input(peaks, grid=self.grid, size=(height, width))
        return apply_to_points(batch["matrix"], peaks.double()), confidence
