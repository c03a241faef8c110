"""Weights that a backbone starts from: timm's own, or a file's."""

import pickle
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from pytorch_lightning.utilities import rank_zero_info
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from pose_lightning.errors import UserError

PREFIXES: Final = ("", "module.", "model.", "backbone.", "encoder.", "network.", "model.backbone.", "module.backbone.")
"""What wrappers put before a backbone's names; the last but one is this package's own."""

WRAPPERS: Final = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema")
"""Under what a checkpoint may keep its state dict."""

CLASSIFIERS: Final = ("classifier", "classif", "fc", "head", "last_linear", "pre_logits", "AuxLogits")
"""How the names of classifiers begin, in timm and elsewhere."""

PATIENCE_S: Final = 10.0

_CHANGED_ELSEWHERE: Final = "num_batches_tracked"
"""Older files lack it; it counts and weighs nothing."""


def create(name: str, *, pretrained: bool, drop_path: float) -> nn.Module:
    """A network of timm without its classifier and without pooling.

    Raises:
        UserError: If timm has no such network, or no weights of it, or they cannot be fetched.
    """
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"{name[:6]}*")[:5]) or "see timm.list_models()"
        raise UserError(f"model.backbone={name}: timm {timm.__version__} does not have it; near it: {close}")
    if pretrained:
        _check_reachable(name)
    settings: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}
    try:
        network: nn.Module = timm.create_model(name, pretrained=pretrained, num_classes=0, global_pool="", **settings)
    except OSError as error:
        raise _not_fetched(name, error) from error
    except (RuntimeError, TypeError, AssertionError) as error:
        with_weights = " with pretrained=true" if pretrained else ""
        raise UserError(f"model.backbone={name}: timm cannot make it{with_weights}: {error}") from error
    if hasattr(network, "features") and hasattr(network, "pre_logits"):  # VGG's first dense layers, as convolutions
        network.pre_logits = nn.Identity()
        network.num_features = network.head_hidden_size = int(network.feature_info[-1]["num_chs"])  # type: ignore
    elif hasattr(network, "head_hidden_size"):  # MobileNets widen the maps in their head
        network.num_features = network.head_hidden_size
    return network


def _check_reachable(name: str) -> None:
    """Ask the hub once, where timm's weights must come from there: its client asks for most of a minute."""
    config = timm.get_pretrained_cfg(name)
    repository = config.hf_hub_id if config else None
    files = ("model.safetensors", "pytorch_model.bin")
    if not repository or any(isinstance(try_to_load_from_cache(repository, file), str) for file in files):
        return
    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")  # noqa: S310 - a constant of the client
    try:
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()  # noqa: S310
    except urllib.error.HTTPError:
        return  # it answers
    except OSError as error:
        raise _not_fetched(name, error) from error


def _not_fetched(name: str, error: OSError) -> UserError:
    return UserError(
        f"model.pretrained=true: the weights of {name} cannot be fetched ({error}); get them elsewhere and give "
        "model.weights=FILE (.safetensors, or a state dict of PyTorch), which needs no network, or start from nothing "
        "with model.pretrained=false"
    )


def load(network: nn.Module, path: Path, *, name: str) -> None:
    """Load a file's weights into a network of timm; what belongs to a classifier is left out, and said.

    Raises:
        UserError: If the file cannot be read, or does not hold this network.
    """
    state = _without_prefix(_read(path), wanted := network.state_dict())
    missing = sorted(key for key in wanted if key not in state and not key.endswith(_CHANGED_ELSEWHERE))
    others = sorted(state.keys() - wanted.keys())
    foreign = [key for key in others if not key.startswith(CLASSIFIERS)]
    unlike = sorted(key for key in wanted if key in state and state[key].shape != wanted[key].shape)
    if missing or foreign or unlike:
        problems = {
            f"lacks {len(missing)} of {len(wanted)} weights": missing,
            f"has {len(foreign)} weights that the network has not": foreign,
            f"has {len(unlike)} weights of another shape": unlike,
        }
        said = "; ".join(f"{what}, such as {keys[0]}" for what, keys in problems.items() if keys)
        raise UserError(f"model.weights={path} is not of {name}: it {said}")
    network.load_state_dict({**wanted, **{key: state[key] for key in wanted if key in state}})
    left = f"; left out: {', '.join(others)}" if others else ""
    rank_zero_info(f"weights of {name} from {path}: {len(state) - len(others)} tensors{left}")


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"model.weights={path}: there is no such file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise UserError(
            f"model.weights={path} cannot be read as safetensors, nor as a state dict of tensors alone: {error}"
        ) from error
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UserError(f"model.weights={path} is no state dict: a mapping of names to tensors is wanted")
    return dict(found)


def _without_prefix(state: dict[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the prefix that fits best, without it; what lies elsewhere is not the backbone's."""
    prefix = max(PREFIXES, key=lambda each: sum(each + key in state for key in wanted))
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
