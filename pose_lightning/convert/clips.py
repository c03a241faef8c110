"""The course's clips of Human3.6M: a pair of .npy files to one split's store.

The frames are uint8 (clips, 8, 224, 224, 3), the joints (clips, 8, 17, 3), relative to the pelvis or not, in m or mm,
which is told from the size of a person, or in cm, which --unit says. The split is the course's own: its subjects are
unknown, so that no number measured on it is protocol 1.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import simplejpeg
import xxhash
from rich import progress
from rich.markup import escape

from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import QUALITY, add_quality_argument, print_summary, quality_from
from pose_lightning.convert.npy import ClipPair, Unit
from pose_lightning.convert.staging import owning, staged
from pose_lightning.reading.raw import open_regular
from pose_lightning.store import Codec, Store, StoreWriter
from pose_lightning.terminal import Terminal

JPEG_BLOCK: Final = 8
"""Frames are stacked into one JPEG; a height that is no multiple of a block's would let them bleed into each other."""
JPEG_ROWS: Final = 65500
"""libjpeg's limit (`JPEG_MAX_DIMENSION` in jmorecfg.h)."""

CHUNK: Final = 1 << 24


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert clips`."""
    parser.add_argument("--frames", type=Path, required=True, metavar="NPY", help="videoframes_clips_train.npy")
    parser.add_argument("--joints", type=Path, required=True, metavar="NPY", help="joint_3d_clips_train.npy")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="gets SPLIT.h5")
    parser.add_argument("--split", required=True, choices=["train", "val", "test"])
    parser.add_argument("--unit", choices=["auto", "m", "cm", "mm"], default="auto", help="of the joints (auto: told)")
    parser.add_argument(
        "--codec", choices=["raw", "jpeg"], default="raw", help="raw: fast; jpeg: a seventh of the size (raw)"
    )
    add_quality_argument(parser)
    parser.add_argument("--synthetic", action="store_true", help="mark the clips as drawn or rendered")


def run(args: argparse.Namespace) -> None:
    """Convert one split and print what was written."""
    write(
        args.frames,
        args.joints,
        args.target,
        args.split,
        unit=args.unit,
        codec=args.codec,
        quality=quality_from(args),
        synthetic=args.synthetic,
    )


def write(
    frames: Path,
    joints: Path,
    target: Path,
    split: Literal["train", "val", "test"],
    *,
    unit: Unit = "auto",
    codec: Codec = "raw",
    quality: int = QUALITY,
    synthetic: bool = False,
    dataset: str = "course clips",
) -> Path:
    """Write `target`/`split`.h5 and return its path.

    Clips that the target's other splits hold too are counted (`attrs`) and told: scores would flatter. They are known
    by their poses, equal to the last bit, as JPEG changes pixels.

    Raises:
        ConvertError: If the files are not such a pair, or their frames do not fit into JPEGs.
        BusyError: If another process converts into the target.
    """
    path = target / f"{split}.h5"
    with owning(target), ClipPair(frames, joints, unit=unit, split=split) as pair:
        if codec == "jpeg":
            _check_jpeg(pair, quality)
        known = _known(target, split)
        repeated = sum(_checksum(poses) in known for poses in pair.labels["joints"])
        counts = {"clips": len(pair), "frames": len(pair) * pair.shape[0], "in another split": repeated}
        sources = {each.name: _digest(each) for each in (pair.path, pair.joints_path)}
        attrs = {**pair.attrs, "dataset": dataset, "synthetic": synthetic, "sources": sources, "counts": counts}
        with staged(target, [path.name]) as unfinished:
            _append_all(unfinished / path.name, pair, attrs, codec, quality)
    relative = f"poses relative to the pelvis {attrs['root_relative']}; unit of the source: {attrs['source_unit']}"
    notes = [f"{relative}; {attrs['split_rule']}: not protocol 1"]
    if repeated:
        notes.append(f"WARNING: {repeated} clips are in another split of {target} too: scores on them would flatter")
    print_summary({path: counts}, notes)
    return path


def _check_jpeg(pair: ClipPair, quality: int) -> None:
    """Raise if the clips do not fit into JPEGs."""
    frames, height = pair.shape[:2]
    if height % JPEG_BLOCK:
        raise ConvertError(f"{pair.path}: frames {height} px high; jpeg needs a multiple of 8, or take raw")
    if frames * height > JPEG_ROWS:
        raise ConvertError(f"{pair.path}: {frames} x {height} rows; a JPEG has at most {JPEG_ROWS}: take raw")
    if not 1 <= quality <= 100:
        raise ConvertError(f"--quality {quality}: wanted 1 to 100")


def _append_all(path: Path, pair: ClipPair, attrs: Mapping[str, Any], codec: Codec, quality: int) -> None:
    """Write the store, clip by clip."""
    frames: np.ndarray = pair.buffer(1)[0]
    with StoreWriter(path, codec=codec, attrs=attrs, shape=pair.shape) as writer:
        for index in progress.track(range(len(pair)), f"convert {escape(path.name)}", console=Terminal(stderr=True)):
            pair.read_into(index, frames)
            pixels: np.ndarray | bytes = frames
            if codec == "jpeg":
                stacked = frames.reshape(-1, *frames.shape[2:])
                pixels = simplejpeg.encode_jpeg(stacked, quality, "RGB", "444", fastdct=False)
            labels = {key: column[index] for key, column in pair.labels.items()}
            for key in ("name", "subject", "action", "camera", "sequence"):
                labels[key] = str(labels[key])
            writer.append(pixels, labels)


def _checksum(joints: np.ndarray) -> int:
    return xxhash.xxh3_64_intdigest(joints.tobytes())


def _known(target: Path, split: str) -> set[int]:
    """Checksums of the poses in the target's other splits: equal poses to the last bit are the same clip."""
    found: set[int] = set()
    for other in ("train", "val", "test"):
        if other != split and (target / f"{other}.h5").is_file():
            with Store(target / f"{other}.h5") as store:
                found |= {_checksum(joints) for joints in store.labels["joints"]}
    return found


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_64()
    size = path.stat().st_size
    with (
        open_regular(path, error=ConvertError) as source,
        progress.wrap_file(
            source, size, description=f"checksum {escape(path.name)}", console=Terminal(stderr=True)
        ) as file,
    ):
        while part := file.read(CHUNK):
            digest.update(part)
    return digest.hexdigest()
