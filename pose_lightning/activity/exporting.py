"""What an exported network of activities gives, and says of itself."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning.activity.task import ActivityClassification
from pose_lightning.export.networks import Description, picture
from pose_lightning.exported import facts


class ActivityAnswer(nn.Module):
    """Probabilities of classes, or of tags."""

    def __init__(self, task: ActivityClassification) -> None:
        super().__init__()
        self.network, self.tags = task.model, task.tags

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k"]:
        """Classes' sum to 1; every tag's stands by itself."""
        logits: Tensor = self.network(image)
        return logits.sigmoid() if self.tags else logits.softmax(dim=1)


def describe(task: ActivityClassification, data: Any) -> Description:
    """What there is to say of a run's network."""
    values = "of each tag by itself" if task.tags else "of the classes, whose sum is 1"
    output = facts.Tensor("probabilities", (), values)
    return Description(ActivityAnswer(task), picture(data.evaluation_size), output, _activity_details(data))


def _activity_details(data: Any) -> dict[str, Any]:
    framing = data.framing
    return {
        "target": data.target,
        "classes": list(data.facts["classes"]),
        "fit": framing.fit,
        "crop_share": framing.share,
        "shorter_side": data.facts["shorter_side"],
    }
