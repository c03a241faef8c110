"""Solids of three kinds, a camera, and a canvas that draws them with shading and a depth per pixel.

The demo set needs to know which joint is hidden. A depth buffer answers that by looking, where a painter's order would
have to guess for limbs that pass through each other.

World frame: x to the right of the image, y up, z towards the camera, in metres; the ground is y = 0.
Camera frame: x right, y down, z away from the camera.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Float64, Int16, Shaped, UInt8

Colour: TypeAlias = tuple[float, float, float]
"""Red, green, blue in 0 to 255."""
Number: TypeAlias = float | int
"""A scalar where poses and things are written down, whole numbers among them."""
Vector: TypeAlias = npt.NDArray[np.float64]
"""Any float64 array of coordinates."""
Pattern: TypeAlias = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""Maps points (n, 3) of the unit sphere, in a blob's own axes, to colours (n, 3)."""

SUPERSAMPLING: Final = 2
"""Canvas pixels per image pixel and axis; averaging them smooths every edge."""
BACKGROUND: Final = -1
"""The owner of a pixel that no solid covers."""
_SHIFT: Final = 4  # cv2's fixed-point coordinates: sixteenths of a pixel
_GROUND_SLACK: Final = 0.03  # metres that a sole may sink in
_NEAREST: Final = 0.2  # metres; nearer solids would fill the image


@dataclass(frozen=True)
class Tube:
    """A tapered capsule from `a` to `b` (x, y, z); `bands` are (fraction along it, colour from there on)."""

    a: Vector
    b: Vector
    radius_a: float
    radius_b: float
    bands: tuple[tuple[float, Colour], ...]


@dataclass(frozen=True)
class Blob:
    """An ellipsoid; the columns of `axes` (3, 3) are its semi-axes.

    Overlapping blobs along the unit vector `grain` are shaded as one smooth surface.
    """

    center: Vector
    axes: Vector
    paint: Colour | Pattern
    grain: Vector | None = None


@dataclass(frozen=True)
class Sheet:
    """A flat polygon (n, 3), seen from both sides, with an optional polygonal hole (m, 3) in the same plane."""

    points: Vector
    colour: Colour
    hole: Vector | None = None


Solid: TypeAlias = Tube | Blob | Sheet


def moved(solid: Solid, rotation: Float64[np.ndarray, "3 3"], offset: Float64[np.ndarray, " 3"], size: float) -> Solid:
    """The solid scaled by `size`, then rotated, then shifted."""

    def place(points: Vector) -> Vector:
        return size * points @ rotation.T + offset

    if isinstance(solid, Tube):
        return Tube(place(solid.a), place(solid.b), size * solid.radius_a, size * solid.radius_b, solid.bands)
    if isinstance(solid, Blob):
        grain = None if solid.grain is None else rotation @ solid.grain
        return replace(solid, center=place(solid.center), axes=size * rotation @ solid.axes, grain=grain)
    return replace(solid, points=place(solid.points), hole=None if solid.hole is None else place(solid.hole))


@dataclass(frozen=True)
class Camera:
    """A pinhole `height` metres above the ground, looking `pitch` radians downwards; `focal`, `x`, `y` in pixels."""

    focal: float
    x: float
    y: float
    height: float
    pitch: float

    @property
    def rotation(self) -> Float64[np.ndarray, "3 3"]:
        """World axes to camera axes."""
        cos, sin = np.cos(self.pitch), np.sin(self.pitch)
        return np.array([[1.0, 0.0, 0.0], [0.0, -cos, sin], [0.0, -sin, -cos]])

    @property
    def horizon(self) -> float:
        """The image row of points on the ground that are infinitely far."""
        return float(self.y - self.focal * np.tan(self.pitch))

    def project(self, points: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
        """Image x, image y (pixels, the first pixel's centre is 0) and depth in metres of world points."""
        seen = (points - np.array([0.0, self.height, 0.0])) @ self.rotation.T
        depth = np.maximum(seen[..., 2], _NEAREST)
        return np.stack(
            [self.x + self.focal * seen[..., 0] / depth, self.y + self.focal * seen[..., 1] / depth, depth], axis=-1
        )

    def ground_depth(self, rows: Shaped[np.ndarray, " h"]) -> Float64[np.ndarray, " h"]:
        """Depth in metres of the ground seen in image rows; infinite above the horizon."""
        fall = np.cos(self.pitch) * (rows - self.y) / self.focal + np.sin(self.pitch)
        return np.where(fall > 0, self.height / np.maximum(fall, 1e-9), np.inf)

    def supersampled(self) -> "Camera":
        """The same camera in canvas pixels."""
        half = (SUPERSAMPLING - 1) / 2
        return replace(
            self, focal=self.focal * SUPERSAMPLING, x=self.x * SUPERSAMPLING + half, y=self.y * SUPERSAMPLING + half
        )


@dataclass(frozen=True)
class Light:
    """A far light; `direction` (camera frame, unit length) points to it. `ambient` + `diffuse` is full brightness."""

    direction: Vector
    ambient: float
    diffuse: float

    def intensity(self, normals: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Brightness (n,) of surfaces with unit normals (n, 3); rims darken a little, which parts limb from limb."""
        lit = np.maximum(normals @ self.direction.astype(np.float32), 0.0)
        rim = 0.72 + 0.28 * np.sqrt(np.maximum(-normals[:, 2], 0.0))
        return ((self.ambient + self.diffuse * lit) * rim).astype(np.float32)


class Canvas:
    """A supersampled picture with the depth and the owner of every pixel; the ground hides what is below it.

    Args:
        background: Image (h, w, 3) that shows where nothing is drawn.
        camera: In pixels of that image.
        light: Shades what is drawn.
    """

    def __init__(self, background: UInt8[np.ndarray, "h w 3"], camera: Camera, light: Light) -> None:
        height, width = (SUPERSAMPLING * side for side in background.shape[:2])
        self.colour: npt.NDArray[Any] = cv2.resize(background, (width, height), interpolation=cv2.INTER_LINEAR)
        self.depth: Float32[np.ndarray, "h w"] = np.full((height, width), np.inf, np.float32)
        self.owner: Int16[np.ndarray, "h w"] = np.full((height, width), BACKGROUND, np.int16)
        self.camera, self.light = camera.supersampled(), light
        self.depth[:] = self.camera.ground_depth(np.arange(height))[:, None] + _GROUND_SLACK

    def draw(self, solid: Solid, owner: int) -> None:
        """Draw a solid of the world; its pixels belong to `owner`."""
        if isinstance(solid, Tube):
            self._tube(solid, owner)
        elif isinstance(solid, Blob):
            self._blob(solid, owner)
        else:
            self._sheet(solid, owner)

    def image(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture at the background's resolution."""
        size = (self.colour.shape[1] // SUPERSAMPLING, self.colour.shape[0] // SUPERSAMPLING)
        return np.asarray(cv2.resize(self.colour, size, interpolation=cv2.INTER_AREA), np.uint8)

    def at(self, x: float, y: float) -> tuple[int, float]:
        """Owner and depth in metres at a position of the image, in image pixels."""
        half = (SUPERSAMPLING - 1) / 2
        column = int(np.clip(round(x * SUPERSAMPLING + half), 0, self.owner.shape[1] - 1))
        row = int(np.clip(round(y * SUPERSAMPLING + half), 0, self.owner.shape[0] - 1))
        return int(self.owner[row, column]), float(self.depth[row, column])

    def _window(self, low: Vector, high: Vector) -> tuple[slice, slice] | None:
        rows, columns = self.owner.shape
        x0, y0 = max(int(low[0]) - 1, 0), max(int(low[1]) - 1, 0)
        x1, y1 = min(int(high[0]) + 2, columns), min(int(high[1]) + 2, rows)
        return (slice(y0, y1), slice(x0, x1)) if x0 < x1 and y0 < y1 else None

    def _put(
        self,
        window: tuple[slice, slice],
        closer: npt.NDArray[np.bool_],
        depth: npt.NDArray[np.float32],
        colours: npt.NDArray[np.float32],
        owner: int,
    ) -> None:
        self.colour[window][closer] = np.minimum(colours, 255.0).astype(np.uint8)
        self.depth[window][closer] = depth
        self.owner[window][closer] = owner

    def _tube(self, tube: Tube, owner: int) -> None:
        ends = self.camera.project(np.stack([tube.a, tube.b]))
        scale = self.camera.focal / ends[:, 2]
        radii = np.maximum(scale * np.array([tube.radius_a, tube.radius_b]), 0.5)
        window = self._window((ends[:, :2] - radii[:, None]).min(0), (ends[:, :2] + radii[:, None]).max(0))
        if window is None or ends[:, 2].min() <= _NEAREST:
            return
        x, y = _grid(window, ends[0])
        along = (ends[1] - ends[0]).astype(np.float32)
        t = np.clip((x * along[0] + y * along[1]) / max(float(along[0] ** 2 + along[1] ** 2), 1e-6), 0.0, 1.0)
        radius = np.float32(radii[0]) + np.float32(radii[1] - radii[0]) * t
        dx, dy = x - t * along[0], y - t * along[1]
        square = radius * radius - dx * dx - dy * dy
        rise = np.sqrt(np.maximum(square, 0.0))
        depth = np.float32(ends[0, 2]) + along[2] * t - rise * np.float32(1 / scale.mean())
        closer = (square > 0) & (depth < self.depth[window])
        if not closer.any():
            return
        normals = np.stack([dx[closer], dy[closer], -rise[closer]], axis=-1) / radius[closer][:, None]
        stops = np.array([start for start, _ in tube.bands], np.float32)
        palette = np.array([colour for _, colour in tube.bands], np.float32)
        colours = palette[np.maximum(np.searchsorted(stops, t[closer], side="right") - 1, 0)]
        self._put(window, closer, depth[closer], colours * self.light.intensity(normals)[:, None], owner)

    def _blob(self, blob: Blob, owner: int) -> None:
        center = self.camera.project(blob.center)
        scale = self.camera.focal / center[2]
        axes = scale * self.camera.rotation @ blob.axes  # in pixels, along the camera's axes
        reach = np.sqrt((axes**2).sum(1))
        window = self._window(center[:2] - reach[:2], center[:2] + reach[:2])
        if window is None or center[2] <= _NEAREST:
            return
        inverse = np.linalg.inv(axes).astype(np.float32)
        form = inverse.T @ inverse  # the surface is d' form d = 1
        dx, dy = np.broadcast_arrays(*_grid(window, center))
        half = form[0, 2] * dx + form[1, 2] * dy
        rest = form[0, 0] * dx * dx + 2 * form[0, 1] * dx * dy + form[1, 1] * dy * dy - 1
        square = half * half - form[2, 2] * rest
        dz = (-half - np.sqrt(np.maximum(square, 0.0))) / form[2, 2]
        depth = np.float32(center[2]) + dz * np.float32(1 / scale)
        closer = (square > 0) & (depth < self.depth[window])
        if not closer.any():
            return
        offsets = np.stack([dx[closer], dy[closer], dz[closer]], axis=-1)
        normals = offsets @ form
        if blob.grain is not None:
            grain = (self.camera.rotation @ blob.grain).astype(np.float32)
            normals -= 0.93 * (normals @ grain)[:, None] * grain
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        colours = (
            blob.paint(offsets @ inverse.T) if callable(blob.paint) else np.asarray(blob.paint, np.float32)[None, :]
        )
        self._put(window, closer, depth[closer], colours * self.light.intensity(normals)[:, None], owner)

    def _sheet(self, sheet: Sheet, owner: int) -> None:
        corners = self.camera.project(sheet.points)
        window = self._window(corners[:, :2].min(0), corners[:, :2].max(0))
        if window is None or corners[:, 2].min() <= _NEAREST:
            return
        rings = [corners] if sheet.hole is None else [corners, self.camera.project(sheet.hole)]
        origin = np.array([window[1].start, window[0].start])
        mask = np.zeros((window[0].stop - origin[1], window[1].stop - origin[0]), np.uint8)
        fixed = [np.round((ring[:, :2] - origin) * 2**_SHIFT).astype(np.int32) for ring in rings]
        cv2.fillPoly(mask, fixed, 1, shift=_SHIFT)
        # 1/depth is linear in the image on a plane
        plane = np.linalg.lstsq(np.column_stack([corners[:, :2], np.ones(len(corners))]), 1 / corners[:, 2])[0]
        x, y = _grid(window, np.zeros(2))
        depth = 1 / np.maximum(plane[0] * x + plane[1] * y + plane[2], 1e-3)
        depth = depth.astype(np.float32)
        closer = (mask > 0) & (depth < self.depth[window])
        normal = self.camera.rotation @ _normal(sheet.points)
        sight = self.camera.rotation @ (sheet.points[0] - np.array([0.0, self.camera.height, 0.0]))
        normal = -normal if normal @ sight > 0 else normal  # both sides are lit alike
        brightness = self.light.ambient + self.light.diffuse * max(float(normal @ self.light.direction), 0.0)
        colours = np.asarray(sheet.colour, np.float32)[None, :] * np.float32(brightness)
        self._put(window, closer, depth[closer], colours, owner)


def _grid(window: tuple[slice, slice], origin: Vector) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    x = np.arange(window[1].start, window[1].stop, dtype=np.float32) - np.float32(origin[0])
    y = np.arange(window[0].start, window[0].stop, dtype=np.float32) - np.float32(origin[1])
    return x[None, :], y[:, None]


def _normal(points: Vector) -> Vector:
    return np.asarray(np.linalg.svd(points - points.mean(0))[2][2], np.float64)
