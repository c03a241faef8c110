"""The batched warp."""

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pose_lightning import geometry
from pose_lightning.warping import warp


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_warp_by_identity_returns_the_pixels(rng: np.random.Generator):
    images = torch.from_numpy(rng.integers(0, 256, (2, 9, 9, 3), dtype=np.uint8))
    identity = torch.eye(2, 3, dtype=torch.float64).expand(2, 2, 3)
    torch.testing.assert_close(warp(images, identity, 9), images.permute(0, 3, 1, 2).float(), atol=1e-3, rtol=0)


def test_warp_by_the_mirror_matrix_is_a_flip(rng: np.random.Generator):
    images = torch.from_numpy(rng.integers(0, 256, (1, 8, 8, 3), dtype=np.uint8))
    matrices = torch.from_numpy(geometry.mirror_matrix(8))[None]
    expected = images.permute(0, 3, 1, 2).flip(-1).float()
    torch.testing.assert_close(warp(images, matrices, 8), expected, atol=1e-3, rtol=0)


def test_warp_averages_two_pixels_half_way_and_is_black_outside():
    images = torch.tensor([[[[10], [30]], [[50], [70]]]], dtype=torch.uint8)  # 2 x 2, one channel
    half_right = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    expected = torch.tensor([[[[20.0, 15.0], [60.0, 35.0]]]])
    torch.testing.assert_close(warp(images, half_right, 2), expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("size", "degrees", "factor"), [(256, 0.0, 1.0), (256, 25.0, 1.2), (128, -30.0, 0.6)])
def test_warp_agrees_with_cv2_to_its_rounding(rng: np.random.Generator, size: int, degrees: float, factor: float):
    coarse = rng.integers(0, 256, (60, 56, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (448, 480), interpolation=cv2.INTER_CUBIC)
    image_to_input = geometry.compose(
        geometry.turn_and_scale(degrees, factor, size), geometry.box_to_input(np.array([223.3, 241.9]), 256.0, size)
    )
    input_to_image = geometry.invert(image_to_input)
    ours = warp(torch.from_numpy(image)[None], torch.from_numpy(input_to_image)[None], size)[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    exact = cv2.warpAffine(image.astype(np.float32), input_to_image, (size, size), flags=flags)
    whole = cv2.warpAffine(image, input_to_image, (size, size), flags=flags)
    assert_allclose(ours.permute(1, 2, 0).numpy(), exact, atol=0.05)
    assert_allclose(ours.permute(1, 2, 0).numpy(), whole, atol=0.55)  # half a grey level of rounding, and that
