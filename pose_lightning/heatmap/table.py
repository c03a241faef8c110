"""Scores as tables: for the terminal, at most 80 columns wide, and in Markdown."""

import math
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pose_lightning.heatmap.evaluation import Score, footnotes
from pose_lightning.joints import MPII

COLUMNS: Final = {
    **{name: name[:3] for name in MPII.columns},
    "Head": "Head",
    "Knee": "Knee",
    "mean_unweighted_14": "Mean",
}
"""Statistics of the table's columns and their headings."""

ROWS: Final = (
    ("pckh@0.5", "mean_unweighted_14", "PCKh@0.5 mean 14, unweighted", "%"),
    ("pckh@0.5", "mean_weighted_14", "PCKh@0.5 mean 14, weighted", "%"),
    ("pckh@0.5", "mean_16", "PCKh@0.5 all 16, strict", "%"),
    ("pckh@0.1", "mean_unweighted_14", "PCKh@0.1 mean 14, unweighted", "%"),
    ("pckh_auc", "mean_unweighted_14", "PCKh AUC mean 14, unweighted", "%"),
    ("pckh@0.5_visible", "mean_weighted_14", "PCKh@0.5 visible joints", "%"),
    ("pckh@0.5_occluded", "mean_weighted_14", "PCKh@0.5 occluded joints", "%"),
    ("pck@0.2_torso", "mean_unweighted_14", "PCK@0.2 torso, unweighted", "%"),
    ("error", "mean_weighted_14", "Mean error, head sizes", ""),
    ("bias_x", "mean_16", "Bias x, heatmap px", "+"),
    ("bias_y", "mean_16", "Bias y, heatmap px", "+"),
)
"""(measure, statistic, what the second table calls it, how it is printed)."""

SYNTHETIC: Final = " SYNTHETIC (demo) people, drawn by a program: never compare with published numbers "


def render(scores: Sequence[Score]) -> RenderableType:
    """The model's score, then its baselines', as two tables of at most 80 columns and their footnotes."""
    model = scores[0]
    parts: list[RenderableType] = []
    if model.notes.get("synthetic", False):
        parts.append(Text(SYNTHETIC, style="bold white on red"))
    parts += [_joint_table(scores), Text(), _measure_table(scores), Text()]
    parts += [Padding(Text(line), (0, 0, 0, 2)) for line in footnotes(scores)]
    return Group(*parts)


def markdown(scores: Sequence[Score]) -> str:
    """The same tables and footnotes in Markdown."""
    lines = [f"**{SYNTHETIC}**", ""] if scores[0].notes.get("synthetic", False) else []
    lines += _markdown_table(["PCKh@0.5", *COLUMNS.values()], _joint_rows(scores))
    lines += ["", *_markdown_table(_measure_heading(scores), _measure_rows(scores)), ""]
    return "\n".join([*lines, *(f"- {line}" for line in footnotes(scores))]) + "\n"


def _joint_table(scores: Sequence[Score]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), title="PCKh@0.5, %", title_justify="left")
    table.add_column("", max_width=21, overflow="fold")
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for row in _joint_rows(scores):
        table.add_row(*row, style="dim" if row[0].startswith(" ") else None)
    return table


def _measure_table(scores: Sequence[Score]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    headings = _measure_heading(scores)
    table.add_column(headings[0], no_wrap=True)
    table.add_column(headings[1], justify="right", max_width=10, overflow="fold")
    table.add_column(headings[2], justify="right", no_wrap=True)
    for heading in headings[3:]:
        table.add_column(heading, justify="right", max_width=10, overflow="fold")
    for row in _measure_rows(scores):
        table.add_row(*row)
    return table


def _joint_rows(scores: Sequence[Score]) -> list[list[str]]:
    """PCKh@0.5 by group: the model, the ends of its interval, then the baselines."""
    model, *baselines = ([each.measures["pckh@0.5"][name] for name in COLUMNS] for each in scores)
    return [
        [scores[0].title, *(_number(estimate.value) for estimate in model)],
        ["  95 % from", *(_number(estimate.low) for estimate in model)],
        ["  95 % to", *(_number(estimate.high) for estimate in model)],
        *(
            [each.title, *(_number(estimate.value) for estimate in row)]
            for each, row in zip(scores[1:], baselines, strict=True)
        ),
    ]


def _measure_heading(scores: Sequence[Score]) -> list[str]:
    return ["", scores[0].title, "95 % interval", *(each.title for each in scores[1:])]


def _measure_rows(scores: Sequence[Score]) -> list[list[str]]:
    rows = []
    for measure, statistic, label, style in ROWS:
        model, *others = (each.measures[measure][statistic] for each in scores)
        low, high = _number(model.low, style), _number(model.high, style)
        interval = "-" if low == "-" else f"{low} to {high}"
        rows.append([label, _number(model.value, style), interval, *(_number(other.value, style) for other in others)])
    return rows


def _number(value: float, style: str = "%") -> str:
    if math.isnan(value):
        return "-"
    return f"{value:{'+.3f' if style == '+' else '.3f' if style == '' else '.2f'}}"


def _markdown_table(heading: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *([cell.strip() for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]
