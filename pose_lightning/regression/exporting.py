"""What an exported network of clips gives, and says of itself."""

from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning.errors import UserError
from pose_lightning.export.networks import Description, joints, picture
from pose_lightning.exported import facts
from pose_lightning.joints import H36M, H36M_ROOT
from pose_lightning.regression.task import ClipRegression
from pose_lightning.regression.unrolled import unroll

VALUES = "mm, x y z along the camera's axes, relative to the root on every frame"


class ClipAnswer(nn.Module):
    """Poses in mm."""

    def __init__(self, task: ClipRegression) -> None:
        super().__init__()
        self.network, self.targets = task.model, task.targets
        unroll(self.network)

    def forward(self, clip: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t j 3"]:
        """Of every frame, relative to the root."""
        return self.targets.inverse(self.network(clip))


def describe(task: ClipRegression, data: Any) -> Description:
    """What there is to say of a run's network.

    Raises:
        UserError: If nobody knows how many frames a clip has.
    """
    details, frame = _clip_details(data), picture(data.input_size)
    clip = replace(frame, name="clip", shape=(details["frames"], *frame.shape))
    return Description(ClipAnswer(task), clip, facts.Tensor("poses", (), VALUES), details)


def _clip_details(data: Any) -> dict[str, Any]:
    of_store = data.facts
    if of_store["frames"] is None:
        raise UserError("the training store held labels only; the frames of its clips must be known for an export")
    return {
        **joints(H36M),
        "root": H36M.names[H36M_ROOT],
        "unit": "mm",
        "frames": data.frames or of_store["frames"],
        "frame_rate": of_store["frame_rate"],
        "side": of_store["side"],
        "margin": of_store["margin"],
    }
