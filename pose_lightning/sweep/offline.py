"""W&B's own files of a run, which it writes offline and online alike: configuration and history."""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pose_lightning.errors import UserError
from pose_lightning.history import LARGEST_COUNT
from pose_lightning.reading.raw import LARGEST_TABLE, read_bytes, shortened
from pose_lightning.reading.records import misfit

HEADER: Final = 7
"""Bytes before the first record: `:W&B`, a magic number and a version."""

BLOCK: Final = 32768
LARGEST: Final = LARGEST_TABLE
"""Bytes of a file; a run of a million rows has some 100 MB."""

_COUNTS: Final = ("_runtime?", "_step?", "samples?", "seconds?", "trainer/global_step?")
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4
"""Kinds of pieces: records that do not fit into a block are cut (the log format of LevelDB)."""


def files(folder: Path) -> list[Path]:
    """The files of a run that lies in `folder`, or is it; of a resumed run several, the oldest first."""
    found = sorted({*folder.glob("*.wandb"), *folder.glob("wandb/*run-*/*.wandb"), *folder.glob("*run-*/*.wandb")})
    return sorted(found, key=lambda path: path.parent.name.removeprefix("offline-"))


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The configuration and the rows of the history, of a file that may still be growing.

    Raises:
        UserError: If it is no such file.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # noqa: PLC0415 - of wandb
    from wandb.proto import wandb_internal_pb2 as messages  # noqa: PLC0415 - a second of start-up

    config: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for content in _records(path):
        record = messages.Record()  # type: ignore[attr-defined]
        try:
            record.ParseFromString(content)
            kind = record.WhichOneof("record_type")
            if kind in ("run", "config"):
                updates = record.run.config.update if kind == "run" else record.config.update
                config |= {key: value for key, value in map(_item, updates) if key != "_wandb"}
            elif kind == "history":
                items = map(_item, record.history.item)  # pictures and tables are no history
                rows.append({key: value for key, value in items if type(value) in (int, float)})
        except (DecodeError, ValueError, RecursionError) as error:
            raise UserError(f"{shortened(path)} is damaged: {error}") from None
    for row in rows:
        if reason := misfit(row, dict.fromkeys(_COUNTS, _is_count)):
            raise UserError(f"{shortened(path)} is damaged: of its history, {reason}")
    return config, rows


def history(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The configuration and history of a run's directory, with `_runtime` in s adding up over its files."""
    config: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    before = 0.0
    for path in files(folder):
        part, more = read(path)
        config |= part
        rows += [{**row, "_runtime": before + float(row.get("_runtime", 0.0))} for row in more]
        before = rows[-1]["_runtime"] if rows else before
    return config, rows


def _is_count(value: Any) -> bool:
    return bool(abs(value) < LARGEST_COUNT)


def _item(item: Any) -> tuple[str, Any]:
    return "/".join(item.nested_key) if item.nested_key else item.key, json.loads(item.value_json)


def _records(path: Path) -> Iterator[bytes]:
    data = read_bytes(path, LARGEST)
    if data[:4] != b":W&B":
        raise UserError(f"{path} is no W&B run file")
    place, kept = HEADER, b""
    while place + 7 <= len(data):
        if (left := BLOCK - place % BLOCK) < 7:
            place += left
            continue
        checksum, length, kind = struct.unpack("<IHB", data[place : place + 7])
        piece = data[place + 7 : place + 7 + length]
        if kind == 0 or len(piece) < length:  # the rest has not been written
            return
        if zlib.crc32(piece, zlib.crc32(bytes([kind]))) != checksum:
            raise UserError(f"{path} is damaged at byte {place}")
        place += 7 + length
        kept = kept + piece if kind in (MIDDLE, LAST) else piece
        if kind in (FULL, LAST):
            yield kept


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    found: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found
