"""Moving pictures, written frame by frame, whole or not at all."""

from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

import cv2
import numpy as np
from PIL import Image as Pillow

from pose_lightning import draw
from pose_lightning.files import writing
from pose_lightning.predict.containers import pyav
from pose_lightning.predict.films import Frame

BITS_PER_PIXEL: Final = 0.25
"""Of MPEG-4 video, which is told a bit rate; H.264 is told a quality."""

LONGEST_GIF: Final = 300
"""Frames: a GIF is in memory until its end, and few programs play a longer one."""

COLOURS: Final = 256

LATE: Final = 0.1
"""Seconds by which a frame may be shown too early or too late before it is said."""

DIMMED: Final = 0.4
"""Of the light of the last readable frame, under a note that this one is unreadable."""


class Recording(Protocol):
    """A file that grows by pictures of one size; it has its name when the context ends without an error."""

    note: str
    """What a reader of the file should know; empty where there is nothing."""

    def add(self, picture: draw.Picture) -> None:
        """The next frame."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class VideoRecording:
    """An MP4 file: H.264 where this build of FFmpeg has it, else MPEG-4.

    Sides are even in both: an odd one is lengthened by the last row or column.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate, self.note = path, rate, ""
        self._stack = ExitStack()
        self._file: Any = None
        self._stream: Any = None

    def add(self, picture: draw.Picture) -> None:
        """The next frame."""
        height, width = picture.shape[:2]
        even = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        av = pyav()
        if self._file is None:
            self._open(av, even.shape[0], even.shape[1])
            if even.shape != picture.shape:
                self.note = f"{even.shape[1]} x {even.shape[0]} px, because H.264 has no odd sides"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        self._file.mux(self._stream.encode(frame))

    def _open(self, av: Any, height: int, width: int) -> None:
        partial = self._stack.enter_context(writing(self.path))
        self._file = av.open(f"file:{partial}", "w", format="mp4", options={"movflags": "faststart"})
        self._stack.callback(self._file.close)
        if "libx264" in av.codecs_available:
            self._stream = self._file.add_stream("libx264", rate=self.rate, options={"crf": "20", "preset": "veryfast"})
        else:
            self._stream = self._file.add_stream("mpeg4", rate=self.rate)
            self._stream.bit_rate = round(BITS_PER_PIXEL * height * width * float(self.rate))
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, "yuv420p"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
        elif self._file is not None:
            with self._stack:
                self._file.mux(self._stream.encode())


class Annotated(VideoRecording):
    """The video of a film, as long as that: an unreadable frame is the one before it, or the first one, dimmed."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        super().__init__(path, rate)
        self.readable = 0
        self._uneven = False
        self._first: float | None = None
        self._before: draw.Picture | None = None
        self._waiting: list[Frame] = []

    def show(self, frame: Frame, drawn: draw.Picture) -> None:
        """The next frame, with what was drawn."""
        before, self._before = self._before, frame.picture
        for each in self._waiting if before is None else ():
            self.skip(each)
        self._waiting = []
        self.readable += 1
        self.add(drawn)
        if frame.time is not None and not self._uneven:
            late = frame.time - float(frame.number / self.rate)
            self._first = late if self._first is None else self._first
            if abs(late - self._first) > LATE:
                self._uneven = True
                self.note = ", ".join(
                    filter(None, [self.note, "frames that came unevenly are shown at their mean rate"])
                )

    def skip(self, frame: Frame) -> None:
        """The next frame, which cannot be read."""
        if self._before is None:
            self._waiting.append(frame)
            return
        dimmed = (self._before * DIMMED).astype(np.uint8)
        self.add(draw.label(dimmed, [f"frame {frame.number} cannot be read"]))


class GifRecording:
    """An animated GIF that repeats, of the first `LONGEST_GIF` frames."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        self.path, self.rate, self.note = path, rate, ""
        self._frames: list[Pillow.Image] = []

    def add(self, picture: draw.Picture) -> None:
        """The next frame."""
        if len(self._frames) >= LONGEST_GIF:
            self.note = f"the first {LONGEST_GIF} frames only; --animation mp4 takes all"
            return
        whole = Pillow.fromarray(picture)
        self._frames.append(whole.quantize(COLOURS, Pillow.Quantize.MEDIANCUT, dither=Pillow.Dither.NONE))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or not self._frames:
            return
        first, *rest = self._frames
        duration = _durations(self.rate, len(self._frames))
        with writing(self.path) as partial:
            first.save(partial, "GIF", save_all=True, append_images=rest, duration=duration, loop=0)


def _durations(rate: Fraction, count: int) -> list[int]:
    """Ms of every frame of a GIF, which counts hundredths of a second; together they are as long as the film."""
    if rate >= 50:  # players balk at less than 20 ms
        return [20] * count
    ends = [round(100 * number / rate) for number in range(count + 1)]
    return [10 * (end - start) for start, end in pairwise(ends)]
