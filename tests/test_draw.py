from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_lightning import draw
from pose_lightning.joints import MPII

GREY = np.full((80, 100, 3), 90, dtype=np.uint8)


def pose(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(10, 70, size=(16, 2))


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def test_a_limb_has_its_joints_colours_each_up_to_the_middle() -> None:
    joints = np.array([[10.0, 40.0], [90.0, 40.0]])
    drawn = draw.skeleton(GREY, joints, [(0, 1)], [draw.WHITE, draw.RED], width=3.0)
    assert tuple(drawn[40, 30]) == draw.WHITE
    assert tuple(drawn[40, 70]) == draw.RED
    assert (drawn[10] == 90).all()


def test_the_given_picture_stays_as_it_is() -> None:
    before = GREY.copy()
    draw.skeleton(GREY, pose(), MPII.bones, [draw.WHITE] * 16)
    assert np.array_equal(GREY, before)


def test_a_joint_is_drawn_where_it_is_to_a_fraction_of_a_pixel() -> None:
    black = np.zeros((60, 60, 3), dtype=np.uint8)
    for x in (30.0, 30.25, 30.5):
        drawn = draw.skeleton(black, np.array([[x, 20.0]]), [], [draw.WHITE], width=4.0)[..., 0].astype(float)
        centre = (drawn.sum(axis=0) * np.arange(60)).sum() / drawn.sum()
        assert centre == pytest.approx(x, abs=0.1)


def test_unlabelled_joints_and_their_limbs_are_not_drawn() -> None:
    joints = np.array([[10.0, 40.0], [np.nan, np.nan]])
    drawn = draw.skeleton(GREY, joints, [(0, 1)], [draw.WHITE, draw.RED])
    assert has_colour(drawn, draw.WHITE)
    assert not has_colour(drawn, draw.RED)
    assert (drawn[:, 30:] == 90).all()


def test_joints_far_outside_do_not_break_the_picture() -> None:
    joints = np.array([[50.0, 40.0], [1e12, 40.0]])
    drawn = draw.skeleton(GREY, joints, [(0, 1)], [draw.WHITE, draw.WHITE], width=3.0)
    assert (drawn[40, 60:] == 255).all()


def test_the_overlay_shows_truth_right_and_wrong_in_their_colours() -> None:
    truth, right = pose(1), np.arange(16) < 8
    preds = truth + 6
    picture = draw.overlay(GREY, truth, preds, MPII.bones, right, side=400)
    assert all(has_colour(picture, colour) for colour in (draw.WHITE, draw.PINK, draw.RED))
    assert not has_colour(draw.overlay(GREY, truth, preds, MPII.bones, np.ones(16, dtype=bool), side=400), draw.RED)


def test_a_prediction_of_an_unlabelled_joint_is_not_drawn() -> None:
    truth = np.full((16, 2), np.nan)
    assert np.array_equal(
        draw.overlay(GREY, truth, pose(), MPII.bones, np.zeros(16, dtype=bool), side=100),
        draw.overlay(GREY, truth, truth, MPII.bones, np.zeros(16, dtype=bool), side=100),
    )


def test_scaling_keeps_joints_on_their_pixels() -> None:
    picture = np.zeros((20, 20, 3), dtype=np.uint8)
    picture[12, 5] = (0, 200, 0)
    nothing = np.full((16, 2), np.nan)
    truth = nothing.copy()
    truth[0] = (5, 12)
    where = []
    for joints in (nothing, truth):
        large = draw.overlay(picture, joints, nothing, MPII.bones, np.zeros(16, dtype=bool), side=200)
        plane = large[..., 1 if joints is nothing else 0].astype(float)
        where.append([(plane.sum(axis=axis) * np.arange(200)).sum() / plane.sum() for axis in (0, 1)])
    assert where[1] == pytest.approx(where[0], abs=0.3)


def test_the_caption_stays_inside_its_strip_however_long() -> None:
    text = draw.strip(["x" * 300, "short"], 200)
    assert text.shape[1] == 200
    assert text.max() > 0
    assert (text[:, -3:] == 0).all()


def test_a_caption_is_below_the_picture() -> None:
    picture = draw.overlay(GREY, pose(), pose(), MPII.bones, np.ones(16, dtype=bool), ["name", "score"], side=100)
    assert picture.shape == (80 + len(draw.strip(["a", "b"], 100)), 100, 3)


def test_a_sheet_holds_every_picture_unchanged() -> None:
    pictures = [np.full((10 + index, 20, 3), 100 + index, dtype=np.uint8) for index in range(5)]
    sheet = draw.contact_sheet(pictures, columns=2, gap=3)
    assert sheet.shape == (3 * (14 + 3) + 3, 2 * (20 + 3) + 3, 3)
    for index, picture in enumerate(pictures):
        assert (sheet == 100 + index).all(axis=-1).sum() == picture.shape[0] * 20


def test_no_picture_makes_no_sheet() -> None:
    with pytest.raises(ValueError, match="needs a picture"):
        draw.contact_sheet([])


def test_a_png_reads_back_as_it_was_and_nothing_else_is_left(tmp_path: Path) -> None:
    picture = np.random.default_rng(2).integers(256, size=(7, 9, 3), dtype=np.uint8)
    draw.write_png(tmp_path / "a.png", picture)
    read = cv2.imread(str(tmp_path / "a.png"))
    assert read is not None
    assert np.array_equal(read[..., ::-1], picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_bar_is_as_long_as_its_share() -> None:
    shares = [1.0, 0.5, 0.25, 0.0]
    drawn = draw.ranking(GREY, ["running", "much too long for its place, " * 2, "cycling", "naïve"], shares)
    assert drawn.shape == (320, 400 + draw.PANEL, 3)  # 80 x 100, enlarged to a height of 320
    assert (drawn[:, :400] == 90).all()
    lengths = [int((row == draw.PINK).all(axis=-1).sum()) for row in drawn]
    full = draw.PANEL - 8
    assert sorted(set(lengths)) == [0, full // 4, full // 2, full]
    first = [lengths.index(length) for length in (full, full // 2, full // 4)]
    assert first == sorted(first)


@pytest.mark.parametrize("shape", [(10, 500, 3), (500, 10, 3), (1, 1, 3)])
def test_a_picture_of_any_shape_stands_beside_its_bars(shape: tuple[int, int, int]) -> None:
    drawn = draw.ranking(np.full(shape, 200, dtype=np.uint8), ["a"], [0.3], ["name.jpg"], side=100)
    assert drawn.shape[0] == 100 + len(draw.strip(["name.jpg"], 100))
    assert draw.PANEL < drawn.shape[1] <= draw.PANEL + 200
    assert (drawn == 200).all(axis=-1).any()


def test_people_have_their_right_in_pink_and_their_left_in_blue() -> None:
    joints = np.full((1, 16, 2), np.nan)
    for name, place in (("right wrist", (20.0, 30.0)), ("left wrist", (70.0, 30.0)), ("head top", (45.0, 60.0))):
        joints[0, MPII.names.index(name)] = place
    drawn = draw.people(GREY, joints, MPII, np.array([[10.0, 20.0, 70.0, 70.0]]), side=100)
    found = [tuple(drawn[y, x]) for x, y in ((20, 30), (70, 30), (45, 60))]
    assert found == [draw.PINK, draw.BLUE, draw.WHITE]
    assert (drawn[30:60, 10] < 80).all()  # the box's left edge, on 90
    assert drawn.shape == GREY.shape
    assert len(draw.people(GREY, joints, MPII, np.array([[10.0, 20.0, 70.0, 70.0]]), ["a.jpg"], side=100)) > len(drawn)


def test_joints_scale_with_the_picture_of_people() -> None:
    joints = np.full((1, 16, 2), np.nan)
    joints[0, 9] = 45.0, 60.0
    drawn = draw.people(GREY, joints, MPII, np.array([[-900.0, -900.0, 2000.0, 2000.0]]), side=300)
    assert tuple(drawn[181, 136]) == draw.WHITE  # 3 (x + 0.5) - 0.5


@pytest.mark.parametrize("size", [(16, 20), (80, 100), (720, 1280)], ids=["tiny", "small", "film"])
def test_labels_and_rankings_leave_a_picture_its_size(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 90, dtype=np.uint8)
    said = draw.label(picture, ["who \N{GREEK SMALL LETTER ALPHA}", "what"])
    shares = draw.ranked(picture, ["running", "a name that is far too long for so small a picture"] * 2, [0.9, 0.1] * 2)
    assert said.shape == shares.shape == picture.shape
    assert (picture == 90).all()
    assert not np.array_equal(said, picture)


def test_labels_are_above_and_rankings_below() -> None:
    picture = np.full((360, 480, 3), 90, dtype=np.uint8)
    assert (draw.label(picture, ["who"])[40:] == 90).all()
    assert (draw.ranked(picture, ["a"] * 5, [0.2] * 5)[:200] == 90).all()


def test_a_ranking_s_bars_are_as_long_as_their_shares() -> None:
    picture = np.full((360, 480, 3), 90, dtype=np.uint8)
    drawn = draw.ranked(picture, ["a", "b", "c"], [1.0, 0.5, 0.0])
    pink = (drawn == draw.PINK).all(axis=-1)
    lengths = pink.sum(axis=1)[pink.any(axis=1)]
    assert lengths.max() == 2 * lengths.min()
    assert (drawn.astype(int).sum(axis=-1) > 3 * 200).any()  # white text
