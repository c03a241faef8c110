import os
from pathlib import Path

import numpy as np
import pytest
import torch

import pose_lightning.heatmap.scoring
import pose_lightning.regression.scoring
from pose_lightning.activity.scoring import ActivityScoring
from pose_lightning.activity.truth import Truth as Labels
from pose_lightning.errors import UserError
from pose_lightning.heatmap.truth import Truth
from pose_lightning.metrics.classes import ClassErrors, RankedTags, TagErrors, average_precision_influences
from pose_lightning.metrics.points import PCK
from pose_lightning.metrics.poses import PoseErrors
from pose_lightning.regression.evaluation import Truth as Clips
from pose_lightning.scoring import SampleScores, write_arrays
from pose_lightning.statistics import ratio_influences
from pose_lightning.store import Store
from tests.room import room


def values(scores: SampleScores) -> dict[str, float]:
    return {name: ratio_influences(*part, scores.groups)[0] for name, part in scores.parts.items()}


def test_persons_add_up_to_the_logged_scores(demo_stores: Path) -> None:
    rng = np.random.default_rng(0)
    with Store(demo_stores / "val.h5") as store:
        truth = Truth.from_store(store)
        spread = 0.4 * truth.unit[:, None, None]
        preds = np.nan_to_num(truth.joints + spread * rng.normal(size=truth.joints.shape))
        preds[0, 3] = np.nan
        losses, counted = rng.random((len(truth), 2)), truth.labelled.sum(axis=1, dtype=np.float64)
        told = {"preds": preds, "loss": losses.sum(axis=1), "counted": counted}
        found = values(pose_lightning.heatmap.scoring.sample_scores(told, store))
    metric = PCK(truth.joint_set)
    joints, labelled, visible, size = map(torch.tensor, (truth.joints, truth.labelled, truth.visible, truth.unit))
    metric.update(torch.tensor(preds), joints, labelled, visible, size, torch.ones(len(truth)))
    expected = {name: value.item() for name, value in metric.compute().items()}
    assert found == pytest.approx(expected | {"loss": losses.sum() / counted.sum()})


def test_clips_add_up_to_the_logged_scores(demo_clip_stores: Path) -> None:
    rng = np.random.default_rng(1)
    with Store(demo_clip_stores / "val.h5") as store:
        truth = Clips.from_store(store)
        preds = truth.joints + 50 * rng.normal(size=truth.joints.shape)
        losses = rng.random(len(truth))
        scores = pose_lightning.regression.scoring.sample_scores({"preds": preds, "loss": losses}, store)
    metric = PoseErrors()
    metric.update(torch.tensor(preds), torch.tensor(truth.joints), torch.ones(len(truth)))
    expected = {name: value.item() for name, value in metric.compute().items()}
    assert values(scores) == pytest.approx(expected | {"loss": losses.mean()})


@pytest.mark.parametrize("target", ["category", "tags"])
def test_pictures_add_up_to_the_logged_scores(demo_activity_stores: Path, target: str) -> None:
    rng = np.random.default_rng(2)
    with Store(demo_activity_stores / "val.h5") as store:
        truth = Labels.from_store(store, target)  # type: ignore[arg-type]
        preds = rng.random(truth.has.shape)
        if target == "category":
            preds /= preds.sum(axis=1, keepdims=True)
        found = {"preds": preds, "loss": np.ones(len(preds))}
        scores = ActivityScoring(target).sample_scores(found, store)  # type: ignore[arg-type]
    metric = TagErrors(len(truth.classes)) if target == "tags" else ClassErrors(len(truth.classes))
    label = torch.tensor(truth.has.argmax(axis=1)) if target == "category" else torch.tensor(truth.has).float()
    metric.update(torch.tensor(preds), label, torch.ones(len(preds)))
    expected = {name: value.item() for name, value in metric.compute().items()}
    left_out = {"ece", "weighted_f1"} & set(expected)
    assert values(scores) == pytest.approx({k: v for k, v in expected.items() if k not in left_out} | {"loss": 1.0})


def test_a_picture_moves_average_precision_as_a_little_more_weight_does() -> None:
    rng = np.random.default_rng(3)
    scores = torch.tensor(rng.integers(0, 6, size=(12, 3)) / 6.0)  # with ties
    target = torch.tensor(rng.random((12, 3)) < 0.4)
    target[:, 2] = False
    found = average_precision_influences(scores, target)
    assert found.mean().item() == pytest.approx(0.0, abs=1e-12)
    ranked, many = RankedTags(scores, target), 10**7
    before = ranked.average_precision().nanmean()
    for place in range(12):
        times = torch.full((12,), many)
        times[place] += 1
        moved = (ranked.average_precision(times).nanmean() - before) * many
        assert found[place].item() / 12 == pytest.approx(moved.item(), abs=1e-5)


def test_sample_scores_come_back_as_they_were_written(tmp_path: Path) -> None:
    part = (np.arange(6.0).reshape(3, 2), np.ones((3, 2)))
    SampleScores(("a", "b", "ü"), np.array([4, 4, 2]), {"pckh": part}).write(tmp_path / "samples.h5", step=7)
    read = SampleScores.read(tmp_path / "samples.h5", "pckh")
    assert read is not None
    scores, facts = read
    assert scores.names == ("a", "b", "ü")
    assert scores.groups.tolist() == [4, 4, 2]
    assert np.array_equal(scores.parts["pckh"], part)
    assert facts["step"] == 7
    assert SampleScores.read(tmp_path / "samples.h5", "mpjpe") is None


def test_a_damaged_file_of_sample_scores_is_refused(tmp_path: Path) -> None:
    (tmp_path / "samples.h5").write_bytes(b"no HDF5")
    with pytest.raises(UserError, match="evaluate the run again"):
        SampleScores.read(tmp_path / "samples.h5", "pckh")


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_scores_and_predictions_are_written_whole_or_not_at_all(tmp_path: Path, size: int) -> None:
    part = (np.random.default_rng(1).random((3000, 2)), np.ones((3000, 2)))
    scores = SampleScores(tuple("a" * 3000), np.arange(3000), {"pckh": part})
    for path, write in (
        (tmp_path / "samples.h5", lambda path: scores.write(path, step=7)),
        (tmp_path / "predictions.h5", lambda path: write_arrays(path, {"preds": part[0]}, store=path, split="val")),
    ):
        write(path)
        before = path.read_bytes()
        with room(size), pytest.raises(UserError, match=rf"{path.name} cannot be written: .*larger than this system"):
            write(path)
        assert path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.h5", "samples.h5"]


def test_scores_are_on_the_disk_before_they_have_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sync, existed = tmp_path / "samples.h5", os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda descriptor: (existed.append(path.exists()), sync(descriptor)))
    SampleScores(("a",), np.array([1]), {"pckh": (np.ones((1, 2)), np.ones((1, 2)))}).write(path, step=7)
    assert existed == [False, True]  # the file, and then its folder
