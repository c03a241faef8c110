"""What is counted of a network."""

import pytest
import torch
from torch import nn

from pose_lightning.report.network import multiply_adds


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layers = kind(10, 20, batch_first=True)
        self.last = nn.Linear(20, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.layers(inputs)[0])


def test_a_convolution_has_its_weights_for_every_place() -> None:
    assert multiply_adds(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 10, 10)) == 3 * 8 * 9 * 8 * 8


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)], ids=["lstm", "gru", "rnn"])
def test_a_recurrent_layer_has_its_weights_for_every_step(kind: type[nn.RNNBase], gates: int) -> None:
    with torch.no_grad():
        assert multiply_adds(Recurrent(kind), torch.zeros(1, 8, 10)) == 8 * (gates * 20 * (10 + 20) + 20 * 3)


def test_attention_is_counted_where_torch_fuses_it() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    with torch.no_grad():
        found = multiply_adds(layer, torch.zeros(1, 8, 16))
    assert found == 8 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 8 * 8 * 16
