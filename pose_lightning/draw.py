"""Pictures of poses and classes: arrays in, pictures out (RGB uint8, height x width x 3).

Points are (x, y) in px of the picture, (0, 0) the centre of its top-left pixel.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from pose_lightning.files import write_bytes
from pose_lightning.joints import Bone, JointSet

Picture = UInt8[np.ndarray, "_ _ 3"]
Colour = tuple[int, int, int]

WHITE: Final[Colour] = (255, 255, 255)
PINK: Final[Colour] = (255, 105, 205)
RED: Final[Colour] = (225, 0, 0)
BLUE: Final[Colour] = (80, 190, 255)
BLACK: Final[Colour] = (0, 0, 0)
GREY: Final[Colour] = (64, 64, 64)
PANEL: Final = 340
"""Width of the bars beside a picture, px."""

BAR: Final = 10  # px high
SHIFT: Final = 4
"""cv2 draws at sixteenths of a px when told so: whole px would move a joint by up to half of one."""

_REACH: Final = 1 << 14
"""Px outside the picture at which a line is cut: cv2's fixed-point coordinates overflow far away."""


def side_colours(joint_set: JointSet) -> list[Colour]:
    """Of every joint: a person's own right in pink, left in blue, the middle in white."""
    sides = {right: PINK for right, _ in joint_set.pairs} | {left: BLUE for _, left in joint_set.pairs}
    return [sides.get(joint, WHITE) for joint in range(len(joint_set))]


def skeleton(
    picture: Picture,
    joints: Float[np.ndarray, "j 2"],
    limbs: Sequence[tuple[int, int]],
    colours: Sequence[Colour],
    *,
    width: float = 2.0,
) -> Picture:
    """A copy of `picture` with a skeleton on it; joints that are NaN, and their limbs, are left out.

    Args:
        picture: Stays as it is.
        joints: Px of the picture; outside of it is allowed.
        limbs: Pairs of joint numbers.
        colours: One per joint; each half of a limb has the colour of its joint.
        width: Of the lines, px.
    """
    canvas = np.ascontiguousarray(picture).copy()
    drawn = np.isfinite(joints).all(axis=1)
    ends = [pair for pair in limbs if drawn[pair[0]] and drawn[pair[1]]]
    thick = max(1, round(width))
    for outline in (True, False):  # a dark rim first, under all lines: white on snow, red on grass
        for start, end in ends:
            middle = (joints[start] + joints[end]) / 2
            for joint in (start, end):
                colour = BLACK if outline else colours[joint]
                _line(canvas, joints[joint], middle, colour, thick + 2 if outline else thick)
        for joint in np.flatnonzero(drawn).tolist():
            colour = BLACK if outline else colours[joint]
            _dot(canvas, joints[joint], 1.3 * width + (1 if outline else 0), colour)
    return canvas


def overlay(
    picture: Picture,
    truth: Float[np.ndarray, "j 2"],
    preds: Float[np.ndarray, "j 2"],
    limbs: Sequence[Bone],
    right: Bool[np.ndarray, " j"],
    caption: Sequence[str] = (),
    *,
    side: int = 512,
) -> Picture:
    """Truth in white, predictions in pink where `right` and in red where not, captions on a strip below.

    Args:
        picture: What the person is seen in; scaled so that its longer side is `side` px, with the points.
        truth: Px of the picture, NaN where unlabelled; a prediction of such a joint is not drawn either, because
            nothing says whether it is right.
        preds: Px of the picture; NaN where there is none.
        limbs: Pairs of joint numbers.
        right: Whether each prediction counts as right.
        caption: Lines of the strip.
        side: Px.
    """
    factor = side / max(picture.shape[:2])
    enlarged = _resize(picture, factor)
    width = side / 256
    canvas = skeleton(enlarged, _scale(truth, factor), limbs, [WHITE] * len(truth), width=width)
    shown = np.where(np.isnan(truth), np.nan, preds)
    colours = [PINK if good else RED for good in right]
    canvas = skeleton(canvas, _scale(shown, factor), limbs, colours, width=width)
    return np.concatenate([canvas, strip(caption, canvas.shape[1])]) if caption else canvas


def people(
    picture: Picture,
    joints: Float[np.ndarray, "n j 2"],
    joint_set: JointSet,
    boxes: Float[np.ndarray, "n 4"],
    caption: Sequence[str] = (),
    *,
    side: int = 768,
) -> Picture:
    """Skeletons in a photograph: a person's own right in pink, left in blue, the middle in white, boxes in grey.

    Args:
        picture: Scaled so that its longer side is `side` px, with the points.
        joints: Px of the picture; NaN where there is none.
        joint_set: Theirs.
        boxes: Left edge, top edge, width and height, px of the picture.
        caption: Lines of a strip below.
        side: Px.
    """
    factor = side / max(picture.shape[:2])
    canvas = _resize(picture, factor)
    colours = side_colours(joint_set)
    for left, top, width, height in boxes:
        corners = _scale(np.array([[left, top], [left + width, top + height]]), factor)
        (x0, y0), (x1, y1) = corners
        ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        for start, end in zip(ring, np.roll(ring, -1, axis=0), strict=True):
            _line(canvas, start, end, GREY, 1)
    for pose, length in zip(joints, boxes[:, 2:].max(axis=1, initial=0), strict=True):
        limbs = joint_set.limbs(np.isfinite(pose).all(axis=1))
        thickness = float(np.clip(length * factor / 160, 1, 4))
        canvas = skeleton(canvas, _scale(pose, factor), limbs, colours, width=thickness)
    return np.concatenate([canvas, strip(caption, canvas.shape[1])]) if caption else canvas


def strip(lines: Sequence[str], width: int) -> Picture:
    """Lines of white text on black, as large as `width` px allow; other than ASCII shows as question marks."""
    face, thick, height = cv2.FONT_HERSHEY_SIMPLEX, 1, 22
    canvas = np.zeros((height * len(lines) + 6, width, 3), dtype=np.uint8)
    for place, line in enumerate(lines):
        text = line.encode("ascii", "replace").decode()
        (wide, _), _ = cv2.getTextSize(text, face, 0.5, thick)
        scale = 0.5 * min(1.0, (width - 8) / max(wide, 1))
        bottom = height * (place + 1) - 4
        cv2.putText(canvas, text, (4, bottom), face, scale, WHITE, thick, cv2.LINE_AA)
    return canvas


def ranking(
    picture: Picture, names: Sequence[str], shares: Sequence[float], caption: Sequence[str] = (), *, side: int = 320
) -> Picture:
    """The picture, and beside it a bar for every name, as long as its share, captions on a strip below.

    Args:
        picture: Shown with a height of `side` px, or as much less as makes it no wider than twice that.
        names: From top to bottom; other than ASCII shows as question marks.
        shares: Of every name, 0 to 1.
        caption: Lines of the strip.
        side: Px.
    """
    shown = _resize(picture, min(side / picture.shape[0], 2 * side / picture.shape[1]))
    above = (side - shown.shape[0]) // 2
    left = cv2.copyMakeBorder(shown, above, side - shown.shape[0] - above, 0, 0, cv2.BORDER_CONSTANT)
    panel, row = np.zeros((side, PANEL, 3), dtype=np.uint8), side // max(len(names), 1)
    for place, (name, share) in enumerate(zip(names, shares, strict=True)):
        label = strip([f"{100 * share:.1f} %  {name}"], PANEL)
        top = place * row + (row - label.shape[0] - BAR) // 2
        panel[top : top + label.shape[0]] = label
        bar = panel[top + label.shape[0] : top + label.shape[0] + BAR, 4 : PANEL - 4]
        bar[:] = GREY
        bar[:, : round(share * bar.shape[1])] = PINK
    canvas = np.concatenate([np.asarray(left, dtype=np.uint8), panel], axis=1)
    return np.concatenate([canvas, strip(caption, canvas.shape[1])]) if caption else canvas


def label(picture: Picture, lines: Sequence[str]) -> Picture:
    """A copy as large, with lines of white text over its top left corner; other than ASCII shows as question marks."""
    canvas = np.ascontiguousarray(picture).copy()
    size = _text_size(canvas)
    for place, line in enumerate(lines):
        _write(canvas, line, (size // 2, size // 2 + (place + 1) * size), size, canvas.shape[1] - size)
    return canvas


def ranked(picture: Picture, names: Sequence[str], shares: Sequence[float], lines: Sequence[str] = ()) -> Picture:
    """A copy as large, with a bar for every name over its bottom left corner, as long as its share.

    Args:
        picture: Stays as it is.
        names: From top to bottom; other than ASCII shows as question marks.
        shares: Of every name, 0 to 1.
        lines: Of text over the top left corner.
    """
    canvas = label(picture, lines)
    height, width = canvas.shape[:2]
    size = min(_text_size(canvas), max(1, int(height / (1.6 * max(len(names), 1) + 2))))
    row, panel = round(1.6 * size), min(width, 22 * size)
    top = height - row * len(names)
    shade = canvas[top:, :panel]
    shade[:] = shade // 3
    for place, (name, share) in enumerate(zip(names, shares, strict=True)):
        bottom = top + (place + 1) * row
        bar = canvas[bottom - max(1, size // 5) : bottom, :panel]
        bar[:, : round(share * panel)] = PINK
        text = f"{100 * share:.1f} %  {name}"
        _write(canvas, text, (size // 2, bottom - max(2, size // 2)), size, panel - size)
    return canvas


def _text_size(canvas: Picture) -> int:
    """Px from line to line that can be read, whatever the picture's size."""
    return int(np.clip(min(canvas.shape[:2]) / 22, 9, 40))


def _write(canvas: Picture, line: str, corner: tuple[int, int], size: int, width: int) -> None:
    """Text with a dark rim, from its bottom left corner, no wider than `width` px."""
    text, face = line.encode("ascii", "replace").decode(), cv2.FONT_HERSHEY_SIMPLEX
    (wide, _), _ = cv2.getTextSize(text, face, size / 30, 1)
    scale = size / 30 * min(1.0, width / max(wide, 1))
    thick = max(1, round(size / 18))
    x, y = corner
    rim = [(x + left, y + up) for left in (-1, 0, 1) for up in (-1, 0, 1)]  # bolder letters would be wider ones
    for place in rim:
        cv2.putText(canvas, text, place, face, scale, BLACK, thick, cv2.LINE_AA)
    cv2.putText(canvas, text, corner, face, scale, WHITE, thick, cv2.LINE_AA)


def contact_sheet(pictures: Sequence[Picture], *, columns: int = 4, gap: int = 4) -> Picture:
    """All pictures on one, row by row, each centred in a cell as large as the largest, on dark grey.

    Raises:
        ValueError: If there is no picture.
    """
    if not pictures:
        raise ValueError("a contact sheet needs a picture")
    height = max(picture.shape[0] for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 48, dtype=np.uint8)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        top = gap + row * (height + gap) + (height - picture.shape[0]) // 2
        left = gap + column * (width + gap) + (width - picture.shape[1]) // 2
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return sheet


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture, whole or not at all."""
    encoded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ValueError(f"{path}: a picture of {picture.shape} cannot be written as PNG")
    write_bytes(path, data.tobytes())


def _resize(picture: Picture, factor: float) -> Picture:
    size = [max(1, round(length * factor)) for length in picture.shape[1::-1]]
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=method), dtype=np.uint8)


def _scale(points: Float[np.ndarray, "j 2"], factor: float) -> Float[np.ndarray, "j 2"]:
    """Points in px of the scaled picture: a picture begins half a px before its first pixel's centre."""
    return (points + 0.5) * factor - 0.5


def _fixed(point: Float[np.ndarray, "2"]) -> tuple[int, int]:
    x, y = np.clip(point, -_REACH, _REACH) * (1 << SHIFT)
    return round(float(x)), round(float(y))


def _line(
    canvas: Picture, start: Float[np.ndarray, "2"], end: Float[np.ndarray, "2"], colour: Colour, thick: int
) -> None:
    cv2.line(canvas, _fixed(start), _fixed(end), colour, thick, cv2.LINE_AA, SHIFT)


def _dot(canvas: Picture, point: Float[np.ndarray, "2"], radius: float, colour: Colour) -> None:
    cv2.circle(canvas, _fixed(point), round(radius * (1 << SHIFT)), colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
