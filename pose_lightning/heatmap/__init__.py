"""Heatmap estimation: a person's joints as the peaks of one heatmap per joint."""

from pose_lightning.kind import Kind

KIND = Kind(
    name="heatmap",
    task="pose_lightning.heatmap.task.HeatmapEstimation",
    data="pose_lightning.heatmap.data.PoseData",
    store="pose",
    measures=("val/pck", "val/pckh"),
)
