"""Painted backgrounds of the demo set, one kind for each place of an activity, and a camera's noise and colours."""

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from pose_lightning.convert.drawn.canvas import Camera, Number

Picture = npt.NDArray[np.float32]
"""Height x width x 3, 0 to 255."""

_INDOORS: Final = ("room", "gym", "workshop", "stage", "church")
_GROUNDS: Final = {
    "field": (105, 145, 70),
    "rock": (120, 130, 85),
    "forest": (105, 95, 60),
    "street": (128, 126, 124),
    "shore": (120, 135, 85),
    "snow": (205, 212, 222),
    "water": (70, 120, 145),
}
_WALLS: Final = {
    "room": (205, 195, 180),
    "gym": (190, 195, 190),
    "workshop": (165, 160, 150),
    "stage": (45, 35, 55),
    "church": (175, 165, 150),
}


def paint(
    place: str, camera: Camera, size: tuple[int, int], depth: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """A background.

    Args:
        place: Of an activity.
        camera: Says where the horizon is.
        size: Width and height in pixels.
        depth: How far the first person stands, in metres; indoors the wall is behind.
        rng: Everything that varies.
    """
    width, height = size
    picture = np.zeros((height, width, 3), np.float32)
    if place in _INDOORS:
        wall = depth + rng.uniform(2.0, 4.5)
        fall = np.tan(camera.pitch) if camera.pitch else 0.0
        edge = round(camera.horizon + camera.focal * camera.height / wall * (1 + fall**2))
        _room(picture, place, edge, camera, rng)
    else:
        _outside(picture, place, round(camera.horizon), rng)
    picture += _texture(size, rng)[:, :, None] * rng.uniform(4, 14)
    return np.clip(picture, 0, 255).astype(np.uint8)


def photographed(
    image: UInt8[np.ndarray, "h w 3"], scene: np.random.Generator, noise: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with a lens's blur, a sensor's noise and a film's colours; colours are the scene's."""
    tint, gain = scene.uniform(0.92, 1.08, 3), scene.uniform(0.82, 1.15)
    blur, grain = scene.uniform(0.25, 0.75), scene.uniform(1.0, 5.0)
    seen = cv2.GaussianBlur(image, (0, 0), blur).astype(np.float32) * (tint * gain).astype(np.float32)
    seen += noise.standard_normal((*image.shape[:2], 1), np.float32) * np.float32(grain)
    seen += noise.standard_normal(image.shape, np.float32) * np.float32(0.4 * grain)
    return np.clip(seen, 0, 255).astype(np.uint8)


def _texture(size: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Smooth random relief of several sizes, about -1 to 1."""
    total = np.zeros((size[1], size[0]), np.float32)
    for cells in (6, 20, 70):
        coarse = rng.standard_normal((cells, cells), np.float32)
        total += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC) * np.float32(2.5 / cells**0.5)
    return total / np.float32(2)


def _vary(colour: Any, rng: np.random.Generator, spread: Number = 18) -> tuple[float, float, float]:
    red, green, blue = np.clip(np.asarray(colour, float) + rng.normal(0, spread, 3) + rng.normal(0, spread), 0, 255)
    return float(red), float(green), float(blue)


def _gradient(picture: Picture, top: int, bottom: int, first: Any, last: Any) -> None:
    height = picture.shape[0]
    start, stop = int(np.clip(top, 0, height)), int(np.clip(bottom, 0, height))
    if start < stop:
        k = ((np.arange(start, stop) - top) / max(bottom - top, 1))[:, None, None]
        picture[start:stop] = (1 - k) * np.asarray(first, float) + k * np.asarray(last, float)


def _rectangle(picture: Picture, x0: Number, y0: Number, x1: Number, y1: Number, colour: Any) -> None:
    cv2.rectangle(picture, (round(x0), round(y0)), (round(x1), round(y1)), colour, -1)


def _outside(picture: Picture, place: str, horizon: int, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    sky = _vary((140, 180, 220), rng) if rng.random() < 0.7 else _vary((190, 195, 200), rng)
    _gradient(picture, min(horizon - height, 0), horizon, sky, _vary((215, 225, 232), rng, 10))
    for _ in range(int(rng.integers(0, 6))):
        _cloud(picture, rng.uniform(0, width), horizon - rng.uniform(0.15, 0.9) * height, rng)
    ground = _vary(_GROUNDS[place], rng, 12)
    painters = {"street": _houses, "forest": _trees, "snow": _mountains, "water": _mountains, "shore": _mountains}
    painters.get(place, _hills)(picture, horizon, rng)
    _gradient(picture, horizon, max(height, horizon + 1), np.multiply(ground, 1.12), np.multiply(ground, 0.82))
    if place == "water":
        _waves(picture, horizon, rng, width)
    elif place == "shore":
        _gradient(picture, horizon, round(horizon + 0.35 * (height - horizon)), (120, 155, 175), (80, 120, 140))
        _waves(picture, horizon, rng, width, round(horizon + 0.35 * (height - horizon)))
    elif place == "street":
        _pavement(picture, horizon, rng)
    else:
        _tufts(picture, horizon, np.multiply(ground, 0.8), rng)


def _cloud(picture: Picture, x: float, y: float, rng: np.random.Generator) -> None:
    for _ in range(7):
        at = (round(x + rng.normal(0, 30)), round(y + rng.normal(0, 6)))
        cv2.ellipse(
            picture,
            at,
            (int(rng.integers(12, 40)), int(rng.integers(5, 14))),
            0,
            0,
            360,
            (240, 242, 245),
            -1,
            cv2.LINE_AA,
        )


def _ridge(picture: Picture, base: int, rise: Number, rough: Number, colour: Any, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    x = np.linspace(0, width, 24)
    y = (
        base
        - rise * (0.5 + 0.5 * np.sin(x / width * rng.uniform(3, 9) + rng.uniform(0, 6)))
        - rng.uniform(0, rough, 24)
    )
    outline = np.concatenate([np.column_stack([x, y]), [[width, max(base, height)], [0, max(base, height)]]])
    cv2.fillPoly(picture, [outline.round().astype(np.int32)], colour, cv2.LINE_AA)


def _hills(picture: Picture, horizon: int, rng: np.random.Generator) -> None:
    height = picture.shape[0]
    _ridge(picture, horizon, 0.12 * height, 4, _vary((125, 150, 140), rng), rng)
    if rng.random() < 0.7:
        _foliage(picture, horizon, 0.16 * height, _vary((70, 105, 60), rng), rng)
    if rng.random() < 0.4:
        _houses(picture, horizon, rng)


def _foliage(picture: Picture, base: int, rise: float, colour: Any, rng: np.random.Generator) -> None:
    width = picture.shape[1]
    for _ in range(90):
        at = (round(rng.uniform(0, width)), round(base - rng.uniform(0, rise)))
        shade = rng.uniform(0.65, 1.3)
        axes = (int(rng.integers(5, 26)), int(rng.integers(4, 18)))
        cv2.ellipse(
            picture, at, axes, rng.uniform(0, 180), 0, 360, tuple(shade * value for value in colour), -1, cv2.LINE_AA
        )


def _trees(picture: Picture, horizon: int, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    leaves = _vary((70, 105, 55), rng)
    _foliage(picture, horizon, 0.9 * height, leaves, rng)
    for _ in range(int(rng.integers(6, 16))):
        x, thick, bark = rng.uniform(0, width), rng.uniform(3, 16), _vary((90, 72, 55), rng)
        _rectangle(picture, x, -5, x + thick, horizon + rng.uniform(0, 0.08) * height, bark)
    _foliage(picture, round(horizon - 0.45 * height), 0.6 * height, leaves, rng)


def _mountains(picture: Picture, horizon: int, rng: np.random.Generator) -> None:
    height = picture.shape[0]
    _ridge(picture, horizon, 0.25 * height, 40, _vary((165, 175, 190), rng), rng)
    _ridge(picture, horizon, 0.08 * height, 10, _vary((90, 115, 100), rng), rng)
    for _ in range(int(rng.integers(0, 12))):
        x, tall = rng.uniform(0, picture.shape[1]), rng.uniform(0.08, 0.28) * height
        tree = np.array([[x, horizon - tall], [x + 0.22 * tall, horizon + 2], [x - 0.22 * tall, horizon + 2]])
        cv2.fillPoly(picture, [tree.round().astype(np.int32)], _vary((55, 85, 65), rng), cv2.LINE_AA)


def _houses(picture: Picture, horizon: int, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    x = -rng.uniform(0, 80)
    while x < width:
        wide, tall = rng.uniform(50, 160), rng.uniform(0.25, 0.95) * height
        wall = _vary((170, 150, 130), rng, 25)
        top = horizon - tall
        _rectangle(picture, x, top, x + wide, horizon + 2, wall)
        glass, step = _vary((90, 105, 120), rng), rng.uniform(18, 34)
        for row in np.arange(top + 10, horizon - 14, step * 1.3):
            for column in np.arange(x + 8, x + wide - 12, step):
                _rectangle(picture, column, row, column + step * 0.5, row + step * 0.75, glass)
        x += wide + (rng.uniform(0, 40) if rng.random() < 0.3 else 0)


def _waves(picture: Picture, horizon: int, rng: np.random.Generator, width: int, end: int | None = None) -> None:
    height = picture.shape[0] if end is None else end
    for _ in range(160):
        k = rng.random() ** 1.5
        y, long = horizon + k * (height - horizon), 6 + 60 * k
        x, shade = rng.uniform(-20, width), rng.uniform(-22, 30)
        at = (round(x), round(y))
        if 0 <= at[1] < picture.shape[0] and 0 <= at[0] < width:
            colour = tuple(float(value) + shade for value in picture[at[1], at[0]])
            cv2.ellipse(picture, at, (round(long), max(1, round(3 * k))), 0, 0, 360, colour, -1, cv2.LINE_AA)


def _tufts(picture: Picture, horizon: int, colour: Any, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    for _ in range(140):
        k = rng.random()
        x, y, long = rng.uniform(0, width), horizon + k * (height - horizon), 2 + 9 * k
        tip = (round(x + rng.normal(0, 2)), round(y - long))
        cv2.line(picture, (round(x), round(y)), tip, _vary(colour, rng, 8), 1, cv2.LINE_AA)


def _pavement(picture: Picture, horizon: int, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    vanish = rng.uniform(0.1, 0.9) * width
    for foot, wide in (
        (rng.uniform(-1, 0.3) * width, 14),
        (rng.uniform(0.6, 2) * width, 14),
        (rng.uniform(0, 1) * width, 6),
    ):
        stripe = np.array([[vanish, horizon], [foot + wide, height], [foot - wide, height]])
        cv2.fillPoly(picture, [stripe.round().astype(np.int32)], _vary((205, 203, 195), rng, 8), cv2.LINE_AA)


def _room(picture: Picture, place: str, edge: int, camera: Camera, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    wall = _vary(_WALLS[place], rng, 22)
    floor = _vary((70, 55, 60) if place == "stage" else (155, 125, 95) if rng.random() < 0.6 else (150, 150, 148), rng)
    _gradient(picture, edge - height, edge, np.multiply(wall, 0.9), wall)
    _gradient(picture, edge, max(height, edge + 1), np.multiply(floor, 0.8), floor)
    _boards(picture, edge, camera, np.multiply(floor, 0.86), rng)
    _rectangle(picture, 0, edge - 4, width, edge, np.multiply(wall, 0.75).tolist())
    decorate = {"stage": _curtain, "church": _windows, "workshop": _shelves, "gym": _bars}.get(place)
    if decorate:
        decorate(picture, edge, wall, rng)
    for _ in range(int(rng.integers(1, 5)) if place in ("room", "workshop") else 0):
        _frame(picture, edge, rng)
    if place == "room" and rng.random() < 0.5:
        _shelves(picture, edge, wall, rng)


def _boards(picture: Picture, edge: int, camera: Camera, colour: Any, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    vanish = np.array([camera.x, camera.horizon])
    line = tuple(float(value) for value in colour)
    for foot in np.arange(-2 * width, 3 * width, rng.uniform(50, 110)):
        end = np.array([foot, height + 20.0])
        start = end + (vanish - end) * (end[1] - edge) / max(end[1] - vanish[1], 1)
        (x0, y0), (x1, y1) = start.round().astype(int).tolist(), end.round().astype(int).tolist()
        if edge < height:
            cv2.line(picture, (x0, y0), (x1, y1), line, 1, cv2.LINE_AA)


def _frame(picture: Picture, edge: int, rng: np.random.Generator) -> None:
    """A picture, or a window with the sky in it."""
    height, width = picture.shape[:2]
    x, y = rng.uniform(0, width), edge - rng.uniform(0.25, 0.8) * height
    wide, tall = rng.uniform(30, 120), rng.uniform(30, 110)
    _rectangle(picture, x - 4, y - 4, x + wide + 4, y + tall + 4, _vary((120, 95, 70), rng, 40))
    if rng.random() < 0.5:
        _rectangle(picture, x, y, x + wide, y + tall, _vary((190, 212, 228), rng, 12))
        _rectangle(picture, x + wide / 2 - 1, y, x + wide / 2 + 1, y + tall, (225, 225, 220))
        return
    _rectangle(picture, x, y, x + wide, y + tall, _vary((150, 140, 130), rng, 50))
    for _ in range(5):
        at = (round(x + rng.uniform(0.2, 0.8) * wide), round(y + rng.uniform(0.2, 0.8) * tall))
        cv2.circle(
            picture,
            at,
            int(rng.integers(3, max(4, int(0.2 * min(wide, tall))))),
            _vary((130, 120, 120), rng, 60),
            -1,
            cv2.LINE_AA,
        )


def _curtain(picture: Picture, edge: int, wall: Any, rng: np.random.Generator) -> None:
    width = picture.shape[1]
    hue = _vary((120, 40, 55), rng, 25)
    fold = 0.75 + 0.25 * np.sin(np.arange(width) / rng.uniform(4, 10))
    side = int(width * rng.uniform(0.15, 1.0))
    top = int(np.clip(edge, 0, picture.shape[0]))
    picture[:top, :side] = (np.array(hue) * fold[:side, None])[None]
    overlay = picture.copy()
    for _ in range(int(rng.integers(1, 4))):
        x, foot = rng.uniform(0, width), rng.uniform(0, width)
        beam = np.array([[x, -10], [foot + 70, edge + 60], [foot - 70, edge + 60]])
        cv2.fillPoly(overlay, [beam.round().astype(np.int32)], _vary((225, 215, 190), rng, 25), cv2.LINE_AA)
    picture[:] = 0.72 * picture + 0.28 * overlay


def _windows(picture: Picture, edge: int, wall: Any, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    wide, gap = rng.uniform(36, 60), rng.uniform(90, 150)
    for x in np.arange(rng.uniform(0, 60), width, gap):
        top, bottom = edge - 0.75 * height, edge - 0.28 * height
        cv2.ellipse(
            picture,
            (round(x + wide / 2), round(top)),
            (round(wide / 2), round(wide * 0.7)),
            0,
            180,
            360,
            (70, 80, 120),
            -1,
            cv2.LINE_AA,
        )
        for row in np.arange(top, bottom, 14):
            for column in np.arange(x, x + wide - 9, 12):
                _rectangle(picture, column, row, column + 9, row + 11, _vary((130, 90, 120), rng, 55))
    _rectangle(picture, 0, edge - 0.12 * height, width, edge, np.multiply(wall, 0.7).tolist())


def _shelves(picture: Picture, edge: int, wall: Any, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    x0, wide = rng.uniform(0, 0.7) * width, rng.uniform(0.2, 0.5) * width
    for row in (0.3, 0.5, 0.7):
        y = edge - row * height
        _rectangle(picture, x0, y, x0 + wide, y + 4, _vary((110, 85, 60), rng, 10))
        x = x0
        while x < x0 + wide - 12:
            size, tall = rng.uniform(5, 20), rng.uniform(10, 32)
            _rectangle(picture, x, y - tall, x + size, y - 1, _vary((140, 120, 110), rng, 50))
            x += size + rng.uniform(0, 10)


def _bars(picture: Picture, edge: int, wall: Any, rng: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    _rectangle(picture, 0, edge - 0.3 * height, width, edge - 0.27 * height, _vary((60, 90, 150), rng, 40))
    x0, wood = rng.uniform(0, 0.6) * width, _vary((175, 130, 80), rng, 15)
    for row in np.arange(edge - 0.7 * height, edge - 8, 14):
        _rectangle(picture, x0, row, x0 + 110, row + 3, wood)
    for x in (x0, x0 + 55, x0 + 110):
        _rectangle(picture, x, edge - 0.72 * height, x + 4, edge, np.multiply(wood, 0.8).tolist())
