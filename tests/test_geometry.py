"""Affine maps and mirroring."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pose_lightning import geometry
from pose_lightning.joints import MPII


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_the_box_fills_the_input_from_edge_to_edge():
    image_to_input = geometry.box_to_input(np.array([100.0, 60.0]), 128.0, 256)
    corners = np.array([[100.0 - 64, 60.0 - 64], [100.0 + 64, 60.0 + 64], [100.0, 60.0]])
    assert_allclose(geometry.apply_to_points(image_to_input, corners), [[-0.5, -0.5], [255.5, 255.5], [127.5, 127.5]])


def test_boxes_of_a_batch_equal_boxes_one_by_one(rng: np.random.Generator):
    centers, boxes = rng.uniform(0, 500, (5, 2)), rng.uniform(50, 300, 5)
    batched = geometry.box_to_input(centers, boxes, 128)
    assert_allclose(batched, [geometry.box_to_input(c, b, 128) for c, b in zip(centers, boxes, strict=True)])


def test_an_input_that_is_no_square_shows_its_own_proportion():
    image_to_input = geometry.box_to_input(np.array([100.0, 60.0]), 128.0, (256, 192))
    corners = np.array([[100.0 - 48, 60.0 - 64], [100.0 + 48, 60.0 + 64]])
    assert_allclose(geometry.apply_to_points(image_to_input, corners), [[-0.5, -0.5], [191.5, 255.5]])
    point = geometry.apply_to_points(geometry.turn_and_scale(90.0, 1.0, (5, 7)), np.array([[3.0, 2.0], [5.0, 2.0]]))
    assert_allclose(point, [[3.0, 2.0], [3.0, 4.0]], atol=1e-12)


def test_what_is_shown_holds_the_person_in_the_inputs_proportion_with_the_margin_of_the_square():
    """COCO's rule: the tight box is widened or heightened to 3 : 4, then enlarged by 1.25."""
    tight = np.array([[40.0, 100.0], [100.0, 40.0], [90.0, 100.0]])
    squares = 1.25 * tight.max(axis=1)
    shown = geometry.shown_heights(squares, tight, (256, 192))
    assert_allclose(shown, [1.25 * 100, 1.25 * 100 * 4 / 3, 1.25 * 90 * 4 / 3])
    assert_allclose(geometry.shown_heights(squares, tight, (192, 256)), [1.25 * 100, 1.25 * 75, 1.25 * 100])
    assert_allclose(geometry.shown_heights(squares, None, (256, 192)), squares * 4 / 3)  # nothing of the square is cut


def test_a_square_input_shows_the_square_box_to_the_last_bit(rng: np.random.Generator):
    tight = rng.uniform(1, 300, (1000, 2))
    squares = 1.25 * tight.max(axis=1)
    assert np.array_equal(geometry.shown_heights(squares, tight, 192), squares)


def test_compose_applies_the_inner_map_first():
    double = np.array([[2.0, 0, 0], [0, 2.0, 0]])
    right = np.array([[1.0, 0, 3], [0, 1.0, 0]])
    point = np.array([[1.0, 1.0]])
    assert_allclose(geometry.apply_to_points(geometry.compose(double, right), point), [[8.0, 2.0]])
    assert_allclose(geometry.apply_to_points(geometry.compose(right, double), point), [[5.0, 2.0]])


def test_compose_leaves_its_arguments_alone(rng: np.random.Generator):
    outer, inner = rng.normal(size=(2, 3)), rng.normal(size=(2, 3))
    before = outer.copy(), inner.copy()
    geometry.compose(outer, inner)
    assert_allclose((outer, inner), before, rtol=0)


def test_the_inverse_brings_points_back(rng: np.random.Generator):
    matrices, points = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 6, 2))
    there = geometry.apply_to_points(matrices, points)
    assert_allclose(geometry.apply_to_points(geometry.invert(matrices), there), points, atol=1e-9)


def test_points_map_alike_as_arrays_and_as_tensors(rng: np.random.Generator):
    matrices, points = rng.normal(size=(4, 2, 3)), rng.normal(size=(4, 6, 2))
    tensors = geometry.apply_to_points(torch.from_numpy(matrices), torch.from_numpy(points))
    assert_allclose(tensors.numpy(), geometry.apply_to_points(matrices, points), rtol=1e-12)
    homogeneous = np.concatenate([points, np.ones((4, 6, 1))], axis=-1)
    assert_allclose(tensors.numpy(), np.einsum("bxy,bjy->bjx", matrices, homogeneous), rtol=1e-9)


def test_a_quarter_turn_is_clockwise_about_the_centre():
    matrix = geometry.turn_and_scale(90.0, 1.0, 5)
    assert_allclose(geometry.apply_to_points(matrix, np.array([[2.0, 2.0], [4.0, 2.0]])), [[2, 2], [2, 4]], atol=1e-12)


def test_a_factor_above_one_moves_points_away_from_the_centre():
    matrix = geometry.turn_and_scale(0.0, 1.5, 256)
    assert_allclose(geometry.apply_to_points(matrix, np.array([[137.5, 127.5]])), [[142.5, 127.5]])


def test_mirror_twice_is_identity(rng: np.random.Generator):
    joints = rng.uniform(0, 255, (3, 16, 2))
    assert_allclose(geometry.mirror(geometry.mirror(joints, MPII, 256), MPII, 256), joints)
    tensor = torch.from_numpy(joints)
    torch.testing.assert_close(geometry.mirror(geometry.mirror(tensor, MPII, 256), MPII, 256), tensor)


def test_mirror_swaps_names_and_maps_the_left_edge_to_the_right():
    joints = np.full((16, 2), np.nan)
    joints[0] = [0.0, 9.0]  # right ankle at the left edge
    mirrored = geometry.mirror(joints, MPII, 256)
    assert_allclose(mirrored[5], [255.0, 9.0])  # left ankle at the right edge
    assert np.isnan(np.delete(mirrored, 5, axis=0)).all()
    assert_allclose(joints[0], [0.0, 9.0])


def test_mirror_places_joints_where_the_mirror_matrix_does(rng: np.random.Generator):
    joints = rng.uniform(0, 255, (16, 2))
    by_matrix = geometry.apply_to_points(geometry.mirror_matrix(256), joints)[list(MPII.mirrored)]
    assert_allclose(geometry.mirror(joints, MPII, 256), by_matrix)
