"""Affine maps of the plane, the square person box, and mirroring.

Points are (x, y) in pixels with the centre of the top-left pixel at (0, 0), so an image of width w spans
[-0.5, w - 0.5]. A matrix is 2 x 3 and maps the column [x, y, 1]. Its name says from where to where: `image_to_input`.
"""

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float64

from pose_lightning.joints import JointSet

if TYPE_CHECKING:
    from torch import Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)
else:
    Array = TypeVar("Array")  # where exported networks are asked, there need not be a torch

Matrix = Float64[np.ndarray, "*batch 2 3"]


def apply_to_points(matrix: Array, points: Array) -> Array:
    """Return points (..., n, 2) mapped by matrices (..., 2, 3) of the same kind and dtype. NaN stays NaN."""
    return points @ matrix[..., :2].swapaxes(-1, -2) + matrix[..., None, :, 2]


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """Return the matrix that applies `inner` first and `outer` to its result."""
    linear, shift = outer[..., :2], outer[..., 2:]
    product = linear @ inner
    product[..., 2:] += shift
    return product


def invert(matrix: Matrix) -> Matrix:
    """Return the inverse map.

    Raises:
        numpy.linalg.LinAlgError: If the map is singular.
    """
    linear = np.linalg.inv(matrix[..., :2])
    return np.concatenate([linear, -linear @ matrix[..., 2:]], axis=-1)


def box_to_input(
    center: Float64[np.ndarray, "*batch 2"], box: Float64[np.ndarray, "*batch"] | float, input_size: int
) -> Matrix:
    """Return the matrix from image px to the px of a square input that shows exactly the person's box.

    u = (x - center_x) * input_size / box + (input_size - 1) / 2, and the same for y: the sides of the box fall on
    -0.5 and input_size - 0.5.

    Args:
        center: Centre of the box (x, y), image px.
        box: Side of the box, image px.
        input_size: Side of the input, px.
    """
    factor = np.asarray(input_size / np.asarray(box, dtype=np.float64))
    matrix = np.zeros((*factor.shape, 2, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = factor
    matrix[..., 2] = (input_size - 1) / 2 - factor[..., None] * center
    return matrix


def about_center(linear: Float64[np.ndarray, "*batch 2 2"], size: int) -> Matrix:
    """Return the map `linear` about the centre of a square image, which is the point ((size - 1) / 2) twice."""
    center = np.full((2, 1), (size - 1) / 2)
    return np.concatenate([linear, center - linear @ center], axis=-1)


def turn_and_scale(degrees: float, factor: float, size: int) -> Matrix:
    """Return the similarity about the centre of a square image.

    Args:
        degrees: Angle; positive turns the picture clockwise as one sees it (x to the right, y down).
        factor: Above 1 enlarges what the image shows.
        size: Side of the image, px.
    """
    cosine, sine = factor * np.cos(np.deg2rad(degrees)), factor * np.sin(np.deg2rad(degrees))
    return about_center(np.array([[cosine, -sine], [sine, cosine]]), size)


def mirror_matrix(width: int) -> Matrix:
    """Return the left-right mirror of an image, x' = width - 1 - x."""
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0]])


def mirror(joints: Array, joint_set: JointSet, width: int) -> Array:
    """Return joints (..., j, 2) as they are named and placed in the mirrored image of that width.

    x' = width - 1 - x, and left and right trade places.
    """
    mirrored = joints[..., list(joint_set.mirrored), :]  # a copy in numpy and in torch alike
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored
