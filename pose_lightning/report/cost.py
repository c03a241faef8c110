"""What the runs cost: time, throughput, waiting for data, memory, size of the network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pose_lightning.report.network import Size
from pose_lightning.report.page import DASH, Content, Page, counted, note, short, table
from pose_lightning.report.recorded import cost
from pose_lightning.report.subject import Run, Subject


def add(page: Page, subject: Subject, sizes: Mapping[str, Size], remarks: Sequence[str]) -> None:
    """Add the section: a row for each cell, means over its seeds.

    Args:
        page: To add to.
        subject: Of the report.
        sizes: The network's, by label.
        remarks: Why some are missing.
    """
    heads = ["cell", "runs", "time per epoch, s", "samples/s", "waiting for data", "peak memory, GiB", "whole run, s"]
    heads += ["parameters", "multiply-adds"]
    costs = {run.name: cost(run) for run in subject.runs}
    rows: list[list[Content]] = []
    for label in subject.labels:
        members = [run for run in subject.runs if run.label == label]
        found = [costs[run.name] for run in members]
        waiting, memory, size = _mean(found, "waiting_share"), _mean(found, "peak_memory_bytes"), sizes.get(label)
        rows.append(
            [
                label,
                len(members),
                short(_mean(found, "epoch_seconds")),
                short(_mean(found, "samples_per_second")),
                DASH if waiting is None else f"{100 * waiting:.1f} %",
                short(None if memory is None else memory / 2**30),
                short(_mean(found, "seconds")),
                counted(None if size is None else size.parameters),
                counted(None if size is None else size.multiply_adds),
            ]
        )
    page.section(
        "cost",
        "Cost",
        table("Cost of training, means over seeds; a dash where a run has not recorded it", heads, rows),
        *_notes(subject, costs, sizes),
        *(note(remark) for remark in remarks),
    )


def _mean(found: list[dict[str, Any]], key: str) -> float | None:
    values = [each[key] for each in found if each.get(key) is not None]
    return float(np.mean(values)) if values else None


def _notes(subject: Subject, costs: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, Size]) -> list[Content]:
    lines: list[Content] = []
    sources = list(dict.fromkeys(str(each["source"]) for each in costs.values() if each.get("source")))
    if sources:
        lines.append(note(f"Times: {'; '.join(sources)}."))
    if not all("waiting_share" in each for each in costs.values()):
        lines.append(
            note(
                "Waiting for data: the share of training in which the next batch was not ready. A run without "
                "cost.json does not know it; `python -m pose_lightning.fit` writes one while it trains."
            )
        )
    if sizes:
        counted = "Multiply-adds: of one sample forwards, in convolutions and matrix products, recurrent ones included."
        lines.append(note(counted))
    without = _without(subject.runs[0], sizes)
    return [*lines, *([note(without)] if without else [])]


def _without(run: Run, sizes: Mapping[str, Size]) -> str | None:
    if sizes:
        return None
    if run.checkpoint is None:
        return "Parameters: no run here has a checkpoint any more; `python -m pose_lightning.fit` makes one."
    return "Parameters and multiply-adds were not counted (--without-network); leave that option out to see them."
