"""Sports and exercise: what they look like and when."""

import itertools
from dataclasses import replace
from typing import Final

import numpy as np

from pose_lightning.convert.drawn import props
from pose_lightning.convert.drawn.acts import BACK, FRONTAL, SIDE, Act, Activity, astride, rider, wave
from pose_lightning.convert.drawn.canvas import Blob, Solid
from pose_lightning.convert.drawn.figures import Pose, Reach, Skeleton, Swing, unit


def _basketball(t: float, rng: np.random.Generator) -> Act:
    rise = max(wave(t), 0)
    pose = Pose(
        left_arm=Swing(150, 5, 45 - 20 * rise, 20),
        right_arm=Swing(158, 2, 50 - 40 * rise, 10),
        nod=-25,
        left_leg=Swing(20, 6, 35 - 20 * rise),
        right_leg=Swing(8, 6, 30 - 20 * rise),
        hop=0.3 * rise,
        bend=-6,
        point=35 * rise + 1,
    )

    def things(figure: Skeleton) -> list[Solid]:
        hands = (figure.points["left palm"] + figure.points["right palm"]) / 2
        return [props.ball(props.beside(hands, 0, 0.1, 0.06), 0.125, (215.0, 110.0, 45.0))]

    return Act(pose, things)


def _soccer(t: float, rng: np.random.Generator) -> Act:
    swing = wave(t)
    pose = Pose(
        right_leg=Swing(15 + 50 * swing, 8, 30 - 25 * swing),
        left_leg=Swing(-12, 4, 14),
        lean=-6 - 6 * swing,
        bend=14,
        left_arm=Swing(40, 55, 25),
        right_arm=Swing(-40, 40, 25),
        twist=18 * swing,
        nod=20,
    )

    def things(figure: Skeleton) -> list[Solid]:
        toe = figure.points["right toe"]
        return [props.ball([toe[0], max(toe[1] - 0.02, 0.11), toe[2] + 0.2 + 0.15 * max(swing, 0)], 0.11, props.WHITE)]

    return Act(pose, things)


def _tennis(t: float, rng: np.random.Generator) -> Act:
    swing = wave(t)
    if rng.random() < 0.5:
        arm, nod = Swing(150 + 20 * swing, 15, 35 - 30 * swing), -25.0
    else:
        arm, nod = Swing(45 + 40 * swing, 60, 20), 5.0
    pose = astride(
        rng,
        0.3,
        right_arm=arm,
        left_arm=Swing(80 - 20 * swing, 40, 30),
        twist=-25 + 30 * swing,
        nod=nod,
        bend=8,
        left_leg=Swing(25, 12, 35),
        right_leg=Swing(-15, 10, 20),
    )

    def things(figure: Skeleton) -> list[Solid]:
        grip, along = figure.points["right palm"], props.ahead(figure, "right")
        head = grip + 0.5 * along
        face = np.cross(along, [0.2, 0.3, 0.9])
        return [
            props.bar(grip - 0.08 * along, grip + 0.38 * along, 0.014, props.DARK),
            props.disc(head, 0.14, face, props.RED, 0.118),
            props.disc(head, 0.118, face, (215.0, 215.0, 205.0), 0.1),
            props.ball(props.beside(head, 0.1, 0.25, 0.4), 0.035, (210.0, 230.0, 70.0)),
        ]

    return Act(pose, things)


def _golf(t: float, rng: np.random.Generator) -> Act:
    angle = np.radians(-10 + 75 * wave(t))
    hands = np.array([0.42 * np.sin(angle), 1.28 - 0.5 * np.cos(angle), 0.38])
    pose = Pose(
        height=0.89,
        lean=18,
        bend=16,
        twist=25 * np.sin(angle),
        nod=38,
        look=-15 * np.sin(angle),
        left_arm=Reach(*(props.beside(hands, 0.03, 0.03, 0))),
        right_arm=Reach(*(hands - [0.03, 0.03, 0])),
        left_leg=Reach(0.22, 0.075, 0.05),
        right_leg=Reach(-0.22, 0.075, 0.05),
    )

    def things(figure: Skeleton) -> list[Solid]:
        grip = figure.points["right palm"]
        shaft = unit(np.array([np.sin(1.35 * angle), -np.cos(1.35 * angle), 0.55]))
        tip = grip + 0.85 * shaft
        return [
            props.bar(grip - 0.15 * shaft, tip, 0.012, props.STEEL),
            props.ball(tip, (0.06, 0.03, 0.035), props.DARK),
            props.ball([0.1, 0.03, 0.85], 0.03, props.WHITE),
        ]

    return Act(pose, things)


def _skateboarding(t: float, rng: np.random.Generator) -> Act:
    hop = 0.35 * max(wave(t), 0) * (rng.random() < 0.6)
    crouch = 0.12 + rng.uniform(0, 0.12)
    pose = Pose(
        height=0.92 - crouch + hop + 0.1,
        lean=15,
        bend=15,
        twist=30,
        look=35,
        nod=10,
        left_leg=Reach(0.33, 0.19 + hop, 0.02),
        right_leg=Reach(-0.3, 0.19 + hop, 0.02),
        left_arm=Swing(20, 75, 25),
        right_arm=Swing(-10, 70, 30),
    )

    def things(figure: Skeleton) -> list[Solid]:
        wheels: list[Solid] = [
            props.ball([x, 0.04 + hop, z], 0.035, props.YELLOW) for x in (-0.28, 0.28) for z in (-0.06, 0.1)
        ]
        return [*props.box((0, 0.095 + hop, 0.04), (0.82, 0.025, 0.2), props.RED), *wheels]

    return Act(pose, things)


def _martial_arts(t: float, rng: np.random.Generator) -> Act:
    high = rng.uniform(75, 105) - 12 * wave(t)
    pose = Pose(
        left_leg=Swing(25, high, 8 + 20 * max(-wave(t), 0)),
        right_leg=Swing(2, 8, 8),
        tilt=-34,
        sway=14,
        look=50,
        twist=15,
        left_arm=Swing(20, 45, 60),
        right_arm=Swing(55, 10, 105, 30),
        nod=5,
    )
    return Act(pose)


def _horseback(t: float, rng: np.random.Generator) -> Act:
    colour = [(120.0, 78.0, 48.0), (70.0, 52.0, 42.0), (175.0, 165.0, 150.0)][int(rng.integers(3))]
    pose = Pose(
        height=1.56 + 0.04 * wave(t),
        lean=8,
        bend=4,
        left_leg=Reach(0.34, 0.85, 0.12),
        right_leg=Reach(-0.34, 0.85, 0.12),
        left_arm=Reach(0.1, 1.68, 0.4),
        right_arm=Reach(-0.1, 1.68, 0.4),
        nod=8,
        point=1,
    )

    def things(figure: Skeleton) -> list[Solid]:
        reins: list[Solid] = [
            props.bar(figure.points[f"{side} palm"], (x, 1.6, 1.2), 0.008, props.DARK)
            for side, x in (("left", 0.06), ("right", -0.06))
        ]
        return props.horse(colour, 2 * np.pi * t) + reins

    return Act(pose, things)


def _climbing(t: float, rng: np.random.Generator) -> Act:
    high, up = 0.12 * wave(t), 0.55
    pose = Pose(
        height=up + 0.85,
        lean=-4,
        left_arm=Reach(0.3, up + 1.75 + high, 0.27),
        right_arm=Reach(-0.35, up + 1.45 - high, 0.27),
        left_leg=Reach(0.38, up + 0.28 - high, 0.12, (1, 0, 0.6)),
        right_leg=Reach(-0.26, up + 0.05 + high, 0.12, (-1, 0, 0.6)),
        nod=-35,
    )
    holds = rng.uniform([-1.1, 0.2], [1.1, 3.2], (22, 2))
    hues = rng.uniform(60, 230, (22, 3))

    def things(figure: Skeleton) -> list[Solid]:
        wall = props.box((0, 1.9, 0.55), (3.2, 3.9, 0.3), (150.0, 140.0, 125.0))
        near: list[Solid] = [
            props.ball(figure.points[name] + [0, -0.03, 0.05], 0.06, props.RED)
            for name in ("left palm", "right palm", "left toe", "right toe")
        ]
        grips: list[Solid] = [
            props.ball([x, y, 0.4], (0.09, 0.06, 0.05), (hue[0], hue[1], hue[2]))
            for (x, y), hue in zip(holds, hues, strict=True)
        ]
        return wall + near + grips

    return Act(pose, things)


def _softball(t: float, rng: np.random.Generator) -> Act:
    angle = np.radians(70 - 90 * max(wave(t), -0.4))
    hands = np.array([-0.12 - 0.22 * np.sin(angle), 1.3, 0.12 + 0.38 * np.cos(angle)])
    pose = Pose(
        height=0.84,
        lean=10,
        bend=8,
        twist=-30 * np.sin(angle),
        look=70,
        left_arm=Reach(*hands),
        right_arm=Reach(*(props.beside(hands, -0.04, 0.06, -0.02))),
        left_leg=Reach(0.36, 0.075, 0.05),
        right_leg=Reach(-0.3, 0.075, 0),
        nod=5,
    )

    def things(figure: Skeleton) -> list[Solid]:
        grip = figure.points["left palm"]
        along = unit(np.array([-0.3 * np.sin(angle), 0.55 * np.sin(angle) + 0.1, np.cos(angle)]))
        return [props.bar(grip - 0.05 * along, grip + 0.72 * along, 0.014, props.WOOD, 0.034)]

    return Act(pose, things)


def _yoga(t: float, rng: np.random.Generator) -> Act:
    breath, kind = 3 * wave(t), int(rng.integers(3))
    if kind == 0:  # warrior
        pose = Pose(
            left_leg=Swing(18, 62, 62, -65),
            right_leg=Swing(-6, 42, 2),
            left_arm=Swing(0, 90 + breath, 3),
            right_arm=Swing(0, 90 + breath, 3),
            look=70,
            turn=0,
        )
        pose = replace(
            pose, height=0.62, left_leg=Reach(0.55, 0.075, 0.05, (1, 0.1, 0.35)), right_leg=Reach(-0.62, 0.075, -0.03)
        )
    elif kind == 1:  # tree
        pose = Pose(
            left_leg=Reach(-0.02, 0.55, 0.06, (1, 0, 0.35)),
            right_leg=Reach(-0.06, 0.075, 0),
            height=0.93,
            shift=(-0.0, 0),
            left_arm=Reach(0.03, 1.98, 0.05, (1, 0, 0.1)),
            right_arm=Reach(-0.03, 1.98, 0.05, (-1, 0, 0.1)),
            sway=breath,
        )
    else:  # downward dog
        pose = Pose(
            height=0.88,
            lean=122 + breath,
            bend=8,
            nod=150,
            left_leg=Reach(0.12, 0.08, -0.45),
            right_leg=Reach(-0.12, 0.08, -0.45),
            left_arm=Reach(0.17, 0.06, 0.78, (1, 0, 0)),
            right_arm=Reach(-0.17, 0.06, 0.78, (-1, 0, 0)),
        )
    mat = (float(rng.uniform(60, 200)), float(rng.uniform(60, 200)), 160.0)
    long = (1.8, 0.012, 0.7) if kind < 2 else (0.7, 0.012, 1.9)
    return Act(pose, lambda figure: props.box((0, 0.0, 0.1), long, mat))


def _pushups(t: float, rng: np.random.Generator) -> Act:
    low = 0.5 + 0.5 * wave(t)
    height = 0.42 - 0.2 * low
    pose = Pose(
        height=height,
        lean=78 + 8 * low,
        bend=-2,
        nod=62 + 8 * low,
        left_leg=Reach(0.08, 0.11, -0.86),
        right_leg=Reach(-0.08, 0.11, -0.86),
        left_arm=Reach(0.27, 0.05, 0.5, (1, 0.5, -1)),
        right_arm=Reach(-0.27, 0.05, 0.5, (-1, 0.5, -1)),
        point=0.0,
    )
    return Act(pose)


def _rope_skipping(t: float, rng: np.random.Generator) -> Act:
    angle = 2 * np.pi * t
    pose = Pose(
        left_leg=Swing(14, 3, 24),
        right_leg=Swing(10, 3, 20),
        hop=0.12 * max(np.cos(angle), 0),
        left_arm=Reach(0.42, 0.98, 0.12),
        right_arm=Reach(-0.42, 0.98, 0.12),
        point=25,
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        k = np.linspace(0, 1, 17)[:, None]
        sag = 4 * k * (1 - k)
        line = right + k * (left - right) + sag * [0, -1.0 * np.cos(angle), 1.0 * np.sin(angle)]
        return [props.bar(a, b, 0.012, props.RED) for a, b in itertools.pairwise(line)]

    return Act(pose, things)


def _barbell(t: float, rng: np.random.Generator) -> Act:
    up = 0.5 + 0.5 * wave(t)
    if rng.random() < 0.5:
        hands, squat = 1.45 + 0.5 * up, 0.0
    else:
        hands, squat = 0.75 + 0.12 * up, 0.22 * (1 - up)
    y = hands - squat * 1.2
    pose = Pose(
        height=0.92 - squat,
        lean=60 * squat,
        bend=40 * squat,
        left_arm=Reach(0.32, y, 0.2 + 0.3 * squat),
        right_arm=Reach(-0.32, y, 0.2 + 0.3 * squat),
        left_leg=Reach(0.2, 0.075, 0),
        right_leg=Reach(-0.2, 0.075, 0),
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        along = unit(left - right)
        plates: list[Solid] = [
            Blob(end, np.column_stack([0.045 * along, [0, 0.2, 0], [0, 0, 0.2]]), props.DARK)
            for end in (right - 0.5 * along, left + 0.5 * along)
        ]
        return [props.through(figure, 0.6, 0.6, 0.016, props.STEEL), *plates]

    return Act(pose, things)


def _rowing_machine(t: float, rng: np.random.Generator) -> Act:
    pull = 0.5 + 0.5 * wave(t)
    z = -0.1 - 0.42 * pull
    pose = Pose(
        height=0.42,
        shift=(0, z),
        lean=22 - 40 * pull,
        bend=16,
        left_leg=Reach(0.1, 0.27, 0.48),
        right_leg=Reach(-0.1, 0.27, 0.48),
        left_arm=Reach(0.1, 0.72, 0.36 - 0.72 * pull),
        right_arm=Reach(-0.1, 0.72, 0.36 - 0.72 * pull),
    )

    def things(figure: Skeleton) -> list[Solid]:
        hands = (figure.points["left palm"] + figure.points["right palm"]) / 2
        return [
            *props.box((0, 0.2, -0.1), (0.1, 0.08, 1.9), props.STEEL),
            *props.box((0, 0.29, z), (0.32, 0.08, 0.3), props.DARK),
            props.through(figure, 0.12, 0.12, 0.015, props.DARK),
            props.bar(hands, (0, 0.45, 0.85), 0.006, props.DARK),
            props.disc((0, 0.42, 0.95), 0.28, (1, 0, 0), (90.0, 95.0, 100.0)),
            *props.box((0, 0.22, 0.62), (0.35, 0.25, 0.05), props.DARK),
        ]

    return Act(pose, things)


def _exercise_bike(t: float, rng: np.random.Generator) -> Act:
    pose = rider(t, 14, 1.03, 1.12)

    def things(figure: Skeleton) -> list[Solid]:
        turn = 2 * np.pi * t
        pedals: list[Solid] = [
            props.bar((0, 0.3, 0), props.pedal_at(turn, side), 0.015, props.STEEL) for side in (1, -1)
        ]
        body: list[Solid] = [
            props.bar((0, 0.05, -0.2), (0, 0.9, -0.22), 0.04, props.DARK),
            props.ball((0, 0.94, -0.22), (0.1, 0.04, 0.16), props.DARK),
            props.bar((0, 0.1, 0.4), (0, 1.05, 0.42), 0.04, props.DARK),
            props.bar((-0.22, 1.1, 0.44), (0.22, 1.1, 0.44), 0.018, props.STEEL),
        ]
        return [
            *pedals,
            *body,
            props.disc((0.03, 0.3, 0.42), 0.26, (1, 0, 0), (170.0, 60.0, 50.0)),
            *props.box((0, 0.04, 0.1), (0.45, 0.06, 1.0), props.STEEL),
            *props.box((0, 1.2, 0.5), (0.22, 0.16, 0.04), props.BLUE),
        ]

    return Act(pose, things)


def _stretching(t: float, rng: np.random.Generator) -> Act:
    more = 4 * wave(t)
    if rng.random() < 0.5:
        pose = Pose(
            left_leg=Swing(0, 18, 0),
            right_leg=Swing(0, 18, 0),
            tilt=0,
            sway=34 + more,
            right_arm=Swing(0, 160, 15),
            left_arm=Swing(0, 5, 10),
            cock=22,
        )
    else:
        pose = Pose(
            left_leg=Swing(78, 4, 2),
            right_leg=Swing(75, 4, 2),
            lean=76,
            bend=34 + more,
            nod=130,
            left_arm=Reach(0.1, 0.2, 0.3),
            right_arm=Reach(-0.1, 0.2, 0.3),
        )
    return Act(pose)


ACTIVITIES: Final = (
    Activity("skateboarding", "sports", _skateboarding, "street", "casual", FRONTAL, 5),
    Activity("softball, general", "sports", _softball, "field", "team", (*FRONTAL, 180.0), 4.5),
    Activity("rock climbing", "sports", _climbing, "rock", "sport", BACK, 3.5),
    Activity("golf", "sports", _golf, "field", "casual", (*FRONTAL, 180.0), 3.3),
    Activity("soccer", "sports", _soccer, "field", "team", weight=3.2),
    Activity("basketball", "sports", _basketball, "gym", "team", weight=3),
    Activity("horseback riding", "sports", _horseback, "field", "casual", SIDE, 2.8),
    Activity("martial arts, different types", "sports", _martial_arts, "gym", "white", FRONTAL, 2),
    Activity("rope skipping, general", "sports", _rope_skipping, "gym", "sport", FRONTAL, 1.5),
    Activity("tennis, doubles", "sports", _tennis, "gym", "sport", weight=1),
    Activity("yoga, Power", "conditioning exercise", _yoga, "gym", "sport", (*FRONTAL, 180.0, 90.0), 4),
    Activity("rowing, stationary", "conditioning exercise", _rowing_machine, "gym", "sport", SIDE, 2.2),
    Activity("resistance training", "conditioning exercise", _barbell, "gym", "sport", FRONTAL, 2),
    Activity("calisthenics", "conditioning exercise", _pushups, "gym", "sport", SIDE, 1.7),
    Activity("bicycling, stationary", "conditioning exercise", _exercise_bike, "gym", "sport", SIDE, 1.4),
    Activity("stretching, mild", "conditioning exercise", _stretching, "field", "sport", (*FRONTAL, 90.0), 0.7),
)
"""How often and where each is drawn, by category."""
