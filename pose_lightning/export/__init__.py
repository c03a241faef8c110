"""`python -m pose_lightning.export RUN_DIR --format FORMAT`: a trained network in one file that says what it is."""

from pose_lightning.export.door import main

__all__ = ["main"]
