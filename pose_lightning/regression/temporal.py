"""What lets the frames of a clip see each other: recurrent layers and a transformer."""

import math
from typing import Final, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning.errors import UserError

TemporalName = Literal["lstm", "rnn", "gru", "transformer", "none"]

RECURRENT: Final = {"lstm": nn.LSTM, "rnn": nn.RNN, "gru": nn.GRU}

HEAD_FEATURES: Final = 64
"""Features per attention head, as in Vaswani et al., 2017, table 3; fewer where they do not divide."""


class Recurrent(nn.Module):
    """A recurrent network's output at every frame.

    Args:
        name: `lstm`, `rnn` (Elman's, with tanh) or `gru` (the variant of cuDNN, which is Keras' `reset_after`).
        in_features: Width of the frames' features.
        features: Units per layer and direction.
        layers: Layers, one upon the other.
        bidirectional: Also run from the last frame to the first, and give both outputs.
        dropout: Between layers.
    """

    def __init__(
        self,
        name: Literal["lstm", "rnn", "gru"],
        in_features: int,
        features: int,
        *,
        layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.out_features = features * (2 if bidirectional else 1)
        self.layers: nn.RNNBase = RECURRENT[name](
            in_features,
            features,
            num_layers=layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )

    def forward(self, x: Float[Tensor, "b t f"]) -> Float[Tensor, "b t g"]:
        """Outputs of width `out_features`."""
        return self.layers(x)[0]


def positions(frames: int, features: int, device: torch.device) -> Float[Tensor, "t f"]:
    """Sines and cosines that tell the frames apart, for clips of any length.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.5.
    """
    frame = torch.arange(frames, device=device, dtype=torch.float32)[:, None]
    pairs = torch.arange(0, features, 2, device=device, dtype=torch.float32)
    angle = frame * torch.exp(-math.log(10000.0) / features * pairs)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, :features]


class Transformer(nn.Module):
    """Attention of every frame to every other, with the norm before each part (which trains without a warm-up).

    Args:
        in_features: Width of the frames' features.
        features: Width inside and out.
        layers: Layers of attention and a feed-forward network of twice the width.
        dropout: After attention and inside the feed-forward network.
    """

    def __init__(self, in_features: int, features: int, *, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        if features % 2:
            raise UserError(f"temporal_features is {features}; a transformer needs an even number")
        self.out_features = features
        heads = features // HEAD_FEATURES if features % HEAD_FEATURES == 0 else math.gcd(features, 4)
        layer = nn.TransformerEncoderLayer(
            features, heads, 2 * features, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.project = nn.Linear(in_features, features)
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(features), enable_nested_tensor=False)

    def forward(self, x: Float[Tensor, "b t f"]) -> Float[Tensor, "b t g"]:
        """Features of width `out_features` that have seen the whole clip."""
        tokens = self.project(x)
        return self.layers(tokens + positions(tokens.shape[1], self.out_features, tokens.device).to(tokens.dtype))


class Alone(nn.Module):
    """Every frame by itself."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.out_features = in_features

    def forward(self, x: Float[Tensor, "b t f"]) -> Float[Tensor, "b t f"]:
        """The same features."""
        return x


def make_temporal(
    name: TemporalName, in_features: int, features: int, *, layers: int = 1, bidirectional: bool = False, dropout: float
) -> Recurrent | Transformer | Alone:
    """The part by its name; its `out_features` says how wide its output is.

    Raises:
        UserError: If a size is out of range, the name is unknown, or both directions are asked of what has none.
    """
    if bidirectional and name not in RECURRENT:
        raise UserError(f"bidirectional=true has no meaning with temporal={name}; set it with lstm, rnn or gru")
    for setting, value in (("temporal_features", features), ("temporal_layers", layers)):
        if value < 1:
            raise UserError(f"{setting} is {value}; it must be at least 1")
    match name:
        case "lstm" | "rnn" | "gru":
            return Recurrent(name, in_features, features, layers=layers, bidirectional=bidirectional, dropout=dropout)
        case "transformer":
            return Transformer(in_features, features, layers=layers, dropout=dropout)
        case "none":
            return Alone(in_features)
    raise UserError(f"temporal={name} is unknown; there are {', '.join(RECURRENT)}, transformer and none")
