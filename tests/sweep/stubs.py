"""Sweeps of stub trials, run by this process or by others that can be killed.

As a script it is a runner: `stubs.py FOLDER SWEEP_YAML STORAGE LOGS SETTINGS_JSON`.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

from pose_lightning.sweep.console import Screen
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.runner import Command, Limits, Runner
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


def main() -> None:
    folder, path, storage, logs, settings = sys.argv[1:]
    told = json.loads(settings)
    file = SweepFile.read(Path(path))
    study = Study.open(file, Path(folder), layers=[], storage=storage or None)
    command = stub(Path(logs), steps=told.pop("steps"), pause=told.pop("pause"))
    if not runner(file, study, command, stream=sys.stdout, **told).run():
        raise SystemExit(130)


if __name__ == "__main__":
    main()
