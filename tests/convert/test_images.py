"""Folders of pictures: formats by content, duplicates, groups, splits and what the stores say."""

import csv
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.testing import assert_array_equal
from PIL import Image as Pillow
from PIL import ImageOps, features

from pose_lightning.convert import ConvertError, activities
from pose_lightning.convert.__main__ import main
from pose_lightning.convert.images import convert, plan
from pose_lightning.convert.pictures import read_picture, shrunk
from pose_lightning.convert.splits import Shares
from pose_lightning.store import ANY_SIZE, Store

SHARES = Shares(test=0.2, validation=0.1)


def scene(seed: int, height: int = 60, width: int = 80) -> np.ndarray:
    """A picture with structure, unlike that of any other seed."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


def save_jpeg(path: Path, picture: np.ndarray, quality: int = 95) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality, "RGB", "444"))


def make_tree(source: Path, *counts: int) -> Path:
    """Classes a, b, c ... of so many pictures."""
    for place, count in enumerate(counts):
        for index in range(count):
            save_jpeg(source / "abcdef"[place] / f"{index:03d}.jpg", scene(1000 * place + index))
    return source


def left_out(target: Path) -> dict[str, tuple[str, str]]:
    with (target / "activity" / "left_out.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: (row["reason"], row["of"]) for row in csv.DictReader(file)}


def stored(target: Path) -> dict[str, tuple[str, str, int]]:
    """Name -> split, category and group, of all splits."""
    found = {}
    for path in (target / "activity").glob("*.h5"):
        with Store(path) as store:
            rows = zip(store.labels["name"], store.labels["category"], store.labels["group"], strict=True)
            found |= {str(name): (path.stem, str(category), int(group)) for name, category, group in rows}
    return found


def test_a_picture_is_read_by_what_it_holds(tmp_path: Path) -> None:
    picture, path = scene(1), tmp_path / "picture.txt"
    for form, options in (("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PPM", {})):
        Pillow.fromarray(picture).save(path, form, **options)
        assert_array_equal(read_picture(path), picture)
    save_jpeg(path, picture)
    assert_array_equal(read_picture(path), simplejpeg.decode_jpeg(path.read_bytes(), "RGB"))


@pytest.mark.skipif(not features.check("avif"), reason="this build of Pillow has no AVIF")
def test_avif_is_read(tmp_path: Path) -> None:
    Pillow.fromarray(scene(1)).save(tmp_path / "a.jpg", "AVIF", quality=95)
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - scene(1)).mean() < 4


def test_palettes_and_first_frames(tmp_path: Path) -> None:
    squares = np.kron(np.array([[0, 1], [2, 1]], np.uint8), np.ones((20, 20), np.uint8))
    colours = np.array([[255, 0, 0], [0, 0, 200], [10, 90, 30]], np.uint8)
    frames = [Pillow.fromarray(indices) for indices in (squares, squares[::-1].copy())]
    for frame in frames:
        frame.putpalette(colours.tobytes())
    frames[0].save(tmp_path / "a.jpg", "PNG")
    assert_array_equal(read_picture(tmp_path / "a.jpg"), colours[squares])
    frames[0].save(tmp_path / "b.png", "GIF", save_all=True, append_images=frames[1:])
    assert_array_equal(read_picture(tmp_path / "b.png"), colours[squares])
    frames[0].save(tmp_path / "c.gif", "PNG", transparency=1)  # the second colour becomes white
    colours[1] = 255
    assert_array_equal(read_picture(tmp_path / "c.gif"), colours[squares])


def test_transparency_shows_white(tmp_path: Path) -> None:
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[:, :10] = (200, 100, 0, 255)
    pixels[:, 10:20] = (200, 100, 0, 0)
    pixels[:, 20:] = (200, 100, 0, 51)  # a fifth: 200 / 5 + 255 * 4 / 5 = 244, 224, 204
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert_array_equal(found[0, [0, 10, 20]], [[200, 100, 0], [255, 255, 255], [244, 224, 204]])
    grey = np.stack([np.full((20, 20), 90, np.uint8), np.zeros((20, 20), np.uint8)], axis=2)
    Pillow.fromarray(grey).save(tmp_path / "b.png")
    assert_array_equal(read_picture(tmp_path / "b.png"), np.full((20, 20, 3), 255))


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16).repeat(20, axis=0).repeat(4, axis=1)
    Pillow.fromarray(values).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png")
    assert found.shape == (20, 24, 3)
    assert found[0, ::4, 1].tolist() == [0, 0, 1, 1, 128, 255]  # value / 257, rounded


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Pillow.new("CMYK", (32, 24), (0, 255, 255, 0)).save(tmp_path / "red.jpg", quality=100)
    assert read_picture(tmp_path / "red.jpg").shape == (24, 32, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_pictures_stand_upright(tmp_path: Path, orientation: int, form: str) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(scene(2)).save(tmp_path / "a", form, exif=exif, quality=95)
    with Pillow.open(tmp_path / "a") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    assert read_picture(tmp_path / "a").shape == expected.shape
    assert np.abs(read_picture(tmp_path / "a").astype(int) - expected).max() <= 2  # two JPEG decoders


def damaged(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_text("<html>404</html>"), "no picture of a known format"),
        (lambda path: path.write_bytes(b""), "no picture of a known format"),
        (lambda path: path.write_bytes(damaged(simplejpeg.encode_jpeg(scene(1), 90, "RGB"))), "JPEG"),
        (lambda path: path.write_bytes(damaged(cv2.imencode(".png", scene(1))[1].tobytes())), "truncated"),
        (lambda path: Pillow.fromarray(scene(1, 15, 40)).save(path, "PNG"), "smaller than 16 px"),
        (lambda path: Pillow.fromarray(scene(1, 17, 900)).save(path, "PNG"), "more than 50 times as long as wide"),
        (lambda path: Pillow.fromarray(np.ones((20, 20), np.float32)).save(path, "TIFF"), "floating-point"),
        (lambda path: Pillow.fromarray(np.full((20, 20), 70000, np.int32)).save(path, "TIFF"), "32-bit grey"),
    ],
    ids=["text", "empty", "half a JPEG", "half a PNG", "small", "long", "float", "32 bits"],
)
def test_what_is_no_usable_picture_is_refused(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    write(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=message):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("size", "small"),
    [((480, 640), (320, 427)), ((640, 480), (427, 320)), ((320, 500), (320, 500)), ((100, 90), (100, 90))],
)
def test_the_shorter_side_is_shrunk(size: tuple[int, int], small: tuple[int, int]) -> None:
    assert shrunk(np.zeros((*size, 3), np.uint8), 320).shape == (*small, 3)


def test_shrinking_averages() -> None:
    picture = np.kron(np.array([[10, 30], [50, 70]], np.uint8), np.ones((16, 16), np.uint8))[..., None].repeat(3, 2)
    assert_array_equal(shrunk(picture, 16), cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA))
    assert shrunk(picture, 2)[:, :, 0].tolist() == [[10, 30], [50, 70]]


def test_a_tree_becomes_stores(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "birds", 20, 10)
    save_jpeg(source / "a" / "000.jpg", scene(0, 200, 100))
    convert(source, tmp_path / "out", SHARES, shorter_side=48)
    found = stored(tmp_path / "out")
    assert sorted(found) == sorted(path.relative_to(source).as_posix() for path in source.rglob("*.jpg"))
    assert {name: category for name, (_, category, _) in found.items()} == {name: name[0] for name in found}
    for split, share in (("train", 21), ("val", 3), ("test", 6)):
        with Store(tmp_path / "out" / "activity" / f"{split}.h5") as store:
            assert (len(store), store.shape, store.attrs["split"]) == (share, ANY_SIZE, split)
            assert store.attrs["categories"] == ["a", "b"]
            assert (store.attrs["kind"], store.attrs["dataset"], store.attrs["synthetic"]) == (
                "activity",
                "birds",
                False,
            )
            assert (store.attrs["activities"], store.attrs["tags"], store.attrs["folds"]) == ([], [], 0)
            assert store.attrs["shorter_side"] == 48
            assert "tags" not in store.labels
            assert set(store.labels["activity"].tolist()) == {""}
            assert set(store.labels["fold"].tolist()) == {-1}
            for index in range(len(store)):
                pixels = store.pixels(index)
                assert pixels.shape == (store.labels["height"][index], store.labels["width"][index], 3)
                expected = shrunk(read_picture(source / store.name(index)), 48)
                assert pixels.shape == expected.shape
                assert np.abs(pixels.astype(int) - expected).mean() < 3  # JPEG at quality 95
    assert not (tmp_path / "out" / "activity" / "left_out.csv").exists()
    assert not (tmp_path / "out" / "activity.partial").exists()


def test_the_same_pictures_are_kept_once_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = make_tree(tmp_path / "tree", 12, 12), tmp_path / "out"
    (source / "a" / "copy.jpg").write_bytes((source / "a" / "000.jpg").read_bytes())
    save_jpeg(source / "a" / "smaller.jpg", cv2.resize(scene(1), (40, 30), interpolation=cv2.INTER_AREA))
    Pillow.fromarray(scene(2)).save(source / "b" / "disguised.gif", "PNG")  # a/002.jpg before it was saved as JPEG
    (source / "b" / "notes.txt").write_text("not a picture")
    convert(source, target, SHARES)
    doubt = "the same picture in another class"
    assert left_out(target) == {
        "a/copy.jpg": ("duplicate", "a/000.jpg"),
        "a/smaller.jpg": ("near duplicate", "a/001.jpg"),
        "a/002.jpg": (doubt, "b/disguised.gif"),
        "b/disguised.gif": (doubt, "a/002.jpg"),
        "b/notes.txt": ("unreadable: no picture of a known format", ""),
    }
    assert not set(left_out(target)) & set(stored(target))
    assert len(stored(target)) == 12 - 1 + 12
    with Store(target / "activity" / "train.h5") as store:
        assert store.attrs["left_out"] == {"unreadable": 1, "near duplicate": 1, "duplicate": 1, doubt: 2}
    assert str(target / "activity" / "left_out.csv") in capsys.readouterr().out


def test_pictures_that_are_alike_share_group_and_split(tmp_path: Path) -> None:
    source = tmp_path / "films"
    for film in range(12):
        wide = scene(film, 260, 340)
        for frame in range(3):
            shift = 3 * frame
            save_jpeg(
                source / f"class {film % 2}" / f"{film}_{frame}.jpg", wide[shift : shift + 240, shift : shift + 320]
            )
    convert(source, tmp_path / "out", Shares(test=0.25, validation=0.25))
    found = stored(tmp_path / "out")
    assert len(found) == 36
    for film in range(12):
        places = {found[name][::2] for name in found if name.startswith(f"class {film % 2}/{film}_")}
        assert len(places) == 1
    assert len({group for _, _, group in found.values()}) == 12


def test_folds_replace_validation(tmp_path: Path) -> None:
    source, target = make_tree(tmp_path / "tree", 15, 15), tmp_path / "out"
    convert(source, target, SHARES)
    assert (target / "activity" / "val.h5").exists()
    convert(source, target, Shares(test=0.2, validation=0.0, folds=3))
    assert sorted(path.name for path in (target / "activity").iterdir()) == ["test.h5", "train.h5"]
    with Store(target / "activity" / "train.h5") as store, Store(target / "activity" / "test.h5") as test:
        assert np.bincount(store.labels["fold"]).tolist() == [8, 8, 8]
        assert (store.attrs["folds"], test.attrs["folds"], set(test.labels["fold"].tolist())) == (3, 0, {-1})
        assert "3 folds" in store.attrs["split_rule"]


def test_a_conversion_that_fails_leaves_the_stores_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make_tree(tmp_path / "tree", 12, 12), tmp_path / "out"
    convert(source, target, SHARES)
    before = {path.name: path.read_bytes() for path in (target / "activity").iterdir()}

    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(activities, "encoded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, Shares(test=0.2, validation=0.0, folds=3))
    assert {path.name: path.read_bytes() for path in (target / "activity").iterdir()} == before
    assert [path.name for path in target.iterdir()] == ["activity"]


def test_hidden_files_and_folders_are_not_meant(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "tree", 10, 10)
    for name in (".DS_Store", "a/.DS_Store", "__MACOSX/a/._000.jpg", "a/.ipynb_checkpoints/x.jpg", ".cache/y.jpg"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("rubbish")
    save_jpeg(source / "a" / "below" / "z.jpg", scene(77))
    found = plan(source, tmp_path / "out", SHARES).pictures
    assert len(found) == 21
    assert found.category[found.name == "a/below/z.jpg"] == "a"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda source: None, r"--source .*tree: no such folder"),
        (lambda source: source.mkdir(), r"wanted a folder for each of at least two classes; there is none"),
        (lambda source: make_tree(source, 3), r"at least two classes; there is only a"),
        (lambda source: [(source / name).mkdir(parents=True) for name in "ab"], r"not one file in a, b"),
        (
            lambda source: [save_jpeg(source / name / "x" / "1.jpg", scene(1)) for name in ("train", "val")],
            r"are splits",
        ),
        (lambda source: make_tree(source, 2, 1), r"nothing is left for test and val; there are 3 samples in 3 groups"),
        (
            lambda source: [save_jpeg(source / name / "1.jpg", scene(1)) for name in "ab"],
            r"usable pictures are in no class only; .*left_out\.csv says why",
        ),
    ],
    ids=["nowhere", "empty", "one class", "empty classes", "splits", "too few", "all the same"],
)
def test_a_tree_that_cannot_be_converted_is_one_error(
    tmp_path: Path, build: Callable[[Path], object], message: str
) -> None:
    build(tmp_path / "tree")
    with pytest.raises(ConvertError, match=message):
        convert(tmp_path / "tree", tmp_path / "out", SHARES)
    assert not list(tmp_path.rglob("*.h5*"))


def test_empty_and_small_classes_are_noted(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "tree", 20, 20, 2)
    (source / "d").mkdir()
    (source / "d" / "x.jpg").write_text("?")
    found = plan(source, tmp_path / "out", SHARES)
    assert "no usable picture is in d: no class of that name" in found.notes
    assert "classes too small to be everywhere: c (none in test, val)" in found.notes


def test_the_door_takes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_tree(tmp_path / "tree", 12, 12)
    arguments = ["images", f"--source={source}", f"--target={tmp_path / 'out'}"]
    assert main([*arguments, "--test=0.25", "--validation=0.25", "--seed=3"]) == 0
    printed = capsys.readouterr().out
    assert "24 pictures of 2 classes" in printed
    assert "0.5 train, 0.25 val, 0.25 test" in printed
    assert "with seed 3" in printed
    assert main([*arguments, "--folds=3", "--validation=0.1"]) == 2
    assert "--validation and --folds exclude each other" in capsys.readouterr().err
    assert main([*arguments, "--shorter-side=5"]) == 2
    assert "--shorter-side 5: wanted 16 to 4096 px" in capsys.readouterr().err


def test_a_fifo_among_the_pictures_is_listed_and_not_waited_for(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "source", 6, 6)
    os.mkfifo(source / "a" / "pipe.jpg")
    assert main(["images", "--source", str(source), "--target", str(tmp_path / "out")]) == 0
    assert left_out(tmp_path / "out") == {"a/pipe.jpg": ("no regular file", "")}


def test_linked_folders_are_named_and_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = make_tree(tmp_path / "tree", 12, 12), tmp_path / "out"
    save_jpeg(tmp_path / "elsewhere" / "more.jpg", scene(77))
    (source / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (source / "b" / "deep").mkdir()
    (source / "b" / "deep" / "back").symlink_to(source)
    (source / "c").symlink_to(tmp_path / "nowhere")
    (source / "readme.txt").write_text("beside the classes")
    command = ["images", f"--source={source}", f"--target={target}"]
    assert main(command) == 2
    message = "3 folders are not looked into: a/more (linked folder), b/deep/back (linked folder), c (link to nothing)"
    assert message in capsys.readouterr().err
    assert sorted(left_out(target)) == ["a/more", "b/deep/back", "c"]
    assert main([*command, "--skip-missing"]) == 0
    printed = capsys.readouterr().out
    for note in (
        "2 linked folder",
        "1 link to nothing",
        "1 files beside the class folders, which are of no class: readme.txt",
    ):
        assert f"left out: {note}" in printed
    assert left_out(target)["a/more"] == ("linked folder", "")
    assert len(stored(target)) == 24
    with Store(target / "activity" / "train.h5") as store:
        assert store.attrs["left_out"] == {"linked folder": 2, "link to nothing": 1}


def test_a_class_folder_may_be_a_link(tmp_path: Path) -> None:
    source = make_tree(tmp_path / "tree", 12, 12)
    (source / "b").rename(tmp_path / "elsewhere")
    (source / "b").symlink_to(tmp_path / "elsewhere")
    convert(source, tmp_path / "out", SHARES)
    assert len(stored(tmp_path / "out")) == 24


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_tree(tmp_path / "tree", 12, 12)
    (source / "a" / "deep").mkdir()
    listed = os.scandir

    def refuse(path: Path) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        ConvertError, match=r"1 folders are .*: a/deep \(folder that cannot be listed: Permission denied\)"
    ):
        convert(source, tmp_path / "out", SHARES)
