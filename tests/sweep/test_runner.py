"""The runner: every trial once, whatever happens to it on the way. The trials are stubs."""

import io
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from stubs import GRID, open_study, runner, score, stub, sweep_file, told

from pose_lightning.errors import UserError


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


def record(folder: Path, trial: str) -> dict[str, object]:
    return json.loads((folder / "trials" / trial / "trial.json").read_text())


def test_every_trial_of_a_grid_runs_once(tmp_path: Path, logs: Path) -> None:
    file = sweep_file(tmp_path)
    study = open_study(file, tmp_path / "sweep")
    assert runner(file, study, stub(logs)).run()
    assert told(logs) == {f"lr={rate}-{seed}": ["start", "end"] for rate in (1.0, 2.0, 3.0) for seed in (1, 2)}
    assert [(entry.seed, entry.cell) for entry in study.entries()] == [
        (seed, f"lr={rate}") for seed in (1, 2) for rate in (1.0, 2.0, 3.0)
    ]
    for entry in study.entries():
        assert entry.value == score(entry.values["model.lr"], entry.seed, 3)
    kept = record(tmp_path / "sweep", "lr=1.0/2")
    assert (kept["state"], kept["cell"], kept["seed"], kept["values"]) == ("complete", "lr=1.0", 2, {"model.lr": 1.0})
    assert kept["attempts"] == 1
    assert kept["peak_memory_bytes"] > 1_000_000
    assert (tmp_path / "sweep" / "sweep.yaml").read_text() == file.text


def test_finished_trials_are_never_run_again(tmp_path: Path, logs: Path) -> None:
    file = sweep_file(tmp_path)
    for _ in range(2):
        study = open_study(file, tmp_path / "sweep")
        assert runner(file, study, stub(logs)).run()
    assert all(lines == ["start", "end"] for lines in told(logs).values())


def test_count_limits_what_one_runner_starts(tmp_path: Path, logs: Path) -> None:
    file = sweep_file(tmp_path)
    for count in (1, 4, 6):
        study = open_study(file, tmp_path / "sweep")
        assert runner(file, study, stub(logs), limits={"count": 3}).run()
        assert len(told(logs)) == min(6, {1: 3, 4: 6, 6: 6}[count])
    assert all(lines == ["start", "end"] for lines in told(logs).values())


def test_a_failed_trial_is_a_row_with_its_error_and_the_end_of_its_log(tmp_path: Path, logs: Path) -> None:
    file, stream = sweep_file(tmp_path), io.StringIO()
    study = open_study(file, tmp_path / "sweep")
    assert runner(file, study, stub(logs, mishaps={"lr=2.0 1": "fail"}), stream=stream).run()
    states = {(entry.cell, entry.seed): entry.state for entry in study.entries()}
    assert states.pop(("lr=2.0", 1)) == "failed"
    assert set(states.values()) == {"complete"}
    kept = record(tmp_path / "sweep", "lr=2.0/1")
    assert kept["state"] == "failed"
    assert kept["error"] == "exit status 3: ValueError: no such luck"
    assert kept["log_end"][-2:] == ["a traceback", "ValueError: no such luck"]
    assert "lr=2.0 seed 1: failed: exit status 3: ValueError: no such luck" in stream.getvalue()


@pytest.mark.parametrize("at_once", [True, False])
def test_retry_runs_a_failed_trial_again(tmp_path: Path, logs: Path, at_once: bool) -> None:
    file = sweep_file(tmp_path)
    mishaps = {"lr=2.0 1": "fail once", "lr=3.0 2": "fail"}
    for retry in [1] if at_once else [0, 1]:
        study = open_study(file, tmp_path / "sweep")
        assert runner(file, study, stub(logs, mishaps=mishaps), limits={"retry": retry}).run()
    states = {(entry.cell, entry.seed): (entry.state, entry.attempts) for entry in study.entries()}
    assert states["lr=2.0", 1] == ("complete", 2)
    assert states["lr=3.0", 2] == ("failed", 2)
    assert told(logs)["lr=2.0-1"] == ["start", "start", "end"]
    assert told(logs)["lr=3.0-2"] == ["start", "start"]
    assert len(states) == 6


def test_a_trial_without_end_is_stopped_and_failed(tmp_path: Path, logs: Path) -> None:
    file = sweep_file(tmp_path, GRID.replace("[1.0, 2.0, 3.0]", "[1.0]").replace("[1, 2]", "[1]"))
    study = open_study(file, tmp_path / "sweep")
    slow = stub(logs, steps=1000, pause=0.05, mishaps={"lr=1.0 1": "stubborn"})
    assert runner(file, study, slow, limits={"timeout": 0.5, "grace": 0.2}).run()
    kept = record(tmp_path / "sweep", "lr=1.0/1")
    assert (kept["state"], kept["error"]) == ("failed", "stopped after --timeout 0.5 s")


def test_a_diverged_trial_says_so(tmp_path: Path, logs: Path) -> None:
    file = sweep_file(tmp_path)
    study = open_study(file, tmp_path / "sweep")
    outcome = lambda path: "diverged" if path.parts[-2:] == ("lr=3.0", "1") else "complete"  # noqa: E731
    assert runner(file, study, stub(logs), outcome=outcome).run()
    assert {(entry.cell, entry.seed) for entry in study.entries() if entry.state == "diverged"} == {("lr=3.0", 1)}
    assert record(tmp_path / "sweep", "lr=3.0/1")["state"] == "diverged"


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_sweep_loses_nothing(tmp_path: Path, logs: Path, times: int) -> None:
    file = sweep_file(tmp_path)
    study = open_study(file, tmp_path / "sweep")
    first = runner(file, study, stub(logs, steps=20, pause=0.05))

    def press() -> None:
        while len(list((tmp_path / "sweep").glob("trials/*/*/checkpoints/last.ckpt"))) < 2:
            time.sleep(0.01)
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.02)

    pressing = threading.Thread(target=press)
    pressing.start()
    assert not first.run()
    pressing.join()
    begun = {name: lines for name, lines in told(logs).items() if lines}
    assert len(begun) == 2
    assert all(entry.state == "waiting" for entry in study.entries())
    if times == 1:
        assert all(lines[-1].startswith("stopped at") for lines in begun.values())
    assert runner(file, study, stub(logs, steps=20, pause=0.0)).run()
    assert {name for name, lines in told(logs).items() if "resume" in lines} == set(begun)
    for entry in study.entries():
        assert (entry.state, entry.value) == ("complete", score(entry.values["model.lr"], entry.seed, 20))


def test_a_changed_sweep_file_is_refused_with_the_difference(tmp_path: Path) -> None:
    open_study(sweep_file(tmp_path), tmp_path / "sweep")
    changed = sweep_file(tmp_path, GRID.replace("3.0]", "4.0]"))
    with pytest.raises(UserError, match=r"(?s)-  model\.lr.*3\.0.*\+  model\.lr.*4\.0"):
        open_study(changed, tmp_path / "sweep")


TUNED = GRID.replace("[1, 2]", "[1, 2, 100]")


def test_a_tuned_sweep_compares_chosen_cells_on_fresh_seeds(tmp_path: Path, logs: Path) -> None:
    file = sweep_file(tmp_path, TUNED)
    study = open_study(file, tmp_path / "sweep")
    asked: list[list[str]] = []

    def choose() -> list[str]:
        asked.append(sorted(told(logs)))
        return ["lr=2.0"]

    assert runner(file, study, stub(logs), choose=choose).run()
    assert asked == [["lr=1.0-100", "lr=2.0-100", "lr=3.0-100"]]
    assert {name for name in told(logs) if not name.endswith("100")} == {"lr=2.0-1", "lr=2.0-2"}
    assert runner(file, study, stub(logs), choose=choose).run()
    assert len(asked) == 1


SEARCH = """\
program: pose_lightning/fit.py
command: ["${env}", "${interpreter}", "-m", "pose_lightning.fit", "--config=experiments/hourglass_mpii.yaml", "${args}"]
method: METHOD
run_cap: 12
metric: {name: val/score, goal: minimize}
parameters:
  seed_everything: {value: 1}
  model.lr: {min: 0.5, max: 4.0}
"""


@pytest.mark.parametrize(("method", "engine"), [("random", "tpe"), ("bayes", "tpe"), ("bayes", "gp")])
def test_a_search_ends_at_its_cap(tmp_path: Path, logs: Path, method: str, engine: str) -> None:
    file = sweep_file(tmp_path, SEARCH.replace("METHOD", method))
    study = open_study(file, tmp_path / "sweep")
    assert runner(file, study, stub(logs, pause=0.0), engine=engine).run()
    entries = study.entries()
    assert len({entry.cell for entry in entries}) == len(entries) == 12
    assert all(entry.state == "complete" for entry in entries)


def test_hyperband_stops_what_is_not_among_the_best(tmp_path: Path, logs: Path) -> None:
    text = GRID.replace("[1, 2]", "[1]") + "early_terminate: {type: hyperband, min_iter: 2, eta: 3}\n"
    file = sweep_file(tmp_path, text)
    study = open_study(file, tmp_path / "sweep")
    assert runner(file, study, stub(logs, steps=30, pause=0.03), slots=1).run()
    states = {entry.cell: entry.state for entry in study.entries()}
    assert states == {"lr=1.0": "complete", "lr=2.0": "pruned", "lr=3.0": "pruned"}
    assert record(tmp_path / "sweep", "lr=3.0/1")["state"] == "pruned"
