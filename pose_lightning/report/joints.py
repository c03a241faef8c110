"""Joints: bars and tables with intervals, ours beside baselines and published numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pose_lightning.metrics import points as metrics
from pose_lightning.report.estimates import at, by_cell, over_seeds, shown
from pose_lightning.report.page import Content, Html, Page, details, interval, join, note, table
from pose_lightning.report.published import POSES
from pose_lightning.report.subject import Run

SHOWN: Final = 6
"""Bars of so many cells are shown at first; the others wait behind their names."""

MOST_COLUMNS: Final = 12
"""Cells in a table of joints."""


def groups(page: Page, runs: Sequence[Run]) -> Html:
    """PCKh or PCK by group: ours, baselines, published."""
    joint_set = runs[0].joint_set
    measure, published = ("measures", metrics.measure(joint_set)), POSES.get(joint_set.name, ())
    title = f"{metrics.title(joint_set)}@{metrics.FOUND[joint_set.reference]:g}"
    groups = [*joint_set.columns, metrics.means(joint_set)[0]]
    cells, baselines = _ours(runs, measure, groups), _baselines(runs, measure, groups)
    series = _all_series(cells, baselines)
    comparable = _on_own_data(runs)
    for theirs in published:
        values = [{"value": value} for value in theirs.by_group.values()]
        label = f"published: {theirs.name}{'' if comparable else ' (OTHER DATA)'}"
        series.append(_series(label, values, off=not comparable, muted=True))
    data = {"unit": f"{title}, %", "categories": [*joint_set.columns, "Mean"], "series": series, "maximum": 100}
    said = f"Published numbers are of the photographs of {joint_set.name}"
    remark = (
        f"{said} and of the same kind; who used which persons is in the table below."
        if comparable
        else f"{said}; these runs are of {_dataset(runs)}, so they are hidden at first and compare with nothing here."
    )
    chart = page.chart("bars", f"Joints: {title} with {_ends(runs)}", data)
    names = [name for name in joint_set.names if any(at(shown(run), [*measure, name]) for run in runs)]
    each = _table(f"{title} of every joint, %", names, _ours(runs, measure, names), _baselines(runs, measure, names))
    return join([chart, note(remark) if published else None, details(f"All {len(names)} joints as a table", each)])


def _ours(runs: Sequence[Run], path: Sequence[str], names: Sequence[str]) -> dict[str, list[dict[str, float | None]]]:
    """Of every cell what its runs' scores have at `path` by name."""
    return {
        label: [over_seeds([at(shown(run), [*path, name]) for run in members]) for name in names]
        for label, members in by_cell(runs).items()
    }


def _baselines(
    runs: Sequence[Run], path: Sequence[str], names: Sequence[str]
) -> dict[str, list[dict[str, float | None]]]:
    """The same of the first run's baselines."""
    return {
        each["title"]: [over_seeds([at(each, [*path, name])]) for name in names]
        for each in shown(runs[0]).get("baselines", [])
    }


def _all_series(cells: Mapping[str, Any], baselines: Mapping[str, Any]) -> list[dict[str, Any]]:
    ours = [_series(label, estimates, off=place >= SHOWN) for place, (label, estimates) in enumerate(cells.items())]
    theirs = [_series(f"baseline: {title}", found, off=True, muted=True) for title, found in baselines.items()]
    return [*ours, *theirs]


def _table(caption: str, names: Sequence[str], cells: Mapping[str, Any], baselines: Mapping[str, Any]) -> Html:
    """A row for each joint, a column for each cell and baseline."""
    shown = dict(list(cells.items())[:MOST_COLUMNS])
    left = f"; the first {MOST_COLUMNS} of {len(cells)} cells" if len(cells) > MOST_COLUMNS else ""
    columns = [*shown.values(), *baselines.values()]
    rows = [[name, *(interval(column[row], 1) for column in columns)] for row, name in enumerate(names)]
    return table(f"{caption}{left}", ["joint", *shown, *baselines], rows)


def _ends(runs: Sequence[Run]) -> str:
    """What the whiskers are."""
    several = {len(members) > 1 for members in by_cell(runs).values()}
    if several == {True}:
        return "the lowest and the highest seed"
    return "95 % intervals" if several == {False} else "95 % intervals, or of several seeds the lowest and the highest"


def _on_own_data(runs: Sequence[Run]) -> bool:
    """Whether all are of the data set that their joint set is named after, and so are published numbers."""
    return all(run.notes.get("dataset") == run.joint_set.name and not run.synthetic for run in runs)


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


def published_table(runs: Sequence[Run]) -> Html | None:
    """Published PCKh@0.5 by group, with who measured it on what; None where there are no such numbers."""
    joint_set = runs[0].joint_set
    if not (published := POSES.get(joint_set.name)):
        return None
    rows: list[list[Content]] = [
        [each.name, *(f"{value:.1f}" for value in each.by_group.values()), each.split, each.source]
        for each in published
    ]
    heads = ["", *joint_set.columns, "Mean", "measured on", "source"]
    made = table("Published PCKh@0.5, %", heads, rows)
    return details("Published numbers and their sources", made, opened=_on_own_data(runs))


def errors(page: Page, runs: Sequence[Run]) -> Html:
    """MPJPE by joint."""
    names = list(shown(runs[0])["joints"])
    cells, baselines = _ours(runs, ["joints"], names), _baselines(runs, ["joints"], names)
    data = {"unit": "MPJPE, mm", "categories": names, "series": _all_series(cells, baselines)}
    chart = page.chart("bars", f"Joints: MPJPE as predicted, with {_ends(runs)}", data)
    each = _table("MPJPE of every joint, mm", names, cells, baselines)
    return join([chart, details(f"All {len(names)} joints as a table", each)])
