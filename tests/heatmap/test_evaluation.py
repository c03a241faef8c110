import argparse
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import scipy.io
import torch
from rich.console import Console

from pose_lightning.convert import mpii
from pose_lightning.errors import UserError
from pose_lightning.heatmap import evaluation, table
from pose_lightning.heatmap.baselines import MEAN_POSE, NEAREST_POSE, baselines, mean_pose, nearest_pose
from pose_lightning.heatmap.evaluation import Score, score
from pose_lightning.heatmap.overlays import choose, ranked, store_pictures, write_overlays
from pose_lightning.heatmap.predictions import read_predictions, write_predictions
from pose_lightning.heatmap.published_truth import as_published, zeroed_joints
from pose_lightning.heatmap.truth import Truth
from pose_lightning.joints import MPII, JointSet
from pose_lightning.metrics import points as metrics
from pose_lightning.scoring import Estimate
from pose_lightning.store import Store, StoreWriter

ATTRS: dict[str, Any] = {
    "kind": "pose",
    "split": "val",
    "dataset": "mpii",
    "joint_set": "mpii",
    "origin": 0,
    "synthetic": False,
    "box_source": "annotation",
    "head_size_source": "0.6 x head box diagonal",
}


def people(count: int = 12, seed: int = 0, **notes: Any) -> Truth:
    """Random persons, two to an image: a fifth of the joints unlabelled, the first person without head size."""
    rng = np.random.default_rng(seed)
    center, box = rng.uniform(100, 400, size=(count, 2)), rng.uniform(200, 300, size=count)
    joints = center[:, None] + box[:, None, None] * rng.uniform(-0.4, 0.4, size=(count, 16, 2))
    labelled = rng.random((count, 16)) < 0.8
    labelled[:, 0] = True
    joints[~labelled] = np.nan
    head_size = box / 10
    head_size[0] = np.nan
    return Truth(
        joint_set=MPII,
        joints=joints,
        labelled=labelled,
        visible=labelled & (rng.random((count, 16)) < 0.7),
        unit=head_size,
        center=center,
        box=box,
        group=np.arange(count) // 2,
        names=tuple(f"{seed}{index:04d}.jpg#0" for index in range(count)),
        notes=ATTRS | notes,
    )


def guesses(truth: Truth, seed: int = 1, spread: float = 0.4) -> np.ndarray:
    """Predictions `spread` head sizes from the truth."""
    noise = np.random.default_rng(seed).normal(size=truth.joints.shape)
    return np.where(truth.labelled[..., None], truth.joints, 0.0) + spread * truth.box[:, None, None] / 10 * noise


def write_store(path: Path, truth: Truth, attrs: dict[str, Any] | None = None) -> Path:
    with StoreWriter(path, codec="raw", attrs=truth.notes if attrs is None else attrs, shape=(64, 64, 3)) as writer:
        for index, name in enumerate(truth.names):
            scale = 64 / truth.box[index]
            corner = truth.center[index] - truth.box[index] / 2 + 0.5
            row = {
                "name": name,
                "image": name.split("#", maxsplit=1)[0],
                "group": truth.group[index],
                "joints": truth.joints[index],
                "labelled": truth.labelled[index],
                "visible": truth.visible[index],
                "center": truth.center[index],
                "box": truth.box[index],
                "head_size": truth.unit[index],
                "crop": np.array([*corner, scale]),
            }
            writer.append(np.full((64, 64, 3), 90, dtype=np.uint8), row)
    return path


def text_of(scores: Sequence[Score]) -> str:
    out = io.StringIO()
    Console(width=80, file=out).print(table.render(scores))
    return out.getvalue()


def test_truth_from_a_store_is_what_was_written(tmp_path: Path) -> None:
    truth = people()
    read = Truth.from_store(Store(write_store(tmp_path / "val.h5", truth)))
    for field in ("joints", "labelled", "visible", "unit", "center", "box", "group"):
        np.testing.assert_array_equal(getattr(read, field), getattr(truth, field))
    assert read.names == truth.names
    assert read.notes["head_size_source"] == ATTRS["head_size_source"]


@pytest.mark.parametrize(("key", "value"), [("kind", "clips"), ("origin", 1)])
def test_a_store_of_another_kind_is_refused(tmp_path: Path, key: str, value: object) -> None:
    store = Store(write_store(tmp_path / "val.h5", people(3), ATTRS | {key: value}))
    with pytest.raises(UserError, match=rf"val\.h5: {key} is {value!r}"):
        Truth.from_store(store)


def test_a_store_that_does_not_say_its_joint_set_is_refused(tmp_path: Path) -> None:
    store = Store(write_store(tmp_path / "val.h5", people(3), ATTRS | {"joint_set": "nobody's"}))
    with pytest.raises(UserError, match=r"val\.h5: of its joint set"):
        Truth.from_store(store)


def test_a_store_without_what_its_set_is_measured_by_is_refused(tmp_path: Path) -> None:
    box = replace(MPII, name="boxed", reference="box").plain()
    store = Store(write_store(tmp_path / "val.h5", people(3), ATTRS | {"joint_set": box}))
    with pytest.raises(UserError, match=r"val\.h5 has no labels `extent`"):
        Truth.from_store(store)


def test_a_labelled_joint_without_coordinates_names_the_sample(tmp_path: Path) -> None:
    truth = people(3)
    truth.joints[1, 0] = np.nan
    with pytest.raises(UserError, match=r"00001\.jpg#0': a labelled joint"):
        Truth.from_store(Store(write_store(tmp_path / "val.h5", truth)))


def test_the_score_equals_the_torchmetrics_class() -> None:
    truth = people(40)
    preds = guesses(truth)
    preds[5, 3] = np.nan
    result = score(preds, truth, resamples=10)
    arrays = (preds, truth.joints, truth.labelled, truth.visible, truth.unit)
    pckh = metrics.PCK(MPII)
    pckh.update(*map(torch.tensor, arrays), torch.ones(40))
    for name, (measure, statistic) in {
        "pckh": ("pckh@0.5", "mean_unweighted_14"),
        "pckh_weighted": ("pckh@0.5", "mean_weighted_14"),
        "pckh_16": ("pckh@0.5", "mean_16"),
        "pckh_0.1": ("pckh@0.1", "mean_unweighted_14"),
        "auc": ("pckh_auc", "mean_unweighted_14"),
        "pckh_visible": ("pckh@0.5_visible", "mean_weighted_14"),
        "pckh_occluded": ("pckh@0.5_occluded", "mean_weighted_14"),
    }.items():
        assert result.value(measure, statistic) == pytest.approx(float(pckh.compute()[name]), rel=1e-12), name
    assert result.counts["persons_scored"] == int(pckh.scored) == 39
    assert result.counts["persons_without_unit"] == int(pckh.unscored) == 1
    assert sum(result.labelled.values()) == result.counts["joints_scored"] == int(pckh.count.sum())


def test_torso_pck_and_bias_equal_a_loop_over_persons_and_joints() -> None:
    truth = people(40)
    preds = guesses(truth, spread=0.2)
    preds[5, 3] = np.nan
    result = score(preds, truth, resamples=10)
    hits, labels, shifts, without = np.zeros(16), np.zeros(16), [], 0
    for person in range(40):
        torso = np.linalg.norm(truth.joints[person, 13] - truth.joints[person, 2])  # left shoulder, right hip
        without += np.isnan(torso)
        for joint in np.flatnonzero(truth.labelled[person]):
            shift = preds[person, joint] - truth.joints[person, joint]
            if not np.isnan(torso):
                labels[joint] += 1
                hits[joint] += np.linalg.norm(shift) <= 0.2 * torso
            if np.linalg.norm(shift) <= 0.5 * truth.unit[person]:  # NaN is never
                shifts.append(shift * 64 / truth.box[person])
    scored = list(MPII.scored)
    assert result.value("pck@0.2_torso") == pytest.approx(100 * (hits / labels)[scored].mean(), rel=1e-12)
    assert result.counts["persons_without_torso"] == without > 0
    bias = [result.value(axis, "mean_16") for axis in ("bias_x", "bias_y")]
    assert bias == pytest.approx(np.mean(shifts, axis=0).tolist(), rel=1e-12)


def test_the_bias_shows_half_a_heatmap_pixel_and_its_sign() -> None:
    truth = people(9)
    preds = np.nan_to_num(truth.joints) + truth.box[:, None, None] / 64 * np.array([-0.5, 0.25])
    preds[3, 2] += 1000  # not found: swapped legs must not drown the bias
    result = score(preds, truth, resamples=10)
    assert [result.value(axis, "mean_16") for axis in ("bias_x", "bias_y")] == pytest.approx([-0.5, 0.25])


def test_a_set_measured_by_the_box_has_pck_and_says_of_what() -> None:
    truth = people(20)
    boxed = replace(truth, joint_set=replace(MPII, name="boxed", reference="box"), unit=truth.box)
    result = score(guesses(truth), boxed, resamples=10)
    errors = np.linalg.norm(guesses(truth) - truth.joints, axis=-1) / truth.box[:, None]
    shares = [(errors[truth.labelled[:, joint], joint] <= 0.1).mean() for joint in MPII.scored]
    assert result.value() == pytest.approx(100 * np.mean(shares), rel=1e-12)
    text = " ".join(text_of([result]).split())
    assert "PCK@0.1 mean 14, unweighted" in text
    assert "the longer side of the labelled box" in text
    assert evaluation.to_json([result])["measures"]["error"]["unit"] == "box sides"


def test_the_mean_error_of_a_known_shift_and_its_interval() -> None:
    truth = people(20)
    preds = truth.joints + np.array([0.3, 0.4]) * truth.unit[:, None, None]
    preds[0] = 0.0  # no head size: not scored
    estimate = score(np.nan_to_num(preds), truth).measures["error"]["mean_weighted_14"]
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.5, 0.5, 0.5))


def test_a_joint_without_prediction_is_a_miss_and_withholds_the_mean_error_of_its_columns() -> None:
    truth = people(20)
    full, gone = guesses(truth, spread=0.05), guesses(truth, spread=0.05)
    truth.labelled[4, 10], truth.joints[4, 10] = True, truth.center[4]
    full[4, 10] = 1e7
    gone[4, 10] = np.nan
    far, missing = score(full, truth, resamples=10), score(gone, truth, resamples=10)
    assert missing.measures["pckh@0.5"] == far.measures["pckh@0.5"]
    assert missing.counts["joints_not_predicted"] == 1
    for name in ("right wrist", "Wrist", "mean_weighted_14", "mean_16"):
        assert missing.value("error", name) == np.inf
    assert missing.value("error", "Knee") == far.value("error", "Knee") < 0.2


def test_the_interval_holds_the_value_and_is_wider_for_fewer_images() -> None:
    many, few = people(200), people(20)
    wide, narrow = (score(guesses(truth), truth).measures["pckh@0.5"]["mean_unweighted_14"] for truth in (few, many))
    assert wide.low < wide.value < wide.high
    assert narrow.high - narrow.low < wide.high - wide.low


def test_one_image_has_a_score_but_no_interval() -> None:
    truth = people(2, seed=3)
    estimate = score(guesses(truth), truth).measures["pckh@0.5"]["mean_weighted_14"]
    assert np.isfinite(estimate.value)
    assert np.isnan([estimate.low, estimate.high]).all()


def test_too_few_predictions_name_both_counts() -> None:
    truth = people(5)
    with pytest.raises(UserError, match="4 persons, the store has 5"):
        score(guesses(truth)[:4], truth)


def test_the_mean_pose_by_hand() -> None:
    train = people(3)
    relative = (train.joints - train.center[:, None]) / train.box[:, None, None]
    truth = people(2, seed=9)
    expected = truth.center[:, None] + truth.box[:, None, None] * np.nanmean(relative[:, 0], axis=0)
    np.testing.assert_allclose(mean_pose(train, truth)[:, 0], expected[:, 0])


def test_a_joint_that_no_training_pose_has_is_not_predicted() -> None:
    train, truth = people(4), people(2, seed=9)
    train.labelled[:, 7] = False
    for preds in baselines(train, truth).values():
        assert np.isnan(preds[:, 7]).all()
        assert np.isfinite(preds[:, 0]).all()


def test_the_nearest_pose_is_the_one_of_the_same_box_shape_wherever_the_person_stands() -> None:
    train = people(30)
    truth = train.select([4, 17, 9])
    moved = Truth(
        joint_set=MPII,
        joints=truth.joints * 2 + 50,
        labelled=truth.labelled,
        visible=truth.visible,
        unit=truth.unit * 2,
        center=truth.center * 2 + 50,
        box=truth.box * 2,
        group=truth.group,
        names=("a", "b", "c"),
        notes=truth.notes,
    )
    preds = nearest_pose(train, moved)
    np.testing.assert_allclose(preds[moved.labelled], moved.joints[moved.labelled])
    filled = ~moved.labelled
    np.testing.assert_allclose(preds[filled], mean_pose(train, moved)[filled])


def test_nobody_is_his_own_neighbour() -> None:
    train = people(30)
    preds = nearest_pose(train, train)
    same = np.isclose(preds, train.joints).all(axis=-1) | ~train.labelled
    assert not same.all(axis=1).any()


def test_a_person_without_joints_gets_the_mean_pose() -> None:
    train, truth = people(9), people(3, seed=2)
    truth.labelled[1] = False
    truth.joints[1] = np.nan
    np.testing.assert_allclose(nearest_pose(train, truth)[1], mean_pose(train, truth)[1])


def scores(**notes: Any) -> list[Score]:
    truth = people(40, **notes)
    everyone = {"model": guesses(truth), **baselines(people(30, seed=5), truth)}
    return [score(preds, truth, title=title, resamples=200) for title, preds in everyone.items()]


def test_the_table_fits_80_columns_and_holds_model_interval_and_baselines() -> None:
    made = scores()
    lines = text_of(made).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    starts = [line.split("  ")[0] for line in lines]
    assert starts.index("model") < starts.index(MEAN_POSE) < starts.index(NEAREST_POSE)
    row = next(line for line in lines if line.startswith("model "))
    expected = [made[0].value(statistic=name) for name in (*MPII.columns, "mean_unweighted_14")]
    assert [float(cell) for cell in row.split()[1:]] == pytest.approx(expected, abs=0.005)
    half = made[0].measures["pckh@0.5"]["mean_unweighted_14"]
    assert f"{half.low:.2f} to {half.high:.2f}" in "\n".join(lines)


def test_a_perfect_score_and_a_long_title_still_fit() -> None:
    truth = people(20)
    perfect = score(np.nan_to_num(truth.joints), truth, title="a_very_long_name_of_a_published_file_of_predictions.mat")
    lines = text_of([perfect, perfect, perfect]).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    assert any(line.count("100.00") == 8 for line in lines)


def test_the_footnotes_say_what_the_numbers_rest_on() -> None:
    text = " ".join(text_of(scores(box_source="labelled joints (privileged)")).split())
    for said in ("1 without head size", "0.6 x head box diagonal", "labelled joints (privileged)", "never look at"):
        assert said in text


@pytest.mark.parametrize("synthetic", [True, False])
def test_only_drawn_people_are_called_synthetic_and_loudly(synthetic: bool) -> None:
    made = scores(synthetic=synthetic)
    assert ("SYNTHETIC" in text_of(made)) == ("SYNTHETIC" in table.markdown(made)) == synthetic


def test_the_markdown_has_the_tables_numbers() -> None:
    made = scores()
    lines = table.markdown(made).splitlines()
    assert lines[0] == "| PCKh@0.5 | Head | Sho | Elb | Wri | Hip | Knee | Ank | Mean |"
    assert lines[2].endswith(f"| {made[0].value():.2f} |")
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 2


def test_the_json_is_strict_and_holds_every_number() -> None:
    truth = people(2, seed=3)
    made = [score(guesses(truth), truth), score(guesses(truth, seed=4), truth, title="other")]
    read = json.loads(json.dumps(evaluation.to_json(made), allow_nan=False))
    assert read["measures"]["pckh@0.5"]["mean_weighted_14"]["value"] == made[0].value(statistic="mean_weighted_14")
    assert read["measures"]["pckh@0.5"]["mean_weighted_14"]["low"] is None  # one image
    assert read["baselines"][0]["title"] == "other"
    assert read["counts"]["persons"] == 2
    assert len(read["measures"]) == 9
    assert read["measures"]["error"]["unit"] == "head sizes"
    assert JointSet.read(read["joint_set"], "here") == MPII


PREDS = np.random.default_rng(0).uniform(0, 500, size=(5, 16, 2))
NAMES = tuple(f"{index}.jpg#0" for index in range(5))


def save(path: Path, preds: np.ndarray) -> Path:
    if path.suffix == ".npy":
        np.save(path, preds)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"preds": preds})
    else:
        with h5py.File(path, "w") as file:
            file["preds"] = preds
    return path


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".h5"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_any_file_and_axis_order_reads_the_same(tmp_path: Path, suffix: str, axes: tuple[int, int, int]) -> None:
    path = save(tmp_path / f"preds{suffix}", PREDS.transpose(axes))
    np.testing.assert_array_equal(read_predictions(path, NAMES, MPII, origin=0).preds, PREDS)
    np.testing.assert_array_equal(read_predictions(path, NAMES, MPII, origin=1).preds, PREDS - 1)


def test_a_matlab_7_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "preds.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["preds"] = PREDS.transpose(2, 1, 0)  # MATLAB's axes come out reversed
    np.testing.assert_array_equal(read_predictions(path, NAMES, MPII, origin=0).preds, PREDS)


def test_our_own_file_reads_back_with_its_origin_and_confidence(tmp_path: Path) -> None:
    path = tmp_path / "run" / "predictions.h5"
    preds = PREDS.copy()
    preds[2, 3] = np.nan
    write_predictions(
        path, preds, NAMES, store=Path("data/val.h5"), split="val", joint_set=MPII, confidence=PREDS[..., 0]
    )
    read = read_predictions(path, NAMES, MPII)
    np.testing.assert_array_equal(read.preds, preds)
    np.testing.assert_array_equal(read.confidence, PREDS[..., 0])
    with h5py.File(path) as file:
        assert (file.attrs["origin"], file.attrs["store"], file.attrs["split"]) == (0, "val.h5", "val")
    assert [each.name for each in path.parent.iterdir()] == ["predictions.h5"]


def test_an_ambiguous_axis_order_is_refused_and_our_own_is_not_ambiguous(tmp_path: Path) -> None:
    names = tuple(str(index) for index in range(16))
    preds = np.random.default_rng(1).uniform(size=(16, 16, 2))
    with pytest.raises(UserError, match="more than one axis order"):
        read_predictions(save(tmp_path / "foreign.h5", preds), names, MPII, origin=0)
    write_predictions(tmp_path / "ours.h5", preds, names, store=Path("val.h5"), split="val", joint_set=MPII)
    np.testing.assert_array_equal(read_predictions(tmp_path / "ours.h5", names, MPII).preds, preds)


def test_an_unknown_origin_asks_for_it_and_a_contradicted_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"preds\.npy does not record .* --origin 0 or --origin 1"):
        read_predictions(save(tmp_path / "preds.npy", PREDS), NAMES, MPII)
    write_predictions(tmp_path / "ours.h5", PREDS, NAMES, store=Path("val.h5"), split="val", joint_set=MPII)
    with pytest.raises(UserError, match="records origin 0, but --origin 1"):
        read_predictions(tmp_path / "ours.h5", NAMES, MPII, origin=1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 16, 2), "for 4 samples, the store has 5"),
        ((2, 16, 7), "for 7 samples, the store has 5"),
        ((5, 14, 2), r"is \(5, 14, 2\), wanted \(5, 16, 2\)"),
        ((5, 32), r"is \(5, 32\), wanted"),
    ],
)
def test_a_file_that_does_not_fit_names_both_counts(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_predictions(save(tmp_path / "preds.npy", np.zeros(shape)), NAMES, MPII, origin=0)


def test_predictions_of_other_samples_are_refused(tmp_path: Path) -> None:
    write_predictions(tmp_path / "ours.h5", PREDS, NAMES[::-1], store=Path("val.h5"), split="val", joint_set=MPII)
    with pytest.raises(UserError, match=r"sample 0 is '4\.jpg#0', in the store '0\.jpg#0'"):
        read_predictions(tmp_path / "ours.h5", NAMES, MPII)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "preds.npy", np.array([{"preds": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="holds Python objects, which are not read"):
        read_predictions(tmp_path / "preds.npy", NAMES, MPII, origin=0)


def test_foreign_and_damaged_files_are_named(tmp_path: Path) -> None:
    for name in ("a.mat", "a.npy", "a.h5", "a.json"):
        (tmp_path / name).write_bytes(b"nonsense that is no array" * 20)
        with pytest.raises(UserError, match=name):
            read_predictions(tmp_path / name, NAMES, MPII, origin=0)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["joints"] = PREDS
    with pytest.raises(UserError, match=r"b\.h5 has no dataset 'preds'; it has \['joints'\]"):
        read_predictions(tmp_path / "b.h5", NAMES, MPII, origin=0)
    with pytest.raises(UserError, match="there is no such file"):
        read_predictions(tmp_path / "c.h5", NAMES, MPII, origin=0)


def test_a_damaged_matlab_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "flip.mat"
    scipy.io.savemat(path, {"preds": PREDS}, do_compression=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"flip\.mat cannot be read as a MATLAB file"):
        read_predictions(path, NAMES, MPII, origin=0)
    with pytest.raises(UserError, match=r"flip\.mat cannot be read as a MATLAB file"):
        as_published(people(5), path)


def test_attributes_may_be_arrays_of_one_element_as_matlab_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["preds"] = PREDS
        file.attrs["origin"], file.attrs["axes"] = np.array([1.0]), ["sample", "joint", "xy"]
    predictions = read_predictions(path, NAMES, MPII)
    assert predictions.origin == 1
    np.testing.assert_array_equal(predictions.preds, PREDS - 1)
    for wrong in (np.array([0.0, 1.0]), "one", 2):
        with h5py.File(path, "r+") as file:
            file.attrs["origin"] = wrong
        with pytest.raises(UserError, match=r"a\.h5 records origin .*wanted 0 or 1"):
            read_predictions(path, NAMES, MPII)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"jnt_missing": None}, r"has no \['jnt_missing'\]"),
        ({"pos_gt_src": np.zeros((16, 2))}, "pos_gt_src is no array of 3 axes"),
        ({"pos_gt_src": np.zeros((15, 2, 5))}, r"pos_gt_src is \(15, 2, 5\), wanted \(16, 2, 5\)"),
        ({"jnt_missing": np.zeros((16, 4))}, "holds 4 persons, the store 5"),
        ({"headboxes_src": np.array([["a"]], dtype=object)}, "headboxes_src is no array of 3 axes"),
        ({"headboxes_src": np.zeros((2, 2, 5), dtype=complex)}, "headboxes_src is no array of 3 axes"),
    ],
)
def test_published_truth_of_other_shapes_is_refused(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    arrays = {
        "pos_gt_src": np.zeros((16, 2, 5)),
        "jnt_missing": np.zeros((16, 5)),
        "headboxes_src": np.zeros((2, 2, 5)),
    }
    path = tmp_path / "gt_valid.mat"
    scipy.io.savemat(path, {key: value for key, value in (arrays | change).items() if value is not None})
    with pytest.raises(UserError, match=rf"gt_valid\.mat.*{reason}"):
        as_published(people(5), path)


def test_persons_rank_by_mean_error_and_ties_by_their_place() -> None:
    truth = people(6)
    preds = np.nan_to_num(truth.joints)
    for index, shift in enumerate([9.0, 0.0, 0.1, 0.3, np.nan, 0.0]):
        preds[index] += shift * truth.box[index] / 10
    assert ranked(preds, truth).tolist() == [1, 5, 2, 3, 4]  # 0 has no head size, 4 no prediction
    assert {kind: each.tolist() for kind, each in choose(ranked(preds, truth), 1).items()} == {
        "best": [1],
        "median": [2],
        "worst": [4],
    }


def test_overlays_are_written_for_the_best_median_and_worst(tmp_path: Path) -> None:
    truth = people(9)
    store = Store(write_store(tmp_path / "val.h5", truth))
    preds = guesses(truth)
    stale = tmp_path / "overlays" / "best_09_old.png"
    stale.parent.mkdir()
    stale.touch()
    paths = write_overlays(tmp_path / "overlays", preds, truth, store_pictures(store), 2)
    assert sorted(paths) == sorted((tmp_path / "overlays").iterdir())
    assert len(paths) == 3 + 6
    order = ranked(preds, truth)
    assert truth.names[order[0]].replace("#", "_") in paths[3].name
    picture = cv2.imread(str(paths[3]))
    assert picture is not None
    assert picture.shape[1] == 512


def test_the_matrix_of_a_stored_crop_puts_the_box_on_it(tmp_path: Path) -> None:
    truth = people(3)
    _, matrix = store_pictures(Store(write_store(tmp_path / "val.h5", truth)))(1)
    corner = truth.center[1] - truth.box[1] / 2
    np.testing.assert_allclose(matrix @ [*corner, 1], [-0.5, -0.5])
    np.testing.assert_allclose(matrix @ [*(corner + truth.box[1]), 1], [63.5, 63.5])


def gt_valid(path: Path, truth: Truth, zeroed: Sequence[tuple[int, int]] = ()) -> Path:
    """A file as HRNet's gt_valid.mat."""
    joints = np.where(truth.labelled[..., None], truth.joints + 1, 0.0)
    for person, joint in zeroed:
        joints[person, joint, 0] = 0.0
    boxes = np.zeros((2, 2, len(truth)))
    boxes[1, 0] = np.nan_to_num(truth.unit, nan=30.0) / 0.6
    missing = (~truth.labelled).T.astype(np.uint8)
    scipy.io.savemat(path, {"pos_gt_src": joints.transpose(1, 2, 0), "jnt_missing": missing, "headboxes_src": boxes})
    return path


def test_the_published_truth_is_the_store_but_for_the_zeroed_joints(tmp_path: Path) -> None:
    truth = people(8)
    truth.joints[3, 0] = 200.0, 200.0
    published = as_published(truth, gt_valid(tmp_path / "gt.mat", truth, [(3, 0)]))
    changed = np.abs(published.joints - truth.joints).max(axis=-1) > 1e-9
    assert np.argwhere(changed).tolist() == [[3, 0]]
    assert published.joints[3, 0].tolist() == [-1.0, 200.0]
    np.testing.assert_allclose(published.unit[1:], truth.unit[1:])
    preds = np.nan_to_num(truth.joints)
    assert score(preds, truth, resamples=2).value(statistic="mean_16") == 100
    assert score(preds, published, resamples=2).value(statistic="right ankle") == pytest.approx(100 * 7 / 8)
    assert "0 are hits where the zeros are and 1" in zeroed_joints(preds, truth, published)
    assert "1 joints with a coordinate zeroed" in " ".join(evaluation.footnotes([score(preds, published, resamples=2)]))


def test_a_published_truth_of_other_persons_is_refused(tmp_path: Path) -> None:
    truth = people(8)
    with pytest.raises(UserError, match="person 0 is not"):
        as_published(truth, gt_valid(tmp_path / "gt.mat", truth.select(range(7, -1, -1))))
    with pytest.raises(UserError, match="holds 3 persons, the store 8"):
        as_published(truth, gt_valid(tmp_path / "gt.mat", truth.select([0, 1, 2])))


@pytest.fixture(scope="session")
def mpii_truth(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """The converter's labels of the 2,958 validation persons."""
    target = tmp_path_factory.mktemp("mpii")
    folder = shared_data / "mpii" / "annotations"
    parser = argparse.ArgumentParser()
    mpii.add_arguments(parser)
    annotations = [str(folder / "mpii_annotations.json.gz"), "--headboxes", str(folder / "headboxes_valid.mat")]
    args = parser.parse_args(["--annotations", *annotations, "--labels-only", "--target", str(target)])
    mpii.run(args)
    return Truth.from_store(Store(target / "pose" / "val.h5"))


PUBLISHED = {
    "bearpaw-hg_s2_b1.mat": ([95.80, 94.57, 88.12, 83.31, 86.24, 80.88, 77.44, 86.76], 87.30, 88.20),
    "tompson.h5": ([95.60, 92.71, 83.36, 76.74, 81.93, 73.36, 65.45, 81.46], 82.337, 71.52),
}
"""PCKh@0.5 by group and mean_unweighted_14, then mean_weighted_14 and mean_16."""

AS_ANNOTATED = {
    "bearpaw-hg_s2_b1.mat": (
        [95.80, 94.57, 88.12, 83.31, 86.24, 80.88, 77.47, 86.76],
        "0 are hits where the zeros are and 1 ",
    ),
    "tompson.h5": ([95.50, 92.71, 83.36, 76.74, 81.93, 73.32, 65.40, 81.44], "7 are hits where the zeros are and 0 "),
}
"""The same with the 13 joints where they were annotated."""


@pytest.mark.real_data
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_predictions_score_what_was_published_to_the_last_digit(
    shared_data: Path, mpii_truth: Truth, name: str
) -> None:
    preds = read_predictions(shared_data / "mpii" / "predictions" / name, mpii_truth.names, MPII, origin=1).preds
    published = as_published(mpii_truth, shared_data / "mpii" / "annotations" / "headboxes_valid.mat")
    columns = (*MPII.columns, "mean_unweighted_14")
    result = score(preds, published, resamples=20)
    expected, weighted, all_16 = PUBLISHED[name]
    assert [result.value(statistic=column) for column in columns] == pytest.approx(expected, abs=0.0051)
    assert result.value(statistic="mean_weighted_14") == pytest.approx(weighted, abs=0.005)
    assert result.value(statistic="mean_16") == pytest.approx(all_16, abs=0.005)
    expected, sentence = AS_ANNOTATED[name]
    annotated = score(preds, mpii_truth, resamples=20)
    assert [annotated.value(statistic=column) for column in columns] == pytest.approx(expected, abs=0.0051)
    assert sentence in zeroed_joints(preds, mpii_truth, published)


@pytest.mark.real_data
def test_the_interval_of_2958_persons_is_well_under_two_points(shared_data: Path, mpii_truth: Truth) -> None:
    path = shared_data / "mpii" / "predictions" / "tompson.h5"
    preds = read_predictions(path, mpii_truth.names, MPII, origin=1).preds
    mean: Estimate = score(preds, mpii_truth).measures["pckh@0.5"]["mean_unweighted_14"]
    assert 0.5 < mean.high - mean.low < 2
    assert mean.low < mean.value < mean.high
