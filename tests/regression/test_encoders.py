"""Encoders: the reports' sizes, backbones of timm, and checkpointed activations."""

import copy
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from pose_lightning.errors import UserError
from pose_lightning.regression.encoders import Encoder, conv_stages, deep_conv_stages, timm_encoder, vgg_stages


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("stages", "shape"), [(vgg_stages, (256, 7, 7)), (conv_stages, (32, 110, 110)), (deep_conv_stages, (512, 6, 6))]
)
def test_feature_maps_have_the_reports_sizes(stages: object, shape: tuple[int, int, int]) -> None:
    assert callable(stages)
    with torch.device("meta"):
        assert Encoder(stages()).output_shape(224) == shape


def test_looking_at_the_output_changes_no_statistics() -> None:
    encoder = Encoder(vgg_stages((4, 4)))
    before = copy.deepcopy(encoder.state_dict())
    encoder.output_shape(16)
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_frames_too_small_for_the_pools_are_refused() -> None:
    with pytest.raises(UserError, match="input_size is 16, which is too small"):
        Encoder(vgg_stages()).output_shape(16)


def test_batch_norm_is_behind_the_pool_and_keras() -> None:
    for block in vgg_stages():
        assert isinstance(block, nn.Sequential)
        assert [type(part).__name__ for part in block[-2:]] == ["MaxPool2d", "BatchNorm2d"]
        assert (block[-1].eps, block[-1].momentum) == (1e-3, 0.01)


def test_mean_and_deviation_are_taken_from_the_frames(frames: torch.Tensor) -> None:
    encoder = Encoder([nn.Identity()], mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0))
    expected = torch.stack([(frames[:, 0] - 0.5) / 0.5, frames[:, 1] - 0.25, frames[:, 2] / 2], dim=1)
    assert_close(encoder(frames), expected)
    assert not encoder.state_dict()


def trained_step(encoder: Encoder, frames: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    torch.manual_seed(1)
    loss = encoder(frames).square().mean()
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["vgg", "resnet18", "tf_efficientnet_lite0"])
def test_checkpointing_changes_no_loss_no_gradient_and_no_statistic(name: str, frames: torch.Tensor) -> None:
    torch.manual_seed(0)
    plain = Encoder(vgg_stages((4, 8))) if name == "vgg" else timm_encoder(name, stride=8)
    recomputed = copy.deepcopy(plain)
    recomputed.checkpoint_activations = True
    (loss, gradients), (loss_again, gradients_again) = trained_step(plain, frames), trained_step(recomputed, frames)
    assert loss > 0
    assert torch.equal(loss, loss_again)
    assert gradients.keys() == gradients_again.keys() == dict(plain.named_parameters()).keys()
    for key, gradient in gradients.items():
        assert_close(gradients_again[key], gradient, atol=0, rtol=0)
    fresh = dict(recomputed.named_buffers())
    statistics = {key: value for key, value in plain.named_buffers() if "running" in key or "tracked" in key}
    assert statistics
    for key, value in statistics.items():
        assert torch.equal(fresh[key], value), key
    norms = [part for part in recomputed.modules() if isinstance(part, nn.BatchNorm2d)]
    assert all(norm.track_running_stats and norm.num_batches_tracked == 1 for norm in norms)


def test_checkpointing_keeps_less_between_the_passes(frames: torch.Tensor) -> None:
    def kept(encoder: Encoder) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = encoder(frames)
        assert output.requires_grad
        return sum(sizes.values())

    stages = vgg_stages((8, 8))
    assert kept(Encoder(stages, checkpoint_activations=True)) < kept(Encoder(stages)) / 2


@pytest.mark.parametrize(
    ("name", "stride", "shape"),
    [("resnet18", None, (512, 2, 2)), ("resnet18", 8, (128, 8, 8)), ("tf_efficientnet_lite0", 16, (112, 4, 4))],
)
def test_a_backbone_stops_at_the_stride_asked_for(name: str, stride: int | None, shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        assert timm_encoder(name, stride=stride).output_shape(64) == shape


def test_stages_of_a_backbone_give_what_timm_gives(frames: torch.Tensor) -> None:
    torch.manual_seed(0)
    expected = timm.create_model("resnet18", features_only=True).eval()
    encoder = timm_encoder("resnet18").eval()
    names = list(expected.state_dict())
    encoder.load_state_dict(dict(zip(encoder.state_dict(), expected.state_dict().values(), strict=True)))
    assert len(names) == len(encoder.state_dict())
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        maps = expected((frames - mean[:, None, None]) / std[:, None, None])[-1]
        assert_close(encoder(frames), maps)


def test_channels_come_first_where_timm_puts_them_last() -> None:
    with torch.device("meta"):
        assert timm_encoder("swin_tiny_patch4_window7_224").output_shape(224) == (768, 7, 7)


def test_an_unknown_backbone_names_what_is_near() -> None:
    with pytest.raises(UserError, match=r"timm:resnet1, which timm .* does not have; near it: .*resnet18"):
        timm_encoder("resnet1")


def test_an_unknown_stride_names_the_strides() -> None:
    with pytest.raises(
        UserError, match=r"encoder_stride is 5; resnet18 has feature maps of stride \[2, 4, 8, 16, 32\]"
    ):
        timm_encoder("resnet18", stride=5)


def test_checkpointing_of_unknown_stages_is_refused() -> None:
    with torch.device("meta"), pytest.raises(UserError, match="stages of vit_tiny_patch16_224 are unknown"):
        timm_encoder("vit_tiny_patch16_224", checkpoint_activations=True)


def test_weights_come_from_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = timm.create_model("resnet10t").state_dict()
    save_file(weights, tmp_path / "w.safetensors")
    torch.manual_seed(1)
    loaded = timm_encoder("resnet10t", pretrained=tmp_path / "w.safetensors")
    assert torch.equal(loaded.stages[0][0][0].weight, weights["conv1.0.weight"])  # type: ignore[index]
    last = [value for name, value in weights.items() if name.startswith("layer4") and value.ndim == 4][-1]
    assert any(torch.equal(value, last) for value in loaded.state_dict().values() if value.shape == last.shape)


def test_a_file_without_a_weight_names_it(tmp_path: Path) -> None:
    weights = timm.create_model("resnet10t").state_dict()
    del weights["layer2.0.conv1.weight"]
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(
        UserError, match=r"w\.safetensors lacks 1 of \d+ weights of resnet10t, such as layer2\.0\.conv1"
    ):
        timm_encoder("resnet10t", pretrained=tmp_path / "w.safetensors")


def test_a_pickle_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"w\.pth, which is no \.safetensors file"):
        timm_encoder("resnet10t", pretrained=tmp_path / "w.pth")


@pytest.mark.real_data
def test_imagenet_weights_load_and_tell_pictures_apart(shared_data: Path) -> None:
    path = shared_data / "weights" / "tf_efficientnet_lite0.safetensors"
    if not path.is_file():
        pytest.skip("no weights beside the repository")
    weights = load_file(path)
    encoder = timm_encoder("tf_efficientnet_lite0", pretrained=path)
    mine = dict(encoder.named_parameters())
    assert sum(value.numel() for value in mine.values()) > 2e6
    stem = next(value for value in mine.values() if value.shape == weights["conv_stem.weight"].shape)
    assert torch.equal(stem, weights["conv_stem.weight"])
    assert torch.equal(encoder.mean.flatten(), torch.full((3,), 0.5))
