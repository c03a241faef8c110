"""Scores of clips as tables for a terminal of 80 columns."""

import math
from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pose_lightning.regression.evaluation import Score, footnotes, units
from pose_lightning.scoring import Estimate

ROWS: Final = {
    "mpjpe": "MPJPE",
    "mpjpe_16": "MPJPE, 16 joints",
    "mpjpe_rooted": "MPJPE rooted",
    "mpjpe_rooted_16": "MPJPE rooted, 16 joints",
    "pa_mpjpe": "PA-MPJPE",
    "n_mpjpe": "N-MPJPE",
    "mpjve": "MPJVE",
    "pck_150": "3D-PCK@150 mm",
    "auc": "AUC",
    "mse": "MSE",
}
"""What the tables call a measure."""

SYNTHETIC: Final = " SYNTHETIC (demo) people, drawn: never compare with published numbers "


def render(scores: Sequence[Score]) -> RenderableType:
    """The model's score beside its baselines', by measure, joint, action and subject, and the footnotes."""
    model = scores[0]
    parts: list[RenderableType] = []
    if model.notes.get("synthetic", False):
        parts.append(Text(SYNTHETIC, style="bold white on red"))
    parts += [_joint_table(scores), Text()]
    if model.actions:
        parts += [_group_table("action", scores), Text()]
    if len(model.subjects) > 1:
        parts += [_group_table("subject", scores), Text()]
    parts += [_measure_table(scores), Text()]
    parts += [Padding(Text(line), (0, 0, 0, 2)) for line in footnotes(scores)]
    return Group(*parts)


def _table(title: str, scores: Sequence[Score], *, counted: bool = False) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    if counted:
        table.add_column("clips", justify="right", no_wrap=True)
    table.add_column(scores[0].title, justify="right", max_width=12, overflow="fold")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for each in scores[1:]:
        table.add_column(each.title, justify="right", max_width=10, overflow="fold")
    return table


def _joint_table(scores: Sequence[Score]) -> Table:
    table = _table("MPJPE by joint, mm", scores)
    for joint in scores[0].joints:
        table.add_row(joint, *_cells([each.joints[joint] for each in scores]))
    table.add_row("all", *_cells([each.measures["mpjpe"] for each in scores]), style="bold")
    return table


def _group_table(kind: str, scores: Sequence[Score]) -> Table:
    """Rooted MPJPE by action or subject."""
    groups = [each.actions if kind == "action" else each.subjects for each in scores]
    table = _table(f"MPJPE rooted, by {kind}, mm", scores, counted=True)
    counts = scores[0].counts[f"clips_by_{kind}"]
    for name in groups[0]:
        table.add_row(name, str(counts[name]), *_cells([each[name]["mpjpe_rooted"] for each in groups]))
    if kind == "action":
        mean = [each.over_actions["mpjpe_rooted"] for each in scores]
        table.add_row("mean of actions", "", *_cells(mean), style="bold")
    return table


def _measure_table(scores: Sequence[Score]) -> Table:
    unit = units(scores[0].notes)
    table = _table("All measures, MPJPE as predicted unless rooted", scores)
    for name, label in ROWS.items():
        digits = 5 if unit[name] == "m^2" else 1
        table.add_row(f"{label}, {unit[name]}", *_cells([each.measures[name] for each in scores], digits))
    if not math.isnan(scores[0].loss):
        table.add_row("Loss, as trained", f"{scores[0].loss:.5f}")
    return table


def _cells(estimates: Sequence[Estimate], digits: int = 1) -> list[str]:
    """The model's value and interval, then the baselines' values."""
    model, *others = estimates
    low, high = _number(model.low, digits), _number(model.high, digits)
    interval = "-" if low == "-" else f"{low} to {high}"
    return [_number(model.value, digits), interval, *(_number(other.value, digits) for other in others)]


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
