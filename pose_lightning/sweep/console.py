"""What a person sees of a sweep: a live table in a terminal, plain lines elsewhere."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TextIO

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pose_lightning.terminal import Terminal


@dataclass(frozen=True)
class Row:
    """One slot.

    Attributes:
        slot: Its label.
        trial: What runs there, or nothing.
        seconds: How long.
        value: The metric's last value, or nothing.
    """

    slot: str
    trial: str
    seconds: float | None
    value: float | None


@dataclass(frozen=True)
class View:
    """A sweep at one moment.

    Attributes:
        rows: By slot.
        counts: Trials by state.
        best: The best trial and its value, in words; optimistic, since it is the best of many.
        left: Seconds to go, as far as the trials so far tell.
    """

    rows: Sequence[Row]
    counts: dict[str, int]
    best: str
    left: float | None


class Screen:
    """Shows a sweep; a context, so that the terminal is left as it was.

    Args:
        title: The sweep's name.
        metric: The compared metric's name.
        stream: Where to; standard output by default.
    """

    def __init__(self, title: str, metric: str, stream: TextIO | None = None) -> None:
        self.title, self.metric = title, metric
        self.console = Terminal(file=stream or sys.stdout, soft_wrap=True, highlight=False)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Begin the live table, in a terminal."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last table standing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """Print a line, above the table where there is one."""
        self.console.print(Text(text))
        self.console.file.flush()

    def show(self, view: View) -> None:
        """Refresh the table."""
        if self._live is not None:
            self._live.update(self._picture(view), refresh=True)

    def _picture(self, view: View) -> Group:
        table = Table(title=self.title, title_justify="left", expand=False)
        for name in ("slot", "trial", "time", self.metric):
            table.add_column(name, justify="right" if name in ("time", self.metric) else "left", overflow="fold")
        for row in view.rows:
            value = "" if row.value is None else f"{row.value:.4g}"
            table.add_row(row.slot, row.trial or "-", "" if row.seconds is None else clock(row.seconds), value)
        return Group(table, Text(summary(view)))


def summary(view: View) -> str:
    """The line below the table."""
    total = sum(view.counts.values())
    ended = total - view.counts.get("waiting", 0) - view.counts.get("running", 0)
    parts = [f"{ended} of {total} trials done"]
    parts += [f"{count} {state}" for state, count in sorted(view.counts.items()) if state != "complete" and count]
    if view.best:
        parts.append(f"best so far {view.best}")
    if view.left is not None and ended < total:
        parts.append(f"about {clock(view.left)} left")
    return "; ".join(parts)


def clock(seconds: float) -> str:
    """A duration as h:mm:ss or m:ss."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
