"""Random changes of pictures: where pixels go, what becomes of colours, and what a draw depends on."""

import math

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.stats import beta, kstest

from pose_lightning import geometry
from pose_lightning.activity import framing
from pose_lightning.activity.augmentation import Augmentation, Change
from pose_lightning.activity.draws import Use, draws
from pose_lightning.activity.framing import Box
from pose_lightning.activity.mixing import Mix, Mixing
from pose_lightning.activity.policy import COLORS, MOVES, NAMES, RandAugment, Step
from pose_lightning.errors import UserError

EVERYTHING = Augmentation(
    rotation=30.0, zoom=0.3, shear=10.0, shift=0.1, flip=0.5, random_crop=0.3, contrast=0.4, brightness=0.2, color=0.3
)


def at(matrix: geometry.Matrix, x: float, y: float) -> list[float]:
    found: list[float] = (matrix[:, :2] @ [x, y] + matrix[:, 2]).tolist()
    return found


def cloud(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_numbers_depend_on_seed_epoch_sample_and_use() -> None:
    first = draws(Use.CHANGE, seed=1, epoch=2, sample=3, count=5)
    assert (draws(Use.CHANGE, seed=1, epoch=2, sample=3, count=9)[:5] == first).all()
    others = [
        draws(Use.CHANGE, seed=9, epoch=2, sample=3, count=5),
        draws(Use.CHANGE, seed=1, epoch=9, sample=3, count=5),
        draws(Use.CHANGE, seed=1, epoch=2, sample=9, count=5),
        draws(Use.MIXING, seed=1, epoch=2, sample=3, count=5),
    ]
    assert all((other != first).all() for other in others)


@pytest.mark.parametrize(
    ("fit", "share", "box"),
    [
        ("crop", 1.0, Box(30, 0, 40, 40)),
        ("crop", 0.5, Box(40, 10, 20, 20)),
        ("squash", 1.0, Box(0, 0, 100, 40)),
        ("pad", 1.0, Box(0, -30, 100, 100)),
    ],
)
def test_what_the_input_shows_of_a_picture_of_100_x_40(fit: framing.FitName, share: float, box: Box) -> None:
    assert framing.whole(40, 100, fit=fit, share=share) == box


def test_the_edges_of_a_box_fall_on_the_edges_of_the_input() -> None:
    matrix = Box(30, 10, 40, 20).to_input(80)
    assert at(matrix, 29.5, 9.5) == pytest.approx([-0.5, -0.5])  # pixel 30 covers 29.5 to 30.5 in these coordinates
    assert at(matrix, 69.5, 29.5) == pytest.approx([79.5, 79.5])


def test_a_picture_as_large_as_the_input_is_shown_as_it_is() -> None:
    picture = cloud(32, 32)
    out = np.empty_like(picture)
    framing.warp(picture, framing.whole(32, 32, fit="crop", share=1.0).to_input(32), out, black_outside=False)
    assert (out == picture).all()


def test_shrinking_averages_stripes_to_grey() -> None:
    stripes = np.broadcast_to((np.arange(256) % 2 * 255).astype(np.uint8)[None, :, None], (192, 256, 3)).copy()
    out = np.empty((48, 48, 3), np.uint8)
    framing.warp(stripes, framing.whole(192, 256, fit="squash", share=1.0).to_input(48), out, black_outside=False)
    assert abs(out.astype(int) - 128).max() <= 1


def test_shrinking_by_four_is_the_mean_of_squares() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    out = np.empty((16, 16, 3), np.uint8)
    framing.warp(picture, framing.whole(64, 64, fit="crop", share=1.0).to_input(16), out, black_outside=False)
    assert abs(out - picture.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))).max() <= 0.5


def test_shrinking_keeps_its_place_where_sides_do_not_divide() -> None:
    x = np.linspace(0, 255, 333)  # a ramp: any shift of the picture shows as a grey level
    picture = np.broadcast_to(x.round().astype(np.uint8)[None, :, None], (201, 333, 3)).copy()
    out = np.empty((50, 50, 3), np.uint8)
    framing.warp(picture, framing.whole(201, 333, fit="squash", share=1.0).to_input(50), out, black_outside=False)
    centers = (np.arange(50) + 0.5) * 333 / 50 - 0.5
    assert abs(out[:, 1:-1, 0] - np.interp(centers, np.arange(333), x)[1:-1]).max() < 1.5


@pytest.mark.parametrize(("black", "level"), [(True, 0), (False, 200)])
def test_beside_the_picture_it_is_black_or_the_edge_goes_on(black: bool, level: int) -> None:
    out = np.empty((40, 40, 3), np.uint8)
    picture = np.full((20, 40, 3), 200, np.uint8)
    framing.warp(picture, framing.whole(20, 40, fit="pad", share=1.0).to_input(40), out, black_outside=black)
    assert (out[:9] == level).all()
    assert (out[12:28] == 200).all()


def test_nothing_changes_without_a_setting() -> None:
    change = Augmentation().draw(1, 2, 3)
    assert (change.matrix(64) == np.eye(3)[:2]).all()
    picture = cloud(30, 40)
    assert change.box(picture, Box(1, 2, 3, 4)) == Box(1, 2, 3, 4)
    before = picture.copy()
    change.color(picture)
    assert (picture == before).all()


def test_a_setting_does_not_move_the_draws_of_another() -> None:
    alone, together = Augmentation(rotation=30.0).draw(1, 2, 3), EVERYTHING.draw(1, 2, 3)
    turn = np.linalg.qr(together.linear)[0]  # zoom and shear are upper triangular
    assert abs(math.atan2(alone.linear[1, 0], alone.linear[0, 0])) == pytest.approx(
        abs(math.atan(turn[1, 0] / turn[0, 0])), abs=1e-9
    )


def test_a_mirrored_picture_has_its_first_column_last() -> None:
    change = Augmentation(flip=1.0).draw(0, 0, 0)
    assert at(change.matrix(10), 0, 4) == pytest.approx([9, 4])


def test_changes_stay_within_their_settings() -> None:
    settings = Augmentation(zoom=0.25, shift=0.1)
    changes = [settings.draw(0, 0, sample) for sample in range(300)]
    shown = 1 / np.array([[change.linear[0, 0], change.linear[1, 1]] for change in changes])
    assert 0.75 <= shown.min() < 0.77
    assert 1.23 < shown.max() <= 1.25
    assert abs(np.corrcoef(shown.T)[0, 1]) < 0.15  # each side has its own factor
    shift = np.array([change.shift for change in changes])
    assert 0.095 < abs(shift).max() <= 0.1
    assert np.mean([EVERYTHING.draw(0, 0, sample).mirrored for sample in range(300)]) == pytest.approx(0.5, abs=0.1)


def test_random_crops_lie_in_the_picture_and_have_the_areas_that_were_asked_for() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    settings = Augmentation(random_crop=0.25)
    boxes = [settings.draw(0, 0, sample).box(picture, Box(0, 0, 1, 1)) for sample in range(500)]
    areas = np.array([box.width * box.height for box in boxes]) / 1e4
    assert areas.min() >= 0.25 * 0.999
    assert areas.mean() == pytest.approx(0.61, abs=0.03)  # .625, less what does not fit
    ratios = np.array([box.width / box.height for box in boxes])
    assert 3 / 4 <= ratios.min() < 0.8
    assert 1.25 < ratios.max() <= 4 / 3
    assert all(0 <= box.left <= 100 - box.width + 1e-9 and 0 <= box.top <= 100 - box.height + 1e-9 for box in boxes)


def test_colours_change_about_mid_grey() -> None:
    unmoved = {"linear": np.eye(2), "shift": np.zeros(2), "mirrored": False, "crop": None}
    picture = np.array([[[100, 128, 250]]], np.uint8)
    Change(**unmoved, gain=np.full(3, 1.5), offset=-0.25).color(picture)  # type: ignore[arg-type]
    assert picture[0, 0].tolist() == [86, 128, 255]  # 150 - 63.75, 192 - 63.75, 311.25 clipped


@pytest.mark.parametrize("setting", [{"zoom": 1.0}, {"rotation": -1.0}, {"flip": math.nan}, {"random_crop": 1.5}])
def test_a_setting_out_of_range_is_refused_by_name(setting: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(setting))):
        Augmentation(**setting)


def test_the_policy_draws_all_changes_and_both_directions() -> None:
    steps = [step for sample in range(400) for step in RandAugment(2, 9.0).draw(0, 0, sample)]
    assert {step.name for step in steps} == set(NAMES)
    assert len(NAMES) == 15
    assert np.mean([step.sign for step in steps]) == pytest.approx(0, abs=0.1)
    assert RandAugment(0).draw(0, 0, 0) == ()


def test_changes_of_place_have_the_published_ranges() -> None:
    policy = RandAugment(1, 10.0)
    assert at(policy.matrix([Step("translate_x", -1.0)], 100), 50, 50) == pytest.approx([5, 50])
    assert at(policy.matrix([Step("translate_y", 1.0)], 100), 50, 50) == pytest.approx([50, 95])
    turned = policy.matrix([Step("rotate", 1.0)], 100)
    assert math.degrees(math.atan2(turned[1, 0], turned[0, 0])) == pytest.approx(30)
    slanted = policy.matrix([Step("shear_x", 1.0)], 100)
    assert slanted[:, :2].tolist() == [[1.0, pytest.approx(0.3)], [0.0, 1.0]]
    assert at(slanted, 49.5, 49.5) == pytest.approx([49.5, 49.5])


def test_changes_of_place_come_one_after_the_other() -> None:
    policy, steps = RandAugment(2, 10.0), [Step("translate_x", 1.0), Step("rotate", 1.0)]
    shifted = at(policy.matrix(steps[:1], 100), 10, 20)
    assert at(policy.matrix(steps, 100), 10, 20) == pytest.approx(at(policy.matrix(steps[1:], 100), *shifted))


@pytest.mark.parametrize(("sign", "factor"), [(1.0, 1.45), (-1.0, 0.55)])
def test_contrast_is_that_of_pillow(sign: float, factor: float) -> None:
    picture = cloud(20, 20)
    wanted = np.asarray(ImageEnhance.Contrast(Image.fromarray(picture)).enhance(factor))
    RandAugment(1, 5.0).color([Step("contrast", sign)], picture)
    assert (picture == wanted).all()


def test_the_strongest_solarization_inverts_and_posterization_keeps_one_bit() -> None:
    picture = cloud(20, 20)
    inverted, posterized = picture.copy(), picture.copy()
    RandAugment(1, 10.0).color([Step("solarize", 1.0)], inverted)
    RandAugment(1, 10.0).color([Step("posterize", 1.0)], posterized)
    assert (inverted == 255 - picture).all()
    assert (posterized == picture & 128).all()


def test_every_change_of_value_keeps_the_size() -> None:
    assert set(COLORS).isdisjoint(MOVES)
    for name in COLORS:
        picture = cloud(12, 14)
        RandAugment(1, 9.0).color([Step(name, 1.0)], picture)
        assert picture.shape == (12, 14, 3)


def test_shares_of_mixup_follow_the_beta_distribution() -> None:
    mixes = [Mixing(mixup=0.4).draw(0, 0, sample, 50) for sample in range(800)]
    shares = [mix.share for mix in mixes if mix]
    assert len(shares) == 800
    assert kstest(shares, beta(0.4, 0.4).cdf).pvalue > 0.01
    assert {mix.partner for mix in mixes if mix} == set(range(50))


def test_both_kinds_of_mixing_are_equally_frequent_and_as_frequent_as_asked() -> None:
    mixes = [Mixing(mixup=0.8, cutmix=1.0, probability=0.6).draw(0, 0, sample, 9) for sample in range(1000)]
    mixed = [mix for mix in mixes if mix]
    assert len(mixed) == pytest.approx(600, abs=60)
    assert sum(mix.center is None for mix in mixed) == pytest.approx(300, abs=60)
    assert Mixing().draw(0, 0, 0, 9) is None


def test_mixup_is_a_weighted_mean() -> None:
    picture, other = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 200, np.uint8)
    assert Mix(0, 0.75, None).blend(picture, other) == 0.75
    assert (picture == 125).all()


def test_cutmix_pastes_a_rectangle_and_says_what_is_left() -> None:
    picture, other = np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 9, np.uint8)
    assert Mix(0, 0.75, (0.5, 0.5)).blend(picture, other) == 0.75  # a quarter of the area: half of each side
    assert (picture[5:15, 5:15] == 9).all()
    assert (picture == 9).sum() == 300
    picture[:] = 0
    assert Mix(0, 0.75, (0.0, 0.5)).blend(picture, other) == 1 - 5 * 10 / 400  # half of it lies outside
    assert (picture == 9).sum() == 150
