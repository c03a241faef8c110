"""Exported weights, asked by `predict` and `evaluate` in place of their run."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pose_lightning import evaluate, predict
from pose_lightning.errors import UserError
from pose_lightning.export import main
from pose_lightning.heatmap.weight_file import WeightFile
from pose_lightning.runs import RunDirectory

ODD = ("--model.decoding=dark", "--model.grid=udp", "--model.loss=cross_entropy", "--model.sigma=2")
"""Ways to be asked that no file of weights has by default."""

NETWORKS: Mapping[str, tuple[str, ...]] = {
    "hourglass": (
        "--model.network.stacks=2",
        "--model.network.features=8",
        "--model.network.depth=1",
        "--model.network.image_mean=[0.4,0.5,0.4]",
    ),
    "simple_baseline": ("--model.network.backbone=test_resnet", "--model.network.features=8"),
    "vit": ("--model.network.backbone=test_vit", "--model.network.decoder=simple"),
}


@pytest.fixture(scope="module", params=sorted(NETWORKS))
def odd(
    request: pytest.FixtureRequest,
    demo_stores: Path,
    make_run: Callable[..., RunDirectory],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[RunDirectory, Path]:
    """A run that is asked in a way of its own, and its exported weights."""
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    kind = ("--model=HeatmapEstimation", "--data=PoseData", "--data.input_size=64", f"--model.network={name}")
    run = make_run(folder / "run", demo_stores, (*kind, *NETWORKS[name], *ODD))
    state = torch.load(run.best, weights_only=True)
    for key, value in state["state_dict"].items():
        if "decoder" in key and value.ndim > 1:  # which starts so near to zero that maps are flat
            value.normal_(0, 0.1, generator=torch.Generator().manual_seed(len(key)))
    torch.save(state, run.best)
    main([str(run.path), "--format", "safetensors", "--out", str(folder / "odd.safetensors")])
    return run, folder / "odd.safetensors"


def people_of(path: Path) -> Any:
    return json.loads((path / "joints.json").read_text())["pictures"][0]["people"]


def test_weights_find_the_joints_that_their_run_finds(
    odd: tuple[RunDirectory, Path], photograph: Path, tmp_path: Path
) -> None:
    run, weights = odd
    asked = [str(photograph), "--box", "20,30,90,80", "--flip-test", "--out"]
    predict.main([str(run.path), *asked, str(tmp_path / "run")])
    predict.main(["--weights", str(weights), *asked, str(tmp_path / "weights")])
    assert people_of(tmp_path / "weights") == people_of(tmp_path / "run")
    about = json.loads((tmp_path / "weights" / "joints.json").read_text())
    of_run = json.loads((tmp_path / "run" / "joints.json").read_text())
    same = ("step", "flip_test", "scales", "decoding", "synthetic", "joints_never_taught")
    assert {key: about[key] for key in same} == {key: of_run[key] for key in same}
    predict.main(["--weights", str(weights), *asked, str(tmp_path / "quarter"), "--decoding", "quarter"])
    assert people_of(tmp_path / "quarter") != people_of(tmp_path / "run")


def test_weights_score_as_their_run_does(odd: tuple[RunDirectory, Path], demo_stores: Path, tmp_path: Path) -> None:
    run, weights = odd
    evaluate.main([str(run.path)])
    out = tmp_path / "scores.json"
    evaluate.main(["--weights", str(weights), "--store", str(demo_stores / "val.h5"), "--json", str(out)])
    found, expected = (json.loads(path.read_text()) for path in (out, run.path / "metrics.json"))
    assert found["input_size"] == 64
    assert numbers_in(found["measures"]) == pytest.approx(numbers_in(expected["measures"]), rel=1e-4, nan_ok=True)


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for key in sorted(value) for number in numbers_in(value[key])]
    if isinstance(value, list):
        return [number for each in value for number in numbers_in(each)]
    return [float(value)] if isinstance(value, int | float) else []


@pytest.mark.parametrize("task", ["regression", "activity"])
def test_weights_of_another_task_name_what_can_be_asked(
    task: str, runs: dict[str, RunDirectory], photograph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "other.safetensors"
    main([str(runs[task].path), "--format", "safetensors", "--out", str(weights)])
    for door, asked in (
        (predict.main, [str(photograph), "--out", str(tmp_path / "out")]),
        (evaluate.main, ["--store", str(tmp_path / "val.h5")]),
    ):
        with pytest.raises(SystemExit) as stop:
            door(["--weights", str(weights), *asked])
        assert stop.value.code == 2
        assert f"other.safetensors is a network of {task}; --weights takes those of heatmaps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("details", {"decoding": "magic"}, "says that its decoding is 'magic'; wanted one of argmax"),
        ("details", {"crop": 10**9}, "says that its crop is 1000000000; wanted a whole number"),
        ("model", {"network": "transformer"}, "says that its network is 'transformer'; wanted an object"),
        (
            "model",
            {"network": {"class_path": "mine.Net", "init_args": {}}},
            "says that its class_path is 'mine.Net'; wanted one of pose_lightning.heatmap.model.StackedHourglass",
        ),
        ("settings", {"stacks": 10**9}, "says that its stacks is 1000000000; wanted a whole number"),
        ("settings", {"stacks": 1}, "does not fit the network"),
        ("input", {"shape": [3, 66, 66]}, r"says that its output shape is .*; wanted \(16, 16, 16\)|input_size is 66"),
    ],
    ids=["decoding", "crop", "no network", "network", "size", "stacks", "input"],
)
def test_weights_that_say_something_wrong_are_refused(
    key: str, change: dict[str, Any], message: str, runs: dict[str, RunDirectory], tmp_path: Path
) -> None:
    weights = tmp_path / "weights.safetensors"
    main([str(runs["heatmap"].path), "--format", "safetensors", "--out", str(weights)])
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    metadata[key] = json.dumps({**json.loads(metadata[key]), **change})
    save_file(load_file(weights), weights, metadata=metadata)
    with pytest.raises(UserError, match=rf"weights\.safetensors.*({message})|({message})"):
        WeightFile.open(weights).build(tmp_path, None)


def test_a_backbone_is_a_name_and_no_address(
    make_run: Callable[..., RunDirectory], demo_stores: Path, tmp_path: Path
) -> None:
    kind = ("--model=HeatmapEstimation", "--data=PoseData", "--data.input_size=64", "--model.network=simple_baseline")
    run = make_run(tmp_path / "run", demo_stores, (*kind, *NETWORKS["simple_baseline"]))
    main([str(run.path), "--format", "safetensors", "--out", str(weights := tmp_path / "weights.safetensors")])
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata()
    metadata["model"] = metadata["model"].replace("test_resnet", "hf-hub:someone/else")
    save_file(load_file(weights), weights, metadata=metadata)
    with pytest.raises(UserError, match="says that its backbone is 'hf-hub:someone/else'; wanted a name of timm"):
        WeightFile.open(weights)
