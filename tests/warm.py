"""Doors in forked children of one warm process, which has imported everything once: `python -m tests.warm` is that one.

It reads lines of JSON, each a list of jobs that are released together, and answers each with a list of outcomes.
"""

import errno
import gc
import importlib
import json
import os
import pkgutil
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[1]
DOORS: Final = {
    "browse": "pose_lightning.browse.__main__",
    "compare": "pose_lightning.sweep.compare",
    "convert": "pose_lightning.convert.__main__",
    "evaluate": "pose_lightning.evaluate",
    "export": "pose_lightning.export.door",
    "fit": "pose_lightning.fit",
    "predict": "pose_lightning.predict.door",
    "published": "pose_lightning.heatmap.published",
    "report": "pose_lightning.report.__main__",
    "store": "pose_lightning.store.__main__",
    "sweep": "pose_lightning.sweep.__main__",
}
LATE: Final = ("av", "cdflib", "matplotlib.pyplot", "onnxruntime", "onnxscript", "safetensors.torch", "torch.onnx")
"""Modules that the doors import when they need them."""

MEMORY: Final = 1 << 30
"""Bytes over its start that a door may take."""


@dataclass(frozen=True)
class Job:
    """A door and its command line.

    Attributes:
        door: Key of `DOORS`.
        args: Its arguments.
        folder: Its working directory.
        seconds: After so many it is killed.
        largest_file: Bytes beyond which no file grows.
        failing: Name of a function of `os` that fails with `error`: no disk fails when it is asked to.
        error: An error number.
    """

    door: str
    args: Sequence[str]
    folder: str = "."
    seconds: float = 10.0
    largest_file: int | None = None
    failing: str | None = None
    error: int = errno.ENOSPC


@dataclass(frozen=True)
class Outcome:
    """How a door ended: its exit code (negative: the signal that ended it), and its output.

    Attributes:
        code: As of `subprocess`.
        out: Standard output.
        err: Standard error.
        peak: Bytes that it took over its start.
        killed: "time" or "memory", where a limit ended it.
        seconds: From its release to its end.
    """

    code: int
    out: str
    err: str
    peak: int
    killed: str | None
    seconds: float

    @property
    def fault(self) -> str | None:
        """The kind of failure, or None where the door did its work, or refused it in one line."""
        if self.killed is not None or self.peak > MEMORY:
            return {"time": "hang"}.get(self.killed or "", "memory")
        if self.code < 0:
            return f"signal {signal.Signals(-self.code).name}"
        if "Traceback (most recent call last)" in self.err or "Traceback (most recent call last)" in self.out:
            return "traceback"
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        if self.code == 0 or (self.code == 2 and len(lines) == 1):
            return None
        return f"exit code {self.code}, {len(lines)} lines of error"


class Warm:
    """The warm process, for a test."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "WANDB_MODE": "offline",
            "COLUMNS": "200",
            "PYTHONPATH": str(ROOT),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *jobs: Job) -> list[Outcome]:
        """Release jobs together, and wait for all."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([asdict(job) for job in jobs]) + "\n")
        self._process.stdin.flush()
        return [Outcome(**entry) for entry in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def warm() -> Iterator[Warm]:
    """The warm process, until the end of the block."""
    process = Warm()
    try:
        yield process
    finally:
        process.close()


@dataclass
class _Child:
    pid: int
    pipes: tuple[int, int]
    start: int
    begun: float
    written: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    killed: str | None = None
    status: int | None = None
    peak: int = 0
    end: float = field(default=0.0)


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in (*DOORS.values(), *LATE):
        importlib.import_module(name)
    for kind in importlib.import_module("pose_lightning.kinds").KINDS:  # a door imports them when it needs them
        for part in pkgutil.iter_modules(importlib.import_module(kind.folder).__path__, f"{kind.folder}."):
            importlib.import_module(part.name)
    for name in ("cv2", "torch"):
        module: Any = importlib.import_module(name)
        (module.setNumThreads if name == "cv2" else module.set_num_threads)(1)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        answers.write(json.dumps(_together([Job(**entry) for entry in json.loads(line)])) + "\n")
        answers.flush()
    os._exit(0)  # taking every module down takes seconds


def _together(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    barrier, release = os.pipe()
    children = []
    for job in jobs:
        pipes = os.pipe(), os.pipe()
        if (pid := os.fork()) == 0:
            os.close(release)
            _be(job, (pipes[0][1], pipes[1][1]), barrier)
        for read, write in pipes:
            os.close(write)
            os.set_blocking(read, False)
        children.append(_Child(pid, (pipes[0][0], pipes[1][0]), _resident(os.getpid()), time.monotonic()))
    os.close(barrier)
    os.close(release)
    for child in children:
        child.begun = time.monotonic()
    _wait(children, [job.seconds for job in jobs])
    return [_outcome(child) for child in children]


def _wait(children: Sequence[_Child], limits: Sequence[float]) -> None:
    while any(child.status is None for child in children):
        for child, limit in zip(children, limits, strict=True):
            if child.status is not None:
                continue
            _drain(child)
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                child.status, child.end = os.waitstatus_to_exitcode(status), time.monotonic()
                child.peak = max(usage.ru_maxrss * 1024 - child.start, 0)
                _kill_group(child.pid)
            elif time.monotonic() - child.begun > limit:
                child.killed = "time"
                _kill_group(child.pid)
            elif _resident(child.pid) - child.start > 2 * MEMORY:
                child.killed = "memory"
                _kill_group(child.pid)
        time.sleep(0.003)


def _drain(child: _Child) -> None:
    for pipe, written in zip(child.pipes, child.written, strict=True):
        with suppress(BlockingIOError):
            while data := os.read(pipe, 1 << 16):
                written.extend(data)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def _outcome(child: _Child) -> dict[str, Any]:
    _drain(child)
    for pipe in child.pipes:
        os.close(pipe)
    out, err = (bytes(written).decode(errors="replace") for written in child.written)
    code = child.status if child.status is not None else 0
    return asdict(Outcome(code, out, err, child.peak, child.killed, child.end - child.begun))


def _be(job: Job, outputs: tuple[int, int], barrier: int) -> NoReturn:
    """Become a door: as `python -m` runs it."""
    code: Any = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, pipe in zip((1, 2), outputs, strict=True):
            os.dup2(pipe, number)
            os.close(pipe)
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115
        sys.stdout, sys.stderr = (os.fdopen(n, "w", errors="backslashreplace", closefd=False) for n in (1, 2))
        random.seed()
        sys.argv = [f"pose_lightning.{job.door}", *job.args]
        os.chdir(job.folder)
        os.read(barrier, 1)
        _provoke(job)
        code = importlib.import_module(DOORS[job.door]).main(list(job.args))
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    try:
        if isinstance(code, str):
            print(code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _provoke(job: Job) -> None:
    if job.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.largest_file, job.largest_file))
    if job.failing is not None:

        def fail(*_: Any, **__: Any) -> NoReturn:
            raise OSError(job.error, os.strerror(job.error))

        setattr(os, job.failing, fail)


if __name__ == "__main__":
    _serve()
