"""Errors of 3-D poses against hand-computed values and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.testing import assert_close

from pose_lightning.metrics.poses import PoseErrors, aligned, clip_measures, rooted, scaled


def poses(clips: int, frames: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return rooted(300 * torch.randn(clips, frames, 17, 3, dtype=torch.float64, generator=generator))


def computed(preds: Tensor, target: Tensor, weight: Tensor | None = None) -> dict[str, float]:
    metric = PoseErrors()
    metric.update(preds, target, torch.ones(len(preds)) if weight is None else weight)
    return {name: value.item() for name, value in metric.compute().items()}


def test_a_shift_counts_as_predicted_and_not_once_rooted() -> None:
    target = poses(3)
    found = computed(target + torch.tensor([3.0, 4.0, 0.0]), target)
    for name in ("mpjpe", "mpjpe_16"):
        assert found[name] == pytest.approx(5)
    for name in ("mpjpe_rooted", "mpjpe_rooted_16", "pa_mpjpe", "n_mpjpe", "mpjve"):
        assert found[name] == pytest.approx(0, abs=1e-9)
    assert found["pck_150"] == 100
    assert found["auc"] == pytest.approx(100 * 30 / 31)  # nothing is smaller than 0, the first threshold
    assert found["mse"] == pytest.approx((9 + 16) / 3 / 1e6)


def test_without_the_root_one_joint_in_sixteen_weighs_more() -> None:
    target = poses(2)
    preds = target.clone()
    preds[:, :, 5, 2] += 34
    found = computed(preds, target)
    assert found["mpjpe"] == found["mpjpe_rooted"] == pytest.approx(2)
    assert found["mpjpe_16"] == found["mpjpe_rooted_16"] == pytest.approx(34 / 16)


def test_a_wrong_root_moves_every_joint_once_rooted() -> None:
    target = poses(2)
    preds = target.clone()
    preds[:, :, 0, 0] += 17
    found = computed(preds, target)
    assert found["mpjpe"] == pytest.approx(1)
    assert found["mpjpe_16"] == pytest.approx(0)
    assert found["mpjpe_rooted"] == pytest.approx(17 * 16 / 17)


def test_pa_undoes_any_similarity() -> None:
    target = poses(5)
    turn = torch.from_numpy(Rotation.random(1, rng=np.random.default_rng(1)).as_matrix()[0])
    found = computed(0.4 * target @ turn + torch.tensor([10.0, -70.0, 3.0]), target)
    assert found["pa_mpjpe"] == pytest.approx(0, abs=1e-9)
    assert found["mpjpe"] > 100


def test_pa_agrees_with_scipys_procrustes() -> None:
    preds, target = poses(3, seed=1), poses(3, seed=2)
    preds = 0.5 * preds + target  # near enough for scipy, which may reflect, to find a rotation
    frames = (each.flatten(0, 1) for each in (preds, target, aligned(preds, target)))
    for pred, true, ours in zip(*frames, strict=True):
        centred = true - true.mean(dim=0)
        _, matched, _ = procrustes(centred.numpy(), pred.numpy())
        theirs = matched * torch.linalg.norm(centred).item() + true.mean(dim=0).numpy()
        assert_close(ours.numpy(), theirs, rtol=0, atol=1e-8)


def test_pa_does_not_reflect() -> None:
    target = poses(4, seed=3)
    mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
    assert computed(mirrored, target)["pa_mpjpe"] > 50
    turn = torch.linalg.lstsq(
        mirrored[0, 0] - mirrored[0, 0].mean(0), aligned(mirrored, target)[0, 0] - target[0, 0].mean(0)
    )
    assert torch.linalg.det(turn.solution) > 0


def test_pa_of_a_pose_without_extent_is_the_distance_to_the_middle() -> None:
    target = poses(1, 1)
    found = aligned(torch.zeros_like(target), target)
    assert_close(found, target.mean(dim=-2, keepdim=True).expand_as(target))
    with pytest.raises(ValueError, match="not finite"):
        aligned(target * math.nan, target)


def test_n_mpjpe_undoes_a_scale_and_nothing_else() -> None:
    target = poses(3)
    assert computed(2.5 * target, target)["n_mpjpe"] == pytest.approx(0, abs=1e-9)
    turned = target[..., [1, 0, 2]]
    best = min(
        torch.linalg.norm(factor * turned[0, 0] - target[0, 0]).item() for factor in np.linspace(-2, 2, 4001).tolist()
    )
    assert torch.linalg.norm(scaled(turned, target)[0, 0] - target[0, 0]).item() == pytest.approx(best, rel=1e-5)


def test_velocity_does_not_cross_a_clips_border() -> None:
    target = torch.zeros(2, 3, 17, 3, dtype=torch.float64)
    preds = target.clone()
    preds[1] += 1000  # a jump between clips
    preds[0, 2, :, 0] += 6  # and one step of 6 mm of the four inside
    assert computed(preds, target)["mpjve"] == pytest.approx(6 / 4)
    assert math.isnan(computed(preds[:, :1], target[:, :1])["mpjve"])


def test_pck_and_auc_by_hand() -> None:
    target = torch.zeros(1, 1, 17, 3, dtype=torch.float64)
    preds = target.clone()
    preds[..., 1:9, 0] = 75.0  # 8 of 17 at half of the largest threshold, found from 75 on
    preds[..., 9, 0] = 150.0
    preds[..., 10, 0] = 150.1
    found = computed(preds, target)
    assert found["pck_150"] == pytest.approx(100 * 15 / 17)  # neither the joint at 150 mm nor the one above
    assert found["auc"] == pytest.approx(100 * (7 * 30 + 8 * 15) / 31 / 17)  # above 0 mm: 30 thresholds, above 75: 15


def test_auc_is_the_mean_of_pck_over_31_thresholds() -> None:
    target = poses(4)
    preds = rooted(target + 60 * (poses(4, seed=6) / 300))
    errors = np.linalg.norm((preds - target).numpy(), axis=-1)
    expected = 100 * np.mean([np.mean(errors < threshold) for threshold in np.linspace(0, 150, 31)])
    assert computed(preds, target)["auc"] == pytest.approx(expected, rel=1e-12)


def test_any_split_over_batches_and_processes_gives_the_same() -> None:
    target, preds = poses(11), poses(11, seed=5)
    whole, first, second = PoseErrors(), PoseErrors(), PoseErrors()
    whole.update(preds, target, torch.ones(11))
    first.update(preds[:4], target[:4], torch.ones(4))
    second.update(preds[4:10], target[4:10], torch.ones(6))
    second.update(preds[9:], target[9:], torch.tensor([0.0, 1.0]))  # one is padding
    first.merge_state(second)
    for name, value in whole.compute().items():
        assert_close(first.compute()[name], value, rtol=1e-13, atol=0)


def test_a_pose_that_is_not_finite_spoils_every_value() -> None:
    target = poses(3)
    preds = target.clone()
    preds[1, 0, 4, 1] = math.nan
    found = computed(preds, target)
    assert found.pop("pck_150") == found.pop("auc") == 0
    assert set(found.values()) == {math.inf}
    kept = computed(preds, target, torch.tensor([1.0, 0.0, 1.0]))  # unless it is padding
    assert kept["mpjpe"] == 0


def test_measures_are_per_frame_and_joint() -> None:
    found = clip_measures(poses(2, 3), poses(2, 3, seed=4))
    assert tuple(found) == PoseErrors.NAMES
    assert {name: tuple(each.shape) for name, each in found.items()} == {
        **dict.fromkeys(PoseErrors.NAMES, (2, 3, 17)),
        "mpjpe_16": (2, 3, 16),
        "mpjpe_rooted_16": (2, 3, 16),
        "mpjve": (2, 2, 17),
    }
