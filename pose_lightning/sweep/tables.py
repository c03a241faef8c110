"""A comparison in tables: for a terminal, and in Markdown."""

import math
import re
from collections.abc import Callable, Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pose_lightning.sweep.findings import Comparison, Row
from pose_lightning.sweep.sentences import footnotes, number, sentences, unit

GAP: Final = 2
"""Blanks between columns."""

PART: Final = re.compile(r"-(?=[A-Za-z_.]+=)")
"""Before a parameter in a cell's name."""

Column = tuple[str, Callable[[Row], str]]

SCORES: tuple[Column, ...] = (
    ("last", lambda row: number(row.value)),
    ("95 % from", lambda row: number(row.low)),
    ("to", lambda row: number(row.high)),
    ("best step", lambda row: number(row.best)),
    ("seeds", lambda row: f"{len(row.seeds)}" + (f" of {len(row.seeds) + _count(row)}" if row.lost else "")),
)
COSTS: tuple[Column, ...] = (
    ("samples", lambda row: _short(row.samples)),
    ("to reach", lambda row: _short(row.samples_to_reach) if row.reached else "-"),
    ("s", lambda row: _short(row.seconds_to_reach)),
    ("wall s", lambda row: _short(row.seconds)),
    ("samples/s", lambda row: _short(row.throughput)),
    ("GiB", lambda row: number(row.peak_memory / 2**30)),
)


def _count(row: Row) -> int:
    return sum(map(len, row.lost.values()))


def _short(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def title(found: Comparison) -> str:
    """What is shown."""
    kind = "" if found.subject.kind == "runs" else f", {found.subject.kind}"
    return f"{found.subject.name}{kind}{' (synthetic data)' if found.synthetic else ''}: {found.subject.metric}"


def show(found: Comparison, console: Console) -> None:
    """Print the tables and sentences."""
    console.print(Text(title(found), style="bold"))
    for columns in (SCORES, COSTS):
        console.print(_table(columns, found.rows, console.width))
    if found.levels:
        table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
        for head in ("mean of", "", "95 % from", "to", "cells"):
            table.add_column(head, justify="left" if head == "mean of" else "right")
        for each in found.levels:
            numbers = [number(value) for value in (each.value, each.low, each.high)]
            table.add_row(f"{each.parameter} {each.level}", *numbers, str(each.cells))
        console.print(table)
    for line in sentences(found):
        console.print(Padding(Text(f"- {line}"), (0, 0, 0, 0)))
    for line in footnotes(found):
        console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2)))


def _table(columns: Sequence[Column], rows: Sequence[Row], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    table.add_column("cell", overflow="fold")
    texts = [[make(row) for _, make in columns] for row in rows]
    taken = [max(map(len, column)) for column in zip([name for name, _ in columns], *texts, strict=True)]
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for row, numbers in zip(rows, texts, strict=True):
        table.add_row(broken(row.cell, width - sum(taken) - GAP * len(taken)), *numbers)
    return table


def broken(cell: str, room: int) -> str:
    """A cell's name in lines of at most `room` characters, where its parts allow: each parameter stays whole."""
    lines = [""]
    for part in PART.split(cell):
        whole = f"{lines[-1]}-{part}" if lines[-1].strip() else f"{lines[-1]}{part}"
        if len(whole) <= room or not lines[-1].strip():
            lines[-1] = whole
        else:
            lines.append(f"  {part}")
    return "\n".join(lines)


def to_markdown(found: Comparison) -> str:
    """The tables, sentences and definitions."""
    lines = [f"# {title(found)}", "", *[f"- {line}" for line in sentences(found)], ""]
    heads = [name for name, _ in (*SCORES, *COSTS)]
    lines += _markdown(
        ["cell", *heads], [[row.cell, *(make(row) for _, make in (*SCORES, *COSTS))] for row in found.rows]
    )
    if found.levels:
        levels = [
            [f"{each.parameter} {each.level}", number(each.value), number(each.low), number(each.high), str(each.cells)]
            for each in found.levels
        ]
        lines += _markdown(["mean of", "", "95 % from", "to", "cells"], levels)
    if found.trends:
        trends = [
            [each.parameter, *(number(value) for value in (each.value, each.low, each.high)), str(each.cells)]
            for each in found.trends
        ]
        lines += _markdown(["rank correlation with", "", "95 % from", "to", "cells"], trends)
    for family, count in found.families.items():
        members = [each for each in found.differences if each.family == family]
        heads = [f"{family} ({count})", "minus", f"{unit(found.subject.metric)}", "95 % from", "to", "p", "corrected"]
        rows = [
            [
                each.first,
                each.second,
                *(number(value) for value in (each.value, each.low, each.high)),
                *("-" if math.isnan(p) else f"{p:.2g}" for p in (each.p_value, each.corrected)),
                str(each.seeds),
            ]
            for each in members
        ]
        lines += _markdown([*heads, "seeds"], rows)
    return "\n".join([*lines, *[f"{line}  " for line in footnotes(found)]]) + "\n"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruled = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (heads, ruled, *rows)] + [""]
