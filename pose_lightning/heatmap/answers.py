"""The joints of people in photographs and videos: pictures with skeletons, `joints.json` and `joints.csv`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np

from pose_lightning import draw
from pose_lightning.geometry import Size
from pose_lightning.joints import JointSet
from pose_lightning.predict.answers import Asked, Pose, check_numbers, marked, say_data
from pose_lightning.predict.boxes import LARGEST_SIDE, Box, in_frame
from pose_lightning.predict.containers import STILLS
from pose_lightning.predict.films import Film, Frame, batches, of_one_size
from pose_lightning.predict.inputs import Inputs
from pose_lightning.predict.pictures import Photographs, Progress, Troubles, in_batches, unused, usable
from pose_lightning.predict.places import Places, WholePicture
from pose_lightning.predict.recording import Annotated
from pose_lightning.predict.request import Request
from pose_lightning.predict.results import CsvFile, JsonFile, Names
from pose_lightning.terminal import say

COLUMNS: Final = ("file", "frame", "person", "joint", "x", "y", "confidence")


class Estimator(Protocol):
    """What says where joints are, such as `poses.PoseEstimator`."""

    name: str
    facts: dict[str, Any]
    manner: dict[str, Any]
    synthetic: bool | None
    joint_set: JointSet
    taught: np.ndarray
    input_size: Size

    def poses_in(self, asked: Sequence[Asked], batch_size: int) -> list[list[Pose]]:
        """Of the people in each of these pictures."""


def predict(estimator: Estimator, request: Request) -> None:
    """Answer a command line; without a box the whole picture is the person."""
    inputs = request.pictures()
    predict_poses(estimator, inputs, boxes=request.boxes(inputs) or WholePicture(), **request.common)


def predict_poses(
    estimator: Estimator, inputs: Inputs, *, boxes: Places, folder: Path, json: Path | None, batch_size: int
) -> None:
    """Draw the people of every picture and video into `folder`, and write their joints to `joints.csv` in it.

    Args:
        estimator: The network.
        inputs: What to predict on.
        boxes: Where people are.
        folder: Gets the files.
        json: Gets the joints too; None is `joints.json` in the folder.
        batch_size: People in the network at once, and frames in memory.

    Raises:
        UserError: When all others are done, if something cannot be read, or a box is outside its picture.
    """
    photographs = Photographs(inputs.photographs, folder, [json] if json else [])
    troubles = Troubles(inputs)
    asking = _Asking(estimator, boxes, troubles, batch_size)
    say(f"predicting joints with {estimator.name} ({_said(estimator.facts)})")
    say_data(estimator.synthetic, "people", "photographs")
    target = folder / "joints.json" if json is None else json
    table = photographs.names.new("joints", ".csv")
    with JsonFile(target) as numbers, CsvFile(table, COLUMNS) as rows:
        for key, value in _facts(estimator).items():
            numbers.item(value, key)
        numbers.begin("[", "pictures")
        for path, picture, poses in asking.in_pictures(photographs):
            drawn = photographs.write(path, _drawn(estimator, path, picture, poses))
            _say(path, poses, estimator)
            height, width = picture.shape[:2]
            people = [_pose_json(pose, estimator) for pose in poses]
            facts = {"file": str(path), "width": width, "height": height, "overlay": str(drawn), "people": people}
            numbers.item(facts)
            rows.rows(_rows(path, "", poses, estimator.joint_set))
        numbers.end()
        numbers.begin("[", "videos")
        for film in inputs.films:
            _predict_film(film, asking.in_film(film), estimator, photographs.names, troubles, (numbers, rows))
        numbers.end()
        numbers.item(photographs.to_json() + troubles.to_json(), "unreadable")
        if photographs.names.given == [table]:
            troubles.check(photographs)  # before files get their names: those of an earlier call stay
    for place in [*photographs.names.given, target]:
        say(place)
    troubles.check(photographs)


@dataclass(frozen=True)
class _Asking:
    """Shows pictures to the network."""

    estimator: Estimator
    boxes: Places
    troubles: Troubles
    batch_size: int

    def in_pictures(self, photographs: Photographs) -> Iterator[tuple[Path, draw.Picture, list[Pose]]]:
        """Every readable photograph and its people; those whose boxes all make no sense are troubles."""
        for paths, pictures in in_batches(photographs, self.batch_size):
            found: list[tuple[Path, draw.Picture, list[Box]]] = []
            for path, picture in zip(paths, pictures, strict=True):
                height, width = picture.shape[:2]
                listed = self.boxes.of_picture(path, width, height)
                shown = usable(listed, width, height, path, self.troubles)
                if shown or not listed:
                    found.append((path, picture, shown))
            poses = self._poses([(picture, shown) for _, picture, shown in found])
            for (path, picture, _), each in zip(found, poses, strict=True):
                yield path, picture, each

    def in_film(self, film: Film) -> Iterator[tuple[Frame, list[Pose]]]:
        """Every frame and its people; nobody where it cannot be read."""
        listed: Sequence[Box] | None = None
        count = 0
        for batch in batches(of_one_size(film), self.batch_size):
            asked: list[Asked] = []
            count += len(batch)
            for frame in batch:
                if frame.picture is None:
                    continue
                if listed is None:
                    height, width = frame.picture.shape[:2]
                    listed = usable(
                        self.boxes.of_film(film.path, width, height), width, height, film.path, self.troubles
                    )
                asked.append((frame.picture, in_frame(listed, frame.number)))
            found = iter(self._poses(asked))
            for frame in batch:
                yield frame, [] if frame.picture is None else next(found)
        unused(listed or [], count, film.path, self.troubles)

    def _poses(self, asked: Sequence[Asked]) -> list[list[Pose]]:
        """Of the people in each of these pictures, the large ones of which are made smaller first."""
        factors = [math.ceil(max((box.side for box in listed), default=0) / LARGEST_SIDE) or 1 for _, listed in asked]
        small = [_shrunk(*each, factor) for each, factor in zip(asked, factors, strict=True)]
        found = self.estimator.poses_in(small, self.batch_size)
        for pose in (pose for poses in found for pose in poses):
            numbers = np.column_stack([pose.joints, pose.confidence])[self.estimator.taught]
            check_numbers(numbers, f"{self.estimator.name} ({_said(self.estimator.facts)})")
        return [
            [
                Pose(box, (pose.joints + 0.5) * factor - 0.5, pose.confidence)
                for box, pose in zip(listed, poses, strict=True)
            ]
            for (_, listed), poses, factor in zip(asked, found, factors, strict=True)
        ]


def _shrunk(picture: draw.Picture, listed: Sequence[Box], factor: int) -> Asked:
    """Every `factor` by `factor` px as one; black outside the picture, as it is when people are cut out."""
    if factor == 1:
        return picture, listed
    below, beside = (-length % factor for length in picture.shape[:2])
    whole = cv2.copyMakeBorder(picture, 0, below, 0, beside, cv2.BORDER_CONSTANT)
    size = (whole.shape[1] // factor, whole.shape[0] // factor)
    smaller = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return smaller, [box.shrunk(factor) for box in listed]


def _predict_film(
    film: Film,
    found: Iterator[tuple[Frame, list[Pose]]],
    estimator: Estimator,
    names: Names,
    troubles: Troubles,
    files: tuple[JsonFile, CsvFile],
) -> None:
    """One annotated video, as large and as fast as the film."""
    numbers, rows = files
    target, rate = names.new(film.name, "-joints.mp4"), film.rate or STILLS
    title = marked(estimator.name, estimator.synthetic)
    numbers.begin("{")
    numbers.item(str(film.path), "file")
    numbers.item(float(rate), "frames_per_second")
    numbers.begin("[", "frames")
    confidences: list[float] = []
    with Annotated(target, rate) as video, Progress(film) as progress:
        for frame, poses in found:
            progress.advance()
            if frame.picture is None:
                troubles.add(film, frame)
                video.skip(frame)
                continue
            video.show(frame, _drawn_in_frame(frame.picture, poses, estimator, title))
            people = [_pose_json(pose, estimator) for pose in poses]
            numbers.item({"frame": frame.number, "time": frame.time, "people": people})
            rows.rows(_rows(film.path, frame.number, poses, estimator.joint_set))
            confidences += [_sure([pose], estimator) for pose in poses]
    numbers.end()
    numbers.item(str(target) if video.readable else None, "overlay")
    numbers.end()
    if not video.readable:
        names.given.remove(target)
    sure = f", mean confidence {np.mean(confidences):.3g}" if confidences else ""
    said = f"; {target.name}: {video.note}" if video.note else ""
    say(f"{film.path}: {video.readable} frames, {len(confidences)} poses{sure}{said}")


def _say(path: Path, poses: Sequence[Pose], estimator: Estimator) -> None:
    people = f"{len(poses)} {'person' if len(poses) == 1 else 'people'}"
    sure = f", mean confidence {_sure(poses, estimator):.3g}" if poses else ""
    say(f"{path}: {people}{sure}")


def _sure(poses: Sequence[Pose], estimator: Estimator) -> float:
    return float(np.mean([pose.confidence[estimator.taught].mean() for pose in poses]))


def _said(facts: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _drawn(estimator: Estimator, path: Path, picture: draw.Picture, poses: Sequence[Pose]) -> draw.Picture:
    lines = [
        marked(f"{path.name}   {estimator.name}", estimator.synthetic),
        "pink: the person's right, blue: left; the box is what the network was shown",
    ]
    joints, boxes = _places(poses, estimator)
    return draw.people(picture, joints, estimator.joint_set, boxes, lines)


def _drawn_in_frame(picture: draw.Picture, poses: Sequence[Pose], estimator: Estimator, title: str) -> draw.Picture:
    """As large as the frame."""
    joints, boxes = _places(poses, estimator)
    drawn = draw.people(picture, joints, estimator.joint_set, boxes, side=max(picture.shape[:2]))
    return draw.label(drawn, [title])


def _places(poses: Sequence[Pose], estimator: Estimator) -> tuple[np.ndarray, np.ndarray]:
    """Joints (n, j, 2), and boxes (n, 4) as left edge, top edge, width and height."""
    joints = np.stack([pose.joints for pose in poses]) if poses else np.empty((0, len(estimator.joint_set), 2))
    boxes = [pose.box.shown(estimator.input_size) for pose in poses]
    return joints, np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _pose_json(pose: Pose, estimator: Estimator) -> dict[str, Any]:
    *_, width, height = pose.box.shown(estimator.input_size)
    box = {"center": [pose.box.x, pose.box.y], "width": width, "height": height, "from": pose.box.source}
    rows = _joints(pose, estimator.joint_set)
    return {"box": box, "joints": [dict(zip(("name", "x", "y", "confidence"), row, strict=True)) for row in rows]}


def _joints(pose: Pose, joint_set: JointSet) -> list[tuple[str, float, float, float]]:
    """Name, x, y and confidence of those that the network was taught."""
    rows = zip(joint_set.names, pose.joints.tolist(), pose.confidence.tolist(), strict=True)
    return [(name, x, y, sure) for name, (x, y), sure in rows if np.isfinite([x, y]).all()]


def _rows(path: Path, frame: int | str, poses: Sequence[Pose], joint_set: JointSet) -> list[list[Any]]:
    return [
        [path, frame, person, name, f"{x:.3f}", f"{y:.3f}", f"{sure:.5g}"]
        for person, pose in enumerate(poses, start=1)
        for name, x, y, sure in _joints(pose, joint_set)
    ]


def _facts(estimator: Estimator) -> dict[str, Any]:
    joint_set = estimator.joint_set
    untaught = [name for name, taught in zip(joint_set.names, estimator.taught, strict=True) if not taught]
    return {
        "network": estimator.name,
        **estimator.facts,
        **estimator.manner,
        "synthetic": estimator.synthetic,
        "px": "of the upright image; (0, 0) is the centre of its first px",
        "confidence": "height of the joint's peak in the heatmap",
        "joint_set": joint_set.name,
        "joints_never_taught": untaught,
    }
