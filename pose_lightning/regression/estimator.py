"""The joints of a person in clips cut out of films, in mm."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from pose_lightning.cli import PoseCLI
from pose_lightning.joints import H36M, H36M_ROOT
from pose_lightning.predict.containers import LARGEST_DENOMINATOR
from pose_lightning.predict.windows import USUAL_MARGIN
from pose_lightning.regression.data import ClipSource, finish
from pose_lightning.regression.task import ClipRegression


class _Cuts:
    """Clips in memory, served as a clip store serves its own."""

    def __init__(self, clips: Sequence[np.ndarray]) -> None:
        self._clips = clips
        self.path = Path("clips")
        self.shape: tuple[int, ...] | None = clips[0].shape
        self.attrs: Mapping[str, Any] = {"kind": "clips", "joint_set": H36M.name, "root": H36M_ROOT, "units": "mm"}
        joints = np.zeros((len(clips), len(clips[0]), len(H36M), 3), np.float32)
        self.labels: Mapping[str, np.ndarray] = {"joints": joints}

    def __len__(self) -> int:
        return len(self._clips)

    def name(self, index: int) -> str:
        """Its number."""
        return str(index)

    def buffer(self, size: int) -> np.ndarray:
        """Room for `size` clips."""
        return np.empty((size, *self._clips[0].shape), np.uint8)

    def read_into(self, index: int, out: np.ndarray) -> None:
        """The clip's pixels."""
        out[:] = self._clips[index]


class ClipEstimator:
    """A run of clip regression, for films of any size and rate.

    Frames are taken at training's rate, and those of a clip are cut out alike: as large as the store's, then as
    `ClipData` does.

    Args:
        built: The run with the weights of its checkpoint, from `trained.load`.
        checkpoint: Where they are from.
        step: Of the checkpoint.

    Attributes:
        frames: Of a clip.
        rate: Frames per second that it was trained at; None where its store does not know.
        side: Of the store's frames, px.
        margin: On each side of the people there, as a share of the square around them.
    """

    task: Final = "regression"

    def __init__(self, built: PoseCLI, checkpoint: Path, step: int) -> None:
        self.checkpoint, self.step = checkpoint, step
        self.model: ClipRegression = built.model.eval()
        self.flip_test = self.model.flip_test
        self.experiment = str(built.config.experiment)
        data: Any = built.datamodule
        self._input_size = data.input_size
        facts = data.facts
        self.side, self.synthetic = facts["side"], bool(facts["synthetic"])
        rate, margin = facts["frame_rate"], facts["margin"]
        self.frames = data.frames or facts["frames"]
        self.rate = Fraction(rate).limit_denominator(LARGEST_DENOMINATOR) if rate else None
        self.margin = USUAL_MARGIN if margin is None else float(margin)

    @torch.inference_mode()
    def poses(self, clips: Sequence[UInt8[np.ndarray, "t s s 3"]]) -> Float64[np.ndarray, "n t 17 3"]:
        """Of clips as large as the store's: mm, relative to the pelvis, along the camera's axes."""
        source = ClipSource(_Cuts(clips), self._input_size, None, 0, warp_on_device=False)
        buffers = source.allocate(len(clips))
        for index in range(len(clips)):
            source.fill(buffers, index, index, 0)
        batch = finish({key: torch.from_numpy(values) for key, values in buffers.items()}, self._input_size)
        batch |= {"index": torch.arange(len(clips)), "weight": torch.ones(len(clips))}
        return self.model.predict_step(batch, 0)["preds"].numpy()


of_run = ClipEstimator
