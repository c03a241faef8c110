"""The composed network: the reports' sizes, what flows where, and what is refused."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pose_lightning.errors import UserError
from pose_lightning.regression.loss import clip_loss
from pose_lightning.regression.model import ClipRegressor

CONV_LSTM: dict[str, Any] = {
    "encoder": "conv",
    "encoder_features": [],
    "temporal_features": 50,
    "head_features": [],
    "head_activation": "sigmoid",
}
DEEP_CONV: dict[str, Any] = {"encoder": "deep_conv", "encoder_features": [], "head_features": [512, 1024]}
INTEGRAL: dict[str, Any] = {
    "encoder": "timm:test_resnet",
    "encoder_stride": 16,
    "encoder_features": [],
    "pooling": "mean",
    "input_size": 32,
    "temporal": "transformer",
    "temporal_features": 16,
    "head": "integral",
    "head_features": [12],
    "volume_features": 8,
    "depth_bins": 4,
    "initialization": "torch",
}
SMALL: dict[str, Any] = {
    "encoder": "conv",
    "encoder_features": [8],
    "input_size": 12,
    "temporal_features": 6,
    "head_features": [7],
}


def on_paper(**settings: Any) -> ClipRegressor:
    with torch.device("meta"):
        return ClipRegressor(**settings)


def made(**settings: Any) -> ClipRegressor:
    torch.manual_seed(0)
    return ClipRegressor(**settings)


def trainable(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)


def clip(size: int, clips: int = 2, frames: int = 3) -> torch.Tensor:
    return torch.rand(clips, frames, 3, size, size, generator=torch.Generator().manual_seed(0))


def conv(before: int, after: int, kernel: int = 3) -> int:
    return before * after * kernel**2 + after


def dense(before: int, after: int) -> int:
    return before * after + after


def recurrent(before: int, units: int, gates: int, biases: int = 1) -> int:
    return gates * units * (before + units + biases)


def test_report_000_has_20_million_weights() -> None:
    # by hand from its tables 1 and 2, and a scale and a shift of every norm; 20.08 M in FACTS is this, rounded up
    blocks = [(3, 64), (64, 128), (128, 128), (128, 256), (256, 256)]
    encoder = sum(conv(before, width) + conv(width, width) + 2 * width for before, width in blocks)
    expected = encoder + dense(12544, 1024) + dense(1024, 1024) + recurrent(1024, 512, gates=4)
    expected += dense(512, 512) + dense(512, 256) + dense(256, 51)
    network = on_paper()
    assert trainable(network) == expected == 20_072_947
    assert trainable(network.encoder) == 2_622_400
    assert trainable(network.dense) == 13_895_680
    assert trainable(network.temporal) == 3_147_776
    assert trainable(network.head) == 407_091


def test_report_001_has_77_million_weights_nearly_all_of_them_behind_387200_features() -> None:
    network = on_paper(**CONV_LSTM)
    assert network.dense.out_features == 387_200
    assert trainable(network.temporal) == recurrent(387_200, 50, gates=4) == 77_450_200
    assert trainable(network) == conv(3, 32, 5) + 77_450_200 + dense(50, 51) == 77_455_233


@pytest.mark.parametrize(("temporal", "expected"), [("lstm", 41_209_715), ("rnn", 12_110_195), ("gru", 31_511_411)])
def test_the_approximation_of_report_002_differs_in_its_recurrent_part_alone(temporal: str, expected: int) -> None:
    gates, biases = {"lstm": (4, 1), "rnn": (1, 1), "gru": (3, 2)}[temporal]
    network = on_paper(**DEEP_CONV, temporal=temporal)
    assert trainable(network.temporal) == recurrent(512 * 6 * 6, 512, gates, biases)
    assert trainable(network) == expected


@pytest.mark.parametrize("settings", [{}, CONV_LSTM, DEEP_CONV, {"encoder": "timm:resnet18", "pooling": "mean"}])
def test_a_clip_gives_a_pose_for_every_frame(settings: dict[str, Any]) -> None:
    network = on_paper(**settings)
    assert network(torch.empty(2, 8, 3, 224, 224, device="meta")).shape == (2, 8, 17, 3)


def test_frames_pass_through_the_parts_in_order() -> None:
    network = made(**SMALL).eval()
    clips = clip(12)
    maps = torch.stack([network.encoder(frames) for frames in clips])
    tokens = network.dense(maps.flatten(2))
    assert_close(network(clips), network.head(network.temporal(tokens)))


def test_clips_do_not_see_each_other() -> None:
    network = made(**INTEGRAL).eval()
    clips = clip(32, clips=3)
    assert_close(network(clips)[1:2], network(clips[1:2]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("settings", [SMALL, INTEGRAL])
def test_the_memory_format_changes_nothing(settings: dict[str, Any]) -> None:
    clips = clip(settings["input_size"])
    fast, plain = made(**settings, channels_last=True), made(**settings, channels_last=False)
    assert_close(fast(clips), plain(clips), atol=1e-5, rtol=1e-5)


def test_a_volume_is_the_answer_until_the_correction_has_learnt() -> None:
    network = made(**INTEGRAL)
    clips = clip(32)
    assert network.integral is not None
    volumes = network.integral(network.encoder(clips.flatten(0, 1))).unflatten(0, (2, 3))
    assert_close(network(clips), volumes)
    nn.init.constant_(network.head.output.bias, 0.25)
    assert_close(network(clips), volumes + 0.25)


@pytest.mark.parametrize(
    "settings", [SMALL, INTEGRAL, SMALL | {"temporal": "gru", "dropout": 0.1, "bidirectional": True}]
)
def test_every_weight_learns(settings: dict[str, Any]) -> None:
    network = made(**settings)
    # what starts at zero, the correction and residual branches of timm, stops gradients at the first step alone
    for name, weight in network.named_parameters():
        if name.endswith("weight") and not weight.any():
            nn.init.normal_(weight)
    clip_loss(network(clip(settings["input_size"])), torch.randn(2, 3, 17, 3)).sum().backward()
    still = [
        name
        for name, weight in network.named_parameters()
        if weight.requires_grad and (weight.grad is None or not weight.grad.any())
    ]
    assert not still


@pytest.mark.parametrize("settings", [{"encoder": "vgg", "input_size": 32, "encoder_features": [8]}, INTEGRAL])
def test_checkpointing_gives_the_same_weights_after_steps(settings: dict[str, Any]) -> None:
    clips, target = clip(32), torch.randn(2, 3, 17, 3, generator=torch.Generator().manual_seed(1))
    states = []
    for checkpoint_activations in (False, True):
        network = made(**settings, checkpoint_activations=checkpoint_activations)
        optimizer = torch.optim.SGD([weight for weight in network.parameters() if weight.requires_grad], lr=0.01)
        for _ in range(3):
            optimizer.zero_grad()
            clip_loss(network(clips), target).mean().backward()
            optimizer.step()
        states.append(network.state_dict())
    plain, recomputed = states
    assert plain.keys() == recomputed.keys()
    for name, value in plain.items():
        assert_close(recomputed[name], value, atol=0, rtol=0)


def test_a_few_clips_are_learnt_by_heart() -> None:
    network = made(**INTEGRAL | {"temporal_features": 32, "head_features": [32]})
    clips, target = clip(32), 0.3 * torch.randn(2, 3, 17, 3, generator=torch.Generator().manual_seed(1))
    target -= target[:, :, :1].clone()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.0)
    losses = []
    for _ in range(120):
        optimizer.zero_grad()
        loss = clip_loss(network(clips), target).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


def test_poses_are_float32_under_half_precision() -> None:
    network = made(**INTEGRAL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(clip(32)).dtype == torch.float32


def test_averaged_features_take_frames_of_any_size() -> None:
    network = made(**INTEGRAL).eval()
    assert network(clip(48)).shape == (2, 3, 17, 3)


def test_flattened_features_do_not() -> None:
    with pytest.raises(UserError, match=r"frames are 16 x 16 px and this network is for 12 px; set model\.input_size"):
        made(**SMALL)(clip(16))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "alexnet"}, "encoder=alexnet is unknown; there are vgg, conv, deep_conv and timm:NAME"),
        ({"encoder_stride": 8}, "encoder_stride=8 is for encoders of timm; encoder=vgg has no such thing"),
        ({"pretrained": True}, "pretrained=True is for encoders of timm"),
        (INTEGRAL | {"head_activation": "sigmoid"}, "head_activation=sigmoid has no meaning with head=integral"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"temporal": "transformer", "bidirectional": True}, "bidirectional=true has no meaning"),
        ({"input_size": 16}, "input_size is 16, which is too small"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        on_paper(**settings)
