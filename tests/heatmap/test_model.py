import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pose_lightning.errors import UserError
from pose_lightning.heatmap.model import Hourglass, Residual, StackedHourglass


def small(**sizes: int | bool) -> StackedHourglass:
    torch.manual_seed(0)
    return StackedHourglass(**{"stacks": 2, "features": 8, "joints": 3, "depth": 2} | sizes)  # type: ignore[arg-type]


def multiply_adds(network: nn.Module, size: int) -> int:
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, size, size, device="meta"))
    return int(counter.get_total_flops()) // 2


def arithmetic_parameters(stacks: int, f: int = 256, joints: int = 16, depth: int = 4) -> int:
    """The count by hand: a convolution has its weights and a bias, a norm two numbers per channel."""

    def conv(before: int, after: int, kernel: int = 1) -> int:
        return before * after * kernel**2 + after

    def residual(before: int, after: int) -> int:
        norms = 2 * (before + after // 2 + after // 2)
        skip = conv(before, after) if before != after else 0
        return norms + conv(before, after // 2) + conv(after // 2, after // 2, 3) + conv(after // 2, after) + skip

    stem = conv(3, f // 4, 7) + 2 * (f // 4) + residual(f // 4, f // 2) + residual(f // 2, f // 2) + residual(f // 2, f)
    stack = (3 * depth + 1 + 1) * residual(f, f) + conv(f, f) + 2 * f + conv(f, joints)
    return stem + stacks * stack + (stacks - 1) * (conv(f, f) + conv(joints, f))


@pytest.mark.parametrize(
    ("stacks", "millions", "billions"), [(1, 3.426, 5.15), (2, 6.570, 8.335), (4, 12.858, 14.70), (8, 25.434, 27.44)]
)
def test_size_agrees_with_the_published_network(stacks: int, millions: float, billions: float) -> None:
    with torch.device("meta"):
        network = StackedHourglass(16, stacks)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=5e-4)
    assert multiply_adds(network, 256) / 1e9 == pytest.approx(billions, abs=5e-3)


@pytest.mark.parametrize(("stacks", "features", "joints", "depth"), [(1, 64, 14, 3), (3, 100, 16, 4), (9, 4, 1, 1)])
def test_parameters_of_free_sizes_agree_with_arithmetic(stacks: int, features: int, joints: int, depth: int) -> None:
    with torch.device("meta"):
        network = StackedHourglass(joints, stacks, features, depth)
    expected = arithmetic_parameters(stacks, features, joints, depth)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_multiply_adds_grow_with_the_area() -> None:
    with torch.device("meta"):
        network = StackedHourglass(16, 1)
    assert multiply_adds(network, 384) * 4 == multiply_adds(network, 256) * 9


def test_heatmaps_are_a_quarter_of_the_image_whatever_its_shape() -> None:
    with torch.device("meta"):
        network = StackedHourglass(16, 2, features=8)
        assert network(torch.empty(2, 3, 64, 192)).shape == (2, 2, 16, 16, 48)


def test_a_residual_of_zeroed_bottleneck_is_its_skip_path() -> None:
    residual = Residual(4, 4)
    last = residual.bottleneck[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(residual(x), x)


def test_a_residual_leaves_its_input_alone() -> None:
    x = torch.randn(2, 4, 8, 8)
    before = x.clone()
    Residual(4, 8)(x)
    assert torch.equal(x, before)


def test_an_hourglass_of_identities_adds_each_block_maximum() -> None:
    hourglass = Hourglass(1, 4)
    for name in ("skip", "down", "inner", "up"):
        setattr(hourglass, name, nn.Identity())
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    # In a ramp, the maximum of a 2x2 block is its lower right corner.
    corner = torch.arange(8) // 2 * 2 + 1
    assert torch.equal(hourglass(x), x + x[:, :, corner][:, :, :, corner])


def test_an_hourglass_sees_the_whole_map() -> None:
    network = small(depth=3).eval()
    image = torch.rand(1, 3, 64, 64, requires_grad=True)
    network(image)[0, 0, 0, 0, 0].backward()
    assert image.grad is not None
    assert (image.grad[0, :, -8:, -8:] != 0).any()


@pytest.mark.parametrize("training", [True, False])
def test_the_memory_format_changes_nothing_else(training: bool) -> None:
    fast, plain = small(channels_last=True).train(training), small(channels_last=False).train(training)
    assert fast.get_parameter("stem.0.weight").is_contiguous(memory_format=torch.channels_last)
    assert plain.get_parameter("stem.0.weight").is_contiguous()
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(fast(image), plain(image), rtol=1e-4, atol=1e-5)


def test_gradients_agree_with_finite_differences() -> None:
    network = small(features=4, depth=1, joints=1).double().train()
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, (image,), eps=1e-7, atol=1e-4, fast_mode=True)


def test_the_first_loss_trains_the_first_stack_alone() -> None:
    network = small()
    network(torch.rand(2, 3, 32, 32))[:, 0].square().sum().backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        assert weight.grad.any() == (not name.startswith(("stacks.1", "injections"))), name


def test_the_last_loss_trains_everything() -> None:
    network = small()
    network(torch.rand(2, 3, 32, 32))[:, -1].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_the_last_stack_reads_the_first_heatmaps() -> None:
    network = small().eval()
    image = torch.rand(1, 3, 32, 32)
    before = network(image)
    nn.init.zeros_(network.get_parameter("injections.0.heatmaps.weight"))
    after = network(image)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.equal(before[:, 1], after[:, 1])


@pytest.mark.parametrize(("height", "width", "wrong"), [(96, 64, 96), (64, 100, 100), (32, 64, 32), (0, 64, 0)])
def test_an_image_that_cannot_be_halved_is_refused(height: int, width: int, wrong: int) -> None:
    network = small(depth=4)
    with pytest.raises(
        UserError, match=rf"input_size is {wrong}; .* multiple of 64: 64 or 128, or use a smaller depth"
    ):
        network(torch.rand(1, 3, height, width))


def test_a_smaller_depth_takes_smaller_steps() -> None:
    network = small(depth=3)
    network.check_input_size(32, 96, 160)
    with pytest.raises(UserError, match=r"input_size is 112; .* multiple of 32: 96 or 128"):
        network.check_input_size(112)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"stacks": 0}, "stacks is 0; .* at least 1"),
        ({"joints": -1}, "joints is -1; .* at least 1"),
        ({"depth": 0}, "depth is 0; .* at least 1"),
        ({"features": 66}, "features is 66; .* a multiple of 4"),
        ({"features": 0}, "features is 0; .* a multiple of 4"),
    ],
)
def test_sizes_out_of_range_are_refused(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small(**sizes)
