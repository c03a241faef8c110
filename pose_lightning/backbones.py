"""Backbones of timm, and the weights that they start from: timm's own, or a file's."""

import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from pose_lightning import weights
from pose_lightning.errors import UserError

CLASSIFIERS: Final = ("classifier", "classif", "fc", "head", "last_linear", "pre_logits", "AuxLogits")
"""How the names of classifiers begin, in timm and elsewhere."""

PATIENCE_S: Final = 10.0


UNTOUCHED: Final = ((0.5,) * 3, (0.5,) * 3)
"""Mean and standard deviation where timm records none."""


def create(name: str, *, pretrained: bool, drop_path: float, **settings: Any) -> nn.Module:
    """A network of timm without its classifier and without pooling.

    Args:
        name: Its name there.
        pretrained: Start from timm's weights.
        drop_path: Probability that a residual branch is left out of a training step.
        settings: What else timm should know.

    Raises:
        UserError: If timm has no such network, or no weights of it, or they cannot be fetched.
    """
    settings |= {"num_classes": 0, "global_pool": ""}
    network: nn.Module = _create(name, pretrained=pretrained, drop_path=drop_path, **settings)
    if hasattr(network, "features") and hasattr(network, "pre_logits"):  # VGG's first dense layers, as convolutions
        network.pre_logits = nn.Identity()
        network.num_features = network.head_hidden_size = int(network.feature_info[-1]["num_chs"])  # type: ignore
    elif hasattr(network, "head_hidden_size"):  # MobileNets widen the maps in their head
        network.num_features = network.head_hidden_size
    return network


def features(name: str, *, pretrained: bool = False, path: Path | None = None, drop_path: float = 0.0) -> Any:
    """The part of a network of timm that ends in its coarsest feature maps, which it returns in a list of one.

    Args:
        name: Its name there.
        pretrained: Start from timm's weights.
        path: Start from a file's instead, under the names of timm's whole network.
        drop_path: Probability that a residual branch is left out of a training step.

    Raises:
        UserError: As `create` and `load`, and if timm cannot read feature maps from it.
    """
    settings: dict[str, Any] = {"features_only": True, "out_indices": (-1,)}
    if path is None or torch.empty(0).is_meta:
        return _create(name, pretrained=pretrained, drop_path=drop_path, **settings)
    with torch.device("meta"):
        wanted = create(name, pretrained=False, drop_path=drop_path).state_dict()
    state = _fitting(path, wanted, name)
    here = {"pretrained_cfg_overlay": {"state_dict": {key: state[key] for key in wanted if key in state}}}
    chatter = logging.getLogger("timm.models._builder")
    level = chatter.level
    chatter.setLevel(logging.ERROR)  # it warns of the weights behind the last feature map
    try:
        network = _create(name, pretrained=True, drop_path=drop_path, reachable=True, **settings, **here)
    finally:
        chatter.setLevel(level)
    rank_zero_info(f"weights of {name} from {path}: {len(network.state_dict())} tensors")
    return network


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per colour, in [0, 1], of the pictures that a network of timm was trained on."""
    config = timm.get_pretrained_cfg(name)
    return (config.mean, config.std) if config else UNTOUCHED


def _create(name: str, *, pretrained: bool, drop_path: float, reachable: bool = False, **settings: Any) -> Any:
    if not timm.is_model(name):
        close = ", ".join(timm.list_models(f"{name[:6]}*")[:5]) or "see timm.list_models()"
        raise UserError(f"model.backbone={name}: timm {timm.__version__} does not have it; near it: {close}")
    if pretrained and not reachable:
        _check_reachable(name)
    if drop_path:
        settings["drop_path_rate"] = drop_path
    try:
        return timm.create_model(name, pretrained=pretrained, **settings)
    except OSError as error:
        raise _not_fetched(name, error) from error
    except (RuntimeError, TypeError, AssertionError, AttributeError) as error:
        with_weights = " with pretrained=true" if pretrained else ""
        raise UserError(f"model.backbone={name}: timm cannot make it{with_weights}: {error}") from error


def _fitting(path: Path, wanted: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """A file's weights, once they fit a network of timm but for a classifier."""
    state = weights.without_prefix(weights.read(path), wanted)
    weights.check(state, wanted, f"model.weights={path} is not of {name}", unused=CLASSIFIERS)
    return state


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
    weights.fill(network, _fitting(path, network.state_dict(), name), path, name)
