"""Pictures of the best, the median and the worst persons of a split."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from rich.progress import track

from pose_lightning import draw
from pose_lightning.files import make_folder
from pose_lightning.geometry import apply_to_points
from pose_lightning.heatmap.evaluation import person_errors
from pose_lightning.heatmap.truth import Truth
from pose_lightning.metrics import points as metrics
from pose_lightning.store import Store
from pose_lightning.terminal import Terminal

Pictures = Callable[[int], tuple[draw.Picture, Float64[np.ndarray, "2 3"]]]
"""From a sample's number to its picture and the matrix from image px to the picture's px."""


def store_pictures(store: Store) -> Pictures:
    """The stored crops, with the matrix that each sample's `crop` (x0, y0, s) says."""

    def picture(index: int) -> tuple[draw.Picture, Float64[np.ndarray, "2 3"]]:
        x0, y0, scale = (float(value) for value in store.labels["crop"][index])
        matrix = np.array([[scale, 0.0, (0.5 - x0) * scale - 0.5], [0.0, scale, (0.5 - y0) * scale - 0.5]])
        return store.pixels(index), matrix

    return picture


def ranked(preds: Float64[np.ndarray, "n j 2"], truth: Truth) -> Int64[np.ndarray, " m"]:
    """Persons that can be scored, from the smallest mean error to the largest; equal ones in the store's order."""
    errors = person_errors(preds, truth)
    order = np.argsort(errors, kind="stable")
    return order[~np.isnan(errors[order])].astype(np.int64)


def choose(order: Int64[np.ndarray, " m"], count: int) -> dict[str, Int64[np.ndarray, " k"]]:
    """The first, the middle and the last `count` of a ranking, the very last first among the worst.

    Fewer than `count`, and overlapping, where the ranking is short.
    """
    middle = max(0, (len(order) - count) // 2)
    return {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[::-1][:count],
    }


def write_overlays(
    directory: Path, preds: Float64[np.ndarray, "n j 2"], truth: Truth, pictures: Pictures, count: int
) -> list[Path]:
    """Draw `count` best, median and worst persons by mean error: one PNG each, and one sheet for each of the three.

    White is the truth, pink a prediction within the distance at which a joint counts as found, red a wrong one.
    Overlays of an earlier call are removed. Persons whose unit is unknown are not ranked.

    Args:
        directory: Made if it is not there.
        preds: Image px.
        truth: Of the same samples.
        pictures: Where a sample's picture comes from (`store_pictures`).
        count: Of each.

    Returns:
        The sheets, then the single pictures.
    """
    make_folder(directory, inside=directory.parent)
    chosen = choose(ranked(preds, truth), count)
    drawn: dict[str, list[Path]] = {kind: [] for kind in chosen}
    sheets = []
    jobs = [
        (kind, place, int(index)) for kind, indices in chosen.items() for place, index in enumerate(indices, start=1)
    ]
    made: dict[str, list[draw.Picture]] = {kind: [] for kind in chosen}
    for kind, place, index in track(jobs, description="Overlays", transient=True, console=Terminal(stderr=True)):
        picture = _person(preds[index], truth.select([index]), *pictures(index))
        path = directory / f"{kind}_{place:02d}_{_file_name(truth.names[index])}.png"
        draw.write_png(path, picture)
        drawn[kind].append(path)
        made[kind].append(picture)
    for kind, persons in made.items():
        if persons:
            sheets.append(directory / f"{kind}.png")
            draw.write_png(sheets[-1], draw.contact_sheet(persons))
    written = [*sheets, *(path for paths in drawn.values() for path in paths)]
    for stale in {path for kind in chosen for path in directory.glob(f"{kind}_[0-9]*_*.png")} - set(written):
        stale.unlink()
    return written


def _person(
    preds: Float64[np.ndarray, "j 2"], truth: Truth, picture: draw.Picture, matrix: Float64[np.ndarray, "2 3"]
) -> draw.Picture:
    """One person's overlay; `truth` holds only him."""
    labelled = truth.labelled[0]
    distance = np.linalg.norm(preds - truth.joints[0], axis=1)
    reference = truth.joint_set.reference
    right = labelled & (distance <= metrics.FOUND[reference] * truth.unit[0])
    error = person_errors(preds[None], truth)[0]
    error_text = f"mean error {error:.3f} {metrics.UNIT_NAMES[reference][1]}"
    caption = [truth.names[0], f"{right.sum()} of {labelled.sum()} joints right, {error_text}"]
    if truth.notes.get("synthetic", False):
        caption[0] += "  SYNTHETIC (demo)"
    joints = np.where(labelled[:, None], truth.joints[0], np.nan)
    shown, limbs = apply_to_points(matrix, joints), truth.joint_set.limbs(labelled)
    return draw.overlay(picture, shown, apply_to_points(matrix, preds), limbs, right, caption)


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)
