"""Two processes that write the same at once: never two losers, never a loss, and the loser is told by whom."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.doors import CASES, Snapshot, alone, complete, snapshot, unfinished
from tests.warm import Outcome, Warm

FEW, MANY = 2, 10
TOLD = re.compile(r"error: .*(process \d+|runner)", re.DOTALL)


def judged(outcomes: list[Outcome], left: Snapshot, wanted: list[Snapshot], names: list[str]) -> str:
    """The outcome of one start."""
    codes = [outcome.code for outcome in outcomes]
    if faults := [outcome.fault for outcome in outcomes if outcome.fault]:
        return f"FAULT {faults[0]}: {[outcome.err.strip()[-300:] for outcome in outcomes]}"
    if 0 not in codes:
        return f"FAULT two losers: {[outcome.err.strip()[-300:] for outcome in outcomes]}"
    if untold := [outcome.err for outcome in outcomes if outcome.code and not TOLD.search(outcome.err)]:
        return f"FAULT the loser was not told by whom: {untold[0].strip()[-300:]}"
    if names:
        return f"FAULT left behind: {names}"
    could = [snap for snap, code in zip(wanted, codes, strict=True) if code == 0]
    if left not in could:
        differing = {name for snap in could for name in {*left, *snap} if left.get(name) != snap.get(name)}
        return f"FAULT neither of the two's is whole there: {sorted(differing)[:8]} differ"
    return "both did it, one after the other" if codes == [0, 0] else "one did it, the other was told by whom"


def starts(name: str, count: int, inputs: Path, folder: Path, process: Warm) -> Counter[str]:
    """Ends of so many starts of two, of which every second one finds something there."""
    case, ends = CASES[name], Counter[str]()
    for existing in [False] if case.once else [False, True]:
        wanted = alone(case, inputs, folder / f"{existing}", process, existing=existing)
        for number in range(count if case.once else count // 2):
            work = case.prepare(inputs, folder / f"{existing}{number}")
            jobs = case.jobs(inputs, work)
            if existing:
                process.run(jobs[0])
            outcomes = process.run(*jobs)
            ends[judged(outcomes, snapshot(work), wanted, unfinished(work))] += 1
    print(f"\n{name}: " + "; ".join(f"{number} x {end}" for end, number in ends.items()))
    return ends


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.quick])
def test_a_few_pairs(name: str, door_inputs: Path, tmp_path: Path, warm_process: Warm) -> None:
    assert not [end for end in starts(name, FEW, door_inputs, tmp_path, warm_process) if end.startswith("FAULT")]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_ten_pairs(name: str, door_inputs: Path, tmp_path: Path, warm_process: Warm) -> None:
    complete(door_inputs)
    assert not [end for end in starts(name, MANY, door_inputs, tmp_path, warm_process) if end.startswith("FAULT")]
