"""From frames to feature maps: the convolutional networks of the reports, and any backbone of timm."""

from pathlib import Path
from typing import Any, Final

import timm
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from timm.models import FeatureListNet
from torch import Tensor, nn

from pose_lightning.errors import UserError
from pose_lightning.reading.raw import is_file
from pose_lightning.recomputation import checkpointed

TIMM: Final = "timm:"
"""What the name of an encoder begins with where the rest names a backbone of timm."""


class Encoder(nn.Module):
    """Feature maps of frames, stage by stage.

    Args:
        stages: Run one after the other; what is recomputed at a time where activations are checkpointed.
        mean: Per colour, taken from the frames, which are in [0, 1].
        std: Per colour, what they are then divided by.
        checkpoint_activations: Keep only what passes between the stages, and compute the rest again for the gradient:
            less memory, about a third more time.
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(
        self,
        stages: list[nn.Module],
        *,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.checkpoint_activations = checkpoint_activations
        self.normalizes = any(mean) or any(value != 1 for value in std)
        # not in the state: they belong to the encoder's name, which is a setting
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)

    def forward(self, frames: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h2 w2"]:
        """Feature maps of RGB frames in [0, 1]."""
        x = (frames - self.mean) / self.std if self.normalizes else frames
        recompute = self.checkpoint_activations and self.training and torch.is_grad_enabled()
        for stage in self.stages:
            x = checkpointed(stage, x) if recompute else stage(x)
        return x

    def output_shape(self, input_size: int) -> tuple[int, int, int]:
        """Channels, height and width of the feature maps of square frames, found by looking.

        Raises:
            UserError: If such frames are too small for the encoder.
        """
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                maps = self(torch.zeros(1, 3, input_size, input_size, device=self.mean.device))
        except RuntimeError as error:  # a pool or a convolution has nothing left to look at
            raise UserError(f"input_size is {input_size}, which is too small for this encoder: {error}") from error
        finally:
            self.train(was_training)
        channels, height, width = maps.shape[1:]
        return channels, height, width


def vgg_stages(widths: tuple[int, ...] = (64, 128, 128, 256, 256)) -> list[nn.Module]:
    """The scaled-down VGG-16 of report 000: blocks of two 3x3 convolutions, a pool and a batch norm behind it.

    Eps and momentum of the norm are Keras' .001 and .99, which PyTorch writes as .01. Source: report 000, table 1
    (whose second "max3" is a fifth pool).
    """
    stages: list[nn.Module] = []
    before = 3
    for width in widths:
        block = nn.Sequential(
            nn.Conv2d(before, width, 3, padding="same"),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding="same"),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(width, eps=1e-3, momentum=0.01),
        )
        stages.append(block)
        before = width
    return stages


def conv_stages(widths: tuple[int, ...] = (32,)) -> list[nn.Module]:
    """The single 5x5 convolution of report 001, without padding, and its pool: 32 x 110 x 110 of a 224 px frame."""
    (width,) = widths
    return [nn.Sequential(nn.Conv2d(3, width, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2))]


def deep_conv_stages(widths: tuple[int, ...] = (32, 64, 128, 256, 512)) -> list[nn.Module]:
    """What report 002's missing figure may have shown: report 001's convolution, and four more up to 512 channels.

    Approximate: a sibling's code with the same settings gives the widths; 3x3 kernels and a pool behind each are ours.
    """
    before = widths[0]
    stages = conv_stages((before,))
    for width in widths[1:]:
        stages.append(
            nn.Sequential(nn.Conv2d(before, width, 3, padding="same"), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        )
        before = width
    return stages


class LastFeature(nn.Module):
    """The last feature map of a network of timm that hands over several, channels first."""

    def __init__(self, network: nn.Module, channels: int) -> None:
        super().__init__()
        self.network, self.channels = network, channels

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c h2 w2"]:
        """That map."""
        maps: Tensor = self.network(x)[-1]
        return maps if maps.shape[1] == self.channels else maps.permute(0, 3, 1, 2)


def timm_encoder(
    name: str,
    *,
    stride: int | None = None,
    pretrained: bool | Path = False,
    drop_path: float = 0.0,
    checkpoint_activations: bool = False,
) -> Encoder:
    """A backbone of timm by its name there, with the mean and the standard deviation that timm records for it.

    Args:
        name: Such as `resnet18` or `tf_efficientnet_lite0`.
        stride: Stop at the last feature map with so many input pixels per cell; None takes the coarsest.
        pretrained: Start from timm's weights, which need a network, or from a .safetensors file with timm's names.
        drop_path: Probability that a residual branch is left out of a training step.
        checkpoint_activations: As in `Encoder`.

    Raises:
        UserError: If timm has no such backbone or cannot read features from it, it has no feature map of that stride,
            the file lacks weights, or the backbone's stages cannot be checkpointed.
    """
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"{name[:6]}*")[:5]) or "see timm.list_models()"
        raise UserError(f"encoder is {TIMM}{name}, which timm {timm.__version__} does not have; near it: {close}")
    probe = _create(name)
    reductions = probe.feature_info.reduction()
    if stride is not None and stride not in reductions:
        raise UserError(f"encoder_stride is {stride}; {name} has feature maps of stride {sorted(set(reductions))}")
    last = len(reductions) - 1 if stride is None else len(reductions) - 1 - reductions[::-1].index(stride)
    network = _create(
        name,
        out_indices=tuple(range(last + 1)),
        **({"drop_path_rate": drop_path} if drop_path else {}),
        **_weights(name, pretrained),
    )
    stages = _stages(network)
    if checkpoint_activations and len(stages) == 1:
        raise UserError(
            f"checkpoint_activations=true: the stages of {name} are unknown; turn it off or take timm:resnet18"
        )
    config = timm.get_pretrained_cfg(name)
    mean, std = (config.mean, config.std) if config else ((0.5,) * 3, (0.5,) * 3)
    return Encoder(stages, mean=mean, std=std, checkpoint_activations=checkpoint_activations)


def _create(name: str, **settings: Any) -> Any:
    """A network of timm that returns its feature maps."""
    try:
        return timm.create_model(name, features_only=True, **settings)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"timm cannot make a backbone of {name} with {settings}: {error}") from error
    except OSError as error:
        raise UserError(
            f"pretrained=true: the weights of {name} were not fetched ({error}); give the path of a .safetensors file"
        ) from error


def _stages(network: Any) -> list[nn.Module]:
    """The modules of a network of timm between one feature map and the next, or the whole where that is not known."""
    info = network.feature_info
    channels = info.channels()[-1]
    if getattr(network, "output_fmt", "NCHW") != "NCHW":  # Swin's channels come last
        return [LastFeature(network, channels)]
    if isinstance(network, FeatureListNet):
        stages: list[nn.Module] = []
        parts: list[nn.Module] = []
        for name, module in network.items():
            parts.append(module)
            if name in network.return_layers:
                stages.append(nn.Sequential(*parts))
                parts = []
        return stages
    last = info.module_name()[-1]
    if all(hasattr(network, part) for part in ("conv_stem", "bn1", "blocks")) and last.startswith("blocks."):
        used = int(last.removeprefix("blocks.")) + 1  # EfficientNets and MobileNets keep the blocks behind it
        return [nn.Sequential(network.conv_stem, network.bn1), *network.blocks[:used]]
    return [LastFeature(network, channels)]


def _weights(name: str, pretrained: bool | Path) -> dict[str, Any]:
    """What tells timm where to read weights.

    Raises:
        UserError: If the file is missing, is no safetensors file or lacks a weight of the network.
    """
    if isinstance(pretrained, bool):
        return {"pretrained": pretrained}
    path = Path(pretrained)
    if path.suffix != ".safetensors" or not is_file(path):
        raise UserError(f"pretrained is {path}, which is no .safetensors file; give one with timm's weights of {name}")
    with torch.device("meta"):
        wanted = set(timm.create_model(name).state_dict())
    try:
        with safe_open(path, framework="pt") as file:
            held = set(file.keys())
    except (SafetensorError, OSError) as error:
        raise UserError(f"pretrained={path} cannot be read as safetensors: {error}") from error
    if missing := sorted(wanted - held):
        raise UserError(f"{path} lacks {len(missing)} of {len(wanted)} weights of {name}, such as {missing[0]}")
    return {"pretrained": True, "pretrained_cfg_overlay": {"file": str(path)}}
