"""Size and opening time of a report of many runs: `python tests/bench/bench_report.py [--runs 100] [--epochs 100]`.

The runs are drawn, not trained: their scores and curves are noise. The page is opened in Chromium as often as is asked,
from an empty profile; the time is the page's own, from its first byte until its scripts have run and it is laid out.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track

from pose_lightning import cli, evaluate
from pose_lightning.convert import demo
from pose_lightning.report import __main__ as report
from pose_lightning.store import Store

EXPERIMENT = ("--config=experiments/hourglass_mpii.yaml", "--config=experiments/demo/hourglass_mpii.yaml")
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)

OPENED = """<script>addEventListener("load", () => {
  document.body.getBoundingClientRect(); document.title = `opened ${performance.now()}` })</script>"""


def first_run(folder: Path, stores: Path, draw: np.random.Generator) -> Path:
    """A run whose predictions are the truth and noise."""
    built = cli.build([*EXPERIMENT, f"--data.root={stores}"])
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(built.dump())
    scoring = evaluate.scoring_of(built.model, built.datamodule)
    with Store(stores / "val.h5") as store, Store(stores / "train.h5") as train:
        truth = np.array(store.labels["joints"], dtype=np.float64)
        preds = np.where(np.isfinite(truth), truth, 0.0) + draw.normal(0, 8, truth.shape)
        ones = np.ones(len(preds))
        found = {"preds": preds, "loss": ones, "counted": ones, "confidence": draw.uniform(size=preds.shape[:2])}
        judged = scoring.judge(found, store, train, title="noise")
        (folder / "metrics.json").write_text(json.dumps({"checkpoint": "best.ckpt", "step": 1, **judged.json}))
        scoring.write_predictions(folder / "predictions.h5", found, store, split="val")
        scoring.sample_scores(found, store).write(folder / "samples.h5", step=1, flip_test=False, split="val")
    return folder


def curves(path: Path, epochs: int, draw: np.random.Generator) -> None:
    """A metrics.csv of a loss that falls and a score that rises."""
    rows = ["step,samples,epoch,train/loss,val/loss,val/pckh"]
    for epoch in range(epochs):
        loss, score = draw.uniform(0.9, 1.1, 2) * (1 / (epoch + 1), 90 * epoch / epochs)
        rows.append(f"{10 * (epoch + 1)},{100 * (epoch + 1)},{epoch},{loss},{1.1 * loss},{score}")
    path.write_text("\n".join(rows) + "\n")


def opening_ms(page: Path, chromium: str) -> float:
    """What Chromium takes, ms."""
    with tempfile.TemporaryDirectory() as profile:
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--timeout=20000")
        done = subprocess.run(
            [chromium, *flags, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True
        )
    told = re.search(r"<title>opened ([\d.]+)", done.stdout)
    if told is None:
        raise SystemExit("Chromium did not get to the page's end")
    return float(told[1])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        demo.write(root, people=30, seed=1)
        runs = root / "runs" / "drawn"
        first = first_run(runs / "0", root / "mpii" / "pose", draw)
        config = (first / "config.yaml").read_text()
        for number in track(range(args.runs), description="runs"):
            folder = runs / str(number)
            if number:
                shutil.copytree(first, folder)
            rate, seed = RATES[number % len(RATES)], number // len(RATES)
            text = re.sub(r"^seed_everything: .*$", f"seed_everything: {seed}", config, flags=re.MULTILINE)
            (folder / "config.yaml").write_text(re.sub(r"^(\s+)lr: .*$", rf"\g<1>lr: {rate}", text, flags=re.MULTILINE))
            curves(folder / "metrics.csv", args.epochs, draw)
        page = root / "report.html"
        report.main([str(runs), "--out", str(page)])
        print(f"{args.runs} runs of {args.epochs} epochs: {page.stat().st_size / 1e6:.1f} MB")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if chromium is None:
            print("no Chromium: opening was not timed (Debian: apt-get install chromium)")
            return
        page.write_text(page.read_text().replace("</body>", f"{OPENED}</body>"))
        times = [opening_ms(page, chromium) for _ in range(args.rounds)]
        print(f"opened in {statistics.median(times):.0f} ms; the slowest of {args.rounds} in {max(times):.0f} ms")


if __name__ == "__main__":
    main()
