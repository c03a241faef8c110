"""A run whose config.yaml was edited is not resumed, nor scored, as if it were the same run."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pose_lightning import evaluate, fit
from pose_lightning.errors import UserError
from pose_lightning.runs import RunDirectory
from tests.test_fit import arguments

EDITS: list[tuple[str, Any, str]] = [
    ("checkpoint.follow", "loss", r"checkpoint\.follow=metric \(here loss\)"),
    ("ema.decay", 0.9, r"ema\.decay=0\.5 \(here 0\.9\)"),
    ("ema.decay", None, r"ema\.decay=0\.5 \(here None\)"),
    ("trainer.gradient_clip_val", 0.001, r"trainer\.gradient_clip_val=None \(here 0\.001\)"),
    ("trainer.limit_train_batches", 2, r"trainer\.limit_train_batches=None \(here 2\)"),
    ("trainer.limit_val_batches", 1, r"trainer\.limit_val_batches=None \(here 1\)"),
    ("trainer.precision", "bf16-mixed", r"trainer\.precision=None \(here bf16-mixed\)"),
    ("data.init_args.input_size", 32, r"data\.input_size=64 \(here 32\)"),
    ("data.init_args.flip", 0.25, r"data\.flip=0\.5 \(here 0\.25\)"),
    ("data.init_args.rotation", 0.0, r"data\.rotation=30\.0 \(here 0\.0\)"),
    ("data.init_args.batch_size", 3, r"batch_size 6, this run has 3"),
    ("data.init_args.limit_samples", 12, r"training samples \d+, this run has 12"),
    ("seed_everything", 7, r"seed 1, this run has 7"),
]


@pytest.fixture(scope="module")
def trained(demo_stores: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps with averaged weights."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        given = arguments(
            demo_stores, tmp_path_factory.mktemp("runs"), "--trainer.max_epochs=-1", "--trainer.max_steps=2",
            "--ema.decay=0.5", "--model.schedule=constant", "--model.warmup=0",
        )  # fmt: skip
        return fit.fit(given)


def edited(trained: Path, folder: Path, key: str, value: Any) -> Path:
    """A copy of the run with another value in its config.yaml."""
    shutil.copytree(trained, folder / "run")
    config = folder / "run" / "config.yaml"
    settings = yaml.safe_load(config.read_text())
    *groups, name = key.split(".")
    place = settings
    for group in groups:
        place = place[group]
    assert place[name] != value
    place[name] = value
    config.write_text(yaml.safe_dump(settings))
    return folder / "run"


@pytest.mark.parametrize(("key", "value", "refusal"), EDITS)
def test_an_edited_run_is_not_resumed(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: Any, refusal: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = edited(trained, tmp_path, key, value)
    with pytest.raises(UserError, match=refusal):
        fit.fit(["--resume", str(run), "--trainer.max_steps=3"])


@pytest.mark.parametrize(("key", "value"), [("data.init_args.num_threads", 0), ("trainer.sync_batchnorm", True)])
def test_settings_that_change_no_sample_are_free(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: Any
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    run = edited(trained, tmp_path, key, value)
    fit.fit(["--resume", str(run), "--trainer.max_steps=3"])


def test_an_edited_run_is_not_scored_on_other_samples(trained: Path, tmp_path: Path) -> None:
    run = edited(trained, tmp_path, "data.init_args.input_size", 32)
    with pytest.raises(UserError, match=r"data\.input_size=64 \(here 32\); put the run's config\.yaml back"):
        evaluate.evaluate_run(RunDirectory.open(run))
