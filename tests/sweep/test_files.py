"""Sweep files: what is read, what is refused, and the names of their cells."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from pose_lightning.errors import UserError
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


def test_a_demo_layer_has_its_own_budget_and_the_server_is_told_so(tmp_path: Path) -> None:
    file = read(tmp_path, varied(**{"budget.max_samples": {"value": 9}, "model.sigma": {"value": 2.0}}))
    real = ["--config=experiments/hourglass_mpii.yaml"]
    demo = [*real, "--config=experiments/demo/hourglass_mpii.yaml", "--data.root=elsewhere"]
    assert file.arguments({"data.batch_size": 8}, 1, demo) == [
        *demo,
        "--checkpoint.evaluate=last",
        "--model.sigma=2.0",
        "--data.batch_size=8",
        "--seed_everything=1",
    ]
    told = file.document(demo)
    assert told["command"] == [*GRID["command"][:4], *demo, "--checkpoint.evaluate=last", "${args}"]
    assert told["parameters"] == {
        "seed_everything": {"values": [1]},
        "model.sigma": {"value": 2.0},
        "data.batch_size": {"values": [8, 16]},
    }
    assert set(file.document(real)["parameters"]) - set(told["parameters"]) == {"budget.max_samples"}


def test_names_tell_cells_apart_and_are_safe_in_a_file_system(tmp_path: Path) -> None:
    file = read(
        tmp_path,
        varied(
            **{
                "model.freeze": {"values": [{"mode": "all", "n": 0}, {"mode": "last", "n": 7}]},
                "model.encoder": {"values": ["timm:a", "timm/a", "b"]},
                "model.input_size": {"values": [32, 64]},
                "data.input_size": {"values": [32, 64]},
            }
        ),
    )
    names = [cell.name for cell in file.cells()]
    assert len(set(names)) == 48
    assert "batch_size=8-freeze=mode=all,n=0-encoder=b-model.input_size=32-data.input_size=64" in names
    assert not any(set(name) & set("/:\\ ") for name in names)
    values = file.cells()[5].values
    assert file.cell(dict(reversed(list(values.items())))).name == names[5]
    with pytest.raises(UserError, match=r"varies data\.batch_size, .*, not data\.batch_size"):
        file.cell({"data.batch_size": 8})


def test_a_long_name_is_cut_and_still_tells_cells_apart(tmp_path: Path) -> None:
    many = {f"model.a_long_name_of_a_setting_{place}": {"values": [1, 2]} for place in range(6)}
    names = [cell.name for cell in read(tmp_path, varied(**many)).cells()]
    assert len(set(names)) == 2**7
    assert max(map(len, names)) < 128


def test_seeds_from_a_hundred_on_tune(tmp_path: Path) -> None:
    file = read(tmp_path, varied(seed_everything={"values": [100, 1, 101, 2]}))
    assert (file.kind, file.tuning_seeds, file.fresh_seeds) == ("tuned", (100, 101), (1, 2))
    assert read(tmp_path, GRID).kind == "as the source ran it"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ([], "mapping"),
        (changed(method=...), "method missing"),
        (changed(method="walk"), "grid, random or bayes"),
        (changed(scheduler={}), "scheduler has no place"),
        (changed(program="train.py"), "program=train.py"),
        (changed(run_cap=0), "run_cap=0"),
        (changed(metric={"name": "val/pckh"}), "minimize or maximize"),
        (changed(metric={"name": "val/pckh", "goal": "minimize", "aim": 1}), "metric.aim"),
        (changed(command=["${env}", "python", "fit.py", "${args}"]), "pose_lightning.fit"),
        (changed(command=[*GRID["command"][:5], "--config=experiments/b.yaml", "${args}"]), "no --KEY=VALUE"),
        (changed(command=GRID["command"][:-1]), "${args}"),
        (changed(parameters={}), "maps names"),
        (changed(parameters={"a": {"value": 1}}), "nothing varies"),
        (varied(a=3), "write {value: 3}"),
        (varied(a={"values": []}), "at least one"),
        (varied(a={"values": [1, None]}), "null"),
        (varied(a={"values": ["1e-3"]}), "write the number with a point"),
        (varied(a={"values": [1, 1]}), "twice"),
        (varied(a={"min": 1, "max": 1}), "not below"),
        (varied(a={"min": 0.0, "max": 1.0}), "a grid has no uniform"),
        (varied(a={"distribution": "gamma"}), "distribution=gamma"),
        (varied(a={"distribution": "normal", "min": 1}), "normal has no min"),
        (varied(a={"distribution": "log_uniform_values", "min": 0, "max": 1}), "starts above 0"),
        (varied(a={"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}), "q=0"),
        (varied(**{"a.b": {"values": [1]}, "a": {"parameters": {"b": {"values": [2]}}}}), "a.b is said twice"),
        (varied(seed_everything={"values": [1, 1]}), "different whole numbers"),
        (varied(seed_everything={"min": 0, "max": 9}), "different whole numbers"),
        (changed(method="bayes"), "search over seeds"),
        (varied(config={"values": ["experiments/optimizers/none.yaml"]}), "no file"),
        (changed(early_terminate={"type": "hyperband"}), "needs min_iter"),
        (changed(early_terminate={"type": "hyperband", "min_iter": 0}), "min_iter=0"),
        (changed(early_terminate={"type": "hyperband", "min_iter": 1, "eta": 1}), "eta=1"),
        (changed(early_terminate={"type": "median"}), "type: hyperband"),
    ],
)
def test_a_mistake_is_refused_with_the_file_and_the_key(tmp_path: Path, raw: Any, reason: str) -> None:
    with pytest.raises(UserError, match=rf"trial\.yaml: .*{re.escape(reason)}"):
        read(tmp_path, raw)


def test_an_absent_file_lists_those_that_are_there(tmp_path: Path) -> None:
    read(tmp_path, GRID)
    with pytest.raises(UserError, match=r"no sweep file .*other\.yaml; there are trial"):
        SweepFile.read(tmp_path / "other.yaml")


def test_a_sweep_file_is_a_regular_file_of_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UserError, match="FIFO"):
        SweepFile.read(tmp_path / "pipe.yaml")
    (tmp_path / "latin.yaml").write_bytes("method: größer".encode("latin-1"))
    with pytest.raises(UserError, match="is no text in UTF-8"):
        SweepFile.read(tmp_path / "latin.yaml")
