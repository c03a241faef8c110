"""Containers of videos: which stream is the film, how it is turned, and how fast its frames follow each other."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np

from pose_lightning.errors import UserError

LARGEST_DENOMINATOR: Final = 1001
"""Of a frame rate: 30000/1001 is television's; some encoders take no time base of more than 16 bits."""

STILLS: Final = Fraction(25)
"""Frames per second of a video made of frames whose own rate nobody knows."""

FASTEST: Final = 1000
"""Frames per second; a single frame that claims more has no rate."""

DRIFT: Final = 1.25
"""Frames by which a film may be longer or shorter than its nominal rate says: one is dropped, and times are rounded."""

STEP_BACK: Final = 1.0
"""Seconds by which times go back where pieces were joined; fewer do before a frame that stands by itself."""

JITTER: Final = 0.1
"""Seconds by which they go back without a reason."""

STEP_AHEAD: Final = 10.0
"""Seconds by which they go ahead there, in containers of which FFmpeg says that times may jump, as its command does."""

MAY_JUMP: Final = 0x0200
"""FFmpeg's AVFMT_TS_DISCONT."""

SLANT: Final = math.radians(1)
"""An angle that FFmpeg takes for none."""


COVER: Final = 0x0400
USUAL: Final = 0x0001
"""FFmpeg's AV_DISPOSITION_ATTACHED_PIC and AV_DISPOSITION_DEFAULT."""


class FilmError(Exception):
    """A film that cannot be opened at all; the message is the reason, without the file's name."""


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


def packets_of(packets: Iterable[Any], error: type[Exception]) -> Iterator[Any]:
    """Yield the container's packets, and last the error that ends them, if there is one."""
    try:
        yield from packets
    except (error, OSError) as found:
        yield found


def film_stream(container: Any) -> tuple[Any, str]:
    """The stream that players show, and what a person should know of the others.

    Raises:
        FilmError: If there is none. A cover picture is no film.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition.value & COVER]
    if not streams:
        covers = len(container.streams.video)
        raise FilmError("has sound and a cover picture, but no film" if covers else "has no video stream")
    chosen = next((stream for stream in streams if stream.disposition.value & USUAL), streams[0])
    if len(streams) == 1:
        return chosen, ""
    return chosen, f"has {len(streams)} video streams, of which number {streams.index(chosen) + 1} is read"


@dataclass(frozen=True)
class Turn:
    """How a picture is turned and mirrored: first rows and columns are swapped, then either is reversed."""

    swapped: bool = False
    right_to_left: bool = False
    bottom_to_top: bool = False

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """The picture as players show it."""
        pixels = pixels.swapaxes(0, 1) if self.swapped else pixels
        pixels = pixels[:, ::-1] if self.right_to_left else pixels
        return np.ascontiguousarray(pixels[::-1] if self.bottom_to_top else pixels)


def turn_of(frame: Any) -> Turn:
    """By the display matrix: (x, y) is shown at (a x + c y, b x + d y).

    Raises:
        FilmError: If it is none of the four turns and their mirrors.
    """
    matrices = [bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    if not matrices:
        return Turn()
    a, b, _, c, d = (np.frombuffer(matrices[0], np.int32)[:5] / (1 << 16)).tolist()
    if not (a or b) or not (c or d):
        return Turn()  # players leave a picture as it is that would have no size
    swapped = abs(b) > abs(a)
    first, second = ((b, a), (c, d)) if swapped else ((a, b), (d, c))
    if max(abs(small / large) if large else math.inf for large, small in (first, second)) > math.tan(SLANT):
        raise FilmError(
            f"is to be shown turned by {math.degrees(math.atan2(b, a)):.0f} degrees; only quarter turns and mirrors "
            "are known: `ffmpeg -i IN OUT` turns the pictures themselves"
        )
    return Turn(swapped, (c if swapped else a) < 0, (b if swapped else d) < 0)


class Joins:
    """Notices where times start again, packet by packet."""

    def __init__(self, container: Any) -> None:
        self._may_jump = bool(container.format.flags & MAY_JUMP)
        self._last: float | None = None

    def begin(self, packet: Any) -> bool:
        """Whether a piece begins with this packet."""
        if packet.dts is None:
            return False
        time = float(packet.dts * packet.time_base)
        last, self._last = self._last, time
        if last is None:
            return False
        if packet.is_keyframe:
            return time < last - JITTER or (self._may_jump and time > last + STEP_AHEAD)
        return time < last - STEP_BACK


def timing(container: Any, stream: Any, nominal: Fraction) -> tuple[int, Fraction]:
    """How many packets there are, 0 where nobody counted them, and the mean rate by their times.

    The nominal rate stays where the frames come at it.
    """
    pieces = _indexed(stream) if "mp4" in container.format.name else _demuxed(container, stream)
    count = sum(map(len, pieces))
    spans = sum((max(times) - min(times) for times in pieces if times), start=Fraction(0))
    steps = sum(len(times) - 1 for times in pieces if times)
    rate = nominal
    if steps and spans:
        mean = steps / spans
        fields = abs(mean / nominal - 2) < 0.1  # half pictures, which the container counts
        rate = mean if abs(spans * nominal - steps) > DRIFT and not fields else nominal
    elif nominal > FASTEST:
        rate = STILLS
    return count, max(rate.limit_denominator(LARGEST_DENOMINATOR), Fraction(1, LARGEST_DENOMINATOR))


def _indexed(stream: Any) -> list[list[Fraction]]:
    """Times of all packets by the header's index; none where it has not all of them."""
    entries = stream.index_entries
    if not len(entries) or len(entries) > stream.frames:
        return []
    return [[entry.timestamp * stream.time_base for entry in entries]]


def _demuxed(container: Any, stream: Any) -> list[list[Fraction]]:
    """Times of all packets, of every piece; none where a packet has no time."""
    joins = Joins(container)
    pieces: list[list[Fraction]] = [[]]
    for packet in packets_of(container.demux(stream), pyav().error.FFmpegError):
        if isinstance(packet, Exception):
            break
        if not packet.size or packet.is_discard:
            continue
        if packet.pts is None:
            return []
        if joins.begin(packet):
            pieces.append([])
        pieces[-1].append(packet.pts * packet.time_base)
    return pieces
