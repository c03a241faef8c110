"""What an activity is, and the poses that several share.

Every activity is a function of the phase `t` of its motion (one cycle is 0 to 1) and of a generator that holds what is
particular to one person; called again with the same generator state it must draw the same numbers, whatever `t`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import numpy as np

from pose_lightning.convert.drawn import props
from pose_lightning.convert.drawn.canvas import Number, Solid
from pose_lightning.convert.drawn.figures import Pose, Reach, Skeleton, Swing

Things: TypeAlias = Callable[[Skeleton], list[Solid]]
"""What goes with a posed body, in its actor frame."""


def nothing(figure: Skeleton) -> list[Solid]:
    """No things at all."""
    return []


@dataclass(frozen=True)
class Act:
    """One moment of an activity."""

    pose: Pose
    things: Things = field(default=nothing)


Move: TypeAlias = Callable[[Number, np.random.Generator], Act]


@dataclass(frozen=True)
class Activity:
    """An activity: how often it is drawn within its category, from where it is seen, what is worn, where it happens.

    `views` are the yaw angles in degrees that the viewer may see it at, +-25: 0 faces the camera, 90 to its right.
    """

    name: str
    category: str
    move: Move
    place: str
    dress: str = "casual"
    views: tuple[Number, ...] = (0.0, 45.0, -45.0, 90.0, -90.0, 135.0, -135.0, 180.0)
    weight: Number = 1.0


FRONT: Final = (0.0, 30.0, -30.0)
FRONTAL: Final = (0.0, 45.0, -45.0, 70.0, -70.0)
SIDE: Final = (90.0, -90.0, 60.0, -60.0, 120.0, -120.0)
BACK: Final = (180.0, 150.0, -150.0)


def wave(t: Number, shift: Number = 0.0) -> float:
    """A sine of period 1, -1 to 1."""
    return float(np.sin(2 * np.pi * (t + shift)))


def stride(t: Number, reach: Number, lift: Number, **more: Any) -> Pose:
    """A step of a walk or a run: arms swing against legs; `reach` is the thigh's swing, `lift` the knee's bend."""
    swing, other = wave(t), wave(t, 0.5)
    bend = [6 + lift * max(wave(t, shift), 0.0) for shift in (0.3, 0.8)]
    elbow = more.pop("elbow", 20.0)
    return Pose(
        left_leg=Swing(4 + reach * swing, 3, bend[1]),
        right_leg=Swing(4 + reach * other, 3, bend[0]),
        left_arm=Swing(-4 + reach * 1.1 * other, 9, elbow + 12 * max(other, 0), 12),
        right_arm=Swing(-4 + reach * 1.1 * swing, 9, elbow + 12 * max(swing, 0), 12),
        twist=-8 * swing,
        turn=4 * swing,
        **more,
    )


def sitting(seat: Number = 0.45, **more: Any) -> Pose:
    """Sitting on a seat of that height, hands on the thighs; `more` replaces parts of the pose."""
    base = Pose(
        height=seat + 0.1,
        left_leg=Reach(0.13, 0.08, 0.42),
        right_leg=Reach(-0.13, 0.08, 0.46),
        left_arm=Reach(0.17, seat + 0.22, 0.32),
        right_arm=Reach(-0.17, seat + 0.22, 0.32),
        lean=-6,
        bend=6,
    )
    return replace(base, **more)


def astride(rng: np.random.Generator, width: Number = 0.12, **more: Any) -> Pose:
    """A stand with the feet somewhat apart and the weight a little to one side."""
    weight = rng.uniform(-5, 5)
    base = Pose(left_leg=Swing(4, 4 + 40 * width, 6), right_leg=Swing(-2, 4 + 40 * width, 4), tilt=weight, sway=-weight)
    return replace(base, **more)


def rider(t: Number, lean: Number, saddle: Number, bar: Number) -> Pose:
    """Riding a `props.bicycle` whose saddle and handlebar are that high."""
    turn = 2 * np.pi * t
    feet = {}
    for side, sign in (("left", 1), ("right", -1)):
        pedal = props.pedal_at(turn, sign)
        feet[f"{side}_leg"] = Reach(pedal[0], pedal[1] + 0.085, pedal[2] - 0.1)
    return Pose(
        height=saddle,
        shift=(0, -0.2),
        lean=lean,
        bend=lean * 0.5,
        nod=max(lean - 25, 0) * 0.4,
        left_arm=Reach(0.21, bar, 0.38),
        right_arm=Reach(-0.21, bar, 0.38),
        left_leg=feet["left_leg"],
        right_leg=feet["right_leg"],
    )
