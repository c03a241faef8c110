"""Clips with their predicted poses: the frames with skeletons, and a view in 3-D that turns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float64

from pose_lightning import draw
from pose_lightning.errors import UserError
from pose_lightning.joints import H36M
from pose_lightning.metrics.poses import PCK_THRESHOLD
from pose_lightning.regression.evaluation import Truth, clip_errors
from pose_lightning.regression.predictions import read_predictions
from pose_lightning.report import joints
from pose_lightning.report.estimates import at, by_cell, over_seeds, shown
from pose_lightning.report.page import (
    Content,
    Html,
    Page,
    details,
    element,
    interval,
    join,
    keys,
    note,
    picture,
    table,
)
from pose_lightning.report.subject import Run, Subject
from pose_lightning.store import Store

SIDE: Final = 224
"""Of a frame's picture, px; the page shows it smaller."""

LARGEST_RESIDUAL: Final = 2.0
"""Px, of the labels' points around a camera fitted to them; beyond, nothing is drawn on the frames."""

FRAMES: Final = 8
"""Of a clip, where neither the configuration nor a store says it."""

RIGHT: Final = tuple(right for right, _ in H36M.pairs)


@dataclass(frozen=True, eq=False)
class Split:
    """A run's predictions beside the labels of their store, mm."""

    store: Store
    truth: Truth
    preds: Float64[np.ndarray, "n t 17 3"]


def read(run: Run) -> Split:
    """The predictions of the split that is shown.

    Raises:
        UserError: If the predictions or their store are not there any more, or are not of each other.
    """
    path, predicted = run.scored()
    store = Store(path)
    frames = run.config["data"]["init_args"].get("frames")
    truth = Truth.from_store(store, frames=frames)
    return Split(store, truth, read_predictions(predicted, truth.joints.shape, truth.names).preds)


def input_shape(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Of a sample, by the settings of its data module."""
    side = int(settings["input_size"])
    return settings.get("frames") or FRAMES, 3, side, side


def scores(page: Page, runs: Sequence[Run], best: Run) -> list[Content]:
    """MPJPE by joint, action and subject."""
    return [joints.errors(page, runs), _groups(runs, "actions"), _groups(runs, "subjects")]


def compare(page: Page, subject: Subject) -> None:
    """Nothing more than the scores."""


def add(page: Page, run: Run, **_: object) -> None:
    """The best, median and worst clip."""
    try:
        split = read(run)
    except UserError as error:
        page.section("clips", "Clips", note(f"No clips: {error}."))
        return
    errors = clip_errors(split.preds, split.truth)
    order = np.argsort(errors, kind="stable")
    places = {"Best": 0, "Median": len(order) // 2, "Worst": len(order) - 1}
    parts: list[Content] = [
        note(f"{run.name}, {run.split} split, ranked by MPJPE."),
        keys(
            {
                "white": "on the frames: the truth",
                "pink": f"predicted, within {PCK_THRESHOLD:g} mm",
                "red": "farther off",
                "truth": "in 3-D: the truth",
                "predicted": "predicted; fuller: the person's right side",
            }
        ),
        note(
            "Drag a view to turn it, or use the arrow keys. In it both poses stand with their pelvis in the middle; on "
            "the frames the prediction is set at the true pelvis."
        ),
    ]
    for kind, place in places.items():
        parts.append(_clip(page, split, int(order[place]), kind, float(errors[order[place]])))
    page.section("clips", "Clips", *parts)


def _clip(page: Page, split: Split, index: int, kind: str, error: float) -> Html:
    truth, preds, name = split.truth.joints[index], split.preds[index], split.truth.names[index]
    said = f"{kind}: {name}, {split.truth.action[index] or 'action unknown'}, MPJPE {error:.0f} mm"
    view = page.chart(
        "pose",
        "In 3-D",
        {
            "label": said,
            "bones": H36M.bones,
            "right": RIGHT,
            "truth": np.round(truth).tolist(),
            "preds": np.round(preds).tolist(),
            "errors": np.linalg.norm(preds - truth, axis=-1).mean(axis=1).tolist(),
        },
    )
    return join([element("h3", said), element("div", _frames(split, index), view, class_="clip")])


def _frames(split: Split, index: int) -> Html | None:
    """The frames in a row, with the skeletons where the store says how the camera saw them."""
    if split.store.shape is None:
        return note("No frames: the store holds labels only.")
    pixels = split.store.pixels(index)[: split.preds.shape[1]]
    truth, preds = _projected(split, index)
    errors = np.linalg.norm(split.preds[index] - split.truth.joints[index], axis=-1)  # t j
    shown = []
    for frame, image in enumerate(pixels):
        factor = SIDE / max(image.shape[:2])
        small = np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        if truth is not None and preds is not None:
            colours = [draw.PINK if error <= PCK_THRESHOLD else draw.RED for error in errors[frame]]
            for points, shades in ((truth[frame], [draw.WHITE] * len(H36M)), (preds[frame], colours)):
                small = draw.skeleton(small, (points + 0.5) * factor - 0.5, H36M.bones, shades, width=1.2)
        mean = errors[frame].mean()
        said = f"frame {frame + 1}, {mean:.0f} mm off"
        shown.append(element("figure", picture(small, said), element("figcaption", f"{frame + 1}: {mean:.0f} mm")))
    row = element("div", *shown, class_="frames")
    if truth is None:
        said = note("No skeletons on the frames: the store does not say how the camera saw them.")
        return element("div", row, said)
    return row


def _projected(split: Split, index: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Both poses in px of the frames, by a pinhole camera fitted to the store's own points; None where it has none."""
    labels = split.store.labels
    if not {"points", "root"} <= set(labels):
        return None, None
    frames = split.preds.shape[1]
    points = np.asarray(labels["points"][index][:frames], dtype=np.float64)
    root = np.asarray(labels["root"][index][:frames], dtype=np.float64)[:, None]
    seen = split.truth.joints[index] + root
    if not (np.isfinite(points).all() and (seen[..., 2] > 0).all()):
        return None, None
    fitted = [_fit(seen, points, axis) for axis in (0, 1)]
    made = [_see(pose + root, fitted) for pose in (split.truth.joints[index], split.preds[index])]
    if np.abs(made[0] - points).max() > LARGEST_RESIDUAL:
        return None, None
    return made[0], made[1]


def _fit(seen: np.ndarray, points: np.ndarray, axis: int) -> tuple[float, float]:
    """Focal length and centre of one axis, px, by least squares over all joints of a clip."""
    slopes = (seen[..., axis] / seen[..., 2]).ravel()
    columns = np.stack([slopes, np.ones_like(slopes)], axis=1)
    focal, centre = np.linalg.lstsq(columns, points[..., axis].ravel(), rcond=None)[0].tolist()
    return focal, centre


def _see(joints: np.ndarray, camera: Sequence[tuple[float, float]]) -> np.ndarray:
    depth = np.maximum(joints[..., 2], 1.0)  # a wild prediction may lie behind the camera
    axes: list[Any] = [focal * joints[..., axis] / depth + centre for axis, (focal, centre) in enumerate(camera)]
    return np.stack(axes, axis=-1)


def _groups(runs: Sequence[Run], kind: str) -> Html | None:
    """Rooted MPJPE by action or subject: a row for each, a column for each cell."""
    names = list(shown(runs[0]).get(kind) or {})
    if len(names) < 2:
        return None
    cells = by_cell(runs)
    baselines = shown(runs[0]).get("baselines", [])
    rows: list[list[Content]] = []
    for name in names:
        estimates = [
            over_seeds([at(shown(run), [kind, name, "mpjpe_rooted"]) for run in members]) for members in cells.values()
        ]
        others = [interval({"value": at(each, [kind, name, "mpjpe_rooted", "value"])}, 1) for each in baselines]
        count = shown(runs[0])["counts"].get(f"clips_by_{kind[:-1]}", {}).get(name, "")
        rows.append([name, count, *(interval(each, 1) for each in estimates), *others])
    heads = [kind[:-1], "clips", *cells, *(each["title"] for each in baselines)]
    made = table(f"MPJPE, rooted, by {kind[:-1]}, mm", heads, rows)
    return details(f"By {kind[:-1]}", made, opened=len(rows) <= 12)
