"""A batch that does not fit: one sentence, and a setting that works."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pose_lightning import cli, fit
from pose_lightning.heatmap.data import PoseData
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.training.memory import MemoryAdvice

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")


def arguments(root: Path, runs: Path, *more: str) -> list[str]:
    return [
        f"--config={ROOT}/experiments/hourglass_mpii.yaml",
        f"--config={ROOT}/experiments/demo/hourglass_mpii.yaml",
        "--model.network.stacks=1",
        "--model.network.features=8",
        "--model.network.depth=2",
        "--model.warmup=6",
        "--data.input_size=64",
        "--data.batch_size=12",
        "--trainer.max_steps=2",
        "--trainer.max_epochs=-1",
        "--trainer.val_check_interval=1.0",
        "--trainer.check_val_every_n_epoch=1",
        "--trainer.accelerator=cpu",
        "--trainer.log_every_n_steps=1",
        f"--data.root={root}",
        f"--runs={runs}",
        *more,
    ]


def limit(monkeypatch: pytest.MonkeyPatch, fits: Callable[[nn.Module, int], bool]) -> list[int]:
    """Let the network run out of memory where a batch does not fit; returns the sizes that it was given."""
    sizes: list[int] = []
    forward = StackedHourglass.forward

    def limited(self: StackedHourglass, image: Tensor) -> Tensor:
        if image.is_meta:  # the check before a run computes shapes alone
            return forward(self, image)
        sizes.append(len(image))
        if not fits(self, len(image)):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, image)

    monkeypatch.setattr(StackedHourglass, "forward", limited)
    return sizes


def message(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        fit.main(args)
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_the_message_names_the_largest_batch_that_fits_and_its_accumulation_works(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = limit(monkeypatch, lambda _, size: size <= 5)
    said = message(arguments(demo_stores, tmp_path, "--trainer.num_sanity_val_steps=0"), capsys)
    assert said == (
        "error: CUDA ran out of memory in training on a batch of 12 on one device; the largest batch that did fit is "
        "4: --trainer.accumulate_grad_batches=3 keeps data.batch_size=12"
    )
    assert sizes == [12, 6, 4]
    fit.fit(arguments(demo_stores, tmp_path, "--trainer.accumulate_grad_batches=3", "--trainer.devices=1"))
    assert max(sizes[3:]) == 4  # in validation too, and where the run is scored


def test_a_batch_that_does_not_even_fit_in_front_of_the_network_is_explained_too(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def limited(self: PoseData, batch: dict[str, Any], _: int) -> dict[str, Any]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(PoseData, "on_after_batch_transfer", limited)
    said = message(arguments(demo_stores, tmp_path, "--trainer.num_sanity_val_steps=0"), capsys)
    assert said == (
        "error: CUDA ran out of memory in training on a batch of 12 on one device; none did fit before: "
        "--trainer.accumulate_grad_batches=2 keeps data.batch_size=12"
    )


def test_validation_that_does_not_fit_is_told_apart(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limit(monkeypatch, lambda network, size: network.training or size <= 4)
    said = message(arguments(demo_stores, tmp_path), capsys)
    assert "in validation on a batch of 5 on one device; the largest batch that did fit is 4" in said


def test_where_nothing_fits_the_message_names_what_else_saves_memory(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = limit(monkeypatch, lambda *_: False)
    said = message(arguments(demo_stores, tmp_path, "--trainer.num_sanity_val_steps=0"), capsys)
    assert "no smaller one fits" in said
    assert "--model.checkpoint_activations=true" in said
    assert sizes == [12, 6, 4, 3, 2, 1]


def test_the_search_changes_nothing_and_another_error_is_not_its_business(
    demo_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, lambda _, size: size <= 6)
    built = cli.build(arguments(demo_stores, tmp_path, "--trainer.num_sanity_val_steps=0", "--model.optimizer=adam"))
    before = {name: value.clone() for name, value in built.model.state_dict().items()}
    with pytest.raises(torch.OutOfMemoryError):
        built.trainer.fit(built.model, datamodule=built.datamodule)
    advice: MemoryAdvice = next(each for each in built.trainer.callbacks if isinstance(each, MemoryAdvice))  # type: ignore[attr-defined]
    assert advice.advice is not None
    assert "the largest batch that did fit is 6" in advice.advice
    for name, value in built.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(parameter.grad is None for parameter in built.model.parameters())
    assert not built.trainer.optimizers[0].state
    advice.advice = None
    advice.on_exception(built.trainer, built.model, ValueError("another"))
    assert advice.advice is None


def test_on_several_devices_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    advice = MemoryAdvice()
    trainer: Any = SimpleNamespace(
        world_size=2, datamodule=SimpleNamespace(batch_size=24), state=SimpleNamespace(fn="fit")
    )
    module: Any = SimpleNamespace(training=True)
    advice.on_exception(trainer, module, torch.OutOfMemoryError("CUDA out of memory."))
    assert advice.advice is None  # it was no batch yet
    advice.on_train_start(trainer, module)
    advice.on_train_batch_start(trainer, module, {"weight": torch.ones(12)}, 0)
    advice.on_exception(trainer, module, torch.OutOfMemoryError("CUDA out of memory."))
    assert advice.advice == (
        "CUDA ran out of memory in training on a batch of 12 on one device; none did fit before: "
        "--trainer.accumulate_grad_batches=2 keeps data.batch_size=24"
    )
