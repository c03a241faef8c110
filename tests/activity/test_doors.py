"""Cross-validation, tags and prediction through the doors that a user opens."""

import json
from pathlib import Path

import pytest

from pose_lightning import evaluate, fit, predict
from pose_lightning.convert import demo
from pose_lightning.store import Store

ROOT = Path(__file__).resolve().parents[2]
FOLDS = 3


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `train.h5`, which has folds, and no `val.h5`."""
    target = tmp_path_factory.mktemp("folded")
    demo.write_activities(target, people=60, seed=3, folds=FOLDS)
    return target / "folds" / "activity"


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def arguments(experiment: str, root: Path, runs: Path, number: int, *more: str) -> list[str]:
    return [
        f"--config={ROOT}/experiments/{experiment}.yaml",
        f"--config={ROOT}/experiments/demo/{experiment}.yaml",
        f"--model.num_classes={number}",
        "--model.input_size=32",
        "--data.input_size=32",
        "--trainer.max_epochs=1",
        "--trainer.log_every_n_steps=1",
        f"--data.root={root}",
        f"--runs={runs}",
        *more,
    ]


def test_runs_of_all_folds_are_scored_as_one(folded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(folded / "train.h5") as store:
        pictures = int((store.labels["category"] != "").sum())
        number = len(store.attrs["categories"])
    assert not (folded / "val.h5").exists()
    runs = [
        fit.fit(arguments("activity_xception", folded, tmp_path, number, f"--data.fold={fold}"))
        for fold in range(FOLDS)
    ]
    capsys.readouterr()
    evaluate.main([*map(str, runs), "--json", str(tmp_path / "folds.json")])
    assert "By fold" in capsys.readouterr().out
    found = json.loads((tmp_path / "folds.json").read_text())
    assert found["counts"]["pictures"] == pictures
    assert found["folds"]["folds"] == list(range(FOLDS))
    each = [json.loads((run / "metrics.json").read_text()) for run in runs]
    tops = [fold["measures"]["top1"]["value"] for fold in each]
    counts = [fold["counts"]["pictures"] for fold in each]
    assert found["folds"]["measures"]["top1"]["values"] == pytest.approx(tops)
    pooled = sum(top * count for top, count in zip(tops, counts, strict=True)) / pictures
    assert found["measures"]["top1"]["value"] == pytest.approx(pooled)
    with pytest.raises(SystemExit):
        evaluate.main([str(run) for run in runs[:-1]])
    assert f"no run predicts fold {FOLDS - 1}" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main([*map(str, runs), "--flip-test"])
    assert "--flip-test cannot go with several runs" in capsys.readouterr().err


def test_a_store_with_folds_asks_which(folded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fit.main(arguments("activity_xception", folded, tmp_path, 20))
    assert "data.fold=0 to 2" in capsys.readouterr().err


def test_tags_are_trained_scored_and_predicted(
    demo_activity_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(demo_activity_stores / "train.h5") as store:
        number = len(store.attrs["tags"])
        photograph = tmp_path / "photograph.dat"  # told by its content
        photograph.write_bytes(store.payload(0))
    run = fit.fit(arguments("activity_multilabel", demo_activity_stores, tmp_path / "runs", number))
    said = capsys.readouterr().out
    for fact in ("mAP", "element accuracy", "99.91 %", "SYNTHETIC"):
        assert fact in said
    before = json.loads((run / "metrics.json").read_text())["measures"]
    evaluate.main(
        [
            f"--predictions={run / 'predictions.h5'}",
            f"--store={demo_activity_stores / 'val.h5'}",
            f"--json={tmp_path / 'again.json'}",
        ]
    )
    assert json.loads((tmp_path / "again.json").read_text())["measures"] == before
    predict.main([str(run), str(photograph), "--out", str(tmp_path / "out"), "--json", str(tmp_path / "tags.json")])
    assert list((tmp_path / "out").glob("*.png")) or list((tmp_path / "out").glob("*.jpg"))
    assert json.loads((tmp_path / "tags.json").read_text())


def test_a_run_is_scored_though_the_weights_that_it_started_from_are_gone(
    demo_activity_stores: Path, tmp_path: Path
) -> None:
    import timm  # noqa: PLC0415 - slow, and only needed here
    import torch  # noqa: PLC0415

    with Store(demo_activity_stores / "train.h5") as store:
        number = len(store.attrs["categories"])
    weights = tmp_path / "weights.pt"
    torch.save(timm.create_model("resnet10t", num_classes=7).state_dict(), weights)
    given = arguments("activity_images", demo_activity_stores, tmp_path / "runs", number, "--model.warmup=0")
    run = fit.fit([*given, f"--model.weights={weights}"])
    before = json.loads((run / "metrics.json").read_text())
    weights.unlink()
    evaluate.main([str(run)])
    assert json.loads((run / "metrics.json").read_text()) == before
    assert f"weights: {weights}" in (run / "config.yaml").read_text()
    with pytest.warns(UserWarning, match=r"cosine ended .*; from there on the run trains at lr=0"):
        fit.fit(["--resume", str(run), "--trainer.max_epochs=2"])
    assert f"weights: {weights}" in (run / "config.yaml").read_text()
