"""A runner that is killed at any moment leaves nothing that the next one does not finish, exactly once."""

import random
import time
from pathlib import Path

import pytest
from stubs import GRID, assert_each_ran_once, open_study, runner, start, stub, sweep_file, told

from pose_lightning.sweep.trials import TrialFolder

LONGER = GRID.replace("[1, 2]", "[1, 2, 3, 4]")


def end_trials(sweep: Path) -> None:
    """What a machine that goes down does to the trials, too."""
    for path in sweep.glob("trials/*/*"):
        TrialFolder(path).end_strays()


@pytest.mark.parametrize("kills", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_killed_sweep_is_finished_by_the_next_runner(tmp_path: Path, kills: int) -> None:
    file, folder, logs = sweep_file(tmp_path, LONGER), tmp_path / "sweep", tmp_path / "logs"
    logs.mkdir()
    draw = random.Random(kills)  # noqa: S311 - moments, not secrets
    for kill in range(kills):
        process = start(folder, file, logs)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0, 1.5))
        process.kill()
        process.communicate()
        if kill % 2:
            end_trials(folder)
    assert len(told(logs)) >= 2
    last = start(folder, file, logs)
    out, _ = last.communicate(timeout=120)
    assert last.returncode == 0, out
    assert_each_ran_once(open_study(file, folder), logs, trials=12)


def test_a_trial_that_outlived_its_runner_is_waited_for(tmp_path: Path) -> None:
    file, folder, logs = sweep_file(tmp_path, GRID.replace("[1, 2]", "[1]")), tmp_path / "sweep", tmp_path / "logs"
    logs.mkdir()
    process = start(folder, file, logs, steps=60)
    while len(told(logs)) < 2:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    study = open_study(file, folder)
    assert runner(file, study, stub(logs, steps=60)).run()
    assert told(logs) == {f"lr={rate}-1": ["start", "end"] for rate in (1.0, 2.0, 3.0)}
    assert_each_ran_once(study, logs, trials=3, steps=60)


def test_two_runners_share_a_folder(tmp_path: Path) -> None:
    file, folder, logs = sweep_file(tmp_path, LONGER), tmp_path / "sweep", tmp_path / "logs"
    logs.mkdir()
    both = [start(folder, file, logs, steps=10, shared=True, slots=1) for _ in range(2)]
    outs = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    assert all(": starts on" in out for out in outs), outs
    assert all(lines == ["start", "end"] for lines in told(logs).values())
    assert_each_ran_once(open_study(file, folder), logs, trials=12, steps=10)
