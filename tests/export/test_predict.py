"""`predict --onnx`: the same answers as from the run, in a process that cannot import PyTorch."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from pose_lightning.predict import main
from pose_lightning.predict.onnx import read
from pose_lightning.runs import RunDirectory

WITHOUT_PYTORCH = """
import sys
for name in ("torch", "torchvision", "pytorch_lightning", "lightning_fabric", "timm", "torchmetrics", "safetensors"):
    sys.modules[name] = None  # as if it were not installed
from pose_lightning.predict import main
main(sys.argv[1:])
"""


def write_photograph(path: Path, seed: int) -> Path:
    small = np.random.default_rng(seed).integers(256, size=(14, 17, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (170, 140), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames a second, ten of them, in which the picture moves."""
    av = pytest.importorskip("av")
    path = tmp_path_factory.mktemp("videos") / "walk.mp4"
    picture = np.random.default_rng(5).integers(256, size=(12, 16, 3), dtype=np.uint8)
    large = cv2.resize(picture, (160, 128), interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        for frame in range(10):
            shown = np.ascontiguousarray(np.roll(large, 3 * frame, axis=1))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        file.mux(stream.encode())
    return path


def predict_apart(*arguments: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-c", WITHOUT_PYTORCH, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "Warning" not in done.stderr
    return done.stdout


def numbers(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    with path.open(newline="") as file:
        return np.array([[float(row[name]) for name in columns] for row in csv.DictReader(file)])


def test_joints_need_no_pytorch(
    files: dict[str, Path], runs: dict[str, RunDirectory], video: Path, tmp_path: Path
) -> None:
    inputs = [*(str(write_photograph(tmp_path / f"{seed}.png", seed)) for seed in (1, 2)), str(video)]
    printed = predict_apart("--onnx", str(files["heatmap"]), *inputs, "--out", str(tmp_path / "onnx"))
    assert "SYNTHETIC" in printed
    main([str(runs["heatmap"].path), *inputs, "--out", str(tmp_path / "run")])
    found, expected = (numbers(tmp_path / each / "joints.csv", ("x", "y", "confidence")) for each in ("onnx", "run"))
    assert len(found) >= (2 + 10) * 14
    assert_allclose(found, expected, atol=2e-2)
    said = json.loads((tmp_path / "onnx" / "joints.json").read_text())
    assert (said["checkpoint"], said["step"], said["synthetic"]) == ("best.ckpt", 7, True)
    drawn = {each.name for each in (tmp_path / "run").iterdir()}
    assert {each.name for each in (tmp_path / "onnx").iterdir()} == drawn
    assert {"1.png.png", "walk-joints.mp4"} <= drawn


@pytest.mark.parametrize("task", ["heatmap", "activity", "regression"])
def test_a_file_that_does_not_know_its_data_does_not_say_it_is_real(
    task: str, files: dict[str, Path], tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(files[task]))
    for each in model.metadata_props:
        each.value = "null" if each.key == "synthetic" else each.value
    onnx.save(model, str(tmp_path / "a.onnx"))
    assert read(tmp_path / "a.onnx", flip_test=False, decoding=None).synthetic is None


def test_classes_need_no_pytorch(
    files: dict[str, Path], runs: dict[str, RunDirectory], photograph: Path, video: Path, tmp_path: Path
) -> None:
    asked = [str(photograph), str(video), "--flip-test", "--out"]
    predict_apart("--onnx", str(files["activity"]), *asked, str(tmp_path / "onnx"))
    main([str(runs["activity"].path), *asked, str(tmp_path / "run")])
    found, expected = (numbers(tmp_path / each / "classes.csv", ("probability",)) for each in ("onnx", "run"))
    assert found.shape == (5 * (1 + 10 + 1), 1)  # the picture, the frames, and the mean over them
    assert_allclose(found, expected, atol=2e-6)


def test_poses_need_no_pytorch(
    files: dict[str, Path], runs: dict[str, RunDirectory], demo_clip_stores: Path, video: Path, tmp_path: Path
) -> None:
    clips = [str(demo_clip_stores / "val.h5"), str(video), "--clips", "0", "--animation", "gif"]
    predict_apart("--onnx", str(files["regression"]), *clips, "--out", str(tmp_path / "onnx"))
    main([str(runs["regression"].path), *clips, "--out", str(tmp_path / "run")])
    found, expected = (numbers(tmp_path / each / "joints.csv", ("x", "y", "z")) for each in ("onnx", "run"))
    assert len(found) > 8 * 17
    assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--onnx", "{heatmap}", "{photograph}"], "--onnx needs --out DIR"),
        (["--onnx", "{heatmap}", "{photograph}", "--out", "{out}", "--scales", "0.9,1"], "--scales cannot go with"),
        (["--onnx", "{heatmap}", "{photograph}", "--out", "{out}", "--weights", "file"], "name one"),
        (["--onnx", "{activity}", "{photograph}", "--out", "{out}", "--decoding", "dark"], "--decoding cannot go with"),
        (["--onnx", "{photograph}", "{photograph}", "--out", "{out}"], "cannot be read as ONNX"),
        (["--onnx", "absent.onnx", "{photograph}", "--out", "{out}"], "absent.onnx: there is no such file"),
    ],
    ids=["no out", "scales", "weights", "decoding", "no onnx", "absent"],
)
def test_options_that_mean_nothing_are_refused(
    arguments: list[str],
    message: str,
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {**files, "photograph": write_photograph(tmp_path / "photograph.png", 1), "out": tmp_path / "out"}
    with pytest.raises(SystemExit) as stop:
        main([argument.format(**places) for argument in arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
