"""Single photographs: the fitted camera, its files, and five real frames."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from numpy.testing import assert_allclose, assert_array_equal

from pose_lightning.convert import ConvertError, human36m
from pose_lightning.convert.__main__ import main
from pose_lightning.convert.human36m_photographs import fit_camera, place, read_joints, read_marks, usual_lens, write
from pose_lightning.convert.human36m_sources import Camera
from pose_lightning.draw import contact_sheet, skeleton, write_png
from pose_lightning.joints import H36M
from pose_lightning.store import Store

JOINTS = np.random.default_rng(0).uniform((-300, -700, -300), (300, 900, 300), (17, 3)).round(2)
JOINTS[0] = 0

# Where joints are seen on the real frames, read off enlarged pictures by eye, to some 5 px. The joint "head top" lies
# inside of the head there, and is not marked.
SEEN = {
    "00001": {
        16: (508, 309), 13: (656, 371), 3: (588, 531), 6: (605, 540),
        12: (628, 311), 2: (583, 462), 5: (599, 467),
    },
    "00002": {
        16: (390, 338), 13: (579, 371), 15: (436, 337), 12: (577, 345),
        3: (498, 562), 6: (540, 569), 2: (485, 495),
    },
    "00003": {
        3: (483, 592), 6: (423, 594), 2: (479, 514), 5: (424, 514),
        12: (361, 381), 15: (494, 399), 13: (408, 381),
    },
    "00004": {
        15: (355, 230), 12: (574, 206), 16: (413, 174), 13: (497, 167),
        2: (434, 497), 5: (473, 500),
    },
    "00005": {
        16: (141, 453), 12: (284, 366), 13: (303, 404), 2: (157, 534),
        5: (212, 537), 3: (164, 598), 6: (210, 606),
    },
}  # fmt: skip
ELBOWS = (12, 15)


def marks_of(seen: dict[int, tuple[int, int]]) -> np.ndarray:
    marks = np.full((17, 2), np.nan)
    for joint, point in seen.items():
        marks[joint] = point
    return marks


def write_marks(path: Path, marks: dict[str, dict[int, tuple[int, int]]]) -> None:
    rows = (f"{name},{joint},{x},{y}\n" for name, points in marks.items() for joint, (x, y) in points.items())
    path.write_text("image,joint,x,y\n" + "".join(rows))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two pictures, and marks that a scale of .25 px per mm and the pelvis at (200, 190) explain exactly."""
    for name in ("one", "two"):
        picture = np.random.default_rng(1).integers(0, 256, (480, 400, 3), dtype=np.uint8)
        (tmp_path / f"{name}.jpg").write_bytes(simplejpeg.encode_jpeg(picture, 95))
        np.savetxt(tmp_path / f"{name}.csv", JOINTS, delimiter=",")
    points = 0.25 * JOINTS[:, :2] + (200, 190)
    rows = "".join(
        f"{name},{joint},{x},{y}\n" for name in ("two", "one") for joint, (x, y) in enumerate(points) if joint % 4
    )
    (tmp_path / "marks.csv").write_text(f"image,joint,x,y\n{rows}")
    return tmp_path


def test_the_camera_of_exact_marks_is_found() -> None:
    marks = 0.25 * JOINTS[:, :2] + (200, 190)
    marks[2:9] = np.nan
    camera = fit_camera(JOINTS, marks)
    assert camera.scale == pytest.approx(0.25)
    assert_allclose(camera.shift, (200, 190))
    assert camera.error == pytest.approx(0, abs=1e-9)


def test_the_camera_is_the_one_of_least_squares() -> None:
    marks = 0.25 * JOINTS[:, :2] + (200, 190) + np.random.default_rng(2).normal(0, 5, (17, 2))
    rows = np.concatenate(
        [np.column_stack([JOINTS[:, axis], np.full(17, axis == 0), np.full(17, axis == 1)]) for axis in (0, 1)]
    )
    expected, squares, *_ = np.linalg.lstsq(rows, marks.T.ravel(), rcond=None)
    camera = fit_camera(JOINTS, marks)
    assert_allclose((camera.scale, *camera.shift), expected)
    assert camera.error == pytest.approx(np.sqrt(squares[0] / 17))


def test_the_place_of_a_person_before_a_known_lens_is_found() -> None:
    pelvis = np.array([-1300.0, -300.0, 5000.0])
    lens = Camera(np.eye(3), np.zeros(3), np.array([1145.0, 1143.0]), np.array([512.0, 515.0]),
                  np.array([-0.2, 0.24, -0.003]), np.array([-0.001, -0.002]))  # fmt: skip
    marks = lens.project(JOINTS + pelvis)
    marks[5:] = np.nan
    camera = place(JOINTS, marks, lens)
    assert_allclose(camera.pelvis, pelvis, atol=0.1)
    assert camera.error == pytest.approx(0, abs=1e-3)
    assert_allclose(camera.project(JOINTS), lens.project(JOINTS + pelvis), atol=0.01)


def test_marks_that_say_too_little_or_the_reverse_are_refused() -> None:
    marks = np.full((17, 2), np.nan)
    marks[4] = 100
    with pytest.raises(ConvertError, match="1 marked joints, wanted at least 2"):
        fit_camera(JOINTS, marks)
    with pytest.raises(ConvertError, match="joints must be in camera axes, y down"):
        fit_camera(JOINTS * (1, -1, 1), 0.25 * JOINTS[:, :2] + 100)


def test_photographs_become_clips_of_one_frame(photographs: Path, tmp_path: Path) -> None:
    path, counts, note = write(photographs, tmp_path / "out", photographs / "marks.csv", size=64, margin=0.1)
    assert counts == {"clips": 2}
    assert "miss by 0.0 px" in note
    with Store(path) as store:
        assert store.labels["name"].tolist() == store.labels["sequence"].tolist() == ["one", "two"]
        assert_allclose(store.labels["joints"][1, 0], JOINTS, rtol=1e-6)
        assert np.isnan(store.labels["root"]).all()
        assert store.shape == (1, 64, 64, 3)
        points = store.labels["points"][0, 0].astype(float)
        spread = np.ptp(JOINTS[:, :2], axis=0)
        assert_allclose(np.ptp(points, axis=0) / spread, 64 / (spread.max() * 1.2), rtol=0.01)
        assert_allclose((points.min(axis=0) + points.max(axis=0)) / 2, (31.5, 31.5), atol=0.6)
        assert (store.attrs["protocol"], store.attrs["frame_rate"]) == (None, None)


def test_the_door_takes_marks(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    human36m.add_arguments(parser)
    marks = photographs / "marks.csv"
    arguments = [
        f"--source={photographs}",
        f"--target={tmp_path / 'out'}",
        f"--marks={marks}",
        "--codec=jpeg",
        "--size=64",
    ]
    human36m.run(parser.parse_args(arguments))
    assert "weak-perspective cameras, fitted to marked joints" in capsys.readouterr().out
    with Store(tmp_path / "out" / "test.h5") as store:
        assert (store.codec, len(store)) == ("jpeg", 2)


def test_wrong_files_are_named(photographs: Path, tmp_path: Path) -> None:
    marks, out = photographs / "marks.csv", tmp_path / "out"
    (photographs / "two.jpg").write_bytes(b"nothing")
    with pytest.raises(ConvertError, match=r"two\.jpg cannot be decoded"):
        write(photographs, out, marks)
    assert not list(out.iterdir())
    (photographs / "two.jpg").unlink()
    with pytest.raises(ConvertError, match=r"two\.jpg is missing"):
        write(photographs, out, marks)
    np.savetxt(photographs / "two.csv", JOINTS + 1, delimiter=",")
    with pytest.raises(ConvertError, match="wanted joints relative to the pelvis"):
        read_joints(photographs / "two.csv")
    np.savetxt(photographs / "two.csv", JOINTS[:16], delimiter=",")
    with pytest.raises(ConvertError, match=r"two\.csv: 16 x 3 numbers, wanted 17 x 3"):
        read_joints(photographs / "two.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,joint,x\n", r"lacks the columns \['y'\]"),
        ("image,joint,x,y\n", "has no marks"),
        ("image,joint,x,y\na,17,1,2\n", "line 2 is no joint 0 to 16"),
        ("image,joint,x,y\na,-1,1,2\n", "line 2 is no joint 0 to 16"),
        ("image,joint,x,y\na,1,1,up\n", "line 2 is no joint 0 to 16"),
    ],
)
def test_wrong_marks_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "marks.csv").write_text(text)
    with pytest.raises(ConvertError, match=message):
        read_marks(tmp_path / "marks.csv")


@pytest.mark.real_data
@pytest.mark.parametrize(("lens", "mean", "most"), [(False, 15, 25), (True, 12, 20)])
def test_elbows_that_no_camera_was_fitted_to_lie_on_the_figure(
    shared_data: Path, lens: bool, mean: float, most: float
) -> None:
    """Five real frames: cameras from wrists, knees and ankles; figures are 340 to 480 px high, marks good to 5 px."""
    folder = shared_data / "human36m"
    missed = []
    for name, seen in SEEN.items():
        joints = read_joints(folder / "frames_sample" / f"{name}.csv")
        marks = marks_of({joint: point for joint, point in seen.items() if joint not in ELBOWS})
        camera = place(joints, marks, usual_lens(folder / "metadata.xml")) if lens else fit_camera(joints, marks)
        projected = camera.project(joints)
        missed += [float(np.hypot(*(projected[joint] - seen[joint]))) for joint in ELBOWS if joint in seen]
    assert len(missed) == 8
    assert np.mean(missed) < mean
    assert max(missed) < most


@pytest.mark.real_data
@pytest.mark.parametrize("metadata", [None, "metadata.xml"])
def test_real_frames_go_through_the_image_path(shared_data: Path, tmp_path: Path, metadata: str | None) -> None:
    source = shared_data / "human36m"
    lens = None if metadata is None else source / metadata
    write_marks(tmp_path / "marks.csv", SEEN)
    path, counts, _ = write(source / "frames_sample", tmp_path, tmp_path / "marks.csv", metadata=lens, size=448)
    assert counts == {"clips": 5}
    with Store(path) as store:
        assert_array_equal(store.labels["name"], sorted(SEEN))
        points = store.labels["points"][:, 0]
        assert ((points > 0) & (points < 447)).all()
        colours = [(230, 50, 50) if "right" in name else (60, 200, 255) for name in H36M.names]
        pictures = [
            skeleton(store.pixels(index)[0], points[index].astype(float), H36M.bones, colours) for index in range(5)
        ]
    write_png(tmp_path / "overlay.png", contact_sheet(pictures, columns=3))  # to look at


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--stride=2", "--skip-missing"], "--stride, --skip-missing cannot go with --marks"),
        (["--quality=80"], "--quality 80 is that of JPEG files, but --codec is raw"),
    ],
)
def test_what_would_have_no_effect_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str], message: str
) -> None:
    known = ["human36m", f"--source={tmp_path}", f"--target={tmp_path / 'out'}", f"--marks={tmp_path / 'marks.csv'}"]
    assert main([*known, *option]) == 2
    assert message in capsys.readouterr().err
