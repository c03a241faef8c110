"""The LightningModule of activity classification."""

import math
import textwrap
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torchmetrics import MeanMetric

from pose_lightning.activity import loss as losses
from pose_lightning.activity import probe
from pose_lightning.activity.freeze import Freeze, depths, parts, thawing
from pose_lightning.activity.loss import ClassWeights, LossName, PosWeights
from pose_lightning.activity.model import ActivityClassifier
from pose_lightning.errors import UserError
from pose_lightning.metrics.classes import ClassErrors, TagErrors
from pose_lightning.optim import OptimizerName, ScheduleName
from pose_lightning.ranges import check_ranges
from pose_lightning.task import Batch, Task


class ActivityClassification(Task):
    """Classifies pictures, or tags them; measured by top-1 accuracy, or by mean average precision.

    Batches come from `activity.data.ActivityData`: `image` (B, 3, H, W) float32 RGB in [0, 1], `target` (B, K) float32
    and `label` (B,) int64. Logs `train/loss`, `val/loss`; for classes `train/top1` (of the predictions that trained, as
    Keras does; a mixed picture counts as its larger part) and what `metrics.classes.ClassErrors` computes, `val/top1`
    and others; for tags what `metrics.classes.TagErrors` computes, `val/map` and others.

    `val/loss` is plain: without label smoothing, class weights and positive weights, so that runs compare that differ
    in them.

    Args:
        loss: `cross_entropy` for classes; `bce` or `asymmetric` for tags.
        label_smoothing: Share of the target that goes to all classes alike.
        class_weights: Weigh classes by `inverse` frequency or `effective` number; the mean over the training pictures
            is 1, so that an epoch's loss compares with the unweighted one.
        effective_beta: Of the effective number, (1 - beta^n) / (1 - beta).
        pos_weights: Weigh present tags by the `ratio` of pictures without to pictures with them; divided by the mean
            over all pairs of a picture and a tag, for the same reason.
        freeze: What of the backbone stands still. Frozen batch norms keep their statistics.
        unfreeze_every: Thaw what is frozen, one stage of the backbone after the other, the last one first: one whenever
            so much has passed. None keeps it frozen.
        unfreeze_unit: What that counts: epochs, or training samples seen.
        layer_decay: Each stage of the backbone learns at this factor of the rate of the next one; the head at the full
            rate.
        backbone_rate: Factor of the whole backbone's rate, beside `layer_decay`: a head that starts from nothing needs
            a larger rate than what is only to be fine-tuned.
        probe_penalty: Start the head as a logistic regression on the features of the training pictures, not augmented,
            with this penalty (see `activity.probe.fit`), so that the backbone is not moved by what a random head asks
            of it. None starts from random weights. Source: Kumar et al., Fine-Tuning can Distort Pretrained Features
            and Underperform Out-of-Distribution, ICLR 2022.
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
        network: Settings of `activity.model.ActivityClassifier`.

    Raises:
        UserError: If settings contradict each other.
    """

    def __init__(
        self,
        *,
        loss: LossName = "cross_entropy",
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = "none",
        effective_beta: float = 0.999,
        pos_weights: PosWeights = "none",
        freeze: Freeze = Freeze(),  # noqa: B008 - frozen, and YAML needs a value to show
        unfreeze_every: float | None = None,
        unfreeze_unit: Literal["epochs", "samples"] = "epochs",
        layer_decay: float = 1.0,
        backbone_rate: float = 1.0,
        probe_penalty: float | None = None,
        optimizer: OptimizerName = "adam",
        lr: float = 1e-3,
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
        if isinstance(freeze, Mapping):  # as a checkpoint has it
            freeze = Freeze(**freeze)
        losses.check(
            loss, label_smoothing=label_smoothing, weights=class_weights, positive=pos_weights, beta=effective_beta
        )
        check_ranges({"model.layer_decay": layer_decay})
        if not 0 < backbone_rate <= 1:
            raise UserError(
                f"model.backbone_rate={backbone_rate} is out of range; it is above 0 and at most 1 (freeze.mode=all "
                "stands still)"
            )
        if probe_penalty is not None and (probe_penalty < 0 or loss != "cross_entropy" or network.get("head") == "mlp"):
            raise UserError(
                f"model.probe_penalty={probe_penalty} with loss={loss} and head={network.get('head')}; it is 0 or "
                "more, and goes with cross_entropy and a head of one dense layer: flatten, flatten_dropout or pooled"
            )
        if unfreeze_every is not None and (unfreeze_every <= 0 or freeze.mode == "none"):
            raise UserError(
                f"model.unfreeze_every={unfreeze_every} with freeze.mode={freeze.mode}; it is above 0, and goes with a "
                "mode that freezes something"
            )
        self.model = ActivityClassifier(**network)
        self.loss, self.label_smoothing = loss, label_smoothing
        self.class_weights, self.effective_beta, self.pos_weights = class_weights, effective_beta, pos_weights
        self.layer_decay, self.backbone_rate = layer_decay, backbone_rate
        self.unfreeze_every, self.unfreeze_unit = unfreeze_every, unfreeze_unit
        self.probe_penalty = probe_penalty
        self.frozen = freeze.choose(list(parts(self.model.backbone)))
        self._thawing = [] if unfreeze_every is None else thawing(self.model.backbone, self.frozen)
        if unfreeze_every is None:
            for name in self.frozen:
                for parameter in self.model.backbone.get_submodule(name).parameters(recurse=False):
                    parameter.requires_grad_(False)
        self.model.hold(self.frozen)
        self._weights: Tensor | None = None
        self._mean_weight = 1.0
        self.flip_test = False
        self.tags = loss != "cross_entropy"
        # "disable" would let NaN through too, but torchmetrics 1.9 then ignores the weights
        self.train_top1 = MeanMetric(nan_strategy=math.nan)
        self.train_top1.persistent(True)  # half an epoch's mean survives in the checkpoint
        self.val_loss = MeanMetric(nan_strategy=math.nan)
        number = self.model.num_classes
        self.val_errors: ClassErrors | TagErrors = TagErrors(number) if self.tags else ClassErrors(number)

    @property
    def monitor(self) -> tuple[str, Literal["min", "max"]]:  # type: ignore[override]
        """What `best.ckpt` follows."""
        return ("val/map" if self.tags else "val/top1"), "max"

    @property
    def curves(self) -> Mapping[str, str]:  # type: ignore[override]
        """Metrics to draw, and their axes' labels."""
        return {"loss": "loss", **({"map": "mAP, %"} if self.tags else {"top1": "top-1 accuracy, %"})}

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Probabilities of the classes, which sum to 1, or of the tags."""
        return self._probabilities(self.model(image))

    def setup(self, stage: str) -> None:
        """Refuse data that the network does not fit, and weigh the classes by the training split.

        Raises:
            UserError: If they differ in size or in classes, or the loss is not for what is learned.
        """
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        if data.input_size != self.model.input_size:
            raise UserError(
                f"data.input_size is {data.input_size} and model.input_size {self.model.input_size}; give both the same"
            )
        if data.evaluation_size != data.input_size and not self.model.any_size:
            raise UserError(
                f"data.evaluation_size={data.evaluation_size} is not data.input_size={data.input_size}: a head that "
                "flattens the maps has weights for one size; take model.head=pooled"
            )
        if (data.target == "tags") != self.tags:
            wanted = "bce or asymmetric" if data.target == "tags" else "cross_entropy"
            raise UserError(f"model.loss={self.loss} does not go with data.target={data.target}; take {wanted}")
        if (number := len(data.classes)) != self.model.num_classes:
            raise UserError(
                f"model.num_classes is {self.model.num_classes}, but {data.root} has {number} for "
                f"data.target={data.target}; set model.num_classes={number}"
            )
        if stage == "fit":
            self._weigh(torch.from_numpy(data.class_counts()), data.training_length())

    def check_facts(self, facts: Mapping[str, Any], name: str) -> None:
        """Refuse names of classes that are not as many as the network has.

        Raises:
            UserError: If they are not.
        """
        if (number := len(facts["classes"])) != self.model.num_classes:
            raise UserError(
                f"{name} is damaged: it names {number} classes, and its network has {self.model.num_classes}; train "
                "the run again"
            )

    def on_fit_start(self) -> None:
        """Say what is frozen."""
        number = len(parts(self.model.backbone))
        if self.frozen:
            how = "" if self.unfreeze_every is None else f", thawing every {self.unfreeze_every:g} {self.unfreeze_unit}"
            text = f"frozen: {len(self.frozen)} of {number} parts of {self.model.name}{how}: {', '.join(self.frozen)}"
            rank_zero_info(textwrap.fill(text, 100, subsequent_indent="  ", break_on_hyphens=False))
        if held := len({id(each) for module in self.model.evaluated for each in module.modules()}):
            # Lightning takes modules that do not train for a mistake; here so many are meant
            warnings.filterwarnings("ignore", rf"Found {held} module\(s\) in eval mode at the start of training")

    def on_train_start(self) -> None:
        """Start the head as a linear probe; a resumed run has that behind it."""
        super().on_train_start()
        if self.probe_penalty is None or self.trainer.global_step:
            return
        features, labels = probe.training_features(self.model, self.trainer)
        weight, bias = probe.fit(features, labels, classes=self.model.num_classes, penalty=self.probe_penalty)
        with torch.no_grad():
            for parameter, start in zip(self.model.head[-1].parameters(), (weight, bias), strict=True):
                parameter.copy_(self.trainer.strategy.broadcast(start))  # ranks may differ in the last bit

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What learns, in groups where parts have their own rates: by depth, the head last."""
        if self.layer_decay == self.backbone_rate == 1:
            return [{"params": [each for each in self.parameters() if each.requires_grad]}]
        named = list(self.model.backbone.named_parameters())
        # without layer_decay the backbone is one stage, and timm need not say how to cut it
        depth = depths(self.model.backbone) if self.layer_decay < 1 else dict.fromkeys((name for name, _ in named), 0)
        stages = max(depth.values()) + 1
        groups: dict[int, list[Tensor]] = {stage: [] for stage in range(stages + 1)}
        for name, parameter in named:
            groups[depth[name]].append(parameter)
        groups[stages] = list(self.model.head.parameters())
        learning = {stage: [each for each in group if each.requires_grad] for stage, group in groups.items()}
        lr = self.optimizer_arguments["lr"]
        rates = {stage: lr * self.backbone_rate * self.layer_decay ** (stages - stage) for stage in range(stages)}
        rates[stages] = lr
        names = {stage: f"stage{stage}" if stages > 1 else "backbone" for stage in range(stages)} | {stages: "head"}
        return [
            {"params": group, "lr": rates[stage], "name": names[stage]} for stage, group in learning.items() if group
        ]

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Thaw what is to learn by now."""
        if self._thawing:
            self.model.hold(self._held())

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Let what waits for its turn stand still.

        Its gradients are computed all the same: DDP wants to know once and for all which parameters have some.
        """
        super().on_before_optimizer_step(optimizer)
        if self._thawing:
            for module in self.model.still:
                for parameter in module.parameters(recurse=False):
                    parameter.grad = None

    def example(self, data: Any, samples: int) -> Tensor:
        """Pictures as a batch of `data` has them."""
        return torch.zeros(samples, 3, data.input_size, data.input_size, device="meta")

    def training_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The losses of the share's pictures, and how many pictures the global batch has."""
        logits, target, weight = self.model(batch["image"]), batch["target"], batch["weight"]
        if not self.tags:
            right = (logits.detach().argmax(dim=1) == batch["label"]).float()
            self.train_top1.update(100 * right, weight)
        return (self._training_losses(logits, target) * weight).sum(), batch["total_samples"]

    def logged(self) -> set[str]:
        """As every task's; of tags, training has no accuracy."""
        return super().logged() - ({"train/top1"} if self.tags else set())

    def training_metrics(self) -> dict[str, Tensor]:
        """The epoch's loss and accuracy, exact over unequal batches."""
        accuracy = {} if self.tags else {"train/top1": self.train_top1.compute()}
        return {**super().training_metrics(), **accuracy}

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Add the batch to the metrics; returns the network's `outputs` (B, K)."""
        logits = self.model(batch["image"]).float()
        truth = batch["target"] if self.tags else batch["label"]
        self.val_loss.update(self._losses(logits, batch["target"]), batch["weight"])
        self.val_errors.update(self._probabilities(logits), truth, batch["weight"])
        return {"outputs": logits}

    def on_validation_epoch_end(self) -> None:
        """Log the metrics; each has counted every picture of every rank once."""
        self.log("val/loss", self.val_loss.compute())
        for name, value in self.val_errors.compute().items():
            self.log(f"val/{name}", value, prog_bar=f"val/{name}" == self.monitor[0])
        self.val_loss.reset()
        self.val_errors.reset()

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Probabilities (B, K) float64, the pictures' losses (B,), their numbers and their weights."""
        logits = self.model(batch["image"])
        preds = self._probabilities(logits)
        if self.flip_test:
            preds = (preds + self(batch["image"].flip(-1))) / 2
        return {
            "preds": preds,
            "loss": self._losses(logits, batch["target"]).double(),
            "index": batch["index"],
            "weight": batch["weight"],
        }

    def _probabilities(self, logits: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
        """In float64, so that their sum is 1 for whoever checks it."""
        return logits.double().sigmoid() if self.tags else logits.double().softmax(dim=1)

    def _losses(self, logits: Float[Tensor, "b k"], target: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
        """The plain loss of every picture."""
        match self.loss:
            case "cross_entropy":
                return losses.cross_entropy(logits, target)
            case "bce":
                return losses.binary_cross_entropy(logits, target)
            case "asymmetric":
                return losses.asymmetric(logits, target)

    def _training_losses(self, logits: Float[Tensor, "b k"], target: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
        """The loss of every picture, as training sees it."""
        weights = None if self._weights is None else self._weights.to(logits.device)
        if self.loss == "cross_entropy":
            return losses.cross_entropy(logits, losses.smooth(target, self.label_smoothing), weights=weights)
        if weights is not None:
            return losses.binary_cross_entropy(logits, target, pos_weights=weights) / self._mean_weight
        return self._losses(logits, target)

    def _weigh(self, counts: Tensor, total: int) -> None:
        """Find the weights of classes or tags."""
        if self.pos_weights == "ratio":
            self._weights = losses.pos_weights(counts, total)
            self._mean_weight = losses.mean_weight(self._weights, counts, total)
        else:
            self._weights = losses.class_weights(counts, by=self.class_weights, beta=self.effective_beta)

    def _held(self) -> list[str]:
        """What stands still at this moment of training: a function of progress, so that a resumed run goes on alike."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        epochs = self.unfreeze_unit == "epochs"
        passed = self.trainer.current_epoch if epochs else data.samples_seen(self.trainer.global_step)
        thawed = int(passed // (self.unfreeze_every or 1))
        return [name for group in self._thawing[thawed:] for name in group]
