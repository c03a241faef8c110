"""Validation samples of heatmap estimation, as training draws them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pose_lightning import draw, geometry
from pose_lightning.joints import JointSet
from pose_lightning.metrics import points
from pose_lightning.training.pictures import SIDE, Shown, pixels

MEASURE: Final = "mean error, px of the image"

UNKNOWN: Final = 0.05
"""Share of the input's longer side within which a joint is drawn as right where its person's unit is unknown: MPII's
boxes are ten half head sizes."""


def show(batch: dict[str, Any], outputs: dict[str, np.ndarray], names: Sequence[str], data: Any) -> list[Shown]:
    """Truth in white, joints that count as found in pink, others in red."""
    joint_set: JointSet = data.joint_set
    matrices, labelled = batch["matrix"].numpy(), batch["labelled"].numpy()
    truth = np.where(labelled[..., None], batch["joints"].double().numpy(), np.nan)
    in_image = geometry.apply_to_points(matrices, truth)
    errors = np.linalg.norm(outputs["preds"] - in_image, axis=-1)
    scale = np.linalg.norm(matrices[:, :, 0], axis=-1)  # px of the image that a px of the input covers
    near = points.FOUND[joint_set.reference] * batch["unit"].numpy()
    near = np.where(np.isfinite(near), near, UNKNOWN * max(batch["image"].shape[-2:]) * scale)
    preds = geometry.apply_to_points(geometry.invert(matrices), outputs["preds"])
    found = []
    for place, name in enumerate(names):
        right = np.nan_to_num(errors[place], nan=np.inf) <= near[place]
        mean = float(errors[place][labelled[place]].mean()) if labelled[place].any() else float("nan")
        caption = [name, f"{int(right.sum())} of {int(labelled[place].sum())} right, mean error {mean:.1f} px"]
        seen, limbs = pixels(batch["image"][place]), joint_set.limbs(labelled[place])
        picture = draw.overlay(seen, truth[place], preds[place], limbs, right, caption, side=SIDE)
        found.append(Shown(name, picture, mean))
    return found


def comparable(batch: dict[str, Any], preds: np.ndarray) -> tuple[np.ndarray, float]:
    """Predictions in px of the input, where boxes are alike, and how much joints differ there."""
    return geometry.apply_to_points(geometry.invert(batch["matrix"].numpy()), preds), 0.2 * max(
        batch["image"].shape[-2:]
    )
