"""A plain vision transformer with a small decoder."""

from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning import backbones
from pose_lightning.errors import UserError
from pose_lightning.heatmap.decoding import STRIDE
from pose_lightning.heatmap.model import check_sizes
from pose_lightning.heatmap.simple_baseline import Deconvolutions, doublings

DecoderName = Literal["classic", "simple"]


class SimpleDecoder(nn.Sequential):
    """ReLU, bilinear up-sampling, and a 3x3 convolution: almost nothing, so that the transformer does the work.

    Source: Xu et al., ViTPose, NeurIPS 2022, section 3.1, equation 3.
    """

    def __init__(self, channels: int, factor: int, joints: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False),
            nn.Conv2d(channels, joints, 3, padding=1),
        )


class VitPose(nn.Module):
    """A vision transformer of timm over patches of the image, whose tokens become maps and then heatmaps.

    The positions' embeddings are resampled to the image's grid of patches, so that any size of whole patches will do.

    Source: Xu et al., ViTPose: Simple Vision Transformer Baselines for Human Pose Estimation, NeurIPS 2022.

    Args:
        joints: Heatmaps.
        backbone: A transformer of timm with one scale and square patches of 16 (or 8, 32) px, by its name there.
        decoder: `classic`: deconvolutions as in the simple baseline, two for patches of 16 px; `simple`: bilinear
            up-sampling and a 3x3 convolution.
        pretrained: Start the backbone from timm's weights, which need a network.
        weights: Start the backbone from this file's instead: .safetensors or a state dict, under timm's names.
        drop_path: Probability that a residual branch of the backbone is left out of a training step.
        channels_last: Memory format of weights and images, which changes the speed and nothing else.

    Raises:
        UserError: If timm has no such transformer, weights cannot be had, or its patches cannot become heatmaps.
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(
        self,
        joints: int,
        backbone: str = "vit_base_patch16_224.mae",
        *,
        decoder: DecoderName = "classic",
        pretrained: bool = False,
        weights: Path | None = None,
        drop_path: float = 0.0,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.name = backbone
        self.backbone = _transformer(backbone, pretrained=pretrained, weights=weights, drop_path=drop_path)
        height, width = self.backbone.patch_embed.patch_size
        if height != width:
            raise UserError(f"model.backbone={backbone} has patches of {height} x {width} px; take square ones")
        self.size_step: int = height
        """Image height and width must be multiples of this, in pixels: the side of a patch."""
        count, channels = doublings(height, backbone), int(self.backbone.num_features)
        self.decoder: nn.Module = (
            Deconvolutions(channels, count, joints)
            if decoder == "classic"
            else SimpleDecoder(channels, height // STRIDE, joints)
        )
        mean, std = backbones.normalization(backbone)
        # not in the state: they belong to the backbone's name, which is a setting
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 j h//4 w//4"]:
        """Heatmaps, as those of one stack, of RGB images in [0, 1].

        Raises:
            UserError: If the height or the width is not a multiple of the patches' side.
        """
        height, width = image.shape[-2:]
        check_sizes((height, width), self.size_step, self.name)
        normalized = (image.contiguous(memory_format=self.memory_format) - self.mean) / self.std
        tokens: Tensor = self.backbone(normalized)[:, self.backbone.num_prefix_tokens :]  # b n c
        rows, columns = height // self.size_step, width // self.size_step
        maps: Tensor = tokens.mT.unflatten(-1, (rows, columns))  # type: ignore[no-untyped-call]
        heatmaps: Tensor = self.decoder(maps)
        return heatmaps[:, None]


def _transformer(name: str, *, pretrained: bool, weights: Path | None, drop_path: float) -> Any:
    holds_values = not torch.empty(0).is_meta
    network = backbones.create(
        name, pretrained=pretrained and weights is None and holds_values, drop_path=drop_path, dynamic_img_size=True
    )
    if not (hasattr(network, "num_prefix_tokens") and hasattr(getattr(network, "patch_embed", None), "patch_size")):
        raise UserError(f"model.backbone={name} is no plain vision transformer; take vit_small_patch16_224 or its kin")
    if weights is not None and holds_values:
        backbones.load(network, weights, name=name)
    return network
