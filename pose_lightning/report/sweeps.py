"""The cells of a sweep or of several runs against each other."""

from collections.abc import Mapping
from typing import Any, Final

from pose_lightning.report.labels import level, short_name
from pose_lightning.report.page import DASH, Content, Page, details, interval, lines, note, number, short, table
from pose_lightning.report.scores import NAMES
from pose_lightning.report.subject import Subject, lower_is_better
from pose_lightning.sweep.effects import parameter_label

COSTS: Final = ("samples", "samples_to_reach", "seconds_to_reach", "seconds", "throughput")
MOST_DIFFERENCES: Final = 40
MOST_AXES: Final = 8


def add(page: Page, subject: Subject) -> None:
    """Add the section, where cells were compared."""
    found = subject.comparison
    if found is None:
        return
    metric = str(found["metric"])
    parts: list[Content] = [
        note(f"By {NAMES.get(metric.partition('/')[2], metric)}, logged as `{metric}`."),
        lines("ul", found["sentences"], class_="sentences"),
        _cells(found),
    ]
    if found["levels"]:
        parts.append(_levels(page, found))
    if len(found["cells"]) > 1:
        parts.append(_parallel(page, subject, found))
    if found["differences"]:
        count = len(found["differences"])
        parts.append(details(f"All {count} differences" if count > 1 else "The difference", _differences(found)))
    parts.append(details("How this was measured", lines("ul", found["definitions"])))
    page.section("comparison", "Comparison", *parts)


def _cells(found: Mapping[str, Any]) -> Content:
    heads = ["cell", "last, 95 % interval", "best", "seeds", "lost", "samples", "samples to reach", "s to reach"]
    heads += ["whole run, s", "samples/s", "published"]
    rows: list[list[Content]] = []
    for cell in found["cells"]:
        lost = "; ".join(f"{state} {', '.join(map(str, seeds))}" for state, seeds in cell["lost"].items())
        theirs = (
            ""
            if found["synthetic"]
            else "; ".join(f"{each['value']:g} ({each['source']})" for each in cell["published"])
        )
        rows.append(
            [
                cell["cell"],
                interval(cell),
                number(cell["best"]),
                len(cell["seeds"]),
                lost or DASH,
                *(short(cell[name]) for name in COSTS),
                theirs or DASH,
            ]
        )
    reach = f"; to reach means a validation of {number(found['score'])}" if found.get("score") is not None else ""
    told = [place for place in range(len(heads)) if any(row[place] != DASH for row in rows)]
    shown = [[row[place] for place in told] for row in rows]
    return table(f"Cells, means over seeds{reach}", [heads[place] for place in told], shown)


def _levels(page: Page, found: Mapping[str, Any]) -> Content:
    """Marginal effects: every level's mean over the cells that have it."""
    levels = found["levels"]
    return page.chart(
        "bars",
        "Marginal effects: mean of the cells of each level, 95 % interval",
        {
            "style": "dots",
            "unit": found["metric"],
            "categories": [f"{short_name(each['parameter'])}: {level(each['level'])}" for each in levels],
            "series": [
                {
                    "label": "mean of its cells",
                    "values": [each["value"] for each in levels],
                    "low": [each["low"] for each in levels],
                    "high": [each["high"] for each in levels],
                }
            ],
        },
    )


def _parallel(page: Page, subject: Subject, found: Mapping[str, Any]) -> Content:
    """An axis for every varied parameter and one for the metric; a line for every run."""
    cells = {cell["cell"]: cell for cell in found["cells"]}
    names = list(dict.fromkeys(name for cell in found["cells"] for name in cell["values"]))[:MOST_AXES]
    axes = []
    for name in names:
        values = [cell["values"].get(name) for cell in found["cells"]]
        numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        axes.append({"name": parameter_label(name, values), "numeric": numeric})
    runs = [
        {
            "label": run.label,
            "seed": run.trial.seed,
            "values": [_level(cells[run.label]["values"].get(name)) for name in names],
            "score": run.trial.last(str(found["metric"])),
        }
        for run in subject.runs
        if run.label in cells
    ]
    data = {
        "axes": [*axes, {"name": found["metric"], "numeric": True}],
        "runs": runs,
        "lower": lower_is_better(str(found["metric"])),
    }
    return page.chart("parallel", "Parallel coordinates: a line for every run, brighter where it ended better", data)


def _level(value: Any) -> Any:
    """A level as a number, or as text without the folder and ending of a layer's file."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return level(value)


def _differences(found: Mapping[str, Any]) -> Content:
    heads = ["first", "second", "first minus second, 95 % interval", "p", "corrected p", "seeds", "told apart"]
    rows: list[list[Content]] = [
        [
            f"{each['parameter']} {each['first']}".strip(),
            f"{each['parameter']} {each['second']}".strip(),
            interval(each),
            short(each["p_value"]),
            short(each["corrected"]),
            each["seeds"],
            "yes" if each["claimed"] else "no",
        ]
        for each in found["differences"][:MOST_DIFFERENCES]
    ]
    left = len(found["differences"]) - MOST_DIFFERENCES
    caption = f"Differences over the same seeds and samples{f'; {left} more are in results.json' if left > 0 else ''}"
    return table(caption, heads, rows)
