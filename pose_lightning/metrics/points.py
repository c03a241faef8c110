"""Metrics of 2-D poses: sums and counts, so that any split over batches or processes gives the same numbers.

All of them compare predictions and truth in image px, in float64. The pure functions give errors per sample; the
torchmetrics classes hold the sums. Shapes: b batch, j joints, k thresholds, r any leading axes.
"""

from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from pose_lightning.joints import MPII

THRESHOLDS: Final = tuple(k / 100 for k in range(51))
"""0, 0.01, ... 0.5 head sizes, as MPII's evaluatePCKh.m. Each is a division, not a running sum of 0.01: then an error
exactly on a threshold compares as equal, and index 10 is 0.1 (it is .11 in the tables of HRNet, FACTS: HRNet #167)."""

FOUND: Final = 0.5
"""A joint is found within half a head size: PCKh@0.5 (Andriluka et al., CVPR 2014)."""

TORSO: Final = (MPII.names.index("left shoulder"), MPII.names.index("right hip"))
"""The torso's length is the distance between these, as in the LSP evaluation of MPI (getDistPCK.m)."""

TORSO_THRESHOLD: Final = 0.2
"""Of the torso's length: PCK@0.2."""

HEATMAP_SIZE: Final = 64
"""Signed bias is told in px of a heatmap that shows exactly the person's box, 64 px a side."""

SCORED_14: Final = tuple(joint for joint in range(len(MPII)) if joint not in MPII.unscored)
ALL_16: Final = tuple(range(len(MPII)))

MEANS: Final = ("mean_unweighted_14", "mean_weighted_14", "mean_16")
"""`mean_unweighted_14`: mean of the joints' ratios, without pelvis and thorax (bearpaw, MPII's columns).
`mean_weighted_14`: the same joints, each weighing as many as are labelled (HRNet, mmpose).
`mean_16`: all 16, weighted by labels, error < threshold where a threshold is involved (Newell's own code, psh)."""

SUMMARY: Final = (*MPII.names, *MPII.columns, *MEANS)
"""What `summary` returns, in its order."""


def joint_errors(
    preds: Float[Tensor, "b j 2"], joints: Float[Tensor, "b j 2"], size: Float[Tensor, " b"]
) -> Float64[Tensor, "b j"]:
    """Distances between predictions and truth in units of `size` (px).

    A prediction that is not finite is infinitely far away: a miss at every threshold, as in MPII's own evaluation.
    The error is NaN where the truth or the size is.
    """
    distance = torch.linalg.vector_norm(preds.double() - joints.double(), dim=-1)
    distance = torch.where(preds.isfinite().all(dim=-1) | joints.isnan().any(dim=-1), distance, torch.inf)
    return distance / size.double()[:, None]


def torso_lengths(joints: Float[Tensor, "b j 2"], labelled: Bool[Tensor, "b j"]) -> Float64[Tensor, " b"]:
    """Left shoulder to right hip, px; NaN where either is not labelled or both are in one place."""
    shoulder, hip = TORSO
    length = torch.linalg.vector_norm(joints[:, shoulder].double() - joints[:, hip].double(), dim=-1)
    known = labelled[:, shoulder] & labelled[:, hip] & (length > 0)
    return torch.where(known, length, torch.nan)


def ratios(numerators: Float64[Tensor, "*r j"], denominators: Float64[Tensor, "*r j"]) -> Float64[Tensor, "*r j"]:
    """Per joint; NaN where nothing was counted."""
    return torch.where(denominators > 0, numerators / denominators, torch.nan)


def unweighted_mean(
    numerators: Float64[Tensor, "*r j"], denominators: Float64[Tensor, "*r j"], joints: Sequence[int]
) -> Float64[Tensor, "*r"]:
    """Mean of the ratios of `joints`; a joint that nobody labelled is left out, and NaN if none is labelled."""
    return ratios(numerators, denominators)[..., list(joints)].nanmean(dim=-1)


def weighted_mean(
    numerators: Float64[Tensor, "*r j"], denominators: Float64[Tensor, "*r j"], joints: Sequence[int]
) -> Float64[Tensor, "*r"]:
    """Ratio of the sums over `joints`: every labelled joint weighs the same; NaN if there is none."""
    chosen = list(joints)
    total = denominators[..., chosen].sum(dim=-1)
    return torch.where(total > 0, numerators[..., chosen].sum(dim=-1) / total, torch.nan)


def summary(
    numerators: Float64[Tensor, "*r 16"],
    denominators: Float64[Tensor, "*r 16"],
    strict: Float64[Tensor, "*r 16"] | None = None,
) -> Float64[Tensor, "*r s"]:
    """The statistics named by `SUMMARY`: per joint, per group of published tables, and the three means.

    Args:
        numerators: Per joint, summed over samples.
        denominators: How many were counted.
        strict: The numerators with `error < threshold`, which `mean_16` uses; default, where there is no threshold, the
            same numerators.
    """
    groups = [unweighted_mean(numerators, denominators, joints) for joints in MPII.columns.values()]
    means = [
        unweighted_mean(numerators, denominators, SCORED_14),
        weighted_mean(numerators, denominators, SCORED_14),
        weighted_mean(numerators if strict is None else strict, denominators, ALL_16),
    ]
    return torch.cat([ratios(numerators, denominators), torch.stack([*groups, *means], dim=-1)], dim=-1)


def area_under_curve(curve: Float64[Tensor, "*r k"]) -> Float64[Tensor, "*r"]:
    """Area under values at `THRESHOLDS`, by trapezoids, over the area of the box: as MPII's evaluatePCKh.m."""
    return torch.trapezoid(curve, dim=-1) / (len(THRESHOLDS) - 1)


def _check_labels(joints: Tensor, labelled: Tensor) -> None:
    if bool((labelled[..., None] & ~joints.isfinite()).any()):
        raise ValueError("a joint marked as labelled has no finite coordinates")


class PCKh(Metric):
    """Share of joints within a fraction of the head size, in per cent: @0.5, @0.1 and the area under the curve.

    Persons without a head size are not scored but counted (`unscored`); samples of weight 0 (a loader's padding)
    count nowhere; unlabelled joints never count, occluded ones do. A prediction that is not finite is a miss.
    A joint is right if error <= threshold, as in MPII's evaluation and HRNet; only `mean_16` is strict, as psh is.

    `compute` returns `pckh` (mean_unweighted_14 at 0.5), `pckh_weighted` (mean_weighted_14), `pckh_16` (mean_16),
    `pckh_0.1` and `auc` (mean_unweighted_14 at 0.1, and of the area), `pckh_visible` and `pckh_occluded`
    (mean_weighted_14 at 0.5 of those joints only); NaN where nothing was counted.

    Source: Andriluka et al., 2D Human Pose Estimation: New Benchmark, CVPR 2014.
    """

    higher_is_better = True
    full_state_update = False
    hits: Int64[Tensor, "2 j k"]
    strict_hits: Int64[Tensor, "2 j k"]
    count: Int64[Tensor, "2 j"]
    scored: Int64[Tensor, ""]
    unscored: Int64[Tensor, ""]

    NAMES: Final = ("pckh", "pckh_weighted", "pckh_16", "pckh_0.1", "auc", "pckh_visible", "pckh_occluded")

    def __init__(self) -> None:
        super().__init__()
        shape = (2, len(MPII), len(THRESHOLDS))  # visible and occluded joints apart
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("strict_hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape[:2], dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("scored", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("unscored", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        preds: Float[Tensor, "b 16 2"],
        joints: Float[Tensor, "b 16 2"],
        labelled: Bool[Tensor, "b 16"],
        visible: Bool[Tensor, "b 16"],
        head_size: Float[Tensor, " b"],
        weight: Float[Tensor, " b"],
    ) -> None:
        """Add poses in image px.

        Raises:
            ValueError: If a labelled joint's coordinates are not finite.
        """
        _check_labels(joints, labelled)
        real, known = weight > 0, head_size > 0  # NaN > 0 is False
        errors = joint_errors(preds, joints, head_size)[..., None]
        thresholds = torch.tensor(THRESHOLDS, dtype=torch.float64, device=errors.device)
        for row, seen in enumerate((visible, ~visible)):
            counted = labelled & seen & (real & known)[:, None]
            self.hits[row] += ((errors <= thresholds) & counted[..., None]).sum(dim=0)
            self.strict_hits[row] += ((errors < thresholds) & counted[..., None]).sum(dim=0)
            self.count[row] += counted.sum(dim=0)
        self.scored += (real & known).sum()
        self.unscored += (real & ~known).sum()

    def summary(self, threshold: float = FOUND) -> dict[str, float]:
        """Per joint, per group and the means at one of `THRESHOLDS`, in per cent; of this process's sums."""
        index = THRESHOLDS.index(threshold)
        hits, strict = self.hits.sum(dim=0)[:, index], self.strict_hits.sum(dim=0)[:, index]
        values = 100 * summary(hits.double(), self.count.sum(dim=0).double(), strict.double())
        return dict(zip(SUMMARY, values.tolist(), strict=True))

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """The logged values, by name."""
        half, tenth = THRESHOLDS.index(FOUND), THRESHOLDS.index(0.1)
        hits, count = self.hits.double(), self.count.double()
        everywhere, total = hits.sum(dim=0).T, count.sum(dim=0).expand(len(THRESHOLDS), -1)
        curve = unweighted_mean(everywhere, total, SCORED_14)
        strict = self.strict_hits.double().sum(dim=0)
        values = {
            "pckh": curve[half],
            "pckh_weighted": weighted_mean(everywhere[half], total[half], SCORED_14),
            "pckh_16": weighted_mean(strict[:, half], total[half], ALL_16),
            "pckh_0.1": curve[tenth],
            "auc": area_under_curve(curve),
            "pckh_visible": weighted_mean(hits[0, :, half], count[0], SCORED_14),
            "pckh_occluded": weighted_mean(hits[1, :, half], count[1], SCORED_14),
        }
        return {name: 100 * values[name] for name in self.NAMES}


class TorsoPCK(Metric):
    """PCK@0.2: share of joints within 0.2 of the torso's length (left shoulder to right hip), in per cent.

    Persons without both torso joints are not scored but counted (`unscored`). Otherwise as `PCKh`. `compute` returns
    mean_unweighted_14.

    Source: Yang and Ramanan, TPAMI 2013, with the torso of the LSP evaluation of MPI (getDistPCK.m).
    """

    higher_is_better = True
    full_state_update = False
    hits: Int64[Tensor, " j"]
    count: Int64[Tensor, " j"]
    scored: Int64[Tensor, ""]
    unscored: Int64[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.zeros(len(MPII), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(len(MPII), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("scored", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("unscored", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        preds: Float[Tensor, "b 16 2"],
        joints: Float[Tensor, "b 16 2"],
        labelled: Bool[Tensor, "b 16"],
        weight: Float[Tensor, " b"],
    ) -> None:
        """Add poses in image px.

        Raises:
            ValueError: If a labelled joint's coordinates are not finite.
        """
        _check_labels(joints, labelled)
        torso = torso_lengths(joints, labelled)
        real, known = weight > 0, torso > 0
        counted = labelled & (real & known)[:, None]
        self.hits += ((joint_errors(preds, joints, torso) <= TORSO_THRESHOLD) & counted).sum(dim=0)
        self.count += counted.sum(dim=0)
        self.scored += (real & known).sum()
        self.unscored += (real & ~known).sum()

    def compute(self) -> Float64[Tensor, ""]:
        """Mean over 14 joints, unweighted."""
        return 100 * unweighted_mean(self.hits.double(), self.count.double(), SCORED_14)


class NormalisedError(Metric):
    """Mean distance in head sizes over the labelled joints (mean_weighted_14).

    Infinite as soon as one counted joint was not predicted: leaving joints out must not flatter. Persons without a
    head size are left out; `PCKh` counts them.
    """

    higher_is_better = False
    full_state_update = False
    total: Float64[Tensor, " j"]
    count: Int64[Tensor, " j"]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(len(MPII), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(len(MPII), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self,
        preds: Float[Tensor, "b 16 2"],
        joints: Float[Tensor, "b 16 2"],
        labelled: Bool[Tensor, "b 16"],
        head_size: Float[Tensor, " b"],
        weight: Float[Tensor, " b"],
    ) -> None:
        """Add poses in image px.

        Raises:
            ValueError: If a labelled joint's coordinates are not finite.
        """
        _check_labels(joints, labelled)
        counted = labelled & ((weight > 0) & (head_size > 0))[:, None]
        self.total += torch.where(counted, joint_errors(preds, joints, head_size), 0.0).sum(dim=0)
        self.count += counted.sum(dim=0)

    def compute(self) -> Float64[Tensor, ""]:
        """In head sizes."""
        return weighted_mean(self.total, self.count.double(), SCORED_14)


class SignedBias(Metric):
    """Mean of prediction minus truth along x and y, in px of a 64 px heatmap of the person's box.

    Over the joints found within half a head size only, because a few swapped legs would drown what this is for: codec
    mistakes of a quarter or half a heatmap px, which PCKh@0.5 does not show. `compute` returns `bias_x` and `bias_y`.
    """

    higher_is_better = None
    full_state_update = False
    total: Float64[Tensor, " 2"]
    count: Int64[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(
        self,
        preds: Float[Tensor, "b 16 2"],
        joints: Float[Tensor, "b 16 2"],
        labelled: Bool[Tensor, "b 16"],
        head_size: Float[Tensor, " b"],
        box: Float[Tensor, " b"],
        weight: Float[Tensor, " b"],
    ) -> None:
        """Add poses in image px; `box` is the side of the person's box, px.

        Raises:
            ValueError: If a labelled joint's coordinates are not finite.
        """
        _check_labels(joints, labelled)
        shift, found = joint_shifts(preds, joints, labelled, head_size, box)
        found &= (weight > 0)[:, None]
        self.total += torch.where(found[..., None], shift, 0.0).sum(dim=(0, 1))
        self.count += found.sum()

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """In heatmap px; NaN while no joint was found."""
        mean = torch.where(self.count > 0, self.total / self.count, torch.nan)
        return {"bias_x": mean[0], "bias_y": mean[1]}


def joint_shifts(
    preds: Float[Tensor, "b j 2"],
    joints: Float[Tensor, "b j 2"],
    labelled: Bool[Tensor, "b j"],
    head_size: Float[Tensor, " b"],
    box: Float[Tensor, " b"],
) -> tuple[Float64[Tensor, "b j 2"], Bool[Tensor, "b j"]]:
    """Prediction minus truth in px of a 64 px heatmap of the box, and which joints are found within half a head size.

    Where a joint is not found, its shift is 0.
    """
    found = labelled & (joint_errors(preds, joints, head_size) <= FOUND)
    shift = (preds.double() - joints.double()) * (HEATMAP_SIZE / box.double())[:, None, None]
    return torch.where(found[..., None], shift, 0.0), found
