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

POSE_MEASURES: Final = (
    ("pckh@0.5", "mean_unweighted_14", "PCKh@0.5 mean 14"),
    ("pckh@0.5", "mean_weighted_14", "weighted 14"),
    ("pckh@0.5", "mean_16", "all 16, strict"),
    ("pckh@0.1", "mean_unweighted_14", "PCKh@0.1 mean 14"),
    ("pckh_auc", "mean_unweighted_14", "AUC"),
    ("pckh@0.5_visible", "mean_weighted_14", "visible"),
    ("pckh@0.5_occluded", "mean_weighted_14", "occluded"),
    ("pck@0.2_torso", "mean_unweighted_14", "PCK@0.2 torso"),
    ("error", "mean_weighted_14", "error, head sizes"),
    ("bias_x", "mean_16", "bias x, px"),
    ("bias_y", "mean_16", "bias y, px"),
)
"""Measure, statistic and heading of the table of heatmap estimation."""

UNMEASURED: Final = "No run here has been scored: `python -m pose_lightning.evaluate RUN` writes metrics.json."


def add(page: Page, subject: Subject) -> None:
    """Add the sections of what the runs' tasks measure."""
    scored = [run for run in subject.runs if run.scores]
    if not scored:
        page.section("scores", "Scores", note(UNMEASURED))
        return
    for task in dict.fromkeys(run.task for run in scored):
        runs = [run for run in scored if run.task == task]
        name, title = (
            f"scores-{task.lower()}",
            "Scores" if len({run.task for run in scored}) == 1 else f"Scores: {task}",
        )
        parts: list[Content] = [_measures(runs)]
        if (kind := runs[0].kind) is not None:
            best = next((run for run in subject.bests if run in runs), runs[0])
            parts += kind.part("page").scores(page, runs, best)
        parts.append(details("How this was measured", lines("ul", shown(runs[0])["definitions"])))
        page.section(name, title, *parts)


def _measures(runs: Sequence[Run]) -> Html:
    """A row for each cell, then the baselines of the first run and published numbers."""
    scores = shown(runs[0])
    if "pckh@0.5" in scores["measures"]:
        columns = [(heading, [measure, statistic]) for measure, statistic, heading in POSE_MEASURES]
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
