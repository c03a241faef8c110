"""A comparison in plain sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from pose_lightning.statistics import RESAMPLED_FROM
from pose_lightning.sweep.findings import PAIRS, Comparison, Difference, Row, Trend
from pose_lightning.sweep.published import published

UNITS: Final[Mapping[str, str]] = {
    "pckh": "PCKh",
    "pckh_16": "PCKh (16 joints)",
    "pckh_0.1": "PCKh@0.1",
    "mpjpe": "mm MPJPE",
    "mpjpe_rooted": "mm MPJPE (rooted)",
    "pa_mpjpe": "mm PA-MPJPE",
    "top1": "points of top-1 accuracy",
    "balanced": "points of balanced accuracy",
    "map": "points of mAP",
    "loss": "of loss",
}


def unit(metric: str) -> str:
    """What a difference of a metric is counted in."""
    return UNITS.get(metric.partition("/")[2], metric)


def number(value: float) -> str:
    """Four digits, as a table has them; `-` where unknown."""
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    decimals = max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 2) if abs(value) >= 1 else min(decimals, 6)}f}"


def seeds(count: int) -> str:
    """So many seeds."""
    return f"{count} seed{'' if count == 1 else 's'}"


def sentences(found: Comparison) -> list[str]:
    """What the numbers say, the most general first."""
    lines = []
    if found.synthetic:
        lines.append("Drawn data: this says how the comparison works, and nothing about photographs.")
    pairs = [each for each in found.differences if not each.parameter]
    lines += [_effect(each, found) for each in found.differences if each.parameter]
    lines += [_trend(each, found) for each in found.trends]
    lines += _pairs(pairs, found)
    lines += _lost(found.rows)
    lines += _sources(found)
    return lines


def _effect(each: Difference, found: Comparison) -> str:
    goal = found.subject.goal
    better = each.better(goal)
    worse = each.second if better == each.first else each.first
    size, ends = abs(each.value), (each.low, each.high)
    if each.value < 0:
        ends = (-each.high, -each.low)
    over = f"; mean of {each.matched} cells on each side" if each.parameter and each.matched > 1 else ""
    named = {name: f"{each.parameter} {name}" if each.parameter else name for name in (better, worse)}
    told = f"95 % {number(ends[0])} to {number(ends[1])}; {seeds(each.seeds)}{over}"
    if each.claimed(goal):
        flips = f"; sign flips p = {each.sign_flips:.2g}" if math.isfinite(each.sign_flips) else ""
        return f"{named[better]} beats {named[worse]} by {number(size)} {unit(found.subject.metric)} ({told}{flips})."
    if each.seeds < 2:
        return f"{named[each.first]} or {named[each.second]}: no difference can be told with {seeds(each.seeds)}."
    why = ""
    if each.diverged & {better}:
        why = f", because {named[better]} diverged with other seeds, and those that are left flatter it"
    elif ends[0] > 0 and not math.isnan(each.corrected):
        count = found.families[each.family]
        why = f", corrected for {count} comparison{'s' if count > 1 else ''} (p = {each.corrected:.2g})"
    return (
        f"{named[better]} or {named[worse]}: no difference can be told with {seeds(each.seeds)}{why} "
        f"({number(size)} {unit(found.subject.metric)}, {told})."
    )


def _trend(each: Trend, found: Comparison) -> str:
    ends = f"95 % {number(each.low)} to {number(each.high)}; " if math.isfinite(each.low) else ""
    return (
        f"{each.parameter}: rank correlation {number(each.value)} with {found.subject.metric} "
        f"({ends}{each.cells} cells; a description, no test)."
    )


def _pairs(pairs: Sequence[Difference], found: Comparison) -> list[str]:
    """Of few pairs every one; of many those that differ, and how many do not."""
    if not pairs:
        return ["Too many cells to compare each with each."] if len(found.rows) > 1 and found.rows[1].seeds else []
    if not found.explores and len(pairs) <= 6:
        return [_effect(each, found) for each in pairs]
    claimed = [each for each in pairs if each.claimed(found.subject.goal)]
    most = max(each.seeds for each in pairs)
    rest = len(pairs) - len(claimed)
    head = "Exploring: " if found.explores else ""
    lines = [f"{head}{_effect(each, found)}" for each in claimed]
    if rest:
        of = (
            f"the other {rest} of {len(pairs)} pairs"
            if claimed
            else f"the {len(pairs)} pairs"
            if rest > 1
            else "the pair"
        )
        lines.append(f"{head}between {of} of cells, no difference can be told with {seeds(most)}.")
    return [f"{line[:1].upper()}{line[1:]}" if line.startswith("between") else line for line in lines]


def _lost(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        for state, which in row.lost.items():
            left = (
                f"its row is the mean of the other {seeds(len(row.seeds))}" if row.seeds else "it has no row of numbers"
            )
            flatters = ", which flatters it" if state == "diverged" and row.seeds else ""
            verb = {"diverged": "diverged", "failed": "failed", "pruned": "was stopped early"}.get(state, f"is {state}")
            lines.append(
                f"{row.cell} {verb} with seed{'s' if len(which) > 1 else ''} {_listed(which)}: {left}{flatters}."
            )
    return lines


def _listed(which: Sequence[int]) -> str:
    return ", ".join(str(each) for each in which)


def _sources(found: Comparison) -> list[str]:
    lines = []
    for row in found.rows:
        trial = next((each for each in found.trials if each.cell == row.cell and each.seed in row.seeds), None)
        for each in published(trial.settings, found.subject.metric) if trial is not None else []:
            lines.append(
                f"{row.cell}: {number(row.value)} here, {number(each.value)} in {each.source}, on {each.data}, with "
                f"{each.budget}; here {'drawn data' if found.synthetic else 'the data of this store'} and "
                f"{row.samples:,.0f} samples seen."
            )
    return lines


def footnotes(found: Comparison) -> list[str]:
    """How the numbers were made."""
    subject, most = found.subject, max((len(row.seeds) for row in found.rows), default=0)
    lines = [
        f"{subject.metric}, {'more' if subject.goal == 'maximize' else 'less'} is better; means over seeds, last step."
    ]
    if subject.kind == "tuned":
        tuned = _listed(subject.tuning_seeds)
        lines.append(f"Tuned: rates were chosen on seeds {tuned}; only the chosen ones are compared, on fresh seeds.")
    elif subject.kind != "runs":
        lines.append(
            "As the source ran it: one rate per optimizer, so a difference is one of optimizer and rate together."
        )
    over = (
        f"{seeds(most)} and {found.samples} samples in {found.clusters} groups"
        if found.clusters
        else f"{seeds(most)} alone"
    )
    how = "both resampled, as wide as a t interval" if most >= RESAMPLED_FROM else "t intervals"
    same = "seeds and samples" if found.clusters else "seeds"
    lines.append(f"95 % intervals over {over}: {how}. Differences are over the same {same}.")
    lines += _claims(found)
    if most < RESAMPLED_FROM:
        lines.append(f"Fewer than {RESAMPLED_FROM} seeds: no permutation test, which could not reach 5 %.")
    lines.append("Best step: optimistic, because it was chosen on the same samples.")
    if any(math.isfinite(row.seconds_to_reach) for row in found.rows) or any(row.reached for row in found.rows):
        lines.append(f"To reach: samples and seconds to {subject.metric} {number(found.score)}, of the seeds that did.")
    return [*lines, *found.notes]


def _claims(found: Comparison) -> list[str]:
    """Of which families of sentences the 5 % hold."""
    lines = []
    main = [f"{name} ({count})" for name, count in found.families.items() if name != PAIRS]
    pairs = found.families.get(PAIRS, 0)
    if main:
        lines.append(
            "Main effects, all else the same, are a family for each parameter, by number of comparisons: "
            f"{', '.join(main)}. All pairs of cells ({pairs}) are a family of their own, for exploring."
        )
    if found.families:
        of = "a family," if main else f"the {pairs} pairs,"
        lines.append(
            f"Claims: t tests with the seeds' degrees of freedom, corrected by Holm within {of} so that at most 5 % of "
            "sweeps without any difference make a claim there"
            + (f" (and at most {5 * len(found.families)} % in any of the {len(found.families)})" if main else "")
            + "; an interval by itself is not corrected."
        )
    if found.trends:
        lines.append("Rank correlations: Spearman's, over cells, which their intervals take for independent.")
    if len({each.parameter for each in found.trends}) > 1 or any(not each.balanced for each in found.levels):
        lines.append(
            "Searched values are described over the cells that have them, other parameters as they fell, and without "
            "trials that were stopped early. A search tries more where it has found good ones, so nothing is claimed: "
            "run what looks best with fresh seeds."
        )
    return lines
