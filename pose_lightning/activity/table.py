"""Scores of classes and tags as tables for a terminal of 80 columns."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pose_lightning.activity.evaluation import Score, unit
from pose_lightning.activity.report import CONFUSED, ENOUGH, SHOWN, confusions, footnotes, listed_classes
from pose_lightning.scoring import Estimate

ROWS: Final[Mapping[str, str]] = {
    "top1": "top-1",
    "top5": "top-5",
    "balanced": "balanced accuracy",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "ece": "ECE",
    "nll": "log-loss",
    "map": "mAP",
    "micro_f1": "micro F1",
    "subset_accuracy": "subset accuracy",
    "element_accuracy": "element accuracy",
    "hamming_loss": "Hamming loss",
}
"""What the tables call a measure."""

COLUMNS: Final = {"precision": "prec.", "recall": "recall", "f1": "F1", "ap": "AP"}

SYNTHETIC: Final = " SYNTHETIC (demo) pictures, drawn: never compare with published numbers "

ALL_SHOWN: Final = 2 * SHOWN + 5
"""With no more classes than this, one table shows them all."""


def render(scores: Sequence[Score], *, folds: RenderableType | None = None, count: int = 0) -> RenderableType:
    """The model's score beside its baselines', its classes and confusions, and the footnotes.

    Args:
        scores: The model's, then the baselines'.
        folds: A table of the folds, where several networks predicted.
        count: How many they are.
    """
    model = scores[0]
    parts: list[RenderableType] = []
    if model.truth.notes.get("synthetic", False):
        parts.append(Text(SYNTHETIC, style="bold white on red"))
    frequent, worst = listed_classes(model)
    kind = "tags" if model.truth.target == "tags" else "classes"
    if len(frequent) <= ALL_SHOWN:
        parts += [_class_table(f"All {kind}, most frequent first, %", frequent, model), Text()]
    else:
        order = "AP" if kind == "tags" else "F1"
        parts += [_class_table(f"The {SHOWN} most frequent {kind}, %", frequent[:SHOWN], model), Text()]
        title = f"The {SHOWN} with the lowest {order} of those with {ENOUGH} pictures or more, %"
        if worst:
            parts += [_class_table(title, worst[:SHOWN], model), Text()]
    if wrong := confusions(model)[:CONFUSED]:
        parts += [_confusion_table(wrong), Text()]
    if folds is not None:
        parts += [folds, Text()]
    parts += [_measure_table(scores), Text()]
    parts += [Padding(Text(line), (0, 0, 0, 2)) for line in footnotes(scores, folds=count)]
    return Group(*parts)


def _class_table(title: str, names: Sequence[str], score: Score) -> Table:
    """Precision, recall and F1, and the interval of the last one."""
    columns = list(score.by_class[names[0]])
    table = Table(box=None, padding=(0, 1, 0, 0), title=title, title_justify="left")
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column("n", justify="right", no_wrap=True)
    for name in columns:
        table.add_column(COLUMNS[name], justify="right", no_wrap=True)
    table.add_column(f"95 % of {COLUMNS[columns[-1]]}", justify="right", no_wrap=True)
    for name in names:
        values = [score.by_class[name][column] for column in columns]
        cells = [number(each.value) for each in values]
        table.add_row(Text(name), str(score.support[name]), *cells, interval(values[-1]))
    return table


def _confusion_table(wrong: Sequence[tuple[str, str, int]]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), title="Most frequent confusions", title_justify="left")
    table.add_column("true", no_wrap=True, overflow="ellipsis", max_width=34)
    table.add_column("predicted", no_wrap=True, overflow="ellipsis", max_width=34)
    table.add_column("n", justify="right", no_wrap=True)
    for true, said, count in wrong:
        table.add_row(Text(true), Text(said), str(count))
    return table


def _measure_table(scores: Sequence[Score]) -> Table:
    model, *baselines = scores
    table = Table(box=None, padding=(0, 1, 0, 0), title="All pictures", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column(model.title, justify="right", max_width=22, overflow="fold")
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for each in baselines:
        table.add_column(each.title, justify="right", max_width=9, overflow="fold")
    for place, (name, value) in enumerate(model.measures.items()):
        digits = 3 if unit(name) == "nats" else 2
        others = [number(each.measures[name].value, digits) for each in baselines]
        row = [f"{ROWS[name]}, {unit(name)}", number(value.value, digits), interval(value, digits), *others]
        table.add_row(*row, style="" if place else "bold")
    if not math.isnan(model.loss):
        table.add_row("loss, as trained", f"{model.loss:.5f}")
    return table


def interval(estimate: Estimate, digits: int = 1) -> str:
    """The ends of an interval, or a dash."""
    return "-" if math.isnan(estimate.low) else f"{estimate.low:.{digits}f} to {estimate.high:.{digits}f}"


def number(value: float, digits: int = 1) -> str:
    """A number, or a dash where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
