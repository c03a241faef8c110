"""Frames of one video of Human3.6M: an .mp4 file, or a folder of the images that somebody extracted from it."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from pose_lightning.convert.crops import Image, decode, picture_bytes
from pose_lightning.convert.human36m_sources import IMAGES

OFFICIAL_RATE: Final = 50.0
"""Frames per second of the official videos, and of their positions; taken for folders of images."""

Getter = Callable[[], Image]
"""Gives a frame's pixels; may run in another thread, as decoding a video cannot."""


class FrameError(Exception):
    """Frames that cannot be read; the message is the reason, without the file's name."""


class Frames(Protocol):
    """A video's frames, numbered from 0."""

    @property
    def path(self) -> Path:
        """The file or folder."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def rate(self) -> float:
        """Frames per second."""

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[int, Getter]]:
        """Yield the frames of these numbers, which rise.

        Raises:
            FrameError: If one of them is not there or cannot be decoded; getters raise it, too.
        """


@dataclass(frozen=True)
class VideoFile:
    """A video file; `count` is what its header says."""

    path: Path
    count: int
    rate: float

    @classmethod
    def open(cls, path: Path) -> "VideoFile":
        """Read the header.

        Raises:
            FrameError: If there is none, or it does not tell the number of frames and their rate.
        """
        try:
            with av.open(path) as container:
                if not container.streams.video:
                    raise FrameError("has no video stream")
                stream = container.streams.video[0]
                if not stream.frames or not stream.average_rate:
                    raise FrameError("does not tell the number and rate of its frames")
                return cls(path, stream.frames, float(stream.average_rate))
        except (av.error.FFmpegError, OSError) as error:
            raise FrameError(f"cannot be opened: {error}") from error

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[int, Getter]]:
        """Decode from the beginning: seeking is not exact in every official file."""
        waiting = iter(numbers)
        wanted = next(waiting, None)
        decoded = 0
        try:
            with av.open(self.path) as container:
                container.streams.video[0].thread_type = "AUTO"
                for number, frame in enumerate(container.decode(video=0)):
                    if wanted is None:
                        return
                    decoded = number + 1
                    if number == wanted:
                        if frame.is_corrupt:
                            raise FrameError(f"frame {number} is corrupt")
                        yield number, partial(_rgb, frame)
                        wanted = next(waiting, None)
        except (av.error.FFmpegError, OSError) as error:
            raise FrameError(f"cannot be decoded after frame {decoded}: {error}") from error
        if wanted is not None:
            raise FrameError(f"ends after {decoded} frames; its header says {self.count}")


def _rgb(frame: av.VideoFrame) -> Image:
    # A frame has one converter of its own, which threads must not share, and clips that overlap share frames: two
    # threads in it wait for each other without end.
    return np.asarray(VideoReformatter().reformat(frame, format="rgb24", threads=1).to_ndarray())


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images; the last number in a file's name is the frame's.

    Numbers begin at 1, as those that ffmpeg writes do, unless there is a frame 0.
    """

    path: Path
    files: dict[int, Path]
    rate: float = OFFICIAL_RATE

    @property
    def count(self) -> int:
        """One more than the last frame's number."""
        return max(self.files) + 1

    @classmethod
    def open(cls, path: Path) -> "ImageFolder":
        """List the images.

        Raises:
            FrameError: If there is none, names have no or the same numbers, or neither 0 nor 1 is among these.
        """
        numbered: dict[int, Path] = {}
        for file in sorted(path.iterdir()):
            if file.suffix.lower() not in IMAGES:
                continue
            numbers = re.findall(r"\d+", file.stem)
            if not numbers:
                raise FrameError(f"has an image without a number, {file.name}")
            if (number := int(numbers[-1])) in numbered:
                raise FrameError(f"has two images of number {number}, {numbered[number].name} and {file.name}")
            numbered[number] = file
        if not numbered:
            raise FrameError("has no images (.jpg or .png)")
        if (first := min(numbered)) > 1:
            raise FrameError(f"begins with image {first}: whether frames count from 0 or 1 cannot be told")
        return cls(path, {number - first: file for number, file in numbered.items()})

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[int, Getter]]:
        """Read the files of these frames."""
        for number in numbers:
            if number not in self.files:
                raise FrameError(
                    f"has no image of frame {number} (from 0); if it has every n-th frame only, --stride and --every "
                    "must be multiples of n"
                )
            yield number, partial(_decoded, self.files[number])


def _decoded(path: Path) -> Image:
    if path.suffix.lower() == ".png":
        try:
            data = np.frombuffer(picture_bytes(path), np.uint8)
            pixels = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if data.size else None
        except (ValueError, cv2.error) as error:
            raise FrameError(f"{path.name} cannot be decoded: {error}") from error
        if pixels is None:
            raise FrameError(f"{path.name} cannot be decoded")
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    try:
        return decode(path)
    except (ValueError, OSError) as error:
        raise FrameError(f"{path.name} cannot be decoded: {error}") from error


def open_frames(path: Path) -> Frames:
    """The frames of a video file or of a folder of images.

    Raises:
        FrameError: If they cannot be listed.
    """
    return ImageFolder.open(path) if path.is_dir() else VideoFile.open(path)
