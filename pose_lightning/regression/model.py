"""The network of 3D regression: an encoder of frames, a temporal part and a head, each by its name."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning.errors import UserError
from pose_lightning.joints import H36M
from pose_lightning.regression.encoders import (
    TIMM,
    Encoder,
    conv_stages,
    deep_conv_stages,
    timm_encoder,
    vgg_stages,
)
from pose_lightning.regression.heads import ActivationName, Dense, IntegralHead, PoseHead
from pose_lightning.regression.initialization import initialize_as_keras
from pose_lightning.regression.temporal import TemporalName, make_temporal

HeadName = Literal["mlp", "integral"]
PoolingName = Literal["flatten", "mean"]
InitializationName = Literal["keras", "torch"]

OWN_ENCODERS: Final[Mapping[str, tuple[Callable[[tuple[int, ...]], list[nn.Module]], tuple[int, ...]]]] = {
    "vgg": (vgg_stages, (64, 128, 128, 256, 256)),
    "conv": (conv_stages, (32,)),
    "deep_conv": (deep_conv_stages, (32, 64, 128, 256, 512)),
}
"""Encoders of the reports, by name, with their channels."""


class ClipRegressor(nn.Module):
    """Poses of every frame of a clip.

    Frames are encoded one by one; their feature maps are flattened or averaged, and pass through dense layers. The
    temporal part lets the frames of a clip see each other, and dense layers give the poses. With `head=integral` a pose
    is first read from a volumetric heatmap of its frame, and is then another input of the temporal part; what comes out
    of the dense layers corrects it.

    The defaults are the network of report 000, with 20.07 M trainable parameters. Poses are in target space: in metres
    where targets are not transformed, and always with `head=integral`.

    Args:
        encoder: `vgg` is report 000's, `conv` report 001's, `deep_conv` approximates report 002's, and `timm:NAME` is
            any backbone of timm, such as `timm:resnet18`.
        encoder_width: Of the reports' encoders: factor of their channels, for small machines.
        encoder_stride: Of a backbone of timm: stop at its feature map with so many px per cell; None is the coarsest.
        encoder_features: Widths of dense layers with ReLU behind the flattened or averaged maps.
        pretrained: Of a backbone of timm: start from its weights, which need a network, or from a .safetensors file.
        drop_path: Of a backbone of timm: probability that a residual branch is left out of a training step.
        pooling: What is made of feature maps: `flatten` keeps the place of everything and needs frames of
            `input_size`, `mean` averages over height and width.
        input_size: Height and width of the frames, px.
        temporal: What lets frames see each other: `lstm`, `rnn`, `gru`, `transformer`, or `none`.
        temporal_features: Units of a recurrent layer per direction, or width of the transformer; unused with `none`.
        temporal_layers: Layers of the temporal part.
        bidirectional: Whether a recurrent network also runs backwards.
        head: `mlp` reads poses from the features; `integral` from volumes, see above.
        head_features: Widths of dense layers with ReLU before the output.
        head_activation: Of the output of `mlp`. `sigmoid` is for targets that were scaled to [0, 1].
        volume_features: Of `integral`: channels of its deconvolutions.
        volume_upsamplings: Of `integral`: how often the feature maps' height and width are doubled.
        depth_bins: Of `integral`: cells of the volume in depth.
        dropout: Behind every dense layer but the last, between recurrent layers and inside the transformer.
        initialization: `keras` starts all but backbones of timm as Keras does, `torch` as PyTorch does.
        checkpoint_activations: Recompute the encoder's activations for the gradient: less memory, more time.
        channels_last: Memory format of frames and weights, which changes speed and nothing else.

    Raises:
        UserError: If a size is out of range, a name is unknown, or a setting has no effect beside the others.
    """

    def __init__(
        self,
        *,
        encoder: str = "vgg",
        encoder_width: float = 1.0,
        encoder_stride: int | None = None,
        encoder_features: Sequence[int] = (1024, 1024),
        pretrained: bool | Path = False,
        drop_path: float = 0.0,
        pooling: PoolingName = "flatten",
        input_size: int = 224,
        temporal: TemporalName = "lstm",
        temporal_features: int = 512,
        temporal_layers: int = 1,
        bidirectional: bool = False,
        head: HeadName = "mlp",
        head_features: Sequence[int] = (512, 256),
        head_activation: ActivationName = "linear",
        volume_features: int = 128,
        volume_upsamplings: int = 1,
        depth_bins: int = 16,
        dropout: float = 0.0,
        initialization: InitializationName = "keras",
        checkpoint_activations: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        if head == "integral" and head_activation != "linear":
            raise UserError(f"head_activation={head_activation} has no meaning with head=integral; set linear")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout is {dropout}; it is a probability below 1")
        self.encoder = make_encoder(
            encoder,
            width=encoder_width,
            stride=encoder_stride,
            pretrained=pretrained,
            drop_path=drop_path,
            checkpoint_activations=checkpoint_activations,
        )
        channels, height, width = self.encoder.output_shape(input_size)
        self.input_size, self.pooling = input_size, pooling
        self.dense = Dense(
            channels * (height * width if pooling == "flatten" else 1), encoder_features, dropout=dropout
        )
        self.integral = (
            IntegralHead(
                channels,
                features=volume_features,
                upsamplings=volume_upsamplings,
                depth_bins=depth_bins,
                joints=len(H36M),
            )
            if head == "integral"
            else None
        )
        self.temporal = make_temporal(
            temporal,
            self.dense.out_features + (len(H36M) * 3 if self.integral else 0),
            temporal_features,
            layers=temporal_layers,
            bidirectional=bidirectional,
            dropout=dropout,
        )
        self.head = PoseHead(
            self.temporal.out_features, head_features, joints=len(H36M), activation=head_activation, dropout=dropout
        )
        if initialization == "keras":
            parts = [self.dense, self.temporal, self.head]
            for part in parts if encoder.startswith(TIMM) else [self.encoder, *parts]:
                initialize_as_keras(part)
        if self.integral is not None:  # the volume's pose is where the correction starts
            nn.init.zeros_(self.head.output.weight)
            nn.init.zeros_(self.head.output.bias)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def forward(self, clip: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t j 3"]:
        """Root-relative poses in target space, float32, of RGB clips in [0, 1].

        Raises:
            UserError: If maps are flattened and the frames are not of `input_size`.
        """
        if self.pooling == "flatten" and clip.shape[-2:] != (self.input_size, self.input_size):
            raise UserError(
                f"frames are {clip.shape[-2]} x {clip.shape[-1]} px and this network is for {self.input_size} px; "
                "set model.input_size and data.input_size to the same"
            )
        batch = clip.shape[0]  # len() would fix the batch of an exported network
        frames = clip.flatten(0, 1).contiguous(memory_format=self.memory_format)
        maps = self.encoder(frames)
        vectors = maps.flatten(1) if self.pooling == "flatten" else maps.mean(dim=(2, 3))
        tokens = self.dense(vectors).unflatten(0, (batch, -1))  # b t f
        if self.integral is None:
            return self.head(self.temporal(tokens)).float()
        poses = self.integral(maps).unflatten(0, (batch, -1))  # b t j 3
        tokens = torch.cat([tokens, poses.flatten(2).to(tokens.dtype)], dim=-1)
        return poses + self.head(self.temporal(tokens)).float()


def make_encoder(
    name: str,
    *,
    width: float = 1.0,
    stride: int | None = None,
    pretrained: bool | Path = False,
    drop_path: float = 0.0,
    checkpoint_activations: bool = False,
) -> Encoder:
    """The encoder by its name; see `ClipRegressor`.

    Raises:
        UserError: If the name is unknown, or a setting is only for backbones of timm.
    """
    if not (math.isfinite(width) and width > 0):
        raise UserError(f"encoder_width is {width}; it is a factor above 0")
    if name.startswith(TIMM):
        if width != 1:
            raise UserError(f"encoder_width={width} is for {', '.join(OWN_ENCODERS)}; {name} has its own width")
        return timm_encoder(
            name.removeprefix(TIMM),
            stride=stride,
            pretrained=pretrained,
            drop_path=drop_path,
            checkpoint_activations=checkpoint_activations,
        )
    if name not in OWN_ENCODERS:
        raise UserError(f"encoder={name} is unknown; there are {', '.join(OWN_ENCODERS)} and {TIMM}NAME")
    stages, widths = OWN_ENCODERS[name]
    if checkpoint_activations and len(widths) == 1:
        raise UserError(
            f"checkpoint_activations=true saves nothing with encoder={name}, which has one stage; leave it out"
        )
    for setting, value in (("encoder_stride", stride), ("pretrained", pretrained), ("drop_path", drop_path)):
        if value:
            raise UserError(f"{setting}={value} is for encoders of timm; encoder={name} has no such thing")
    return Encoder(
        stages(tuple(max(1, round(channels * width)) for channels in widths)),
        checkpoint_activations=checkpoint_activations,
    )
