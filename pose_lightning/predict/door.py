"""`python -m pose_lightning.predict RUN_DIR IMAGE...`: what a trained network says of photographs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pose_lightning import cli
from pose_lightning.activity.task import ActivityClassification
from pose_lightning.errors import UserError
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.predict.boxes import Box, boxes_of, numbers, read_boxes, whole
from pose_lightning.predict.classes import Classifier, predict_classes
from pose_lightning.predict.poses import Boxes, PoseEstimator, predict_poses
from pose_lightning.runs import RunDirectory
from pose_lightning.trained import add_manner_arguments, load, manner_from

INPUT_SIZE: Final = 256

DESCRIPTION: Final = """What a trained network says of photographs.

A run of heatmap estimation gives the joints of people: overlays and joints.json. Without a box the whole image is the
person. A run of activity classification gives the likeliest classes."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pose_lightning.predict",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s (RUN_DIR | --weights FILE) IMAGE [IMAGE ...] [options]",
    )
    parser.add_argument("places", type=Path, nargs="+", metavar="RUN_DIR IMAGE", help="photographs of common formats")
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="instead of a run: what pose_lightning.heatmap.published made"
    )
    parser.add_argument("--input-size", type=int, metavar="PX", help=f"side of the input of --weights ({INPUT_SIZE})")
    parser.add_argument("--out", type=Path, metavar="DIR", help="gets a picture of each (RUN_DIR/predictions)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="gets the numbers (of joints: DIR/joints.json; of classes: none)"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--box", metavar="X,Y,W,H", help="the person's tight box, image px from 0; a margin is added")
    where.add_argument("--center", metavar="X,Y", help="the person's centre, with --scale, as MPII annotates them")
    where.add_argument("--boxes", type=Path, metavar="FILE", help="boxes of images: CSV of image,x,y,w,h, or JSON")
    parser.add_argument("--scale", metavar="S", help="the person's height in the image by 200 px")
    add_manner_arguments(parser)
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    if (options.center is None) != (options.scale is None):
        raise UserError("--center X,Y and --scale S go together")
    single = "--box" if options.box is not None else "--center" if options.center is not None else None
    if single and len(options.images) > 1:
        raise UserError(f"{single} is of one image, but {len(options.images)} are given; take --boxes FILE")
    if options.weights is None and options.input_size is not None:
        raise UserError("--input-size goes with --weights; a run has its own")
    if options.weights is not None and options.out is None:
        raise UserError("--weights needs --out DIR: there is no run's directory to write into")


def _boxes(options: argparse.Namespace) -> Boxes:
    """How people are found in an image."""
    if options.box is not None:
        x, y, w, h = numbers(options.box, "--box", "x,y,w,h")
        only = Box.around(x, y, w, h, source="--box")
        return lambda path, width, height: [only]
    if options.center is not None:
        place = f"{options.center},{options.scale}"
        x, y, scale = numbers(place, "--center and --scale", "x,y,s")
        annotated = Box.of_mpii(x, y, scale, source="--center and --scale")
        return lambda path, width, height: [annotated]
    if options.boxes is not None:
        listed = read_boxes(options.boxes)
        found = {path: boxes_of(listed, path, options.boxes) for path in options.images}
        return lambda path, width, height: found[path]
    return lambda path, width, height: [whole(width, height)]


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    options = _parser().parse_intermixed_args(args)
    run, options.images = (None, options.places) if options.weights else (options.places[0], options.places[1:])
    if not options.images:
        raise UserError("say what to predict on: RUN_DIR IMAGE..., or --weights FILE IMAGE...")
    _check(options)
    boxes, manner = _boxes(options), manner_from(options)
    if run is None:
        estimator = PoseEstimator.of_weights(
            options.weights, input_size=options.input_size or INPUT_SIZE, manner=manner
        )
        predict_poses(estimator, options.images, boxes=boxes, folder=options.out, json=options.json)
        return
    directory = RunDirectory.open(run)
    built, checkpoint, step = load(directory, manner=manner)
    folder = directory.path / "predictions" if options.out is None else options.out
    if isinstance(built.model, HeatmapEstimation):
        estimator = PoseEstimator.of_run(built, checkpoint, step)
        predict_poses(estimator, options.images, boxes=boxes, folder=folder, json=options.json)
    elif isinstance(built.model, ActivityClassification):
        if options.box or options.center or options.boxes:
            raise UserError("--box, --center and --boxes are of people's joints; classes are of whole images")
        predict_classes(Classifier(built, checkpoint, step), options.images, folder=folder, json=options.json)
    else:
        raise UserError(
            f"{directory.path} is a run of {type(built.model).__name__}; predict takes photographs, which runs of "
            "HeatmapEstimation and ActivityClassification know"
        )
