"""Human3.6M: the official positions (.cdf), videos (.mp4) and cameras (metadata.xml) to stores of clips.

Unpack the official archives below one folder, in whichever way, and put metadata.xml beside them:

- S9/MyPoseFeatures/D3_Positions/Walking 1.cdf (32 joints in the world, mm), or the folder D3_Positions_mono with files
  Walking 1.54138969.cdf (in that camera's axes).
- S9/Videos/Walking 1.54138969.mp4, or a folder Walking 1.54138969 with its frames as .jpg or .png images: the last
  number in their names counts from 1, as ffmpeg's does, or from 0 if there is an image 0.

Subjects S1 S5 S6 S7 S8 become train.h5, S9 S11 test.h5 (protocol 1). Clips are cut as one square around the joints of
all their frames. Poses are in camera axes, mm, relative to the pelvis on every frame.

Left out: S11 Directions, whose video is corrupt; and S9 Greeting, SittingDown 1 and Waiting 1, whose positions are
shifted against the video, so that a crop around them misses the person. --keep-damaged keeps these three.

With --marks FILE, --source is a folder of single photographs NAME.jpg, each with NAME.csv, its 17 x 3 joints in camera
axes, mm, without a camera. FILE is a .csv with the columns image (NAME), joint (a number from 0 to 16), x and y: where
you see at least two joints of each photograph, px. A weak-perspective camera is fitted to them, and every photograph
becomes a clip of one frame in test.h5. --metadata fits the person's place before the official lens instead, which is
closer where the person is near the picture's edge.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pose_lightning.convert import ConvertError, human36m_photographs
from pose_lightning.convert.crops import QUALITY, add_quality_argument, print_summary, quality_from
from pose_lightning.convert.human36m_clips import Clips
from pose_lightning.convert.human36m_plan import TEST, TRAIN, make_plan, write_stores
from pose_lightning.convert.staging import owning
from pose_lightning.store import Codec

_OF_VIDEOS: Final = {
    "frames": Clips.frames,
    "stride": Clips.stride,
    "every": Clips.every,
    "subjects": None,
    "validation": None,
    "keep_damaged": False,
    "skip_missing": False,
    "jobs": None,
}
"""Arguments that single photographs have no use for, and their defaults."""


def write(
    source: Path,
    target: Path,
    *,
    frames: int = 8,
    stride: int = 5,
    every: int = 64,
    size: int = 224,
    margin: float = 0.15,
    codec: Codec = "raw",
    quality: int = QUALITY,
    subjects: Sequence[str] | None = None,
    validation: str | None = None,
    metadata: Path | None = None,
    keep_damaged: bool = False,
    skip_missing: bool = False,
    jobs: int | None = None,
    dataset: str = "human36m",
    synthetic: bool = False,
) -> dict[Path, int]:
    """Write `target`/train.h5, test.h5 and, with `validation`, val.h5; return the number of clips in each.

    Args:
        source: Folder below which the official files lie, as the module says.
        target: Folder of the stores.
        frames: See `Clips`, as the next six.
        stride: In frames of the video.
        every: In frames of the video.
        size: px.
        margin: Share of the joints' bounding square.
        codec: Of the stores.
        quality: Of their JPEG files.
        subjects: Only these; by default, all of protocol 1 that have positions.
        validation: Training subject that becomes val.h5 instead.
        metadata: The official metadata.xml; by default, the one below `source`.
        keep_damaged: Convert the sequences whose positions are shifted against the video.
        skip_missing: Leave out subjects without positions, and views without a readable video, or whose length or
            positions do not fit, instead of failing.
        jobs: Threads; by default, one per core.
        dataset: Name of the data. The known bad sequences are only left out of "human36m".
        synthetic: Whether the frames are drawn; whatever is trained on them says so.

    Raises:
        ConvertError: If the files are not as described, or there is nothing to convert.
        BusyError: If another process converts into the target.
    """
    clips = Clips(frames, stride, every, size, margin, codec, quality)
    with owning(target):
        plan = make_plan(
            source,
            clips,
            subjects=subjects,
            validation=validation,
            metadata=metadata,
            keep_damaged=keep_damaged,
            dataset=dataset,
            synthetic=synthetic,
        )
        results = write_stores(plan, target, clips, skip_missing=skip_missing, jobs=jobs)
    return {path: counts["clips"] for path, counts in results.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert human36m`."""
    add = parser.add_argument
    add("--source", type=Path, required=True, metavar="DIR", help="folder of the unpacked official files")
    add("--target", type=Path, required=True, metavar="DIR", help="gets train.h5, test.h5 and perhaps val.h5")
    add("--metadata", type=Path, metavar="FILE", help="metadata.xml (default: the one below --source)")
    add("--frames", type=int, default=8, metavar="T", help="of one clip (8)")
    add("--stride", type=int, default=5, metavar="N", help="take every N-th frame of the video, which has 50 Hz (5)")
    add("--every", type=int, default=64, metavar="N", help="begin a clip every N frames of the video (64)")
    add("--size", type=int, default=224, metavar="PX", help="side of a stored frame (224)")
    add("--margin", type=float, default=0.15, metavar="X", help="on each side of the joints' square, of its side (.15)")
    add("--codec", choices=("raw", "jpeg"), default="raw", help="how pixels are stored (raw)")
    add_quality_argument(parser)
    add("--subjects", nargs="+", choices=(*TRAIN, *TEST), metavar="S", help="only these (default: all that are there)")
    add("--validation", choices=TRAIN, metavar="S", help="training subject that becomes val.h5 (default: none)")
    add("--keep-damaged", action="store_true", help="keep the three sequences of S9 that do not fit to their videos")
    add("--skip-missing", action="store_true", help="leave out and name subjects and videos that are of no use")
    add("--marks", type=Path, metavar="FILE", help="convert single photographs instead, as said above")
    add("--jobs", type=int, metavar="N", help="threads (default: one per core)")


def run(args: argparse.Namespace) -> None:
    """Convert and print what was written."""
    if args.marks is not None:
        if given := [f"--{key.replace('_', '-')}" for key, value in _OF_VIDEOS.items() if getattr(args, key) != value]:
            raise ConvertError(f"{', '.join(given)} cannot go with --marks, which converts single photographs")
        path, counts, note = human36m_photographs.write(
            args.source,
            args.target,
            args.marks,
            metadata=args.metadata,
            size=args.size,
            margin=args.margin,
            codec=args.codec,
            quality=quality_from(args),
        )
        print_summary({path: counts}, [note])
        return
    clips = Clips(args.frames, args.stride, args.every, args.size, args.margin, args.codec, quality_from(args))
    with owning(args.target):
        plan = make_plan(
            args.source,
            clips,
            subjects=args.subjects,
            validation=args.validation,
            metadata=args.metadata,
            keep_damaged=args.keep_damaged,
        )
        results = write_stores(plan, args.target, clips, skip_missing=args.skip_missing, jobs=args.jobs)
    print_summary(results, [*plan.notes, *(f"left out: {line}" for line in plan.dropped)])
