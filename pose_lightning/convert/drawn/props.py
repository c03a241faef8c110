"""Things that people hold, ride, sit on and work with, as solids in the actor frame of `figures`."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from pose_lightning.convert.drawn.canvas import Blob, Colour, Number, Sheet, Solid, Tube, Vector
from pose_lightning.convert.drawn.figures import Skeleton, turned, unit

WOOD: Final[Colour] = (150.0, 105.0, 65.0)
STEEL: Final[Colour] = (150.0, 155.0, 165.0)
DARK: Final[Colour] = (45.0, 45.0, 50.0)
WHITE: Final[Colour] = (235.0, 235.0, 230.0)
RED: Final[Colour] = (200.0, 50.0, 45.0)
BLUE: Final[Colour] = (50.0, 85.0, 180.0)
GREEN: Final[Colour] = (60.0, 125.0, 60.0)
YELLOW: Final[Colour] = (235.0, 195.0, 50.0)
BROWN: Final[Colour] = (110.0, 72.0, 45.0)

Point = Sequence[Number] | Vector


def beside(point: Vector, left: Number, up: Number, forward: Number) -> Vector:
    """The point that many metres to the left, above and in front of `point`."""
    return point + np.array([left, up, forward])


def bar(a: Point, b: Point, radius: Number, colour: Colour, end: Number | None = None) -> Tube:
    """A stick from `a` to `b`, whose radius may change to `end`."""
    return Tube(np.asarray(a, float), np.asarray(b, float), radius, radius if end is None else end, ((0.0, colour),))


def ball(center: Point, size: Number | tuple[Number, Number, Number], colour: Colour) -> Blob:
    """A ball, or an ellipsoid with three semi-axes."""
    return Blob(np.asarray(center, float), np.diag(np.broadcast_to(size, 3)).astype(float), colour)


def disc(center: Point, radius: Number, axis: Point, colour: Colour, hole: Number = 0.0) -> Sheet:
    """A disc square to `axis`, or a ring round a hole."""
    normal = unit(np.asarray(axis, float))
    first = unit(np.cross(normal, [0.31, 0.87, 0.39]))
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)[:, None]
    circle = np.cos(angles) * first + np.sin(angles) * np.cross(normal, first)
    middle = np.asarray(center, float)
    return Sheet(middle + radius * circle, colour, middle + hole * circle if hole else None)


def box(center: Point, size: tuple[Number, Number, Number], colour: Colour, yaw: Number = 0.0) -> list[Solid]:
    """Six faces; `size` is along left, up and forward."""
    axes, middle = turned(y=yaw) * np.array(size) / 2, np.asarray(center, float)
    faces: list[Solid] = []
    for axis in range(3):
        one, two = axes[:, (axis + 1) % 3], axes[:, (axis + 2) % 3]
        for side in (-1, 1):
            face = middle + side * axes[:, axis] + np.stack([one + two, one - two, -one - two, two - one])
            faces.append(Sheet(face, colour))
    return faces


def through(figure: Skeleton, before: Number, after: Number, radius: Number, colour: Colour) -> Tube:
    """A stick through both palms, `before` the right one and `after` the left one, in metres."""
    right, left = figure.points["right palm"], figure.points["left palm"]
    along = unit(left - right)
    return bar(right - before * along, left + after * along, radius, colour)


def ahead(figure: Skeleton, side: str) -> Vector:
    """The direction of a forearm."""
    return unit(figure.points[f"{side} wrist"] - figure.points[f"{side} elbow"])


def chair(seat: Number = 0.45, colour: Colour = WOOD, back: bool = True) -> list[Solid]:
    """A chair under a sitting body whose pelvis is at z = 0."""
    legs: list[Solid] = [bar((x, 0, z), (x, seat, z), 0.02, colour) for x in (-0.2, 0.2) for z in (-0.18, 0.22)]
    rest = box((0, seat + 0.3, -0.2), (0.42, 0.4, 0.03), colour) if back else []
    return legs + box((0, seat, 0.02), (0.44, 0.04, 0.44), colour) + rest


def table(center: Point, size: tuple[Number, Number, Number], colour: Colour = WOOD) -> list[Solid]:
    """A table; `size` is its width, height and depth."""
    x, _, z = center
    wide, tall, deep = size
    corners = [(x + i * wide * 0.45, z + j * deep * 0.42) for i in (-1, 1) for j in (-1, 1)]
    legs: list[Solid] = [bar((i, 0, j), (i, tall, j), 0.025, colour) for i, j in corners]
    return legs + box((x, tall - 0.02, z), (wide, 0.05, deep), colour)


def counter(z: Number, colour: Colour = WHITE) -> list[Solid]:
    """A kitchen counter in front of a standing body."""
    return box((0, 0.43, z), (1.5, 0.86, 0.5), colour) + box((0, 0.88, z), (1.55, 0.04, 0.55), DARK)


def wheel(center: Point, radius: Number, spokes: int = 8) -> list[Solid]:
    """A spoked wheel that rolls forward."""
    middle = np.asarray(center, float)
    angles = np.linspace(0, 2 * np.pi, spokes, endpoint=False)
    rims = [middle + radius * np.array([0, np.sin(angle), np.cos(angle)]) for angle in angles]
    tyre = disc(middle, radius, (1, 0, 0), DARK, 0.88 * radius)
    return [tyre, *(bar(middle, rim, 0.004, STEEL) for rim in rims)]


def bicycle(colour: Colour, turn: Number, upright: Number = 0.0) -> list[Solid]:
    """A bicycle with its cranks at angle `turn`; `upright` raises the handlebar, in metres."""
    hub, seat, head = np.array([0, 0.3, 0.0]), np.array([0, 0.86, -0.2]), np.array([0, 0.88 + upright, 0.4])
    front, rear = np.array([0, 0.34, 0.58]), np.array([0, 0.34, -0.48])
    tubes = [(hub, seat), (hub, head), (seat, head), (hub, rear), (seat, rear), (head, front)]
    frame: list[Solid] = [bar(a, b, 0.02, colour) for a, b in tubes]
    frame += [
        bar(seat, beside(seat, 0, 0.08, 0), 0.015, STEEL),
        ball(beside(seat, 0, 0.09, 0.0), (0.07, 0.03, 0.14), DARK),
    ]
    frame += [
        bar(head, beside(head, 0, 0.06, 0.03), 0.015, STEEL),
        bar(beside(head, -0.25, 0.06, 0.05), beside(head, 0.25, 0.06, 0.05), 0.016, DARK),
    ]
    for side in (1, -1):
        pedal = pedal_at(turn, side)
        frame.append(bar(beside(hub, side * 0.06, 0, 0), pedal - [side * 0.04, 0, 0], 0.012, STEEL))
        frame += box(pedal, (0.1, 0.02, 0.08), DARK)
    return (
        frame + wheel(front, 0.34) + wheel(rear, 0.34) + [disc(beside(hub, -0.06, 0, 0), 0.09, (1, 0, 0), STEEL, 0.07)]
    )


def pedal_at(turn: Number, side: int) -> Vector:
    """Where the left (1) or right (-1) pedal of `bicycle` is."""
    return np.array([side * 0.12, 0.3 - side * 0.17 * np.sin(turn), 0.17 * side * np.cos(turn)])


def guitar(figure: Skeleton, colour: Colour) -> list[Solid]:
    """Body under the right hand, neck through the left one."""
    right, left = figure.points["right palm"], figure.points["left palm"]
    forward = figure.chest[:, 2]
    along = unit(left - right)
    square = unit(np.cross(forward, along))
    axes = np.column_stack([along, square, np.cross(along, square)])
    middle = right - 0.03 * forward - 0.02 * along
    return [
        Blob(middle - 0.1 * along, axes * np.array([0.17, 0.19, 0.05]), colour),
        Blob(middle + 0.12 * along, axes * np.array([0.14, 0.14, 0.05]), colour),
        Blob(middle + 0.06 * along + 0.045 * forward, axes * np.array([0.045, 0.045, 0.01]), DARK),
        bar(middle + 0.1 * along, left + 0.12 * along - 0.02 * forward, 0.022, BROWN),
        bar(left + 0.12 * along - 0.02 * forward, left + 0.26 * along - 0.02 * forward, 0.03, BROWN),
    ]


def horse(colour: Colour, stride: Number) -> list[Solid]:
    """A horse under a rider whose pelvis is 1.5 m up."""
    mane = tuple(0.4 * value for value in colour)
    dark: Colour = (mane[0], mane[1], mane[2])
    solids: list[Solid] = [
        ball((0, 1.16, 0), (0.26, 0.3, 0.62), colour),
        ball((0, 1.18, -0.5), (0.25, 0.3, 0.3), colour),
    ]
    solids += [
        bar((0, 1.28, 0.5), (0, 1.78, 0.92), 0.2, colour, 0.12),
        bar((0, 1.8, 0.9), (0, 1.55, 1.3), 0.12, colour, 0.07),
        bar((0, 1.5, 0.45), (0, 1.95, 0.83), 0.05, dark),
        bar((0, 1.3, -0.75), (0, 0.75, -0.98), 0.07, dark, 0.03),
        ball((0, 1.46, -0.02), (0.22, 0.05, 0.3), BROWN),
    ]
    for x, z, phase in ((0.14, 0.45, 0.0), (-0.14, 0.45, np.pi), (0.14, -0.55, np.pi), (-0.14, -0.55, 0.0)):
        swing = 0.22 * np.sin(stride + phase)
        lift = 0.1 * max(np.cos(stride + phase), 0)
        knee = (x, 0.58 + lift, z + swing + 0.03)
        solids += [
            bar((x, 1.0, z), knee, 0.11, colour, 0.06),
            bar(knee, (x, 0.06 + lift, z + 1.5 * swing), 0.055, colour, 0.04),
        ]
        solids.append(ball((x, 0.05 + lift, z + 1.5 * swing + 0.02), 0.06, DARK))
    return solids


def dog(x: Number, z: Number, colour: Colour, stride: Number) -> list[Solid]:
    """A dog beside its walker."""
    solids: list[Solid] = [
        ball((x, 0.42, z), (0.11, 0.13, 0.3), colour),
        bar((x, 0.5, z + 0.22), (x, 0.64, z + 0.36), 0.07, colour),
        bar((x, 0.66, z + 0.36), (x, 0.62, z + 0.52), 0.075, colour, 0.04),
        bar((x, 0.5, z - 0.28), (x, 0.7, z - 0.42), 0.03, colour),
    ]
    for side, where, phase in ((1, 0.2, 0), (-1, 0.2, np.pi), (1, -0.2, np.pi), (-1, -0.2, 0)):
        foot = (x + side * 0.06, 0.03, z + where + 0.1 * np.sin(stride + phase))
        solids.append(bar((x + side * 0.06, 0.38, z + where), foot, 0.045, colour, 0.025))
    return solids


def boat(colour: Colour, half_length: Number, half_width: Number, rise: Number = 0.28) -> list[Solid]:
    """An open hull about the actor, its rim at `rise` metres above the water."""
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    pinch = np.abs(np.sin(angles)) ** 0.8 * np.sign(np.sin(angles))
    rim = np.column_stack(
        [half_width * pinch, np.full(32, rise) + 0.12 * np.cos(angles) ** 4, half_length * np.cos(angles)]
    )
    keel = rim * [0.75, 0, 0.95] - [0, 0.1, 0]
    sides = [Sheet(np.stack([rim[i], rim[i - 1], keel[i - 1], keel[i]]), colour) for i in range(32)]
    edge = [bar(rim[i], rim[i - 1], 0.02, WHITE) for i in range(32)]
    return [*sides, *edge]


def board(length: Number, width: Number, y: Number, colour: Colour) -> Blob:
    """A surfboard or snowboard across the actor: it points to the left."""
    return Blob(np.array([0, y, 0.03]), np.diag([length / 2, 0.025, width / 2]), colour)


def ladder(z: Number, height: Number, lean: Number) -> list[Solid]:
    """A ladder before the actor, leaning away by `lean` metres over its height."""
    foot, top = np.array([0, 0, z]), np.array([0, height, z + lean])
    side = np.array([0.22, 0, 0])
    rails: list[Solid] = [bar(foot + sign * side, top + sign * side, 0.025, YELLOW) for sign in (-1, 1)]
    steps = np.arange(0.28, height, 0.28) / height
    return rails + [bar(foot + k * (top - foot) - side, foot + k * (top - foot) + side, 0.018, STEEL) for k in steps]


def bush(x: Number, z: Number, size: Number, seed: int) -> list[Solid]:
    """A round shrub."""
    rng = np.random.default_rng(seed)
    leaves: list[Solid] = []
    for _ in range(26):
        where = np.array([x, size, z]) + rng.normal(0, 0.42, 3) * size
        shade = rng.uniform(0.7, 1.25)
        leaves.append(ball(where, size * rng.uniform(0.25, 0.45), (55 * shade, 110 * shade, 45 * shade)))
    return leaves
