"""Decoding and measuring stay in float32 where the network around them trains in half precision."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from pose_lightning.heatmap.codec import decode, encode
from pose_lightning.heatmap.testing import average_scales
from pose_lightning.manner import DecodeMethod
from pose_lightning.precision import full_precision
from pose_lightning.regression.heads import soft_argmax


def points() -> Tensor:
    return 12 + 8 * torch.rand((40, 1, 2), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("method", "error"), [("dark", 1e-3), ("soft_argmax", 0.05), ("quarter", 0.6)])
def test_a_peak_is_where_it_is_under_autocast(method: DecodeMethod, error: float) -> None:
    places = points()
    maps = encode(places, torch.ones(40, 1, dtype=torch.bool), 32, 1.5)
    plain = decode(maps, method, sigma=1.5)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = decode(maps, method, sigma=1.5)
    assert_close(mixed, plain, rtol=0, atol=0)
    assert (plain[0] - places).abs().max() < error


def test_a_volume_is_read_alike_under_autocast() -> None:
    volume = 5 * torch.randn((2, 3, 4, 16, 16), generator=torch.Generator().manual_seed(3))
    plain = soft_argmax(volume)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(soft_argmax(volume), plain, rtol=0, atol=0)


def test_scales_are_averaged_alike_under_autocast() -> None:
    maps = [torch.rand((2, 3, 16, 16), generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    plain = average_scales(maps, (1.0, 1.25))
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(average_scales(maps, (1.0, 1.25)), plain, rtol=0, atol=0)


def test_products_are_full_inside_and_half_again_outside() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        with full_precision(torch.zeros(1)):
            assert (torch.eye(2) @ torch.eye(2)).dtype == torch.float32
        assert (torch.eye(2) @ torch.eye(2)).dtype == torch.bfloat16
