"""Validation samples of heatmap estimation, as training draws them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pose_lightning import draw, geometry
from pose_lightning.training.pictures import SIDE, Shown, pixels

MEASURE: Final = "mean error, px of the image"

FOUND: Final = 0.5
"""Head sizes from the truth within which a joint is drawn as right."""

HEADLESS: Final = 0.05
"""The same as a share of the input's side, where the head's size is unknown: MPII's boxes are ten half head sizes."""


def show(
    batch: dict[str, Any], outputs: dict[str, np.ndarray], names: Sequence[str], classes: Sequence[str]
) -> list[Shown]:
    """Truth in white, joints within half a head size in pink, others in red."""
    matrices, labelled = batch["matrix"].numpy(), batch["labelled"].numpy()
    truth = np.where(labelled[..., None], batch["joints"].double().numpy(), np.nan)
    in_image = geometry.apply_to_points(matrices, truth)
    errors = np.linalg.norm(outputs["preds"] - in_image, axis=-1)
    scale = np.linalg.norm(matrices[:, :, 0], axis=-1)  # px of the image that a px of the input covers
    heads = batch["head_size"].numpy()
    near = np.where(np.isfinite(heads), FOUND * heads, HEADLESS * batch["image"].shape[-1] * scale)
    preds = geometry.apply_to_points(geometry.invert(matrices), outputs["preds"])
    found = []
    for place, name in enumerate(names):
        right = np.nan_to_num(errors[place], nan=np.inf) <= near[place]
        mean = float(errors[place][labelled[place]].mean()) if labelled[place].any() else float("nan")
        caption = [name, f"{int(right.sum())} of {int(labelled[place].sum())} right, mean error {mean:.1f} px"]
        picture = draw.overlay(pixels(batch["image"][place]), truth[place], preds[place], right, caption, side=SIDE)
        found.append(Shown(name, picture, mean))
    return found


def comparable(batch: dict[str, Any], preds: np.ndarray) -> tuple[np.ndarray, float]:
    """Predictions in px of the input, where boxes are alike, and how much joints differ there."""
    return geometry.apply_to_points(geometry.invert(batch["matrix"].numpy()), preds), 0.2 * batch["image"].shape[-1]
