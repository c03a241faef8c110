"""What `evaluate` found: measures, joints, actions and classes, with intervals and beside published numbers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pose_lightning.report.estimates import at, by_cell, over_seeds, shown
from pose_lightning.report.page import Content, Html, Page, details, element, interval, join, lines, note, table
from pose_lightning.report.subject import Run, Subject
from pose_lightning.sweep.published import published
from pose_lightning.trained import Manner

NAMES: Final[Mapping[str, str]] = {
    "loss": "loss",
    "pckh": "PCKh@0.5, mean of 14 joints, %",
    "pckh_weighted": "PCKh@0.5, every label the same, %",
    "pckh_16": "PCKh@0.5, all 16 joints, strict, %",
    "pckh_0.1": "PCKh@0.1, %",
    "pck": "PCK, %",
    "pck_weighted": "PCK, every label the same, %",
    "pck_visible": "PCK, visible joints, %",
    "pck_occluded": "PCK, occluded joints, %",
    "auc": "area under the curve, %",
    "pckh_visible": "PCKh@0.5, visible joints, %",
    "pckh_occluded": "PCKh@0.5, occluded joints, %",
    "mpjpe": "MPJPE, mm",
    "mpjpe_16": "MPJPE, 16 joints, mm",
    "mpjpe_rooted": "MPJPE rooted, mm",
    "mpjpe_rooted_16": "MPJPE rooted, 16 joints, mm",
    "pck_150": "3D-PCK at 150 mm, %",
    "mse": "MSE",
    "weighted_f1": "weighted F1, %",
    "pa_mpjpe": "PA-MPJPE, mm",
    "n_mpjpe": "N-MPJPE, mm",
    "mpjve": "MPJVE, mm per frame",
    "top1": "top-1, %",
    "top5": "top-5, %",
    "balanced": "balanced accuracy, %",
    "macro_f1": "macro F1, %",
    "map": "mAP, %",
    "ece": "calibration error, %",
    "nll": "log-loss, nats",
}
"""What the page calls a logged metric."""

UNMEASURED: Final = "No run here has been scored: `python -m pose_lightning.evaluate RUN` writes metrics.json."


def add(page: Page, subject: Subject) -> None:
    """Add the sections of what the runs' tasks measure."""
    scored = [run for run in subject.runs if run.scores]
    if not scored:
        page.section("scores", "Scores", note(UNMEASURED))
        return
    kinds = {run.name: _kind(run) for run in scored}
    for number, (task, subset) in enumerate(dict.fromkeys(kinds.values())):
        runs = [run for run in scored if kinds[run.name] == (task, subset)]
        alone = len(set(kinds.values())) == 1
        name = f"scores-{task.lower()}" if alone or not subset else f"scores-{task.lower()}-{number}"
        title = "Scores" if alone else f"Scores: {task}{f', {subset}' if subset else ''}"
        parts: list[Content] = [_measures(runs)]
        if (kind := runs[0].kind) is not None:
            best = next((run for run in subject.bests if run in runs), runs[0])
            parts += kind.part("page").scores(page, runs, best)
        parts.append(details("How this was measured", lines("ul", shown(runs[0])["definitions"])))
        page.section(name, title, *parts)


def _kind(run: Run) -> tuple[str, str]:
    """Its task, and what of it compares with nothing else, such as its joint set: each has tables of its own."""
    page: Any = run.kind.part("page") if run.kind else None
    return run.task, page.subset(run) if hasattr(page, "subset") else ""


def _measures(runs: Sequence[Run]) -> Html:
    """A row for each cell, then the baselines of the first run and published numbers."""
    scores = shown(runs[0])
    page: Any = runs[0].kind.part("page") if runs[0].kind else None
    if hasattr(page, "columns"):
        columns = page.columns(runs[0])
    else:
        columns = [(_heading(name, each), [name]) for name, each in scores["measures"].items()]
    digits = 2 if len(columns) < 20 else 1

    def row(label: str, split: str, all_: Sequence[Mapping[str, Any]]) -> list[Content]:
        estimates = [over_seeds([at(each["measures"], path) for each in all_]) for _, path in columns]
        return [label, split, *(interval(each, digits) for each in estimates)]

    rows = [
        row(
            f"{label}{f' ({len(members)} seeds)' if len(members) > 1 else ''}",
            members[0].split or "",
            list(map(shown, members)),
        )
        for label, members in by_cell(runs).items()
    ]
    rows += [row(each["title"], runs[0].split or "", [each]) for each in scores.get("baselines", [])]
    rows += _published_rows(runs, len(columns))
    several = any(len(members) > 1 for members in by_cell(runs).values())
    what = "small: 95 % interval" + (", or of several seeds the lowest and the highest" if several else "")
    made = table(f"All measures ({what})", ["", "split", *(heading for heading, _ in columns)], rows)
    asked = {
        label: {str(Manner.from_facts(shown(run)))[2:] for run in members} for label, members in by_cell(runs).items()
    }
    manners = [f"{label}: asked with {' or '.join(sorted(said))}." for label, said in asked.items() if any(said)]
    if manners and len(set().union(*asked.values())) > 1:
        manners.append("Runs that were asked in different ways do not compare by these numbers.")
    chosen = any(shown(run).get("chosen_on_this_split") for run in runs)
    optimistic = "best.ckpt was chosen on this split: a little optimistic." if chosen else None
    return join([made, *map(note, manners), note(optimistic) if optimistic else None])


def _heading(name: str, measure: Mapping[str, Any]) -> str:
    return f"{NAMES.get(name, name).rpartition(',')[0] or NAMES.get(name, name)}, {measure.get('unit', '')}"


def _published_rows(runs: Sequence[Run], width: int) -> list[list[Content]]:
    """Published numbers of the same metric: never in the same column as drawn data."""
    if any(run.synthetic for run in runs):
        return []
    found = {
        (each.source, each.value): each for run in runs for each in published(run.trial.settings, run.metric)
    }.values()
    return [
        [f"published: {each.source}", each.data, element("em", f"{each.value:g}"), *[""] * (width - 1)]
        for each in found
    ]
