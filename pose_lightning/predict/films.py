"""Frames one after the other: of a video, of a folder of pictures, or of a stored clip."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np

from pose_lightning import draw
from pose_lightning.convert.pictures import checked, read_picture
from pose_lightning.errors import UserError

LARGEST_DENOMINATOR: Final = 1001
"""Of a frame rate: 30000/1001 is television's; some encoders take no time base of more than 16 bits."""

STILLS: Final = Fraction(25)
"""Frames per second of a video made of frames whose own rate nobody knows."""

PENDING: Final = 1 << 26
"""Px that wait to be predicted at once: 200 MB."""


SHORT: Final = 0.5
"""Seconds by which a file may end before its header says."""

LASTING: Final = frozenset(("matroska", "webm", "flv"))
"""Containers that say how long they are, and not of how many frames."""


class FilmError(Exception):
    """A film that cannot be opened at all; the message is the reason, without the file's name."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Attributes:
        number: In its film, from 0.
        picture: RGB, upright; None where it cannot be read.
        reason: Why it cannot.
        time: When it is shown, s; None where nobody says.
    """

    number: int
    picture: draw.Picture | None
    reason: str = ""
    time: float | None = None


class Film(Protocol):
    """Frames of one size, at a constant rate; reading them twice gives the same ones."""

    @property
    def path(self) -> Path:
        """Where they are from."""

    @property
    def name(self) -> str:
        """What files made of it are called."""

    @property
    def rate(self) -> Fraction | None:
        """Frames per second, where it is known."""

    @property
    def count(self) -> int | None:
        """How many there are, as far as that is known without reading them; for a progress bar."""

    def __iter__(self) -> Iterator[Frame]: ...


def pyav() -> Any:
    """The library of videos.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import av  # noqa: PLC0415 - an extra, which photographs do not need
    except ImportError as error:
        raise UserError("videos need PyAV: pip install 'pose_lightning[convert]'") from error
    return av


@dataclass(frozen=True)
class VideoFile:
    """A video file of any kind that FFmpeg reads; sound is left aside."""

    path: Path
    rate: Fraction | None
    count: int | None

    @property
    def name(self) -> str:
        """The file's, without its suffix."""
        return self.path.stem

    @classmethod
    def open(cls, path: Path) -> "VideoFile":
        """Read the header.

        Raises:
            FilmError: If it is no video, or does not tell the rate of its frames.
            UserError: If PyAV is not installed.
        """
        av = pyav()
        try:
            with av.open(f"file:{path}") as container:
                if not container.streams.video:
                    raise FilmError("has no video stream")
                stream = container.streams.video[0]
                rate = stream.average_rate or stream.guessed_rate
                if not rate:
                    raise FilmError("does not tell the rate of its frames")
                seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
                count = _promised(container, stream) or round(seconds * float(rate)) or None
                return cls(path, Fraction(rate).limit_denominator(LARGEST_DENOMINATOR), count)
        except (av.error.FFmpegError, OSError, UnicodeError) as error:
            raise FilmError(f"cannot be opened: {_said(error)}") from error

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the beginning.

        A decoder fills what it cannot decode with what was there before, and so does it with all frames that refer to
        such a one: here they are unreadable until the next frame that stands by itself and is shown later. Frames come
        out of the decoder in another order than packets go in, so that an intact one may come after the damage.
        """
        av = pyav()
        with av.open(f"file:{self.path}") as container:
            stream = container.streams.video[0]
            stream.thread_type = "SLICE"  # with whole frames in threads, errors would come with other packets
            stream.codec_context.options = {"err_detect": "explode"}
            number, packets, end = 0, 0, 0.0
            since: float | None = None  # the pts from which nothing is to be trusted
            for packet in _packets(container.demux(stream), av.error.FFmpegError):
                if isinstance(packet, Exception):
                    yield Frame(number, None, f"the file cannot be read from here on: {_said(packet)}")
                    return
                packets += packet.size > 0
                try:
                    frames = packet.decode()
                except (av.error.FFmpegError, OSError) as error:
                    since = _later(since, packet.pts)
                    yield Frame(number, None, f"cannot be decoded: {_said(error)}")
                    number += 1
                    continue
                for frame in frames:
                    if frame.is_corrupt or packet.is_corrupt:
                        since = _later(_later(since, frame.pts), packet.pts if packet.is_corrupt else frame.pts)
                    elif since is not None and frame.key_frame and frame.pts is not None and frame.pts > since:
                        since = None
                    end = max(end, frame.time or 0.0)
                    yield _decoded(number, frame, stream.sample_aspect_ratio, broken=since is not None)
                    number += 1
            if number == 0:
                yield Frame(0, None, "the file has no frame")
            promised, seconds = _promised(container, stream), _seconds(container, stream)
            if packets < promised:
                yield Frame(number, None, f"the file ends after {packets} frames, and its header says {promised}")
            elif seconds is not None and end + SHORT < seconds:
                yield Frame(number, None, f"the file ends after {end:.1f} s, and its header says {seconds:.1f}")


def _packets(packets: Iterable[Any], error: type[Exception]) -> Iterator[Any]:
    """What the container gives, and last the error that ends it, if there is one."""
    try:
        yield from packets
    except (error, OSError) as found:
        yield found


def _promised(container: Any, stream: Any) -> int:
    """How many frames the header says there are; 0 where it does not.

    A trimmed MP4 file counts those, too, that its edit list leaves out; the index is of what is shown.
    """
    if "mp4" in container.format.name and len(stream.index_entries):
        return min(stream.frames, len(stream.index_entries))
    return stream.frames


def _seconds(container: Any, stream: Any) -> float | None:
    """When the video ends, by a header that counts no frames; None where it does not say, or is an estimate."""
    if stream.frames or not LASTING & set(container.format.name.split(",")):
        return None
    tag = stream.metadata.get("DURATION", "")  # Matroska's, which is of this stream; the container's is of the longest
    if found := re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", tag):
        hours, minutes, seconds = map(float, found.groups())
        return 3600 * hours + 60 * minutes + seconds
    if len(container.streams) > 1 or not container.duration:
        return None
    return (container.duration + (container.start_time or 0)) / 1e6


def _later(since: float | None, pts: int | None) -> float:
    """The later of the two; a packet or frame whose time nobody knows is never behind."""
    return max(-math.inf if since is None else since, math.inf if pts is None else pts)


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _decoded(number: int, frame: Any, aspect: Fraction | None, *, broken: bool) -> Frame:
    """A frame, upright and of square px; `aspect` is a px's width by its height."""
    if broken:
        return Frame(number, None, "is damaged, or refers to a frame that is")
    pixels = frame.to_ndarray(format="rgb24")
    if aspect and aspect != 1:
        width = max(1, round(pixels.shape[1] * aspect))
        pixels = cv2.resize(pixels, (width, pixels.shape[0]), interpolation=cv2.INTER_LINEAR)
    upright = np.rot90(pixels, round(frame.rotation / 90))
    try:
        return Frame(number, checked(np.ascontiguousarray(upright)), time=frame.time)
    except ValueError as error:
        return Frame(number, None, str(error))


@dataclass(frozen=True)
class FrameFolder:
    """Pictures that are the frames of one video, in this order."""

    path: Path
    files: Sequence[Path]
    rate: Fraction | None

    @property
    def name(self) -> str:
        """The folder's."""
        return self.path.resolve().name

    @property
    def count(self) -> int:
        """How many files there are."""
        return len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        for number, file in enumerate(self.files):
            try:
                time = None if self.rate is None else float(number / self.rate)
                yield Frame(number, read_picture(file), time=time)
            except (ValueError, OSError) as error:
                why = (error.strerror if isinstance(error, OSError) else None) or str(error)
                yield Frame(number, None, f"{file.name}: {why}")


@dataclass(frozen=True, eq=False)
class StoredClip:
    """One clip of a store or of an array.

    Attributes:
        path: The file.
        number: Of the clip in it, from 0.
        name: Of files made of it.
        pixels: Gives uint8 (t, h, w, 3).
        rate: Frames per second, where it is known.
        count: How many frames it has.
        synthetic: Whether it is drawn; None where nobody knows.
    """

    path: Path
    number: int
    name: str
    pixels: Callable[[], np.ndarray]
    rate: Fraction | None
    count: int
    synthetic: bool | None

    def __iter__(self) -> Iterator[Frame]:
        for number, picture in enumerate(self.pixels()):
            yield Frame(number, picture)


def of_one_size(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames; those of another size than the first readable one cannot be shown in one video with it."""
    shape: tuple[int, ...] | None = None
    for frame in frames:
        if frame.picture is None:
            yield frame
            continue
        shape = shape or frame.picture.shape
        if frame.picture.shape != shape:
            (height, width), (tall, wide) = frame.picture.shape[:2], shape[:2]
            yield Frame(frame.number, None, f"is {width} x {height} px, and those before it are {wide} x {tall}")
        else:
            yield frame


def batches(frames: Iterable[Frame], size: int) -> Iterator[list[Frame]]:
    """Up to `size` frames at once, and no more of large ones than memory should hold."""
    waiting: list[Frame] = []
    pixels = 0
    for frame in frames:
        waiting.append(frame)
        pixels += 0 if frame.picture is None else frame.picture.shape[0] * frame.picture.shape[1]
        if len(waiting) >= size or pixels >= PENDING:
            yield waiting
            waiting, pixels = [], 0
    if waiting:
        yield waiting
