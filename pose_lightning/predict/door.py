"""`python -m pose_lightning.predict RUN_DIR INPUT...`: what a trained network says of pictures, videos and clips."""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from pose_lightning import manner, trust
from pose_lightning.activity.answers import predict_classes
from pose_lightning.errors import UserError, door, shown
from pose_lightning.files import check_target, local_path, refuse_link
from pose_lightning.heatmap.answers import predict_poses
from pose_lightning.options import OptionParser
from pose_lightning.predict import onnx
from pose_lightning.predict.boxes import numbers
from pose_lightning.predict.containers import LARGEST_DENOMINATOR
from pose_lightning.predict.films import FrameFolder, StoredClip
from pose_lightning.predict.inputs import Inputs, gather
from pose_lightning.predict.places import BoxesOfFile, OneBox, Places, WholePicture
from pose_lightning.regression.answers import AnimationName, predict_clips
from pose_lightning.terminal import say
from pose_lightning.trust import Trust

BATCH_SIZE: Final = 16

INTERRUPTED: Final = 130

TELEVISION: Final = tuple(Fraction(1000 * rate, 1001) for rate in (24, 30, 48, 60, 120))
"""Frames per second that are said with two or three decimals."""

DESCRIPTION: Final = """What a trained network says of pictures, videos and clips.

A run of heatmap estimation gives the joints of people: overlays, joints.json and joints.csv; of videos, annotated
videos. Without a box the whole image is the person. A run of activity classification gives the likeliest classes. A run
of clip regression gives the joints of every frame in mm, and an animation.

Inputs are files, folders, quoted patterns such as 'photos/*.jpg', videos, and for clip regression stores (.h5) and
arrays (.npy) of clips."""


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="python -m pose_lightning.predict",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s (RUN_DIR | --weights FILE | --onnx FILE) INPUT [INPUT ...] [options]",
    )
    parser.add_argument(
        "places", type=local_path, nargs="+", metavar="RUN_DIR INPUT", help="pictures, folders, videos, clips"
    )
    parser.add_argument(
        "--weights",
        type=local_path,
        metavar="FILE",
        help="instead of a run: what pose_lightning.heatmap.published or export made (.safetensors)",
    )
    parser.add_argument(
        "--onnx",
        type=local_path,
        metavar="FILE",
        help="instead of a run: what pose_lightning.export wrote; without PyTorch",
    )
    parser.add_argument("--input-size", type=int, metavar="PX", help="side of the input of --weights (the file's; 256)")
    parser.add_argument("--out", type=local_path, metavar="DIR", help="gets pictures and numbers (RUN_DIR/predictions)")
    parser.add_argument(
        "--json",
        type=local_path,
        metavar="FILE",
        help="gets the numbers (of joints: DIR/joints.json; of classes: none)",
    )
    parser.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="N", help=f"in the network at once ({BATCH_SIZE})"
    )
    parser.add_argument(
        "--rate",
        metavar="HZ",
        help="folders are videos of so many frames a second (of clip regression they always are: at training's rate)",
    )
    parser.add_argument("--clips", metavar="N,N,...", help="of a store or array of clips: which, from 0 (all of a few)")
    parser.add_argument(
        "--animation", choices=("mp4", "gif"), help="of clip regression: the kind of its animation (mp4)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--box", metavar="X,Y,W,H", help="the person's tight box, image px from 0; a margin is added")
    where.add_argument(
        "--center", metavar="X,Y", help="the person's centre, with --scale, as MPII annotates them, px from 1"
    )
    where.add_argument(
        "--boxes",
        type=local_path,
        metavar="FILE",
        help="boxes by name: CSV of image,x,y,w,h, with frame for videos, or JSON",
    )
    parser.add_argument("--scale", metavar="S", help="the person's height in the image by 200 px")
    manner.add_arguments(parser)
    trust.add_argument(parser)
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if (options.center is None) != (options.scale is None):
        raise UserError("--center X,Y and --scale S go together")
    if options.weights is None and options.input_size is not None:
        raise UserError("--input-size goes with --weights; a run has its own")
    if options.weights is not None and options.onnx is not None:
        raise UserError("--weights and --onnx are two networks; name one")
    if options.onnx is not None and options.scales is not None:
        raise UserError("--scales cannot go with --onnx, whose file shows people at one scale; name the run")
    for name, given in (("--weights", options.weights), ("--onnx", options.onnx)):
        if given is not None and options.out is None:
            raise UserError(f"{name} needs --out DIR: there is no run's directory to write into")
    if options.input_size is not None and options.input_size < 1:
        raise UserError(f"--input-size {options.input_size}: wanted at least 1 px")
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size}: wanted at least 1")


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


def _joined(args: Sequence[str]) -> list[str]:
    """With `--box -10,...` as `--box=-10,...`: argparse takes what begins with a minus for an option."""
    joined: list[str] = []
    for each in args:
        if joined and joined[-1] in ("--box", "--center") and re.match(r"-[\d.]", each):
            joined[-1] += f"={each}"
        else:
            joined.append(each)
    return joined


@door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text
    args = sys.argv[1:] if args is None else list(args)
    options = _parser().parse_intermixed_args(_joined(args))
    trusted = Trust.of("predict", args, options.trust)
    no_run = options.weights is not None or options.onnx is not None
    run, places = (None, options.places) if no_run else (options.places[0], options.places[1:])
    if not places:
        raise UserError("say what to predict on: RUN_DIR INPUT..., --weights FILE INPUT... or --onnx FILE INPUT...")
    _check(options)
    try:
        _predict(options, run, places, trusted)
    except KeyboardInterrupt:
        say("interrupted: files that were not complete are gone, the others stay")
        raise SystemExit(INTERRUPTED) from None


def _network(options: argparse.Namespace, run: Path | None, trusted: Trust) -> Any:
    """What `predict_poses`, `predict_classes` or `predict_clips` takes, as its `task` says."""
    if options.onnx is not None:
        return onnx.read(options.onnx, flip_test=options.flip_test, decoding=options.decoding)
    from pose_lightning.predict import loading  # noqa: PLC0415 - imports PyTorch, which --onnx does without

    return loading.of_weights(options) if run is None else loading.of_run(run, options, trusted)


def _predict(options: argparse.Namespace, run: Path | None, places: Sequence[Path], trusted: Trust) -> None:
    network = _network(options, run, trusted)
    if options.out is None and run is not None:
        refuse_link(run / "predictions")
    folder = options.out if options.out is not None or run is None else run / "predictions"
    said = str(run) if run is not None else "--weights" if options.weights is not None else str(options.onnx)
    common: dict[str, Any] = {"folder": folder, "json": options.json, "batch_size": options.batch_size}
    if network.task == "heatmap":
        inputs = _pictures(options, places, folder, said)
        predict_poses(network, inputs, boxes=_boxes(options, inputs) or WholePicture(), **common)
    elif network.task == "activity":
        if options.box or options.center or options.boxes:
            raise UserError("--box, --center and --boxes are of people's joints; classes are of whole images")
        predict_classes(network, _pictures(options, places, folder, said), **common)
    else:
        inputs = _inputs(options, places, folder, films=True)
        animation: AnimationName = options.animation or "mp4"
        predict_clips(network, inputs, boxes=_boxes(options, inputs), animation=animation, **common)


def _pictures(options: argparse.Namespace, places: Sequence[Path], folder: Path, network: str) -> Inputs:
    """Inputs of a network of single pictures.

    Raises:
        UserError: If an option or an input is for clip regression.
    """
    given = {"--clips": options.clips, "--animation": options.animation}
    if names := [name for name, value in given.items() if value is not None]:
        raise UserError(f"{', '.join(names)} cannot go with {network}: only runs of ClipRegression know clips")
    inputs = _inputs(options, places, folder, films=False)
    if clips := [film.path for film in inputs.films if isinstance(film, StoredClip)]:
        raise UserError(f"{clips[0]} holds clips, which only runs of ClipRegression know, and {network} is none")
    return inputs
