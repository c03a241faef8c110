"""A task of the tests' own: how bright a picture of one colour is. What a task needs at least, and nothing else."""

from pose_lightning.kind import Kind

KIND = Kind(
    name="toy",
    task="tests.toy_task.task.BrightnessEstimation",
    data="tests.toy_task.data.BrightnessData",
    store="brightness",
    measures=("val/error",),
)
