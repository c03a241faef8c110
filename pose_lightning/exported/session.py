"""An exported network in an ONNX file, run by onnxruntime on the CPU."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from pose_lightning.errors import UserError
from pose_lightning.exported.facts import AGAIN, Facts, TaskName

EXTRA = "pip install 'pose_lightning[export]'"


class OnnxNetwork:
    """A network that answers arrays with arrays.

    Args:
        path: What `python -m pose_lightning.export RUN_DIR --format onnx` wrote.

    Attributes:
        facts: What the file says of itself.

    Raises:
        UserError: If onnxruntime is missing, or the file is, or it is no such file.
    """

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise UserError(f"ONNX files are run by onnxruntime, which is not installed: {EXTRA}") from error
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; {AGAIN} --format onnx")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        try:
            self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no other class
            raise UserError(f"{path} cannot be read as ONNX ({error}); {AGAIN} --format onnx") from error
        self.path = path
        self.facts = Facts.from_metadata(self._session.get_modelmeta().custom_metadata_map, path)

    def details(self, task: TaskName, *needed: str, **wanted: Any) -> dict[str, Any]:
        """The details of a task, as the file says them.

        Args:
            task: That must be the file's.
            needed: Details that must be there.
            wanted: Those that must have this value.

        Raises:
            UserError: If the file is of another task, lacks a detail, or has another value.
        """
        found = dict(self.facts.details)
        if self.facts.task != task:
            raise UserError(f"{self.path} is a network of {self.facts.task}; wanted one of {task}")
        if missing := sorted({*needed, *wanted} - found.keys()):
            raise UserError(f"{self.path}: what it says of itself lacks {', '.join(missing)}; {AGAIN} --format onnx")
        if other := [key for key, value in wanted.items() if found[key] != value]:
            raise UserError(f"{self.path} has {other[0]} {found[other[0]]}; wanted {wanted[other[0]]}")
        return found

    def __call__(self, batch: Float32[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """The answers to a batch, as `facts` describes both."""
        answers: Any = self._session.run([self.facts.output.name], {self.facts.input.name: batch})
        return np.asarray(answers[0])
