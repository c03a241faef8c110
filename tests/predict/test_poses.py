"""The door `predict`: the joints of people in photographs."""

import csv
import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pose_lightning import cli, trained
from pose_lightning.convert import crops
from pose_lightning.heatmap import answers as people
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.joints import MPII
from pose_lightning.predict import PoseEstimator, main
from pose_lightning.predict.answers import Pose
from pose_lightning.predict.boxes import Box, whole
from pose_lightning.runs import RunDirectory
from pose_lightning.store import StoreWriter
from tests.untrained import save

CROP, IN_CROP, INPUT = 112, 64, 64
NETWORK = {"stacks": 1, "features": 8, "depth": 1}
PELVIS = MPII.names.index("pelvis")
PEOPLE = (Box(60.0, 70.0, 90.0, ""), Box(110.5, 40.25, 120.0, ""), Box(30.0, 90.0, 150.0, ""))
ATTRS: dict[str, Any] = {
    "kind": "pose",
    "joint_set": "mpii",
    "origin": 0,
    "units": "px",
    "dataset": "demo",
    "synthetic": True,
    "box_in_crop": IN_CROP,
}


def photograph() -> np.ndarray:
    """140 px high and 170 wide."""
    small = np.random.default_rng(3).integers(256, size=(14, 17, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (170, 140), interpolation=cv2.INTER_CUBIC))


def write_store(path: Path, prefix: str) -> None:
    labelled = np.ones(16, bool)
    labelled[PELVIS] = False
    with StoreWriter(path, codec="raw", attrs={**ATTRS, "split": path.stem}, shape=(CROP, CROP, 3)) as writer:
        for person, box in enumerate(PEOPLE):
            center = np.array([box.x, box.y])
            x0, y0, side = crops.window(center, box.side, CROP, IN_CROP)
            row = {
                "name": f"{prefix}{person}.png#0",
                "image": f"{prefix}{person}.png",
                "group": np.int64(person),
                "joints": np.where(labelled[:, None], center, np.nan),
                "labelled": labelled,
                "visible": labelled,
                "center": center,
                "box": np.float64(box.side),
                "head_size": np.float64(box.side / 10),
                "crop": np.array([x0, y0, CROP / side]),
            }
            writer.append(crops.cut(photograph(), x0, y0, side, CROP), row)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two stores, a picture, a run that was stopped before its first step, and its weights in a file."""
    folder = tmp_path_factory.mktemp("poses")
    for split in ("train", "val"):
        write_store(folder / f"{split}.h5", split)
    cv2.imwrite(str(folder / "photo.png"), np.ascontiguousarray(photograph()[..., ::-1]))
    run = RunDirectory(folder / "run")
    run.checkpoints.mkdir(parents=True)
    built = cli.build(
        [
            "--model=pose_lightning.heatmap.task.HeatmapEstimation",
            "--data=pose_lightning.heatmap.data.PoseData",
            f"--data.root={folder}",
            "--data.batch_size=2",
            "--data.num_threads=0",
            f"--data.input_size={INPUT}",
            *(f"--model.network.{key}={value}" for key, value in NETWORK.items()),
            "--trainer.accelerator=cpu",
            "--experiment=tiny",
        ]
    )
    run.write_config(built.dump())
    save(built, run.best, 7)
    built.model.model.eval().save_weights(folder / "published.safetensors")
    return folder


def run_of(place: Path) -> RunDirectory:
    return RunDirectory(place / "run")


def numbers_of(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Joints (people, joints, 3) of the first picture as x, y and confidence, and the whole file."""
    read = json.loads(path.read_text())
    people = read["pictures"][0]["people"]
    rows = [[[joint["x"], joint["y"], joint["confidence"]] for joint in person["joints"]] for person in people]
    return np.array(rows), read


@pytest.mark.parametrize(
    "manner",
    [trained.PLAIN, trained.Manner(flip_test=True, scales=(0.9, 1.0, 1.1), decoding="dark")],
    ids=["plain", "flip and scales"],
)
def test_a_person_goes_the_way_of_the_validation_split(place: Path, manner: trained.Manner) -> None:
    built, checkpoint, step = trained.load(run_of(place), manner=manner)
    expected = trained.predict(built, "val")
    poses = PoseEstimator.of_run(built, checkpoint, step).poses(photograph(), PEOPLE)
    taught = np.arange(16) != PELVIS
    for person, pose in enumerate(poses):
        np.testing.assert_allclose(pose.joints[taught], expected["preds"][person][taught], atol=1e-3)
        np.testing.assert_allclose(pose.confidence, expected["confidence"][person], atol=1e-5)
        assert np.isnan(pose.joints[PELVIS]).all()


def test_more_people_than_a_batch_holds_are_all_there(place: Path) -> None:
    estimator = PoseEstimator.of_run(*trained.load(run_of(place)))
    many = estimator.poses(photograph(), PEOPLE * 12)
    assert len(many) == 36
    np.testing.assert_allclose(many[35].joints, estimator.poses(photograph(), PEOPLE)[2].joints, atol=1e-3)


def test_the_door_writes_overlays_and_joints(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, out = place / "photo.png", tmp_path / "out"
    main([str(place / "run"), str(picture), "--box", "20,30,50,80", "--out", str(out)])
    found, read = numbers_of(out / "joints.json")
    (pose,) = PoseEstimator.of_run(*trained.load(run_of(place))).poses(photograph(), [Box(44.5, 69.5, 100.0, "")])
    taught = np.arange(16) != PELVIS
    np.testing.assert_allclose(found[0, :, :2], pose.joints[taught])
    np.testing.assert_allclose(found[0, :, 2], pose.confidence[taught])
    person = read["pictures"][0]["people"][0]
    assert person["box"] == {"center": [44.5, 69.5], "width": 100.0, "height": 100.0, "from": "--box"}
    assert [joint["name"] for joint in person["joints"]] == [name for name in MPII.names if name != "pelvis"]
    assert (read["joints_never_taught"], read["synthetic"], read["step"]) == (["pelvis"], True, 7)
    assert (read["pictures"][0]["width"], read["pictures"][0]["height"]) == (170, 140)
    drawn = cv2.imread(str(out / "photo.png.png"))
    assert drawn is not None
    printed = capsys.readouterr().out
    assert "1 person" in printed
    assert "SYNTHETIC" in printed


def test_the_persons_right_is_pink_and_left_is_blue() -> None:
    joints = np.stack([np.arange(16.0) % 4, np.arange(16) // 4], axis=1) * 40 + 20
    pose = Pose(Box(80.0, 80.0, 150.0, ""), joints, np.ones(16))
    estimator: Any = SimpleNamespace(joint_set=MPII, input_size=INPUT)
    picture = people._drawn_in_frame(np.zeros((160, 160, 3), np.uint8), [pose], estimator, "")
    found = {MPII.names[joint]: tuple(picture[int(y), int(x)].tolist()) for joint, (x, y) in enumerate(joints)}
    assert (found["right wrist"], found["right ankle"]) == ((255, 105, 205),) * 2
    assert (found["left wrist"], found["left ankle"]) == ((80, 190, 255),) * 2


def test_ways_to_say_the_same_box_agree(place: Path, tmp_path: Path) -> None:
    picture = str(place / "photo.png")
    (tmp_path / "boxes.csv").write_text("image,x,y,w,h\nphoto.png,0,0,170,140\n")
    scale = 1.25 * 170 / 250  # of which the box is 250 px
    ways = [[], ["--box", "0,0,170,140"], ["--boxes", str(tmp_path / "boxes.csv")]]
    ways.append(["--center", f"85.5,{70.5 - 15 * scale}", "--scale", str(scale)])
    found = []
    for number, way in enumerate(ways):
        main([str(place / "run"), picture, *way, "--out", str(tmp_path / str(number))])
        found.append(numbers_of(tmp_path / str(number) / "joints.json")[0])
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-6)


def test_a_picture_too_large_to_be_cut_is_made_smaller_first(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third as large: its joints are those of that, in px of the picture as it was."""
    small = photograph()
    large = np.repeat(np.repeat(small, 3, axis=0), 3, axis=1)
    cv2.imwrite(str(tmp_path / "large.png"), np.ascontiguousarray(large[:, :-1, ::-1]))  # 509 px, no multiple of 3
    black = small.copy()
    black[:, -1] = np.round(2 / 3 * black[:, -1])
    monkeypatch.setattr("pose_lightning.heatmap.answers.LARGEST_SIDE", 100)
    main([str(place / "run"), str(tmp_path / "large.png"), "--box", "60,90,150,240", "--out", str(tmp_path / "out")])
    found, read = numbers_of(tmp_path / "out" / "joints.json")
    (pose,) = PoseEstimator.of_run(*trained.load(run_of(place))).poses(black, [Box(44.5, 69.5, 100.0, "")])
    expected = 3 * pose.joints[np.arange(16) != PELVIS] + 1
    np.testing.assert_allclose(found[0, :, :2], expected, atol=1e-3)
    assert read["pictures"][0]["people"][0]["box"] == {
        "center": [134.5, 209.5],
        "width": 300.0,
        "height": 300.0,
        "from": "--box",
    }


def test_a_wide_photograph_is_as_good_as_any(place: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.full((200, 7000, 3), 90, np.uint8))
    main([str(place / "run"), str(tmp_path / "wide.png"), "--out", str(tmp_path / "out")])
    assert numbers_of(tmp_path / "out" / "joints.json")[0].shape == (1, 15, 3)


def test_a_box_outside_its_picture_leaves_the_others(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path / "walk")
    boxes = {"8.png": [[20, 30, 50, 80]], "9.png": [[900, 900, 5, 5]], "10.png": [[900, 0, 5, 5], [20, 30, 50, 80]]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main([str(place / "run"), str(tmp_path / "walk"), "--boxes", str(tmp_path / "boxes.json"), "--out", str(out)])
    assert stop.value.code == 2
    assert "9.png is 170 x 140 px, and the box of boxes.json, 9.png, box 1 is outside" in capsys.readouterr().err
    read = json.loads((out / "joints.json").read_text())
    people = [(Path(each["file"]).name, len(each["people"])) for each in read["pictures"]]
    assert people == [("8.png", 1), ("10.png", 1)]
    assert [Path(each["file"]).name for each in read["unreadable"]] == ["9.png", "10.png"]


def test_weights_of_a_file_predict_as_their_run_does(place: Path, tmp_path: Path) -> None:
    """But they know no store, and so have all 16 joints and the converters' own size of crops."""
    picture, weights = str(place / "photo.png"), str(place / "published.safetensors")
    main(["--weights", weights, picture, "--input-size", str(INPUT), "--box", "20,30,50,80", "--out", str(tmp_path)])
    found, read = numbers_of(tmp_path / "joints.json")
    assert found.shape == (1, 16, 3)
    assert read["weights"] == weights
    built = trained.load(run_of(place))[0]
    storeless = PoseEstimator(built.model, built.datamodule, "tiny", {})
    (pose,) = storeless.poses(photograph(), [Box(44.5, 69.5, 100.0, "")])
    np.testing.assert_allclose(found[0, :, :2], pose.joints, atol=1e-6)
    assert StackedHourglass.from_weights(weights).settings["features"] == NETWORK["features"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--box", "1000,1000,5,5"], "is outside the image"),
        (["--box", "1,2,3"], "wanted x,y,w,h"),
        (["--center", "1,2"], "--center X,Y and --scale S go together"),
        (["--scales", "0.9,4"], "4 is out of range"),
        (["other.png", "--box", "1,2,3,4"], "--box is of one image, but 2 are given"),
        (["--input-size", "64"], "--input-size goes with --weights"),
    ],
    ids=["outside", "three", "half", "scales", "two images", "input size"],
)
def test_options_that_mean_nothing_are_refused(
    options: list[str], message: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(place / "run"), str(place / "photo.png"), *options, "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.png", "--weights", "absent.safetensors"], "--weights needs --out DIR"),
        (["photo.png", "--weights", "absent.safetensors", "--out", "out"], "absent.safetensors"),
        (["run"], "say what to predict on"),
    ],
    ids=["no out", "no file", "no image"],
)
def test_a_call_that_lacks_something_says_so(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_pictures_that_cannot_be_read_are_named_when_the_others_are_done(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    out = tmp_path / "out"
    with pytest.raises(SystemExit):
        main([str(place / "run"), str(tmp_path / "text.png"), str(place / "photo.png"), "--out", str(out)])
    assert "1 of 2 pictures cannot be read" in capsys.readouterr().err
    read = json.loads((out / "joints.json").read_text())
    assert [Path(each["file"]).name for each in read["pictures"]] == ["photo.png"]
    assert [Path(each["file"]).name for each in read["unreadable"]] == ["text.png"]


@pytest.mark.parametrize("inputs", [["mistyped.png"], ["text.png"], ["walk", "--rate", "5"]], ids=str)
def test_a_call_that_predicts_nothing_leaves_what_an_earlier_one_wrote(
    inputs: list[str], place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no picture")
    Path("walk").mkdir()
    Path("walk/1.png").write_text("no picture")
    Path("out").mkdir()
    for name in ("joints.json", "joints.csv"):
        Path("out", name).write_text("before")
    with pytest.raises(SystemExit) as stop:
        main([str(place / "run"), *inputs, "--out", "out"])
    assert stop.value.code == 2
    assert inputs[0] in capsys.readouterr().err
    assert {path.name: path.read_text() for path in Path("out").iterdir()} == dict.fromkeys(
        ("joints.json", "joints.csv"), "before"
    )


def test_a_run_whose_predictions_are_a_link_writes_nothing_through_it(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "run" / "predictions").symlink_to(tmp_path)
    try:
        with pytest.raises(SystemExit) as stop:
            main([str(place / "run"), str(place / "photo.png")])
    finally:
        (place / "run" / "predictions").unlink()
    assert stop.value.code == 2
    assert "predictions is a link" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_names_cannot_steer_a_terminal(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a picture's nor that of one that cannot be read; JSON has them as they are."""
    name, other = "a\x1b[31m\u202egnp\n.png", "b\x1b]0;title\x07.png"
    (tmp_path / name).write_bytes((place / "photo.png").read_bytes())
    (tmp_path / other).write_text("no picture")
    with pytest.raises(SystemExit):
        main([str(place / "run"), str(tmp_path / name), str(tmp_path / other), "--out", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert r"a\x1b[31m\u202egnp\n.png: 1 person" in printed.out
    assert r"b\x1b]0;title\x07.png" in printed.err
    for text in printed:
        assert not [character for character in text if not character.isprintable() and character != "\n"]
    (picture,) = json.loads((tmp_path / "out" / "joints.json").read_text())["pictures"]
    assert picture["file"] == str(tmp_path / name)


def write_frames(folder: Path) -> list[np.ndarray]:
    """Three frames of a person who walks to the right."""
    folder.mkdir()
    frames = [np.roll(photograph(), 12 * number, axis=1) for number in range(3)]
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number + 8}.png"), np.ascontiguousarray(frame[..., ::-1]))
    return frames


def test_frames_become_an_annotated_video(place: Path, tmp_path: Path) -> None:
    """With a person in every frame, one more in the second, and numbers as of single pictures."""
    frames, out = write_frames(tmp_path / "walk"), tmp_path / "out"
    (tmp_path / "walk" / "11.png").write_text("no picture")
    boxes = {"walk": {str(number): [[20 + 12 * number, 30, 50, 80]] for number in range(3)}}
    boxes["walk"]["1"].append([0, 0, 40, 60])
    boxes["walk"]["4"] = [[0, 0, 40, 60]]  # of which there is none
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    arguments = [str(place / "run"), str(tmp_path / "walk"), "--boxes", str(tmp_path / "boxes.json")]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--rate", "12.5", "--batch-size", "2", "--out", str(out)])
    assert stop.value.code == 2
    assert sorted(path.name for path in out.iterdir()) == ["joints.csv", "joints.json", "walk-joints.mp4"]
    read = json.loads((out / "joints.json").read_text())
    refused, unread = read["unreadable"]
    assert (unread["frame"], "11.png" in unread["reason"]) == (3, True)
    assert "has frames 0 to 3, and the box of boxes.json, walk, frame 4, box 1 is of 4" in refused["reason"]
    (film,) = read["videos"]
    assert film["frames_per_second"] == 12.5
    assert [(each["frame"], each["time"], len(each["people"])) for each in film["frames"]] == [
        (0, 0, 1),
        (1, 0.08, 2),
        (2, 0.16, 1),
    ]
    estimator = PoseEstimator.of_run(*trained.load(run_of(place)))
    (pose,) = estimator.poses(frames[2], [Box(68.5, 69.5, 100.0, "")])
    found = [[joint["x"], joint["y"]] for joint in film["frames"][2]["people"][0]["joints"]]
    np.testing.assert_allclose(found, pose.joints[np.arange(16) != PELVIS], atol=1e-3)
    rows = list(csv.DictReader((out / "joints.csv").read_text().splitlines()))
    assert [(row["frame"], row["person"]) for row in rows[::15]] == [("0", "1"), ("1", "1"), ("1", "2"), ("2", "1")]
    np.testing.assert_allclose([[float(row["x"]), float(row["y"])] for row in rows[45:]], found, atol=1e-3)
    with av.open(str(out / "walk-joints.mp4")) as container:
        stream = container.streams.video[0]
        drawn = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.average_rate == Fraction(25, 2)
        assert (len(drawn), drawn[0].shape) == (4, (140, 170, 3))
    expected = people._drawn_in_frame(frames[2], [pose], estimator, "tiny (synthetic data)").astype(int)
    skeleton = (np.abs(expected - frames[2]).max(axis=2) > 60)[40:]  # below the title
    assert skeleton.any()
    shown, plain = drawn[2][40:][skeleton].astype(int), frames[2][40:][skeleton]
    assert np.abs(shown - expected[40:][skeleton]).mean() < np.abs(shown - plain).mean() / 2


def test_pictures_in_batches_are_as_one_by_one(place: Path, tmp_path: Path) -> None:
    frames = write_frames(tmp_path / "walk")
    main([str(place / "run"), str(tmp_path / "walk" / "*.png"), "--batch-size", "2", "--out", str(tmp_path / "out")])
    read = json.loads((tmp_path / "out" / "joints.json").read_text())
    assert [Path(each["file"]).name for each in read["pictures"]] == ["8.png", "9.png", "10.png"]
    estimator = PoseEstimator.of_run(*trained.load(run_of(place)))
    for picture, each in zip(frames, read["pictures"], strict=True):
        (pose,) = estimator.poses(picture, [whole(170, 140)])
        found = [[joint["x"], joint["y"]] for joint in each["people"][0]["joints"]]
        np.testing.assert_allclose(found, pose.joints[np.arange(16) != PELVIS], atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clips.npy"], "clips.npy holds clips, which only runs of ClipRegression know"),
        (["photo.png", "--clips", "1"], "--clips cannot go with"),
        (["photo.png", "--animation", "gif"], "--animation cannot go with"),
        (["photo.png", "--rate", "fast"], "--rate fast: wanted frames per second"),
        (["photo.png", "--batch-size", "0"], "--batch-size 0: wanted at least 1"),
        (["photo.png", "--boxes", "frames.csv"], "is a picture, and has no frame 3"),
    ],
    ids=["clips", "numbers", "animation", "rate", "batch", "frame"],
)
def test_what_is_for_clips_or_videos_is_refused(
    arguments: list[str], message: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "frames.csv").write_text("image,frame,x,y,w,h\nphoto.png,3,1,2,30,40\n")
    np.save(tmp_path / "clips.npy", np.zeros((1, 2, 20, 20, 3), np.uint8))
    paths = {name: str(tmp_path / name) for name in ("frames.csv", "clips.npy")} | {
        "photo.png": str(place / "photo.png")
    }
    with pytest.raises(SystemExit) as stop:
        main([str(place / "run"), *(paths.get(each, each) for each in arguments), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_pictures_stay_pictures_beside_a_video_that_cannot_be_opened(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "walk.mp4").write_text("no video")
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main([str(place / "run"), str(tmp_path / "walk.mp4"), str(place / "photo.png"), "--out", str(out)])
    assert stop.value.code == 2
    assert "walk.mp4 cannot be opened" in capsys.readouterr().err
    read = json.loads((out / "joints.json").read_text())
    assert [Path(each["file"]).name for each in read["pictures"]] == ["photo.png"]
    assert [Path(each["file"]).name for each in read["unreadable"]] == ["walk.mp4"]


def test_a_folder_cannot_get_what_is_drawn_of_it(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(place / "run"), str(place), "--out", str(place)])
    assert "is an input too" in capsys.readouterr().err


def test_an_interrupted_call_leaves_no_half_file(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []

    def interrupted(picture: np.ndarray, *_: object) -> np.ndarray:
        shown.append(picture)
        if len(shown) == 3:
            raise KeyboardInterrupt
        return picture

    write_frames(tmp_path / "walk")
    monkeypatch.setattr("pose_lightning.heatmap.answers._drawn_in_frame", interrupted)
    with pytest.raises(SystemExit) as stop:
        main(
            [
                str(place / "run"),
                str(tmp_path / "walk"),
                "--rate",
                "10",
                "--batch-size",
                "2",
                "--out",
                str(tmp_path / "out"),
            ]
        )
    assert stop.value.code == 130
    assert len(shown) == 3  # the first of the second batch
    assert list((tmp_path / "out").iterdir()) == []
