"""The trials of a sweep in a database, which any number of runners share.

Optuna keeps them. A runner takes a trial by setting it from waiting to running, which a database server does for one of
many; where the trials' folder is shared, the lock in it decides (see `trials`). Optuna's own heartbeats serve
`Study.optimize` only, so runners on other machines are watched by a counter of ours. An ended trial never changes: one
that is run again gets a successor, and where two runners made one at once, the older counts. So whatever a killed
runner left undone, the next one does, and doing it twice changes nothing.
"""

import difflib
import json
import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import optuna
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from pose_lightning.errors import UserError
from pose_lightning.runs import write_json
from pose_lightning.sweep.files import Cell, SweepFile
from pose_lightning.sweep.locks import locked

State = Literal["waiting", "running", "complete", "failed", "diverged", "pruned", "lost"]
"""Of a trial; `lost` is one whose runner is gone, and which has a successor, or will have."""

TRIES: Final = 10
"""Of opening a database that another process is just filling with tables."""

BUSY: Final = 60
"""Seconds to wait for SQLite while another process writes."""

_ENDED: Final = {
    "complete": TrialState.COMPLETE,
    "failed": TrialState.FAIL,
    "diverged": TrialState.PRUNED,  # a search then takes it for worse than any that is complete
    "pruned": TrialState.PRUNED,
    "lost": TrialState.FAIL,
}

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


def texts(file: SweepFile, layers: Sequence[str]) -> dict[str, str]:
    """What a sweep depends on, by path: the sweep file, the layers laid over each other, and the recipes."""
    named = [Path(each.removeprefix("--config=")) for each in layers if each.startswith("--config=")]
    spec = file.parameters.get("config", {})
    recipes = [Path(str(each)) for each in [*spec.get("values", []), *([file.fixed.get("config")])] if each]
    return {file.path.name: file.text, **{str(path): path.read_text() for path in [*named, *recipes] if path.is_file()}}


class Study:
    """A sweep's trials, as all its runners see them.

    Args:
        folder: Where the sweep lies on this machine.
        study: Optuna's.
        storage: What it is kept in.
    """

    def __init__(self, folder: Path, study: optuna.Study, storage: RDBStorage) -> None:
        self.folder, self.study, self.storage = folder, study, storage
        self.place = _place(folder)
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
            if (kept := folder / "sweep.yaml").is_file():
                _same(folder, {file.path.name: kept.read_text()}, {file.path.name: file.text})
            opened = _storage(storage, folder)
            study = optuna.create_study(
                study_name=folder.name, storage=opened, direction=file.goal, load_if_exists=True
            )
            known = study.user_attrs
            if "texts" in known:
                _same(folder, known["texts"], now)
            else:
                study.set_user_attr("token", secrets.token_hex(4))
                study.set_user_attr("texts", now)
            _write(kept, file.text)
            if not (folder / "study.json").is_file():
                write_json(folder / "study.json", _about(file, folder.name, layers))
        return cls(folder, study, opened)

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

    def again(self, entry: Entry, *, failures: int | None = None) -> None:
        """Add a successor of a trial that failed or was lost, unless it has one."""
        with locked(self.folder / "study.lock"):
            if any(trial.user_attrs.get("after") == entry.id for trial in self._trials()):
                return
            old = self.storage.get_trial(entry.id)
            kept = {"attempts": entry.attempts, "failures": entry.failures if failures is None else failures}
            told = {**kept, "seconds": entry.seconds, "after": entry.id}
            self._add(entry.cell, entry.seed, entry.values, old.params, old.distributions, **told)

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
        if self._set(entry, failures=failures, seconds=seconds):
            self._end(entry, TrialState.WAITING, None)

    def finish(self, entry: Entry, state: State, *, value: float | None, failures: int, seconds: float) -> None:
        """End the trial; it never changes again."""
        if self._set(entry, outcome=state, failures=failures, seconds=seconds):
            self._end(entry, _ENDED[state], value)

    def lose(self, entry: Entry) -> None:
        """Give up a trial whose runner is gone, and let a successor wait; of many runners, one does it."""
        if self._set(entry, outcome="lost") and self._end(entry, TrialState.FAIL, None):
            self.again(entry)

    def settle(self, key: str, make: Callable[[], Result]) -> Result:
        """A decision about the whole study: made once, then kept."""
        with locked(self.folder / "study.lock"):
            if key not in self.study.user_attrs:
                self.study.set_user_attr(key, make())
            return self.study.user_attrs[key]

    def _trials(self) -> list[FrozenTrial]:
        return sorted(self.study.get_trials(deepcopy=False), key=lambda trial: (trial.number, trial._trial_id))

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
    states: dict[TrialState, State] = {TrialState.WAITING: "waiting", TrialState.RUNNING: "running"}
    ended: State = "complete" if trial.state == TrialState.COMPLETE else told.get("outcome", "failed")
    return Entry(
        id=trial._trial_id,
        number=trial.number,
        cell=told["cell"],
        seed=told["seed"],
        values=told["values"],
        state=states.get(trial.state, ended),
        attempts=told.get("attempts", 0),
        failures=told.get("failures", 0),
        holder=told.get("holder", {}),
        value=trial.value if trial.state == TrialState.COMPLETE else None,
        history=tuple(trial.intermediate_values[step] for step in sorted(trial.intermediate_values)),
        seconds=told.get("seconds", 0.0),
    )


def _storage(url: str | None, folder: Path) -> RDBStorage:
    """The database, with its tables.

    Raises:
        UserError: If it cannot be opened.
    """
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - after optuna, which imports it lazily
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    if url is None:
        url = f"sqlite:///{folder / 'study.db'}"
        settings: dict[str, Any] = {"connect_args": {"timeout": BUSY}}
    else:
        settings = {"pool_pre_ping": True}
        if url.startswith(("postgresql://", "postgres://")):
            url = f"postgresql+psycopg://{url.partition('://')[2]}"
    try:
        shown = make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError as error:
        raise UserError(f"--storage is no database's URL, such as postgresql://user@host/name: {error}") from None
    for left in reversed(range(TRIES)):
        try:
            return RDBStorage(url, engine_kwargs=settings)
        except ImportError as error:
            raise UserError(f"--storage {shown}: no driver ({error}); pip install 'pose_lightning[cluster]'") from None
        except (SQLAlchemyError, StorageInternalError) as error:
            if not left:
                raise UserError(f"--storage {shown} cannot be opened: {error}") from None
            time.sleep(0.5)  # another runner may be making the tables
    raise AssertionError("the last try returns or raises")


def _place(folder: Path) -> str:
    """What names this folder, whichever machine mounts it."""
    path = folder / "place"
    with locked(folder / "study.lock"):
        if not path.is_file():
            _write(path, secrets.token_hex(8))
    return path.read_text()


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def _about(file: SweepFile, name: str, layers: Sequence[str]) -> dict[str, Any]:
    return {
        "name": name,
        "experiment": file.experiment,
        "demo": name != file.name,
        "kind": file.kind,
        "metric": file.metric,
        "goal": file.goal,
        "sweep_file": str(file.path),
        "layers": list(layers),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _same(folder: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Refuse to go on with a study whose files were others.

    Raises:
        UserError: With the difference.
    """
    lines: list[str] = []
    for path in sorted({*before, *now}):
        then, new = before.get(path, "").splitlines(), now.get(path, "").splitlines()
        lines += difflib.unified_diff(then, new, f"{path} of the study", f"{path} now", lineterm="", n=1)
    if lines:
        raise UserError(
            f"{folder} was begun with other files; set them back, or move the folder away (with --storage, drop its "
            "study too) to begin anew:\n" + "\n".join(lines)
        )


def describe(entry: Entry) -> str:
    """A trial in a few words."""
    return f"{entry.cell} seed {entry.seed}"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON has them."""
    return dict(json.loads(json.dumps(dict(values))))
