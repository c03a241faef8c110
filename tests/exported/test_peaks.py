"""Decoding without PyTorch gives what decoding with it gives."""

from typing import get_args

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pose_lightning.geometry import Size
from pose_lightning.heatmap import codec, peaks
from pose_lightning.heatmap.decoding import Grid
from pose_lightning.joints import MPII
from pose_lightning.manner import DecodeMethod


def maps(sigma: float) -> np.ndarray:
    """Noise, gaussians at all places and beside the border, peaks in corners and on edges, and what is no map."""
    rng = np.random.default_rng(4)
    places = torch.from_numpy(rng.uniform(-1, 16, (40, 2))).float()
    drawn = codec.encode(places, torch.ones(40, dtype=torch.bool), 16, sigma).numpy()
    spikes = np.zeros((6, 16, 16), np.float32)
    for each, (row, column) in zip(spikes, [(0, 0), (0, 15), (15, 7), (7, 15), (8, 8), (3, 0)], strict=True):
        each[row, column] = 1
    odd = np.stack([np.zeros((16, 16)), np.full((16, 16), -1.0), np.full((16, 16), np.nan), spikes[4] * np.inf])
    noise = rng.normal(size=(14, 16, 16))
    faint = drawn[:8] * 0.01 + rng.normal(size=(8, 16, 16)) * 0.001
    return np.concatenate([drawn, spikes, odd, noise, faint])[None].astype(np.float32)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("method", get_args(DecodeMethod))
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # 0 times infinity, in the spike's map
def test_numpy_decodes_as_torch_does(method: DecodeMethod, sigma: float) -> None:
    heatmaps = maps(sigma)
    found, heights = peaks.decode(heatmaps, method, sigma=sigma)
    expected, confidence = codec.decode(torch.from_numpy(heatmaps), method, sigma=sigma)
    assert_allclose(found, expected.numpy(), atol=2e-5)
    assert_allclose(heights, confidence.numpy())
    assert np.isnan(found).any(axis=2).sum() == 2
    assert found.dtype == heights.dtype == np.float32


@pytest.mark.parametrize("size", [16, (16, 12)], ids=["square", "tall"])
@pytest.mark.parametrize("grid", get_args(Grid))
def test_input_px_are_those_of_the_codec(grid: Grid, size: Size) -> None:
    points = np.array([[0.0, 3.25], [-1.0, 15.0]])
    expected = codec.heatmap_to_input(torch.from_numpy(points), grid=grid, size=size)
    assert_allclose(peaks.to_input(points, grid=grid, size=size), expected.numpy())


def test_mirrored_maps_come_back_as_in_the_codec() -> None:
    heatmaps = np.random.default_rng(1).random((2, 16, 4, 4), np.float32)
    expected = codec.mirror_back(torch.from_numpy(heatmaps), MPII).numpy()
    assert np.array_equal(peaks.mirror_back(heatmaps, MPII.mirrored), expected)
