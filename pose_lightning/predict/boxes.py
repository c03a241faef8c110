"""Where in a photograph a person is: from the command line, from a file, or the whole of it."""

import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pose_lightning.convert.crops import LARGEST_WINDOW
from pose_lightning.convert.mpii_sources import ENLARGEMENT, REFERENCE_HEIGHT, SHIFT
from pose_lightning.errors import UserError
from pose_lightning.geometry import Size, shown_heights, sides
from pose_lightning.reading.raw import LARGEST_TABLE, read_text

MARGIN: Final = 1.25
"""Side of the square box by the longer side of a tight one, as Newell's 1.25 by the height and LSP's stores here."""

COLUMNS: Final = ("image", "x", "y", "w", "h")

FRAME: Final = "frame"
"""A column more, for videos."""

LARGEST_SIDE: Final = LARGEST_WINDOW // 2
"""Px of a box that is cut out of the picture as it is; for a larger one the picture is made smaller first."""


@dataclass(frozen=True)
class Box:
    """A person's square box, in image px whose first has its centre at 0; a square input shows exactly this.

    Attributes:
        x: Of the centre.
        y: Of the centre.
        side: Px.
        source: What it comes from.
        frame: Of a video, from 0; None is all of them.
        person: Width and height of the person about the same centre, without a margin; None where nobody says.
    """

    x: float
    y: float
    side: float
    source: str
    frame: int | None = None
    person: tuple[float, float] | None = None

    @classmethod
    def around(cls, x: float, y: float, w: float, h: float, source: str, frame: int | None = None) -> "Box":
        """Of a person in the px x to x + w - 1 and y to y + h - 1, with a margin."""
        return cls(x + (w - 1) / 2, y + (h - 1) / 2, MARGIN * max(w, h), source, frame, (w, h))

    @classmethod
    def of_mpii(cls, x: float, y: float, scale: float, source: str) -> "Box":
        """Of MPII's annotated centre, px from 1, and scale, adjusted as Newell's mpii.lua does (pose-hg-train)."""
        height = REFERENCE_HEIGHT * scale
        return cls(x - 1, y - 1 + SHIFT * scale, ENLARGEMENT * height, source, person=(height, height))

    def check(self, width: int, height: int, path: Path) -> None:
        """Refuse a box that shows nothing of the image, or far more than that.

        Raises:
            UserError: If it is such a box.
        """
        reach = self.side / 2
        inside = self.x + reach > -0.5 and self.x - reach < width - 0.5
        inside &= self.y + reach > -0.5 and self.y - reach < height - 0.5
        if not inside or self.side > max(LARGEST_SIDE, 2 * MARGIN * max(width, height)):
            why = "is outside the image" if not inside else "is too large"
            raise UserError(
                f"{path} is {width} x {height} px, and the box of {self.source} {why}: it is {self.side:g} px about "
                f"({self.x:g}, {self.y:g}); boxes are in image px, the first of which is 0"
            )

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the person, or where nobody says them of the square."""
        return self.person or (self.side, self.side)

    def shown(self, input_size: Size) -> tuple[float, float, float, float]:
        """Left edge, top edge, width and height of what an input of this size shows, image px."""
        height, width = sides(input_size)
        numbers = np.array([[self.side, *self.extent]], dtype=np.float64)
        shown = float(shown_heights(numbers[:, 0], numbers[:, 1:], input_size)[0])
        wide = shown * width / height
        return self.x - wide / 2, self.y - shown / 2, wide, shown

    def shrunk(self, factor: int) -> "Box":
        """The same one in a picture of which every `factor` by `factor` px became one."""
        x, y = ((place + 0.5) / factor - 0.5 for place in (self.x, self.y))
        person = self.person and (self.person[0] / factor, self.person[1] / factor)
        return replace(self, x=x, y=y, side=self.side / factor, person=person)


def whole(width: int, height: int) -> Box:
    """The whole image is the person."""
    return Box.around(0, 0, width, height, "the whole image")


def numbers(text: str, option: str, form: str) -> list[float]:
    """The numbers of an option such as `--box 10,20,100,200`.

    Raises:
        UserError: If they are not as many as the form names, or no numbers.
    """
    return _floats(text.split(","), form.split(","), f"{option} {text}", form)


def _floats(values: Sequence[Any], names: Sequence[str], said: str, form: str) -> list[float]:
    """Finite numbers, of which w, h and s are above 0."""
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):
        found = []
    if len(found) != len(names) or not all(map(math.isfinite, found)):
        raise UserError(f"{said}: wanted {form}, numbers in image px")
    if wrong := [name for name, value in zip(names, found, strict=True) if name in ("w", "h", "s") and value <= 0]:
        raise UserError(f"{said}: {wrong[0]} must be above 0")
    return found


def read_boxes(path: Path) -> Mapping[str, tuple[Box, ...]]:
    """Boxes by the image's or video's name; an empty list is of nobody.

    JSON {"NAME": [[x, y, w, h], ...]}, or CSV with the columns image,x,y,w,h; of a video's single frames, from 0, JSON
    {"NAME": {"0": [[x, y, w, h], ...], ...}}, or CSV with one more column, frame.

    Raises:
        UserError: If the file is neither, or a number makes no sense.
    """
    read = _json_rows if path.suffix.lower() == ".json" else _csv_rows
    try:
        names, rows = read(path, read_text(path, LARGEST_TABLE))
    except UserError:
        raise
    except (ValueError, RecursionError, csv.Error) as error:
        raise UserError(f"--boxes {path} cannot be read: {error}") from error
    boxes: dict[str, list[Box]] = {name: [] for name in names}
    for said, name, frame, values in rows:
        x, y, w, h = _floats(values, COLUMNS[1:], f"{path}, {said}", "x,y,w,h")
        box = Box.around(x, y, w, h, f"{path.name}, {said}", _frame(frame, f"{path}, {said}"))
        boxes[name].append(box)
    return {name: tuple(listed) for name, listed in boxes.items()}


def _frame(text: str | None, said: str) -> int | None:
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise UserError(f"{said}: frame {text} is no whole number from 0")
    return int(text)


Row = tuple[str, str, str | None, list[Any]]
"""Where it stands, the image, the frame, and the numbers."""


def _csv_rows(path: Path, text: str) -> tuple[list[str], list[Row]]:
    table = csv.DictReader(io.StringIO(text, newline=""))
    columns = table.fieldnames or ()
    if missing := [name for name in COLUMNS if name not in columns]:
        raise UserError(f"--boxes {path} has no column {missing[0]}; its first line must be {','.join(COLUMNS)}")
    if twice := [name for name in (*COLUMNS, FRAME) if columns.count(name) > 1]:
        raise UserError(f"--boxes {path} has two columns {twice[0]}; remove one")
    rows: list[Row] = []
    for row in table:
        if any(row.get(None, ())):
            raise UserError(
                f"--boxes {path}, line {table.line_num} has more fields than the {len(columns)} columns of the "
                "first line; numbers have points, not commas, and a name with a comma stands in quotes"
            )
        numbers = [row[name] for name in COLUMNS[1:]]
        rows.append((f"line {table.line_num}", row["image"], row.get(FRAME), numbers))
    return [name for _, name, _, _ in rows], rows


def _json_rows(path: Path, text: str) -> tuple[list[str], list[Row]]:
    content = json.loads(text, object_pairs_hook=lambda pairs: _named_once(pairs, path))
    form = '{"NAME": [[x, y, w, h], ...], ...}'
    if not isinstance(content, dict) or not all(isinstance(boxes, list | dict) for boxes in content.values()):
        raise UserError(f"--boxes {path}: wanted {form}")
    rows: list[Row] = []
    for name, boxes in content.items():
        for frame, listed in boxes.items() if isinstance(boxes, dict) else [(None, boxes)]:
            where = name if frame is None else f"{name}, frame {frame}"
            for number, box in enumerate(listed if isinstance(listed, list) else [listed], start=1):
                if not isinstance(box, list):
                    raise UserError(f"--boxes {path}, {where}: wanted {form}")
                rows.append((f"{where}, box {number}", name, frame, box))
    return list(content), rows


def _named_once(pairs: Sequence[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """An object of JSON, of whose equal names only the last one would count."""
    mapping = dict(pairs)
    names = [name for name, _ in pairs]
    if len(mapping) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"--boxes {path}: {twice} stands twice; put all its boxes into one list")
    return mapping


def name_in(boxes: Mapping[str, tuple[Box, ...]], path: Path, source: Path) -> str:
    """The name that an image has in a file of boxes: its path as given, its name, or either with its accents otherwise.

    Raises:
        UserError: If it has none, or two that differ in how accents are spelled.
    """
    for name in (str(path), path.name):
        if name in boxes:
            return name
        spelled = unicodedata.normalize("NFC", name)
        same = [listed for listed in boxes if unicodedata.normalize("NFC", listed) == spelled]
        if len(same) > 1:
            raise UserError(f"--boxes {source} has {name} in two spellings of its accents; use one")
        if same:
            return same[0]
    raise UserError(f"--boxes {source} has no box for {path}; add one, or leave that image out")


def in_frame(boxes: Sequence[Box], number: int) -> tuple[Box, ...]:
    """Those of one frame."""
    return tuple(box for box in boxes if box.frame in (None, number))
