"""Heatmaps decoded without PyTorch: what `heatmap.codec` says, in NumPy."""

import math
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Int64

from pose_lightning.geometry import Size, sides
from pose_lightning.heatmap.decoding import STRIDE, Grid
from pose_lightning.manner import DecodeMethod

_TINY: Final = np.float32(1e-10)


def to_input(points: Float[np.ndarray, "*any 2"], *, grid: Grid, size: Size) -> Float[np.ndarray, "*any 2"]:
    """Heatmap px as input px, as `codec.heatmap_to_input`."""
    if grid == "udp":
        height, width = sides(size)
        factors = [(length - 1) / (STRIDE * length - 1) for length in (width, height)]
        return points / np.array(factors, dtype=points.dtype)
    return (points + 0.5) * STRIDE - 0.5


def decode(
    heatmaps: Float32[np.ndarray, "b j h w"], method: DecodeMethod, *, sigma: float
) -> tuple[Float32[np.ndarray, "b j 2"], Float32[np.ndarray, "b j"]]:
    """Positions in heatmap px and the heights of the peaks, as `codec.decode` describes and finds them.

    Args:
        heatmaps: Any heights.
        method: As there.
        sigma: Of the gaussians that the network was trained with, heatmap px.
    """
    count, joints, height, width = heatmaps.shape
    maps = heatmaps.reshape(count * joints, height, width)
    best = maps.reshape(len(maps), -1).argmax(axis=1)  # NaN counts as the highest
    cell = np.stack([best % width, best // width], axis=1)
    peak = maps[np.arange(len(maps)), cell[:, 1], cell[:, 0]]
    points = cell.astype(np.float32)
    match method:
        case "quarter":
            points = points + _quarter_steps(maps, cell)
        case "dark":
            points = points + _dark_steps(maps, cell, sigma)
        case "soft_argmax":
            points = points + _centroid_steps(maps, cell, math.ceil(3 * sigma))
    finite = np.isfinite(peak)
    points = np.where(finite[:, None], points, np.nan).astype(np.float32)
    peak = np.where(finite, peak, np.nan).astype(np.float32)
    return points.reshape(count, joints, 2), peak.reshape(count, joints)


def _window(
    maps: Float32[np.ndarray, "m h w"], cell: Int64[np.ndarray, "m 2"], radius: int
) -> Float32[np.ndarray, "m n n"]:
    """The heights around a cell (x, y), `radius` to each side; zero outside the map."""
    padded = np.pad(maps, ((0, 0), (radius, radius), (radius, radius)))
    offset = np.arange(2 * radius + 1)
    rows, columns = (cell[:, axis, None] + offset for axis in (1, 0))
    return padded[np.arange(len(maps))[:, None, None], rows[:, :, None], columns[:, None, :]]


def _reach(maps: Float32[np.ndarray, "m h w"], cell: Int64[np.ndarray, "m 2"]) -> Int64[np.ndarray, "m 2"]:
    """How many cells there are between a cell and the nearer border, along x and y."""
    return np.minimum(cell, np.array([maps.shape[2] - 1, maps.shape[1] - 1]) - cell)


def _quarter_steps(maps: Float32[np.ndarray, "m h w"], cell: Int64[np.ndarray, "m 2"]) -> Float32[np.ndarray, "m 2"]:
    near = _window(maps, cell, 1)
    rise = np.stack([near[:, 1, 2] - near[:, 1, 0], near[:, 2, 1] - near[:, 0, 1]], axis=1)
    return (np.float32(0.25) * np.sign(rise) * (_reach(maps, cell) > 0)).astype(np.float32)


def _dark_steps(
    maps: Float32[np.ndarray, "m h w"], cell: Int64[np.ndarray, "m 2"], sigma: float
) -> Float32[np.ndarray, "m 2"]:
    """Newton's step on the logarithm of the blurred map; a quarter where that is no step to a top nearby."""
    radius, reach = math.ceil(3 * sigma), _reach(maps, cell)
    window = _window(maps, cell, radius + 1)
    kernel = np.exp(np.square(np.arange(-radius, radius + 1, dtype=np.float32)) / np.float32(-2 * sigma**2))
    kernel /= kernel.sum()
    blur = np.stack([np.pad(kernel, (place, 2 - place)) for place in range(3)])
    whole = np.min(reach, axis=1) > radius
    blurred = np.where(whole[:, None, None], blur @ window @ blur.T, window[:, radius:-radius, radius:-radius])
    logs = np.log(np.maximum(blurred, _TINY))
    movable_x, movable_y = (reach > 0).T
    slope_x = movable_x * (logs[:, 1, 2] - logs[:, 1, 0]) / 2
    slope_y = movable_y * (logs[:, 2, 1] - logs[:, 0, 1]) / 2
    xx = np.where(movable_x, logs[:, 1, 2] - 2 * logs[:, 1, 1] + logs[:, 1, 0], -1)
    yy = np.where(movable_y, logs[:, 2, 1] - 2 * logs[:, 1, 1] + logs[:, 0, 1], -1)
    xy = movable_x * movable_y * (logs[:, 2, 2] - logs[:, 2, 0] - logs[:, 0, 2] + logs[:, 0, 0]) / 4
    determinant = xx * yy - xy * xy
    is_top = (xx < 0) & (determinant > 0)
    steps = np.stack([xy * slope_y - yy * slope_x, xy * slope_x - xx * slope_y], axis=1)
    steps = steps / np.where(is_top, determinant, 1)[:, None]
    taken = is_top & (np.abs(steps) <= 1).all(axis=1)
    return np.where(taken[:, None], steps, _quarter_steps(maps, cell)).astype(np.float32)


def _centroid_steps(
    maps: Float32[np.ndarray, "m h w"], cell: Int64[np.ndarray, "m 2"], radius: int
) -> Float32[np.ndarray, "m 2"]:
    """From the cell to the mean position in the window of `radius` around it, or as far as the nearer border."""
    offset = np.arange(-radius, radius + 1, dtype=np.float32)
    across, down = np.moveaxis(np.abs(offset) <= _reach(maps, cell)[..., None], 1, 0)
    heights = np.maximum(_window(maps, cell, radius), 0) * down[:, :, None] * across[:, None, :]
    total = heights.sum(axis=(1, 2))
    steps = np.stack([heights.sum(axis=1) @ offset, heights.sum(axis=2) @ offset], axis=1)
    return np.where(total[:, None] > 0, steps / np.where(total > 0, total, 1)[:, None], 0).astype(np.float32)


def mirror_back(heatmaps: Float32[np.ndarray, "b j h w"], mirrored: tuple[int, ...]) -> Float32[np.ndarray, "b j h w"]:
    """Heatmaps of a mirrored input as those of the input itself, as `codec.mirror_back`.

    Args:
        heatmaps: Any heights.
        mirrored: `JointSet.mirrored`.
    """
    return heatmaps[:, list(mirrored), :, ::-1]
