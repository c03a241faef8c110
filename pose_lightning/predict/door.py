"""`python -m pose_lightning.predict RUN_DIR INPUT...`: what a trained network says of pictures, videos and clips."""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pose_lightning import kinds, manner, trust
from pose_lightning.errors import UserError, door
from pose_lightning.files import local_path, refuse_link
from pose_lightning.options import OptionParser
from pose_lightning.predict import onnx
from pose_lightning.predict.request import Request
from pose_lightning.terminal import say
from pose_lightning.trust import Trust

BATCH_SIZE: Final = 16

INTERRUPTED: Final = 130

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
        help=f"instead of a run: {kinds.having('weight_file')[0].part('options').WEIGHTS}",
    )
    parser.add_argument(
        "--onnx",
        type=local_path,
        metavar="FILE",
        help="instead of a run: what pose_lightning.export wrote; without PyTorch",
    )
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
    if options.batch_size < 1:
        raise UserError(f"--batch-size {options.batch_size}: wanted at least 1")


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
    """What `predict` of the `answers` of its `task` takes."""
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
    kinds.named(network.task).part("answers").predict(network, Request(options, places, folder, said))
