"""Weights from files: read without running anything that a file says, and fitted to a network by name and shape."""

import argparse
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_info
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.serialization import safe_globals

from pose_lightning import sealed
from pose_lightning.errors import UserError
from pose_lightning.reading.raw import check_regular

PREFIXES: Final = ("", "module.", "model.", "backbone.", "encoder.", "network.", "model.backbone.", "module.backbone.")
"""What wrappers put before a network's names; `model.` and `model.backbone.` are this package's own."""

WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
"""Under what a checkpoint may keep its state dict."""

_COUNTER: Final = "num_batches_tracked"
"""Older files lack it; it counts and weighs nothing."""


def read(path: Path, *, said: str = "model.weights=") -> dict[str, Tensor]:
    """The state dict in a file: .safetensors, or whatever `torch.save` wrote, as long as it holds data alone.

    Beside tensors a checkpoint may hold numbers, NumPy's too, and the settings that argparse left; those are skipped.

    Args:
        path: The file.
        said: What messages put before its name.

    Raises:
        UserError: If the file is missing, damaged, or holds objects of other classes, or no state dict.
    """
    if not os.path.lexists(path):
        raise UserError(f"{said}{path}: there is no such file")
    check_regular(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with safe_globals(_harmless()):
            found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, *sealed.LOAD_ERRORS) as error:
        raise UserError(_why_not(path, said, error)) from error
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()
    ):
        raise UserError(f"{said}{path} is no state dict: a mapping of names to tensors is wanted")
    return dict(found)


def read_metadata(path: Path) -> dict[str, str]:
    """What a .safetensors file says of itself; nothing of any other file."""
    if path.suffix != ".safetensors" or not os.path.lexists(path):
        return {}
    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read as safetensors: {error}") from error


def without_prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the prefix that fits best, without it; what lies elsewhere is not the network's."""
    prefix = max(PREFIXES, key=lambda each: sum(each + key in state for key in wanted))
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def check(
    state: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    what: str,
    *,
    unused: tuple[str, ...] = (),
    hint: str = "",
) -> None:
    """Refuse weights that do not fit a network.

    Args:
        state: The file's weights.
        wanted: The network's.
        what: How the message begins.
        unused: How the names begin of those that the file may have beside the network's.
        hint: How the message ends.

    Raises:
        UserError: If one is missing, foreign or of another shape.
    """
    missing = sorted(key for key in wanted if key not in state and not key.endswith(_COUNTER))
    foreign = sorted(key for key in state.keys() - wanted.keys() if not key.startswith(unused or "\0"))
    unlike = sorted(key for key in wanted if key in state and state[key].shape != wanted[key].shape)
    if missing or foreign or unlike:
        problems = {
            f"lacks {len(missing)} of {len(wanted)} weights": missing,
            f"has {len(foreign)} weights that the network has not": foreign,
            f"has {len(unlike)} weights of another shape": unlike,
        }
        said = "; ".join(f"{problem}, such as {keys[0]}" for problem, keys in problems.items() if keys)
        raise UserError(f"{what}: it {said}{hint}")


def fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, name: str) -> None:
    """Put checked weights into a network, and say how many came from the file and which were left out."""
    wanted = network.state_dict()
    others = sorted(state.keys() - wanted.keys())
    network.load_state_dict({**wanted, **{key: state[key] for key in wanted if key in state}})
    left = f"; left out: {', '.join(others)}" if others else ""
    rank_zero_info(f"weights of {name} from {path}: {len(state) - len(others)} tensors{left}")


def _harmless() -> list[Any]:
    """What a checkpoint may hold beside tensors: plain data, whose making runs nothing of the file's."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    numbers = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    return [argparse.Namespace, np.dtype, scalar, (scalar, "numpy.core.multiarray.scalar"), *numbers]


def _why_not(path: Path, said: str, error: Exception) -> str:
    if blocked := re.search(r"GLOBAL ([\w.]+) whose module [\w.]+ is blocked", str(error)):
        return f"{said}{path} is not read: it holds {blocked[1]}, which runs commands; no state dict needs it"
    if foreign := re.search(r"GLOBAL ([\w.]+) was not an allowed global", str(error)):
        return (
            f"{said}{path} cannot be read as a state dict of tensors alone: it holds {foreign[1]}, and to make that "
            "would run code that the file names; ask those who published it for .safetensors"
        )
    reason = str(error).partition("\n")[0]
    if not isinstance(error, SafetensorError):  # PyTorch says to run what the file names
        reason = "it is damaged, or torch.save did not write it"
    return f"{said}{path} cannot be read as safetensors, nor as a state dict of tensors alone: {reason}"
