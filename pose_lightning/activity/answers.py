"""The likeliest classes of photographs and of the frames of videos: printed, drawn in, and written."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from rich.table import Table
from rich.text import Text

from pose_lightning import draw
from pose_lightning.errors import UserError
from pose_lightning.predict.answers import Ranking, check_numbers, marked, say_data
from pose_lightning.predict.containers import STILLS
from pose_lightning.predict.films import Film, Frame, batches, of_one_size
from pose_lightning.predict.inputs import Inputs
from pose_lightning.predict.pictures import Photographs, Progress, Troubles, in_batches
from pose_lightning.predict.recording import Annotated
from pose_lightning.predict.request import Request
from pose_lightning.predict.results import CsvFile, JsonFile, Names
from pose_lightning.terminal import Terminal, say

COLUMNS: Final = ("file", "frame", "rank", "class", "probability")

MEAN: Final = "mean"
"""What stands for the frame where a row is of the mean over all frames."""


class Ranker(Protocol):
    """What says how likely classes are, such as `classes.Classifier`."""

    checkpoint: Path
    step: int
    experiment: str
    synthetic: bool | None
    flip_test: bool
    target: str
    classes: tuple[str, ...]

    def probabilities_of(self, pictures: Sequence[draw.Picture]) -> np.ndarray:
        """Of every class (n, k), for pictures of any sizes."""

    def ranking(self, path: Path, found: np.ndarray) -> Ranking:
        """The likeliest classes by their probabilities."""


def predict(classifier: Ranker, request: Request) -> None:
    """Answer a command line."""
    if request.boxes_given:
        raise UserError("--box, --center and --boxes are of people's joints; classes are of whole images")
    predict_classes(classifier, request.pictures(), **request.common)


def predict_classes(classifier: Ranker, inputs: Inputs, *, folder: Path, json: Path | None, batch_size: int) -> None:
    """Print the likeliest classes of every input, and draw them beside pictures and into videos in `folder`.

    `classes.csv` in it has them all; of videos those of every frame, and of the mean over the frames.

    Args:
        classifier: The network.
        inputs: What to predict on.
        folder: Gets the files.
        json: Gets the numbers too, but those of single frames.
        batch_size: Pictures in the network at once.

    Raises:
        UserError: When all others are done, if something cannot be read.
    """
    photographs = Photographs(inputs.photographs, folder, [json] if json else [])
    troubles = Troubles(inputs)
    say(f"predicting {classifier.target} with {classifier.checkpoint} (step {classifier.step})")
    say_data(classifier.synthetic, "pictures", "photographs")
    table = photographs.names.new("classes", ".csv")
    with ExitStack() as stack:
        rows = stack.enter_context(CsvFile(table, COLUMNS))
        numbers = stack.enter_context(JsonFile(json)) if json else None
        pictures = _pictures(classifier, photographs, rows, batch_size)
        videos = []
        for film in inputs.films:
            frames = _in_film(classifier, film, batch_size)
            videos.append(_predict_film(classifier, film, frames, photographs.names, troubles, rows))
        if numbers:
            for key, value in _facts(classifier).items():
                numbers.item(value, key)
            _list(numbers, "pictures", pictures)
            _list(numbers, "videos", videos)
            _list(numbers, "unreadable", photographs.to_json() + troubles.to_json())
        if photographs.names.given == [table]:
            troubles.check(photographs)  # before files get their names: those of an earlier call stay
    for place in [*photographs.names.given, *([json] if json else [])]:
        say(place)
    troubles.check(photographs)


def _list(numbers: JsonFile, key: str, values: list[dict[str, Any]]) -> None:
    numbers.begin("[", key)
    for value in values:
        numbers.item(value)
    numbers.end()


def _pictures(classifier: Ranker, photographs: Photographs, rows: CsvFile, batch_size: int) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for paths, pictures in in_batches(photographs, batch_size):
        for path, picture, shares in zip(paths, pictures, _shares(classifier, pictures), strict=True):
            found = classifier.ranking(path, shares)
            _show(found)
            note = f"{path.name}   {_title(classifier)}"
            photographs.write(path, draw.ranking(picture, found.names, found.probabilities, [note]))
            rows.rows(_rows(found, ""))
            said.append({"file": str(path), "top": _top(found)})
    return said


def _shares(classifier: Ranker, pictures: Sequence[draw.Picture]) -> np.ndarray:
    found = classifier.probabilities_of(pictures)
    check_numbers(found, f"{classifier.checkpoint} (step {classifier.step})")
    return found


def _in_film(classifier: Ranker, film: Film, batch_size: int) -> Iterator[tuple[Frame, np.ndarray | None]]:
    """Every frame and the probabilities of its classes; none where it cannot be read."""
    for batch in batches(of_one_size(film), batch_size):
        found = iter(_shares(classifier, [each.picture for each in batch if each.picture is not None]))
        for frame in batch:
            yield frame, None if frame.picture is None else next(found)


def _predict_film(
    classifier: Ranker,
    film: Film,
    found: Iterator[tuple[Frame, np.ndarray | None]],
    names: Names,
    troubles: Troubles,
    rows: CsvFile,
) -> dict[str, Any]:
    """One annotated video, as large and as fast as the film; returns what JSON says of it."""
    target, total = names.new(film.name, "-classes.mp4"), np.zeros(len(classifier.classes))
    with Annotated(target, film.rate or STILLS) as video, Progress(film) as progress:
        for frame, shares in found:
            progress.advance()
            if frame.picture is None or shares is None:
                troubles.add(film, frame)
                video.skip(frame)
                continue
            ranking = classifier.ranking(film.path, shares)
            lines = [_title(classifier)]
            video.show(frame, draw.ranked(frame.picture, ranking.names, ranking.probabilities, lines))
            rows.rows(_rows(ranking, frame.number))
            total += shares
    facts: dict[str, Any] = {"file": str(film.path), "frames": video.readable, "overlay": str(target), "top": []}
    if not video.readable:
        names.given.remove(target)
        return facts | {"overlay": None}
    mean = classifier.ranking(film.path, total / video.readable)
    rows.rows(_rows(mean, MEAN))
    _show(mean, f", mean over {video.readable} frames{'; ' if video.note else ''}{video.note}")
    return facts | {"top": _top(mean)}


def _title(classifier: Ranker) -> str:
    return marked(classifier.experiment, classifier.synthetic)


def _rows(found: Ranking, frame: int | str) -> list[list[Any]]:
    pairs = zip(found.names, found.probabilities, strict=True)
    return [[found.path, frame, rank, name, f"{share:.6f}"] for rank, (name, share) in enumerate(pairs, start=1)]


def _show(found: Ranking, said: str = "") -> None:
    say(f"{found.path}{said}")
    table = Table(box=None, padding=(0, 1, 0, 1), show_header=False)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for name, share in zip(found.names, found.probabilities, strict=True):
        table.add_row(f"{100 * share:.1f} %", Text(name))
    Terminal(width=min(80, Terminal().width), highlight=False).print(table)


def _top(found: Ranking) -> list[dict[str, Any]]:
    pairs = zip(found.names, found.probabilities, strict=True)
    return [{"class": name, "probability": share} for name, share in pairs]


def _facts(classifier: Ranker) -> dict[str, Any]:
    return {
        "experiment": classifier.experiment,
        "checkpoint": classifier.checkpoint.name,
        "step": classifier.step,
        "target": classifier.target,
        "flip_test": classifier.flip_test,
        "synthetic": classifier.synthetic,
    }
