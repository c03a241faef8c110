"""Dense layers and the expected place in a volume."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pose_lightning.regression.heads import Dense, IntegralHead, PoseHead, soft_argmax


def peak(x: int, y: int, z: int, shape: tuple[int, int, int] = (4, 6, 8)) -> torch.Tensor:
    """A volume (1, 1, depth, height, width) with nearly all its mass in one cell."""
    volume = torch.zeros(1, 1, *shape)
    volume[0, 0, z, y, x] = 50.0
    return volume


def test_a_peak_is_found_at_the_centre_of_its_cell() -> None:
    # cell k of n: (2 k + 1) / n - 1, along x of 8, y of 6 and z of 4
    assert_close(soft_argmax(peak(0, 5, 1)), torch.tensor([[[1 / 8 - 1, 11 / 6 - 1, 3 / 4 - 1]]]))


def test_two_equal_peaks_meet_half_way() -> None:
    both = torch.maximum(peak(1, 2, 0), peak(5, 4, 2))
    assert_close(soft_argmax(both), (soft_argmax(peak(1, 2, 0)) + soft_argmax(peak(5, 4, 2))) / 2)


def test_a_flat_volume_says_the_middle() -> None:
    assert_close(soft_argmax(torch.full((2, 3, 4, 6, 8), 7.0)), torch.zeros(2, 3, 3))


def test_mirroring_the_volume_mirrors_x() -> None:
    volume = torch.randn(1, 2, 4, 6, 8)
    assert_close(soft_argmax(volume.flip(-1)), soft_argmax(volume) * torch.tensor([-1.0, 1.0, 1.0]))


def test_half_precision_is_summed_in_float32() -> None:
    volume = torch.randn(1, 1, 16, 32, 32).bfloat16()
    places = soft_argmax(volume)
    assert places.dtype == torch.float32
    assert_close(places, soft_argmax(volume.float()))


@pytest.fixture
def head() -> IntegralHead:
    torch.manual_seed(0)
    return IntegralHead(12, features=10, upsamplings=2, depth_bins=5)


def test_volumes_are_doubled_as_often_as_asked(head: IntegralHead) -> None:
    assert head.volume(head.upsample(torch.randn(2, 12, 3, 4))).shape == (2, 17 * 5, 12, 16)


def test_the_root_is_at_zero(head: IntegralHead) -> None:
    poses = head(torch.randn(3, 12, 4, 4))
    assert poses.shape == (3, 17, 3)
    assert torch.equal(poses[:, 0], torch.zeros(3, 3))
    assert poses[:, 1:].abs().min() > 0


def test_the_span_is_learned_per_axis(head: IntegralHead) -> None:
    maps = torch.randn(1, 12, 4, 4)
    head.eval()
    before = head(maps)
    with torch.no_grad():
        head.log_half_span.copy_(torch.tensor([1.0, 2.0, 0.5]).log())
    assert_close(head(maps), before * torch.tensor([1.0, 2.0, 0.5]))


def test_dropout_and_relu_stand_behind_every_dense_layer() -> None:
    layers = Dense(4, (3, 2), dropout=0.5)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Dropout] * 2
    assert layers.out_features == 2


def test_no_dense_layers_are_the_identity() -> None:
    x = torch.randn(2, 4)
    assert Dense(4, ()).out_features == 4
    assert torch.equal(Dense(4, ())(x), x)


def test_a_pose_is_joints_by_coordinates() -> None:
    torch.manual_seed(0)
    head = PoseHead(4, (), joints=17)
    x = torch.randn(2, 3, 4)
    pose = head(x)
    assert pose.shape == (2, 3, 17, 3)
    assert_close(pose[1, 2, 5, 1], x[1, 2] @ head.output.weight[16] + head.output.bias[16])


def test_a_sigmoid_stays_between_zero_and_one() -> None:
    torch.manual_seed(0)
    x = 100 * torch.randn(20, 4)
    bounded = PoseHead(4, (), activation="sigmoid")
    poses = bounded(x)
    assert 0 <= poses.min() < 0.1
    assert 0.9 < poses.max() <= 1
    assert_close(poses, bounded.output(x).sigmoid().unflatten(-1, (17, 3)))
