"""Joints as gaussian heatmaps and back, without a systematic shift in either direction.

Heatmap px are counted like every other px here: the centre of the top-left cell is (0, 0). A cell covers `STRIDE`
input px, so v = (u + 0.5) / 4 - 0.5. Most published code truncates or rounds joints to whole cells before it draws
them, which costs up to half a cell on the way back; here the gaussian stands at the sub-pixel position.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pose_lightning.errors import UserError
from pose_lightning.heatmap.model import STRIDE
from pose_lightning.joints import JointSet

DecodeMethod = Literal["argmax", "quarter"]


def input_to_heatmap(points: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return input px as heatmap px."""
    return (points + 0.5) / STRIDE - 0.5


def heatmap_to_input(points: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return heatmap px as input px."""
    return (points + 0.5) * STRIDE - 0.5


def encode(
    joints: Float[Tensor, "*batch j 2"], labelled: Bool[Tensor, "*batch j"], size: int, sigma: float
) -> Float[Tensor, "*batch j {size} {size}"]:
    """Return one gaussian of peak 1 per joint, float32, and an empty map where a joint is unlabelled.

    The gaussian stands at the exact position and is not cut off: at three sigmas, where Newell's window of
    6 sigma + 1 cells ends, it has fallen to 0.011. A joint outside the map leaves the tail that the formula gives.
    Whether an unlabelled joint counts in the loss is for the loss to say.

    Args:
        joints: Positions, heatmap px; those of unlabelled joints may be NaN.
        labelled: Which joints have a label.
        size: Side of the maps, px.
        sigma: Standard deviation, heatmap px.
    """
    cells = torch.arange(size, device=joints.device, dtype=torch.float32)
    profiles = torch.exp((cells - joints.float()[..., None]).square() / (-2 * sigma**2))  # ... j 2 size
    profiles = torch.where(labelled[..., None, None], profiles, 0.0)  # NaN would survive a product with zero
    across, down = profiles.unbind(-2)
    return down[..., :, None] * across[..., None, :]


def decode(
    heatmaps: Float[Tensor, "*batch j h w"], method: DecodeMethod = "quarter"
) -> tuple[Float[Tensor, "*batch j 2"], Float[Tensor, "*batch j"]]:
    """Return every joint's position in heatmap px and its confidence, the height of the peak; both float32.

    `argmax` is the highest cell. `quarter` moves a quarter of a cell from there towards the higher neighbour, along
    each axis (Newell et al., Stacked Hourglass Networks, ECCV 2016, section 3.1). Equal neighbours move nothing, and
    neither does a peak in the border row or column along the axis that lacks a neighbour: both keep the mean
    error at zero. An empty map has confidence 0; its position means nothing.

    A map with a NaN, or whose peak is infinite, gives NaN for position and confidence.

    Raises:
        UserError: If the method is unknown.
    """
    height, width = heatmaps.shape[-2:]
    cells = heatmaps.float().flatten(-2)
    peak, best = cells.max(dim=-1)  # NaN counts as the highest
    x, y = best % width, best // width
    joints = torch.stack([x, y], dim=-1).float()
    if method == "quarter":
        steps = [_higher_side(cells, best, x, width, 1), _higher_side(cells, best, y, height, width)]
        joints = joints + 0.25 * torch.stack(steps, dim=-1)
    elif method != "argmax":
        raise UserError(f"decode={method!r} is unknown; it is 'argmax' or 'quarter'")
    finite = peak.isfinite()
    return torch.where(finite[..., None], joints, torch.nan), torch.where(finite, peak, torch.nan)


def _higher_side(cells: Tensor, best: Tensor, place: Tensor, length: int, stride: int) -> Tensor:
    """Return -1, 0 or 1: on which side of the best cell the higher neighbour stands, along one axis."""
    inner = (place > 0) & (place < length - 1)
    step = inner * stride
    after = cells.gather(-1, (best + step)[..., None])
    before = cells.gather(-1, (best - step)[..., None])
    return torch.sign(after - before)[..., 0] * inner


def mirror_back(heatmaps: Float[Tensor, "*batch j h w"], joint_set: JointSet) -> Float[Tensor, "*batch j h w"]:
    """Return the heatmaps of a mirrored input as those of the input itself: mirrored, left and right traded.

    No shift is needed. An input mirrored by u' = W - 1 - u moves heatmap px by v' = W / 4 - 1 - v exactly, which is
    the mirror of the map; the shift of one cell in other repositories repairs their rounding.
    """
    order = torch.tensor(joint_set.mirrored, device=heatmaps.device)
    return heatmaps.flip(-1).index_select(-3, order)
