"""A report's sections, in their order."""

from pose_lightning.report import cost, curves, network, overview, scores, sweeps
from pose_lightning.report.page import Page
from pose_lightning.report.subject import Subject
from pose_lightning.trust import NOBODY, Trust


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
    for part in filter(None, dict.fromkeys(run.page for run in subject.runs)):
        part.compare(page, subject)
    for best in subject.bests:
        if best.page:
            best.page.add(page, best, with_network=with_network, trusted=trusted)
    sizes, remarks = network.sizes(subject.runs, trusted) if with_network else ({}, [])
    cost.add(page, subject, sizes, remarks)
    return page.render()


def _subtitle(subject: Subject) -> str:
    count, bests = len(subject.runs), ", ".join(best.name for best in subject.bests)
    what = "A sweep of" if subject.sweep else "A report of"
    pictures = f"pictures are of the best run{' of each task' * (len(subject.bests) > 1)}, {bests}"
    cells = f" in {len(subject.labels)} cell{'s' * (len(subject.labels) > 1)}; {pictures}" if count > 1 else ""
    return f"{what} {count} run{'s' * (count > 1)}{cells}."
