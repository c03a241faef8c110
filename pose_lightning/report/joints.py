"""Joints: bars with intervals, ours beside baselines and published numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pose_lightning.joints import MPII_GROUPS
from pose_lightning.report.estimates import at, by_cell, over_seeds, shown
from pose_lightning.report.page import Content, Html, Page, details, join, note, table
from pose_lightning.report.published import POSES
from pose_lightning.report.subject import Run

SHOWN: Final = 6
"""Bars of so many cells are shown at first; the others wait behind their names."""


def groups(page: Page, runs: Sequence[Run]) -> Html:
    """PCKh@0.5 by group: ours, baselines, published."""
    groups = [*MPII_GROUPS, "mean_unweighted_14"]
    series = []
    for place, (label, members) in enumerate(by_cell(runs).items()):
        estimates = [
            over_seeds([at(shown(run)["measures"], ["pckh@0.5", group]) for run in members]) for group in groups
        ]
        series.append(_series(label, estimates, off=place >= SHOWN))
    for each in shown(runs[0]).get("baselines", []):
        values = [{"value": each["measures"]["pckh@0.5"][group]["value"]} for group in groups]
        series.append(_series(f"baseline: {each['title']}", values, off=True, muted=True))
    comparable = _on_mpii(runs)
    for theirs in POSES:
        values = [{"value": value} for value in theirs.by_group.values()]
        label = f"published: {theirs.name}{'' if comparable else ' (OTHER DATA)'}"
        series.append(_series(label, values, off=not comparable, muted=True))
    data = {"unit": "PCKh@0.5, %", "categories": [*MPII_GROUPS, "Mean"], "series": series, "maximum": 100}
    said = "Published numbers are of MPII's photographs"
    remark = (
        f"{said} and of the same kind; who used which persons is in the table below."
        if comparable
        else f"{said}; these runs are of {_dataset(runs)}, so they are hidden at first and compare with nothing here."
    )
    return join([page.chart("bars", f"Joints: PCKh@0.5 with {_ends(runs)}", data), note(remark)])


def _ends(runs: Sequence[Run]) -> str:
    """What the whiskers are."""
    several = {len(members) > 1 for members in by_cell(runs).values()}
    if several == {True}:
        return "the lowest and the highest seed"
    return "95 % intervals" if several == {False} else "95 % intervals, or of several seeds the lowest and the highest"


def _on_mpii(runs: Sequence[Run]) -> bool:
    return all(run.notes.get("dataset") == "mpii" and not run.synthetic for run in runs)


def _dataset(runs: Sequence[Run]) -> str:
    return ", ".join(
        dict.fromkeys(f"{run.notes.get('dataset', 'unknown data')}{' (drawn)' * run.synthetic}" for run in runs)
    )


def _series(
    label: str, estimates: Sequence[Mapping[str, Any]], *, off: bool = False, muted: bool = False
) -> dict[str, Any]:
    columns = {
        name: [each.get(key) for each in estimates]
        for name, key in (("values", "value"), ("low", "low"), ("high", "high"))
    }
    return {"label": label, **columns, "off": off, "muted": muted}


def published_table(runs: Sequence[Run]) -> Html:
    """Published PCKh@0.5 by group, with who measured it on what."""
    rows: list[list[Content]] = [
        [each.name, *(f"{value:.1f}" for value in each.by_group.values()), each.split, each.source] for each in POSES
    ]
    heads = ["", *MPII_GROUPS, "Mean", "measured on", "source"]
    made = table("Published PCKh@0.5, %", heads, rows)
    return details("Published numbers and their sources", made, opened=_on_mpii(runs))


def errors(page: Page, runs: Sequence[Run]) -> Html:
    """MPJPE by joint."""
    names = list(shown(runs[0])["joints"])
    series = [
        _series(
            label,
            [over_seeds([shown(run)["joints"].get(name) for run in members]) for name in names],
            off=place >= SHOWN,
        )
        for place, (label, members) in enumerate(by_cell(runs).items())
    ]
    for each in shown(runs[0]).get("baselines", []):
        series.append(
            _series(f"baseline: {each['title']}", [each["joints"][name] for name in names], off=True, muted=True)
        )
    data = {"unit": "MPJPE, mm", "categories": names, "series": series}
    return page.chart("bars", f"Joints: MPJPE as predicted, with {_ends(runs)}", data)
