"""Cut the clips of Human3.6M out of its videos, and write the store of one split."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import simplejpeg
from jaxtyping import Float32, Float64, UInt8
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import LARGEST_WINDOW, QUALITY, cut, window
from pose_lightning.convert.human36m_frames import FrameError, Frames, Getter
from pose_lightning.convert.human36m_sources import Camera, action_of, read_positions
from pose_lightning.convert.npy import SIZE_MM
from pose_lightning.joints import H36M_32_TO_17
from pose_lightning.store import Codec, StoreWriter
from pose_lightning.terminal import Terminal

Item = TypeVar("Item")
Result = TypeVar("Result")

_JPEG_BLOCK: Final = 8
"""px; frames are stacked in one JPEG file, and would share blocks where their height is no multiple of it."""


@dataclass(frozen=True)
class Clips:
    """How clips are cut and stored.

    Attributes:
        frames: Of one clip.
        stride: Frames of the video from one frame of the clip to the next.
        every: Frames of the video from one clip's first frame to the next one's.
        size: Side of a stored frame, px.
        margin: On each side of the joints' bounding square, as a share of its side; joints lie inside the body.
        codec: `raw` or `jpeg`.
        quality: Of the JPEG files, 1 to 100.
    """

    frames: int = 8
    stride: int = 5
    every: int = 64
    size: int = 224
    margin: float = 0.15
    codec: Codec = "raw"
    quality: int = QUALITY

    def __post_init__(self) -> None:
        for name in ("frames", "stride", "every"):
            if (value := getattr(self, name)) < 1:
                raise ConvertError(f"--{name} {value}: wanted at least 1")
        if not 16 <= self.size <= 1024:
            raise ConvertError(f"--size {self.size}: wanted 16 to 1024 px")
        if self.codec == "jpeg" and self.size % _JPEG_BLOCK:
            raise ConvertError(f"--size {self.size}: with --codec jpeg, wanted a multiple of {_JPEG_BLOCK} px")
        if not 0 <= self.margin <= 2:
            raise ConvertError(f"--margin {self.margin}: wanted 0 to 2 of the joints' bounding square")
        if not 1 <= self.quality <= 100:
            raise ConvertError(f"--quality {self.quality}: wanted 1 to 100")

    def starts(self, count: int) -> range:
        """The first frames of the clips of a video of `count` frames."""
        return range(0, count - (self.frames - 1) * self.stride, self.every)

    def numbers(self, start: int) -> range:
        """The frames of the clip that begins at `start`."""
        return range(start, start + self.frames * self.stride, self.stride)


@dataclass(frozen=True)
class View:
    """What one camera saw of one sequence.

    Attributes:
        subject: "S9".
        sequence: "Walking 1".
        camera_name: "54138969".
        camera: Its parameters.
        positions: File of the joints.
        in_world: Whether they are in world coordinates, else in this camera's axes.
        frames: The video.
        count: Frames that have both a picture and positions.
    """

    subject: str
    sequence: str
    camera_name: str
    camera: Camera
    positions: Path
    in_world: bool
    frames: Frames
    count: int

    @property
    def name(self) -> str:
        """Subject, sequence and camera."""
        return f"{self.subject}/{self.sequence}/{self.camera_name}"


@dataclass(frozen=True)
class Pending:
    """A clip whose frames are there, but not cut yet.

    Attributes:
        view: Where it is from.
        start: Number of its first frame.
        joints: In camera axes, mm.
        getters: Give its frames.
    """

    view: View
    start: int
    joints: Float64[np.ndarray, "t 17 3"]
    getters: Sequence[Getter]


@dataclass(frozen=True)
class Trouble:
    """A view whose frames cannot be read, or whose positions cannot be meant."""

    view: View
    reason: str


class UndecodableError(Exception):
    """Views that cannot be converted, with the reason of each."""

    def __init__(self, troubles: Mapping[str, str]) -> None:
        super().__init__(troubles)
        self.troubles = dict(troubles)


def square_around(points: Float64[np.ndarray, "t j 2"], clips: Clips) -> tuple[int, int, int]:
    """The square of whole pixels (x0, y0, side) around all joints of a clip, with the margin."""
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    side = max(float((high - low).max()), 1.0) * (1 + 2 * clips.margin)
    return window((low + high) / 2, side, clips.size, clips.size)


def in_crop(
    points: Float64[np.ndarray, "*n 2"], square: tuple[int, int, int], size: int
) -> Float32[np.ndarray, "*n 2"]:
    """Px of the video -> px of the stored frames; a picture begins half a px before its first pixel's centre."""
    x0, y0, side = square
    return ((points - (x0, y0) + 0.5) * (size / side) - 0.5).astype(np.float32)


def cut_frames(
    pictures: Iterable[np.ndarray], square: tuple[int, int, int], clips: Clips
) -> UInt8[np.ndarray, "t h w 3"] | bytes:
    """What to store of a clip's pictures."""
    frames = np.stack([cut(picture, *square, clips.size) for picture in pictures])
    if clips.codec == "raw":
        return frames
    stacked = frames.reshape(-1, clips.size, 3)
    return simplejpeg.encode_jpeg(stacked, clips.quality, "RGB", "444", fastdct=False)


def pose_labels(joints: Float64[np.ndarray, "t 17 3"]) -> dict[str, np.ndarray]:
    """The labels `joints`, relative to the pelvis on every frame, and `root`, the pelvis, of joints in camera axes."""
    root = joints[:, :1]
    return {"joints": (joints - root).astype(np.float32), "root": root[:, 0].astype(np.float32)}


def write_split(
    store: Path, views: Sequence[View], clips: Clips, attrs: Mapping[str, Any], *, jobs: int | None, patient: bool
) -> int:
    """Write the store of one split and return the number of its clips.

    Args:
        store: The file.
        views: In the order in which they are stored.
        clips: How they are cut.
        attrs: Of the store.
        jobs: Threads; None takes one per core.
        patient: Go on after frames that cannot be read, to find all of them.

    Raises:
        UndecodableError: If frames cannot be read, or positions cannot be meant; the store is as it was before.
    """
    total = sum(len(clips.starts(view.count)) for view in views)
    troubles: dict[str, str] = {}
    shape = (clips.frames, clips.size, clips.size, 3)
    with StoreWriter(store, codec=clips.codec, attrs=attrs, shape=shape) as writer:
        for result in _in_order(
            lambda item: _finished(item, clips), _pending(views, clips), total=total, title=store.stem, jobs=jobs
        ):
            if isinstance(result, Trouble):
                troubles.setdefault(result.view.name, result.reason)
                if not patient:
                    break
            elif not troubles:
                writer.append(*result)
        if troubles:
            raise UndecodableError(troubles)
    return total


def _pending(views: Sequence[View], clips: Clips) -> Iterator[Pending | Trouble]:
    """All clips of all views; a clip comes as soon as the video is decoded up to its last frame."""
    for path, group in groupby(views, key=lambda view: view.positions):
        positions = read_positions(path)[:, H36M_32_TO_17].astype(np.float64)
        for view in group:
            try:
                yield from pending_clips(view, positions, clips)
            except FrameError as error:
                yield Trouble(view, str(error))


def pending_clips(view: View, positions: Float64[np.ndarray, "frames 17 3"], clips: Clips) -> Iterator[Pending]:
    """The clips of one view, in order.

    Frames that no later clip needs are let go, so that memory does not grow with the video.
    """
    starts = deque(clips.starts(view.count))
    wanted = sorted({number for start in starts for number in clips.numbers(start)})
    getters: dict[int, Getter] = {}
    for number, getter in view.frames.read(wanted):
        getters[number] = getter
        while starts and (numbers := clips.numbers(starts[0]))[-1] == number:
            joints = positions[list(numbers)]
            joints = view.camera.to_camera(joints) if view.in_world else joints
            yield Pending(view, starts.popleft(), joints, [getters[each] for each in numbers])
        for passed in [each for each in getters if not starts or each < starts[0]]:
            del getters[passed]


def _finished(item: Pending | Trouble, clips: Clips) -> tuple[np.ndarray | bytes, dict[str, Any]] | Trouble:
    """Pixels and labels of a clip."""
    if isinstance(item, Trouble):
        return item
    view, joints = item.view, item.joints
    name = f"{view.name}/{item.start:06d}"
    aimed = _aim(view.camera, joints, clips)
    if isinstance(aimed, str):
        return Trouble(view, f"{view.positions}: {name} {aimed}")
    points, square = aimed
    try:
        pixels = cut_frames((getter() for getter in item.getters), square, clips)
    except FrameError as error:
        return Trouble(view, str(error))
    labels = {
        "name": name,
        "subject": view.subject,
        "action": action_of(view.sequence),
        "camera": view.camera_name,
        "sequence": f"{view.subject}/{view.sequence}",
        "frame": np.int64(item.start),
        **pose_labels(joints),
        "points": in_crop(points, square, clips.size),
    }
    return pixels, labels


def _aim(
    camera: Camera, joints: Float64[np.ndarray, "t 17 3"], clips: Clips
) -> tuple[Float64[np.ndarray, "t 17 2"], tuple[int, int, int]] | str:
    """Where a clip's joints, in camera axes, are seen, and the square around them; or why they cannot be meant."""
    if joints[..., 2].min() <= 0:
        return "has a joint behind the camera; wanted mm in the world's axes"
    extents = np.ptp(joints, axis=1).max(axis=-1)
    if extents.min() < SIZE_MM[0] or extents.max() > SIZE_MM[1]:
        return (
            f"has a person {extents.min():.4g} to {extents.max():.4g} mm large; wanted mm, and {SIZE_MM[0]:g} to "
            f"{SIZE_MM[1]:g} of them"
        )
    points = camera.project(joints)
    square = square_around(points, clips)
    if square[2] > LARGEST_WINDOW:
        return f"has joints over {square[2]} px, which cannot be meant"
    return points, square


def _in_order(
    work: Callable[[Item], Result], items: Iterator[Item], *, total: int, title: str, jobs: int | None
) -> Iterator[Result]:
    """Map over threads, in order, with a progress bar, drawing items only as fast as results are taken."""
    threads = jobs or os.cpu_count() or 1
    executor = ThreadPoolExecutor(threads)
    waiting: deque[Future[Result]] = deque()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Terminal(stderr=True)) as progress:
            task = progress.add_task(title, total=total)
            for item in items:
                waiting.append(executor.submit(work, item))
                if len(waiting) > threads + 2:
                    yield waiting.popleft().result()
                    progress.advance(task)
            while waiting:
                yield waiting.popleft().result()
                progress.advance(task)
    finally:
        executor.shutdown(cancel_futures=True)
