"""Drawn people in motion as official Human3.6M files and as the course's `.npy` pair; both are then converted.

The official files hold positions, videos and cameras of seven subjects, fifteen actions, twice each, from four sides.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Final, Literal

import av
import cdflib.cdfwrite
import numpy as np
from rich.progress import Progress
from scipy.spatial.transform import Rotation

from pose_lightning import files
from pose_lightning.convert import ConvertError, clips, human36m
from pose_lightning.convert.drawn import studio
from pose_lightning.convert.drawn.studio import CAMERAS, SUBACTIONS, SUBJECTS, Take
from pose_lightning.convert.human36m_sources import ACTIONS, SUBJECTS_IN_METADATA
from pose_lightning.convert.staging import owning
from pose_lightning.store import Store
from pose_lightning.terminal import Terminal

FRAMES: Final = 12
"""Frames of a drawn video: two clips of 8 that share half their frames."""
CLIP: Final = 8
EVERY: Final = 4
PAIR_EVERY: Final = 8
"""The course's pair is for trying its converter: every eighth clip is enough."""
MM_PER_M: Final = 1000.0
FOLDERS: Final = ("human36m", "clips")
"""What is written below `target`/official."""
VALIDATION: Final = "S8"
"""Held out of the training subjects; the test subjects are Human3.6M's, S9 and S11."""
_CODEC: Final = "mpeg4"
"""Not H.264, as the official films: libx264 was seen to read memory that nobody wrote (AVX-512), so that no two videos
are alike."""
_QUALITY: Final = {"qmin": "2", "qmax": "2"}
_README: Final = """These people are drawn, not filmed.

`python -m pose_lightning.convert demo` made these files (seed {seed}). They have the form of the official Human3.6M
archives, at 10 frames a second and 288 x 288 px, so that everything that reads Human3.6M reads them, but they are a
stand-in for trying things out: no number measured on them says anything about films, and none may stand beside
published ones.
"""


def takes(seed: int, subjects: tuple[str, ...] = SUBJECTS, actions: tuple[str, ...] = ACTIONS) -> list[Take]:
    """What is performed: every action twice by every subject."""
    return [
        Take(seed, subject, action, subaction) for subject in subjects for action in actions for subaction in SUBACTIONS
    ]


def draw(target: Path, performed: list[Take], *, seed: int) -> Path:
    """Write official files whole, replacing what was there, and return their folder `target`/official/human36m.

    One process per core draws: the figures are small, and Python would let threads wait for each other.

    Raises:
        ConvertError: If `seed` is negative.
    """
    if seed < 0:
        raise ConvertError(f"--seed {seed}: wanted 0 or more")
    official = target / "official" / FOLDERS[0]
    with files.replacing_folder(official) as partial:
        for take in performed:
            for folder in _folders(partial, take):
                folder.mkdir(parents=True, exist_ok=True)
        for _ in _in_processes(partial, performed):
            pass
        (partial / "metadata.xml").write_bytes(metadata())
        (partial / "README.txt").write_text(_README.format(seed=seed))
    return official


def _folders(root: Path, take: Take) -> tuple[Path, Path]:
    return root / take.subject / "MyPoseFeatures" / "D3_Positions", root / take.subject / "Videos"


def _in_processes(root: Path, performed: list[Take]) -> Iterator[None]:
    with (
        Progress(console=Terminal(stderr=True)) as progress,
        ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool,
    ):
        task = progress.add_task("drawing clips", total=len(performed))
        for done in pool.map(_write_take, [root] * len(performed), performed, chunksize=4):
            progress.advance(task)
            yield done


def _write_take(root: Path, take: Take) -> None:
    """Write one sequence: its positions and the videos of its four cameras."""
    positions, videos = _folders(root, take)
    name = f"{take.action} {take.subaction}"
    moments = take.moments(FRAMES)
    write_positions(positions / f"{name}.cdf", np.stack([studio.world_joints(take, moment) for moment in moments]))
    for camera in studio.cameras():
        write_video(videos / f"{name}.{camera.name}.mp4", studio.filmed(take, camera, moments))


def write_positions(path: Path, joints: np.ndarray) -> None:
    """Write world positions (frames, 32, 3), mm, as Human3.6M's `Pose`, which is (1, frames, 96)."""
    poses = joints.reshape(1, len(joints), -1).astype(np.float32)
    file = cdflib.cdfwrite.CDF(path, cdf_spec={"rDim_sizes": []}, delete=True)
    spec = {
        "Variable": "Pose",
        "Data_Type": cdflib.cdfwrite.CDF.CDF_FLOAT,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(poses.shape[1:]),
        "Var_Type": "zVariable",
        "Compress": 0,  # gzip's header has the time of day
    }
    file.write_var(spec, var_data=poses)
    file.close()


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    """Write RGB frames; the same ones give the same bytes."""
    with av.open(path, "w") as file:
        stream = file.add_stream(_CODEC, rate=Fraction(studio.FRAME_RATE), options=_QUALITY)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def metadata() -> bytes:
    """metadata.xml in the official form, with the studio's cameras for every subject."""
    root = ET.Element("a")
    table = ET.SubElement(root, "mapping")
    subjects = [f"S{number + 1}" for number in range(SUBJECTS_IN_METADATA)]
    _row(table, ["Action", "subaction", *subjects])
    for number, action in enumerate(ACTIONS, start=2):
        for subaction in SUBACTIONS:
            _row(table, [str(number), str(subaction), *[f"{action} {subaction}"] * len(subjects)])
    extrinsics, intrinsics = [], []
    for camera in studio.cameras():
        angles = Rotation.from_matrix(camera.rotation).as_euler("XYZ")
        extrinsics += [*angles, *camera.position] * len(subjects)
        pinhole = camera.camera
        intrinsics += [pinhole.focal, pinhole.focal, pinhole.x, pinhole.y, 0, 0, 0, 0, 0]
    numbers = " ".join(f"{value:.12g}" for value in (*extrinsics, *intrinsics))
    ET.SubElement(root, "w0").text = f"[{numbers}]"
    ids = ET.SubElement(ET.SubElement(root, "dbcameras"), "index2id")
    for name in CAMERAS:
        ET.SubElement(ids, "item").text = name
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _row(table: ET.Element, cells: list[str]) -> None:
    row = ET.SubElement(table, "tr")
    for cell in cells:
        ET.SubElement(row, "td").text = cell


def write(target: Path, performed: list[Take], *, seed: int) -> None:
    """Draw, convert the official files to `target`/human36m, and the pair cut from them to `target`/clips.

    Raises:
        ConvertError: If `seed` is negative.
        BusyError: If another process draws or converts there.
    """
    if seed < 0:
        raise ConvertError(f"--seed {seed}: wanted 0 or more")
    with owning(target, target / "human36m", target / "clips"):
        official = draw(target, performed, seed=seed)
        human36m.write(
            official,
            target / "human36m",
            frames=CLIP,
            stride=1,
            every=EVERY,
            validation=VALIDATION,
            dataset="demo",
            synthetic=True,
        )
        pairs = target / "official" / FOLDERS[1]
        splits: tuple[tuple[Literal["train", "val"], str], ...] = (("train", "train"), ("val", "valid"))
        for split, name in splits:
            frames, joints = write_pair(target / "human36m" / f"{split}.h5", pairs, name)
            clips.write(frames, joints, target / "clips", split, synthetic=True, dataset="demo")


def write_pair(store: Path, folder: Path, name: str) -> tuple[Path, Path]:
    """Write the first clips of a store as the course's pair of files, joints in metres, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    frames, joints = folder / f"videoframes_clips_{name}.npy", folder / f"joint_3d_clips_{name}.npy"
    with Store(store) as opened:
        chosen = range(0, len(opened), PAIR_EVERY)
        pixels = np.stack([opened.pixels(index) for index in chosen])
        poses = np.stack([opened.labels["joints"][index] for index in chosen]) / MM_PER_M
    for path, array in ((frames, pixels), (joints, poses.astype(np.float32))):
        with files.writing(path) as partial, partial.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    return frames, joints
