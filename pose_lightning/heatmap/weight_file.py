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
from pose_lightning.exported.rules import Rule
from pose_lightning.heatmap.exported import OnnxJoints, joint_set_of
from pose_lightning.heatmap.loss import LossName
from pose_lightning.heatmap.model import check_sizes, read_joint_set, settings_of
from pose_lightning.heatmap.networks import OWN, NetworkName, flags
from pose_lightning.heatmap.vit import DecoderName
from pose_lightning.joints import JointSet
from pose_lightning.settings import STARTING_POINTS

INPUT_SIZE: Final = 256
"""Px, where the file does not say: that of the networks that others published."""

BATCH_SIZE: Final = 16

SETTINGS: Final[Mapping[str, Rule]] = {
    "network": rules.one_of(get_args(NetworkName)),
    "loss": rules.one_of(get_args(LossName)),
    "channels_last": rules.YES_OR_NO,
}
"""Of every run."""

OF_NETWORKS: Final[Mapping[str, Rule]] = {
    "stacks": rules.whole(1, 64),
    "features": rules.whole(1, 4096),
    "depth": rules.whole(1, 10),
    "backbone": Rule("a name of timm", lambda value: isinstance(value, str) and bool(re.fullmatch(r"[\w.]+", value))),
    "decoder": rules.one_of(get_args(DecoderName)),
    "drop_path": Rule("a number from 0 to 1", lambda value: rules.is_number(value) and 0 <= value <= 1),
}

DETAILS: Final = ("decoding", "sigma", "grid")
"""Those that are settings too."""


@dataclass(frozen=True)
class WeightFile:
    """A file of weights, and what it says of their network.

    Attributes:
        path: The file.
        settings: Of the network and of how it is asked, as `HeatmapEstimation` takes them.
        facts: Of the run that they are of; None in the files of `heatmap.published`, which others trained.
    """

    path: Path
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
            return cls(path, _hourglass(path), None)
        facts = Facts.from_metadata(metadata, path)
        if facts.task != "heatmap":
            raise UserError(
                f"{path} is a network of {facts.task}; --weights takes those of heatmaps: name the run's directory, or "
                "the file of `python -m pose_lightning.export RUN_DIR --format onnx`"
            )
        rules.check(path, facts.stated, OnnxJoints.wanted(facts, path))
        rules.check(path, facts.model, SETTINGS)
        settings = {key: facts.model[key] for key in SETTINGS} | {key: facts.details[key] for key in DETAILS}
        hourglass = settings["network"] == "hourglass"
        return cls(path, settings | (_hourglass(path) if hourglass else _with_backbone(path, facts)), facts)

    @property
    def input_size(self) -> int:
        """Side of the network's input, px."""
        return INPUT_SIZE if self.facts is None else self.facts.input.shape[-1]

    @property
    def taught(self) -> np.ndarray:
        """Which joints the network was taught; all where nobody knows."""
        return ~np.isin(self.joint_set.names, [] if self.facts is None else self.facts.details["joints_never_taught"])

    @property
    def joint_set(self) -> JointSet:
        """Of the network."""
        return read_joint_set(self.path) if self.facts is None else joint_set_of(self.facts, self.path)

    def build(self, root: Path, input_size: int | None) -> PoseCLI:
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
                *flags(self.settings),
                f"--model.weights={self.path}",
                "--data=PoseData",
                f"--data.root={root}",
                f"--data.batch_size={BATCH_SIZE}",
                f"--data.input_size={size}",
                "--trainer.devices=1",
            ]
        )
        check_sizes((size,), built.model.model.size_step, f"the network of {self.path}")
        return built


def _hourglass(path: Path) -> dict[str, Any]:
    settings = {key: value for key, value in settings_of(path).items() if key != "joints"}
    rules.check(path, settings, {key: rule for key, rule in OF_NETWORKS.items() if key in settings})
    return settings


def _with_backbone(path: Path, facts: Facts) -> dict[str, Any]:
    """The settings of another network, as far as the run set them."""
    own = [key for key in OWN[facts.model["network"]] if key not in STARTING_POINTS]
    settings = {key: facts.model[key] for key in own if facts.model.get(key) is not None}
    rules.check(path, settings, {key: rule for key, rule in OF_NETWORKS.items() if key in settings})
    return settings
