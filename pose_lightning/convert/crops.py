"""Cut persons out of their photographs and write the pose store of one split.

A person is cut as a square window of whole image pixels around the box, zero outside the photograph, and resized to
`crop` pixels. The label `crop` is (x0, y0, s): stored px c = (image px - (x0, y0) + 0.5) * s - 0.5, exactly, because
windows begin and end between pixels and cv2.resize maps edges to edges.
"""

import argparse
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar

import cv2
import numpy as np
import simplejpeg
from jaxtyping import UInt8
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pose_lightning import files
from pose_lightning.convert import ConvertError
from pose_lightning.convert.people import People
from pose_lightning.errors import UserError
from pose_lightning.reading.raw import is_file, read_bytes, read_start, shortened
from pose_lightning.store import Codec, StoreWriter
from pose_lightning.terminal import Terminal

Image = UInt8[np.ndarray, "h w 3"]
Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST_WINDOW: Final = 16384
"""px. MPII's largest person (scale 24.8) needs 10,855; more than this is a mistake in the annotation."""

LARGEST: Final = 89_478_485
"""Pixels of a photograph; from here on Pillow warns of a decompression bomb."""

LARGEST_CROP: Final = 4096
"""px; more memory than a sample is worth."""

HARMLESS: Final = "extraneous bytes before marker"
"""libjpeg's warning where every pixel was decoded and rubbish follows; photographs from the web have it."""

SMALLEST_BOX: Final = 4.0
"""px. The smallest of MPII is 115, of LSPET 45; less than this is a mistake in the annotation."""

FARTHEST_JOINT: Final = 10.0
"""Boxes from the middle of its person's. In MPII none is farther than 1.7."""

LISTED: Final = 5

UPRIGHT: Final = 1
ORIENTATION: Final = (0x0112, 3, 1)
"""Tag, type and count of EXIF's entry; and the value of a picture that is stored as it is to be shown."""

EXIF_READ: Final = 16384
"""Bytes of a file in which its orientation is: EXIF data come first, and in them the orientation."""

TURNED: Final = "turned_by_exif"
"""In a store's counts: photographs whose orientation is ignored."""

QUALITY: Final = 95
"""Of stored JPEG files, 1 to 100; 4:4:4."""


@dataclass(frozen=True)
class Pixels:
    """How persons are cut and stored.

    Attributes:
        images: Folder of the photographs; None writes labels only.
        codec: `jpeg` (4:4:4) or `raw`.
        crop: Side of the stored square, px.
        box_in_crop: Side of the person box in it, px. The rest is margin for rotation and scale.
        quality: Of the JPEG files, 1 to 100.
        skip_missing: Leave out persons whose photograph is missing or undecodable, or whose annotation cannot be meant,
            instead of failing.
        read: Gives a picture file's pixels, RGB, or raises ValueError; None is `decode`.
    """

    images: Path | None
    codec: Codec = "jpeg"
    crop: int = 448
    box_in_crop: int = 256
    quality: int = QUALITY
    skip_missing: bool = False
    read: Callable[[Path], Image] | None = None

    def __post_init__(self) -> None:
        if not 16 <= self.crop <= LARGEST_CROP:
            raise ConvertError(f"--crop {self.crop}: wanted 16 to {LARGEST_CROP} px")
        if not 8 <= self.box_in_crop <= self.crop:
            raise ConvertError(f"--box {self.box_in_crop}: wanted 8 px to --crop, which is {self.crop}")
        if not 1 <= self.quality <= 100:
            raise ConvertError(f"--quality {self.quality}: wanted 1 to 100")


def add_pixel_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of `Pixels` that every converter has."""
    parser.add_argument("--codec", choices=("jpeg", "raw"), default="jpeg", help="how pixels are stored (jpeg)")
    parser.add_argument("--crop", type=int, default=448, metavar="PX", help="side of a stored crop (448)")
    parser.add_argument("--box", type=int, default=256, metavar="PX", help="side of the person box in it (256)")
    add_quality_argument(parser)
    parser.add_argument(
        "--skip-missing",
        action="store_true",
        help="leave out and list persons without a readable photograph, or whose annotation cannot be meant",
    )


def add_quality_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--quality`, which goes with `--codec jpeg` only; `quality_from` reads it."""
    parser.add_argument("--quality", type=int, metavar="Q", help=f"of the stored JPEG files ({QUALITY})")


def quality_from(args: argparse.Namespace) -> int:
    """What `add_quality_argument` asked for.

    Raises:
        ConvertError: If it would have no effect.
    """
    if args.quality is not None and args.codec != "jpeg":
        raise ConvertError(f"--quality {args.quality} is that of JPEG files, but --codec is {args.codec}")
    return QUALITY if args.quality is None else args.quality


def pixels_from(args: argparse.Namespace, images: Path | None) -> Pixels:
    """The settings that `add_pixel_arguments` asked for."""
    return Pixels(images, args.codec, args.crop, args.box, quality_from(args), args.skip_missing)


def picture_bytes(path: Path) -> bytes:
    """The bytes of a picture file.

    Raises:
        ValueError: If it is no regular file, too large, or cannot be read; the message leaves its name out.
    """
    try:
        return read_bytes(path)
    except UserError as error:
        raise ValueError(str(error).removeprefix(f"{shortened(path)} ")) from error


def orientation(start: bytes) -> int:
    """The orientation, 1 to 8, that the EXIF data of a JPEG file's first bytes note; 1 is upright, as none is."""
    start_of_tags = start.find(b"Exif\0\0") + len(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(start[start_of_tags : start_of_tags + 4])
    if order is None or not start.startswith(b"\xff\xd8"):
        return UPRIGHT
    try:
        (offset,) = struct.unpack_from(f"{order}I", start, start_of_tags + 4)
        (entries,) = struct.unpack_from(f"{order}H", start, start_of_tags + offset)
        for entry in range(start_of_tags + offset + 2, start_of_tags + offset + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", start, entry)
            if (tag, kind, count) == ORIENTATION:
                return value if 1 <= value <= 8 else UPRIGHT
    except struct.error:  # damaged EXIF data say nothing
        return UPRIGHT
    return UPRIGHT


def count_turned(folder: Path, names: Iterable[str]) -> int:
    """How many photographs note in their EXIF data that they are to be shown turned or mirrored."""

    def is_turned(name: str) -> bool:
        try:
            return orientation(read_start(folder / name, EXIF_READ)) != UPRIGHT
        except UserError:
            return False

    return sum(in_threads(is_turned, sorted(names), title="orientations"))


def decode(path: Path) -> Image:
    """The pixels of a JPEG file as they are stored: RGB, EXIF orientation ignored, as annotators' tools do.

    Raises:
        ValueError: If the file is no JPEG, or any of its pixels cannot be decoded.
        OSError: If it cannot be read.
    """
    return decode_bytes(picture_bytes(path))


def decode_bytes(data: bytes) -> Image:
    """The pixels of a JPEG file's bytes, as `decode` gives them.

    Raises:
        ValueError: As `decode`.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("not a JPEG file")
    height, width, stored, _ = simplejpeg.decode_jpeg_header(data)
    check_count(width, height)
    colorspace = "CMYK" if stored == "CMYK" else "RGB"
    try:
        pixels = simplejpeg.decode_jpeg(data, colorspace, strict=True)
    except ValueError as error:
        if HARMLESS not in str(error):
            raise
        pixels = simplejpeg.decode_jpeg(data, colorspace, strict=False)
    if colorspace == "RGB":
        return pixels
    # Adobe's writers, the only ones in use, store CMYK inverted: 255 is no ink.
    inks = pixels.astype(np.uint16)
    return ((inks[..., :3] * inks[..., 3:] + 127) // 255).astype(np.uint8)


def check_count(width: int, height: int) -> None:
    """Refuse a picture whose pixels would take too much memory.

    Raises:
        ValueError: If there are more than `LARGEST`.
    """
    if width * height > LARGEST:
        raise ValueError(f"{width} x {height} pixels, more than {LARGEST:,}")


def _halvings(side: float, size: int) -> int:
    """The largest power of two by which `side` can be divided and stay at least `size`."""
    return 1 << max(0, int(np.log2(max(side / size, 1.0))))


def window(center: np.ndarray, box: float, crop: int, box_in_crop: int) -> tuple[int, int, int]:
    """The square of whole pixels (x0, y0, side) in which a box of `box` px takes `box_in_crop` of `crop` px.

    A side of at least 2 (4, 8, ...) x `crop` is a multiple of 2 (4, 8, ...), so that `cut` can halve it.
    """
    exact = box * crop / box_in_crop
    factor = _halvings(exact, crop)
    side = factor * max(1, round(exact / factor))
    x0, y0 = (round(float(middle) - (side - 1) / 2) for middle in center)
    return x0, y0, side


def cut(image: Image, x0: int, y0: int, side: int, size: int) -> UInt8[np.ndarray, "{size} {size} 3"]:
    """The window (x0, y0, side) of an image, zero outside it, resized to `size` px."""
    height, width = image.shape[:2]
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x0 + side, width), min(y0 + side, height)
    part: np.ndarray = np.zeros((side, side, 3), dtype=np.uint8)
    if left < right and top < bottom:
        part[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    while side >= 2 * size and side % 2 == 0:
        # Averaging four whole pixels is several times faster than cv2's averaging of fractions, which does the rest.
        side //= 2
        part = cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA)
    if side == size:
        return part
    # Cubic, because the loader shrinks crops again: linear interpolation twice would blur small persons.
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC)


def in_threads(
    work: Callable[[Item], Result], items: list[Item], *, title: str, threads: int | None = None
) -> Iterator[Result]:
    """Map over all cores, in order, with a progress bar; only a few results wait, so memory stays flat."""
    threads = threads or os.cpu_count() or 1
    executor = ThreadPoolExecutor(threads)
    waiting: deque[Future[Result]] = deque()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Terminal(stderr=True)) as progress:
            task = progress.add_task(title, total=len(items))
            for item in items:
                waiting.append(executor.submit(work, item))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
                    progress.advance(task)
            while waiting:
                yield waiting.popleft().result()
                progress.advance(task)
    finally:
        executor.shutdown(cancel_futures=True)


def report_path(store: Path) -> Path:
    """Where the photographs and the persons that a store lacks are listed."""
    return store.with_suffix(".missing.txt")


def write_split(
    store: Path, people: People, pixels: Pixels, attrs: Mapping[str, Any], *, unfinished: Path | None = None
) -> dict[str, int] | None:
    """Write the store of one split and return its counts, or None where no person is left (and there is no store).

    Photographs that are missing or cannot be decoded, and persons whose annotation cannot be meant, are listed beside
    the store, with the reason.

    Args:
        store: The file.
        people: Its persons.
        pixels: How they are cut and stored.
        attrs: Of the store.
        unfinished: Folder for the store and its list until both take their places; by default, the store's.

    Raises:
        ConvertError: If there are such photographs or persons and `pixels.skip_missing` is false.
    """
    folder = store.parent if unfinished is None else unfinished
    left_out = _LeftOut(_absent(people, pixels.images), {})
    left_out.persons.update(_unusable(left_out.of(people), pixels))
    while True:
        if left_out and not pixels.skip_missing:
            _report(store, left_out)
            raise ConvertError(left_out.message(store, people, pixels))
        left = left_out.of(people)
        counts = left.counts() | dict(attrs.get("counts", {}))
        if left_out:
            counts |= {"images_left_out": len(left_out.images), "persons_left_out": len(people) - len(left)}
        if pixels.images is not None and (turned := count_turned(pixels.images, set(left.image.tolist()))):
            counts[TURNED] = turned
        if not len(left):
            if store.exists():
                raise ConvertError(f"{store} is of an earlier conversion, and this one has no sample for it; remove it")
            _report(folder / store.name, left_out)
            return None
        try:
            _write(folder / store.name, left, pixels, dict(attrs) | {"counts": counts})
        except _UnusableError as error:
            # Rare, and a store must know its counts before its first sample: list them all, then begin again.
            left_out.images.update(error.left_out.images)
            left_out.persons.update(error.left_out.persons)
        else:
            _report(folder / store.name, left_out)
            return counts


@dataclass(frozen=True)
class _LeftOut:
    """Photographs that cannot be used, and persons of others, with the reason of each."""

    images: dict[str, str]
    persons: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.images or self.persons)

    def of(self, people: People) -> People:
        """The persons that are left."""
        gone = np.isin(people.image, list(self.images))
        if self.persons:
            gone |= np.isin([people.name(row) for row in range(len(people))], list(self.persons))
        return people.take(~gone)

    def message(self, store: Path, people: People, pixels: Pixels) -> str:
        parts = []
        if self.images:
            some = _some(f"{name} ({reason})" for name, reason in sorted(self.images.items()))
            count = f"{len(self.images)} of {len(np.unique(people.image))}"
            parts.append(f"{pixels.images}: {count} photographs for {store.name} are missing or undecodable: {some}")
        if self.persons:
            some = _some(f"person {name}: {reason}" for name, reason in self.persons.items())
            parts.append(f"{len(self.persons)} of {len(people)} persons for {store.name} cannot be meant: {some}")
        return f"{'. '.join(parts)}. All are listed in {report_path(store)}; --skip-missing leaves these persons out"


def _some(lines: Iterable[str]) -> str:
    first = list(lines)
    return f"{', '.join(first[:LISTED])}{', ...' if len(first) > LISTED else ''}"


class _UnusableError(Exception):
    def __init__(self, left_out: _LeftOut) -> None:
        super().__init__(left_out)
        self.left_out = left_out


def _absent(people: People, folder: Path | None) -> dict[str, str]:
    """Image -> reason, for images that are not files below `folder`."""
    if folder is None:
        return {}
    names = np.unique(people.image).tolist()
    return {name: trouble for name in names if (trouble := no_photograph(folder / name))}


def no_photograph(path: Path) -> str | None:
    """Why there is no file that could be a photograph."""
    if is_file(path):
        return None
    return "no regular file" if os.path.lexists(path) else "missing"


def _report(store: Path, left_out: _LeftOut) -> None:
    """List what the store lacks beside it, or remove an earlier list where it lacks nothing."""
    report = report_path(store)
    if not left_out:
        report.unlink(missing_ok=True)
        return
    lines = [*sorted(left_out.images.items()), *left_out.persons.items()]
    files.write_text(report, "".join(f"{name}\t{reason}\n" for name, reason in lines))


def _unusable(people: People, pixels: Pixels) -> dict[str, str]:
    """Person -> reason, for persons whose annotation cannot be meant, as far as numbers tell without the photograph."""
    reasons = {}
    for row in range(len(people)):
        if reason := _reason(people, row, pixels):
            reasons[people.name(row)] = reason
    return reasons


def _reason(people: People, row: int, pixels: Pixels) -> str | None:
    center, box, labelled = people.center[row], float(people.box[row]), people.labelled[row]
    if not (np.isfinite(box) and np.isfinite(center).all()):
        return f"a box of {box:g} px at ({center[0]:g}, {center[1]:g})"
    far = np.where(labelled, np.abs(people.joints[row] - center).max(axis=1), 0)
    if box < SMALLEST_BOX or box * pixels.crop / pixels.box_in_crop > LARGEST_WINDOW:
        return f"a box of {box:.{0 if box >= 1 else 3}{'f' if box >= 1 else 'g'}} px"
    if not np.isfinite(far).all():
        return f"its {people.joint_set.names[int(np.argmin(np.isfinite(far)))]} is at no finite place"
    if far.max() > FARTHEST_JOINT * box:
        x, y = people.joints[row, far.argmax()]
        return f"its {people.joint_set.names[far.argmax()]} is at ({x:g}, {y:g}), far from its box of {box:.0f} px"
    if (center + box / 2 <= -0.5).any():
        return _outside(center, box)
    return None


def _outside(center: np.ndarray, box: float) -> str:
    return f"a box of {box:.0f} px at ({center[0]:.0f}, {center[1]:.0f}), wholly outside the photograph"


def _write(store: Path, people: People, pixels: Pixels, attrs: dict[str, Any]) -> None:
    windows = [
        window(people.center[row], people.box[row], pixels.crop, pixels.box_in_crop) for row in range(len(people))
    ]

    def crops(rows: list[int]) -> "_Crops | str":
        return _crops(people.take(rows), [windows[row] for row in rows], pixels)

    codec, shape = (None, None) if pixels.images is None else (pixels.codec, (pixels.crop, pixels.crop, 3))
    by_image = [list(rows) for _, rows in groupby(range(len(people)), key=lambda row: people.image[row])]
    left_out = _LeftOut({}, {})
    with StoreWriter(store, codec=codec, attrs=attrs, shape=shape) as writer:
        for rows, results in zip(by_image, in_threads(crops, by_image, title=store.stem), strict=True):
            if isinstance(results, str):
                left_out.images[str(people.image[rows[0]])] = results
                continue
            left_out.persons.update(results.outside)
            if not left_out:
                for row, result in zip(rows, results.stored, strict=True):
                    x0, y0, side = windows[row]
                    writer.append(result, people.labels(row) | {"crop": np.array([x0, y0, pixels.crop / side])})
        if left_out:
            raise _UnusableError(left_out)


@dataclass(frozen=True)
class _Crops:
    """The crops to store of a photograph, and the persons whose box is wholly outside it, with the reason."""

    stored: list[np.ndarray | bytes | None]
    outside: dict[str, str]


def _crops(people: People, windows: list[tuple[int, int, int]], pixels: Pixels) -> _Crops | str:
    """The crops of one photograph's persons, or why it cannot be decoded."""
    if pixels.images is None:
        return _Crops([None] * len(windows), {})
    try:
        photograph = (pixels.read or decode)(pixels.images / str(people.image[0]))
    except (ValueError, OSError) as error:
        return f"undecodable: {error}"
    height, width = photograph.shape[:2]
    beyond = (people.center - people.box[:, None] / 2 >= np.array([width, height]) - 0.5).any(axis=1)
    outside = {
        people.name(row): _outside(people.center[row], people.box[row]) for row in np.flatnonzero(beyond).tolist()
    }
    crops = [cut(photograph, x0, y0, side, pixels.crop) for x0, y0, side in windows]
    if pixels.codec == "raw":
        return _Crops(list(crops), outside)
    encoded = [simplejpeg.encode_jpeg(crop, pixels.quality, "RGB", "444", fastdct=False) for crop in crops]
    return _Crops(list(encoded), outside)


def turned_note(count: int) -> str:
    """A sentence on photographs whose orientation is ignored."""
    return (
        f"{count:,} photographs note in their EXIF data that they are to be shown turned or mirrored. It is ignored: "
        "official annotations mean pixels as they are stored; `predict` and `convert images` show such pictures upright"
    )


def print_summary(
    results: Mapping[Path, dict[str, int] | None],
    notes: list[str],
    *,
    turned: Callable[[int], str] | None = turned_note,
) -> None:
    """Print what was written, one row per store; `turned` says of how many turned photographs what became of them."""
    console = Terminal()
    table = Table("store", box=None)
    keys = list(dict.fromkeys(key for counts in results.values() for key in counts or {}))
    for key in keys:
        table.add_column(key.replace("_", " "), justify="right")
    for path, counts in results.items():
        table.add_row(path.stem, *(f"{(counts or {}).get(key, 0):,}" for key in keys))
    console.print(table)
    if turned and (count := sum((counts or {}).get(TURNED, 0) for counts in results.values())):
        notes = [*notes, turned(count)]
    for note in notes:
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    for path, counts in results.items():
        written = str(path) if counts else f"{path}: not written, no sample is left"
        console.print(written, highlight=False, soft_wrap=True)
        if report_path(path).exists():
            console.print(f"{report_path(path)}", highlight=False, soft_wrap=True)
