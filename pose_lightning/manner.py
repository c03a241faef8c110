"""How a network is asked, whatever runs it; nothing here imports PyTorch."""

import argparse
import re
from typing import Final, Literal, get_args

from pose_lightning.errors import UserError
from pose_lightning.geometry import Size

DecodeMethod = Literal["argmax", "quarter", "dark", "soft_argmax"]

Scales = tuple[float, ...]

UNSCALED: Final[Scales] = (1.0,)
RANGE: Final = (0.5, 2.0)
"""A stored crop shows 1.75 times the box; much smaller persons would stand in black."""

LARGEST_BATCH: Final = 32
"""One device predicts what several may have trained on; the batch changes nothing but the memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `trained.Manner`, which `trained.manner_from` reads, and `--input-size`."""
    parser.add_argument("--flip-test", action="store_true", help="average with what the mirrored image gives")
    parser.add_argument("--scales", metavar="S,S,...", help="average over persons larger by these, as 0.9,1.0,1.1")
    parser.add_argument(
        "--decoding", choices=get_args(DecodeMethod), help="how a peak becomes a position (as the run says)"
    )
    parser.add_argument(
        "--input-size", type=picture_size, metavar="PX", help="input of --weights, as 256 or 256x192 (the file's; 256)"
    )


def read_scales(text: str) -> Scales:
    """The scales of `--scales 0.9,1.0,1.1`, each once.

    Raises:
        UserError: If one is no number, out of range, or there twice.
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--scales {text} is no list of numbers; write it as 0.9,1.0,1.1") from None
    low, high = RANGE
    if wrong := [scale for scale in scales if not low <= scale <= high]:
        raise UserError(f"--scales {text}: {wrong[0]:g} is out of range; a person grows by {low:g} to {high:g}")
    if len(set(scales)) < len(scales):
        raise UserError(f"--scales {text} names a scale twice, which would count it twice")
    return scales


def picture_size(text: str) -> Size:
    """The side of a square picture, as `256`, or height and width, as `256x192`, px.

    Raises:
        argparse.ArgumentTypeError: If it is neither.
    """
    if not (match := re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size in px: give the side, as 256, or HEIGHTxWIDTH, as 256x192"
        )
    height, width = int(match[1]), int(match[2] or match[1])
    return height if height == width else (height, width)
