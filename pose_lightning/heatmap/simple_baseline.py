"""The simple baseline: a backbone and a few deconvolutions."""

from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning import backbones
from pose_lightning.errors import UserError
from pose_lightning.heatmap.decoding import STRIDE
from pose_lightning.heatmap.model import check_sizes

FEATURES: Final = 256
"""Width of every deconvolution in the paper."""


class Deconvolutions(nn.Sequential):
    """From feature maps to heatmaps: 4x4 deconvolutions that double the size each, and a 1x1 convolution.

    Source: Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, section 2; weights start
    at a standard deviation of 0.001 as in the authors' code.

    Args:
        channels: Of the feature maps.
        count: How many deconvolutions.
        joints: Heatmaps.
        features: Width of every deconvolution.
    """

    def __init__(self, channels: int, count: int, joints: int, features: int = FEATURES) -> None:
        layers: list[nn.Module] = []
        for _ in range(count):
            layers += [
                nn.ConvTranspose2d(channels, features, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(features),
                nn.ReLU(inplace=True),
            ]
            channels = features
        heatmaps = nn.Conv2d(channels, joints, 1)
        super().__init__(*layers, heatmaps)
        for layer in layers[::3]:
            nn.init.normal_(layer.weight, std=0.001)  # type: ignore[arg-type]
        nn.init.normal_(heatmaps.weight, std=0.001)
        nn.init.zeros_(heatmaps.bias)  # type: ignore[arg-type]


def doublings(stride: int, name: str) -> int:
    """How often maps with so many input px per cell are doubled until they have `STRIDE`.

    Raises:
        UserError: If no number of times does it.
    """
    count = (stride // STRIDE).bit_length() - 1
    if STRIDE << count != stride or count < 1:
        raise UserError(
            f"model.backbone={name} has a cell for every {stride} px; heatmaps have one for every {STRIDE} px, and a "
            "few doublings must lead from there to here: take a backbone with 8, 16 or 32 px"
        )
    return count


class SimpleBaseline(nn.Module):
    """A backbone of timm, three deconvolutions, and a 1x1 convolution.

    Backbones that halve the image five times get three deconvolutions, as in the paper; others as many as lead to a
    quarter of the image.

    Source: Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018.

    Args:
        joints: Heatmaps.
        backbone: Any network of timm with feature maps, by its name there.
        features: Width of the deconvolutions; the paper's is 256.
        pretrained: Start the backbone from timm's weights, which need a network.
        weights: Start the backbone from this file's instead: .safetensors or a state dict, under timm's names.
        drop_path: Probability that a residual branch of the backbone is left out of a training step.
        channels_last: Memory format of weights and images, which changes the speed and nothing else.

    Raises:
        UserError: If timm has no such backbone, weights cannot be had, its maps cannot become heatmaps, or the width
            is below 1.
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(
        self,
        joints: int,
        backbone: str = "resnet50",
        *,
        features: int = FEATURES,
        pretrained: bool = False,
        weights: Path | None = None,
        drop_path: float = 0.0,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        if features < 1:
            raise UserError(
                f"model.network.features={features}: deconvolutions are 1 wide or more; the paper's are 256"
            )
        self.name = backbone
        holds_values = not torch.empty(0).is_meta
        self.backbone: Any = backbones.features(
            backbone, pretrained=pretrained and weights is None and holds_values, path=weights, drop_path=drop_path
        )
        info = self.backbone.feature_info
        self._channels: int = info.channels()[-1]
        self.size_step: int = info.reduction()[-1]
        """Image height and width must be multiples of this, in pixels."""
        self.decoder = Deconvolutions(self._channels, doublings(self.size_step, backbone), joints, features)
        mean, std = backbones.normalization(backbone)
        # not in the state: they belong to the backbone's name, which is a setting
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 j h//4 w//4"]:
        """Heatmaps, as those of one stack, of RGB images in [0, 1].

        Raises:
            UserError: If the height or the width is not a multiple of `size_step`.
        """
        check_sizes(image.shape[-2:], self.size_step, self.name)
        normalized = (image.contiguous(memory_format=self.memory_format) - self.mean) / self.std
        maps: Tensor = self.backbone(normalized)[-1]
        if maps.shape[1] != self._channels:  # Swin's channels come last
            maps = maps.permute(0, 3, 1, 2)
        heatmaps: Tensor = self.decoder(maps)
        return heatmaps[:, None]
