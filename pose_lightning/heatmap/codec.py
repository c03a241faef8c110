"""Joints as gaussian heatmaps and back, without a systematic shift in either direction.

Heatmap px are counted like every other px here: the centre of the top-left cell is (0, 0). A cell covers `STRIDE`
input px, so v = (u + 0.5) / 4 - 0.5. Most published code truncates or rounds joints to whole cells before it draws
them, which costs up to half a cell on the way back; here the gaussian stands at the sub-pixel position.

`python -m pose_lightning.heatmap.codec STORE` prints what such habits cost on a store's labels (`codec_table`).
"""

import math
from typing import Final, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from pose_lightning.errors import UserError
from pose_lightning.geometry import Size, sides
from pose_lightning.heatmap.decoding import STRIDE, Grid
from pose_lightning.joints import JointSet
from pose_lightning.manner import DecodeMethod
from pose_lightning.precision import full_precision

_TINY: Final = 1e-10
"""The smallest height whose logarithm is taken; DARK's own code has the same."""


def input_to_heatmap(
    points: Float[Tensor, "*any 2"], *, grid: Grid = "cells", size: Size = 64
) -> Float[Tensor, "*any 2"]:
    """Return input px as heatmap px.

    `cells`: v = (u + 0.5) / 4 - 0.5, where a convolution with stride 4 looks. `udp`: v = u (n - 1) / (4 n - 1), the
    outer px of maps and input on each other, as weights that were trained so need it (Huang et al., The Devil Is in
    the Details, CVPR 2020, section 3.2). Either way a mirrored input has a mirrored map: neither grid needs a shift in
    the flip test.

    Args:
        points: Input px.
        grid: See `Grid`.
        size: Of the maps, n along either axis; only `udp` depends on it.
    """
    if grid == "udp":
        return points * _udp_factors(size).to(points)
    return (points + 0.5) / STRIDE - 0.5


def heatmap_to_input(
    points: Float[Tensor, "*any 2"], *, grid: Grid = "cells", size: Size = 64
) -> Float[Tensor, "*any 2"]:
    """Return heatmap px as input px: the inverse of `input_to_heatmap`."""
    if grid == "udp":
        return points / _udp_factors(size).to(points)
    return (points + 0.5) * STRIDE - 0.5


def _udp_factors(size: Size) -> Float[Tensor, "2"]:
    """Heatmap px for one input px, along x and y."""
    height, width = sides(size)
    return torch.tensor([(length - 1) / (STRIDE * length - 1) for length in (width, height)], dtype=torch.float64)


def encode(
    joints: Float[Tensor, "*batch j 2"], labelled: Bool[Tensor, "*batch j"], size: Size, sigma: float
) -> Float[Tensor, "*batch j _ _"]:
    """Return one gaussian of peak 1 per joint, float32, and an empty map where a joint is unlabelled.

    The gaussian stands at the exact position and is not cut off: at three sigmas, where Newell's window of
    6 sigma + 1 cells ends, it has fallen to 0.011. A joint outside the map leaves the tail that the formula gives.
    Whether an unlabelled joint counts in the loss is for the loss to say.

    Args:
        joints: Positions, heatmap px; those of unlabelled joints may be NaN.
        labelled: Which joints have a label.
        size: Of the maps, px.
        sigma: Standard deviation, heatmap px.
    """
    height, width = sides(size)

    def profile(places: Float[Tensor, "*batch j"], length: int) -> Float[Tensor, "*batch j {length}"]:
        cells = torch.arange(length, device=joints.device, dtype=torch.float32)
        heights = torch.exp((cells - places[..., None]).square() / (-2 * sigma**2))
        return torch.where(labelled[..., None], heights, 0.0)  # NaN would survive a product with zero

    across, down = (profile(*axis) for axis in zip(joints.float().unbind(-1), (width, height), strict=True))
    return down[..., :, None] * across[..., None, :]


def decode(
    heatmaps: Float[Tensor, "*batch j h w"], method: DecodeMethod = "quarter", *, sigma: float = 1.0
) -> tuple[Float[Tensor, "*batch j 2"], Float[Tensor, "*batch j"]]:
    """Return every joint's position in heatmap px and its confidence, the height of the peak; both float32.

    `argmax` is the highest cell. The others move on from there, and never along an axis on which the cell is in the
    border row or column, where one neighbour is missing: that keeps the mean error at zero.

    - `quarter`: a quarter of a cell towards the higher neighbour, along each axis; equal neighbours move nothing
      (Newell et al., Stacked Hourglass Networks, ECCV 2016, section 3.1).
    - `dark`: to the top of the gaussian whose logarithm has the map's slope and curvature there, after a blur with the
      training's own gaussian (Zhang et al., Distribution-Aware Coordinate Representation, CVPR 2020, section 3.2,
      equations 6 to 9). Near the border the blur would look outside, so the map is taken as it is. Where there is no
      top within a cell, `quarter`.
    - `soft_argmax`: the mean position of the cells within three sigmas, weighted by height, negative heights as none;
      the window is the same on both sides of the cell, so it is smaller near the border.

    An empty map has confidence 0; its position means nothing. A map with a NaN, or whose peak is infinite, gives NaN
    for position and confidence.

    Args:
        heatmaps: Any heights.
        method: See above.
        sigma: Of the gaussians that the network was trained with, heatmap px; `dark` and `soft_argmax` look as far.

    Raises:
        UserError: If the method is unknown.
    """
    if method not in get_args(DecodeMethod):
        raise UserError(f"decode={method!r} is unknown; it is one of {', '.join(get_args(DecodeMethod))}")
    with full_precision(heatmaps):
        return _decode(heatmaps, method, sigma)


def _decode(
    heatmaps: Float[Tensor, "*batch j h w"], method: DecodeMethod, sigma: float
) -> tuple[Float[Tensor, "*batch j 2"], Float[Tensor, "*batch j"]]:
    maps = heatmaps.float().flatten(0, -3)  # m h w
    peak, best = maps.flatten(-2).max(dim=-1)  # NaN counts as the highest
    cell = torch.stack([best % maps.shape[-1], best // maps.shape[-1]], dim=-1)  # m 2
    joints = cell.float()
    if method == "quarter":
        joints = joints + _quarter_steps(maps, cell)
    elif method == "dark":
        joints = joints + _dark_steps(maps, cell, sigma)
    elif method == "soft_argmax":
        joints = joints + _centroid_steps(maps, cell, math.ceil(3 * sigma))
    finite = peak.isfinite()
    joints = torch.where(finite[..., None], joints, torch.nan)
    peak = torch.where(finite, peak, torch.nan)
    return joints.reshape(*heatmaps.shape[:-2], 2), peak.reshape(heatmaps.shape[:-2])


def _window(maps: Float[Tensor, "m h w"], cell: Tensor, radius: int) -> Float[Tensor, "m n n"]:
    """The heights around a cell (x, y), `radius` to each side; zero outside the map."""
    places, inside = [], []
    for axis in (0, 1):
        place = cell[:, axis, None] + torch.arange(-radius, radius + 1, device=maps.device)
        length = maps.shape[2 - axis]
        inside.append((place >= 0) & (place < length))
        places.append(place.clamp(0, length - 1))
    which = torch.arange(len(maps), device=maps.device)[:, None, None]
    heights = maps[which, places[1][:, :, None], places[0][:, None, :]]
    return torch.where(inside[1][:, :, None] & inside[0][:, None, :], heights, 0.0)


def _reach(maps: Float[Tensor, "m h w"], cell: Tensor) -> Tensor:
    """How many cells there are between a cell and the nearer border, along x and y."""
    last = torch.tensor([maps.shape[2] - 1, maps.shape[1] - 1], device=maps.device)
    return torch.minimum(cell, last - cell)


def _quarter_steps(maps: Float[Tensor, "m h w"], cell: Tensor) -> Float[Tensor, "m 2"]:
    near = _window(maps, cell, 1)
    rise = torch.stack([near[:, 1, 2] - near[:, 1, 0], near[:, 2, 1] - near[:, 0, 1]], dim=-1)
    return 0.25 * torch.sign(rise) * (_reach(maps, cell) > 0)


def _dark_steps(maps: Float[Tensor, "m h w"], cell: Tensor, sigma: float) -> Float[Tensor, "m 2"]:
    """Newton's step on the logarithm of the blurred map, -H^-1 g; a quarter where that is no step to a top nearby."""
    radius, reach = math.ceil(3 * sigma), _reach(maps, cell)
    window = _window(maps, cell, radius + 1)
    blur = _blur_to_three(radius, sigma).to(window)
    whole = (reach > radius).all(dim=-1)[:, None, None]
    logs = torch.where(whole, blur @ window @ blur.T, window[:, radius:-radius, radius:-radius]).clamp(min=_TINY).log()
    movable_x, movable_y = (reach > 0).unbind(-1)
    slope_x = movable_x * (logs[:, 1, 2] - logs[:, 1, 0]) / 2
    slope_y = movable_y * (logs[:, 2, 1] - logs[:, 0, 1]) / 2
    xx = torch.where(movable_x, logs[:, 1, 2] - 2 * logs[:, 1, 1] + logs[:, 1, 0], -1.0)
    yy = torch.where(movable_y, logs[:, 2, 1] - 2 * logs[:, 1, 1] + logs[:, 0, 1], -1.0)
    xy = movable_x * movable_y * (logs[:, 2, 2] - logs[:, 2, 0] - logs[:, 0, 2] + logs[:, 0, 0]) / 4
    determinant = xx * yy - xy * xy
    is_top = (xx < 0) & (determinant > 0)
    steps = torch.stack([xy * slope_y - yy * slope_x, xy * slope_x - xx * slope_y], dim=-1)
    steps = steps / torch.where(is_top, determinant, 1.0)[:, None]
    taken = is_top & (steps.abs() <= 1).all(dim=-1)
    return torch.where(taken[:, None], steps, _quarter_steps(maps, cell))


def _blur_to_three(radius: int, sigma: float) -> Float[Tensor, "3 n"]:
    """The matrix from 2 * radius + 3 cells in a row to the middle three, blurred by a gaussian cut off at `radius`."""
    kernel = torch.exp(torch.arange(-radius, radius + 1).square() / (-2 * sigma**2))
    return torch.stack([F.pad(kernel / kernel.sum(), (place, 2 - place)) for place in range(3)])


def _centroid_steps(maps: Float[Tensor, "m h w"], cell: Tensor, radius: int) -> Float[Tensor, "m 2"]:
    """From the cell to the mean position in the window of `radius` around it, or as far as the nearer border."""
    offset = torch.arange(-radius, radius + 1, device=maps.device)
    across, down = (offset.abs() <= _reach(maps, cell)[..., None]).unbind(1)
    heights = _window(maps, cell, radius).clamp(min=0) * down[:, :, None] * across[:, None, :]
    total = heights.sum(dim=(1, 2))
    steps = torch.stack([heights.sum(dim=1) @ offset.float(), heights.sum(dim=2) @ offset.float()], dim=-1)
    return torch.where(total[:, None] > 0, steps / total[:, None], 0.0)


def mirror_back(heatmaps: Float[Tensor, "*batch j h w"], joint_set: JointSet) -> Float[Tensor, "*batch j h w"]:
    """Return the heatmaps of a mirrored input as those of the input itself: mirrored, left and right traded.

    No shift is needed. An input mirrored by u' = W - 1 - u moves heatmap px by v' = W / 4 - 1 - v exactly, which is
    the mirror of the map; the shift of one cell in other repositories repairs their rounding.
    """
    order = torch.tensor(joint_set.mirrored, device=heatmaps.device)
    return heatmaps.flip(-1).index_select(-3, order)


if __name__ == "__main__":
    from pose_lightning.heatmap.codec_table import main

    main()
