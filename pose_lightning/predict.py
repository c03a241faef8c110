"""`python -m pose_lightning.predict RUN_DIR IMAGE...`: the likeliest classes of photographs, by a trained network."""

import argparse
import sys
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

from pose_lightning import cli, draw
from pose_lightning.activity.task import ActivityClassification
from pose_lightning.convert.pictures import read_picture, shrunk
from pose_lightning.errors import UserError
from pose_lightning.runs import RunDirectory, write_json
from pose_lightning.trained import Manner, load

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
    """A run's best checkpoint, for pictures of any kind and size.

    A picture goes the way of the validation split's: made as small as the store's, then `ActivityData.prepare`.

    Raises:
        UserError: If the run is of another task, or its checkpoint or its stores are missing.
    """

    def __init__(self, run: RunDirectory, *, flip_test: bool = False) -> None:
        built, self.checkpoint, self.step = load(run, manner=Manner(flip_test=flip_test))
        if not isinstance(built.model, ActivityClassification):
            raise UserError(
                f"{run.path} is a run of {type(built.model).__name__}; predict names classes, which takes one of "
                "ActivityClassification"
            )
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


def predict(
    run: RunDirectory,
    paths: Sequence[Path],
    *,
    out: Path | None = None,
    json: Path | None = None,
    flip_test: bool = False,
) -> list[Ranking]:
    """Print the likeliest classes of every picture, and draw them beside it into `out`, or the run's `predictions/`.

    Raises:
        UserError: If the run cannot predict classes; and, when all others are done, if a picture cannot be read.
    """
    classifier = Classifier(run, flip_test=flip_test)
    folder = run.path / "predictions" if out is None else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder} cannot be made: {error.strerror}; name a folder") from error
    print(f"predicting {classifier.target} with {classifier.checkpoint} (step {classifier.step})", flush=True)
    if classifier.synthetic:
        print("trained on SYNTHETIC (demo) pictures: photographs are nothing that it knows", flush=True)
    rankings: list[Ranking] = []
    written: list[Path] = []
    unreadable: dict[Path, str] = {}
    for path in paths:
        try:
            picture = read_picture(path)
        except (ValueError, OSError) as error:
            unreadable[path] = (error.strerror if isinstance(error, OSError) else None) or str(error)
            continue
        found = classifier.rank(path, picture)
        rankings.append(found)
        _show(found)
        written.append(_free(folder / f"{path.name}.png", written))
        note = f"{path.name}   {classifier.experiment}{' (synthetic data)' if classifier.synthetic else ''}"
        draw.write_png(written[-1], draw.ranking(picture, found.names, found.probabilities, [note]))
    if json is not None:
        write_json(json, _to_json(classifier, rankings, unreadable))
    for place in [*written, *([json] if json else [])]:
        print(place)
    if unreadable:
        listed = "; ".join(f"{path}: {reason}" for path, reason in unreadable.items())
        raise UserError(f"{len(unreadable)} of {len(paths)} pictures cannot be read: {listed}")
    return rankings


def _show(found: Ranking) -> None:
    print(found.path)
    table = Table(box=None, padding=(0, 1, 0, 1), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for name, share in zip(found.names, found.probabilities, strict=True):
        table.add_row(f"{100 * share:.1f} %", Text(name))
    Console(width=min(80, Console().width), highlight=False).print(table)


def _free(path: Path, taken: Sequence[Path]) -> Path:
    """The path, or one like it that no picture of this call has."""
    number, found = 2, path
    while found in taken:
        found = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return found


def _to_json(classifier: Classifier, rankings: Sequence[Ranking], unreadable: dict[Path, str]) -> dict[str, Any]:
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
        "unreadable": [{"file": str(path), "reason": reason} for path, reason in unreadable.items()],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pose_lightning.predict", description=__doc__)
    parser.add_argument("run", type=Path, help="a run's directory, runs/EXPERIMENT/ID")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="photographs of any common format")
    parser.add_argument("--out", type=Path, metavar="DIR", help="gets a picture of each (RUN_DIR/predictions)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the classes and their probabilities to a file")
    parser.add_argument("--flip-test", action="store_true", help="average with what the mirrored image gives")
    return parser


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    options = _parser().parse_args(args)
    run = RunDirectory.open(options.run)
    predict(run, options.images, out=options.out, json=options.json, flip_test=options.flip_test)


if __name__ == "__main__":
    main(sys.argv[1:])
