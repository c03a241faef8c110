"""The options of `evaluate` that are about classes."""

import argparse
from typing import Final, get_args

from pose_lightning.activity.truth import Target

OF_FILES: Final = ("target",)
"""Those of files of predictions."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "--target",
        choices=get_args(Target),
        help="what --predictions are of; default: told from the file, or from its width",
    )
