"""The door `fit`: what a run leaves behind, and that a killed one ends as if nothing had happened."""

import csv
import json
import os
import resource
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import yaml

from pose_lightning import cli, evaluate, fit, history, trained
from pose_lightning.errors import UserError
from pose_lightning.heatmap.predictions import read_predictions
from pose_lightning.history import RunWandbLogger
from pose_lightning.joints import MPII
from pose_lightning.runs import RUN_ID, RunDirectory
from pose_lightning.store import Store
from tests.exact import differences
from tests.test_runs import owned_by_another

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = [
    f"--config={ROOT}/experiments/hourglass_mpii.yaml",
    f"--config={ROOT}/experiments/demo/hourglass_mpii.yaml",
]
SMALL = ["--model.stacks=1", "--model.features=8", "--model.depth=2", "--data.input_size=64", "--data.batch_size=6"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def arguments(stores: Path, runs: Path, *more: str) -> list[str]:
    validation = ["--trainer.val_check_interval=1.0", "--trainer.check_val_every_n_epoch=1"]
    steps = [
        "--trainer.max_steps=10",
        "--trainer.max_epochs=-1",
        "--model.warmup=6",
        "--checkpoint.every_n_steps=2",
        "--trainer.log_every_n_steps=1",
    ]
    return [*EXPERIMENT, *SMALL, *validation, *steps, f"--data.root={stores}", f"--runs={runs}", *more]


def with_callback(monkeypatch: pytest.MonkeyPatch, callback: pl.Callback) -> None:
    """Have every trainer that is built call this too."""
    build: Any = cli.build

    def built(*args: Any, **kwargs: Any) -> cli.PoseCLI:
        made = build(*args, **kwargs)
        made.trainer.callbacks.append(callback)  # type: ignore[attr-defined]
        return made

    monkeypatch.setattr(cli, "build", built)


@pytest.fixture(scope="module")
def finished(demo_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A whole run of ten steps."""
    os.environ["WANDB_MODE"] = "disabled"
    return RunDirectory(fit.fit(arguments(demo_stores, tmp_path_factory.mktemp("runs"))))


def rows(run: RunDirectory) -> list[dict[str, str]]:
    with (run.path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_metrics_are_labelled_synthetic_and_count_every_person(finished: RunDirectory, demo_stores: Path) -> None:
    metrics = json.loads((finished.path / "metrics.json").read_text())
    with Store(demo_stores / "val.h5") as store:
        assert metrics["counts"]["persons"] == len(store)
        preds = read_predictions(finished.path / "predictions.h5", list(store.labels["name"]), MPII).preds
        assert len(preds) == len(store)
    assert metrics["notes"]["synthetic"] is True
    assert len(metrics["baselines"]) == 2


def test_the_last_row_has_seen_as_many_samples_as_the_plan_says(finished: RunDirectory, demo_stores: Path) -> None:
    with Store(demo_stores / "train.h5") as store:
        length = len(store)
    epochs, rest = divmod(10, -(-length // 6))
    last = [row for row in rows(finished) if row["train/loss_step"]][-1]
    assert (int(last["step"]), int(last["samples"])) == (10, epochs * length + rest * 6)


def test_resume_takes_only_a_larger_budget(finished: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    for argument, reason in (
        ("--model.lr=0.1", "keeps its own configuration"),
        ("--trainer.max_steps=5", "can only be extended"),
        ("--trainer.max_steps=many", "whole number"),
        ("--trainer.max_epochs=9", "no such limit"),
    ):
        with pytest.raises(SystemExit) as stop:
            fit.main(["--resume", str(finished.path), argument])
        assert stop.value.code == 2
        assert reason in capsys.readouterr().err


def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew_when_it_is_resumed(
    finished: RunDirectory, demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fail(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == 1:
                raise RuntimeError("before the first checkpoint")

    with monkeypatch.context() as patch:
        with_callback(patch, Fail())
        with pytest.raises(RuntimeError, match="before the first"):
            fit.fit(arguments(demo_stores, tmp_path))
    run = RunDirectory(next(tmp_path.glob("*/*")))
    assert rows(run)
    with pytest.warns(UserWarning, match=f"{run.path} has no checkpoint yet: it begins anew"):
        fit.fit(["--resume", str(run.path)])
    assert rows(run) == rows(finished)
    ours, theirs = (torch.load(each.last, weights_only=True)["state_dict"] for each in (run, finished))
    assert not list(differences(ours, theirs))


class NoRoom(pl.Callback):
    """Lets no file grow beyond 3 kB from a step on: a checkpoint has no room."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 5:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))


class NoRoomForMetrics(pl.Callback):
    """Puts metrics.csv on a disk that is full."""

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 5:
            history.appending = lambda _: open("/dev/full", "a")  # type: ignore[attr-defined]  # noqa: PTH123, SIM115


@pytest.mark.parametrize(
    ("callback", "reason"),
    [(NoRoom, "last.ckpt could not be written: File too large"), (NoRoomForMetrics, "No space left on device")],
)
def test_a_full_disk_ends_a_run_that_goes_on_to_the_same_end_once_there_is_room(
    finished: RunDirectory,
    demo_stores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    callback: type[pl.Callback],
    reason: str,
) -> None:
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(history, "appending", history.appending)  # which `NoRoomForMetrics` changes
            with_callback(patch, callback())
            with pytest.raises(SystemExit) as stop:
                fit.main(arguments(demo_stores, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert reason in error
    assert "make room and go on with `--resume" in error
    run = RunDirectory(next(tmp_path.glob("*/*")))
    fit.fit(["--resume", str(run.path)])
    assert rows(run) == rows(finished)
    ours, theirs = (torch.load(each.last, weights_only=True)["state_dict"] for each in (run, finished))
    assert not list(differences(ours, theirs))


def test_a_best_checkpoint_that_is_damaged_is_refused_with_a_way_out(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory(Path(shutil.copytree(finished.path, tmp_path / "run")))
    run.best.write_bytes(run.best.read_bytes()[:-1])
    with pytest.raises(SystemExit) as stop:
        evaluate.main([str(run.path)])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "best.ckpt is damaged" in error
    assert "remove it, and last.ckpt is scored" in error


def test_splits_that_share_an_image_are_refused(
    demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        shutil.copy(demo_stores / "val.h5", tmp_path / f"{split}.h5")
    with pytest.raises(SystemExit):
        fit.main(arguments(tmp_path, tmp_path / "runs"))
    assert "images are in train.h5 and in val.h5" in capsys.readouterr().err


def test_the_name_of_a_run_is_not_used_twice(
    finished: RunDirectory, demo_stores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished.path / "metrics.csv").read_text()
    monkeypatch.setenv(RUN_ID, finished.id)
    with pytest.raises(SystemExit):
        fit.main(arguments(demo_stores, finished.path.parents[1]))
    assert "holds a run" in capsys.readouterr().err
    assert (finished.path / "metrics.csv").read_text() == before


def test_a_place_where_the_batch_does_not_divide_changes_nothing_of_a_run(
    finished: RunDirectory, demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = finished.config.read_bytes()
    with pytest.raises(SystemExit):
        fit.main([f"--resume={finished.path}", "--trainer.devices=4", "--trainer.strategy=ddp"])
    assert "data.batch_size 6" in (said := capsys.readouterr().err)
    assert "4 devices" in said
    assert finished.config.read_bytes() == before
    with pytest.raises(SystemExit):
        fit.main(arguments(demo_stores, tmp_path / "runs", "--trainer.accumulate_grad_batches=4"))
    assert "4 accumulated batches" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_settings_that_would_have_no_effect_are_refused(tmp_path: Path) -> None:
    for argument, reason in (
        ("--trainer.logger=true", "trainer.logger has no effect"),
        ("--checkpoint.every_n_steps=0", "1 or more"),
    ):
        with pytest.raises(UserError, match=reason):
            cli.build([EXPERIMENT[0], argument])


def test_an_unknown_key_is_refused_before_anything_is_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        fit.main([EXPERIMENT[0], "--model.learning_rate=0.1", f"--runs={tmp_path}/runs"])
    assert stop.value.code == 2
    assert "learning_rate" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_short_names_reach_the_constructors(tmp_path: Path) -> None:
    built = cli.build([EXPERIMENT[0], "--model.lr=1e-3", "--model.optimizer=adam", "--model.alpha=null"])
    assert built.flat()["model.lr"] == 1e-3
    assert built.model.optimizer_arguments["optimizer"] == "adam"


def test_the_seed_reaches_the_order_of_samples(tmp_path: Path) -> None:
    assert cli.build([EXPERIMENT[0], "--seed_everything=7"]).datamodule.seed == 7
    assert yaml.safe_load(Path(EXPERIMENT[0].partition("=")[2]).read_text())["seed_everything"] == 1


BUDGET = ["--budget.max_samples=60", "--budget.validations=3", "--model.warmup=6", "--trainer.log_every_n_steps=1"]


@pytest.fixture(scope="module")
def trial(demo_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run in a directory that somebody else has made, with a budget, scored at its last step."""
    os.environ["WANDB_MODE"] = "disabled"
    folder = tmp_path_factory.mktemp("trials") / "adam" / "1"
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text("{}")
    more = [f"--data.root={demo_stores}", f"--run_dir={folder}", "--checkpoint.evaluate=last"]
    assert fit.fit([*EXPERIMENT, *SMALL, *BUDGET, *more]) == folder
    return RunDirectory(folder)


def test_a_budget_validates_evenly_and_ends_with_the_last_part(trial: RunDirectory) -> None:
    validated = [(int(row["step"]), int(row["samples"])) for row in rows(trial) if row["val/pckh"]]
    assert validated == [(3, 18), (6, 36), (9, 54)]  # 20 samples are 3 batches of 6
    assert len([row for row in rows(trial) if row["train/loss_step"]]) == 9


def test_the_last_checkpoint_is_scored_where_the_run_says_so(trial: RunDirectory) -> None:
    assert json.loads((trial.path / "metrics.json").read_text())["step"] == 9
    best = torch.load(trial.best, weights_only=True)["global_step"]
    evaluate.main([str(trial.path)])
    assert json.loads((trial.path / "metrics.json").read_text())["checkpoint"] == "last.ckpt"
    assert trained.load(trial)[2] == 9
    config = trial.config.read_text()
    trial.write_config(config.replace("evaluate: last", "evaluate: best"))
    assert trained.load(trial)[2] == best
    trial.write_config(config)


def test_a_named_directory_keeps_what_lies_in_it_and_is_resumed_but_not_used_twice(
    trial: RunDirectory, demo_stores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rows(trial)
    assert fit.fit(["--resume", str(trial.path)]) == trial.path
    assert rows(trial) == before
    again = [*EXPERIMENT, *SMALL, *BUDGET, f"--data.root={demo_stores}", f"--run_dir={trial.path}"]
    for arguments, reason in (
        (again, "holds a run"),
        ([*again[:-1], f"--config={trial.config}", "--trainer.max_steps=7"], "exclude each other"),
        (["--resume", str(trial.path), "--trainer.max_epochs=9"], "has a budget of samples and ends there"),
    ):
        with pytest.raises(SystemExit):
            fit.main(arguments)
        assert reason in capsys.readouterr().err
    assert (trial.path / "trial.json").read_text() == "{}"
    assert yaml.safe_load(trial.config.read_text())["run_dir"] is None  # the config makes another run elsewhere


def test_a_trial_that_was_stopped_before_its_first_checkpoint_starts_over(
    trial: RunDirectory, demo_stores: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("half of it")
    (tmp_path / "metrics.csv").write_text("step,samples,epoch,train/loss_step\n1,6,0,99.0\n")
    more = [f"--data.root={demo_stores}", f"--run_dir={tmp_path}", "--checkpoint.evaluate=last"]
    fit.fit([*EXPERIMENT, *SMALL, *BUDGET, *more])
    assert rows(RunDirectory(tmp_path)) == rows(trial)


def test_a_budget_knows_no_epochs(tmp_path: Path) -> None:
    activity = f"--config={ROOT}/experiments/activity_xception.yaml"
    with pytest.raises(UserError, match="unfreeze_unit=samples"):
        cli.build([activity, "--budget.max_samples=60", "--model.unfreeze_every=1"])
    with pytest.raises(UserError, match=r"trainer\.max_epochs and budget\.max_samples=60 exclude"):
        cli.build([activity, "--budget.max_samples=60", "--trainer.max_epochs=3"])


def test_a_flag_has_the_last_word_wherever_the_yamls_stand(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {init_args: {optimizer: adam, lr: 0.5}}\ndata: {init_args: {batch_size: 4}}\n")
    flat = cli.build(["--data.batch_size=2", EXPERIMENT[0], "--model={'lr': 0.25}", "--config", str(recipe)]).flat()
    assert (flat["model.optimizer"], flat["model.lr"], flat["data.batch_size"]) == ("adam", 0.25, 2)
    assert flat["experiment"] == "hourglass_mpii"


def test_the_dashboard_has_flat_columns_and_the_sweeps_names(demo_stores: Path, tmp_path: Path) -> None:
    tracking = ["--wandb.mode=offline", "--wandb.id=abc-1", "--wandb.sweep=study", "--wandb.cell=sgd"]
    built = cli.build([EXPERIMENT[0], f"--data.root={demo_stores}", "--seed_everything=4", *tracking])
    tracked = fit._loggers(built, RunDirectory(tmp_path / "sgd" / "4"))[1]
    assert isinstance(tracked, RunWandbLogger)
    assert (tracked.version, tracked._wandb_init["group"]) == ("abc-1", "study")
    assert tracked._wandb_init["name"] == "study/sgd/4"
    config = tracked._wandb_init["config"]
    assert config["model.lr"] == config["lr"] == 2.5e-4
    short = ("optimizer", "batch_size", "seed", "experiment", "sweep", "cell")
    assert [config[key] for key in short] == ["rmsprop", 8, 4, "hourglass_mpii", "study", "sgd"]
    assert config["revision"] is None or len(config["revision"].removesuffix("+")) == 40


def test_the_agent_of_a_server_names_the_run(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    built = cli.build([EXPERIMENT[0], f"--data.root={demo_stores}", "--wandb.mode=offline"])
    tracked = fit._loggers(built, RunDirectory(tmp_path))[1]
    assert isinstance(tracked, RunWandbLogger)
    assert (tracked.version, tracked._wandb_init["project"], tracked._wandb_init["group"]) == (None, None, "s1")


def test_the_tracked_run_has_the_runs_own_id_and_says_demo(demo_stores: Path, tmp_path: Path) -> None:
    built = cli.build([EXPERIMENT[0], f"--data.root={demo_stores}", "--wandb.mode=offline", "--tags=[study]"])
    run = RunDirectory.create(tmp_path, built.config.experiment)
    tracked = fit._loggers(built, run)[1]
    assert isinstance(tracked, RunWandbLogger)
    assert tracked.version == run.id
    assert tracked._wandb_init["tags"] == ["demo", "hourglass_mpii", "study"]  # by what the store says of itself
    assert tracked._wandb_init["config"]["model.optimizer"] == "rmsprop"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_run_that_another_process_trains_or_scores_is_left_alone(
    finished: RunDirectory, demo_stores: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fit, "train", lambda *_, **__: pytest.fail("it was parsed"))
    with owned_by_another(finished.path) as process:
        before = names(finished.path)
        for door, words in (
            (fit.main, ["--resume", str(finished.path)]),
            (evaluate.main, [str(finished.path)]),
        ):
            with pytest.raises(SystemExit) as stop:
                door(words)
            assert stop.value.code == 2
            message = f"error: {finished.path} is being written by process {process.pid} "
            assert capsys.readouterr().err.startswith(message)
        monkeypatch.undo()
        monkeypatch.setenv("WANDB_MODE", "offline")
        with pytest.raises(SystemExit) as stop:
            fit.main(arguments(demo_stores, finished.path.parent, f"--run_dir={finished.path}"))
        assert stop.value.code == 2
        assert f"by process {process.pid} " in capsys.readouterr().err
        assert names(finished.path) == before
    assert (finished.path / "metrics.json").is_file()


def test_a_run_that_is_refused_leaves_no_folder(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Refuse(pl.Callback):
        def on_fit_start(self, *_: Any) -> None:
            assert list(tmp_path.rglob("config.yaml"))
            raise UserError("refused")

    with_callback(monkeypatch, Refuse())
    with pytest.raises(SystemExit) as stop:
        fit.main(arguments(demo_stores, tmp_path / "runs"))
    assert stop.value.code == 2
    assert not (tmp_path / "runs").exists()
    kept = tmp_path / "kept"
    kept.mkdir()
    with pytest.raises(SystemExit):
        fit.main(arguments(demo_stores, tmp_path, f"--run_dir={kept}"))
    assert "refused" in capsys.readouterr().err
    assert names(kept) == ["config.yaml", "log.txt"]  # of a trial, for the report


@pytest.mark.parametrize("option", ["--runs", "--run_dir", "--data.root"])
def test_a_url_is_refused_and_the_home_folder_found(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(SystemExit) as stop:
        fit.main([EXPERIMENT[0], f"{option}=s3://bucket/folder"])
    assert stop.value.code == 2
    assert "s3://bucket/folder is a URL; give a file or a folder of this machine" in capsys.readouterr().err
    built = cli.build([EXPERIMENT[0], f"{option}=~/folder"])
    assert str(tmp_path / "home" / "folder") in map(str, built.flat().values())
    assert names(tmp_path) == []
