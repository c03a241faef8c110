"""The options of `evaluate` that are about poses in mm."""

import argparse
from typing import Final

OF_FILES: Final = ("unit",)
"""Those of files of predictions."""

OF_PAIRS: Final = ("unit",)
"""Those of pairs of files, of which one has the truth."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument(
        "--unit",
        choices=["m", "mm"],
        help="of poses in 3-D, from --predictions or --joints; default: told from their spread",
    )
