"""How a network is asked, whatever runs it; nothing here imports PyTorch."""

import argparse
from typing import Final, get_args

from pose_lightning.heatmap.decoding import DecodeMethod

LARGEST_BATCH: Final = 32
"""One device predicts what several may have trained on; the batch changes nothing but the memory."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `trained.Manner`; `trained.manner_from` reads them."""
    parser.add_argument("--flip-test", action="store_true", help="average with what the mirrored image gives")
    parser.add_argument("--scales", metavar="S,S,...", help="average over persons larger by these, as 0.9,1.0,1.1")
    parser.add_argument(
        "--decoding", choices=get_args(DecodeMethod), help="how a peak becomes a position (as the run says)"
    )
