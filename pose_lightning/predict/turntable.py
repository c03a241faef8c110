"""Poses in 3-D, drawn beside the frame that they were seen in: as the camera sees them, and turning."""

import math
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float

from pose_lightning import draw
from pose_lightning.joints import H36M

SIDE: Final = 360
"""Of a view, px."""

SPAN: Final = 2500.0
"""Mm that a view shows; the same for all frames, so that nobody grows or shrinks."""

DISTANCE: Final = 5000.0
"""Mm from which the turning view is seen."""

TILT: Final = math.radians(12)
"""By which it is seen from above."""

FLOOR: Final = 950.0
"""Mm below the pelvis: the legs of an upright person. Where the ground really is, no network says."""

TILES: Final = np.arange(-800.0, 801.0, 400.0)
BACKGROUND: Final = 40
LINES: Final = (90, 90, 90)
WIDEST: Final = 640


def beside(
    picture: draw.Picture,
    square: tuple[float, float, float],
    pose: Float[np.ndarray, "17 3"] | None,
    angle: float,
    caption: str,
) -> draw.Picture:
    """A frame, the pose from the front, and the pose turned, with a caption below; all sides are even.

    Args:
        picture: What `small` gives.
        square: What the network was shown, as left edge, top edge and side, px of the picture.
        pose: Mm, relative to the pelvis: x to the right, y down, z away; None leaves the views empty.
        angle: By which the second view is turned, radians.
        caption: Below.
    """
    left, top, side = square
    boxes = np.array([[left, top, side, side]] if side else []).reshape(-1, 4)
    shown = draw.people(picture, np.full((len(boxes), len(H36M), 2), np.nan), H36M, boxes, side=max(picture.shape[:2]))
    front = draw.label(_view(pose, 0.0, 0.0), ["as the camera sees it"])
    turned = draw.label(_view(pose, angle, TILT), ["turning"])
    row = np.concatenate([shown, front, turned], axis=1)
    return np.concatenate([row, draw.strip([caption], row.shape[1])])


def small(picture: draw.Picture) -> tuple[draw.Picture, float, int]:
    """The frame on a picture that is `SIDE` px high, by what factor it was made so, and the px above it."""
    height, width = picture.shape[:2]
    factor = min(SIDE / height, WIDEST / width)
    size = (2 * max(1, round(width * factor / 2)), min(SIDE, max(1, round(height * factor))))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(picture, size, interpolation=method), dtype=np.uint8)
    above = (SIDE - size[1]) // 2
    padded = cv2.copyMakeBorder(resized, above, SIDE - size[1] - above, 0, 0, cv2.BORDER_CONSTANT)
    return np.asarray(padded, dtype=np.uint8), factor, above


def _view(pose: Float[np.ndarray, "17 3"] | None, angle: float, tilt: float) -> draw.Picture:
    canvas: np.ndarray = np.full((SIDE, SIDE, 3), BACKGROUND, dtype=np.uint8)
    for start, end in _tiles():
        (x0, y0), (x1, y1) = np.round(project(np.stack([start, end]), angle, tilt)).astype(int).tolist()
        cv2.line(canvas, (x0, y0), (x1, y1), LINES, 1, cv2.LINE_AA)
    if pose is None:
        return canvas
    return draw.skeleton(canvas, project(pose, angle, tilt), H36M.bones, draw.side_colours(H36M), width=SIDE / 110)


def _tiles() -> list[tuple[np.ndarray, np.ndarray]]:
    """Lines on the floor."""
    low, high = TILES[0], TILES[-1]
    along = [(np.array([low, FLOOR, place]), np.array([high, FLOOR, place])) for place in TILES]
    across = [(np.array([place, FLOOR, low]), np.array([place, FLOOR, high])) for place in TILES]
    return along + across


def project(points: Float[np.ndarray, "n 3"], angle: float, tilt: float) -> Float[np.ndarray, "n 2"]:
    """Px of a view: turned about the vertical, seen from `tilt` above, with perspective."""
    x, y, z = points.T
    turned_x = math.cos(angle) * x + math.sin(angle) * z
    turned_z = -math.sin(angle) * x + math.cos(angle) * z
    tilted_y = math.cos(tilt) * y - math.sin(tilt) * turned_z
    depth = np.maximum(DISTANCE + math.cos(tilt) * turned_z + math.sin(tilt) * y, DISTANCE / 10)
    places = np.stack([turned_x, tilted_y], axis=1) * (DISTANCE / depth * SIDE / SPAN)[:, None]
    return places + (SIDE - 1) / 2
