"""The door `evaluate` on anyone's predictions."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from pose_lightning import cli, evaluate
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store
from tests.untrained import save


@pytest.fixture
def truth(demo_stores: Path) -> np.ndarray:
    with Store(demo_stores / "val.h5") as store:
        return np.array(store.labels["joints"])


def test_the_labels_themselves_score_100(demo_stores: Path, truth: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "preds.npy", np.nan_to_num(truth) + 1)
    out = tmp_path / "scores.json"
    arguments = ["--predictions", f"{tmp_path}/preds.npy", "--store", f"{demo_stores}/val.h5", "--json", str(out)]
    evaluate.main([*arguments, "--origin", "1"])
    scores = json.loads(out.read_text())
    for measure in ("pckh@0.5", "pckh@0.1"):
        assert scores["measures"][measure]["mean_unweighted_14"]["value"] == 100
    assert scores["measures"]["bias_x"]["mean_16"]["value"] == pytest.approx(0, abs=1e-9)
    assert scores["measures"]["pckh@0.5"]["mean_unweighted_14"]["value"] > max(
        each["measures"]["pckh@0.5"]["mean_unweighted_14"]["value"] for each in scores["baselines"]
    )


def test_the_origin_of_foreign_predictions_must_be_said(
    demo_stores: Path, truth: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "preds.npy", truth)
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["--predictions", f"{tmp_path}/preds.npy", "--store", f"{demo_stores}/val.h5"])
    assert stop.value.code == 2
    assert "--origin" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "say what to score"),
        (["--predictions", "preds.npy"], "--store"),
        (["runs/none/at/all"], "no run directory"),
        (["runs/none/at/all", "--json", "out.json"], "--json cannot go with a run's directory"),
        (["--weights", "a.safetensors", "--store", "val.h5", "--json", "./a.safetensors"], "is read too"),
        (["--predictions", "preds.h5", "--store", "val.h5", "--json", "preds.h5"], "is read too"),
        (
            ["--predictions", "preds.npy", "--store", "val.h5", "--flip-test"],
            "--flip-test cannot go with --predictions",
        ),
    ],
)
def test_unclear_questions_are_refused(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        evaluate.main(arguments)
    assert stop.value.code == 2
    assert reason in capsys.readouterr().err


def test_how_the_network_was_asked_is_written_beside_its_scores(
    demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    network = [f"--model.network.{key}={value}" for key, value in (("stacks", 1), ("features", 8), ("depth", 1))]
    data = ["--data=PoseData", f"--data.root={demo_stores}", "--data.batch_size=4", "--data.input_size=32"]
    built = cli.build(["--model=HeatmapEstimation", *network, *data, "--trainer.accelerator=cpu", "--experiment=tiny"])
    run.write_config(built.dump())
    save(built, run.best, 3)
    evaluate.main([str(run.path)])
    plain = json.loads((run.path / "metrics.json").read_text())
    with h5py.File(run.path / "samples.h5") as file:
        assert file.attrs["as_validated"]
    evaluate.main([str(run.path), "--flip-test", "--scales", "0.9,1.0,1.1", "--decoding", "dark"])
    asked = json.loads((run.path / "metrics.json").read_text())
    facts = {key: asked[key] for key in ("flip_test", "scales", "decoding")}
    assert facts == {"flip_test": True, "scales": [0.9, 1.0, 1.1], "decoding": "dark"}
    assert asked["measures"] != plain["measures"]
    with h5py.File(run.path / "samples.h5") as file:
        assert not file.attrs["as_validated"]  # so that no comparison takes them for the logged score
    assert "Asked with flip test, scales 0.9 1 1.1, dark." in " ".join(capsys.readouterr().out.split())


def test_a_file_that_could_not_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link.json").symlink_to("scores.json")
    for path, reason in ((tmp_path, "is a folder; name a file"), (tmp_path / "link.json", "is a link")):
        with pytest.raises(SystemExit) as stop:
            evaluate.main(["--predictions", "none.npy", "--store", "none.h5", "--json", str(path)])
        assert stop.value.code == 2
        assert reason in capsys.readouterr().err


def test_paths_are_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["s3://bucket/runs/hourglass/1"])
    assert stop.value.code == 2
    assert "s3://bucket/runs/hourglass/1 is a URL" in capsys.readouterr().err
