"""What signals do to a run, seen from its shell."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from pose_lightning import fit
from pose_lightning.runs import RunDirectory
from pose_lightning.signals import SIGNALS, StopRequest
from pose_lightning.training import slurm
from tests.test_fit import arguments, with_callback
from tests.test_trust import PAYLOAD, own


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No W&B; and signals as in a terminal: what a shell starts in the background ignores SIGINT."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_signal_is_noted_and_the_handlers_given_back() -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    request = StopRequest()
    with request.listening():
        os.kill(os.getpid(), signal.SIGUSR1)
        assert request.number == signal.SIGUSR1
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_second_signal_ends_the_process_unless_it_echoes_the_first() -> None:
    program = (
        "import os, signal, time; from pose_lightning.signals import ECHO, StopRequest\n"
        "with StopRequest().listening():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('alive', flush=True)\n"
        "    time.sleep(2 * ECHO)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still alive', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "alive\n")
    assert "SIGTERM: the run stops at the end of this step" in done.stderr


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = StopRequest()
    with request.listening():
        os.kill(os.getpid(), signal.SIGINT)
    assert request.number is None


def test_in_another_thread_signals_stay_where_they_are() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def listen() -> None:
        with StopRequest().listening():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


class SignalAt(pl.Callback):
    """Sends this process a signal in the middle of a step."""

    def __init__(self, number: int, step: int) -> None:
        self.number, self.step = number, step

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGUSR1, 138)],
    ids=["term", "int", "usr1"],
)
def test_the_door_ends_with_the_signals_code_after_the_step(
    demo_stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
) -> None:
    with_callback(monkeypatch, SignalAt(number, 6))
    with pytest.raises(SystemExit) as stop:
        fit.main(arguments(demo_stores, tmp_path, "--checkpoint.every_n_steps=100"))
    assert stop.value.code == code
    run = RunDirectory(next(tmp_path.glob("*/*")))
    said = f"stopped by {number.name} after step 7; go on with `python -m pose_lightning.fit --resume {run.path}`"
    assert said in capsys.readouterr().err
    assert torch.load(run.last, weights_only=True)["global_step"] == 7
    assert not (run.path / "metrics.json").exists()


class SignalIn(pl.Callback):
    """Sends this process a signal in a hook, once."""

    def __init__(self, hook: str) -> None:
        self.number: int | None = signal.SIGTERM
        setattr(self, hook, self.send)

    def send(self, *_: Any, **__: Any) -> None:
        number, self.number = self.number, None
        if number is not None:
            os.kill(os.getpid(), number)


@pytest.mark.parametrize("hook", ["setup", "on_sanity_check_start", "on_validation_batch_start", "on_train_start"])
def test_a_signal_before_the_first_step_is_obeyed_before_it(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hook: str
) -> None:
    with_callback(monkeypatch, SignalIn(hook))
    with pytest.raises(SystemExit) as stop:
        fit.main(arguments(demo_stores, tmp_path))
    assert stop.value.code == 143
    run = RunDirectory(next(tmp_path.glob("*/*")))
    said = f"stopped by SIGTERM after step 0; go on with `python -m pose_lightning.fit --resume {run.path}`"
    assert said in capsys.readouterr().err
    assert not run.resumable


def test_a_signal_after_the_last_step_stops_before_the_scores(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        with_callback(patch, SignalIn("on_train_end"))
        with pytest.raises(SystemExit) as stop:
            fit.main(arguments(demo_stores, tmp_path))
    assert stop.value.code == 143
    assert "stopped by SIGTERM after step 10; go on with" in capsys.readouterr().err
    run = RunDirectory(next(tmp_path.glob("*/*")))
    assert not (run.path / "metrics.json").exists()
    fit.fit(["--resume", str(run.path)])
    assert (run.path / "metrics.json").is_file()


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job of SLURM, with a `scontrol` that keeps what it was told in the file returned."""
    told, program = tmp_path / "told", tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {told}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    for name, value in {
        "JOB_ID": "4711",
        "NTASKS": "1",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
        "JOB_NAME": "night",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    return told


def test_a_job_of_slurm_is_requeued_and_goes_on_by_the_same_command(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Path
) -> None:
    given = arguments(demo_stores, tmp_path / "runs", "--checkpoint.every_n_steps=100")
    with monkeypatch.context() as patch:
        with_callback(patch, SignalAt(signal.SIGUSR1, 6))
        with pytest.raises(SystemExit) as stop:
            fit.main(given)
    assert stop.value.code == 138
    assert job.read_text() == "requeue 4711\n"
    run = RunDirectory(next((tmp_path / "runs").glob("*/*")))
    assert (run.path / slurm.JOB).read_text() == "4711\n"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    fit.fit([*given, "--model.lr=0.5"])  # another training of the same job
    fit.fit(given)
    assert len(list((tmp_path / "runs").glob("*/*"))) == 2
    assert torch.load(run.last, weights_only=True)["global_step"] == 10
    steps = [line.split(",")[0] for line in (run.path / "metrics.csv").read_text().splitlines() if ",val" not in line]
    assert [int(step) for step in steps] == sorted(map(int, steps))
    assert not list(tmp_path.rglob("hpc_ckpt*"))


def test_a_requeued_job_of_ones_own_task_goes_on_by_what_was_typed(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Path
) -> None:
    (tmp_path / "payload.py").write_text(PAYLOAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "payload", raising=False)
    given = own(demo_stores, tmp_path / "runs", "payload.Task")
    with monkeypatch.context() as patch:
        with_callback(patch, SignalAt(signal.SIGUSR1, 0))
        with pytest.raises(SystemExit) as stop:
            fit.main(given)
    assert stop.value.code == 138
    assert job.read_text() == "requeue 4711\n"
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    fit.fit(given)
    run = RunDirectory(next((tmp_path / "runs").glob("*/*")))
    assert torch.load(run.last, weights_only=True)["global_step"] == 2
    assert (run.path / "metrics.json").is_file()


def test_a_requeue_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch, job: Path) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    (job.parent / "bin" / "scontrol").write_text("#!/bin/sh\necho no such job >&2\nexit 1\n")
    with pytest.raises(fit.UserError, match=r"`scontrol requeue 1` failed \(no such job\); submit the job again"):
        slurm.requeue()
