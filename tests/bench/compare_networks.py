"""Compare networks on Leeds Sports Pose Extended: hourglass, simple baseline with ImageNet weights, and from scratch.

Every network is tuned alike: one short run per candidate rate with a seed of its own, judged on the validation split;
there are three candidates, and more until the best is not the largest or smallest. Then each trains once, at its best
rate, on the same persons in the same order. Its best checkpoint by the validation split is scored on the test split,
on which nothing was chosen. The best network is then asked in several manners. Finished runs are kept: the same
command goes on where it was stopped.

    python -m pose_lightning.convert lsp --source DIR --target data/lspet --skip-missing --test 0.1
    python tests/bench/compare_networks.py --weights tf_efficientnet_lite0.safetensors
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table
from tuning import TUNING_SEED, best_rate, next_rates, processor_seconds, run_all, train

from pose_lightning import statistics
from pose_lightning.scoring import SampleScores

EXPERIMENTS: Final = Path("experiments")
NETWORKS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "hourglass": ("hourglass_lsp", ()),
    "simple_baseline": ("simplebaseline_lsp", ("--model.network.pretrained=false", "--model.weights={weights}")),
    "simple_baseline_scratch": ("simplebaseline_lsp", ("--model.network.pretrained=false",)),
}
"""By name: the experiment and what differs from it."""
VALIDATIONS: Final = 8
RISE: Final = 0.1
"""Share of the samples in which the rate of the one-cycle schedule rises, as in the experiments themselves."""
MANNERS: Final[Mapping[str, tuple[str, ...]]] = {
    f"{decoding}{' with flip test' if flips else ''}": (f"--decoding={decoding}", *flips)
    for decoding in ("quarter", "argmax", "dark", "soft_argmax")
    for flips in ((), ("--flip-test",))
} | {"dark with flip test, scales 0.9 1 1.1": ("--decoding=dark", "--flip-test", "--scales=0.9,1.0,1.1")}
METRICS: Final = ("pckh", "pckh_0.1")


@dataclass(frozen=True)
class Trial:
    """One run of the comparison."""

    network: str
    lr: float
    samples: int
    seed: int

    def folder(self, runs: Path) -> Path:
        """Where the run lies."""
        return runs / self.network / f"lr{self.lr:g}-seed{self.seed}"


def source_rate(network: str) -> float:
    """The rate of the experiment itself."""
    path = EXPERIMENTS / f"{NETWORKS[network][0]}.yaml"
    return float(yaml.safe_load(path.read_text())["model"]["init_args"]["lr"])


def run(trial: Trial, runs: Path, weights: Path) -> None:
    """Train the trial's network, unless that has been done."""
    folder = trial.folder(runs)
    if (folder / "metrics.json").is_file():
        return
    experiment, more = NETWORKS[trial.network]
    fresh = [
        f"--config={EXPERIMENTS / experiment}.yaml",
        f"--experiment={trial.network}",
        f"--runs={runs}",
        f"--seed_everything={trial.seed}",
        *(each.format(weights=weights) for each in more),
        f"--model.lr={trial.lr}",
        f"--model.warmup={RISE * trial.samples}",
        f"--budget.max_samples={trial.samples}",
        f"--budget.validations={VALIDATIONS if trial.seed != TUNING_SEED else 1}",
        "--trainer.enable_progress_bar=false",
        "--data.num_threads=1",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.txt").open("a") as output:
        train(folder, fresh, output, OMP_NUM_THREADS="1")


def tried(network: str, runs: Path) -> dict[float, float]:
    """The candidate rates that were run, and what they lack to 100 % PCKh on the validation split."""
    found: dict[float, float] = {}
    for path in (runs / network).glob(f"lr*-seed{TUNING_SEED}/metrics.json"):
        value = json.loads(path.read_text())["measures"]["pckh@0.5"]["mean_unweighted_14"]["value"]
        rate = float(path.parent.name.removeprefix("lr").removesuffix(f"-seed{TUNING_SEED}"))
        found[rate] = math.inf if value is None else 100 - value
    return dict(sorted(found.items()))


def scores(folder: Path, manner: str, flags: Sequence[str]) -> Path:
    """What each person of the test split adds to the run's scores, asked in a manner; evaluated unless it is there."""
    kept = folder / "manners" / f"{manner.replace(' ', '_')}.h5"
    if not kept.is_file():
        kept.parent.mkdir(exist_ok=True)
        evaluate = [sys.executable, "-m", "pose_lightning.evaluate", str(folder), "--split=test", *flags]
        with (folder / "output.txt").open("a") as output:
            subprocess.run(evaluate, check=True, stdout=output, stderr=subprocess.STDOUT)
        shutil.copy(folder / "samples-test.h5", kept)
    return kept


def estimates(path: Path, other: Path | None = None) -> Iterator[tuple[float, float, float]]:
    """For every metric its value, or what it is above another's on the same persons, and the 95 % interval over them.

    The score is the mean over joints of their shares of hits, so persons are resampled and the shares made again.
    """
    for metric in METRICS:
        parts, groups = [], np.empty(0)
        for each in (path, other) if other else (path,):
            read = SampleScores.read(each, metric)
            assert read is not None, f"{each} lacks {metric}"
            parts += [*read[0].parts[metric]]
            groups = read[0].groups
        edges = np.cumsum([part.shape[1] for part in parts])[:-1]

        def statistic(sums: np.ndarray, edges: np.ndarray = edges) -> np.ndarray:
            hits, counts, *others = np.split(sums, edges, axis=1)
            value = (hits / counts).mean(axis=1)
            return (value - (others[0] / others[1]).mean(axis=1) if others else value)[:, None]

        columns = np.concatenate(parts, axis=1)
        low, high = statistics.cluster_bootstrap(columns, groups, statistic)
        yield float(statistic(columns.sum(axis=0, keepdims=True))[0, 0]), float(low[0]), float(high[0])


def table_of(title: str, rows: Mapping[str, Path], *, minutes: Mapping[str, float] | None = None) -> Table:
    """A row for each, with what it is above the first."""
    table = Table(title=title, box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("")
    for heading in ("@0.5", "95 %", "minus first", "@0.1", "minus first", *(["minutes"] if minutes else [])):
        table.add_column(heading, justify="right")
    first = next(iter(rows.values()))
    for name, path in rows.items():
        (half, half_low, half_high), (tenth, _, _) = estimates(path)
        differences = ["", ""]
        if path != first:
            differences = [f"{value:.1f} ({low:.1f} to {high:.1f})" for value, low, high in estimates(path, first)]
        spent = [f"{minutes[name]:.0f}"] if minutes else []
        span = f"{half_low:.1f} to {half_high:.1f}"
        table.add_row(name, f"{half:.1f}", span, differences[0], f"{tenth:.1f}", differences[1], *spent)
    return table


def main() -> None:
    """Tune, train, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="of tf_efficientnet_lite0, from ImageNet")
    parser.add_argument("--samples", type=int, default=16000, help="that every network trains on (16000)")
    parser.add_argument("--tuning", type=int, default=3200, help="samples of a candidate rate's run (3200)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs/compare_networks"))
    options = parser.parse_args()
    one = partial(run, runs=options.runs, weights=options.weights)
    while True:
        trials = [
            Trial(network, rate, options.tuning, TUNING_SEED)
            for network in NETWORKS
            for rate in next_rates(source_rate(network), tried(network, options.runs))
        ]
        if not trials:
            break
        run_all(one, trials, jobs=options.jobs, title="tuning")
    tuned = {network: best_rate(tried(network, options.runs)) for network in NETWORKS}
    finals = {network: Trial(network, tuned[network], options.samples, seed=1) for network in NETWORKS}
    run_all(one, list(finals.values()), jobs=options.jobs, title="training")
    folders = {network: trial.folder(options.runs) for network, trial in finals.items()}
    plain = {network: scores(folder, "plain", ()) for network, folder in folders.items()}
    ranked = sorted(plain, key=lambda network: -next(estimates(plain[network]))[0])
    best = ranked[0]
    manners = {manner: scores(folders[best], manner, flags) for manner, flags in MANNERS.items()}
    console = Console(width=100, highlight=False)
    for network in ranked:
        found = ", ".join(f"{rate:g}: {100 - error:.1f}" for rate, error in tried(network, options.runs).items())
        console.print(f"{network}: PCKh@0.5 on val by rate, {options.tuning} samples: {found}")
    title = f"PCKh, %, test split; {options.samples} samples, rates tuned; minutes of one core"
    spent = {network: processor_seconds(folder) / 60 for network, folder in folders.items()}
    console.print(table_of(title, {network: plain[network] for network in ranked}, minutes=spent))
    console.print(table_of(f"{best}, asked in several manners", manners))


if __name__ == "__main__":
    main()
