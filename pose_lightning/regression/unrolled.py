"""Recurrent layers written out frame by frame, as plain products and sums that every format has.

PyTorch 2.15 exports its own as loops over a traced body, with warnings of its own, and not under every setting.
"""

from collections.abc import Callable
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pose_lightning.regression.model import ClipRegressor
from pose_lightning.regression.temporal import Recurrent

State = tuple[Tensor, Tensor]
"""Output and cell; only LSTMs have a cell of their own."""


def unroll(network: ClipRegressor) -> None:
    """Put `Unrolled` layers in the place of a network's recurrent ones, with the same weights; others stay."""
    if isinstance(network.temporal, Recurrent):
        network.temporal.layers = Unrolled(network.temporal.layers)  # type: ignore[assignment]


class Unrolled(nn.Module):
    """What `nn.LSTM`, `nn.GRU` and `nn.RNN` (tanh) compute in evaluation, batch first, as single steps.

    Source of the formulas and of the gates' order in the weights: the documentation of these classes.

    Args:
        layers: The recurrent layers; the weights are shared with them.
    """

    def __init__(self, layers: nn.RNNBase) -> None:
        super().__init__()
        self.layers = layers
        self._step = STEPS[layers.mode]

    def forward(self, x: Float[Tensor, "b t f"]) -> tuple[Float[Tensor, "b t g"], None]:
        """Outputs at every frame, where PyTorch's layers also give their last state."""
        for number in range(self.layers.num_layers):
            outputs = [self._direction(x, f"l{number}")]
            if self.layers.bidirectional:
                outputs.append(self._direction(x.flip(1), f"l{number}_reverse").flip(1))
            x = torch.cat(outputs, dim=-1)
        return x, None

    def _direction(self, x: Float[Tensor, "b t f"], name: str) -> Float[Tensor, "b t g"]:
        weights: dict[str, Any] = {
            kind: getattr(self.layers, f"{kind}_{name}") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        }
        inputs = F.linear(x, weights["weight_ih"], weights["bias_ih"])
        output = cell = x.new_zeros(x.shape[0], self.layers.hidden_size)
        outputs = []
        for frame in range(x.shape[1]):
            hidden = F.linear(output, weights["weight_hh"], weights["bias_hh"])
            output, cell = self._step(inputs[:, frame], hidden, (output, cell))
            outputs.append(output)
        return torch.stack(outputs, dim=1)


def _lstm(inputs: Float[Tensor, "b g"], hidden: Float[Tensor, "b g"], state: State) -> State:
    into, forget, new, out = (inputs + hidden).chunk(4, dim=-1)
    cell = forget.sigmoid() * state[1] + into.sigmoid() * new.tanh()
    return out.sigmoid() * cell.tanh(), cell


def _gru(inputs: Float[Tensor, "b g"], hidden: Float[Tensor, "b g"], state: State) -> State:
    (reset, update, new), (reset_h, update_h, new_h) = inputs.chunk(3, dim=-1), hidden.chunk(3, dim=-1)
    kept = (update + update_h).sigmoid()
    output = (1 - kept) * (new + (reset + reset_h).sigmoid() * new_h).tanh() + kept * state[0]
    return output, output


def _rnn(inputs: Float[Tensor, "b g"], hidden: Float[Tensor, "b g"], state: State) -> State:
    output = (inputs + hidden).tanh()
    return output, output


STEPS: Final[dict[str, Callable[[Tensor, Tensor, State], State]]] = {"LSTM": _lstm, "GRU": _gru, "RNN_TANH": _rnn}
