"""What is true of the pictures of a split: one class each, or any number of tags.

Shapes: n pictures, k classes or tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64

from pose_lightning.errors import UserError

Target = Literal["category", "activity", "tags"]

LISTS: Final[Mapping[Target, str]] = {"category": "categories", "activity": "activities", "tags": "tags"}
"""The store's attribute that names the classes; a class's number is its place there."""


@runtime_checkable
class Pictures(Protocol):
    """What is read of a split: a `Store` or a `Selection`."""

    @property
    def path(self) -> Path:
        """For messages."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """As in an activity store."""

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        """As in an activity store."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Truth:
    """The labels of a split, or of some of its pictures."""

    target: Target
    classes: tuple[str, ...]
    has: Bool[np.ndarray, "n k"]
    """Whether a picture is of the class (each is of one), or has the tag."""
    names: tuple[str, ...]
    group: Int64[np.ndarray, " n"]
    """Pictures with the same number are of one video, or nearly the same: not independent."""
    fold: Int64[np.ndarray, " n"]
    """-1 where the split has no folds."""
    notes: Mapping[str, Any]
    """The store's attributes."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def label(self) -> Int64[np.ndarray, " n"]:
        """Number of each picture's class."""
        return self.has.argmax(axis=1).astype(np.int64)

    def __getitem__(self, rows: np.ndarray) -> "Truth":
        """Some of the pictures, by index or mask."""
        names = np.array(self.names, dtype=object)[rows]
        return Truth(
            target=self.target,
            classes=self.classes,
            has=self.has[rows],
            names=tuple(names.tolist()),
            group=self.group[rows],
            fold=self.fold[rows],
            notes=self.notes,
        )

    @classmethod
    def from_store(cls, store: Pictures, target: Target) -> "Truth":
        """The labels of those of a store's pictures whose label is known; the tags are, where the activity is.

        Raises:
            UserError: If the store is of another kind, has no such labels, or no picture has one.
        """
        classes, labels = classes_of(store, target), store.labels
        if target == "tags":
            known, has = np.asarray(labels["activity"], dtype=str) != "", np.asarray(labels["tags"], dtype=bool)
        else:
            texts = np.asarray(labels[target], dtype=str)
            known, has = texts != "", texts[:, None] == np.array(classes, dtype=str)
            if (lost := known & ~has.any(axis=1)).any():
                row = int(np.flatnonzero(lost)[0])
                raise UserError(
                    f"{store.path}: {labels['name'][row]!r} has {target} {str(texts[row])!r}, which is not among the "
                    f"store's {LISTS[target]}; convert again"
                )
        if not known.any():
            raise UserError(f"{store.path}: no picture has a label for target={target}")
        rows = np.flatnonzero(known)
        return cls(
            target=target,
            classes=classes,
            has=has[rows],
            names=tuple(str(name) for name in np.asarray(labels["name"])[rows]),
            group=np.asarray(labels["group"], dtype=np.int64)[rows],
            fold=np.asarray(labels["fold"], dtype=np.int64)[rows],
            notes=dict(store.attrs),
        )


def classes_of(store: Pictures, target: Target) -> tuple[str, ...]:
    """The names of a store's classes or tags.

    Raises:
        UserError: If the store is of another kind, or has no such labels.
    """
    if store.attrs.get("kind") != "activity":
        raise UserError(f"{store.path}: kind is {store.attrs.get('kind')!r}, wanted 'activity'")
    classes = store.attrs.get(LISTS[target])
    if not classes or target not in store.labels:
        other = ", ".join(targets_of(store)) or "none"
        raise UserError(f"{store.path} has no labels for target={target}; it has {other}")
    return tuple(str(name) for name in classes)


def targets_of(store: Pictures) -> list[Target]:
    """What a store has labels for."""
    return [target for target, key in LISTS.items() if store.attrs.get(key) and target in store.labels]
