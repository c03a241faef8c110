"""`python -m pose_lightning.predict RUN_DIR INPUT...`: what a trained network says of pictures, videos and clips.

Importing it does not import PyTorch, which an exported network does without; only the names of those that run there do,
such as `from pose_lightning.predict import PoseEstimator`.
"""

from typing import Any

from pose_lightning import kinds
from pose_lightning.predict.door import main

__all__ = ["main"]


def __getattr__(name: str) -> Any:
    """A class of a task's `estimator`."""
    for kind in kinds.having("estimator") if name[:1].isupper() else ():
        if (found := getattr(kind.part("estimator"), name, None)) is not None:
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
