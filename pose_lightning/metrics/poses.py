"""Metrics of 3-D poses: sums and counts, so that any split over batches or processes gives the same numbers.

Poses are in mm, along the camera's axes, relative to the root joint on every frame. All sums are in float64. Shapes: b
clips, t frames, j joints.
"""

from typing import Final

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torchmetrics import Metric

from pose_lightning.joints import H36M_ROOT

PCK_THRESHOLD: Final = 150.0
"""mm; 3D-PCK of Mehta et al., 3DV 2017."""

AUC_THRESHOLDS: Final = tuple(5.0 * k for k in range(31))
"""mm; 0 to 150 by 5. The AUC is the mean of the 31 shares of joints whose error is smaller, as MPI-INF-3DHP's
mpii_compute_3d_pck.m and its ports have it: no error is smaller than 0, so a perfect pose has 30/31."""

MM2_PER_M2: Final = 1e6


def joint_distances(preds: Float[Tensor, "*b j 3"], target: Float[Tensor, "*b j 3"]) -> Float64[Tensor, "*b j"]:
    """Distance of every joint to its true place, mm."""
    return torch.linalg.vector_norm(preds.double() - target.double(), dim=-1)


def rooted(poses: Float[Tensor, "*b j 3"]) -> Float[Tensor, "*b j 3"]:
    """The poses with their root joint at 0."""
    return poses - poses[..., H36M_ROOT, None, :]


def aligned(preds: Float[Tensor, "*b j 3"], target: Float[Tensor, "*b j 3"]) -> Float64[Tensor, "*b j 3"]:
    """`preds` moved, turned and scaled onto `target`, frame by frame, as well as a similarity without reflection can.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns, TPAMI 1991.

    A predicted pose whose joints are all in one place lands in the middle of the target.

    Raises:
        ValueError: If a pose is not finite.
    """
    preds, target = preds.double(), target.double()
    if not bool(preds.isfinite().all()) or not bool(target.isfinite().all()):
        raise ValueError("a pose that is not finite cannot be aligned")
    mean = target.mean(dim=-2, keepdim=True)
    moved, wanted = preds - preds.mean(dim=-2, keepdim=True), target - mean
    spread = moved.square().sum(dim=(-2, -1))
    left, values, right = torch.linalg.svd(moved.mT @ wanted)
    sign = torch.ones_like(values)
    sign[..., -1] = torch.sign(torch.linalg.det(left @ right))
    scale = torch.where(spread > 0, (values * sign).sum(dim=-1) / spread, 0.0)
    turn = left @ (sign[..., None] * right)
    return scale[..., None, None] * (moved @ turn) + mean


def scaled(preds: Float[Tensor, "*b j 3"], target: Float[Tensor, "*b j 3"]) -> Float64[Tensor, "*b j 3"]:
    """Rooted `preds` times the factor per frame that brings them nearest to the rooted `target`, in least squares.

    A pose without extent keeps it. Source: Rhodin et al., CVPR 2018, section 4 (N-MPJPE).
    """
    preds, target = rooted(preds.double()), rooted(target.double())
    extent = preds.square().sum(dim=(-2, -1))
    factor = torch.where(extent > 0, (preds * target).sum(dim=(-2, -1)) / extent, 0.0)
    return factor[..., None, None] * preds


def velocity_distances(preds: Float[Tensor, "b t j 3"], target: Float[Tensor, "b t j 3"]) -> Float64[Tensor, "b s j"]:
    """Distance between predicted and true step from every frame to the next of the same clip, mm per frame."""
    return joint_distances(preds.diff(dim=1), target.diff(dim=1))


def within(distances: Float64[Tensor, "*b j"]) -> Float64[Tensor, "*b j k"]:
    """Whether a joint's error is smaller than each of `AUC_THRESHOLDS`, as 0 or 1."""
    thresholds = torch.tensor(AUC_THRESHOLDS, dtype=torch.float64, device=distances.device)
    return (distances[..., None] < thresholds).double()


class PoseErrors(Metric):
    """Errors of clips of poses, over all that `update` was given.

    Poses are relative to the root on every frame. A predicted clip that is not finite makes every value infinite (0 for
    `pck_150` and `auc`); clips of weight 0 (a loader's padding) count nowhere.

    `compute` returns, in mm: `mpjpe` (as predicted, 17 joints, as the course's reports), `mpjpe_16` (without the root
    joint), `mpjpe_rooted` (the predicted root moved to 0, 17 joints: protocol 1), `mpjpe_rooted_16`, `pa_mpjpe` (after
    a similarity without reflection per frame: protocol 2), `n_mpjpe` (after scaling), `mpjve` (mm per frame, within
    clips; NaN where clips have one frame); in per cent `pck_150` and `auc` (rooted); and `mse` in m^2, as predicted.

    Source: Ionescu et al., Human3.6M, TPAMI 2014, eq. 8; Martinez et al., ICCV 2017; Pavllo et al., CVPR 2019.
    """

    higher_is_better = False
    full_state_update = False
    sums: Float64[Tensor, " m"]
    counts: Float64[Tensor, " m"]
    failed: Float64[Tensor, ""]

    NAMES: Final = (
        "mpjpe",
        "mpjpe_16",
        "mpjpe_rooted",
        "mpjpe_rooted_16",
        "pa_mpjpe",
        "n_mpjpe",
        "mpjve",
        "pck_150",
        "auc",
        "mse",
    )

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(len(self.NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(len(self.NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("failed", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, preds: Float[Tensor, "b t 17 3"], target: Float[Tensor, "b t 17 3"], weight: Float[Tensor, " b"]
    ) -> None:
        """Add clips of poses, mm."""
        real = weight > 0
        whole = preds.isfinite().all(dim=(-1)).all(dim=-1).all(dim=-1)
        self.failed += (real & ~whole).sum()
        measures = list(clip_measures(preds[real & whole], target[real & whole]).values())
        self.sums += torch.stack([each.sum() for each in measures])
        self.counts += torch.tensor([each.numel() for each in measures], dtype=torch.float64, device=preds.device)

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """The values, by name."""
        values = self.sums / self.counts
        worst = torch.tensor([0.0 if name in ("pck_150", "auc") else torch.inf for name in self.NAMES])
        values = torch.where(self.failed > 0, worst.to(values), values)
        return dict(zip(self.NAMES, values, strict=True))


def clip_measures(
    preds: Float[Tensor, "b t j 3"], target: Float[Tensor, "b t j 3"]
) -> dict[str, Float64[Tensor, "b _ _"]]:
    """Every measure of finite clips, per frame and joint, so that its mean over any clips is a plain mean."""
    distances = joint_distances(preds, target)
    after_root = joint_distances(rooted(preds), rooted(target))
    others = [joint for joint in range(preds.shape[-2]) if joint != H36M_ROOT]
    return {
        "mpjpe": distances,
        "mpjpe_16": distances[..., others],
        "mpjpe_rooted": after_root,
        "mpjpe_rooted_16": after_root[..., others],
        "pa_mpjpe": joint_distances(aligned(preds, target), target),
        "n_mpjpe": joint_distances(scaled(preds, target), rooted(target)),
        "mpjve": velocity_distances(preds, target),
        "pck_150": 100 * (after_root < PCK_THRESHOLD).double(),
        "auc": 100 * within(after_root).mean(dim=-1),
        "mse": (preds.double() - target.double()).square().mean(dim=-1) / MM2_PER_M2,
    }
