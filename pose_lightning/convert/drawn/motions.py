"""Fifteen actions as smooth motions of a body: what the drawn people of the clips do.

A motion is a function of time in seconds. What is particular to one performance (speed, reach, habits of the limbs) is
drawn once, from the generator that is passed in, so that a motion can be asked for any moment and in any order.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from pose_lightning.convert.drawn.acts import sitting, stride
from pose_lightning.convert.drawn.figures import Pose, Reach, Swing

Motion: TypeAlias = Callable[[float], Pose]
"""Seconds -> pose."""

CIRCLE: Final = 0.9
"""Radius in metres of the round on which walkers go."""


@dataclass(frozen=True)
class Moment:
    """Where and how a body is: its pose, its heading in degrees (0 looks along z), and its place (x, z) in metres."""

    pose: Pose
    heading: float
    place: tuple[float, float]


class Sway:
    """A smooth random function of time between -1 and 1: three slow sines."""

    def __init__(self, rng: np.random.Generator, slowest: float = 0.15, fastest: float = 0.7) -> None:
        self._rates = rng.uniform(slowest, fastest, 3)
        self._phases = rng.uniform(0, 2 * np.pi, 3)
        self._weights = rng.dirichlet(np.ones(3))

    def __call__(self, seconds: float) -> float:
        """The value at a time."""
        return float(self._weights @ np.sin(2 * np.pi * self._rates * seconds + self._phases))


def _between(low: float, high: float, sway: Sway, seconds: float) -> float:
    return (low + high) / 2 + (high - low) / 2 * sway(seconds)


def _standing(rng: np.random.Generator) -> Motion:
    """The weight goes from foot to foot; arms hang, head looks around."""
    weight, twist, look, nod, arms = (Sway(rng) for _ in range(5))
    apart = rng.uniform(4, 9)

    def pose(seconds: float) -> Pose:
        lean = 6 * weight(seconds)
        return Pose(
            left_leg=Swing(4 + 3 * weight(seconds), apart, 6 + 4 * max(weight(seconds), 0)),
            right_leg=Swing(-2 - 3 * weight(seconds), apart, 4 + 4 * max(-weight(seconds), 0)),
            left_arm=Swing(4 + 8 * arms(seconds), 9, 18),
            right_arm=Swing(4 - 8 * arms(seconds), 9, 18),
            tilt=lean,
            sway=-lean,
            twist=14 * twist(seconds),
            look=30 * look(seconds),
            nod=12 * nod(seconds),
        )

    return pose


def _with_arms(
    base: Motion, left: Callable[[float], Swing | Reach] | None, right: Callable[[float], Swing | Reach] | None
) -> Motion:
    def pose(seconds: float) -> Pose:
        before = base(seconds)
        return replace(
            before,
            left_arm=before.left_arm if left is None else left(seconds),
            right_arm=before.right_arm if right is None else right(seconds),
        )

    return pose


def _gesture(
    rng: np.random.Generator,
    forward: tuple[float, float],
    out: tuple[float, float],
    bend: tuple[float, float],
    rate: float = 0.6,
) -> Callable[[float], Swing]:
    """An arm that wanders within ranges of its angles."""
    ways = [Sway(rng, 0.3 * rate, rate) for _ in range(4)]

    def arm(seconds: float) -> Swing:
        return Swing(
            _between(*forward, ways[0], seconds),
            _between(*out, ways[1], seconds),
            _between(*bend, ways[2], seconds),
            _between(0, 40, ways[3], seconds),
        )

    return arm


def _sided(
    rng: np.random.Generator, base: Motion, busy: Callable[[float], Swing], idle: Callable[[float], Swing] | None
) -> Motion:
    """Most do it with the right hand."""
    return _with_arms(base, idle, busy) if rng.random() < 0.7 else _with_arms(base, busy, idle)


def _directions(rng: np.random.Generator) -> Motion:
    return _sided(rng, _standing(rng), _gesture(rng, (40, 100), (0, 60), (5, 40), 0.5), None)


def _discussion(rng: np.random.Generator) -> Motion:
    left, right = (_gesture(rng, (0, 55), (5, 30), (40, 110), 0.8) for _ in range(2))
    return _with_arms(_standing(rng), left, right)


def _eating(rng: np.random.Generator) -> Motion:
    rate, phase = rng.uniform(0.25, 0.45), rng.uniform(0, 2 * np.pi)
    base = _seated(rng)

    def busy(seconds: float) -> Swing:
        up = 0.5 + 0.5 * np.sin(2 * np.pi * rate * seconds + phase)
        return Swing(25 + 30 * up, 10 + 12 * up, 60 + 75 * up, 30 + 25 * up)

    return _sided(rng, base, busy, None)


def _greeting(rng: np.random.Generator) -> Motion:
    rate, phase, height = rng.uniform(0.8, 1.3), rng.uniform(0, 2 * np.pi), rng.uniform(70, 130)

    def busy(seconds: float) -> Swing:
        swing = np.sin(2 * np.pi * rate * seconds + phase)
        return Swing(0.35 * height, height, 40 + 28 * swing, -20)

    return _sided(rng, _standing(rng), busy, None)


def _phoning(rng: np.random.Generator) -> Motion:
    return _sided(rng, _standing(rng), _gesture(rng, (35, 55), (18, 34), (125, 142), 0.3), None)


def _photo(rng: np.random.Generator) -> Motion:
    crouch, base = Sway(rng, 0.1, 0.3), _standing(rng)
    arms = [_gesture(rng, (60, 80), (0, 12), (75, 100), 0.3) for _ in range(2)]

    def pose(seconds: float) -> Pose:
        deep = 25 + 22 * crouch(seconds)
        return replace(
            base(seconds),
            left_leg=Swing(deep, 6, 1.8 * deep),
            right_leg=Swing(deep * 0.7, 8, 1.4 * deep),
            lean=deep * 0.5,
        )

    return _with_arms(pose, *arms)


def _posing(rng: np.random.Generator) -> Motion:
    left, right = (_gesture(rng, (-30, 30), (25, 95), (30, 110), 0.5) for _ in range(2))
    return _with_arms(_standing(rng), left, right)


def _purchases(rng: np.random.Generator) -> Motion:
    rate, phase, deep, base = rng.uniform(0.2, 0.35), rng.uniform(0, 2 * np.pi), rng.uniform(35, 65), _standing(rng)

    def pose(seconds: float) -> Pose:
        down = 0.5 + 0.5 * np.sin(2 * np.pi * rate * seconds + phase)
        return replace(
            base(seconds),
            lean=deep * 0.6 * down,
            bend=deep * 0.6 * down,
            nod=30 * down,
            left_leg=Swing(20 + 25 * down, 6, 12 + 45 * down),
            right_leg=Swing(15 + 25 * down, 6, 8 + 45 * down),
        )

    return _with_arms(pose, _gesture(rng, (10, 60), (0, 20), (20, 60)), _gesture(rng, (20, 75), (0, 20), (10, 50)))


def _seated(rng: np.random.Generator) -> Motion:
    seat, lean, twist, knees = rng.uniform(0.4, 0.52), Sway(rng), Sway(rng), rng.uniform(0.08, 0.2)
    cross = rng.uniform(0.3, 0.5)

    def pose(seconds: float) -> Pose:
        return sitting(
            seat,
            left_leg=Reach(knees, 0.08, cross),
            right_leg=Reach(-knees, 0.08, 0.42 + 0.04 * twist(seconds)),
            left_arm=Swing(28 + 8 * lean(seconds), 10, 55),
            right_arm=Swing(28 - 8 * lean(seconds), 10, 55),
            lean=-4 + 12 * lean(seconds),
            twist=12 * twist(seconds),
            look=25 * twist(seconds),
        )

    return pose


def _sitting(rng: np.random.Generator) -> Motion:
    left, right = (_gesture(rng, (10, 60), (5, 25), (40, 100), 0.5) for _ in range(2))
    return _with_arms(_seated(rng), left, right)


def _sitting_down(rng: np.random.Generator) -> Motion:
    """Down to the floor and up again."""
    rate, phase, reach = rng.uniform(0.12, 0.22), rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.6)

    def pose(seconds: float) -> Pose:
        up = 0.5 + 0.5 * np.sin(2 * np.pi * rate * seconds + phase)
        height = 0.22 + 0.68 * up
        return Pose(
            height=height,
            shift=(0.0, -0.25 * (1 - up)),
            left_leg=Reach(0.14, 0.08, 0.1 + (reach - 0.1) * (1 - up)),
            right_leg=Reach(-0.14, 0.08, 0.1 + (reach - 0.05) * (1 - up)),
            lean=40 * 4 * up * (1 - up),
            nod=15 * (1 - up),
        )

    return _with_arms(pose, _gesture(rng, (0, 55), (8, 30), (15, 60)), _gesture(rng, (0, 55), (8, 30), (15, 60)))


def _smoking(rng: np.random.Generator) -> Motion:
    rate, phase = rng.uniform(0.2, 0.35), rng.uniform(0, 2 * np.pi)
    base = _standing(rng) if rng.random() < 0.5 else _seated(rng)

    def busy(seconds: float) -> Swing:
        up = 0.5 + 0.5 * np.sin(2 * np.pi * rate * seconds + phase)
        return Swing(8 + 42 * up, 8 + 10 * up, 30 + 105 * up, 30 * up)

    return _sided(rng, base, busy, _gesture(rng, (0, 20), (5, 20), (20, 80), 0.3))


def _waiting(rng: np.random.Generator) -> Motion:
    kind = rng.integers(3)
    if kind == 0:
        return _standing(rng)
    if kind == 1:  # arms folded
        arms = [_gesture(rng, (22, 32), (4, 10), (95, 112), 0.3) for _ in range(2)]
    else:  # hands on the hips
        arms = [_gesture(rng, (-28, -18), (32, 46), (68, 88), 0.3) for _ in range(2)]
    return _with_arms(_standing(rng), *arms)


def _walking(rng: np.random.Generator) -> Motion:
    rate, reach, lift, phase = rng.uniform(0.75, 1.05), rng.uniform(20, 30), rng.uniform(30, 50), rng.random()
    lean, elbow = rng.uniform(0, 6), rng.uniform(10, 35)
    return lambda seconds: stride(rate * seconds + phase, reach, lift, lean=lean, elbow=elbow)


def _walk_dog(rng: np.random.Generator) -> Motion:
    return _sided(rng, _walking(rng), _gesture(rng, (20, 60), (5, 35), (5, 50), 0.8), None)


def _walk_together(rng: np.random.Generator) -> Motion:
    base, look = _walking(rng), Sway(rng, 0.1, 0.3)
    side = rng.choice([-1.0, 1.0])
    together = _with_arms(base, _gesture(rng, (0, 50), (5, 25), (20, 90), 0.7), None)
    return lambda seconds: replace(together(seconds), look=side * (25 + 25 * look(seconds)))


MOTIONS: Final[Mapping[str, Callable[[np.random.Generator], Motion]]] = {
    "Directions": _directions,
    "Discussion": _discussion,
    "Eating": _eating,
    "Greeting": _greeting,
    "Phoning": _phoning,
    "Photo": _photo,
    "Posing": _posing,
    "Purchases": _purchases,
    "Sitting": _sitting,
    "SittingDown": _sitting_down,
    "Smoking": _smoking,
    "Waiting": _waiting,
    "WalkDog": _walk_dog,
    "WalkTogether": _walk_together,
    "Walking": _walking,
}
"""The fifteen actions of Human3.6M."""

WALKS: Final = frozenset({"WalkDog", "WalkTogether", "Walking"})


def performance(action: str, rng: np.random.Generator) -> Callable[[float], Moment]:
    """One performance of an action, in the round: what a body does at any second."""
    motion = MOTIONS[action](rng)
    heading, turn, drift = rng.uniform(0, 360), Sway(rng, 0.05, 0.2), [Sway(rng, 0.05, 0.2) for _ in range(2)]
    sense, speed, start = rng.choice([-1.0, 1.0]), rng.uniform(0.7, 1.1), rng.uniform(0, 2 * np.pi)

    def moment(seconds: float) -> Moment:
        if action in WALKS:
            angle = start + sense * speed / CIRCLE * seconds
            along = np.degrees(angle) + (90 if sense > 0 else -90)  # the tangent; headings turn from z to x
            return Moment(motion(seconds), float(90 - along), (CIRCLE * np.cos(angle), CIRCLE * np.sin(angle)))
        place = (0.3 * drift[0](seconds), 0.3 * drift[1](seconds))
        return Moment(motion(seconds), heading + 50 * turn(seconds), place)

    return moment
