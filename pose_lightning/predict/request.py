"""What there is to predict on, as a command line says it."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from pose_lightning import kinds
from pose_lightning.errors import UserError, shown
from pose_lightning.files import check_target
from pose_lightning.predict.boxes import numbers
from pose_lightning.predict.containers import LARGEST_DENOMINATOR
from pose_lightning.predict.films import FrameFolder, StoredClip
from pose_lightning.predict.inputs import Inputs, gather
from pose_lightning.predict.places import BoxesOfFile, OneBox, Places
from pose_lightning.terminal import say

TELEVISION: Final = tuple(Fraction(1000 * rate, 1001) for rate in (24, 30, 48, 60, 120))
"""Frames per second that are said with two or three decimals."""


@dataclass(frozen=True)
class Request:
    """What a network is asked.

    Attributes:
        options: Of the command line.
        places: The inputs' paths.
        folder: Gets the files.
        network: What messages call it.
    """

    options: argparse.Namespace
    places: Sequence[Path]
    folder: Path
    network: str

    @property
    def common(self) -> dict[str, Any]:
        """Where the answers go, and how many inputs are in the network at once."""
        return {"folder": self.folder, "json": self.options.json, "batch_size": self.options.batch_size}

    @property
    def boxes_given(self) -> bool:
        """Whether the command line says where people are."""
        return bool(self.options.box or self.options.center or self.options.boxes)

    def boxes(self, inputs: Inputs) -> Places | None:
        """How people are found; None where the command line does not say."""
        return _boxes(self.options, inputs)

    def films(self) -> Inputs:
        """Inputs of a network of clips: all of it as films."""
        return _inputs(self.options, self.places, self.folder, films=True)

    def pictures(self) -> Inputs:
        """Inputs of a network of single pictures.

        Raises:
            UserError: If an option or an input is of clips.
        """
        given = {"--clips": self.options.clips, "--animation": self.options.animation}
        only = f"only runs of {kinds.listed(kind for kind in kinds.KINDS if kind.clips)} know"
        if names := [name for name, value in given.items() if value is not None]:
            raise UserError(f"{', '.join(names)} cannot go with {self.network}: {only} clips")
        inputs = _inputs(self.options, self.places, self.folder, films=False)
        if clips := [film.path for film in inputs.films if isinstance(film, StoredClip)]:
            raise UserError(f"{clips[0]} holds clips, which {only}, and {self.network} is none")
        return inputs


def _check_single(options: argparse.Namespace, inputs: Inputs) -> None:
    single = "--box" if options.box is not None else "--center" if options.center is not None else None
    if single and len(inputs) > 1:
        raise UserError(f"{single} is of one image, but {len(inputs)} are given; take --boxes FILE")


def _check_effect(options: argparse.Namespace, inputs: Inputs) -> None:
    """Refuse options of which no input takes notice."""
    if options.rate is not None and not any(isinstance(film, FrameFolder) for film in inputs.films):
        raise UserError(f"--rate {options.rate} is of folders of pictures, and no input is one")
    if options.clips is not None and not any(isinstance(film, StoredClip) for film in inputs.films):
        raise UserError(f"--clips {options.clips} is of stores and arrays of clips, and no input is one")


def _check_outputs(options: argparse.Namespace, inputs: Inputs, folder: Path) -> None:
    """Refuse to write over what is read, or where the next call would take it for an input."""
    files = inputs.files
    if beside := [path for path in files if path.resolve().parent == folder.resolve()]:
        raise UserError(
            f"--out {folder} is the folder of {beside[0]}, an input: what is drawn there could replace it, or be an "
            "input the next time; name another folder"
        )
    read = [*files, *filter(None, (options.boxes, options.onnx, options.weights))]
    written = [folder / "joints.csv", folder / "classes.csv"]
    numbers = written if options.json is not None else [*written, folder / "joints.json"]
    if both := {path.resolve() for path in numbers} & {path.resolve() for path in read}:
        raise UserError(f"--out {folder}: {both.pop().name} there is read, and would be replaced; name another folder")
    if options.json is None:
        return
    check_target(options.json)
    for kind, paths in (("is read", read), ("is written", written)):
        if options.json.resolve() in [path.resolve() for path in paths]:
            raise UserError(f"--json {options.json} {kind} too; name another file")


def _rate(text: str | None) -> Fraction | None:
    """Frames per second."""
    if text is None:
        return None
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not Fraction(1, 100) <= rate <= 1000:
        raise UserError(f"--rate {text}: wanted frames per second, 0.01 to 1000, as 25, 29.97 or 30000/1001")
    meant = [each for each in TELEVISION if abs(rate - each) < Fraction(1, 200)]
    return meant[0] if meant else rate.limit_denominator(LARGEST_DENOMINATOR)


def _numbers(text: str | None) -> list[int] | None:
    """Of clips."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() for part in parts):
        raise UserError(f"--clips {text}: wanted whole numbers from 0, as in 0,3,5")
    return [int(part) for part in parts]


def _boxes(options: argparse.Namespace, inputs: Inputs) -> Places | None:
    """How people are found; None where the command line does not say."""
    if options.box is not None:
        return OneBox.tight(*numbers(options.box, "--box", "x,y,w,h"))
    if options.center is not None:
        return OneBox.of_mpii(*numbers(f"{options.center},{options.scale}", "--center and --scale", "x,y,s"))
    if options.boxes is not None:
        return BoxesOfFile(options.boxes, inputs)
    return None


def _inputs(options: argparse.Namespace, places: Sequence[Path], folder: Path, *, films: bool) -> Inputs:
    """What there is to predict on; with `films`, all of it as films."""
    rate, clips = _rate(options.rate), _numbers(options.clips)
    if [place for place in places if place.is_dir() and place.resolve() == folder.resolve()]:
        raise UserError(f"--out {folder} is an input too: what is drawn there would be an input the next time")
    inputs = gather(places, rate=rate, folders=films or rate is not None, pictures=films, clips=clips)
    _check_single(options, inputs)
    _check_effect(options, inputs)
    _check_outputs(options, inputs, folder)
    if not inputs.photographs and not inputs.films:
        raise UserError("\n".join(f"{shown(path)} {reason}" for path, reason in inputs.unopened.items()))
    for line in inputs.skipped:
        say(line)
    return inputs
