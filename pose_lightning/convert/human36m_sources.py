"""The files of Human3.6M: positions (.cdf), cameras (metadata.xml), videos (.mp4), and where they lie in a folder.

World and camera coordinates are in mm; a camera's x points to the right, y down and z away from it. Pixels count from
0 at the centre of the top-left pixel, as all public code reads the official calibration.
"""

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cdflib
import numpy as np
from jaxtyping import Float32, Float64

from pose_lightning.convert import ConvertError
from pose_lightning.joints import H36M_32
from pose_lightning.reading.raw import LARGEST_RECORD, check_regular, read_bytes

CAMERAS: Final = ("54138969", "55011271", "58860488", "60457274")
"""The four cameras, in the order of their parameters in metadata.xml (its `dbcameras/index2id`)."""

ACTIONS: Final = (
    "Directions",
    "Discussion",
    "Eating",
    "Greeting",
    "Phoning",
    "Posing",
    "Purchases",
    "Sitting",
    "SittingDown",
    "Smoking",
    "Photo",
    "Waiting",
    "Walking",
    "WalkDog",
    "WalkTogether",
)
"""In the order of metadata.xml, which numbers them 2 to 16."""

RENAMED: Final = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog", "WalkingTogether": "WalkTogether"}
"""S1's file names -> the other subjects' (VideoPose3D renames the same)."""

SUBJECTS_IN_METADATA: Final = 11
EXTRINSICS: Final = 6
INTRINSICS: Final = 9
IMAGES: Final = frozenset({".jpg", ".jpeg", ".png"})
METADATA: Final = "metadata.xml"

_SEQUENCE: Final = re.compile(rf"({'|'.join(ACTIONS)})( \d+)?")
_VIEW: Final = re.compile(rf"(.+)\.({'|'.join(CAMERAS)})")
_SUBJECT: Final = re.compile(r"(?:.*_)?(S\d+)")
_OTHER_POSES: Final = "D3_Positions_mono_universal"

View = tuple[str, str, str]
"""Subject, sequence ("Walking 1") and camera; the camera is "" for positions in world coordinates."""


@dataclass(frozen=True)
class Camera:
    """One camera in one subject's session.

    The lens model is the official toolbox's, as 3d-pose-baseline (cameras.py) and VideoPose3D (camera.py) restate it:
    OpenCV's radial terms, but tangential terms without OpenCV's factor 2 in the part along the point. It moves points
    by a few tenths of a px at most.

    Attributes:
        rotation: World to camera axes, a 3 x 3 rotation.
        position: Of the camera in the world, mm.
        focal: fx and fy, px.
        center: Principal point, px.
        radial: k1, k2, k3.
        tangential: p1, p2.
    """

    rotation: Float64[np.ndarray, "3 3"]
    position: Float64[np.ndarray, "3"]
    focal: Float64[np.ndarray, "2"]
    center: Float64[np.ndarray, "2"]
    radial: Float64[np.ndarray, "3"]
    tangential: Float64[np.ndarray, "2"]

    @classmethod
    def from_numbers(cls, extrinsics: Float64[np.ndarray, "6"], intrinsics: Float64[np.ndarray, "9"]) -> "Camera":
        """Return the camera of metadata.xml's numbers: (rx ry rz x y z) and (fx fy cx cy k1 k2 k3 p1 p2).

        The rotation is Rx(rx) Ry(ry) Rz(rz).
        """
        focal, center, radial, tangential = np.split(intrinsics, (2, 4, 7))
        return cls(rotation_from(extrinsics[:3]), extrinsics[3:], focal, center, radial, tangential)

    def to_camera(self, world: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 3"]:
        """Return world points in this camera's axes, R (P - T), mm."""
        return (world - self.position) @ self.rotation.T

    def project(self, points: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 2"]:
        """Return where points in camera axes, mm, are seen, px; meaningless for points that are not before it."""
        plane = points[..., :2] / points[..., 2:]
        squared = (plane**2).sum(axis=-1, keepdims=True)
        radial = 1 + squared * (self.radial[0] + squared * (self.radial[1] + squared * self.radial[2]))
        along = (plane * self.tangential[::-1]).sum(axis=-1, keepdims=True)
        return self.focal * (plane * (radial + along) + squared * self.tangential[::-1]) + self.center


def rotation_from(angles: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3 3"]:
    """Return Rx Ry Rz of three angles, radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z, dtype=np.float64)


@dataclass(frozen=True)
class Metadata:
    """What metadata.xml says.

    Attributes:
        cameras: (subject, camera) -> its parameters.
        sequences: Subject -> its sequences' names; empty where the file has no `mapping`.
    """

    cameras: Mapping[tuple[str, str], Camera]
    sequences: Mapping[str, tuple[str, ...]]


def read_metadata(path: Path) -> Metadata:
    """Read cameras and sequence names.

    The element `w0` has 300 numbers: 4 cameras x 11 subjects x 6 extrinsics, then 4 cameras x 9 intrinsics.

    Raises:
        ConvertError: If the file is missing, no XML, or `w0` or `mapping` are not in that form.
    """
    try:
        root = ET.fromstring(read_bytes(path, LARGEST_RECORD, error=ConvertError))  # noqa: S314 - expat bounds entities
    except (ET.ParseError, RecursionError, LookupError) as error:  # the last of an encoding that nobody knows
        raise ConvertError(f"{path} cannot be read as XML: {error}") from error
    try:
        numbers = np.array((root.findtext("w0") or "").strip().strip("[]").split(), dtype=np.float64)
    except ValueError as error:
        raise ConvertError(f"{path}: `w0` is no list of numbers: {error}") from error
    wanted = len(CAMERAS) * (SUBJECTS_IN_METADATA * EXTRINSICS + INTRINSICS)
    if len(numbers) != wanted or not np.isfinite(numbers).all():
        raise ConvertError(f"{path}: `w0` has {len(numbers)} numbers, wanted {wanted} finite ones")
    ids = tuple(item.text for item in root.iterfind("dbcameras/index2id/item"))
    if ids and ids != CAMERAS:
        raise ConvertError(f"{path}: cameras {ids} in `dbcameras`, wanted {CAMERAS}")
    extrinsics = numbers[: -len(CAMERAS) * INTRINSICS].reshape(len(CAMERAS), SUBJECTS_IN_METADATA, EXTRINSICS)
    intrinsics = numbers[-len(CAMERAS) * INTRINSICS :].reshape(len(CAMERAS), INTRINSICS)
    cameras = {
        (f"S{subject + 1}", name): Camera.from_numbers(extrinsics[place, subject], intrinsics[place])
        for place, name in enumerate(CAMERAS)
        for subject in range(SUBJECTS_IN_METADATA)
    }
    return Metadata(cameras, _sequences(root, path))


def _sequences(root: ET.Element, path: Path) -> dict[str, tuple[str, ...]]:
    rows = [[cell.text or "" for cell in row.iterfind("td")] for row in root.iterfind("mapping/tr")]
    if not rows:
        return {}
    head = rows[0]
    if head[:2] != ["Action", "subaction"] or any(len(row) != len(head) for row in rows):
        raise ConvertError(f"{path}: `mapping` begins with {head[:2]}, or its rows differ in length")
    actions = [row for row in rows[1:] if row[0].isdigit() and 2 <= int(row[0]) <= len(ACTIONS) + 1]
    return {
        subject: tuple(sequence_name(row[place], path) for row in actions)
        for place, subject in enumerate(head)
        if _SUBJECT.fullmatch(subject)
    }


def sequence_name(text: str, path: Path) -> str:
    """The name of a sequence as all subjects but S1 write it: "Photo 1" for "TakingPhoto 1" or "TakingPhoto_1".

    Raises:
        ConvertError: If it is none of the fifteen actions; the message names `path`.
    """
    name = text.replace("_", " ")
    for official, ours in RENAMED.items():
        name = name.replace(official, ours)
    if not _SEQUENCE.fullmatch(name):
        raise ConvertError(f"{path}: {text!r} is no sequence of Human3.6M; wanted an action and a number, `Walking 1`")
    return name


def action_of(sequence: str) -> str:
    """The action of a sequence: "Walking" for "Walking 1"."""
    return sequence.split(" ", 1)[0]


def read_positions(path: Path) -> Float32[np.ndarray, "frames 32 3"]:
    """The variable `Pose` of a .cdf file: every frame's 32 joints, mm, in the file's own axes.

    Raises:
        ConvertError: If the file cannot be read, or `Pose` is missing, not 96 wide or not finite.
    """
    check_regular(path, error=ConvertError)
    try:
        poses = np.asarray(cdflib.CDF(path).varget("Pose"), dtype=np.float32)
    except Exception as error:  # cdflib raises whatever comes of damaged bytes
        raise ConvertError(f"{path} cannot be read as CDF with a variable `Pose`: {error}") from error
    joints = len(H36M_32)
    if poses.ndim not in (2, 3) or (poses.ndim == 3 and len(poses) != 1) or poses.shape[-1] != 3 * joints:
        raise ConvertError(f"{path}: `Pose` is {poses.shape}, wanted (1, frames, {3 * joints})")
    poses = poses.reshape(-1, joints, 3)
    if not np.isfinite(poses).all():
        frame = int(np.argwhere(~np.isfinite(poses))[0, 0])
        raise ConvertError(f"{path}: frame {frame} has a position that is not finite")
    return poses


@dataclass
class Found:
    """Files of Human3.6M below a folder.

    Attributes:
        positions: .cdf files; camera "" for world coordinates (D3_Positions), else camera axes (D3_Positions_mono).
        frames: .mp4 files, or folders of images where there is no video.
        metadata: Every metadata.xml.
        ignored: Folders of positions in other forms.
        unread: Folder or link -> why it was not looked into.
    """

    positions: dict[View, Path] = field(default_factory=dict)
    frames: dict[View, Path] = field(default_factory=dict)
    metadata: list[Path] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    unread: dict[Path, str] = field(default_factory=dict)

    @property
    def subjects(self) -> set[str]:
        """Subjects that have positions."""
        return {subject for subject, _, _ in self.positions}


def find(source: Path) -> Found:
    """Look for the files below `source`, whichever way the official archives were unpacked.

    The subject is the last part of a path that is `S9` or ends in `_S9`. Positions lie in a folder `D3_Positions` or
    `D3_Positions_mono` (also `Poses_D3_Positions_S9` and the like), videos anywhere as `Walking 1.54138969.mp4`, images
    in folders `Walking 1.54138969`. `_ALL` is all of a subject's sequences again, and is skipped.

    Raises:
        ConvertError: If `source` is no folder, a file's name is none of Human3.6M's, or two files have the same one.
    """
    if not source.is_dir():
        raise ConvertError(f"--source {source} is no folder")
    found = Found()
    folders: dict[View, Path] = {}
    seen: dict[Path, Path] = {}

    def fail(error: OSError) -> None:
        found.unread[Path(error.filename)] = f"cannot be listed: {error.strerror}"

    for name, children, files in os.walk(source.resolve(), followlinks=True, onerror=fail):
        folder = Path(name)
        real = folder.resolve()
        if real in seen:
            leads_up = folder.parent.resolve().is_relative_to(real)
            if not leads_up and _subject(folder) != _subject(seen[real]):
                found.unread[folder] = f"is the same folder as {seen[real]}"
            children.clear()
            continue
        seen[real] = folder
        children.sort()
        for child in [child for child in children if _VIEW.fullmatch(child)]:
            children.remove(child)  # may hold thousands of images
            _add(folders, child, folder / child)
        for file in sorted(files):
            _add_file(found, folder / file)
    found.frames = folders | found.frames
    return found


def _add_file(found: Found, path: Path) -> None:
    if path.is_symlink() and not path.exists():
        found.unread[path] = "is a link to nothing"
    elif path.name == METADATA:
        found.metadata.append(path)
    elif path.suffix == ".mp4":
        if _VIEW.fullmatch(path.stem):
            _add(found.frames, path.stem, path)
    elif path.suffix == ".cdf" and (kinds := [part for part in path.parts[:-1] if "D3_Positions" in part]):
        kind = re.sub(r"_S\d+$", "", kinds[-1])
        if kind.endswith(("D3_Positions", "D3_Positions_mono")):
            _add(found.positions, path.stem, path)
        else:
            found.ignored.add(kind)


def _subject(path: Path) -> str | None:
    """The subject that a path names last."""
    return next((match[1] for part in reversed(path.parts) if (match := _SUBJECT.fullmatch(part))), None)


def _add(views: dict[View, Path], stem: str, path: Path) -> None:
    if stem.startswith("_ALL"):
        return
    subject = _subject(path)
    if subject is None:
        raise ConvertError(f"{path}: no part of the path names the subject (`S9`)")
    matched = _VIEW.fullmatch(stem)
    name, camera = (matched[1], matched[2]) if matched else (stem, "")
    view = subject, sequence_name(name, path), camera
    if view in views:
        raise ConvertError(f"{path} and {views[view]} are both of {'/'.join(view).rstrip('/')}; remove one")
    views[view] = path
