"""Compare ways to train one backbone on a folder of photographs: all of it, parts of it, its head alone, from scratch.

Every network sees the same samples in the same order; its last checkpoint is scored on the test split, which chose
nothing. Beside them stands a linear probe: logistic regression on the frozen features of the same weights, its penalty
and the pictures' size chosen on the validation split. Finished runs are kept: the same command goes on where it was
stopped.

    python -m pose_lightning.convert images --source DIR --target data/images
    python tests/bench/compare_freezing.py --weights tf_efficientnet_lite0.safetensors [--variants fine_tuned frozen]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import h5py
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from tuning import interval

from pose_lightning import cli
from pose_lightning.activity import probe
from pose_lightning.store import Store

EXPERIMENT: Final = Path("experiments/activity_images.yaml")
VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "fine_tuned": (),
    "from_scratch": (
        "--model.weights=null",
        "--model.freeze_statistics=false",
        "--model.probe_penalty=null",
        "--model.lr=1.0e-3",
        "--model.backbone_rate=1.0",
    ),
    "all_but_last_20": ("--model.freeze.mode=all_but_last", "--model.freeze.n=20"),
    "last_20": ("--model.freeze.mode=last", "--model.freeze.n=20"),
    "frozen": ("--model.freeze.mode=all",),
}
SIZES: Final = (192, 224, 256)
PENALTIES: Final = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


def train(variant: str, weights: Path, runs: Path, more: Sequence[str]) -> tuple[Path, float | None]:
    """Train and score one variant, unless that has been done; returns its folder and the seconds of training."""
    folder = runs / EXPERIMENT.stem / variant
    if not (folder / "metrics-test.json").is_file():
        alone = {**os.environ, "WANDB_MODE": "disabled", "POSE_LIGHTNING_RUN_ID": variant}
        last = (folder / "checkpoints" / "last.ckpt").is_file()
        fresh = [
            f"--config={EXPERIMENT}",
            f"--runs={runs}",
            f"--model.weights={weights}",
            "--model.pretrained=false",
            *VARIANTS[variant],
            *more,
        ]
        begin = time.monotonic()
        door = [sys.executable, "-m", "pose_lightning.fit"]
        subprocess.run([*door, *([f"--resume={folder}"] if last else fresh)], check=True, env=alone)
        took = time.monotonic() - begin
        evaluate = [sys.executable, "-m", "pose_lightning.evaluate", str(folder), "--split=test"]
        subprocess.run(evaluate, check=True, env=alone)
        if not last:
            (folder / "seconds.json").write_text(json.dumps(took))
    seconds = folder / "seconds.json"
    return folder, json.loads(seconds.read_text()) if seconds.is_file() else None


def features(weights: Path, size: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Pooled features of the frozen backbone from pictures of so many px, and labels, by split."""
    sizes = [f"--data.evaluation_size={size}"]
    built = cli.build([f"--config={EXPERIMENT}", f"--model.weights={weights}", *sizes])
    network, finish = built.model.model.eval(), built.datamodule.on_after_batch_transfer
    found = {}
    with torch.no_grad():
        for split in ("train", "val", "test"):
            rows = [
                (network.features(batch["image"]), batch["label"])
                for batch in (finish(batch, 0) for batch in built.datamodule.evaluation_loader(split))
            ]
            found[split] = tuple(torch.cat(column) for column in zip(*rows, strict=True))
    return found  # type: ignore[return-value]


def probed(weights: Path) -> np.ndarray:
    """Whether logistic regression on frozen features is right about each test picture.

    The penalty, and the size of the pictures, are those that do best on the validation split.
    """
    tried = [result for size in SIZES for result in _fits(features(weights, size))]
    return max(tried, key=lambda result: result[0])[1]


def _fits(found: dict[str, tuple[Tensor, Tensor]]) -> list[tuple[float, np.ndarray]]:
    """For every penalty the accuracy on the validation split, and the hits on the test split."""
    seen, labels = found["train"]
    fits = []
    for penalty in PENALTIES:
        weight, bias = probe.fit(seen, labels, classes=int(labels.max()) + 1, penalty=penalty)
        hits = {split: ((each @ weight.T + bias).argmax(dim=1) == truth) for split, (each, truth) in found.items()}
        fits.append((hits["val"].double().mean().item(), hits["test"].double().numpy()))
    return fits


def per_cent(right: np.ndarray, groups: np.ndarray) -> tuple[float, ...]:
    """Mean, and its 95 % interval over groups of pictures, per cent."""
    return tuple(100 * each for each in interval(right, groups))


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/compare_freezing"))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("more", nargs="*", help="further arguments of `fit`, after --")
    options = parser.parse_args()
    folders = {name: train(name, options.weights, options.runs, options.more) for name in options.variants}
    config = cli.build([f"--config={EXPERIMENT}"], from_checkpoint=True).datamodule
    with Store(config.store_path("test")) as store:
        groups, names = store.labels["group"], store.labels["category"]
        classes = store.attrs["categories"]
        truth = np.array([classes.index(name) for name in names.tolist()])
    with Store(config.store_path("train")) as store:
        majority = max(classes, key=store.labels["category"].tolist().count)
    rows = {"majority class": (np.array(names == majority, float), None)}
    rows["linear probe, frozen features"] = (probed(options.weights), None)
    for name, (folder, seconds) in folders.items():
        with h5py.File(folder / "predictions-test.h5") as file:
            rows[name] = ((file["preds"][()].argmax(axis=1) == truth).astype(float), seconds)
    table = Table(title=f"top-1 of {len(truth)} test pictures, %", box=None)
    for heading in ("", "top-1", "95 % interval", "minus probe", "95 % interval", "minutes"):
        table.add_column(heading, justify="left" if not heading else "right")
    baseline = rows["linear probe, frozen features"][0]
    for name, (right, seconds) in rows.items():
        value, low, high = per_cent(right, groups)
        more, less, most = per_cent(right - baseline, groups)
        spans = [f"{low:.1f} to {high:.1f}", f"{more:.1f}", f"{less:.1f} to {most:.1f}"]
        table.add_row(name, f"{value:.1f}", *spans, "" if seconds is None else f"{seconds / 60:.1f}")
    Console(width=88, highlight=False).print(table)


if __name__ == "__main__":
    main()
