"""Single photographs with root-relative joints and no camera: one is fitted to a few joints that somebody marked.

Either a weak-perspective camera, of which nothing need be known; or, with the official lens, the person's place.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.optimize import least_squares

from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import LARGEST_WINDOW, QUALITY, decode
from pose_lightning.convert.human36m_clips import Clips, cut_frames, in_crop, pose_labels, square_around
from pose_lightning.convert.human36m_sources import Camera, read_metadata
from pose_lightning.convert.people import hash_files
from pose_lightning.convert.staging import owning, staged
from pose_lightning.joints import H36M
from pose_lightning.reading.raw import is_file, read_text
from pose_lightning.reading.records import read_csv
from pose_lightning.store import Codec, StoreWriter

_COLUMNS = ("image", "joint", "x", "y")


@dataclass(frozen=True)
class WeakCamera:
    """A weak-perspective camera: px = scale (x, y) + shift, whatever the depth.

    An approximation: across a person that is 5 m away, perspective changes the scale by some 10 %, so that joints lie
    on the figure but not to the px.

    Attributes:
        scale: px per mm.
        shift: Where the pelvis is seen, px.
        error: Root mean square distance of the marked joints to their marks, px.
    """

    scale: float
    shift: Float64[np.ndarray, "2"]
    error: float

    def project(self, joints: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 2"]:
        """Return where root-relative joints in camera axes, mm, are seen, px."""
        return self.scale * joints[..., :2] + self.shift


def fit_camera(joints: Float64[np.ndarray, "j 3"], marks: Float64[np.ndarray, "j 2"]) -> WeakCamera:
    """Fit a camera by least squares.

    Args:
        joints: Root-relative, in camera axes, mm.
        marks: Where some of them are seen, px; NaN where not marked.

    Raises:
        ConvertError: If fewer than two joints are marked, or the picture would be upside down.
    """
    marked = np.isfinite(marks).all(axis=1)
    if marked.sum() < 2:
        raise ConvertError(f"{int(marked.sum())} marked joints, wanted at least 2")
    plane, seen = joints[marked, :2], marks[marked]
    spread, apart = plane - plane.mean(axis=0), seen - seen.mean(axis=0)
    scale = float((spread * apart).sum() / (spread**2).sum())
    if not scale > 0:
        raise ConvertError(f"the marks give a scale of {scale:.3g} px per mm; joints must be in camera axes, y down")
    shift = seen.mean(axis=0) - scale * plane.mean(axis=0)
    error = float(np.sqrt(((scale * plane + shift - seen) ** 2).sum(axis=1).mean()))
    return WeakCamera(scale, shift, error)


@dataclass(frozen=True)
class PlacedCamera:
    """A known lens, before which a person's place is fitted.

    Attributes:
        lens: Its rotation and position are not used.
        pelvis: In camera axes, mm.
        error: Root mean square distance of the marked joints to their marks, px.
    """

    lens: Camera
    pelvis: Float64[np.ndarray, "3"]
    error: float

    def project(self, joints: Float64[np.ndarray, "*n 3"]) -> Float64[np.ndarray, "*n 2"]:
        """Return where root-relative joints in camera axes, mm, are seen, px."""
        return self.lens.project(joints + self.pelvis)


def place(joints: Float64[np.ndarray, "j 3"], marks: Float64[np.ndarray, "j 2"], lens: Camera) -> PlacedCamera:
    """Fit the place of a person by least squares, from the weak-perspective one on; arguments as of `fit_camera`."""
    weak = fit_camera(joints, marks)
    marked = np.isfinite(marks).all(axis=1)
    depth = float(lens.focal.mean()) / weak.scale
    start = np.array([*((weak.shift - lens.center) / lens.focal * depth), depth])

    def missed(pelvis: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, " n"]:
        return (lens.project(joints[marked] + pelvis) - marks[marked]).ravel()

    fitted = least_squares(missed, start, x_scale=1000.0)
    return PlacedCamera(lens, fitted.x, float(np.sqrt(2 * (fitted.fun**2).mean())))


def usual_lens(metadata: Path) -> Camera:
    """The mean of the four official lenses, which differ by a few px: the frames do not say which one they are from."""
    cameras = read_metadata(metadata).cameras.values()
    focal, center, radial, tangential = (
        np.mean([getattr(camera, name) for camera in cameras], axis=0)
        for name in ("focal", "center", "radial", "tangential")
    )
    return Camera(np.eye(3), np.zeros(3), focal, center, radial, tangential)


def read_joints(path: Path) -> Float64[np.ndarray, "17 3"]:
    """The joints of a photograph, relative to the pelvis, mm.

    Raises:
        ConvertError: If the file is no table of 17 x 3 finite numbers, or its first row is not the pelvis, at 0.
    """
    try:
        text = read_text(path, error=ConvertError)
        joints = np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2, dtype=np.float64)
    except ConvertError:
        raise
    except ValueError as error:
        raise ConvertError(f"{path} cannot be read as numbers: {error}") from error
    if joints.shape != (len(H36M), 3) or not np.isfinite(joints).all():
        raise ConvertError(f"{path}: {joints.shape[0]} x {joints.shape[1]} numbers, wanted {len(H36M)} x 3 finite ones")
    if joints[0].any():
        raise ConvertError(f"{path}: the first joint is at {joints[0].tolist()}; wanted joints relative to the pelvis")
    return joints


def read_marks(path: Path) -> dict[str, Float64[np.ndarray, "17 2"]]:
    """Photograph's name -> px of its joints, NaN where not marked.

    Raises:
        ConvertError: If the file or a column is missing, or a row is not a name, a joint's number and two numbers.
    """
    marks: dict[str, np.ndarray] = {}
    for number, row in enumerate(read_csv(path, *_COLUMNS, error=ConvertError), 2):
        points = marks.setdefault(row["image"], np.full((len(H36M), 2), np.nan))
        try:
            joint = range(len(H36M)).index(int(row["joint"]))
            position = float(row["x"]), float(row["y"])
        except ValueError as error:
            raise ConvertError(f"{path}: line {number} is no joint 0 to 16 with x and y: {row}") from error
        if not np.isnan(points[joint, 0]):
            raise ConvertError(f"{path}: line {number} marks joint {joint} of {row['image']} again")
        points[joint] = position
    if not marks:
        raise ConvertError(f"{path} has no marks")
    return marks


def write(
    source: Path,
    target: Path,
    marks: Path,
    *,
    metadata: Path | None = None,
    size: int = 224,
    margin: float = 0.15,
    codec: Codec = "raw",
    quality: int = QUALITY,
) -> tuple[Path, dict[str, int], str]:
    """Write `target`/test.h5 with a clip of one frame for each marked photograph.

    Args:
        source: Folder with NAME.jpg and NAME.csv.
        target: Folder of the store.
        marks: See `read_marks`.
        metadata: The official metadata.xml: fit a person's place before its lens, instead of a weak-perspective camera.
        size: Side of a stored frame, px.
        margin: On each side of the joints' bounding square, as a share of its side.
        codec: Of the store.
        quality: Of its JPEG files.

    Returns:
        The store, its counts, and how well the cameras fit.

    Raises:
        ConvertError: If a file is missing or not in its form, or a person cannot be where the marks say.
        BusyError: If another process converts into the target.
    """
    clips = Clips(frames=1, stride=1, every=1, size=size, margin=margin, codec=codec, quality=quality)
    with owning(target):
        return _write(source, target, marks, metadata, clips)


def _write(
    source: Path, target: Path, marks: Path, metadata: Path | None, clips: Clips
) -> tuple[Path, dict[str, int], str]:
    marked = dict(sorted(read_marks(marks).items()))
    joints = {name: read_joints(source / f"{name}.csv") for name in marked}
    lens = None if metadata is None else usual_lens(metadata)
    cameras: dict[str, WeakCamera | PlacedCamera] = {}
    for name, points in marked.items():
        try:
            cameras[name] = fit_camera(joints[name], points) if lens is None else place(joints[name], points, lens)
        except ConvertError as error:
            raise ConvertError(f"{marks}: {name}: {error}") from error
    missed = float(np.sqrt(np.mean([camera.error**2 for camera in cameras.values()])))
    kind = "weak-perspective cameras" if lens is None else "places before the official lens"
    note = f"{kind}, fitted to marked joints, which they miss by {missed:.1f} px (root mean square)"
    counts = {"clips": len(marked)}
    store = target / "test.h5"
    files = [marks, *(source / f"{name}{suffix}" for name in marked for suffix in (".jpg", ".csv"))]
    attrs = _attrs(clips, note) | {"counts": counts}
    if absent := [path for path in files if not is_file(path)]:
        raise ConvertError(f"{absent[0]} is missing")
    attrs["sources"] = hash_files(files)
    shape = (1, clips.size, clips.size, 3)
    with (
        staged(target, [store.name]) as unfinished,
        StoreWriter(unfinished / store.name, codec=clips.codec, attrs=attrs, shape=shape) as writer,
    ):
        for name, camera in cameras.items():
            writer.append(*_clip(source / f"{name}.jpg", joints[name], camera, clips))
    return store, counts, note


def _clip(
    path: Path, joints: np.ndarray, camera: WeakCamera | PlacedCamera, clips: Clips
) -> tuple[np.ndarray | bytes, dict[str, Any]]:
    try:
        picture = decode(path)
    except (OSError, ValueError) as error:
        raise ConvertError(f"{path} cannot be decoded: {error}") from error
    points = camera.project(joints[None])
    square = square_around(points, clips)
    beyond = (points.max(axis=(0, 1)) <= -0.5) | (points.min(axis=(0, 1)) >= np.array(picture.shape[1::-1]) - 0.5)
    if square[2] > LARGEST_WINDOW or beyond.any():
        raise ConvertError(
            f"{path}: by its marks the person is wholly outside the photograph, or {square[2]} px large; mend the marks"
        )
    labels = {
        "name": path.stem,
        "subject": "",
        "action": "",
        "camera": "",
        "sequence": path.stem,
        "frame": np.int64(-1),
        **pose_labels(joints[None]),
        "root": np.full((1, 3), np.nan, dtype=np.float32),
        "points": in_crop(points, square, clips.size),
    }
    return cut_frames([picture], square, clips), labels


def _attrs(clips: Clips, note: str) -> dict[str, Any]:
    return {
        "kind": "clips",
        "split": "test",
        "dataset": "human36m",
        "joint_set": "h36m",
        "root": 0,
        "units": "mm",
        "source_unit": "mm",
        "root_relative": "in the source",
        "frames": clips.frames,
        "frame_rate": None,
        "margin": clips.margin,
        "split_rule": "single photographs, subjects unknown: not protocol 1",
        "protocol": None,
        "joint_order": "assumed: no source states it",
        "synthetic": False,
        "camera": note,
        "dropped": [],
    }
