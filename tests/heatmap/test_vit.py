"""The vision transformer: its size, its decoders, its positions, and the settings that each network has."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.testing import assert_close

from pose_lightning.errors import UserError
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.heatmap.vit import SimpleDecoder, VitPose


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("decoder", "parameters"),
    [
        # two deconvolutions with norms, a 1x1 convolution with biases
        ("classic", 768 * 256 * 16 + 256 * 256 * 16 + 2 * 2 * 256 + 256 * 16 + 16),
        ("simple", 768 * 16 * 9 + 16),
    ],
)
def test_the_sizes_are_those_of_vit_base_and_its_decoders(decoder: Any, parameters: int) -> None:
    with torch.device("meta"):
        network = VitPose(16, "vit_base_patch16_224.mae", decoder=decoder)
        assert network(torch.empty(2, 3, 256, 192)).shape == (2, 1, 16, 64, 48)
    assert count(network.backbone) == 85_798_656
    assert count(network.decoder) == parameters


def test_tokens_become_maps_row_by_row() -> None:
    network = VitPose(16, "test_vit", decoder="simple").eval()
    network.backbone.forward = lambda x: torch.arange(1.0 + 12)[None, :, None].expand(len(x), 13, 64)
    seen: list[torch.Tensor] = []
    network.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(torch.rand(2, 3, 48, 64))
    assert torch.equal(seen[0][1, 5], torch.arange(1.0, 13).reshape(3, 4))  # the class token is left out


def test_the_simple_decoder_keeps_places() -> None:
    decoder = SimpleDecoder(1, 4, 1)
    convolution = decoder[-1]
    assert isinstance(convolution, nn.Conv2d)
    with torch.no_grad():
        convolution.weight.zero_()
        convolution.weight[0, 0, 1, 1] = 1.0
        assert convolution.bias is not None
        convolution.bias.zero_()
        ramp = decoder((torch.arange(6.0) + 1).expand(1, 1, 6, 6))[0, 0, 12, 2:-2]
    assert_close(ramp, (torch.arange(2, 22) + 0.5) / 4 - 0.5 + 1)


def test_at_the_size_of_its_training_the_backbone_is_timms() -> None:
    torch.manual_seed(0)
    whole = timm.create_model("test_vit", num_classes=0, global_pool="").eval()
    network = VitPose(16, "test_vit").eval()
    network.backbone.load_state_dict(whole.state_dict())
    image = torch.rand(1, 3, 160, 160)
    normalized = (image - 0.5) / 0.5
    assert_close(network.backbone(normalized), whole(normalized))


def test_an_image_of_half_a_patch_is_refused() -> None:
    with pytest.raises(UserError, match="input_size is 72; test_vit takes only a multiple of 16: 64 or 80"):
        VitPose(16, "test_vit")(torch.rand(1, 3, 64, 72))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "resnet10t"])
def test_what_is_no_plain_transformer_is_refused(name: str) -> None:
    with torch.device("meta"), pytest.raises(UserError, match=rf"model\.backbone={name}"):
        VitPose(16, name)


def test_the_backbone_starts_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = timm.create_model("test_vit").state_dict()
    torch.save({"model": {f"module.{key}": value for key, value in state.items()}}, path := tmp_path / "vit.pth")
    network = HeatmapEstimation(network=partial(VitPose, backbone="test_vit"), weights=path).model
    assert isinstance(network, VitPose)
    for key, value in network.backbone.state_dict().items():
        assert torch.equal(value, state[key])
