"""The demo data."""

from pathlib import Path

from pose_lightning.convert import demo


def draw(target: Path, *, folds: int) -> None:
    """Draw it into the folder of all demo data."""
    demo.write_clips(target)
