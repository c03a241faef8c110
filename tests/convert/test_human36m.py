"""Human3.6M: cameras, official files, clips whose joints are where the pictures show them, and what is left out."""

import argparse
import errno
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cdflib.cdfwrite
import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.spatial.transform import Rotation

from pose_lightning.convert import ConvertError, human36m, human36m_plan
from pose_lightning.convert.__main__ import main
from pose_lightning.convert.human36m_clips import Clips, View, pending_clips, square_around
from pose_lightning.convert.human36m_frames import FrameError, ImageFolder, VideoFile
from pose_lightning.convert.human36m_plan import DAMAGED, TEST, TRAIN, make_plan
from pose_lightning.convert.human36m_sources import CAMERAS, Camera, find, read_metadata, read_positions, sequence_name
from pose_lightning.joints import H36M_32, H36M_32_TO_17
from pose_lightning.store import Store

SIZE = 256  # px of the tiny videos
FRAMES = 24
RADIAL = (-0.2, 0.25, -0.003)
SMALL: dict[str, Any] = {"frames": 4, "stride": 2, "every": 8, "size": 64}


def looking(place: tuple[float, float, float]) -> np.ndarray:
    """The rotation (world to camera) of a camera at `place` that looks at the middle of the studio, level."""
    forward = np.array([0, 0, 900.0]) - place
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0, 0, 1))
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


PLACES = ((2000.0, 4500.0, 1500.0), (2000.0, -4500.0, 1500.0), (-2000.0, 4500.0, 1600.0), (-2000.0, -4500.0, 1600.0))
ROTATIONS = tuple(looking(place) for place in PLACES)
INTRINSICS = (290.0, 292.0, 128.0, 127.0, *RADIAL, 0.0, 0.0)


def write_metadata(path: Path, *, extra: str = "") -> None:
    extrinsics = [
        (*Rotation.from_matrix(rotation).as_euler("XYZ"), *place)
        for rotation, place in zip(ROTATIONS, PLACES, strict=True)
        for _ in range(11)
    ]
    numbers = [*np.ravel(extrinsics), *(INTRINSICS * 4)]
    path.write_text(f"<a><w0>[{' '.join(str(float(number)) for number in numbers)}]</w0>{extra}</a>")


def body(seed: int, frames: int = FRAMES) -> np.ndarray:
    """Joints (frames, 32, 3) in the world, mm: a cloud as large as a person that walks through the studio."""
    generator = np.random.default_rng(seed)
    cloud = generator.uniform((-350, -350, 50), (350, 350, 1700), (32, 3))
    return (cloud + np.linspace((-500, 0, 0), (500, 100, 0), frames)[:, None]).astype(np.float32)


def write_cdf(path: Path, poses: np.ndarray) -> None:
    """`Pose` (1, frames, 96), float32, as the official files have it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = cdflib.cdfwrite.CDF(path, cdf_spec={"rDim_sizes": []})
    spec = {
        "Variable": "Pose",
        "Data_Type": 44,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": [len(poses), poses[0].size],
    }
    file.write_var(spec, var_data=poses.reshape(1, len(poses), -1).astype(np.float32))
    file.close()


def write_video(path: Path, pictures: Iterable[np.ndarray], rate: int = 50) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(rate))
        stream.width = stream.height = SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def seen(world: np.ndarray, place: int) -> np.ndarray:
    """Px (frames, n, 2) at which OpenCV sees points of the world."""
    matrix = np.array([[INTRINSICS[0], 0, INTRINSICS[2]], [0, INTRINSICS[1], INTRINSICS[3]], [0, 0, 1]])
    lens = np.array([*RADIAL[:2], 0, 0, RADIAL[2]])
    turn, _ = cv2.Rodrigues(ROTATIONS[place])
    points, _ = cv2.projectPoints(
        world.reshape(-1, 3).astype(np.float64), turn, -ROTATIONS[place] @ PLACES[place], matrix, lens
    )
    return points.reshape(*world.shape[:-1], 2)


def dotted(points: np.ndarray) -> np.ndarray:
    """A dark picture with one soft bright dot."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    dot = np.exp(-((columns - points[0]) ** 2 + (rows - points[1]) ** 2) / 18)
    return np.repeat((40 + 200 * dot)[..., None], 3, axis=2).astype(np.uint8)


WRIST = H36M_32.names.index("right wrist")


def write_sequence(root: Path, subject: str, name: str, *, seed: int = 0, frames: int = FRAMES) -> np.ndarray:
    """Positions and four videos, in which a dot is where the right wrist is."""
    world = body(seed, frames)
    write_cdf(root / subject / "MyPoseFeatures" / "D3_Positions" / f"{name}.cdf", world)
    for place, camera in enumerate(CAMERAS):
        points = seen(world[:, WRIST], place)
        write_video(root / subject / "Videos" / f"{name}.{camera}.mp4", (dotted(point) for point in points))
    return world


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Subjects S1 and S9 with two sequences each."""
    root = tmp_path_factory.mktemp("human36m")
    write_metadata(root / "metadata.xml")
    for number, (subject, name) in enumerate(
        (("S1", "TakingPhoto"), ("S1", "Walking 1"), ("S9", "Greeting"), ("S9", "Walking 1"))
    ):
        write_sequence(root, subject, name, seed=number)
    return root


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """S9 with one sequence, to be spoilt."""
    root = tmp_path / "source"
    write_sequence(root, "S9", "Walking 1", seed=5)
    write_metadata(root / "metadata.xml")
    return root


@pytest.fixture(scope="module")
def stores(official: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stores")
    assert human36m.write(official, target, **SMALL) == {target / "test.h5": 12, target / "train.h5": 24}
    return target


def bright_spot(frame: np.ndarray) -> np.ndarray:
    """(x, y) of the middle of what is brighter than half."""
    light = np.clip(frame.astype(np.float64).mean(axis=2) - 90, 0, None)
    rows, columns = np.mgrid[: len(frame), : len(frame)]
    return np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()


def test_a_joint_is_where_the_video_shows_it(stores: Path) -> None:
    wrist = H36M_32_TO_17.index(WRIST)
    checked = 0
    for split in ("train", "test"):
        with Store(stores / f"{split}.h5") as store:
            for index in range(len(store)):
                frames, points = store.pixels(index), store.labels["points"][index, :, wrist]
                for frame, point in zip(frames, points, strict=True):
                    assert_allclose(bright_spot(frame), point, atol=0.5)
                    checked += 1
    assert checked == 36 * 4


def test_poses_are_the_positions_in_camera_axes_relative_to_the_pelvis(stores: Path) -> None:
    with Store(stores / "train.h5") as store:
        index = store.labels["name"].tolist().index("S1/Walking 1/55011271/000008")
        world = body(1)[[8, 10, 12, 14]][:, list(H36M_32_TO_17)].astype(np.float64)
        camera = (world - PLACES[1]) @ ROTATIONS[1].T
        assert_allclose(store.labels["root"][index], camera[:, 0], atol=0.01)
        assert_allclose(store.labels["joints"][index], camera - camera[:, :1], atol=0.01)
        assert_array_equal(store.labels["joints"][:, :, 0], 0)
        assert store.labels["frame"][index] == 8


def test_a_jpeg_store_has_nearly_the_pixels_of_a_raw_one(official: Path, stores: Path, tmp_path: Path) -> None:
    human36m.write(official, tmp_path, codec="jpeg", **SMALL)
    with Store(stores / "train.h5") as raw, Store(tmp_path / "train.h5") as jpeg:
        assert (jpeg.codec, jpeg.shape) == ("jpeg", (4, 64, 64, 3))
        for index in (0, 23):
            assert_allclose(jpeg.pixels(index).astype(float), raw.pixels(index), atol=12)
        assert_array_equal(jpeg.labels["points"], raw.labels["points"])


def test_labels_say_where_a_clip_is_from(stores: Path) -> None:
    with Store(stores / "train.h5") as store:
        labels = store.labels
        assert labels["name"][0] == "S1/Photo/54138969/000000"
        assert sorted(set(labels["action"])) == ["Photo", "Walking"]
        assert sorted(set(labels["sequence"])) == ["S1/Photo", "S1/Walking 1"]  # shared by the four cameras
        assert sorted(set(labels["camera"])) == sorted(CAMERAS)
        assert labels["frame"].tolist() == [0, 8, 16] * 8
        assert store.shape == (4, 64, 64, 3)
        expected = {
            "kind": "clips",
            "joint_set": "h36m",
            "root": 0,
            "units": "mm",
            "frame_rate": 25.0,
            "split": "train",
        }
        assert {key: store.attrs[key] for key in expected} == expected
        assert store.attrs["counts"] == {"clips": 24, "subjects": 1, "sequences": 2, "views": 8}
        assert len(store.attrs["sources"]) == 4
        assert (store.attrs["synthetic"], store.attrs["protocol"]) == (False, None)  # five subjects are not there


def test_the_damaged_sequences_are_left_out_and_named(official: Path, stores: Path, tmp_path: Path) -> None:
    with Store(stores / "test.h5") as store:
        assert set(store.labels["sequence"]) == {"S9/Walking 1"}
        assert [line.split(":")[0] for line in store.attrs["dropped"]] == ["S9/Greeting"]
    kept = human36m.write(official, tmp_path / "kept", subjects=["S9"], keep_damaged=True, **SMALL)
    drawn = human36m.write(official, tmp_path / "drawn", subjects=["S9"], dataset="demo", synthetic=True, **SMALL)
    assert list(kept.values()) == list(drawn.values()) == [24]
    with Store(tmp_path / "drawn" / "test.h5") as store:
        assert (store.attrs["dataset"], store.attrs["synthetic"]) == ("demo", True)


def test_the_corrupt_sequence_is_always_left_out(tmp_path: Path) -> None:
    write_metadata(tmp_path / "metadata.xml")
    for name in ("Directions", "Directions 1"):
        write_sequence(tmp_path, "S11", name)
    human36m.write(tmp_path, tmp_path / "out", keep_damaged=True, **SMALL)
    with Store(tmp_path / "out" / "test.h5") as store:
        assert set(store.labels["sequence"]) == {"S11/Directions 1"}
        assert store.attrs["dropped"][0].startswith("S11/Directions: its video is corrupt")


def mapping(action: str) -> str:
    """The table of metadata.xml that names one sequence of all subjects of protocol 1."""
    names = f"<tr><td>5</td><td>1</td>{f'<td>{action}</td>' * 7}</tr>"
    heads = "".join(f"<td>{subject}</td>" for subject in (*TRAIN, *TEST))
    return f"<mapping><tr><td>Action</td><td>subaction</td>{heads}</tr>{names}</mapping>"


def test_all_seven_subjects_make_protocol_1_and_its_losses_are_told(tmp_path: Path) -> None:
    write_metadata(tmp_path / "metadata.xml", extra=mapping("Directions"))
    for subject in ("S1", "S5", "S6", "S7", "S8", "S9", "S11"):
        write_sequence(tmp_path, subject, "Directions", frames=8)
    written = human36m.write(tmp_path, tmp_path / "out", **SMALL)
    assert {path.stem: clips for path, clips in written.items()} == {"test": 4, "train": 20}
    with Store(tmp_path / "out" / "test.h5") as store:
        expected = "1 (train S1 S5 S6 S7 S8; test S9 S11); left out: 1 sequences or views"
        assert store.attrs["protocol"] == expected
        assert store.attrs["split_rule"] == "subjects: test S9 S11, train S1 S5 S6 S7 S8"
    human36m.write(tmp_path, tmp_path / "held", validation="S8", **SMALL)
    protocols = {}
    for split in ("train", "val", "test"):
        with Store(tmp_path / "held" / f"{split}.h5") as store:
            protocols[split] = store.attrs["protocol"]
    assert protocols["train"] is protocols["val"] is None  # nothing published was measured on them
    assert protocols["test"].startswith("1 (train S1 S5 S6 S7; S8 held out for validation; test S9 S11)")
    human36m.write(tmp_path, tmp_path / "drawn", dataset="demo", synthetic=True, **SMALL)
    with Store(tmp_path / "drawn" / "test.h5") as store:
        assert store.attrs["protocol"] is None
        assert set(store.labels["subject"]) == {"S9", "S11"}


def test_a_training_subject_can_be_held_out(official: Path, tmp_path: Path) -> None:
    written = human36m.write(official, tmp_path, validation="S1", **SMALL)
    assert {path.name: clips for path, clips in written.items()} == {"val.h5": 24, "test.h5": 12}
    with pytest.raises(ConvertError, match=r"val\.h5 is of an earlier conversion"):
        human36m.write(official, tmp_path, **SMALL)
    with pytest.raises(ConvertError, match="--validation S9: wanted one of the training subjects"):
        human36m.write(official, tmp_path, validation="S9", **SMALL)


def test_camera_coordinates_give_the_same_clips_as_world_coordinates(alone: Path, tmp_path: Path) -> None:
    human36m.write(alone, tmp_path / "world", **SMALL)
    path = alone / "S9" / "MyPoseFeatures" / "D3_Positions" / "Walking 1.cdf"
    world = read_positions(path)
    path.unlink()
    for place, camera in enumerate(CAMERAS):
        poses = (world - PLACES[place]) @ ROTATIONS[place].T
        write_cdf(alone / "Poses_D3_Positions_mono_S9" / f"Walking 1.{camera}.cdf", poses)
    human36m.write(alone, tmp_path / "mono", **SMALL)
    with Store(tmp_path / "world" / "test.h5") as first, Store(tmp_path / "mono" / "test.h5") as second:
        assert_allclose(first.labels["joints"], second.labels["joints"], atol=0.01)
        assert_allclose(first.labels["points"], second.labels["points"], atol=0.01)
        assert_array_equal(first.pixels(3), second.pixels(3))


@pytest.mark.parametrize("first", [0, 1])
def test_images_of_every_frame_give_the_clips_of_the_video(alone: Path, tmp_path: Path, first: int) -> None:
    human36m.write(alone, tmp_path / "video", **SMALL)
    for video in sorted((alone / "S9" / "Videos").glob("*.mp4")):
        folder = alone / "S9" / "frames" / video.stem
        folder.mkdir(parents=True)
        with av.open(video) as container:
            for number, frame in enumerate(container.decode(video=0)):
                picture = cv2.cvtColor(frame.to_ndarray(format="rgb24"), cv2.COLOR_RGB2BGR)
                cv2.imwrite(str(folder / f"img_{number + first:06d}.png"), picture)
        video.unlink()
    human36m.write(alone, tmp_path / "images", **SMALL)
    with Store(tmp_path / "video" / "test.h5") as one, Store(tmp_path / "images" / "test.h5") as other:
        assert len(one) == len(other) == 12
        for index in range(12):
            assert_array_equal(one.pixels(index), other.pixels(index))


def write_images(folder: Path, numbers: Iterable[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), np.full((8, 8, 3), 9 * number % 256, np.uint8))


def test_a_folder_of_images_says_what_it_lacks(tmp_path: Path) -> None:
    write_images(tmp_path / "some", (1, 6, 11))
    folder = ImageFolder.open(tmp_path / "some")
    assert (folder.count, folder.rate) == (11, 50.0)
    assert [number for number, _ in folder.read((0, 5, 10))] == [0, 5, 10]
    with pytest.raises(FrameError, match="has no image of frame 4"):
        list(folder.read((0, 4)))
    write_images(tmp_path / "late", (64, 65))
    with pytest.raises(FrameError, match="begins with image 64"):
        ImageFolder.open(tmp_path / "late")
    (tmp_path / "none").mkdir()
    with pytest.raises(FrameError, match="has no images"):
        ImageFolder.open(tmp_path / "none")


@pytest.mark.real_data
def test_known_numbers_of_the_official_cameras(shared_data: Path) -> None:
    """Rotation, position and lens of S1's first camera as 3d-pose-baseline and VideoPose3D publish them."""
    metadata = read_metadata(shared_data / "human36m" / "metadata.xml")
    camera = metadata.cameras["S1", "54138969"]
    assert_allclose(camera.rotation[0], (-0.9153617, 0.40180837, 0.02574754), atol=1e-6)
    assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
    assert_allclose(camera.position, (1841.107, 4955.285, 1563.445), atol=1e-3)
    assert_allclose(camera.focal, (1145.049, 1143.781), atol=1e-3)
    assert_allclose(camera.center, (512.541, 515.451), atol=1e-3)
    assert len(metadata.cameras) == 44
    assert len(metadata.sequences["S5"]) == 30
    assert {"Photo 1", "WalkDog"} <= set(metadata.sequences["S1"])
    damaged = {name for _, name in DAMAGED}
    # learnable-triangulation names them by number: Greeting-2 (rows come in pairs), SittingDown-2, Waiting-1
    rows = metadata.sequences["S9"]
    assert damaged == {rows[7], rows[17], rows[22]}


def test_the_lens_bends_as_the_official_toolbox_says() -> None:
    camera = Camera(np.eye(3), np.zeros(3), np.array([1000.0, 1100.0]), np.array([500.0, 510.0]),
                    np.array([0.1, 0.2, 0.3]), np.array([0.01, 0.02]))  # fmt: skip
    # (x, y) = (.5, .25): r2 = .3125, radial = 1 + .1 r2 + .2 r2^2 + .3 r2^3; tangential .01 y + .02 x = .0125
    bend = 1 + 0.03125 + 0.01953125 + 0.3 * 0.3125**3 + 0.0125
    expected = (1000 * (0.5 * bend + 0.3125 * 0.02) + 500, 1100 * (0.25 * bend + 0.3125 * 0.01) + 510)
    assert_allclose(camera.project(np.array([1000.0, 500.0, 2000.0])), expected, rtol=1e-12)


def test_the_square_holds_all_joints_of_a_clip() -> None:
    points = np.random.default_rng(0).uniform((40, 60), (90, 160), (8, 17, 2))
    x0, y0, side = square_around(points, Clips(margin=0.1))
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    assert side == pytest.approx(1.2 * (high - low).max(), abs=1)
    assert_allclose((x0 + (side - 1) / 2, y0 + (side - 1) / 2), (low + high) / 2, atol=1)


def test_what_is_outside_the_picture_is_black(tmp_path: Path) -> None:
    """A body at the edge: the world moves so far that half of it is out of the picture."""
    world = body(0) + np.array([1800, 0, 0])
    write_metadata(tmp_path / "metadata.xml")
    write_cdf(tmp_path / "S9" / "D3_Positions" / "Eating.cdf", world)
    for camera in CAMERAS:
        write_video(tmp_path / "S9" / f"Eating.{camera}.mp4", [np.full((SIZE, SIZE, 3), 200, np.uint8)] * FRAMES)
    human36m.write(tmp_path, tmp_path / "out", margin=0.5, **SMALL)
    with Store(tmp_path / "out" / "test.h5") as store:
        shares = [float((store.pixels(index) == 0).all(axis=3).mean()) for index in range(len(store))]
    assert min(shares) < max(shares)
    assert max(shares) > 0.1


def test_clips_of_a_sequence_end_with_the_shorter_of_video_and_positions(alone: Path, tmp_path: Path) -> None:
    path = alone / "S9" / "MyPoseFeatures" / "D3_Positions" / "Walking 1.cdf"
    path.unlink()
    write_cdf(path, body(5)[:-2])  # the last clip would need frames 16 to 22
    assert human36m.write(alone, tmp_path / "out", **SMALL)[tmp_path / "out" / "test.h5"] == 8
    path.unlink()
    write_cdf(path, body(5)[:-11])
    with pytest.raises(ConvertError, match=r"Walking 1\.54138969\.mp4 has 24 frames, .*Walking 1\.cdf 13"):
        human36m.write(alone, tmp_path / "out", **SMALL)


def test_a_difference_in_length_is_told(alone: Path) -> None:
    path = alone / "S9" / "MyPoseFeatures" / "D3_Positions" / "Walking 1.cdf"
    path.unlink()
    write_cdf(path, body(5)[:-2])
    assert "S9: 4 videos and their positions differ in length by up to 2 frames; clips end with the shorter" in (
        make_plan(alone, Clips()).notes
    )


def test_the_protocol_is_named_only_where_no_file_is_missing(tmp_path: Path) -> None:
    """The sequence Greeting of the seven subjects, all that the table in metadata.xml names."""
    write_metadata(tmp_path / "metadata.xml")
    for subject in (*TRAIN, *TEST):
        write_cdf(tmp_path / subject / "D3_Positions" / "Greeting.cdf", body(0))
        for camera in CAMERAS:
            write_images(tmp_path / subject / f"Greeting.{camera}", (1, FRAMES))
    assert make_plan(tmp_path, Clips()).attrs["protocol"] is None  # nobody says that this is all
    write_metadata(tmp_path / "metadata.xml", extra=mapping("Greeting"))
    assert make_plan(tmp_path, Clips()).attrs["protocol"] == "1 (train S1 S5 S6 S7 S8; test S9 S11)"
    assert make_plan(tmp_path, Clips(), subjects=["S1", "S11"]).attrs["protocol"] is None
    (tmp_path / "S5" / "D3_Positions" / "Greeting.cdf").unlink()
    write_cdf(tmp_path / "S5" / "D3_Positions" / "Walking.cdf", body(0))
    assert make_plan(tmp_path, Clips()).attrs["protocol"] is None


def test_two_threads_may_read_one_frame_of_a_video(tmp_path: Path) -> None:
    """Clips that overlap share frames; a converter that threads share makes them wait for each other without end."""
    points = np.random.default_rng(0).uniform(50, 200, (40, 2))
    write_video(tmp_path / "some.mp4", (dotted(point) for point in points))
    getters = [getter for _, getter in VideoFile.open(tmp_path / "some.mp4").read(range(40))]
    results: dict[int, list[np.ndarray]] = {}

    def read_all(reader: int) -> None:
        results[reader] = [getter() for getter in getters]

    threads = [threading.Thread(target=read_all, args=(reader,), daemon=True) for reader in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert len(results) == 4
    for frames in zip(*results.values(), strict=True):
        assert all((frame == frames[0]).all() for frame in frames[1:])


def test_an_unreadable_or_missing_video_is_named_and_can_be_left_out(alone: Path, tmp_path: Path) -> None:
    videos = alone / "S9" / "Videos"
    (videos / "Walking 1.54138969.mp4").write_bytes(b"not a video")
    (videos / "Walking 1.55011271.mp4").unlink()
    with pytest.raises(ConvertError, match="2 views cannot be converted: S9/Walking 1/54138969: cannot be opened"):
        human36m.write(alone, tmp_path / "out", **SMALL)
    assert not (tmp_path / "out").exists()
    assert human36m.write(alone, tmp_path / "out", skip_missing=True, **SMALL)[tmp_path / "out" / "test.h5"] == 6
    with Store(tmp_path / "out" / "test.h5") as store:
        assert set(store.labels["camera"]) == {"58860488", "60457274"}
        assert [line.split(":")[0][-8:] for line in store.attrs["dropped"]] == ["54138969", "55011271"]


def without_positions(subject: Path) -> None:
    shutil.rmtree(subject / "MyPoseFeatures")


def with_none_in_the_folder(subject: Path) -> None:
    for path in (subject / "MyPoseFeatures" / "D3_Positions").iterdir():
        path.unlink()


def with_other_folder_names(subject: Path) -> None:
    (subject / "MyPoseFeatures" / "D3_Positions").rename(subject / "MyPoseFeatures" / "Positions3D")


def with_a_link_to_nothing(subject: Path) -> None:
    without_positions(subject)
    (subject / "MyPoseFeatures").symlink_to("gone")


@pytest.mark.parametrize(
    "spoil", [without_positions, with_none_in_the_folder, with_other_folder_names, with_a_link_to_nothing]
)
def test_a_subject_without_positions_is_named_and_can_be_left_out(
    alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], None]
) -> None:
    write_sequence(alone, "S5", "Walking 1")
    write_sequence(alone, "S2", "Walking 1")
    spoil(alone / "S5")
    shutil.rmtree(alone / "S2" / "MyPoseFeatures")
    reason = r"S5: 4 videos, but no \.cdf files in folders D3_Positions or D3_Positions_mono"
    with pytest.raises(ConvertError, match=reason):
        human36m.write(alone, tmp_path / "out", **SMALL)
    assert human36m.write(alone, tmp_path / "out", subjects=["S9"], **(SMALL | {"skip_missing": True}))
    small = [f"--{name}={value}" for name, value in SMALL.items()]
    assert main(["human36m", f"--source={alone}", f"--target={tmp_path / 'out'}", "--skip-missing", *small]) == 0
    printed = capsys.readouterr().out
    assert re.search(f"left out: {reason}", printed)
    assert "left out: S2, none of the subjects of protocol 1" in printed
    with Store(tmp_path / "out" / "test.h5") as store:
        assert any(line.startswith("S5: ") for line in store.attrs["dropped"])


def test_a_folder_that_cannot_be_listed_is_named(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sequence(alone, "S5", "Walking 1")
    listed = os.scandir

    def refuse(path: Path) -> Any:
        if str(path).endswith("S5/MyPoseFeatures"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConvertError, match=r"2 subjects .*: S5/MyPoseFeatures: cannot be listed: Permission denied"):
        human36m.write(alone, tmp_path / "out", **SMALL)


@pytest.mark.parametrize("link", ["S11", "S9 again/S5"])
def test_a_subject_that_is_a_link_to_another_is_named(alone: Path, tmp_path: Path, link: str) -> None:
    (alone / "S9" / "back").symlink_to(alone)
    assert not find(alone).unread  # nothing is lost by a link that leads back up
    (alone / link).parent.mkdir(exist_ok=True)
    (alone / link).symlink_to(alone / "S9")
    with pytest.raises(ConvertError, match=r"1 .* cannot be converted: S.*: is the same folder as .*/S\d+"):
        human36m.write(alone, tmp_path / "out", **SMALL)


def test_damaged_positions_are_named_and_can_be_left_out(alone: Path, tmp_path: Path) -> None:
    write_sequence(alone, "S9", "Waiting 2")
    (alone / "S9" / "MyPoseFeatures" / "D3_Positions" / "Waiting 2.cdf").write_bytes(b"nothing")
    with pytest.raises(
        ConvertError, match=r"4 views cannot be converted: S9/Waiting 2/54138969: .*cannot be read as CDF"
    ):
        human36m.write(alone, tmp_path / "out", **SMALL)
    assert human36m.write(alone, tmp_path / "out", skip_missing=True, **SMALL)[tmp_path / "out" / "test.h5"] == 12


def test_a_source_of_which_nothing_is_left_is_an_error(alone: Path, tmp_path: Path) -> None:
    for path in (alone / "S9" / "Videos").iterdir():
        path.write_bytes(b"not a video")
    with pytest.raises(ConvertError, match="no sequence has both positions and frames"):
        human36m.write(alone, tmp_path / "out", skip_missing=True, **SMALL)


def test_images_that_are_found_damaged_midway_are_left_out_whole(alone: Path, tmp_path: Path) -> None:
    video = alone / "S9" / "Videos" / "Walking 1.58860488.mp4"
    video.unlink()
    write_images(alone / "S9" / "Walking_1.58860488", range(1, FRAMES + 1))
    (alone / "S9" / "Walking_1.58860488" / "000017.jpg").write_bytes(b"\xff\xd8 nothing")
    with pytest.raises(ConvertError, match=r"S9/Walking 1/58860488: 000017\.jpg cannot be decoded"):
        human36m.write(alone, tmp_path / "out", **SMALL)
    assert not (tmp_path / "out" / "test.h5").exists()
    assert human36m.write(alone, tmp_path / "out", skip_missing=True, **SMALL)[tmp_path / "out" / "test.h5"] == 9
    with Store(tmp_path / "out" / "test.h5") as store:
        assert "58860488" not in set(store.labels["camera"])


def test_a_video_that_ends_early_is_an_error(tmp_path: Path) -> None:
    write_video(tmp_path / "some.mp4", (dotted(np.full(2, 50.0)) for _ in range(5)))
    video = VideoFile.open(tmp_path / "some.mp4")
    assert (video.count, video.rate) == (5, 50.0)
    with pytest.raises(FrameError, match="ends after 5 frames"):
        list(video.read((0, 7)))


def test_a_video_that_is_damaged_in_the_middle_is_an_error(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8)
    write_video(tmp_path / "some.mp4", noise)
    data = bytearray((tmp_path / "some.mp4").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    (tmp_path / "some.mp4").write_bytes(data)
    with pytest.raises(FrameError, match=r"is corrupt|cannot be decoded"):
        list(VideoFile.open(tmp_path / "some.mp4").read(range(20)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("<a><w0>[1 2 3]</w0></a>", "`w0` has 3 numbers, wanted 300"),
        ("<a><w0>[one]</w0></a>", "`w0` is no list of numbers"),
        ("<a>", "cannot be read as XML"),
    ],
)
def test_wrong_metadata_is_refused(alone: Path, tmp_path: Path, change: str, message: str) -> None:
    (alone / "metadata.xml").write_text(change)
    with pytest.raises(ConvertError, match=message):
        human36m.write(alone, tmp_path / "out", **SMALL)


def test_metadata_must_be_there_and_the_only_one(alone: Path, tmp_path: Path) -> None:
    write_metadata(alone / "S9" / "metadata.xml", extra="<b/>")
    with pytest.raises(ConvertError, match=r"differ; say with --metadata"):
        human36m.write(alone, tmp_path / "out", **SMALL)
    human36m.write(alone, tmp_path / "out", metadata=alone / "metadata.xml", **SMALL)
    (alone / "S9" / "metadata.xml").unlink()
    (alone / "metadata.xml").unlink()
    with pytest.raises(ConvertError, match=r"has no metadata\.xml"):
        human36m.write(alone, tmp_path / "out", **SMALL)


def test_wrong_positions_are_refused(tmp_path: Path) -> None:
    write_cdf(tmp_path / "narrow.cdf", body(0)[:, :17])
    with pytest.raises(ConvertError, match=r"narrow\.cdf: `Pose` is .*wanted \(1, frames, 96\)"):
        read_positions(tmp_path / "narrow.cdf")
    poses = body(0)
    poses[3, 4] = np.nan
    write_cdf(tmp_path / "holes.cdf", poses)
    with pytest.raises(ConvertError, match=r"holes\.cdf: frame 3 has a position that is not finite"):
        read_positions(tmp_path / "holes.cdf")
    (tmp_path / "text.cdf").write_text("text")
    with pytest.raises(ConvertError, match=r"text\.cdf cannot be read as CDF"):
        read_positions(tmp_path / "text.cdf")


def test_metres_or_a_wrong_camera_are_noticed(alone: Path, tmp_path: Path) -> None:
    path = alone / "S9" / "MyPoseFeatures" / "D3_Positions" / "Walking 1.cdf"
    path.unlink()
    write_cdf(path, body(5) + np.array([4000, 9000, 0]))
    with pytest.raises(ConvertError, match="has a joint behind the camera"):
        human36m.write(alone, tmp_path / "out", **SMALL)


def test_files_are_found_whichever_way_archives_were_unpacked(tmp_path: Path) -> None:
    for name in (
        "Poses_D3_Positions_S5/S5/MyPoseFeatures/D3_Positions/Posing 2.cdf",
        "S6/Poses_D3_Positions_mono/Posing.54138969.cdf",
        "Poses_D3_Positions_mono_universal_S7/Posing.54138969.cdf",
        "S5/MyPoseFeatures/D3_Positions/_ALL 1.cdf",
        "S5/Videos/_ALL.54138969.mp4",
        "S5/Videos/Posing 2.54138969.mp4",
        "S5/extracted/Posing_2.54138969/000001.jpg",
        "S1/Videos/WalkingDog 1.60457274.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "S5" / "loop").symlink_to(tmp_path)
    found = find(tmp_path)
    assert set(found.positions) == {("S5", "Posing 2", ""), ("S6", "Posing", "54138969")}
    assert set(found.frames) == {("S5", "Posing 2", "54138969"), ("S1", "WalkDog 1", "60457274")}
    assert found.frames["S5", "Posing 2", "54138969"].suffix == ".mp4"  # rather than what was extracted from it
    assert found.ignored == {"Poses_D3_Positions_mono_universal"}
    (tmp_path / "S6" / "D3_Positions_mono").mkdir()
    (tmp_path / "S6" / "D3_Positions_mono" / "Posing.54138969.cdf").touch()
    with pytest.raises(ConvertError, match="are both of S6/Posing/54138969"):
        find(tmp_path)


def test_sequence_names_of_all_subjects_become_one() -> None:
    path = Path("x")
    assert [sequence_name(name, path) for name in ("TakingPhoto 1", "WalkingDog", "Walking_1", "SittingDown 2")] == [
        "Photo 1",
        "WalkDog",
        "Walking 1",
        "SittingDown 2",
    ]
    with pytest.raises(ConvertError, match=r"'Dancing 1' is no sequence of Human3\.6M"):
        sequence_name("Dancing 1", path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, "--frames 0"),
        ({"size": 100, "codec": "jpeg"}, "--size 100: with --codec jpeg, wanted a multiple of 8"),
        ({"margin": -1.0}, "--margin -1.0"),
        ({"frames": 400}, "not one sequence is as long as a clip of 400 frames"),
        ({"subjects": ["S5"]}, "no positions of S5, only of S1, S9"),
        ({"jobs": 0}, "--jobs 0"),
    ],
)
def test_settings_without_sense_are_refused(
    official: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConvertError, match=message):
        human36m.write(official, tmp_path, **(SMALL | settings))


def test_the_door_prints_what_it_left_out(official: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    human36m.add_arguments(parser)
    small = [f"--{name}={value}" for name, value in SMALL.items()]
    human36m.run(parser.parse_args([f"--source={official}", f"--target={tmp_path}", *small]))
    printed = capsys.readouterr().out
    assert "left out: S9/Greeting: its positions are shifted" in printed
    assert "train S1" in printed
    assert (tmp_path / "train.h5").is_file()


def test_clips_draw_only_the_frames_they_need() -> None:
    """Frames are let go when no later clip needs them, or memory would grow with the video."""
    alive: list[int] = []
    most = 0

    class Counting:
        path, count, rate = Path("video"), 400, 50.0

        def read(self, numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
            nonlocal most
            for number in numbers:
                most = max(most, len(alive))
                yield number, Tracked(number)

    class Tracked:
        def __init__(self, number: int) -> None:
            self.number = number
            alive.append(number)

        def __call__(self) -> np.ndarray:
            raise AssertionError("not needed here")

        def __del__(self) -> None:
            alive.remove(self.number)

    camera = Camera(np.eye(3), np.zeros(3), np.ones(2), np.ones(2), np.zeros(3), np.zeros(2))
    view = View("S9", "Walking", CAMERAS[0], camera, Path("x"), False, Counting(), 400)
    clips = Clips(frames=4, stride=5, every=8)
    starts = [pending.start for pending in pending_clips(view, np.ones((400, 17, 3)), clips)]
    assert starts == list(range(0, 385, 8))
    assert most <= 12


@pytest.mark.parametrize("factor", [1e-3, 0.1, 0.0])
def test_positions_in_another_unit_are_refused(alone: Path, tmp_path: Path, factor: float) -> None:
    path = alone / "S9" / "MyPoseFeatures" / "D3_Positions" / "Walking 1.cdf"
    world = read_positions(path)
    middle = world.mean(axis=(0, 1), keepdims=True)
    path.unlink()
    write_cdf(path, middle + factor * (world - middle))  # the person alone, so that the camera still sees them
    with pytest.raises(ConvertError, match=r"has a person .* mm large; wanted mm"):
        human36m.write(alone, tmp_path / "out", **SMALL)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failed_conversion_leaves_the_earlier_one_whole(
    official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    human36m.write(official, tmp_path / "out", validation="S1", **SMALL)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    written = human36m_plan.write_split

    def interrupted(store: Path, *rest: Any, **more: Any) -> None:
        if store.stem == "test":
            raise KeyboardInterrupt
        written(store, *rest, **more)

    monkeypatch.setattr(human36m_plan, "write_split", interrupted)
    with pytest.raises(KeyboardInterrupt):
        human36m.write(official, tmp_path / "out", validation="S1", **SMALL)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
