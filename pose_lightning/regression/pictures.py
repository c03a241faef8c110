"""Validation clips, as training draws them."""

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np

from pose_lightning import draw
from pose_lightning.joints import H36M
from pose_lightning.training.pictures import SIDE, Shown, pixels

MEASURE: Final = "MPJPE, mm"

FOUND_3D: Final = 150.0
"""Mm; the threshold of 3D-PCK (Mehta et al., 3DV 2017)."""

FRONT: Final = (0, 1)
"""Axes of the camera: to the right, and down."""

FROM_THE_SIDE: Final = (2, 1)


def show(batch: dict[str, Any], outputs: dict[str, np.ndarray], names: Sequence[str], data: Any) -> list[Shown]:
    """The middle frame, and beside it the poses from the front and from the side, the truth in white."""
    truth, preds = batch["joints"].double().numpy(), outputs["preds"]
    errors = np.linalg.norm(preds - truth, axis=-1)
    middle = truth.shape[1] // 2
    found = []
    for place, name in enumerate(names):
        mean = float(errors[place].mean())
        frame = pixels(batch["clip"][place, middle])
        right = errors[place, middle] <= FOUND_3D
        views = [_flat(truth[place, middle], preds[place, middle], right, axes) for axes in (FRONT, FROM_THE_SIDE)]
        seen = np.concatenate([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA), *views], axis=1)
        strip = draw.strip([name, f"frame {middle + 1}; all frames {mean:.0f} mm; front and side"], seen.shape[1])
        found.append(Shown(name, np.concatenate([seen, strip]), mean))
    return found


def comparable(batch: dict[str, Any], preds: np.ndarray) -> tuple[np.ndarray, float]:
    """Predictions in mm, and how much the truth differs."""
    return preds, float(batch["joints"].double().numpy().std(axis=0).mean())


def _flat(truth: np.ndarray, preds: np.ndarray, right: np.ndarray, axes: tuple[int, int]) -> draw.Picture:
    """Two poses (17, 3), seen along the third axis, in one scale: the truth in white."""
    seen = truth[:, axes]
    low, high = seen.min(axis=0), seen.max(axis=0)
    factor = 0.7 * SIDE / max(float((high - low).max()), 1.0)
    canvas = np.full((SIDE, SIDE, 3), 60, dtype=np.uint8)
    for pose, colours in (
        (truth, [draw.WHITE] * len(truth)),
        (preds, [draw.PINK if good else draw.RED for good in right]),
    ):
        places = (pose[:, axes] - (low + high) / 2) * factor + (SIDE - 1) / 2
        canvas = draw.skeleton(canvas, places, H36M.bones, colours, width=SIDE / 128)
    return canvas
