"""The joints of people in photographs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64, UInt8

from pose_lightning import draw
from pose_lightning.cli import PoseCLI
from pose_lightning.convert import crops
from pose_lightning.heatmap.data import PoseData, PoseSource, finish
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.heatmap.testing import UNSCALED
from pose_lightning.joints import MPII
from pose_lightning.predict.boxes import Box
from pose_lightning.predict.pictures import Photographs
from pose_lightning.runs import write_json
from pose_lightning.trained import LARGEST_BATCH, PLAIN, Manner

Boxes = Callable[[Path, int, int], Sequence[Box]]
"""From an image's file, width and height to the people in it."""

CROP: Final = crops.Pixels(images=None)
"""How the converters cut people, where there is no store that says otherwise."""


@dataclass(frozen=True, eq=False)
class Pose:
    """One person's joints, in MPII's order.

    Attributes:
        box: What the network was shown.
        joints: Image px; NaN where the network was never taught the joint.
        confidence: Height of each joint's peak; networks differ in how high a sure one is.
    """

    box: Box
    joints: Float64[np.ndarray, "16 2"]
    confidence: Float64[np.ndarray, " 16"]


class _People:
    """People in one photograph, served as a pose store serves its samples: cut out and resized in the same way."""

    def __init__(self, picture: UInt8[np.ndarray, "h w 3"], boxes: Sequence[Box], crop: int, box_in_crop: int) -> None:
        self.path = Path("photograph")
        self.picture, self.shape = picture, (crop, crop, 3)
        self.attrs = {"kind": "pose", "joint_set": MPII.name, "origin": 0, "units": "px", "box_in_crop": box_in_crop}
        center, side = np.array([[box.x, box.y] for box in boxes]), np.array([box.side for box in boxes])
        self._windows = [crops.window(*each, crop, box_in_crop) for each in zip(center, side.tolist(), strict=True)]
        nobody = np.zeros((len(boxes), len(MPII)), dtype=bool)
        self.labels = {
            "center": center,
            "box": side,
            "crop": np.array([[x0, y0, crop / length] for x0, y0, length in self._windows]),
            "joints": np.full((len(boxes), len(MPII), 2), np.nan),
            "labelled": nobody,
            "visible": nobody,
            "head_size": np.full(len(boxes), np.nan),
        }

    def __len__(self) -> int:
        return len(self._windows)

    def read_into(self, index: int, out: np.ndarray) -> None:
        out[:] = crops.cut(self.picture, *self._windows[index], self.shape[0])


class PoseEstimator:
    """A network of heatmaps, for people in pictures of any kind and size.

    A person goes the way of the validation split's: cut out as the converter cuts, then what `PoseData` does.

    Args:
        model: Asked as it is set (`Manner.apply`).
        data: Of its input size, and of the scales that it is asked at.
        name: Who it is.
        facts: Where its weights are from.
    """

    def __init__(self, model: HeatmapEstimation, data: PoseData, name: str, facts: dict[str, Any]) -> None:
        self.model, self.name, self.facts = model.eval(), name, facts
        self._input_size, self._scales = data.input_size, data.scales
        self.taught: np.ndarray = np.ones(len(MPII), dtype=bool)
        self.synthetic: bool | None = None
        self._crop, self._box_in_crop = CROP.crop, CROP.box_in_crop
        if not data.store_path("train").is_file():
            return
        with data.store("train") as store:
            self.taught = np.any(store.labels["labelled"], axis=0)
            self.synthetic = bool(store.attrs["synthetic"])
            if store.shape is not None:
                self._crop, self._box_in_crop = store.shape[0], int(store.attrs["box_in_crop"])

    @classmethod
    def of_run(cls, built: PoseCLI, checkpoint: Path, step: int) -> "PoseEstimator":
        """A run with the weights of its checkpoint, from `trained.load`."""
        name = str(built.config.experiment)
        return cls(built.model, built.datamodule, name, {"checkpoint": str(checkpoint), "step": step})

    @classmethod
    def of_weights(cls, path: Path, *, input_size: int, manner: Manner = PLAIN) -> "PoseEstimator":
        """The hourglass of a file, as `heatmap.published` writes them.

        Raises:
            UserError: If it is no such file, or the input has a size that the network cannot halve.
        """
        model = HeatmapEstimation.from_weights(path)
        network: Any = model.model
        network.check_input_size(input_size)
        data = PoseData(path.parent / "no store", 1, input_size=input_size)
        manner.apply(model, data)
        return cls(model, data, path.stem, {"weights": str(path)})

    @torch.inference_mode()
    def poses(self, picture: UInt8[np.ndarray, "h w 3"], boxes: Sequence[Box]) -> list[Pose]:
        """Of the people in these boxes of an RGB picture."""
        people: Any = _People(picture, boxes, self._crop, self._box_in_crop)
        source = PoseSource(people, self._input_size, None, 0, warp_on_device=False, scales=self._scales)
        largest = LARGEST_BATCH if self._scales == UNSCALED else LARGEST_BATCH // len(self._scales)
        poses: list[Pose] = []
        for start in range(0, len(people), largest):
            chosen = range(start, min(start + largest, len(people)))
            buffers = source.allocate(len(chosen))
            for position, index in enumerate(chosen):
                source.fill(buffers, position, index, 0)
            batch = finish({key: torch.from_numpy(values) for key, values in buffers.items()}, self._input_size)
            batch |= {"index": torch.arange(len(chosen)), "weight": torch.ones(len(chosen))}
            found = self.model.predict_step(batch, 0)
            for index, joints, confidence in zip(chosen, found["preds"], found["confidence"], strict=True):
                where = np.where(self.taught[:, None], joints.double().numpy(), np.nan)
                poses.append(Pose(boxes[index], where, confidence.double().numpy()))
        return poses


def predict_poses(
    estimator: PoseEstimator, paths: Sequence[Path], *, boxes: Boxes, folder: Path, json: Path | None = None
) -> dict[Path, list[Pose]]:
    """Draw the people of every picture into `folder`, and write their joints to `json`, or `joints.json` in it.

    Raises:
        UserError: If a box is outside its picture; and, when all others are done, if a picture cannot be read.
    """
    photographs = Photographs(paths, folder)
    print(f"predicting joints with {estimator.name} ({_said(estimator.facts)})", flush=True)
    if estimator.synthetic:
        print("trained on SYNTHETIC (demo) people: photographs are nothing that it knows", flush=True)
    found: dict[Path, list[Pose]] = {}
    pictures: list[dict[str, Any]] = []
    for path, picture in photographs:
        height, width = picture.shape[:2]
        asked = boxes(path, width, height)
        for box in asked:
            box.check(width, height, path)
        poses = found[path] = estimator.poses(picture, asked)
        drawn = photographs.write(path, _drawn(estimator, path, picture, poses))
        sure = np.mean([pose.confidence[estimator.taught].mean() for pose in poses])
        print(f"{path}: {len(poses)} {'person' if len(poses) == 1 else 'people'}, mean confidence {sure:.3g}")
        people = [_pose_json(pose) for pose in poses]
        pictures.append({"file": str(path), "width": width, "height": height, "overlay": str(drawn), "people": people})
    target = folder / "joints.json" if json is None else json
    write_json(target, _to_json(estimator, pictures, photographs))
    for place in [*photographs.written, target]:
        print(place)
    photographs.check()
    return found


def _said(facts: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _drawn(estimator: PoseEstimator, path: Path, picture: draw.Picture, poses: Sequence[Pose]) -> draw.Picture:
    corners = np.array([[pose.box.x - pose.box.side / 2, pose.box.y - pose.box.side / 2] for pose in poses])
    boxes = np.concatenate([corners, [[pose.box.side] for pose in poses]], axis=1)
    lines = [
        f"{path.name}   {estimator.name}{' (synthetic data)' if estimator.synthetic else ''}",
        "pink: the person's right, blue: left; the box is what the network was shown",
    ]
    return draw.people(picture, np.stack([pose.joints for pose in poses]), boxes, lines)


def _pose_json(pose: Pose) -> dict[str, Any]:
    rows = zip(MPII.names, pose.joints.tolist(), pose.confidence.tolist(), strict=True)
    return {
        "box": {"center": [pose.box.x, pose.box.y], "side": pose.box.side, "from": pose.box.source},
        "joints": [
            {"name": name, "x": x, "y": y, "confidence": sure}
            for name, (x, y), sure in rows
            if np.isfinite([x, y]).all()
        ],
    }


def _to_json(estimator: PoseEstimator, pictures: list[dict[str, Any]], photographs: Photographs) -> dict[str, Any]:
    model = estimator.model
    untaught = [name for name, taught in zip(MPII.names, estimator.taught, strict=True) if not taught]
    return {
        "network": estimator.name,
        **estimator.facts,
        "flip_test": model.flip_test,
        "scales": list(model.scales),
        "decoding": model.decoding,
        "synthetic": estimator.synthetic,
        "px": "of the upright image; (0, 0) is the centre of its first px",
        "confidence": "height of the joint's peak in the heatmap",
        "joints_never_taught": untaught,
        "pictures": pictures,
        "unreadable": photographs.to_json(),
    }
