"""Compare the clip regression presets on demo clips: equal samples seen, at the source's rate and at a tuned one.

Every preset is tuned alike: one run per candidate rate with a seed of its own, judged on the validation subject; there
are three candidates, and more until the best is not the largest or smallest. The source's rate and the best candidate
are then run with fresh seeds and compared on the test subjects, whom no rate was chosen on. All see the same
four frames of a clip, of one size. Finished runs are kept: the same command goes on where it was stopped.

    python tests/bench/compare_clips.py [--samples 3000] [--seeds 1 2] [--jobs 2] [--runs runs/compare_clips]

Another budget can take the rates that this one chose:

    python tests/bench/compare_clips.py --samples 8000 --runs runs/compare_clips_long --rates-from runs/compare_clips

The people are drawn: the table says which network learns these clips from so few samples, and nothing of photographs.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import h5py
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table
from tuning import TUNING_SEED, best_rate, interval, next_rates, run_all, train

from pose_lightning.convert import demo
from pose_lightning.store import Store

EXPERIMENTS: Final = Path("experiments")
DEMO: Final = Path("data/demo")
SIZE: Final = 64
"""Side of the frames, px, whatever the demo layers have; report 002's network takes no less."""
FRAMES: Final = 4
"""Of a clip, the first ones: half the time of eight."""
PRESETS: Final = (
    "regression_vgg_lstm",
    "regression_conv_lstm",
    "regression_conv_rnn",
    "regression_vgg16",
    "regression_resnet18",
    "regression_temporal",
)


@dataclass(frozen=True)
class Cell:
    """One run of the comparison."""

    preset: str
    lr: float
    seed: int

    def folder(self, runs: Path) -> Path:
        """Where the run lies."""
        return runs / self.preset / f"lr{self.lr:g}-seed{self.seed}"


def setting(preset: str, section: str, key: str) -> float:
    """A number of the experiment, or of its demo layer where that has one."""
    files = (EXPERIMENTS / "demo" / f"{preset}.yaml", EXPERIMENTS / f"{preset}.yaml")
    found = (yaml.safe_load(file.read_text()).get(section, {}).get("init_args", {}).get(key) for file in files)
    return float(next(value for value in found if value is not None))


def source_rate(preset: str) -> float:
    """The rate of the experiment itself."""
    return float(yaml.safe_load((EXPERIMENTS / f"{preset}.yaml").read_text())["model"]["init_args"]["lr"])


def run(cell: Cell, runs: Path, samples: int) -> None:
    """Train the cell's network and evaluate it on both splits, unless that has been done."""
    folder = cell.folder(runs)
    layers = [EXPERIMENTS / f"{cell.preset}.yaml", EXPERIMENTS / "demo" / f"{cell.preset}.yaml"]
    steps = math.ceil(samples / setting(cell.preset, "data", "batch_size"))
    fresh = [
        *(f"--config={layer}" for layer in layers),
        f"--experiment={cell.preset}",
        f"--runs={runs}",
        f"--seed_everything={cell.seed}",
        f"--model.lr={cell.lr}",
        f"--model.input_size={SIZE}",
        f"--data.input_size={SIZE}",
        f"--data.frames={FRAMES}",
        f"--trainer.max_steps={steps}",
        "--trainer.max_epochs=-1",
        f"--trainer.val_check_interval={max(1, steps // 2)}",
        "--trainer.check_val_every_n_epoch=null",
        "--trainer.enable_progress_bar=false",
        "--data.num_threads=1",
    ]
    evaluate = [sys.executable, "-m", "pose_lightning.evaluate", str(folder), "--split", "test"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a") as output:
        if not (folder / "metrics.json").is_file():
            train(folder, fresh, output, OMP_NUM_THREADS="1")
        if cell.seed != TUNING_SEED and not (folder / "metrics-test.json").is_file():
            subprocess.run(evaluate, check=True, env=alone, stdout=output, stderr=subprocess.STDOUT)


def mpjpe(folder: Path, split: str) -> float:
    """The run's MPJPE on a split, mm; infinite where the network diverged."""
    suffix = "" if split == "val" else f"-{split}"
    value = json.loads((folder / f"metrics{suffix}.json").read_text())["measures"]["mpjpe"]["value"]
    return math.inf if value is None else float(value)


def tried(preset: str, runs: Path) -> dict[float, float]:
    """The candidate rates that were run, ascending, and their MPJPE on the validation subject."""
    found: dict[float, float] = {}
    for folder in (runs / preset).glob(f"lr*-seed{TUNING_SEED}"):
        if (folder / "metrics.json").is_file():
            found[float(folder.name.removeprefix("lr").removesuffix(f"-seed{TUNING_SEED}"))] = mpjpe(folder, "val")
    return dict(sorted(found.items()))


def upcoming(preset: str, runs: Path) -> list[Cell]:
    """The candidates to run next."""
    return [Cell(preset, rate, TUNING_SEED) for rate in next_rates(source_rate(preset), tried(preset, runs))]


def clip_errors(folders: Sequence[Path], store: Path) -> np.ndarray:
    """MPJPE of every test clip, as the mean over runs, mm."""
    with Store(store) as test:
        joints = test.labels["joints"][:, :FRAMES].astype(np.float64)
    errors = []
    for folder in folders:
        with h5py.File(folder / "predictions-test.h5") as file:
            errors.append(np.linalg.norm(file["preds"][()] - joints, axis=-1).mean(axis=(1, 2)))
    return np.mean(errors, axis=0)


def over_sequences(errors: np.ndarray, store: Path) -> tuple[float, float, float]:
    """Mean over clips, and its 95 % interval over sequences."""
    with Store(store) as test:
        return interval(errors, np.unique(test.labels["sequence"], return_inverse=True)[1])


def main() -> None:
    """Tune, compare, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=3000, help="training clips that every run sees (3000)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare_clips"))
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--rates-from", type=Path, metavar="RUNS", help="take the rates that were tuned there")
    options = parser.parse_args()
    root = DEMO / "human36m"
    if not (root / "test.h5").is_file():
        demo.write_clips(DEMO)
    presets = options.presets
    one = partial(run, runs=options.runs, samples=options.samples)
    while options.rates_from is None:
        cells = [cell for preset in presets for cell in upcoming(preset, options.runs)]
        if not cells:
            break
        run_all(one, cells, jobs=options.jobs, title="tuning")
    tuned = {preset: best_rate(tried(preset, options.rates_from or options.runs)) for preset in presets}
    rates = {preset: sorted({source_rate(preset), tuned[preset]}) for preset in presets}
    cells = [Cell(preset, lr, seed) for preset in presets for lr in rates[preset] for seed in options.seeds]
    run_all(one, cells, jobs=options.jobs, title="comparing")
    title = f"MPJPE, mm, test subjects, SYNTHETIC clips; {options.samples} clips seen"
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("preset")
    for heading in ("batch", "rate", "", "mean", "95 % interval", "by seed"):
        table.add_column(heading, justify="right" if heading != "" else "left")
    errors = {}
    for preset in presets:
        for lr in rates[preset]:
            folders = [Cell(preset, lr, seed).folder(options.runs) for seed in options.seeds]
            values = [mpjpe(folder, "test") for folder in folders]
            found = clip_errors(folders, root / "test.h5")
            if lr == tuned[preset]:
                errors[preset] = found
            mean, low, high = over_sequences(found, root / "test.h5")
            kinds = [name for name, rate in (("source", source_rate(preset)), ("tuned", tuned[preset])) if rate == lr]
            seeds = " ".join(f"{value:.1f}" for value in values)
            span = f"{low:.1f} to {high:.1f}"
            batch = f"{setting(preset, 'data', 'batch_size'):g}"
            table.add_row(
                preset.removeprefix("regression_"), batch, f"{lr:g}", ", ".join(kinds), f"{mean:.1f}", span, seeds
            )
    baselines = json.loads(
        (Cell(presets[0], tuned[presets[0]], options.seeds[0]).folder(options.runs) / "metrics-test.json").read_text()
    )["baselines"]
    for baseline in baselines:
        each = baseline["measures"]["mpjpe"]
        table.add_row(
            baseline["title"], "", "", "", f"{each['value']:.1f}", f"{each['low']:.1f} to {each['high']:.1f}", ""
        )
    console = Console(width=80, highlight=False)
    console.print(table)
    first, *others = sorted(presets, key=lambda preset: errors[preset].mean())
    for other in others:
        mean, low, high = over_sequences(errors[first] - errors[other], root / "test.h5")
        console.print(f"{first} minus {other}, tuned: {mean:.1f} mm ({low:.1f} to {high:.1f}), paired by sequence")


if __name__ == "__main__":
    main()
