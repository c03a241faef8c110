"""An exported network in an ONNX file, run by onnxruntime on the CPU."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from pose_lightning.errors import UserError
from pose_lightning.exported import rules
from pose_lightning.exported.facts import Facts, Tensor
from pose_lightning.exported.rules import AGAIN, Rule
from pose_lightning.reading.raw import check_regular

EXTRA: Final = "pip install 'pose_lightning[export]'"

FLOAT32: Final = "tensor(float)"
"""As onnxruntime calls it."""


class OnnxNetwork:
    """A network that answers arrays with arrays.

    Args:
        path: What `python -m pose_lightning.export RUN_DIR --format onnx` wrote.

    Attributes:
        facts: What the file says of itself.

    Raises:
        UserError: If onnxruntime is missing, or the file is, or it is no such file, or its graph has another input or
            output than the file says.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UserError(f"ONNX files are run by onnxruntime, which is not installed: {EXTRA}") from error
        if not os.path.lexists(path):
            raise UserError(f"{path}: there is no such file; {AGAIN} --format onnx")
        check_regular(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        try:
            self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no other class
            raise UserError(f"{path} cannot be read as ONNX ({error}); {AGAIN} --format onnx") from error
        self.path = path
        self.facts = Facts.from_metadata(self._session.get_modelmeta().custom_metadata_map, path)
        self._check("input", self.facts.input, self._session.get_inputs())
        self._check("output", self.facts.output, self._session.get_outputs())

    def _check(self, kind: str, said: Tensor, nodes: Sequence[Any]) -> None:
        """Refuse a graph that takes or gives something else than the file says."""
        found = "; ".join(f"{node.name} ({', '.join(map(str, node.shape))}) {node.type}" for node in nodes)
        fits = len(nodes) == 1 and (nodes[0].name, nodes[0].type) == (said.name, FLOAT32)
        if not fits or not _is_batch_of(said.shape, nodes[0].shape):
            raise UserError(
                f"{self.path} says that its {kind} is {said}, but its graph has {found or 'none'}: one of them was "
                f"changed since the export; {AGAIN} --format onnx"
            )

    def details(self, task: str, wanted: Callable[[Facts, Path], Mapping[str, Rule]]) -> Mapping[str, Any]:
        """The details of a task, as the file says them.

        Args:
            task: That must be the file's.
            wanted: Of the facts and the file, what each detail may be, `input shape` and `output shape` among them.

        Raises:
            UserError: If the file is of another task, lacks a detail, or has one that it may not have.
        """
        if self.facts.task != task:
            raise UserError(f"{self.path} is a network of {self.facts.task}; wanted one of {task}")
        rules.check(self.path, self.facts.stated, wanted(self.facts, self.path))
        return self.facts.details

    def __call__(self, batch: Float32[np.ndarray, "b ..."]) -> Float32[np.ndarray, "b ..."]:
        """The answers to a batch, as `facts` describes both.

        Raises:
            UserError: If the graph cannot be run on it, or answers in another shape than the file says.
        """
        try:
            answers = np.asarray(self._session.run([self.facts.output.name], {self.facts.input.name: batch})[0])
        except Exception as error:  # its exceptions share no other class
            raise UserError(f"{self.path} cannot be run ({error}); {AGAIN} --format onnx") from error
        if answers.shape != (wanted := (len(batch), *self.facts.output.shape)):
            raise UserError(f"{self.path} answers {answers.shape} and not {wanted}, as it says; {AGAIN} --format onnx")
        return answers


def _is_batch_of(shape: Sequence[int], declared: Sequence[int | str | None]) -> bool:
    """Whether a graph's tensor, of which some sizes may be open, is a batch of any size of such samples."""
    if len(declared) != 1 + len(shape) or isinstance(declared[0], int):
        return False
    return all(size == wanted for size, wanted in zip(declared[1:], shape, strict=True) if isinstance(size, int))
