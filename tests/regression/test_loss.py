"""Losses between the poses of clips."""

import pytest
import torch
from torch.testing import assert_close

from pose_lightning.joints import H36M
from pose_lightning.regression.loss import LossName, bone_length_loss, clip_loss, velocity_loss


def poses(clips: int = 2, frames: int = 3) -> torch.Tensor:
    return torch.randn(clips, frames, 17, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("loss", "off", "expected"),
    [("mse", 0.2, 0.04), ("l1", -0.2, 0.2), ("smooth_l1", 0.2, 0.2 - 0.05), ("smooth_l1", 0.02, 0.02**2 / 0.2)],
)
def test_every_coordinate_off_by_the_same_gives_the_formula(loss: LossName, off: float, expected: float) -> None:
    target = poses()
    losses = clip_loss(target + torch.tensor([[[[off]]], [[[0.0]]]]), target, loss=loss, beta=0.1)
    assert_close(losses, torch.tensor([expected, 0.0]), atol=1e-6, rtol=1e-4)


def test_mse_divides_by_frames_joints_and_coordinates() -> None:
    preds = torch.zeros(1, 8, 17, 3)
    preds[0, 4, 16, 2] = 3.0
    assert_close(clip_loss(preds, torch.zeros_like(preds)), torch.tensor([9 / (8 * 17 * 3)]))


def test_losses_are_float32_under_half_precision() -> None:
    half = poses().bfloat16()
    for losses in (clip_loss(half, half), bone_length_loss(half, half), velocity_loss(half, half)):
        assert losses.dtype == torch.float32


def test_a_pose_twice_as_large_has_bones_too_long_by_their_length() -> None:
    target = poses()
    lengths = torch.stack([(target[:, :, a] - target[:, :, b]).norm(dim=-1) for a, b in H36M.bones])
    assert_close(bone_length_loss(2 * target, target), lengths.mean(dim=(0, 2)))


def test_turning_a_pose_keeps_its_bones() -> None:
    target = poses()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    assert_close(bone_length_loss(target @ turn, target), torch.zeros(2), atol=1e-6, rtol=0)


def test_a_pose_that_drifts_has_the_drift_as_velocity_loss() -> None:
    target = poses(frames=4)
    drift = torch.arange(4.0)[None, :, None, None] * torch.tensor([3.0, 0.0, 4.0])
    assert_close(velocity_loss(target + drift, target), torch.tensor([5.0, 5.0]))


def test_a_constant_offset_has_no_velocity_loss() -> None:
    assert_close(velocity_loss(poses() + 0.5, poses()), torch.zeros(2), atol=1e-6, rtol=0)


def test_a_single_frame_has_no_velocity() -> None:
    assert torch.equal(velocity_loss(poses(frames=1) + 1, poses(frames=1)), torch.zeros(2))


def test_gradients_are_finite_where_joints_coincide() -> None:
    preds = torch.zeros(1, 2, 17, 3, requires_grad=True)
    target = poses(1, 2)
    (bone_length_loss(preds, target) + velocity_loss(preds, torch.zeros_like(target))).sum().backward()
    assert preds.grad is not None
    assert torch.isfinite(preds.grad).all()
