"""Time of one MPII training sample, from the file to image and targets: `python tests/bench/bench_mpii_sample.py`.

Ours: the stored crop (JPEG or raw) is read, verified, decoded and warped once by cv2 into a reused batch; colour and
targets are made for the whole batch. The other path is what well-known repositories do, restated here: decode the whole
photograph, cut out the box and resize it, rotate and scale that, jitter colours in HSV, draw every joint's gaussian in
a loop, and stack the samples to a batch.

Everything is synthetic: photographs of 1280 x 720 px are noise whose JPEG files are about as large as real ones. One
thread each, batches of all in turn; medians of the thread's processor time per sample are compared, which a busy
machine disturbs least.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pose_lightning.heatmap.augmentation import Augmentation
from pose_lightning.heatmap.codec import encode, input_to_heatmap
from pose_lightning.heatmap.data import PoseSource, finish
from pose_lightning.joints import MPII
from pose_lightning.store import Codec, Store, StoreWriter

HEIGHT, WIDTH, CROP, BOX, SIZE, HEATMAP = 720, 1280, 448, 256, 256, 64
AUGMENTATION = Augmentation(
    rotation=30.0, rotation_probability=1.0, scale=0.25, flip=0.5, contrast=0.2, brightness=0.1, color=0.4
)


def photograph(rng: np.random.Generator) -> np.ndarray:
    """Noise that is coarse rather than fine: uint8 RGB.

    The exponent is chosen so that a crop is a JPEG of 80 kB; of real MPII photographs they have 64 kB on average.
    """
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    frequency[0, 0] = np.inf
    phases = np.exp(2j * np.pi * rng.random((4, *frequency.shape)))
    grey, *tints = np.fft.irfft2(phases / frequency**1.5, s=(HEIGHT, WIDTH))
    channels = np.stack([grey / grey.std() + 0.4 * tint / tint.std() for tint in tints], axis=-1)
    return (127 + 45 * channels).clip(0, 255).astype(np.uint8)


def people(rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
    """Labels of one person per photograph."""
    rows = []
    for number in range(count):
        box = rng.uniform(250, 500)
        center = np.array([WIDTH, HEIGHT]) / 2 + rng.uniform(-60, 60, 2)
        corner = center - CROP * box / BOX / 2 + 0.5
        rows.append(
            {
                "name": f"{number}.jpg",
                "joints": center + rng.uniform(-0.4, 0.4, (len(MPII), 2)) * box,
                "labelled": np.ones(len(MPII), bool),
                "visible": np.ones(len(MPII), bool),
                "center": center,
                "box": box,
                "head_size": box / 10,
                "crop": np.array([*corner, BOX / box]),
            }
        )
    return rows


def write_store(path: Path, codec: Codec, photographs: list[np.ndarray], rows: list[dict[str, Any]]) -> Path:
    """The crops of the photographs' persons, as the converter stores them."""
    attrs = {"kind": "pose", "joint_set": "mpii", "origin": 0, "units": "px", "synthetic": True, "box_in_crop": BOX}
    with StoreWriter(path, codec=codec, attrs=attrs, shape=(CROP, CROP, 3)) as writer:
        for picture, row in zip(photographs, rows, strict=True):
            crop = cut(picture, row["center"], row["box"] * CROP / BOX, CROP)
            writer.append(simplejpeg.encode_jpeg(crop, 95, "RGB", "444") if codec == "jpeg" else crop, row)
    return path


def cut(picture: np.ndarray, center: np.ndarray, side: float, size: int) -> np.ndarray:
    """A square of the picture, black outside it, resized."""
    half = round(side / 2)
    x, y = (int(value) - half for value in center)
    square = np.zeros((2 * half, 2 * half, 3), picture.dtype)
    top, left, bottom, right = max(y, 0), max(x, 0), min(y + 2 * half, HEIGHT), min(x + 2 * half, WIDTH)
    square[top - y : bottom - y, left - x : right - x] = picture[top:bottom, left:right]
    return cv2.resize(square, (size, size))


def ours(source: PoseSource, batch: int, clock: dict[str, float]) -> Callable[[int], None]:
    """A batch on our path, epoch after epoch; `clock` gets the seconds of each part."""
    buffers = source.allocate(batch)
    tensors = {key: torch.from_numpy(array) for key, array in buffers.items()}

    def load(epoch: int) -> None:
        with timed(clock, "pixels"):
            for position in range(batch):
                source.fill(buffers, position, position, epoch)
        with timed(clock, "colour"):
            fields = finish(tensors, SIZE)
        with timed(clock, "targets"):
            encode(input_to_heatmap(fields["joints"]), fields["labelled"], HEATMAP, sigma=1.0)

    return load


def usual(files: list[Path], rows: list[dict[str, Any]], clock: dict[str, float]) -> Callable[[int], None]:
    """A batch on the usual path."""

    def load(epoch: int) -> None:
        samples = [usual_sample(path, row, np.random.default_rng(epoch), clock) for path, row in zip(files, rows)]  # noqa: B905
        with timed(clock, "colour"):
            torch.stack([torch.from_numpy(image) for image, _ in samples]).permute(0, 3, 1, 2).contiguous()
        with timed(clock, "targets"):
            torch.stack([torch.from_numpy(maps) for _, maps in samples])

    return load


def usual_sample(
    path: Path, row: dict[str, Any], rng: np.random.Generator, clock: dict[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """One sample from its photograph: image (h, w, 3) and heatmaps (j, h, w), float32."""
    with timed(clock, "pixels"):
        picture = cv2.cvtColor(np.asarray(cv2.imread(str(path))), cv2.COLOR_BGR2RGB)
        crop = cut(picture, row["center"], row["box"], SIZE)
        turn = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), rng.uniform(-30, 30), rng.uniform(0.75, 1.25))
        image = cv2.warpAffine(crop, turn, (SIZE, SIZE)).astype(np.float32) / 255
        if rng.random() < 0.5:
            image = image[:, ::-1]
    with timed(clock, "colour"):
        image = jittered(np.ascontiguousarray(image), rng)
    with timed(clock, "targets"):
        joints = (row["joints"] - row["center"]) / row["box"] * HEATMAP + HEATMAP / 2
        return image, drawn(joints @ turn[:, :2].T + turn[:, 2] / SIZE * HEATMAP)


def jittered(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hue, saturation, brightness and contrast of a float32 image, in turn."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = np.mod(hsv[..., 0] + rng.uniform(0, 360), 360)
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.5, 1.5), 0, 1)
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) + np.float32(rng.uniform(-0.3, 0.3))
    mean = image.mean(axis=2, keepdims=True)
    return np.clip((image - mean) * np.float32(rng.uniform(0.5, 1.5)) + mean, 0, 1)


def drawn(joints: np.ndarray) -> np.ndarray:
    """A patch of a gaussian, pasted at every joint's cell."""
    maps = np.zeros((len(joints), HEATMAP, HEATMAP), np.float32)
    offsets = np.arange(-3, 4)
    for target, (x, y) in zip(maps, joints.astype(int), strict=True):
        patch = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / 2)
        left, top, right, bottom = max(x - 3, 0), max(y - 3, 0), min(x + 4, HEATMAP), min(y + 4, HEATMAP)
        if left < right and top < bottom:
            inside = patch[top - y + 3 : bottom - y + 3, left - x + 3 : right - x + 3]
            target[top:bottom, left:right] = np.maximum(target[top:bottom, left:right], inside)
    return maps


class timed:  # noqa: N801  # reads as a verb
    """Add the seconds of a block to an entry of a clock."""

    def __init__(self, clock: dict[str, float], key: str) -> None:
        self.clock, self.key = clock, key

    def __enter__(self) -> None:
        self.start = time.thread_time()

    def __exit__(self, *_: object) -> None:
        self.clock[self.key] = self.clock.get(self.key, 0.0) + time.thread_time() - self.start


def measure(paths: dict[str, tuple[Callable[[int], None], dict[str, float]]], rounds: int, batch: int) -> Table:
    """Median milliseconds per sample of every path and part."""
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in paths}
    for number in track(range(rounds + 1), description="batches", console=Console(stderr=True)):
        for name, (load, clock) in paths.items():
            clock.clear()
            load(number)
            if number:  # the first one warms caches
                rows[name].append({**clock, "sample": sum(clock.values())})
    parts = ("pixels", "colour", "targets", "sample")
    table = Table("ms per sample", *parts, "x ours (JPEG)", title=f"MPII sample, batch {batch}, one thread, {SIZE} px")
    medians = {
        name: [statistics.median(row[part] for row in rows[name]) * 1e3 / batch for part in parts] for name in rows
    }
    first = next(iter(medians.values()))[-1]
    for name, values in medians.items():
        table.add_row(name, *(f"{value:.2f}" for value in values), f"{values[-1] / first:.2f}")
    return table


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    photographs, rows = [photograph(rng) for _ in range(args.batch)], people(rng, args.batch)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        files = [root / row["name"] for row in rows]
        for path, picture in zip(files, photographs, strict=True):
            path.write_bytes(simplejpeg.encode_jpeg(picture, 90, "RGB", "420"))
        paths: dict[str, tuple[Callable[[int], None], dict[str, float]]] = {}
        codecs: tuple[Codec, ...] = ("jpeg", "raw")
        for codec in codecs:
            store, clock = Store(write_store(root / f"{codec}.h5", codec, photographs, rows)), dict[str, float]()
            source = PoseSource(store, SIZE, AUGMENTATION, seed=0, warp_on_device=False)
            paths[f"ours, {codec}"] = ours(source, args.batch, clock), clock
        clock = dict[str, float]()
        paths["usual, photograph"] = usual(files, rows, clock), clock
        photograph_kb = statistics.mean(path.stat().st_size for path in files) / 1e3
        with Store(root / "jpeg.h5") as store:
            crop_kb = statistics.mean(len(store.payload(index)) for index in range(len(store))) / 1e3
        table = measure(paths, args.rounds, args.batch)
    Console().print(table)
    Console().print(f"Synthetic; a photograph has {photograph_kb:.0f} kB on average, a JPEG crop {crop_kb:.0f} kB.")


if __name__ == "__main__":
    main()
