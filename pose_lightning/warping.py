"""A batched warp of pictures, on the device that they are on."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from pose_lightning.geometry import Size, sides


def warp(images: UInt8[Tensor, "b h w c"], matrices: Float[Tensor, "b 2 3"], size: Size) -> Float[Tensor, "b c _ _"]:
    """Return the pictures that look up their pixels through `matrices`: bilinear, zero outside the source.

    The same as cv2.warpAffine with INTER_LINEAR and WARP_INVERSE_MAP, on the images' device and without rounding to
    whole grey levels. That holds for OpenCV 5; version 4 rounds the places it looks up to 1/32 px, which moves fine
    texture by some grey levels.

    Args:
        images: Source pictures.
        matrices: From px of the result to px of the source.
        size: Of the result, px.

    Returns:
        float32 in grey levels, 0 to 255.
    """
    source, result = (
        torch.tensor([width, height], dtype=torch.float64, device=images.device)
        for height, width in (images.shape[1:3], sides(size))
    )
    matrices = matrices.double()
    # grid_sample(align_corners=False) counts from -1 to 1 between the outer edges of the outer pixels, on both sides
    linear = matrices[..., :2] * (result / source[:, None])
    center = matrices[..., 2] + (matrices[..., :2] * (result / 2 - 0.5)).sum(-1)
    shift = (center + 0.5) * 2 / source - 1
    theta = torch.cat([linear, shift[..., None]], dim=-1).float()
    # written out: as a matrix product, torch.nn.functional.affine_grid would follow the setting for TF32 on GPUs
    down_places, across_places = (
        (2 * torch.arange(length, device=images.device, dtype=torch.float32) + 1) / length - 1 for length in sides(size)
    )
    across, down, fixed = (theta[:, None, None, :, axis] for axis in range(3))
    grid = across * across_places[None, None, :, None] + down * down_places[None, :, None, None] + fixed
    planes = images.permute(0, 3, 1, 2).float()
    return F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
