"""Running, walking, riding, winter, water and transportation."""

from dataclasses import replace
from typing import Final

import numpy as np

from pose_lightning.convert.drawn import props
from pose_lightning.convert.drawn.acts import FRONTAL, SIDE, Act, Activity, rider, sitting, stride, wave
from pose_lightning.convert.drawn.canvas import Blob, Sheet, Solid
from pose_lightning.convert.drawn.figures import Pose, Reach, Skeleton, Swing, unit


def _running(t: float, rng: np.random.Generator) -> Act:
    fast = rng.uniform(0.85, 1.15)
    return Act(stride(t, 42 * fast, 92 * fast, elbow=78.0, lean=10 * fast, hop=0.05, point=12.0))


def _jogging(t: float, rng: np.random.Generator) -> Act:
    calm = rng.uniform(0.9, 1.1)
    return Act(stride(t, 28 * calm, 68 * calm, elbow=70.0, lean=5.0, hop=0.02))


def _stairs_up(t: float, rng: np.random.Generator) -> Act:
    lift = 0.1 * wave(t)
    pose = Pose(
        height=0.95,
        lean=16,
        bend=6,
        left_leg=Reach(0.1, 0.37 + lift, 0.42),
        right_leg=Reach(-0.1, 0.1, -0.22),
        left_arm=Swing(-30, 8, 70),
        right_arm=Swing(48, 8, 75),
    )

    def things(figure: Skeleton) -> list[Solid]:
        grey = (150.0, 148.0, 142.0)
        return [
            face
            for k in range(5)
            for face in props.box((0, 0.13 * (k + 1) - 0.06, 0.35 + 0.28 * k), (1.8, 0.26 * (k + 1), 0.3), grey)
        ]

    return Act(pose, things)


def _walking(t: float, rng: np.random.Generator) -> Act:
    return Act(stride(t, rng.uniform(20, 28), rng.uniform(28, 40), elbow=14.0, lean=2.0))


def _backpack(figure: Skeleton, colour: tuple[float, float, float]) -> list[Solid]:
    chest, waist = figure.points["thorax"], figure.points["waist"]
    axes = figure.chest
    middle = (chest + waist) / 2 - 0.2 * axes[:, 2]
    straps: list[Solid] = [
        props.bar(chest + axes @ [x, -0.02, 0.1], waist + axes @ [1.2 * x, 0.02, 0.115], 0.022, props.DARK)
        for x in (-0.1, 0.1)
    ]
    return [
        Blob(middle, axes * np.array([0.17, 0.27, 0.13]), colour, axes[:, 1]),
        Blob(middle + axes @ [0, 0.24, 0.02], axes * np.array([0.2, 0.075, 0.08]), props.GREEN),
        *straps,
    ]


def _backpacking(t: float, rng: np.random.Generator) -> Act:
    pose = replace(
        stride(t, 22, 32, lean=9.0),
        left_arm=Swing(35 - 15 * wave(t), 12, 55),
        right_arm=Swing(35 + 15 * wave(t), 12, 55),
    )
    colour = (float(rng.uniform(30, 210)), float(rng.uniform(30, 120)), float(rng.uniform(30, 160)))

    def things(figure: Skeleton) -> list[Solid]:
        palms = [figure.points[f"{side} palm"] for side in ("left", "right")]
        poles: list[Solid] = [
            props.bar(props.beside(palm, 0, 0.08, 0.02), [palm[0] * 1.2, 0, palm[2] - 0.1], 0.012, props.STEEL)
            for palm in palms
        ]
        return _backpack(figure, colour) + poles

    return Act(pose, things)


def _walking_the_dog(t: float, rng: np.random.Generator) -> Act:
    pose = replace(stride(t, 22, 32), right_arm=Swing(28, 12, 35))
    fur = [(120.0, 85.0, 55.0), (60.0, 55.0, 52.0), (205.0, 190.0, 165.0)][int(rng.integers(3))]

    def things(figure: Skeleton) -> list[Solid]:
        leash = props.bar(figure.points["right palm"], (-0.55, 0.62, 0.75), 0.008, props.RED)
        return [leash, *props.dog(-0.55, 0.45, fur, 4 * np.pi * t)]

    return Act(pose, things)


def _crutches(t: float, rng: np.random.Generator) -> Act:
    swing = 0.15 * wave(t)
    pose = Pose(
        left_arm=Reach(0.34, 0.85, 0.12),
        right_arm=Reach(-0.34, 0.85, 0.12),
        left_leg=Swing(12 - 60 * swing, 3, 40),
        right_leg=Swing(-60 * swing, 3, 6),
        lean=8,
        nod=18,
    )

    def things(figure: Skeleton) -> list[Solid]:
        sticks: list[Solid] = []
        for side, sign in (("left", 1), ("right", -1)):
            palm, pit = figure.points[f"{side} palm"], figure.points[f"{side} shoulder"] + [sign * 0.06, -0.1, 0]
            foot = np.array([sign * 0.42, 0, 0.3 + swing])
            sticks += [
                props.bar(pit, foot, 0.014, props.STEEL),
                props.bar(palm - [0.05, 0, 0], props.beside(palm, 0.05, 0, 0), 0.02, props.DARK),
            ]
        return sticks

    return Act(pose, things)


def _cycle(t: float, rng: np.random.Generator, lean: float, saddle: float, rise: float) -> Act:
    colour = (float(rng.uniform(20, 230)), float(rng.uniform(20, 200)), float(rng.uniform(20, 220)))
    return Act(rider(t, lean, saddle, 0.99 + rise), lambda figure: props.bicycle(colour, 2 * np.pi * t, rise))


def _mountain_bike(t: float, rng: np.random.Generator) -> Act:
    return _cycle(t, rng, rng.uniform(26, 34), 1.03, 0.08)


def _racing_bike(t: float, rng: np.random.Generator) -> Act:
    return _cycle(t, rng, rng.uniform(44, 52), 1.03, -0.05)


def _bmx(t: float, rng: np.random.Generator) -> Act:
    return _cycle(0.02 * wave(t), rng, rng.uniform(32, 40), 1.12, 0.12)


def _city_bike(t: float, rng: np.random.Generator) -> Act:
    return _cycle(t, rng, rng.uniform(6, 12), 1.03, 0.2)


def _unicycle(t: float, rng: np.random.Generator) -> Act:
    angle, hub = 2 * np.pi * t, np.array([0, 0.33, 0])
    pedals = {s: props.beside(hub, 0.1 * s, -0.15 * s * np.sin(angle), 0.15 * s * np.cos(angle)) for s in (1, -1)}
    pose = Pose(
        height=1.06,
        left_arm=Swing(5, 75 + 15 * wave(t), 15),
        right_arm=Swing(5, 75 - 15 * wave(t), 15),
        left_leg=Reach(*(pedals[1] + [0, 0.09, -0.06])),
        right_leg=Reach(*(pedals[-1] + [0, 0.09, -0.06])),
    )

    def things(figure: Skeleton) -> list[Solid]:
        cranks: list[Solid] = [props.bar(hub, pedal, 0.015, props.STEEL) for pedal in pedals.values()]
        fork: list[Solid] = [
            props.bar(hub, (0, 0.9, 0), 0.022, props.RED),
            props.ball((0, 0.95, 0), (0.07, 0.05, 0.15), props.DARK),
        ]
        return [*props.wheel(hub, 0.33), *cranks, *fork]

    return Act(pose, things)


def _skis(figure: Skeleton, colour: tuple[float, float, float], length: float = 0.85) -> list[Solid]:
    solids: list[Solid] = []
    for side in ("left", "right"):
        ankle, toe = figure.points[f"{side} ankle"], figure.points[f"{side} toe"]
        along = unit((toe - ankle) * [1.0, 0.35, 1.0])
        under = ankle + 0.06 * along - [0, 0.075, 0]
        width = np.cross(along, [0, 1, 0]) * 0.045
        for up in (0.0, 0.02):
            flat = np.stack(
                [
                    under - length * along - width,
                    under + length * along - width,
                    under + (length + 0.12) * along + [0, 0.07, 0],
                    under + length * along + width,
                    under - length * along + width,
                ]
            ) + np.array([0, up, 0])
            solids.append(Sheet(flat, colour))
        solids.append(props.bar(under - length * along, under + length * along, 0.022, colour))
    return solids


def _downhill(t: float, rng: np.random.Generator) -> Act:
    side = 10 * wave(t)
    pose = Pose(
        height=0.78,
        lean=38,
        bend=10,
        tilt=side,
        nod=5,
        left_leg=Reach(0.16, 0.12, 0.12),
        right_leg=Reach(-0.16, 0.12, 0.02),
        left_arm=Swing(42, 32, 60),
        right_arm=Swing(42, 32, 60),
    )
    colour = (float(rng.uniform(150, 240)), float(rng.uniform(30, 200)), 40.0)

    def things(figure: Skeleton) -> list[Solid]:
        poles: list[Solid] = [
            props.bar(
                figure.points[f"{s} palm"] + [0, 0.1, 0.05],
                figure.points[f"{s} palm"] + [x, -0.65, -0.75],
                0.011,
                props.DARK,
            )
            for s, x in (("left", 0.18), ("right", -0.18))
        ]
        return _skis(figure, colour) + poles

    return Act(pose, things)


def _cross_country(t: float, rng: np.random.Generator) -> Act:
    pose = replace(stride(t, 34, 45, elbow=45.0, lean=10.0, bend=14.0), hop=0.03)

    def things(figure: Skeleton) -> list[Solid]:
        palms = [figure.points[f"{side} palm"] for side in ("left", "right")]
        poles: list[Solid] = [
            props.bar(props.beside(palm, 0, 0.06, 0.02), [palm[0] * 1.3, 0, palm[2] - 0.45], 0.012, props.DARK)
            for palm in palms
        ]
        return _skis(figure, (220.0, 60.0, 60.0), 0.95) + poles

    return Act(pose, things)


def _snowboarding(t: float, rng: np.random.Generator) -> Act:
    tilt = 12 * wave(t)
    pose = Pose(
        height=0.78,
        lean=24,
        bend=14,
        tilt=tilt,
        twist=25,
        look=45,
        left_leg=Reach(0.27, 0.14, 0.03),
        right_leg=Reach(-0.27, 0.14, 0.03),
        left_arm=Swing(35, 70, 30),
        right_arm=Swing(-5, 65, 35),
    )
    hue = (float(rng.uniform(20, 240)), float(rng.uniform(20, 120)), float(rng.uniform(60, 240)))
    return Act(pose, lambda figure: [props.board(1.55, 0.27, 0.05, hue)])


def _skating(t: float, rng: np.random.Generator) -> Act:
    swing = wave(t)
    if rng.random() < 0.5:
        pose = Pose(
            right_leg=Swing(-72 + 8 * swing, 8, 8),
            left_leg=Swing(35, 2, 22),
            lean=48,
            bend=-30,
            nod=-5,
            left_arm=Swing(40, 95, 5),
            right_arm=Swing(40, 95, 5),
            hop=0.06,
        )
    else:
        pose = Pose(
            left_leg=Swing(30 + 15 * swing, 6, 38),
            right_leg=Swing(-18, 26, 25),
            lean=22,
            bend=10,
            left_arm=Swing(-45 * swing, 28, 20),
            right_arm=Swing(45 * swing, 28, 20),
            hop=0.06,
        )

    def things(figure: Skeleton) -> list[Solid]:
        blades: list[Solid] = []
        for side in ("left", "right"):
            ankle, toe = figure.points[f"{side} ankle"], figure.points[f"{side} toe"]
            down = unit(ankle - figure.points[f"{side} knee"]) * 0.11
            blades.append(
                props.bar(ankle + down - 0.5 * (toe - ankle), toe + down + 0.1 * (toe - ankle), 0.014, props.STEEL)
            )
        return blades

    return Act(pose, things)


def _sledding(t: float, rng: np.random.Generator) -> Act:
    pose = Pose(
        height=0.33,
        lean=-14 + 4 * wave(t),
        bend=14,
        left_leg=Reach(0.14, 0.24, 0.72),
        right_leg=Reach(-0.14, 0.24, 0.72),
        left_arm=Reach(0.24, 0.34, 0.3),
        right_arm=Reach(-0.24, 0.34, 0.3),
        nod=8,
        point=1,
    )

    def things(figure: Skeleton) -> list[Solid]:
        runners: list[Solid] = [props.bar((x, 0.04, -0.4), (x, 0.04, 0.75), 0.02, props.DARK) for x in (-0.2, 0.2)]
        posts: list[Solid] = [
            props.bar((x, 0.04, z), (x, 0.17, z), 0.018, props.WOOD) for x in (-0.2, 0.2) for z in (-0.3, 0.5)
        ]
        return [*props.box((0, 0.19, 0.15), (0.5, 0.04, 1.15), props.WOOD), *runners, *posts]

    return Act(pose, things)


def _kayaking(t: float, rng: np.random.Generator) -> Act:
    swing = wave(t)
    hue = (float(rng.uniform(150, 250)), float(rng.uniform(40, 200)), 40.0)
    pose = Pose(
        height=0.24,
        lean=6,
        twist=22 * swing,
        look=-15 * swing,
        left_leg=Reach(0.16, 0.16, 0.78),
        right_leg=Reach(-0.16, 0.16, 0.78),
        left_arm=Reach(0.32, 0.66 + 0.22 * swing, 0.4 + 0.08 * swing),
        right_arm=Reach(-0.32, 0.66 - 0.22 * swing, 0.4 - 0.08 * swing),
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        along = unit(left - right)
        blades: list[Solid] = [
            props.ball(end, (0.1, 0.13, 0.05), props.YELLOW) for end in (right - 0.62 * along, left + 0.62 * along)
        ]
        hull = Blob(np.array([0, 0.12, 0.85]), np.diag([0.3, 0.19, 0.75]), hue)
        return [*props.boat(hue, 1.7, 0.34, 0.26), hull, props.through(figure, 0.6, 0.6, 0.018, props.DARK), *blades]

    return Act(pose, things)


def _surfing(t: float, rng: np.random.Generator) -> Act:
    tilt = 9 * wave(t)
    pose = Pose(
        height=0.72 + 0.12,
        lean=18,
        bend=12,
        tilt=tilt,
        twist=35,
        look=45,
        left_leg=Reach(0.42, 0.2, 0.03),
        right_leg=Reach(-0.36, 0.2, 0),
        left_arm=Swing(30, 78, 20),
        right_arm=Swing(-5, 82, 25),
    )
    return Act(
        pose, lambda figure: [props.board(2.2, 0.55, 0.1, props.WHITE), props.board(2.0, 0.12, 0.125, props.RED)]
    )


def _paddle_boarding(t: float, rng: np.random.Generator) -> Act:
    swing = wave(t)
    pose = Pose(
        height=0.98,
        lean=14,
        bend=10,
        twist=-15,
        left_leg=Reach(0.17, 0.2, 0.02),
        right_leg=Reach(-0.17, 0.2, 0.02),
        left_arm=Reach(-0.12, 1.62, 0.38 + 0.1 * swing),
        right_arm=Reach(-0.36, 1.12, 0.4 + 0.14 * swing),
        nod=10,
    )

    def things(figure: Skeleton) -> list[Solid]:
        right, left = figure.points["right palm"], figure.points["left palm"]
        tip = right + 0.95 * unit(right - left)
        deck = Blob(np.array([0, 0.08, 0.05]), np.diag([0.42, 0.05, 1.6]), (90.0, 190.0, 200.0))
        return [deck, props.bar(left, tip, 0.016, props.DARK), props.ball(tip, (0.1, 0.2, 0.04), props.YELLOW)]

    return Act(pose, things)


def _swimming(t: float, rng: np.random.Generator) -> Act:
    swing, kick = 180 * t, 12 * wave(2 * t)
    pose = Pose(
        height=0.02,
        lean=84,
        bend=-4,
        tilt=0,
        twist=20 * wave(t),
        nod=62,
        look=40 * (wave(t) > 0.3),
        left_arm=Swing(60 + 2 * swing % 360, 14, 25),
        right_arm=Swing(60 + (2 * swing + 180) % 360, 14, 25),
        left_leg=Swing(-6 + kick, 4, 12),
        right_leg=Swing(-6 - kick, 4, 12),
        point=55,
    )
    return Act(pose)


def _water_walking(t: float, rng: np.random.Generator) -> Act:
    pose = replace(
        stride(t, 20, 30, elbow=50.0),
        left_arm=Swing(30, 70 + 12 * wave(t), 30),
        right_arm=Swing(30, 70 - 12 * wave(t), 30),
        height=0.12,
    )
    return Act(pose)


def _scooter(t: float, rng: np.random.Generator) -> Act:
    hue = (float(rng.uniform(60, 220)), float(rng.uniform(30, 160)), float(rng.uniform(30, 160)))
    pose = Pose(
        height=0.86,
        shift=(0, -0.2),
        lean=4,
        bend=6,
        left_leg=Reach(0.17, 0.3, 0.2),
        right_leg=Reach(-0.17, 0.3, 0.2),
        left_arm=Reach(0.3, 1.02, 0.32),
        right_arm=Reach(-0.3, 1.02, 0.32),
        look=10 * wave(t),
    )

    def things(figure: Skeleton) -> list[Solid]:
        wheels: list[Solid] = [
            Blob(np.array([0, 0.24, z]), np.diag([0.07, 0.24, 0.24]), props.DARK) for z in (0.62, -0.6)
        ]
        body: list[Solid] = [
            Blob(np.array([0, 0.5, -0.42]), np.diag([0.2, 0.26, 0.42]), hue),
            props.ball((0, 0.75, -0.3), (0.16, 0.06, 0.38), props.DARK),
        ]
        front: list[Solid] = [
            *props.box((0, 0.62, 0.42), (0.4, 0.62, 0.06), hue),
            *props.box((0, 0.22, 0.1), (0.36, 0.07, 0.6), hue),
            props.bar((0, 0.25, 0.62), (0, 1.05, 0.42), 0.03, props.STEEL),
        ]
        return [
            *wheels,
            *body,
            *front,
            props.bar((-0.32, 1.05, 0.4), (0.32, 1.05, 0.4), 0.018, props.DARK),
            props.ball((0, 0.95, 0.52), 0.08, props.WHITE),
        ]

    return Act(pose, things)


def _bus(t: float, rng: np.random.Generator) -> Act:
    hue = (50.0, 80.0, float(rng.uniform(110, 190)))
    pose = sitting(look=25 + 6 * wave(t), right_arm=Reach(-0.42, 1.15, 0.28))

    def things(figure: Skeleton) -> list[Solid]:
        seat = [
            *props.box((0, 0.42, 0.0), (0.5, 0.1, 0.5), hue),
            *props.box((0, 0.8, -0.24), (0.5, 0.75, 0.1), hue),
            *props.box((0, 0.2, 0), (0.12, 0.4, 0.4), props.DARK),
        ]
        ahead = [*props.box((0, 0.75, 0.8), (0.5, 0.7, 0.1), hue)] if figure.body.girth > 1.02 else []
        return [
            *seat,
            *ahead,
            props.bar((-0.44, 0, 0.35), (-0.44, 2.2, 0.35), 0.02, props.YELLOW),
            props.bar((-0.6, 2.1, 0.35), (0.6, 2.1, 0.35), 0.02, props.YELLOW),
        ]

    return Act(pose, things)


def _rickshaw(t: float, rng: np.random.Generator) -> Act:
    pose = replace(
        stride(t, 30, 45), lean=8, bend=10, left_arm=Reach(0.34, 0.9, 0.05), right_arm=Reach(-0.34, 0.9, 0.05)
    )

    def things(figure: Skeleton) -> list[Solid]:
        shafts: list[Solid] = [props.bar((x, 0.88, 0.2), (x, 0.6, -1.4), 0.025, props.WOOD) for x in (-0.36, 0.36)]
        wheels = [solid for x in (-0.5, 0.5) for solid in props.wheel((x, 0.45, -1.55), 0.45, 10)]
        seat = [
            *props.box((0, 0.75, -1.6), (0.8, 0.35, 0.6), props.RED),
            *props.box((0, 1.15, -1.9), (0.8, 0.7, 0.06), props.RED),
            *props.box((0, 1.7, -1.6), (0.9, 0.05, 0.9), props.YELLOW),
        ]
        posts: list[Solid] = [props.bar((x, 1.0, -1.85), (x, 1.7, -1.85), 0.02, props.DARK) for x in (-0.4, 0.4)]
        return [*shafts, *wheels, *seat, *posts]

    return Act(pose, things)


def _pushing_car(t: float, rng: np.random.Generator) -> Act:
    hue = (float(rng.uniform(40, 210)), float(rng.uniform(40, 160)), float(rng.uniform(40, 190)))
    pose = replace(
        stride(t, 26, 45), lean=22, bend=22, nod=22, left_arm=Reach(0.3, 1.0, 0.72), right_arm=Reach(-0.3, 1.0, 0.72)
    )

    def things(figure: Skeleton) -> list[Solid]:
        body = props.box((0, 0.62, 1.95), (1.6, 0.6, 2.2), hue) + props.box(
            (0, 1.12, 2.1), (1.4, 0.5, 1.3), (120.0, 150.0, 170.0)
        )
        wheels: list[Solid] = [
            Blob(np.array([x, 0.3, z]), np.diag([0.1, 0.3, 0.3]), props.DARK) for x in (-0.78, 0.78) for z in (1.3, 2.6)
        ]
        lamps: list[Solid] = [props.ball((x, 0.7, 0.85), (0.12, 0.06, 0.03), props.RED) for x in (-0.6, 0.6)]
        return [*body, *wheels, *lamps]

    return Act(pose, things)


def _driving(t: float, rng: np.random.Generator) -> Act:
    steer = 0.08 * wave(t)
    pose = sitting(
        0.35,
        lean=-16,
        bend=10,
        left_leg=Reach(0.14, 0.16, 0.68),
        right_leg=Reach(-0.14, 0.16, 0.7),
        left_arm=Reach(0.17, 0.86 + steer, 0.42),
        right_arm=Reach(-0.17, 0.86 - steer, 0.42),
        point=0.0,
    )
    hue = (float(rng.uniform(60, 210)), float(rng.uniform(40, 160)), float(rng.uniform(40, 160)))

    def things(figure: Skeleton) -> list[Solid]:
        ring = props.disc((0, 0.86, 0.5), 0.2, (0, 0.35, -1), props.DARK, 0.165)
        seat = [
            *props.box((0, 0.3, 0.0), (0.5, 0.14, 0.5), props.DARK),
            *props.box((0, 0.75, -0.28), (0.5, 0.8, 0.12), props.DARK),
        ]
        cart = [*props.box((0, 0.12, 0.35), (1.1, 0.1, 1.7), hue), *props.box((0, 0.45, 1.05), (1.1, 0.6, 0.25), hue)]
        posts: list[Solid] = [
            props.bar((x, 0.2, z), (x, 1.65, z * 0.8), 0.02, props.STEEL) for x in (-0.5, 0.5) for z in (-0.42, 1.0)
        ]
        wheels: list[Solid] = [
            Blob(np.array([x, 0.2, z]), np.diag([0.08, 0.2, 0.2]), props.DARK)
            for x in (-0.55, 0.55)
            for z in (-0.3, 0.95)
        ]
        return [
            ring,
            props.bar((0, 0.86, 0.5), (0, 0.6, 0.85), 0.02, props.DARK),
            *seat,
            *cart,
            *posts,
            *wheels,
            *props.box((0, 1.68, 0.2), (1.1, 0.05, 1.4), props.WHITE),
        ]

    return Act(pose, things)


ACTIVITIES: Final = (
    Activity("canoeing, kayaking, rowing, competitive", "water activities", _kayaking, "water", "life jacket", SIDE, 4),
    Activity("swimming, general", "water activities", _swimming, "water", "swim", SIDE, 2),
    Activity("paddle boarding, standing", "water activities", _paddle_boarding, "water", "swim", weight=1.5),
    Activity("surfing", "water activities", _surfing, "water", "swim", FRONTAL, 1.5),
    Activity("water walking", "water activities", _water_walking, "water", "swim", FRONTAL, 1),
    Activity("skiing, downhill", "winter activities", _downhill, "snow", "winter", FRONTAL, 5),
    Activity(
        "skiing, cross-country, biathlon, skating technique",
        "winter activities",
        _cross_country,
        "snow",
        "winter",
        SIDE,
        2,
    ),
    Activity("skating, ice dancing", "winter activities", _skating, "snow", "winter", SIDE, 1.8),
    Activity("snowboarding", "winter activities", _snowboarding, "snow", "winter", FRONTAL, 1),
    Activity(
        "sledding, tobogganing, bobsledding, luge (Taylor Code 370)",
        "winter activities",
        _sledding,
        "snow",
        "winter",
        SIDE,
        0.7,
    ),
    Activity("backpacking", "walking", _backpacking, "forest", weight=3),
    Activity("walking, general", "walking", _walking, "street", weight=2.4),
    Activity("walking the dog", "walking", _walking_the_dog, "street", weight=1.3),
    Activity("using crutches", "walking", _crutches, "street", weight=0.8),
    Activity("bicycling, mountain", "bicycling", _mountain_bike, "forest", "cycle", SIDE, 4),
    Activity("bicycling, racing and road", "bicycling", _racing_bike, "street", "cycle", SIDE, 3),
    Activity("bicycling, BMX", "bicycling", _bmx, "field", "cycle", SIDE, 1.5),
    Activity("bicycling, general", "bicycling", _city_bike, "street", "casual", SIDE, 1),
    Activity("unicycling", "bicycling", _unicycle, "street", "casual", weight=0.5),
    Activity("running", "running", _running, "field", "team", weight=3),
    Activity("jogging", "running", _jogging, "forest", "sport", weight=2),
    Activity("running, marathon", "running", _running, "street", "team", weight=1.2),
    Activity("running, stairs, up", "running", _stairs_up, "street", "sport", (*SIDE, 150.0, -150.0), 0.8),
    Activity("riding in a bus or train", "transportation", _bus, "room", views=FRONTAL, weight=2),
    Activity("motor scooter, motorcycle", "transportation", _scooter, "street", "cycle", SIDE, 1.6),
    Activity("pulling rickshaw", "transportation", _rickshaw, "street", "straw", SIDE, 1.3),
    Activity("pushing car", "transportation", _pushing_car, "street", views=SIDE, weight=1),
    Activity("driving automobile or light truck", "transportation", _driving, "street", views=SIDE, weight=0.8),
)
"""How often and where each is drawn, by category."""
