"""Several looks at one person, averaged: mirrored (`codec.mirror_back`) and at other scales."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pose_lightning.manner import UNSCALED, Scales


def average_scales(maps: Sequence[Float[Tensor, "b j h w"]], scales: Scales) -> Float[Tensor, "b j h w"]:
    """The mean of maps of the same persons, each shown larger by its scale, as a map of scale 1.

    A map of scale s has at c + s (v - c) what the answer has at v, c being the middle. A place counts where a scale
    shows it: the mean is over those maps alone, so that a peak near the border of the box stays where it is. Between
    cells the maps are interpolated by cubic polynomials, which move no peak to either side.

    Args:
        maps: One tensor for each scale.
        scales: How much larger than at scale 1 the persons are in each.
    """
    if scales == UNSCALED:
        return maps[0]
    height, width = maps[0].shape[-2:]
    total, seen = torch.zeros_like(maps[0]), torch.zeros_like(maps[0][:1, :1])
    for each, scale in zip(maps, scales, strict=True):
        y, x = (scale * _places(length, each) for length in (height, width))
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).expand(len(each), -1, -1, -1)
        shown = (x.abs() <= 1)[None, :] & (y.abs() <= 1)[:, None]
        looked_up = F.grid_sample(each, grid, mode="bicubic", padding_mode="border", align_corners=False)
        total = total + torch.where(shown, looked_up, 0.0)
        seen = seen + shown
    return torch.where(seen > 0, total / seen.clamp(min=1), 0.0)


def _places(length: int, like: Tensor) -> Tensor:
    """The middles of a map's cells, where its edges are -1 and 1."""
    return (2 * torch.arange(length, device=like.device, dtype=like.dtype) + 1) / length - 1
