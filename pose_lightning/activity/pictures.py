"""Validation pictures of activities, as training draws them."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pose_lightning import draw
from pose_lightning.training.pictures import SIDE, Shown, pixels

MEASURE: Final = "p of the truth"

SHOWN: Final = 5  # classes of a picture


def show(batch: dict[str, Any], outputs: dict[str, np.ndarray], names: Sequence[str], data: Any) -> list[Shown]:
    """The picture and its likeliest classes or tags; the true ones are in the caption."""
    targets, preds = batch["target"].numpy(), outputs["preds"]
    classes = data.classes
    found = []
    for place, name in enumerate(names):
        order = np.argsort(-preds[place], kind="stable")[:SHOWN].tolist()
        true = np.flatnonzero(targets[place]).tolist()
        said = [classes[number] for number in order]
        caption = [name, f"true: {', '.join(classes[number] for number in true) or 'none'}"]
        picture = draw.ranking(pixels(batch["image"][place]), said, preds[place][order].tolist(), caption, side=SIDE)
        share = float(preds[place][true].mean()) if true else float("nan")
        found.append(Shown(name, picture, share, said[0]))
    return found


def comparable(batch: dict[str, Any], preds: np.ndarray) -> tuple[np.ndarray, float]:
    """Probabilities, and a class's share."""
    return preds, 1 / preds.shape[1]
