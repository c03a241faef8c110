"""A global batch means the same optimisation on one process and on several, and what does not is said."""

import os
import socket
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from pose_lightning import cli
from pose_lightning.store import Store
from pose_lightning.task import _learns_alone

ROOT = Path(__file__).resolve().parents[1]
STEPS = 20
WARNING = "batch norm takes its statistics from one device's"


@dataclass(frozen=True)
class Case:
    """A small network of one task.

    Attributes:
        experiment: What it is a small version of.
        stores: Fixture of a folder with `train.h5` and `val.h5`.
        small: Arguments that make it small.
        exact: Metrics that are counts.
    """

    experiment: str
    stores: str
    small: tuple[str, ...]
    exact: tuple[str, ...]


ACTIVITY = ("--data.input_size=64", "--model.input_size=64", "--data.batch_size=8", "--model.class_weights=none")
CASES = {
    "no norm": Case(
        "regression_conv_lstm",
        "demo_clip_stores",
        (
            "--model.input_size=32",
            "--data.input_size=32",
            "--data.batch_size=4",
            "--model.target_transform=none",
            "--model.head_activation=linear",
        ),
        ("val/pck_150",),
    ),
    "group norm": Case(
        "activity_xception",
        "demo_activity_stores",
        (*ACTIVITY, "--model.backbone=efficientnet_b0_gn", "--model.lr=1.0e-4"),
        ("val/top1", "val/balanced"),
    ),
    "frozen batch norm": Case(
        "activity_xception",
        "demo_activity_stores",
        (*ACTIVITY, "--model.freeze.mode=all"),
        ("val/top1", "val/balanced"),
    ),
}
BATCH_NORM = Case(
    "hourglass_mpii",
    "demo_stores",
    (
        "--model.network.stacks=1",
        "--model.network.features=8",
        "--model.network.depth=2",
        "--model.warmup=12",
        "--data.input_size=64",
        "--data.batch_size=6",
    ),
    ("val/pckh",),
)


class Losses(pl.Callback):
    """The logged loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        self.values.append(float(trainer.callback_metrics["train/loss_step"]))


def arguments(case: Case, stores: Path) -> list[str]:
    with Store(stores / "train.h5") as store:
        classes = [f"--model.num_classes={len(store.attrs['categories'])}"] if "categories" in store.attrs else []
    return [
        f"--config={ROOT}/experiments/{case.experiment}.yaml",
        f"--config={ROOT}/experiments/demo/{case.experiment}.yaml",
        *case.small,
        *classes,
        f"--data.root={stores}",
        f"--trainer.max_steps={STEPS}",
        "--trainer.max_epochs=-1",
        "--trainer.num_sanity_val_steps=0",
        "--trainer.inference_mode=false",  # the metrics of a validation before training are used again
        "--trainer.enable_progress_bar=false",
        "--trainer.accelerator=cpu",
        "--trainer.log_every_n_steps=1",
    ]


def train(given: list[str], *more: str) -> dict[str, Any]:
    """What is measured before training, the loss of every step, and what was said of batch norm."""
    built = cli.build([*given, *more])
    losses = Losses()
    built.trainer.callbacks.append(losses)  # type: ignore[attr-defined]
    before = built.trainer.validate(built.model, datamodule=built.datamodule, verbose=False)[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        built.trainer.fit(built.model, datamodule=built.datamodule)
    said = [str(each.message) for each in caught if WARNING in str(each.message)]
    return {"before": before, "losses": losses.values, "warnings": said}


def train_in_ddp(rank: int, processes: int, port: int, given: list[str], out: str) -> None:
    """One of several processes; what it measured goes to a file."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank), NODE_RANK="0")
    os.environ["WORLD_SIZE"] = str(processes)
    torch.set_num_threads(1)
    found = train(given, f"--trainer.devices={processes}", "--trainer.strategy=ddp")
    torch.save(found, Path(out) / f"{rank}.pt")
    torch.distributed.destroy_process_group()  # gloo's threads may abort a process that ends with them


def together(given: list[str], processes: int, out: Path) -> list[dict[str, Any]]:
    """What every one of several processes measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    torch.multiprocessing.spawn(  # type: ignore[attr-defined]
        train_in_ddp, (processes, port, given, str(out)), nprocs=processes
    )
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(processes)]


@pytest.fixture(scope="module")
def alone(request: pytest.FixtureRequest) -> Callable[[Case], tuple[list[str], dict[str, Any]]]:
    """The arguments of a case and what one process measures, once."""

    @cache
    def measured(case: Case) -> tuple[list[str], dict[str, Any]]:
        given = arguments(case, request.getfixturevalue(case.stores))
        return given, train(given, "--trainer.devices=1")

    return measured


@pytest.mark.ddp
@pytest.mark.parametrize(
    ("name", "processes"),
    [("no norm", 2), pytest.param("no norm", 4, marks=pytest.mark.slow), ("group norm", 2), ("frozen batch norm", 2)],
)
def test_several_processes_train_as_one(
    name: str, processes: int, alone: Callable[[Case], tuple[list[str], dict[str, Any]]], tmp_path: Path
) -> None:
    case = CASES[name]
    given, one = alone(case)
    assert len(one["losses"]) == STEPS
    assert one["losses"][-1] != one["losses"][0]
    for rank in together(given, processes, tmp_path):
        assert rank["losses"] == pytest.approx(one["losses"], rel=1e-5)
        assert rank["before"] == pytest.approx(one["before"], rel=1e-6, nan_ok=True)
        for metric in case.exact:  # the same weights, so the same counts, whoever counted
            assert rank["before"][metric] == one["before"][metric]
        assert rank["warnings"] == []


@pytest.mark.ddp
def test_batch_norm_of_one_device_depends_on_their_number_and_the_run_says_so_once(
    alone: Callable[[Case], tuple[list[str], dict[str, Any]]], tmp_path: Path
) -> None:
    given, one = alone(BATCH_NORM)
    first, second = together(given, 2, tmp_path)
    assert first["losses"][0] == second["losses"][0]  # of the whole batch, not of a rank's part
    assert abs(first["losses"][0] / one["losses"][0] - 1) > 1e-4
    assert [len(first["warnings"]), second["warnings"], one["warnings"]] == [1, [], []]
    assert "one device's 3 of a batch's 6 samples" in first["warnings"][0]
    assert "--trainer.sync_batchnorm=true" in first["warnings"][0]


def test_frozen_and_synchronised_batch_norms_do_not_depend_on_the_number_of_devices() -> None:
    def depends(module: nn.Module) -> bool:
        return any(_learns_alone(each) for each in module.modules())

    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    assert depends(network)
    assert not depends(nn.SyncBatchNorm.convert_sync_batchnorm(deepcopy(network)))
    assert depends(network.eval())  # it will learn again
    assert not depends(network.requires_grad_(False))
    assert not depends(nn.GroupNorm(2, 4))
