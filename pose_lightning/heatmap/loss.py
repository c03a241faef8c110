"""Losses between heatmaps and gaussian targets; one number per person and joint, in float32 whatever the precision."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

LossName = Literal["mse", "cross_entropy"]


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
