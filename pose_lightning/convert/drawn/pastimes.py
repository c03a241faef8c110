"""Dance, music, fishing, quiet, talk, religion, self care and volunteers."""

import itertools
from dataclasses import replace
from typing import Any, Final

import numpy as np

from pose_lightning.convert.drawn import props
from pose_lightning.convert.drawn.acts import FRONT, FRONTAL, SIDE, Act, Activity, astride, sitting, stride, wave
from pose_lightning.convert.drawn.canvas import Blob, Sheet, Solid
from pose_lightning.convert.drawn.figures import Pose, Reach, Skeleton, Swing, unit


def _ballet(t: float, rng: np.random.Generator) -> Act:
    if rng.random() < 0.5:
        pose = Pose(
            right_leg=Swing(-75 - 10 * wave(t), 10, 6),
            left_leg=Swing(22, 2, 0),
            lean=28,
            bend=-38,
            nod=-8,
            left_arm=Swing(100, 25, 8),
            right_arm=Swing(0, 92, 8),
            point=55,
        )
    else:
        pose = Pose(
            right_leg=Swing(30, 62, 105),
            left_leg=Swing(0, 3, 0),
            point=60,
            left_arm=Swing(30, 150 - 8 * wave(t), 35, -20),
            right_arm=Swing(35, 140 + 8 * wave(t), 35, -20),
            look=25,
            nod=-10,
        )
    return Act(pose)


def _ballroom(t: float, rng: np.random.Generator) -> Act:
    pose = replace(
        stride(t, 18, 25),
        left_arm=Swing(35, 88, 35, -30),
        right_arm=Swing(60, 50, 80, 30),
        sway=10 * wave(t),
        bend=-8,
        look=35,
        nod=-8,
    )
    return Act(pose)


def _step_aerobics(t: float, rng: np.random.Generator) -> Act:
    lift = 30 * wave(t)
    pose = Pose(
        height=1.0,
        left_leg=Reach(0.1, 0.25, 0.35),
        right_leg=Reach(-0.12, 0.085, -0.1),
        left_arm=Swing(10, 130 + lift, 15),
        right_arm=Swing(10, 130 + lift, 15),
        lean=6,
    )
    return Act(pose, lambda figure: props.box((0, 0.085, 0.42), (0.95, 0.17, 0.4), (70.0, 120.0, 190.0)))


def _cultural_dancing(t: float, rng: np.random.Generator) -> Act:
    swing, side = wave(t), float(rng.choice([-1, 1]))
    pose = Pose(
        left_leg=Swing(18 + 10 * swing, 8, 42),
        right_leg=Swing(-5, 6, 10),
        tilt=9 * side * swing,
        sway=-16 * side * swing,
        left_arm=Swing(30, 125 + 15 * swing, 55, -70),
        right_arm=Swing(20, 60 - 20 * swing, 75, -40),
        look=-20 * side,
        twist=14 * swing,
    )
    return Act(pose)


def _disco(t: float, rng: np.random.Generator) -> Act:
    swing = wave(t)
    pose = Pose(
        left_leg=Swing(14, 16, 28),
        right_leg=Swing(0, 18, 12),
        tilt=8 * swing,
        sway=-12 * swing,
        right_arm=Swing(20, 140 + 12 * swing, 8),
        left_arm=Swing(-8, 35, 105, 20),
        look=-20,
        nod=-12,
    )
    return Act(pose)


def _rock_guitar(t: float, rng: np.random.Generator) -> Act:
    strum = 0.05 * wave(t)
    pose = astride(
        rng,
        0.28,
        bend=-4,
        nod=15 + 8 * wave(t),
        right_arm=Reach(-0.12, 1.05 + strum, 0.24),
        left_arm=Reach(0.44, 1.24, 0.28),
        left_leg=Swing(14, 10, 18),
    )
    hue = [(190.0, 50.0, 40.0), (205.0, 140.0, 70.0), (40.0, 60.0, 120.0)][int(rng.integers(3))]
    return Act(pose, lambda figure: props.guitar(figure, hue))


def _seated_guitar(t: float, rng: np.random.Generator) -> Act:
    pose = sitting(
        nod=25, bend=10, right_arm=Reach(-0.12, 0.82 + 0.04 * wave(t), 0.27), left_arm=Reach(0.42, 0.98, 0.32)
    )
    return Act(pose, lambda figure: props.guitar(figure, (205.0, 150.0, 85.0)) + props.chair(back=False))


def _violin(t: float, rng: np.random.Generator) -> Act:
    bow = 0.1 * wave(t)
    seated = rng.random() < 0.6
    base = 0.38 if seated else 0.0
    arms: dict[str, Any] = {
        "left_arm": Reach(0.3, 1.42 - base, 0.36, (0.3, -1, 0)),
        "right_arm": Reach(-0.16 - bow, 1.36 - base, 0.4 + 0.4 * bow, (-1, -0.6, 0)),
    }
    pose = sitting(nod=10, look=25, cock=12, **arms) if seated else astride(rng, 0.08, nod=10, look=25, cock=12, **arms)

    def things(figure: Skeleton) -> list[Solid]:
        left, chin = figure.points["left palm"], figure.points["upper neck"] + [0.09, -0.04, 0.1]
        along = unit(left - chin)
        up = unit(np.cross(along, np.cross([0, 1, 0], along)))
        axes = np.column_stack([along, up, np.cross(along, up)])
        string = chin + 0.2 * along + 0.05 * up
        palm = figure.points["right palm"]
        body: list[Solid] = [
            Blob(chin + 0.13 * along, axes * np.array([0.17, 0.03, 0.095]), (165.0, 85.0, 40.0)),
            props.bar(chin + 0.25 * along, left + 0.1 * along, 0.015, props.DARK),
        ]
        bowed = unit(string - palm)
        return [*body, props.bar(palm, palm + 0.62 * bowed, 0.009, props.BROWN), *(props.chair() if seated else [])]

    return Act(pose, things)


def _drums(t: float, rng: np.random.Generator) -> Act:
    beat = 0.14 * wave(t)
    pose = sitting(
        0.5,
        nod=12,
        left_arm=Reach(0.22, 1.02 + beat, 0.42),
        right_arm=Reach(-0.22, 1.02 - beat, 0.42),
        left_leg=Reach(0.26, 0.08, 0.4),
        right_leg=Reach(-0.24, 0.08, 0.42),
    )

    def things(figure: Skeleton) -> list[Solid]:
        hue = props.RED
        kit: list[Solid] = []
        for x, z, low, high, radius in (
            (0.0, 0.95, 0.08, 0.5, 0.28),
            (0.34, 0.55, 0.55, 0.7, 0.17),
            (-0.42, 0.62, 0.35, 0.68, 0.2),
        ):
            kit += [
                props.bar((x, low, z), (x, high, z), radius, hue),
                props.disc((x, high + 0.12, z), radius, (0, 1, 0), props.WHITE),
            ]
        for x, y, z in ((0.65, 1.1, 0.75), (-0.62, 1.15, 0.8)):
            kit += [
                props.disc((x, y, z), 0.22, (0.2 * np.sign(x), 1, -0.2), (225.0, 190.0, 80.0)),
                props.bar((x, 0, z), (x, y, z), 0.012, props.STEEL),
            ]
        sticks: list[Solid] = []
        for side in ("left", "right"):
            palm = figure.points[f"{side} palm"]
            sticks.append(props.bar(palm, props.beside(palm, 0, -0.1 + 0.3 * (palm[1] - 1.0), 0.3), 0.011, props.WOOD))
        return [*kit, *sticks, *props.chair(0.5, props.DARK, back=False)]

    return Act(pose, things)


def _cello(t: float, rng: np.random.Generator) -> Act:
    bow = 0.12 * wave(t)
    pose = sitting(
        nod=15,
        left_leg=Reach(0.32, 0.08, 0.38),
        right_leg=Reach(-0.32, 0.08, 0.38),
        left_arm=Reach(0.12, 1.12, 0.22),
        right_arm=Reach(-0.28 - bow, 0.72, 0.42),
    )

    def things(figure: Skeleton) -> list[Solid]:
        hue = (150.0, 80.0, 40.0)
        body: list[Solid] = [
            Blob(np.array([0.02, 0.45, 0.42]), np.diag([0.21, 0.24, 0.1]), hue),
            Blob(np.array([0.03, 0.78, 0.36]), np.diag([0.16, 0.2, 0.09]), hue),
        ]
        palm = figure.points["right palm"]
        return [
            *body,
            props.bar((0.02, 0.0, 0.46), (0.02, 0.25, 0.44), 0.012, props.STEEL),
            props.bar((0.03, 0.9, 0.36), (0.1, 1.4, 0.2), 0.022, props.DARK),
            props.bar(palm, props.beside(palm, 0.65, 0.03, 0.1), 0.01, props.BROWN),
            *props.chair(),
        ]

    return Act(pose, things)


def _piano(t: float, rng: np.random.Generator) -> Act:
    finger = 0.04 * wave(t)
    pose = sitting(
        0.48, nod=22, left_arm=Reach(0.24, 0.82 + finger, 0.4), right_arm=Reach(-0.24, 0.82 - finger, 0.4), bend=10
    )

    def things(figure: Skeleton) -> list[Solid]:
        keys = props.box((0, 0.73, 0.58), (1.3, 0.03, 0.18), props.WHITE)
        blacks = [
            face
            for x in np.arange(-0.6, 0.6, 0.09)
            for face in props.box((x, 0.755, 0.63), (0.035, 0.02, 0.1), props.DARK)
        ]
        case = props.box((0, 0.68, 0.66), (1.4, 0.07, 0.36), props.DARK) + props.box(
            (0, 0.6, 0.92), (1.45, 1.2, 0.26), props.DARK
        )
        feet = [face for x in (-0.65, 0.65) for face in props.box((x, 0.33, 0.55), (0.08, 0.66, 0.08), props.DARK)]
        return [*keys, *blacks, *case, *feet, *props.chair(0.48, props.BROWN, back=False)]

    return Act(pose, things)


def _trombone(t: float, rng: np.random.Generator) -> Act:
    slide = 0.1 * wave(t)
    pose = astride(
        rng,
        0.06,
        bend=-5,
        nod=-4,
        left_arm=Reach(0.1, 1.45, 0.22, (1, -1, 0)),
        right_arm=Reach(-0.06, 1.38, 0.45 + slide, (-1, -1, 0)),
    )

    def things(figure: Skeleton) -> list[Solid]:
        mouth = figure.points["upper neck"] + [0.0, 0.05, 0.13]
        gold = (215.0, 175.0, 70.0)
        end = figure.points["right palm"] + [0.04, -0.02, 0.3]
        bell = props.beside(mouth, 0.14, 0.1, 0.6)
        return [
            props.bar(mouth, end, 0.014, gold),
            props.bar(props.beside(end, 0, -0.1, 0), props.beside(mouth, 0.02, -0.12, 0.05), 0.014, gold),
            props.bar(end, props.beside(end, 0, -0.1, 0), 0.014, gold),
            props.bar(props.beside(mouth, 0.12, 0.08, -0.2), bell, 0.016, gold),
            props.bar(bell, props.beside(bell, 0, 0, 0.14), 0.03, gold, 0.11),
        ]

    return Act(pose, things)


def _conducting(t: float, rng: np.random.Generator) -> Act:
    beat = wave(t)
    pose = astride(
        rng, 0.05, right_arm=Swing(70 + 22 * beat, 40, 45, -20), left_arm=Swing(62 - 18 * beat, 48, 55, -20), nod=5
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm, along = figure.points["right palm"], props.ahead(figure, "right")
        desk: list[Solid] = [props.bar((0, 0, 0.75), (0, 0.98, 0.75), 0.02, props.DARK)]
        page = np.array([[-0.25, 0.95, 0.68], [0.25, 0.95, 0.68], [0.25, 1.2, 0.84], [-0.25, 1.2, 0.84]])
        return [props.bar(palm, palm + 0.35 * along, 0.007, props.WHITE), *desk, Sheet(page, props.WHITE)]

    return Act(pose, things)


def _rod(figure: Skeleton, rise: float) -> list[Solid]:
    palm = figure.points["right palm"]
    k = np.linspace(0, 1, 7)
    line = palm + np.column_stack([0 * k, 1.0 * k - 0.35 * k**2 + rise * k, 1.75 * k])
    parts: list[Solid] = [
        props.bar(a, b, 0.016 * (1 - i / 9), props.BROWN) for i, (a, b) in enumerate(itertools.pairwise(line))
    ]
    tip = line[-1]
    return [
        *parts,
        props.bar(palm - [0, 0.12, 0.2], palm, 0.02, props.DARK),
        props.bar(tip, [tip[0], 0.0, tip[2] + 0.5], 0.004, props.WHITE),
        props.ball(props.beside(palm, 0, -0.05, 0.08), 0.04, props.STEEL),
    ]


def _fishing(t: float, rng: np.random.Generator) -> Act:
    pose = astride(
        rng,
        0.12,
        lean=-4,
        bend=4,
        right_arm=Reach(-0.12, 1.12 + 0.04 * wave(t), 0.34),
        left_arm=Reach(0.04, 1.06, 0.4),
        nod=8,
    )
    return Act(pose, lambda figure: _rod(figure, 0.15 * wave(t)))


def _boat_fishing(t: float, rng: np.random.Generator) -> Act:
    pose = sitting(0.34, right_arm=Reach(-0.12, 0.78 + 0.04 * wave(t), 0.36), left_arm=Reach(0.06, 0.72, 0.4), nod=8)
    hue = [props.GREEN, props.BROWN, props.BLUE][int(rng.integers(3))]
    return Act(
        pose,
        lambda figure: (
            _rod(figure, 0.1 * wave(t))
            + props.boat(hue, 1.5, 0.62, 0.42)
            + props.box((0, 0.32, 0), (1.1, 0.05, 0.3), props.WOOD)
        ),
    )


def _archery(t: float, rng: np.random.Generator) -> Act:
    draw = 0.05 * wave(t)
    pose = astride(
        rng, 0.2, look=82, left_arm=Swing(0, 90, 2), right_arm=Reach(0.0 - draw, 1.46, 0.14, (-1, 0.1, -0.1)), sway=2
    )

    def things(figure: Skeleton) -> list[Solid]:
        grip, string = figure.points["left palm"], figure.points["right palm"]
        k = np.linspace(-1, 1, 11)
        limb = grip + np.column_stack([-0.22 * k**2, 0.68 * k, 0 * k])
        wood: list[Solid] = [props.bar(a, b, 0.018, props.BROWN) for a, b in itertools.pairwise(limb)]
        cords: list[Solid] = [props.bar(limb[end], string, 0.005, props.WHITE) for end in (0, -1)]
        return [*wood, *cords, props.bar(string, props.beside(grip, 0.12, 0.02, 0), 0.008, props.YELLOW)]

    return Act(pose, things)


def _shooting(t: float, rng: np.random.Generator) -> Act:
    aim = 0.05 * wave(t)
    pose = astride(
        rng,
        0.2,
        twist=-25,
        look=22,
        nod=4,
        cock=-10,
        lean=4,
        left_arm=Reach(0.02, 1.42 + aim, 0.52),
        right_arm=Reach(-0.14, 1.4 + 0.5 * aim, 0.24, (-1, -0.6, 0)),
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        along = unit(left - right)
        lift = np.array([0, 0.04, 0])
        return [
            props.bar(right - 0.28 * along, right + 0.1 * along + lift, 0.035, props.BROWN, 0.025),
            props.bar(right + lift, left + 0.55 * along + lift, 0.018, props.DARK),
        ]

    return Act(pose, things)


def _dip_net(t: float, rng: np.random.Generator) -> Act:
    pose = Pose(
        left_leg=Swing(26, 10, 22),
        right_leg=Swing(4, 10, 8),
        lean=26,
        bend=14,
        nod=40,
        right_arm=Reach(-0.16, 1.0, 0.3),
        left_arm=Reach(0.0, 0.78 + 0.06 * wave(t), 0.55),
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        along = unit(left - right)
        ring = left + 0.75 * along
        bag = Blob(props.beside(ring, 0, -0.1, 0.05), np.diag([0.2, 0.18, 0.2]), (120.0, 150.0, 120.0))
        return [
            props.bar(right - 0.2 * along, left + 0.55 * along, 0.015, props.WOOD),
            props.disc(ring, 0.23, (0, 1, 0.3), props.STEEL, 0.2),
            bag,
        ]

    return Act(pose, things)


def _standing(t: float, rng: np.random.Generator) -> Act:
    kinds: list[dict[str, Any]] = [
        {},
        {"left_arm": Reach(-0.16, 1.16, 0.17, (1, -0.8, 0)), "right_arm": Reach(0.16, 1.2, 0.19, (-1, -0.8, 0))},
        {"left_arm": Reach(0.2, 0.95, 0.02, (1, 0, -0.6)), "right_arm": Swing(0, 7, 10)},
    ]
    return Act(astride(rng, 0.04, look=12 * wave(t / 4), **kinds[int(rng.integers(3))]))


def _sitting_quietly(t: float, rng: np.random.Generator) -> Act:
    hue = (float(rng.uniform(60, 200)), float(rng.uniform(50, 150)), float(rng.uniform(40, 140)))
    return Act(
        sitting(look=10 * wave(t), left_leg=Reach(0.12 + float(rng.uniform(0, 0.1)), 0.08, 0.44)),
        lambda figure: props.chair(colour=hue),
    )


def _sofa(colour: tuple[float, float, float]) -> list[Solid]:
    return (
        props.box((0, 0.2, 0.05), (1.9, 0.4, 0.75), colour)
        + props.box((0, 0.55, -0.38), (1.9, 0.7, 0.2), colour)
        + props.box((1.0, 0.35, 0.05), (0.2, 0.6, 0.75), colour)
        + props.box((-1.0, 0.35, 0.05), (0.2, 0.6, 0.75), colour)
    )


def _reclining(t: float, rng: np.random.Generator) -> Act:
    hue = (float(rng.uniform(90, 190)), float(rng.uniform(60, 120)), float(rng.uniform(50, 150)))
    pose = Pose(
        height=0.52,
        turn=88,
        lean=-42,
        bend=18,
        nod=-8,
        left_leg=Reach(0.85, 0.5, 0.1, (0, 1, 0.3)),
        right_leg=Reach(0.82, 0.48, 0.22, (0, 1, 0.4)),
        shift=(-0.1, 0.08),
        left_arm=Reach(-0.15, 0.86, -0.1),
        right_arm=Reach(-0.05, 0.72, 0.3),
        point=1,
    )
    return Act(pose, lambda figure: _sofa(hue))


def _sleeping(t: float, rng: np.random.Generator) -> Act:
    pose = Pose(
        height=0.62,
        turn=90,
        lean=-88,
        nod=-80,
        left_leg=Swing(10 + 3 * wave(t), 4, 15),
        right_leg=Swing(4, 8, 5),
        left_arm=Swing(5, 18, 15),
        right_arm=Swing(30, 10, 80, 40),
        shift=(-0.1, 0.35),
        point=10,
    )
    hue = (float(rng.uniform(90, 190)), 120.0, float(rng.uniform(90, 200)))

    def things(figure: Skeleton) -> list[Solid]:
        head = figure.points["upper neck"]
        bed = props.box((0, 0.22, 0.35), (2.3, 0.44, 1.1), props.WOOD) + props.box(
            (0, 0.47, 0.35), (2.25, 0.08, 1.05), hue
        )
        return [*bed, props.ball(props.beside(head, -0.12, -0.14, 0), (0.22, 0.07, 0.3), props.WHITE)]

    return Act(pose, things)


def _talking(t: float, rng: np.random.Generator) -> Act:
    swing = wave(t)
    left = Swing(32 + 14 * swing, 18, 78, -18)
    right = Swing(28 - 18 * swing, 16, 85, -22) if rng.random() < 0.6 else Swing(0, 8, 14)
    return Act(astride(rng, 0.05, left_arm=left, right_arm=right, look=15, nod=2))


def _phone(t: float, rng: np.random.Generator) -> Act:
    pose = sitting(right_arm=Reach(-0.13, 1.28, 0.12, (-1, -1, 0.3)), nod=12, cock=-6 + 3 * wave(t))

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        laptop = [
            *props.box((0, 0.62, 0.35), (0.34, 0.02, 0.24), props.STEEL),
            *props.box((0, 0.74, 0.47), (0.34, 0.22, 0.015), props.DARK),
        ]
        return [*props.box(props.beside(palm, 0.02, 0.02, 0), (0.03, 0.15, 0.07), props.DARK), *props.chair(), *laptop]

    return Act(pose, things)


def _chess(t: float, rng: np.random.Generator) -> Act:
    pose = sitting(
        nod=32, lean=6, bend=16, right_arm=Reach(-0.06, 0.9 + 0.05 * wave(t), 0.46), left_arm=Reach(0.1, 0.92, 0.28)
    )

    def things(figure: Skeleton) -> list[Solid]:
        squares: list[Solid] = []
        for i in range(6):
            for j in range(6):
                x, z = -0.2 + 0.07 * i, 0.4 + 0.07 * j
                corner = np.array([[0, 0, 0], [0.07, 0, 0], [0.07, 0, 0.07], [0, 0, 0.07]])
                squares.append(Sheet(corner + np.array([x, 0.742, z]), props.WHITE if (i + j) % 2 else props.DARK))
        men: list[Solid] = [
            props.bar(
                (-0.16 + 0.14 * (k % 3), 0.74, 0.45 + 0.1 * (k // 3)),
                (-0.16 + 0.14 * (k % 3), 0.82, 0.45 + 0.1 * (k // 3)),
                0.02,
                props.WHITE if k % 2 else props.BROWN,
            )
            for k in range(9)
        ]
        return [*props.table((0, 0, 0.62), (0.9, 0.72, 0.7)), *squares, *men, *props.chair()]

    return Act(pose, things)


def _reading(t: float, rng: np.random.Generator) -> Act:
    base = 0.0 if rng.random() < 0.4 else 0.4
    arms: dict[str, Any] = {"left_arm": Reach(0.12, 1.2 - base, 0.3), "right_arm": Reach(-0.12, 1.2 - base, 0.3)}
    pose = sitting(nod=30 + 3 * wave(t), **arms) if base else astride(rng, 0.05, nod=30 + 3 * wave(t), **arms)

    def things(figure: Skeleton) -> list[Solid]:
        middle = (figure.points["left palm"] + figure.points["right palm"]) / 2 + [0, 0.06, 0.03]
        pages: list[Solid] = [
            Sheet(middle + np.array([[0, -0.1, 0.02], [x, -0.1, -0.02], [x, 0.12, 0.04], [0, 0.12, 0.08]]), hue)
            for x, hue in ((-0.18, props.WHITE), (0.18, props.WHITE))
        ]
        cover: list[Solid] = [
            Sheet(
                middle
                + np.array([[-0.19, -0.11, 0.0], [0.19, -0.11, 0.0], [0.19, 0.13, 0.1], [-0.19, 0.13, 0.1]])
                + [0, 0, 0.03],
                props.RED,
            )
        ]
        return pages + cover + (props.chair() if base else [])

    return Act(pose, things)


def _kneeling(t: float, rng: np.random.Generator) -> Act:
    pose = Pose(
        height=0.52,
        lean=4,
        bend=6,
        nod=30 + 4 * wave(t),
        left_leg=Reach(0.12, 0.09, -0.38, (0, -0.5, 1)),
        right_leg=Reach(-0.12, 0.09, -0.38, (0, -0.5, 1)),
        left_arm=Reach(0.025, 1.0, 0.27, (1, -0.8, 0)),
        right_arm=Reach(-0.025, 1.0, 0.27, (-1, -0.8, 0)),
        point=30,
    )
    return Act(pose, lambda figure: props.box((0, 0.01, -0.1), (0.7, 0.05, 0.8), (150.0, 60.0, 70.0)))


def _preaching(t: float, rng: np.random.Generator) -> Act:
    high = 14 * wave(t)
    pose = astride(rng, 0.03, left_arm=Swing(45, 75 + high, 45, -60), right_arm=Swing(45, 75 + high, 45, -60), nod=-6)

    def things(figure: Skeleton) -> list[Solid]:
        chest = figure.points["thorax"] + figure.chest @ [0, -0.2, 0.14]
        cross: list[Solid] = [
            props.bar(props.beside(chest, 0, 0.07, 0), chest - [0, 0.1, 0], 0.012, props.YELLOW),
            props.bar(chest - [0.05, -0.02, 0], props.beside(chest, 0.05, 0.02, 0), 0.012, props.YELLOW),
        ]
        return [
            *cross,
            *props.box((0, 0.52, 0.62), (0.55, 1.04, 0.35), props.BROWN),
            *props.box((0, 1.07, 0.6), (0.62, 0.05, 0.42), props.WOOD),
        ]

    return Act(pose, things)


def _pew(t: float, rng: np.random.Generator) -> Act:
    pose = sitting(nod=18 + 4 * wave(t), left_arm=Reach(0.03, 0.72, 0.3), right_arm=Reach(-0.03, 0.72, 0.3))
    return Act(
        pose,
        lambda figure: (
            props.box((0, 0.43, 0.0), (1.9, 0.05, 0.46), props.WOOD)
            + props.box((0, 0.68, -0.24), (1.9, 0.5, 0.05), props.BROWN)
        ),
    )


def _eating(t: float, rng: np.random.Generator) -> Act:
    bite = 0.5 + 0.5 * wave(t)
    pose = sitting(
        right_arm=Reach(-0.14, 0.85 + 0.3 * bite, 0.38 - 0.12 * bite, (-1, -0.8, 0)),
        left_arm=Reach(0.2, 0.82, 0.38),
        nod=18,
        bend=12,
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        plate: list[Solid] = [
            props.disc((0, 0.775, 0.5), 0.13, (0, 1, 0), props.WHITE),
            props.ball((0.02, 0.78, 0.5), (0.07, 0.04, 0.06), props.RED),
            props.bar((0.3, 0.76, 0.55), (0.3, 0.87, 0.55), 0.035, (150.0, 190.0, 210.0)),
        ]
        return [
            *props.table((0, 0, 0.62), (1.1, 0.74, 0.65)),
            *plate,
            props.bar(palm, props.beside(palm, 0.06, 0.06, -0.06), 0.009, props.STEEL),
            *props.chair(),
        ]

    return Act(pose, things)


def _hairstyling(t: float, rng: np.random.Generator) -> Act:
    stroke = 0.06 * wave(t)
    pose = astride(
        rng,
        0.03,
        right_arm=Reach(-0.2, 1.72 + stroke, 0.02, (-1, 0.2, 0.5)),
        left_arm=Reach(0.18, 1.62, -0.06, (1, 0.2, 0.5)),
        cock=10,
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm = figure.points["right palm"]
        return [
            props.bar(palm - [0.05, 0.03, 0], props.beside(palm, 0.1, 0.05, 0.02), 0.016, props.DARK),
            props.ball(props.beside(palm, 0.08, 0.04, 0.02), (0.07, 0.03, 0.04), props.BROWN),
        ]

    return Act(pose, things)


def _brushing_teeth(t: float, rng: np.random.Generator) -> Act:
    scrub = 0.03 * wave(t)
    pose = astride(
        rng,
        0.04,
        right_arm=Reach(-0.14 + scrub, 1.53, 0.17, (-1, -0.7, 0)),
        left_arm=Reach(0.28, 0.95, 0.35),
        lean=6,
        nod=6,
    )

    def things(figure: Skeleton) -> list[Solid]:
        palm, mouth = figure.points["right palm"], figure.points["upper neck"] + figure.head @ [0, 0.06, 0.12]
        basin = [
            *props.box((0.1, 0.4, 0.55), (0.25, 0.8, 0.25), props.WHITE),
            props.ball((0.1, 0.84, 0.5), (0.34, 0.08, 0.24), props.WHITE),
        ]
        return [
            props.bar(palm, mouth, 0.01, props.BLUE),
            *basin,
            props.bar((0.1, 0.9, 0.65), (0.1, 1.0, 0.6), 0.015, props.STEEL),
        ]

    return Act(pose, things)


def _playing_with_children(t: float, rng: np.random.Generator) -> Act:
    pose = replace(
        stride(t, 24, 55),
        lean=6,
        bend=8,
        left_arm=Swing(70 + 15 * wave(t), 35, 25, -10),
        right_arm=Swing(70 - 15 * wave(t), 35, 25, -10),
        nod=15,
    )
    hue = (float(rng.uniform(150, 250)), float(rng.uniform(50, 220)), float(rng.uniform(40, 220)))
    return Act(pose, lambda figure: [props.ball((0.1, 0.5 + 0.2 * wave(t, 0.2), 1.0), 0.2, hue)])


def _sorting(t: float, rng: np.random.Generator) -> Act:
    pose = sitting(
        nod=28,
        lean=4,
        bend=10,
        left_arm=Reach(0.22, 0.85, 0.44),
        right_arm=Reach(-0.2, 0.85 + 0.06 * (1 + wave(t)), 0.42),
    )

    def things(figure: Skeleton) -> list[Solid]:
        crates = [face for x in (-0.4, 0.4) for face in props.box((x, 0.83, 0.72), (0.36, 0.18, 0.28), props.GREEN)]
        food: list[Solid] = [
            props.ball(
                (0.4 + 0.08 * (k % 3 - 1), 0.94, 0.66 + 0.07 * (k // 3)), 0.05, props.RED if k % 2 else props.YELLOW
            )
            for k in range(6)
        ]
        return [*props.table((0, 0, 0.68), (1.4, 0.74, 0.6), props.WHITE), *crates, *food, *props.chair()]

    return Act(pose, things)


def _child_care(t: float, rng: np.random.Generator) -> Act:
    pose = astride(
        rng,
        0.06,
        left_arm=Reach(-0.02, 1.12, 0.24, (1, -0.8, 0)),
        right_arm=Reach(0.02, 1.28, 0.24, (-1, -0.9, 0)),
        nod=28,
        look=20,
        sway=4 * wave(t),
    )
    hue = (float(rng.uniform(150, 250)), float(rng.uniform(120, 220)), float(rng.uniform(120, 220)))

    def things(figure: Skeleton) -> list[Solid]:
        chest = figure.points["thorax"]
        return [
            props.ball(props.beside(chest, 0.04, -0.2, 0.2), (0.11, 0.19, 0.1), hue),
            props.ball(props.beside(chest, 0.07, 0.02, 0.17), 0.08, (225.0, 180.0, 150.0)),
            props.bar(props.beside(chest, 0.02, -0.36, 0.22), props.beside(chest, -0.02, -0.5, 0.24), 0.04, hue),
        ]

    return Act(pose, things)


ACTIVITIES: Final = (
    Activity("standing, talking in person", "miscellaneous", _talking, "street", views=FRONTAL, weight=3),
    Activity(
        "sitting, talking in person, on the phone, computer, or text messaging, light effort",
        "miscellaneous",
        _phone,
        "room",
        "formal",
        FRONTAL,
        2,
    ),
    Activity("chess game, sitting", "miscellaneous", _chess, "room", "formal", FRONTAL, 1.2),
    Activity("reading", "miscellaneous", _reading, "room", views=FRONTAL, weight=0.8),
    Activity("fishing, general", "fishing and hunting", _fishing, "shore", "straw", SIDE, 4),
    Activity("fishing from boat or canoe, sitting", "fishing and hunting", _boat_fishing, "water", "straw", SIDE, 2),
    Activity(
        "pistol shooting or trap shooting, standing", "fishing and hunting", _shooting, "field", "work", SIDE, 1.2
    ),
    Activity("hunting, bow and arrow, or crossbow", "fishing and hunting", _archery, "forest", "casual", FRONT, 1),
    Activity(
        "fishing, dip net, setting net and retrieving fish, general",
        "fishing and hunting",
        _dip_net,
        "shore",
        "straw",
        SIDE,
        0.8,
    ),
    Activity("ballet, modern, or jazz", "dancing", _ballet, "stage", "dance", weight=3),
    Activity("ballroom", "dancing", _ballroom, "stage", "formal", weight=2.2),
    Activity("aerobic, step", "dancing", _step_aerobics, "gym", "sport", FRONTAL, 2),
    Activity(
        "ethnic or cultural dancing (e.g., Greek, Middle Eastern, hula, salsa, merengue)",
        "dancing",
        _cultural_dancing,
        "stage",
        "dance",
        FRONTAL,
        1.2,
    ),
    Activity(
        "general dancing (e.g., disco, folk, Irish step dancing, line dancing, polka, contra, country)",
        "dancing",
        _disco,
        "stage",
        views=FRONTAL,
        weight=0.8,
    ),
    Activity("guitar, rock and roll band, standing", "music playing", _rock_guitar, "stage", views=FRONT, weight=2.5),
    Activity("guitar, classical, folk, sitting", "music playing", _seated_guitar, "room", views=FRONT, weight=2.2),
    Activity("drums, sitting", "music playing", _drums, "stage", views=FRONTAL, weight=2),
    Activity("violin, sitting", "music playing", _violin, "stage", "formal", FRONT, 1.7),
    Activity("cello, sitting", "music playing", _cello, "stage", "formal", FRONT, 1.2),
    Activity("trombone, standing", "music playing", _trombone, "street", "formal", SIDE, 1),
    Activity("piano, sitting", "music playing", _piano, "room", "formal", SIDE, 0.8),
    Activity("conducting orchestra, standing", "music playing", _conducting, "stage", "formal", weight=0.6),
    Activity("standing quietly, standing in a line", "inactivity quiet/light", _standing, "street", weight=2),
    Activity("reclining", "inactivity quiet/light", _reclining, "room", views=FRONT, weight=1.5),
    Activity("sitting quietly", "inactivity quiet/light", _sitting_quietly, "field", views=FRONTAL, weight=1.4),
    Activity("lying quietly, sleeping", "inactivity quiet/light", _sleeping, "room", views=FRONT, weight=0.5),
    Activity("standing, talking in church", "religious activities", _preaching, "church", "robe", FRONT, 3),
    Activity("sitting in church", "religious activities", _pew, "church", "formal", FRONTAL, 1),
    Activity("kneeling in church or at home, praying", "religious activities", _kneeling, "church", "formal", SIDE, 1),
    Activity("eating, sitting", "self care", _eating, "room", views=FRONTAL, weight=3),
    Activity("hairstyling", "self care", _hairstyling, "room", views=FRONTAL, weight=1.2),
    Activity(
        "grooming, washing hands, shaving,brushing teeth, putting on make-up, sitting or standing",
        "self care",
        _brushing_teeth,
        "room",
        "swim",
        FRONTAL,
        0.8,
    ),
    Activity(
        "walkrun play with children, moderate, only active periods",
        "volunteer activities",
        _playing_with_children,
        "field",
        weight=2,
    ),
    Activity("sitting, doing work", "volunteer activities", _sorting, "room", "vest", FRONTAL, 1),
    Activity(
        "standing, child care, only active periods", "volunteer activities", _child_care, "room", "vest", FRONTAL, 1
    ),
)
"""How often and where each is drawn, by category."""
