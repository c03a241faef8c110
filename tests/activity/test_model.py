"""The networks: their sizes, heads, normalization, and the weights they start from."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from pose_lightning import backbones
from pose_lightning.activity.freeze import Freeze, parts
from pose_lightning.activity.model import ActivityClassifier
from pose_lightning.errors import UserError

SMALL: dict[str, Any] = {"backbone": "test_resnet", "num_classes": 4, "input_size": 64}

REPORTED = {
    # backbone: input size, parameters of the convolutional part, size of its maps, parts that hold parameters, frozen
    "legacy_xception": (299, 20_806_952, (2048, 10, 10), 114, Freeze("all_but_last", 7)),
    "resnet50.tv_in1k": (224, 23_508_032, (2048, 7, 7), 106, Freeze("all_but_last", 10)),
    "vgg16": (224, 14_714_688, (512, 7, 7), 13, Freeze("all_but_last", 10)),
    "vgg19": (224, 20_024_384, (512, 7, 7), 16, Freeze("all_but_last", 10)),
    "inception_resnet_v2": (299, 54_306_464, (1536, 8, 8), 448, Freeze("none")),
}
"""VGG-16's 14.71 M are those of Keras without its top, `include_top=False`, and VGG-19's 20.02 M too."""


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", REPORTED)
def test_the_backbones_of_the_report_have_their_size_and_the_head_its_own(name: str) -> None:
    size, parameters, (channels, height, width), number, _ = REPORTED[name]
    with torch.device("meta"):
        network = ActivityClassifier(backbone=name, num_classes=20, input_size=size, pretrained=True)
    assert count(network.backbone) == parameters
    assert count(network.head) == channels * height * width * 20 + 20
    assert len(parts(network.backbone)) == number


@pytest.mark.parametrize("name", ["legacy_xception", "resnet50.tv_in1k", "inception_resnet_v2"])
def test_the_convolutional_part_is_timms_network_less_its_classifier(name: str) -> None:
    with torch.device("meta"):
        whole = timm.create_model(name)
        assert isinstance(classifier := whole.get_classifier(), nn.Module)
        network = ActivityClassifier(backbone=name, num_classes=20, input_size=REPORTED[name][0], head="pooled")
    assert count(network.backbone) == count(whole) - count(classifier)


@pytest.mark.parametrize("name", REPORTED)
def test_the_backbones_of_the_report_freeze_as_it_did_and_learn(name: str) -> None:
    freeze, number = REPORTED[name][4], REPORTED[name][3]
    network = ActivityClassifier(backbone=name, num_classes=20, input_size=96)
    frozen = freeze.choose(list(parts(network.backbone)))
    assert len(frozen) == (0 if freeze.mode == "none" else number - freeze.n)
    for part in frozen:
        network.backbone.get_submodule(part).requires_grad_(False)
    network.hold(frozen)
    network.train()
    logits = network(torch.rand(2, 3, 96, 96))
    assert logits.shape == (2, 20)
    logits.square().sum().backward()
    learned = {part: module for part, module in parts(network.backbone).items() if part not in frozen}
    for module in learned.values():
        grads = [parameter.grad for parameter in module.parameters(recurse=False)]
        assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)
    assert all(p.grad is None for part in frozen for p in network.backbone.get_submodule(part).parameters())


def test_pictures_are_normalized_as_timm_records() -> None:
    network = ActivityClassifier(**(SMALL | {"backbone": "resnet10t"}))
    white = network.normalized(torch.ones(1, 3, 2, 2))[0, :, 0, 0]
    assert_close(white, torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]))
    assert "mean" not in network.state_dict()


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({"head": "flatten"}, ["Flatten", "Linear"]),
        ({"head": "mlp", "head_features": 9, "dropout": 0.5}, ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]),
        ({"head": "flatten_dropout", "dropout": 0.5}, ["Flatten", "Dropout", "Linear"]),
        ({"head": "pooled", "dropout": 0.1}, ["AdaptiveAvgPool2d", "Flatten", "Dropout", "Linear"]),
    ],
)
def test_the_heads_of_the_report(settings: dict[str, Any], kinds: list[str]) -> None:
    network = ActivityClassifier(**SMALL, **settings)
    assert isinstance(network.head, nn.Sequential)
    assert [type(layer).__name__ for layer in network.head] == kinds
    dense = network.head[-1]
    assert not dense.bias.any()
    limit = (6 / (dense.in_features + dense.out_features)) ** 0.5  # Glorot uniform
    assert 0.9 * limit < dense.weight.abs().max() <= limit
    assert network(torch.rand(3, 3, 64, 64)).shape == (3, 4)


def test_the_pooled_head_takes_the_mean_of_the_maps() -> None:
    network = ActivityClassifier(**SMALL, head="pooled").eval()
    image = torch.rand(2, 3, 64, 64)
    maps = network.backbone(network.normalized(image))
    assert isinstance(network.head, nn.Sequential)
    assert_close(network(image), network.head[-1](maps.mean(dim=(2, 3))))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"backbone": "resnet10"}, "near it: resnet10t"),
        ({"backbone": "test_vit"}, "no maps|does not go with"),
        ({"head": "mlp"}, "head_features"),
        ({"head": "pooled", "head_features": 8}, "head_features"),
        ({"dropout": 0.5}, "flatten has no dropout"),
        ({"num_classes": 0}, "num_classes=0"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ActivityClassifier(**(SMALL | settings))


def test_without_a_network_pretrained_says_what_needs_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backbones.constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens to port 9
    monkeypatch.setattr(backbones, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(UserError, match=r"model\.weights=FILE.*needs no network"):
        ActivityClassifier(backbone="resnet18", num_classes=4, input_size=64, pretrained=True)


def saved(tmp_path: Path, prefix: str = "", **changes: Any) -> tuple[dict[str, torch.Tensor], Path]:
    """A whole network of timm, under its names there."""
    torch.manual_seed(5)
    state = {prefix + key: value for key, value in timm.create_model("test_resnet").state_dict().items()} | changes
    save_file(state, path := tmp_path / "weights.safetensors")
    return state, path


@pytest.mark.parametrize("prefix", ["", "module.", "model.backbone."])
def test_weights_of_a_file_are_taken_up_whatever_is_before_their_names(tmp_path: Path, prefix: str) -> None:
    state, path = saved(tmp_path, prefix)
    network = ActivityClassifier(**SMALL, weights=path, pretrained=True)  # the file comes first
    for key, value in network.backbone.state_dict().items():
        assert torch.equal(value, state[prefix + key])


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_a_state_dict_of_pytorch_is_read_too(tmp_path: Path, wrapper: str | None) -> None:
    state, _ = saved(tmp_path)
    torch.save(state if wrapper is None else {wrapper: state, "epoch": 3}, tmp_path / "weights.pth")
    network = ActivityClassifier(**SMALL, weights=tmp_path / "weights.pth")
    assert torch.equal(network.backbone.state_dict()["layer4.0.bn2.weight"], state["layer4.0.bn2.weight"])


def test_what_was_left_out_of_a_file_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, path = saved(tmp_path)
    with caplog.at_level("INFO", logger="pytorch_lightning"):
        ActivityClassifier(**SMALL, weights=path)
    assert "left out: fc.bias, fc.weight" in " ".join(record.getMessage() for record in caplog.records)


def test_weights_of_another_network_are_refused_with_names(tmp_path: Path) -> None:
    _, path = saved(tmp_path, **{"layer9.conv.weight": torch.ones(2)})
    with pytest.raises(UserError, match=r"has 1 weights that the network has not, such as layer9\.conv\.weight"):
        ActivityClassifier(**SMALL, weights=path)
    _, path = saved(tmp_path, **{"conv1.0.weight": torch.ones(2)})
    with pytest.raises(UserError, match=r"another shape, such as conv1\.0\.weight"):
        ActivityClassifier(**SMALL, weights=path)
    with pytest.raises(UserError, match="lacks"):
        ActivityClassifier(backbone="mobilenetv3_small_050", num_classes=4, input_size=64, weights=path)


def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        ActivityClassifier(**SMALL, weights=tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("nothing")
    with pytest.raises(UserError, match="cannot be read"):
        ActivityClassifier(**SMALL, weights=tmp_path / "text.safetensors")
    torch.save(nn.Linear(1, 1), tmp_path / "pickle.pth")  # code, not tensors
    with pytest.raises(UserError, match="cannot be read"):
        ActivityClassifier(**SMALL, weights=tmp_path / "pickle.pth")
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(UserError, match="no state dict"):
        ActivityClassifier(**SMALL, weights=tmp_path / "list.pth")


@pytest.mark.real_data
def test_the_weights_that_need_no_network_are_taken_up(shared_data: Path) -> None:
    path = shared_data / "weights" / "tf_efficientnet_lite0.safetensors"
    network = ActivityClassifier(backbone="tf_efficientnet_lite0", num_classes=22, weights=path, head="pooled")
    assert count(network.backbone) == 3_371_008
    assert network.backbone.bn1.running_var.std() > 0
