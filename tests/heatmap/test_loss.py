"""Losses between heatmaps and targets."""

import math

import torch
from torch.testing import assert_close

from pose_lightning.heatmap.codec import encode
from pose_lightning.heatmap.loss import cross_entropy, probabilities, squared_error


def targets(x: float, y: float, size: int = 8) -> torch.Tensor:
    return encode(torch.tensor([[[x, y]]]), torch.tensor([[True]]), size, sigma=1.0)


def test_squared_error_is_the_mean_over_pixels_added_over_stacks() -> None:
    heatmaps = torch.full((1, 3, 1, 8, 8), 2.0)
    assert_close(squared_error(heatmaps, torch.zeros(1, 1, 8, 8)), torch.tensor([[12.0]]))


def test_cross_entropy_of_a_flat_map_is_the_logarithm_of_its_cells() -> None:
    assert_close(cross_entropy(torch.zeros(1, 2, 1, 8, 8), targets(3.0, 4.0)), torch.tensor([[2 * math.log(64)]]))


def test_cross_entropy_is_least_at_the_target_itself() -> None:
    target = targets(3.0, 4.0)
    best = cross_entropy(target.clamp(min=1e-12).log()[:, None], target)
    share = target / target.sum()
    assert_close(best, -(share * share.clamp(min=1e-30).log()).sum().reshape(1, 1), atol=1e-5, rtol=0)
    assert best < cross_entropy(targets(3.5, 4.0).clamp(min=1e-12).log()[:, None], target)


def test_a_joint_far_outside_the_map_does_not_pull_at_the_border() -> None:
    heatmaps = torch.randn(1, 1, 1, 8, 8, requires_grad=True)
    loss = cross_entropy(heatmaps, targets(-6.0, 4.0)).sum()
    loss.backward()
    assert loss.item() == 0
    assert heatmaps.grad is not None
    assert not heatmaps.grad.any()


def test_probabilities_sum_to_one_and_keep_the_peak() -> None:
    heatmaps = torch.randn(2, 3, 4, 5)
    shares = probabilities(heatmaps)
    assert_close(shares.sum(dim=(-2, -1)), torch.ones(2, 3))
    assert torch.equal(shares.flatten(-2).argmax(-1), heatmaps.flatten(-2).argmax(-1))


def test_losses_are_float32_under_half_precision() -> None:
    heatmaps = torch.zeros(1, 1, 1, 8, 8, dtype=torch.bfloat16)
    for loss in (squared_error, cross_entropy):
        assert loss(heatmaps, targets(3.0, 4.0)).dtype == torch.float32
