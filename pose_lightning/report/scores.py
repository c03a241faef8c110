"""What `evaluate` found: measures, joints, actions and classes, with intervals and beside published numbers."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from pose_lightning.joints import MPII_GROUPS
from pose_lightning.report.gather import Run, Subject, suffix
from pose_lightning.report.page import Content, Html, Page, details, element, interval, join, lines, note, table
from pose_lightning.report.published import POSES
from pose_lightning.sweep.published import published

NAMES: Final[Mapping[str, str]] = {
    "loss": "loss",
    "pckh": "PCKh@0.5, mean of 14 joints, %",
    "pckh_weighted": "PCKh@0.5, every label the same, %",
    "pckh_16": "PCKh@0.5, all 16 joints, strict, %",
    "pckh_0.1": "PCKh@0.1, %",
    "auc": "area under the curve, %",
    "pckh_visible": "PCKh@0.5, visible joints, %",
    "pckh_occluded": "PCKh@0.5, occluded joints, %",
    "mpjpe": "MPJPE, mm",
    "mpjpe_16": "MPJPE, 16 joints, mm",
    "mpjpe_rooted": "MPJPE rooted, mm",
    "mpjpe_rooted_16": "MPJPE rooted, 16 joints, mm",
    "pck_150": "3D-PCK at 150 mm, %",
    "mse": "MSE",
    "weighted_f1": "weighted F1, %",
    "pa_mpjpe": "PA-MPJPE, mm",
    "n_mpjpe": "N-MPJPE, mm",
    "mpjve": "MPJVE, mm per frame",
    "top1": "top-1, %",
    "top5": "top-5, %",
    "balanced": "balanced accuracy, %",
    "macro_f1": "macro F1, %",
    "map": "mAP, %",
    "ece": "calibration error, %",
    "nll": "log-loss, nats",
}
"""What the page calls a logged metric."""

POSE_MEASURES: Final = (
    ("pckh@0.5", "mean_unweighted_14", "PCKh@0.5 mean 14"),
    ("pckh@0.5", "mean_weighted_14", "weighted 14"),
    ("pckh@0.5", "mean_16", "all 16, strict"),
    ("pckh@0.1", "mean_unweighted_14", "PCKh@0.1 mean 14"),
    ("pckh_auc", "mean_unweighted_14", "AUC"),
    ("pckh@0.5_visible", "mean_weighted_14", "visible"),
    ("pckh@0.5_occluded", "mean_weighted_14", "occluded"),
    ("pck@0.2_torso", "mean_unweighted_14", "PCK@0.2 torso"),
    ("error", "mean_weighted_14", "error, head sizes"),
    ("bias_x", "mean_16", "bias x, px"),
    ("bias_y", "mean_16", "bias y, px"),
)
"""Measure, statistic and heading of the table of heatmap estimation."""

SHOWN: Final = 6
"""Bars of so many cells are shown at first; the others wait behind their names."""

MOST_CLASSES: Final = 40

UNMEASURED: Final = "No run here has been scored: `python -m pose_lightning.evaluate RUN` writes metrics.json."


def add(page: Page, subject: Subject) -> None:
    """Add the sections of what the runs' tasks measure."""
    scored = [run for run in subject.runs if run.scores]
    if not scored:
        page.section("scores", "Scores", note(UNMEASURED))
        return
    for task in dict.fromkeys(run.task for run in scored):
        runs = [run for run in scored if run.task == task]
        name, title = (
            f"scores-{task.lower()}",
            "Scores" if len({run.task for run in scored}) == 1 else f"Scores: {task}",
        )
        parts: list[Content] = [_measures(runs)]
        if task == "HeatmapEstimation":
            parts += [_joint_groups(page, runs), _published_table(runs)]
        elif task == "ClipRegression":
            parts += [_joints(page, runs), _groups(runs, "actions"), _groups(runs, "subjects")]
        else:
            best = subject.best if subject.best in runs else runs[0]
            parts += [_classes(best), _confusion(best)]
        parts.append(details("How this was measured", lines("ul", _shown(runs[0])["definitions"])))
        page.section(name, title, *parts)


def _shown(run: Run) -> Mapping[str, Any]:
    return run.scores[run.split or "val"]


def _cells(runs: Sequence[Run]) -> Mapping[str, list[Run]]:
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[run.label].append(run)
    return found


def over_seeds(estimates: Sequence[Mapping[str, Any] | None]) -> dict[str, float | None]:
    """One run's estimate as it is; of several the mean, between the lowest and the highest."""
    known = [each for each in estimates if each and each.get("value") is not None]
    if not known:
        return {"value": None, "low": None, "high": None}
    if len(known) == 1:
        return {key: known[0].get(key) for key in ("value", "low", "high")}
    values = [each["value"] for each in known]
    return {"value": float(np.mean(values)), "low": min(values), "high": max(values)}


def _measures(runs: Sequence[Run]) -> Html:
    """A row for each cell, then the baselines of the first run and published numbers."""
    scores = _shown(runs[0])
    if "pckh@0.5" in scores["measures"]:
        columns = [(heading, [measure, statistic]) for measure, statistic, heading in POSE_MEASURES]
    else:
        columns = [(_heading(name, each), [name]) for name, each in scores["measures"].items()]
    digits = 2 if len(columns) < 20 else 1

    def row(label: str, split: str, all_: Sequence[Mapping[str, Any]]) -> list[Content]:
        estimates = [over_seeds([_at(each["measures"], path) for each in all_]) for _, path in columns]
        return [label, split, *(interval(each, digits) for each in estimates)]

    rows = [
        row(
            f"{label}{f' ({len(members)} seeds)' if len(members) > 1 else ''}",
            members[0].split or "",
            list(map(_shown, members)),
        )
        for label, members in _cells(runs).items()
    ]
    rows += [row(each["title"], runs[0].split or "", [each]) for each in scores.get("baselines", [])]
    rows += _published_rows(runs, len(columns))
    several = any(len(members) > 1 for members in _cells(runs).values())
    what = "small: 95 % interval" + (", or of several seeds the lowest and the highest" if several else "")
    made = table(f"All measures ({what})", ["", "split", *(heading for heading, _ in columns)], rows)
    chosen = any(_shown(run).get("chosen_on_this_split") for run in runs)
    optimistic = "best.ckpt was chosen on this split: a little optimistic." if chosen else None
    return join([made, note(optimistic) if optimistic else None])


def _at(found: Any, path: Sequence[str]) -> Any:
    for key in path:
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    return found


def _heading(name: str, measure: Mapping[str, Any]) -> str:
    return f"{NAMES.get(name, name).rpartition(',')[0] or NAMES.get(name, name)}, {measure.get('unit', '')}"


def _published_rows(runs: Sequence[Run], width: int) -> list[list[Content]]:
    """Published numbers of the same metric: never in the same column as drawn data."""
    if any(run.synthetic for run in runs):
        return []
    found = {
        (each.source, each.value): each for run in runs for each in published(run.trial.settings, run.metric)
    }.values()
    return [
        [f"published: {each.source}", each.data, element("em", f"{each.value:g}"), *[""] * (width - 1)]
        for each in found
    ]


def _joint_groups(page: Page, runs: Sequence[Run]) -> Html:
    """PCKh@0.5 by group: ours, baselines, published."""
    groups = [*MPII_GROUPS, "mean_unweighted_14"]
    series = []
    for place, (label, members) in enumerate(_cells(runs).items()):
        estimates = [
            over_seeds([_at(_shown(run)["measures"], ["pckh@0.5", group]) for run in members]) for group in groups
        ]
        series.append(_series(label, estimates, off=place >= SHOWN))
    for each in _shown(runs[0]).get("baselines", []):
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
    several = {len(members) > 1 for members in _cells(runs).values()}
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


def _published_table(runs: Sequence[Run]) -> Html:
    rows: list[list[Content]] = [
        [each.name, *(f"{value:.1f}" for value in each.by_group.values()), each.split, each.source] for each in POSES
    ]
    heads = ["", *MPII_GROUPS, "Mean", "measured on", "source"]
    made = table("Published PCKh@0.5, %", heads, rows)
    return details("Published numbers and their sources", made, opened=_on_mpii(runs))


def _joints(page: Page, runs: Sequence[Run]) -> Html:
    """MPJPE by joint."""
    names = list(_shown(runs[0])["joints"])
    series = [
        _series(
            label,
            [over_seeds([_shown(run)["joints"].get(name) for run in members]) for name in names],
            off=place >= SHOWN,
        )
        for place, (label, members) in enumerate(_cells(runs).items())
    ]
    for each in _shown(runs[0]).get("baselines", []):
        series.append(
            _series(f"baseline: {each['title']}", [each["joints"][name] for name in names], off=True, muted=True)
        )
    data = {"unit": "MPJPE, mm", "categories": names, "series": series}
    return page.chart("bars", f"Joints: MPJPE as predicted, with {_ends(runs)}", data)


def _groups(runs: Sequence[Run], kind: str) -> Html | None:
    """Rooted MPJPE by action or subject: a row for each, a column for each cell."""
    names = list(_shown(runs[0]).get(kind) or {})
    if len(names) < 2:
        return None
    cells = _cells(runs)
    baselines = _shown(runs[0]).get("baselines", [])
    rows: list[list[Content]] = []
    for name in names:
        estimates = [
            over_seeds([_at(_shown(run), [kind, name, "mpjpe_rooted"]) for run in members])
            for members in cells.values()
        ]
        others = [interval({"value": _at(each, [kind, name, "mpjpe_rooted", "value"])}, 1) for each in baselines]
        count = _shown(runs[0])["counts"].get(f"clips_by_{kind[:-1]}", {}).get(name, "")
        rows.append([name, count, *(interval(each, 1) for each in estimates), *others])
    heads = [kind[:-1], "clips", *cells, *(each["title"] for each in baselines)]
    made = table(f"MPJPE, rooted, by {kind[:-1]}, mm", heads, rows)
    return details(f"By {kind[:-1]}", made, opened=len(rows) <= 12)


def _classes(run: Run) -> Html | None:
    found = _shown(run).get("classes")
    if not found:
        return None
    names = sorted((name for name in found if found[name]["pictures"]), key=lambda name: -found[name]["pictures"])
    measures = [key for key in next(iter(found.values())) if key != "pictures"]
    rows = [[name, found[name]["pictures"], *(interval(found[name][key], 1) for key in measures)] for name in names]
    made = table(f"Classes of {run.name}, {run.split}, %", ["class", "pictures", *measures], rows)
    return details(f"All {len(rows)} classes", made, opened=len(rows) <= 12)


def _confusion(run: Run) -> Html | None:
    """The confusion matrix as a table whose cells are as dark as their share of the row."""
    path = run.folder / f"confusion{suffix(run.split or 'val')}.csv"
    if not path.is_file():
        if "map" in _shown(run)["measures"]:
            return None
        return note(f"No confusion matrix: `python -m pose_lightning.evaluate {run.name}` writes it.")
    with path.open(newline="", encoding="utf-8") as file:
        (_, *classes), *rows = list(csv.reader(file))
    counts = np.array([[int(each) for each in row[1:]] for row in rows])
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
    inner = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", element("th", "true \\ predicted", scope="col"), *heads)),
        element("tbody", *body),
        class_="matrix",
    )
    return element("div", inner, class_="scroll", role="region", aria_label=caption, tabindex="0")


def _share(true: str, said: str, count: int, support: int) -> Html:
    share = count / support if support else 0.0
    kind = "right" if true == said else "wrong"
    title = f"{count} of {support} pictures of {true} taken for {said}" if count else None
    strong = " strong" if share > 0.45 else ""
    style = f"--share:{share:.3f}" if count and not math.isnan(share) else None
    return element("td", count or "", class_=f"{kind}{strong}" if count else None, style=style, title=title)
