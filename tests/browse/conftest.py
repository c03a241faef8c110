"""Stores with known mistakes, made from the generated ones."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_lightning.store import Store, StoreWriter

Labels = dict[str, Any]
Change = Callable[[int, Labels], Labels]
Rewrite = Callable[[Path, Path, Change], Path]


@pytest.fixture(scope="session")
def rewrite() -> Rewrite:
    """A copy of a store in which `change` has had its way with every sample's labels; `pixels_of` names another's."""

    def copy(source: Path, target: Path, change: Change) -> Path:
        with (
            Store(source) as store,
            StoreWriter(target, codec=store.codec, attrs=store.attrs, shape=store.shape) as out,
        ):
            for index in range(len(store)):
                labels = {key: column[index].copy() for key, column in store.labels.items()}
                labels = {key: str(value) if value.dtype.kind == "U" else value for key, value in labels.items()}
                labels = change(index, labels)
                taken = labels.pop("pixels_of", index)
                out.append(store.pixels(taken) if store.codec == "raw" else store.payload(taken), labels)
        return target

    return copy


@pytest.fixture(scope="session")
def page_data() -> Callable[[Path], dict[str, Any]]:
    """What the script of a page reads."""

    def read(path: Path) -> dict[str, Any]:
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
        assert found is not None
        return json.loads(found[1])

    return read


@pytest.fixture(scope="session")
def people() -> np.ndarray:
    """300 walkers in a plane, in MPII's order, of many sizes and places, turned by up to 15 degrees."""
    rng = np.random.default_rng(0)
    legs = [[-12, 100], [-11, 60], [-9, 20], [9, 20], [11, 60], [12, 100]]
    middle = [[0, 18], [0, -35], [0, -42], [0, -70]]
    arms = [[-34, 20], [-28, -8], [-18, -35], [18, -35], [28, -8], [34, 20]]
    upright = np.array([*legs, *middle, *arms], dtype=np.float64)
    found = []
    for _ in range(300):
        angle = np.radians(rng.uniform(-15, 15))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        pose = (upright + rng.normal(0, 2, upright.shape)) @ turn.T
        found.append(rng.uniform(0.5, 3) * pose + rng.uniform(100, 500, 2))
    return np.array(found)
