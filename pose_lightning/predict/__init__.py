"""`python -m pose_lightning.predict RUN_DIR IMAGE...`: what a trained network says of photographs."""

from pose_lightning.predict.classes import Classifier
from pose_lightning.predict.door import main
from pose_lightning.predict.poses import PoseEstimator

__all__ = ["Classifier", "PoseEstimator", "main"]
