"""3D regression as a LightningModule: losses, targets and the doors on drawn clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.testing import assert_close

from pose_lightning import evaluate, fit
from pose_lightning.errors import UserError
from pose_lightning.metrics.poses import clip_measures
from pose_lightning.regression.data import ClipData
from pose_lightning.regression.task import ClipRegression
from pose_lightning.store import Store

SIZE = 32
SMALL: dict[str, Any] = {
    "encoder": "conv",
    "encoder_width": 0.125,
    "encoder_features": [],
    "input_size": SIZE,
    "temporal_features": 8,
    "head_features": [],
}


def task(**settings: Any) -> ClipRegression:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return ClipRegression(**{**SMALL, "lr": 1e-2, **settings})


def data(root: Path, **settings: Any) -> ClipData:
    return ClipData(root, **{"batch_size": 4, "input_size": SIZE, "num_threads": 1, **settings})


def trainer(**settings: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **settings)


def logged(found: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in found.items()}


def test_validation_is_exact_over_unequal_batches(demo_clip_stores: Path) -> None:
    model = task()
    runner = trainer()
    by_five = logged(runner.validate(model, data(demo_clip_stores, batch_size=5), verbose=False)[0])
    at_once = logged(runner.validate(model, data(demo_clip_stores, batch_size=64), verbose=False)[0])
    assert by_five == pytest.approx(at_once, rel=1e-5)
    batches: Any = runner.predict(model, data(demo_clip_stores))  # the test split
    preds = torch.cat([batch["preds"] for batch in batches])
    with Store(demo_clip_stores / "test.h5") as store:
        truth = torch.tensor(store.labels["joints"]).double()
    assert preds.dtype == torch.float64
    tested = ((preds - truth) / 1000).square().mean(dim=(1, 2, 3))
    assert_close(torch.cat([batch["loss"] for batch in batches]), tested, rtol=1e-5, atol=0)
    assert {"val/mpjpe", "val/pa_mpjpe", "val/loss"} <= set(by_five)


def test_accumulated_batches_train_like_the_whole_one(demo_clip_stores: Path) -> None:
    models = []
    for accumulate in (1, 4):
        models.append(task())
        runner = trainer(max_steps=3, accumulate_grad_batches=accumulate, limit_val_batches=0)
        runner.fit(models[-1], data(demo_clip_stores, batch_size=8))
    for key, value in models[0].model.state_dict().items():
        assert_close(models[1].model.state_dict()[key], value, rtol=1e-4, atol=1e-7)


def test_a_sigmoid_needs_targets_between_0_and_1(demo_clip_stores: Path) -> None:
    runner = trainer(fast_dev_run=True)
    with pytest.raises(UserError, match=r"sigmoid.*minmax"):
        runner.fit(task(head_activation="sigmoid"), data(demo_clip_stores))
    model = task(head_activation="sigmoid", target_transform="minmax")
    runner.fit(model, data(demo_clip_stores))
    with Store(demo_clip_stores / "train.h5") as store:
        joints = store.labels["joints"]
    clip = torch.rand(2, 8, 3, SIZE, SIZE)
    preds = model(clip).detach().numpy()
    assert (preds[..., 1:, :] >= joints.min(axis=(0, 1))[1:] - 0.1).all()
    assert (preds[..., 1:, :] <= joints.max(axis=(0, 1))[1:] + 0.1).all()


def test_fitted_targets_survive_in_the_weights(demo_clip_stores: Path) -> None:
    model = task(target_transform="standardize")
    trainer(fast_dev_run=True).fit(model, data(demo_clip_stores))
    again = task(target_transform="standardize")
    with pytest.raises(RuntimeError, match="neither fitted nor loaded"):
        again(torch.rand(1, 8, 3, SIZE, SIZE))
    again.load_state_dict(model.state_dict())
    clip = torch.rand(1, 8, 3, SIZE, SIZE)
    assert_close(again(clip), model(clip))


def test_frames_of_another_size_are_refused(demo_clip_stores: Path) -> None:
    with pytest.raises(UserError, match=r"data\.input_size is 64 and model\.input_size 32"):
        trainer(fast_dev_run=True).fit(task(), data(demo_clip_stores, input_size=64))


def test_integral_heads_say_metres() -> None:
    with pytest.raises(UserError, match="target_transform=minmax"):
        task(head="integral", target_transform="minmax")


def test_the_flip_test_does_not_tell_left_from_right(demo_clip_stores: Path) -> None:
    model = task()
    model.flip_test = True
    model.eval()
    batch = next(iter(data(demo_clip_stores).evaluation_loader("val")))
    batch["clip"] = torch.rand(4, 8, 3, SIZE, SIZE)
    mirrored = {**batch, "clip": batch["clip"].flip(-1)}
    with torch.no_grad():
        preds, others = (model.predict_step(each, 0)["preds"] for each in (batch, mirrored))
    swapped = others[:, :, [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]]
    assert_close(preds, swapped * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64), rtol=0, atol=1e-3)


def test_bones_and_steps_add_to_the_loss(demo_clip_stores: Path) -> None:
    batch = {"clip": torch.rand(2, 8, 3, SIZE, SIZE), "joints": 200 * torch.randn(2, 8, 17, 3), "weight": torch.ones(2)}
    batch["total_samples"] = torch.tensor(2.0)
    plain, more = task(), task(bone_weight=0.5, velocity_weight=0.25)
    with torch.no_grad():
        preds = plain(batch["clip"])
        extra = (more.training_loss(batch)[0] - plain.training_loss(batch)[0]).item() / 2
    steps = clip_measures(preds, batch["joints"])["mpjve"].mean().item() / 1000
    starts, ends = ([0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15], [*range(1, 17)])
    lengths = [(each[:, :, ends] - each[:, :, starts]).norm(dim=-1) / 1000 for each in (preds, batch["joints"])]
    bones = (lengths[0] - lengths[1]).abs().mean().item()
    assert extra == pytest.approx(0.5 * bones + 0.25 * steps, rel=1e-4)


@pytest.fixture
def arguments(demo_clip_stores: Path, tmp_path: Path) -> list[str]:
    settings = {
        "model": "ClipRegression",
        "model.encoder": "conv",
        "model.encoder_width": 0.125,
        "model.encoder_features": [],
        "model.input_size": SIZE,
        "model.temporal_features": 8,
        "model.head_features": [],
        "data": "ClipData",
        "data.root": demo_clip_stores,
        "data.batch_size": 4,
        "data.input_size": SIZE,
        "trainer.max_epochs": 2,
        "trainer.log_every_n_steps": 1,
        "trainer.enable_progress_bar": False,
        "runs": tmp_path / "runs",
        "experiment": "clips",
        "wandb.mode": "disabled",
    }
    return [f"--{key}={value}" for key, value in settings.items()]


def test_the_doors_train_score_and_draw(
    arguments: list[str], demo_clip_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit.main(arguments)
    (run,) = (tmp_path / "runs" / "clips").iterdir()
    said = capsys.readouterr().out
    for fact in ("SYNTHETIC", "right ankle", "Walking", "action's", "PA-MPJPE"):
        assert fact in said
    assert {path.name for path in (run / "curves").iterdir()} == {"loss.png", "mpjpe.png"}
    scores = json.loads((run / "metrics.json").read_text())
    assert scores["chosen_on_this_split"] is True
    assert [each["title"] for each in scores["baselines"]] == ["mean training pose", "action's mean pose"]

    evaluate.main([str(run), "--split", "test"])
    capsys.readouterr()
    tested = json.loads((run / "metrics-test.json").read_text())
    test = demo_clip_stores / "test.h5"
    evaluate.main(
        [
            "--predictions",
            str(run / "predictions-test.h5"),
            "--store",
            str(test),
            "--json",
            str(tmp_path / "again.json"),
        ]
    )
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["measures"] == tested["measures"]

    with Store(test) as store:
        np.save(tmp_path / "frames.npy", np.stack([store.pixels(index) for index in range(len(store))]))
        np.save(tmp_path / "joints.npy", np.stack(list(store.labels["joints"])) / 1000)
    pair = ["--clips", str(tmp_path / "frames.npy"), "--joints", str(tmp_path / "joints.npy")]
    evaluate.main([str(run), *pair, "--unit", "m", "--json", str(tmp_path / "pair.json")])
    of_pair = json.loads((tmp_path / "pair.json").read_text())
    assert of_pair["loss"] == pytest.approx(tested["loss"], rel=1e-5)
    for name in ("mpjpe", "pa_mpjpe"):
        assert of_pair["measures"][name]["value"] == pytest.approx(tested["measures"][name]["value"], rel=1e-5)
