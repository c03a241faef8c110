"""From features to poses: dense layers, and the expected place in a volumetric heatmap."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning.joints import H36M_ROOT
from pose_lightning.precision import full_precision

ActivationName = Literal["linear", "sigmoid"]


class Dense(nn.Sequential):
    """Dense layers with ReLU, and dropout behind each; `out_features` is the last one's width."""

    def __init__(self, in_features: int, widths: Sequence[int], *, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        self.out_features = in_features
        for width in widths:
            layers += [nn.Linear(self.out_features, width), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            self.out_features = width
        super().__init__(*layers)


class PoseHead(nn.Module):
    """A pose for every frame from its features, by dense layers.

    Args:
        in_features: Width of a frame's features.
        widths: Hidden layers, each with ReLU.
        joints: Joints of a pose.
        activation: Of the output. A sigmoid says nothing outside [0, 1], so its targets must be scaled to that.
        dropout: Behind every hidden layer.
    """

    def __init__(
        self,
        in_features: int,
        widths: Sequence[int],
        *,
        joints: int = 17,
        activation: ActivationName = "linear",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.hidden = Dense(in_features, widths, dropout=dropout)
        self.output = nn.Linear(self.hidden.out_features, joints * 3)
        self.activation = nn.Sigmoid() if activation == "sigmoid" else nn.Identity()

    def forward(self, x: Float[Tensor, "*b f"]) -> Float[Tensor, "*b j 3"]:
        """Poses."""
        return self.activation(self.output(self.hidden(x))).unflatten(-1, (-1, 3))


def soft_argmax(volume: Float[Tensor, "n j d h w"]) -> Float[Tensor, "n j 3"]:
    """The expected place (x, y, z) under the softmax of each volume, in [-1, 1] from edge to edge.

    Cell k of n has its centre at (2 k + 1) / n - 1. In float32, because a sum over ten thousands of small probabilities
    loses what half precision cannot hold. Source: Sun et al., Integral Human Pose Regression, ECCV 2018, equation 2.
    """
    with full_precision(volume):
        shares = volume.float().flatten(2).softmax(dim=-1).reshape(volume.shape)
        places = [
            _expectation(shares.sum(dim=(2, 3))),  # over depth and height: along x
            _expectation(shares.sum(dim=(2, 4))),
            _expectation(shares.sum(dim=(3, 4))),
        ]
        return torch.stack(places, dim=-1)


def _expectation(shares: Float[Tensor, "n j k"]) -> Float[Tensor, "n j"]:
    cells = shares.shape[-1]
    centres = (2 * torch.arange(cells, device=shares.device, dtype=shares.dtype) + 1) / cells - 1
    return shares @ centres


class IntegralHead(nn.Module):
    """Root-relative poses from feature maps, by the expected place of every joint in a volume around the person.

    The volume's width and height are the image's; its depth is free. What it spans in metres is learned, per axis, and
    starts at 2 m. Poses start as all joints in one place.
    Source: Sun et al., Integral Human Pose Regression, ECCV 2018, section 3; deconvolutions after Xiao et al., 2018.

    Args:
        channels: Of the feature maps.
        features: Of the maps between.
        upsamplings: Deconvolutions, each of which doubles height and width.
        depth_bins: Cells in depth.
        joints: Joints of a pose.
        root: The joint that a pose is relative to.
    """

    def __init__(
        self,
        channels: int,
        *,
        features: int = 128,
        upsamplings: int = 1,
        depth_bins: int = 16,
        joints: int = 17,
        root: int = H36M_ROOT,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(upsamplings):
            layers += [
                nn.ConvTranspose2d(channels, features, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(features),
                nn.ReLU(inplace=True),
            ]
            channels = features
        self.upsample = nn.Sequential(*layers)
        self.volume = nn.Conv2d(channels, joints * depth_bins, 1)
        nn.init.normal_(self.volume.weight, std=1e-3)
        nn.init.zeros_(self.volume.bias)  # type: ignore[arg-type]  # there is one
        self.joints, self.root = joints, root
        self.log_half_span = nn.Parameter(torch.zeros(3))

    def forward(self, maps: Float[Tensor, "n c h w"]) -> Float[Tensor, "n j 3"]:
        """Poses in metres, float32."""
        volume = self.volume(self.upsample(maps)).unflatten(1, (self.joints, -1))
        places = soft_argmax(volume)
        return (places - places[:, self.root, None]) * self.log_half_span.exp()
