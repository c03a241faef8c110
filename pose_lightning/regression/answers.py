"""The joints of a person in films, in mm: `joints.json`, `joints.csv` and an animation."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np

from pose_lightning import draw
from pose_lightning.joints import H36M
from pose_lightning.predict.answers import check_numbers, marked, say_data
from pose_lightning.predict.boxes import Box, in_frame
from pose_lightning.predict.films import Film, StoredClip, of_one_size
from pose_lightning.predict.inputs import Inputs
from pose_lightning.predict.pictures import Photographs, Progress, Troubles, unused, usable
from pose_lightning.predict.places import Places
from pose_lightning.predict.playback import Playback, Scene, scene_of
from pose_lightning.predict.recording import GifRecording, Recording, VideoRecording
from pose_lightning.predict.request import Request
from pose_lightning.predict.results import CsvFile, JsonFile, Names
from pose_lightning.predict.windows import Gap, Pace, Shot, Window, cut, square, windows
from pose_lightning.terminal import say

AnimationName = Literal["mp4", "gif"]

COLUMNS: Final = ("file", "frame", "joint", "x", "y", "z")

UNKNOWN_RATE: Final = Fraction(10)
"""Frames per second of an animation where neither the film nor training says."""

SLOW: Final = Fraction(3, 4)
"""Of training's rate: a film below it moves faster than the network has seen."""


@dataclass(frozen=True, eq=False)
class _Clip:
    """What the network sees together, and the frames that it is the first to say something of."""

    pixels: np.ndarray
    fresh: range
    scenes: Sequence[Scene]


class Estimator(Protocol):
    """What says where joints are in clips, such as `clips.ClipEstimator`."""

    checkpoint: Path
    step: int
    experiment: str
    synthetic: bool | None
    flip_test: bool
    frames: int
    rate: Fraction | None
    side: int
    margin: float

    def poses(self, clips: Sequence[np.ndarray]) -> np.ndarray:
        """Of clips of `side` px (n, t, 17, 3), mm."""


def predict(estimator: Estimator, request: Request) -> None:
    """Answer a command line."""
    inputs = request.films()
    animation: AnimationName = request.options.animation or "mp4"
    predict_clips(estimator, inputs, boxes=request.boxes(inputs), animation=animation, **request.common)


def predict_clips(
    estimator: Estimator,
    inputs: Inputs,
    *,
    boxes: Places | None,
    folder: Path,
    json: Path | None,
    batch_size: int,
    animation: AnimationName,
) -> None:
    """Write the joints of the person in every film, and an animation of each, into `folder`.

    Args:
        estimator: The network.
        inputs: Films only.
        boxes: Where the person is; None shows the network the whole frames.
        folder: Gets the files.
        json: Gets the joints too; None is `joints.json` in the folder.
        batch_size: Clips in the network at once.
        animation: Its format.

    Raises:
        UserError: When all others are done, if something cannot be read, a box is outside its frame, or a frame has
            two.
    """
    photographs = Photographs([], folder, [json] if json else [])
    troubles, names = Troubles(inputs), photographs.names
    say(f"predicting joints with {estimator.checkpoint} (step {estimator.step})")
    say_data(estimator.synthetic, "clips", "films")
    target = folder / "joints.json" if json is None else json
    table = names.new("joints", ".csv")
    with ExitStack() as stack:
        numbers = stack.enter_context(JsonFile(target))
        rows = stack.enter_context(CsvFile(table, COLUMNS))
        for key, value in _facts(estimator).items():
            numbers.item(value, key)
        numbers.begin("[", "films")
        for film in inputs.films:
            _Run(estimator, film, boxes, troubles, batch_size).write(numbers, rows, names, animation)
        numbers.end()
        numbers.item(troubles.to_json(), "unreadable")
        if names.given == [table]:
            troubles.check(photographs)  # before files get their names: those of an earlier call stay
    for place in [*names.given, target]:
        say(place)
    troubles.check(photographs)


class _TooManyError(Exception):
    """A frame with several people."""


class _Run:
    """One film."""

    def __init__(
        self, estimator: Estimator, film: Film, boxes: Places | None, troubles: Troubles, batch_size: int
    ) -> None:
        self.estimator, self.film, self.boxes = estimator, film, boxes
        self.troubles, self.batch_size = troubles, batch_size
        self.title = f"{film.path}#{film.number}" if isinstance(film, StoredClip) else str(film.path)
        self.drawn = film.synthetic if isinstance(film, StoredClip) else None
        self.pace = Pace(film.rate, estimator.rate)
        rate = film.rate or estimator.rate
        self.rate = None if rate is None else rate / self.pace.step
        self.posed = self.without_box = 0
        self.overlapped: list[int] = []
        self.repeated: list[int] = []
        self._listed: Sequence[Box] | None = None

    def write(self, numbers: JsonFile, rows: CsvFile, names: Names, animation: AnimationName) -> None:
        """Predict, and write everything."""
        target = names.new(self.film.name, f"-poses.{animation}")
        shown = self.rate or UNKNOWN_RATE
        recording: Recording = (VideoRecording if animation == "mp4" else GifRecording)(target, shown)
        numbers.begin("{")
        numbers.item(self.title, "file")
        numbers.item(None if self.rate is None else float(self.rate), "frames_per_second")
        numbers.item(float(self.pace.step), "every")
        numbers.item(self.drawn, "synthetic")
        numbers.begin("[", "frames")
        title = marked(f"{self.film.name}   {self.estimator.experiment}", self.estimator.synthetic, self.drawn)
        with recording, Progress(self.film) as progress:
            playback = Playback(recording, shown, title)
            for scene in self._scenes(progress):
                playback.add(scene)
                if scene.pose is not None:
                    self.posed += 1
                    joints = np.round(scene.pose, 3).tolist()
                    numbers.item({"frame": scene.number, "time": scene.time, "joints": joints})
                    rows.rows(_rows(self.title, scene.number, scene.pose))
            if self.posed:
                playback.finish()
        numbers.end()
        if not self.posed:
            names.given.remove(target)
        for sentence in (said := self._said()):
            say(f"{self.title}: {sentence}")
        if recording.note:
            say(f"{target}: {recording.note}")
        numbers.item(str(target) if self.posed else None, "animation")
        numbers.item(said, "notes")
        numbers.end()

    def _scenes(self, progress: Progress) -> Iterator[Scene]:
        """In the order of the frames."""
        waiting: list[_Clip | Scene] = []
        for each in windows(self._shots(progress), self.estimator.frames):
            waiting.append(self._clip(each) if isinstance(each, Window) else _without_pose(each))
            if sum(isinstance(one, _Clip) for one in waiting) == self.batch_size:
                yield from self._predicted(waiting)
                waiting = []
        yield from self._predicted(waiting)

    def _predicted(self, waiting: Sequence[_Clip | Scene]) -> Iterator[Scene]:
        clips = [each.pixels for each in waiting if isinstance(each, _Clip)]
        poses = self.estimator.poses(clips) if clips else np.empty(0)
        check_numbers(poses, f"{self.estimator.checkpoint} (step {self.estimator.step})")
        found = iter(poses)
        for each in waiting:
            if isinstance(each, Scene):
                yield each
                continue
            clip = next(found)
            for place, scene in zip(each.fresh, each.scenes, strict=True):
                yield replace(scene, pose=clip[place])

    def _shots(self, progress: Progress) -> Iterator[Shot | Gap]:
        """The frames at training's rate, and where the person is in them."""
        count = 0
        for frame in of_one_size(self.film):
            progress.advance()
            count += 1
            if frame.picture is None:
                self.troubles.add(self.film, frame)
            if not self.pace.takes(frame):
                continue
            try:
                box = None if frame.picture is None else self._box(frame.number, frame.picture)
            except _TooManyError as error:
                self.troubles.add(self.film, replace(frame, reason=str(error)))
                yield Gap(frame, "has several boxes")
                continue
            if box is not None:
                yield Shot(frame, box)
                continue
            self.without_box += frame.picture is not None
            yield Gap(frame, "cannot be read" if frame.picture is None else "has no box")
        unused(self._listed or [], count, self.film.path, self.troubles)

    def _box(self, number: int, picture: draw.Picture) -> Box | None:
        height, width = picture.shape[:2]
        if self.boxes is None:
            return Box((width - 1) / 2, (height - 1) / 2, max(width, height), "the whole frame")
        if self._listed is None:
            self._listed = usable(
                self.boxes.of_film(self.film.path, width, height), width, height, self.film.path, self.troubles
            )
        here = in_frame(self._listed, number)
        if len(here) > 1:
            raise _TooManyError(
                f"has {len(here)} boxes, such as that of {here[1].source}; clips are of one person: give one box for "
                "every frame"
            )
        return here[0] if here else None

    def _clip(self, window: Window) -> _Clip:
        place = square(window, self.estimator.side, self.estimator.margin)
        if window.repeated:
            self.repeated.append(window.repeated)
        elif len(window.fresh) < len(window.shots):
            self.overlapped.append(len(window.shots) - len(window.fresh))
        scenes = [scene_of(window.shots[each].frame, place) for each in window.fresh]
        return _Clip(cut(window, place, self.estimator.side), window.fresh, scenes)

    def _said(self) -> list[str]:
        """What a reader of the numbers should know."""
        trained, length = self.estimator.rate, self.estimator.frames
        which = "every frame" if self.pace.step == 1 else f"one frame of {float(self.pace.step):.3g}"
        pace = (
            "at an unknown rate" if self.film.rate is None else f"{float(self.film.rate / self.pace.step):.4g} a second"
        )
        known = "" if trained is None else f", and training had {float(trained):g} a second"
        said = [f"{_count(self.posed, 'pose')}, of {which}, {pace}{known}"]
        if trained is not None and self.rate is not None and self.rate < SLOW * trained:
            said.append("its frames are further apart than those of training: people move faster than it knows")
        if self.overlapped:
            several = f"{len(self.overlapped)} clips overlap the one before them, by up to"
            which = "a clip overlaps the one before it by" if len(self.overlapped) == 1 else several
            said.append(f"{which} {max(self.overlapped)} of {length} frames")
        if self.repeated:
            where = "" if len(self.repeated) == 1 else f" at {len(self.repeated)} places"
            times = f"{'' if len(self.repeated) == 1 else 'up to '}{_times(max(self.repeated))}"
            said.append(f"too few frames for a clip of {length}{where}: the last one is repeated {times}")
        if self.without_box:
            said.append(f"{_count(self.without_box, 'frame')} without a box, and so without a pose")
        return said


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _without_pose(gap: Gap) -> Scene:
    return Scene(gap.frame.number, None, (0.0, 0.0, 0.0), None, f"frame {gap.frame.number} {gap.reason}")


def _rows(title: str, number: int, pose: np.ndarray) -> list[list[Any]]:
    pairs = zip(H36M.names, pose.tolist(), strict=True)
    return [[title, number, name, *(f"{value:.3f}" for value in place)] for name, place in pairs]


def _facts(estimator: Estimator) -> dict[str, Any]:
    return {
        "experiment": estimator.experiment,
        "checkpoint": estimator.checkpoint.name,
        "step": estimator.step,
        "flip_test": estimator.flip_test,
        "synthetic": estimator.synthetic,
        "mm": "relative to the pelvis, on every frame; x to the camera's right, y down, z away from it",
        "joints": list(H36M.names),
        "frames_of_a_clip": estimator.frames,
    }
