"""What converting a pair of `.npy` files costs, and reading the result: `python tests/bench/bench_clips.py [--gb X]`.

A pair of the course's form is generated: 2 GB of clips of 8 frames of 224 x 224 px, and their joints. The converter
runs in a process of its own, whose anonymous memory (`RssAnon`: what no file backs, so no cached or mapped page) is
sampled; how far it grows is its most against that of a process which converts a few clips only. Its time is set against
that of the passes that it makes: reading for the checksum, copying to the disk, and reading what was written, without
which no store gets its name. These are no lower limit: the converter reads back while the system still writes. Disks
vary more than what is measured, so both take turns, and the median is what counts. The loader is training's, on the
store as converted; what it is compared with is explained in `bench_store.py`.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from bench_store import BATCH, CLIP, DEPTH, LIMIT, SHAPE, MappedClips, exhaust, mapped_loader, measure, preadv, ratio
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pose_lightning.loader import BatchPlan, RingLoader
from pose_lightning.regression.data import ClipSource
from pose_lightning.store import Store

FEW: Final = 8
"""Clips of the conversion that shows what a process needs anyway."""
MOST_GROWTH_MB: Final = 300
CONVERSIONS: Final = 5
SAMPLE_S: Final = 0.01
PIECE: Final = 1 << 24


def write_pair(folder: Path, count: int) -> tuple[Path, Path]:
    """Noise as frames, and people about 1.7 m large."""
    folder.mkdir()
    paths = folder / "videoframes_clips_train.npy", folder / "joint_3d_clips_train.npy"
    rng = np.random.default_rng(0)
    frames = np.lib.format.open_memmap(paths[0], mode="w+", dtype=np.uint8, shape=(count, *SHAPE))
    for index in track(range(count), f"write {count} clips", console=Console(stderr=True)):
        frames[index] = np.frombuffer(rng.bytes(CLIP), np.uint8).reshape(SHAPE)
    frames.flush()
    joints = rng.uniform(-0.85, 0.85, (count, SHAPE[0], 17, 3))
    joints[:, :, 0] = 0
    np.save(paths[1], joints.astype(np.float32))
    return paths


def convert(frames: Path, joints: Path, target: Path) -> tuple[float, int]:
    """Convert in another process; returns its seconds and the most bytes of anonymous memory it had."""
    command = [sys.executable, "-m", "pose_lightning.convert", "clips", f"--frames={frames}", f"--joints={joints}"]
    start, most = time.perf_counter(), 0
    with subprocess.Popen([*command, f"--target={target}", "--split=train"], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, anonymous_memory(process.pid))
            time.sleep(SAMPLE_S)
    if process.returncode:
        raise SystemExit(f"the converter failed ({process.returncode})")
    return time.perf_counter() - start, most


def anonymous_memory(process: int) -> int:
    """Bytes of a process that no file backs; 0 once it has ended."""
    status = Path(f"/proc/{process}/status").read_text()
    return sum(int(size) for size in re.findall(r"RssAnon:\s+(\d+) kB", status)) * 1024


def copy(source: Path, target: Path) -> float:
    """Seconds that a plain copy takes until it is on the disk."""
    start = time.perf_counter()
    with source.open("rb") as read, target.open("wb") as write:
        while piece := read.read(PIECE):
            write.write(piece)
        write.flush()
        os.fsync(write.fileno())
    return time.perf_counter() - start


def read_through(source: Path) -> float:
    """Seconds that reading a file once takes."""
    start = time.perf_counter()
    with source.open("rb") as read:
        while read.read(PIECE):
            pass
    return time.perf_counter() - start


@dataclass(frozen=True)
class Conversion:
    """One turn: the conversion, beside its passes over the frames done plainly.

    Attributes:
        seconds: Of converting, without what a few clips take.
        copied: Seconds of a copy.
        passes: Seconds of the copy and of reading twice.
        most: Bytes of anonymous memory at its most.
        growth: The same, beyond what a few clips need.
    """

    seconds: float
    copied: float
    passes: float
    most: int
    growth: int


def conversions(few: tuple[Path, Path], pair: tuple[Path, Path], folder: Path) -> list[Conversion]:
    """Convert again and again to `folder`/train.h5, the plain passes coming first in every second turn."""
    turns = []
    for turn in range(CONVERSIONS):
        startup, needed = convert(*few, few[0].parent)
        copied, passes = plain_passes(pair[0], folder / "copy") if turn % 2 else (0.0, 0.0)
        seconds, most = convert(*pair, folder)
        if not turn % 2:
            copied, passes = plain_passes(pair[0], folder / "copy")
        turns.append(Conversion(seconds - startup, copied, passes, most, most - needed))
    return turns


def plain_passes(source: Path, target: Path) -> tuple[float, float]:
    """Seconds of a copy, and of the copy and reading it twice; the copy is removed."""
    copied = copy(source, target)
    passes = copied + 2 * read_through(target)
    target.unlink()
    return copied, passes


def ring(store: Store, threads: int) -> RingLoader:
    """Training's loader, clips and poses at full size, without augmentation."""
    epochs: Iterator[int] = iter(range(10**9))
    source = ClipSource(store, SHAPE[1], None, 0, warp_on_device=False)
    plan = BatchPlan(len(store), BATCH, 0, shuffle=True)
    return RingLoader(source, plan, position=lambda: (next(epochs), 0), num_threads=threads, depth=DEPTH)


def read_times(path: Path, frames: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds per clip of every way to read, round by round."""
    with Store(path) as store, Store(path, verify=False) as unverified:
        mapped = MappedClips(frames)
        ways = {
            LIMIT: preadv(store, DEPTH * BATCH),
            "loader, 1 thread, not verified": exhaust(ring(unverified, 1)),
            "loader, 1 thread, verified": exhaust(ring(store, 1)),
            "loader, 2 threads, not verified": exhaust(ring(unverified, 2)),
            "loader, 2 threads, verified": exhaust(ring(store, 2)),
            "memmap, 0 workers": exhaust(mapped_loader(mapped, 0)),
            "memmap, 2 workers": exhaust(mapped_loader(mapped, 2)),
        }
        return measure(ways, len(store), rounds)


def main() -> None:
    """Generate, convert, read, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--gb", type=float, default=2.0, help="of frames (2)")
    parser.add_argument("--rounds", type=int, default=9, help="of reading (9)")
    chosen = parser.parse_args()
    count = max(8 * FEW, round(chosen.gb * 1e9 / CLIP))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        few, pair = write_pair(folder / "few", FEW), write_pair(folder / "pair", count)
        turns = conversions(few, pair, folder)
        times = read_times(folder / "train.h5", pair[0], chosen.rounds)
    report(count * CLIP, turns, times)


def report(size: int, turns: list[Conversion], times: dict[str, list[float]]) -> None:
    """Print what was measured, beside what is wanted."""
    table = Table("1.2 MB clips at random, warm", "ms/clip", "x the limit", title=f"batch {BATCH}, ring depth {DEPTH}")
    for name, values in times.items():
        table.add_row(name, f"{1e3 * float(np.median(values)):.3f}", f"{ratio(times, name, LIMIT):.2f}")
    mapped = min(("memmap, 0 workers", "memmap, 2 workers"), key=lambda name: ratio(times, name, LIMIT))
    verdicts = Table("target", "measured", "wanted", "")

    def judge(label: str, value: float, wanted: float, *, least: bool = False) -> None:
        good = value >= wanted if least else value <= wanted
        verdicts.add_row(label, f"{value:.2f}", f"{'>=' if least else '<='} {wanted:g}", "OK" if good else "MISS")

    ratios = sorted(turn.seconds / turn.passes for turn in turns)
    judge("conversion: anonymous memory grows by, MB", max(turn.growth for turn in turns) / 1e6, MOST_GROWTH_MB)
    judge(f"conversion / its passes ({ratios[0]:.2f} to {ratios[-1]:.2f})", float(np.median(ratios)), 1.5)
    for name in (key for key in times if key.startswith("loader")):
        judge(f"{name} / preadv", ratio(times, name, LIMIT), 1.25)
    judge(
        "verified loader of 1 thread faster than memmap",
        1 / ratio(times, "loader, 1 thread, verified", mapped),
        8,
        least=True,
    )
    console = Console()
    seconds = float(np.median([turn.seconds for turn in turns]))
    copied = float(np.median([turn.copied for turn in turns]))
    most = max(turn.most for turn in turns)
    console.print(
        f"{size / 1e9:.2f} GB converted in {seconds:.1f} s ({size / 1e6 / seconds:.0f} MB/s), a copy in "
        f"{copied:.1f} s, medians of {len(turns)}; {most / 1e6:.0f} MB of anonymous memory in all"
    )
    console.print(table)
    console.print(verdicts)


if __name__ == "__main__":
    main()
