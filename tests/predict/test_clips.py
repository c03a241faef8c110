"""The door `predict`: the joints of a person in clips, in mm."""

import csv
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from pose_lightning import cli, trained
from pose_lightning.joints import H36M
from pose_lightning.predict import main, turntable
from pose_lightning.predict.boxes import Box
from pose_lightning.predict.films import Frame
from pose_lightning.predict.windows import Gap, Pace, Shot, Window, cut, square, windows
from pose_lightning.regression.estimator import ClipEstimator
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store
from tests.untrained import save

LENGTH = 4


@pytest.fixture(scope="module")
def run(demo_clip_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run that was stopped before its first step, of clips of `LENGTH` of the stores' 8 frames."""
    run = RunDirectory(tmp_path_factory.mktemp("clips") / "run")
    run.checkpoints.mkdir(parents=True)
    built = cli.build(
        [
            "--model=ClipRegression",
            "--data=ClipData",
            f"--data.root={demo_clip_stores}",
            "--data.batch_size=2",
            "--data.num_threads=0",
            "--data.input_size=32",
            f"--data.frames={LENGTH}",
            "--model.input_size=32",
            "--model.encoder=conv",
            "--model.encoder_width=0.125",
            "--model.encoder_features=[]",
            "--model.temporal_features=8",
            "--trainer.accelerator=cpu",
            "--experiment=tiny",
        ]
    )
    run.write_config(built.dump())
    save(built, run.last, 3)
    return run


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "joints.json").read_text())


def poses_of(film: dict[str, Any]) -> np.ndarray:
    return np.array([frame["joints"] for frame in film["frames"]])


def shots(count: int, *gaps: int) -> list[Shot | Gap]:
    box = Box(0, 0, 1, "")
    return [Gap(Frame(n, None), "") if n in gaps else Shot(Frame(n, None), box) for n in range(count)]


def seen(count: int, *gaps: int) -> list[tuple[list[int], list[int], int]]:
    """Of every window the frames, those that are new, and how many are repeated."""
    found = []
    for each in windows(shots(count, *gaps), 4):
        if isinstance(each, Window):
            numbers = [shot.frame.number for shot in each.shots]
            found.append((numbers, [numbers[place] for place in each.fresh], each.repeated))
    return found


def test_clips_follow_each_other_and_the_last_one_overlaps() -> None:
    assert seen(8) == [([0, 1, 2, 3], [0, 1, 2, 3], 0), ([4, 5, 6, 7], [4, 5, 6, 7], 0)]
    assert seen(6) == [([0, 1, 2, 3], [0, 1, 2, 3], 0), ([2, 3, 4, 5], [4, 5], 0)]


def test_too_few_frames_are_filled_with_the_last_one() -> None:
    assert seen(3) == [([0, 1, 2, 2], [0, 1, 2], 1)]
    assert seen(0) == []


def test_no_clip_goes_over_a_frame_that_cannot_be_seen() -> None:
    assert seen(11, 5) == [
        ([0, 1, 2, 3], [0, 1, 2, 3], 0),
        ([1, 2, 3, 4], [4], 0),
        ([6, 7, 8, 9], [6, 7, 8, 9], 0),
        ([7, 8, 9, 10], [10], 0),
    ]
    assert [each.frame.number for each in windows(shots(11, 5), 4) if isinstance(each, Gap)] == [5]


def test_a_stored_clip_goes_the_way_of_the_validation_split(
    run: RunDirectory, demo_clip_stores: Path, tmp_path: Path
) -> None:
    """The first frames of a clip are one clip of this run's; the others are the next."""
    store = demo_clip_stores / "val.h5"
    main([str(run.path), str(store), "--clips", "1,0", "--out", str(tmp_path)])
    found = read(tmp_path)
    expected = trained.predict(trained.load(run)[0], "val")["preds"]
    assert [film["file"] for film in found["films"]] == [f"{store}#1", f"{store}#0"]
    for film, clip in zip(found["films"], (1, 0), strict=True):
        assert poses_of(film).shape == (8, 17, 3)
        np.testing.assert_allclose(poses_of(film)[:LENGTH], expected[clip], atol=2e-3)
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    assert (found["synthetic"], found["step"], found["joints"]) == (True, 3, list(H36M.names))
    assert [film["synthetic"] for film in found["films"]] == [True, True]
    rows = list(csv.DictReader((tmp_path / "joints.csv").read_text().splitlines()))
    assert [row["joint"] for row in rows[:17]] == list(H36M.names)
    table = np.array([[float(row[axis]) for axis in "xyz"] for row in rows]).reshape(2, 8, 17, 3)
    np.testing.assert_allclose(table[0], poses_of(found["films"][0]), atol=1e-3)
    with av.open(str(tmp_path / "val-1-poses.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 10
        assert len(list(container.decode(stream))) == 64  # 8 frames, until the pose has turned once in 6 s


def test_a_film_is_shown_at_the_rate_of_training(
    run: RunDirectory, demo_clip_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every third of 30 frames a second, where training had 10; a box that moves with a person changes nothing."""
    with Store(demo_clip_stores / "val.h5") as store:
        clip = store.pixels(0)
    (tmp_path / "walk").mkdir()
    lines = ["image,frame,x,y,w,h"]
    for number in range(16):
        picture = np.zeros((300, 400, 3), np.uint8)
        picture[40:264, 80:304] = clip[number // 3]
        cv2.imwrite(str(tmp_path / "walk" / f"{number}.png"), picture[..., ::-1])
        tight = 224 / 1.3
        lines.append(f"walk,{number},{80 + (224 - tight) / 2},{40 + (224 - tight) / 2},{tight},{tight}")
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    out = tmp_path / "out"
    boxes = ["--boxes", str(tmp_path / "boxes.csv"), "--rate", "30"]
    main([str(run.path), str(tmp_path / "walk"), *boxes, "--out", str(out), "--animation", "gif"])
    (film,) = read(out)["films"]
    assert (film["every"], film["frames_per_second"]) == (3, 10)
    assert [frame["frame"] for frame in film["frames"]] == [0, 3, 6, 9, 12, 15]
    assert [frame["time"] for frame in film["frames"]] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    estimator = ClipEstimator(*trained.load(run))
    first, last = estimator.poses([clip[:4], clip[2:6]])
    np.testing.assert_allclose(poses_of(film), [*first, *last[2:]], atol=2e-3)
    assert "a clip overlaps the one before it by 2 of 4 frames" in capsys.readouterr().out
    with Image.open(out / "walk-poses.gif") as animation:
        assert animation.info["duration"] == 100


def test_an_array_of_clips_and_single_pictures_are_films_too(
    run: RunDirectory, demo_clip_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(demo_clip_stores / "val.h5") as store:
        clip = store.pixels(0)
    np.save(tmp_path / "clips.npy", clip[None, :4])
    cv2.imwrite(str(tmp_path / "a.png"), np.ascontiguousarray(clip[0][..., ::-1]))
    (tmp_path / "b.png").write_text("no picture")
    inputs = [str(tmp_path / name) for name in ("clips.npy", "a.png", "b.png")]
    with pytest.raises(SystemExit) as stop:
        main([str(run.path), *inputs, "--out", str(tmp_path / "out"), "--flip-test"])
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert "too few frames for a clip of 4: the last one is repeated 3 times" in printed.out
    assert "b.png: no picture" in printed.err
    films = read(tmp_path / "out")["films"]
    assert [film["synthetic"] for film in films] == [None] * 3
    estimator = ClipEstimator(*trained.load(run, manner=trained.Manner(flip_test=True)))
    np.testing.assert_allclose(poses_of(films[0]), estimator.poses([clip[:4]])[0], atol=2e-3)
    np.testing.assert_allclose(poses_of(films[1]), estimator.poses([np.stack([clip[0]] * 4)])[0, :1], atol=2e-3)
    assert (films[2]["frames"], films[2]["animation"]) == ([], None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["val.h5", "--clips", "0,99999"], "--clips 99999: "),
        (["val.h5", "--clips", "x"], "--clips x: wanted whole numbers"),
        (["wrong.npy"], "wanted uint8 (clips, frames, height, width, 3)"),
    ],
    ids=["absent", "letters", "array"],
)
def test_clips_that_are_not_there_are_refused(
    arguments: list[str],
    message: str,
    run: RunDirectory,
    demo_clip_stores: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "wrong.npy", np.zeros((2, 4, 8, 8, 3), np.float32))
    paths = {"val.h5": [str(demo_clip_stores / "val.h5")], "wrong.npy": [str(tmp_path / "wrong.npy")]}
    given = [part for each in arguments for part in paths.get(each, [each])]
    with pytest.raises(SystemExit) as stop:
        main([str(run.path), *given, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))


def test_boxes_that_cannot_be_used_leave_the_other_films(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two in one frame, which clips of one person cannot have, and one that is outside."""
    lines = ["image,x,y,w,h", "a.png,0,0,9,9", "a.png,0,0,8,8", "b.png,0,0,30,30", "c.png,900,900,5,5"]
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    names = ["a.png", "b.png", "c.png"]
    for name in names:
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 40, 3), np.uint8))
    inputs = [str(tmp_path / name) for name in names]
    with pytest.raises(SystemExit) as stop:
        main([str(run.path), *inputs, "--boxes", str(tmp_path / "boxes.csv"), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "frame 0: has 2 boxes" in error
    assert "c.png is 40 x 40 px, and the box of boxes.csv, line 5 is outside the image" in error
    found = read(tmp_path / "out")
    assert [len(film["frames"]) for film in found["films"]] == [0, 1, 0]
    assert sorted(Path(each["file"]).name for each in found["unreadable"]) == ["a.png", "c.png"]


def test_a_view_turns_about_the_vertical() -> None:
    """The front shows x and y; a quarter turn shows what was away as to the right; up stays up."""
    project = turntable.project
    middle, scale = (turntable.SIDE - 1) / 2, turntable.SIDE / turntable.SPAN
    points = np.array([[0.0, 0, 0], [500, 0, 0], [0, -500, 0]])
    np.testing.assert_allclose(
        project(points, 0.0, 0.0), middle + scale * np.array([[0, 0], [500, 0], [0, -500]]), atol=1e-9
    )
    (away,) = project(np.array([[0.0, 0, 500]]), np.pi / 2, 0.0)
    np.testing.assert_allclose(away, middle + scale * np.array([500, 0]), atol=1e-9)


def taken(rate: Fraction | None, trained: Fraction | None, frames: list[Frame]) -> list[int]:
    pace = Pace(rate, trained)
    return [frame.number for frame in frames if pace.takes(frame)]


@pytest.mark.parametrize(
    ("rate", "numbers"),
    [
        (None, range(12)),
        (Fraction(4), range(12)),
        (Fraction(10), range(12)),
        (Fraction(15), [0, 1, 3, 4, 6, 7, 9, 10]),
        (Fraction(25), [0, 2, 5, 7, 10]),
        (Fraction(30000, 1001), [0, 3, 6, 9]),
        (Fraction(50), [0, 5, 10]),
    ],
    ids=str,
)
def test_frames_are_those_nearest_to_trainings_rate(rate: Fraction | None, numbers: list[int]) -> None:
    """Training had 10 a second: every tenth of a second the frame that is nearest, the earlier one of two."""
    timed = [Frame(n, None, time=None if rate is None else 3 + float(n / rate)) for n in range(12)]
    for frames in (timed, [Frame(n, None) for n in range(12)]):  # unreadable frames have no time
        assert taken(rate, Fraction(10), frames) == list(numbers)


def test_frames_that_come_unevenly_are_taken_by_their_time() -> None:
    """After half a second without a frame, the next one is taken once, and the film goes on from there."""
    times = [0.0, 0.05, 0.1, 0.15, 0.65, 0.7, 0.75, 0.8]
    frames = [Frame(n, None, time=time) for n, time in enumerate(times)]
    assert taken(Fraction(20), Fraction(10), frames) == [0, 2, 4, 5, 7]


def test_all_frames_are_shown_where_training_does_not_know_its_rate() -> None:
    assert taken(Fraction(50), None, [Frame(n, None) for n in range(3)]) == [0, 1, 2]


def shot(x: float, y: float, w: float, h: float) -> Shot:
    return Shot(Frame(0, np.zeros((100, 200, 3), np.uint8)), Box.around(x, y, w, h, ""))


def test_the_margin_is_that_of_training_and_is_around_where_the_person_is_in_all_frames() -> None:
    """A person of 20 x 80 px walks 100 px: 120 x 80 px are needed, and 0.15 of 120 more on each side."""
    window = Window([shot(10, 10, 20, 80), shot(60, 10, 20, 80), shot(110, 10, 20, 80)], range(3))
    x0, y0, side = square(window, 64, 0.15)
    assert (x0, y0, side) == (-8, -28, 156)
    whole = Window([Shot(Frame(0, None), Box(99.5, 49.5, 200, "the whole frame"))], range(1))
    assert square(whole, 64, 0.15) == (0, -50, 200)


def test_a_person_at_the_edge_has_black_outside_the_frame_as_in_training() -> None:
    picture = np.full((100, 200, 3), 255, np.uint8)
    window = Window([Shot(Frame(0, picture), Box.around(160, 10, 40, 80, ""))], range(1))
    place = square(window, 104, 0.15)
    assert place == (128, -2, 104)
    (pixels,) = cut(window, place, 104)
    assert (pixels[2:102, :72] == 255).all()
    assert not pixels[:, 72:].any()
    assert not pixels[:2].any()


def test_rate_and_margin_are_those_of_the_store(run: RunDirectory) -> None:
    estimator = ClipEstimator(*trained.load(run))
    assert (estimator.rate, estimator.margin, estimator.side) == (10, 0.15, 224)


def test_only_the_turning_view_changes_with_the_angle() -> None:
    pose = np.zeros((17, 3))
    pose[1:, 0] = np.linspace(-600, 600, 16)
    frame, factor, above = turntable.small(np.full((90, 160, 3), 200, np.uint8))
    assert (frame.shape, factor, above) == ((360, 640, 3), 4, 0)
    first, second = (turntable.beside(frame, (0.0, 0.0, 360.0), pose, angle, "x") for angle in (0.0, 1.0))
    assert first.shape == (360 + 28, 640 + 2 * 360, 3)
    changed = np.abs(first.astype(int) - second).max(axis=(0, 2))
    assert not changed[: 640 + 360].any()
    assert changed[640 + 360 :].max() > 100


def test_a_wide_frame_is_as_wide_as_may_be_and_has_black_above() -> None:
    frame, factor, above = turntable.small(np.full((100, 1280, 3), 200, np.uint8))
    assert (frame.shape, factor, above) == ((360, 640, 3), 0.5, 155)
    assert not frame[:above].any()
    assert (frame[above : above + 50] == 200).all()
