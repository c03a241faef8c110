"""Scores as tables: for the terminal, at most 80 columns wide, and in Markdown."""

import math
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pose_lightning.heatmap.evaluation import TORSO, Score, footnotes
from pose_lightning.joints import JointSet
from pose_lightning.metrics import points as metrics

MOST_COLUMNS: Final = 8
"""Columns of joints in a table of 80 columns; a set with more is shown by its first ones, and by its means."""

SYNTHETIC: Final = " SYNTHETIC (demo) people, drawn by a program: never compare with published numbers "


def columns(joint_set: JointSet) -> dict[str, str]:
    """Statistics of the table's columns and their headings, short ones where there are many."""
    headings = list(joint_set.columns)
    length = 3 if len(headings) > 3 else 8
    shown = {heading: heading if len(heading) <= length + 1 else heading[:length] for heading in headings}
    return {**dict(list(shown.items())[:MOST_COLUMNS]), metrics.means(joint_set)[0]: "Mean"}


def rows(joint_set: JointSet) -> list[tuple[str, str, str, str]]:
    """Of the second table: measure, statistic, what the table calls it, how it is printed."""
    unweighted, weighted, strict = metrics.means(joint_set)
    scored, main, title = len(joint_set.scored), metrics.measure(joint_set), metrics.title(joint_set)
    found, close = metrics.FOUND[joint_set.reference], metrics.CLOSE[joint_set.reference]
    has_torso = joint_set.torso is not None and joint_set.reference != "torso"
    of_torso = [(TORSO, unweighted, "PCK@0.2 torso, unweighted", "%")] if has_torso else []
    return [
        (main, unweighted, f"{title}@{found:g} mean {scored}, unweighted", "%"),
        (main, weighted, f"{title}@{found:g} mean {scored}, weighted", "%"),
        (main, strict, f"{title}@{found:g} all {len(joint_set)}, strict", "%"),
        (metrics.measure(joint_set, close), unweighted, f"{title}@{close:g} mean {scored}, unweighted", "%"),
        (f"{metrics.NAME[joint_set.reference]}_auc", unweighted, f"{title} AUC mean {scored}, unweighted", "%"),
        (f"{main}_visible", weighted, f"{title}@{found:g} visible joints", "%"),
        (f"{main}_occluded", weighted, f"{title}@{found:g} occluded joints", "%"),
        *of_torso,
        ("error", weighted, f"Mean error, {metrics.UNIT_NAMES[joint_set.reference][1]}", ""),
        ("bias_x", strict, "Bias x, heatmap px", "+"),
        ("bias_y", strict, "Bias y, heatmap px", "+"),
    ]


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
    lines += _markdown_table([_title(scores[0]), *columns(scores[0].joint_set).values()], _joint_rows(scores))
    lines += ["", *_markdown_table(_measure_heading(scores), _measure_rows(scores)), ""]
    return "\n".join([*lines, *(f"- {line}" for line in footnotes(scores))]) + "\n"


def _title(score: Score) -> str:
    """Of the main measure: PCKh@0.5."""
    return f"{metrics.title(score.joint_set)}@{metrics.FOUND[score.joint_set.reference]:g}"


def _joint_table(scores: Sequence[Score]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), title=f"{_title(scores[0])}, %", title_justify="left")
    table.add_column("", max_width=21, overflow="fold")
    for heading in columns(scores[0].joint_set).values():
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
    """The main measure by column: the model, the ends of its interval, then the baselines."""
    main, names = metrics.measure(scores[0].joint_set), columns(scores[0].joint_set)
    model, *baselines = ([each.measures[main][name] for name in names] for each in scores)
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
    shown = []
    for measure, statistic, label, style in rows(scores[0].joint_set):
        model, *others = (each.measures[measure][statistic] for each in scores)
        low, high = _number(model.low, style), _number(model.high, style)
        interval = "-" if low == "-" else f"{low} to {high}"
        shown.append([label, _number(model.value, style), interval, *(_number(other.value, style) for other in others)])
    return shown


def _number(value: float, style: str = "%") -> str:
    if math.isnan(value):
        return "-"
    return f"{value:{'+.3f' if style == '+' else '.3f' if style == '' else '.2f'}}"


def _markdown_table(heading: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *([cell.strip() for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]
