"""Metrics of 2-D poses: sums and counts, so that any split over batches or processes gives the same numbers.

All of them compare predictions and truth in image px, in float64. The pure functions give errors per sample; the
torchmetrics classes hold the sums. Shapes: b batch, j joints, k thresholds, r any leading axes.

What a distance is measured by follows from the joint set (`JointSet.reference`): the head's size, the torso's length or
the longer side of the person's box, called `unit` here.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor
from torchmetrics import Metric

from pose_lightning.joints import JointSet, Reference

THRESHOLDS: Final = tuple(k / 100 for k in range(51))
"""0, 0.01, ... 0.5 units, as MPII's evaluatePCKh.m. Each is a division, not a running sum of 0.01: then an error
exactly on a threshold compares as equal, and index 10 is 0.1 (it is .11 in the tables of HRNet, FACTS: HRNet #167)."""

FOUND: Final[Mapping[Reference, float]] = MappingProxyType({"head": 0.5, "torso": 0.2, "box": 0.1})
"""Units within which a joint is found: PCKh@0.5 (Andriluka et al., CVPR 2014), PCK@0.2 of the torso (Sapp and Taskar,
CVPR 2013), PCK@0.1 of the longer side of the box (Yang and Ramanan, TPAMI 2013)."""

CLOSE: Final[Mapping[Reference, float]] = MappingProxyType({"head": 0.1, "torso": 0.05, "box": 0.02})
"""The same where joints are to be found exactly."""

NAME: Final[Mapping[Reference, str]] = MappingProxyType({"head": "pckh", "torso": "pck", "box": "pck"})
"""Of the measure, as logged and in files."""

UNIT_NAMES: Final[Mapping[Reference, tuple[str, str]]] = MappingProxyType(
    {"head": ("head size", "head sizes"), "torso": ("torso length", "torso lengths"), "box": ("box side", "box sides")}
)
"""One unit and several."""

TORSO_THRESHOLD: Final = 0.2
"""Of the torso's length: PCK@0.2."""

HEATMAP_SIZE: Final = 64
"""Signed bias is told in px of a heatmap that shows exactly the person's box, 64 px a side."""


def title(joint_set: JointSet) -> str:
    """What tables call the measure: PCKh or PCK."""
    return "PCKh" if joint_set.reference == "head" else "PCK"


def measure(joint_set: JointSet, threshold: float | None = None) -> str:
    """Name of the measure in files: `pckh@0.5`; at the threshold where a joint is found unless told otherwise."""
    threshold = FOUND[joint_set.reference] if threshold is None else threshold
    return f"{NAME[joint_set.reference]}@{threshold:g}"


def means(joint_set: JointSet) -> tuple[str, str, str]:
    """Names of the three means over joints, such as `mean_unweighted_14`, `mean_weighted_14` and `mean_16`.

    The first is the mean of the scored joints' ratios (bearpaw, MPII's columns). In the second the same joints weigh as
    many as are labelled (HRNet, mmpose). The third is of all joints, weighted by labels, with error < threshold where a
    threshold is involved (Newell's own code, psh).
    """
    scored = len(joint_set.scored)
    return f"mean_unweighted_{scored}", f"mean_weighted_{scored}", f"mean_{len(joint_set)}"


def statistic_names(joint_set: JointSet) -> tuple[str, ...]:
    """What `summary` returns, in its order; a column that bears a joint's name is that joint."""
    columns = [heading for heading in joint_set.columns if heading not in joint_set.names]
    return (*joint_set.names, *columns, *means(joint_set))


def joint_errors(
    preds: Float[Tensor, "b j 2"], joints: Float[Tensor, "b j 2"], unit: Float[Tensor, " b"]
) -> Float64[Tensor, "b j"]:
    """Distances between predictions and truth in units of `unit` (px).

    A prediction that is not finite is infinitely far away: a miss at every threshold, as in MPII's own evaluation.
    The error is NaN where the truth or the unit is.
    """
    distance = torch.linalg.vector_norm(preds.double() - joints.double(), dim=-1)
    distance = torch.where(preds.isfinite().all(dim=-1) | joints.isnan().any(dim=-1), distance, torch.inf)
    return distance / unit.double()[:, None]


def torso_lengths(
    joints: Float[Tensor, "b j 2"], labelled: Bool[Tensor, "b j"], torso: tuple[int, int]
) -> Float64[Tensor, " b"]:
    """Distance between the two joints of the torso, px; NaN where either is not labelled or both are in one place."""
    first, second = torso
    length = torch.linalg.vector_norm(joints[:, first].double() - joints[:, second].double(), dim=-1)
    known = labelled[:, first] & labelled[:, second] & (length > 0)
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
    joint_set: JointSet,
    numerators: Float64[Tensor, "*r j"],
    denominators: Float64[Tensor, "*r j"],
    strict: Float64[Tensor, "*r j"] | None = None,
) -> Float64[Tensor, "*r s"]:
    """The statistics named by `statistic_names`: per joint, per column of a table, and the three means.

    Args:
        joint_set: Of the joints.
        numerators: Per joint, summed over samples.
        denominators: How many were counted.
        strict: The numerators with `error < threshold`, which the mean of all joints uses; default, where there is no
            threshold, the same numerators.
    """
    columns = [
        unweighted_mean(numerators, denominators, joints)
        for heading, joints in joint_set.columns.items()
        if heading not in joint_set.names
    ]
    over_joints = [
        unweighted_mean(numerators, denominators, joint_set.scored),
        weighted_mean(numerators, denominators, joint_set.scored),
        weighted_mean(numerators if strict is None else strict, denominators, range(len(joint_set))),
    ]
    return torch.cat([ratios(numerators, denominators), torch.stack([*columns, *over_joints], dim=-1)], dim=-1)


def area_under_curve(curve: Float64[Tensor, "*r k"]) -> Float64[Tensor, "*r"]:
    """Area under values at `THRESHOLDS`, by trapezoids, over the area of the box: as MPII's evaluatePCKh.m."""
    return torch.trapezoid(curve, dim=-1) / (len(THRESHOLDS) - 1)


def joint_shifts(
    preds: Float[Tensor, "b j 2"],
    joints: Float[Tensor, "b j 2"],
    labelled: Bool[Tensor, "b j"],
    unit: Float[Tensor, " b"],
    box: Float[Tensor, " b"],
    within: float,
) -> tuple[Float64[Tensor, "b j 2"], Bool[Tensor, "b j"]]:
    """Prediction minus truth in px of a 64 px heatmap of the box, and which joints are within so many units.

    Where a joint is not found, its shift is 0. A few swapped legs would drown what this is for: codec mistakes of a
    quarter or half a heatmap px, which PCKh@0.5 does not show.
    """
    found = labelled & (joint_errors(preds, joints, unit) <= within)
    shift = (preds.double() - joints.double()) * (HEATMAP_SIZE / box.double())[:, None, None]
    return torch.where(found[..., None], shift, 0.0), found


class PCK(Metric):
    """Share of joints within a fraction of the person's unit, in per cent: PCKh or PCK, as the joint set says.

    Persons whose unit is unknown are not scored but counted (`unscored`); samples of weight 0 (a loader's padding)
    count nowhere; unlabelled joints never count, occluded ones do. A prediction that is not finite is a miss.
    A joint is right if error <= threshold, as in MPII's evaluation and HRNet; only the mean of all joints is strict, as
    psh is.

    `compute` returns, of a set that is measured by the head: `pckh` (the scored joints' unweighted mean at 0.5),
    `pckh_weighted` (their weighted one), `pckh_16` (of all joints, strict), `pckh_0.1` and `auc` (unweighted at 0.1,
    and of the area), `pckh_visible` and `pckh_occluded` (weighted at 0.5 of those joints only); NaN where nothing was
    counted. Of other sets the names begin with `pck`, and the thresholds are those of `FOUND` and `CLOSE`.

    Args:
        joint_set: Of the poses.

    Source: Andriluka et al., 2D Human Pose Estimation: New Benchmark, CVPR 2014.
    """

    higher_is_better = True
    full_state_update = False
    hits: Int64[Tensor, "2 j k"]
    strict_hits: Int64[Tensor, "2 j k"]
    count: Int64[Tensor, "2 j"]
    scored: Int64[Tensor, ""]
    unscored: Int64[Tensor, ""]

    def __init__(self, joint_set: JointSet) -> None:
        super().__init__()
        self.joint_set = joint_set
        self.found, self.close = FOUND[joint_set.reference], CLOSE[joint_set.reference]
        shape = (2, len(joint_set), len(THRESHOLDS))  # visible and occluded joints apart
        self.add_state("hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("strict_hits", torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(shape[:2], dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("scored", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("unscored", torch.tensor(0), dist_reduce_fx="sum")

    @property
    def NAMES(self) -> tuple[str, ...]:  # noqa: N802 - as of every metric
        """What `compute` returns."""
        return logged_names(self.joint_set)

    def update(
        self,
        preds: Float[Tensor, "b j 2"],
        joints: Float[Tensor, "b j 2"],
        labelled: Bool[Tensor, "b j"],
        visible: Bool[Tensor, "b j"],
        unit: Float[Tensor, " b"],
        weight: Float[Tensor, " b"],
    ) -> None:
        """Add poses in image px; `unit` is NaN where it is unknown.

        Raises:
            ValueError: If a labelled joint's coordinates are not finite.
        """
        if bool((labelled[..., None] & ~joints.isfinite()).any()):
            raise ValueError("a joint marked as labelled has no finite coordinates")
        real, known = weight > 0, unit > 0  # NaN > 0 is False
        errors = joint_errors(preds, joints, unit)[..., None]
        thresholds = torch.tensor(THRESHOLDS, dtype=torch.float64, device=errors.device)
        for row, seen in enumerate((visible, ~visible)):
            counted = labelled & seen & (real & known)[:, None]
            self.hits[row] += ((errors <= thresholds) & counted[..., None]).sum(dim=0)
            self.strict_hits[row] += ((errors < thresholds) & counted[..., None]).sum(dim=0)
            self.count[row] += counted.sum(dim=0)
        self.scored += (real & known).sum()
        self.unscored += (real & ~known).sum()

    def summary(self, threshold: float | None = None) -> dict[str, float]:
        """Per joint, per column and the means at one of `THRESHOLDS`, in per cent; of this process's sums."""
        index = THRESHOLDS.index(self.found if threshold is None else threshold)
        hits, strict = self.hits.sum(dim=0)[:, index], self.strict_hits.sum(dim=0)[:, index]
        values = 100 * summary(self.joint_set, hits.double(), self.count.sum(dim=0).double(), strict.double())
        return dict(zip(statistic_names(self.joint_set), values.tolist(), strict=True))

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """The logged values, by name."""
        found, close = THRESHOLDS.index(self.found), THRESHOLDS.index(self.close)
        scored, everything = self.joint_set.scored, range(len(self.joint_set))
        hits, count = self.hits.double(), self.count.double()
        total = count.sum(dim=0)
        everywhere, totals = hits.sum(dim=0).T, total.expand(len(THRESHOLDS), -1)
        curve = unweighted_mean(everywhere, totals, scored)
        strict = self.strict_hits.double().sum(dim=0)
        values = [
            curve[found],
            weighted_mean(everywhere[found], total, scored),
            weighted_mean(strict[:, found], total, everything),
            curve[close],
            area_under_curve(curve),
            weighted_mean(hits[0, :, found], count[0], scored),
            weighted_mean(hits[1, :, found], count[1], scored),
        ]
        return {name: 100 * value for name, value in zip(logged_names(self.joint_set), values, strict=True)}


def logged_names(joint_set: JointSet) -> tuple[str, ...]:
    """What `PCK` computes, by the names that runs log: of MPII `pckh`, `pckh_weighted`, `pckh_16` and others."""
    name = NAME[joint_set.reference]
    return (
        name,
        f"{name}_weighted",
        f"{name}_{len(joint_set)}",
        f"{name}_{CLOSE[joint_set.reference]:g}",
        "auc",
        f"{name}_visible",
        f"{name}_occluded",
    )
