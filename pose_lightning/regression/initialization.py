"""How Keras starts weights, for networks whose report relied on its defaults."""

from torch import nn


def initialize_as_keras(module: nn.Module) -> None:
    """Start convolutions, dense and recurrent layers as Keras (TF 2) does.

    Kernels are Glorot uniform, recurrent kernels orthogonal, biases 0 and those of an LSTM's forget gates 1. Keras'
    LSTM and SimpleRNN have one bias where PyTorch adds two: the second is zero and frozen, for trained together they
    would move as one bias at twice the learning rate. (Keras' GRU has both.)
    Source: keras.layers.Conv2D, Dense, LSTM, SimpleRNN and GRU, the defaults of their arguments.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.RNNBase):
            _initialize_recurrent(part)


def _initialize_recurrent(layers: nn.RNNBase) -> None:
    for name, weight in layers.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(weight)
        else:
            nn.init.zeros_(weight)
            if isinstance(layers, nn.LSTM) and name.startswith("bias_ih"):
                nn.init.ones_(weight.data[layers.hidden_size : 2 * layers.hidden_size])  # gates: in, forget, cell, out
            if not isinstance(layers, nn.GRU) and name.startswith("bias_hh"):
                weight.requires_grad_(False)
