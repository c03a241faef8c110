"""A task is its folder and its place in `kinds.KINDS`: no door knows one by name."""

import ast
import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
import yaml

from pose_lightning import evaluate, fit, kinds
from pose_lightning.browse.__main__ import main as browse
from pose_lightning.predict import main as predict
from pose_lightning.report.__main__ import main as report
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store
from tests import toy_task
from tests.toy_task.data import write_stores

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "pose_lightning"
TRAINED = ("--trainer.accelerator=cpu", "--trainer.max_epochs=3", "--trainer.log_every_n_steps=1", "--model.lr=0.05")


@pytest.fixture
def fourth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, toy_task.KIND))
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stores(tmp_path_factory.mktemp("greys"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, stores: Path) -> RunDirectory:
    """What `fit` makes of the fourth task."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "KINDS", (*kinds.KINDS, toy_task.KIND))
        patch.setenv("WANDB_MODE", "disabled")
        named = ["--model=BrightnessEstimation", "--data=BrightnessData", f"--data.root={stores}"]
        fit.main([*named, *TRAINED, f"--runs={folder}"])
    return RunDirectory(next(folder.glob("unnamed/*")))


def test_fit_trains_and_scores_it(run: RunDirectory, stores: Path) -> None:
    scores = json.loads((run.path / "metrics.json").read_text())
    with h5py.File(run.path / "predictions.h5") as predictions, Store(stores / "val.h5") as store:
        errors = np.abs(predictions["preds"][()] - store.labels["brightness"])
    assert errors.shape == (6,)
    assert scores["measures"]["error"]["value"] == pytest.approx(errors.mean())


def test_evaluate_scores_a_run_and_a_file(
    fourth: None, run: RunDirectory, stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.main([str(run.path), "--split=train"])
    assert "brightness is off by" in capsys.readouterr().out
    np.save(tmp_path / "zeros.npy", np.zeros(6))
    arguments = [f"--predictions={tmp_path / 'zeros.npy'}", f"--store={stores / 'val.h5'}"]
    evaluate.main([*arguments, f"--json={tmp_path / 'scores.json'}"])
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, 18)[12:] / 255
    value = json.loads((tmp_path / "scores.json").read_text())["measures"]["error"]["value"]
    assert value == pytest.approx(truth.mean(), abs=1e-6)
    with pytest.raises(SystemExit):
        evaluate.main([*arguments, "--origin=1"])
    assert "--origin cannot go with" in capsys.readouterr().err


def test_predict_answers_in_the_tasks_own_words(fourth: None, run: RunDirectory, tmp_path: Path) -> None:
    for grey in (40, 200):
        cv2.imwrite(str(tmp_path / f"{grey}.png"), np.full((30, 20, 3), grey, np.uint8))
    predict([str(run.path), str(tmp_path / "40.png"), str(tmp_path / "200.png"), f"--out={tmp_path / 'out'}"])
    rows = list(csv.DictReader((tmp_path / "out" / "brightness.csv").read_text().splitlines()))
    dark, light = (float(row["brightness"]) for row in rows)
    assert [row["file"] for row in rows] == ["40.png", "200.png"]
    assert dark < light, "it has learned something"


def test_report_has_its_sections(fourth: None, run: RunDirectory, tmp_path: Path) -> None:
    report([str(run.path), f"--out={tmp_path / 'report.html'}"])
    page = (tmp_path / "report.html").read_text()
    assert "Brightness is in [0, 1]." in page
    assert "estimates greys." in page
    assert "193" in page, "weights of the network"


def test_browse_shows_its_stores(fourth: None, stores: Path, tmp_path: Path) -> None:
    experiment = tmp_path / "toy.yaml"
    experiment.write_text("model: BrightnessEstimation\ndata: BrightnessData\n")
    browse([str(stores), f"--out={tmp_path / 'sheet.html'}", f"--experiment={experiment}"])
    page = (tmp_path / "sheet.html").read_text()
    assert "greys: 18 greys" in page
    assert "Brightness; median" in page
    assert "epoch 0" in page


def test_without_its_line_its_store_is_refused(
    stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        browse([str(stores), f"--out={tmp_path / 'sheet.html'}"])
    assert "kind is 'brightness'; browse shows stores of pose, clips, activity" in capsys.readouterr().err


def test_a_sweep_runs_its_trials(stores: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import pose_lightning.kinds, tests.toy_task\npose_lightning.kinds.KINDS += (tests.toy_task.KIND,)\n"
    )
    (tmp_path / "experiments").mkdir()
    data = {"class_path": "BrightnessData", "init_args": {"root": str(stores)}}
    settings = {"model": {"class_path": "BrightnessEstimation"}, "data": data}
    (tmp_path / "experiments" / "greys.yaml").write_text(yaml.safe_dump(settings))
    experiment = "--config=experiments/greys.yaml"
    document = {
        "program": "pose_lightning/fit.py",
        "command": ["${env}", "${interpreter}", "-m", "pose_lightning.fit", experiment, *TRAINED[:3], "${args}"],
        "method": "grid",
        "metric": {"name": "val/error", "goal": "minimize"},
        "parameters": {"model.lr": {"values": [1.0e-3, 5.0e-2]}, "seed_everything": {"values": [1]}},
    }
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "WANDB_MODE": "disabled"}

    def sweep(*arguments: str) -> str:
        command = [sys.executable, "-m", "pose_lightning.sweep", str(tmp_path / "toy.yaml"), *arguments]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert sweep("--dry-run").count("--model.lr=") == 2
    assert not (tmp_path / "runs").exists()
    assert "lr=0.05" in sweep("--slots=2")
    results = json.loads((tmp_path / "runs" / "sweeps" / "toy" / "results.json").read_text())
    assert {cell["cell"] for cell in results["cells"]} == {"lr=0.001", "lr=0.05"}


EXCEPTIONS = {
    ("browse/cards.py", "pose"): "a key of what the page's script reads",
    ("evaluate.py", "clips"): "a key of the scores' JSON: the name of the file of --clips",
}
"""Text that is like a store's kind, and no such."""


def named_tasks(path: Path) -> set[str]:
    """What a file names of a task: its folder or classes anywhere in the text; its name or its stores' as a value."""
    text = path.read_text()
    values = {node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)}
    words = {word for kind in kinds.KINDS for word in (kind.folder, kind.task_name, kind.data_name)}
    imports = {kind.name for kind in kinds.KINDS if re.search(rf"from pose_lightning import .*\b{kind.name}\b", text)}
    return (
        {word for word in words if re.search(rf"\b{re.escape(word)}\b", text)}
        | {word for kind in kinds.KINDS for word in (kind.name, kind.store) if word in values}
        | imports
    )


def outside() -> list[Path]:
    """The package's files that are neither a task's, nor the list, nor a converter's, which writes stores of a kind."""
    tasks = {kind.folder.rpartition(".")[2] for kind in kinds.KINDS}
    paths = sorted(PACKAGE.rglob("*.py"))
    return [path for path in paths if path.relative_to(PACKAGE).parts[0] not in {*tasks, "kinds.py", "convert"}]


@pytest.mark.parametrize("path", outside(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_door_names_a_task(path: Path) -> None:
    assert {name for name in named_tasks(path) if (str(path.relative_to(PACKAGE)), name) not in EXCEPTIONS} == set()
