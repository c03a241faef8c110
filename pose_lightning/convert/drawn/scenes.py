"""Scenes of the demo set: who does what where, before which background, seen by which camera, and their pictures.

A video is one scene; its frames differ by a little motion of persons and camera.
"""

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from pose_lightning.convert.drawn import activities, backgrounds, props
from pose_lightning.convert.drawn.activities import ACTIVITIES, CATEGORIES
from pose_lightning.convert.drawn.acts import Activity
from pose_lightning.convert.drawn.canvas import Camera, Canvas, Colour, Light, Sheet, Solid, Tube, Vector, moved
from pose_lightning.convert.drawn.figures import PARTS, STATURE, Body, Look, Skeleton, owners, skeleton, solids, turned
from pose_lightning.joints import MPII

SIZES: Final = ((640, 480), (640, 480), (640, 360), (480, 480), (480, 360), (400, 520))
"""Width and height of the pictures."""
SCALE_OF_STATURE: Final = 0.85
"""MPII's scale x 200 px is less than the standing height; the box, 1.25 x that, then just holds a standing person."""
SCENERY: Final = -2
"""The owner of pixels that furniture and plants cover."""
SLACK: Final = 24
"""Pixels by which a background is larger than the picture, for the camera to move."""
MOTION: Final = 0.06
"""Cycles of a motion from one frame to the next."""
_FEWEST_JOINTS: Final = 5  # a person who shows fewer is not annotated


@dataclass(frozen=True)
class Person:
    """One drawn person: who, doing what, where on the ground (x, z in metres), facing where (degrees)."""

    activity: Activity
    seed: tuple[int, ...]
    body: Body
    look: Look
    place: tuple[float, float]
    yaw: float
    phase: float

    def skeleton(self, time: float) -> tuple[Skeleton, list[Solid]]:
        """The posed body and its things at a time in cycles, in the actor frame."""
        act = self.activity.move((self.phase + time) % 1.0, np.random.default_rng(self.seed))
        figure = skeleton(act.pose, self.body)
        return figure, act.things(figure)

    def world(self, points: Vector) -> Vector:
        """Points of the actor frame in the world."""
        rotation, offset, size = self.placing
        return size * points @ rotation.T + offset

    @property
    def placing(self) -> tuple[Vector, Vector, float]:
        """Rotation, offset and size that take the actor frame into the world."""
        return turned(y=self.yaw), np.array([self.place[0], 0.0, self.place[1]]), self.body.stature / STATURE


@dataclass(frozen=True)
class Video:
    """One scene and its frames' seconds; `labels` says what is published of it, `seed` draws what else it shows."""

    seed: int
    number: int
    seconds: tuple[int, ...]
    activity: Activity
    labels: Literal["all", "no activity", "none"]
    size: tuple[int, int]
    camera: Camera
    persons: tuple[Person, ...]
    mirrored: bool


@dataclass(frozen=True)
class Annotation:
    """What is known of one drawn person; coordinates are 0-based image pixels.

    Attributes:
        joints: All joints (16, 2), in the image or not.
        labelled: Whether a joint is in the image.
        visible: Labelled, and the person's own flesh is what the joint's pixel shows.
        head_box: x and y of its first corner, then of its last.
        center: Whole pixels.
        scale: MPII's: of a person 200 px tall.
    """

    joints: Float64[np.ndarray, "16 2"]
    labelled: Bool[np.ndarray, " 16"]
    visible: Bool[np.ndarray, " 16"]
    head_box: Float64[np.ndarray, " 4"]
    center: Float64[np.ndarray, " 2"]
    scale: float

    @property
    def shown(self) -> bool:
        """Whether the person is annotated with joints."""
        return _is_shown(self.labelled)


def videos(seed: int) -> Iterator[Video]:
    """Endless scenes; the first twenty show every category once."""
    order = np.random.default_rng([seed, 0]).permutation(len(CATEGORIES))
    number = 0
    while True:
        rng = np.random.default_rng([seed, 1, number])
        share = activities.category_shares()
        category = CATEGORIES[order[number] if number < len(order) else rng.choice(len(share), p=share)]
        yield _video(seed, number, category, rng, first=number < len(order))
        number += 1


def _video(seed: int, number: int, category: str, rng: np.random.Generator, *, first: bool) -> Video:
    chosen = [activity for activity in ACTIVITIES if activity.category == category]
    weights = np.array([activity.weight for activity in chosen])
    activity = chosen[int(rng.choice(len(chosen), p=weights / weights.sum()))]
    count = int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15]))
    start = int(rng.integers(5, 240))
    luck = 1.0 if first else rng.random()
    labels: Literal["all", "no activity", "none"] = "none" if luck < 0.07 else "no activity" if luck < 0.09 else "all"
    size = SIZES[int(rng.integers(len(SIZES)))]
    camera, persons = _staged(activity, size, (seed, 2, number), rng)
    seconds = tuple(start + 2 * k for k in range(count))
    return Video(seed, number, seconds, activity, labels, size, camera, persons, bool(rng.random() < 0.5))


def _staged(
    activity: Activity, size: tuple[int, int], key: tuple[int, ...], rng: np.random.Generator
) -> tuple[Camera, tuple[Person, ...]]:
    """Aim a camera at a first person and put up to two others beside."""
    width, height = size
    near = rng.random() < 0.13
    tall = height * (rng.uniform(1.0, 1.6) if near else np.exp(rng.uniform(np.log(0.5), np.log(0.98))))
    focal = max(size) * rng.uniform(1.0, 1.5)
    pitch = 0.35 if activity.place == "water" and rng.random() < 0.3 else rng.uniform(-0.02, 0.16)
    camera = Camera(focal, (width - 1) / 2, 0.0, rng.uniform(0.8, 1.9), pitch)
    main = _person(activity, (*key, 0), rng)
    depth = focal * main.body.stature / tall
    column = rng.uniform(0.28, 0.72) if rng.random() < 0.9 else rng.choice([0.06, 0.94])
    main = replace(main, place=((column - 0.5) * width * depth / focal, -depth))
    middle = camera.project(main.world(main.skeleton(0.0)[0].joints))[:, 1]
    aim = (middle.max() + middle.min()) / 2 if not near else middle[7]
    camera = replace(camera, y=height * rng.uniform(0.46, 0.56) - aim)
    persons = [main]
    for other in range(int(rng.choice([0, 1, 2], p=[0.5, 0.32, 0.18]))):
        doing = activity if rng.random() < 0.7 else _bystander(activity.place, rng)
        fellow = _person(doing, (*key, other + 1), rng)
        away = depth * rng.uniform(0.9, 1.8)
        column, gap = rng.uniform(0.06, 0.94), 0.4 * tall * depth / away
        crowded = [abs(camera.project(person.world(np.zeros(3)))[0] - column * width) < gap for person in persons]
        if any(crowded) and rng.random() < 0.8:
            continue
        persons.append(replace(fellow, place=((column - 0.5) * width * away / focal, -away)))
    return camera, tuple(persons)


def _bystander(place: str, rng: np.random.Generator) -> Activity:
    names = ["walking, general", "standing quietly, standing in a line", "standing, talking in person"]
    name = "paddle boarding, standing" if place == "water" else names[int(rng.integers(3))]
    return next(activity for activity in ACTIVITIES if activity.name == name)


def _person(activity: Activity, seed: tuple[int, ...], rng: np.random.Generator) -> Person:
    def ratio(spread: float) -> float:
        return float(np.clip(rng.normal(1.0, spread), 1 - 2 * spread, 1 + 2 * spread))

    body = Body(STATURE * ratio(0.05), ratio(0.03), ratio(0.02), ratio(0.05), ratio(0.05), ratio(0.09))
    yaw = float(rng.choice(activity.views)) + rng.uniform(-25, 25)
    return Person(activity, seed, body, dressed(activity.dress, rng), (0.0, 0.0), yaw, float(rng.random()))


_SKINS: Final = (
    (244.0, 205.0, 178.0),
    (226.0, 178.0, 142.0),
    (205.0, 150.0, 115.0),
    (165.0, 115.0, 80.0),
    (120.0, 80.0, 55.0),
    (85.0, 58.0, 42.0),
)
_HAIRS: Final = (
    (40.0, 30.0, 25.0),
    (75.0, 50.0, 32.0),
    (115.0, 75.0, 42.0),
    (205.0, 170.0, 105.0),
    (150.0, 75.0, 40.0),
    (150.0, 148.0, 145.0),
    (25.0, 22.0, 24.0),
)


def _hue(rng: np.random.Generator, low: float = 0.25, high: float = 0.95) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0.1, 0.85), rng.uniform(low, high))
    return 255 * red, 255 * green, 255 * blue


def dressed(dress: str, rng: np.random.Generator) -> Look:
    """Random skin, hair and clothes of a kind."""

    def pick(*options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    dark = _hue(rng, 0.12, 0.4)
    hairstyle = pick("short", "short", "short", "long", "bun", "tail", "bald")
    look = Look(
        skin=pick(*_SKINS),
        hair=pick(*_HAIRS),
        hairstyle=hairstyle,
        shirt=_hue(rng),
        trim=_hue(rng),
        pattern=pick("plain", "stripes", "buttons", "jacket"),
        sleeves=pick("short", "long"),
        trousers=pick(dark, _hue(rng, 0.2, 0.7)),
        legs=pick("long", "long", "shorts", "skirt")
        if hairstyle in ("long", "bun")
        else pick("long", "long", "shorts"),
        shoes=pick((40.0, 35.0, 35.0), (235.0, 235.0, 235.0), _hue(rng), (95.0, 60.0, 40.0)),
        hat=pick("none", "none", "none", "none", "cap"),
        hat_colour=_hue(rng),
    )
    white = (238.0, 236.0, 232.0)
    changes: dict[str, dict[str, Any]] = {
        "casual": {},
        "sport": {
            "sleeves": pick("none", "short"),
            "legs": pick("shorts", "long"),
            "pattern": pick("plain", "stripes", "jersey"),
        },
        "team": {"pattern": "jersey", "sleeves": "short", "legs": "shorts", "trim": white},
        "cycle": {"hat": "helmet", "pattern": pick("stripes", "jersey"), "legs": pick("shorts", "long")},
        "winter": {
            "sleeves": "long",
            "legs": "long",
            "pattern": pick("jacket", "plain"),
            "hat": pick("beanie", "helmet"),
        },
        "swim": {"pattern": "bare", "legs": "shorts", "shoes": look.skin, "hat": "none"},
        "life jacket": {
            "pattern": "jacket",
            "sleeves": "none",
            "shirt": pick((235.0, 120.0, 30.0), (220.0, 50.0, 40.0)),
        },
        "work": {"hat": pick("helmet", "cap", "none"), "pattern": pick("plain", "buttons", "stripes"), "legs": "long"},
        "fire": {
            "hat": "helmet",
            "shirt": (60.0, 55.0, 50.0),
            "trim": (230.0, 220.0, 60.0),
            "pattern": "stripes",
            "sleeves": "long",
            "legs": "long",
            "trousers": (60.0, 55.0, 50.0),
        },
        "white": {
            "shirt": white,
            "pattern": "buttons",
            "trousers": white,
            "legs": "long",
            "hat": "none",
            "sleeves": "long",
        },
        "straw": {"hat": "straw", "hat_colour": (220.0, 190.0, 120.0), "legs": pick("long", "shorts")},
        "formal": {
            "pattern": "jacket",
            "sleeves": "long",
            "trim": white,
            "shirt": pick(dark, look.shirt),
            "trousers": dark,
            "legs": "skirt" if look.legs == "skirt" else "long",
            "hat": "none",
        },
        "dance": {"pattern": pick("plain", "stripes", "buttons"), "sleeves": pick("none", "short"), "hat": "none"},
        "robe": {
            "legs": "robe",
            "sleeves": "long",
            "pattern": "buttons",
            "shirt": pick(white, dark, (110.0, 40.0, 120.0)),
            "hat": "none",
        },
        "vest": {"pattern": "jacket", "shirt": (240.0, 200.0, 40.0), "sleeves": "short"},
    }
    return replace(look, **changes[dress])


def drawn(video: Video, frame: int) -> tuple[UInt8[np.ndarray, "h w 3"], list[Annotation]]:
    """A frame of a video, from 0, and what is known of its persons."""
    rng = np.random.default_rng([video.seed, 3, video.number])  # the frames of a video share all but motion and noise
    light = _light(rng)
    width, height = video.size
    wide = replace(video.camera, x=video.camera.x + SLACK // 2, y=video.camera.y + SLACK // 2)
    depth = -video.persons[0].place[1]
    background = backgrounds.paint(video.activity.place, wide, (width + SLACK, height + SLACK), depth, rng)
    furniture = _furniture(video, rng)
    x, y = _shift(video, frame) + SLACK // 2
    camera = _camera(video, frame)
    actors = [(person, *person.skeleton(MOTION * frame)) for person in video.persons]
    bodies = [_placed(*actor) for actor in actors]
    shadows = [solid for body in bodies for _, solid in body]
    canvas = Canvas(_shaded(background[y : y + height, x : x + width], shadows, camera, light), camera, light)
    for solid in furniture:
        canvas.draw(solid, SCENERY)
    for index, body in enumerate(bodies):
        for part, solid in body:
            canvas.draw(solid, index * len(PARTS) + PARTS.index(part))
    annotations = [annotated(canvas, camera, video.size, index, *actor[:2]) for index, actor in enumerate(actors)]
    noise = np.random.default_rng([video.seed, 4, video.number, frame])
    image = backgrounds.photographed(canvas.image(), rng, noise)
    if video.mirrored:
        return np.ascontiguousarray(image[:, ::-1]), [_mirrored(annotation, width) for annotation in annotations]
    return image, annotations


def people_shown(video: Video, frame: int) -> int:
    """How many persons of a frame are annotated with joints, without drawing it."""
    camera = _camera(video, frame)
    figures = [(person, person.skeleton(MOTION * frame)[0]) for person in video.persons]
    inside = [_inside(camera.project(person.world(figure.joints)), video.size) for person, figure in figures]
    return sum(_is_shown(labelled) for labelled in inside)


def _shift(video: Video, frame: int) -> Int64[np.ndarray, " 2"]:
    """Whole pixels by which the camera has moved since the first frame."""
    rng = np.random.default_rng([video.seed, 5, video.number, frame])
    return rng.integers(-SLACK // 2, SLACK // 2 + 1, 2) if frame else np.zeros(2, np.int64)


def _camera(video: Video, frame: int) -> Camera:
    x, y = _shift(video, frame).tolist()
    return replace(video.camera, x=video.camera.x - x, y=video.camera.y - y)


def _inside(seen: Float64[np.ndarray, "16 3"], size: tuple[int, int]) -> Bool[np.ndarray, " 16"]:
    """Which projected joints are in the image."""
    return np.asarray(((seen[:, :2] >= 0) & (seen[:, :2] <= np.array(size) - 1)).all(axis=1))


def _is_shown(labelled: Bool[np.ndarray, " 16"]) -> bool:
    """Whether enough of a person is in the image to label joints, head-top and neck among them."""
    return bool(labelled[8] and labelled[9] and labelled.sum() >= _FEWEST_JOINTS)


def _placed(person: Person, figure: Skeleton, things: list[Solid]) -> list[tuple[str, Solid]]:
    parts = solids(figure, person.look) + [("prop", thing) for thing in things]
    return [(part, moved(solid, *person.placing)) for part, solid in parts]


def _light(rng: np.random.Generator) -> Light:
    direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.95, -0.45), rng.uniform(-0.8, -0.45)])
    ambient = rng.uniform(0.42, 0.62)
    return Light(direction / np.linalg.norm(direction), ambient, 1.2 - ambient)


def _shaded(
    background: UInt8[np.ndarray, "h w 3"], shadows: list[Solid], camera: Camera, light: Light
) -> UInt8[np.ndarray, "h w 3"]:
    """The background with the solids' soft shadows on the ground."""
    toward = camera.rotation.T @ light.direction
    mask = np.zeros(background.shape[:2], np.uint8)
    for solid in shadows:
        if isinstance(solid, Tube):
            ends = np.stack([solid.a, solid.b])
            fallen = camera.project(ends - ends[:, 1:2] * toward / max(toward[1], 0.3))
            thick = max(1, round(1.6 * solid.radius_a * camera.focal / fallen[0, 2]))
            (x0, y0), (x1, y1) = (np.clip(end[:2], -9999, 9999).round().astype(int).tolist() for end in fallen)
            cv2.line(mask, (x0, y0), (x1, y1), 255, min(thick, 200))
        elif isinstance(solid, Sheet):
            fallen = camera.project(solid.points - solid.points[:, 1:2] * toward / max(toward[1], 0.3))
            cv2.fillPoly(mask, [np.clip(fallen[:, :2], -9999, 9999).round().astype(np.int32)], 255)
    soft = cv2.GaussianBlur(mask, (0, 0), 2.5).astype(np.float32)[:, :, None] / 255
    return (background * (1 - 0.45 * light.diffuse * soft)).astype(np.uint8)


def _furniture(video: Video, rng: np.random.Generator) -> list[Solid]:
    """Boxes, posts and bushes round the persons; now and then one stands before the first person."""
    x, z = video.persons[0].place
    outside = video.activity.place in ("field", "forest", "shore", "rock")
    placed: list[Solid] = []
    if video.activity.place in ("water", "snow"):
        return placed
    for _ in range(int(rng.integers(1, 5))):
        where = np.array([x + rng.normal(0, 2.2), 0.0, z - rng.uniform(0.9, 3.0)])
        placed += _thing(where, outside=outside, rng=rng)
    if rng.random() < 0.16:
        where = np.array([x + rng.choice([-1, 1]) * rng.uniform(0.15, 0.5), 0.0, z + rng.uniform(0.7, 1.0)])
        low = rng.uniform(0.3, 0.75)
        if outside:
            placed += [
                moved(leaf, turned(), where, 1.0) for leaf in props.bush(0, 0, low * 0.55, int(rng.integers(999)))
            ]
        else:
            placed += props.box(
                props.beside(where, 0, low / 2, 0), (rng.uniform(0.3, 0.7), low, 0.3), _hue(rng), rng.uniform(0, 90)
            )
    return placed


def _thing(where: Vector, *, outside: bool, rng: np.random.Generator) -> list[Solid]:
    kind, hue = rng.random(), _hue(rng)
    if outside:
        if kind < 0.5:
            return [
                moved(leaf, turned(), where, 1.0)
                for leaf in props.bush(0, 0, rng.uniform(0.3, 0.8), int(rng.integers(999)))
            ]
        trunk = props.bar(where, props.beside(where, rng.normal(0, 0.2), 3.5, 0), rng.uniform(0.08, 0.2), props.BROWN)
        return [trunk]
    if kind < 0.3:
        return [
            props.bar(where, props.beside(where, 0, rng.uniform(1.6, 2.6), 0), 0.03, hue),
            props.ball(props.beside(where, 0, 2.0, 0), (0.2, 0.15, 0.2), hue),
        ]
    size = (rng.uniform(0.3, 1.3), rng.uniform(0.3, 1.7), rng.uniform(0.3, 0.6))
    shelf = props.box(props.beside(where, 0, size[1] / 2, 0), size, hue, rng.uniform(-40, 40))
    pot = props.ball(props.beside(where, 0, size[1] + 0.12, 0), rng.uniform(0.08, 0.16), _hue(rng))
    return [*shelf, pot] if kind < 0.65 else shelf


def annotated(
    canvas: Canvas, camera: Camera, size: tuple[int, int], index: int, person: Person, figure: Skeleton
) -> Annotation:
    """Look where the joints of person `index` are in a finished picture, and what covers them."""
    seen = camera.project(person.world(figure.joints))
    joints = seen[:, :2]
    labelled = _inside(seen, size)
    visible = labelled & np.array([_shows(canvas, index, number, seen[number]) for number in range(len(seen))])
    inside = joints[labelled] if labelled.any() else joints
    scale = SCALE_OF_STATURE * camera.focal * person.body.stature / float(seen[6, 2]) / 200
    center = (inside.max(axis=0) + inside.min(axis=0)) / 2 - np.array([0.0, 6.0 * scale])
    center = np.clip(np.round(center), 0, np.array(size) - 1)
    return Annotation(joints, labelled, visible, _head_box(camera, person, figure), center, scale)


def _shows(canvas: Canvas, index: int, joint: int, seen: Vector) -> bool:
    """Whether the top-most surface at a joint is the flesh about this very joint."""
    owner, depth = canvas.at(float(seen[0]), float(seen[1]))
    whose, part = divmod(owner, len(PARTS))
    parts, thickness = owners(joint)
    return owner >= 0 and whose == index and PARTS[part] in parts and depth > float(seen[2]) - thickness


def _head_box(camera: Camera, person: Person, figure: Skeleton) -> Float64[np.ndarray, " 4"]:
    """The box round a head with its hair, head-top and neck in it."""
    rotation, _, size = person.placing
    neck, top = figure.points["upper neck"], figure.points["head top"]
    middle = camera.project(person.world(neck + figure.head @ [0, 0.118, 0]))
    radii = size * rotation @ figure.head @ np.diag([0.085, 0.12, 0.1])
    reach = np.sqrt(((camera.rotation @ radii) ** 2).sum(axis=1))[:2] * camera.focal / middle[2]
    ends = camera.project(person.world(np.stack([neck, top])))[:, :2]
    low = np.minimum(middle[:2] - reach, ends.min(axis=0) - 1)
    high = np.maximum(middle[:2] + reach, ends.max(axis=0) + 1)
    return np.concatenate([np.floor(low), np.ceil(high)])


def _mirrored(annotation: Annotation, width: int) -> Annotation:
    order = list(MPII.mirrored)
    joints = annotation.joints[order] * [-1, 1] + [width - 1, 0]
    x0, y0, x1, y1 = annotation.head_box
    return replace(
        annotation,
        joints=joints,
        labelled=annotation.labelled[order],
        visible=annotation.visible[order],
        head_box=np.array([width - 1 - x1, y0, width - 1 - x0, y1]),
        center=annotation.center * [-1, 1] + [width - 1, 0],
    )
