"""What holds for every task alike: a killed run, several processes, and the doors."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch
from torch.testing import assert_close

from pose_lightning import cli, evaluate, fit
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store

ROOT = Path(__file__).resolve().parents[1]
STEPS = 10


@dataclass(frozen=True)
class Case:
    """One experiment of each task, small enough for ten steps in seconds.

    Attributes:
        experiment: Its name; its demo layer is laid over it.
        stores: Fixture of a folder with `train.h5` and `val.h5`.
        small: Arguments that make it smaller still.
        metric: What the task logs of the validation split.
        measure: The same, from `metrics.json`.
        mistake: Arguments that the network's constructor refuses.
        written: What `evaluate` writes for this task alone.
    """

    experiment: str
    stores: str
    small: tuple[str, ...]
    metric: str
    measure: Callable[[dict[str, Any]], float]
    mistake: tuple[str, ...]
    written: frozenset[str] = frozenset()


CASES = {
    "heatmap": Case(
        "hourglass_mpii",
        "demo_stores",
        (
            "--model.network.stacks=1",
            "--model.network.features=8",
            "--model.network.depth=2",
            "--model.warmup=6",
            "--data.input_size=64",
            "--data.batch_size=6",
        ),
        "val/pckh",
        lambda scores: scores["measures"]["pckh@0.5"]["mean_unweighted_14"]["value"],
        ("--model.network.stacks=0",),
    ),
    "regression": Case(
        "regression_vgg_lstm",
        "demo_clip_stores",
        (
            "--model.encoder_width=0.125",
            "--model.temporal_features=8",
            "--model.head_features=[8]",
            "--model.input_size=32",
            "--data.input_size=32",
            "--data.rotation=20",
            "--data.flip=0.5",
            "--data.batch_size=6",
        ),
        "val/mpjpe",
        lambda scores: scores["measures"]["mpjpe"]["value"],
        ("--model.encoder=timm:nosuch",),
    ),
    "activity": Case(
        "activity_xception",
        "demo_activity_stores",
        ("--data.input_size=64", "--model.input_size=64", "--data.batch_size=8"),
        "val/top1",
        lambda scores: scores["measures"]["top1"]["value"],
        ("--model.backbone=nosuch",),
        frozenset({"classes.csv", "confusion.csv", "confusion.png"}),
    ),
}


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(scope="module")
def stores(case: Case, request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(case.stores)


def classes(stores: Path) -> list[str]:
    """The argument that fits a network to the classes of a store, where it has any."""
    if not (stores / "train.h5").is_file():
        return []
    with Store(stores / "train.h5") as store:
        return [f"--model.num_classes={len(store.attrs['categories'])}"] if "categories" in store.attrs else []


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def arguments(case: Case, stores: Path, runs: Path) -> list[str]:
    return [
        f"--config={ROOT}/experiments/{case.experiment}.yaml",
        f"--config={ROOT}/experiments/demo/{case.experiment}.yaml",
        *case.small,
        *classes(stores),
        f"--trainer.max_steps={STEPS}",
        "--trainer.max_epochs=-1",
        "--trainer.val_check_interval=1.0",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.log_every_n_steps=1",
        "--checkpoint.every_n_steps=2",
        f"--data.root={stores}",
        f"--runs={runs}",
    ]


@pytest.fixture(scope="module")
def finished(case: Case, stores: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A whole run."""
    os.environ["WANDB_MODE"] = "disabled"
    return RunDirectory(fit.fit(arguments(case, stores, tmp_path_factory.mktemp("runs"))))


def weights(run: RunDirectory) -> dict[str, torch.Tensor]:
    return torch.load(run.last, weights_only=True)["state_dict"]


def test_what_callbacks_may_follow_is_what_a_run_logs(finished: RunDirectory, case: Case, stores: Path) -> None:
    model: Any = cli.build(arguments(case, stores, finished.path)).model
    header = (finished.path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert model.logged() == {name for name in header if name.startswith(("train/", "val/"))}


def rows(run: RunDirectory) -> list[dict[str, str]]:
    with (run.path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def scores(run: RunDirectory) -> dict[str, Any]:
    return json.loads((run.path / "metrics.json").read_text())


def test_a_run_leaves_everything_in_its_directory(case: Case, finished: RunDirectory) -> None:
    names = {path.name for path in finished.path.iterdir()}
    common = {"config.yaml", "checkpoints", "curves", "log.txt", "metrics.csv", "metrics.json", "predictions.h5"}
    assert names >= common | case.written
    assert {path.name for path in finished.checkpoints.iterdir()} == {"last.ckpt", "last.prev.ckpt", "best.ckpt"}
    assert finished.path.parent.name == f"{case.experiment}_demo"


def test_the_config_of_a_run_builds_the_same_run(finished: RunDirectory) -> None:
    built = cli.build([f"--config={finished.config}"])
    assert built.dump() == finished.config.read_text()
    built.model.load_state_dict(weights(finished))


def test_the_scores_are_labelled_synthetic_and_stand_beside_two_baselines(finished: RunDirectory) -> None:
    assert scores(finished)["notes"]["synthetic"] is True
    assert len(scores(finished)["baselines"]) == 2


def test_validation_in_training_agrees_with_evaluate(case: Case, finished: RunDirectory) -> None:
    logged = [float(row[case.metric]) for row in rows(finished) if row[case.metric]]
    best = min(logged) if cli.build([f"--config={finished.config}"]).model.monitor[1] == "min" else max(logged)
    assert case.measure(scores(finished)) == pytest.approx(best, rel=1e-6)


def test_the_loss_of_an_epoch_weighs_every_sample_the_same(case: Case, finished: RunDirectory) -> None:
    if case.experiment.startswith("hourglass"):
        pytest.skip("its loss divides by labelled joints, which a run does not write down")
    steps = [(int(row["samples"]), float(row["train/loss_step"])) for row in rows(finished) if row["train/loss_step"]]
    logged = [(int(row["samples"]), float(row["train/loss"])) for row in rows(finished) if row["train/loss"]]
    first = logged[0][0]
    sizes = [after - before for (before, _), (after, _) in zip([(0, 0.0), *steps], steps, strict=False)]
    assert len({size for size, (seen, _) in zip(sizes, steps, strict=True) if seen <= first}) == 2  # a smaller last one
    epoch = sum(size * loss for size, (seen, loss) in zip(sizes, steps, strict=True) if seen <= first) / first
    assert logged[0][1] == pytest.approx(epoch, rel=1e-5)


def test_evaluate_says_the_same_again_and_so_do_the_written_predictions(
    finished: RunDirectory, stores: Path, tmp_path: Path
) -> None:
    before = scores(finished)
    evaluate.main([str(finished.path)])
    assert scores(finished) == before
    predictions, out = finished.path / "predictions.h5", tmp_path / "again.json"
    evaluate.main(["--predictions", str(predictions), "--store", str(stores / "val.h5"), "--json", str(out)])
    again = json.loads(out.read_text())
    assert again["measures"] == before["measures"]
    assert again["baselines"] == before["baselines"]


def test_predictions_hold_no_pickles(finished: RunDirectory) -> None:
    with h5py.File(finished.path / "predictions.h5") as file:
        assert file["preds"].dtype.kind == "f"
    assert torch.load(finished.best, weights_only=True)["global_step"] <= STEPS


def test_a_run_killed_with_sigkill_resumes_to_the_same_bits(
    case: Case, finished: RunDirectory, stores: Path, tmp_path: Path
) -> None:
    environment = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pose_lightning.fit", *arguments(case, stores, tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        record = None
        deadline = time.monotonic() + 120
        while record is None or len(record.read_text().splitlines()) < 6:
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            assert time.monotonic() < deadline
            record = next(tmp_path.glob("*/*/metrics.csv"), None)
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    run = RunDirectory.open(next(tmp_path.glob("*/*")))
    assert process.returncode == -signal.SIGKILL
    fit.fit(["--resume", str(run.path)])
    undisturbed = weights(finished)
    assert weights(run).keys() == undisturbed.keys()
    for name, value in weights(run).items():
        assert torch.equal(value, undisturbed[name]), name
    ours, theirs = (
        [(row["step"], row["train/loss_step"], row["train/loss"], row[case.metric]) for row in rows(each)]
        for each in (run, finished)
    )
    assert len(ours) == len(set(ours))
    assert ours == theirs


def validate(arguments: list[str], *more: str) -> dict[str, float]:
    """What a network of the seed's first weights logs."""
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"]
    built = cli.build([*arguments, *quiet, *more])
    found: Any = built.trainer.validate(built.model, datamodule=built.datamodule, verbose=False)
    return {name: float(value) for name, value in found[0].items()}


def validate_in_ddp(rank: int, port: int, arguments: list[str], out: str) -> None:
    """One of two processes of a validation: its metrics go to a file."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank), WORLD_SIZE="2")
    os.environ["NODE_RANK"] = "0"
    torch.set_num_threads(1)
    torch.save(validate(arguments, "--trainer.devices=2", "--trainer.strategy=ddp"), Path(out) / f"{rank}.pt")
    torch.distributed.destroy_process_group()  # gloo's threads may abort a process that ends with them


@pytest.mark.ddp
def test_metrics_of_two_processes_equal_those_of_one(case: Case, stores: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    given = arguments(case, stores, tmp_path)
    torch.multiprocessing.spawn(validate_in_ddp, (port, given, str(tmp_path)), nprocs=2)  # type: ignore[attr-defined]
    alone = validate(given, "--trainer.devices=1")
    assert {"val/loss", case.metric} <= set(alone)
    for rank in range(2):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in alone.items():
            assert_close(torch.tensor(together[name]), torch.tensor(value), rtol=2e-6, atol=0, equal_nan=True)


def test_a_mistake_in_a_setting_is_one_line(
    case: Case, stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        fit.main([*arguments(case, stores, tmp_path / "runs"), *case.mistake])
    assert stop.value.code == 2
    assert [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert not (tmp_path / "runs").exists()


def test_a_missing_store_names_the_command_that_makes_it(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        fit.main(arguments(case, tmp_path / "nowhere", tmp_path / "runs"))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "nowhere/train.h5" in error
    assert "python -m pose_lightning.convert" in error
    assert not (tmp_path / "runs").exists()  # nothing half-written
