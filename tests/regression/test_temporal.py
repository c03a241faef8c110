"""Recurrent layers and the transformer over frames, and how Keras starts the former."""

import math
from typing import Literal

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pose_lightning.errors import UserError
from pose_lightning.regression.initialization import initialize_as_keras
from pose_lightning.regression.temporal import Recurrent, TemporalName, Transformer, make_temporal, positions

RECURRENT: tuple[Literal["lstm", "rnn", "gru"], ...] = ("lstm", "rnn", "gru")


def keras_start(name: Literal["lstm", "rnn", "gru"]) -> nn.RNNBase:
    torch.manual_seed(0)
    part = Recurrent(name, in_features=24, features=10)
    initialize_as_keras(part)
    return part.layers


@pytest.mark.parametrize("name", [*RECURRENT, "transformer", "none"])
def test_out_features_is_the_width_of_the_output(name: TemporalName) -> None:
    part = make_temporal(name, 6, 8, layers=2, dropout=0.0)
    assert part(torch.randn(3, 5, 6)).shape == (3, 5, part.out_features)


@pytest.mark.parametrize("name", RECURRENT)
def test_a_recurrent_network_sees_the_past_and_with_both_directions_the_future(name: TemporalName) -> None:
    for bidirectional in (False, True):
        part = make_temporal(name, 4, 6, bidirectional=bidirectional, dropout=0.0)
        x = torch.randn(1, 5, 4, requires_grad=True)
        part(x)[0, 2].sum().backward()
        assert x.grad is not None
        seen = (x.grad[0] != 0).any(dim=-1).tolist()
        assert seen == [True, True, True, bidirectional, bidirectional]
        assert part.out_features == (12 if bidirectional else 6)


def test_lstm_follows_its_equations_with_the_gates_in_our_order() -> None:
    layers = keras_start("lstm")
    x = torch.randn(1, 2, 24)
    hidden, cell = torch.zeros(10), torch.zeros(10)
    for frame in x[0]:
        gates = layers.weight_ih_l0 @ frame + layers.bias_ih_l0 + layers.weight_hh_l0 @ hidden
        enter, forget, candidate, leave = gates.chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
        hidden = leave.sigmoid() * cell.tanh()
    assert_close(layers(x)[0][0, 1], hidden)


def test_keras_starts_the_forget_gate_open_and_every_other_bias_at_zero() -> None:
    expected = torch.tensor([0.0] * 10 + [1.0] * 10 + [0.0] * 20)
    layers = keras_start("lstm")
    assert torch.equal(layers.bias_ih_l0, expected)
    assert torch.equal(layers.bias_hh_l0, torch.zeros(40))


@pytest.mark.parametrize("name", RECURRENT)
def test_keras_starts_recurrent_kernels_orthogonal_and_input_kernels_within_glorots_bounds(
    name: Literal["lstm", "rnn", "gru"],
) -> None:
    layers = keras_start(name)
    recurrent, kernel = layers.weight_hh_l0, layers.weight_ih_l0
    assert_close(recurrent.T @ recurrent, torch.eye(10), atol=1e-5, rtol=0)
    limit = math.sqrt(6 / (24 + len(kernel)))
    assert 0.9 * limit < kernel.abs().max() <= limit


@pytest.mark.parametrize(("name", "trained"), [("lstm", False), ("rnn", False), ("gru", True)])
def test_only_keras_gru_trains_a_second_bias(name: Literal["lstm", "rnn", "gru"], *, trained: bool) -> None:
    layers = keras_start(name)
    assert layers.bias_ih_l0.requires_grad
    assert layers.bias_hh_l0.requires_grad is trained


def test_keras_starts_both_directions_and_all_layers() -> None:
    part = Recurrent("lstm", 4, 6, layers=2, bidirectional=True)
    initialize_as_keras(part)
    biases = [value for name, value in part.layers.named_parameters() if name.startswith("bias_ih")]
    assert len(biases) == 4
    for bias in biases:
        assert torch.equal(bias.reshape(4, 6).sum(dim=1), torch.tensor([0.0, 6.0, 0.0, 0.0]))


def test_keras_starts_dense_layers_within_glorots_bounds_and_without_bias() -> None:
    layer = nn.Linear(50, 70)
    initialize_as_keras(layer)
    limit = math.sqrt(6 / 120)
    assert 0.9 * limit < layer.weight.abs().max() <= limit
    assert not layer.bias.any()


def test_the_transformer_tells_the_order_of_frames() -> None:
    torch.manual_seed(0)
    part = Transformer(6, 8, layers=1).eval()
    x = torch.randn(1, 4, 6)
    assert (part(x).flip(1) - part(x.flip(1))).abs().max() > 1e-2


def test_the_transformer_without_positions_would_not() -> None:
    torch.manual_seed(0)
    part = Transformer(6, 8, layers=1).eval()
    tokens = part.project(torch.randn(1, 4, 6))
    assert_close(part.layers(tokens).flip(1), part.layers(tokens.flip(1)))


def test_positions_are_the_papers_sines_and_cosines() -> None:
    table = positions(3, 4, torch.device("cpu"))
    expected = [math.sin(2), math.cos(2), math.sin(2 / 100), math.cos(2 / 100)]
    assert_close(table[2], torch.tensor(expected))


def test_both_directions_of_a_transformer_are_refused() -> None:
    with pytest.raises(UserError, match="bidirectional=true has no meaning with temporal=transformer"):
        make_temporal("transformer", 4, 8, bidirectional=True, dropout=0.0)


@pytest.mark.parametrize(("features", "layers", "name"), [(0, 1, "temporal_features"), (8, 0, "temporal_layers")])
def test_a_size_below_one_is_refused(features: int, layers: int, name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is 0"):
        make_temporal("lstm", 4, features, layers=layers, dropout=0.0)


def test_an_odd_width_of_a_transformer_is_refused() -> None:
    with pytest.raises(UserError, match="temporal_features is 7; a transformer needs an even number"):
        make_temporal("transformer", 4, 7, dropout=0.0)
