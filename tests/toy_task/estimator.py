"""The network of a run."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from pose_lightning.cli import PoseCLI
from tests.toy_task.data import SIDE


@dataclass
class Estimator:
    """As `answers` takes it."""

    built: PoseCLI
    checkpoint: Path
    step: int
    task = "toy"

    def brightness(self, picture: np.ndarray) -> float:
        """Of a picture of any size."""
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        with torch.no_grad():
            return float(self.built.model(torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255))


of_run = Estimator
