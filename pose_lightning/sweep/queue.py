"""What there is to run: the trials that a sweep file asks for, those that wait, and what a search tries next."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from optuna.trial import FrozenTrial

from pose_lightning.sweep import search
from pose_lightning.sweep.files import Cell, SweepFile
from pose_lightning.sweep.limits import Limits
from pose_lightning.sweep.search import Engine
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.study import Entry, Study, describe, plain
from pose_lightning.sweep.trials import TrialFolder

Choose = Callable[[], list[str]]
"""Names the cells that a tuned sweep compares, once its tuning trials have ended."""

DRAWS: Final = 20
"""Of a search, before it is said to have no combination left that has not been tried."""


class Queue:
    """The trials of a study that wait, whoever else takes some.

    Args:
        file: The sweep file.
        study: Its trials.
        choose: Names the cells that a tuned sweep compares.
        engine: Of `method: bayes`.
        limits: How often a failed trial waits again, and how long a silent runner is waited for.
        say: Shows a line.
    """

    def __init__(
        self,
        file: SweepFile,
        study: Study,
        *,
        choose: Choose,
        engine: Engine,
        limits: Limits,
        say: Callable[[str], None],
    ) -> None:
        self.file, self.study, self.choose, self.engine = file, study, choose, engine
        self.limits, self.say = limits, say
        self._heard: dict[int, tuple[Any, float]] = {}

    def fill(self) -> None:
        """Let the trials of a grid wait, first all cells with one seed, then with the next."""
        if self.file.method == "grid":
            seeds = self.file.tuning_seeds or self.file.seeds
            self.study.enqueue((cell, seed) for seed in seeds for cell in self.file.cells())

    def extend(self) -> bool:
        """Add what comes next, if it is time for it; whether anything was added."""
        if self.file.method != "grid":
            return self.study.search(self._draw, self.file)
        before = len(self.study.entries())
        if not self.file.tuning_seeds or self.is_open():
            return False
        chosen = self.study.settle("chosen", self.choose)
        fresh = [(cell, seed) for seed in self.file.fresh_seeds for cell in self.file.cells() if cell.name in chosen]
        self.study.enqueue(fresh)
        return len(self.study.entries()) > before

    def is_open(self) -> bool:
        """Whether there is a trial that has not ended."""
        return any(entry.state in ("waiting", "running", "lost") for entry in self.study.entries())

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

    def candidates(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """What may be started: first what somebody has begun, then what waits. Failed and lost trials wait anew."""
        for entry in entries:
            if entry.state == "lost" or (entry.state == "failed" and entry.failures <= self.limits.retry):
                self.study.again(entry)
            elif entry.state == "running" and not self.study.is_here(entry) and self._unheard(entry):
                self.say(f"{describe(entry)}: nothing heard of its runner; it waits again")
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

    def folder(self, entry: Entry) -> TrialFolder:
        """Where a trial lies."""
        return TrialFolder(self.study.folder / "trials" / entry.cell / str(entry.seed))

    def without_survivors(self, free: list[Slot], entries: Sequence[Entry], mine: Collection[int]) -> list[Slot]:
        """The slots that no trial of a runner before this one is in still.

        Args:
            free: Where none of this runner's is.
            entries: All trials.
            mine: This runner's, by id.
        """
        taken = set()
        for entry in entries:
            if entry.state == "running" and entry.id not in mine and self.study.is_here(entry):
                lock = self.folder(entry).grasp()
                if lock is None:
                    taken.add(entry.holder.get("slot"))
                else:
                    os.close(lock)
        return [slot for slot in free if slot.index not in taken]
