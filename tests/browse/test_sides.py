"""Which sides look swapped, and which limbs fit no body whichever side they are on."""

import numpy as np

from pose_lightning.browse import limbs, sides
from pose_lightning.browse.splits import Doubt
from pose_lightning.joints import MPII

ELBOWS = (11, 14)
LEAST = 4.0


def doubts_of(people: np.ndarray) -> list[Doubt]:
    return list(sides.doubts(people, MPII, MPII.bones, LEAST))


def test_people_without_mistakes_are_not_suspected(people: np.ndarray) -> None:
    assert doubts_of(people) == []


def test_swapped_elbows_are_sides(people: np.ndarray) -> None:
    people = people.copy()
    people[7:8] = limbs.swapped(people[7:8], [ELBOWS])
    (doubt,) = doubts_of(people)
    assert (doubt.index, doubt.rule) == (7, "sides")
    assert doubt.reason == "limbs fit better with right and left elbows swapped"


def test_where_a_swap_leaves_most_of_it_limbs_fit_no_body(people: np.ndarray) -> None:
    """Elbows as before, and besides the head and both ankles far away, which no swap mends."""
    people = people.copy()
    people[7:8] = limbs.swapped(people[7:8], [ELBOWS])
    people[7, [9, 0, 5]] += (900.0, -700.0)
    (doubt,) = doubts_of(people)
    assert (doubt.index, doubt.rule) == (7, "misfit")
    assert "right and left elbows swapped, but not well" in doubt.reason


def test_legs_that_face_another_way_than_arms_are_sides(people: np.ndarray) -> None:
    people = people.copy()
    people[3:4] = limbs.swapped(people[3:4], [(0, 5), (1, 4), (2, 3)])
    twisted = [doubt for doubt in doubts_of(people) if "face ways" in doubt.reason]
    assert [(doubt.index, doubt.rule) for doubt in twisted] == [(3, "sides")]
