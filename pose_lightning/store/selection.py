"""Some samples of a store, read as if they were a store of their own."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Int64

from pose_lightning.store.reader import Store


class Selection:
    """Some samples of a store, in the given order: a fold of it, say, or all others.

    Args:
        store: The store; the selection closes it.
        rows: Which samples, by index.

    Attributes:
        labels: As the store's, of these samples.
    """

    def __init__(self, store: Store, rows: Int64[np.ndarray, " n"]) -> None:
        self._store, self.rows = store, np.asarray(rows, dtype=np.int64)
        self.labels: Mapping[str, np.ndarray] = {key: values[self.rows] for key, values in store.labels.items()}

    def __len__(self) -> int:
        return len(self.rows)

    def __enter__(self) -> "Selection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The store's file."""
        return self._store.path

    @property
    def attrs(self) -> Mapping[str, Any]:
        """What the store's writer said of the whole split."""
        return self._store.attrs

    @property
    def shape(self) -> tuple[int, ...] | None:
        """As the store's."""
        return self._store.shape

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def name(self, index: int) -> str:
        """The sample's unique name."""
        return self._store.name(int(self.rows[index]))

    def pixels(self, index: int) -> np.ndarray:
        """As `Store.pixels`."""
        return self._store.pixels(int(self.rows[index]))
