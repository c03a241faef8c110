"""Losses between logits and what pictures show; one number per picture, in float32 whatever the precision."""

from typing import Final, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor

from pose_lightning.errors import UserError
from pose_lightning.ranges import check_ranges

LossName = Literal["cross_entropy", "bce", "asymmetric"]
ClassWeights = Literal["none", "inverse", "effective"]
PosWeights = Literal["none", "ratio"]

ASYMMETRIC: Final = {"gamma_positive": 0.0, "gamma_negative": 4.0, "margin": 0.05}
"""Source: Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021, section 3.1 (its MS-COCO runs)."""

SMALLEST: Final = 1e-8


def cross_entropy(
    logits: Float[Tensor, "b k"], target: Float[Tensor, "b k"], *, weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, " b"]:
    """Cross entropy between a distribution over classes and the softmax of the logits, in nats.

    Args:
        logits: One per class.
        target: Sums to 1: one class, or a mixture.
        weights: Of each class's share of the loss.
    """
    terms = -target * logits.float().log_softmax(dim=1)
    return (terms if weights is None else terms * weights).sum(dim=1)


def binary_cross_entropy(
    logits: Float[Tensor, "b k"], target: Float[Tensor, "b k"], *, pos_weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, " b"]:
    """Mean over the tags of the cross entropy between a tag and the sigmoid of its logit, in nats.

    Args:
        logits: One per tag.
        target: 0 to 1 each.
        pos_weights: What the part for a present tag is multiplied by.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), target, pos_weight=pos_weights, reduction="none").mean(
        dim=1
    )


def asymmetric(
    logits: Float[Tensor, "b k"],
    target: Float[Tensor, "b k"],
    *,
    gamma_positive: float = ASYMMETRIC["gamma_positive"],
    gamma_negative: float = ASYMMETRIC["gamma_negative"],
    margin: float = ASYMMETRIC["margin"],
) -> Float[Tensor, " b"]:
    """Mean over the tags of a binary cross entropy that makes little of tags that are absent and said to be.

    The authors' code adds up over tags and pictures; a mean keeps the learning rate of `binary_cross_entropy`.
    Source: Ridnik et al., Asymmetric Loss For Multi-Label Classification, ICCV 2021, eq. 4 to 7.

    Args:
        logits: One per tag.
        target: 0 to 1 each.
        gamma_positive: Power of the focus on present tags that are missed.
        gamma_negative: Power of the focus on absent tags that are said to be there.
        margin: An absent tag of a lower probability costs nothing.
    """
    present = logits.float().sigmoid()
    absent = (1 - present + margin).clamp(max=1)
    positive = target * present.clamp(min=SMALLEST).log() * (1 - present) ** gamma_positive
    negative = (1 - target) * absent.clamp(min=SMALLEST).log() * (1 - absent) ** gamma_negative
    return -(positive + negative).mean(dim=1)


def smooth(target: Float[Tensor, "b k"], amount: float) -> Float[Tensor, "b k"]:
    """Distributions, mixed with the uniform one. Source: Szegedy et al., Rethinking Inception, CVPR 2016, section 7."""
    return (1 - amount) * target + amount / target.shape[1]


def class_weights(counts: Float64[Tensor, " k"], *, by: ClassWeights, beta: float) -> Float[Tensor, " k"] | None:
    """What each class's loss is multiplied by; None where all weigh the same.

    They are scaled so that their mean over the training pictures is 1: the loss of an epoch, which is divided by the
    number of its pictures, then compares with the unweighted one. A class without a picture has weight 0.

    Args:
        counts: How many training pictures each class has.
        by: `inverse` frequency; or the inverse of the `effective` number of samples, (1 - beta^n) / (1 - beta).
            Source of the latter: Cui et al., Class-Balanced Loss, CVPR 2019, eq. 2.
        beta: Near 1 is near `inverse`, 0 weighs all the same.
    """
    if by == "none":
        return None
    numbers = counts if by == "inverse" else (1 - beta**counts) / (1 - beta)
    raw = torch.where(counts > 0, 1 / numbers, 0.0)
    return (raw * counts.sum() / (raw * counts).sum()).float()


def pos_weights(counts: Float64[Tensor, " k"], total: int) -> Float[Tensor, " k"]:
    """Pictures without each tag over pictures with it; 1 where no picture has it."""
    return torch.where(counts > 0, (total - counts) / counts, 1.0).float()


def mean_weight(weights: Float[Tensor, " k"], counts: Float64[Tensor, " k"], total: int) -> float:
    """Mean of the weights over all pairs of a training picture and a tag, an absent one weighing 1."""
    return float((weights * counts + (total - counts)).sum() / (total * len(counts)))


def check(loss: LossName, *, label_smoothing: float, weights: ClassWeights, positive: PosWeights, beta: float) -> None:
    """Refuse settings that a loss does not have.

    Raises:
        UserError: If one is set, or out of range.
    """
    check_ranges({"model.label_smoothing": label_smoothing, "model.effective_beta": beta})
    foreign = {
        "label_smoothing": bool(label_smoothing) and loss != "cross_entropy",
        "class_weights": weights != "none" and loss != "cross_entropy",
        "pos_weights": positive != "none" and loss != "bce",
    }
    if named := [f"model.{key}" for key, wrong in foreign.items() if wrong]:
        raise UserError(f"model.loss={loss} has no {' and no '.join(named)}; leave it out")
