"""Frames one after the other: of a video, of a folder of pictures, or of a stored clip."""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np

from pose_lightning import draw
from pose_lightning.convert.pictures import checked, read_picture
from pose_lightning.predict.containers import STILLS, FilmError, Joins, film_stream, packets_of, pyav, timing, turn_of
from pose_lightning.predict.transport import NONE, find_losses

PENDING: Final = 1 << 26
"""Px that wait to be predicted at once: 200 MB."""


SHORT: Final = 0.5
"""Seconds by which a file may end before its header says."""

LASTING: Final = frozenset(("matroska", "webm", "flv"))
"""Containers that say how long they are, and not of how many frames."""


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


@dataclass(frozen=True)
class VideoFile:
    """A video file of any kind that FFmpeg reads; sound and cover pictures are left aside.

    Attributes:
        path: The file.
        rate: Frames per second: their mean where they come unevenly.
        count: How many there are, as the header or the packets say.
        note: Of other streams; empty where there are none.
    """

    path: Path
    rate: Fraction | None
    count: int | None
    note: str = ""

    @property
    def name(self) -> str:
        """The file's, without its suffix."""
        return self.path.stem

    @classmethod
    def open(cls, path: Path) -> "VideoFile":
        """Read the header, the times of all frames, and the first frame, which says how the film is turned.

        Raises:
            FilmError: If it is no video, does not tell the rate of its frames, or is shown at an angle.
            UserError: If PyAV is not installed.
        """
        av = pyav()
        faults = (av.error.FFmpegError, OSError)
        try:
            with av.open(f"file:{path}") as container:
                stream, note = film_stream(container)
                nominal = stream.average_rate or stream.guessed_rate
                if not nominal:
                    raise FilmError("does not tell the rate of its frames")
                counted, rate = timing(container, stream, Fraction(nominal))
                seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
                count = _promised(container, stream) or counted or round(seconds * float(rate)) or None
            with av.open(f"file:{path}") as container, suppress(*faults, StopIteration):
                turn_of(next(container.decode(film_stream(container)[0])))
        except (*faults, UnicodeError) as error:
            raise FilmError(f"cannot be opened: {_said(error)}") from error
        return cls(path, rate, count, note)

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the beginning.

        A decoder fills what it cannot decode with what was there before, and so does it with all frames that refer to
        such a one: here they are unreadable until the next frame that stands by itself and is shown later.

        Where pieces were joined and times start again, they go on, and so they do in the frames.
        """
        av = pyav()
        faults = (av.error.FFmpegError, OSError)
        with av.open(f"file:{self.path}") as container:
            stream, _ = film_stream(container)
            decoding = _Decoding(self.path, container, stream, faults)
            number, packets, clock = 0, 0, _Clock(stream.time_base, self.rate or STILLS)
            for packet in packets_of(container.demux(stream), av.error.FFmpegError):
                if isinstance(packet, Exception):
                    yield Frame(number, None, f"the file cannot be read from here on: {_said(packet)}")
                    return
                packets += packet.size > 0
                for frame, reason in decoding.feed(packet):
                    time = clock.time(frame, begins=decoding.joined)
                    decoding.joined &= time is None
                    yield Frame(number, None, reason) if reason else _decoded(number, frame, stream, time)
                    number += 1
            if number == 0:
                yield Frame(0, None, "the file has no frame")
            promised, seconds = _promised(container, stream), _seconds(container, stream)
            if packets < promised:
                yield Frame(number, None, f"the file ends after {packets} frames, and its header says {promised}")
            elif seconds is not None and clock.end + SHORT < seconds:
                yield Frame(number, None, f"the file ends after {clock.end:.1f} s, and its header says {seconds:.1f}")


class _Clock:
    """Times of frames, which go on where those of the file start again."""

    def __init__(self, base: Fraction, rate: Fraction) -> None:
        self.end, self._base, self._offset, self._step = 0.0, base, 0.0, float(1 / rate)

    def time(self, frame: Any, *, begins: bool) -> float | None:
        """When a frame is shown, s, of which `begins` says that a piece begins; None where nobody says."""
        if frame is None or frame.pts is None:
            return None
        time = float(frame.pts * self._base)
        if begins:
            self._offset = self.end + self._step - time
        self.end = max(self.end, time + self._offset)
        return time + self._offset


class _Decoding:
    """Decodes packets, and says of which frames nothing is to be trusted.

    Attributes:
        joined: Whether a piece has begun of which no frame was given yet; set to False by the caller.
    """

    def __init__(self, path: Path, container: Any, stream: Any, faults: tuple[type[Exception], ...]) -> None:
        stream.codec_context.thread_count = 1  # with several, H.264 keeps errors to itself, or they come late
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
        self.joined = False
        self._stream, self._faults, self._joins = stream, faults, Joins(container)
        self._counted = container.format.name == "mpegts"
        self._losses = find_losses(path, stream.id) if self._counted else NONE
        self._since: float | None = None
        """The pts up to which no frame ends the damage."""
        self._from = -math.inf
        """The dts at which it began: what was decoded before is intact, also where it comes out later."""

    def feed(self, packet: Any) -> Iterator[tuple[Any, str]]:
        """Decode a packet; gives frames, and why they are none."""
        if packet.size and self._joins.begin(packet):
            yield from self._drain()
            self._since = None
            if not packet.is_keyframe:
                self._damage(packet.pts, packet.dts)
        if self._is_broken(packet):
            self._damage(packet.pts, packet.dts)
        try:
            frames = packet.decode()
        except self._faults as error:
            self._damage(packet.pts, packet.dts)
            yield None, f"cannot be decoded: {_said(error)}"
            return
        yield from map(self._judged, frames)

    def _drain(self) -> Iterator[tuple[Any, str]]:
        """Take the frames of the piece before that the decoder still holds."""
        try:
            frames = self._stream.codec_context.decode(None)
        except self._faults as error:
            frames = []
            yield None, f"cannot be decoded: {_said(error)}"
        yield from map(self._judged, frames)
        self._stream.codec_context.flush_buffers()
        self.joined = True

    def _is_broken(self, packet: Any) -> bool:
        """Whether a part of it is missing, or something of before to which it refers."""
        if not self._counted:
            return bool(packet.is_corrupt)
        return packet.pos in self._losses.damaged or (packet.pos in self._losses.resumed and not packet.is_keyframe)

    def _damage(self, pts: int | None, dts: int | None) -> None:
        if self._since is None:
            self._from = -math.inf if dts is None else dts
        self._since = max(-math.inf if self._since is None else self._since, math.inf if pts is None else pts)

    def _judged(self, frame: Any) -> tuple[Any, str]:
        if frame.is_corrupt:
            self._damage(frame.pts, frame.dts)
        elif self._since is not None and frame.key_frame and frame.pts is not None and frame.pts > self._since:
            self._since = None
        intact = self._since is None or (frame.dts is not None and frame.dts < self._from)
        return frame, "" if intact else "is damaged, or refers to a frame that is"


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


def _said(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _decoded(number: int, frame: Any, stream: Any, time: float | None) -> Frame:
    """A frame as players show it, of square px."""
    try:
        turn = turn_of(frame)
        pixels, aspect = frame.to_ndarray(format="rgb24"), stream.sample_aspect_ratio
        if aspect and aspect != 1:  # a px's width by its height
            width = max(1, round(pixels.shape[1] * aspect))
            pixels = cv2.resize(pixels, (width, pixels.shape[0]), interpolation=cv2.INTER_LINEAR)
        return Frame(number, checked(turn.of(pixels)), time=time)
    except (ValueError, FilmError) as error:
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
