"""A trial's folder, its lock and its process."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pose_lightning.errors import UserError
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.study import Entry
from pose_lightning.sweep.trials import MARK, Process, TrialFolder, complaint, environment
from tests.test_runs import owned_by_another

ENTRY = Entry(0, 0, "lr=1.0", 1, {"model.lr": 1.0}, "running", 0, 0, {}, None, (), 0.0)


def process(folder: Path, code: str) -> Process:
    place = TrialFolder(folder)
    lock = place.grasp()
    assert lock is not None
    return Process(ENTRY, place, Slot(0, "cpu 0"), lock, [sys.executable, "-S", "-c", code], 0.0)


def wait(running: Process) -> None:
    while not running.poll():
        time.sleep(0.01)


def test_a_process_keeps_the_lock_after_its_runner_let_go(tmp_path: Path) -> None:
    running = process(tmp_path, "import time; time.sleep(60)")
    running.start()
    running.let_go()
    assert TrialFolder(tmp_path).grasp() is None
    running.kill()
    wait(running)
    free = TrialFolder(tmp_path).grasp()
    assert free is not None
    os.close(free)


def test_a_childs_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])"
    running = process(tmp_path, code)
    running.start()
    wait(running)
    running.let_go()
    free = TrialFolder(tmp_path).grasp()
    assert free is not None
    os.close(free)
    TrialFolder(tmp_path).end_strays()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="strays are found in /proc, which is Linux's")
def test_strays_of_a_trial_are_ended_and_others_are_not(tmp_path: Path) -> None:
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    (tmp_path / "a").mkdir()
    marked = subprocess.Popen(sleep, env={MARK: str((tmp_path / "a").resolve())})
    other = subprocess.Popen(sleep, env={MARK: str((tmp_path / "ab").resolve())})
    try:
        TrialFolder(tmp_path / "a").end_strays()
        assert marked.wait(10) == -9
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_a_trial_says_is_kept_with_its_command(tmp_path: Path) -> None:
    running = process(tmp_path, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(4)")
    running.start()
    wait(running)
    running.let_go()
    assert running.folder.end_of_log()[-2:] == ["out", "err"]
    assert (tmp_path / "output.txt").read_text().startswith(f"$ {sys.executable} -S -c ")
    assert complaint(running, timeout=None) == "exit status 4: err"
    assert running.peak_memory_bytes is not None
    assert running.peak_memory_bytes > 1_000_000


def test_a_process_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    running = process(tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(60)")
    running.start()
    while not running.folder.end_of_log()[1:]:
        time.sleep(0.01)
    running.stop("interrupted", grace=0.1)
    wait(running)
    running.let_go()
    assert running.status == -9
    assert "SIGKILL" in complaint(running, timeout=None)


def test_the_environment_of_a_group_is_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "SLURM_NTASKS", "POSE_LIGHTNING_RUN_ID"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("WANDB_SWEEP_ID", "x")
    monkeypatch.setenv("WANDB_MODE", "offline")
    given = environment(Slot(0, "gpu 1", {"CUDA_VISIBLE_DEVICES": "1"}), tmp_path)
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT", "SLURM_NTASKS", "POSE_LIGHTNING_RUN_ID"} & set(given)
    assert "WANDB_SWEEP_ID" not in given
    assert (given["WANDB_MODE"], given["CUDA_VISIBLE_DEVICES"]) == ("offline", "1")


def test_history_leaves_out_what_is_not_whole_or_not_finite(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    assert folder.history("val/pckh") == []
    rows = "step,samples,epoch,train/loss,val/pckh\n1,8,0,2.0,\n2,16,0,,10.5\n3,24,0,,nan\n4,32,0,,11.0\n5,40,0,,12.75"
    (tmp_path / "metrics.csv").write_text(rows)
    assert folder.history("val/pckh") == [10.5, 11.0]
    assert folder.history("val/loss") == []


def test_clear_keeps_what_is_the_sweeps(tmp_path: Path) -> None:
    for name in ("lock", "trial.json", "output.txt", "config.yaml", "metrics.csv"):
        (tmp_path / name).write_text("x")
    (tmp_path / "wandb" / "offline-run").mkdir(parents=True)
    TrialFolder(tmp_path).clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "output.txt", "trial.json"]


def test_a_run_is_resumable_from_its_first_checkpoint_on(tmp_path: Path) -> None:
    folder = TrialFolder(tmp_path)
    (tmp_path / "config.yaml").write_text("x")
    assert not folder.resumable
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_text("x")
    assert folder.resumable
    assert not folder.finished


def test_a_trial_that_somebody_trains_by_hand_is_taken(tmp_path: Path) -> None:
    trial_folder = TrialFolder(tmp_path / "trials" / "a" / "1")
    with owned_by_another(trial_folder.path) as other:
        assert trial_folder.grasp() is None
        assert trial_folder.holder.startswith(f"process {other.pid} ")
    lock = trial_folder.grasp()
    assert lock is not None
    assert trial_folder.holder.startswith(f"process {os.getpid()} ")
    os.close(lock)


@pytest.mark.parametrize("name", ["trials", "trials/a", "trials/a/1", "trials/a/1/lock", "trials/a/1/output.txt"])
def test_nothing_of_a_trial_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    outside, link = tmp_path / "outside", tmp_path / "sweep" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with pytest.raises((UserError, OSError), match=r"is a link|Too many levels"):
        process(tmp_path / "sweep" / "trials" / "a" / "1", "").start()
    assert not outside.exists()
