"""A studio with four cameras, in which drawn people perform fifteen actions: clips in the form of Human3.6M.

World frame, as Human3.6M's: z up, in mm, the floor is z = 0. The figures' frame has y up, in metres; `to_world` goes
from one to the other. Camera frame: x right, y down, z away from the camera.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from pose_lightning.convert.drawn.canvas import Camera, Canvas, Light, Vector, moved
from pose_lightning.convert.drawn.figures import PARTS, STATURE, Body, Look, Skeleton, skeleton, solids, turned
from pose_lightning.convert.drawn.motions import Moment, performance
from pose_lightning.convert.drawn.scenes import dressed
from pose_lightning.joints import H36M_32

SUBJECTS: Final = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
SUBACTIONS: Final = (1, 2)
CAMERAS: Final = ("54138969", "55011271", "58860488", "60457274")
"""Human3.6M's serial numbers; where they stand and what they see is ours."""

SENSOR: Final = 288
"""Side of a camera's image, px; Human3.6M's are 1000."""
FRAME_RATE: Final = 10
"""Frames a second; Human3.6M has 50, of which the course took every fifth."""

_TO_WORLD: Final = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
_YAWS: Final = (38.0, 142.0, 221.0, 319.0)
_DISTANCES: Final = (4.9, 5.3, 5.1, 4.7)
_HEIGHTS: Final = (1.55, 1.75, 1.45, 1.65)
_FOCALS: Final = (1.75, 1.9, 1.8, 1.7)  # over the sensor's side; Human3.6M's are 1.145, of cameras as far away
_AIM: Final = 0.9  # metres above the floor


@dataclass(frozen=True)
class StudioCamera:
    """One of the four cameras: a `canvas.Camera` that looks at the middle from a direction.

    Attributes:
        name: Serial number.
        yaw: Direction that it stands in, degrees.
        distance: To the middle along the floor, metres.
        camera: As the canvas needs it.
    """

    name: str
    yaw: float
    distance: float
    camera: Camera

    @property
    def turn(self) -> Float64[np.ndarray, "3 3"]:
        """From the studio's axes (y up) to those of the canvas, whose z points to the camera."""
        return turned(y=-self.yaw)

    @property
    def rotation(self) -> Float64[np.ndarray, "3 3"]:
        """World axes to camera axes: X_camera = R (X_world - T)."""
        return self.camera.rotation @ self.turn @ _TO_WORLD.T

    @property
    def position(self) -> Float64[np.ndarray, " 3"]:
        """The camera in the world, mm."""
        return 1000 * _TO_WORLD @ self.turn.T @ np.array([0.0, self.camera.height, self.distance])


def cameras() -> tuple[StudioCamera, ...]:
    """The studio's cameras, the same for every video."""
    made = []
    for name, yaw, distance, height, focal in zip(CAMERAS, _YAWS, _DISTANCES, _HEIGHTS, _FOCALS, strict=True):
        pitch = float(np.arctan2(height - _AIM, distance))
        middle = (SENSOR - 1) / 2
        made.append(StudioCamera(name, yaw, distance, Camera(focal * SENSOR, middle, middle, height, pitch)))
    return tuple(made)


@dataclass(frozen=True)
class Take:
    """A sequence of Human3.6M: one subject performs one action; four cameras see the same motion."""

    seed: int
    subject: str
    action: str
    subaction: int

    def rng(self, use: int) -> np.random.Generator:
        """Random numbers for one use of this take."""
        number = sum(ord(letter) << (8 * (place % 3)) for place, letter in enumerate(self.action))
        return np.random.default_rng([self.seed, use, SUBJECTS.index(self.subject), number, self.subaction])

    @property
    def body(self) -> Body:
        """The subject's build, the same in all takes."""
        rng = np.random.default_rng([self.seed, 1, SUBJECTS.index(self.subject)])
        return Body(
            stature=rng.uniform(1.6, 1.88),
            arms=rng.uniform(0.95, 1.06),
            legs=rng.uniform(0.95, 1.06),
            shoulders=rng.uniform(0.9, 1.12),
            hips=rng.uniform(0.9, 1.15),
            girth=rng.uniform(0.88, 1.2),
        )

    @property
    def look(self) -> Look:
        """Clothes; drawn subjects change them between takes, because seven looks would be learnt by heart."""
        rng = self.rng(2)
        return dressed(str(rng.choice(["casual", "sport", "work", "dance"])), rng)

    def moments(self, frames: int) -> list[Moment]:
        """What the body does in each frame."""
        perform = performance(self.action, self.rng(3))
        return [perform(frame / FRAME_RATE) for frame in range(frames)]


def placed(take: Take, moment: Moment) -> tuple[Skeleton, Vector, Vector, float]:
    """The posed body, and rotation, offset (metres) and size that put it into the studio (y up)."""
    offset = np.array([moment.place[0], 0.0, moment.place[1]])
    return skeleton(moment.pose, take.body), turned(y=moment.heading), offset, take.body.stature / STATURE


_PLACES: Final = {
    **{name: name for name in H36M_32.names if name.split(" ", 1)[-1] in ("hip", "knee", "ankle", "elbow", "wrist")},
    "pelvis": "pelvis",
    "spine base": "pelvis",
    "spine": "waist",
    "thorax": "thorax",
    "neck": "upper neck",
    "head top": "head top",
    **{
        f"{side} {name}": f"{side} {point}"
        for side in ("left", "right")
        for name, point in (
            ("toe base", "toe"),
            ("toe end", "toe"),
            ("shoulder", "shoulder"),
            ("thumb base", "wrist"),
            ("thumb end", "palm"),
            ("hand base", "wrist"),
            ("hand end", "palm"),
        )
    },
    "left shoulder base": "thorax",
    "right shoulder base": "thorax",
}
"""The point of a drawn body that is each of Human3.6M's 32 joints."""


def world_joints(take: Take, moment: Moment) -> Float64[np.ndarray, "32 3"]:
    """The official joints in the world, mm."""
    posed, rotation, offset, size = placed(take, moment)
    points = np.stack([posed.points[_PLACES[name]] for name in H36M_32.names])
    return 1000 * (size * points @ rotation.T + offset) @ _TO_WORLD.T


def project(points: Float64[np.ndarray, "*n 3"], camera: StudioCamera) -> Float64[np.ndarray, "*n 2"]:
    """World points (mm) in px of the camera's image."""
    seen = (points - camera.position) @ camera.rotation.T
    pinhole = camera.camera
    return np.array([pinhole.x, pinhole.y]) + pinhole.focal * seen[..., :2] / seen[..., 2:]


def filmed(take: Take, camera: StudioCamera, moments: list[Moment]) -> list[UInt8[np.ndarray, "s s 3"]]:
    """The frames of one camera."""
    rng = take.rng(4 + CAMERAS.index(camera.name))
    light, empty = _light(rng), _empty_studio(camera.camera, rng)
    finish = np.random.default_rng(rng.integers(2**63))
    frames = []
    look = take.look
    for moment in moments:
        posed, rotation, offset, size = placed(take, moment)
        turn = camera.turn @ rotation
        shift = camera.turn @ offset - np.array([0.0, 0.0, camera.distance])
        canvas = Canvas(empty, camera.camera, light)
        for part, solid in solids(posed, look):
            canvas.draw(moved(solid, turn, shift, size), PARTS.index(part))
        frames.append(_noisy(canvas.image(), finish))
    return frames


def _light(rng: np.random.Generator) -> Light:
    direction = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.9, -0.5), rng.uniform(-0.8, -0.5)])
    ambient = rng.uniform(0.45, 0.6)
    return Light(direction / np.linalg.norm(direction), ambient, 1.15 - ambient)


def _empty_studio(camera: Camera, rng: np.random.Generator) -> UInt8[np.ndarray, "s s 3"]:
    """A wall and a floor, with some panels on the wall."""
    picture = np.empty((SENSOR, SENSOR, 3), np.float32)
    wall, floor = rng.uniform(70, 215, 3), rng.uniform(60, 170, 3)
    wall, floor = wall.mean() + 0.35 * (wall - wall.mean()), floor.mean() + 0.45 * (floor - floor.mean())
    edge = int(np.clip(camera.horizon + camera.focal * camera.height / 8.5, 10, SENSOR - 10))  # the wall is 8.5 m away
    picture[:edge], picture[edge:] = wall, floor
    for _ in range(int(rng.integers(2, 6))):
        x, y = rng.integers(0, SENSOR, 2).tolist()
        width, height = rng.integers(15, 90, 2).tolist()
        colour = [float(value) for value in np.clip(wall + rng.normal(0, 22, 3), 0, 255)]
        cv2.rectangle(picture[:edge], (x, y % edge), (x + width, y % edge + height), colour, -1)
    picture *= np.linspace(rng.uniform(0.8, 1.1), rng.uniform(0.8, 1.1), SENSOR, dtype=np.float32)[None, :, None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _noisy(image: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with a sensor's noise."""
    noise = np.empty(image.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(2**31)))
    cv2.randn(noise, np.zeros(3), np.full(3, 3.0))
    return cv2.add(image, noise, dtype=cv2.CV_8U)
