"""3D regression: clips of a person to the joints of every frame."""

from pose_lightning.kind import Kind

KIND = Kind(
    name="regression",
    task="pose_lightning.regression.task.ClipRegression",
    data="pose_lightning.regression.data.ClipData",
    store="clips",
    measures=("val/mpjpe",),
    validation=("val", "test"),
    clips=True,
)
