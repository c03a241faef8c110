"""What reading costs, as multiples of the limit: `python tests/bench/bench_store.py [--clips N] [--rounds N]`.

Synthetic clips of 8 frames of 224 x 224 px (1.2 MB of uint8) are read at random from a warm cache, a different order in
each round. All ways take turns in every round, and ratios are taken within a round, so that a busy machine disturbs
them least; the table shows their medians. All read into as much memory as a ring has, buffers used again and again: the
limit is `os.preadv` doing so. Into a single buffer, which stays in the processor's cache, it is faster yet, but no
training loop could take its batches from there. The other loader is what earlier reports used: a memory-mapped array,
converted to float32 for each item, in PyTorch's DataLoader with no or with two workers, whichever is faster; it reads
only some of the clips, being slow.
"""

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader, Dataset, RandomSampler

from pose_lightning.loader import BatchPlan, RingLoader
from pose_lightning.store import Store, StoreWriter

SHAPE, BATCH, DEPTH = (8, 224, 224, 3), 8, 3
CLIP = int(np.prod(SHAPE))
LIMIT = "os.preadv (the limit)"
MAPPED = 64  # clips that the memory-mapped loader reads per round

Way = Callable[[np.ndarray], int]  # reads the samples of an order, or of its own, and returns how many


class Clips:
    """A source of whole clips."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def allocate(self, size: int) -> dict[str, np.ndarray]:
        return {"clip": self.store.buffer(size)}

    def fill(self, buffers: dict[str, np.ndarray], position: int, index: int, epoch: int) -> None:
        self.store.read_into(index, buffers["clip"][position])

    def name(self, index: int) -> str:
        return self.store.name(index)

    def totals(self, indices: np.ndarray) -> dict[str, float]:
        return {}


class MappedClips(Dataset[torch.Tensor]):
    """Clips as earlier reports read them."""

    def __init__(self, path: Path) -> None:
        self.clips = np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.asarray(self.clips[index], dtype=np.float32))


def write_clips(directory: Path, count: int) -> None:
    """The same clips as a raw store, an array, and frames of them as a JPEG store."""
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(directory / "clips.npy", mode="w+", dtype=np.uint8, shape=(count, *SHAPE))
    coarse = rng.integers(0, 256, (64, 16, 16, 3), np.uint8).repeat(28, axis=1).repeat(28, axis=2)  # 448 x 448 px
    with (
        StoreWriter(directory / "raw.h5", codec="raw", attrs={}, shape=SHAPE) as raw,
        StoreWriter(directory / "jpeg.h5", codec="jpeg", attrs={}) as jpeg,
    ):
        for number in track(range(count), "write", console=Console(stderr=True)):
            array[number] = rng.integers(0, 256, SHAPE, np.uint8)
            raw.append(array[number], {"name": str(number)})
            noisy = coarse[number % 64] // 2 + rng.integers(0, 24, (448, 448, 3), np.uint8)
            picture = np.concatenate([noisy, noisy])  # 896 x 448 px: as many bytes decoded as a clip has
            jpeg.append(bytes(simplejpeg.encode_jpeg(picture, quality=90)), {"name": str(number)})
    array.flush()


def preadv(store: Store, slots: int) -> Way:
    """The limit: what the system takes to copy as many bytes out of its cache."""
    descriptor = os.open(store.path, os.O_RDONLY)
    buffers = [buffer.data.cast("B") for buffer in store.buffer(slots)]

    def read(order: np.ndarray) -> int:
        for turn, index in enumerate(order.tolist()):
            os.preadv(descriptor, [buffers[turn % slots]], index * CLIP)
        return len(order)

    return read


def reader(store: Store) -> Way:
    """One sample after the other, into as many buffers as a ring has."""
    buffers = store.buffer(DEPTH * BATCH)

    def read(order: np.ndarray) -> int:
        for turn, index in enumerate(order.tolist()):
            store.read_into(index, buffers[turn % len(buffers)])
        return len(order)

    return read


def ring(store: Store, threads: int) -> RingLoader:
    """A loader whose epoch is `epochs`' next one."""
    epochs: Iterator[int] = iter(range(10**9))
    plan = BatchPlan(len(store), BATCH, 0, shuffle=True)
    return RingLoader(Clips(store), plan, position=lambda: (next(epochs), 0), num_threads=threads, depth=DEPTH)


def exhaust(loader: RingLoader | DataLoader[torch.Tensor]) -> Way:
    """Take all of a loader's batches; it has its own order."""

    def read(order: np.ndarray) -> int:
        return sum(len(batch["clip"]) if isinstance(batch, dict) else len(batch) for batch in loader)

    return read


def mapped_loader(clips: MappedClips, workers: int) -> DataLoader[torch.Tensor]:
    """Batches of some of the clips at random."""
    sampler = RandomSampler(clips, num_samples=MAPPED)
    return DataLoader(clips, BATCH, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)


def anonymous_memory() -> int:
    """Bytes of this process that no file backs."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) * 1024


def memory_growth(loader: RingLoader) -> int:
    """Most bytes by which the process grows while it goes through an epoch."""
    before = most = anonymous_memory()
    for _ in loader:
        most = max(most, anonymous_memory())
    return most - before


def measure(ways: dict[str, Way], clips: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per clip of every way in every round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in track(range(rounds + 1), "measure", console=Console(stderr=True)):
        order = np.random.default_rng(number).permutation(clips)
        for name, way in ways.items():
            start = time.perf_counter()
            count = way(order)
            if number:  # the first round warms up
                times[name].append((time.perf_counter() - start) / count)
    return times


def ratio(times: dict[str, list[float]], name: str, other: str) -> float:
    """Median over the rounds of one way's time against another's."""
    return statistics.median(a / b for a, b in zip(times[name], times[other], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=int, default=480)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write_clips(directory, chosen.clips)
        store, unverified = Store(directory / "raw.h5"), Store(directory / "raw.h5", verify=False)
        growth = memory_growth(ring(store, 2))
        mapped = MappedClips(directory / "clips.npy")
        ways = {
            LIMIT: preadv(store, DEPTH * BATCH),
            "os.preadv, one buffer": preadv(store, 1),
            "raw, not verified": reader(unverified),
            "raw, verified": reader(store),
            "ring of 1, not verified": exhaust(ring(unverified, 1)),
            "ring of 1, verified": exhaust(ring(store, 1)),
            "ring of 2, not verified": exhaust(ring(unverified, 2)),
            "ring of 2, verified": exhaust(ring(store, 2)),
            "memmap, 0 workers": exhaust(mapped_loader(mapped, 0)),
            "memmap, 2 workers": exhaust(mapped_loader(mapped, 2)),
            "JPEG q90, verified": reader(Store(directory / "jpeg.h5")),
        }
        times = measure(ways, chosen.clips, chosen.rounds)
    report(times, growth)


def report(times: dict[str, list[float]], growth: int) -> None:
    ring_bytes = DEPTH * BATCH * CLIP
    mapped = min(("memmap, 0 workers", "memmap, 2 workers"), key=lambda name: ratio(times, name, LIMIT))
    table = Table("1.2 MB clips at random, warm", "ms/clip", "x the limit", title=f"batch {BATCH}, ring depth {DEPTH}")
    for name, seconds in times.items():
        table.add_row(name, f"{1e3 * statistics.median(seconds):.3f}", f"{ratio(times, name, LIMIT):.2f}")
    verification = ratio(times, "raw, verified", "raw, not verified")
    faster = 1 / ratio(times, "ring of 1, verified", mapped)
    targets = [
        ("raw read / preadv", ratio(times, "raw, not verified", LIMIT), "<= 1.25", 1.25),
        ("verification: raw verified / not", verification, "<= 1.25", 1.25),
        ("ring of 1 thread / preadv", ratio(times, "ring of 1, not verified", LIMIT), "<= 1.40", 1.4),
        ("the same, verified", ratio(times, "ring of 1, verified", LIMIT), "<= 1.40", 1.4),
        ("ring of 2 threads / preadv", ratio(times, "ring of 2, not verified", LIMIT), "<= 1.40", 1.4),
        ("the same, verified", ratio(times, "ring of 2, verified", LIMIT), "<= 1.40", 1.4),
        ("verified ring of 1 faster than memmap", faster, ">= 8.00", None),
        ("memory growth, MB", growth / 1e6, f"<= {ring_bytes / 1e6 + 100:.0f} (ring + 100)", ring_bytes / 1e6 + 100),
    ]
    verdicts = Table("target", "measured", "wanted", "")
    for label, value, wanted, most in targets:
        good = value >= 8 if most is None else value <= most
        verdicts.add_row(label, f"{value:.2f}", wanted, "OK" if good else "MISS")
    console = Console()
    console.print(table)
    console.print(verdicts)


if __name__ == "__main__":
    main()
