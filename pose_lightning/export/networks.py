"""What of a run is exported: its network with all that is inside the file, as one module, and the facts about it."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning.activity.task import ActivityClassification
from pose_lightning.cli import PoseCLI
from pose_lightning.convert import crops
from pose_lightning.errors import UserError
from pose_lightning.exported import facts
from pose_lightning.exported.facts import Facts
from pose_lightning.heatmap.decoding import STRIDE
from pose_lightning.heatmap.loss import probabilities
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.joints import H36M, H36M_ROOT, MPII, JointSet
from pose_lightning.regression.task import ClipRegression
from pose_lightning.regression.unrolled import unroll
from pose_lightning.settings import STARTING_POINTS

RGB: Final = "RGB in [0, 1]; the network normalizes them itself"


@dataclass(frozen=True)
class Exportable:
    """A network ready to be written.

    Attributes:
        answer: From one input to one output, in evaluation mode, on the CPU, in float32.
        network: The part of it that has the weights, as `model.weights` takes them.
        facts: About both.
    """

    answer: nn.Module
    network: nn.Module
    facts: Facts


class HeatmapAnswer(nn.Module):
    """The maps that a joint is read from: those of the last stack, as the run's loss means them."""

    def __init__(self, task: HeatmapEstimation) -> None:
        super().__init__()
        self.network, self.softmax = task.model, task.loss == "cross_entropy"

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b j h4 w4"]:
        """One map for each joint."""
        maps: Tensor = self.network(image)[:, -1]
        return probabilities(maps) if self.softmax else maps


class ClipAnswer(nn.Module):
    """Poses in mm."""

    def __init__(self, task: ClipRegression) -> None:
        super().__init__()
        self.network, self.targets = task.model, task.targets
        unroll(self.network)

    def forward(self, clip: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t j 3"]:
        """Of every frame, relative to the root."""
        return self.targets.inverse(self.network(clip))


class ActivityAnswer(nn.Module):
    """Probabilities of classes, or of tags."""

    def __init__(self, task: ActivityClassification) -> None:
        super().__init__()
        self.network, self.tags = task.model, task.tags

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Classes' sum to 1; every tag's stands by itself."""
        logits: Tensor = self.network(image)
        return logits.sigmoid() if self.tags else logits.softmax(dim=1)


def exportable(built: PoseCLI, checkpoint: Path, step: int) -> Exportable:
    """What `trained.load` gave, as one module and what there is to say about it; the run's own network stays as it is.

    Raises:
        UserError: If the task or its data cannot be exported.
    """
    task: Any = copy.deepcopy(built.model).eval()
    data: Any = built.datamodule
    kind, shape, values, details = _described(task, data)
    settings: Mapping[str, Any] = built.config.model.init_args.as_dict()
    about = Facts(
        task=kind,
        experiment=str(built.config.experiment),
        checkpoint=checkpoint.name,
        step=step,
        synthetic=bool(data.synthetic),
        input=facts.Tensor("clip" if kind == "regression" else "image", shape, RGB),
        output=facts.Tensor(values[0], (), values[1]),
        details=details,
        model={key: _plain(value) for key, value in settings.items() if key not in STARTING_POINTS},
        package_version=version("pose_lightning"),
    )
    network = copy.deepcopy(task.model)
    # weights laid out as channels_last are none that torch.export.save calls complete
    answer = ANSWERS[kind](task).eval().to(memory_format=torch.contiguous_format)
    with torch.no_grad():
        output = answer(torch.zeros(1, *shape))
    found = facts.Tensor(about.output.name, tuple(output.shape[1:]), about.output.values)
    return Exportable(answer, network, Facts(**{**vars(about), "output": found}))


ANSWERS: Final[Mapping[str, Any]] = {"heatmap": HeatmapAnswer, "regression": ClipAnswer, "activity": ActivityAnswer}


def _described(task: Any, data: Any) -> tuple[str, tuple[int, ...], tuple[str, str], dict[str, Any]]:
    """The task's name, the input's shape, the output's name and values, and the details."""
    if isinstance(task, HeatmapEstimation):
        values = "heights of one map per joint: its peak is where the joint is, and how high it is the confidence"
        return "heatmap", _picture(data.input_size), ("heatmaps", values), _heatmap_details(task, data)
    if isinstance(task, ClipRegression):
        details = _clip_details(data)
        values = "mm, x y z along the camera's axes, relative to the root on every frame"
        return "regression", (details["frames"], *_picture(data.input_size)), ("poses", values), details
    if isinstance(task, ActivityClassification):
        alone = "of each tag by itself" if task.tags else "of the classes, whose sum is 1"
        return "activity", _picture(data.evaluation_size), ("probabilities", alone), _activity_details(data)
    raise UserError(f"a run of {type(task).__name__} cannot be exported: nobody has said what its file should hold")


def _picture(side: int) -> tuple[int, int, int]:
    return 3, side, side


def _joints(joint_set: JointSet) -> dict[str, Any]:
    return {"joint_set": joint_set.name, "joint_order": list(joint_set.names), "bones": [*map(list, joint_set.bones)]}


def _heatmap_details(task: HeatmapEstimation, data: Any) -> dict[str, Any]:
    pixels = crops.Pixels(images=None)
    taught = data.facts["taught"]
    return {
        **_joints(MPII),
        "joints_never_taught": [name for name, is_taught in zip(MPII.names, taught, strict=True) if not is_taught],
        "decoding": task.decoding,
        "sigma": task.sigma,
        "grid": task.grid,
        "stride": STRIDE,
        "crop": data.facts["crop"] or pixels.crop,
        "box_in_crop": data.facts["box_in_crop"] or pixels.box_in_crop,
    }


def _clip_details(data: Any) -> dict[str, Any]:
    of_store = data.facts
    if of_store["frames"] is None:
        raise UserError("the training store held labels only; the frames of its clips must be known for an export")
    return {
        **_joints(H36M),
        "root": H36M.names[H36M_ROOT],
        "unit": "mm",
        "frames": data.frames or of_store["frames"],
        "frame_rate": of_store["frame_rate"],
        "side": of_store["side"],
        "margin": of_store["margin"],
    }


def _activity_details(data: Any) -> dict[str, Any]:
    framing = data.framing
    return {
        "target": data.target,
        "classes": list(data.facts["classes"]),
        "fit": framing.fit,
        "crop_share": framing.share,
        "shorter_side": data.facts["shorter_side"],
    }


def _plain(value: Any) -> Any:
    """A setting as JSON has it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
