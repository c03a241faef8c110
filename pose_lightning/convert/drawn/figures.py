"""An articulated body: proportions, poses, kinematics, clothes, and the solids that show them.

Actor frame: x to the person's left, y up, z forward, in metres of a body 1.75 m tall that stands on y = 0. Angles are
degrees. A pose is written once for the standard body; longer or shorter limbs reach the same targets.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from jaxtyping import Float64

from pose_lightning.convert.drawn.canvas import Blob, Colour, Number, Pattern, Solid, Tube, Vector
from pose_lightning.joints import MPII

STATURE: Final = 1.75
"""Height in metres of the standard body that poses are written for."""
PARTS: Final = (
    "trunk",
    "head",
    "skirt",
    "left arm",
    "left hand",
    "right arm",
    "right hand",
    "left thigh",
    "left shin",
    "right thigh",
    "right shin",
    "prop",
)
"""What a pixel of a figure can belong to; "arm" ends at the elbow, "hand" is the forearm with the hand."""
_FLESH: Final[Mapping[str, tuple[tuple[str, ...], Number]]] = {
    "ankle": (("shin",), 0.16),
    "knee": (("thigh", "shin", "skirt"), 0.2),
    "hip": (("trunk", "thigh", "skirt"), 0.2),
    "pelvis": (("trunk", "skirt", "left thigh", "right thigh"), 0.3),
    "thorax": (("trunk", "head"), 0.3),
    "upper neck": (("trunk", "head"), 0.25),
    "head top": (("head",), 0.25),
    "wrist": (("hand",), 0.14),
    "elbow": (("arm", "hand"), 0.16),
    "shoulder": (("trunk", "arm"), 0.2),
}
_ANKLE_HEIGHT: Final = 0.075
_ARM_POLE: Final = np.array([0.7, -0.9, -0.6])  # where elbow and knee bulge by themselves, left side
_LEG_POLE: Final = np.array([0.12, 0.1, 1.0])
_BLACK: Final = (25.0, 22.0, 22.0)


@dataclass(frozen=True)
class Body:
    """A build: `stature` in metres; the other numbers are ratios to the standard body."""

    stature: Number = STATURE
    arms: Number = 1.0
    legs: Number = 1.0
    shoulders: Number = 1.0
    hips: Number = 1.0
    girth: Number = 1.0


@dataclass(frozen=True)
class Swing:
    """A limb by its angles: raised `forward` and `out` to its side, `bend` at elbow or knee, turned `inward`."""

    forward: Number = 0.0
    out: Number = 0.0
    bend: Number = 0.0
    inward: Number = 0.0


@dataclass(frozen=True)
class Reach:
    """A limb by where its wrist or ankle is, in the actor frame; elbow or knee bulges towards `pole`."""

    x: Number
    y: Number
    z: Number
    pole: tuple[Number, Number, Number] | None = None


Limb: TypeAlias = Swing | Reach


@dataclass(frozen=True)
class Pose:
    """Where a body's parts are.

    `height` and `shift` (x, z) place the pelvis; without a height the lower foot stands `hop` metres above the ground.
    The pelvis leans forward, tilts and turns to the left; the chest bends, sways and twists against it. The head's
    `nod` (down) is absolute, `look` (left) is relative to the chest, `cock` is to the left. `point` stretches the feet.
    """

    left_arm: Limb = Swing(2.0, 8.0, 12.0)
    right_arm: Limb = Swing(2.0, 8.0, 12.0)
    left_leg: Limb = Swing(0.0, 3.0, 2.0)
    right_leg: Limb = Swing(0.0, 3.0, 2.0)
    height: Number | None = None
    shift: tuple[Number, Number] = (0.0, 0.0)
    hop: Number = 0.0
    lean: Number = 0.0
    tilt: Number = 0.0
    turn: Number = 0.0
    bend: Number = 0.0
    sway: Number = 0.0
    twist: Number = 0.0
    nod: Number = 0.0
    look: Number = 0.0
    cock: Number = 0.0
    point: Number = 0.0


@dataclass(frozen=True)
class Skeleton:
    """A posed body: joints, hands, toes and the middle of the back by name, and axes (columns left, up, forward)."""

    points: Mapping[str, Vector]
    pelvis: Vector
    waist: Vector
    chest: Vector
    head: Vector
    body: Body

    @property
    def joints(self) -> Float64[np.ndarray, "16 3"]:
        """The joints by MPII's ids."""
        return np.stack([self.points[name] for name in MPII.names])


@dataclass(frozen=True)
class Look:
    """Skin, hair and clothes."""

    skin: Colour
    hair: Colour
    hairstyle: Literal["short", "long", "bun", "tail", "bald"]
    shirt: Colour
    trim: Colour
    pattern: Literal["plain", "stripes", "buttons", "jacket", "jersey", "bare"]
    sleeves: Literal["none", "short", "long"]
    trousers: Colour
    legs: Literal["long", "shorts", "skirt", "robe"]
    shoes: Colour
    hat: Literal["none", "cap", "helmet", "beanie", "straw"] = "none"
    hat_colour: Colour = (200.0, 60.0, 50.0)


def owners(joint: int) -> tuple[frozenset[str], Number]:
    """The parts that show joint `joint` where they are on top, and how far (metres) their surface is before it."""
    name = MPII.names[joint]
    side, _, kind = name.partition(" ")
    if side not in ("left", "right"):
        parts, thickness = _FLESH[name]
        return frozenset(parts), thickness
    parts, thickness = _FLESH[kind]
    return frozenset(part if part in ("trunk", "skirt") else f"{side} {part}" for part in parts), thickness


def turned(x: Number = 0.0, y: Number = 0.0, z: Number = 0.0) -> Float64[np.ndarray, "3 3"]:
    """The rotation about y, then x, then z (each about the axes that the one before left), in degrees."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians([x, y, z])), np.sin(np.radians([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def unit(vector: Vector) -> Vector:
    """The vector at length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def skeleton(pose: Pose, body: Body) -> Skeleton:
    """The body in the pose, feet on the ground where the pose says so."""
    root = np.array([pose.shift[0], 0.93 if pose.height is None else pose.height, pose.shift[1]])
    posed = _posed(pose, body, root)
    if pose.height is not None:
        return posed
    lowest = min(posed.points["left ankle"][1], posed.points["right ankle"][1])
    return _posed(pose, body, root + np.array([0.0, _ANKLE_HEIGHT + pose.hop - lowest, 0.0]))


def _posed(pose: Pose, body: Body, root: Vector) -> Skeleton:
    pelvis = turned(x=pose.lean, y=pose.turn, z=-pose.tilt)
    waist = pelvis @ turned(x=pose.bend / 2, y=pose.twist / 2, z=-pose.sway / 2)
    chest = pelvis @ turned(x=pose.bend, y=pose.twist, z=-pose.sway)
    head = turned(x=pose.nod, y=pose.turn + pose.twist + pose.look, z=-pose.cock)
    points = {"pelvis": root, "waist": root + pelvis @ [0, 0.13, 0] + waist @ [0, 0.12, 0]}
    points["thorax"] = points["waist"] + chest @ [0, 0.25, 0]
    points["upper neck"] = points["thorax"] + chest @ [0, 0.055, 0.0] + head @ [0, 0.03, 0.01]
    points["head top"] = points["upper neck"] + head @ [0, 0.228, 0.005]
    for side, sign in (("left", 1.0), ("right", -1.0)):
        arm, leg = (pose.left_arm, pose.left_leg) if side == "left" else (pose.right_arm, pose.right_leg)
        lengths = (0.3 * body.arms, 0.26 * body.arms)
        shoulder = points["thorax"] + chest @ [sign * 0.172 * body.shoulders, -0.015, 0]
        elbow = _bones(arm, shoulder, chest, sign, lengths, is_arm=True)[0]
        raised = max(float((elbow - shoulder) @ chest[:, 1]), 0.0) / 0.3  # the shoulder goes up with the arm
        shoulder = shoulder + chest @ [-sign * 0.025 * raised, 0.055 * raised, 0]
        elbow, wrist, _ = _bones(arm, shoulder, chest, sign, lengths, is_arm=True)
        points |= {f"{side} shoulder": shoulder, f"{side} elbow": elbow, f"{side} wrist": wrist}
        points[f"{side} palm"] = wrist + 0.075 * unit(wrist - elbow)
        hip = root + pelvis @ [sign * 0.095 * body.hips, -0.01, 0]
        knee, ankle, front = _bones(leg, hip, pelvis, sign, (0.43 * body.legs, 0.425 * body.legs), is_arm=False)
        points |= {f"{side} hip": hip, f"{side} knee": knee, f"{side} ankle": ankle}
        points[f"{side} toe"] = ankle + 0.15 * _toe_direction(knee, ankle, front, pose.point)
    return Skeleton(points, pelvis, waist, chest, head, body)


def _bones(
    limb: Limb, start: Vector, frame: Vector, sign: Number, lengths: tuple[Number, Number], *, is_arm: bool
) -> tuple[Vector, Vector, Vector]:
    """Where the two bones of a limb end, and the direction in front of the lower one."""
    if isinstance(limb, Reach):
        pole = _ARM_POLE if is_arm else _LEG_POLE
        bulge = frame @ (pole * [sign, 1.0, 1.0]) if limb.pole is None else np.array(limb.pole, float)
        return _two_bones(start, np.array([limb.x, limb.y, limb.z], float), bulge, lengths)
    axes = frame @ turned(x=-limb.forward) @ turned(z=sign * limb.out) @ turned(y=-sign * limb.inward)
    middle = start - lengths[0] * axes[:, 1]
    lower = axes @ turned(x=-limb.bend if is_arm else limb.bend)
    return middle, middle - lengths[1] * lower[:, 1], lower[:, 2]


def _two_bones(
    start: Vector, target: Vector, bulge: Vector, lengths: tuple[Number, Number]
) -> tuple[Vector, Vector, Vector]:
    """Inverse kinematics: a target out of reach is approached as far as a nearly straight limb goes."""
    upper, lower = lengths
    distance = float(np.clip(np.linalg.norm(target - start), abs(upper - lower) + 0.08, 0.995 * (upper + lower)))
    axis = unit(target - start)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    across = unit(bulge - (bulge @ axis) * axis)
    middle = start + along * axis + np.sqrt(max(upper**2 - along**2, 0.0)) * across
    end = start + distance * axis
    shank = unit(end - middle)
    return middle, end, unit(across - (across @ shank) * shank)


def _toe_direction(knee: Vector, ankle: Vector, front: Vector, point: Number) -> Vector:
    """Forward from the ankle: along the ground where the foot can be flat on it, else square to the shin."""
    shank = unit(ankle - knee)
    if ankle[1] < _ANKLE_HEIGHT + 0.06 and shank[1] < -0.5 and point == 0.0:
        return unit(front * [1.0, 0.0, 1.0])
    stretch = np.radians(15.0 + point)
    return unit(np.cos(stretch) * front + np.sin(stretch) * shank)


def solids(posed: Skeleton, look: Look) -> list[tuple[str, Solid]]:
    """What is drawn of a body, each solid with its part, in the actor frame."""
    drawn = _trunk(posed, look) + _head(posed, look)
    for side in ("left", "right"):
        drawn += _arm(posed, look, side) + _leg(posed, look, side)
    if look.legs in ("skirt", "robe"):
        drawn += _skirt(posed, look)
    return drawn


# (height from pelvis 0 to thorax 1, half width, half depth, half height), all but the first in metres
_RINGS: Final = (
    (-0.12, 0.135, 0.098, 0.08),
    (0.06, 0.165, 0.112, 0.13),
    (0.24, 0.152, 0.102, 0.13),
    (0.42, 0.138, 0.096, 0.13),
    (0.6, 0.148, 0.104, 0.13),
    (0.76, 0.165, 0.114, 0.13),
    (0.89, 0.176, 0.108, 0.08),
    (0.98, 0.155, 0.082, 0.062),
)


def _trunk(posed: Skeleton, look: Look) -> list[tuple[str, Solid]]:
    drawn: list[tuple[str, Solid]] = []
    frames, stops = (posed.pelvis, posed.waist, posed.chest), np.array([0.0, 0.5, 1.0])
    spine = np.stack([posed.points[name] for name in ("pelvis", "waist", "thorax")])
    for height, width, depth, tall in _RINGS:
        center = np.array([np.interp(max(height, 0.0), stops, spine[:, axis]) for axis in range(3)])
        center += posed.pelvis[:, 1] * min(height, 0.0) * 0.5
        near = int(np.clip(round(height * 2), 0, 2))
        build = posed.body.girth * (posed.body.hips if height < 0.3 else posed.body.shoulders)
        axes = frames[near] * np.array([width * build, tall, depth * posed.body.girth])
        grain = frames[near][:, 1] if height < 0.98 else None
        drawn.append(("trunk", Blob(center, axes, _cloth(look, height, tall), grain)))
    return drawn


def _cloth(look: Look, height: Number, tall: Number) -> Pattern:
    """Colours of the trunk around a ring: below the belt trousers, above it the shirt, which is open at the neck."""

    def paint(u: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        level, front, middle = height + u[:, 1] * tall * 2, u[:, 2] > 0, np.abs(u[:, 0])
        colours = np.empty_like(u)
        colours[:] = look.skin if look.pattern == "bare" else look.shirt
        colours[_trim(look.pattern, level, front, middle)] = look.trim
        if look.pattern != "bare":
            colours[front & (level > 0.93 + 0.5 * middle)] = look.skin
        colours[(level < 0.2)] = look.shirt if look.legs == "robe" else look.trousers
        if look.legs != "robe":
            colours[(level > 0.17) & (level < 0.22)] = np.multiply(look.trousers, 0.5)
        return colours

    return paint


def _trim(
    pattern: str, level: npt.NDArray[np.float32], front: npt.NDArray[np.bool_], middle: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Where the second colour of a shirt is; all but the stripes tell front from back."""
    if pattern == "stripes":
        return np.asarray(np.mod(level * 7, 1.0) < 0.42)
    if pattern == "buttons":
        return front & (middle < 0.07)
    if pattern == "jacket":
        return front & (middle < 0.18 + 0.25 * np.maximum(level - 0.4, 0))
    if pattern == "jersey":
        number = (middle < 0.32) & (level > 0.42) & (level < 0.74)
        hole = (middle < 0.14) & (level > 0.5) & (level < 0.66)
        return (~front & number & ~hole) | (front & (level > 0.62) & (level < 0.7))
    return np.zeros(len(level), bool)


def _arm(posed: Skeleton, look: Look, side: str) -> list[tuple[str, Solid]]:
    shoulder, elbow, wrist = (posed.points[f"{side} {name}"] for name in ("shoulder", "elbow", "wrist"))
    sleeve = look.skin if look.pattern == "bare" or look.sleeves == "none" else look.shirt
    upper = ((0.0, sleeve), (0.62, look.skin if look.sleeves != "long" else sleeve))
    lower = ((0.0, sleeve if look.sleeves == "long" else look.skin), (0.94, look.skin))
    thick = posed.body.girth * (1.12 if look.sleeves == "long" else 1.0)
    along = unit(wrist - elbow)
    square = unit(np.cross(along, unit(shoulder - elbow)) + 1e-6)
    axes = np.column_stack([0.085 * along, 0.026 * square, 0.043 * np.cross(along, square)])
    return [
        (f"{side} arm", Tube(shoulder, elbow, 0.056 * thick, 0.042 * thick, upper)),
        (f"{side} hand", Tube(elbow, wrist, 0.043 * thick, 0.029 * thick, lower)),
        (f"{side} hand", Blob(posed.points[f"{side} palm"], axes, look.skin)),
    ]


def _leg(posed: Skeleton, look: Look, side: str) -> list[tuple[str, Solid]]:
    hip, knee, ankle, toe = (posed.points[f"{side} {name}"] for name in ("hip", "knee", "ankle", "toe"))
    covered = {"long": 2.0, "shorts": 0.72, "skirt": 0.75, "robe": 0.75}[look.legs]
    thigh = ((0.0, look.trousers), (min(covered, 1.0), look.trousers if covered > 1 else look.skin))
    shin = ((0.0, look.trousers if covered > 1 else look.skin), (0.9, look.trousers if covered > 1 else look.shoes))
    thick = posed.body.girth * (1.1 if covered > 1 else 1.0)
    ahead = unit(toe - ankle)
    under = unit(np.cross(ahead, np.cross(unit(ankle - knee), ahead)))
    axes = np.column_stack([0.045 * np.cross(under, ahead), 0.04 * under, 0.132 * ahead])
    calf = knee + 0.3 * (ankle - knee) - 0.022 * ahead
    bulk = np.column_stack([0.046 * np.cross(under, ahead), 0.13 * unit(ankle - knee), 0.052 * ahead]) * thick
    return [
        (f"{side} thigh", Tube(hip, knee, 0.086 * thick, 0.057 * thick, thigh)),
        (f"{side} shin", Tube(knee, ankle, 0.055 * thick, 0.038 * thick, shin)),
        (f"{side} shin", Blob(calf, bulk, shin[0][1])),
        (f"{side} shin", Blob(ankle + 0.055 * ahead + 0.035 * under, axes, look.shoes)),
    ]


def _skirt(posed: Skeleton, look: Look) -> list[tuple[str, Solid]]:
    def middle(name: str) -> Vector:
        return (posed.points[f"left {name}"] + posed.points[f"right {name}"]) / 2

    apart = np.abs(posed.pelvis.T @ (posed.points["left knee"] - posed.points["right knee"]))
    line = np.stack([posed.points["pelvis"], middle("knee"), middle("ankle")])
    colour = look.shirt if look.legs == "robe" else look.trousers
    drawn: list[tuple[str, Solid]] = []
    for k in np.arange(0.0, 1.9 if look.legs == "robe" else 0.85, 0.14):
        center = np.array([np.interp(k, [0.0, 1.0, 2.0], line[:, axis]) for axis in range(3)])
        down = unit(line[1] - line[0]) if k < 1 else unit(line[2] - line[1])
        left = unit(posed.pelvis[:, 0] - (posed.pelvis[:, 0] @ down) * down)
        flare = min(float(k), 1.0)
        wide, deep = 0.16 + 0.06 * flare + apart[0] * flare * 0.3, 0.125 + (0.04 + 0.55 * apart[2]) * flare
        axes = np.column_stack([wide * left, 0.075 * down, deep * np.cross(left, down)])
        drawn.append(("skirt", Blob(center, axes, colour, down)))
    return drawn


def _head(posed: Skeleton, look: Look) -> list[tuple[str, Solid]]:
    neck, axes = posed.points["upper neck"], posed.head
    center = neck + axes @ [0, 0.118, 0.012]

    def at(x: Number, y: Number, z: Number) -> Vector:
        return center + axes @ [x, y, z]

    def blob(where: Vector, size: tuple[Number, Number, Number], paint: Colour | Pattern) -> tuple[str, Solid]:
        return "head", Blob(where, axes * np.array(size), paint)

    drawn = [
        ("head", Tube(posed.points["thorax"], neck + axes @ [0, 0.05, 0], 0.06, 0.05, ((0.0, look.skin),))),
        blob(center, (0.076, 0.118, 0.098), _face(look)),
        blob(at(0, -0.015, 0.098), (0.014, 0.026, 0.02), look.skin),
        blob(at(0.076, -0.01, -0.012), (0.013, 0.032, 0.022), look.skin),
        blob(at(-0.076, -0.01, -0.012), (0.013, 0.032, 0.022), look.skin),
    ]
    if look.hairstyle == "long":
        drawn.append(blob(at(0, -0.07, -0.062), (0.09, 0.155, 0.06), look.hair))
    elif look.hairstyle == "bun":
        drawn.append(blob(at(0, 0.075, -0.1), (0.045, 0.045, 0.045), look.hair))
    elif look.hairstyle == "tail":
        drawn.append(("head", Tube(at(0, 0.05, -0.1), at(0, -0.17, -0.12), 0.035, 0.015, ((0.0, look.hair),))))
    return drawn + _hat(look, at, axes)


def _hat(look: Look, at: Callable[[Number, Number, Number], Vector], axes: Vector) -> list[tuple[str, Solid]]:
    if look.hat == "none":
        return []
    colour = look.hat_colour
    crown = Blob(at(0, 0.075, -0.006), axes * np.array([0.084, 0.062, 0.104]), colour)
    if look.hat == "beanie":
        return [("head", crown), ("head", Blob(at(0, 0.135, -0.02), axes * 0.022, colour))]
    if look.hat == "straw":
        return [("head", crown), ("head", Blob(at(0, 0.055, 0), axes * np.array([0.19, 0.012, 0.19]), colour))]
    if look.hat == "helmet":
        return [("head", Blob(at(0, 0.08, -0.015), axes * np.array([0.1, 0.075, 0.122]), colour))]
    return [("head", crown), ("head", Blob(at(0, 0.05, 0.105), axes * np.array([0.065, 0.008, 0.075]), colour))]


def _face(look: Look) -> Pattern:
    """Eyes, brows, mouth and hair on the unit sphere (left, up, forward)."""

    def paint(u: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        side, up, front = np.abs(u[:, 0]), u[:, 1], u[:, 2]
        colours = np.empty_like(u)
        colours[:] = look.skin
        face = front > 0
        colours[face & (np.hypot(side, (up + 0.48) * 3) < 0.26)] = np.multiply(look.skin, (0.72, 0.42, 0.42))
        eye = np.hypot((side - 0.4) / 1.5, up - 0.08)
        colours[face & (eye < 0.13)] = (238.0, 236.0, 230.0)
        colours[face & (np.hypot(side - 0.4, up - 0.08) < 0.085)] = _BLACK
        brow = face & (np.abs(side - 0.4) < 0.2) & (np.abs(up - 0.27) < 0.045)
        colours[brow] = np.multiply(look.hair, 0.7)
        if look.hairstyle != "bald":
            colours[(0.8 * up - 0.6 * front > 0.1) | ((front < -0.15) & (up > -0.35))] = look.hair
        return colours

    return paint
