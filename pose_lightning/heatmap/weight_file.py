"""Heatmap networks of files of weights alone, without their run: what `heatmap.published` and `export` write."""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, get_args

import numpy as np

from pose_lightning import cli, weights
from pose_lightning.cli import PoseCLI
from pose_lightning.errors import UserError
from pose_lightning.exported import rules
from pose_lightning.exported.facts import MARK, Facts
from pose_lightning.exported.rules import AGAIN, Rule
from pose_lightning.geometry import Size, sides
from pose_lightning.heatmap.exported import OnnxJoints, joint_set_of
from pose_lightning.heatmap.loss import LOSSES
from pose_lightning.heatmap.model import check_sizes, read_joint_set, settings_of
from pose_lightning.heatmap.networks import NAMES, flags
from pose_lightning.heatmap.vit import DecoderName
from pose_lightning.joints import JointSet
from pose_lightning.settings import STARTING_POINTS

INPUT_SIZE: Final = 256
"""Px, where the file does not say: that of the networks that others published."""

BATCH_SIZE: Final = 16

OF_NETWORKS: Final[Mapping[str, Rule]] = {
    "channels_last": rules.YES_OR_NO,
    "stacks": rules.whole(1, 64),
    "features": rules.whole(1, 4096),
    "depth": rules.whole(1, 10),
    "backbone": Rule("a name of timm", lambda value: isinstance(value, str) and bool(re.fullmatch(r"[\w.]+", value))),
    "decoder": rules.one_of(get_args(DecoderName)),
    "drop_path": Rule("a number from 0 to 1", lambda value: rules.is_number(value) and 0 <= value <= 1),
}

OF_HOURGLASSES: Final = frozenset({"wide_stem", "image_mean"})
"""Settings that `settings_of` has checked."""

DETAILS: Final = ("decoding", "sigma", "grid")
"""Those that are settings too."""


@dataclass(frozen=True)
class WeightFile:
    """A file of weights, and what it says of their network.

    Attributes:
        path: The file.
        network: Short name of the network.
        init_args: Its settings.
        settings: Of how it is asked, as `HeatmapEstimation` takes them.
        facts: Of the run that they are of; None in the files of `heatmap.published`, which others trained.
    """

    path: Path
    network: str
    init_args: Mapping[str, Any]
    settings: Mapping[str, Any]
    facts: Facts | None

    @classmethod
    def open(cls, path: Path) -> Self:
        """What a file says.

        Raises:
            UserError: If it is missing, does not say which network it is of, or is of none with heatmaps.
        """
        metadata = weights.read_metadata(path)
        if MARK not in metadata:
            return cls(path, "hourglass", _hourglass(path), {}, None)
        facts = Facts.from_metadata(metadata, path)
        if facts.task != "heatmap":
            raise UserError(
                f"{path} is a network of {facts.task}; --weights takes those of heatmaps: name the run's directory, or "
                "the file of `python -m pose_lightning.export RUN_DIR --format onnx`"
            )
        rules.check(path, facts.stated, OnnxJoints.wanted(facts, path))
        rules.check(path, facts.model, {"network": rules.SETTINGS})
        named = {path: name for name, path in NAMES.items()}
        spec = facts.model["network"]
        rules.check(path, spec, {"class_path": rules.one_of(list(named)), "init_args": rules.SETTINGS})
        network = named[spec["class_path"]]
        init_args = _hourglass(path) if network == "hourglass" else _known(path, spec["init_args"])
        loss = facts.model.get("loss")  # one of a person's own shapes the maps, and is not asked for any more
        settings = {"loss": loss if loss in LOSSES else "mse"} | {key: facts.details[key] for key in DETAILS}
        return cls(path, network, init_args, settings, facts)

    @property
    def input_size(self) -> Size:
        """Of the network's input, px."""
        if self.facts is None:
            return INPUT_SIZE
        height, width = self.facts.input.shape[1:]
        return height if height == width else (height, width)

    @property
    def taught(self) -> np.ndarray:
        """Which joints the network was taught; all where nobody knows."""
        return ~np.isin(self.joint_set.names, [] if self.facts is None else self.facts.details["joints_never_taught"])

    @property
    def joint_set(self) -> JointSet:
        """Of the network."""
        return read_joint_set(self.path) if self.facts is None else joint_set_of(self.facts, self.path)

    def build(self, root: Path, input_size: Size | None) -> PoseCLI:
        """The network with its weights, and a data module for inputs of this size; None is the file's own.

        Raises:
            UserError: If the weights do not fit the settings, or the network cannot take the size.
        """
        size = input_size or self.input_size
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
        built = cli.build(
            [
                "--model=HeatmapEstimation",
                f"--model.joint_set={json.dumps(self.joint_set.plain())}",
                f"--model.network={self.network}",
                *flags(self.init_args),
                *(f"--model.{key}={value}" for key, value in self.settings.items()),
                f"--model.weights={self.path}",
                "--data=PoseData",
                f"--data.root={root}",
                f"--data.batch_size={BATCH_SIZE}",
                f"--data.input_size={json.dumps(size)}",
                "--trainer.devices=1",
            ]
        )
        check_sizes(sides(size), built.model.model.size_step, f"the network of {self.path}")
        return built


def _hourglass(path: Path) -> dict[str, Any]:
    return _known(path, {key: value for key, value in settings_of(path).items() if key != "joints"})


def _known(path: Path, init_args: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a network that say what it is, checked."""
    known = {key: value for key, value in init_args.items() if key not in STARTING_POINTS}
    rules.check(path, known, {key: rule for key, rule in OF_NETWORKS.items() if key in known})
    if foreign := sorted(known.keys() - OF_NETWORKS.keys() - OF_HOURGLASSES):
        raise UserError(f"{path} says that its network has {', '.join(foreign)}, which none has; {AGAIN}")
    return known
