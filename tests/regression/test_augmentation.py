"""Random changes of clips: what they do to a pose, and how they are drawn."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pose_lightning import geometry
from pose_lightning.errors import UserError
from pose_lightning.heatmap import augmentation as heatmap_augmentation
from pose_lightning.joints import H36M
from pose_lightning.regression.augmentation import UNCHANGED, Augmentation, Change

OFF = {
    "rotation": 0.0,
    "rotation_probability": 1.0,
    "scale": 0.0,
    "shift": 0.0,
    "flip": 0.0,
    "contrast": 0.0,
    "brightness": 0.0,
    "color": 0.0,
}
EVERYTHING = Augmentation(
    rotation=30.0, rotation_probability=0.4, scale=0.25, shift=0.1, flip=0.5, contrast=0.2, brightness=0.1, color=0.4
)
HEAD, LEFT_WRIST, RIGHT_WRIST = (H36M.names.index(name) for name in ("head top", "left wrist", "right wrist"))


def some_poses(frames: int = 2) -> np.ndarray:
    poses = np.random.default_rng(0).normal(0, 300, (frames, 17, 3)).astype(np.float32)
    poses[:, 0] = 0
    return poses


def test_a_clockwise_quarter_turn_lays_a_standing_pose_to_the_right():
    poses = np.zeros((1, 17, 3), np.float32)
    poses[0, HEAD] = 0, -700, 40  # y points down: the head is above the pelvis
    turned = UNCHANGED._replace(degrees=90.0).poses(poses)
    assert_allclose(turned[0, HEAD], [700, 0, 40], atol=1e-3)
    assert turned.dtype == np.float32


def test_a_mirrored_pose_has_x_negated_and_left_and_right_exchanged():
    poses = np.zeros((1, 17, 3), np.float32)
    poses[0, RIGHT_WRIST], poses[0, LEFT_WRIST], poses[0, HEAD] = (-400, 100, 5), (300, 200, 6), (10, -700, 7)
    mirrored = UNCHANGED._replace(mirrored=True).poses(poses)
    assert mirrored[0, LEFT_WRIST].tolist() == [400, 100, 5]
    assert mirrored[0, RIGHT_WRIST].tolist() == [-300, 200, 6]
    assert mirrored[0, HEAD].tolist() == [-10, -700, 7]


def test_bones_keep_their_lengths_and_the_root_stays_at_zero():
    poses = some_poses()
    change = UNCHANGED._replace(degrees=33.0, zoom=1.2, shift=np.array([0.1, 0.0]), mirrored=True)
    changed = change.poses(poses)
    lengths = {
        tuple(sorted((H36M.mirrored[a], H36M.mirrored[b]))): np.linalg.norm(poses[:, a] - poses[:, b], axis=-1)
        for a, b in H36M.bones
    }
    for a, b in H36M.bones:
        assert_allclose(
            np.linalg.norm(changed[:, a] - changed[:, b], axis=-1), lengths[min(a, b), max(a, b)], rtol=1e-5
        )
    assert_allclose(changed[:, 0], 0)


def test_zoom_and_shift_leave_the_pose_alone():
    poses = some_poses()
    assert_allclose(UNCHANGED._replace(zoom=0.8, shift=np.array([0.2, -0.1])).poses(poses), poses, rtol=0, atol=0)


def test_a_pose_turns_as_the_picture_does():
    change = UNCHANGED._replace(degrees=-17.0, zoom=1.3, shift=np.array([0.03, 0.08]), mirrored=True)
    poses = some_poses()
    center, factor, size = np.array([60.0, 48.0]), 0.05, 128  # a weak-perspective camera, px and px/mm
    shown = geometry.apply_to_points(change.matrix(size), center + factor * poses[..., :2])
    turned_center = geometry.apply_to_points(change.matrix(size), center[None])[0]
    expected = turned_center + 1.3 * factor * change.poses(poses)[..., :2]
    assert_allclose(shown[:, list(H36M.mirrored)], expected, atol=1e-4)


def test_the_matrix_shifts_by_a_share_of_the_side_after_all_else():
    change = UNCHANGED._replace(mirrored=True, shift=np.array([0.25, -0.125]))
    assert_allclose(change.matrix(64), [[-1, 0, 63 + 16], [0, 1, -8]])
    assert_allclose(UNCHANGED.matrix(64), [[1, 0, 0], [0, 1, 0]])


def test_draws_fill_their_ranges_evenly_and_independently():
    changes = [EVERYTHING.draw(seed=3, epoch=1, sample=sample) for sample in range(4000)]
    degrees, zoom = np.array([change.degrees for change in changes]), np.array([change.zoom for change in changes])
    shifts = np.array([change.shift for change in changes])
    turned = degrees[degrees != 0]
    quartiles = [0, 25, 50, 75, 100]
    assert_allclose(len(turned) / 4000, 0.4, atol=0.03)
    assert_allclose(np.percentile(turned, quartiles), [-30, -15, 0, 15, 30], atol=1.8)
    assert_allclose(np.percentile(1 / zoom, quartiles), [0.75, 0.875, 1, 1.125, 1.25], atol=0.02)
    assert_allclose(np.percentile(shifts[:, 0], quartiles), [-0.1, -0.05, 0, 0.05, 0.1], atol=0.006)
    assert_allclose(np.percentile(shifts[:, 1], quartiles), [-0.1, -0.05, 0, 0.05, 0.1], atol=0.006)
    assert_allclose(np.mean([change.mirrored for change in changes]), 0.5, atol=0.03)
    mirrored = np.array([change.mirrored for change in changes])
    channels = np.array([change.gain / change.gain.mean() for change in changes])
    offsets = np.array([change.offset for change in changes])
    table = np.column_stack([degrees, zoom, shifts, mirrored, channels[:, 0], offsets])
    assert np.abs(np.corrcoef(table.T) - np.eye(table.shape[1])).max() < 0.06


@pytest.mark.parametrize(("key", "largest"), [("color", 0.4), ("contrast", 0.2)])
def test_gains_fill_their_range_evenly(key: str, largest: float):
    augmentation = Augmentation(**{**OFF, key: largest})
    gains = np.array([augmentation.draw(seed=3, epoch=1, sample=sample).gain for sample in range(2000)])
    expected = 1 + largest * np.array([-1, -0.5, 0, 0.5, 1])
    assert_allclose(np.percentile(gains, [0, 25, 50, 75, 100], axis=0), np.repeat(expected[:, None], 3, 1), atol=0.03)


def test_contrast_turns_about_mid_grey_and_brightness_shifts_it():
    contrast = Augmentation(**{**OFF, "contrast": 0.5}).draw(0, 0, 0)
    assert not math.isclose(contrast.gain[0], 1)
    assert_allclose(contrast.gain * 0.5 + contrast.offset, 0.5)
    brightness = Augmentation(**{**OFF, "brightness": 0.3}).draw(0, 0, 0)
    assert_allclose(brightness.gain, 1.0)
    assert 0 < abs(brightness.offset) <= 0.3


def numbers(change: Change) -> tuple[float, ...]:
    return change.degrees, change.zoom, *change.shift, change.mirrored, *change.gain, change.offset


def test_a_draw_depends_on_seed_epoch_and_sample_and_on_nothing_else():
    first = numbers(EVERYTHING.draw(1, 2, 3))
    np.random.default_rng(0).random(10)
    torch.manual_seed(4)
    assert numbers(EVERYTHING.draw(1, 2, 3)) == first
    others = [(1, 2, 4), (1, 3, 3), (2, 2, 3), (2, 1, 3)]
    assert len({first, *(numbers(EVERYTHING.draw(*other)) for other in others)}) == 5


def test_switching_one_change_off_leaves_the_others_as_they_were():
    whole = EVERYTHING.draw(1, 2, 3)
    part = Augmentation(**{**vars(EVERYTHING), "rotation": 0.0, "color": 0.0, "flip": 0.0}).draw(1, 2, 3)
    assert part.zoom == whole.zoom
    assert part.shift.tolist() == whole.shift.tolist()
    assert part.offset == whole.offset
    assert (part.degrees, part.mirrored) == (0.0, False)


def test_with_everything_off_nothing_changes():
    augmentation = Augmentation(**OFF)
    assert not augmentation.moves
    assert not augmentation.colors
    assert numbers(augmentation.draw(5, 6, 7)) == numbers(UNCHANGED)


@pytest.mark.parametrize("key", ["rotation", "scale", "shift", "flip"])
def test_each_of_these_moves_pixels(key: str):
    assert Augmentation(**{**OFF, key: 0.1}).moves


def test_a_turn_that_no_clip_takes_moves_nothing():
    assert not Augmentation(**{**OFF, "rotation": 30.0, "rotation_probability": 0.0}).moves


def test_clips_and_persons_draw_from_streams_of_their_own():
    person = heatmap_augmentation.Augmentation(
        **{key: value for key, value in vars(EVERYTHING).items() if key != "shift"}
    )
    assert person.draw(1, 2, 3).zoom != EVERYTHING.draw(1, 2, 3).zoom
    assert person.draw(1, 2, 3).degrees != EVERYTHING.draw(1, 2, 3).degrees or person.draw(1, 2, 3).degrees == 0


@pytest.mark.parametrize(
    "setting",
    [{"rotation": 200.0}, {"scale": 1.0}, {"shift": 0.6}, {"flip": 1.5}, {"color": -0.1}, {"shift": math.nan}],
)
def test_a_setting_out_of_range_is_refused(setting: dict[str, float]):
    key, value = next(iter(setting.items()))
    with pytest.raises(UserError, match=f"{key}={value} is out of range"):
        Augmentation(**{**OFF, **setting})
