"""The network: a backbone's feature maps, and a head that turns them into one number per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pose_lightning import backbones
from pose_lightning.activity import freeze
from pose_lightning.errors import UserError
from pose_lightning.ranges import check_ranges
from pose_lightning.recomputation import recompute_blocks

HeadName = Literal["flatten", "mlp", "flatten_dropout", "pooled"]


class ActivityClassifier(nn.Module):
    """One number per class of pictures.

    Args:
        backbone: A convolutional network of timm, by its name there; its classifier is left out.
        num_classes: Classes or tags.
        input_size: Side of the pictures, px; a head that flattens the maps has weights for just this one.
        pretrained: Start from timm's weights, which need a network (on the meta device there are none).
        weights: Start from this file's instead: .safetensors or a state dict of PyTorch, under timm's names.
        head: `flatten`: flatten and a dense layer, which report 003 found best; `mlp`: flatten, a dense layer with
            ReLU, dropout, a dense layer; `flatten_dropout`: flatten, dropout, a dense layer; `pooled`: the maps'
            means, dropout, a dense layer. Dense layers start as Keras': Glorot uniform, and biases of 0.
        head_features: Width inside `mlp`.
        dropout: Of the heads that have one.
        drop_path: Probability that a residual branch of the backbone is left out of a training step.
        freeze_statistics: Keep the means and variances of all batch norms of the backbone as they came, while their
            scales and shifts learn: those of a small batch are noisy.
        channels_last: Memory format of pictures and weights, which changes the speed and nothing else.
        checkpoint_activations: Keep only what passes between the backbone's blocks, and compute the rest again for the
            gradient: less memory, about a third more time.

    Attributes:
        backbone: From normalized pictures (b, 3, h, w) to feature maps (b, c, h2, w2).
        head: From feature maps to numbers (b, k).
        still: The modules of the backbone that are frozen.
        any_size: Whether pictures may have another size than `input_size`.

    Raises:
        UserError: If timm has no such backbone or it gives no feature maps, weights cannot be had, or a setting is out
            of range or has no meaning.
    """

    mean: Float[Tensor, "3 1 1"]
    std: Float[Tensor, "3 1 1"]

    def __init__(
        self,
        *,
        backbone: str,
        num_classes: int,
        input_size: int = 224,
        pretrained: bool = False,
        weights: Path | None = None,
        head: HeadName = "flatten",
        head_features: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        freeze_statistics: bool = False,
        channels_last: bool = True,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        _check(num_classes, head, head_features, dropout)
        self.name, self.num_classes, self.input_size = backbone, num_classes, input_size
        self.backbone = _backbone(backbone, pretrained=pretrained, weights=weights, drop_path=drop_path)
        mean, std = backbones.normalization(backbone)
        # not in the state: they belong to the backbone's name, which is a setting
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)
        channels, height, width = self._map_shape()
        features = channels if head == "pooled" else channels * height * width
        self.head = _head(head, features, num_classes, head_features=head_features, dropout=dropout)
        self.any_size = head == "pooled"
        self._freezes_statistics = freeze_statistics
        self._still: list[str] = []
        if checkpoint_activations:
            recompute_blocks(self.backbone)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self.memory_format)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Logits of RGB pictures in [0, 1]."""
        logits: Tensor = self.head(self.backbone(self.normalized(image)))
        return logits

    def features(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b f"]:
        """What the last dense layer sees of RGB pictures in [0, 1]."""
        seen: Tensor = self.head[:-1](self.backbone(self.normalized(image)))
        return seen

    def normalized(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The pictures as the backbone was trained to see them, by timm's record."""
        return (image.contiguous(memory_format=self.memory_format) - self.mean) / self.std

    def train(self, mode: bool = True) -> "ActivityClassifier":
        """Switch between training and evaluation; what is frozen is always evaluated, batch norms above all."""
        super().train(mode)
        for module in self.evaluated:
            module.eval()
        return self

    @property
    def evaluated(self) -> list[nn.Module]:
        """The modules that are never in training mode."""
        norms = [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]
        return [*self.still, *(norms if self._freezes_statistics else [])]

    @property
    def still(self) -> list[nn.Module]:
        """The parts of the backbone that are held; found by name, for a synchronised batch norm replaces another."""
        modules = freeze.parts(self.backbone) if self._still else {}
        return [modules[name] for name in self._still]

    def hold(self, names: Sequence[str]) -> None:
        """Hold these parts of the backbone still, in their mode alone, and no others."""
        self._still = list(names)
        self.train(self.training)

    def _map_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the feature maps, found by looking.

        Raises:
            UserError: If there are none.
        """
        self.backbone.eval()
        zeros = torch.zeros(1, 3, self.input_size, self.input_size, device=self.mean.device)
        try:
            with torch.no_grad():
                maps: Tensor = self.backbone(zeros)
        except (RuntimeError, AssertionError) as error:  # a pool has nothing left, or the size is fixed
            raise UserError(f"model.input_size={self.input_size} does not go with {self.name}: {error}") from error
        finally:
            self.backbone.train()
        if maps.ndim != 4 or maps.shape[1] != self.backbone.num_features:
            raise UserError(
                f"model.backbone={self.name} gives {tuple(maps.shape[1:])} per picture and no maps, channels first; "
                "take a convolutional network"
            )
        return maps.shape[1], maps.shape[2], maps.shape[3]


def _backbone(name: str, *, pretrained: bool, weights: Path | None, drop_path: float) -> nn.Module:
    holds_values = not torch.empty(0).is_meta
    network = backbones.create(name, pretrained=pretrained and weights is None and holds_values, drop_path=drop_path)
    if weights is not None and holds_values:
        backbones.load(network, weights, name=name)
    return network


def _head(
    name: HeadName, features: int, num_classes: int, *, head_features: int | None, dropout: float
) -> nn.Sequential:
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if name == "pooled" else []
    layers.append(nn.Flatten())
    if head_features is not None:
        layers += [nn.Linear(features, head_features), nn.ReLU()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    layers.append(nn.Linear(features if head_features is None else head_features, num_classes))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def _check(
    num_classes: int,
    head: HeadName,
    head_features: int | None,
    dropout: float,
) -> None:
    """Refuse what is out of range or has no meaning."""
    if num_classes < 1:
        raise UserError(f"model.num_classes={num_classes}; it is at least 1")
    if (head_features is not None) != (head == "mlp"):
        wanted = "needs model.head_features, its inner width" if head == "mlp" else "has no model.head_features"
        raise UserError(f"model.head={head} {wanted}")
    if head_features is not None and head_features < 1:
        raise UserError(f"model.head_features={head_features}; it is at least 1")
    check_ranges({"model.dropout": dropout})
    if dropout and head == "flatten":
        raise UserError(f"model.head=flatten has no dropout; set model.dropout={dropout} with flatten_dropout or mlp")
