"""Several looks at one person, averaged: mirrored (`codec.mirror_back`) and at other scales."""

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pose_lightning.errors import UserError

Scales = tuple[float, ...]

UNSCALED: Final[Scales] = (1.0,)
RANGE: Final = (0.5, 2.0)
"""A stored crop shows 1.75 times the box; much smaller persons would stand in black."""


def read_scales(text: str) -> Scales:
    """The scales of `--scales 0.9,1.0,1.1`, each once.

    Raises:
        UserError: If one is no number, out of range, or there twice.
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--scales {text} is no list of numbers; write it as 0.9,1.0,1.1") from None
    low, high = RANGE
    if wrong := [scale for scale in scales if not low <= scale <= high]:
        raise UserError(f"--scales {text}: {wrong[0]:g} is out of range; a person grows by {low:g} to {high:g}")
    if len(set(scales)) < len(scales):
        raise UserError(f"--scales {text} names a scale twice, which would count it twice")
    return scales


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
