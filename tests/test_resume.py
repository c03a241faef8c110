"""A run that is killed, told to stop or fails, wherever that is, ends like one that nothing has happened to."""

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from pose_lightning import cli, fit, sealed
from pose_lightning.history import COUNTERS, read_metrics
from pose_lightning.runs import RunDirectory
from pose_lightning.sweep import offline
from tests.exact import differences
from tests.test_tasks import CASES, Case, arguments

CODES = {"SIGKILL": -9, "SIGTERM": 143, "SIGUSR1": 138, "SIGINT": 130, "exception": 1}
"""Exit codes of a process that was stopped so."""

MOMENTS = ("batch", "optimizer step", "validation")
"""Before the 6th step; in it, when the weights have changed and no hook was called; in the middle of a validation."""

STEP = 5
"""Optimizer steps before the disturbance."""


class Disturb(pl.Callback):
    """Stops the run once, at a moment of the step after so many, or of the first validation after it."""

    def __init__(self, kind: str, moment: str, after: int) -> None:
        self.kind, self.moment, self.after, self.steps = kind, moment, after, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.moment == "optimizer step":
            trainer.optimizers[0].register_step_post_hook(self.count)

    def count(self, *_: Any) -> None:
        self.steps += 1
        if self.steps == self.after + 1:
            self.act()

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.moment == "batch" and trainer.global_step == self.after:
            self.act()

    def on_validation_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.moment == "validation" and trainer.global_step >= self.after and not trainer.sanity_checking:
            self.act()

    def act(self) -> None:
        kind, self.kind = self.kind, "nothing more"
        if kind == "exception":
            raise RuntimeError("the disturbance")
        if kind != "nothing more":
            os.kill(os.getpid(), signal.Signals[kind])


class Order(pl.Callback):
    """Writes the samples of every batch to a file, with the batches before it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        with self.path.open("a") as file:
            indices = " ".join(map(str, batch["index"].tolist()))
            file.write(f"{trainer.current_epoch} {trainer.global_step} {batch_idx}: {indices}\n")


def attempt(
    given: list[str], order: str, kind: str, moment: str, after: int = STEP, group: dict[str, str] | None = None
) -> None:
    """What a process does: the door `fit`, with a disturbance in it and without the evaluation at its end."""
    os.environ.update({"WANDB_MODE": "disabled", **(group or {})})
    torch.set_num_threads(1)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    build: Any = cli.build

    def disturbed(*args: Any, **kwargs: Any) -> cli.PoseCLI:
        built = build(*args, **kwargs)
        built.trainer.callbacks += [Disturb(kind, moment, after), Order(Path(order))]  # type: ignore[attr-defined]
        return built

    cli.build, fit._evaluate = disturbed, lambda *_, **__: None  # type: ignore[assignment]
    fit.main(given)


PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pose_lightning.fit"])


def run(
    given: list[str], order: Path, kind: str = "nothing more", moment: str = "never", **environment: str
) -> int | None:
    """The exit code of the door in a process of its own."""
    process = PROCESSES.Process(target=attempt, args=(given, str(order), kind, moment, STEP, environment))
    process.start()
    process.join()
    return process.exitcode


def order(path: Path) -> dict[str, str]:
    """The samples of each batch; what was trained again has to be the same again."""
    found: dict[str, str] = {}
    for line in path.read_text().splitlines():
        place, _, samples = line.partition(":")
        assert found.setdefault(place, samples) == samples
    return found


@pytest.fixture(scope="module")
def undisturbed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], tuple[list[str], RunDirectory]]:
    """Makes the arguments and the undisturbed run of a task, cut into so many parts a step."""

    @cache
    def make(task: str, accumulation: int) -> tuple[list[str], RunDirectory]:
        case: Case = CASES[task]
        stores = request.getfixturevalue(case.stores)
        folder = tmp_path_factory.mktemp("undisturbed")
        given = [each for each in arguments(case, stores, folder) if "val_check" not in each and "--runs" not in each]
        given += ["--trainer.val_check_interval=3", f"--trainer.accumulate_grad_batches={accumulation}"]
        if task == "activity":  # whose dropout draws from the global generator
            given.append("--model.head=flatten_dropout")
        assert run([*given, f"--run_dir={folder}"], folder / "order.txt") == 0
        return given, RunDirectory(folder)

    return make


def compare(run: RunDirectory, other: RunDirectory) -> None:
    """Weights and their averages, optimizer, schedule, random states, metrics and the order of samples."""
    ours, theirs = (torch.load(each.last, weights_only=True) for each in (run, other))
    assert ours.keys() == theirs.keys()
    assert ours.keys() > {"state_dict", "optimizer_states", "lr_schedulers", "global_step", "callbacks"}
    for key in ours.keys() - {"loops"}:  # which count the batches of an interrupted validation
        assert not list(differences(ours[key], theirs[key], key))
    assert (run.path / "metrics.csv").read_text() == (other.path / "metrics.csv").read_text()
    assert order(run.path / "order.txt") == order(other.path / "order.txt")
    sealed.verify(run.last)
    sealed.verify(run.best)


FAST = {
    ("heatmap", "SIGKILL", "optimizer step", 2),
    ("heatmap", "SIGTERM", "batch", 2),
    ("activity", "SIGUSR1", "validation", 2),
}
MATRIX = [
    pytest.param(*point, marks=[] if point in FAST else pytest.mark.slow, id="-".join(map(str, point)))
    for point in sorted(
        {
            (task, kind, moment, accumulation)
            for task in CASES
            for kind in ("SIGKILL", "SIGTERM", "SIGUSR1", "exception")
            for moment in MOMENTS
            for accumulation in (1, 2)
        }
    )
]


@pytest.mark.parametrize(("task", "kind", "moment", "accumulation"), MATRIX)
def test_a_disturbed_run_ends_like_an_undisturbed_one(
    task: str,
    kind: str,
    moment: str,
    accumulation: int,
    undisturbed: Callable[[str, int], tuple[list[str], RunDirectory]],
    tmp_path: Path,
) -> None:
    given, whole = undisturbed(task, accumulation)
    assert run([*given, f"--run_dir={tmp_path}"], tmp_path / "order.txt", kind, moment) == CODES[kind]
    stopped = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert stopped >= (STEP + 1 if kind.startswith("SIG") and kind != "SIGKILL" else STEP - 1)
    assert stopped < 10
    assert run(["--resume", str(tmp_path)], tmp_path / "order.txt") == 0
    compare(RunDirectory(tmp_path), whole)


@pytest.mark.slow
def test_a_killed_run_with_averaged_weights_and_a_budget_of_samples_ends_like_an_undisturbed_one(
    demo_stores: Path, tmp_path: Path
) -> None:
    limits = ("max_steps", "max_epochs", "val_check_interval", "check_val_every_n_epoch", "log_every_n_steps")
    given = [
        *(
            each
            for each in arguments(CASES["heatmap"], demo_stores, tmp_path)
            if not any(key in each for key in limits)
        ),
        "--ema.decay=0.5",
        "--ema.every_n_steps=2",
        "--budget.max_samples=60",
        "--budget.validations=3",
        "--trainer.log_every_n_steps=3",
        "--trainer.accumulate_grad_batches=2",
    ]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
    assert run([*given, f"--run_dir={whole}"], whole / "order.txt") == 0
    assert run([*given, f"--run_dir={killed}"], killed / "order.txt", "SIGKILL", "optimizer step") == -9
    assert run(["--resume", str(killed)], killed / "order.txt") == 0
    compare(RunDirectory(killed), RunDirectory(whole))
    assert "averaging_state" in torch.load(RunDirectory(killed).last, weights_only=True)


EARLY = (
    "--trainer.callbacks=EarlyStopping",
    "--trainer.callbacks.monitor=val/loss",
    "--trainer.callbacks.patience=9",
    "--trainer.val_check_interval=1.0",
)


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["optimizer step", "validation"])
@pytest.mark.parametrize(
    "more",
    [
        EARLY,
        (*EARLY, "--trainer.limit_train_batches=2"),
        (*EARLY, "--trainer.limit_train_batches=4", "--trainer.accumulate_grad_batches=2", "--ema.decay=0.5"),
    ],
    ids=["early stopping", "limit", "limit, accumulation and averages"],
)
def test_a_killed_run_with_early_stopping_ends_like_an_undisturbed_one(
    demo_stores: Path, tmp_path: Path, more: tuple[str, ...], moment: str
) -> None:
    flags = [argument for argument in arguments(CASES["heatmap"], demo_stores, tmp_path) if "--runs" not in argument]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for folder in (killed, whole):
        folder.mkdir()
    assert run([*flags, *more, f"--run_dir={whole}"], whole / "order.txt") == 0
    assert run([*flags, *more, f"--run_dir={killed}"], killed / "order.txt", "SIGKILL", moment) == -9
    assert run(["--resume", str(killed)], killed / "order.txt") == 0
    compare(RunDirectory(killed), RunDirectory(whole))


@pytest.mark.slow
def test_a_killed_run_is_tracked_without_a_value_told_twice(demo_stores: Path, tmp_path: Path) -> None:
    given = [
        *arguments(CASES["heatmap"], demo_stores, tmp_path),
        f"--run_dir={tmp_path}",
        "--checkpoint.every_n_steps=9",
    ]
    order = tmp_path / "order.txt"
    assert run(given, order, "SIGKILL", "batch", WANDB_MODE="offline") == -9
    assert run(["--resume", str(tmp_path)], order, WANDB_MODE="offline") == 0
    files = offline.files(tmp_path)
    assert len(files) == 2
    tracked = [
        (row["trainer/global_step"], name)
        for file in files
        for row in offline.read(file)[1]
        for name in row
        if name == "lr" or name.startswith(("train/", "val/"))
    ]
    recorded = [
        (int(row["step"]), name)
        for row in read_metrics(tmp_path / "metrics.csv")
        for name, value in row.items()
        if value and name not in COUNTERS
    ]
    assert len(set(tracked)) == len(tracked)
    assert set(tracked) <= set(recorded)
    missing = {step for step, _ in set(recorded) - set(tracked)}  # what was on its way to W&B at the kill
    assert all(step <= STEP for step in missing)


def samples_of_steps(*paths: Path) -> dict[tuple[str, str], set[str]]:
    """The samples of each epoch's steps, of all processes together."""
    found: dict[tuple[str, str], set[str]] = {}
    for path in paths:
        for place, samples in order(path).items():
            epoch, step, _ = place.split(" ")
            found.setdefault((epoch, step), set()).update(samples.split())
    return found


def run_two(given: list[str], orders: tuple[Path, Path], kinds: tuple[str, str], moment: str, after: int) -> list[Any]:
    """The exit codes of the door in a group of two processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "NODE_RANK": "0"}
    processes = [
        PROCESSES.Process(
            target=attempt, args=(given, str(order), kind, moment, after, {**group, "LOCAL_RANK": str(rank)})
        )
        for rank, (order, kind) in enumerate(zip(orders, kinds, strict=True))
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_two_killed_processes_with_averages_and_accumulation_end_like_undisturbed_ones(
    demo_stores: Path, tmp_path: Path, moment: str
) -> None:
    flags = [argument for argument in arguments(CASES["heatmap"], demo_stores, tmp_path) if "--runs" not in argument]
    flags += ["--data.batch_size=8", "--trainer.accumulate_grad_batches=2", "--ema.decay=0.5", "--ema.every_n_steps=2"]
    flags += ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    undisturbed = ("nothing more", "nothing more")
    for folder in (killed, whole):
        folder.mkdir()
    orders = {folder: (folder / "order.txt", folder / "order-1.txt") for folder in (killed, whole)}
    assert run_two([*flags, f"--run_dir={whole}"], orders[whole], undisturbed, "never", STEP) == [0, 0]
    codes = run_two([*flags, f"--run_dir={killed}"], orders[killed], ("SIGKILL", "SIGKILL"), moment, STEP)
    assert -9 in codes
    assert all(codes)
    assert 0 < torch.load(RunDirectory(killed).last, weights_only=True)["global_step"] < 10
    assert run_two(["--resume", str(killed)], orders[killed], undisturbed, "never", STEP) == [0, 0]
    compare(RunDirectory(killed), RunDirectory(whole))
    assert order(orders[killed][1]) == order(orders[whole][1])


@pytest.mark.ddp
def test_one_process_then_two_then_one_see_the_same_global_batches(
    undisturbed: Callable[[str, int], tuple[list[str], RunDirectory]], tmp_path: Path
) -> None:
    given, whole = undisturbed("heatmap", 1)
    orders = [tmp_path / f"order-{number}.txt" for number in range(4)]
    assert run([*given, f"--run_dir={tmp_path}"], orders[0], "SIGTERM", "batch") == 143
    resume = ["--resume", str(tmp_path)]
    two = [*resume, "--trainer.devices=2", "--trainer.strategy=ddp"]
    kinds = ("nothing more", "SIGTERM")  # which the other process hears of
    assert run_two(two, (orders[1], orders[2]), kinds, "batch", STEP + 2) == [143, 0]
    assert torch.load(RunDirectory(tmp_path).last, weights_only=True)["global_step"] == STEP + 3
    assert run([*resume, "--trainer.devices=1", "--trainer.strategy=auto"], orders[3]) == 0
    assert samples_of_steps(*orders) == samples_of_steps(whole.path / "order.txt")
    steps = [
        [row.split(",")[0] for row in (each / "metrics.csv").read_text().splitlines()]
        for each in (tmp_path, whole.path)
    ]
    assert steps[0] == steps[1]
