"""JSON and CSV files, bounded, and the shape that a JSON value must have."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pose_lightning.errors import UserError
from pose_lightning.reading.raw import LARGEST_RECORD, LARGEST_TABLE, read_packed_text, read_text, shortened


def read_json(path: Path, limit: int = LARGEST_RECORD, *, error: type[UserError] = UserError) -> Any:
    """The value of a JSON file, which may be packed by gzip, whatever its name ends with.

    Args:
        path: The file.
        limit: Bytes, unpacked.
        error: Class of the error.

    Raises:
        UserError: As `read_text`, and if it is no JSON, is nested too deep, or unpacks to too much.
    """
    text = read_packed_text(path, limit, error=error)
    try:
        return json.loads(text)
    except RecursionError:
        raise error(f"{shortened(path)} is no usable JSON: it is nested too deep") from None
    except ValueError as reason:
        raise error(f"{shortened(path)} is no JSON, or damaged: {reason}") from None


def read_object(path: Path, limit: int = LARGEST_RECORD, *, error: type[UserError] = UserError) -> dict[str, Any]:
    """The value of a JSON file that holds an object.

    Raises:
        UserError: As `read_json`, and if it is something else.
    """
    value = read_json(path, limit, error=error)
    if not isinstance(value, dict):
        raise error(f"{shortened(path)} holds {_json_kind(value)}; wanted a JSON object")
    return value


def is_number(value: object) -> bool:
    """Whether a JSON value is a number that fits a float, or null, which stands for an unknown one."""
    return value is None or type(value) is float or (type(value) is int and abs(value) < 1 << 63)


def optional(shape: Any) -> tuple[Any, ...]:
    """The shape of a value that may be null, for `misfit`."""
    return shape, lambda value: value is None


def between(low: float, high: float) -> Callable[[object], bool]:
    """The shape of a number in a range that has both its ends, whole where both ends are, for `misfit`."""
    kind = int if type(low) is int and type(high) is int else float
    return lambda value: type(value) is kind and low <= value <= high


def misfit(value: Any, shape: Any, place: str = "") -> str | None:
    """Where a JSON value is not of a shape, and what is there; None where it is.

    Args:
        value: A value of the JSON file.
        shape: A type; a function that says whether a value will do; several of these, as a tuple; `{name: shape}` of an
            object's keys, where a name that ends with `?` may be missing and others may be there; `{...: shape}` of all
            of its values; or `[shape]` of a list's elements.
        place: Before the names, for the message.
    """
    if isinstance(shape, tuple):
        return None if any(misfit(value, part) is None for part in shape) else f"{place or 'it'} is {shown_json(value)}"
    if isinstance(shape, type) or callable(shape):
        fits = type(value) is shape if isinstance(shape, type) else shape(value)
        return None if fits else f"{place or 'it'} is {shown_json(value)}"
    if not isinstance(value, type(shape)):
        return f"{place or 'it'} is {shown_json(value)}"
    if isinstance(value, list):
        parts = [(str(index), item, shape[0]) for index, item in enumerate(value)]
    elif ... in shape:
        parts = [(key, item, shape[...]) for key, item in value.items()]
    else:
        names = {key.removesuffix("?"): wanted for key, wanted in shape.items()}
        if missing := [key for key in shape if not key.endswith("?") and key not in value]:
            return f"{place or 'it'} has no {missing[0]!r}"
        parts = [(name, value[name], wanted) for name, wanted in names.items() if name in value]
    return next((reason for name, item, wanted in parts if (reason := misfit(item, wanted, f"{place}/{name}"))), None)


def read_record(path: Path, shape: Any, *, remedy: str, limit: int = LARGEST_RECORD) -> dict[str, Any]:
    """The object of a JSON file that this package wrote, checked.

    Args:
        path: The file.
        shape: Of the object, as `misfit` takes it.
        remedy: End of the message.
        limit: Bytes.

    Raises:
        UserError: As `read_object`, and if it is of another shape.
    """
    value = read_object(path, limit)
    if reason := misfit(value, shape):
        raise UserError(f"{shortened(path)} is damaged, or of another version: {reason}; {remedy}")
    return value


def shown_json(value: object) -> str:
    """A JSON value in a few words."""
    return shortened(repr(value)) if isinstance(value, str | int | float) else _json_kind(value)


def _json_kind(value: object) -> str:
    return {list: "a list", str: "a text", bool: "true or false", dict: "an object", type(None): "null"}.get(
        type(value), "a number"
    )


def read_csv(
    path: Path, *columns: str, limit: int = LARGEST_TABLE, error: type[UserError] = UserError
) -> list[dict[str, str]]:
    """The rows of a .csv file by its header.

    Raises:
        UserError: As `read_text`, and as `csv_rows`.
    """
    return csv_rows(read_text(path, limit, error=error), path, *columns, error=error)


def csv_rows(text: str, path: Path, *columns: str, error: type[UserError] = UserError) -> list[dict[str, str]]:
    """The rows of CSV text by its header.

    Args:
        text: The text of the file.
        path: From where.
        columns: That must be among the header's.
        error: Class of the error.

    Raises:
        UserError: If a column is missing, a row has more or fewer fields than the header, or a field is longer than
            `csv` takes.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""))
    read: list[dict[str, str]] = []
    try:
        if missing := [column for column in columns if column not in (rows.fieldnames or ())]:
            raise error(f"{shortened(path)} lacks the columns {missing}; wanted {list(columns)}")
        for row in rows:
            if None in row or None in row.values():
                number = "more" if None in row else "fewer"
                raise error(f"{shortened(path)}: line {rows.line_num} has {number} fields than the header")
            read.append(row)
    except csv.Error as reason:
        raise error(f"{shortened(path)}: line {rows.line_num + 1} cannot be read: {reason}; it is damaged") from None
    return read
