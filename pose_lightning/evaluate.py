"""`python -m pose_lightning.evaluate`: the tables of a run, or of anyone's predictions."""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

import pose_lightning.heatmap.scoring
import pose_lightning.regression.scoring
from pose_lightning import cli
from pose_lightning.cli import PoseCLI
from pose_lightning.convert.npy import ClipPair
from pose_lightning.curves import write_curves
from pose_lightning.errors import UserError
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.regression.predictions import Unit
from pose_lightning.regression.task import ClipRegression
from pose_lightning.runs import RunDirectory, write_json
from pose_lightning.scoring import Found, Outcome, Scoring
from pose_lightning.store import Store
from pose_lightning.task import Task

SCORING: Final[Mapping[type[Task], Scoring]] = {
    HeatmapEstimation: pose_lightning.heatmap.scoring,
    ClipRegression: pose_lightning.regression.scoring,
}

LARGEST_BATCH: Final = 32
"""One device predicts what several may have trained on; the batch changes nothing but the memory."""


def evaluate_run(run: RunDirectory, *, split: str = "val", flip_test: bool = False, overlays: int = 0) -> Outcome:
    """Score a run's best checkpoint on a split of its data, print the tables and write them into the run's directory.

    Writes `metrics.json`, `predictions.h5`, `curves/` and, where asked for, `overlays/`; for another split than `val`,
    `metrics-SPLIT.json` and so on.

    Raises:
        UserError: If the run has no checkpoint, or the split no store.
    """
    built, checkpoint, step = _load(run, flip_test=flip_test)
    data, scoring = built.datamodule, SCORING[type(built.model)]
    if overlays and isinstance(built.model, ClipRegression):
        raise UserError(
            "--overlays draws poses in px; a clip's poses are relative to the pelvis and have no place there"
        )
    store_path = data.store_path(split)
    with ExitStack() as stack:
        store, train = (stack.enter_context(Store(path)) for path in (store_path, data.store_path("train")))
        print(f"evaluating {checkpoint} (step {step}) on {split}", flush=True)
        found = _predict(built, split)
        title = f"{built.config.experiment}{', flip test' if flip_test else ''}"
        outcome = scoring.judge(found, store, train, title=title)
        suffix = "" if split == "val" else f"-{split}"
        metrics_path, predictions_path = run.path / f"metrics{suffix}.json", run.path / f"predictions{suffix}.h5"
        chosen = checkpoint == run.best and store_path == data.store_path("val")
        facts = {
            "checkpoint": checkpoint.name,
            "step": step,
            "flip_test": flip_test,
            "chosen_on_this_split": chosen,
        }
        write_json(metrics_path, {**facts, **outcome.json})
        scoring.write_predictions(predictions_path, found, store, split=split)
        written = [metrics_path, predictions_path, *_curves(run, built)]
        if overlays:
            folder = run.path / f"overlays{suffix}"
            written.append(folder)
            pose_lightning.heatmap.scoring.write_overlays(folder, found, store, overlays)
    note = f"best.ckpt was chosen by {built.model.monitor[0]} on this split: a little optimistic." if chosen else ""
    _print(outcome, note, [run.path, checkpoint, run.path / "metrics.csv", *written])
    return outcome


def evaluate_pair(
    run: RunDirectory, clips: Path, joints: Path, *, unit: Unit | None = None, json: Path | None = None
) -> Outcome:
    """Score a run's best checkpoint on a pair of `.npy` files, read piece by piece: the course's `evaluate.py`.

    Raises:
        UserError: If the run is no clip regression, or the files are not such a pair.
    """
    built, checkpoint, step = _load(run)
    if not isinstance(built.model, ClipRegression):
        raise UserError(f"{run.path} is a run of {type(built.model).__name__}; --clips needs one of ClipRegression")
    with ExitStack() as stack:
        pair = stack.enter_context(ClipPair(clips, joints, unit=unit or "auto"))
        train_path = built.datamodule.store_path("train")
        train = stack.enter_context(Store(train_path)) if train_path.is_file() else None
        built.datamodule.read_from(pair)
        print(f"evaluating {checkpoint} (step {step}) on {clips}", flush=True)
        outcome = SCORING[ClipRegression].judge(_predict(built, "test"), pair, train, title=built.config.experiment)
    if json is not None:
        write_json(json, {"checkpoint": checkpoint.name, "step": step, "clips": clips.name, **outcome.json})
    _print(outcome, "", [json] if json else [])
    return outcome


def _load(run: RunDirectory, *, flip_test: bool = False) -> tuple[PoseCLI, Path, int]:
    """What the run's configuration describes, with the weights of its best checkpoint; its path and its step."""
    checkpoint = run.best if run.best.is_file() else run.last
    if not checkpoint.is_file():
        raise UserError(
            f"{run.path} has no checkpoint; `python -m pose_lightning.fit --resume` needs one too: start anew"
        )
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # `fit` has said it all
    built = cli.build(
        [f"--config={run.config}", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"]
    )
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    built.model.load_state_dict(state["state_dict"])
    built.model.flip_test = flip_test
    return built, checkpoint, int(state["global_step"])


def _predict(built: PoseCLI, split: str) -> Found:
    """What the model predicts for every sample of a split, in the store's order."""
    data = built.datamodule
    data.predict_split = split
    data.batch_size = min(data.batch_size, LARGEST_BATCH)
    batches: Any = built.trainer.predict(built.model, datamodule=data)
    joined = {key: torch.cat([batch[key] for batch in batches]).cpu() for key in batches[0]}
    real = joined["weight"] > 0
    order = joined["index"][real].argsort()
    if not torch.equal(joined["index"][real][order], torch.arange(len(order))):
        raise AssertionError("the loader left out or repeated a sample")
    return {
        key: values[real][order].double().numpy() for key, values in joined.items() if key not in ("index", "weight")
    }


def _curves(run: RunDirectory, built: PoseCLI) -> list[Path]:
    metrics = run.path / "metrics.csv"
    if not metrics.is_file():
        return []
    title = f"{built.config.experiment}{' (synthetic data)' if built.datamodule.synthetic else ''}"
    data = built.datamodule
    epoch = data.samples_seen(data.steps_per_epoch)
    return write_curves(run.path / "curves", metrics, built.model.curves, title=title, epoch=epoch)


def evaluate_predictions(
    path: Path,
    store_path: Path,
    *,
    origin: int | None = None,
    published_truth: Path | None = None,
    unit: Unit | None = None,
    json: Path | None = None,
) -> Outcome:
    """Score predictions from a file on a store, in the store's order, and print the tables.

    The baselines come from `train.h5` beside the store, where there is one.
    """
    train_path = store_path.with_name("train.h5")
    with ExitStack() as stack:
        store = stack.enter_context(Store(store_path))
        train = stack.enter_context(Store(train_path)) if train_path.is_file() else None
        if store.attrs.get("kind") == "clips":
            if origin is not None or published_truth is not None:
                raise UserError(f"--origin and --published-truth are for pixels; {store_path} holds clips in mm")
            outcome, facts = pose_lightning.regression.scoring.judge_file(path, store, train, unit=unit)
        else:
            if unit is not None:
                raise UserError(f"--unit is for clips; {store_path} holds poses in px")
            outcome, facts = pose_lightning.heatmap.scoring.judge_file(
                path, store, train, origin=origin, published_truth=published_truth
            )
    if json is not None:
        write_json(json, {**facts, **outcome.json})
    _print(outcome, "", [json] if json else [])
    return outcome


def _print(outcome: Outcome, note: str, paths: Sequence[Path]) -> None:
    console = Console(width=min(80, Console().width), highlight=False)
    console.print(outcome.table)
    if note:
        console.print(f"  {note}")
    for path in paths:
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pose_lightning.evaluate", description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="a run's directory, runs/EXPERIMENT/ID")
    parser.add_argument("--split", default="val", choices=["train", "val", "test"])
    parser.add_argument("--flip-test", action="store_true", help="average with what the mirrored image gives")
    parser.add_argument(
        "--overlays", type=int, default=0, metavar="N", help="draw the N best, median and worst samples"
    )
    parser.add_argument("--clips", type=Path, metavar="NPY", help="score the run on this array of clips, with --joints")
    parser.add_argument("--joints", type=Path, metavar="NPY", help="the joints of --clips")
    parser.add_argument("--predictions", type=Path, help="score this file instead: .h5 or .mat with `preds`, or .npy")
    parser.add_argument("--store", type=Path, help="the store that --predictions belong to")
    parser.add_argument("--origin", type=int, choices=[0, 1], help="pixel coordinates of the file (MATLAB: 1)")
    parser.add_argument(
        "--unit",
        choices=["m", "mm"],
        help="of poses in 3-D, from --predictions or --joints; default: told from their spread",
    )
    parser.add_argument(
        "--published-truth", type=Path, metavar="MAT", help="HRNet's gt_valid.mat: score as published MPII numbers were"
    )
    parser.add_argument(
        "--json", type=Path, metavar="OUT", help="write the scores of --predictions or --clips to a file"
    )
    return parser


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    of_runs = {"--split": options.split != "val", "--flip-test": options.flip_test, "--overlays": options.overlays}
    of_pairs = {"--clips": options.clips, "--joints": options.joints}
    of_files = {
        "--store": options.store,
        "--origin": options.origin is not None,
        "--published-truth": options.published_truth,
    }
    of_both = {"--json": options.json, "--unit": options.unit}
    if options.predictions is not None and (options.store is None or options.run is not None):
        raise UserError("--predictions FILE goes with --store FILE, and with no run directory")
    if options.predictions is None and (options.clips is None) != (options.joints is None):
        raise UserError("--clips NPY and --joints NPY go together")
    if options.predictions is not None:
        kind, foreign = "--predictions", of_runs | of_pairs
    elif options.clips is not None:
        kind, foreign = "--clips", of_runs | of_files
    else:
        kind, foreign = "a run's directory", of_files | of_both
    if given := [name for name, value in foreign.items() if value]:
        raise UserError(f"{', '.join(given)} cannot go with {kind}")


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    options = _parser().parse_args(args)
    _check_options(options)
    if options.predictions is not None:
        evaluate_predictions(
            options.predictions,
            options.store,
            origin=options.origin,
            published_truth=options.published_truth,
            unit=options.unit,
            json=options.json,
        )
    elif options.run is None:
        raise UserError("say what to score: a run's directory, or --predictions FILE --store FILE")
    elif options.clips is not None:
        run = RunDirectory.open(options.run)
        evaluate_pair(run, options.clips, options.joints, unit=options.unit, json=options.json)
    else:
        run = RunDirectory.open(options.run)
        evaluate_run(run, split=options.split, flip_test=options.flip_test, overlays=options.overlays)


if __name__ == "__main__":
    main(sys.argv[1:])
