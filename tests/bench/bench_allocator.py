"""Time and memory of training steps when freed memory is kept, and when it goes back to the system.

    python tests/bench/bench_allocator.py [--rounds 3]

A step is forward, backward and Adam on a batch of noise that is already there; each case is a process of its own, and
a round starts all of them.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from pose_lightning.activity.model import ActivityClassifier
from pose_lightning.allocator import keep_freed_memory
from pose_lightning.heatmap.model import StackedHourglass

NETWORKS: Final[Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]] = MappingProxyType(
    {
        "hourglass, 8 x 256 px": (lambda: StackedHourglass(16, 1), (8, 3, 256, 256)),
        "Lite0, 32 x 192 px": (
            lambda: ActivityClassifier(backbone="tf_efficientnet_lite0", num_classes=22, head="pooled"),
            (32, 3, 192, 192),
        ),
    }
)
STEPS: Final = 4


def measure(name: str, *, keep: bool) -> dict[str, float]:
    """Median seconds of a step, and the most memory that the process held, GiB."""
    if keep and not keep_freed_memory():
        raise SystemExit("this C library is not glibc")
    make, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = make()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    image: Tensor = torch.rand(shape).to(memory_format=torch.channels_last)
    times = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        network(image).square().mean().backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": statistics.median(times[1:]), "memory": peak / 2**20}  # the first step allocates


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("NETWORK", "KEEP"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure[0], keep=options.measure[1] == "kept")))
        return
    cases = [(name, how) for name in NETWORKS for how in ("given back", "kept")]
    found: dict[tuple[str, str], list[dict[str, float]]] = {case: [] for case in cases}
    for case in track(cases * options.rounds, description="training steps", console=Console(stderr=True)):
        command = [sys.executable, __file__, "--measure", *case]
        found[case].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    title = f"Training step, {torch.get_num_threads()} threads, {options.rounds} rounds"
    table = Table("freed memory is", "given back, s", "kept, s", "ratio", "GiB", title=title)
    for name in NETWORKS:
        times, memory = (
            [statistics.median(each[key] for each in found[name, how]) for how in ("given back", "kept")]
            for key in ("seconds", "memory")
        )
        row = [f"{times[0]:.2f}", f"{times[1]:.2f}", f"{times[0] / times[1]:.2f}", f"{memory[0]:.1f}, {memory[1]:.1f}"]
        table.add_row(name, *row)
    Console().print(table)


if __name__ == "__main__":
    main()
