"""Settings that cannot work are refused before a run has a directory, in the user's own terms."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pose_lightning import cli, evaluate_options, fit
from pose_lightning.errors import UserError
from pose_lightning.history import read_metrics
from pose_lightning.runs import RunDirectory
from pose_lightning.store import Store
from tests.test_fit import arguments


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that `fit` says of arguments, without having made a directory."""

    def refused(stores: Path, *more: str) -> str:
        with pytest.raises(SystemExit) as stop:
            fit.main(arguments(stores, tmp_path / "runs", *more))
        message = capsys.readouterr().err
        assert stop.value.code == 2, message
        assert not (tmp_path / "runs").exists()
        assert message.count("\n") == 1, message
        return message

    return refused


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--data.batch_size=0", "data.batch_size=0 is out of range; it is 1 or more"),
        ("--data.num_threads=-1", "data.num_threads=-1 is out of range"),
        ("--data.ring_depth=0", "data.ring_depth=0 is out of range"),
        ("--model.sigma=0", "model.sigma=0.0 is out of range; it is above 0"),
        ("--model.sigma=-2", "model.sigma=-2.0 is out of range"),
        ("--model.sigma=.nan", "model.sigma=nan is out of range"),
        ("--model.lr=-1", "model.lr=-1.0 is out of range; it is above 0"),
        ("--model.momentum=1.5", "model.momentum=1.5 is out of range; it is from 0 to below 1"),
        ("--model.weight_decay=.nan", "model.weight_decay=nan is out of range; it is 0 or more"),
        ("--data.input_size=0", "data.input_size=0 is out of range; it is 1 or more"),
        ("--model.lr=null", "model.lr=null: this setting needs a value"),
        ("--model.loss=null", "model.loss=null: this setting needs a value"),
        ("--data.flip=null", "data.flip=null: this setting needs a value"),
        ("--trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0 is out of range; it is 1 or more"),
        ("--trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch=0 is out of range; it is 1 or more"),
        ("--trainer.val_check_interval=0", "trainer.val_check_interval=0 is out of range; it is above 0"),
        ("--trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1 is out of range; it is 0 or more"),
        ("--trainer.max_epochs=0", "trainer.max_epochs=0 trains nothing; it is 1 or more"),
        ("--trainer.max_steps=0", "trainer.max_steps=0 trains nothing; it is 1 or more"),
    ],
)
def test_a_value_out_of_range_is_refused(demo_stores: Path, refusal: Callable[..., str], flag: str, said: str) -> None:
    assert said in refusal(demo_stores, flag)


def test_a_batch_of_one_sample_is_refused_only_where_batch_norm_has_one_value(
    demo_stores: Path, refusal: Callable[..., str]
) -> None:
    deep = ("--model.network.depth=4", "--data.limit_samples=13")  # 13 = 2 x 6 + 1; maps of 1 x 1
    message = refusal(demo_stores, *deep)
    assert "data.batch_size=6, 13 training samples" in message
    assert "take data.batch_size=5 or 7" in message
    for more in (["--data.batch_size=5"], ["--model.network.depth=2"], ["--trainer.limit_train_batches=2"]):
        fit._check(cli.build(arguments(demo_stores, Path("runs"), *deep, *more)))


def test_a_metric_that_would_be_nan_throughout_is_refused_with_the_flag_that_follows_the_loss(
    demo_stores: Path,
) -> None:
    with Store(demo_stores / "val.h5") as store:
        labels = {name: np.array(column) for name, column in store.labels.items()}
    assert (labels["head_size"] > 0).any()
    data = cli.build(arguments(demo_stores, Path("runs")))
    model: Any = data.model

    class Unscored:
        path = demo_stores / "val.h5"

        def __init__(self, head_size: float) -> None:
            self.labels = {**labels, "head_size": np.full(len(labels["head_size"]), head_size)}

        def __enter__(self) -> "Unscored":
            return self

        def __exit__(self, *_: object) -> None:
            pass

    for head_size, is_refused in ((np.nan, True), (0.0, True), (10.0, False)):
        data.datamodule.samples = lambda _, size=head_size: Unscored(size)
        assert (model.unscorable(data.datamodule) is not None) == is_refused
        if is_refused:
            with pytest.raises(UserError, match=r"none of \d+ persons has .*; follow val/loss by --checkpoint\.follow"):
                fit._check(data)
    following = cli.build(arguments(demo_stores, Path("runs"), "--checkpoint.follow=loss"))
    following.datamodule.samples = lambda _: Unscored(np.nan)
    fit._check(following)
    assert following.followed == ("val/loss", "min")


ORDER = """
import torch
from types import SimpleNamespace
from torch import nn
from torchmetrics import MeanMetric
from pose_lightning.task import Task

module = SimpleNamespace(named_children=lambda: [("train_loss", MeanMetric())])
state = {"train_loss.value": torch.ones(1)}
seen = []
checkpoint = {
    "current_model_state": {"train_loss.value": torch.ones(1)},
    "state_dict": {"train_loss.value": torch.zeros(1)},
}
Task._change_counts(module, checkpoint, lambda value: seen.append(float(value)) or value)
print(seen)
"""


def test_processes_gather_counts_in_one_order_whatever_their_hash_seed() -> None:
    names = "print(next(iter({'state_dict', 'current_model_state'})))"

    def printed(code: str, seed: int) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        return subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
        ).stdout.strip()

    first = {printed(names, seed): seed for seed in range(12)}
    assert len(first) == 2
    assert {printed(ORDER, seed) for seed in first.values()} == {"[0.0, 1.0]"}


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--model.learning_rate=1", "model.learning_rate is no setting"),
        ("--model.optimizer=adm", "model.optimizer=adm is not one of sgd, nesterov, adam, adamw, rmsprop, rmsprop_tf"),
        ("--model.optimizer=adm", "did you mean adam?"),
        ("--trainer.max_steps=abc", "trainer.max_steps=abc is not a whole number"),
        ("--trainer.max_stps=3", "--trainer.max_stps=3 is no setting; did you mean trainer.max_steps?"),
        ("--data.batch_size=1.5", "data.batch_size=1.5 is not a whole number"),
        ("--data.limit_samples=abc", "error: data.limit_samples=abc is not a whole number"),
        ("--data.input_size=[64]", "data.input_size=[64] is not a whole number or a list of two, as [256, 192]"),
        ("--data.input_size=[64,a]", "data.input_size=[64, 'a'] is not a whole number or a list of two"),
        ("--data.input_size=64.5", "data.input_size=64.5 is not a whole number or a list of two"),
        ("--data.input_size=[64,0]", "data.input_size=(64, 0) is out of range; it is 1 or more"),
        ("--model.loss=mae", "error: model.loss=mae is not one of mse, cross_entropy"),
        ("--model.network.image_mean=2", "error: model.network.image_mean=2 is not a list"),
        (
            "--model.network.stack=2",
            "error: model.network.stack is no setting of StackedHourglass; did you mean model.network.stacks?",
        ),
        ("--model.network.decoder=simple", "error: model.network.decoder is no setting of StackedHourglass"),
        ("--model.network=hourgls", "error: model.network=hourgls names no class; did you mean hourglass?"),
        ("--model.decay=abc", "error: model.decay=abc is not a number"),
        ("--trainer.min_epochs=abc", "error: trainer.min_epochs=abc is not a whole number"),
        ("--trainer.limit_val_batches=abc", "error: trainer.limit_val_batches=abc is not a number"),
        ("--trainer.deterministic=maybe", "error: trainer.deterministic=maybe is not one of warn, true or false"),
        ("--seed_everything=true", "error: seed_everything=True is not a whole number"),
        ("--budget=5", "error: budget=5 is no group of settings; set one of them, as in --budget.max_samples=VALUE"),
        ("--data.batch_size", "error: --data.batch_size has no value; write --data.batch_size=VALUE"),
        ("hourglass_mpii", "hourglass_mpii is no setting; settings are --KEY=VALUE, and YAMLs --config FILE"),
        ("--model=HeatmapEstimator", "names no class; did you mean HeatmapEstimation?"),
        ("--model=nn.Linear", "error: model=nn.Linear names no class: there is no module named 'nn'"),
        ("--model=torch.nn.Linear", "error: model=torch.nn.Linear is no LightningModule"),
        ("--trainer.callbacks=EarlyStoping", "names no class; did you mean EarlyStopping?"),
        ("--trainer.callbacks=EarlyStopping", "trainer.callbacks: EarlyStopping needs monitor"),
        ("--trainer.max_time=1h", "trainer.max_time=1h is no time; it is days:hours:minutes:seconds"),
        ("--config=nothere.yaml", "--config nothere.yaml: there is no such file"),
        ("--config=experiments", "--config experiments is a folder; name a YAML in it"),
        ("--config=experiments/hourglass_mpi.yaml", "no such file; did you mean hourglass_mpii.yaml?"),
        ("--config=", "--config has no value; name a YAML"),
        ("--trainer.devices=0", "trainer.devices=0 cannot be had with trainer.accelerator=auto"),
        ("--trainer.devices=-1", "trainer.devices=-1 cannot be had with trainer.accelerator=auto"),
        ("--trainer.devices=abc", "trainer.devices=abc cannot be had with trainer.accelerator=auto"),
        ("--seed_everything=-1", "seed_everything: -1 is not in bounds"),
        ("--trainer.callbacks=ModelCheckpoint", "a run writes its own checkpoints; leave it out"),
        ("--trainer.fast_dev_run=-1", "trainer.fast_dev_run=-1: "),
        ("--trainer.val_check_interval=99", "trainer.val_check_interval=99 is more than the 5 batches of an epoch"),
    ],
)
def test_a_refusal_of_the_parser_or_of_lightning_is_one_line_of_the_users_own_words(
    demo_stores: Path, refusal: Callable[..., str], flag: str, said: str
) -> None:
    refused = refusal(demo_stores, flag)
    assert said in refused
    assert not any(word in refused for word in ("Union", "NestedArg", "--help", "<class"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer: {max_step: 3}", "trainer.max_step is no setting; did you mean trainer.max_steps?"),
        ("modell: {init_args: {lr: 0.1}}", "modell.lr is no setting; did you mean model.lr?"),
        (
            "{trainer: {limit_train_batches: 1}, budget: {max_samples: 36}}",
            "trainer.limit_train_batches=1 and budget.max_samples=36 exclude each other",
        ),
        ("- 1\n- 2", "has no settings; it is a YAML with model, data and trainer"),
        ("", "has no settings; it is a YAML with model, data and trainer"),
    ],
)
def test_a_mistake_in_a_yaml_is_refused_in_one_line(
    demo_stores: Path, tmp_path: Path, refusal: Callable[..., str], text: str, said: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert said in refusal(demo_stores, f"--config={path}")


def test_a_layer_without_its_experiment_is_refused_by_what_comes_first() -> None:
    with pytest.raises(UserError, match="model has no class_path: this YAML is a layer over another one"):
        cli.build(["--config=experiments/demo/hourglass_mpii.yaml"])


def test_a_root_that_is_not_the_folder_of_the_stores_is_refused_with_the_one_that_is(
    demo_stores: Path, refusal: Callable[..., str]
) -> None:
    above = f"--data.root={demo_stores.parent}"
    assert f"has no train.h5, but {demo_stores} have one; give that" in refusal(demo_stores, above)
    inside = f"--data.root={demo_stores / 'train.h5'}"
    assert f"is a file; give the folder of train.h5 and val.h5, such as {demo_stores}" in refusal(demo_stores, inside)


@pytest.mark.parametrize("words", [["--resume"], ["--resume="], ["--resume", "--trainer.max_steps=3"]])
def test_a_resume_of_nothing_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="--resume has no value; name a run's directory"):
        fit.fit(words)


def test_a_path_above_or_in_a_run_is_refused_with_the_run(tmp_path: Path) -> None:
    run = tmp_path / "experiment" / "20260101-000000-abcd"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").touch()
    for path, said in (
        (run.parent, f"the newest run in it is {run}"),
        (run / "checkpoints" / "last.ckpt", f"its run is {run}"),
        (tmp_path, "lists the runs there are"),
    ):
        with pytest.raises(UserError, match="is no run directory") as refused:
            RunDirectory.open(path)
        assert str(refused.value).endswith(said)


def test_a_negative_number_of_overlays_is_refused() -> None:
    with pytest.raises(UserError, match="--overlays -1 is out of range; it is 1 or more, or 0 for none"):
        evaluate_options.parse(["runs/x", "--overlays=-1"], description=None)


def test_a_command_line_without_arguments_is_refused() -> None:
    with pytest.raises(UserError, match="data, model is missing; an experiment's YAML"):
        cli.build([])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["GradientAccumulationScheduler", "scheduling={0: 1, 1: 2}"], "set trainer.accumulate_grad_batches"),
        (["SpikeDetection"], "SpikeDetection cannot go on after a resume"),
        (["StochasticWeightAveraging", "swa_lrs=0.01"], "average by ema.decay=0.999"),
        (["Timer", "duration=00:00:01:00"], "set trainer.max_time"),
        (["EarlyStopping", "monitor=val/loss", "mode=minn"], "trainer.callbacks: mode can be min, max, got minn"),
        (["EarlyStopping", "monitor=val/loss", "patience=a"], "trainer.callbacks.patience=a is not a whole number"),
    ],
)
def test_a_callback_that_a_run_cannot_have_is_refused_with_what_takes_its_place(
    demo_stores: Path, refusal: Callable[..., str], more: list[str], said: str
) -> None:
    name, *settings = more
    flags = [f"--trainer.callbacks.{setting}" for setting in settings]
    assert said in refusal(demo_stores, f"--trainer.callbacks={name}", *flags)


@pytest.mark.parametrize(
    ("monitor", "more", "said"),
    [
        ("train/loss", ["--trainer.val_check_interval=2"], "set its check_on_train_epoch_end=true"),
        ("train/loss", ["--trainer.val_check_interval=2", "check_on_train_epoch_end=true"], None),
        ("train/loss", [], None),
        ("train/loss_step", ["--trainer.val_check_interval=2"], None),
        ("val/loss", ["--trainer.check_val_every_n_epoch=2"], None),
        (
            "val/loss",
            ["--trainer.check_val_every_n_epoch=2", "check_on_train_epoch_end=true"],
            "leave its check_on_train_epoch_end out",
        ),
    ],
)
def test_early_stopping_looks_only_when_its_metric_is_there(
    demo_stores: Path, monitor: str, more: list[str], said: str | None
) -> None:
    settings = [f"monitor={monitor}", *(word for word in more if not word.startswith("--"))]
    flags = [f"--trainer.callbacks.{setting}" for setting in settings]
    others = [word for word in more if word.startswith("--")]
    built = cli.build(arguments(demo_stores, Path("runs"), "--trainer.callbacks=EarlyStopping", *flags, *others))
    if said is None:
        fit._check(built)
    else:
        with pytest.raises(UserError, match=said):
            fit._check(built)


@pytest.mark.parametrize(
    ("monitor", "said"),
    [
        ("val/pkch", "EarlyStopping.monitor=val/pkch is not logged; did you mean val/pckh? (there are "),
        (
            "nosuch",
            "EarlyStopping.monitor=nosuch is not logged (there are train/loss, train/loss_step, val/auc",
        ),
    ],
)
def test_a_callback_that_follows_what_is_never_logged_is_refused(
    demo_stores: Path, refusal: Callable[..., str], monitor: str, said: str
) -> None:
    early = ("--trainer.callbacks=EarlyStopping", f"--trainer.callbacks.monitor={monitor}")
    assert said in refusal(demo_stores, *early)


def test_a_callback_that_follows_validation_is_refused_where_there_is_none(
    demo_stores: Path, refusal: Callable[..., str]
) -> None:
    early = ("--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/loss")
    assert "not logged without a validation" in refusal(demo_stores, *early, "--trainer.limit_val_batches=0")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--trainer.barebones=true", "trainer.barebones=true leaves out checkpoints and metrics"),
        ("--trainer.log_every_n_steps=-1", "trainer.log_every_n_steps=-1 is out of range"),
        ("--trainer.accelerator=cpto", "trainer.accelerator=cpto: You selected an invalid accelerator name"),
        ("--trainer.strategy=dpp", "trainer.strategy=dpp: "),
        pytest.param(
            "--trainer.accelerator=gpu",
            "trainer.accelerator=gpu: ",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_a_trainer_that_a_run_cannot_have_is_refused(
    demo_stores: Path, refusal: Callable[..., str], flag: str, said: str
) -> None:
    assert said in refusal(demo_stores, flag)


def test_a_run_that_never_logs_its_steps_trains_and_keeps_its_epochs(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "_evaluate", lambda *_, **__: None)
    run = RunDirectory(fit.fit(arguments(demo_stores, tmp_path, "--trainer.log_every_n_steps=0")))
    rows = read_metrics(run.path / "metrics.csv")
    assert not any(row.get("train/loss_step") for row in rows)
    assert [row["train/loss"] != "" for row in rows if row.get("train/loss")]
    assert any(row.get("val/pckh") for row in rows)
