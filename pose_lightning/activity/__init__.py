"""Activity classification: whole pictures to what the people in them do."""

from pose_lightning.kind import Kind

KIND = Kind(
    name="activity",
    task="pose_lightning.activity.task.ActivityClassification",
    data="pose_lightning.activity.data.ActivityData",
    store="activity",
    measures=("val/top1", "val/map"),
)
