"""Probabilities of classes, from an exported activity network."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning.activity.framing import Framing
from pose_lightning.convert.pictures import shrunk
from pose_lightning.exported.heatmap import as_input
from pose_lightning.exported.session import OnnxNetwork


class OnnxActivities:
    """Classifies pictures as the run that was exported does, without PyTorch.

    Args:
        network: Of activities.
        flip_test: Average with what the mirrored picture gives.

    Attributes:
        classes: Or tags, by number.
        target: What they are: `category`, `activity` or `tags`.

    Raises:
        UserError: If the network is of another task.
    """

    def __init__(self, network: OnnxNetwork, *, flip_test: bool = False) -> None:
        details = network.details("activity", "target", "classes", "fit", "crop_share", "shorter_side")
        self.network, self.flip_test = network, flip_test
        self.classes, self.target = tuple(details["classes"]), str(details["target"])
        self._framing = Framing(network.facts.input.shape[-1], details["fit"], details["crop_share"])
        self._shorter_side: int | None = details["shorter_side"]

    def probabilities(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float64[np.ndarray, "n k"]:
        """Of every class, for RGB pictures of any size."""
        if not pictures:
            return np.empty((0, len(self.classes)))
        small = [shrunk(picture, self._shorter_side) if self._shorter_side else picture for picture in pictures]
        images = as_input(np.stack([self._framing.show(picture) for picture in small]))
        found = self.network(images)
        if self.flip_test:
            found = (found + self.network(np.ascontiguousarray(images[..., ::-1]))) / 2
        return found.astype(np.float64)
