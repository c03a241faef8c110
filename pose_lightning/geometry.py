"""Affine maps of the plane, the person box, and mirroring.

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

Size = int | tuple[int, int]
"""Px of a picture: the side of a square one, or height and width."""


def sides(size: Size) -> tuple[int, int]:
    """Height and width."""
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def in_words(size: Size) -> str:
    """Such as `256` or `256 x 192`, px."""
    return str(size) if isinstance(size, int) else " x ".join(map(str, size))


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
    center: Float64[np.ndarray, "*batch 2"], box: Float64[np.ndarray, "*batch"] | float, input_size: Size
) -> Matrix:
    """Return the matrix from image px to the px of an input that shows exactly the person's box.

    v = (y - center_y) * height / box + (height - 1) / 2, and u is enlarged as much: the upper and the lower side of the
    box fall on -0.5 and height - 0.5.

    Args:
        center: Centre of the box (x, y), image px.
        box: Height of the box, image px; its width is in the input's proportion.
        input_size: Of the input, px.
    """
    height, width = sides(input_size)
    factor = np.asarray(height / np.asarray(box, dtype=np.float64))
    matrix = np.zeros((*factor.shape, 2, 3))
    matrix[..., 0, 0] = matrix[..., 1, 1] = factor
    matrix[..., 2] = np.array([(width - 1) / 2, (height - 1) / 2]) - factor[..., None] * center
    return matrix


def shown_heights(
    box: Float64[np.ndarray, " n"], person: Float64[np.ndarray, "n 2"] | None, input_size: Size
) -> Float64[np.ndarray, " n"]:
    """How much of the image the input shows of each person from top to bottom, image px.

    A square input shows the square box. Another one shows the smallest part of the image in its own proportion that
    holds the person's tight box, with the same margin: as `_xywh2cs` of microsoft/human-pose-estimation.pytorch,
    lib/dataset/coco.py, does, and others after it.

    Args:
        box: Side of the square box.
        person: Width and height of the tight box; None where unknown: all of the square box is shown.
        input_size: Of the input.
    """
    height, width = sides(input_size)
    tight = np.ones((len(box), 2)) if person is None else person
    return box * (np.maximum(tight[:, 1], tight[:, 0] * (height / width)) / tight.max(axis=1))


def about_center(linear: Float64[np.ndarray, "*batch 2 2"], size: Size) -> Matrix:
    """Return the map `linear` about the centre of an image, the point ((width - 1) / 2, (height - 1) / 2)."""
    height, width = sides(size)
    center = np.array([[(width - 1) / 2], [(height - 1) / 2]])
    return np.concatenate([linear, center - linear @ center], axis=-1)


def turn_and_scale(degrees: float, factor: float, size: Size) -> Matrix:
    """Return the similarity about the centre of an image.

    Args:
        degrees: Angle; positive turns the picture clockwise as one sees it (x to the right, y down).
        factor: Above 1 enlarges what the image shows.
        size: Of the image, px.
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
