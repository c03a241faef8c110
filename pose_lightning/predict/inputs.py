"""What the command line names: pictures, folders, patterns, videos and clips, in their order."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from pose_lightning import kinds
from pose_lightning.errors import UserError, shown
from pose_lightning.predict.containers import LARGEST_DENOMINATOR, FilmError, pyav
from pose_lightning.predict.films import Film, FrameFolder, StoredClip, VideoFile
from pose_lightning.reading.arrays import read_array
from pose_lightning.reading.raw import check_regular
from pose_lightning.store import Store

PICTURES: Final = frozenset(
    (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif", ".jfif", ".jpe")
)
VIDEOS: Final = frozenset(
    (
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".ts",
        ".mts",
        ".m2ts",
        ".3gp",
        ".vob",
        ".ogv",
    )
)
UNREAD: Final = frozenset((".heic", ".heif"))
"""Pictures that phones take, and nothing here decodes."""
CLIPS: Final = frozenset((".npy", ".h5"))

MOST_CLIPS: Final = 16
"""Clips of one file that are taken without being named."""

PATTERNS: Final = "patterns are as in '*.jpg' or 'photos/**/*.png'"

NAMED: Final = 5
"""Skipped files that a message names."""


@dataclass(eq=False)
class Inputs:
    """What there is to predict on.

    Attributes:
        photographs: Each by itself; whether they can be read shows later.
        films: Videos, folders of frames, and clips.
        unopened: Films that cannot be opened, and why.
        skipped: Sentences: what in folders was neither.
    """

    photographs: list[Path] = field(default_factory=list)
    films: list[Film] = field(default_factory=list)
    unopened: dict[Path, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """All of them, with the pictures that are frames."""
        films = [file for film in self.films for file in (film.files if isinstance(film, FrameFolder) else [film.path])]
        return [*self.photographs, *films, *self.unopened]

    def __len__(self) -> int:
        return len(self.photographs) + len(self.films) + len(self.unopened)


def natural(path: Path) -> list[tuple[int, int, str]]:
    """A key that puts frame 9 before frame 10."""
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(part), part) if part.isdigit() and part.isascii() else (0, 0, part) for part in parts]


def gather(
    places: Sequence[Path],
    *,
    rate: Fraction | None = None,
    folders: bool = False,
    pictures: bool = False,
    clips: Sequence[int] | None = None,
) -> Inputs:
    """Everything that these files, folders and patterns are.

    Args:
        places: As given; what is no file, and a pattern with `*`, `?` or `[`, is all that it fits, in natural order.
        rate: Frames per second of folders.
        folders: Whether they are films.
        pictures: Whether each is a film of one frame.
        clips: Which clips of stores and arrays; None is all of a few.

    Raises:
        UserError: If a folder or a pattern has nothing, or a file's clips cannot be taken.
    """
    found = Inputs()
    for place in places:
        for path in _expanded(place):
            if path.is_dir():
                _add_folder(found, path, rate, frames=folders, named=path == place)
            elif not path.exists():
                found.unopened[path] = "cannot be read: there is no such file"
            elif not path.is_file():
                found.unopened[path] = "cannot be read: it is no regular file"
            elif path.suffix.lower() in UNREAD:
                found.unopened[path] = f"cannot be read: {path.suffix} is not known; convert it to JPEG"
            elif path.suffix.lower() in CLIPS:
                found.films += _clips(path, clips)
            elif path.suffix.lower() in VIDEOS:
                _add_video(found, path)
            elif pictures:
                found.films.append(FrameFolder(path, [path], rate))
            else:
                found.photographs.append(path)
    if not len(found):
        raise UserError(f"{', '.join(map(str, places))} fits no picture or video; {PATTERNS}")
    return found


def _expanded(place: Path) -> list[Path]:
    text = str(place)
    if place.exists() or not re.search(r"[*?\[]", text):
        return [place]
    try:
        found = sorted(Path(place.anchor).glob(text[len(place.anchor) :]), key=natural)
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{text} is no pattern ({error}); {PATTERNS}") from error
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise UserError(f"{text} fits no file; {PATTERNS}")
    return found


def _add_folder(found: Inputs, folder: Path, rate: Fraction | None, *, frames: bool, named: bool) -> None:
    pictures: list[Path] = []
    videos: list[Path] = []
    others: list[Path] = []
    for path in sorted(folder.iterdir(), key=natural):
        if path.name.startswith("."):
            continue
        suffix = path.suffix.lower() if path.is_file() else ""
        (pictures if suffix in PICTURES else videos if suffix in VIDEOS else others).append(path)
    if not pictures and not videos and named:
        what = f"; it has {_listed(others)}" if others else ", it is empty"
        raise UserError(
            f"{folder} has no picture or video{what}; folders below a folder need a pattern, '{folder}/**/*.jpg'"
        )
    if unread := [path for path in others if path.suffix.lower() in UNREAD]:
        found.skipped.append(f"skipped in {folder}: {_listed(unread)}, which must be converted to JPEG")
        others = [path for path in others if path not in unread]
    if others and (pictures or videos):
        found.skipped.append(f"skipped in {folder}: {_listed(others)}, neither pictures nor videos")
    if frames and pictures:
        found.films.append(FrameFolder(folder, pictures, rate))
    elif pictures:
        found.photographs += pictures
    for path in videos:
        _add_video(found, path)


def _listed(paths: Sequence[Path]) -> str:
    names = ", ".join(shown(path.name) for path in paths[:NAMED])
    return names if len(paths) <= NAMED else f"{names} and {len(paths) - NAMED} more"


def _add_video(found: Inputs, path: Path) -> None:
    pyav()
    try:
        check_regular(path)
        film = VideoFile.open(path)
    except (FilmError, UserError) as error:
        found.unopened[path] = str(error).removeprefix(f"{path} ")
        return
    found.films.append(film)
    if film.note:
        found.skipped.append(f"{path} {film.note}")


def _clips(path: Path, chosen: Sequence[int] | None) -> Iterator[Film]:
    return _store_clips(path, chosen) if path.suffix.lower() == ".h5" else _array_clips(path, chosen)


def _numbers(path: Path, count: int, chosen: Sequence[int] | None) -> Sequence[int]:
    if chosen is None:
        if count > MOST_CLIPS:
            raise UserError(f"{path} has {count} clips; say which: --clips 0,1,2 (up to {count - 1})")
        return range(count)
    if wrong := [number for number in chosen if not 0 <= number < count]:
        raise UserError(f"--clips {wrong[0]}: {path} has clips 0 to {count - 1}")
    return chosen


def _store_clips(path: Path, chosen: Sequence[int] | None) -> Iterator[Film]:
    with Store(path) as store:
        name, shape = store.attrs.get("kind"), store.shape
        kind = kinds.of_store(name)
        if kind is None or not kind.clips or shape is None:
            raise UserError(f"{path} is a store of {name}{'' if shape else ' without pixels'}; wanted one of clips")
        rate = store.attrs.get("frame_rate")
        numbers, drawn = _numbers(path, len(store), chosen), bool(store.attrs["synthetic"])
        stored = Fraction(rate).limit_denominator(LARGEST_DENOMINATOR) if rate else None
    for number in numbers:
        pixels = partial(_stored, path, number)
        yield StoredClip(path, number, f"{path.stem}-{number}", pixels, stored, shape[0], drawn)


def _stored(path: Path, number: int) -> np.ndarray:
    with Store(path) as store:
        return store.pixels(number)


def _array_clips(path: Path, chosen: Sequence[int] | None) -> Iterator[Film]:
    array = read_array(path, mapped=True)
    wanted = "uint8 (clips, frames, height, width, 3)"
    if array.dtype != np.uint8 or array.ndim not in (4, 5) or array.shape[-1] != 3:
        raise UserError(f"{path} holds {array.dtype} {array.shape}; wanted {wanted}, or one clip of them")
    several = array if array.ndim == 5 else array[None]
    for number in _numbers(path, len(several), chosen):
        pixels = partial(np.array, several[number])
        yield StoredClip(path, number, f"{path.stem}-{number}", pixels, None, int(several.shape[1]), None)
