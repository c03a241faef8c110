"""Videos, folders and what the command line names; and what is written of them."""

import csv
import json
import os
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from pose_lightning import draw
from pose_lightning.errors import UserError
from pose_lightning.predict import films
from pose_lightning.predict.containers import FilmError, packets_of
from pose_lightning.predict.films import Frame, FrameFolder, VideoFile, batches, of_one_size
from pose_lightning.predict.inputs import gather, natural
from pose_lightning.predict.recording import Annotated, GifRecording, VideoRecording, _durations
from pose_lightning.predict.results import CsvFile, JsonFile, Names

RATE = Fraction(30000, 1001)
LEVELS = [40, 60, 80, 100, 120, 140, 160, 180]
ONE = (1 << 16).to_bytes(4)


def grey(level: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A grey picture whose left upper corner is white: it shows which way is up."""
    picture = np.full((height, width, 3), level, np.uint8)
    picture[: height // 4, : width // 4] = 255
    return picture


def write_video(path: Path, levels: list[int]) -> None:
    with VideoRecording(path, RATE) as video:
        for level in levels:
            video.add(grey(level))


def write_noise(path: Path, bf: int = 0, **options: str) -> None:
    """Twelve frames, of which every fourth stands by itself, with up to `bf` in a row that refer to later ones."""
    noise = np.random.default_rng(1).integers(256, size=(12, 48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=options) as file:
        settings = {"g": "4", "bf": str(bf), "b_strategy": "0", "crf": "20", "sc_threshold": "0"}
        stream = file.add_stream("libx264", rate=10, options=settings)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for picture in noise:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())


def write_pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        cv2.imwrite(str(folder / name), grey(20 * place + 20))


def levels_of(frames: list[Frame]) -> list[int | None]:
    return [None if each.picture is None else round(float(each.picture[30:, 30:].mean())) for each in frames]


@pytest.mark.parametrize("codecs", ["h264", "mpeg4"])
def test_a_video_is_read_as_it_was_written(codecs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if codecs == "mpeg4":
        monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    path = tmp_path / "a.mp4"
    write_video(path, LEVELS)
    video = VideoFile.open(path)
    assert (video.rate, video.count, video.name) == (RATE, 8, "a")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == codecs
    frames = list(video)
    assert [frame.number for frame in frames] == list(range(8))
    assert frames[0].picture is not None
    assert frames[0].picture.shape == (48, 64, 3)
    np.testing.assert_allclose(np.array(levels_of(frames), float), LEVELS, atol=6)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_video_that_was_filmed_on_its_side_is_shown_upright(tmp_path: Path) -> None:
    """A quarter turn clockwise, as phones write it into the track's matrix: what is up left comes to be up right."""
    path = tmp_path / "a.mp4"
    write_video(path, LEVELS[:2])
    data = path.read_bytes()
    start = data.index(ONE + bytes(8), data.index(b"tkhd"))
    turned = bytes(4) + ONE + bytes(4) + (-1 << 16).to_bytes(4, signed=True) + bytes(8)
    path.write_bytes(data[:start] + turned + data[start + 24 :])
    frame = next(iter(VideoFile.open(path)))
    assert frame.picture is not None
    assert frame.picture.shape == (64, 48, 3)
    assert frame.picture[:10, -8:].mean() > 200
    assert frame.picture[:10, :8].mean() < 100


def test_a_video_of_oblong_pixels_is_as_wide_as_it_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(grey(90), format="rgb24")))
        file.mux(stream.encode())
    (frame,) = VideoFile.open(path)
    assert frame.picture is not None
    assert frame.picture.shape == (48, 85, 3)
    assert frame.picture[:8, :18].mean() > 200
    assert frame.picture[:8, 25:].mean() < 130


@pytest.mark.parametrize("damaged", [5, 8, 9], ids=["inside", "key", "behind a key"])
@pytest.mark.parametrize("bf", [0, 2])
def test_a_damaged_frame_and_those_that_refer_to_it_are_unreadable(bf: int, damaged: int, tmp_path: Path) -> None:
    """Until the next frame that stands by itself; none of them becomes a picture of something else."""
    path = tmp_path / f"a.{'mp4' if bf else 'avi'}"
    write_noise(path, bf)
    whole = list(VideoFile.open(path))
    with av.open(str(path)) as file:
        packet = [packet for packet in file.demux(video=0) if packet.size][damaged]
        assert packet.is_keyframe == (damaged == 8)
        place, size = path.read_bytes().index(bytes(packet)), packet.size
    data = bytearray(path.read_bytes())
    data[place + size // 4 : place + size] = bytes(size - size // 4)
    path.write_bytes(data)
    frames = list(VideoFile.open(path))
    assert [frame.number for frame in frames] == list(range(12))
    assert all(frame.reason for frame in frames if frame.picture is None)
    pictures = {frame.time: frame.picture for frame in whole}
    for frame in frames:
        if frame.picture is not None:
            np.testing.assert_array_equal(frame.picture, np.asarray(pictures[frame.time]))
    assert frames[0].picture is not None
    if bf == 0:
        assert [frame.number for frame in frames if frame.picture is None] == list(
            range(damaged, 8 if damaged < 8 else 12)
        )


def test_a_video_that_was_cut_off_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_noise(path, movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - (len(data) - data.index(b"mdat")) // 2])
    frames = list(VideoFile.open(path))
    readable = [frame.picture is not None for frame in frames]
    assert 4 <= sum(readable) <= 7
    assert readable == sorted(readable, reverse=True)
    assert "its header says 12" in frames[-1].reason


@pytest.mark.parametrize("kind", ["mkv", "flv"])
@pytest.mark.parametrize("share", [1.0, 0.4], ids=["whole", "cut off"])
def test_a_video_whose_header_counts_no_frames_is_measured_by_its_time(kind: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    write_noise(path)
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    frames = list(VideoFile.open(path))
    if share == 1:
        assert [frame.reason for frame in frames] == [""] * 12
    else:
        assert "its header says 1.2" in frames[-1].reason
        assert 3 <= sum(frame.picture is not None for frame in frames) <= 6


def test_a_trimmed_video_is_whole(tmp_path: Path) -> None:
    """Of 12 frames an edit list leaves the last four, as phones write it when a video is cut."""
    path = tmp_path / "a.mp4"
    write_noise(path)
    data = bytearray(path.read_bytes())
    place = data.index(b"elst") + 12
    length, start = (int.from_bytes(data[each : each + 4]) for each in (place, place + 4))
    with av.open(str(path)) as file:
        base = file.streams.video[0].time_base
        assert base is not None
    moved = start + round(Fraction(8, 10) / base)
    data[place : place + 8] = (length // 3).to_bytes(4) + moved.to_bytes(4)
    path.write_bytes(data)
    video = VideoFile.open(path)
    assert video.count == 4
    assert [frame.picture is not None for frame in video] == [True] * 4


def test_a_video_without_a_frame_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    write_noise(path)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    frames = list(VideoFile.open(path))
    assert frames[0].reason == "the file has no frame"
    assert all(frame.picture is None for frame in frames)


def test_a_container_that_cannot_be_read_on_ends_with_that_reason(tmp_path: Path) -> None:
    class BrokenError(OSError):
        pass

    def packets() -> Iterator[int]:
        yield 1
        raise BrokenError(5, "no more of it")

    read = list(packets_of(packets(), BrokenError))
    assert read[0] == 1
    assert films._said(read[1]) == "no more of it"


@pytest.mark.parametrize(
    "data", [b"", b"no video", b"\x00\x00\x00\x18ftypmp42" + bytes(40)], ids=["none", "text", "head"]
)
def test_what_is_no_video_cannot_be_opened(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(FilmError):
        VideoFile.open(tmp_path / "a.mp4")
    assert list(gather([tmp_path / "a.mp4"]).unopened) == [tmp_path / "a.mp4"]


def test_without_pyav_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match=r"pose_lightning\[convert\]"):
        gather([tmp_path / "a.mp4"])


def test_frames_of_another_size_are_unreadable(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["1.png", "3.png"])
    cv2.imwrite(str(tmp_path / "2.png"), grey(9, 80, 48))
    (tmp_path / "4.png").write_text("no picture")
    frames = list(of_one_size(FrameFolder(tmp_path, sorted(tmp_path.iterdir()), RATE)))
    assert [frame.picture is None for frame in frames] == [False, True, False, True]
    assert "80 x 48 px" in frames[1].reason
    assert "4.png" in frames[3].reason


def test_batches_hold_no_more_than_memory_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "PENDING", 4 * 64 * 48)
    frames = [Frame(number, grey(0)) for number in range(7)]
    assert [len(batch) for batch in batches(frames, 16)] == [4, 3]
    assert [len(batch) for batch in batches(frames, 3)] == [3, 3, 1]
    assert list(batches([], 3)) == []


def test_an_unreadable_frame_is_the_one_before_it_or_the_first_one_dimmed(tmp_path: Path) -> None:
    with Annotated(tmp_path / "a.mp4", RATE) as video:
        video.skip(Frame(0, None))
        video.show(Frame(1, grey(200)), grey(220))
        video.skip(Frame(2, None))
        video.show(Frame(3, grey(100)), grey(120))
    assert video.readable == 2
    found = levels_of(list(VideoFile.open(tmp_path / "a.mp4")))
    np.testing.assert_allclose(np.array(found, float), [80, 220, 80, 120], atol=6)


@pytest.mark.parametrize(("last", "said"), [(2 / RATE, False), (2 / RATE + Fraction(1, 5), True)], ids=["even", "late"])
def test_frames_that_come_unevenly_are_said(last: Fraction, said: bool, tmp_path: Path) -> None:
    """Not those of a film that begins late as a whole."""
    with Annotated(tmp_path / "a.mp4", RATE) as video:
        for number, time in enumerate([Fraction(0), 1 / RATE, last]):
            video.show(Frame(number, grey(9), time=3 + float(time)), grey(9))
    assert ("unevenly" in video.note) == said


def test_odd_sides_are_lengthened_and_it_is_said(tmp_path: Path) -> None:
    with VideoRecording(tmp_path / "a.mp4", RATE) as video:
        video.add(grey(90, 65, 49))
    (frame,) = VideoFile.open(tmp_path / "a.mp4")
    assert frame.picture is not None
    assert frame.picture.shape == (50, 66, 3)
    assert "66 x 50 px" in video.note


@pytest.mark.parametrize("kind", ["mp4", "gif"])
def test_what_is_not_finished_leaves_what_was_there(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_text("before")
    recording = VideoRecording(path, RATE) if kind == "mp4" else GifRecording(path, RATE)
    with suppress(KeyboardInterrupt), recording:
        recording.add(grey(9))
        raise KeyboardInterrupt
    with suppress(KeyboardInterrupt), JsonFile(tmp_path / "a.json") as numbers:
        numbers.item(1, "one")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def write_recording(path: Path) -> None:
    noise = np.random.default_rng(1).integers(256, size=(3, 48, 64, 3), dtype=np.uint8)
    with VideoRecording(path, RATE) if path.suffix == ".mp4" else GifRecording(path, RATE) as recording:
        for picture in noise:
            recording.add(picture)


def write_numbers(path: Path) -> None:
    with JsonFile(path) if path.suffix == ".json" else CsvFile(path, ["a"]) as file:
        for number in range(2000):
            file.item(number, str(number)) if isinstance(file, JsonFile) else file.rows([[number]])


def write_picture(path: Path) -> None:
    draw.write_png(path, np.random.default_rng(1).integers(256, size=(48, 64, 3), dtype=np.uint8))


WRITERS = {
    "a.mp4": write_recording,
    "a.gif": write_recording,
    "a.json": write_numbers,
    "a.csv": write_numbers,
    "a.png": write_picture,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_leaves_what_was_there_and_nothing_else(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("before")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(UserError, match=re.escape(f"{tmp_path / name} cannot be written")):
            WRITERS[name](tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("end", ["", ".partial"], ids=["target", "partial"])
def test_nothing_is_written_through_a_link(end: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "own").write_text("mine")
    (tmp_path / f"{name}{end}").symlink_to("own")
    with pytest.raises(UserError, match="is a link"):
        WRITERS[name](tmp_path / name)
    assert (tmp_path / "own").read_text() == "mine"


def test_a_gif_repeats_and_has_the_rate_of_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pose_lightning.predict.recording.LONGEST_GIF", 3)
    with GifRecording(tmp_path / "a.gif", Fraction(10)) as recording:
        for level in LEVELS:
            recording.add(grey(level))
    with Image.open(tmp_path / "a.gif") as picture:
        assert (picture.n_frames, picture.info["duration"], picture.info["loop"]) == (3, 100, 0)  # type: ignore[attr-defined]
    assert "first 3 frames" in recording.note


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(24), RATE, Fraction(8)], ids=str)
def test_a_gif_lasts_as_long_as_its_film(rate: Fraction) -> None:
    durations = _durations(rate, 240)
    assert min(durations) >= 20
    assert sum(durations) == pytest.approx(float(240_000 / rate), abs=5)


def test_json_that_grows_is_json(tmp_path: Path) -> None:
    with JsonFile(tmp_path / "a.json") as numbers:
        numbers.item("x", "name")
        numbers.begin("[", "rows")
        for number in range(2):
            numbers.begin("{")
            numbers.item(number, "a")
            numbers.begin("[", "none")
            numbers.end()
            numbers.end()
        numbers.end()
        with pytest.raises(ValueError, match="JSON"):
            numbers.item(float("nan"), "b")
        numbers.item(None, "c")
    rows = [{"a": 0, "none": []}, {"a": 1, "none": []}]
    assert json.loads((tmp_path / "a.json").read_text()) == {"name": "x", "rows": rows, "c": None}


def test_names_need_not_be_text(tmp_path: Path) -> None:
    name = "a\udcff.jpg"
    with CsvFile(tmp_path / "a.csv", ["file"]) as table:
        table.rows([[name]])
    assert (tmp_path / "a.csv").read_bytes() == b"file\na\xff.jpg\n"


@pytest.mark.parametrize("name", ["12:30.mp4", "a\udcff.mp4"], ids=["colon", "no text"])
def test_a_video_may_be_called_anything(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("plain.mp4"), LEVELS[:2])
    Path("plain.mp4").rename(name)
    found = gather([Path(name)])
    if name.isascii():
        assert [len(list(film)) for film in found.films] == [2]
        write_video(Path("12:31.mp4"), LEVELS[:2])
        assert len(list(VideoFile.open(Path("12:31.mp4")))) == 2
    else:
        assert len(found) == 1


def test_a_table_quotes_what_it_must(tmp_path: Path) -> None:
    with CsvFile(tmp_path / "a.csv", ["file", "x"]) as table:
        table.rows([['a,"b".jpg', 1]])
    assert list(csv.reader((tmp_path / "a.csv").read_text().splitlines())) == [["file", "x"], ['a,"b".jpg', "1"]]


def test_a_name_that_a_spreadsheet_would_run_is_text(tmp_path: Path) -> None:
    """JSON has it as it is."""
    names = ["=cmd|' /C calc'!A0.jpg", "+1+1.jpg", "-2.5", "@SUM(A1)", "\t=1", "ordinary.jpg", "-joints"]
    with CsvFile(tmp_path / "a.csv", ["file", "x"]) as table, JsonFile(tmp_path / "a.json") as numbers:
        table.rows([[Path(name), -1.5] for name in names])
        numbers.item(names, "names")
    rows = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))[1:]
    marks = [not name.startswith(("-2", "o")) for name in names]
    assert rows == [[f"{mark * chr(39)}{name}", "-1.5"] for mark, name in zip(marks, names, strict=True)]
    assert json.loads((tmp_path / "a.json").read_text()) == {"names": names}


def test_a_pipe_is_no_picture_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    os.mkfifo(tmp_path / "a.mp4")
    inputs = gather([tmp_path / "a.png", tmp_path / "a.mp4"])
    assert list(inputs.unopened.values()) == ["cannot be read: it is no regular file"] * 2


def test_names_are_given_once(tmp_path: Path) -> None:
    names = Names(tmp_path, [tmp_path / "b.png"])
    assert names.new("b", ".png").name == "b-2.png"
    long = [names.new("ä" * 200, "-joints.mp4") for _ in range(2)]
    for path in long:
        path.with_name(path.name + ".partial").write_text("x")
    assert len(set(long)) == 2
    names = Names(tmp_path)
    assert [names.new("a", ".png").name for _ in range(3)] == ["a.png", "a-2.png", "a-3.png"]


def test_numbers_in_names_are_compared_as_numbers() -> None:
    paths = [Path(name) for name in ("b10.png", "b9.png", "a.png", "b9a.png")]
    assert [path.name for path in sorted(paths, key=natural)] == ["a.png", "b9.png", "b9a.png", "b10.png"]


def test_folders_patterns_and_files_are_gathered_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_pictures(folder, ["10.png", "9.PNG", ".hidden.png"])
    (folder / "notes.txt").write_text("x")
    (folder / "below").mkdir()
    write_video(folder / "walk.mp4", LEVELS[:2])
    found = gather([tmp_path / "absent.jpg", folder, folder / "*.png"])
    assert [path.name for path in found.photographs] == ["9.PNG", "10.png", "10.png"]
    assert found.unopened == {tmp_path / "absent.jpg": "cannot be read: there is no such file"}
    assert [film.path.name for film in found.films] == ["walk.mp4"]
    assert found.skipped == [f"skipped in {folder}: below, notes.txt, neither pictures nor videos"]
    assert len(found) == 5
    frames = gather([folder], rate=RATE, folders=True)
    assert frames.photographs == []
    assert [(film.name, film.rate, film.count) for film in frames.films] == [("photos", RATE, 2), ("walk", RATE, 2)]


def test_folders_that_a_pattern_finds_may_have_nothing(tmp_path: Path) -> None:
    write_pictures(tmp_path / "a" / "b", ["1.png", "2.JFIF.jpg"])
    (tmp_path / "a" / "b" / "3.heic").write_text("x")
    found = gather([tmp_path / "**"])
    assert [path.name for path in found.photographs] == ["1.png", "2.JFIF.jpg"]
    assert found.skipped == [f"skipped in {tmp_path / 'a' / 'b'}: 3.heic, which must be converted to JPEG"]
    assert "convert it to JPEG" in gather([tmp_path / "a" / "b" / "3.heic"]).unopened[tmp_path / "a" / "b" / "3.heic"]
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError, match="fits no picture or video"):
        gather([tmp_path / "c*"])


def test_folders_and_patterns_without_anything_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="it is empty"):
        gather([tmp_path])
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UserError, match=r"it has notes\.txt"):
        gather([tmp_path])
    with pytest.raises(UserError, match="fits no file"):
        gather([tmp_path / "*.jpg"])


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a[1].png", "a1.png"])
    assert gather([tmp_path / "a[1].png"]).photographs == [tmp_path / "a[1].png"]
