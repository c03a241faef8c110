"""3D regression: clips of a person to the joints of every frame."""

from pose_lightning.kind import Kind, Measure

KIND = Kind(
    name="regression",
    task="pose_lightning.regression.task.ClipRegression",
    data="pose_lightning.regression.data.ClipData",
    store="clips",
    measures=(Measure("val/mpjpe", "MPJPE", "mm"),),
    validation=("val", "test"),
    clips=True,
)
