import numpy as np
import pytest

from pose_lightning.browse import limbs
from pose_lightning.joints import MPII

LEGS = ((0, 5), (1, 4), (2, 3))


def test_lengths_do_not_depend_on_the_size_of_a_person(people: np.ndarray) -> None:
    one, other = (limbs.Lengths.of(each, MPII.bones) for each in (people, 7 * people))
    np.testing.assert_allclose(one.usual, other.usual)
    np.testing.assert_allclose(other.sizes - one.sizes, np.log(7))


def test_a_bone_of_three_times_its_length_has_an_excess_of_log_three(people: np.ndarray) -> None:
    changed = people.copy()
    changed[4, 0] = changed[4, 1] + 3 * (changed[4, 0] - changed[4, 1])
    before = limbs.Lengths.of(people, MPII.bones).excess(people)
    after = limbs.Lengths.of(changed, MPII.bones).excess(changed)
    shin = MPII.bones.index((0, 1))
    assert after[4, shin] - before[4, shin] == pytest.approx(np.log(3), abs=0.05)


def test_a_short_limb_costs_nothing(people: np.ndarray) -> None:
    lengths = limbs.Lengths.of(people, MPII.bones)
    changed = people.copy()
    changed[0, 10] = changed[0, 11] + 0.01 * (changed[0, 10] - changed[0, 11])
    forearm = MPII.bones.index((10, 11))
    assert lengths.cost(changed)[0, forearm] == 0


def test_swapped_sides_are_found_and_named(people: np.ndarray) -> None:
    changed = people.copy()
    changed[7:8] = limbs.swapped(people[7:8], [(1, 4)])
    parts = limbs.parts_of(MPII.names, MPII.pairs)
    gains = limbs.swap_gains(changed, limbs.Lengths.of(changed, MPII.bones), parts)
    assert int(gains.max(axis=0).argmax()) == 7
    assert list(parts)[int(gains[:, 7].argmax())] == "knees"


def test_a_pair_of_which_one_is_unlabelled_is_not_swapped(people: np.ndarray) -> None:
    hidden = people[:1].copy()
    hidden[0, 5] = np.nan
    changed = limbs.swapped(hidden, LEGS)
    np.testing.assert_array_equal(changed[0, 0], hidden[0, 0])
    np.testing.assert_array_equal(changed[0, 1], hidden[0, 4])


def test_legs_of_the_other_side_twist_the_body_by_half_a_turn(people: np.ndarray) -> None:
    straight, _ = limbs.twist(people, (2, 3), (12, 13))
    turned, width = limbs.twist(limbs.swapped(people, LEGS), (2, 3), (12, 13))
    np.testing.assert_allclose(turned, 180 - straight)
    assert (width > 0.1).all()


def test_unlabelled_hips_have_no_twist(people: np.ndarray) -> None:
    hidden = people.copy()
    hidden[3, 2] = np.nan
    angle, _ = limbs.twist(hidden, (2, 3), (12, 13))
    assert np.flatnonzero(np.isnan(angle)).tolist() == [3]


def test_parts_name_the_joints_of_the_set() -> None:
    assert limbs.parts_of(MPII.names, MPII.pairs)["legs"] == [(2, 3), (1, 4), (0, 5)]
