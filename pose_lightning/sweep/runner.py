"""Runs the trials of a study in this machine's slots until none is left, whoever else runs some."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, Literal

from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial

from pose_lightning.errors import UserError
from pose_lightning.sweep import search
from pose_lightning.sweep.console import Row, Screen, View, clock
from pose_lightning.sweep.files import Cell, SweepFile
from pose_lightning.sweep.search import Engine
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.study import Entry, State, Study, describe, plain
from pose_lightning.sweep.trials import Process, TrialFolder, complaint

Command = Callable[[Entry, Path, bool], list[str]]
"""Makes a trial's command of the trial, its folder, and whether it goes on from a checkpoint."""

Outcome = Callable[[Path], Literal["complete", "diverged"]]
"""Says of a run's directory whether its training diverged."""

Choose = Callable[[], list[str]]
"""Names the cells that a tuned sweep compares, once its tuning trials have ended."""

DRAWS: Final = 20
"""Of a search, before it is said to have no combination left that has not been tried."""

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Limits:
    """How far a runner goes.

    Attributes:
        count: Trials that it starts at most.
        retry: How often a failed trial is run again.
        timeout: Seconds that one attempt of a trial may take.
        grace: Seconds that a trial has for its checkpoint, once told to stop.
        lease: Seconds after which the trial of a runner on another machine, of which nothing is heard, is lost.
        poll: Seconds between two looks at the processes.
        watch: Seconds between two looks at what they have logged, and at the study.
    """

    count: int | None = None
    retry: int = 0
    timeout: float | None = None
    grace: float = 60.0
    lease: float = 120.0
    poll: float = 0.2
    watch: float = 5.0


class Runner:
    """One runner of a study.

    Args:
        file: The sweep file.
        study: Its trials.
        command: Makes a trial's command.
        slots: Where trials run.
        screen: Where to show them.
        outcome: Says whether a run diverged.
        choose: Names the cells that a tuned sweep compares.
        limits: How far it goes.
        engine: Of `method: bayes`.
        revision: Of the program, for the records.
        shared: Whether other runners are at work on this machine.
    """

    def __init__(
        self,
        file: SweepFile,
        study: Study,
        command: Command,
        *,
        slots: Sequence[Slot],
        screen: Screen,
        outcome: Outcome,
        choose: Choose,
        limits: Limits | None = None,
        engine: Engine = "tpe",
        revision: str | None = None,
        shared: bool = False,
    ) -> None:
        self.file, self.study, self.command = file, study, command
        self.slots, self.screen = slots, screen
        self.outcome, self.choose = outcome, choose
        self.limits, self.engine = limits or Limits(), engine
        self.revision, self.shared = revision, shared
        self.running: list[Process] = []
        self.interrupts = 0
        self._started = 0
        self._done = False
        self._heard: dict[int, tuple[Any, float]] = {}
        self._next_watch = self._next_fill = self._next_beat = 0.0
        self._healthy = time.monotonic()
        self._values: dict[int, tuple[float, list[float]]] = {}

    def run(self) -> bool:
        """Run trials until none is left; false if it was interrupted."""
        with self._signals(), self.screen:
            try:
                self._enqueue()
                while not self._ended():
                    self._look()
                    time.sleep(self.limits.poll)
            finally:
                self._abandon()
        return not self.interrupts

    def _ended(self) -> bool:
        return not self.running and (self._done or self.interrupts > 0)

    def _look(self) -> None:
        """Once through everything; a database that is away for a while is waited for."""
        try:
            self._reap()
            self._pass_signals_on()
            self._watch()
            self._fill()
            self._healthy = time.monotonic()
        except StorageInternalError as error:
            away = time.monotonic() - self._healthy
            if away > self.limits.lease / 2:  # before another runner takes these trials for lost
                raise UserError(f"no word from the database for {away:.0f} s; the trials stop: {error}") from error
            self.screen.say(f"the database does not answer ({away:.0f} s)")
            time.sleep(min(2.0, self.limits.lease / 10))

    # What there is to do

    def _enqueue(self) -> None:
        """Let the trials of a grid wait, first all cells with one seed, then with the next."""
        if self.file.method == "grid":
            seeds = self.file.tuning_seeds or self.file.seeds
            self.study.enqueue((cell, seed) for seed in seeds for cell in self.file.cells())

    def _extend(self, entries: Sequence[Entry]) -> bool:
        """Add what comes next, if it is time for it; whether anything was added."""
        if self.file.method != "grid":
            return self.study.search(self._draw, self.file)
        if not self.file.tuning_seeds or _open(entries):
            return False
        chosen = self.study.settle("chosen", self.choose)
        fresh = [(cell, seed) for seed in self.file.fresh_seeds for cell in self.file.cells() if cell.name in chosen]
        self.study.enqueue(fresh)
        return len(self.study.entries()) > len(entries)

    def _draw(self, trials: list[FrozenTrial]) -> tuple[Cell, Mapping[str, Any]] | None:
        """A combination that was not tried yet, and what Optuna drew for it."""
        if self.file.run_cap is not None and len(trials) >= self.file.run_cap:
            return None
        tried = {trial.user_attrs["cell"] for trial in trials}
        for attempt in range(DRAWS):
            drawn = search.suggest(
                trials,
                self.file.distributions(),
                method=self.file.method,
                goal=self.file.goal,
                engine=self.engine,
                seed=len(trials) * DRAWS + attempt,
            )
            cell = self.file.cell(plain(self.file.decode(drawn)))
            if cell.name not in tried:
                return cell, drawn
        return None

    def _fill(self) -> None:
        """Start trials in the free slots."""
        if self.interrupts or time.monotonic() < self._next_fill:
            return
        if self._count_reached():
            self._done = not self.running
            return
        free = [slot for slot in self.slots if all(slot is not each.slot for each in self.running)]
        if not free:
            return
        entries = self.study.entries()
        free = self._without_survivors(free, entries)
        mine = {each.entry.id for each in self.running}
        for entry in self._candidates(entries):
            if free and entry.id not in mine and not self._count_reached() and self._take(entry, free[0]):
                free.pop(0)
        if not free or self._count_reached():
            return
        if not self._extend(self.study.entries()):
            self._done = not self.running and not _open(self.study.entries())
            self._next_fill = time.monotonic() + min(1.0, self.limits.watch)

    def _candidates(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """What may be started: first what somebody has begun, then what waits. Failed and lost trials wait anew."""
        for entry in entries:
            if entry.state == "lost" or (entry.state == "failed" and entry.failures <= self.limits.retry):
                self.study.again(entry)
            elif entry.state == "running" and not self.study.is_here(entry) and self._unheard(entry):
                self.screen.say(f"{describe(entry)}: nothing heard of its runner; it waits again")
                self.study.lose(entry)
        now = self.study.entries()
        yield from (entry for entry in now if entry.state == "running" and self.study.is_here(entry))
        yield from (entry for entry in now if entry.state == "waiting")

    def _unheard(self, entry: Entry) -> bool:
        """Whether a runner elsewhere has been silent too long, by this machine's own clock."""
        beat, now = entry.holder.get("beat"), time.monotonic()
        if entry.id not in self._heard or self._heard[entry.id][0] != beat:
            self._heard[entry.id] = beat, now
        return now - self._heard[entry.id][1] > self.limits.lease

    def _without_survivors(self, free: list[Slot], entries: Sequence[Entry]) -> list[Slot]:
        """The slots that no trial of a runner before this one is in still."""
        if self.shared:
            return free
        mine = {each.entry.id for each in self.running}
        taken = set()
        for entry in entries:
            if entry.state == "running" and entry.id not in mine and self.study.is_here(entry):
                lock = self._folder(entry).grasp()
                if lock is None:
                    taken.add(entry.holder.get("slot"))
                else:
                    os.close(lock)
        return [slot for slot in free if slot.index not in taken]

    def _count_reached(self) -> bool:
        return self.limits.count is not None and self._started >= self.limits.count

    # One trial

    def _folder(self, entry: Entry) -> TrialFolder:
        return TrialFolder(self.study.folder / "trials" / entry.cell / str(entry.seed))

    def _take(self, entry: Entry, slot: Slot) -> bool:
        """Start a trial, or find it finished; false if another runner or a process without one has it."""
        folder = self._folder(entry)
        lock = folder.grasp()
        if lock is None:
            return False
        process = None
        try:
            held = self.study.claim(entry, slot.index) if entry.state == "waiting" else self._inherit(entry, slot)
            if held is None:
                return False
            process = self._start(held, folder, slot, lock)
            self.running.append(process)
        finally:
            if process is None:
                os.close(lock)
        return True

    def _inherit(self, entry: Entry, slot: Slot) -> Entry | None:
        """The trial of a runner that is gone; its lock, which is free, says so."""
        return self.study.hold(entry, slot.index) if self.study.is_running(entry) else None

    def _start(self, entry: Entry, folder: TrialFolder, slot: Slot, lock: int) -> Process:
        folder.end_strays()
        if folder.finished or folder.settled:  # it outlived its runner, or a W&B server had it, or the study was lost
            return Process(entry, folder, slot, lock, [], entry.seconds)
        resume = folder.resumable
        if not resume:
            folder.clear()
        process = Process(entry, folder, slot, lock, self.command(entry, folder.path, resume), entry.seconds)
        self.study.started(entry)
        process.start()
        self._started += 1
        self._record(process, "running")
        self.screen.say(f"{describe(entry)}: {'goes on' if resume else 'starts'} on {slot.label}")
        return process

    def _reap(self) -> None:
        """Settle what has ended."""
        for process in [each for each in self.running if each.poll()]:
            if process.stopped != "lost":
                self._settle(process)
            process.let_go()
            self.running.remove(process)
            self._next_fill = 0.0

    def _settle(self, process: Process) -> None:
        """Say in the study and in trial.json how a trial ended."""
        entry, folder = process.entry, process.folder
        history = folder.history(self.file.metric)
        found = None if process.command or folder.finished else folder.settled
        state, error = (found, "as it was found") if found else self._judge(process, history)
        failures = entry.failures + (state == "failed")
        again = state == "failed" and failures <= self.limits.retry
        self._record(process, state, error=error)
        if self.file.early_terminate is not None:
            self.study.report(entry, history)
        if state == "waiting" or again:
            self.study.release(entry, failures=failures, seconds=process.seconds)
        else:
            value = history[-1] if state == "complete" else None
            self.study.finish(entry, state, value=value, failures=failures, seconds=process.seconds)
        tail = f": {error}" if error else f", {self.file.metric} {history[-1]:.4g}" if history else ""
        word = "stopped; it goes on next time" if state == "waiting" else state
        done = f"{describe(entry)}: {word}{tail} ({clock(process.seconds)}){'; it runs again' if again else ''}"
        self.screen.say(done)
        if state == "failed" and not again:
            self.screen.say("\n".join(f"    {line}" for line in folder.end_of_log()))

    def _judge(self, process: Process, history: Sequence[float]) -> tuple[State, str | None]:
        """How it ended, and why."""
        path, finished = process.folder.path, process.folder.finished
        if process.status == 0 and (process.stopped is None or finished):
            if self.outcome(path) == "diverged":
                return "diverged", "its loss or its metric is no number, or its maps are empty"
            return ("complete", None) if history else ("failed", f"it has logged no {self.file.metric}")
        if process.stopped == "interrupted":
            return "waiting", None
        if process.stopped == "pruned":
            return "pruned", "stopped early: not among the best at its iteration"
        if process.stopped is None and self.outcome(path) == "diverged":
            return "diverged", complaint(process, timeout=self.limits.timeout)
        return "failed", complaint(process, timeout=self.limits.timeout)

    def _record(self, process: Process, state: State, error: str | None = None) -> None:
        entry = process.entry
        process.folder.record(
            self.study.folder.name,
            entry,
            state,
            error=error,
            log_end=process.folder.end_of_log() if state == "failed" else [],
            attempts=entry.attempts + bool(process.command),
            seconds=round(process.seconds, 3),
            command=list(process.command),
            revision=self.revision,
            peak_memory_bytes=process.peak_memory_bytes,
        )

    # While they run

    def _watch(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = now + self.limits.lease / 8
            for process in self.running:
                if self.study.hold(process.entry, process.slot.index) is None:
                    self.screen.say(f"{describe(process.entry)}: another runner took it for lost and has it now")
                    process.stop("lost", grace=0)
        for process in self.running:
            if self.limits.timeout is not None and process.running_seconds > self.limits.timeout:
                process.stop("timeout", grace=self.limits.grace)
        if now >= self._next_watch:
            self._next_watch = now + self.limits.watch
            if self.file.early_terminate is not None:
                self._stop_early(self.file.early_terminate)
            self.screen.show(self._view())

    def _stop_early(self, rule: Mapping[str, Any]) -> None:
        """Tell the study what has been logged, and stop what hyperband stops."""
        for process in self.running:
            self.study.report(process.entry, self._history(process))
        histories = [entry.history for entry in self.study.entries()]
        for process in self.running:
            if search.should_stop(self._history(process), histories, rule, goal=self.file.goal):
                process.stop("pruned", grace=self.limits.grace)

    def _history(self, process: Process) -> list[float]:
        """The metric so far; the file is read again where it has changed."""
        path = process.folder.path / "metrics.csv"
        changed = path.stat().st_mtime if path.is_file() else 0.0
        if process.entry.id not in self._values or self._values[process.entry.id][0] != changed:
            self._values[process.entry.id] = changed, process.folder.history(self.file.metric)
        return self._values[process.entry.id][1]

    def _view(self) -> View:
        entries = self.study.entries()
        rows = []
        for slot in self.slots:
            here = next((each for each in self.running if each.slot is slot), None)
            if here is None:
                rows.append(Row(slot.label, "", None, None))
            else:
                value = self._history(here)[-1:]
                rows.append(Row(slot.label, describe(here.entry), here.seconds, value[0] if value else None))
        scored = [entry for entry in entries if entry.value is not None]
        sign = 1 if self.file.goal == "maximize" else -1
        best = max(scored, key=lambda entry: sign * float(entry.value or 0.0), default=None)
        took = [entry.seconds for entry in entries if entry.state == "complete" and entry.seconds]
        open_seconds = [
            max(0.0, sum(took) / len(took) - entry.seconds)
            for entry in entries
            if took and entry.state in ("waiting", "running")
        ]
        return View(
            rows=rows,
            counts=dict(Counter(entry.state for entry in entries)),
            best=f"{describe(best)} {best.value:.4g}" if best is not None else "",
            left=sum(open_seconds) / len(self.slots) if took else None,
        )

    # Interruption

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Count interruptions instead of raising them; a signal that was ignored, as under nohup, stays so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = {each: signal.getsignal(each) for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN}

        def count(number: int, frame: FrameType | None) -> None:
            self.interrupts += 1

        for each in taken:
            signal.signal(each, count)
        try:
            yield
        finally:
            for each, handler in taken.items():
                signal.signal(each, handler)

    def _pass_signals_on(self) -> None:
        if not self.interrupts:
            return
        fresh = [process for process in self.running if process.stopped is None]
        if fresh and self.interrupts == 1:
            self.screen.say(f"stopping: {len(fresh)} trials write their checkpoints; once more kills them")
        for process in self.running:
            process.stop("interrupted", grace=self.limits.grace)
            if self.interrupts > 1:
                process.kill()

    def _abandon(self) -> None:
        """Leave nothing running where this runner fails; the next one goes on with it."""
        for process in self.running:
            process.stop("interrupted", grace=0)
        for process in self.running:
            while not process.poll():
                time.sleep(self.limits.poll)
            process.let_go()


def _open(entries: Sequence[Entry]) -> bool:
    """Whether there is a trial that has not ended."""
    return any(entry.state in ("waiting", "running", "lost") for entry in entries)
