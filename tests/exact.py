"""Comparison to the bit, of anything that a checkpoint holds."""

from collections.abc import Iterator
from typing import Any

import torch


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where two structures of containers, tensors and plain values differ; NaN is NaN's equal."""
    if type(ours) is not type(theirs):
        yield f"{place}: {type(ours).__name__} and {type(theirs).__name__}"
    elif isinstance(ours, dict):
        if list(ours) != list(theirs):
            yield f"{place}: keys {list(ours)} and {list(theirs)}"
        for key in ours.keys() & theirs.keys():
            yield from differences(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(ours, list | tuple):
        if len(ours) != len(theirs):
            yield f"{place}: lengths {len(ours)} and {len(theirs)}"
        for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from differences(one, other, f"{place}[{number}]")
    elif isinstance(ours, torch.Tensor):
        if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape) or not torch.allclose(
            ours, theirs, rtol=0, atol=0, equal_nan=ours.is_floating_point()
        ):
            yield f"{place}: {ours} and {theirs}"
    elif ours != theirs:
        yield f"{place}: {ours} and {theirs}"
