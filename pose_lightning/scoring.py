"""What `evaluate` asks of a task: score predictions of one split, show the scores, and write them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import h5py
import numpy as np
from jaxtyping import Float64, Int64
from rich.console import RenderableType

from pose_lightning import __version__
from pose_lightning.errors import UserError
from pose_lightning.files import write_bytes
from pose_lightning.reading.hdf5 import open_hdf5, read_attributes, read_dataset, read_texts
from pose_lightning.reading.raw import LARGEST_TABLE
from pose_lightning.reading.records import is_number, read_record

_AGAIN: Final = "evaluate the run again"

LAYOUT: Final = 1
"""Version of the layout of samples.h5."""


def _is_estimate(value: Any) -> bool:
    return isinstance(value, dict) and "value" in value and all(map(is_number, map(value.get, _ESTIMATE)))


def _is_tree(value: Any) -> bool:
    """Whether estimates lie in it, by name, however deep."""
    return isinstance(value, dict) and all(
        is_number(part) if name in _ESTIMATE else isinstance(part, str) if name == "unit" else _is_tree(part)
        for name, part in value.items()
    )


def _are_classes(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(item, dict)
        and item.keys() == next(iter(value.values())).keys()
        and all(type(part) is int if key == "pictures" else _is_estimate(part) for key, part in item.items())
        and "pictures" in item
        for item in value.values()
    )


_ESTIMATE: Final = ("value", "low", "high")
_TREES: Final = {"joints?": _is_tree, "actions?": _is_tree, "subjects?": _is_tree}
SCORES: Final[Mapping[str, Any]] = {
    "measures": {...: _is_tree},
    "definitions": [str],
    "baselines?": [{"title": str, "measures": {...: _is_tree}, **_TREES}],
    "classes?": _are_classes,
    "counts": {...: (is_number, {...: is_number})},
    "notes?": {"dataset?": str, "split_rule?": str, "synthetic?": bool},
    "flip_test?": bool,
    "scales?": ([is_number], lambda value: value is None),
    "decoding?": (str, lambda value: value is None),
    **_TREES,
}
"""Of a metrics.json, as far as it is read again."""


def read_scores(path: Path) -> dict[str, Any]:
    """Read a run's metrics.json.

    Raises:
        UserError: If it cannot be read, or is damaged.
    """
    return read_record(path, SCORES, remedy=_AGAIN, limit=LARGEST_TABLE)


def read_notes(path: Path) -> dict[str, Any]:
    """Read the attributes of its store that a run's metrics.json keeps.

    Raises:
        UserError: If it cannot be read, or they are damaged.
    """
    notes = {"notes?": SCORES["notes?"]}
    return dict(read_record(path, notes, remedy=_AGAIN, limit=LARGEST_TABLE).get("notes", {}))


Found = Mapping[str, np.ndarray]
"""What `predict_step` returned for every sample of a split, in the store's order: `preds` (n, ...) and others."""


Part = tuple[Float64[np.ndarray, "n c"], Float64[np.ndarray, "n c"]]
"""Per sample, numerators and counts; the score is the mean over columns of their sums' ratio."""


@dataclass(frozen=True)
class Estimate:
    """A number and the ends of its 95 % interval; NaN where undefined or withheld."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """The same; None in place of what is not finite."""
        return {key: value if math.isfinite(value) else None for key, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class SampleScores:
    """What each sample adds to every score that is made of sums, so that runs compare sample by sample.

    In a run's directory, `samples.h5`.

    Attributes:
        names: Of the samples.
        groups: Samples with the same number share an image, a video or a sequence.
        parts: By the score's name as it is logged, without the split: `pckh`, `mpjpe`, `top1`.
    """

    names: tuple[str, ...]
    groups: Int64[np.ndarray, " n"]
    parts: Mapping[str, Part]

    def write(self, path: Path, **facts: Any) -> None:
        """Write them, whole or not at all, with facts such as the checkpoint's step."""
        with _hdf5(path) as file:
            file.attrs.update({"layout": LAYOUT, **facts})
            file.create_dataset("name", data=list(self.names), dtype=h5py.string_dtype())
            file["group"] = self.groups
            for metric, (numerators, counts) in self.parts.items():
                for name, values in (("numerators", numerators), ("counts", counts)):
                    file.create_dataset(f"{metric}/{name}", data=np.asarray(values, np.float64), compression="gzip")

    @classmethod
    def read(cls, path: Path, metric: str) -> tuple["SampleScores", dict[str, Any]] | None:
        """One score's parts, and the facts; None where the file has no such score.

        Raises:
            UserError: If the file cannot be read.
        """
        with open_hdf5(path, remedy=_AGAIN) as file:
            facts = read_attributes(file)
            if facts.get("layout") != LAYOUT:
                raise UserError(f"{path}: layout {facts.get('layout')}, wanted {LAYOUT}; {_AGAIN}")
            if metric not in file:
                return None
            numerators, counts = (read_dataset(file, f"{metric}/{name}", path) for name in ("numerators", "counts"))
            names, groups = read_texts(file, "name", path), read_dataset(file, "group", path)
        fits = numerators.ndim == 2 and numerators.shape == counts.shape and len(names) == len(numerators)
        kinds = {numerators.dtype.kind, counts.dtype.kind} <= set("fiu") and groups.dtype.kind in "iu"
        if not (fits and kinds and groups.shape == (len(names),) and is_number(facts.get("step", 0))):
            raise UserError(f"{path} is damaged: its tables do not fit each other; {_AGAIN}")
        return cls(names, groups.astype(np.int64), {metric: (numerators, counts)}), facts


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray | Sequence[str]], *, store: Path, split: str, **facts: Any
) -> None:
    """Write predictions, names and what they are, whole or not at all.

    Args:
        path: HDF5 file to write, replaced if it is there.
        arrays: By their names in the file: numbers, as float64, or texts.
        store: Where the samples are from; its name is recorded.
        split: Of the store.
        facts: Attributes of the file.
    """
    with _hdf5(path) as file:
        file.attrs.update({**facts, "store": store.name, "split": split, "package_version": __version__})
        for name, values in arrays.items():
            if isinstance(values, np.ndarray):
                file[name] = values.astype(np.float64, copy=False)
            else:
                file.create_dataset(name, data=list(values), dtype=h5py.string_dtype())


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file that is made in memory, and written at the end: on a full disk HDF5 itself may crash."""
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        yield file
        file.flush()
        image = file.id.get_file_image()
    write_bytes(path, image)


@dataclass(frozen=True)
class Outcome:
    """Scores of one split.

    Attributes:
        scores: The model's, then the baselines'.
        table: The same for a terminal of 80 columns.
        json: The same for `metrics.json`.
    """

    scores: Sequence[Any]
    table: RenderableType
    json: Mapping[str, Any]


class Scoring(Protocol):
    """The functions of a task's module `scoring`; a store is a `Store`, or what serves samples as one does."""

    def judge(self, found: Found, store: Any, train: Any, *, title: str) -> Outcome:
        """Score predictions beside the baselines that `train` gives."""

    def write_predictions(self, path: Path, found: Found, store: Any, *, split: str) -> None:
        """Write the predictions, whole or not at all."""

    def sample_scores(self, found: Found, store: Any) -> SampleScores:
        """What each sample adds to the logged scores."""

    def write_files(self, folder: Path, outcome: Outcome, *, suffix: str = "") -> list[Path]:
        """Write what a table has no room for into a folder that is there, and return the files."""
