"""The joints of people in photographs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import UInt8

from pose_lightning.cli import PoseCLI
from pose_lightning.convert import crops
from pose_lightning.geometry import Size
from pose_lightning.heatmap.data import PERSON, PoseData, PoseSource, finish
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.heatmap.truth import UNIT_LABELS
from pose_lightning.heatmap.weight_file import WeightFile
from pose_lightning.joints import JointSet
from pose_lightning.manner import LARGEST_BATCH, UNSCALED
from pose_lightning.predict.answers import Asked, Pose
from pose_lightning.predict.boxes import Box
from pose_lightning.trained import PLAIN, Manner

CROP: Final = crops.Pixels(images=None)
"""How the converters cut people, where there is no store that says otherwise."""


class _People:
    """People in pictures, served as a pose store serves its samples: cut out and resized in the same way."""

    def __init__(
        self, pictures: Sequence[np.ndarray], boxes: Sequence[Box], joint_set: JointSet, crop: int, box_in_crop: int
    ) -> None:
        self.path = Path("photograph")
        self.pictures, self.shape = pictures, (crop, crop, 3)
        self.attrs = {"kind": "pose", "joint_set": joint_set, "origin": 0, "units": "px", "box_in_crop": box_in_crop}
        center, side = np.array([[box.x, box.y] for box in boxes]), np.array([box.side for box in boxes])
        self._windows = [crops.window(*each, crop, box_in_crop) for each in zip(center, side.tolist(), strict=True)]
        nobody = np.zeros((len(boxes), len(joint_set)), dtype=bool)
        self.labels = {
            "center": center,
            "box": side,
            PERSON: np.array([box.extent for box in boxes], dtype=np.float64),
            "crop": np.array([[x0, y0, crop / length] for x0, y0, length in self._windows]),
            "joints": np.full((len(boxes), len(joint_set), 2), np.nan),
            "labelled": nobody,
            "visible": nobody,
            **{label: np.full(len(boxes), np.nan) for label in UNIT_LABELS.values()},
        }

    def __len__(self) -> int:
        return len(self._windows)

    def read_into(self, index: int, out: np.ndarray) -> None:
        out[:] = crops.cut(self.pictures[index], *self._windows[index], self.shape[0])


class PoseEstimator:
    """A network of heatmaps, for people in pictures of any kind and size.

    A person goes the way of the validation split's: cut out as the converter cuts, then what `PoseData` does.

    Args:
        model: Asked as it is set (`Manner.apply`).
        data: Of its input size, and of the scales that it is asked at.
        name: Who it is.
        facts: Where its weights are from.

    Attributes:
        joint_set: Of the poses.
        taught: Which joints its training store has; all where there is no store.
        synthetic: Whether that is of drawn people; None where nobody knows.
        input_size: Of the network's input, px.
        manner: How it is asked.
    """

    task: Final = "heatmap"

    def __init__(self, model: HeatmapEstimation, data: PoseData, name: str, facts: dict[str, Any]) -> None:
        self.model, self.name, self.facts = model.eval(), name, facts
        self.joint_set = model.joint_set
        self.input_size, self._scales = data.input_size, data.scales
        self.manner = {"flip_test": model.flip_test, "scales": list(model.scales), "decoding": model.decoding}
        self.taught: np.ndarray = np.ones(len(model.joint_set), dtype=bool)
        self.synthetic: bool | None = None
        self._crop, self._box_in_crop = CROP.crop, CROP.box_in_crop

    @classmethod
    def of_run(cls, built: PoseCLI, checkpoint: Path, step: int) -> "PoseEstimator":
        """A run with the weights of its checkpoint, from `trained.load`."""
        data: Any = built.datamodule
        facts = {"checkpoint": str(checkpoint), "step": step}
        made = cls(built.model, data, str(built.config.experiment), facts)
        made.taught = np.array(data.facts["taught"])
        made.synthetic = bool(data.facts["synthetic"])
        made._crop, made._box_in_crop = data.facts["crop"] or CROP.crop, data.facts["box_in_crop"] or CROP.box_in_crop
        return made

    @classmethod
    def of_weights(cls, file: WeightFile, *, input_size: Size | None = None, manner: Manner = PLAIN) -> "PoseEstimator":
        """The network of a file of weights, shown people as its run does; one that others published, as converters do.

        Raises:
            UserError: If the weights are not what the file says, or the network cannot take inputs of this size.
        """
        built = file.build(file.path.parent, input_size)
        manner.apply(built.model, built.datamodule)
        model: Any = built.model
        about, facts = file.facts, {"weights": str(file.path)}
        if about is None:
            return cls(model, built.datamodule, file.path.stem, facts)
        origin = {"checkpoint": about.checkpoint, "step": about.step}
        made = cls(model, built.datamodule, about.experiment, facts | origin)
        made.taught, made.synthetic = file.taught, about.synthetic
        made._crop, made._box_in_crop = about.details["crop"], about.details["box_in_crop"]
        return made

    def poses(self, picture: UInt8[np.ndarray, "h w 3"], boxes: Sequence[Box]) -> list[Pose]:
        """Of the people in these boxes of an RGB picture."""
        return self.poses_in([(picture, boxes)], LARGEST_BATCH)[0]

    @torch.inference_mode()
    def poses_in(self, asked: Sequence[Asked], batch_size: int) -> list[list[Pose]]:
        """Of the people in each of these pictures, up to `batch_size` of them in the network at once."""
        boxes = [box for _, listed in asked for box in listed]
        if not boxes:
            return [[] for _ in asked]
        pictures = [picture for picture, listed in asked for _ in listed]
        people: Any = _People(pictures, boxes, self.joint_set, self._crop, self._box_in_crop)
        source = PoseSource(people, self.input_size, None, 0, warp_on_device=False, scales=self._scales)
        largest = batch_size if self._scales == UNSCALED else max(1, batch_size // len(self._scales))
        poses: list[Pose] = []
        for start in range(0, len(people), largest):
            chosen = range(start, min(start + largest, len(people)))
            buffers = source.allocate(len(chosen))
            for position, index in enumerate(chosen):
                source.fill(buffers, position, index, 0)
            batch = finish({key: torch.from_numpy(values) for key, values in buffers.items()}, self.input_size)
            batch |= {"index": torch.arange(len(chosen)), "weight": torch.ones(len(chosen))}
            found = self.model.predict_step(batch, 0)
            for index, joints, confidence in zip(chosen, found["preds"], found["confidence"], strict=True):
                where = np.where(self.taught[:, None], joints.double().numpy(), np.nan)
                poses.append(Pose(boxes[index], where, confidence.double().numpy()))
        ends = np.cumsum([len(listed) for _, listed in asked]).tolist()
        return [poses[end - len(listed) : end] for end, (_, listed) in zip(ends, asked, strict=True)]


of_run, of_weights = PoseEstimator.of_run, PoseEstimator.of_weights
