"""A task, as the doors know it: its names, and the modules of its folder that serve them."""

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One task. Making one imports neither PyTorch nor the task: a door loads the module that serves it when asked.

    The modules of the folder, and what the doors call in them. A task without one is refused by the door, or passed
    over:

        scoring     evaluate: `of(data)`, a `scoring.Scoring`; `judge_file(path, store, train, **options)`
        options     evaluate: `add_arguments(parser)`, and the names `OF_FILES` of those that `judge_file` takes
        overlays    evaluate --overlays: with it `scoring` has `write_overlays`
        pair        evaluate --clips: `open_pair(clips, joints, **options)`; `options.OF_PAIRS`
        folds       evaluate RUN RUN...: `judge_folds(paths, store, target=..., title=...)`
        testing     evaluate and predict --scales, --decoding: the LightningModule has both
        weight_file evaluate and predict --weights: `WeightFile`; `options.WEIGHTS`; `estimator.of_weights`
        estimator   predict: `of_run(built, checkpoint, step)`, the network as `answers` takes it
        onnx        predict: `of_file(network, flip_test=..., decoding=...)`, the same of an exported network
        answers     predict: `predict(network, request)` writes the answers
        exporting   export: `describe(task, data)`, a `export.networks.Description`
        page        report: `input_shape(settings)`, `scores(page, runs, best)`, `compare(page, subject)`,
                    `add(page, run, with_network=..., trusted=...)`; where only some runs compare, `subset(run)`; where
                    measures have statistics, `columns(run)`
        sheet       browse: `doubts`, `card`, `charts`, `features`, `skeleton`, `version`, `FACETS`, `SIZE`, `NOUN`
        pictures    fit: `show(batch, outputs, names, data)`, `MEASURE`, `comparable(batch, preds)`
        drawing     make: `draw(target, folds=...)` draws the demo data

    Attributes:
        name: As exported files have it; no other task's.
        task: Module and name of the LightningModule.
        data: Module and name of the data module.
        store: The kind of the stores that it is trained on, their attribute `kind`.
        measures: Logged metrics, such as `val/pckh`: the first that a run has stands for it, or else the last.
        validation: Splits that may validate: the first that has a store does.
        clips: Whether a sample is some frames of a film, and not one picture.
    """

    name: str
    task: str
    data: str
    store: str
    measures: tuple[str, ...]
    validation: tuple[str, ...] = ("val",)
    clips: bool = False

    @property
    def folder(self) -> str:
        """The package that the task is in."""
        return self.task.rsplit(".", 2)[0]

    @property
    def task_name(self) -> str:
        """The LightningModule's name, by which messages and pages call the task."""
        return self.task.rpartition(".")[2]

    @property
    def data_name(self) -> str:
        """The data module's name."""
        return self.data.rpartition(".")[2]

    def has(self, part: str) -> bool:
        """Whether the folder has a module of this name."""
        return importlib.util.find_spec(f"{self.folder}.{part}") is not None

    def part(self, name: str) -> Any:
        """A module of the folder."""
        return importlib.import_module(f"{self.folder}.{name}")

    def modules(self) -> tuple[ModuleType, ModuleType]:
        """The modules of the data module and of the LightningModule."""
        return tuple(importlib.import_module(path.rpartition(".")[0]) for path in (self.data, self.task))  # type: ignore[return-value]
