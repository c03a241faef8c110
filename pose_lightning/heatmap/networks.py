"""The networks of heatmap estimation by name, a person's own among them, and the weights they start from."""

import importlib
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning import settings, weights
from pose_lightning.errors import UserError
from pose_lightning.heatmap import KIND
from pose_lightning.heatmap.model import StackedHourglass, read_settings
from pose_lightning.heatmap.simple_baseline import SimpleBaseline
from pose_lightning.heatmap.vit import VitPose

NAMES: Final[Mapping[str, str]] = KIND.named["network"]
"""Short names of this package's networks, and their classes."""

Network = Callable[[int], nn.Module]
"""Makes a network of the number of joints: from images (b, 3, h, w), RGB in [0, 1], to heatmaps (b, j, h/4, w/4), or to
those of several stages (b, s, j, h/4, w/4), of which the last is the answer."""

CONVERTER: Final = "python -m pose_lightning.heatmap.published"


def make(network: Network | Mapping[str, Any] | str, *, joints: int, path: Path | None) -> nn.Module:
    """The network.

    Args:
        network: A class or function whose first argument is the number of joints; a name of `NAMES`; or what a
            checkpoint says of one of these: `class_path` and `init_args`.
        joints: Heatmaps of an image.
        path: Weights to start from: of a backbone, under timm's names; of a whole network, from a run's checkpoint or
            from `save_weights`.

    Raises:
        UserError: If it cannot be made so, or the file does not fit.
    """
    maker = _maker(network)
    if path is None or torch.empty(0).is_meta:
        return _made(maker, joints)
    state = weights.read(path)
    if not issubclass(_owner(maker), SimpleBaseline | VitPose):
        whole = _made(maker, joints)
        if isinstance(whole, StackedHourglass):
            _agree(whole, path)
        _load_whole(whole, path, state)
        return whole
    with torch.device("meta"):
        wanted = _made(maker, joints, pretrained=False).state_dict()
    if not any(key.startswith("decoder.") for key in weights.without_prefix(state, wanted)):
        return _made(maker, joints, pretrained=False, weights=path)  # of the backbone alone
    whole = _made(maker, joints, pretrained=False)
    _load_whole(whole, path, state)
    return whole


def name_of(network: Network | Mapping[str, Any] | str) -> str:
    """The full name of the class or function that makes a network."""
    return str(settings.spec_of(_maker(network))["class_path"])


def is_own(network: Network | Mapping[str, Any] | str) -> bool:
    """Whether a network is a person's own."""
    return name_of(network) not in NAMES.values()


def staged(heatmaps: Tensor) -> Float[Tensor, "b s j h w"]:
    """Heatmaps with an axis of stages, which networks of one stage may leave out."""
    return heatmaps[:, None] if heatmaps.ndim == 4 else heatmaps


def check(network: nn.Module, name: str, image: Float[Tensor, "b 3 h w"], joints: int, stride: int) -> None:
    """Refuse a person's own network whose answer is no stack of heatmaps.

    Args:
        network: In any mode; it is left as it is.
        name: Of its class.
        image: A few images.
        joints: Maps that it must give for each.
        stride: Input px per heatmap px.

    Raises:
        UserError: If it fails, or answers in another shape.
    """
    training = [(module, module.training) for module in network.modules()]
    try:
        with torch.no_grad(), torch.random.fork_rng([]):
            answer = network.eval()(image)
    except UserError:
        raise
    except Exception as error:  # whatever a person's own code raises
        raise UserError(f"model.network={name} fails on images {tuple(image.shape)}: {error}") from error
    finally:
        for module, mode in training:
            module.training = mode
    height, width = image.shape[-2] // stride, image.shape[-1] // stride
    shape = tuple(getattr(answer, "shape", ()))
    if not isinstance(answer, Tensor) or len(shape) not in (4, 5) or shape[0] != len(image):
        said = f"{shape}" if isinstance(answer, Tensor) else type(answer).__name__
        raise UserError(
            f"model.network={name} answers {said} to images {tuple(image.shape)}; wanted heatmaps (batch, joints, "
            "height, width), or (batch, stages, joints, height, width)"
        )
    if shape[-3:] != (joints, height, width):
        raise UserError(
            f"model.network={name} gives {shape[-3]} heatmaps of {shape[-2]} x {shape[-1]} for images of "
            f"{image.shape[-2]} x {image.shape[-1]}; wanted {joints} of {height} x {width}, a quarter of the image"
        )


def _maker(network: Network | Mapping[str, Any] | str) -> Any:
    if callable(network):
        return network
    spec: Mapping[str, Any] = {"class_path": network} if isinstance(network, str) else network
    spec = {"init_args": {}, **spec}
    path = NAMES.get(str(spec.get("class_path")), str(spec.get("class_path")))
    if path not in NAMES.values():
        raise UserError(
            f"network={path} is no class of this package ({', '.join(NAMES)}), and none is imported by its name; pass "
            "the class itself: network=Net, or functools.partial(Net, width=64)"
        )
    module, _, name = path.rpartition(".")
    init_args = {key: tuple(value) if isinstance(value, list) else value for key, value in spec["init_args"].items()}
    return partial(getattr(importlib.import_module(module), name), **init_args)


def _owner(maker: Any) -> type:
    """The class that a maker makes; of a function none is known."""
    while isinstance(maker, partial):
        maker = settings.behind(maker)
    return maker if isinstance(maker, type) else nn.Module


def _made(maker: Any, joints: int, **arguments: Any) -> nn.Module:
    name = settings.spec_of(maker)["class_path"]
    try:
        network = maker(joints, **arguments)
    except UserError as error:  # of a backbone, which other tasks have too, under `model`
        text = re.sub(r"\bmodel\.(backbone|pretrained)\b", r"model.network.\1", str(error))
        raise UserError(text) from error
    except TypeError as error:
        if not is_own(maker):
            raise
        raise UserError(
            f"model.network={name} cannot be made ({error}); its first argument is the number of joints"
        ) from error
    if not isinstance(network, nn.Module):
        raise UserError(f"model.network={name} gives {type(network).__name__}; wanted a torch.nn.Module")
    return network


def _agree(network: StackedHourglass, path: Path) -> None:
    """Refuse a file that says it is of a hourglass with other settings."""
    found = read_settings(path)
    if found is None:
        return
    if unlike := {key: found.get(key) for key, value in network.settings.items() if found.get(key) != value}:
        given = ", ".join(f"{key} {network.settings[key]}" for key in unlike)
        raise UserError(
            f"model.weights={path} is of another hourglass than one with {given}; set {' '.join(flags(unlike))}"
        )


def flags(init_args: Mapping[str, Any]) -> list[str]:
    """A network's settings as the doors take them."""
    values = {
        key: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for key, value in init_args.items()
    }
    return [f"--model.network.{key}={value}" for key, value in values.items()]


def _load_whole(network: nn.Module, path: Path, found: Mapping[str, torch.Tensor]) -> None:
    wanted = network.state_dict()
    state = weights.without_prefix(found, wanted)
    hint = f"; a checkpoint that others published must first go through `{CONVERTER}`"
    weights.check(state, wanted, f"model.weights={path} does not fit the network", hint=hint)
    weights.fill(network, state, path, type(network).__name__)
