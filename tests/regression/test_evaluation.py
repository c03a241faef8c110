"""Scores, baselines, tables and files of predicted clips."""

import io
import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from rich.console import Console

from pose_lightning.errors import UserError
from pose_lightning.joints import H36M
from pose_lightning.regression import evaluation, scoring, table
from pose_lightning.regression.baselines import MEAN_POSE, baselines
from pose_lightning.regression.evaluation import ACTION_POSE, Truth, clip_errors, score, to_json
from pose_lightning.regression.predictions import read_predictions, write_predictions
from pose_lightning.store import Store, StoreWriter

ATTRS: dict[str, Any] = {
    "kind": "clips",
    "split": "test",
    "dataset": "demo",
    "joint_set": "h36m",
    "root": 0,
    "units": "mm",
    "source_unit": "m",
    "frame_rate": 10.0,
    "split_rule": "subjects S9, S11",
    "protocol": None,
    "synthetic": True,
}
ACTIONS = ("Eating", "Walking", "Walking", "Eating", "Walking", "Walking")
SUBJECTS = ("S9", "S9", "S9", "S11", "S11", "S11")


def truth(actions: tuple[str, ...] = ACTIONS, seed: int = 0, **notes: object) -> Truth:
    joints = 300 * np.random.default_rng(seed).normal(size=(len(actions), 4, 17, 3))
    return Truth(
        joints=joints - joints[:, :, :1],
        names=tuple(f"clip {index}" for index in range(len(actions))),
        subject=np.array(SUBJECTS[: len(actions)]),
        action=np.array(actions),
        group=np.arange(len(actions)) // 2,
        notes={**ATTRS, **notes},
    )


def test_every_group_is_scored_by_its_own_clips() -> None:
    labels = truth()
    preds = labels.joints.copy()
    shifts = np.array([10.0, 20, 30, 40, 50, 60])
    preds[..., 1:, 0] += shifts[:, None, None]  # all joints but the root
    found = score(preds, labels, resamples=50)
    assert found.measures["mpjpe"].value == pytest.approx(35 * 16 / 17)
    assert found.measures["mpjpe_16"].value == found.measures["mpjpe_rooted_16"].value == pytest.approx(35)
    assert {name: each["mpjpe_16"].value for name, each in found.actions.items()} == {
        "Eating": pytest.approx(25),
        "Walking": pytest.approx(40),
    }
    assert found.over_actions["mpjpe_16"].value == pytest.approx((25 + 40) / 2)
    assert {name: each["mpjpe_16"].value for name, each in found.subjects.items()} == {
        "S11": pytest.approx(50),
        "S9": pytest.approx(20),
    }
    assert found.joints["pelvis"].value == 0
    assert found.joints["left wrist"].value == pytest.approx(35)
    assert found.measures["mse"].value == pytest.approx(np.mean(shifts**2) / 3 * 16 / 17 / 1e6)
    assert found.counts["clips_by_action"] == {"Eating": 2, "Walking": 4}
    np.testing.assert_allclose(clip_errors(preds, labels), shifts * 16 / 17)


def test_intervals_resample_sequences() -> None:
    labels = truth()
    preds = labels.joints + np.repeat([0.0, 30.0, 60.0], 2)[:, None, None, None]  # three sequences of two clips
    found = score(preds, labels, resamples=4000).measures["mpjpe"]
    root3 = math.sqrt(3)
    assert found.value == pytest.approx(30 * root3)
    assert (found.low, found.high) == (pytest.approx(0), pytest.approx(60 * root3))  # 1 in 27 draws are all alike
    one = Truth(**{**labels.__dict__, "group": np.zeros(6, np.int64)})
    assert math.isnan(score(preds, one, resamples=50).measures["mpjpe"].low)


def test_the_mean_of_actions_has_an_interval_though_each_has_two_sequences() -> None:
    names = tuple(f"action {index}" for index in range(15) for _ in range(2))
    joints = np.zeros((30, 1, 17, 3))
    labels = Truth(
        joints=joints,
        names=names,
        subject=np.full(30, "S9"),
        action=np.array(names),
        group=np.arange(30),
        notes=ATTRS,
    )
    shifts = np.random.default_rng(0).normal(50, 10, size=30)
    preds = joints.copy()
    preds[..., 1:, 0] = shifts[:, None, None]
    found = score(preds, labels, resamples=4000)
    mean = found.over_actions["mpjpe_rooted_16"]
    pairs = shifts.reshape(15, 2)
    half = 1.96 * math.sqrt((pairs.var(axis=1, ddof=1) / 2).sum()) / 15  # of a mean of independent means of two
    assert mean.value == pytest.approx(shifts.mean())
    assert (mean.low, mean.high) == (
        pytest.approx(shifts.mean() - half, abs=0.1 * half),
        pytest.approx(shifts.mean() + half, abs=0.1 * half),
    )
    assert math.isnan(found.actions["action 3"]["mpjpe_rooted_16"].low)
    assert "A dash for an interval" in " ".join(evaluation.footnotes([found]))


def test_squared_errors_are_in_the_unit_of_the_source() -> None:
    metres, millimetres = truth(), truth(source_unit="mm")
    first, second = (score(each.joints + 10, each, resamples=10) for each in (metres, millimetres))
    assert first.measures["mse"].value == pytest.approx(1e-4)
    assert second.measures["mse"].value == pytest.approx(100)
    assert "MSE, mm^2" in rendered(second)


def test_unknown_actions_give_no_table_by_action() -> None:
    labels = truth(actions=("", "", ""))
    found = score(labels.joints, labels, resamples=10)
    assert found.actions == found.over_actions == {}
    assert "by action" not in rendered(found).split("Baselines")[0].split("All measures")[0]
    assert set(baselines(truth(), labels)) == {MEAN_POSE}


def test_a_prediction_that_is_not_finite_is_refused_by_name() -> None:
    labels = truth()
    preds = labels.joints.copy()
    preds[3, 2, 16, 1] = math.nan
    with pytest.raises(UserError, match=r"'clip 3', frame 2, right wrist"):
        score(preds, labels)
    with pytest.raises(UserError, match=r"\(5, 4, 17, 3\).*\(6, 4, 17, 3\)"):
        score(preds[:5], labels)


def test_baselines_are_means_of_the_training_poses() -> None:
    train, labels = truth(seed=1), truth(seed=2)
    poses = baselines(train, labels)
    np.testing.assert_allclose(poses[MEAN_POSE][4, 3], train.joints.mean(axis=(0, 1)))
    np.testing.assert_allclose(poses[ACTION_POSE][0, 1], train.joints[[0, 3]].mean(axis=(0, 1)))
    np.testing.assert_allclose(poses[ACTION_POSE][1, 0], train.joints[[1, 2, 4, 5]].mean(axis=(0, 1)))
    untrained = Truth(**{**labels.__dict__, "action": np.array(["Sitting", *ACTIONS[1:]])})
    assert set(baselines(train, untrained)) == {MEAN_POSE}


def test_footnotes_tell_of_the_baselines_that_there_are() -> None:
    train, labels = truth(seed=1), truth(seed=2)
    untrained = Truth(**{**labels.__dict__, "action": np.array(["Sitting", *ACTIONS[1:]])})
    unknown = Truth(**{**labels.__dict__, "action": np.full(6, "")})
    for asked, said in ((labels, "(privileged)"), (untrained, "does not have them all"), (unknown, "are unknown")):
        poses = {"model": asked.joints, **baselines(train, asked)}
        notes = " ".join(evaluation.footnotes([score(each, asked, title=name) for name, each in poses.items()]))
        assert said in notes
        assert ("privileged" in notes) == (asked is labels)


def rendered(*scores: evaluation.Score) -> str:
    text = io.StringIO()
    Console(file=text, width=80).print(table.render(scores))
    return text.getvalue()


def test_the_table_fits_80_columns_and_names_every_joint() -> None:
    labels = truth()
    poses = {"regression_vgg_lstm_demo": labels.joints + 12345.6, **baselines(truth(seed=1), labels)}
    text = rendered(*(score(each, labels, title=name, resamples=100) for name, each in poses.items()))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    for name in (*H36M.names, "Eating", "Walking", "S11", "mean of actions", "PA-MPJPE"):
        assert name in text
    assert "SYNTHETIC" in text
    assert "SYNTHETIC" not in rendered(score(labels.joints, truth(synthetic=False), resamples=10))
    assert "..." not in text
    assert "…" not in text


def test_json_has_no_nan() -> None:
    labels = truth()
    written = json.loads(
        json.dumps(to_json([score(labels.joints[:, :1], first_frames(labels), resamples=10)]), allow_nan=False)
    )
    assert written["measures"]["mpjve"]["value"] is None
    assert written["measures"]["mpjpe"]["value"] == 0
    assert written["loss"] is None


def first_frames(labels: Truth) -> Truth:
    return Truth(**{**labels.__dict__, "joints": labels.joints[:, :1]})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_store(tmp_path / "test.h5")
    return tmp_path / "test.h5"


def write_store(path: Path, seed: int = 0, **attrs: object) -> None:
    labels = truth(seed=seed)
    with StoreWriter(path, codec=None, attrs={**ATTRS, **attrs}) as writer:
        for index, name in enumerate(labels.names):
            row = {"name": name, "subject": SUBJECTS[index], "action": ACTIONS[index], "sequence": f"s{index // 2}"}
            writer.append(None, {**row, "joints": labels.joints[index].astype(np.float32)})


def test_truth_is_what_the_store_holds(store: Path) -> None:
    with Store(store) as opened:
        found, cut = Truth.from_store(opened), Truth.from_store(opened, frames=2)
    np.testing.assert_allclose(found.joints, truth().joints, rtol=1e-6)
    assert found.group.tolist() == [0, 0, 1, 1, 2, 2]
    assert cut.joints.shape == (6, 2, 17, 3)


@pytest.mark.parametrize(("key", "value"), [("kind", "pose"), ("joint_set", "mpii"), ("root", 1), ("units", "m")])
def test_a_store_of_another_kind_is_refused(tmp_path: Path, key: str, value: object) -> None:
    write_store(tmp_path / "other.h5", **{key: value})
    with Store(tmp_path / "other.h5") as opened, pytest.raises(UserError, match=rf"other\.h5: {key} is"):
        Truth.from_store(opened)


def test_our_own_predictions_come_back(tmp_path: Path) -> None:
    labels = truth()
    path = tmp_path / "predictions.h5"
    write_predictions(path, labels.joints, labels.names, store=Path("test.h5"), split="test")
    assert [each.name for each in tmp_path.iterdir()] == ["predictions.h5"]
    read = read_predictions(path, labels.joints.shape, labels.names)
    assert read.unit == "mm"
    np.testing.assert_array_equal(read.preds, labels.joints)
    with pytest.raises(UserError, match="prediction 1 is of another clip than the store's 'other'"):
        read_predictions(path, labels.joints.shape, ["clip 0", "other", *labels.names[2:]])


@pytest.mark.parametrize("shape", [(6, 4, 17, 3), (6, 4, 51), (24, 17, 3)])
def test_foreign_arrays_are_told_by_shape_and_spread(tmp_path: Path, shape: tuple[int, ...]) -> None:
    labels = truth()
    np.save(tmp_path / "preds.npy", (labels.joints / 1000).reshape(shape))
    read = read_predictions(tmp_path / "preds.npy", labels.joints.shape, labels.names)
    assert read.unit == "m"
    np.testing.assert_allclose(read.preds, labels.joints, rtol=1e-12)


@pytest.mark.parametrize("axes", [(0, 1, 3, 2), (0, 2, 1, 3), (0, 3, 1, 2)])
def test_swapped_axes_are_refused_and_not_scrambled(tmp_path: Path, axes: tuple[int, ...]) -> None:
    labels = truth()
    np.save(tmp_path / "preds.npy", labels.joints.transpose(axes))
    with pytest.raises(UserError, match=r"need numbers of shape \(6, 4, 17, 3\), \(6, 4, 51\) or \(24, 17, 3\)"):
        read_predictions(tmp_path / "preds.npy", labels.joints.shape, labels.names)


def test_one_wild_joint_does_not_decide_the_unit(tmp_path: Path) -> None:
    labels = truth()
    metres = labels.joints / 1000
    metres[0, 0, 5, 0] = 150.0
    np.save(tmp_path / "preds.npy", metres)
    assert read_predictions(tmp_path / "preds.npy", labels.joints.shape, labels.names).unit == "m"


def test_a_unit_other_than_the_recorded_one_is_refused(tmp_path: Path) -> None:
    labels, path = truth(), tmp_path / "predictions.h5"
    write_predictions(path, labels.joints, labels.names, store=Path("test.h5"), split="test")
    assert read_predictions(path, labels.joints.shape, labels.names, unit="mm").unit == "mm"
    with pytest.raises(UserError, match="records mm, but --unit m"):
        read_predictions(path, labels.joints.shape, labels.names, unit="m")


def test_files_of_another_kind_are_refused_by_name(tmp_path: Path) -> None:
    labels = truth()
    np.savez(tmp_path / "archive.npz", preds=labels.joints)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    with pytest.raises(UserError, match=r"archive\.npy cannot be read as .npy: it is an archive"):
        read_predictions(tmp_path / "archive.npy", labels.joints.shape, labels.names)
    with h5py.File(tmp_path / "numbered.h5", "w") as file:
        file["preds"], file["name"] = labels.joints, np.arange(6)
    with pytest.raises(UserError, match=r"numbered\.h5: 'name' is int64 \(6,\); wanted texts"):
        read_predictions(tmp_path / "numbered.h5", labels.joints.shape, labels.names)


def test_foreign_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    labels = truth()
    path, wanted = tmp_path / "preds.npy", labels.joints.shape
    np.save(path, labels.joints[:5])
    with pytest.raises(UserError, match=r"preds\.npy.*\(5, 4, 17, 3\).*\(6, 4, 17, 3\)"):
        read_predictions(path, wanted, labels.names)
    np.save(path, labels.joints / 50)
    with pytest.raises(UserError, match="--unit"):
        read_predictions(path, wanted, labels.names)
    assert read_predictions(path, wanted, labels.names, unit="mm").unit == "mm"
    bad = labels.joints.copy()
    bad[2, 1, 3, 0] = math.inf
    np.save(path, bad)
    with pytest.raises(UserError, match="'clip 2', frame 1, right ankle"):
        read_predictions(path, wanted, labels.names)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="holds Python objects"):
        read_predictions(path, wanted, labels.names)
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["joints"] = labels.joints
    with pytest.raises(UserError, match=r"no dataset 'preds'; it has \['joints'\]"):
        read_predictions(tmp_path / "none.h5", wanted, labels.names)
    with pytest.raises(UserError, match="there is no such file"):
        read_predictions(tmp_path / "absent.npy", wanted, labels.names)


def test_clips_that_were_trained_on_are_told(tmp_path: Path) -> None:
    write_store(tmp_path / "train.h5")
    write_store(tmp_path / "same.h5")
    write_store(tmp_path / "fresh.h5", seed=2)
    for name, seen in (("same", 6), ("fresh", 0)):
        with Store(tmp_path / "train.h5") as train, Store(tmp_path / f"{name}.h5") as store:
            found = {"preds": np.array(store.labels["joints"], np.float64), "loss": np.zeros(6)}
            outcome = scoring.judge(found, store, train, title="model")
        assert outcome.json["notes"]["in_training"] == seen
        assert ("6 of these clips were trained on" in " ".join(outcome.json["definitions"])) == bool(seen)
