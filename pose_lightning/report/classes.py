"""Classes: a row for each, and which was taken for which."""

import csv
import io
import math
from pathlib import Path
from typing import Final

import numpy as np

from pose_lightning.errors import UserError
from pose_lightning.reading.raw import LARGEST_TABLE, read_text
from pose_lightning.report.estimates import shown
from pose_lightning.report.page import Html, details, element, interval, note, scrolling, table
from pose_lightning.report.subject import Run, suffix

MOST_CLASSES: Final = 40


def measures(run: Run) -> Html | None:
    """Measures by class, the most frequent first; None of tags."""
    found = shown(run).get("classes")
    if not found:
        return None
    names = sorted((name for name in found if found[name]["pictures"]), key=lambda name: -found[name]["pictures"])
    measures = [key for key in next(iter(found.values())) if key != "pictures"]
    rows = [[name, found[name]["pictures"], *(interval(found[name][key], 1) for key in measures)] for name in names]
    made = table(f"Classes of {run.name}, {run.split}, %", ["class", "pictures", *measures], rows)
    return details(f"All {len(rows)} classes", made, opened=len(rows) <= 12)


def confusion(run: Run) -> Html | None:
    """The confusion matrix as a table whose cells are as dark as their share of the row."""
    path = run.folder / f"confusion{suffix(run.split or 'val')}.csv"
    if not path.is_file():
        if "map" in shown(run)["measures"]:
            return None
        return note(f"No confusion matrix: `python -m pose_lightning.evaluate {run.name}` writes it.")
    classes, counts = _read_confusion(path)
    support = counts.sum(axis=1)
    chosen = np.arange(len(classes))
    if len(classes) > MOST_CLASSES:
        chosen = np.sort(np.argsort(-support, kind="stable")[:MOST_CLASSES])
    left = f"; the {MOST_CLASSES} most frequent of {len(classes)}" if len(classes) > MOST_CLASSES else ""
    heads = [element("th", element("span", classes[place]), scope="col") for place in chosen]
    body = []
    for row in chosen:
        cells = [
            _share(classes[row], classes[column], int(counts[row, column]), int(support[row])) for column in chosen
        ]
        body.append(element("tr", element("th", f"{classes[row]} ({support[row]})", scope="row"), *cells))
    caption = f"Confusion matrix of {run.name}, {run.split}: true class by row, predicted by column{left}"
    top = element("thead", element("tr", element("th", "true \\ predicted", scope="col"), *heads))
    return scrolling(caption, top, element("tbody", *body), class_="matrix")


def _read_confusion(path: Path) -> tuple[list[str], np.ndarray]:
    """The classes, and how often each (by row) was taken for each.

    Raises:
        UserError: If the file is not what `evaluate` writes.
    """
    text = read_text(path, LARGEST_TABLE)
    try:
        head, *rows = list(csv.reader(io.StringIO(text, newline="")))
        counts = np.array([[int(count) for count in row[1:]] for row in rows], dtype=np.int64)
    except (csv.Error, ValueError, OverflowError) as error:
        raise UserError(f"{path} is damaged ({error}); evaluate the run again") from error
    if counts.shape != (len(head) - 1, len(head) - 1) or (counts < 0).any():
        raise UserError(f"{path} is damaged: {counts.shape} counts of {len(head) - 1} classes; evaluate the run again")
    return head[1:], counts


def _share(true: str, said: str, count: int, support: int) -> Html:
    share = count / support if support else 0.0
    kind = "right" if true == said else "wrong"
    title = f"{count} of {support} pictures of {true} taken for {said}" if count else None
    strong = " strong" if share > 0.45 else ""
    style = f"--share:{share:.3f}" if count and not math.isnan(share) else None
    return element("td", count or "", class_=f"{kind}{strong}" if count else None, style=style, title=title)
