"""`python -m pose_lightning.predict RUN_DIR INPUT...`: what a trained network says of pictures, videos and clips."""

from pose_lightning.predict.classes import Classifier
from pose_lightning.predict.door import main
from pose_lightning.predict.poses import PoseEstimator

__all__ = ["Classifier", "PoseEstimator", "main"]
