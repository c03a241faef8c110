"""Activations that are computed again for the gradient and not kept until then: less memory, more time."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from pose_lightning.errors import UserError

WORTHWHILE: Final = 2
"""Layers with weights that a block must have: of a single one there is little between the ends to leave out."""


@contextmanager
def still_statistics(module: nn.Module) -> Iterator[None]:
    """While it lasts, batch norms use their batch as they would, and leave their running statistics as they are."""
    norms = [norm for norm in module.modules() if isinstance(norm, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        # momentum 0 and not track_running_stats=False: the gradient must find the same tensors as the first time
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


def checkpointed(module: nn.Module, *inputs: Any, **settings: Any) -> Any:
    """`module(*inputs, **settings)`, whose inner activations are computed again for the gradient.

    Running the module twice would also count every batch twice in the running statistics of its batch norms; the second
    time they stand still.
    """
    return _checkpointed(module, module, *inputs, **settings)


def _checkpointed(module: nn.Module, forward: Any, *inputs: Any, **settings: Any) -> Any:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), still_statistics(module)

    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts, **settings)


def blocks(network: nn.Module) -> dict[str, nn.Module]:
    """The parts of a network that are worth recomputing one at a time, by name.

    They are the innermost modules that stand in a row (`nn.Sequential`, `nn.ModuleList`) and hold two layers with
    weights or more: the residual blocks of a ResNet, the layers of a transformer, the hourglasses of a stack.
    """
    rows = [
        (name, module) for name, module in network.named_modules() if isinstance(module, nn.Sequential | nn.ModuleList)
    ]
    candidates = {
        f"{name}.{key}" if name else key: child
        for name, row in rows
        for key, child in row.named_children()
        if not isinstance(child, nn.Sequential | nn.ModuleList) and _layers(child) >= WORTHWHILE
    }
    return {
        name: module
        for name, module in candidates.items()
        if not any(other.startswith(f"{name}.") for other in candidates)
    }


def _layers(module: nn.Module) -> int:
    return sum(any(parameter.ndim > 1 for parameter in each.parameters(recurse=False)) for each in module.modules())


def recompute_blocks(network: nn.Module) -> None:
    """Recompute the network's `blocks` from now on where it trains; names of weights and what it computes stay.

    Raises:
        UserError: If it has none.
    """
    found = blocks(network)
    if not found:
        raise UserError(
            f"model.checkpoint_activations=true saves nothing: {type(network).__name__} has no row of blocks; "
            "leave it out"
        )
    for name, block in found.items():
        # on the module and not around it: a wrapper would change the names of weights in checkpoints
        block.forward = partial(_forward, block, name)


def _forward(block: nn.Module, name: str, *inputs: Any, **settings: Any) -> Any:
    plain = partial(type(block).forward, block)
    if not (block.training and torch.is_grad_enabled()):
        return plain(*inputs, **settings)
    before = [each._version for each in inputs if isinstance(each, Tensor)]
    outputs = _checkpointed(block, plain, *inputs, **settings)
    if before != [each._version for each in inputs if isinstance(each, Tensor)]:
        raise UserError(
            f"model.checkpoint_activations=true: {name} ({type(block).__name__}) overwrites its input, from which it "
            "would be computed again; leave it out"
        )
    return outputs
