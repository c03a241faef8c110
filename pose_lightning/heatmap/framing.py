"""Where a stored crop shows a person, and how far it is averaged before the warp to the network's input."""

import numpy as np

from pose_lightning import geometry


def reduction(crop_size: int, box_in_crop: float, input_size: geometry.Size) -> int:
    """Return the power of two by which a crop is averaged before the warp; the box stays as large as the input."""
    factor, longer = 1, max(geometry.sides(input_size))
    while factor < 8 and box_in_crop >= 2 * factor * longer and crop_size % (2 * factor) == 0:
        factor *= 2
    return factor


def image_to_crop(crop: np.ndarray, factor: int) -> geometry.Matrix:
    """Return matrices (n, 2, 3) from image px to px of stored crops that were averaged over squares of `factor` px.

    Args:
        crop: The store's label (n, 3): x0, y0, s, with crop px c = (image px - (x0, y0) + 0.5) * s - 0.5.
        factor: Side of the squares; averaged px are (c + 0.5) / factor - 0.5.
    """
    corner, scale = crop[:, :2], crop[:, 2] / factor
    matrices = np.zeros((len(crop), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = scale
    matrices[:, :, 2] = (0.5 - corner) * scale[:, None] - 0.5
    return matrices
