"""Losses between heatmaps and gaussian targets; one number per person and joint, in float32 whatever the precision."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pose_lightning import settings
from pose_lightning.errors import UserError
from pose_lightning.geometry import Size, sides

LossName = Literal["mse", "cross_entropy"]
Loss = Callable[[Tensor, Tensor], Tensor]
"""Of heatmaps (b, s, j, h, w) and gaussians (b, j, h, w), the loss of every joint (b, j)."""


def squared_error(heatmaps: Float[Tensor, "b s j h w"], targets: Float[Tensor, "b j h w"]) -> Float[Tensor, "b j"]:
    """Mean over a map's pixels, summed over stacks.

    In float32: half precision turns the mean over thousands of small squares into NaN. Source: Newell et al., ECCV
    2016, section 3.2; Torch's MSECriterion averages over pixels and the stacks' criteria are added.
    """
    return (heatmaps.float() - targets[:, None]).square().mean(dim=(-2, -1)).sum(dim=1)


def cross_entropy(heatmaps: Float[Tensor, "b s j h w"], targets: Float[Tensor, "b j h w"]) -> Float[Tensor, "b j"]:
    """Cross-entropy of each map's softmax against the target scaled to sum 1, in nats, summed over stacks.

    A joint outside the map has no place to point at; where less than half a cell's peak of its gaussian is left, its
    loss is 0. On few photographs this learns several times faster than squared errors, most of whose pixels are empty.
    """
    target = targets.flatten(-2)
    mass = target.sum(dim=-1, keepdim=True)
    share = torch.where(mass > 0.5, target / mass.clamp(min=0.5), 0.0)
    return -(share[:, None] * heatmaps.float().flatten(-2).log_softmax(dim=-1)).sum(dim=(1, -1))


def probabilities(heatmaps: Float[Tensor, "*b j h w"]) -> Float[Tensor, "*b j h w"]:
    """What cross-entropy trains: where the joint is, as a distribution over the map's cells."""
    return heatmaps.float().flatten(-2).softmax(dim=-1).reshape(heatmaps.shape)


LOSSES: Final[Mapping[str, Loss]] = {"mse": squared_error, "cross_entropy": cross_entropy}
"""By name."""


def check_loss(loss: Loss, joints: int, size: Size) -> None:
    """Refuse a loss of a person's own that gives no finite number for every joint, or that nothing learns from.

    Raises:
        UserError: If so.
    """
    name = settings.spec_of(loss)["class_path"]
    heatmaps = torch.full((2, 1, joints, *sides(size)), 0.1, requires_grad=True)
    with torch.random.fork_rng([]):
        targets = torch.rand(2, joints, *sides(size))
        try:
            values = loss(heatmaps, targets)
        except Exception as error:  # whatever a person's own code raises
            raise UserError(f"model.loss={name} fails on heatmaps {tuple(heatmaps.shape)}: {error}") from error
    if not isinstance(values, Tensor) or values.shape != (2, joints):
        said = f"{tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise UserError(f"model.loss={name} gives {said} for 2 persons; wanted the loss of every joint, (2, {joints})")
    if not bool(values.isfinite().all()):
        raise UserError(f"model.loss={name} gives a number that is not finite for heatmaps of 0.1")
    if not values.requires_grad:
        raise UserError(f"model.loss={name} gives numbers without a gradient; nothing would be learned")
