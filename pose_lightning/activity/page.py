"""Pictures of activities with the five likeliest classes: the surest mistakes, the surest right, the least sure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np

from pose_lightning import draw
from pose_lightning.activity import predictions
from pose_lightning.activity.truth import Truth
from pose_lightning.errors import UserError
from pose_lightning.report import classes
from pose_lightning.report.page import Content, Html, Page, element, note, picture
from pose_lightning.report.subject import Run, Subject
from pose_lightning.store import Store

COUNT: Final = 8
SIDE: Final = 256
TOP: Final = 5


def input_shape(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Of a sample, by the settings of its data module."""
    side = int(settings["input_size"])
    return 3, side, side


def scores(page: Page, runs: Sequence[Run], best: Run) -> list[Content]:
    """The best run's measures by class, and which was taken for which."""
    return [classes.measures(best), classes.confusion(best)]


def compare(page: Page, subject: Subject) -> None:
    """Nothing more than the scores."""


def add(page: Page, run: Run, **_: object) -> None:
    """Some pictures of each kind."""
    try:
        store, truth, rows, preds = _read(run)
    except UserError as error:
        page.section("pictures", "Pictures", note(f"No pictures: {error}."))
        return
    if store.shape is None:
        page.section("pictures", "Pictures", note("No pictures: the store holds labels only."))
        return
    said, sure = preds.argmax(axis=1), preds.max(axis=1)
    right = truth.has[np.arange(len(truth)), said]
    mistakes = [int(row) for row in np.argsort(-sure, kind="stable") if not right[row]][:COUNT]
    best = [int(row) for row in np.argsort(-sure, kind="stable") if right[row]][: COUNT // 2]
    unsure = [int(row) for row in np.argsort(sure, kind="stable")][: COUNT // 2]
    groups = (("Most confident mistakes", mistakes), ("Surest and right", best), ("Least sure", unsure))
    parts: list[Content] = [note(f"{run.name}, {run.split} split; the true class is marked with ✓.")]
    for title, chosen in groups:
        if chosen:
            figures = [_picture(store, truth, int(rows[row]), row, preds[row]) for row in chosen]
            parts += [element("h3", title), element("div", *figures, class_="gallery")]
    page.section("pictures", "Pictures", *parts)


def _read(run: Run) -> tuple[Store, Truth, np.ndarray, np.ndarray]:
    """The store, the labels of the predicted pictures, their rows in the store, and the probabilities.

    Raises:
        UserError: If the predictions or their store are not there any more, or are not of each other.
    """
    path, predicted = run.scored()
    store = Store(path)
    target = run.config["data"]["init_args"].get("target", "category")
    truth = Truth.from_store(store, target)
    found = predictions.read(predicted, target)
    predictions.check_classes(found, truth)
    places = {name: row for row, name in enumerate(truth.names)}
    if found.names is None or not set(found.names) <= set(places):
        raise UserError(f"{found.path} is not of {path}; evaluate the run again")
    chosen = np.array([places[name] for name in found.names])
    in_store = {str(name): row for row, name in enumerate(store.labels["name"])}
    return store, truth[chosen], np.array([in_store[name] for name in found.names]), found.preds


def _picture(store: Store, truth: Truth, place: int, row: int, shares: np.ndarray) -> Html:
    order = np.argsort(-shares, kind="stable")[:TOP]
    true = [truth.classes[each] for each in np.flatnonzero(truth.has[row])]
    name = truth.names[row]
    items = []
    for each in order:
        mark = " ✓" if truth.has[row, each] else ""
        bar = element("span", class_="share", style=f"--share:{float(shares[each]):.3f}", aria_hidden="true")
        text = f"{100 * shares[each]:.1f} % {truth.classes[each]}{mark}"
        items.append(element("li", bar, element("span", text), class_="true" if mark else None))
    shown = picture(_small(store.pixels(place)), f"{name}, which is {', '.join(true)}")
    caption = element("figcaption", element("strong", ", ".join(true)), f" {name}", element("ol", *items, class_="top"))
    return element("figure", shown, caption)


def _small(pixels: draw.Picture) -> draw.Picture:
    factor = SIDE / max(pixels.shape[:2])
    if factor >= 1:
        return pixels
    return np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), dtype=np.uint8)
