"""Values of MATLAB structs as scipy loads them, where scalars, structs, arrays and empty arrays interchange."""

from typing import Any

import numpy as np


def items_of(value: Any) -> list[Any]:
    """The elements of a struct array, however few: scipy gives an array, a lone struct, or an empty array."""
    if value is None:
        return []
    return list(value.ravel()) if isinstance(value, np.ndarray) else [value]


def scalar_of(value: Any) -> float | None:
    """A scalar, whatever it is wrapped in; None where it is empty or no number."""
    items = [item for item in items_of(value) if item is not None]
    if len(items) != 1:
        return None
    try:
        return float(items[0])
    except (TypeError, ValueError):
        return None


def number_of(value: Any) -> float | None:
    """A finite scalar, whatever it is wrapped in; None where it is empty or no such number."""
    number = scalar_of(value)
    return number if number is not None and np.isfinite(number) else None


def text_of(value: Any) -> str:
    """Text; empty where MATLAB has an empty array."""
    items = items_of(value)
    return str(items[0]) if len(items) == 1 and isinstance(items[0], str) else ""
