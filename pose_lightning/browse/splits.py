"""The splits of one data set, read as one list of samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from pose_lightning import kinds
from pose_lightning.errors import UserError
from pose_lightning.joints import JointSet
from pose_lightning.store import Store

ORDER: Final = ("train", "val", "test")


@dataclass(frozen=True)
class Doubt:
    """Why a sample may be wrong.

    Attributes:
        index: The sample's number among those of all splits.
        rule: What kind of doubt; a key of `page.RULES`.
        reason: What was found, with its numbers, for the page.
        strength: 1 where the rule begins to doubt; larger is worse.
    """

    index: int
    rule: str
    reason: str
    strength: float


class Splits:
    """Stores of one kind and joint set, whose samples are numbered through.

    Attributes:
        stores: In the order train, val, test, then as given.
        kind: The task that is trained on them.
        sheet: Its module that knows what to show of them.
        labels: Fields that all have, of all samples.
        split: Number of each sample's store.
        joint_set: Of poses; None for activities.

    Raises:
        UserError: If the first store's joint set makes no sense.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = tuple(stores)
        first = self.stores[0]
        self.kind = kinds.of_store(first.attrs["kind"]) or kinds.KINDS[0]  # `open` refuses others
        self.sheet = self.kind.part("sheet")
        shared = set.intersection(*(set(store.labels) for store in stores))
        self.labels = {key: np.concatenate([store.labels[key] for store in stores]) for key in sorted(shared)}
        self.split = np.repeat(np.arange(len(stores)), [len(store) for store in stores])
        self._first = np.cumsum([0, *(len(store) for store in stores)])
        said = first.attrs.get("joint_set")
        self.joint_set: JointSet | None = None if said is None else JointSet.read(said, first.path)

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Self:
        """Open files, and all stores of folders.

        Raises:
            UserError: If there is no store, one is damaged, or they hold different things.
        """
        files: list[Path] = []
        for path in paths:
            found = sorted(path.glob("*.h5"), key=_place) if path.is_dir() else [path]
            if not found:
                raise UserError(f"{path} holds no store (*.h5); name a store, or the folder that `convert` wrote")
            files += [file for file in found if file not in files]
        stores: list[Store] = []
        try:
            for file in files:
                stores.append(Store(file))
                _check(stores)
        except Exception:
            for store in stores:
                store.close()
            raise
        return cls(stores)

    def __len__(self) -> int:
        return len(self.split)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for store in self.stores:
            store.close()

    @property
    def names(self) -> list[str]:
        """Of the stores: their splits, or their files where two are of one split."""
        splits = [str(store.attrs.get("split", store.path.stem)) for store in self.stores]
        return splits if len(set(splits)) == len(splits) else [str(store.path) for store in self.stores]

    @property
    def has_pixels(self) -> bool:
        """Whether every store has pictures."""
        return all(store.codec is not None for store in self.stores)

    @property
    def synthetic(self) -> bool:
        """Whether any of it is drawn."""
        return any(bool(store.attrs.get("synthetic")) for store in self.stores)

    def at(self, index: int) -> tuple[Store, int]:
        """A sample's store and its number there."""
        number = int(self.split[index])
        return self.stores[number], index - int(self._first[number])

    def pixels(self, index: int) -> np.ndarray:
        """A sample's pixels."""
        store, row = self.at(index)
        return store.pixels(row)

    def attr(self, key: str) -> Any:
        """What the first store's writer said."""
        return self.stores[0].attrs.get(key)

    def find(self, name: str) -> int:
        """The number of the sample of a name.

        Raises:
            UserError: If no sample has it, or several splits do.
        """
        found = np.flatnonzero(self.labels["name"] == name)
        if len(found) != 1:
            near = next((each for each in self.labels["name"].tolist() if name in each), self.labels["name"][0])
            said = "no sample has" if not len(found) else f"{len(found)} samples have"
            raise UserError(f"--sample {name!r}: {said} this name; names are such as {str(near)!r}")
        return int(found[0])


def _place(path: Path) -> tuple[int, str]:
    return (ORDER.index(path.stem) if path.stem in ORDER else len(ORDER), path.name)


def _check(stores: Sequence[Store]) -> None:
    """Refuse the last store if it is no data set's, or of another kind than the first."""
    first, last = stores[0].attrs, stores[-1].attrs
    path, kind = stores[-1].path, last.get("kind")
    shown = [each.store for each in kinds.having("sheet")]
    if kind not in shown:
        raise UserError(f"{path}: kind is {kind!r}; browse shows stores of {', '.join(shown)}")
    for key in ("kind", "joint_set"):
        if last.get(key) != first.get(key):
            raise UserError(
                f"{path}: {key} is {last.get(key)!r}, but that of {stores[0].path} is {first.get(key)!r}; browse them "
                "one after the other"
            )
    if not len(stores[-1]):
        raise UserError(f"{path} has no samples")
