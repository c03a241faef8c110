"""How far stored frames are averaged, and the map from there to the network's input, which shows the whole frame."""

from typing import Final

import numpy as np

from pose_lightning import geometry

_LARGEST_REDUCTION: Final = 8


def reduction(stored_size: int, input_size: int) -> int:
    """Return the power of two by which frames are averaged before the warp; they stay as large as the input."""
    factor = 1
    while factor < _LARGEST_REDUCTION and stored_size >= 2 * factor * input_size and stored_size % (2 * factor) == 0:
        factor *= 2
    return factor


def frame_to_input(side: int, input_size: int) -> geometry.Matrix:
    """Return the matrix from the px of a square frame to those of the input."""
    return geometry.box_to_input(np.full(2, (side - 1) / 2), float(side), input_size)
