"""The likeliest classes of photographs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pose_lightning import draw
from pose_lightning.cli import PoseCLI
from pose_lightning.convert.pictures import shrunk
from pose_lightning.predict.pictures import Photographs
from pose_lightning.runs import write_json

TOP: Final = 5


@dataclass(frozen=True)
class Ranking:
    """The likeliest classes of one picture, or its likeliest tags, each by itself.

    Attributes:
        path: The picture's file.
        names: Likeliest first.
        probabilities: Of each.
    """

    path: Path
    names: tuple[str, ...]
    probabilities: tuple[float, ...]


class Classifier:
    """A run of activity classification, for pictures of any kind and size.

    A picture goes the way of the validation split's: made as small as the store's, then `ActivityData.prepare`.

    Args:
        built: The run with the weights of its checkpoint, from `trained.load`.
        checkpoint: Where they are from.
        step: Of the checkpoint.

    Raises:
        UserError: If its stores are missing.
    """

    def __init__(self, built: PoseCLI, checkpoint: Path, step: int) -> None:
        self.checkpoint, self.step = checkpoint, step
        self.model = built.model.eval()
        self.experiment = str(built.config.experiment)
        self._data: Any = built.datamodule
        self.target, self.synthetic = self._data.target, bool(self._data.synthetic)
        self.classes = tuple(self._data.classes)
        with self._data.samples("train") as store:
            self._shorter_side = store.attrs.get("shorter_side")

    @torch.inference_mode()
    def probabilities(self, picture: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, " k"]:
        """Of every class, for an RGB picture."""
        small = shrunk(picture, self._shorter_side) if self._shorter_side else picture
        image = torch.from_numpy(self._data.prepare(small)).permute(2, 0, 1)[None].float() / 255
        batch = {
            "image": image,
            "target": torch.zeros(1, len(self.classes)),
            "label": torch.full((1,), -1),
            "index": torch.zeros(1, dtype=torch.int64),
            "weight": torch.ones(1),
        }
        return self.model.predict_step(batch, 0)["preds"][0].double().numpy()

    def rank(self, path: Path, picture: UInt8[np.ndarray, "h w 3"]) -> Ranking:
        """The likeliest classes of a picture."""
        found = self.probabilities(picture)
        order = np.argsort(-found, kind="stable")[:TOP].tolist()
        return Ranking(path, tuple(self.classes[place] for place in order), tuple(found[order].tolist()))


def predict_classes(
    classifier: Classifier, paths: Sequence[Path], *, folder: Path, json: Path | None = None
) -> list[Ranking]:
    """Print the likeliest classes of every picture, and draw them beside it into `folder`.

    Raises:
        UserError: When all others are done, if a picture cannot be read.
    """
    photographs = Photographs(paths, folder)
    print(f"predicting {classifier.target} with {classifier.checkpoint} (step {classifier.step})", flush=True)
    if classifier.synthetic:
        print("trained on SYNTHETIC (demo) pictures: photographs are nothing that it knows", flush=True)
    rankings: list[Ranking] = []
    for path, picture in photographs:
        found = classifier.rank(path, picture)
        rankings.append(found)
        _show(found)
        note = f"{path.name}   {classifier.experiment}{' (synthetic data)' if classifier.synthetic else ''}"
        photographs.write(path, draw.ranking(picture, found.names, found.probabilities, [note]))
    if json is not None:
        write_json(json, _to_json(classifier, rankings, photographs))
    for place in [*photographs.written, *([json] if json else [])]:
        print(place)
    photographs.check()
    return rankings


def _show(found: Ranking) -> None:
    print(found.path)
    table = Table(box=None, padding=(0, 1, 0, 1), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for name, share in zip(found.names, found.probabilities, strict=True):
        table.add_row(f"{100 * share:.1f} %", Text(name))
    Console(width=min(80, Console().width), highlight=False).print(table)


def _to_json(classifier: Classifier, rankings: Sequence[Ranking], photographs: Photographs) -> dict[str, Any]:
    return {
        "experiment": classifier.experiment,
        "checkpoint": classifier.checkpoint.name,
        "step": classifier.step,
        "target": classifier.target,
        "synthetic": classifier.synthetic,
        "pictures": [
            {
                "file": str(each.path),
                "top": [
                    {"class": name, "probability": share}
                    for name, share in zip(each.names, each.probabilities, strict=True)
                ],
            }
            for each in rankings
        ],
        "unreadable": photographs.to_json(),
    }
