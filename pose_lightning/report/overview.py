"""What was run: experiment, data, revision, machine, settings, and the command to do it again."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pose_lightning.report.page import (
    DASH,
    Content,
    Html,
    Page,
    code,
    details,
    element,
    join,
    lines,
    marked,
    note,
    number,
    short,
    table,
)
from pose_lightning.report.recorded import recorded
from pose_lightning.report.subject import Run, Subject, lower_is_better
from pose_lightning.sweep.records import read_study

ALL_RUNS = 12
"""With more runs than this the table of runs is folded."""


def add(page: Page, subject: Subject) -> None:
    """Add the section."""
    first = subject.runs[0]
    facts: list[tuple[str, Content]] = [
        ("Experiment", ", ".join(dict.fromkeys(run.experiment for run in subject.runs))),
        ("Runs", _count(subject)),
        ("Data", _data(subject.runs)),
        ("Revision", _same([_revision(run) for run in subject.runs])),
        ("Machine", _same([recorded(run).get("machine") for run in subject.runs])),
        ("Again", _commands(subject)),
    ]
    terms = [part for name, value in facts for part in (element("dt", name), element("dd", value))]
    states = [run for run in subject.runs if run.trial.state != "complete"]
    page.section(
        "run",
        "What was run",
        element("dl", *terms),
        _states(states),
        *(note(remark) for remark in subject.remarks),
        _runs(subject),
        details(f"All settings of {first.name}", _settings(first, subject.runs)),
    )


def _count(subject: Subject) -> str:
    runs, seeds = subject.runs, sorted({run.trial.seed for run in subject.runs})
    if len(runs) == 1:
        return f"1, seed {seeds[0]}"
    return (
        f"{len(runs)}: {len(subject.labels)} cells, seeds {', '.join(map(str, seeds[:12]))}{', …' * (len(seeds) > 12)}"
    )


def _data(runs: Sequence[Run]) -> Html:
    """Every data set with its splitting rule, said loudly where it is drawn."""
    found: dict[str, Html] = {}
    for run in runs:
        root = str(run.config["data"]["init_args"]["root"])
        if root in found:
            continue
        notes = run.notes
        parts: list[Content] = [code(root)]
        if notes:
            parts.append(f": {notes.get('dataset', 'unnamed')}; {notes.get('split_rule', 'split not recorded')}")
        if run.synthetic:
            parts.append(element("strong", " DEMO: drawn, no photographs", class_="demo"))
        found[root] = join(parts)
    return lines("ul", found.values(), class_="plain") if len(found) > 1 else next(iter(found.values()))


def _same(values: Sequence[Any]) -> str:
    known = list(dict.fromkeys(str(value) for value in values if value))
    if not known:
        return "not recorded by these runs"
    return "; ".join(known[:4]) + (f"; and {len(known) - 4} more" if len(known) > 4 else "")


def _revision(run: Run) -> str | None:
    """The commit, and in words that its files had been changed."""
    found = recorded(run).get("revision")
    return f"{found[:-1]}, with changes that were not committed" if found and found.endswith("+") else found


def _commands(subject: Subject) -> Html:
    first = subject.runs[0]
    if subject.sweep is not None:
        whole = code(sweep_command(subject.sweep))
        return join([whole, " (trials that have ended are not run again); one trial alone: ", code(command(first))])
    more = f" and so on for the other {len(subject.runs) - 1}" if len(subject.runs) > 1 else None
    return join([code(command(first)), more])


def command(run: Run) -> str:
    """What trains a run's experiment again, in a new directory."""
    return f"python -m pose_lightning.fit --config={_shown(run.folder)}/config.yaml"


def sweep_command(folder: Path) -> str:
    """What goes on with a sweep, or makes it again where its directory is not there."""
    study = read_study(folder)
    name, demo = folder.resolve().name, bool(study.get("demo", folder.resolve().name.endswith("_demo")))
    file = study.get("sweep_file", f"sweeps/{name.removesuffix('_demo')}.yaml")
    return f"python -m pose_lightning.sweep {file}{' --data demo' if demo else ''}"


def _shown(path: Path) -> str:
    """A path from here where it is below, so that no page names more of a machine than it must."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        parts = path.resolve().parts
        return "/".join(parts[parts.index("runs") :] if "runs" in parts else parts[-3:])


def _states(runs: Sequence[Run]) -> Html | None:
    """What did not end well, with its error and the end of its output."""
    if not runs:
        return None
    parts: list[Content] = []
    for run in runs[:20]:
        why = run.trial.error or marked(_remedy(run))
        end = element("pre", "\n".join(run.trial.log_end)) if run.trial.log_end else None
        parts.append(element("li", element("strong", f"{run.name}: {run.trial.state}"), ": ", why, end))
    return element("ul", *parts, class_="states")


def _remedy(run: Run) -> str:
    return f"`python -m pose_lightning.evaluate {_shown(run.folder)}` scores it" if run.checkpoint else "no checkpoint"


def _runs(subject: Subject) -> Html:
    heads = ["run", "cell", "seed", "state", "metric", "last value", "best value", "steps", "samples seen"]
    rows: list[list[Content]] = []
    for run in subject.runs:
        points = run.trial.history(run.metric)
        values = [point.value for point in points]
        best = _best(values, run.metric)
        rows.append(
            [
                run.name,
                run.label,
                run.trial.seed,
                run.trial.state,
                run.metric,
                number(values[-1] if values else None),
                number(best),
                short(points[-1].step) if points else DASH,
                f"{points[-1].samples:,}" if points else DASH,
            ]
        )
    made = table(
        "Runs of this report, and the last and best logged value of the metric that their task follows", heads, rows
    )
    return details(f"All {len(rows)} runs", made) if len(rows) > ALL_RUNS else made


def _best(values: Sequence[float], metric: str) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return (min if lower_is_better(metric) else max)(finite) if finite else None


def _settings(first: Run, runs: Sequence[Run]) -> Html:
    rows: list[list[Content]] = []
    for name, value in first.trial.settings.items():
        others = {repr(run.trial.settings.get(name)) for run in runs}
        differs = len(others) > 1
        shown = "differs between runs" if differs else "" if value is None else str(value)
        rows.append([name, element("em", shown) if differs else shown])
    return table("Resolved settings (empty: not set)", ["setting", "value"], rows, class_="settings")
