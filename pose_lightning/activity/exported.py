"""Probabilities of classes, from an exported activity network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning.activity.framing import FitName, Framing
from pose_lightning.activity.truth import Target
from pose_lightning.convert.pictures import shrunk
from pose_lightning.exported import rules
from pose_lightning.exported.estimator import OnnxEstimator, as_input
from pose_lightning.exported.facts import LARGEST_AXIS, Facts
from pose_lightning.exported.rules import Rule
from pose_lightning.exported.session import OnnxNetwork


class OnnxActivities(OnnxEstimator):
    """Classifies pictures as the run that was exported does, without PyTorch.

    Args:
        network: Of activities.
        flip_test: Average with what the mirrored picture gives.

    Attributes:
        classes: Or tags, by number.
        target: What they are: `category`, `activity` or `tags`.

    Raises:
        UserError: As `OnnxEstimator`.
    """

    task: ClassVar[str] = "activity"

    def __init__(self, network: OnnxNetwork, *, flip_test: bool = False) -> None:
        super().__init__(network, flip_test=flip_test)
        self.classes, self.target = tuple(self.details["classes"]), str(self.details["target"])
        self._framing = Framing(self.input_size, self.details["fit"], self.details["crop_share"])
        self._shorter_side: int | None = self.details["shorter_side"]

    @staticmethod
    def wanted(facts: Facts, path: Path) -> Mapping[str, Rule]:
        """As `exporting` writes them.

        `target`, `classes`; `fit` and `crop_share` of `framing.whole`; `shorter_side`, px, that pictures are first made
        as small as.
        """
        side, count = facts.input.shape[-1], facts.output.shape[-1]
        return {
            "input shape": rules.exactly((3, side, side)),
            "output shape": rules.exactly((count,)),
            "target": rules.one_of(get_args(Target)),
            "classes": rules.names(count),
            "fit": rules.one_of(get_args(FitName)),
            "crop_share": rules.above(0.0, 1.0),
            "shorter_side": rules.optional(rules.whole(1, LARGEST_AXIS)),
        }

    def probabilities(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float64[np.ndarray, "n k"]:
        """Of every class, for RGB pictures of any size."""
        if not pictures:
            return np.empty((0, len(self.classes)))
        small = [shrunk(picture, self._shorter_side) if self._shorter_side else picture for picture in pictures]
        images = as_input(np.stack([self._framing.show(picture) for picture in small]))
        return self.answers(images).astype(np.float64)
