"""`python -m pose_lightning.predict RUN_DIR INPUT...`: what a trained network says of pictures, videos and clips.

Importing it does not import PyTorch, which an exported network does without; only the names of those that run there do.
"""

from typing import TYPE_CHECKING, Any

from pose_lightning.predict.door import main

if TYPE_CHECKING:
    from pose_lightning.activity.estimator import Classifier
    from pose_lightning.heatmap.estimator import PoseEstimator

__all__ = ["Classifier", "PoseEstimator", "main"]


def __getattr__(name: str) -> Any:
    if name == "Classifier":
        from pose_lightning.activity.estimator import Classifier  # noqa: PLC0415

        return Classifier
    if name == "PoseEstimator":
        from pose_lightning.heatmap.estimator import PoseEstimator  # noqa: PLC0415

        return PoseEstimator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
