"""A report's sections, in their order."""

from collections.abc import Callable, Mapping
from typing import Final

import pose_lightning.activity.page
import pose_lightning.regression.page
from pose_lightning.heatmap import page as people
from pose_lightning.report import cost, curves, network, overview, scores, sweeps
from pose_lightning.report.page import Page
from pose_lightning.report.subject import Run, Subject
from pose_lightning.trust import NOBODY, Trust

PICTURES: Final[Mapping[str, Callable[[Page, Run], None]]] = {
    "HeatmapEstimation": people.add,
    "ClipRegression": pose_lightning.regression.page.add,
    "ActivityClassification": pose_lightning.activity.page.add,
}
"""By task: what draws a run's predictions."""


def build(subject: Subject, *, with_network: bool = True, trusted: Trust = NOBODY) -> str:
    """The page as text.

    Args:
        subject: What it is about.
        with_network: Build the networks to count them, and load the best run's checkpoint to show its heatmaps.
        trusted: Names that the runs' configurations may import.
    """
    page = Page(subject.title, demo=subject.synthetic, subtitle=_subtitle(subject))
    overview.add(page, subject)
    sweeps.add(page, subject)
    curves.add(page, subject)
    scores.add(page, subject)
    people.add_thresholds(page, subject)
    for best in subject.bests:
        if best.task in PICTURES:
            PICTURES[best.task](page, best)
        if best.task == "HeatmapEstimation":
            people.add_heatmaps(page, best, with_network=with_network, trusted=trusted)
    sizes, remarks = network.sizes(subject.runs, trusted) if with_network else ({}, [])
    cost.add(page, subject, sizes, remarks)
    return page.render()


def _subtitle(subject: Subject) -> str:
    count, bests = len(subject.runs), ", ".join(best.name for best in subject.bests)
    what = "A sweep of" if subject.sweep else "A report of"
    pictures = f"pictures are of the best run{' of each task' * (len(subject.bests) > 1)}, {bests}"
    cells = f" in {len(subject.labels)} cell{'s' * (len(subject.labels) > 1)}; {pictures}" if count > 1 else ""
    return f"{what} {count} run{'s' * (count > 1)}{cells}."
