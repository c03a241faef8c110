"""W&B's own files of a run, read back."""

import json
from pathlib import Path
from typing import Any

from pose_lightning.sweep import offline


def records(folder: Path) -> list[tuple[str, Any]]:
    """Every record of the newest file in a run's directory, with its kind."""
    from wandb.proto import wandb_internal_pb2 as messages  # noqa: PLC0415 - a second of start-up

    found = []
    for content in offline._records(offline.files(folder)[-1]):
        record = messages.Record()  # type: ignore[attr-defined]
        record.ParseFromString(content)
        kind = record.WhichOneof("record_type")
        found.append((kind, getattr(record, kind)))
    return found


def exit_code(folder: Path) -> int | None:
    """The exit code that was sent; None where none was."""
    return next((record.exit_code for kind, record in records(folder) if kind == "exit"), None)


def summary(folder: Path) -> dict[str, Any]:
    """The last value that was set of every name in the summary."""
    updates = [item for kind, record in records(folder) if kind == "summary" for item in record.update]
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in updates}


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows of the history, pictures and tables among them."""
    rows = [record.item for kind, record in records(folder) if kind == "history"]
    return [{"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in row} for row in rows]
