"""A sentence on the report's page."""

from collections.abc import Mapping, Sequence
from typing import Any

from pose_lightning.report.page import Content, Page, note
from pose_lightning.report.subject import Run, Subject
from tests.toy_task.data import SIDE


def input_shape(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Of a sample."""
    return 3, SIDE, SIDE


def scores(page: Page, runs: Sequence[Run], best: Run) -> list[Content]:
    """A remark."""
    return [note("Brightness is in [0, 1].")]


def compare(page: Page, subject: Subject) -> None:
    """Nothing."""


def add(page: Page, run: Run, **_: object) -> None:
    """A remark about the best run."""
    page.section("greys", "Greys", note(f"{run.name} estimates greys."))
