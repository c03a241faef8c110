"""What a study is kept in: a database, and the files beside it that say what it is about."""

import difflib
import secrets
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from pose_lightning.errors import UserError
from pose_lightning.files import refuse_link, write_json, write_text
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.locks import locked

TRIES: Final = 10
"""Of opening a database that another process is just filling with tables."""

BUSY: Final = 60
"""Seconds to wait for SQLite while another process writes."""


def texts(file: SweepFile, layers: Sequence[str]) -> dict[str, str]:
    """What a sweep depends on, by path: the sweep file, the layers laid over each other, and the recipes."""
    named = [Path(each.removeprefix("--config=")) for each in layers if each.startswith("--config=")]
    spec = file.parameters.get("config", {})
    recipes = [Path(str(each)) for each in [*spec.get("values", []), *([file.fixed.get("config")])] if each]
    return {file.path.name: file.text, **{str(path): path.read_text() for path in [*named, *recipes] if path.is_file()}}


def database(url: str | None, folder: Path) -> RDBStorage:
    """The database, with its tables.

    Raises:
        UserError: If it cannot be opened.
    """
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - after optuna, which imports it lazily
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    if url is None:
        refuse_link(folder / "study.db")
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


def place(folder: Path) -> str:
    """What names this folder, whichever machine mounts it."""
    path = folder / "place"
    with locked(folder / "study.lock"):
        if not path.is_file():
            write_text(path, secrets.token_hex(8))
    return path.read_text()


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
