"""Files of probabilities: what is read back, and what is refused."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from pose_lightning.activity.predictions import predicted_target, read, read_predictions, write_predictions
from pose_lightning.activity.scoring import ActivityScoring
from pose_lightning.activity.truth import Truth
from pose_lightning.errors import UserError
from pose_lightning.store import Store, StoreWriter

CLASSES = ("bicycling", "dancing", "sitting, talking")
NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
PREDS = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.25, 0.5, 0.25]])


@pytest.fixture
def truth() -> Truth:
    return Truth(
        target="activity",
        classes=CLASSES,
        has=np.eye(3, dtype=bool)[[0, 1, 2, 0]],
        names=NAMES,
        group=np.arange(4),
        fold=np.full(4, -1),
        notes={},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "predictions.h5"
    write_predictions(path, PREDS, NAMES, CLASSES, target="activity", store=tmp_path / "val.h5", split="val")
    return path


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_what_is_written_is_read_back(written: Path, truth: Truth) -> None:
    found = read_predictions(written, truth)
    assert np.array_equal(found.preds, PREDS)
    assert (found.names, found.classes) == (NAMES, CLASSES)
    assert [path.name for path in written.parent.iterdir()] == ["predictions.h5"]
    with h5py.File(written) as file:
        assert {key: file.attrs[key] for key in ("target", "store", "split")} == {
            "target": "activity",
            "store": "val.h5",
            "split": "val",
        }


def test_a_bare_array_in_half_precision_is_read(tmp_path: Path, truth: Truth) -> None:
    found = read_predictions(saved(tmp_path / "preds.npy", PREDS.astype(np.float16)), truth)
    np.testing.assert_allclose(found.preds, PREDS, atol=1e-3)
    assert found.names is None


def test_logits_are_refused_with_the_remedy(tmp_path: Path, truth: Truth) -> None:
    with pytest.raises(UserError, match=r"row 0, column 1 is -1.5, no probability; .* apply softmax over"):
        read_predictions(saved(tmp_path / "logits.npy", np.array([[1.0, -1.5, 2.0]] * 4)), truth)
    sigmoids = np.array([[0.9, 0.8, 0.1]] * 4)
    with pytest.raises(UserError, match=r"row 0: its probabilities add up to 1.8, not to 1; .* apply softmax"):
        read_predictions(saved(tmp_path / "sigmoids.npy", sigmoids), truth)
    tags = replace(truth, target="tags")
    assert np.array_equal(read_predictions(saved(tmp_path / "tags.npy", sigmoids), tags).preds, sigmoids)
    with pytest.raises(UserError, match=r"column 0 is 3, no probability; .* apply a sigmoid first"):
        read_predictions(saved(tmp_path / "tags.npy", np.full((4, 3), 3.0)), tags)


def test_a_number_that_is_not_finite_is_named(written: Path, truth: Truth) -> None:
    with h5py.File(written, "r+") as file:
        file["preds"][2, 1] = np.nan
    with pytest.raises(UserError, match=r"'c.jpg', column 1 is not finite; predict every class"):
        read_predictions(written, truth)


def test_another_size_order_or_list_of_classes_is_refused(written: Path, tmp_path: Path, truth: Truth) -> None:
    with pytest.raises(UserError, match=r"\(3, 3\); wanted \(4, 3\), one row for each picture"):
        read_predictions(saved(tmp_path / "preds.npy", PREDS[:3]), truth)
    with pytest.raises(UserError, match=r"\(4, 3, 1\); wanted probabilities of shape \(pictures, classes\)"):
        read_predictions(saved(tmp_path / "preds.npy", PREDS[..., None]), truth)
    with pytest.raises(UserError, match=r"its row 1 is of 'b.jpg', the store's picture 1 .* is 'c.jpg'"):
        read_predictions(written, replace(truth, names=("a.jpg", "c.jpg", "b.jpg", "d.jpg")))
    with pytest.raises(UserError, match="its column 1 is 'dancing', the store's class 1 is 'running'"):
        read_predictions(written, replace(truth, classes=("bicycling", "running", "sitting, talking")))
    with pytest.raises(UserError, match="predicts activity, not category; score it as target=activity"):
        read(written, "category")


def test_files_that_hold_no_predictions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read(tmp_path / "absent.h5", "category")
    np.savez(tmp_path / "many.npz", PREDS)
    (tmp_path / "many.npz").rename(tmp_path / "many.npy")
    with pytest.raises(UserError, match="is an archive"):
        read(tmp_path / "many.npy", "category")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(UserError, match=r"is no HDF5 file, nor a \.npy, or truncated or damaged"):
        read(tmp_path / "text.h5", "category")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["scores"] = PREDS
    with pytest.raises(UserError, match=r"has no dataset 'preds'; it has \['scores'\]"):
        read(tmp_path / "other.h5", "category")
    with h5py.File(tmp_path / "damaged.h5", "w") as file:
        file["preds"] = PREDS
        file.create_dataset("name", data=["a.jpg"], dtype=h5py.string_dtype())
    with pytest.raises(UserError, match="'name' has 1; it is damaged"):
        read(tmp_path / "damaged.h5", "category")


def test_a_file_is_scored_as_the_run_that_wrote_it(tmp_path: Path) -> None:
    attrs = {"kind": "activity", "categories": ["a", "b"], "activities": [], "tags": [], "folds": 0}
    path = tmp_path / "val.h5"
    with StoreWriter(path, codec=None, attrs=attrs) as writer:
        for place, category in enumerate(["a", "", "b", "b"]):
            labels = {"name": f"{place}.jpg", "category": category, "activity": ""}
            writer.append(None, labels | {"group": np.int64(place), "fold": np.int32(-1)})
    preds = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    scoring = ActivityScoring("category")
    with Store(path) as store:
        run = scoring.judge({"preds": preds, "loss": np.zeros(3)}, store, None, title="run")
        scoring.write_predictions(tmp_path / "predictions.h5", {"preds": preds}, store, split="val")
        file, facts = scoring.judge_file(tmp_path / "predictions.h5", store, None)
    assert facts == {"predictions": "predictions.h5"}
    assert file.scores[0].title == "predictions"
    assert file.scores[0].measures == run.scores[0].measures
    assert file.scores[0].measures["top1"].value == pytest.approx(200 / 3)


def test_what_a_file_predicts_is_recorded_or_told_by_its_width(written: Path, tmp_path: Path) -> None:
    attrs = {"kind": "activity", "categories": ["a", "b"], "activities": list(CLASSES), "tags": ["x", "y", "z"]}
    labels = {"name": "0.jpg", "category": "a", "activity": "dancing", "group": np.int64(0), "fold": np.int32(-1)}
    with StoreWriter(tmp_path / "val.h5", codec=None, attrs=attrs) as writer:
        writer.append(None, labels)
    with StoreWriter(tmp_path / "tagged.h5", codec=None, attrs=attrs) as writer:
        writer.append(None, labels | {"tags": np.ones(3, dtype=bool)})
    with Store(tmp_path / "val.h5") as store, Store(tmp_path / "tagged.h5") as tagged:
        assert predicted_target(written, tagged) == "activity"
        assert predicted_target(saved(tmp_path / "two.npy", PREDS[:, :2]), store) == "category"
        assert predicted_target(saved(tmp_path / "three.npy", PREDS), store) == "activity"
        with pytest.raises(UserError, match="has category 2, activity 3, tags 3; say it with --target"):
            predicted_target(tmp_path / "three.npy", tagged)
    with h5py.File(written, "r+") as file:
        file.attrs["target"] = "joints"
    with Store(tmp_path / "val.h5") as store, pytest.raises(UserError, match="records target 'joints'"):
        predicted_target(written, store)
