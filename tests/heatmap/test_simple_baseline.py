"""The simple baseline: its size, its decoder, the weights it starts from."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from pose_lightning.errors import UserError
from pose_lightning.heatmap.simple_baseline import Deconvolutions, SimpleBaseline, doublings
from pose_lightning.heatmap.task import HeatmapEstimation


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_size_is_that_of_the_paper() -> None:
    with torch.device("meta"):
        network = SimpleBaseline(16, "resnet50")
        assert network(torch.empty(2, 3, 256, 192)).shape == (2, 1, 16, 64, 48)
    deconvolutions = 2048 * 256 * 16 + 2 * 256 * 256 * 16 + 3 * 2 * 256
    assert count(network.backbone) == 23_508_032
    assert count(network) == 23_508_032 + deconvolutions + 256 * 16 + 16  # 34.0 M: Xiao et al., table 2


def test_deconvolutions_have_the_width_that_is_asked_for() -> None:
    with torch.device("meta"):
        network = SimpleBaseline(16, "resnet50", features=96)
    assert count(network.decoder) == 2048 * 96 * 16 + 2 * 96 * 96 * 16 + 3 * 2 * 96 + 96 * 16 + 16
    with pytest.raises(UserError, match=r"model\.network\.features=0: "):
        SimpleBaseline(16, "resnet50", features=0)


def test_deconvolutions_double_what_they_see_about_its_middle() -> None:
    decoder = Deconvolutions(2, 1, 1).eval()
    kernel = torch.tensor([0.25, 0.75, 0.75, 0.25])  # bilinear, as a transposed convolution of stride 2
    with torch.no_grad():
        decoder[0].weight.zero_()
        decoder[0].weight[0, 0] = kernel[:, None] * kernel
        decoder[-1].weight.zero_()
        decoder[-1].weight[0, 0] = 1.0
    maps = torch.zeros(1, 2, 6, 6)
    maps[0, 0] = torch.arange(6.0) + 1
    found = decoder(maps)[0, 0, 5, 2:-2] * (1 + 1e-5) ** 0.5  # the norm's eps
    # cell c of 12 lies at (c + 0.5) / 2 - 0.5 of 6: nothing is shifted
    assert_close(found, (torch.arange(2, 10) + 0.5) / 2 - 0.5 + 1, atol=1e-5, rtol=0)


def test_the_decoder_starts_as_the_authors_does() -> None:
    torch.manual_seed(0)
    decoder = Deconvolutions(320, 3, 16)
    for layer in (decoder[0], decoder[3], decoder[6], decoder[-1]):
        assert isinstance(weight := layer.weight, torch.Tensor)
        assert weight.std().item() == pytest.approx(1e-3, rel=0.1)
    assert isinstance(decoder[-1].bias, torch.Tensor)
    assert not decoder[-1].bias.any()


def test_as_many_deconvolutions_as_lead_to_a_quarter_of_the_image() -> None:
    assert [doublings(stride, "any") for stride in (8, 16, 32)] == [1, 2, 3]
    for stride in (4, 14, 24):
        with pytest.raises(UserError, match=f"a cell for every {stride} px"):
            doublings(stride, "any")


def test_images_are_normalized_as_the_backbone_knows_them() -> None:
    network = SimpleBaseline(16, "resnet10t").eval()
    image = torch.rand(1, 3, 64, 64)
    seen: list[torch.Tensor] = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(image)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert_close(seen[0], (image - mean[:, None, None]) / std[:, None, None])


def test_an_image_of_half_a_cell_is_refused() -> None:
    with pytest.raises(UserError, match="input_size is 80; test_resnet takes only a multiple of 32: 64 or 96"):
        SimpleBaseline(16, "test_resnet")(torch.rand(1, 3, 64, 80))


@pytest.mark.parametrize("training", [True, False])
def test_the_memory_format_changes_nothing_else(training: bool) -> None:
    networks = []
    for channels_last in (True, False):
        torch.manual_seed(0)
        networks.append(SimpleBaseline(16, "test_resnet", channels_last=channels_last).train(training))
    image = torch.rand(2, 3, 64, 64)
    assert_close(networks[0](image), networks[1](image), rtol=1e-4, atol=1e-6)


def saved(tmp_path: Path, **changes: Any) -> tuple[dict[str, torch.Tensor], Path]:
    """A whole network of timm, classifier and all, under its names there."""
    torch.manual_seed(5)
    state = timm.create_model("test_resnet").state_dict() | changes
    save_file(state, path := tmp_path / "weights.safetensors")
    return state, path


def test_the_backbone_starts_from_a_file(tmp_path: Path) -> None:
    state, path = saved(tmp_path)
    network = SimpleBaseline(16, "test_resnet", weights=path)
    held = network.backbone.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in held.items())
    assert held.keys() < state.keys()  # less the classifier


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    _, path = saved(tmp_path, **{"conv1.0.weight": torch.ones(2)})
    with pytest.raises(UserError, match=r"is not of test_resnet: .*another shape, such as conv1\.0\.weight"):
        SimpleBaseline(16, "test_resnet", weights=path)
    with pytest.raises(UserError, match="is not of resnet10t: it has 6 weights that the network has not"):
        SimpleBaseline(16, "resnet10t", weights=path)


def test_a_backbone_that_timm_does_not_have_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.backbone=resnet10: .*near it: resnet10t"):
        SimpleBaseline(16, "resnet10")


def test_a_run_of_the_same_network_is_a_start_too(tmp_path: Path) -> None:
    torch.manual_seed(1)
    trained = HeatmapEstimation(network=partial(SimpleBaseline, backbone="test_resnet"))
    torch.save({"state_dict": trained.state_dict(), "global_step": 3}, path := tmp_path / "best.ckpt")
    again = HeatmapEstimation(network=partial(SimpleBaseline, backbone="test_resnet"), weights=path)
    for key, value in trained.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[key], value)


def test_a_run_that_goes_on_needs_no_start(tmp_path: Path) -> None:
    from pose_lightning import cli  # noqa: PLC0415 - above the heatmap's layer, so asked for here alone

    settings = [
        "--model.network=simple_baseline",
        "--model.network.backbone=test_resnet",
        f"--model.weights={tmp_path / 'no'}",
    ]
    arguments = [
        "--model=HeatmapEstimation",
        *settings,
        "--data=PoseData",
        "--data.root=nowhere",
        "--data.batch_size=2",
    ]
    built = cli.build(arguments, from_checkpoint=True)
    assert isinstance(built.model.model, SimpleBaseline)
    assert built.flat()["model.weights"] == str(tmp_path / "no")  # the configuration still names it


@pytest.mark.real_data
def test_the_weights_that_need_no_network_are_taken_up(shared_data: Path) -> None:
    path = shared_data / "weights" / "tf_efficientnet_lite0.safetensors"
    network = SimpleBaseline(16, "tf_efficientnet_lite0", weights=path)
    state = load_file(path)
    held = network.backbone.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in held.items())
    assert count(network.backbone) == 2_958_848
