"""Every sweep of `sweeps/`: W&B takes it, the parser takes every trial of it, and it compares like with like."""

import inspect
import json
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import jsonschema
import optuna
import pytest
import torch
import yaml
from torch import nn

from pose_lightning import cli
from pose_lightning import demo as demo_door
from pose_lightning.optim import Schedule, make_optimizer
from pose_lightning.sweep import space
from pose_lightning.sweep.files import Cell, SweepFile

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
RECIPES = sorted(path for path in (ROOT / "experiments").glob("*/*.yaml") if path.parent.name != "demo")
NAMED = {  # what the project promises, and how many trials each makes
    "activity_backbone": 15,
    "activity_data": 18,
    "activity_head": 12,
    "activity_inception_resnet_v2": 6,
    "activity_multilabel_optim": 6,
    "activity_resnet50": 6,
    "activity_vgg16": 6,
    "activity_xception": 54,
    "hourglass_lsp_optim": 18,
    "hourglass_optim": 18,
    "hourglass_optim_tuned": 18 * 8,
    "hourglass_resolution": 9,
    "hourglass_stacks": 12,
    "hourglass_tune": 0,  # a search
    "regression_architecture": 36,
    "regression_batch": 24,
    "regression_optim": 12,
    "regression_recurrent": 9,
}
OPTIMIZER = list(inspect.signature(make_optimizer).parameters)[1:]
COUNTED = {"float": float, "integer": int}
"""Formats of W&B's schema: what they say of a number."""

each_sweep = pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft7Validator:
    """W&B's own, from its package `sweeps`, of which nothing is imported: it wants an old numpy."""
    try:
        path = Path(str(distribution("sweeps").locate_file("sweeps/config/schema.json")))
    except PackageNotFoundError:
        pytest.fail("W&B's schema is not here: `make setup` installs it (pip install --no-deps sweeps)")
    formats = jsonschema.FormatChecker()
    for name, kind in COUNTED.items():
        formats.checks(name)(lambda value, kind=kind: isinstance(value, kind))
    return jsonschema.Draft7Validator(json.loads(path.read_text()), format_checker=formats)


def layers(file: SweepFile, *, demo: bool) -> list[str]:
    if not demo:
        return [f"--config=experiments/{file.experiment}.yaml"]
    return demo_door.layers(file.experiment, "demo", sweep=file.name, dry=True)


def cells(file: SweepFile) -> list[Cell]:
    """Cells in which every value of every parameter occurs, and both ends of what a search draws from."""
    choices = {
        name: spec["values"] if "values" in spec else [spec["min"], spec["max"]]
        for name, spec in file.parameters.items()
    }
    most = max(len(values) for values in choices.values())
    return [file.cell({name: values[at % len(values)] for name, values in choices.items()}) for at in range(most)]


def said_by(cell: Cell) -> dict[str, Any]:
    """The settings that a cell names, itself and in its recipe; its own have the last word."""
    recipe = yaml.safe_load(Path(cell.values["config"]).read_text()) if "config" in cell.values else {}
    named = {f"{group}.{key}": value for group, keys in recipe.items() for key, value in keys["init_args"].items()}
    wanted: dict[str, Any] = {}
    for name, value in (named | {name: value for name, value in cell.values.items() if name != "config"}).items():
        below = value.items() if isinstance(value, dict) else [("", value)]
        wanted |= {f"{name}.{inner}".rstrip("."): each for inner, each in below}
    return wanted


def settings(file: SweepFile, cell: Cell, *, demo: bool) -> dict[str, Any]:
    """What a trial comes to, through the parser and the constructors that train."""
    return built(tuple(file.arguments(cell.values, file.seeds[-1], layers(file, demo=demo))))[0]


@cache
def built(arguments: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, str]]:
    """Every setting, and what best checkpoints follow; the network has shapes, and no values."""
    with torch.device("meta"):
        made = cli.build(arguments)
    return made.flat(), made.model.monitor


def test_the_promised_sweeps_are_there() -> None:
    found = {path.stem: SweepFile.read(path) for path in SWEEPS}
    counts = {name: len(file.cells()) * len(file.seeds) if file.method == "grid" else 0 for name, file in found.items()}
    assert counts == NAMED
    for file in found.values():
        if file.method == "grid":
            assert len({cell.name for cell in file.cells()}) == len(file.cells())


@each_sweep
def test_wandb_takes_it_and_what_a_server_is_told(path: Path, schema: jsonschema.Draft7Validator) -> None:
    file = SweepFile.read(path)
    for raw in (yaml.safe_load(path.read_text()), *(file.document(layers(file, demo=demo)) for demo in (False, True))):
        assert [error.message for error in schema.iter_errors(raw)] == []


def test_wandb_refuses_what_is_wrong(schema: jsonschema.Draft7Validator) -> None:
    right = yaml.safe_load((ROOT / "sweeps" / "hourglass_optim.yaml").read_text())
    for key, wrong in (("method", "walk"), ("parameters", {"a": {"value": [1], "values": [1]}}), ("metric", {})):
        assert list(schema.iter_errors({**right, key: wrong}))


@each_sweep
@pytest.mark.parametrize("demo", [False, True], ids=["real", "demo"])
def test_the_parser_takes_every_trial_as_it_is_written(path: Path, demo: bool) -> None:
    file = SweepFile.read(path)
    for cell in cells(file):
        flat = settings(file, cell, demo=demo)
        wanted = said_by(cell)
        assert {key: flat[key] for key in wanted} == wanted
        assert flat["seed_everything"] == file.seeds[-1]
        assert flat["checkpoint.evaluate"] == "last"  # the best was chosen on the split that is compared
        optimizer = {key: flat[f"model.{key}"] for key in OPTIMIZER if f"model.{key}" in flat}
        made = make_optimizer([nn.Parameter(torch.zeros(1))], **optimizer)
        assert made.param_groups[0]["lr"] == flat["model.lr"]


@each_sweep
@pytest.mark.parametrize("demo", [False, True], ids=["real", "demo"])
def test_every_cell_sees_as_many_samples_and_is_validated_as_often(path: Path, demo: bool) -> None:
    file = SweepFile.read(path)
    for cell in cells(file):
        flat = settings(file, cell, demo=demo)
        budget = flat["budget.max_samples"] is not None
        assert budget or not demo
        if "data.batch_size" in file.parameters or flat.get("data.append_augmented"):
            assert budget or flat["trainer.max_steps"] == -1  # whole epochs
            assert flat["model.schedule"] == "constant" or flat["model.schedule_unit"] == "samples"
        if budget:
            Schedule(
                **{key: flat[f"model.{key}"] for key in ("warmup", "milestones", "step_every", "decay", "final")},
                name=flat["model.schedule"],
                total=flat["budget.max_samples"] if flat["model.schedule"] in ("cosine", "one_cycle") else None,
            )


@each_sweep
def test_the_metric_is_what_the_task_logs_and_best_checkpoints_follow(path: Path) -> None:
    file = SweepFile.read(path)
    assert (file.metric, file.goal[:3]) == built(tuple(layers(file, demo=False)))[1]


@each_sweep
def test_a_rate_belongs_to_its_optimizer(path: Path) -> None:
    varied = set(SweepFile.read(path).parameters)
    assert "model.optimizer" not in varied  # a recipe names both
    assert ("model.lr" in varied) <= (yaml.safe_load(path.read_text())["method"] == "bayes")


@each_sweep
def test_the_first_lines_say_how_to_run_it_and_where_it_is_from(path: Path) -> None:
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert f"# Run: make sweep EXP={path.stem}" in comments
    assert any(line.startswith("# Source:") for line in comments)


def test_every_recipe_is_in_a_sweep_and_says_what_it_is() -> None:
    used = {value for path in SWEEPS for value in SweepFile.read(path).parameters.get("config", {}).get("values", [])}
    assert {str(path.relative_to(ROOT)) for path in RECIPES} == used
    assert all(path.read_text().startswith("# ") for path in RECIPES)


def test_every_recipe_of_an_optimizer_says_all_that_an_optimizer_has() -> None:
    for path in (ROOT / "experiments" / "optimizers").glob("*.yaml"):
        values = yaml.safe_load(path.read_text())["model"]["init_args"]
        assert list(values) == ["optimizer", "lr", "momentum", "weight_decay", "alpha", "eps"]
        name, _, rate = path.stem.removeprefix("keras_").rpartition("_")
        assert values["lr"] == float(rate)
        assert name == values["optimizer"] + ("_momentum" if name.endswith("_momentum") else "")


def test_a_search_draws_values_that_the_parser_takes() -> None:
    file = SweepFile.read(ROOT / "sweeps" / "hourglass_tune.yaml")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    values = file.decode(study.ask(file.distributions()).params)
    assert settings(file, file.cell(values), demo=True)["model.lr"] == values["model.lr"] < 1e-2
    assert space.kind(file.parameters["data.rotation"]) == "uniform"
