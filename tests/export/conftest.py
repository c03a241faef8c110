"""Runs of every task that were stopped before their first step, and their files."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose_lightning import cli, trained
from pose_lightning.export.door import write
from pose_lightning.export.networks import Exportable, exportable
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store
from tests.untrained import save

TASKS = {
    "heatmap": (
        "demo_stores",
        "--model=HeatmapEstimation",
        "--data=PoseData",
        "--data.input_size=64",
        "--model.network.stacks=2",
        "--model.network.features=8",
        "--model.network.depth=1",
        "--model.decoding=dark",
    ),
    "regression": (
        "demo_clip_stores",
        "--model=ClipRegression",
        "--data=ClipData",
        "--data.input_size=32",
        "--model.input_size=32",
        "--model.encoder=conv",
        "--model.encoder_width=0.125",
        "--model.encoder_features=[]",
        "--model.temporal_features=8",
        "--model.head_features=[8]",
        "--model.target_transform=standardize",
    ),
    "activity": (
        "demo_activity_stores",
        "--model=ActivityClassification",
        "--data=ActivityData",
        "--data.input_size=32",
        "--model.input_size=32",
        "--model.backbone=test_resnet",
        "--model.head=pooled",
    ),
}


def write_run(folder: Path, root: Path, arguments: tuple[str, ...]) -> RunDirectory:
    run = RunDirectory(folder)
    run.checkpoints.mkdir(parents=True)
    with Store(root / "train.h5") as store:
        classes = [f"--model.num_classes={len(store.attrs['categories'])}"] if "categories" in store.attrs else []
    given = [f"--data.root={root}", "--data.batch_size=3", "--data.num_threads=0", "--trainer.accelerator=cpu"]
    built = cli.build([*arguments, *classes, *given, "--experiment=tiny", "--seed_everything=3"])
    if "--model=ClipRegression" in arguments:
        built.model.targets.fit(built.datamodule.training_joints())
    run.write_config(built.dump())
    save(built, run.best, 7)
    return run


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunDirectory]:
    """`write_run`, for runs that a test wants to itself."""
    return write_run


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """140 px high and 170 wide."""
    small = np.random.default_rng(3).integers(256, size=(14, 17, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("photographs") / "photograph.png"
    cv2.imwrite(str(path), cv2.resize(small, (170, 140), interpolation=cv2.INTER_CUBIC))
    return path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, RunDirectory]:
    """By task."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        task: write_run(folder / task, request.getfixturevalue(stores), tuple(arguments))
        for task, (stores, *arguments) in TASKS.items()
    }


@pytest.fixture(scope="session")
def exportables(runs: dict[str, RunDirectory]) -> dict[str, Exportable]:
    """By task."""
    return {task: exportable(*trained.load(run)) for task, run in runs.items()}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, exportables: dict[str, Exportable]) -> dict[str, Path]:
    """ONNX files by task."""
    folder = tmp_path_factory.mktemp("onnx")
    for task, network in exportables.items():
        write(network, "onnx", folder / f"{task}.onnx")
    return {task: folder / f"{task}.onnx" for task in exportables}
