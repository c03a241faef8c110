"""The networks of heatmap estimation by name, each with its own settings, and the weights they start from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn

from pose_lightning import weights
from pose_lightning.errors import UserError
from pose_lightning.heatmap.model import StackedHourglass, read_settings
from pose_lightning.heatmap.simple_baseline import SimpleBaseline
from pose_lightning.heatmap.vit import VitPose

NetworkName = Literal["hourglass", "simple_baseline", "vit"]

HOURGLASS: Final = ("stacks", "features", "depth", "wide_stem", "image_mean")
OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "hourglass": HOURGLASS,
    "simple_baseline": ("features", "backbone", "pretrained", "drop_path"),
    "vit": ("backbone", "pretrained", "drop_path", "decoder"),
}
"""By network: the settings that it has."""

CONVERTER: Final = "python -m pose_lightning.heatmap.published"


def make(network: NetworkName, *, joints: int, path: Path | None, channels_last: bool, **settings: Any) -> nn.Module:
    """The network, from images (b, 3, h, w) to heatmaps (b, s, j, h/4, w/4).

    Args:
        network: Its name.
        joints: Heatmaps of an image.
        path: Weights to start from: of a backbone, under timm's names; of a whole network, from a run's checkpoint or
            from `save_weights`.
        channels_last: Memory format.
        settings: Its settings; those that are None or False are left at the network's defaults.

    Raises:
        UserError: If a setting is another network's, or the file does not fit.
    """
    given = {key: value for key, value in settings.items() if value is not None and value is not False}
    if foreign := sorted(given.keys() - set(OWN[network])):
        raise UserError(
            f"model.network={network} has no {', '.join(foreign)}; leave out "
            f"{', '.join(f'model.{key}={given[key]}' for key in foreign)}, or take another network than {network}"
        )
    common: dict[str, Any] = {"joints": joints, "channels_last": channels_last, **given}
    if network == "hourglass":
        hourglass = StackedHourglass(**common)
        if path is not None and not torch.empty(0).is_meta:
            _agree(hourglass, path)
            _load_whole(hourglass, path, weights.read(path))
        return hourglass
    kind = SimpleBaseline if network == "simple_baseline" else VitPose
    if path is None or torch.empty(0).is_meta:
        return kind(**common)
    state = weights.read(path)
    common["pretrained"] = False
    with torch.device("meta"):
        wanted = kind(**common).state_dict()
    if not any(key.startswith("decoder.") for key in weights.without_prefix(state, wanted)):
        return kind(**common, weights=path)  # of the backbone alone
    whole = kind(**common)
    _load_whole(whole, path, state)
    return whole


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


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the doors take them."""
    values = {
        key: value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        for key, value in settings.items()
    }
    return [f"--model.{key}={value}" for key, value in values.items()]


def _load_whole(network: nn.Module, path: Path, found: Mapping[str, torch.Tensor]) -> None:
    wanted = network.state_dict()
    state = weights.without_prefix(found, wanted)
    hint = f"; a checkpoint that others published must first go through `{CONVERTER}`"
    weights.check(state, wanted, f"model.weights={path} does not fit the network", hint=hint)
    weights.fill(network, state, path, type(network).__name__)
