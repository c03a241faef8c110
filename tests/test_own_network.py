"""A network and a loss of a person's own through the doors."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from pose_lightning import cli, evaluate, fit
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.runs import RunDirectory
from pose_lightning.sweep.__main__ import main as sweep

MINE = '''
import torch
from torch import nn


class Net(nn.Module):
    """A few convolutions: a quarter of the image, one map for every joint."""

    def __init__(self, joints: int, width: int = 8, norm: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 5, stride=2, padding=2),
            nn.BatchNorm2d(width) if norm else nn.Identity(),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, joints, 1),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


class Half(Net):
    def forward(self, image):
        return nn.functional.interpolate(super().forward(image), scale_factor=2.0)


class Vector(Net):
    def forward(self, image):
        return super().forward(image).mean(dim=(2, 3))


class Broken(Net):
    def forward(self, image):
        raise RuntimeError("no such layer")


class Nothing:
    def __init__(self, joints: int) -> None: ...


class NoJoints(nn.Module):
    def __init__(self) -> None:
        super().__init__()


def made(joints: int) -> nn.Module:
    return Net(joints, width=4)


def unsaid(joints):
    return Net(joints)


def loss(heatmaps, targets):
    return (heatmaps - targets[:, None]).abs().mean(dim=(-2, -1)).sum(dim=1)


class Wing(nn.Module):
    def __init__(self, weight: float = 2.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, heatmaps, targets):
        return self.weight * loss(heatmaps, targets)


def summed(heatmaps, targets):
    return loss(heatmaps, targets).sum()


def undefined(heatmaps, targets):
    return loss(heatmaps, targets) / 0


def constant(heatmaps, targets):
    return loss(heatmaps.detach(), targets)
'''


@pytest.fixture(scope="module", autouse=True)
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "own_net.py").write_text(MINE)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("own_net", None)


def settings(stores: Path, runs: Path, *more: str) -> list[str]:
    return [
        "--config=experiments/hourglass_mpii.yaml",
        *("--model.schedule=constant", "--model.milestones=null", "--model.decay=null", "--model.missing=mask"),
        *(f"--data.root={stores}", "--data.batch_size=4", "--data.input_size=64", "--data.num_threads=0"),
        *("--trainer.max_steps=2", "--trainer.max_epochs=-1", "--trainer.accelerator=cpu"),
        *("--trainer.log_every_n_steps=1", "--wandb.mode=disabled", "--pictures.every=1", f"--runs={runs}"),
        *more,
    ]


OWN = ("--model.network=own_net.Net", "--model.network.width=6", "--model.loss=own_net.loss")


@pytest.fixture(scope="module")
def run(demo_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    runs = tmp_path_factory.mktemp("own") / "runs"
    fit.main(settings(demo_stores, runs, *OWN))
    return RunDirectory(next((runs / "hourglass_mpii").iterdir()))


def refused(door: Any, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        door(words)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("error: ") == 1
    return error


def test_it_trains_is_scored_and_the_configuration_names_it(run: RunDirectory) -> None:
    model = yaml.safe_load(run.config.read_text())["model"]["init_args"]
    assert model["network"] == {"class_path": "own_net.Net", "init_args": {"width": 6, "norm": True}}
    assert model["loss"] == "own_net.loss"
    assert (run.path / "metrics.json").is_file()
    assert list((run.path / "samples").glob("*.png"))


def test_it_is_scored_again_predicted_with_reported_and_exported_where_it_is_trusted(
    run: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pose_lightning.export.door import main as export  # noqa: PLC0415
    from pose_lightning.predict.door import main as predict  # noqa: PLC0415
    from pose_lightning.report.__main__ import main as report  # noqa: PLC0415

    pytest.importorskip("onnx")
    import cv2  # noqa: PLC0415

    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.full((90, 80, 3), 120, np.uint8))
    trust = ["--trust", "own_net"]
    before = json.loads((run.path / "metrics.json").read_text())["measures"]["error"]
    error = refused(evaluate.main, [str(run.path)], capsys)
    assert "model.init_args.network names own_net.Net" in error
    assert "--trust own_net" in error
    evaluate.main([str(run.path), *trust])
    assert json.loads((run.path / "metrics.json").read_text())["measures"]["error"] == before
    boxed = [str(picture), "--box=10,5,60,80"]
    predict([str(run.path), *boxed, f"--out={tmp_path / 'ours'}", *trust])
    export([str(run.path), "--format=onnx", f"--out={tmp_path / 'net.onnx'}", *trust])
    predict([f"--onnx={tmp_path / 'net.onnx'}", *boxed, f"--out={tmp_path / 'theirs'}"])
    joints = [
        [
            [joint["x"], joint["y"]]
            for joint in json.loads((tmp_path / name / "joints.json").read_text())["pictures"][0]["people"][0]["joints"]
        ]
        for name in ("ours", "theirs")
    ]
    np.testing.assert_allclose(*joints, atol=0.05)
    report([str(run.path), f"--out={tmp_path / 'report.html'}", *trust])
    assert "stack 1" in (tmp_path / "report.html").read_text()


def test_its_weights_alone_are_refused_in_one_sentence(
    run: RunDirectory, demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pose_lightning.export.door import main as export  # noqa: PLC0415

    export([str(run.path), "--format=safetensors", f"--out={tmp_path / 'net.safetensors'}", "--trust", "own_net"])
    words = [f"--weights={tmp_path / 'net.safetensors'}", f"--store={demo_stores / 'val.h5'}"]
    assert "says that its class_path is 'own_net.Net'; wanted one of" in refused(evaluate.main, words, capsys)


def test_a_run_goes_on_with_it(run: RunDirectory, demo_stores: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    fit.main(settings(demo_stores, runs, *OWN, "--trainer.max_steps=1", "--pictures.every=0"))
    path = next((runs / "hourglass_mpii").iterdir())
    fit.main([f"--resume={path}", "--trainer.max_steps=2", "--trust", "own_net"])
    states = [torch.load(each / "checkpoints" / "last.ckpt", weights_only=True) for each in (path, run.path)]
    for key, value in states[0]["state_dict"].items():
        assert torch.equal(value, states[1]["state_dict"][key]), key


@pytest.mark.parametrize(
    "flags",
    [
        ("--model.network=own_net.made",),
        ("--model.network=own_net.Net", "--model.network.norm=false", "--model.loss=own_net.Wing"),
        ("--model.loss={'class_path': 'own_net.Wing', 'init_args': {'weight': 3.0}}",),
        ("--model.network={'class_path': 'own_net.Net', 'init_args': {'width': 5}}",),
    ],
    ids=["a function", "a class and a module of a loss", "a loss with arguments", "a mapping"],
)
def test_other_forms_train_too(demo_stores: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    small = () if any("own_net.N" in flag or "made" in flag for flag in flags) else SMALL
    built = cli.build(settings(demo_stores, tmp_path, *flags, *small, "--trainer.fast_dev_run=true"))
    built.trainer.fit(built.model, datamodule=built.datamodule)
    assert built.trainer.global_step == 1


SMALL = ("--model.network.stacks=1", "--model.network.features=8", "--model.network.depth=1")
REFUSED = {
    "another size": (
        "--model.network=own_net.Half",
        "gives 16 heatmaps of 32 x 32 for images of 64 x 64; wanted 16 of",
    ),
    "no maps": ("--model.network=own_net.Vector", r"own_net.Vector answers (1, 16) to images (1, 3, 64, 64)"),
    "it fails": ("--model.network=own_net.Broken", "own_net.Broken fails on images (1, 3, 64, 64): no such layer"),
    "no network": ("--model.network=own_net.Nothing", "own_net.Nothing"),
    "no joints": ("--model.network=own_net.NoJoints", "its first argument is the number of joints"),
    "no such class": ("--model.network=own_net.Absent", "module 'own_net' has no attribute 'Absent'"),
    "a function that says nothing": (
        "--model.network=own_net.unsaid",
        "does not say what it returns; write -> Module behind",
    ),
    "no such argument": (
        "--model.network={'class_path': 'own_net.Net', 'init_args': {'widht': 5}}",
        "model.network.widht is no setting of Net",
    ),
    "one loss": (
        "--model.loss=own_net.summed",
        "own_net.summed gives () for 2 persons; wanted the loss of every joint",
    ),
    "no finite loss": ("--model.loss=own_net.undefined", "own_net.undefined gives a number that is not finite"),
    "no gradient": ("--model.loss=own_net.constant", "own_net.constant gives numbers without a gradient"),
}


@pytest.mark.parametrize(("flag", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_work_is_refused_before_there_is_a_run(
    demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, reason: str
) -> None:
    small = SMALL if "loss" in flag else ()
    assert reason in refused(fit.main, settings(demo_stores, tmp_path / "runs", flag, *small), capsys)
    assert not (tmp_path / "runs").exists()


def test_a_network_keeps_its_mode_when_it_is_checked(demo_stores: Path, tmp_path: Path) -> None:
    import own_net  # type: ignore[import-not-found]  # noqa: PLC0415

    from pose_lightning.heatmap import networks  # noqa: PLC0415

    network = own_net.Net(16).train()
    network.layers[1].eval()
    before = [module.training for module in network.modules()]
    statistics = network.layers[1].running_mean.clone()
    networks.check(network, "own_net.Net", torch.zeros(1, 3, 32, 32), 16, 4)
    assert [module.training for module in network.modules()] == before
    assert torch.equal(network.layers[1].running_mean, statistics)


def test_flags_and_layers_choose_and_change_networks_in_any_order(demo_stores: Path, tmp_path: Path) -> None:
    def network(*more: str) -> nn.Module:
        built: nn.Module = cli.build(settings(demo_stores, tmp_path, *more)).model.model
        return built

    vit = ("--model.network.decoder=simple", "--model.network.backbone=test_vit", "--model.network=vit")
    assert [type(network(*order)).__name__ for order in (vit, vit[::-1])] == ["VitPose", "VitPose"]
    (tmp_path / "smaller.yaml").write_text(
        "model:\n  init_args:\n    network:\n      init_args: {stacks: 2, features: 8}\n"
    )
    smaller = network(f"--config={tmp_path / 'smaller.yaml'}", "--model.network.depth=1")
    assert smaller.settings == {  # type: ignore[attr-defined]
        **{"stacks": 2, "features": 8, "depth": 1, "joints": 16, "wide_stem": False, "image_mean": (0.0, 0.0, 0.0)}
    }


def test_python_takes_names_classes_and_partials() -> None:
    from functools import partial  # noqa: PLC0415

    import own_net  # noqa: PLC0415

    image = torch.rand(1, 3, 64, 64)
    for made in (
        HeatmapEstimation(network=own_net.Net),
        HeatmapEstimation(network=partial(own_net.Net, width=3), loss=own_net.loss),
        HeatmapEstimation(network={"class_path": "hourglass", "init_args": {"stacks": 1, "features": 8, "depth": 1}}),
    ):
        maps: Tensor = made(image)
        assert maps.shape == (1, 1, 16, 16, 16)


def test_a_sweep_varies_its_settings(demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = {
        "program": "pose_lightning/fit.py",
        "command": [
            "${env}",
            "${interpreter}",
            "-m",
            "pose_lightning.fit",
            *settings(demo_stores, tmp_path)[:9],
            "${args}",
        ],
        "method": "grid",
        "metric": {"name": "val/pckh", "goal": "maximize"},
        "parameters": {
            "model.network.width": {"values": [2, 4]},
            "model.network": {"value": "own_net.Net"},
            "budget.max_samples": {"value": 16},
            "budget.validations": {"value": 1},
            "seed_everything": {"values": [1]},
        },
    }
    (file := tmp_path / "mine.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    sweep([str(file), "--dry-run", f"--runs={tmp_path / 'runs'}"])
    assert "model.network.width=4" in capsys.readouterr().out
