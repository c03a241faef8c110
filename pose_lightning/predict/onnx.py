"""Exported networks: the same answers as a run's gives, without PyTorch."""

from pathlib import Path
from typing import Any

from pose_lightning import kinds
from pose_lightning.errors import UserError
from pose_lightning.exported.estimator import OnnxEstimator
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.manner import DecodeMethod


def read(path: Path, *, flip_test: bool, decoding: DecodeMethod | None) -> Any:
    """The network of a file, as its task's `answers` take it.

    Args:
        path: What `python -m pose_lightning.export --format onnx` wrote.
        flip_test: Average with what the mirrored picture gives.
        decoding: Of heatmaps: how a peak becomes a position; None is as the run says.

    Raises:
        UserError: If it cannot be read, or has no heatmaps to decode.
    """
    network = OnnxNetwork(path)
    kind = kinds.named(network.facts.task)
    if not kind.has("onnx"):
        raise UserError(f"{path} is a network of {kind.name}, which needs its run: name the run's directory")
    if decoding is None:
        return kind.part("onnx").of_file(network, flip_test=flip_test)
    if not kind.has("testing"):
        raise UserError(f"--decoding cannot go with {path}, a network of {kind.name}, which has no heatmaps")
    return kind.part("onnx").of_file(network, flip_test=flip_test, decoding=decoding)


class OfFile:
    """Where the answers of a file are from, as those of a run say it."""

    def __init__(self, estimator: OnnxEstimator) -> None:
        about = estimator.network.facts
        self.checkpoint, self.step, self.experiment = estimator.network.path, about.step, about.experiment
        self.synthetic, self.flip_test = about.synthetic, estimator.flip_test
