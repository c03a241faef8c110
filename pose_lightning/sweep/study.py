"""The trials of a sweep in a database, which any number of runners share.

Optuna keeps them. A runner takes a trial by setting it from waiting to running, which a database server does for one of
many; where the trials' folder is shared, the lock in it decides (see `trials`). Optuna's own heartbeats serve
`Study.optimize` only, so runners on other machines are watched by a counter of ours. An ended trial never changes: one
that is run again gets a successor, and where two runners made one at once, the older counts. So whatever a killed
runner left undone, the next one does, and doing it twice changes nothing.
"""

import json
import secrets
import socket
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, get_args

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from pose_lightning.errors import UserError
from pose_lightning.files import refuse_link
from pose_lightning.reading.configs import LARGEST
from pose_lightning.reading.raw import read_text
from pose_lightning.reading.records import is_number, misfit, optional
from pose_lightning.sweep.files import Cell, SweepFile
from pose_lightning.sweep.keeping import ANEW, database, place, reading, refuse_other, texts, write_about
from pose_lightning.sweep.locks import locked

State = Literal["waiting", "running", "complete", "failed", "diverged", "pruned", "lost"]
"""Of a trial; `lost` is one whose runner is gone, and which has a successor, or will have."""

_ENDED: Final = {
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "diverged": TrialState.PRUNED,  # a search then takes it for worse than any that is complete
    "pruned": TrialState.PRUNED,
    "lost": TrialState.FAIL,
}

_TRIAL: Final = {
    "cell": str,
    "seed": int,
    "values": dict,
    "attempts?": int,
    "after?": optional(int),
    "ended?": {"outcome?": lambda value: value in get_args(State), "failures": int, "seconds": is_number},
    "holder?": {"place": str, "host": str, "slot": int, "beat": str},
}
"""Shape of what a trial says of itself."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Entry:
    """One trial as the database has it.

    Attributes:
        id: Optuna's.
        number: In the order of their making.
        cell: The cell's name.
        seed: Of the trial.
        values: Of the varied parameters.
        state: See `State`.
        attempts: How often it was started.
        failures: How often it failed.
        holder: Who runs it, or ran it last: `place`, `host`, `slot`, and a `beat` that changes while it does.
        value: The last value of the metric, of a complete trial.
        history: Values of the metric as far as they were reported.
        seconds: How long it ran, over all attempts.
    """

    id: int
    number: int
    cell: str
    seed: int
    values: Mapping[str, Any]
    state: State
    attempts: int
    failures: int
    holder: Mapping[str, Any]
    value: float | None
    history: tuple[float, ...]
    seconds: float


def host() -> str:
    """This machine, as long as it is up."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()}-{boot.read_text()[:8] if boot.is_file() else 'boot'}"


class Study:
    """A sweep's trials, as all its runners see them.

    Args:
        file: The sweep file.
        folder: Where the sweep lies on this machine.
        study: Optuna's.
        storage: What it is kept in.
    """

    def __init__(self, file: SweepFile, folder: Path, study: optuna.Study, storage: RDBStorage) -> None:
        self.file, self.folder, self.study, self.storage = file, folder, study, storage
        self.place = place(folder)
        self.host = host()
        self._runner, self._beats = secrets.token_hex(4), 0

    @classmethod
    def open(cls, file: SweepFile, folder: Path, *, layers: Sequence[str], storage: str | None = None) -> Self:
        """The sweep's study, made if it is not there yet.

        Args:
            file: The sweep file.
            folder: `runs/sweeps/NAME`.
            layers: Arguments for the experiment and its demo layer.
            storage: URL of a database that other machines reach too; without it, SQLite in the folder.

        Raises:
            UserError: If the study there is another sweep's, or the database cannot be opened.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "study.lock"):
            now = texts(file, layers)
            refuse_link(kept := folder / "sweep.yaml")  # a difference from it is printed
            if kept.is_file():
                refuse_other(folder, {file.path.name: read_text(kept, LARGEST)}, {file.path.name: file.text})
            opened = database(storage, folder)
            with reading(folder):
                study = optuna.create_study(
                    study_name=folder.name, storage=opened, direction=file.goal, load_if_exists=True
                )
                known = study.user_attrs
            if reason := misfit(known, {"token?": str, "texts?": {...: str}, "chosen?": [str]}):
                raise UserError(f"the study of {folder} is damaged: {reason}; {ANEW}")
            if "texts" in known:
                refuse_other(folder, known["texts"], now)
            else:
                study.set_user_attr("token", secrets.token_hex(4))
                study.set_user_attr("texts", now)
            write_about(file, folder, layers)
        return cls(file, folder, study, opened)

    def close(self) -> None:
        """Let go of the database."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    @property
    def token(self) -> str:
        """What tells this study's W&B runs from those of another of its name."""
        return str(self.study.user_attrs["token"])

    def entries(self) -> list[Entry]:
        """Every trial once, in the order of their making: of a trial and its successors, the last."""
        followers: dict[int | None, dict[tuple[str, int], FrozenTrial]] = defaultdict(dict)
        for trial in self._trials():
            told = trial.user_attrs
            followers[told.get("after")].setdefault((told["cell"], told["seed"]), trial)
        found = []
        for key, root in followers[None].items():
            last = root
            while key in followers.get(last._trial_id, {}):
                last = followers[last._trial_id][key]
            found.append(_entry(last))
        return found

    def frozen(self) -> list[FrozenTrial]:
        """The trials as Optuna keeps them, for a search to learn from."""
        counted = {entry.id for entry in self.entries()}
        return [trial for trial in self._trials() if trial._trial_id in counted]

    def enqueue(self, wanted: Iterable[tuple[Cell, int]]) -> None:
        """Add the trials, each a cell with a seed, that are not there yet."""
        with locked(self.folder / "study.lock"):
            there = {(entry.cell, entry.seed) for entry in self.entries()}
            for cell, seed in wanted:
                if (cell.name, seed) not in there:
                    self._add(cell.name, seed, cell.values)

    def search(
        self, draw: Callable[[list[FrozenTrial]], tuple[Cell, Mapping[str, Any]] | None], file: SweepFile
    ) -> bool:
        """Add the trial that `draw` makes of those so far, unless one waits already; whether it did."""
        with locked(self.folder / "study.lock"):
            if any(entry.state == "waiting" for entry in self.entries()):
                return False
            drawn = draw(self.frozen())
            if drawn is None:
                return False
            cell, params = drawn
            self._add(cell.name, file.seeds[0], cell.values, params, file.distributions())
            return True

    def again(self, entry: Entry) -> None:
        """Add a successor of a trial that failed or was lost, unless it has one."""
        with locked(self.folder / "study.lock"):
            if any(trial.user_attrs.get("after") == entry.id for trial in self._trials()):
                return
            old = self.storage.get_trial(entry.id)
            kept = {key: old.user_attrs[key] for key in ("attempts", "ended") if key in old.user_attrs}
            self._add(entry.cell, entry.seed, entry.values, old.params, old.distributions, **kept, after=entry.id)

    def claim(self, entry: Entry, slot: int) -> Entry | None:
        """Take a waiting trial; None if another runner was faster. Ask for its folder's lock first."""
        if self.storage.get_trial(entry.id).state != TrialState.WAITING:
            return None
        if not self.storage.set_trial_state_values(entry.id, TrialState.RUNNING):
            return None
        return self.hold(entry, slot)

    def hold(self, entry: Entry, slot: int) -> Entry | None:
        """Say that this runner runs the trial, now; as it is in the study, or None if it has ended there."""
        self._beats += 1
        beat = f"{self._runner}-{self._beats}"
        if not self._set(entry, holder={"place": self.place, "host": self.host, "slot": slot, "beat": beat}):
            return None
        now = _entry(self.storage.get_trial(entry.id))
        return now if now.state == "running" else None

    def started(self, entry: Entry) -> bool:
        """Count an attempt."""
        return self._set(entry, attempts=entry.attempts + 1)

    def is_here(self, entry: Entry) -> bool:
        """Whether the trial's folder is this one, so that its lock says whether it runs."""
        if not entry.holder:
            return self.storage.engine.name == "sqlite"
        return entry.holder["place"] == self.place and entry.holder["host"] == self.host

    def is_running(self, entry: Entry) -> bool:
        """Whether the database still says that the trial runs; another runner may have given it up for lost."""
        return self.storage.get_trial(entry.id).state == TrialState.RUNNING

    def report(self, entry: Entry, history: Sequence[float]) -> None:
        """Add values of the metric that were not reported yet."""
        try:
            for step in range(len(entry.history), len(history)):
                self.storage.set_trial_intermediate_value(entry.id, step, history[step])
        except UpdateFinishedTrialError:
            return

    def release(self, entry: Entry, *, failures: int, seconds: float) -> None:
        """Let the trial wait again, to be gone on with."""
        if self._set(entry, ended={"failures": failures, "seconds": seconds}):
            self._end(entry, TrialState.WAITING, None)

    def finish(self, entry: Entry, state: State, *, value: float | None, failures: int, seconds: float) -> None:
        """End the trial; it never changes again."""
        if self._set(entry, ended={"outcome": state, "failures": failures, "seconds": seconds}):
            self._end(entry, _ENDED[state], value)

    def lose(self, entry: Entry) -> None:
        """Give up a trial whose runner is gone, and let a successor wait; of many runners, one does it."""
        ended = {"outcome": "lost", "failures": entry.failures, "seconds": entry.seconds}
        if self._set(entry, ended=ended) and self._end(entry, TrialState.FAIL, None):
            self.again(entry)

    def settle(self, key: str, make: Callable[[], Result]) -> Result:
        """A decision about the whole study: made once, then kept."""
        with locked(self.folder / "study.lock"):
            if key not in self.study.user_attrs:
                self.study.set_user_attr(key, make())
            return self.study.user_attrs[key]

    def _trials(self) -> list[FrozenTrial]:
        with reading(self.folder):
            trials = self.study.get_trials(deepcopy=False)
        for trial in trials:
            self._check(trial.user_attrs)
        return sorted(trials, key=lambda trial: (trial.number, trial._trial_id))

    def _check(self, told: Mapping[str, Any]) -> None:
        """Refuse a trial that this sweep has not made: the database may come from somebody else.

        Raises:
            UserError: If it has not.
        """
        if reason := misfit(dict(told), _TRIAL):
            raise UserError(f"the study of {self.folder} is damaged: of a trial, {reason}; {ANEW}")
        cell, seed, values = told["cell"], told["seed"], told["values"]
        if not self.file.holds(cell, seed, values):
            raise UserError(
                f"the study of {self.folder} has the trial {cell[:100]!r} with seed {seed}, which is none of "
                f"{self.file.path}; {ANEW}"
            )

    def _add(
        self,
        cell: str,
        seed: int,
        values: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        distributions: Mapping[str, optuna.distributions.BaseDistribution] | None = None,
        **told: Any,
    ) -> None:
        self.study.add_trial(
            optuna.create_trial(
                state=TrialState.WAITING,
                params=dict(params or {}),
                distributions=dict(distributions or {}),
                user_attrs={"cell": cell, "seed": seed, "values": dict(values), **told},
            )
        )

    def _set(self, entry: Entry, **told: Any) -> bool:
        try:
            for key, value in told.items():
                self.storage.set_trial_user_attr(entry.id, key, value)
        except UpdateFinishedTrialError:
            return False
        return True

    def _end(self, entry: Entry, state: TrialState, value: float | None) -> bool:
        try:
            return self.storage.set_trial_state_values(entry.id, state, None if value is None else [value])
        except UpdateFinishedTrialError:
            return False


def _entry(trial: FrozenTrial) -> Entry:
    told = trial.user_attrs
    last = told.get("ended", {})
    states: dict[TrialState, State] = {TrialState.WAITING: "waiting", TrialState.RUNNING: "running"}
    ended: State = "complete" if trial.state == TrialState.COMPLETE else last.get("outcome", "failed")
    return Entry(
        id=trial._trial_id,
        number=trial.number,
        cell=told["cell"],
        seed=told["seed"],
        values=told["values"],
        state=states.get(trial.state, ended),
        attempts=told.get("attempts", 0),
        failures=last.get("failures", 0),
        holder=told.get("holder", {}),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        history=tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values)),
        seconds=last.get("seconds", 0.0),
    )


def describe(entry: Entry) -> str:
    """A trial in a few words."""
    return f"{entry.cell} seed {entry.seed}"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them."""
    return dict(json.loads(json.dumps(dict(values))))
