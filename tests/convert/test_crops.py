"""Cutting persons out of photographs: where joints land, and what happens without a photograph."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image as Pillow

from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import (
    TURNED,
    Pixels,
    cut,
    decode,
    in_threads,
    no_photograph,
    orientation,
    print_summary,
    report_path,
    window,
    write_split,
)
from pose_lightning.convert.people import People, check_people, empty_joints
from pose_lightning.store import Store

ATTRS = {"kind": "pose", "split": "val"}
ORIENTATION_6 = bytes.fromhex("ffe1002245786966000049492a00080000000100120103000100000006000000") + bytes(4)
"""A JPEG segment saying that a viewer should turn the photograph by 90 degrees."""


def people_at(points: list[tuple[float, float]], boxes: list[float], images: list[str] | None = None) -> People:
    """Persons whose box is centred on their only labelled joint, the pelvis."""
    joints, labelled = empty_joints(len(points))
    joints[:, 6], labelled[:, 6] = points, True
    return People(
        image=np.array(images or ["a.jpg"] * len(points)),
        number=np.arange(len(points)),
        group=np.zeros(len(points), dtype=np.int64),
        joints=joints,
        labelled=labelled,
        visible=labelled,
        center=np.array(points, dtype=np.float64),
        box=np.array(boxes, dtype=np.float64),
        head_size=np.full(len(points), 10.0),
    )


def blob(width: int, height: int, x: float, y: float, sigma: float) -> np.ndarray:
    """A grey image (h, w, 3) with a Gaussian spot at (x, y), pixel centres on whole numbers."""
    columns, rows = (
        np.exp(-((np.arange(width) - x) ** 2) / 2 / sigma**2),
        np.exp(-((np.arange(height) - y) ** 2) / 2 / sigma**2),
    )
    return np.repeat(np.round(255 * rows[:, None] * columns).astype(np.uint8)[..., None], 3, axis=2)


def centroid(image: np.ndarray) -> np.ndarray:
    """Where the light of an image (h, w, 3) is, (x, y)."""
    weight = np.where(image > 8, image, 0).astype(np.float64).sum(axis=2)
    rows, columns = np.indices(weight.shape)
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def save(path: Path, image: np.ndarray, quality: int = 100) -> bytes:
    """Write a JPEG file without colour subsampling."""
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "444", fastdct=False)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
@pytest.mark.parametrize("box", [61.3, 117.0, 256.0, 403.9, 777.7, 1301.0])
def test_a_spot_at_a_joint_is_where_the_crop_label_says(tmp_path: Path, box: float, codec: str) -> None:
    point = (310.3, 205.8)
    save(tmp_path / "a.jpg", blob(640, 420, *point, sigma=box / 25))
    people = people_at([point], [box])
    people.center[:] += (3.4, -7.9)  # the joint is not the centre of the window

    write_split(tmp_path / "val.h5", people, Pixels(tmp_path, codec), ATTRS)

    store = Store(tmp_path / "val.h5")
    x0, y0, s = store.labels["crop"][0]
    expected = (np.array(point) - (x0, y0) + 0.5) * s - 0.5
    assert np.abs(centroid(store.pixels(0)) - expected).max() < 0.1 * max(1.0, s)
    assert np.abs(centroid(store.pixels(0)) - expected).max() / s < 0.1
    # The box takes 256 of the 448 px, but for the rounding of the window to 1, 2 or 4 whole pixels.
    rounding = 0.5 if s > 0.5 else 1.0 if s > 0.25 else 2.0
    assert abs(box * s - 256) <= rounding * s * 256 / 448 + 1e-9


def test_a_window_is_centred_to_half_a_pixel() -> None:
    assert window(np.array([100.0, 50.0]), 64.0, 448, 256) == (44, -6, 112)  # 100 - 111 / 2 = 44.5, halves to even
    assert window(np.array([100.0, 50.0]), 1.0, 256, 256) == (100, 50, 1)
    assert window(np.array([0.0, 0.0]), 3.0, 256, 256) == (-1, -1, 3)
    assert window(np.array([0.5, 0.5]), 250.6, 64, 64) == (-124, -124, 250)  # at least 2 x 64: even
    assert window(np.array([0.5, 0.5]), 259.0, 64, 64) == (-129, -129, 260)  # at least 4 x 64: a multiple of 4


def test_a_window_of_the_stored_size_is_the_photograph_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert_array_equal(cut(image, 5, 7, 16, 16), image[7:23, 5:21])


def test_outside_the_photograph_is_black() -> None:
    image = np.full((10, 10, 3), 255, dtype=np.uint8)
    part = cut(image, -4, 6, 8, 8)
    assert_array_equal(part[:4, 4:], image[6:, :4])
    assert part[4:].max() == 0
    assert part[:, :4].max() == 0
    assert cut(image, 50, 50, 8, 8).max() == 0


def test_shrinking_averages_the_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    means = image.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert_allclose(cut(image, 0, 0, 64, 16), means, atol=1)  # halved and rounded twice


def test_the_orientation_that_a_camera_noted_is_ignored(tmp_path: Path) -> None:
    image = np.zeros((32, 64, 3), dtype=np.uint8)
    image[:, :16] = (200, 30, 30)
    data = save(tmp_path / "plain.jpg", image)
    (tmp_path / "turned.jpg").write_bytes(data[:2] + ORIENTATION_6 + data[2:])
    turned = cv2.imdecode(np.frombuffer((tmp_path / "turned.jpg").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert turned.shape == (64, 32, 3)  # a reader that obeys it would turn our photograph
    assert_array_equal(decode(tmp_path / "turned.jpg"), decode(tmp_path / "plain.jpg"))


def test_grey_photographs_become_rgb(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (16, 24, 1), dtype=np.uint8)
    (tmp_path / "a.jpg").write_bytes(simplejpeg.encode_jpeg(grey, 100, "GRAY"))
    pixels = decode(tmp_path / "a.jpg")
    assert pixels.shape == (16, 24, 3)
    assert_allclose(pixels, np.repeat(grey, 3, axis=2), atol=2)


def test_cmyk_photographs_become_rgb(tmp_path: Path) -> None:
    inks = np.zeros((16, 16, 4), dtype=np.uint8)
    inks[...] = (51, 102, 204, 128)  # Adobe's inversion: 255 is no ink
    (tmp_path / "a.jpg").write_bytes(simplejpeg.encode_jpeg(inks, 100, "CMYK", "444"))
    expected = [round(channel * 128 / 255) for channel in (51, 102, 204)]
    assert_allclose(decode(tmp_path / "a.jpg"), np.broadcast_to(expected, (16, 16, 3)), atol=3)


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
def test_a_truncated_photograph_is_undecodable(tmp_path: Path, keep: float) -> None:
    data = save(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (tmp_path / "a.jpg").write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ValueError, match=r"."):
        decode(tmp_path / "a.jpg")


def test_rubbish_behind_the_last_pixel_does_no_harm(tmp_path: Path) -> None:
    data = save(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = decode(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(data[:-2] + bytes(range(1, 50)) + data[-2:])
    with pytest.raises(ValueError, match="extraneous"):
        simplejpeg.decode_jpeg((tmp_path / "a.jpg").read_bytes(), "RGB", strict=True)
    assert_array_equal(decode(tmp_path / "a.jpg"), whole)


@pytest.fixture
def three_photographs(tmp_path: Path) -> Path:
    """Photographs: good.jpg decodes, cut.jpg is truncated, gone.jpg is not there."""
    folder = tmp_path / "images"
    folder.mkdir()
    data = save(folder / "good.jpg", blob(64, 64, 30, 30, 5))
    (folder / "cut.jpg").write_bytes(data[: len(data) * 9 // 10])
    return folder


THREE = ["good.jpg", "cut.jpg", "gone.jpg"]


@pytest.mark.parametrize(("images", "reason"), [(THREE, "missing"), (THREE[:2], "undecodable: Premature end")])
def test_a_photograph_that_cannot_be_used_is_an_error(
    three_photographs: Path, tmp_path: Path, images: list[str], reason: str
) -> None:
    people = people_at([(30, 30)] * len(images), [32.0] * len(images), images)
    store = tmp_path / "val.h5"
    with pytest.raises(ConvertError, match=rf"(?s)1 of {len(images)} photographs.*{reason}.*--skip-missing"):
        write_split(store, people, Pixels(three_photographs, crop=56, box_in_crop=32), ATTRS)
    assert not store.exists()
    assert not store.with_name("val.h5.partial").exists()
    assert reason in report_path(store).read_text()


def test_skipped_photographs_are_listed_and_counted(three_photographs: Path, tmp_path: Path) -> None:
    images = [name for name in THREE for _ in range(2)]
    people = people_at([(30, 30)] * 6, [32.0] * 6, images)
    store = tmp_path / "val.h5"

    pixels = Pixels(three_photographs, crop=56, box_in_crop=32, skip_missing=True)
    counts = write_split(store, people, pixels, ATTRS)

    assert counts is not None
    assert (counts["persons"], counts["images_left_out"], counts["persons_left_out"]) == (2, 2, 4)
    assert Store(store).attrs["counts"] == counts
    assert Store(store).labels["name"].tolist() == ["good.jpg#0", "good.jpg#1"]
    report = dict(line.split("\t") for line in report_path(store).read_text().splitlines())
    assert report["gone.jpg"] == "missing"
    assert report["cut.jpg"].startswith("undecodable: ")

    write_split(store, people.take([0, 1]), pixels, ATTRS)
    assert not report_path(store).exists()  # converting again starts over: nothing is missing any more


def test_a_split_without_a_photograph_has_no_store(three_photographs: Path, tmp_path: Path) -> None:
    gone = people_at([(30, 30)], [32.0], ["gone.jpg"])
    pixels = Pixels(three_photographs, skip_missing=True)
    assert write_split(tmp_path / "val.h5", gone, pixels, ATTRS) is None
    assert not (tmp_path / "val.h5").exists()
    write_split(tmp_path / "val.h5", people_at([(30, 30)], [32.0], ["good.jpg"]), pixels, ATTRS)
    with pytest.raises(ConvertError, match=r"val\.h5 is of an earlier conversion"):
        write_split(tmp_path / "val.h5", gone, pixels, ATTRS)


def test_a_photograph_is_decoded_once_for_all_its_persons(three_photographs: Path, tmp_path: Path) -> None:
    people = people_at([(20, 20), (40, 40)], [32.0, 16.0], ["good.jpg"] * 2)
    write_split(tmp_path / "val.h5", people, Pixels(three_photographs, "raw", 56, 32), ATTRS)
    store, photograph = Store(tmp_path / "val.h5"), decode(three_photographs / "good.jpg")
    for row in range(2):
        x0, y0, s = store.labels["crop"][row]
        assert_array_equal(store.pixels(row), cut(photograph, int(x0), int(y0), round(56 / s), 56))


def test_labels_only_says_the_same_as_with_pixels(three_photographs: Path, tmp_path: Path) -> None:
    people = people_at([(20, 20), (40, 40)], [32.0, 16.0], ["good.jpg"] * 2)
    write_split(tmp_path / "with.h5", people, Pixels(three_photographs), ATTRS)
    write_split(tmp_path / "without.h5", people, Pixels(None), ATTRS)
    with_pixels, without = Store(tmp_path / "with.h5"), Store(tmp_path / "without.h5")
    assert without.codec is None
    for key, values in with_pixels.labels.items():
        assert_array_equal(without.labels[key], values)


def test_a_box_that_cannot_be_meant_names_the_person(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"a\.jpg#0: a box of 1000000 px"):
        write_split(tmp_path / "val.h5", people_at([(0, 0)], [1e6]), Pixels(None), ATTRS)


@pytest.mark.parametrize(
    ("people", "message"),
    [
        (people_at([(0, 0)], [np.nan]), r"a\.jpg#0 has box nan px"),
        (people_at([(0, 0)], [0.0]), r"a\.jpg#0 has box 0\.0 px"),
        (people_at([(np.inf, 0)], [8.0]), r"a\.jpg#0 has box 8\.0 px at \[inf"),
        (people_at([(0, 0)], [8.0], ["../a.jpg"]), r"'\.\./a\.jpg': wanted a file's name without folders"),
        (people_at([(0, 0)], [8.0]).take([0, 0]), r"a\.jpg#0 is there 2 times"),
    ],
)
def test_persons_without_sense_are_refused(people: People, message: str) -> None:
    with pytest.raises(ConvertError, match=f"source.json: .*{message}"):
        check_people(people, "source.json")


@pytest.mark.parametrize("settings", [{"crop": 8}, {"crop": 64, "box_in_crop": 65}, {"quality": 0}])
def test_settings_out_of_range_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConvertError, match="wanted"):
        Pixels(None, **settings)


def test_threads_keep_the_order_and_wait_for_the_consumer() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.001 * (item % 3))
        return item * item

    results = in_threads(work, list(range(200)), title="squares", threads=4)
    assert [next(results) for _ in range(10)] == [item * item for item in range(10)]
    time.sleep(0.05)
    assert len(begun) <= 10 + 2 * 4 + 1  # the rest has not been started: memory stays flat
    assert list(results) == [item * item for item in range(10, 200)]


@pytest.mark.slow
def test_an_interrupted_conversion_leaves_nothing_and_starts_over(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    save(folder / "0.jpg", np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8), 90)
    names = [f"{index}.jpg" for index in range(80)]
    for name in names[1:]:
        os.link(folder / "0.jpg", folder / name)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nimport numpy as np\n"
        "from pose_lightning.convert.crops import Pixels, write_split\n"
        "from pose_lightning.convert.people import People\n"
        f"names = {names!r}\nn = len(names)\n"
        "joints, labelled = np.zeros((n, 16, 2)), np.ones((n, 16), bool)\n"
        "people = People(np.array(names), np.zeros(n, int), np.arange(n), joints, labelled, labelled,\n"
        "    np.full((n, 2), 600.0), np.full(n, 600.0), np.ones(n))\n"
        "write_split(Path(sys.argv[2]), people, Pixels(Path(sys.argv[1])), {})\n"
    )
    store = tmp_path / "val.h5"
    command = [sys.executable, str(script), str(folder), str(store)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    partial = store.with_name("val.h5.partial")
    while not (partial.exists() and partial.stat().st_size > 1 << 20) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0, stderr
    assert b"KeyboardInterrupt" in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "script.py"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, timeout=120)
    assert len(Store(store)) == len(names)


def turned_jpeg(path: Path, orientation: int = 6) -> None:
    """A photograph that is stored lying and says how it is to be shown."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)).save(path, "JPEG", exif=exif)


@pytest.mark.parametrize("noted", range(1, 9))
def test_the_orientation_is_found_as_pillow_finds_it(tmp_path: Path, noted: int) -> None:
    turned_jpeg(tmp_path / "a.jpg", noted)
    data = (tmp_path / "a.jpg").read_bytes()
    assert orientation(data) == noted
    place = data.index(b"Exif\0\0")
    rng = np.random.default_rng(noted)
    for end in range(place, place + 40):
        assert 1 <= orientation(data[:end]) <= 8
        damaged = bytearray(data)
        damaged[end] = rng.integers(256)
        assert 1 <= orientation(bytes(damaged)) <= 8
    assert orientation(b"") == orientation(b"\xff\xd8") == orientation(data[2:]) == 1


def test_photographs_whose_orientation_is_ignored_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, noted in {"a.jpg": 6, "b.jpg": 1, "c.jpg": 2}.items():
        turned_jpeg(tmp_path / name, noted)
    people = people_at([(20, 20)] * 3, [30.0] * 3, ["a.jpg", "b.jpg", "c.jpg"])
    counts = write_split(tmp_path / "val.h5", people, Pixels(tmp_path, crop=16, box_in_crop=8), {})
    assert counts is not None
    assert counts[TURNED] == 2
    assert Store(tmp_path / "val.h5").attrs["counts"][TURNED] == 2
    print_summary({tmp_path / "val.h5": counts}, [])
    printed = capsys.readouterr().out
    assert "2 photographs note in their EXIF data" in printed
    upright = write_split(tmp_path / "val.h5", people.take([1]), Pixels(tmp_path, crop=16, box_in_crop=8), {})
    assert upright is not None
    assert TURNED not in upright


def test_photographs_that_are_no_regular_files_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    assert no_photograph(tmp_path / "a.jpg") == "no regular file"
    assert no_photograph(tmp_path / ("a" * 5000)) == no_photograph(tmp_path / "b.jpg") == "missing"
    with pytest.raises(ValueError, match="is a named pipe"):
        decode(tmp_path / "a.jpg")


def test_a_small_file_that_declares_a_huge_photograph_is_refused(tmp_path: Path) -> None:
    data = save(tmp_path / "a.jpg", np.zeros((16, 16, 3), np.uint8))
    place = data.index(b"\xff\xc0") + 5
    (tmp_path / "a.jpg").write_bytes(data[:place] + b"\xff\xdc\xff\xdc" + data[place + 4 :])
    with pytest.raises(ValueError, match="65500 x 65500 pixels, more than"):
        decode(tmp_path / "a.jpg")
