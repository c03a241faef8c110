"""Exported networks of activities: the same answers as `estimator` gives, without PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning.activity.exported import OnnxActivities
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.predict.answers import Ranking
from pose_lightning.predict.onnx import OfFile


class OnnxClassifier(OfFile):
    """An exported network of activity classification, for pictures of any kind and size."""

    task: Final = "activity"

    def __init__(self, activities: OnnxActivities) -> None:
        super().__init__(activities)
        self._activities = activities
        self.classes, self.target = activities.classes, activities.target

    def probabilities(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, " k"]:
        """Of every class, for an RGB picture."""
        return self.probabilities_of([picture])[0]

    def probabilities_of(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float64[np.ndarray, "n k"]:
        """Of every class, for RGB pictures of any sizes, which go through the network at once."""
        return self._activities.probabilities(pictures)

    def ranking(self, path: Path, found: Float64[np.ndarray, " k"]) -> Ranking:
        """The likeliest classes of a picture by their probabilities."""
        return Ranking.of(path, self.classes, found)


def of_file(network: OnnxNetwork, *, flip_test: bool) -> OnnxClassifier:
    """That of a file."""
    return OnnxClassifier(OnnxActivities(network, flip_test=flip_test))
