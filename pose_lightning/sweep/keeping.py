"""What a study is kept in: a database, and the files beside it that say what it is about."""

import difflib
import errno
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from pose_lightning.errors import REMEDIES, UserError
from pose_lightning.files import refuse_link, write_json, write_text
from pose_lightning.reading.configs import LARGEST
from pose_lightning.reading.raw import check_regular, read_text
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.locks import locked

TRIES: Final = 10
"""Of opening a database that another process is just filling with tables."""

BUSY: Final = 60
"""Seconds to wait for SQLite while another process writes."""


ANEW: Final = "put back a whole one, or move the folder away to begin anew"

_DISK_FAULTS: Final = {
    "SQLITE_FULL": errno.ENOSPC,
    "SQLITE_READONLY": errno.EROFS,
    "SQLITE_CANTOPEN": errno.EACCES,
    "SQLITE_IOERR": errno.EIO,
}
"""SQLite's names of faults of the disk, which may go on, such as SQLITE_IOERR_WRITE."""

_UNREADABLE: Final = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Errors that Optuna lets escape from tables that another program wrote."""


def texts(file: SweepFile, layers: Sequence[str]) -> dict[str, str]:
    """What a sweep depends on, by path: the sweep file, the layers laid over each other, and the recipes."""
    named = [Path(each.removeprefix("--config=")) for each in layers if each.startswith("--config=")]
    spec = file.parameters.get("config", {})
    recipes = [Path(str(each)) for each in [*spec.get("values", []), *([file.fixed.get("config")])] if each]
    return {
        file.path.name: file.text,
        **{str(path): read_text(path, LARGEST) for path in [*named, *recipes] if path.is_file()},
    }


def database(url: str | None, folder: Path) -> RDBStorage:
    """The database, with its tables.

    Raises:
        UserError: If it cannot be opened.
    """
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - after optuna, which imports it lazily
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    is_own = url is None
    if url is None:
        for ending in ("", "-journal", "-shm", "-wal"):
            refuse_link(folder / f"study.db{ending}")
        if (folder / "study.db").exists():
            check_regular(folder / "study.db")
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
            with reading(folder):
                return RDBStorage(url, engine_kwargs=settings)
        except ImportError as error:
            raise UserError(f"--storage {shown}: no driver ({error}); pip install 'pose_lightning[cluster]'") from None
        except (SQLAlchemyError, StorageInternalError) as error:
            if is_own and fault(error) is not None:
                raise
            if not left:
                raise UserError(f"--storage {shown} cannot be opened: {error}") from None
            time.sleep(0.5)  # another runner may be making the tables
    raise AssertionError("the last try returns or raises")


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn what SQLite says of the disk, or of a damaged file, into a user's error.

    Raises:
        UserError: In place of it.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - after optuna, which imports it lazily

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        if (reason := fault(error)) is None:
            raise
        raise UserError(f"{folder / 'study.db'}: {reason}") from error


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn what Optuna says of tables that are not its own into a user's error.

    Raises:
        UserError: In place of it.
    """
    try:
        yield
    except UserError:
        raise
    except _UNREADABLE as error:
        raise UserError(f"the study of {folder} is damaged ({type(error).__name__}: {error}); {ANEW}") from error


def fault(error: BaseException) -> str | None:
    """The fault of SQLite behind an error, and its remedy; None where it is another database's, or will pass."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, sqlite3.Error):
        cause = cause.__cause__ or cause.__context__
    name = getattr(cause, "sqlite_errorname", None) or ""
    if cause is None or name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return None
    number = next((number for start, number in _DISK_FAULTS.items() if name.startswith(start)), None)
    return f"it is damaged ({cause}); {ANEW}" if number is None else f"{cause}: {REMEDIES[number]}"


def place(folder: Path) -> str:
    """What names this folder, whichever machine mounts it."""
    path = folder / "place"
    with locked(folder / "study.lock"):
        refuse_link(path)  # other runners read in the database what it holds
        if not path.is_file():
            write_text(path, secrets.token_hex(8))
    return read_text(path)


def write_about(file: SweepFile, folder: Path, layers: Sequence[str]) -> None:
    """Write `sweep.yaml` and `study.json`, unless they are there."""
    if not (kept := folder / "sweep.yaml").is_file():
        write_text(kept, file.text)
    if (folder / "study.json").is_file():
        return
    about = {
        "name": folder.name,
        "experiment": file.experiment,
        "demo": folder.name != file.name,
        "kind": file.kind,
        "metric": file.metric,
        "goal": file.goal,
        "sweep_file": str(file.path),
        "layers": list(layers),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / "study.json", about)


def refuse_other(folder: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
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
