"""`python -m pose_lightning.evaluate`: the PCKh table of a run, or of anyone's predictions."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console

from pose_lightning import cli
from pose_lightning.cli import PoseCLI
from pose_lightning.errors import UserError
from pose_lightning.heatmap import evaluation, table
from pose_lightning.heatmap.baselines import baselines
from pose_lightning.heatmap.evaluation import Score, Truth
from pose_lightning.heatmap.overlays import store_pictures, write_overlays
from pose_lightning.heatmap.predictions import read_predictions, write_predictions
from pose_lightning.runs import RunDirectory, write_json
from pose_lightning.store import Store

LARGEST_BATCH: Final = 32
"""One device predicts what several may have trained on; the batch changes nothing but the memory."""


def evaluate_run(run: RunDirectory, *, split: str = "val", flip_test: bool = False, overlays: int = 0) -> list[Score]:
    """Score a run's best checkpoint on a split of its data, print the table and write it into the run's directory.

    Writes `metrics.json`, `predictions.h5` and, where asked for, `overlays/`; for another split than `val`,
    `metrics-SPLIT.json` and so on.

    Raises:
        UserError: If the run has no checkpoint, or the split no store.
    """
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
    print(f"evaluating {checkpoint} (step {state['global_step']}) on {split}", flush=True)
    preds, confidence = _predict(built, split)
    store_path = built.datamodule.store_path(split)
    with Store(store_path) as store, Store(built.datamodule.store_path("train")) as train:
        truth = Truth.from_store(store)
        title = f"{built.config.experiment}{', flip test' if flip_test else ''}"
        scores = _score(preds, truth, Truth.from_store(train), title=title)
        suffix = "" if split == "val" else f"-{split}"
        metrics_path, predictions_path = run.path / f"metrics{suffix}.json", run.path / f"predictions{suffix}.h5"
        chosen = checkpoint == run.best and split == "val"
        facts = {
            "checkpoint": checkpoint.name,
            "step": state["global_step"],
            "flip_test": flip_test,
            "chosen_on_this_split": chosen,
        }
        write_json(metrics_path, {**facts, **evaluation.to_json(scores)})
        write_predictions(predictions_path, preds, truth.names, store=store_path, split=split, confidence=confidence)
        written = [metrics_path, predictions_path]
        if overlays:
            folder = run.path / f"overlays{suffix}"
            written.append(folder)
            write_overlays(folder, preds, truth, store_pictures(store), overlays)
    note = f"best.ckpt was chosen by {built.model.monitor[0]} on this split: a little optimistic." if chosen else ""
    _print(scores, note, [run.path, checkpoint, run.path / "metrics.csv", *written])
    return scores


def _predict(built: PoseCLI, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Joints in image px and confidences of every sample of a split, in the store's order."""
    data = built.datamodule
    data.predict_split = split
    data.batch_size = min(data.batch_size, LARGEST_BATCH)
    batches: Any = built.trainer.predict(built.model, datamodule=data)
    joined = {key: torch.cat([batch[key] for batch in batches]).cpu() for key in batches[0]}
    real = joined["weight"] > 0
    order = joined["index"][real].argsort()
    if not torch.equal(joined["index"][real][order], torch.arange(len(order))):
        raise AssertionError("the loader left out or repeated a sample")
    return joined["preds"][real][order].double().numpy(), joined["confidence"][real][order].double().numpy()


def _score(preds: np.ndarray, truth: Truth, train: Truth, *, title: str) -> list[Score]:
    others = [evaluation.score(poses, truth, title=name) for name, poses in baselines(train, truth).items()]
    return [evaluation.score(preds, truth, title=title), *others]


def evaluate_predictions(
    path: Path,
    store_path: Path,
    *,
    origin: int | None = None,
    published_truth: Path | None = None,
    json: Path | None = None,
) -> list[Score]:
    """Score predictions from a file on a store, in the store's order, and print the table.

    The baselines come from `train.h5` beside the store, where there is one.
    """
    with Store(store_path) as store:
        truth = Truth.from_store(store)
    found = read_predictions(path, truth.names, origin=origin)
    if published_truth is not None:
        as_published = evaluation.published_truth(truth, published_truth)
        print(evaluation.zeroed_joints(found.preds, truth, as_published))
        truth = as_published
    train_path = store_path.with_name("train.h5")
    if train_path.is_file():
        with Store(train_path) as train:
            scores = _score(found.preds, truth, Truth.from_store(train), title=path.stem)
    else:
        scores = [evaluation.score(found.preds, truth, title=path.stem)]
    if json is not None:
        write_json(json, {"predictions": path.name, "origin": found.origin, **evaluation.to_json(scores)})
    _print(scores, "", [json] if json else [])
    return scores


def _print(scores: Sequence[Score], note: str, paths: Sequence[Path]) -> None:
    console = Console(width=min(80, Console().width), highlight=False)
    console.print(table.render(scores))
    if note:
        console.print(f"  {note}")
    for path in paths:
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pose_lightning.evaluate", description=__doc__)
    parser.add_argument("run", nargs="?", type=Path, help="a run's directory, runs/EXPERIMENT/ID")
    parser.add_argument("--split", default="val", choices=["train", "val", "test"])
    parser.add_argument("--flip-test", action="store_true", help="average with the mirrored image's heatmaps")
    parser.add_argument(
        "--overlays", type=int, default=0, metavar="N", help="draw the N best, median and worst persons"
    )
    parser.add_argument("--predictions", type=Path, help="score this file instead: .h5 or .mat with `preds`, or .npy")
    parser.add_argument("--store", type=Path, help="the store that --predictions belong to")
    parser.add_argument("--origin", type=int, choices=[0, 1], help="pixel coordinates of the file (MATLAB: 1)")
    parser.add_argument(
        "--published-truth", type=Path, metavar="MAT", help="HRNet's gt_valid.mat: score as published MPII numbers were"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the scores of --predictions there")
    return parser


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that would have no effect."""
    of_runs = {"--split": options.split != "val", "--flip-test": options.flip_test, "--overlays": options.overlays}
    of_files = {
        "--store": options.store,
        "--origin": options.origin is not None,
        "--published-truth": options.published_truth,
        "--json": options.json,
    }
    if options.predictions is not None and (options.store is None or options.run is not None):
        raise UserError("--predictions FILE goes with --store FILE, and with no run directory")
    kind, foreign = ("--predictions", of_runs) if options.predictions is not None else ("a run's directory", of_files)
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
            json=options.json,
        )
    elif options.run is not None:
        run = RunDirectory.open(options.run)
        evaluate_run(run, split=options.split, flip_test=options.flip_test, overlays=options.overlays)
    else:
        raise UserError("say what to score: a run's directory, or --predictions FILE --store FILE")


if __name__ == "__main__":
    main(sys.argv[1:])
