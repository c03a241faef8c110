"""What all exported networks have in common that answer as their run does, without PyTorch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, UInt8

from pose_lightning.exported.facts import Facts
from pose_lightning.exported.rules import Rule
from pose_lightning.exported.session import OnnxNetwork


class OnnxEstimator:
    """A network of one task, with the details that it is asked by.

    Args:
        network: Of the task.
        flip_test: Average with what the mirrored input gives.

    Attributes:
        details: As the file says them; each follows its rule.
        input_size: Side of the network's input, px.

    Raises:
        UserError: If the network is of another task, or a detail is not as the task needs it.
    """

    task: ClassVar[str]

    def __init__(self, network: OnnxNetwork, *, flip_test: bool = False) -> None:
        self.network, self.flip_test = network, flip_test
        self.details: Mapping[str, Any] = network.details(self.task, self.wanted)
        self.input_size = network.facts.input.shape[-1]

    @staticmethod
    def wanted(facts: Facts, path: Path) -> Mapping[str, Rule]:
        """What the details may be; `input shape` and `output shape` stand among them."""
        raise NotImplementedError

    def mirror_back(self, mirrored: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Answers to a mirrored input as those to the input itself."""
        return mirrored

    def answers(self, seen: Float32[np.ndarray, "*any w"]) -> Float32[np.ndarray, "..."]:
        """What the network says of a batch, in a flip test averaged with what it says of the mirrored one."""
        found = self.network(seen)
        if not self.flip_test:
            return found
        mirrored = self.network(np.ascontiguousarray(seen[..., ::-1]))
        return (found + self.mirror_back(mirrored)) / 2


def as_input(pixels: UInt8[np.ndarray, "*any h w 3"]) -> Float32[np.ndarray, "..."]:
    """Pictures as a network takes them: in [0, 1], the colours first."""
    return np.moveaxis(pixels, -1, -3).astype(np.float32) * np.float32(1 / 255)
