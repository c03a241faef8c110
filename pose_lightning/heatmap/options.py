"""The options of `evaluate` and `predict` that are about people's joints in px."""

import argparse
from typing import Final

from pose_lightning.files import local_path

OF_FILES: Final = ("origin", "published_truth")
"""Those of files of predictions."""

WEIGHTS: Final = "what pose_lightning.heatmap.published or export made (.safetensors)"
"""The files of `--weights`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those of files of predictions."""
    parser.add_argument("--origin", type=int, choices=[0, 1], help="pixel coordinates of the file (MATLAB: 1)")
    parser.add_argument(
        "--published-truth",
        type=local_path,
        metavar="MAT",
        help="HRNet's gt_valid.mat: score as published MPII numbers were",
    )
