"""Work in the house, on the house, in the garden and for a living."""

from dataclasses import replace
from typing import Final

import numpy as np

from pose_lightning.convert.drawn import props
from pose_lightning.convert.drawn.acts import BACK, FRONTAL, SIDE, Act, Activity, astride, stride, wave
from pose_lightning.convert.drawn.canvas import Blob, Sheet, Solid
from pose_lightning.convert.drawn.figures import Pose, Reach, Skeleton, Swing, unit


def _cooking(t: float, rng: np.random.Generator) -> Act:
    stir = 0.09
    hand = Reach(-0.16 + stir * wave(t), 1.08, 0.42 + stir * wave(t, 0.25))
    pose = astride(rng, 0.06, lean=6, bend=10, nod=30, right_arm=hand, left_arm=Reach(0.24, 1.02, 0.38))

    def things(figure: Skeleton) -> list[Solid]:
        spoon = figure.points["right palm"]
        pot = [
            props.bar((-0.14, 0.92, 0.56), (-0.14, 1.0, 0.56), 0.16, props.STEEL),
            props.bar((0.25, 0.93, 0.55), (0.42, 0.96, 0.7), 0.03, props.GREEN),
        ]
        return [
            *props.counter(0.56),
            *pot,
            props.bar(props.beside(spoon, 0, 0.08, -0.02), (-0.14, 0.98, 0.55), 0.012, props.WOOD),
        ]

    return Act(pose, things)


def _ironing(t: float, rng: np.random.Generator) -> Act:
    x = -0.1 + 0.22 * wave(t)
    pose = astride(rng, 0.08, lean=8, bend=14, nod=32, right_arm=Reach(x, 1.06, 0.4), left_arm=Reach(0.36, 0.98, 0.4))

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        iron = [Blob(np.array([palm[0], 0.96, palm[2] + 0.02]), np.diag([0.13, 0.045, 0.06]), props.BLUE)]
        legs: list[Solid] = [
            props.bar((-0.4, 0, 0.5), (0.4, 0.88, 0.5), 0.018, props.STEEL),
            props.bar((0.4, 0, 0.5), (-0.4, 0.88, 0.5), 0.018, props.STEEL),
        ]
        board = Blob(np.array([0, 0.89, 0.48]), np.diag([0.75, 0.035, 0.19]), (190.0, 200.0, 225.0))
        cloth = Blob(np.array([0.25, 0.925, 0.48]), np.diag([0.3, 0.02, 0.16]), (220.0, 120.0, 120.0))
        return [*iron, *legs, board, cloth]

    return Act(pose, things)


def _vacuuming(t: float, rng: np.random.Generator) -> Act:
    push = 0.16 * wave(t)
    pose = Pose(
        left_leg=Swing(22, 6, 14),
        right_leg=Swing(-16, 6, 12),
        lean=14,
        bend=14,
        nod=35,
        right_arm=Reach(-0.18, 0.92, 0.42 + push),
        left_arm=Swing(5, 12, 35),
        twist=12,
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        nozzle = [-0.18, 0.05, 1.15 + push]
        body: list[Solid] = [
            props.ball((0.55, 0.17, 0.35), (0.17, 0.16, 0.25), props.RED),
            props.bar((0.55, 0.25, 0.5), palm, 0.022, props.DARK),
        ]
        return [props.bar(palm, nozzle, 0.02, props.STEEL), *props.box(nozzle, (0.3, 0.06, 0.12), props.DARK), *body]

    return Act(pose, things)


def _mopping(t: float, rng: np.random.Generator) -> Act:
    x = 0.14 * wave(t)
    pose = astride(
        rng,
        0.15,
        lean=12,
        bend=16,
        nod=35,
        twist=8 * wave(t),
        right_arm=Reach(-0.1 + x / 2, 1.26, 0.3),
        left_arm=Reach(0.08 + x, 0.96, 0.45),
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        foot = np.array([0.25 + 2 * x, 0.04, 0.95])
        bucket = props.bar((0.7, 0.02, 0.5), (0.7, 0.26, 0.5), 0.12, props.BLUE, 0.15)
        return [
            props.bar(right + 0.15 * unit(right - left), left, 0.014, props.WOOD),
            props.bar(left, foot, 0.014, props.WOOD),
            props.ball(foot, (0.2, 0.04, 0.09), props.WHITE),
            bucket,
        ]

    return Act(pose, things)


def _carrying_boxes(t: float, rng: np.random.Generator) -> Act:
    pose = replace(stride(t, 17, 26), lean=-6, right_arm=Reach(-0.25, 0.98, 0.3), left_arm=Reach(0.25, 0.98, 0.3))
    width = float(rng.uniform(0.4, 0.55))
    return Act(pose, lambda figure: props.box((0, 1.15, 0.42), (width, 0.4, 0.36), (190.0, 150.0, 100.0)))


def _making_bed(t: float, rng: np.random.Generator) -> Act:
    pull = 0.08 * wave(t)
    pose = Pose(
        left_leg=Swing(48, 10, 26),
        right_leg=Swing(40, 10, 10),
        lean=48,
        bend=22,
        nod=55,
        left_arm=Reach(0.3, 0.62, 0.75 + pull),
        right_arm=Reach(-0.3, 0.62, 0.72 + pull),
    )

    def things(figure: Skeleton) -> list[Solid]:
        bed = props.box((0, 0.25, 1.25), (2.0, 0.5, 1.3), props.WOOD) + props.box(
            (0.2, 0.52, 1.25), (1.5, 0.12, 1.32), (130.0, 160.0, 210.0)
        )
        return [*bed, props.ball((-0.75, 0.58, 1.2), (0.2, 0.09, 0.38), props.WHITE)]

    return Act(pose, things)


def _painting_wall(t: float, rng: np.random.Generator) -> Act:
    height = 1.75 + 0.25 * wave(t)
    pose = astride(
        rng,
        0.1,
        right_arm=Reach(-0.26, height, 0.38),
        left_arm=Swing(12, 14, 45),
        nod=-25,
        left_leg=Swing(14, 5, 10),
        bend=-4,
    )
    hue = (float(rng.uniform(150, 240)), float(rng.uniform(140, 220)), float(rng.uniform(90, 200)))

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        roller = np.array([palm[0], palm[1] + 0.3, 0.63])
        wall = props.box((0.2, 1.3, 0.75), (2.4, 2.6, 0.1), (225.0, 220.0, 210.0))
        patch = Sheet(np.array([[-1.0, 0.8, 0.694], [0.05, 0.75, 0.694], [0.1, 2.3, 0.694], [-0.9, 2.35, 0.694]]), hue)
        bucket = props.bar((0.55, 0.0, 0.35), (0.55, 0.22, 0.35), 0.11, props.STEEL, 0.12)
        return [
            *wall,
            patch,
            props.bar(palm - [0, 0.1, 0], roller, 0.012, props.STEEL),
            props.bar(roller - [0.13, 0, 0], props.beside(roller, 0.13, 0, 0), 0.045, hue),
            bucket,
        ]

    return Act(pose, things)


def _sawing(t: float, rng: np.random.Generator) -> Act:
    push = 0.13 * wave(t)
    pose = Pose(
        left_leg=Swing(34, 6, 30),
        right_leg=Swing(-4, 6, 14),
        lean=30,
        bend=18,
        nod=48,
        right_arm=Reach(-0.16, 0.95, 0.36 + push),
        left_arm=Reach(0.26, 0.9, 0.55),
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        blade = np.stack(
            [
                props.beside(palm, 0, 0.05, 0),
                props.beside(palm, 0, 0.03, 0.5),
                props.beside(palm, 0, -0.02, 0.5),
                props.beside(palm, 0, -0.12, 0.02),
            ]
        )
        bench = props.table((0, 0, 0.75), (1.2, 0.72, 0.35))
        plank = props.box((0.1, 0.78, 0.68), (1.4, 0.06, 0.16), (205.0, 165.0, 110.0))
        return [*bench, *plank, Sheet(blade, (200.0, 205.0, 210.0)), *props.box(palm, (0.035, 0.11, 0.1), props.RED)]

    return Act(pose, things)


def _ladder_work(t: float, rng: np.random.Generator) -> Act:
    brush = 0.12 * wave(t)
    up = 0.56
    pose = Pose(
        height=up + 0.92,
        lean=4,
        left_leg=Reach(0.1, up + 0.36, 0.22),
        right_leg=Reach(-0.1, up + 0.09, 0.12),
        left_arm=Reach(0.2, up + 1.3, 0.45),
        right_arm=Reach(-0.42 + brush, up + 1.85, 0.42),
        nod=-30,
        look=-10,
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        brushes = [
            props.bar(palm - [0, 0.05, 0], props.beside(palm, 0, 0.12, 0.05), 0.014, props.WOOD),
            *props.box(props.beside(palm, 0, 0.16, 0.07), (0.1, 0.09, 0.03), props.DARK),
        ]
        return [
            *props.ladder(0.22, 2.6, 0.42),
            *brushes,
            *props.box((0, 1.6, 0.95), (2.6, 3.2, 0.1), (175.0, 130.0, 105.0)),
        ]

    return Act(pose, things)


def _roofing(t: float, rng: np.random.Generator) -> Act:
    lift = 0.18 * max(wave(t), -0.2)
    pose = Pose(
        height=0.5,
        lean=34,
        bend=24,
        nod=52,
        left_leg=Reach(0.14, 0.08, 0.12, (0.1, 0, 1)),
        right_leg=Reach(-0.14, 0.09, -0.42, (0, -0.6, 1)),
        right_arm=Reach(-0.16, 0.42 + lift, 0.5),
        left_arm=Reach(0.14, 0.22, 0.58),
        point=1,
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        head = props.beside(palm, 0.0, 0.2, 0.14)
        return [
            props.bar(palm - [0, 0.06, 0.05], head, 0.016, props.WOOD),
            props.bar(head - [0, -0.03, 0.06], props.beside(head, 0, -0.03, 0.06), 0.028, props.STEEL),
            *props.box((0, 0.06, 0.75), (0.9, 0.12, 0.35), props.BROWN),
        ]

    return Act(pose, things)


def _mowing(t: float, rng: np.random.Generator) -> Act:
    pose = replace(
        stride(t, 24, 32), lean=6, bend=8, right_arm=Reach(-0.2, 1.02, 0.42), left_arm=Reach(0.2, 1.02, 0.42), nod=15
    )

    def things(figure: Skeleton) -> list[Solid]:
        rails: list[Solid] = [props.bar((x, 1.02, 0.5), (x, 0.25, 1.05), 0.016, props.DARK) for x in (-0.2, 0.2)]
        wheels: list[Solid] = [
            props.disc((x, 0.1, z), 0.11, (1, 0, 0), props.DARK) for x in (-0.28, 0.28) for z in (1.05, 1.5)
        ]
        deck = props.box((0, 0.2, 1.28), (0.52, 0.16, 0.55), props.RED)
        return [
            *rails,
            props.bar((-0.22, 1.02, 0.5), (0.22, 1.02, 0.5), 0.016, props.DARK),
            *wheels,
            *deck,
            props.ball((0, 0.32, 1.28), (0.14, 0.1, 0.14), props.DARK),
        ]

    return Act(pose, things)


def _digging(t: float, rng: np.random.Generator) -> Act:
    dip = 0.12 * wave(t)
    pose = Pose(
        left_leg=Swing(36, 8, 38),
        right_leg=Swing(-8, 8, 16),
        lean=34,
        bend=22,
        nod=45,
        twist=-12,
        right_arm=Reach(-0.14, 1.02 + dip, 0.36),
        left_arm=Reach(0.05, 0.6 + dip, 0.62),
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        along = unit(left - right)
        tip = left + 0.45 * along
        side = np.cross(along, [0, 1, 0]) * 0.11
        blade = np.stack(
            [tip - side, tip + side, tip + side + 0.22 * along, tip + 0.3 * along, tip - side + 0.22 * along]
        )
        mound = [props.ball((0.25, 0.0, 1.1), (0.4, 0.22, 0.3), (95.0, 70.0, 48.0))]
        return [props.bar(right - 0.1 * along, tip, 0.017, props.WOOD), Sheet(blade, props.STEEL), *mound]

    return Act(pose, things)


def _trimming(t: float, rng: np.random.Generator) -> Act:
    open_ = 0.07 + 0.05 * wave(t)
    seed = int(rng.integers(1000))
    pose = astride(rng, 0.1, lean=8, bend=6, nod=12, right_arm=Reach(-open_, 1.3, 0.4), left_arm=Reach(open_, 1.3, 0.4))

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        middle = (right + left) / 2 + [0, 0.02, 0.22]
        blades: list[Solid] = [props.bar(palm, middle, 0.015, props.RED) for palm in (right, left)]
        blades += [
            props.bar(middle, props.beside(middle, sign * open_, 0.04, 0.32), 0.018, props.STEEL, 0.006)
            for sign in (1, -1)
        ]
        return blades + props.bush(0.0, 1.25, 0.75, seed)

    return Act(pose, things)


def _chopping(t: float, rng: np.random.Generator) -> Act:
    rise = 0.5 + 0.5 * wave(t)
    angle = np.radians(20 + 140 * rise)
    hands = np.array([0, 1.25 - 0.55 * np.cos(angle), 0.12 + 0.42 * np.sin(angle)])
    pose = Pose(
        left_leg=Swing(14, 14, 14),
        right_leg=Swing(14, 14, 16),
        lean=26 - 28 * rise,
        bend=22 - 26 * rise,
        nod=35 - 25 * rise,
        right_arm=Reach(*(props.beside(hands, -0.05, 0.05, 0))),
        left_arm=Reach(*(props.beside(hands, 0.05, -0.03, 0))),
    )

    def things(figure: Skeleton) -> list[Solid]:
        grip = (figure.points["left palm"] + figure.points["right palm"]) / 2
        shaft = unit(np.array([0.0, -np.cos(angle * 1.15), np.sin(angle * 1.15)]))
        head = grip + 0.55 * shaft
        edge = np.cross(shaft, [1, 0, 0])
        axe = np.stack(
            [
                head - 0.05 * edge,
                head - 0.05 * edge + 0.1 * shaft,
                head + 0.16 * edge + 0.13 * shaft,
                head + 0.16 * edge - 0.04 * shaft,
            ]
        )
        block: list[Solid] = [
            props.bar((0, 0, 1.1), (0, 0.32, 1.1), 0.2, props.BROWN),
            props.bar((0, 0.5, 1.1), (0, 0.7, 1.1), 0.07, (190.0, 150.0, 100.0)),
        ]
        return [props.bar(grip - 0.15 * shaft, head + 0.1 * shaft, 0.017, props.WOOD), Sheet(axe, props.STEEL), *block]

    return Act(pose, things)


def _planting(t: float, rng: np.random.Generator) -> Act:
    dig = 0.05 * wave(t)
    seed = int(rng.integers(1000))
    pose = Pose(
        height=0.46,
        lean=40,
        bend=28,
        nod=60,
        left_leg=Reach(0.14, 0.1, -0.42, (0, -0.7, 1)),
        right_leg=Reach(-0.14, 0.1, -0.42, (0, -0.7, 1)),
        left_arm=Reach(0.13, 0.12, 0.52),
        right_arm=Reach(-0.16, 0.14 + dig, 0.5),
        point=20,
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        pots: list[Solid] = [
            props.bar((x, 0, 0.85), (x, 0.14, 0.85), 0.07, (180.0, 95.0, 60.0), 0.1) for x in (0.45, 0.75)
        ]
        return [
            *pots,
            props.bar(palm, props.beside(palm, 0, -0.1, 0.15), 0.02, props.STEEL),
            *props.bush(0.0, 0.8, 0.22, seed),
            *props.bush(0.45, 0.85, 0.16, seed),
        ]

    return Act(pose, things)


def _chainsaw(t: float, rng: np.random.Generator) -> Act:
    pose = Pose(
        left_leg=Swing(24, 10, 24),
        right_leg=Swing(-14, 10, 14),
        lean=20,
        bend=16,
        nod=35,
        right_arm=Reach(-0.2, 0.98 + 0.04 * wave(t), 0.28),
        left_arm=Reach(0.12, 1.05 + 0.04 * wave(t), 0.48),
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        middle = (right + left) / 2 - [0, 0.08, 0]
        return [
            *props.box(middle, (0.16, 0.18, 0.3), (240.0, 120.0, 30.0)),
            *props.box(props.beside(middle, 0, -0.02, 0.42), (0.03, 0.1, 0.55), props.STEEL),
            props.bar((-0.9, 0.55, 1.05), (0.9, 0.6, 1.05), 0.2, props.BROWN),
        ]

    return Act(pose, things)


def _fire_fighter(t: float, rng: np.random.Generator) -> Act:
    pose = Pose(
        left_leg=Swing(28, 8, 32),
        right_leg=Swing(-18, 8, 18),
        lean=10,
        bend=8,
        right_arm=Reach(-0.2, 1.05, 0.2),
        left_arm=Reach(0.02, 1.2, 0.5),
        twist=-15 + 8 * wave(t),
        look=12,
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        along = unit(left - right)
        jet = left + 0.35 * along
        spray: list[Solid] = [
            props.bar(
                jet,
                jet + 1.3 * along + np.array([0, 0.35, 0]) + 0.12 * np.array([np.cos(k), np.sin(k), 0]),
                0.015,
                (215.0, 230.0, 240.0),
                0.03,
            )
            for k in range(6)
        ]
        hose: list[Solid] = [
            props.bar(right - 0.1 * along, (-0.35, 0.1, -0.5), 0.04, (200.0, 190.0, 150.0)),
            props.bar((-0.35, 0.06, -0.5), (0.5, 0.05, -1.2), 0.04, (200.0, 190.0, 150.0)),
        ]
        return [props.bar(right, jet, 0.03, props.DARK), *hose, *spray]

    return Act(pose, things)


def _chef(t: float, rng: np.random.Generator) -> Act:
    toss = 0.08 * max(wave(t), 0)
    pose = astride(
        rng, 0.08, lean=4, bend=6, nod=22, right_arm=Reach(-0.14, 1.12 + toss, 0.42), left_arm=Reach(0.3, 1.02, 0.36)
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm, head = figure.points["right palm"], figure.points["head top"]
        pan = props.beside(palm, 0.06, -0.02, 0.3)
        food: list[Solid] = [
            props.ball(props.beside(pan, 0.05 * k, 0.05 + 2 * toss, 0.03 * (k % 2)), 0.035, props.YELLOW)
            for k in (-1, 0, 1)
        ]
        toque: list[Solid] = [
            props.bar(head - [0, 0.05, 0], props.beside(head, 0, 0.1, -0.01), 0.085, props.WHITE),
            props.ball(props.beside(head, 0, 0.16, -0.01), (0.13, 0.08, 0.13), props.WHITE),
        ]
        return [
            *props.counter(0.62, props.STEEL),
            props.bar(palm, pan, 0.016, props.DARK),
            props.disc(pan, 0.15, (0, 1, 0.15), props.DARK),
            *food,
            *toque,
        ]

    return Act(pose, things)


def _massage(t: float, rng: np.random.Generator) -> Act:
    push = 0.08 * wave(t)
    pose = Pose(
        left_leg=Swing(26, 6, 14),
        right_leg=Swing(10, 6, 6),
        lean=26,
        bend=18,
        nod=48,
        left_arm=Reach(0.12 + push, 0.98, 0.52),
        right_arm=Reach(-0.16 + push, 0.98, 0.5),
    )

    def things(figure: Skeleton) -> list[Solid]:
        towel = Blob(np.array([0.1, 0.84, 0.68]), np.diag([0.75, 0.1, 0.2]), props.WHITE)
        return [*props.table((0, 0, 0.68), (1.9, 0.74, 0.6), props.BROWN), towel]

    return Act(pose, things)


def _clipboard(t: float, rng: np.random.Generator) -> Act:
    write = 0.03 * wave(t)
    pose = astride(rng, 0.05, nod=28, left_arm=Reach(0.1, 1.15, 0.3), right_arm=Reach(-0.06 + write, 1.22, 0.3))

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["left palm"]
        page = palm + np.array([[-0.16, -0.06, -0.02], [0.06, -0.06, -0.02], [0.06, 0.14, 0.16], [-0.16, 0.14, 0.16]])
        return [
            Sheet(page, props.WHITE),
            props.bar(
                figure.points["right palm"], figure.points["right palm"] + [0.03, -0.08, 0.02], 0.008, props.BLUE
            ),
        ]

    return Act(pose, things)


ACTIVITIES: Final = (
    Activity("forestry", "occupation", _chainsaw, "forest", "work", weight=3),
    Activity("cook, chef", "occupation", _chef, "room", "white", FRONTAL, 2),
    Activity("massage therapist, standing", "occupation", _massage, "room", "white", FRONTAL, 1.5),
    Activity("standing, doing work", "occupation", _clipboard, "workshop", "work", FRONTAL, 1.2),
    Activity("fire fighter", "occupation", _fire_fighter, "street", "fire", SIDE, 1),
    Activity("cooking or food preparation", "home activities", _cooking, "room", views=FRONTAL, weight=4),
    Activity(
        "moving furniture, household items, carrying boxes", "home activities", _carrying_boxes, "room", weight=1.8
    ),
    Activity("making bed, changing linens", "home activities", _making_bed, "room", views=SIDE, weight=1.5),
    Activity("ironing", "home activities", _ironing, "room", views=FRONTAL, weight=1.3),
    Activity("vacuuming, general, moderate effort", "home activities", _vacuuming, "room", weight=1.2),
    Activity("mopping, standing, light effort", "home activities", _mopping, "room", weight=1),
    Activity("trimming shrubs or trees", "lawn and garden", _trimming, "field", views=SIDE, weight=3),
    Activity(
        "mowing lawn, walk, hand mower (Taylor Code 570)", "lawn and garden", _mowing, "field", views=SIDE, weight=2.5
    ),
    Activity("chopping wood", "lawn and garden", _chopping, "forest", "work", SIDE, 2.2),
    Activity("digging, spading, filling garden, composting", "lawn and garden", _digging, "field", "work", SIDE, 1.5),
    Activity(
        "planting, potting, transplanting seedlings or plants, light effort",
        "lawn and garden",
        _planting,
        "field",
        "straw",
        SIDE,
        1.3,
    ),
    Activity(
        "painting inside house,wallpapering, scraping paint",
        "home repair",
        _painting_wall,
        "room",
        "work",
        (180.0, 140.0, -140.0, 110.0, -110.0),
        3,
    ),
    Activity("carpentry, sawing hardwood", "home repair", _sawing, "workshop", "work", SIDE, 2.2),
    Activity("painting, outside home (Taylor Code 650)", "home repair", _ladder_work, "street", "work", BACK, 2),
    Activity("roofing", "home repair", _roofing, "workshop", "work", SIDE, 1.2),
)
"""How often and where each is drawn, by category."""
