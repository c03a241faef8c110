"""Exported networks of every task, asked by onnxruntime, say what the run says."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pose_lightning import trained
from pose_lightning.activity.exported import OnnxActivities
from pose_lightning.export.networks import Exportable
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.heatmap.exported import OnnxJoints
from pose_lightning.predict import Classifier, PoseEstimator
from pose_lightning.predict.boxes import Box
from pose_lightning.regression.exported import OnnxPoses
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store
from pose_lightning.trained import Manner

PEOPLE = (Box(60.0, 70.0, 90.0, ""), Box(110.5, 40.25, 150.0, ""), Box(30.0, 90.0, 50.0, ""))


def photograph(height: int = 140, width: int = 170) -> np.ndarray:
    small = np.random.default_rng(3).integers(256, size=(14, 17, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize(
    ("flip_test", "decoding"), [(False, None), (True, "quarter"), (True, "soft_argmax")], ids=["plain", "flip", "soft"]
)
def test_joints_of_a_file_are_those_of_the_run(
    flip_test: bool, decoding: str | None, files: dict[str, Path], runs: dict[str, RunDirectory]
) -> None:
    network = OnnxNetwork(files["heatmap"])
    found = OnnxJoints(network, flip_test=flip_test, decoding=decoding)
    places = np.array([[box.x, box.y, box.side, *box.extent] for box in PEOPLE])
    joints, confidence = found.joints([photograph()] * len(PEOPLE), places)
    manner = Manner(flip_test=flip_test, decoding=decoding)  # type: ignore[arg-type]
    expected = PoseEstimator.of_run(*trained.load(runs["heatmap"], manner=manner)).poses(photograph(), PEOPLE)
    assert found.decoding == (decoding or "dark")
    for person, pose in enumerate(expected):
        assert_allclose(joints[person][found.taught], pose.joints[found.taught], atol=2e-3 * PEOPLE[person].side / 64)
        assert_allclose(confidence[person], pose.confidence, atol=1e-5)
    assert np.ptp(joints, axis=0).max() > 10


@pytest.mark.parametrize("flip_test", [False, True], ids=["plain", "flip"])
def test_probabilities_of_a_file_are_those_of_the_run(
    flip_test: bool, files: dict[str, Path], runs: dict[str, RunDirectory]
) -> None:
    pictures = [photograph(), photograph(400, 300), photograph(48, 64)]
    found = OnnxActivities(OnnxNetwork(files["activity"]), flip_test=flip_test)
    classifier = Classifier(*trained.load(runs["activity"], manner=Manner(flip_test=flip_test)))
    expected = np.stack([classifier.probabilities(picture) for picture in pictures])
    assert_allclose(found.probabilities(pictures), expected, atol=1e-6)
    assert found.classes == classifier.classes


@pytest.mark.parametrize("flip_test", [False, True], ids=["plain", "flip"])
def test_poses_of_a_file_are_those_of_the_run(
    flip_test: bool, files: dict[str, Path], runs: dict[str, RunDirectory], demo_clip_stores: Path
) -> None:
    found = OnnxPoses(OnnxNetwork(files["regression"]), flip_test=flip_test)
    built = trained.load(runs["regression"], manner=Manner(flip_test=flip_test))[0]
    expected = trained.predict(built, "val")["preds"]
    with Store(demo_clip_stores / "val.h5") as store:
        clips = np.stack([store.pixels(index) for index in range(len(store))])
    assert (found.frames, found.side) == clips.shape[1:3]
    assert_allclose(found.poses(clips), expected, atol=0.05)  # mm
    assert np.ptp(expected, axis=(0, 1)).max() > 1


def test_a_file_of_another_task_is_refused(files: dict[str, Path]) -> None:
    for task, kind in (("activity", OnnxJoints), ("heatmap", OnnxActivities), ("activity", OnnxPoses)):
        with pytest.raises(ValueError, match=rf"{task}\.onnx is a network of {task}; wanted one of"):
            kind(OnnxNetwork(files[task]))


def test_a_file_takes_any_batch(files: dict[str, Path], exportables: dict[str, Exportable]) -> None:
    network, answer = OnnxNetwork(files["heatmap"]), exportables["heatmap"].answer
    images = torch.rand(7, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert_allclose(network(images.numpy()), answer(images).numpy(), atol=1e-5)
