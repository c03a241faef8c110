"""A skeleton of a person's own through the doors: seven joints of a bird, labelled in COCO's form."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from pose_lightning import evaluate, fit
from pose_lightning.convert.__main__ import main as convert
from pose_lightning.heatmap import predictions
from pose_lightning.heatmap.truth import Truth
from pose_lightning.joints import JointSet
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store
from tests import toy_skeleton

NAMES = tuple(name.replace("_", " ") for name in toy_skeleton.NAMES)


@dataclass(frozen=True)
class Birds:
    """A run on birds.

    Attributes:
        folder: Holds `images` and `stores`.
        run: Trained and scored.
    """

    folder: Path
    run: RunDirectory

    @property
    def stores(self) -> Path:
        """Folder of train.h5 and val.h5."""
        return self.folder / "stores"


def settings(stores: Path, runs: Path, *, steps: int) -> list[str]:
    """A narrow hourglass at 64 px."""
    return [
        "--model=HeatmapEstimation",
        "--model.network.stacks=1",
        "--model.network.features=16",
        "--model.loss=cross_entropy",
        "--model.sigma=2",
        "--model.lr=3.0e-3",
        "--data=PoseData",
        f"--data.root={stores}",
        "--data.batch_size=8",
        "--data.input_size=64",
        f"--trainer.max_steps={steps}",
        "--trainer.accelerator=cpu",
        "--trainer.log_every_n_steps=1",
        f"--runs={runs}",
        "--experiment=birds",
        "--wandb.mode=disabled",
        "--pictures.every=1",
        "--pictures.count=2",
    ]


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Birds:
    folder = tmp_path_factory.mktemp("birds")
    toy_skeleton.write(folder, pictures=24)
    words = [f"--annotations={folder / 'birds.json'}", f"--images={folder / 'images'}", f"--target={folder / 'stores'}"]
    assert convert(["coco", *words, "--synthetic", "--validation=0.25", "--crop=112", "--box=64", "--codec=raw"]) == 0
    fit.main(settings(folder / "stores", folder / "runs", steps=60))
    return Birds(folder, RunDirectory(next((folder / "runs" / "birds").iterdir())))


def test_a_run_says_its_joints_and_is_measured_by_the_box(birds: Birds) -> None:
    config = yaml.safe_load(birds.run.config.read_text())
    assert config["model"]["init_args"]["joint_set"]["names"] == list(NAMES)
    header = (birds.run.path / "metrics.csv").read_text().split("\n")[0]
    assert "val/pck,val/pck_weighted,val/pck_7,val/pck_0.02,val/auc" in header
    assert len(list((birds.run.path / "samples").glob("*.png"))) >= 1


def test_the_score_is_that_of_numpy(birds: Birds) -> None:
    metrics = json.loads((birds.run.path / "metrics.json").read_text())
    with Store(birds.stores / "val.h5") as store, h5py.File(birds.run.path / "predictions.h5") as file:
        preds, labels = np.asarray(file["preds"]), store.labels
        assert preds.shape == (len(store), 7, 2)
        errors = np.linalg.norm(preds - labels["joints"], axis=-1) / labels["extent"][:, None]
        shares = [(errors[labels["labelled"][:, joint], joint] <= 0.1).mean() for joint in range(7)]
    measure = metrics["measures"]["pck@0.1"]
    assert measure["mean_unweighted_7"]["value"] == pytest.approx(100 * np.mean(shares))
    assert measure["mean_unweighted_7"]["value"] > 30  # the discs are learned
    assert measure["wing"]["value"] == pytest.approx(50 * (shares[1] + shares[2]))
    assert JointSet.read(metrics["joint_set"], "metrics.json").names == NAMES


def test_the_table_has_the_joints_own_names(birds: Birds, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate.main([str(birds.run.path), "--flip-test", "--overlays=1"])
    text = capsys.readouterr().out
    for said in (
        "SYNTHETIC",
        "PCK@0.1",
        "beak",
        "wing",
        "Mean error, box sides",
        "the longer side of the labelled box",
    ):
        assert said in text
    assert max(len(line) for line in text.splitlines() if "/" not in line) <= 80
    assert (birds.run.path / "overlays" / "best.png").is_file()


def test_predictions_from_a_file_are_scored(birds: Birds, tmp_path: Path) -> None:
    with Store(birds.stores / "val.h5") as store:
        truth = Truth.from_store(store)
    path = tmp_path / "perfect.h5"
    predictions.write_predictions(
        path, np.nan_to_num(truth.joints), truth.names, joint_set=truth.joint_set, store=Path("val.h5"), split="val"
    )
    out = tmp_path / "scores.json"
    evaluate.main([f"--predictions={path}", f"--store={birds.stores / 'val.h5'}", f"--json={out}"])
    assert json.loads(out.read_text())["measures"]["pck@0.02"]["mean_7"]["value"] == 100


def test_the_persons_are_scored_by_oks_too(birds: Birds) -> None:
    pytest.importorskip("faster_coco_eval")
    scores = json.loads((birds.run.path / "metrics.json").read_text())["oks"]
    with Store(birds.stores / "val.h5") as store, h5py.File(birds.run.path / "predictions.h5") as file:
        labels, preds = store.labels, np.asarray(file["preds"])
        squares = ((preds - labels["joints"]) ** 2).sum(axis=-1) / (2 * 0.16**2 * labels["area"][:, None])
        similar = [np.exp(-row[known]).mean() for row, known in zip(squares, labels["labelled"], strict=True)]
    # everybody is found once, so that recall at a threshold is the share of persons beyond it
    assert scores["measures"]["ar_50"]["value"] == pytest.approx(100 * np.mean(np.array(similar) >= 0.5))
    assert scores["counts"]["persons"] == len(similar)
    assert "compare within it alone" in scores["sigmas"]


def test_results_in_cocos_form_are_scored(birds: Birds, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faster_coco_eval")
    with Store(birds.stores / "val.h5") as store:
        labels, category = store.labels, store.attrs["category_id"]
        points = np.nan_to_num(np.concatenate([labels["joints"], np.ones((len(store), 7, 1))], axis=2))
        results: list[dict[str, Any]] = [
            {"image_id": int(image), "category_id": category, "keypoints": row.ravel().tolist(), "score": 0.5}
            for image, row in zip(labels["image_id"], points, strict=True)
        ]
    path, out = tmp_path / "results.json", tmp_path / "scores.json"
    words = [f"--predictions={path}", f"--store={birds.stores / 'val.h5'}", f"--json={out}"]
    path.write_text(json.dumps(results))
    evaluate.main(words)
    table = capsys.readouterr().out
    assert "OKS AP" in table
    assert max(len(line) for line in table.splitlines() if "/" not in line) <= 80
    assert json.loads(out.read_text())["oks"]["measures"]["ap"]["value"] == pytest.approx(100)
    path.write_text(json.dumps(results[1:]))
    evaluate.main(words)
    missed = json.loads(out.read_text())["oks"]["measures"]["ar"]["value"]
    assert missed == pytest.approx(100 * (1 - 1 / len(results)))
    for changed, reason in (
        ({"results": results}, "wanted a list of results"),
        ([{**results[0], "image_id": 9999}], "result 0 is of image 9999, which"),
        ([{**results[0], "keypoints": [1.0] * 6}], "has 6 numbers in keypoints; wanted 3 for each of 7 joints"),
        ([{**results[0], "keypoints": [float("nan")] * 21}], "is not finite"),
        ([{**results[0], "score": None}], "of result 0, /score is null"),
        ([{"image_id": 1}], "has no 'category_id'"),
        ([{**results[0], "category_id": 77}], "has no result of category 3"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(SystemExit):
            evaluate.main(words)
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("error: ") == 1


def test_persons_that_a_conversion_has_left_out_are_told_beside_the_ap(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faster_coco_eval")
    toy_skeleton.write(tmp_path, pictures=4)
    (tmp_path / "images" / "bird000.jpg").unlink()
    words = [f"--annotations={tmp_path / 'birds.json'}", f"--images={tmp_path / 'images'}", f"--target={tmp_path}"]
    assert convert(["coco", *words, "--split=val", "--skip-missing", "--crop=112", "--box=64"]) == 0
    (tmp_path / "results.json").write_text("[]")
    evaluate.main([f"--predictions={tmp_path / 'results.json'}", f"--store={tmp_path / 'val.h5'}"])
    text = " ".join(capsys.readouterr().out.split())
    assert "1 labelled persons were left out when the store was converted" in text
    assert "0 detections, 5 persons in 4 images" in text


def predict(arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    from pose_lightning.predict.door import main  # noqa: PLC0415

    main([*arguments, f"--out={folder}"])
    found: dict[str, Any] = json.loads((folder / "joints.json").read_text())
    return found


def test_a_picture_is_predicted_alike_by_the_run_and_by_its_exported_file(birds: Birds, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from pose_lightning.export.door import main as export  # noqa: PLC0415

    picture = str(birds.folder / "images" / "bird000.jpg")
    ours = predict([str(birds.run.path), picture, "--box=10,25,100,100"], tmp_path / "ours")
    person = ours["pictures"][0]["people"][0]
    assert [joint["name"] for joint in person["joints"]] == list(NAMES)
    assert ours["joint_set"] == "bird"
    export([str(birds.run.path), "--format=onnx", f"--out={tmp_path / 'bird.onnx'}"])
    theirs = predict([f"--onnx={tmp_path / 'bird.onnx'}", picture, "--box=10,25,100,100"], tmp_path / "theirs")
    for mine, other in zip(person["joints"], theirs["pictures"][0]["people"][0]["joints"], strict=True):
        assert [mine["x"], mine["y"]] == pytest.approx([other["x"], other["y"]], abs=0.05)


def test_inputs_need_not_be_square(birds: Birds, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Birds lie: they are shown at 64 x 96 px, through all doors."""
    pytest.importorskip("onnx")
    from pose_lightning.export.door import main as export  # noqa: PLC0415
    from pose_lightning.report.__main__ import main as report  # noqa: PLC0415

    wide = ["--data.input_size=[64,96]", "--model.network.depth=3"]
    fit.main([*settings(birds.stores, tmp_path / "runs", steps=60), *wide])
    (run,) = (tmp_path / "runs" / "birds").iterdir()
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["measures"]["pck@0.1"]["mean_unweighted_7"]["value"] > 30  # the discs are learned
    picture = str(birds.folder / "images" / "bird000.jpg")
    for form, option in (("onnx", "onnx"), ("safetensors", "weights")):
        export([str(run), f"--format={form}", f"--out={tmp_path / 'bird'}.{form}"])
        words = [picture, "--box=10,25,60,100"]
        ours, theirs = (
            predict([first, *words], tmp_path / f"{form}{number}")["pictures"][0]["people"][0]
            for number, first in enumerate((str(run), f"--{option}={tmp_path / 'bird'}.{form}"))
        )
        assert (
            ours["box"] == theirs["box"] == {"center": [39.5, 74.5], "width": 187.5, "height": 125.0, "from": "--box"}
        )
        for mine, other in zip(ours["joints"], theirs["joints"], strict=True):
            assert [mine["x"], mine["y"]] == pytest.approx([other["x"], other["y"]], abs=0.05)
    weights = [f"--weights={tmp_path / 'bird.safetensors'}", f"--store={birds.stores / 'val.h5'}"]
    evaluate.main([*weights, f"--json={tmp_path / 'scores.json'}"])
    assert "at 64 x 96 px" in capsys.readouterr().out
    assert json.loads((tmp_path / "scores.json").read_text())["measures"]["error"] == metrics["measures"]["error"]
    evaluate.main([*weights, "--input-size=96x64"])
    assert "at 96 x 64 px" in capsys.readouterr().out
    report([str(run), f"--out={tmp_path / 'report.html'}"])
    assert "could not be built" not in (tmp_path / "report.html").read_text()
    with pytest.raises(SystemExit):
        fit.main([*settings(birds.stores, tmp_path / "none", steps=1), *wide, "--data.input_size=[64,90]"])
    assert "input_size is 90; this hourglass takes only a multiple of 32" in capsys.readouterr().err


def test_weights_alone_know_their_joints(birds: Birds, tmp_path: Path) -> None:
    from pose_lightning.export.door import main as export  # noqa: PLC0415

    export([str(birds.run.path), "--format=safetensors", f"--out={tmp_path / 'bird.safetensors'}"])
    out = tmp_path / "scores.json"
    words = [f"--weights={tmp_path / 'bird.safetensors'}", f"--store={birds.stores / 'val.h5'}"]
    evaluate.main([*words, f"--json={out}"])
    first, second = (json.loads(path.read_text()) for path in (out, birds.run.path / "metrics.json"))
    assert first["measures"]["error"] == second["measures"]["error"] or first["flip_test"] != second["flip_test"]


def test_the_report_and_the_sheet_show_them(birds: Birds, tmp_path: Path) -> None:
    from pose_lightning.browse.__main__ import main as browse  # noqa: PLC0415
    from pose_lightning.report.__main__ import main as report  # noqa: PLC0415

    report([str(birds.run.path), f"--out={tmp_path / 'report.html'}"])
    page = (tmp_path / "report.html").read_text()
    for said in ("PCK@0.1", "left wing", "threshold, box sides", "beak, stack 1", "AP at OKS .75", "drawn"):
        assert said in page
    assert "Published PCKh" not in page
    browse([str(birds.stores), f"--out={tmp_path / 'sheet.html'}"])
    sheet = (tmp_path / "sheet.html").read_text()
    for said in ("left foot", "Longer side of the labelled box", "Joints that are labelled"):
        assert said in sheet


def test_a_run_refuses_stores_of_other_joints(
    birds: Birds, demo_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        evaluate.main([str(birds.run.path), f"--data.root={demo_stores}", "--accept-changed-stores"])
    assert ended.value.code == 2
    assert "has the joint set mpii, and training had bird: it lacks beak, left wing" in capsys.readouterr().err


def test_training_on_one_set_and_validating_on_another_is_refused(
    birds: Birds, demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "train.h5").symlink_to(demo_stores / "train.h5")
    (tmp_path / "mixed" / "val.h5").symlink_to(birds.stores / "val.h5")
    with pytest.raises(SystemExit):
        fit.main(settings(tmp_path / "mixed", tmp_path / "runs", steps=1))
    error = capsys.readouterr().err
    assert "val.h5 has the joint set bird, and training had mpii: it lacks right ankle, right knee" in error
    assert not (tmp_path / "runs").exists()
