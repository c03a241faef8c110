"""A full or read-only disk: one line, exit code 2, nothing half written, and what stood there before is whole."""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.doors import CASES, Case, Snapshot, alone, complete, snapshot, unfinished
from tests.warm import Outcome, Warm

FAULTS: dict[str, dict[str, Any]] = {
    "full at once": {"room": 0.0},
    "full at a third": {"room": 1 / 3},
    "full at two thirds": {"room": 2 / 3},
    "read-only": {"read_only": True},
    "no file over 100 bytes": {"largest_file": 100},
    "no file over 3 kB": {"largest_file": 3000},
    "fsync: ENOSPC": {"failing": "fsync", "error": errno.ENOSPC},
    "fsync: EDQUOT": {"failing": "fsync", "error": errno.EDQUOT},
    "replace: EIO": {"failing": "replace", "error": errno.EIO},
    "mkdir: EACCES": {"failing": "mkdir", "error": errno.EACCES},
}


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")


@contextmanager
def disk(folder: Path) -> Iterator[Path]:
    """A disk of memory, at `folder`."""
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=1g", "none", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def weight(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def judged(case: Case, outcome: Outcome, left: Snapshot, before: Snapshot, after: Snapshot, names: list[str]) -> str:
    half = [name for name, entry in left.items() if entry not in (before.get(name), after.get(name))]
    lost = [name for name in before if name in after and name not in left]
    faults = {
        f"{outcome.fault}: {outcome.err.strip()[-400:]}": outcome.fault and "trials failed" not in outcome.out,
        f"left behind: {names}": names,
        "exit code 0, and not all is there": outcome.code == 0 and left != after and not case.once,
        f"lost: {lost[:8]}": outcome.code and lost,
        f"neither as before nor as wanted: {half[:8]}": outcome.code and half and not case.once,
    }
    fault = next((fault for fault, is_there in faults.items() if is_there), None)
    return f"FAULT {fault}" if fault else "refused" if outcome.code else "had no need of it"


def tried(name: str, inputs: Path, folder: Path, process: Warm) -> dict[str, str]:
    """The outcome of each fault, in a folder in which the door has written before."""
    case, ends = CASES[name], {}
    before, after = alone(case, inputs, folder, process, existing=not case.once)
    size = weight(folder / "alone1") - weight(case.prepare(inputs, folder / "nothing"))
    for number, (fault, options) in enumerate(FAULTS.items()):
        with disk(folder / str(number)) as work:
            case.prepare(inputs, work)
            if case.once:
                before = snapshot(work)
            else:
                process.run(case.jobs(inputs, work)[0])
            more = dict(options)
            if (room := more.pop("room", None)) is not None:
                state = os.statvfs(work)
                used = (state.f_blocks - state.f_bfree) * state.f_frsize
                mount("-o", f"remount,size={used + max(int(room * size) // 4096, 1) * 4096}", str(work))
            if more.pop("read_only", False):
                mount("-o", "remount,ro", str(work))
            outcome = process.run(case.jobs(inputs, work, **more)[1])[0]
            ends[fault] = judged(case, outcome, snapshot(work), before, after, unfinished(work))
    print("\n".join(["", name, *(f"    {fault:24}{end}" for fault, end in ends.items())]))
    return ends


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.quick])
def test_a_disk_that_fails_loses_nothing(name: str, door_inputs: Path, tmp_path: Path, warm_process: Warm) -> None:
    ends = tried(name, door_inputs, tmp_path, warm_process)
    assert not [f"{fault}: {end}" for fault, end in ends.items() if end.startswith("FAULT")]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.quick])
def test_a_disk_that_fails_loses_nothing_of_the_other_doors(
    name: str, door_inputs: Path, tmp_path: Path, warm_process: Warm
) -> None:
    complete(door_inputs)
    test_a_disk_that_fails_loses_nothing(name, door_inputs, tmp_path, warm_process)
