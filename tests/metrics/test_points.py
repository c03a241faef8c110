import math

import pytest
import torch
from jaxtyping import Float64
from torch import Tensor, nan
from torch.testing import assert_close
from torchmetrics import Metric

from pose_lightning.joints import COCO, MPII, JointSet
from pose_lightning.metrics import points as metrics
from pose_lightning.metrics.points import PCK

HEAD = 100.0


def poses(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Random persons: a fifth of the joints unlabelled, a third occluded, one without head size, one padding."""
    generator = torch.Generator().manual_seed(seed)
    joints = torch.rand((count, 16, 2), generator=generator, dtype=torch.float64) * 500
    labelled = torch.rand((count, 16), generator=generator) < 0.8
    joints[~labelled] = nan
    head_size = 50 + 50 * torch.rand(count, generator=generator, dtype=torch.float64)
    weight = torch.ones(count)
    head_size[0], weight[-1] = nan, 0.0
    noise = torch.randn((count, 16, 2), generator=generator, dtype=torch.float64) * 25
    return {
        "preds": torch.where(labelled[..., None], joints, 0.0) + noise,
        "joints": joints,
        "labelled": labelled,
        "visible": labelled & (torch.rand((count, 16), generator=generator) < 2 / 3),
        "unit": head_size,
        "weight": weight,
        "box": 300 + 100 * torch.rand(count, generator=generator, dtype=torch.float64),
    }


def person(errors: dict[int, float]) -> dict[str, Tensor]:
    """One person with head size 100 whose joints are all right but for `errors` px along x."""
    preds = torch.zeros(1, 16, 2, dtype=torch.float64)
    for joint, error in errors.items():
        preds[0, joint, 0] = error
    return {
        "preds": preds,
        "joints": torch.zeros(1, 16, 2, dtype=torch.float64),
        "labelled": torch.ones(1, 16, dtype=torch.bool),
        "visible": torch.ones(1, 16, dtype=torch.bool),
        "unit": torch.tensor([HEAD], dtype=torch.float64),
        "weight": torch.ones(1),
    }


def update(metric: Metric, fields: dict[str, Tensor]) -> None:
    metric.update(**metric._filter_kwargs(**fields))


def value(metric: Metric, name: str) -> float:
    return float(metric.compute()[name])


def test_the_thresholds_are_hundredths_and_index_ten_is_a_tenth() -> None:
    assert metrics.THRESHOLDS[10] == 0.1
    assert metrics.THRESHOLDS[7] == 7 / 100
    assert (len(metrics.THRESHOLDS), metrics.THRESHOLDS[-1]) == (51, 0.5)


@pytest.mark.parametrize(("error", "right"), [(49.0, True), (50.0, True), (50.0000001, False), (nan, False)])
def test_a_joint_is_right_up_to_half_a_head_inclusive(error: float, right: bool) -> None:
    metric = PCK(MPII)
    update(metric, person({0: error}))
    assert value(metric, "pckh") == pytest.approx(100 if right else 100 * 13 / 14)


def test_an_error_of_every_hundredth_of_a_head_is_a_hit_from_that_threshold_on() -> None:
    for hundredths in range(51):
        metric = PCK(MPII)
        update(metric, person({0: float(hundredths)}))
        assert metric.hits[0, 0].tolist() == [0] * hundredths + [1] * (51 - hundredths)
        assert metric.strict_hits[0, 0].tolist() == [0] * min(hundredths + 1, 51) + [1] * (50 - hundredths)


def test_only_the_mean_of_all_16_is_strict_and_holds_pelvis_and_thorax() -> None:
    metric = PCK(MPII)
    update(metric, person({0: 50.0, MPII.unscored[0]: 300.0}))
    assert value(metric, "pckh") == value(metric, "pckh_weighted") == 100
    assert value(metric, "pckh_16") == pytest.approx(100 * 14 / 16)


def test_the_means_of_unequally_labelled_joints_by_hand() -> None:
    both, one = person({0: 90.0}), person({0: 90.0})
    for joint in range(1, 16):  # the second person has a right ankle only
        one["labelled"][0, joint] = one["visible"][0, joint] = False
        one["joints"][0, joint] = nan
    metric = PCK(MPII)
    update(metric, both)
    update(metric, one)
    assert value(metric, "pckh") == pytest.approx(100 * 13 / 14)
    assert value(metric, "pckh_weighted") == pytest.approx(100 * 13 / 15)
    assert value(metric, "pckh_16") == pytest.approx(100 * 15 / 17)


def test_occluded_joints_count_and_are_told_apart() -> None:
    fields = person({0: 90.0, 1: 90.0})
    fields["visible"][0, [0, 2]] = False
    metric = PCK(MPII)
    update(metric, fields)
    assert value(metric, "pckh_occluded") == 50
    assert value(metric, "pckh_visible") == pytest.approx(100 * 11 / 12)
    assert value(metric, "pckh") == pytest.approx(100 * 12 / 14)


def test_the_area_under_the_curve_of_one_error_is_the_rest_of_the_range() -> None:
    fields = person(dict.fromkeys(range(16), 20.0))
    metric = PCK(MPII)
    update(metric, fields)
    assert value(metric, "pckh_0.1") == 0
    # 0 up to 0.19, 100 from 0.2: 30 full intervals of 50 and half of the one that rises
    assert value(metric, "auc") == pytest.approx(100 * 30.5 / 50)


def test_persons_without_head_size_are_counted_but_not_scored_and_padding_nowhere() -> None:
    metric = PCK(MPII)
    update(metric, poses(7))
    assert (int(metric.scored), int(metric.unscored)) == (5, 1)
    counted = poses(7)["labelled"][1:-1].sum()
    assert int(metric.count.sum()) == int(counted)


def test_a_missing_prediction_is_a_miss_and_not_skipped() -> None:
    fields = poses(9, seed=1)
    far, gone = dict(fields), dict(fields)
    far["preds"], gone["preds"] = fields["preds"].clone(), fields["preds"].clone()
    far["preds"][4, :5] = 1e9
    gone["preds"][4, :5] = nan
    results = []
    for each in (far, gone):
        metric = PCK(MPII)
        update(metric, each)
        results.append((metric.hits.clone(), metric.count.clone()))
    assert_close(results[0], results[1])


def test_an_infinite_prediction_is_a_miss() -> None:
    metric = PCK(MPII)
    update(metric, person({0: torch.inf}))
    assert value(metric, "pckh") == pytest.approx(100 * 13 / 14)


def test_a_labelled_joint_without_coordinates_is_refused() -> None:
    fields = person({})
    fields["joints"][0, 3] = nan
    with pytest.raises(ValueError, match="no finite coordinates"):
        update(PCK(MPII), fields)


def test_nothing_counted_is_undefined_and_not_zero() -> None:
    padding = poses(4) | {"weight": torch.zeros(4)}
    metric = PCK(MPII)
    update(metric, padding)
    assert all(torch.isnan(each) for each in metric.compute().values())


def reference_pckh(fields: dict[str, Tensor], threshold: float) -> tuple[list[int], list[int]]:
    """Hits and labels per joint, one joint after the other."""
    hits, labels = [0] * 16, [0] * 16
    for index in range(len(fields["preds"])):
        head = float(fields["unit"][index])
        if math.isnan(head) or fields["weight"][index] == 0:
            continue
        for joint in range(16):
            if fields["labelled"][index, joint]:
                dx, dy = (fields["preds"][index, joint] - fields["joints"][index, joint]).tolist()
                labels[joint] += 1
                hits[joint] += (dx * dx + dy * dy) ** 0.5 <= threshold * head
    return hits, labels


@pytest.mark.parametrize("threshold", [0.1, 0.37, 0.5])
def test_pckh_equals_a_loop_over_persons_and_joints(threshold: float) -> None:
    fields = poses(40, seed=2)
    metric = PCK(MPII)
    update(metric, fields)
    hits, labels = reference_pckh(fields, threshold)
    summary = metric.summary(threshold)
    percent = [100 * hit / label for hit, label in zip(hits, labels, strict=True)]
    assert [summary[name] for name in MPII.names] == pytest.approx(percent)
    scored = [joint for joint in range(16) if joint not in (6, 7)]
    assert summary["mean_unweighted_14"] == pytest.approx(sum(percent[joint] for joint in scored) / 14)
    assert summary["mean_weighted_14"] == pytest.approx(
        100 * sum(hits[joint] for joint in scored) / sum(labels[joint] for joint in scored)
    )
    assert summary["mean_16"] == pytest.approx(100 * sum(hits) / sum(labels))
    assert summary["Wrist"] == pytest.approx((percent[10] + percent[15]) / 2)


def test_any_split_into_batches_gives_the_same_sums() -> None:
    fields = poses(11, seed=3)
    whole, parts = PCK(MPII), PCK(MPII)
    update(whole, fields)
    for start, end in ((0, 1), (1, 6), (6, 11)):
        update(parts, {name: each[start:end] for name, each in fields.items()})
    assert_close(parts.compute(), whole.compute(), rtol=1e-14, atol=0, equal_nan=True)


def test_two_processes_sums_together_are_one_process_sum() -> None:
    fields = poses(11, seed=3)
    whole, first, second = PCK(MPII), PCK(MPII), PCK(MPII)
    update(whole, fields)
    update(first, {name: each[:5] for name, each in fields.items()})
    update(second, {name: each[5:] for name, each in fields.items()})
    first.merge_state(second)  # torchmetrics' own reduction of the states, as between ranks
    assert_close(first.compute(), whole.compute(), rtol=1e-14, atol=0, equal_nan=True)


def test_states_are_sums_in_64_bits() -> None:
    metric = PCK(MPII)
    assert all(
        reduction is torch.sum or reduction.__name__ == "dim_zero_sum" for reduction in metric._reductions.values()
    )
    for name in metric._defaults:
        assert getattr(metric, name).dtype in (torch.int64, torch.float64)


def test_the_torso_is_left_shoulder_to_right_hip() -> None:
    assert [MPII.names[joint] for joint in MPII.torso or ()] == ["left shoulder", "right hip"]
    joints = torch.zeros(1, 16, 2, dtype=torch.float64)
    joints[0, 13], joints[0, 2] = torch.tensor([30.0, 0.0]), torch.tensor([0.0, 40.0])
    labelled = torch.ones(1, 16, dtype=torch.bool)
    assert metrics.torso_lengths(joints, labelled, (13, 2)).tolist() == [50.0]
    labelled[0, 2] = False
    assert metrics.torso_lengths(joints, labelled, (13, 2)).isnan().all()


def test_a_set_measured_by_the_box_is_found_within_a_tenth_and_names_its_numbers_so() -> None:
    joints = torch.zeros(1, 17, 2, dtype=torch.float64)
    preds = joints.clone()
    preds[0, :, 0] = torch.tensor([20.0, 20.1] + [1.0] * 15)  # of a box of 200 px
    yes = torch.ones(1, 17, dtype=torch.bool)
    metric = PCK(COCO)
    metric.update(preds, joints, yes, yes, torch.tensor([200.0], dtype=torch.float64), torch.ones(1))
    values = metric.compute()
    assert list(values) == ["pck", "pck_weighted", "pck_17", "pck_0.02", "auc", "pck_visible", "pck_occluded"]
    assert float(values["pck"]) == pytest.approx(100 * 16 / 17)
    assert float(values["pck_17"]) == pytest.approx(100 * 15 / 17)  # strict
    assert float(values["pck_0.02"]) == pytest.approx(100 * 15 / 17)


def test_statistics_of_a_set_without_groups_are_named_once() -> None:
    toy = JointSet(name="toy", names=("tip", "left fin", "right fin", "tail"), bones=(), pairs=((2, 1),))
    names = metrics.statistic_names(toy)
    assert names == (
        *("tip", "left fin", "right fin", "tail", "fin"),
        *("mean_unweighted_4", "mean_weighted_4", "mean_4"),
    )
    hits, counts = torch.tensor([1.0, 2.0, 1.0, 0.0]).double(), torch.tensor([1.0, 2.0, 2.0, 4.0]).double()
    values = dict(zip(names, metrics.summary(toy, hits, counts).tolist(), strict=True))
    assert values["fin"] == pytest.approx(0.75)
    assert values["mean_unweighted_4"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    assert values["mean_weighted_4"] == pytest.approx(4 / 9)


def test_a_float32_prediction_is_compared_in_float64() -> None:
    preds = torch.tensor([[[0.1, 0.0]]], dtype=torch.float32)
    joints = torch.tensor([[[1000.0, 0.0]]], dtype=torch.float64)
    error = metrics.joint_errors(preds, joints, torch.ones(1, dtype=torch.float64))
    assert error.item() == 1000.0 - float(preds[0, 0, 0])


def sums(joints: int = 16) -> tuple[Float64[Tensor, "r 16"], Float64[Tensor, "r 16"]]:
    generator = torch.Generator().manual_seed(7)
    counts = torch.randint(1, 50, (5, joints), generator=generator).double()
    return (counts * torch.rand((5, joints), generator=generator)).floor(), counts


def test_a_joint_that_nobody_labelled_leaves_the_unweighted_mean() -> None:
    hits, counts = sums()
    hits[:, 0] = counts[:, 0] = 0
    rest = (hits / counts)[:, list(MPII.scored)[1:]].mean(dim=1)
    assert_close(metrics.unweighted_mean(hits, counts, MPII.scored), rest)
    assert_close(metrics.weighted_mean(hits, counts, range(16)), hits.sum(dim=1) / counts.sum(dim=1))


def test_a_summary_of_many_rows_equals_the_summaries_of_the_rows() -> None:
    hits, counts = sums()
    rows = torch.stack([metrics.summary(MPII, hit, count) for hit, count in zip(hits, counts, strict=True)])
    assert_close(metrics.summary(MPII, hits, counts), rows)
    assert rows.shape[1] == len(metrics.statistic_names(MPII)) == 16 + 7 + 3
