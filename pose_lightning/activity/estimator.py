"""The likeliest classes of photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from pose_lightning.cli import PoseCLI
from pose_lightning.convert.pictures import shrunk
from pose_lightning.predict.answers import Ranking


class Classifier:
    """A run of activity classification, for pictures of any kind and size.

    A picture goes the way of the validation split's: made as small as the store's, then `ActivityData.prepare`.

    Args:
        built: The run with the weights of its checkpoint, from `trained.load`.
        checkpoint: Where they are from.
        step: Of the checkpoint.
    """

    task: Final = "activity"

    def __init__(self, built: PoseCLI, checkpoint: Path, step: int) -> None:
        self.checkpoint, self.step = checkpoint, step
        self.model = built.model.eval()
        self.flip_test = bool(self.model.flip_test)
        self.experiment = str(built.config.experiment)
        self._data: Any = built.datamodule
        self.target, self.synthetic = self._data.target, bool(self._data.synthetic)
        self.classes = tuple(self._data.facts["classes"])
        self._shorter_side = self._data.facts["shorter_side"]

    def probabilities(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, " k"]:
        """Of every class, for an RGB picture."""
        return self.probabilities_of([picture])[0]

    @torch.inference_mode()
    def probabilities_of(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float64[np.ndarray, "n k"]:
        """Of every class, for RGB pictures of any sizes, which go through the network at once."""
        if not pictures:
            return np.empty((0, len(self.classes)))
        small = [shrunk(picture, self._shorter_side) if self._shorter_side else picture for picture in pictures]
        stacked = np.stack([self._data.prepare(picture) for picture in small])
        batch = {
            "image": torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255,
            "target": torch.zeros(len(pictures), len(self.classes)),
            "label": torch.full((len(pictures),), -1),
            "index": torch.arange(len(pictures)),
            "weight": torch.ones(len(pictures)),
        }
        return self.model.predict_step(batch, 0)["preds"].double().numpy()

    def ranking(self, path: Path, found: Float64[np.ndarray, " k"]) -> Ranking:
        """The likeliest classes of a picture by their probabilities."""
        return Ranking.of(path, self.classes, found)


of_run = Classifier
