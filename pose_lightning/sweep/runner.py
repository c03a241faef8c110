"""Runs the trials of a study in this machine's slots until none is left, whoever else runs some."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from optuna.exceptions import StorageInternalError

from pose_lightning.errors import UserError
from pose_lightning.sweep import keeping
from pose_lightning.sweep.console import Screen, clock
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.limits import Limits
from pose_lightning.sweep.queue import Choose, Queue
from pose_lightning.sweep.search import Engine
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.stopping import told_to_stop
from pose_lightning.sweep.study import Entry, State, Study, describe
from pose_lightning.sweep.trials import Process, TrialFolder, complaint
from pose_lightning.sweep.watch import Watch

Command = Callable[[Entry, Path, bool], list[str]]
"""Makes a trial's command of the trial, its folder, and whether it goes on from a checkpoint."""

Outcome = Callable[[Path], Literal["complete", "diverged"]]
"""Says of a run's directory whether its training diverged."""


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
        self.outcome, self.limits = outcome, limits or Limits()
        self.revision, self.shared = revision, shared
        self.queue = Queue(file, study, choose=choose, engine=engine, limits=self.limits, say=screen.say)
        self.watch = Watch(file, study)
        self.running: list[Process] = []
        self.signals: Sequence[int] = ()
        self._started = 0
        self._done = False
        self._next_watch = self._next_fill = self._next_beat = 0.0
        self._healthy = time.monotonic()

    def run(self) -> bool:
        """Run trials until none is left; false if it was interrupted."""
        with told_to_stop() as self.signals, self.screen:
            try:
                self.queue.fill()
                while not self._ended():
                    self._look()
                    time.sleep(self.limits.poll)
            finally:
                self._abandon()
        return not self.signals

    def _ended(self) -> bool:
        return not self.running and (self._done or bool(self.signals))

    def _look(self) -> None:
        """Once through everything; a database that is away for a while is waited for."""
        try:
            self._reap()
            self._pass_signals_on()
            self._attend()
            self._fill()
            self._healthy = time.monotonic()
        except StorageInternalError as error:
            if keeping.fault(error) is not None:  # of the disk, which no waiting mends
                raise
            away = time.monotonic() - self._healthy
            if away > self.limits.lease / 2:  # before another runner takes these trials for lost
                raise UserError(f"no word from the database for {away:.0f} s; the trials stop: {error}") from error
            self.screen.say(f"the database does not answer ({away:.0f} s)")
            time.sleep(min(2.0, self.limits.lease / 10))

    def _fill(self) -> None:
        """Start trials in the free slots."""
        if self.signals or time.monotonic() < self._next_fill:
            return
        if self._count_reached():
            self._done = not self.running
            return
        free = [slot for slot in self.slots if all(slot is not each.slot for each in self.running)]
        if not free:
            return
        entries, mine = self.study.entries(), {each.entry.id for each in self.running}
        if not self.shared:
            free = self.queue.without_survivors(free, entries, mine)
        for entry in self.queue.candidates(entries):
            if free and entry.id not in mine and not self._count_reached() and self._take(entry, free[0]):
                free.pop(0)
        if not free or self._count_reached():
            return
        if not self.queue.extend():
            self._done = not self.running and not self.queue.is_open()
            self._next_fill = time.monotonic() + min(1.0, self.limits.watch)

    def _count_reached(self) -> bool:
        return self.limits.count is not None and self._started >= self.limits.count

    def _take(self, entry: Entry, slot: Slot) -> bool:
        """Start a trial, or find it finished; false if another runner or a process without one has it."""
        folder = self.queue.folder(entry)
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

    def _attend(self) -> None:
        """Tell other runners of these trials, and stop those that are to end."""
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
            for process in self.watch.stopped_early(self.running):
                process.stop("pruned", grace=self.limits.grace)
            self.screen.show(self.watch.view(self.slots, self.running))

    def _pass_signals_on(self) -> None:
        if not self.signals:
            return
        fresh = [process for process in self.running if process.stopped is None]
        if fresh and len(self.signals) == 1:
            self.screen.say(f"stopping: {len(fresh)} trials write their checkpoints; once more kills them")
        for process in self.running:
            process.stop("interrupted", grace=self.limits.grace)
            if len(self.signals) > 1:
                process.kill()

    def _abandon(self) -> None:
        """Leave nothing running where this runner fails; the next one goes on with it."""
        for process in self.running:
            process.stop("interrupted", grace=0)
        for process in self.running:
            while not process.poll():
                time.sleep(self.limits.poll)
            process.let_go()
