"""What running trials have logged: for whoever looks on, and for stopping early what is not among the best."""

from collections import Counter
from collections.abc import Iterator, Sequence

from pose_lightning.sweep import search
from pose_lightning.sweep.console import Row, View
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.slots import Slot
from pose_lightning.sweep.study import Study, describe
from pose_lightning.sweep.trials import Process


class Watch:
    """Follows the metric of running trials.

    Args:
        file: The sweep file.
        study: Its trials.
    """

    def __init__(self, file: SweepFile, study: Study) -> None:
        self.file, self.study = file, study
        self._values: dict[int, tuple[float, list[float]]] = {}

    def history(self, process: Process) -> list[float]:
        """The metric so far; the file is read again where it has changed."""
        path = process.folder.path / "metrics.csv"
        changed = path.stat().st_mtime if path.is_file() else 0.0
        if process.entry.id not in self._values or self._values[process.entry.id][0] != changed:
            self._values[process.entry.id] = changed, process.folder.history(self.file.metric)
        return self._values[process.entry.id][1]

    def stopped_early(self, running: Sequence[Process]) -> Iterator[Process]:
        """Tell the study what has been logged; yields what hyperband stops, if the file asks for it."""
        if (rule := self.file.early_terminate) is None:
            return
        for process in running:
            self.study.report(process.entry, self.history(process))
        histories = [entry.history for entry in self.study.entries()]
        for process in running:
            if search.should_stop(self.history(process), histories, rule, goal=self.file.goal):
                yield process

    def view(self, slots: Sequence[Slot], running: Sequence[Process]) -> View:
        """The sweep as it stands."""
        entries = self.study.entries()
        rows = []
        for slot in slots:
            here = next((each for each in running if each.slot is slot), None)
            if here is None:
                rows.append(Row(slot.label, "", None, None))
            else:
                value = self.history(here)[-1:]
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
            left=sum(open_seconds) / len(slots) if took else None,
        )
