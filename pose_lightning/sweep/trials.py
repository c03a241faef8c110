"""One trial: a run's directory, a lock, and the process that has it."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pose_lightning.files import appending, held_by, make_folder, write_json
from pose_lightning.history import read_metrics
from pose_lightning.reading.raw import is_file, open_regular
from pose_lightning.runs import RunDirectory
from pose_lightning.sweep.locks import grasp, holder
from pose_lightning.sweep.records import read_trial
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.study import Entry, State

MARK: Final = "POSE_LIGHTNING_TRIAL"
"""Environment variable of a trial's processes: the folder that they work in."""

FOREIGN: Final = ("GROUP_RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "RANK")
"""Variables, beside those of PREFIXES, that would make a trial one of a group which the runner belongs to."""

PREFIXES: Final = ("SLURM_", "TORCHELASTIC_", "WORLD_SIZE", "POSE_LIGHTNING_RUN_ID", "WANDB_RUN", "WANDB_SWEEP")

LOG_LINES: Final = 20
"""Of a failed trial's output, kept beside its error."""

_LOG_BYTES: Final = 16_384
_OURS: Final = ("lock", "trial.json", "output.txt")


@dataclass(frozen=True)
class TrialFolder:
    """Where one trial lies: a run's directory, with `lock`, `trial.json` and `output.txt`.

    The trial's process inherits the lock, so that nobody runs it a second time as long as it lives, even without its
    runner.
    """

    path: Path

    def grasp(self) -> int | None:
        """The lock, or None while a process or its runner has it, or somebody trains or scores the run by hand."""
        make_folder(self.path, inside=self.path.parents[2])
        lock = grasp(self.path / "lock")
        if lock is not None and held_by(self.path / ".lock"):
            os.close(lock)
            return None
        return lock

    @property
    def holder(self) -> str:
        """The process that has the trial."""
        return holder(self.path / ".lock") if held_by(self.path / ".lock") else holder(self.path / "lock")

    @property
    def finished(self) -> bool:
        """Whether the run was trained and scored."""
        return (self.path / "metrics.json").is_file()

    @property
    def settled(self) -> State | None:
        """How it ended without being finished, for good, as trial.json has it: `pruned` or `diverged`."""
        path = self.path / "trial.json"
        state = read_trial(path)["state"] if is_file(path) else None
        return state if state in ("pruned", "diverged") else None

    @property
    def resumable(self) -> bool:
        """Whether the run can be gone on with."""
        return (self.path / "config.yaml").is_file() and RunDirectory(self.path).resumable

    def clear(self) -> None:
        """Remove what an attempt without a checkpoint has left."""
        for path in self.path.iterdir():
            if path.name not in _OURS:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def end_of_log(self) -> list[str]:
        """The last lines of the output."""
        path = self.path / "output.txt"
        if not is_file(path):
            return []
        with open_regular(path) as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES))
            text = file.read().decode(errors="replace")
        return [line for line in text.replace("\r", "\n").splitlines() if line.strip()][-LOG_LINES:]

    def history(self, metric: str) -> list[float]:
        """Every finite value of `metric` in metrics.csv, in order; a row that is being written is left out."""
        values = [float(row[metric]) for row in read_metrics(self.path / "metrics.csv") if row.get(metric)]
        return [value for value in values if math.isfinite(value)]

    def record(self, sweep: str, entry: Entry, state: State, **told: Any) -> None:
        """Write trial.json."""
        told = {"error": None, "log_end": [], "peak_memory_bytes": None} | told
        head = {"sweep": sweep, "cell": entry.cell, "seed": entry.seed, "values": dict(entry.values), "state": state}
        write_json(self.path / "trial.json", {**head, **told})

    def end_strays(self) -> None:
        """Kill what is left of a trial whose first process is gone, such as the ranks of a group; on Linux only."""
        mark = f"{MARK}={self.path.resolve()}".encode()
        for environment in Path("/proc").glob("[0-9]*/environ"):
            pid = int(environment.parent.name)
            try:
                if pid != os.getpid() and mark in environment.read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)
            except OSError:  # it has ended, or is another user's
                continue


def environment(slot: Slot, folder: Path) -> dict[str, str]:
    """What a trial's processes get: the runner's variables without those of a group, the slot's, and their mark."""
    kept = {key: value for key, value in os.environ.items() if key not in FOREIGN and not key.startswith(PREFIXES)}
    return {**kept, **slot.environment, "PYTHONUNBUFFERED": "1", MARK: str(folder.resolve())}


@dataclass
class Process:
    """A trial that runs in a slot.

    Attributes:
        entry: The trial in the study.
        folder: Its directory.
        slot: Where it runs.
        lock: Descriptor of the folder's lock; the process has it too.
        command: What was started; nothing where the trial was found finished.
        before: Seconds that earlier attempts took.
        stopped: Why it was told to stop: `interrupted`, `pruned`, `timeout`, `lost`.
        peak_memory_bytes: Of its largest process, once it has ended.
    """

    entry: Entry
    folder: TrialFolder
    slot: Slot
    lock: int
    command: Sequence[str]
    before: float
    stopped: str | None = None
    peak_memory_bytes: int | None = None
    _popen: "subprocess.Popen[bytes] | None" = None
    _began: float = field(default_factory=time.monotonic)
    _ended: float | None = None
    _kill_at: float = math.inf

    def start(self, extra: Mapping[str, str] | None = None) -> None:
        """Start the command in a group of its own: the terminal's Ctrl-C is the runner's to pass on."""
        with appending(self.folder.path / "output.txt") as output:
            output.write(f"$ {' '.join(self.command)}\n")
            output.flush()
            self._popen = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**environment(self.slot, self.folder.path), **(extra or {})},
                start_new_session=True,
                pass_fds=(self.lock,),
            )

    def poll(self) -> bool:
        """Whether it has ended; kills it where it was told to stop and has not."""
        popen = self._popen
        if popen is None or popen.returncode is not None:
            return True
        pid, status, usage = os.wait4(popen.pid, os.WNOHANG)
        if pid:
            popen.returncode = os.waitstatus_to_exitcode(status)
            self.peak_memory_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            self._ended = time.monotonic()
            if popen.returncode:
                self.kill()  # ranks that have lost their first
            return True
        if time.monotonic() > self._kill_at:
            self.kill()
        return False

    @property
    def status(self) -> int:
        """Its exit status, negative where a signal ended it."""
        return 0 if self._popen is None else int(self._popen.returncode)

    @property
    def running_seconds(self) -> float:
        """How long this attempt takes or took."""
        return 0.0 if self._popen is None else (self._ended or time.monotonic()) - self._began

    @property
    def seconds(self) -> float:
        """How long all attempts took."""
        return self.before + self.running_seconds

    def stop(self, why: str, *, grace: float) -> None:
        """Let it checkpoint and end; kill it after `grace` seconds."""
        if self._popen is None or self.stopped is not None:
            return
        self.stopped = why
        self._kill_at = time.monotonic() + grace
        if self._popen.returncode is None:
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and its group at once."""
        self._kill_at = math.inf
        if self._popen is not None:
            try:
                os.killpg(self._popen.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return

    def let_go(self) -> None:
        """Give the lock back."""
        os.close(self.lock)


def complaint(process: Process, *, timeout: float | None) -> str:
    """Why a trial failed, in one line."""
    if process.stopped == "timeout":
        return f"stopped after --timeout {timeout:g} s"
    status = process.status
    if status < 0:
        name = signal.Signals(-status).name
        return f"ended by {name}{', as when memory runs out' if name == 'SIGKILL' else ''}"
    last = process.folder.end_of_log()[-1:]
    return f"exit status {status}{': ' if last else ''}{''.join(last)}"
