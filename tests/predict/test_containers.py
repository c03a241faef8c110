"""Containers of videos are read in full: turns, mirrors, rates, streams, joins and losses."""

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pose_lightning.predict.containers import FilmError
from pose_lightning.predict.films import Frame, VideoFile
from pose_lightning.predict.inputs import gather
from pose_lightning.predict.transport import PACKET, find_losses

WIDTH, HEIGHT = 64, 48
MATRIX = slice(40, 76)
"""Bytes of a track's header of version 0, from its length on, that are the display matrix."""


def cornered() -> np.ndarray:
    """A dark picture whose left upper quarter is bright, and whose right upper quarter is grey."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2] = 255
    picture[: HEIGHT // 2, WIDTH // 2 :] = 120
    return picture


def write(path: Path, times: list[int], *, codec: str = "libx264", rate: int = 25, form: str | None = None) -> None:
    """Frames, ever brighter, at these times in ms."""
    with av.open(str(path), "w", format=form) as file:
        stream: Any = file.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 4 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def write_turned(path: Path, matrix: tuple[float, float, float, float]) -> None:
    """One frame, which is to be shown by this matrix."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(cornered(), format="rgb24")))
        file.mux(stream.encode())
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") - 4
    a, b, c, d = (round(value * (1 << 16)) for value in matrix)
    data[start + 8 + MATRIX.start : start + 8 + MATRIX.stop] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def shown(matrix: tuple[float, float, float, float]) -> np.ndarray:
    """The picture of `cornered`, pixel by pixel by the matrix: (x, y) goes to (a x + c y, b x + d y)."""
    a, b, c, d = matrix
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    columns, rows = (a * x + c * y).round().astype(int), (b * x + d * y).round().astype(int)
    columns, rows = columns - columns.min(), rows - rows.min()
    canvas = np.zeros((rows.max() + 1, columns.max() + 1, 3), np.uint8)
    canvas[rows, columns] = cornered()
    return canvas


@pytest.mark.parametrize("second", [1, -1])
@pytest.mark.parametrize("first", [1, -1])
@pytest.mark.parametrize("swapped", [False, True], ids=["wide", "high"])
def test_a_film_is_turned_and_mirrored_as_players_show_it(
    swapped: bool, first: int, second: int, tmp_path: Path
) -> None:
    matrix = (0.0, float(second), float(first), 0.0) if swapped else (float(first), 0.0, 0.0, float(second))
    write_turned(tmp_path / "a.mp4", matrix)
    (frame,) = VideoFile.open(tmp_path / "a.mp4")
    assert frame.picture is not None
    assert frame.picture.shape == shown(matrix).shape
    assert np.abs(frame.picture.astype(int) - shown(matrix)).mean() < 8


@pytest.mark.parametrize(("degrees", "accepted"), [(45, False), (135, False), (2, False), (0.5, True)], ids=str)
def test_a_film_at_an_angle_is_refused(degrees: float, accepted: bool, tmp_path: Path) -> None:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    write_turned(tmp_path / "a.mp4", (cosine, sine, -sine, cosine))
    if accepted:
        assert next(iter(VideoFile.open(tmp_path / "a.mp4"))).picture is not None
        return
    with pytest.raises(FilmError, match=rf"turned by {degrees} degrees; only quarter turns.*ffmpeg"):
        VideoFile.open(tmp_path / "a.mp4")


UNEVEN = np.cumsum([0, *(120 if number % 7 == 0 else 33 for number in range(39))]).tolist()


@pytest.mark.parametrize(("name", "codec", "rate"), [("a.webm", "libvpx", 1000), ("a.mkv", "libx264", 30)])
def test_a_film_whose_frames_come_unevenly_has_their_mean_rate(
    name: str, codec: str, rate: int, tmp_path: Path
) -> None:
    write(tmp_path / name, UNEVEN, codec=codec, rate=rate)
    film = VideoFile.open(tmp_path / name)
    assert film.rate is not None
    assert float(film.rate) == pytest.approx(39_000 / UNEVEN[-1], rel=1e-3)
    assert film.count == 40
    assert [frame.time for frame in film] == pytest.approx([time / 1000 for time in UNEVEN])


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.webm"])
def test_a_film_whose_times_are_rounded_keeps_its_rate(name: str, tmp_path: Path) -> None:
    """30 frames a second at whole ms, one of which was dropped."""
    times = [round(1000 * number / 30) for number in range(40) if number != 7]
    write(tmp_path / name, times, codec="libvpx" if name == "a.webm" else "libx264", rate=30)
    rate = VideoFile.open(tmp_path / name).rate
    assert rate == 30 if name != "a.mp4" else rate == pytest.approx(29.3, rel=0.01)


@pytest.mark.parametrize("cover", [True, False])
def test_sound_with_a_cover_picture_is_no_film(cover: bool, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as file:
        sound = file.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        pictures = []
        if cover:
            picture = file.add_stream("png", rate=1)
            picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
            pictures = picture.encode(av.VideoFrame.from_ndarray(cornered(), format="rgb24"))
        file.mux([*sound.encode(silence), *sound.encode(), *pictures])
    (tmp_path / "a.m4a").rename(tmp_path / "a.mp4")
    with pytest.raises(FilmError, match="cover picture" if cover else "no video stream"):
        VideoFile.open(tmp_path / "a.mp4")


def test_of_two_streams_one_is_read_and_it_is_said(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        for _ in range(2):
            stream = file.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for stream in file.streams.video:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(cornered(), format="rgb24")))
            file.mux(stream.encode())
    inputs = gather([tmp_path / "a.mkv"])
    assert inputs.skipped == [f"{tmp_path / 'a.mkv'} has 2 video streams, of which number 1 is read"]
    assert [len(list(film)) for film in inputs.films] == [1]


def test_a_film_of_one_frame_that_claims_an_absurd_rate_has_a_usual_one(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as file:
        stream = file.add_stream("libx264", rate=90_000)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(cornered(), format="rgb24")))
        file.mux(stream.encode())
    assert VideoFile.open(tmp_path / "a.mp4").rate == 25


def transport(path: Path, frames: int = 24) -> bytes:
    """An MPEG transport stream of noise, of which every eighth frame stands by itself."""
    noise = np.random.default_rng(1).integers(256, size=(frames, HEIGHT, WIDTH, 3), dtype=np.uint8)
    with av.open(str(path), "w", format="mpegts") as file:
        stream = file.add_stream("libx264", rate=25, options={"g": "8", "bf": "2", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in noise:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return path.read_bytes()


def readable(frames: list[Frame]) -> list[int]:
    return [frame.number for frame in frames if frame.picture is not None]


@pytest.mark.parametrize("pieces", [2, 3])
def test_joined_pieces_are_intact_and_their_times_go_on(pieces: int, tmp_path: Path) -> None:
    whole = transport(tmp_path / "a.ts")
    (tmp_path / "b.ts").write_bytes(whole * pieces)
    film = VideoFile.open(tmp_path / "b.ts")
    frames = list(film)
    assert readable(frames) == list(range(24 * pieces))
    times = [frame.time or 0.0 for frame in frames]
    assert np.diff(times) == pytest.approx(np.full(24 * pieces - 1, 0.04))
    assert (film.rate, film.count) == (Fraction(25), 24 * pieces)


def test_pieces_of_one_recording_are_intact(tmp_path: Path) -> None:
    """As a server sends them: the counts start again with every piece, and the times do not."""
    whole = transport(tmp_path / "a.ts")
    rows = np.frombuffer(whole, np.uint8).reshape(-1, PACKET).copy()
    video = ((rows[:, 1] & 0x1F).astype(int) << 8 | rows[:, 2]) == 256
    keys = np.flatnonzero(video & (rows[:, 3] & 0x20 > 0) & (rows[:, 5] & 0x40 > 0))
    behind = np.flatnonzero(video)[np.flatnonzero(video) >= keys[1]]
    rows[behind, 3] = (rows[behind, 3] & 0xF0) | ((rows[behind, 3] + 5) & 0x0F)
    (tmp_path / "b.ts").write_bytes(rows.tobytes())
    losses = find_losses(tmp_path / "b.ts", 256)
    assert not losses.damaged
    assert len(losses.resumed) == 1
    assert readable(list(VideoFile.open(tmp_path / "b.ts"))) == list(range(24))


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("stride", [188, 192, 204])
def test_missing_packets_are_damage_until_a_frame_stands_by_itself(count: int, stride: int, tmp_path: Path) -> None:
    """Also where the decoder says nothing: no picture that is given is another one than in the whole film."""
    rows = np.frombuffer(transport(tmp_path / "a.ts"), np.uint8).reshape(-1, PACKET)
    before, behind = (4, 0) if stride == 192 else (0, stride - 188)
    padded = np.pad(rows, ((0, 0), (before, behind)))
    (tmp_path / "a.ts").write_bytes(padded.tobytes())
    truth = {round(25 * (frame.time or 0)): frame.picture for frame in VideoFile.open(tmp_path / "a.ts")}
    assert len(truth) == 24
    for start in range(len(rows) // 3, len(rows) // 3 + 24, 6):
        (tmp_path / "b.ts").write_bytes(np.delete(padded, slice(start, start + count), axis=0).tobytes())
        frames = [frame for frame in VideoFile.open(tmp_path / "b.ts") if frame.picture is not None]
        assert 8 <= len(frames) < 24
        for frame in frames:
            np.testing.assert_array_equal(frame.picture, truth[round(25 * (frame.time or 0))])


def test_a_recording_that_was_cut_within_a_frame_loses_that_one(tmp_path: Path) -> None:
    whole = transport(tmp_path / "a.ts")
    (tmp_path / "b.ts").write_bytes(whole[: PACKET * (len(whole) // PACKET // 2) + 50] + whole)
    frames = list(VideoFile.open(tmp_path / "b.ts"))
    lost = [frame.number for frame in frames if frame.picture is None]
    assert 1 <= len(lost) <= 3
    assert readable(frames)[-24:] == list(range(len(frames) - 24, len(frames)))


def test_what_is_no_transport_stream_has_no_losses(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_bytes(bytes(range(256)) * 40)
    assert not any(find_losses(tmp_path / "a.ts", 256))


def test_a_film_that_begins_before_zero_keeps_its_times(tmp_path: Path) -> None:
    write(tmp_path / "a.mkv", [-80, -40, 0, 40])
    film = VideoFile.open(tmp_path / "a.mkv")
    assert np.diff([frame.time or 0.0 for frame in film]) == pytest.approx([0.04] * 3)
    assert film.rate == 25
