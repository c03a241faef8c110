"""Sweep files: what is read, what is refused, and the names of their cells."""

from pathlib import Path
from typing import Any

import yaml

from pose_lightning.sweep.files import SweepFile

GRID: dict[str, Any] = {
    "program": "pose_lightning/fit.py",
    "command": [
        "${env}",
        "${interpreter}",
        "-m",
        "pose_lightning.fit",
        "--config=experiments/hourglass_mpii.yaml",
        "--checkpoint.evaluate=last",
        "${args}",
    ],
    "method": "grid",
    "metric": {"name": "val/pckh", "goal": "maximize"},
    "parameters": {
        "seed_everything": {"values": [1, 2]},
        "data.batch_size": {"values": [8, 16]},
        "model": {"parameters": {"optimizer": {"values": ["adam", "sgd"]}}},
        "budget.max_samples": {"value": 1000},
    },
}


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GRID, **changes}.items() if value is not ...}


def varied(**parameters: Any) -> dict[str, Any]:
    return changed(parameters={"data.batch_size": {"values": [8, 16]}, **parameters})


def read(tmp_path: Path, raw: Any) -> SweepFile:
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return SweepFile.read(path)


def test_a_grid_is_the_product_in_the_files_order(tmp_path: Path) -> None:
    file = read(tmp_path, GRID)
    assert (file.name, file.experiment, file.metric, file.goal) == ("trial", "hourglass_mpii", "val/pckh", "maximize")
    assert [cell.name for cell in file.cells()] == [
        "batch_size=8-optimizer=adam",
        "batch_size=8-optimizer=sgd",
        "batch_size=16-optimizer=adam",
        "batch_size=16-optimizer=sgd",
    ]
    assert file.cells()[1].values == {"data.batch_size": 8, "model.optimizer": "sgd"}
    assert file.fixed == {"budget.max_samples": 1000}


def test_a_trials_arguments_are_yamls_then_flags(tmp_path: Path) -> None:
    recipe = tmp_path / "adam.yaml"
    recipe.touch()
    file = read(tmp_path, varied(config={"values": [str(recipe)]}, **{"budget.max_samples": {"value": 9}}))
    values = {"config": str(recipe), "data.batch_size": 8}
    assert file.cell(values).name == "batch_size=8-adam"
    assert file.arguments(values, 3, ["--config=experiments/hourglass_mpii.yaml"]) == [
        "--config=experiments/hourglass_mpii.yaml",
        f"--config={recipe}",
        "--checkpoint.evaluate=last",
        "--budget.max_samples=9",
        "--data.batch_size=8",
        "--seed_everything=3",
    ]
