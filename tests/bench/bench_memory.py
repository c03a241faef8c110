"""Peak memory of a training step by batch size: `python tests/bench/bench_memory.py`.

The reports' machines stopped at 3 clips (000: the network of `vgg`, 4 GB) and at 8 (001: `conv`, 8 GB). Every case is a
process of its own, which makes the network, takes one step of its report's optimizer on noise and says how far its
resident memory rose above what the imported libraries took. On a CPU; a GPU also needs its libraries' workspace.
`--device cuda` measures what PyTorch's allocator held there instead.

`--networks vgg --batches 16` takes 9 GB and a few minutes of its own.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from contextlib import nullcontext
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pose_lightning.regression.loss import clip_loss
from pose_lightning.regression.model import ClipRegressor

NETWORKS: dict[str, dict[str, Any]] = {
    "vgg": {},
    "conv": {
        "encoder": "conv",
        "encoder_features": [],
        "temporal_features": 50,
        "head_features": [],
        "head_activation": "sigmoid",
    },
}
OPTIMIZERS: dict[str, Any] = {"vgg": torch.optim.SGD, "conv": torch.optim.Adam}
KIB, GIB = 1 << 10, 1 << 30


def peak() -> int:
    """Bytes that this process ever had in memory at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB


def measure(name: str, *, batch: int, checkpointing: bool, bf16: bool, frames: int, size: int, device: str) -> None:
    """Take one step and print its peak and its seconds as JSON."""
    torch.manual_seed(0)
    before = peak()
    network = ClipRegressor(**NETWORKS[name], input_size=size, checkpoint_activations=checkpointing).to(device)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = OPTIMIZERS[name](weights, lr=1e-4)
    clips = torch.rand(batch, frames, 3, size, size, device=device)
    start = time.perf_counter()
    with torch.autocast(device, dtype=torch.bfloat16) if bf16 else nullcontext():
        preds = network(clips)
    clip_loss(preds, torch.zeros_like(preds)).mean().backward()
    optimizer.step()
    used = torch.cuda.max_memory_allocated() if device == "cuda" else peak() - before
    json.dump({"bytes": used, "seconds": time.perf_counter() - start}, sys.stdout)


def main() -> None:
    """Measure every case in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--batches", type=int, nargs="+", default=[3, 8])
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="height and width of the frames, in pixels")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--bf16", action="store_true", help="under autocast to bfloat16 (slow on a CPU without it)")
    parser.add_argument("--case", nargs=3, metavar=("NETWORK", "BATCH", "CHECKPOINTING"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    common = {"bf16": args.bf16, "frames": args.frames, "size": args.size, "device": args.device}
    if args.case:
        name, batch, checkpointing = args.case
        measure(name, batch=int(batch), checkpointing=checkpointing == "on", **common)
        return
    cases = list(itertools.product(args.networks, args.batches, ("off", "on")))
    cases = [case for case in cases if case[0] != "conv" or case[2] == "off"]  # a single stage has nothing to recompute
    table = Table(
        "network",
        "batch",
        "checkpointing",
        "peak, GiB",
        "step, s",
        title=f"A training step on {args.frames} x {args.size} x {args.size}, {args.device}"
        + (", bf16" if args.bf16 else ""),
    )
    settings = [f"--frames={args.frames}", f"--size={args.size}", f"--device={args.device}"]
    settings += ["--bf16"] if args.bf16 else []
    for name, batch, checkpointing in track(cases, description="training steps", console=Console(stderr=True)):
        command = [sys.executable, __file__, *settings, "--case", name, str(batch), checkpointing]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            table.add_row(name, str(batch), checkpointing, f"failed ({done.returncode})", "")
            continue
        found = json.loads(done.stdout)
        table.add_row(name, str(batch), checkpointing, f"{found['bytes'] / GIB:.2f}", f"{found['seconds']:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
