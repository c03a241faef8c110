"""Sweeps of stub trials, run by this process or by others that can be killed.

As a script it is a runner: `stubs.py FOLDER SWEEP_YAML STORAGE LOGS SETTINGS_JSON`.
"""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pose_lightning.sweep.console import Screen
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.limits import Limits
from pose_lightning.sweep.runner import Command, Runner
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.study import Entry, Study

STUB = Path(__file__).with_name("stub_trial.py")

GRID = """\
program: pose_lightning/fit.py
command: ["${env}", "${interpreter}", "-m", "pose_lightning.fit", "--config=experiments/hourglass_mpii.yaml", "${args}"]
method: grid
metric: {name: val/score, goal: minimize}
parameters:
  seed_everything: {values: [1, 2]}
  model.lr: {values: [1.0, 2.0, 3.0]}
"""


def sweep_file(folder: Path, text: str = GRID, name: str = "stubs") -> SweepFile:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return SweepFile.read(path)


OPENED: list[Study] = []
"""Studies whose databases are closed after the test."""


def open_study(file: SweepFile, folder: Path, storage: str | None = None) -> Study:
    OPENED.append(Study.open(file, folder, layers=[], storage=storage))
    return OPENED[-1]


def score(rate: float, seed: int, steps: int) -> float:
    """What a trial's last row says if it saw every step once."""
    value = float(seed)
    for _ in range(steps):
        value = value * 0.5 + rate
    return value


def stub(logs: Path, *, steps: int = 3, pause: float = 0.01, mishaps: dict[str, str] | None = None) -> Command:
    def make(entry: Entry, folder: Path, resume: bool) -> list[str]:
        mishap = (mishaps or {}).get(f"{entry.cell} {entry.seed}", "none")
        log = logs / f"{entry.cell}-{entry.seed}.log"
        values = [entry.values["model.lr"], entry.seed, steps, pause, mishap]
        return [sys.executable, "-S", str(STUB), str(folder), str(log), str(int(resume)), *map(str, values)]

    return make


def runner(
    file: SweepFile, study: Study, command: Command, *, slots: int = 2, stream: Any = None, **more: Any
) -> Runner:
    limits = {"poll": 0.01, "watch": 0.05, "grace": 5.0} | more.pop("limits", {})
    given = {"outcome": lambda path: "complete", "choose": list} | more
    screen = Screen(file.name, file.metric, stream=stream or io.StringIO())
    places = [Slot(index, f"cpu {index}") for index in range(slots)]
    return Runner(file, study, command, slots=places, screen=screen, limits=Limits(**limits), **given)


def start(folder: Path, file: SweepFile, logs: Path, *, storage: str = "", **settings: Any) -> "subprocess.Popen[str]":
    """A runner in a process of its own."""
    told = {"steps": 20, "pause": 0.05} | settings
    command = [sys.executable, __file__, str(folder), str(file.path), storage, str(logs), json.dumps(told)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def told(logs: Path) -> dict[str, list[str]]:
    """What each trial's processes said, in order."""
    return {path.stem: path.read_text().split("\n")[:-1] for path in sorted(logs.glob("*.log"))}


def assert_each_ran_once(study: Study, logs: Path, *, trials: int, steps: int = 20) -> None:
    """Every trial ended once, never ran twice at once, and its score is that of an undisturbed one."""
    entries = study.entries()
    assert len(entries) == trials
    said = told(logs)
    for entry in entries:
        assert (entry.state, entry.value) == ("complete", score(entry.values["model.lr"], entry.seed, steps))
        lines = said.pop(f"{entry.cell}-{entry.seed}")
        assert lines.count("end") == 1, lines
        assert not {"DOUBLE", "NOT CLEAR"} & set(lines), lines
        kept = json.loads((study.folder / "trials" / entry.cell / str(entry.seed) / "trial.json").read_text())
        assert kept["state"] == "complete"
    assert not said


def main() -> None:
    folder, path, storage, logs, settings = sys.argv[1:]
    told = json.loads(settings)
    file = SweepFile.read(Path(path))
    study = open_study(file, Path(folder), storage or None)
    print("ready", flush=True)
    command = stub(Path(logs), steps=told.pop("steps"), pause=told.pop("pause"))
    finished = runner(file, study, command, stream=sys.stdout, **told).run()
    study.close()
    raise SystemExit(0 if finished else 130)


if __name__ == "__main__":
    main()
