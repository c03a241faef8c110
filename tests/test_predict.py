"""The door `predict`: the likeliest classes of photographs."""

import csv
import json
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import simplejpeg

from pose_lightning import cli, trained
from pose_lightning.predict import Classifier, main
from pose_lightning.runs import RunDirectory
from pose_lightning.store import ANY_SIZE, Store, StoreWriter
from tests.untrained import save

CATEGORIES = ("bicycling", "dancing", "fishing & hunting", "home repair", "music playing", "running", "sports")
ATTRS: dict[str, Any] = {
    "kind": "activity",
    "dataset": "demo",
    "synthetic": True,
    "split_rule": "by hand",
    "folds": 0,
    "categories": list(CATEGORIES),
    "activities": ["cycling, fast", "running, [slow]"],
    "tags": ["fast", "running", "[slow]"],
    "shorter_side": 48,
}
SIZES = ((48, 64), (60, 48), (48, 48), (48, 90))


def photograph(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth colours, so that a JPEG of it is near to it."""
    small = np.random.default_rng(seed).integers(256, size=(4, 4, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def write_store(path: Path, folder: Path, seed: int) -> None:
    """Write a store, and its pictures as files into `folder`."""
    folder.mkdir(exist_ok=True)
    with StoreWriter(path, codec="jpeg", attrs={**ATTRS, "split": path.stem}, shape=ANY_SIZE) as writer:
        for place, (height, width) in enumerate(SIZES * 2):
            name = f"{path.stem} {place}.jpg"
            jpeg = simplejpeg.encode_jpeg(photograph(height, width, seed + place), 95, "RGB", "444")
            (folder / name).write_bytes(jpeg)
            activity = ATTRS["activities"][place % 2]
            labels = {"name": name, "image": name, "category": CATEGORIES[place % 7], "activity": activity}
            numbers = {"group": np.int64(place), "fold": np.int32(-1)}
            size = {"height": np.int32(height), "width": np.int32(width)}
            tags = np.array([tag in activity.split(", ") for tag in ATTRS["tags"]])
            writer.append(jpeg, labels | numbers | size | {"tags": tags})


def write_run(folder: Path, root: Path, *arguments: str) -> RunDirectory:
    """A run that was stopped before its first step."""
    run = RunDirectory(folder)
    run.checkpoints.mkdir(parents=True)
    built = cli.build(
        [
            "--model=pose_lightning.activity.task.ActivityClassification",
            "--data=pose_lightning.activity.data.ActivityData",
            f"--data.root={root}",
            "--data.batch_size=3",
            "--data.num_threads=0",
            "--data.input_size=32",
            "--model.input_size=32",
            "--model.backbone=test_resnet",
            "--model.head=pooled",
            "--trainer.accelerator=cpu",
            "--experiment=tiny",
            *arguments,
        ]
    )
    run.write_config(built.dump())
    save(built, run.best, 0)
    return run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predict")
    for split, seed in (("train", 0), ("val", 100)):
        write_store(folder / f"{split}.h5", folder / "photographs", seed)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> RunDirectory:
    return write_run(place / "run", place, "--data.target=category", f"--model.num_classes={len(CATEGORIES)}")


@pytest.mark.parametrize("flip_test", [False, True])
def test_a_photograph_goes_the_way_of_the_validation_split(run: RunDirectory, place: Path, flip_test: bool) -> None:
    built, checkpoint, step = trained.load(run, manner=trained.Manner(flip_test=flip_test))
    expected = trained.predict(built, "val")["preds"]
    classifier = Classifier(built, checkpoint, step)
    with Store(place / "val.h5") as store:
        found = np.stack([classifier.probabilities(store.pixels(index)) for index in range(len(store))])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(found, axis=0).max() > 1e-4  # the pictures differ in what they show


def test_the_likeliest_five_are_printed_drawn_and_written(
    run: RunDirectory, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place / "photographs" / "val 3.jpg"
    main([str(run.path), str(path), "--json", str(tmp_path / "top.json"), "--out", str(tmp_path / "drawn")])
    with Store(place / "val.h5") as store:
        expected = Classifier(*trained.load(run)).probabilities(store.pixels(3))
    order = np.argsort(-expected)[:5]
    read = json.loads((tmp_path / "top.json").read_text())
    assert (read["target"], read["synthetic"], read["unreadable"]) == ("category", True, [])
    assert read["flip_test"] is False
    assert [each["class"] for each in read["pictures"][0]["top"]] == [CATEGORIES[place] for place in order]
    shares = [each["probability"] for each in read["pictures"][0]["top"]]
    assert shares == pytest.approx(expected[order], abs=1e-9)
    printed = capsys.readouterr().out
    assert f"{100 * shares[0]:.1f} %" in printed
    assert CATEGORIES[order[0]] in printed
    assert "SYNTHETIC" in printed
    assert sorted(each.name for each in (tmp_path / "drawn").iterdir()) == ["classes.csv", "val 3.jpg.png"]
    table = list(csv.DictReader((tmp_path / "drawn" / "classes.csv").read_text().splitlines()))
    assert [(row["file"], row["rank"], row["class"]) for row in table] == [
        (str(path), str(rank), CATEGORIES[place]) for rank, place in enumerate(order, start=1)
    ]
    assert [float(row["probability"]) for row in table] == pytest.approx(shares, abs=1e-6)
    picture = cv2.imread(str(tmp_path / "drawn" / "val 3.jpg.png"))
    assert picture is not None
    assert picture.shape[1] > 600  # the picture, which is wide, and its bars


def test_a_large_photograph_is_first_made_as_small_as_the_stores(run: RunDirectory) -> None:
    large = photograph(480, 640, 5)
    small = cv2.resize(large, (64, 48), interpolation=cv2.INTER_AREA)
    classifier = Classifier(*trained.load(run))
    assert np.array_equal(classifier.probabilities(large), classifier.probabilities(np.asarray(small)))


def test_a_file_is_what_it_holds_and_not_what_it_is_called(run: RunDirectory, tmp_path: Path) -> None:
    pixels = photograph(48, 64, 9)
    encoded, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    assert encoded
    (tmp_path / "photo.jpg").write_bytes(data.tobytes())
    main(
        [str(run.path), str(tmp_path / "photo.jpg"), "--json", str(tmp_path / "top.json"), "--out", str(tmp_path / "o")]
    )
    found = json.loads((tmp_path / "top.json").read_text())["pictures"][0]["top"][0]["probability"]
    assert found == pytest.approx(Classifier(*trained.load(run)).probabilities(pixels).max(), abs=1e-9)


def test_pictures_that_cannot_be_read_are_named_when_the_others_are_done(
    run: RunDirectory, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    good = place / "photographs" / "val 1.jpg"
    (tmp_path / good.name).write_bytes(good.read_bytes())
    images = [tmp_path / "text.jpg", good, tmp_path / "absent.png", tmp_path / "gone", tmp_path / good.name]
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main([str(run.path), *map(str, images), "--out", str(out), "--json", str(tmp_path / "top.json")])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "1 of 3 pictures cannot be read" in error
    assert all(str(path) in error for path in (images[0], images[2], images[3]))
    assert sorted(path.name for path in out.iterdir()) == ["classes.csv", "val 1.jpg-2.png", "val 1.jpg.png"]
    read = json.loads((tmp_path / "top.json").read_text())
    assert [each["file"] for each in read["pictures"]] == [str(good), str(tmp_path / good.name)]
    assert [each["file"] for each in read["unreadable"]] == [str(images[0]), str(images[2]), str(images[3])]


def test_frames_of_a_video_are_ranked_and_so_is_their_mean(
    run: RunDirectory, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [photograph(48, 64, seed) for seed in range(5)]
    (tmp_path / "walk").mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(tmp_path / "walk" / f"{number}.png"), np.ascontiguousarray(frame[..., ::-1]))
    (tmp_path / "walk" / "5.png").write_text("no picture")
    arguments = [
        str(run.path),
        str(tmp_path / "walk"),
        "--rate",
        "5",
        "--batch-size",
        "2",
        "--out",
        str(tmp_path / "o"),
    ]
    with pytest.raises(SystemExit):
        main([*arguments, "--json", str(tmp_path / "top.json")])
    assert "1 frame without an answer: frame 5" in capsys.readouterr().err
    classifier = Classifier(*trained.load(run))
    expected = np.stack([classifier.probabilities(frame) for frame in frames])
    rows = list(csv.DictReader((tmp_path / "o" / "classes.csv").read_text().splitlines()))
    assert [row["frame"] for row in rows] == [str(number) for number in range(5) for _ in range(5)] + ["mean"] * 5
    for start, probabilities in zip(range(0, 30, 5), [*expected, expected.mean(axis=0)], strict=True):
        order = np.argsort(-probabilities)[:5]
        assert [row["class"] for row in rows[start : start + 5]] == [CATEGORIES[each] for each in order]
        found = [float(row["probability"]) for row in rows[start : start + 5]]
        np.testing.assert_allclose(found, probabilities[order], atol=2e-6)
    (film,) = json.loads((tmp_path / "top.json").read_text())["videos"]
    assert (film["frames"], film["top"][0]["class"]) == (5, rows[-5]["class"])
    with av.open(film["overlay"]) as container:
        assert [(each.width, each.height) for each in container.decode(video=0)] == [(64, 48)] * 6


def test_tags_are_ranked_each_by_itself(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", place, "--data.target=tags", "--model.loss=bce", "--model.num_classes=3")
    main([str(run.path), str(place / "photographs" / "val 0.jpg")])
    with Store(place / "val.h5") as store:
        found = Classifier(*trained.load(run)).probabilities(store.pixels(0))
    assert found.shape == (3,)
    assert found.sum() != pytest.approx(1, abs=1e-3)
    assert "[slow]" in capsys.readouterr().out  # which is no markup
    assert (run.path / "predictions" / "val 0.jpg.png").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--box", "1,2,3,4"], "classes are of whole images"), (["--scales", "0.9,1"], "--scales cannot go with")],
    ids=["box", "scales"],
)
def test_options_of_joints_are_refused(
    options: list[str], message: str, run: RunDirectory, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(run.path), str(place / "photographs" / "val 0.jpg"), *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_no_run_and_no_checkpoint_are_refused(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "photo.jpg"])
    assert "no run directory" in capsys.readouterr().err
    run = write_run(tmp_path / "run", place, f"--model.num_classes={len(CATEGORIES)}")
    run.best.unlink()
    with pytest.raises(SystemExit):
        main([str(run.path), "photo.jpg"])
    assert "has no checkpoint" in capsys.readouterr().err
