"""Limits of the trainer in its own unit, parts of batches, reach schedules, samples and optimizer steps truthfully."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from jsonargparse import ArgumentParser
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.testing import assert_close

from pose_lightning import cli, fit
from pose_lightning.errors import UserError
from tests.training.test_flags import arguments

ONCE = ("--trainer.max_steps=-1", "--trainer.max_epochs=1", "--trainer.limit_val_batches=0")


class Rates(Callback):
    """The factor of the learning rate at every optimizer step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, *_: object) -> None:
        self.values.append(trainer.optimizers[0].param_groups[0]["lr"] / 0.1)


class EvaluatedNorms(Callback):
    """Keeps batch norms from seeing how a batch is cut."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: object) -> None:
        for module in pl_module.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def fitted(root: Path, *more: str) -> tuple[cli.PoseCLI, list[float]]:
    """Train a run that passes all checks; returns what was built and the factors of its learning rate."""
    built = cli.build(arguments(root, *more))
    rates = Rates()
    built.trainer.callbacks += [rates, EvaluatedNorms()]  # type: ignore[attr-defined]
    fit._check(built)
    built.trainer.fit(built.model, datamodule=built.datamodule)
    return built, rates.values


def vector(built: cli.PoseCLI) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in built.model.parameters()])


@pytest.mark.parametrize("unit", ["steps", "samples"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("limit", "steps"),
    [("--trainer.limit_train_batches={0}", 2), ("--trainer.max_steps=3", 3), ("--trainer.fast_dev_run=3", 3)],
)
def test_a_cosine_ends_where_the_limit_ends_the_run(
    demo_stores: Path, unit: str, accumulate: int, limit: str, steps: int
) -> None:
    built, factors = fitted(
        demo_stores,
        *ONCE,
        "--model.schedule=cosine",
        f"--model.schedule_unit={unit}",
        f"--trainer.accumulate_grad_batches={accumulate}",
        limit.format(2 * accumulate),
    )
    assert built.trainer.global_step == len(factors) == steps
    assert factors == pytest.approx([(1 + torch.tensor(torch.pi * k / steps).cos().item()) / 2 for k in range(steps)])
    assert built.model.schedule_total == (steps if unit == "steps" else 6 * steps)
    assert built.datamodule.samples_seen(steps) == 6 * steps


def test_one_is_one_batch_and_not_all_of_them() -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--limit", type=float | int | None)  # as `typing` has it where another package came first
    cli._read_whole_numbers_first(parser)
    assert type(parser.parse_args(["--limit=1"]).limit) is int
    assert type(parser.parse_args(["--limit=1.0"]).limit) is float


def test_a_limit_of_whole_batches_steps_as_far_as_one_batch_at_once(demo_stores: Path) -> None:
    before = vector(cli.build(arguments(demo_stores)))
    moved = []
    for accumulate in (1, 2, 3):
        limit = f"--trainer.limit_train_batches={accumulate}"
        built, _ = fitted(demo_stores, *ONCE, limit, f"--trainer.accumulate_grad_batches={accumulate}")
        assert built.trainer.global_step == 1
        moved.append(vector(built) - before)
    assert float(moved[0].norm()) > 0.001
    assert_close(moved[1], moved[0], rtol=1e-3, atol=1e-6)
    assert_close(moved[2], moved[0], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("limit", "advice"),
    [
        ("1", "take trainer.limit_train_batches=2"),
        ("3", "take trainer.limit_train_batches=2 or 4"),
        ("0.3", "take trainer.limit_train_batches=2 or 4"),
        ("0", "take trainer.limit_train_batches=2"),
    ],
)
def test_a_limit_that_cuts_a_batch_is_refused_with_the_numbers_that_would_do(
    demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str, advice: str
) -> None:
    flags = ("--trainer.accumulate_grad_batches=2", f"--trainer.limit_train_batches={limit}", f"--runs={tmp_path}/runs")
    with pytest.raises(SystemExit) as stop:
        fit.main(arguments(demo_stores, *ONCE, *flags))
    assert stop.value.code == 2
    assert advice in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("batches", [1, 2])
def test_a_development_run_of_whole_batches_is_never_refused(demo_stores: Path, batches: int) -> None:
    flags = ("--model.schedule=one_cycle", "--model.schedule_unit=samples", "--model.warmup=960")
    built, factors = fitted(
        demo_stores, *ONCE, *flags, f"--trainer.fast_dev_run={batches}", "--trainer.accumulate_grad_batches=3"
    )
    assert built.trainer.global_step == batches
    assert factors[0] == pytest.approx(1 / 25)
    assert built.datamodule.samples_seen(batches) == 6 * batches


def test_a_warm_up_longer_than_the_budget_is_told_in_the_users_terms(
    demo_stores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (
        "--model.schedule=cosine",
        "--model.schedule_unit=samples",
        "--model.warmup=960",
        f"--runs={tmp_path}/runs",
    )
    for limit, budget in (
        ("--trainer.max_steps=4", "trainer.max_steps=4 x batch 6 = 24 samples"),
        ("--trainer.max_epochs=2", "trainer.max_epochs=2 x 25 samples = 50 samples"),
    ):
        with pytest.raises(SystemExit) as stop:
            fit.main(arguments(demo_stores, *flags, limit))
        assert stop.value.code == 2
        message = capsys.readouterr().err
        assert budget in message
        assert "leave nothing after model.warmup=960 samples" in message
        assert "schedule_total" not in message
    assert not (tmp_path / "runs").exists()


def test_a_schedule_that_needs_an_end_is_refused_where_time_is_the_only_limit(demo_stores: Path) -> None:
    built = cli.build(
        arguments(demo_stores, "--model.schedule=cosine", "--trainer.max_steps=-1", "--trainer.max_time=00:00:01:00")
    )
    with pytest.raises(UserError, match=r"needs an end: .*; trainer\.max_time alone tells no step"):
        fit._check(built)


@pytest.mark.parametrize(("unit", "total"), [("steps", "4 steps"), ("samples", "24 samples")])
def test_a_resume_beyond_the_end_of_its_schedule_tells_the_rate_that_is_left(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, total: str
) -> None:
    monkeypatch.setattr(fit, "_evaluate", lambda *_, **__: None)
    warmup = 1 if unit == "steps" else 6
    flags = ("--model.schedule=one_cycle", f"--model.schedule_unit={unit}", f"--model.warmup={warmup}")
    begun = arguments(demo_stores, *flags, "--trainer.max_steps=4", f"--run_dir={tmp_path}", "--model.final=0.25")
    fit.fit([*begun, "--trainer.limit_val_batches=0"])
    resume = ["--resume", str(tmp_path)]
    with pytest.warns(UserWarning, match=rf"schedule=one_cycle ended at {total}, .* trains at lr=0\.025$"):
        fit.fit([*resume, "--trainer.max_steps=6"])
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 6
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.025)
    fit.fit(resume)  # at its end there is nothing to warn of
