"""What `evaluate` asks of a task: score predictions of one split, show the scores, and write them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import h5py
import numpy as np
from jaxtyping import Float64, Int64
from rich.console import RenderableType

from pose_lightning import __version__
from pose_lightning.errors import UserError
from pose_lightning.files import write_bytes

LAYOUT: Final = 1
"""Version of the layout of samples.h5."""

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
    def read(cls, path: Path, metric: str) -> tuple[Self, dict[str, Any]] | None:
        """One score's parts, and the facts; None where the file has no such score.

        Raises:
            UserError: If the file cannot be read.
        """
        try:
            with h5py.File(path) as file:
                facts = dict(file.attrs)
                if facts.get("layout") != LAYOUT:
                    raise UserError(f"{path}: layout {facts.get('layout')}, wanted {LAYOUT}; evaluate the run again")
                if metric not in file:
                    return None
                part = (file[f"{metric}/numerators"][()], file[f"{metric}/counts"][()])
                names = tuple(file["name"].asstr()[()].tolist())
                return cls(names, file["group"][()].astype(np.int64), {metric: part}), facts
        except (OSError, KeyError) as error:
            raise UserError(f"{path} cannot be read ({error}); evaluate the run again") from error


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
