"""Runs of every task without training, a trained one, and a browser."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "hourglass_mpii": [
        "--model.network.stacks=2",
        "--model.network.features=8",
        "--model.network.depth=2",
        "--data.input_size=64",
    ],
    "regression_conv_lstm": ["--data.input_size=32", "--model.input_size=32"],
    "activity_images": ["--model.num_classes=20", "--data.input_size=32", "--model.input_size=32"],
}


@dataclass(frozen=True)
class Seen:
    """What Chromium says of a page.

    Attributes:
        dom: The page as it is once its scripts have run.
        console: What it wrote to the console.
        requests: What it asked the network for.
    """

    dom: str
    console: list[str]
    requests: list[str]


@pytest.fixture
def browse(tmp_path: Path) -> Callable[[Path], Seen]:
    """Opens a page in Chromium; skips without."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium: a page was not opened (Debian: apt-get install chromium)")

    def look(page: Path, *options: str) -> Seen:
        log = tmp_path / "net.json"
        command = [
            *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"),
            *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", "--virtual-time-budget=3000"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", *options, page.resolve().as_uri()),
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        told = [event.get("params") or {} for event in json.loads(log.read_text())["events"]]
        # the browser's own requests have no origin
        asked = [each["url"] for each in told if each.get("initiator", "not an origin") != "not an origin"]
        return Seen(done.stdout, console, asked)

    return look


def curve(path: Path, metric: str, values: list[float]) -> None:
    """A metrics.csv: a loss that falls, and the metric after every epoch of 100 samples."""
    rows = [f"step,samples,epoch,train/loss_step,train/loss,val/loss,{metric}"]
    for epoch, value in enumerate(values):
        head = f"{10 * (epoch + 1)},{100 * (epoch + 1)},{epoch}"
        rows += [f"{head},3.0,,,", f"{head},,,{2 / (epoch + 1)},{value}", f"{head},,{3 / (epoch + 1)},,"]
    path.write_text("\n".join(rows) + "\n")


@dataclass(frozen=True)
class Maker:
    """Makes runs that were scored, and trained nowhere."""

    stores: dict[str, Path]

    def make(self, folder: Path, experiment: str, *options: str, seed: int = 1, noise: float = 5.0) -> Path:
        """A run whose predictions are the truth and noise (px, mm; of activities, of the logits)."""
        from pose_lightning import cli, evaluate  # noqa: PLC0415 - jaxtyping's hook must come before the package

        demo = ROOT / "experiments" / "demo" / f"{experiment}.yaml"
        layers = [f"--config={ROOT / 'experiments' / experiment}.yaml", f"--config={demo}", f"--seed_everything={seed}"]
        built = cli.build([*layers, *SMALL[experiment], f"--data.root={self.stores[experiment]}", *options])
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(built.dump())
        scoring = evaluate.scoring_of(built.model, built.datamodule)
        draw = np.random.default_rng(seed)
        with built.datamodule.samples("val") as store, built.datamodule.samples("train") as train:
            found = predicted(experiment, store.labels, store.attrs, draw, noise)
            judged = scoring.judge(found, store, train, title=experiment)
            (folder / "metrics.json").write_text(json.dumps({"checkpoint": "best.ckpt", "step": 30, **judged.json}))
            scoring.write_predictions(folder / "predictions.h5", found, store, split="val")
            scoring.sample_scores(found, store).write(folder / "samples.h5", step=30, flip_test=False, split="val")
            if hasattr(scoring, "write_files"):
                scoring.write_files(folder, judged)
        metric, statistic = built.model.monitor[0], judged.json["measures"]
        last = (
            (statistic.get("pckh@0.5") or {}).get("mean_unweighted_14") or statistic.get("mpjpe") or statistic["top1"]
        )
        curve(folder / "metrics.csv", metric, [last["value"] / 3, last["value"] / 2, last["value"]])
        return folder


def predicted(experiment: str, labels: dict, attrs: dict, draw: np.random.Generator, noise: float) -> dict:
    """What a network might have found."""
    if experiment == "activity_images":
        names = np.array(attrs["categories"])
        logits = 4.0 * (labels["category"][:, None] == names) + draw.normal(0, noise, (len(labels["name"]), len(names)))
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return {"preds": shares, "loss": np.ones(len(shares))}
    truth = np.array(labels["joints"], dtype=np.float64)
    truth = np.where(np.isfinite(truth), truth, 0.0)
    preds = truth + draw.normal(0, noise, truth.shape)
    ones = np.ones(len(preds))
    return {"preds": preds, "loss": ones, "counted": ones, "confidence": draw.uniform(0, 1, preds.shape[:2])}


@pytest.fixture(scope="session")
def maker(demo_stores: Path, demo_clip_stores: Path, demo_activity_stores: Path) -> Maker:
    stores = (demo_stores, demo_clip_stores, demo_activity_stores)
    return Maker(dict(zip(SMALL, stores, strict=True)))


@pytest.fixture(scope="session")
def runs(maker: Maker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`runs/` with two seeds of an hourglass, one with another rate, a regression and a classification."""
    root = tmp_path_factory.mktemp("reported") / "runs"
    for seed in (1, 2):
        maker.make(root / "hourglass_mpii_demo" / f"seed{seed}", "hourglass_mpii", seed=seed)
    maker.make(root / "hourglass_mpii_demo" / "faster", "hourglass_mpii", "--model.lr=0.25", noise=15)
    maker.make(root / "regression_conv_lstm_demo" / "a", "regression_conv_lstm", noise=80)
    maker.make(root / "activity_images_demo" / "a", "activity_images", noise=2)
    return root
