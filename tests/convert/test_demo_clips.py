"""Drawn people in motion: smooth, in the picture, and the same through the official files."""

from pathlib import Path

import numpy as np
import pytest

from pose_lightning.convert import ConvertError, demo, demo_clips
from pose_lightning.convert.drawn import studio
from pose_lightning.convert.drawn.motions import MOTIONS
from pose_lightning.convert.human36m_sources import ACTIONS, read_metadata, read_positions
from pose_lightning.joints import H36M_32, H36M_32_TO_17
from pose_lightning.store import Store

FASTEST = 6000.0
"""mm per second; a hand that waves does 3 to 5 m/s."""


def test_every_action_has_a_motion_and_every_joint_a_place() -> None:
    assert set(MOTIONS) == set(ACTIONS)
    assert set(studio._PLACES) == set(H36M_32.names)


@pytest.mark.parametrize("action", ACTIONS)
def test_motions_are_smooth_and_bones_keep_their_length(action: str) -> None:
    for subject in ("S1", "S11"):
        take = studio.Take(0, subject, action, 1)
        joints = np.stack([studio.world_joints(take, moment) for moment in take.moments(demo_clips.FRAMES)])
        joints = joints[:, H36M_32_TO_17]
        steps = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * studio.FRAME_RATE
        assert steps.max() < FASTEST
        assert steps.max() > 20  # it moves
        thighs = np.linalg.norm(joints[:, 2] - joints[:, 1], axis=-1)
        assert np.ptp(thighs) < 1e-6 * thighs.mean()
        assert joints[..., 2].min() > -60  # nothing sinks into the floor
        assert joints[..., 2].max() < 2500


def test_nearly_all_joints_are_in_every_picture() -> None:
    inside = []
    for action in ACTIONS:
        take = studio.Take(0, "S5", action, 2)
        joints = np.stack([studio.world_joints(take, moment) for moment in take.moments(demo_clips.FRAMES)])
        for camera in studio.cameras():
            seen = studio.project(joints, camera)
            inside.append(((seen > -0.5) & (seen < studio.SENSOR - 0.5)).all(axis=-1).mean())
    assert min(inside) > 0.8
    assert np.mean(inside) > 0.98


def test_the_same_take_is_the_same_and_others_are_not() -> None:
    first, again = (studio.Take(3, "S6", "Greeting", 1) for _ in range(2))
    camera = studio.cameras()[1]
    frames = [studio.filmed(take, camera, take.moments(2)) for take in (first, again)]
    np.testing.assert_array_equal(frames[0], frames[1])
    poses = [
        studio.world_joints(take, take.moments(1)[0])
        for take in (first, studio.Take(3, "S6", "Greeting", 2), studio.Take(4, "S6", "Greeting", 1))
    ]
    assert np.abs(poses[0] - poses[1]).max() > 50
    assert np.abs(poses[0] - poses[2]).max() > 50


def test_official_files_give_back_positions_and_cameras(tmp_path: Path) -> None:
    take = studio.Take(0, "S7", "Walking", 1)
    joints = np.stack([studio.world_joints(take, moment) for moment in take.moments(5)])
    demo_clips.write_positions(tmp_path / "Walking 1.cdf", joints)
    np.testing.assert_allclose(read_positions(tmp_path / "Walking 1.cdf"), joints, rtol=1e-6, atol=1e-3)
    (tmp_path / "metadata.xml").write_bytes(demo_clips.metadata())
    read = read_metadata(tmp_path / "metadata.xml")
    for camera in studio.cameras():
        official = read.cameras["S7", camera.name]
        np.testing.assert_allclose(official.rotation, camera.rotation, atol=1e-9)
        seen = official.project(official.to_camera(joints))
        np.testing.assert_allclose(seen, studio.project(joints, camera), atol=1e-4)


def test_the_stores_show_what_their_labels_say(demo_clip_stores: Path) -> None:
    takes = {split: Store(demo_clip_stores / f"{split}.h5") for split in ("train", "val", "test")}
    subjects = {split: set(store.labels["subject"].tolist()) for split, store in takes.items()}
    assert subjects == {"train": {"S1"}, "val": {"S8"}, "test": {"S9"}}
    store = takes["train"]
    assert store.shape == (8, 224, 224, 3)
    assert store.attrs["synthetic"] is True
    assert store.attrs["dataset"] == "demo"
    assert set(store.labels["action"].tolist()) == {"Eating", "Walking"}
    assert len(set(store.labels["sequence"].tolist())) == 4  # four cameras see the same motion
    points, joints = store.labels["points"], store.labels["joints"]
    assert (points > -1).all()
    assert (points < 224).all()
    assert (joints[:, :, 0] == 0).all()
    # the person differs from the wall behind: pixels at the hips change where the person moves away
    assert points[:, :, 0].std() > 1
    height = joints[..., 1].max(axis=-1) - joints[..., 1].min(axis=-1)
    assert 600 < np.median(height) < 1800


def test_the_courses_pair_goes_through_its_converter(demo_clip_stores: Path) -> None:
    root = demo_clip_stores.parent
    with Store(root / "clips" / "train.h5") as course, Store(demo_clip_stores / "train.h5") as source:
        assert len(course) == len(range(0, len(source), demo_clips.PAIR_EVERY))
        np.testing.assert_array_equal(course.pixels(1), source.pixels(demo_clips.PAIR_EVERY))
        np.testing.assert_allclose(
            course.labels["joints"][1], source.labels["joints"][demo_clips.PAIR_EVERY], rtol=1e-5, atol=1e-3
        )
        assert course.attrs["source_unit"] == "m"
        assert course.attrs["synthetic"] is True


def test_a_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="--seed -1"):
        demo_clips.write(tmp_path, [], seed=-1)
    assert not list(tmp_path.iterdir())


def test_drawing_photographs_again_keeps_the_clips_official_files(tmp_path: Path) -> None:
    official = demo.draw(tmp_path, people=1, seed=0)
    for name in demo_clips.FOLDERS:
        (official / name).mkdir()
        (official / name / "README.txt").write_text(name)
    demo.draw(tmp_path, people=1, seed=1)
    assert [(official / name / "README.txt").read_text() for name in demo_clips.FOLDERS] == list(demo_clips.FOLDERS)
    assert "seed 1" in (official / "README.txt").read_text()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    performed = demo_clips.takes(1, subjects=("S1",), actions=("Walking",))[:1]
    first, second = (demo_clips.draw(tmp_path / name, performed, seed=1) for name in ("first", "second"))
    files = [path.relative_to(first) for path in sorted(first.rglob("*")) if path.is_file()]
    assert {path.suffix for path in files} == {".cdf", ".mp4", ".txt", ".xml"}
    assert [path for path in files if (first / path).read_bytes() != (second / path).read_bytes()] == []
