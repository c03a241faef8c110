"""`python -m pose_lightning.sweep claims DIR...`: the reports' claims, each with what the sweeps that test it found.

DIR is the directory of a compared sweep, or one of many such, such as runs/sweeps. Numbers come from the files that
`compare` wrote, results.json and its kin of other metrics, and from nothing else.
"""

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

from pose_lightning import cli
from pose_lightning.errors import UserError, shown
from pose_lightning.files import check_target, local_path, write_text
from pose_lightning.options import OptionParser
from pose_lightning.statistics import holm
from pose_lightning.sweep.compare import LAYOUT
from pose_lightning.sweep.findings import CLAIM, Goal
from pose_lightning.sweep.records import read_results
from pose_lightning.sweep.reported import CLAIMS, Claim, Contrast, Side
from pose_lightning.sweep.sentences import number, seeds, unit
from pose_lightning.terminal import say

Verdict = Literal["confirmed", "refuted", "undecided"]

HEADS: Final = ("claim", "report", "sweep", "data and budget", "kind", "difference (95 %)", "verdict")

DEMO: Final = "_demo"
"""Ends the name of a sweep's directory where it ran on drawn data."""


@dataclass(frozen=True)
class Results:
    """What `compare` found of one sweep and one metric.

    Attributes:
        path: The file.
        told: What it holds.
    """

    path: Path
    told: Mapping[str, Any]

    @property
    def sweep(self) -> str:
        """The stem of the sweep file."""
        return str(self.told["name"]).removesuffix(DEMO)


@dataclass(frozen=True)
class Measured:
    """What a sweep says of a contrast.

    Attributes:
        better: The side that is claimed to be better, as it is shown.
        worse: The other.
        value: Mean of the first minus mean of the second; NaN where unknown.
        low: End of its 95 % interval.
        high: The other end.
        p_value: Of no difference, not corrected; NaN where unknown.
        seeds: Behind it.
        diverged: Which sides lost seeds because they diverged.
    """

    better: str
    worse: str
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan
    seeds: int = 0
    diverged: frozenset[str] = frozenset()

    @property
    def known(self) -> bool:
        """Whether any seed has both sides."""
        return self.seeds > 0

    def side(self, goal: Goal) -> str:
        """Which side is ahead."""
        return self.better if (self.value > 0) == (goal == "maximize") else self.worse

    def told(self, goal: Goal, p_value: float) -> str | None:
        """The side that is better by more than chance, if there is one that was not left by diverged seeds."""
        apart = self.low > 0 or self.high < 0
        ahead = self.side(goal)
        return ahead if p_value < CLAIM and apart and ahead not in self.diverged else None


def read(folders: Sequence[Path]) -> list[Results]:
    """Every results file in the folders, and in those one below.

    Raises:
        UserError: If there is none, or one of them cannot be read.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no directory {folder}; `ls runs/sweeps` lists the sweeps there are")
        for path in sorted({*folder.glob("results*.json"), *folder.glob("*/results*.json")}):
            found.append(Results(path, read_results(path, LAYOUT)))
    if not found:
        raise UserError(f"no results.json in {_places(folders)}; `python -m pose_lightning.sweep compare` writes it")
    return found


def _places(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))


def measure(contrast: Contrast, results: Mapping[str, Any]) -> Measured:
    """What a comparison says of a contrast: a pair of cells, or a parameter's main effect where others are free."""
    cells = results["cells"]
    sides = [_matching(side, cells) for side in (contrast.better, contrast.worse)]
    shown = [_shown(side, cells) for side in (contrast.better, contrast.worse)]
    nothing = Measured(better=shown[0], worse=shown[1])
    if not all(sides):
        return nothing
    parameter, names = "", [{cell["cell"] for cell in side} for side in sides]
    if [len(side) for side in sides] != [1, 1]:
        (parameter,) = [key for key in contrast.better if contrast.better[key] != contrast.worse.get(key)]
        names = [{cell["shown"][parameter] for cell in side} for side in sides]
    found = [
        each
        for each in results["differences"]
        if each["parameter"] == parameter and _is_between(each["first"], each["second"], names)
    ]
    if len(found) != 1:  # none where no seed has both; more where a pattern means several levels
        return nothing
    each = found[0]
    turned = each["first"] not in names[0]
    ends = (each["low"], each["high"])
    low, high = (ends[1], ends[0]) if turned else ends
    sign = -1 if turned else 1
    side_of = {each["first"]: shown[1] if turned else shown[0], each["second"]: shown[0] if turned else shown[1]}
    return replace(
        nothing,
        value=sign * each["value"],
        low=_number(low, sign),
        high=_number(high, sign),
        p_value=_number(each["p_value"]),
        seeds=each["seeds"],
        diverged=frozenset(side_of[name] for name in each["diverged"]),
    )


def _number(value: float | None, sign: int = 1) -> float:
    return math.nan if value is None else sign * value


def _is_between(first: str, second: str, names: Sequence[set[str]]) -> bool:
    return (first in names[0] and second in names[1]) or (first in names[1] and second in names[0])


def _matching(side: Side, cells: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [cell for cell in cells if all(fnmatchcase(cell["shown"].get(name, ""), side[name]) for name in side)]


def _shown(side: Side, cells: Iterable[Mapping[str, Any]]) -> str:
    """A side as the table has it: the value itself where the pattern means but one."""
    parts = []
    for name, pattern in side.items():
        found = {cell["shown"][name] for cell in _matching({name: pattern}, cells)}
        parts.append(found.pop() if len(found) == 1 else pattern)
    return " ".join(parts)


def judge(claim: Claim, measured: Sequence[Measured], goal: Goal) -> tuple[Verdict, str]:
    """The verdict on a claim, and why where there is none.

    Each claim is a family of its own, stated before the sweep: it is confirmed where every contrast goes its way with
    p < 0.05, which needs no correction (Berger, Multiparameter Hypothesis Testing and Acceptance Sampling,
    Technometrics 1982), and refuted where one goes against it with p < 0.05 after Holm's. A claim of no difference is
    confirmed where every interval lies within the margin, and refuted where one lies outside.
    """
    if missing := [f"{each.better} or {each.worse}" for each in measured if not each.known]:
        return "undecided", f"no seed has both of {'; '.join(missing)}"
    if (least := min(each.seeds for each in measured)) < 2:
        return "undecided", f"{seeds(least)} cannot tell chance from effect"
    if claim.margin is not None:
        return _judge_equal(measured, claim.margin)
    if all(each.told(goal, each.p_value) == each.better for each in measured):
        return "confirmed", ""
    corrected = holm([each.p_value for each in measured])
    against = [each for each, p in zip(measured, corrected, strict=True) if each.told(goal, p) == each.worse]
    if against:
        return "refuted", f"{against[0].worse} is better" if len(measured) > 1 else ""
    why = [f"{each.side(goal)} diverged with other seeds" for each in measured if each.side(goal) in each.diverged]
    open_ones = [each.p_value for each in measured if each.told(goal, each.p_value) is None]
    largest = max((p for p in open_ones if not math.isnan(p)), default=math.nan)
    return "undecided", "; ".join([*why, *([] if math.isnan(largest) else [f"p = {largest:.2g}"])])


def _judge_equal(measured: Sequence[Measured], margin: float) -> tuple[Verdict, str]:
    if any(each.diverged for each in measured):
        return "undecided", "one side diverged with other seeds"
    if all(-margin < each.low and each.high < margin for each in measured):
        return "confirmed", f"within {margin:g}"
    if any(each.low > margin or each.high < -margin for each in measured):
        return "refuted", f"more than {margin:g}"
    return "undecided", f"the interval holds {margin:g}, our margin"


def table(results: Sequence[Results], claims: Sequence[Claim] = CLAIMS) -> list[list[str]]:
    """A row for each claim and comparison that tests it; where a sweep was not run, a row that says so."""
    rows = []
    for claim in claims:
        head = [f"{claim.text}{f' ({claim.note})' if claim.note else ''}", claim.source]
        for sweep in claim.sweeps:
            of_sweep = [each for each in results if each.sweep == sweep]
            matching = [each for each in of_sweep if each.told["metric"] == claim.metric]
            rows += [[*head, *_row(claim, each)] for each in matching]
            if not of_sweep:
                rows.append([*head, f"`{sweep}`", "-", "-", "-", "not run"])
            elif not matching:
                rows.append([*head, f"`{sweep}`", "-", "-", "-", f"not compared by {claim.metric}"])
    return rows


def _row(claim: Claim, results: Results) -> list[str]:
    told = results.told
    goal: Goal = told["goal"]
    measured = [measure(contrast, told) for contrast in claim.contrasts]
    verdict, why = judge(claim, measured, goal)
    shown = [
        f"{each.better} - {each.worse}: "
        + (f"{number(each.value)} ({number(each.low)} to {number(each.high)})" if each.known else "-")
        for each in measured
    ]
    mark = " on drawn data" if told["synthetic"] else ""
    said = f"**{verdict}**{mark}{f': {why}' if why else ''}"
    return [f"`{results.sweep}`", _budget(measured, told), told["kind"], f"{_listed(shown)} {unit(claim.metric)}", said]


def _listed(shown: Sequence[str]) -> str:
    return "<br>".join(shown)


def _budget(measured: Sequence[Measured], told: Mapping[str, Any]) -> str:
    """Whose data, how many samples were seen, how many seeds there are."""
    seen = sorted({round(cell["samples"]) for cell in told["cells"] if cell["samples"] is not None})
    samples = " to ".join(f"{each:,}" for each in dict.fromkeys((seen[0], seen[-1]))) if seen else "unknown"
    data = "**drawn data**" if told["synthetic"] else told.get("data") or "data not named"
    experiment = f"{told['experiment']}, " if told.get("experiment") else ""
    return f"{experiment}{data}; {samples} samples seen; {seeds(max(each.seeds for each in measured))}"


def to_markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table with its definitions."""
    lines = [
        "# The reports' claims, as our sweeps find them",
        "",
        "Made by `python -m pose_lightning.sweep claims` from the comparisons of finished sweeps; not edited by hand.",
        "",
        *[f"| {' | '.join(each.replace('|', '/') for each in row)} |" for row in (HEADS, ["---"] * len(HEADS), *rows)],
        "",
        "- Numbers are of the last step, over the same seeds and samples; each is the first side's mean minus the "
        "second's. Less is better for losses and mm, more for the others.",
        "- Each row is a family of its own: its claim was made before the sweep. *Confirmed*: every difference goes "
        "the claim's way with p < 0.05. *Refuted*: one goes against it with p < 0.05, corrected by Holm within the "
        "row. So in at most 5 % of rows without any effect a verdict is false; over all rows nothing is corrected.",
        "- A claim of no difference is *confirmed* where the interval lies within the margin, *refuted* where it lies "
        "outside; the margin is ours.",
        "- *As the source ran it*: one rate per optimizer. *Tuned*: rates chosen on other seeds. Verdicts are about "
        "these data and budgets, not about the reports' own runs, which had one seed each.",
        "- Drawn data shows that the comparison works, and says nothing about photographs.",
    ]
    return "\n".join(lines) + "\n"


def metrics(sweep: str) -> list[str]:
    """What the claims about a sweep are measured by."""
    return list(dict.fromkeys(claim.metric for claim in CLAIMS if sweep in claim.sweeps))


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(prog="python -m pose_lightning.sweep claims", description=__doc__)
    parser.add_argument("folders", nargs="*", type=local_path, metavar="DIR", default=[Path("runs/sweeps")])
    parser.add_argument("--out", type=local_path, metavar="FILE", help="write the table here, such as sweeps/claims.md")
    return parser


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    options = _parser().parse_args(args)
    if options.out is not None:
        check_target(options.out)
    text = to_markdown(table(read(options.folders)))
    if options.out is None:
        print("\n".join(map(shown, text.split("\n"))), end="")
    else:
        write_text(options.out, text)
        say(options.out)
