"""The course's pair of .npy files, read and converted."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from pose_lightning.convert import ConvertError, clips
from pose_lightning.convert.npy import ClipPair, Unit
from pose_lightning.regression.data import Clips
from pose_lightning.store import Store

CLIPS, FRAMES, SIZE = 5, 3, 16


def poses(scale: float = 1.0, *, relative: bool = True, seed: int = 0) -> np.ndarray:
    """People about 1.7 m large, in metres times `scale`."""
    rng = np.random.default_rng(seed)
    joints = rng.uniform(-0.85, 0.85, (CLIPS, FRAMES, 17, 3))
    joints[:, :, 1, 1], joints[:, :, 2, 1] = -0.85, 0.85
    joints -= joints[:, :, :1]
    return (scale * (joints if relative else joints + rng.uniform(2, 5, (CLIPS, FRAMES, 1, 3)))).astype(np.float32)


def pixels(seed: int = 0) -> np.ndarray:
    """Smooth frames, which JPEG keeps."""
    rng = np.random.default_rng(seed)
    colours = rng.uniform(50, 205, (CLIPS, FRAMES, 1, 1, 3))
    ramp = np.linspace(-30, 30, SIZE)
    return (colours + ramp[:, None, None] + 0.5 * ramp[None, :, None]).astype(np.uint8)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return saved(tmp_path, pixels(), poses())


def saved(folder: Path, frames: np.ndarray, joints: np.ndarray) -> tuple[Path, Path]:
    paths = folder / "videoframes_clips_train.npy", folder / "joint_3d_clips_train.npy"
    np.save(paths[0], frames)
    np.save(paths[1], joints)
    return paths


def test_a_pair_serves_clips_as_a_store_does(pair: tuple[Path, Path]) -> None:
    with ClipPair(*pair) as served:
        assert len(served) == CLIPS
        assert served.shape == (FRAMES, SIZE, SIZE, 3)
        out = served.buffer(2)
        served.read_into(3, out[1])
        np.testing.assert_array_equal(out[1], pixels()[3])
        np.testing.assert_array_equal(served.pixels(0), pixels()[0])
        np.testing.assert_allclose(served.labels["joints"], poses() * 1000, rtol=1e-6)
        assert served.attrs["source_unit"] == "m"
        assert served.attrs["root_relative"] == "in the source"
        assert np.isnan(served.labels["root"]).all()
        with pytest.raises(IndexError, match="clip 5 of 5"):
            served.read_into(5, out[0])
    with pytest.raises(ConvertError, match="clip 0: the file was closed"):
        served.read_into(0, out[0])


def test_a_file_that_shrinks_while_it_is_read_is_named(pair: tuple[Path, Path]) -> None:
    with ClipPair(*pair) as served:
        whole = pair[0].stat().st_size
        os.truncate(pair[0], whole - 1)
        np.testing.assert_array_equal(served.pixels(CLIPS - 2), pixels()[CLIPS - 2])
        with pytest.raises(ConvertError, match=r"videoframes_clips_train\.npy: the file ends before clip 4"):
            served.pixels(CLIPS - 1)


def test_threads_read_the_same_as_one(pair: tuple[Path, Path]) -> None:
    with ClipPair(*pair) as served, ThreadPoolExecutor(4) as threads:
        order = np.random.default_rng(0).integers(CLIPS, size=200).tolist()
        for index, found in zip(order, threads.map(served.pixels, order), strict=True):
            np.testing.assert_array_equal(found, pixels()[index])


def test_training_and_evaluation_read_a_pair_like_a_store(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with ClipPair(*pair) as served, Store(clips.write(*pair, tmp_path / "stores", "test")) as store:
        assert isinstance(served, Clips)
        assert isinstance(store, Clips)
        assert served.attrs.items() <= {**store.attrs, "frames": FRAMES}.items()
        assert served.labels.keys() == store.labels.keys()
        for key, column in served.labels.items():
            np.testing.assert_array_equal(column, store.labels[key])


@pytest.mark.parametrize(("scale", "unit"), [(1.0, "m"), (1000.0, "mm")])
def test_the_unit_is_told_from_the_size_of_a_person(tmp_path: Path, scale: float, unit: str) -> None:
    with ClipPair(*saved(tmp_path, pixels(), poses(scale))) as served:
        assert served.attrs["source_unit"] == unit
        np.testing.assert_allclose(served.labels["joints"], poses(1000.0), rtol=1e-5)


@pytest.mark.parametrize(
    ("scale", "unit", "message"),
    [
        (30.0, "auto", "neither 0.4 to 4.0 m nor the same in mm; if that is cm, say `--unit cm`"),
        (100.0, "auto", "neither 0.4 to 4.0 m nor the same in mm; if that is cm, say `--unit cm`"),
        (1e6, "auto", "neither 0.4 to 4.0 m nor the same in mm; mend the joints"),
        (100.0, "m", "in m, a person is 170 m large, not 0.4 to 4.0 m; say `--unit cm`"),
        (100.0, "mm", "in mm, a person is 170 mm large, not 0.4 to 4.0 m; say `--unit cm`"),
        (1000.0, "cm", "in cm, a person is 1700 cm large, not 0.4 to 4.0 m; say `--unit mm`"),
        (1.0, "mm", "in mm, a person is 1.7 mm large, not 0.4 to 4.0 m; say `--unit m`"),
        (1e6, "mm", "not 0.4 to 4.0 m; mend the joints"),
    ],
)
def test_joints_that_nobody_fits_are_refused_whatever_unit_is_said(
    tmp_path: Path, scale: float, unit: Unit, message: str
) -> None:
    with pytest.raises(ConvertError, match=f"joint_3d.*{re.escape(message)}"):
        ClipPair(*saved(tmp_path, pixels(), poses(scale)), unit=unit)


@pytest.mark.parametrize(("scale", "unit"), [(1.0, "m"), (100.0, "cm"), (1000.0, "mm")])
def test_a_unit_can_be_said(tmp_path: Path, scale: float, unit: Unit) -> None:
    with ClipPair(*saved(tmp_path, pixels(), poses(scale)), unit=unit) as served:
        assert served.attrs["source_unit"] == unit
        np.testing.assert_allclose(served.labels["joints"], poses(1000.0), rtol=1e-5)


def test_absolute_poses_are_centred_on_every_frame_and_the_root_is_kept(tmp_path: Path) -> None:
    absolute = poses(relative=False)
    with ClipPair(*saved(tmp_path, pixels(), absolute)) as served:
        assert served.attrs["root_relative"] == "by us, on every frame"
        np.testing.assert_allclose(served.labels["root"], 1000 * absolute[:, :, 0], rtol=1e-6)
        np.testing.assert_allclose(served.labels["joints"], poses() * 1000, atol=1e-2)


def test_files_that_are_no_such_pair_are_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    frames, joints = pair
    other = tmp_path / "other.npy"

    def refused(array: np.ndarray, pattern: str, *, as_frames: bool) -> None:
        np.save(other, array, allow_pickle=True)
        with pytest.raises(ConvertError, match=pattern):
            ClipPair(*((other, joints) if as_frames else (frames, other)))

    refused(pixels() / 255, r"other\.npy: float64.*wanted uint8", as_frames=True)
    refused(np.asfortranarray(pixels()), "Fortran order", as_frames=True)
    refused(np.array([{"a": 1}], dtype=object), "holds Python objects", as_frames=True)
    refused(poses()[:4], r"\(4, 3, 17, 3\); wanted numbers \(5, 3, 17, 3\)", as_frames=False)
    spoilt = poses()
    spoilt[2, 1, 4, 0] = np.nan
    refused(spoilt, "clip 2, frame 1: left hip is not finite", as_frames=False)
    np.savez(tmp_path / "both.npz", frames=pixels())
    with pytest.raises(ConvertError, match="archive"):
        ClipPair(tmp_path / "both.npz", joints)
    whole = frames.read_bytes()
    frames.write_bytes(whole[:-100])
    with pytest.raises(ConvertError, match=r"videoframes_clips_train\.npy is cut short or damaged"):
        ClipPair(frames, joints)
    with pytest.raises(ConvertError, match="there is no such file"):
        ClipPair(tmp_path / "absent.npy", joints)


def test_a_raw_store_holds_the_same_bytes(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    path = clips.write(*pair, tmp_path / "stores", "train")
    assert path == tmp_path / "stores" / "train.h5"
    with Store(path) as store:
        for index in range(CLIPS):
            np.testing.assert_array_equal(store.pixels(index), pixels()[index])
        np.testing.assert_allclose(store.labels["joints"], poses() * 1000, rtol=1e-6)
        assert store.attrs["kind"] == "clips"
        assert set(store.attrs["sources"]) == {path.name for path in pair}
        assert store.attrs["split_rule"].startswith("the course's own split")
        assert store.labels["sequence"].tolist() == store.labels["name"].tolist()


def test_frames_of_a_jpeg_store_do_not_bleed_into_each_other(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    path = clips.write(*pair, tmp_path / "stores", "val", codec="jpeg")
    with Store(path) as store:
        assert store.shape == (FRAMES, SIZE, SIZE, 3)
        for index in range(CLIPS):
            error = store.pixels(index).astype(int) - pixels()[index]
            assert abs(error).max() <= 8  # frames differ by up to 170 at their borders
    odd = saved(tmp_path, pixels()[:, :, :15, :15], poses())
    with pytest.raises(ConvertError, match="multiple of 8"):
        clips.write(*odd, tmp_path / "stores", "val", codec="jpeg")


def test_clips_that_no_jpeg_can_hold_are_refused(tmp_path: Path) -> None:
    tall = np.zeros((1, 8193, 8, 8, 3), np.uint8)
    people = np.repeat(np.linspace(0, 1, 17)[:, None], 3, axis=1)
    paths = saved(tmp_path, tall, np.broadcast_to(people, (1, 8193, 17, 3)).astype(np.float32))
    with pytest.raises(ConvertError, match=r"8193 x 8 rows; a JPEG has at most 65500: take raw"):
        clips.write(*paths, tmp_path, "val", unit="m", codec="jpeg")


def test_a_quality_that_is_none_is_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    with pytest.raises(ConvertError, match="--quality 101: wanted 1 to 100"):
        clips.write(*pair, tmp_path, "val", codec="jpeg", quality=101)
    assert not list(tmp_path.glob("*.h5*"))


def test_clips_that_another_split_holds_are_told(
    tmp_path: Path, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    clips.write(*pair, tmp_path / "stores", "train")
    assert "WARNING" not in capsys.readouterr().out
    other = poses(seed=1)
    other[1] = poses()[4]
    path = clips.write(*saved(tmp_path, pixels(), other), tmp_path / "stores", "val")
    assert "WARNING: 1 clips are in another split" in capsys.readouterr().out
    with Store(path) as store:
        assert store.attrs["counts"]["in another split"] == 1


@pytest.mark.parametrize(
    ("clip", "size"), [(slice(0, 2), 1000.0), (3, 0.0), (4, 1e-3)], ids=["two of them in mm", "empty", "in km"]
)
def test_clips_of_another_unit_than_the_median_are_refused(tmp_path: Path, clip: int | slice, size: float) -> None:
    mixed = poses()
    mixed[clip] *= size
    with pytest.raises(ConvertError, match=r"clip [034], frame 0: the person is .* mm large"):
        ClipPair(*saved(tmp_path, pixels(), mixed))


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    with ClipPair(*saved(tmp_path, pixels(), (1000 * poses()).astype(np.int32))) as pair:
        np.testing.assert_allclose(pair.labels["joints"], 1000 * poses(), atol=2)
