"""What of a run is exported: its network with all that is inside the file, as one module, and the facts about it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from pose_lightning import kinds
from pose_lightning.cli import PoseCLI
from pose_lightning.errors import UserError
from pose_lightning.exported import facts
from pose_lightning.exported.facts import Facts
from pose_lightning.geometry import Size, sides
from pose_lightning.joints import JointSet
from pose_lightning.settings import STARTING_POINTS

RGB: Final = "RGB in [0, 1]; the network normalizes them itself"


@dataclass(frozen=True)
class Exportable:
    """A network ready to be written.

    Attributes:
        answer: From one input to one output, in evaluation mode, on the CPU, in float32.
        network: The part of it that has the weights, as `model.weights` takes them.
        facts: About both.
        metadata: What a file of weights says beside them, by key.
    """

    answer: nn.Module
    network: nn.Module
    facts: Facts
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What a task says of its network.

    Attributes:
        answer: As of `Exportable`; its `network` is the task's `model`, and what else has weights is written too.
        input: That it takes.
        output: That it gives; its shape is found out.
        details: As of `Facts`.
        metadata: As of `Exportable`.
    """

    answer: nn.Module
    input: facts.Tensor
    output: facts.Tensor
    details: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)


def exportable(built: PoseCLI, checkpoint: Path, step: int) -> Exportable:
    """What `trained.load` gave, as one module and what there is to say about it; the run's own network stays as it is.

    Raises:
        UserError: If the task or its data cannot be exported.
    """
    task: Any = copy.deepcopy(built.model).eval()
    data: Any = built.datamodule
    kind = kinds.of(task)
    if kind is None or not kind.has("exporting"):
        raise UserError(f"a run of {type(task).__name__} cannot be exported: nobody has said what its file should hold")
    network = copy.deepcopy(task.model)  # before an answer changes its own
    described: Description = kind.part("exporting").describe(task, data)
    settings: Mapping[str, Any] = built.config.model.init_args.as_dict()
    about = Facts(
        task=kind.name,
        experiment=str(built.config.experiment),
        checkpoint=checkpoint.name,
        step=step,
        synthetic=bool(data.synthetic),
        input=described.input,
        output=described.output,
        details=described.details,
        model={key: _plain(value) for key, value in settings.items() if key not in STARTING_POINTS},
        package_version=version("pose_lightning"),
    )
    # weights laid out as channels_last are none that torch.export.save calls complete
    answer = described.answer.eval().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        output = answer(torch.zeros(1, *described.input.shape))
    found = facts.Tensor(about.output.name, tuple(output.shape[1:]), about.output.values)
    return Exportable(answer, network, Facts(**{**vars(about), "output": found}), described.metadata)


def picture(size: Size) -> facts.Tensor:
    """One picture, as an input."""
    return facts.Tensor("image", (3, *sides(size)), RGB)


def joints(joint_set: JointSet) -> dict[str, Any]:
    """Details of a joint set."""
    return {"joint_set": joint_set.plain()}


def _plain(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
