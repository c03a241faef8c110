"""The door of the converters: `python -m pose_lightning.convert CONVERTER`, such as `mpii`, `coco` or `demo`."""

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from textwrap import fill
from typing import Final

import cv2

from pose_lightning.convert import clips, coco, demo, human36m, images, lsp, mpii
from pose_lightning.errors import door
from pose_lightning.options import OptionParser

HELP_WIDTH: Final = 78  # as argparse wraps on a terminal of 80 columns


def build_parser() -> argparse.ArgumentParser:
    """Every converter is a subcommand."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = OptionParser(
        prog="python -m pose_lightning.convert",
        description="Convert official files to stores. Each converter can be repeated: it replaces its stores whole.",
    )
    converters = parser.add_subparsers(dest="converter", required=True, metavar="CONVERTER")
    for name, module, text in (
        ("mpii", mpii, "MPII Human Pose: the official .mat, Newell's h5, JSON, or activities"),
        ("lsp", lsp, "Leeds Sports Pose and its extension"),
        ("coco", coco, "keypoints in COCO's form, of any skeleton"),
        ("human36m", human36m, "Human3.6M: official positions, videos and cameras"),
        ("clips", clips, "Human3.6M as the course gave it: a pair of .npy files"),
        ("images", images, "any folder of pictures with one folder per class"),
        ("demo", demo, "draw people, write them as official files, and convert these"),
    ):
        description = _wrapped(inspect.cleandoc(module.__doc__ or text))
        subparser = converters.add_parser(name, help=text, description=description, formatter_class=raw)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def _wrapped(text: str) -> str:
    """Paragraphs and lists of a docstring, for a terminal of 80 columns."""
    blocks = [part for paragraph in text.split("\n\n") for part in re.split(r"\n(?=- )", paragraph + "\n")]
    lines = [
        fill(" ".join(block.split()), HELP_WIDTH, subsequent_indent="  " if block.startswith("- ") else "")
        for block in blocks
    ]
    return "\n".join(
        line if line.startswith("- ") and after.startswith("- ") else f"{line}\n"
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one converter; a user's mistake, or a fault of the disk, is printed alone and gives 2."""
    args = build_parser().parse_args(arguments)
    cv2.setNumThreads(1)  # the converters' own threads have the cores already
    try:
        door(args.run)(args)
    except SystemExit as end:
        return int(end.code or 0)
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left, and the same command starts over", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
