import math

import pytest
import torch
from jaxtyping import Float64
from torch import Tensor, nan
from torch.testing import assert_close
from torchmetrics import Metric

from pose_lightning.joints import MPII
from pose_lightning.metrics import points as metrics
from pose_lightning.metrics.points import ALL_16, SCORED_14, NormalisedError, PCKh, SignedBias, TorsoPCK

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
        "head_size": head_size,
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
        "head_size": torch.tensor([HEAD], dtype=torch.float64),
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
    metric = PCKh()
    update(metric, person({0: error}))
    assert value(metric, "pckh") == pytest.approx(100 if right else 100 * 13 / 14)


def test_an_error_of_every_hundredth_of_a_head_is_a_hit_from_that_threshold_on() -> None:
    for hundredths in range(51):
        metric = PCKh()
        update(metric, person({0: float(hundredths)}))
        assert metric.hits[0, 0].tolist() == [0] * hundredths + [1] * (51 - hundredths)
        assert metric.strict_hits[0, 0].tolist() == [0] * min(hundredths + 1, 51) + [1] * (50 - hundredths)


def test_only_the_mean_of_all_16_is_strict_and_holds_pelvis_and_thorax() -> None:
    metric = PCKh()
    update(metric, person({0: 50.0, MPII.unscored[0]: 300.0}))
    assert value(metric, "pckh") == value(metric, "pckh_weighted") == 100
    assert value(metric, "pckh_16") == pytest.approx(100 * 14 / 16)


def test_the_means_of_unequally_labelled_joints_by_hand() -> None:
    both, one = person({0: 90.0}), person({0: 90.0})
    for joint in range(1, 16):  # the second person has a right ankle only
        one["labelled"][0, joint] = one["visible"][0, joint] = False
        one["joints"][0, joint] = nan
    metric = PCKh()
    update(metric, both)
    update(metric, one)
    assert value(metric, "pckh") == pytest.approx(100 * 13 / 14)
    assert value(metric, "pckh_weighted") == pytest.approx(100 * 13 / 15)
    assert value(metric, "pckh_16") == pytest.approx(100 * 15 / 17)


def test_occluded_joints_count_and_are_told_apart() -> None:
    fields = person({0: 90.0, 1: 90.0})
    fields["visible"][0, [0, 2]] = False
    metric = PCKh()
    update(metric, fields)
    assert value(metric, "pckh_occluded") == 50
    assert value(metric, "pckh_visible") == pytest.approx(100 * 11 / 12)
    assert value(metric, "pckh") == pytest.approx(100 * 12 / 14)


def test_the_area_under_the_curve_of_one_error_is_the_rest_of_the_range() -> None:
    fields = person(dict.fromkeys(range(16), 20.0))
    metric = PCKh()
    update(metric, fields)
    assert value(metric, "pckh_0.1") == 0
    # 0 up to 0.19, 100 from 0.2: 30 full intervals of 50 and half of the one that rises
    assert value(metric, "auc") == pytest.approx(100 * 30.5 / 50)


def test_persons_without_head_size_are_counted_but_not_scored_and_padding_nowhere() -> None:
    metric = PCKh()
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
        metric = PCKh()
        update(metric, each)
        results.append((metric.hits.clone(), metric.count.clone()))
    assert_close(results[0], results[1])


def test_an_infinite_prediction_is_a_miss() -> None:
    metric = PCKh()
    update(metric, person({0: torch.inf}))
    assert value(metric, "pckh") == pytest.approx(100 * 13 / 14)


def test_a_labelled_joint_without_coordinates_is_refused() -> None:
    fields = person({})
    fields["joints"][0, 3] = nan
    for metric in (PCKh(), TorsoPCK(), NormalisedError(), SignedBias()):
        with pytest.raises(ValueError, match="no finite coordinates"):
            update(metric, fields | {"box": torch.tensor([200.0])})


def test_nothing_counted_is_undefined_and_not_zero() -> None:
    padding = poses(4) | {"weight": torch.zeros(4)}
    for metric in (PCKh(), TorsoPCK(), NormalisedError(), SignedBias()):
        update(metric, padding)
        values = metric.compute()
        assert all(torch.isnan(each) for each in (values.values() if isinstance(values, dict) else [values]))


def reference_pckh(fields: dict[str, Tensor], threshold: float) -> tuple[list[int], list[int]]:
    """Hits and labels per joint, one joint after the other."""
    hits, labels = [0] * 16, [0] * 16
    for index in range(len(fields["preds"])):
        head = float(fields["head_size"][index])
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
    metric = PCKh()
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


@pytest.mark.parametrize("kind", [PCKh, TorsoPCK, NormalisedError, SignedBias])
def test_any_split_into_batches_gives_the_same_sums(kind: type[Metric]) -> None:
    fields = poses(11, seed=3)
    whole, parts = kind(), kind()
    update(whole, fields)
    for start, end in ((0, 1), (1, 6), (6, 11)):
        update(parts, {name: each[start:end] for name, each in fields.items()})
    assert_close(parts.compute(), whole.compute(), rtol=1e-14, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", [PCKh, TorsoPCK, NormalisedError, SignedBias])
def test_two_processes_sums_together_are_one_process_sum(kind: type[Metric]) -> None:
    fields = poses(11, seed=3)
    whole, first, second = kind(), kind(), kind()
    update(whole, fields)
    update(first, {name: each[:5] for name, each in fields.items()})
    update(second, {name: each[5:] for name, each in fields.items()})
    first.merge_state(second)  # torchmetrics' own reduction of the states, as between ranks
    assert_close(first.compute(), whole.compute(), rtol=1e-14, atol=0, equal_nan=True)


@pytest.mark.parametrize("kind", [PCKh, TorsoPCK, NormalisedError, SignedBias])
def test_states_are_sums_in_64_bits(kind: type[Metric]) -> None:
    metric = kind()
    assert all(
        reduction is torch.sum or reduction.__name__ == "dim_zero_sum" for reduction in metric._reductions.values()
    )
    for name in metric._defaults:
        assert getattr(metric, name).dtype in (torch.int64, torch.float64)


def test_the_torso_is_left_shoulder_to_right_hip() -> None:
    assert [MPII.names[joint] for joint in metrics.TORSO] == ["left shoulder", "right hip"]
    joints = torch.zeros(1, 16, 2, dtype=torch.float64)
    joints[0, 13], joints[0, 2] = torch.tensor([30.0, 0.0]), torch.tensor([0.0, 40.0])
    labelled = torch.ones(1, 16, dtype=torch.bool)
    assert metrics.torso_lengths(joints, labelled).tolist() == [50.0]
    preds = joints.clone()
    preds[0, 0, 0], preds[0, 1, 0] = 10.0, 10.001  # 0.2 of 50 px is 10
    metric = TorsoPCK()
    metric.update(preds, joints, labelled, torch.ones(1))
    assert float(metric.compute()) == pytest.approx(100 * 13 / 14)


def test_persons_without_torso_are_counted_but_not_scored() -> None:
    fields = poses(30, seed=4)
    metric = TorsoPCK()
    update(metric, fields)
    known = fields["labelled"][:-1][:, [13, 2]].all(dim=1)
    assert (int(metric.scored), int(metric.unscored)) == (int(known.sum()), int((~known).sum()))


def test_the_mean_error_of_a_shifted_pose_is_the_shift() -> None:
    fields = poses(9, seed=5)
    fields["preds"] = fields["joints"].nan_to_num() + torch.tensor([3.0, 4.0])
    fields["head_size"] = torch.full((9,), 50.0, dtype=torch.float64)
    metric = NormalisedError()
    update(metric, fields)
    assert float(metric.compute()) == pytest.approx(0.1)


def test_one_joint_without_prediction_makes_the_mean_error_infinite() -> None:
    fields = person({2: nan})
    metric = NormalisedError()
    update(metric, fields)
    assert float(metric.compute()) == torch.inf


def test_the_bias_shows_half_a_heatmap_pixel_and_its_sign() -> None:
    fields = poses(9, seed=6)
    step = fields["box"][:, None, None] / 64
    fields["preds"] = fields["joints"].nan_to_num() + step * torch.tensor([-0.5, 0.25])
    fields["preds"][3, 2] += 1000  # not found: swapped legs must not drown the bias
    metric = SignedBias()
    update(metric, fields)
    assert_close(torch.stack(list(metric.compute().values())), torch.tensor([-0.5, 0.25], dtype=torch.float64))


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
    rest = (hits / counts)[:, list(SCORED_14)[1:]].mean(dim=1)
    assert_close(metrics.unweighted_mean(hits, counts, SCORED_14), rest)
    assert_close(metrics.weighted_mean(hits, counts, ALL_16), hits.sum(dim=1) / counts.sum(dim=1))


def test_a_summary_of_many_rows_equals_the_summaries_of_the_rows() -> None:
    hits, counts = sums()
    rows = torch.stack([metrics.summary(hit, count) for hit, count in zip(hits, counts, strict=True)])
    assert_close(metrics.summary(hits, counts), rows)
    assert rows.shape[1] == len(metrics.SUMMARY) == 16 + 7 + 3
