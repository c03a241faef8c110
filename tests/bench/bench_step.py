"""Time of a training step of the stacked hourglass at 256 px: `python tests/bench/bench_step.py`.

A step is forward, mean squared error, backward and Adam on a batch of noise that is already there. One round takes a
step of every case, so that a machine's slow moments fall on all of them; medians over the rounds are compared.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn import functional as F

from pose_lightning.heatmap.decoding import STRIDE
from pose_lightning.heatmap.model import StackedHourglass

FORMATS = {"NCHW": False, "channels_last": True}


def training_step(stacks: int, *, channels_last: bool, batch: int, size: int) -> Callable[[], None]:
    """One step of the network of the paper's width, to be called again and again."""
    network = StackedHourglass(16, stacks, channels_last=channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    image = torch.rand(batch, 3, size, size)
    target = torch.rand(batch, 1, 16, size // STRIDE, size // STRIDE)

    def step() -> None:
        optimizer.zero_grad()
        heatmaps = network(image)
        torch.autograd.backward(F.mse_loss(heatmaps, target.expand_as(heatmaps)))
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=256, help="height and width of the images, in pixels")
    parser.add_argument("--stacks", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    torch.manual_seed(0)
    cases = list(itertools.product(args.stacks, FORMATS))
    steps = {
        (stacks, name): training_step(stacks, channels_last=FORMATS[name], batch=args.batch, size=args.size)
        for stacks, name in cases
    }
    times: dict[tuple[int, str], list[float]] = {case: [] for case in cases}
    for step in steps.values():  # the first step allocates and lets oneDNN choose its kernels
        step()
    console = Console(stderr=True)
    for case in track(cases * args.rounds, description="training steps", console=console):
        times[case].append(seconds(steps[case]))
    medians = {case: statistics.median(values) for case, values in times.items()}
    title = (
        f"Training step, batch {args.batch}, {args.size} px, {torch.get_num_threads()} threads, {args.rounds} rounds"
    )
    table = Table("stacks", *(f"{name}, s" for name in FORMATS), "NCHW / channels_last", "images/s", title=title)
    for stacks in args.stacks:
        plain, fast = (medians[stacks, name] for name in FORMATS)
        table.add_row(str(stacks), f"{plain:.3f}", f"{fast:.3f}", f"{plain / fast:.2f}", f"{args.batch / fast:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
