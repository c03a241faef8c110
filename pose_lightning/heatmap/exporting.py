"""What an exported network of heatmaps gives, and says of itself."""

import json
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning.convert import crops
from pose_lightning.export.networks import Description, joints, picture
from pose_lightning.exported import facts
from pose_lightning.heatmap.decoding import STRIDE
from pose_lightning.heatmap.loss import probabilities
from pose_lightning.heatmap.model import NETWORK, StackedHourglass
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.joints import JointSet

VALUES = "heights of one map per joint: its peak is where the joint is, and how high it is the confidence"


class HeatmapAnswer(nn.Module):
    """The maps that a joint is read from: those of the last stack, as the run's loss means them."""

    def __init__(self, task: HeatmapEstimation) -> None:
        super().__init__()
        self.network, self.softmax = task.model, task.loss == "cross_entropy"

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b j h4 w4"]:
        """One map for each joint."""
        maps: Tensor = self.network(image)[:, -1]
        return probabilities(maps) if self.softmax else maps


def describe(task: HeatmapEstimation, data: Any) -> Description:
    """What there is to say of a run's network."""
    output = facts.Tensor("heatmaps", (), VALUES)
    details = _heatmap_details(task, data)
    return Description(
        HeatmapAnswer(task), picture(data.input_size), output, details, _metadata(task.model, task.joint_set)
    )


def _metadata(network: nn.Module, joint_set: JointSet) -> dict[str, str]:
    """What `StackedHourglass.from_weights` wants to know."""
    if not isinstance(network, StackedHourglass):
        return {}
    about = {"network": NETWORK, "settings": network.settings, "joint_set": joint_set.plain()}
    return {key: json.dumps(value) for key, value in about.items()}


def _heatmap_details(task: HeatmapEstimation, data: Any) -> dict[str, Any]:
    pixels = crops.Pixels(images=None)
    taught = zip(task.joint_set.names, data.facts["taught"], strict=True)
    return {
        **joints(task.joint_set),
        "joints_never_taught": [name for name, is_taught in taught if not is_taught],
        "decoding": task.decoding,
        "sigma": task.sigma,
        "grid": task.grid,
        "stride": STRIDE,
        "crop": data.facts["crop"] or pixels.crop,
        "box_in_crop": data.facts["box_in_crop"] or pixels.box_in_crop,
    }
