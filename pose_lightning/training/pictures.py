"""Pictures in training: what the network makes of a few validation samples, always the same ones, as it learns."""

import csv
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.loggers import WandbLogger

from pose_lightning import draw, kinds
from pose_lightning.files import as_cell, make_folder, write_text

SIDE: Final = 256
STILL: Final = 0.01
"""Spread of predictions over samples, as a share of the truth's, below which all are one."""

COLUMNS: Final = ("step", "samples", "epoch", "name", "measure", "value", "seen as")


@dataclass(frozen=True)
class Shown:
    """What became of one sample.

    Attributes:
        name: The sample's.
        picture: With the prediction.
        value: How wrong or right it is, in the unit of `measure`.
        seen_as: In words, where there are some.
    """

    name: str
    picture: draw.Picture
    value: float
    seen_as: str = ""


class Pictures(Callback):
    """Draws the predictions of a few validation samples into `samples/`, and to W&B where it is on.

    Each time there is one sheet, `samples/<training samples seen>.png`, and a row per sample in `samples/table.csv`.
    The samples are spread evenly over the validation split. Drawing changes nothing in training: the network is in
    evaluation mode, and no random number is drawn. A line in the log warns where all samples get the same prediction.

    Args:
        folder: The run's `samples/`.
        every: Validations between two drawings; the first one and the end of training are drawn as well. 0 is never.
        count: Samples.
    """

    def __init__(self, folder: Path, *, every: int, count: int) -> None:
        self.folder, self.every, self.count = folder, every, count
        self._validations, self._drawn = 0, -1
        self._samples: tuple[list[dict[str, Any]], list[str]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """How often it was asked, so that a resumed run draws at the same moments."""
        return {"validations": self._validations}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._validations = int(state_dict["validations"])

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw, if it is time."""
        if trainer.sanity_checking or not self._wanted(trainer, pl_module):
            return
        if self._validations % self.every == 0:
            self._draw(trainer, pl_module)
        self._validations += 1

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw what came out, unless the last validation just did."""
        if self._wanted(trainer, pl_module) and self._drawn != trainer.global_step:
            modes = [(module, module.training) for module in pl_module.modules()]
            pl_module.eval()
            try:
                self._draw(trainer, pl_module)
            finally:
                for module, training in modes:
                    module.training = training
        self._samples = None

    def _wanted(self, trainer: pl.Trainer, task: pl.LightningModule) -> bool:
        if self.every == 0 or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return False
        return kinds.of(task) in kinds.having("pictures")

    @torch.no_grad()
    def _draw(self, trainer: pl.Trainer, task: Any) -> None:
        self._drawn = trainer.global_step
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if self._samples is None:
            self._samples = _load(data, self.count)
        stored, names = self._samples
        batches, answers = [], []
        for sample in stored:
            batch: Any = trainer.strategy.batch_to_device(sample, task.device)  # the data module's hooks included
            with trainer.precision_plugin.predict_step_context():
                answers.append(_on_host(task.predict_step(batch, 0)))
            batches.append(_on_host(batch))
        truth = {key: torch.cat([each[key] for each in batches]) for key in batches[0]}
        arrays = {key: torch.cat([each[key] for each in answers]).double().numpy() for key in answers[0]}
        kind: Any = kinds.of(task)
        part = kind.part("pictures")
        shown = part.show(truth, arrays, names, data)
        if alike(*part.comparable(truth, arrays["preds"])):
            logging.getLogger("pytorch_lightning").warning(
                "all %d samples of %s get the same prediction after %d steps: the network tells nothing apart",
                len(names),
                self.folder,
                trainer.global_step,
            )
        seen = data.samples_seen(trainer.global_step)
        self._write(shown, part.MEASURE, step=trainer.global_step, samples=seen, epoch=trainer.current_epoch)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _send(logger, shown, part.MEASURE, samples=seen)

    def _write(self, shown: Sequence[Shown], measure: str, *, step: int, samples: int, epoch: int) -> None:
        make_folder(self.folder, inside=self.folder.parent)
        draw.write_png(self.folder / f"{samples:09d}.png", draw.contact_sheet([each.picture for each in shown]))
        path = self.folder / "table.csv"
        rows: list[dict[str, Any]] = []
        if path.is_file():  # a resumed run sees some steps again
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) < step]
        for each in shown:
            values = (step, samples, epoch, each.name, measure, f"{each.value:.4f}", each.seen_as)
            rows.append(dict(zip(COLUMNS, values, strict=True)))
        write_text(path, _as_csv(rows))


def _load(data: Any, count: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The same samples of the validation split every time, evenly spaced, and their names.

    Each is a batch of its own: more at once might not fit where a batch of training does.
    """
    source = data.source("val", augment=False)
    indices = np.unique(np.linspace(0, len(source) - 1, min(count, len(source))).round().astype(np.int64))
    batches = []
    for index in indices.tolist():
        buffers = source.allocate(1)
        source.fill(buffers, 0, index, 0)
        totals = {"samples": 1.0, **source.totals(np.array([index]))}
        batches.append(
            {
                **{key: torch.from_numpy(value) for key, value in buffers.items()},
                **{f"total_{key}": torch.tensor(value) for key, value in totals.items()},
                "index": torch.tensor([index]),
                "weight": torch.ones(1),
                "epoch": 0,
            }
        )
    return batches, [source.name(index) for index in indices.tolist()]


def _on_host(batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    """What a batch has of each sample."""
    return {key: value.cpu() for key, value in batch.items() if isinstance(value, torch.Tensor) and value.ndim}


def alike(preds: np.ndarray, usual: float) -> bool:
    """Whether one prediction serves all samples; never of too few to tell.

    Args:
        preds: By sample.
        usual: The truth's spread over samples.
    """
    return len(preds) >= 4 and bool(preds.std(axis=0).mean() < STILL * usual)


def pixels(image: torch.Tensor) -> draw.Picture:
    """An image (3, h, w) in [0, 1] as RGB."""
    pixels: np.ndarray = (image.permute(1, 2, 0) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return np.ascontiguousarray(pixels)


def _send(logger: WandbLogger, shown: Sequence[Shown], measure: str, *, samples: int) -> None:
    import wandb  # noqa: PLC0415 - a second of start-up that a run without W&B does not pay

    rows = [[each.name, wandb.Image(each.picture), each.value, each.seen_as] for each in shown]
    table = wandb.Table(columns=["name", "picture", measure, "seen as"], data=rows)
    pictures = [wandb.Image(each.picture, caption=each.name) for each in shown]
    logger.experiment.log({"pictures/val": pictures, "pictures/table": table, "samples": samples})


def _as_csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: as_cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()
