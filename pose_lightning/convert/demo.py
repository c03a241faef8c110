"""Draw people and write them as official files, under TARGET/official; then convert these as the real ones are.

`mpii` are photographs with the form of MPII Human Pose; `clips` are videos of seven people with the form of Human3.6M,
and some of their clips as the course's pair of .npy files.

The people are drawn, not photographed: stores made from them are marked synthetic, and so is whatever is trained on
them. The same seed gives the same bytes; a larger --people only adds images.
"""

import argparse
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import simplejpeg
from scipy.io import savemat

from pose_lightning import files
from pose_lightning.convert import ConvertError, demo_clips, mpii, mpii_activities
from pose_lightning.convert.activities import FOLDER as ACTIVITY_FOLDER
from pose_lightning.convert.crops import Pixels, in_threads, print_summary
from pose_lightning.convert.drawn import scenes
from pose_lightning.convert.drawn.activities import ACTIVITIES
from pose_lightning.convert.drawn.scenes import Annotation, Video
from pose_lightning.convert.mpii_activities import ActivitySettings
from pose_lightning.convert.splits import Shares, divide
from pose_lightning.convert.staging import owning
from pose_lightning.terminal import say

PEOPLE: Final = 600
"""How many persons are drawn with joints by default."""
ACTIVITY_PEOPLE: Final = 1600
"""For the activity store: each of the twenty categories then has at least three videos."""
ANNOTATIONS: Final = "mpii_human_pose_demo.mat"
_HEADER: Final = b"MATLAB 5.0 MAT-file, drawn people in the form of MPII Human Pose".ljust(116)
_EMPTY: Final = np.zeros((0, 0))
_VALIDATION: Final = 0.2  # of the videos; a tenth of so few would leave a table of noise
_ACTIVITY_SHARES: Final = Shares(test=0.2, validation=0.2)
_QUALITY: Final = 92
_README: Final = """These people are drawn, not photographed.

`python -m pose_lightning.convert demo` made these files ({people} persons, seed {seed}). They have the form of the
official MPII Human Pose data set, so that everything that reads MPII reads them, but they are a stand-in for trying
things out: no number measured on them says anything about photographs, and none may stand beside published ones.
"""


@dataclass(frozen=True)
class Frame:
    """One image to draw: a frame of a video and its file's name."""

    video: Video
    index: int
    name: str

    @property
    def has_joints(self) -> bool:
        """Whether the image is one of the training images; test images come without joints and activities."""
        return self.video.labels != "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert demo`."""
    parser.add_argument(
        "--target", type=Path, required=True, metavar="DIR", help="gets official/, mpii/, activity/, human36m/, clips/"
    )
    parser.add_argument("--only", choices=["mpii", "clips", "activity"], help="draw only one of the three kinds")
    parser.add_argument(
        "--people",
        type=int,
        metavar="N",
        help=f"draw at least so many persons with joints ({PEOPLE}; {ACTIVITY_PEOPLE} for the activities)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed draws other people (0)")


def run(args: argparse.Namespace) -> None:
    """Draw, convert and print what was written."""
    if args.only == "clips" and args.people is not None:
        raise ConvertError(f"--people {args.people} has no effect with --only clips, which draws the same seven people")
    _check(PEOPLE if args.people is None else args.people, args.seed)
    target = args.target
    kinds = {"mpii": ["mpii/pose"], "activity": ["activity"], "clips": ["human36m", "clips"]}
    folders = [folder for kind, names in kinds.items() if args.only in (None, kind) for folder in names]
    with owning(target, *(target / folder for folder in folders)):
        if args.only in (None, "mpii"):
            write(target, people=PEOPLE if args.people is None else args.people, seed=args.seed)
        if args.only in (None, "activity"):
            people = ACTIVITY_PEOPLE if args.people is None else args.people
            write_activities(target, people=people, seed=args.seed)
        if args.only in (None, "clips"):
            write_clips(target, seed=args.seed)


def _check(people: int, seed: int) -> None:
    if people < 1:
        raise ConvertError(f"--people {people}: wanted at least 1")
    if seed < 0:
        raise ConvertError(f"--seed {seed}: wanted 0 or more")


def write_clips(target: Path, *, seed: int = 0) -> None:
    """Write `target`/official/human36m and clips, and the stores `target`/human36m/{train,val,test}.h5 and clips/.

    Raises:
        ConvertError: If `seed` is out of range.
    """
    demo_clips.write(target, demo_clips.takes(seed), seed=seed)
    say("note: these people are drawn, not filmed; subject S8 is held out for validation")


def write(target: Path, *, people: int = PEOPLE, seed: int = 0) -> None:
    """Write `target`/official and the stores `target`/mpii/pose/train.h5 and val.h5.

    More than `people` are drawn where those are too few to hold any out.

    Raises:
        ConvertError: If `people` or `seed` is out of range.
        BusyError: If another process draws or converts there.
    """
    _check(people, seed)
    drawn = _enough(people, seed, _two_videos)
    with owning(target, target / "mpii" / mpii.FOLDER):
        official = draw(target, people=drawn, seed=seed)
        annotations = mpii.read_annotations([official / ANNOTATIONS], validation=_VALIDATION)
        annotations = replace(annotations, attrs={**annotations.attrs, "dataset": "demo"})
        results = mpii.write(annotations, target / "mpii", Pixels(official / "images"), synthetic=True)
    print_summary(results, [*_notes(people, drawn), *annotations.notes])


def write_activities(target: Path, *, people: int = ACTIVITY_PEOPLE, seed: int = 0, folds: int = 0) -> None:
    """Write `target`/official, unless the same is there, and the stores `target`/activity/{train,val,test}.h5.

    With folds, the stores are `target`/folds/activity/{train,test}.h5 instead, beside those without.

    More people than `write` draws, because the rarest of the twenty categories need them; the pictures that both draw
    are the same. More than `people` are drawn where those are too few to hold any out.

    Raises:
        ConvertError: If `people`, `seed` or `folds` is out of range.
        BusyError: If another process draws or converts there.
    """
    official, stores = target / "official", target / "folds" if folds else target
    shares = replace(_ACTIVITY_SHARES, folds=folds)
    _check(people, seed)
    drawn = _enough(people, seed, partial(_divisible, shares))
    with owning(target, stores / ACTIVITY_FOLDER):
        if not _holds(official, drawn, seed):
            draw(target, people=drawn, seed=seed)
        settings = ActivitySettings(official / "images", shares, dataset="demo", synthetic=True)
        plan = mpii_activities.plan(official / ANNOTATIONS, settings, stores)
        results = mpii_activities.write_plan(plan, settings, stores)
    print_summary(results, [*_notes(people, drawn), *plan.notes])


def _notes(people: int, drawn: int) -> list[str]:
    more = [f"{drawn} persons are drawn, where {people} are too few to hold any out"] if drawn > people else []
    return ["these people are drawn, not photographed", *more]


def _enough(people: int, seed: int, suffice: Callable[[Sequence[Frame]], bool]) -> int:
    """The smallest number of persons, from `people` on, whose images suffice."""
    while not suffice(planned(people, seed)):
        people += 1
    return people


def _two_videos(frames: Sequence[Frame]) -> bool:
    """Whether a video can be held out."""
    videos = {
        frame.video.number for frame in frames if frame.has_joints and scenes.people_shown(frame.video, frame.index)
    }
    return len(videos) > 1


def _divisible(shares: Shares, frames: Sequence[Frame]) -> bool:
    """Whether the images with an activity fill all splits."""
    labelled = [frame for frame in frames if frame.video.labels == "all"]
    names = [frame.name for frame in labelled]
    categories = [frame.video.activity.category for frame in labelled]
    videos = np.array([frame.video.number for frame in labelled], dtype=np.int64)
    try:
        divide(names, categories, videos, shares, what="videos")
    except ConvertError:
        return False
    return True


def _holds(official: Path, people: int, seed: int) -> bool:
    """Whether these people are drawn already."""
    readme = official / "README.txt"
    return readme.is_file() and readme.read_text() == _README.format(people=people, seed=seed)


def draw(target: Path, *, people: int, seed: int) -> Path:
    """Write the official files whole, replacing what was there, and return their folder `target`/official.

    The folders in it that `write_clips` made stay.
    """
    _check(people, seed)
    official = target / "official"
    with owning(target), files.replacing_folder(official) as unfinished:
        (unfinished / "images").mkdir()
        frames, annotations = [], []
        for frame, drawn in _drawn(unfinished / "images", people, seed):
            frames.append(frame)
            annotations.append(drawn)
        write_annotations(unfinished / ANNOTATIONS, frames, annotations)
        (unfinished / "README.txt").write_text(_README.format(people=people, seed=seed))
        for name in demo_clips.FOLDERS:
            if (official / name).exists():
                shutil.copytree(official / name, unfinished / name, symlinks=True, copy_function=_link_or_copy)
    return official


def _link_or_copy(source: str, target: str) -> None:
    """Give a file a second name where the file system has such, so that the first stays until all is in its place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _drawn(images: Path, people: int, seed: int) -> Iterator[tuple[Frame, list[Annotation]]]:
    """Draw and write image after image."""

    def work(frame: Frame) -> list[Annotation]:
        image, annotations = scenes.drawn(frame.video, frame.index)
        data = simplejpeg.encode_jpeg(image, quality=_QUALITY, colorspace="RGB", colorsubsampling="444")
        (images / frame.name).write_bytes(data)
        return annotations

    frames = planned(people, seed)
    yield from zip(frames, in_threads(work, list(frames), title="drawing people"), strict=True)


@lru_cache(maxsize=2)
def planned(people: int, seed: int) -> Sequence[Frame]:
    """The images that together show at least `people` persons with joints; a larger number only adds images."""
    frames: list[Frame] = []
    for video in scenes.videos(seed):
        for index, second in enumerate(video.seconds):
            frame = Frame(video, index, f"{video.number:06d}{second:03d}.jpg")
            frames.append(frame)
            people -= scenes.people_shown(video, index) if frame.has_joints else 0
            if people <= 0:
                return frames
    raise AssertionError("videos never end")


def write_annotations(path: Path, frames: Sequence[Frame], annotations: Sequence[Sequence[Annotation]]) -> None:
    """Write the MATLAB v5 file with RELEASE as MPII has it; coordinates become 1-based.

    The same input gives the same bytes: scipy's header, which has the date, is replaced.
    """
    images = zip(frames, annotations, strict=True)
    release = {
        "annolist": _structs(_image(frame, people) for frame, people in images),
        "img_train": np.array([[float(frame.has_joints) for frame in frames]]),
        "version": "demo",
        "single_person": _cells([_apart(people) for people in annotations]),
        "act": _structs(_act(frame) for frame in frames).T,
        "video_list": _cells([f"drawn-{number:06d}" for number in range(frames[-1].video.number + 1)]).T,
    }
    savemat(path, {"RELEASE": release})
    with path.open("r+b") as file:
        file.write(_HEADER)


def _structs(rows: Iterable[Mapping[str, Any]]) -> np.ndarray:
    """A 1 x n MATLAB struct array."""
    rows = list(rows)
    array = np.empty((1, len(rows)), dtype=[(key, object) for key in rows[0]])
    for index, row in enumerate(rows):
        array[0, index] = tuple(row.values())
    return array


def _cells(values: Sequence[Any]) -> np.ndarray:
    """An n x 1 MATLAB cell array."""
    array = np.empty((len(values), 1), dtype=object)
    for index, value in enumerate(values):
        array[index, 0] = value
    return array


def _image(frame: Frame, people: Sequence[Annotation]) -> dict[str, Any]:
    persons = [_person(person, has_joints=frame.has_joints) for person in people]
    return {
        "image": {"name": frame.name},
        "annorect": _structs(persons),
        "frame_sec": float(frame.video.seconds[frame.index]),
        "vididx": float(frame.video.number + 1),
    }


def _person(person: Annotation, *, has_joints: bool) -> dict[str, Any]:
    """An annorect. Persons of test images, and those of whom too little is in the image, have no head box or joints."""
    place = {"scale": person.scale, "objpos": {"x": person.center[0] + 1, "y": person.center[1] + 1}}
    if not (has_joints and person.shown):
        return dict.fromkeys(("x1", "y1", "x2", "y2"), _EMPTY) | {"annopoints": _EMPTY} | place
    points = [
        {"x": x + 1, "y": y + 1, "id": float(joint), "is_visible": float(person.visible[joint])}
        for joint, (x, y) in enumerate(person.joints.tolist())
        if person.labelled[joint]
    ]
    box = dict(zip(("x1", "y1", "x2", "y2"), (person.head_box + 1).tolist(), strict=True))
    return box | {"annopoints": {"point": _structs(points)}} | place


def _act(frame: Frame) -> dict[str, Any]:
    if frame.video.labels != "all":
        return {"act_name": _EMPTY, "cat_name": _EMPTY, "act_id": -1.0}
    activity = frame.video.activity
    return {"act_name": activity.name, "cat_name": activity.category, "act_id": float(ACTIVITIES.index(activity) + 1)}


def _apart(people: Sequence[Annotation]) -> np.ndarray:
    """The 1-based numbers, as a column, of persons whose box no other person's centre is in."""
    centers = np.array([person.center for person in people])
    reach = np.array([1.25 * 100 * person.scale for person in people])
    near = (np.abs(centers[:, None] - centers[None]) < reach[:, None, None]).all(axis=2).sum(axis=1) > 1
    return np.flatnonzero(~near)[:, None] + 1.0
