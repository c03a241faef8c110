"""Published scores by joint group, to stand beside ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pose_lightning.joints import MPII

PERSONS: Final = "MPII, 2,958 validation persons"


@dataclass(frozen=True)
class PublishedGroups:
    """PCKh@0.5 in %, by the columns of MPII's tables, with the unweighted mean over 14 joints where it is known.

    Attributes:
        name: Who predicted.
        source: Where it stands.
        values: Head, Shoulder, Elbow, Wrist, Hip, Knee, Ankle.
        mean: Of the source.
        split: That it was measured on.
    """

    name: str
    source: str
    values: tuple[float, ...]
    mean: float
    split: str = PERSONS

    @property
    def by_group(self) -> Mapping[str, float]:
        """The values by group, and `Mean`."""
        return {**dict(zip(MPII.columns, self.values, strict=True)), "Mean": self.mean}


_MPII: Final = (
    PublishedGroups(
        "Newell, 8 stacks (test)",
        "Newell et al., ECCV 2016",
        (98.2, 96.3, 91.2, 87.1, 90.1, 87.4, 83.6),
        90.9,
        "MPII, test persons",
    ),
    PublishedGroups(
        "Newell, released predictions",
        "valid-ours.h5 of pose-hg-demo, as its issues quote it",
        (95.94, 94.68, 88.53, 83.38, 87.48, 83.09, 79.05),
        87.56,
    ),
    PublishedGroups(
        "bearpaw, 2 stacks", "hg_s2_b1, table of its README", (95.87, 94.68, 88.27, 83.64, 86.29, 81.20, 77.70), 86.95
    ),
    PublishedGroups(
        "bearpaw, 8 stacks", "hg_s8_b1, table of its README", (96.79, 95.28, 90.27, 85.56, 87.57, 84.30, 81.06), 88.78
    ),
    PublishedGroups(
        "HRNet-W32",
        "README of deep-high-resolution-net.pytorch; mirrored images averaged in",
        (97.1, 95.9, 90.3, 86.4, 89.1, 87.1, 83.3),
        90.3,
    ),
)

POSES: Final[Mapping[str, tuple[PublishedGroups, ...]]] = {MPII.name: _MPII}
"""By the name of the joint set."""
