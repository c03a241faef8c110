import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from torch import Tensor, nn
from torch.nn import functional as F

from pose_lightning.data import StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.loader import BatchPlan
from pose_lightning.store import Store, StoreError, StoreWriter

TRAIN, VAL = 23, 13  # of batches of 6, the last ones hold 5 and 1


class Points:
    """A source of the label `x`, with noise that depends on (epoch, index) where it augments."""

    def __init__(self, store: Store, augment: bool) -> None:
        self.store, self.augment = store, augment

    def __len__(self) -> int:
        return len(self.store)

    def allocate(self, size: int) -> dict[str, np.ndarray]:
        return {"x": np.empty((size, 3), np.float32)}

    def fill(self, buffers: dict[str, np.ndarray], position: int, index: int, epoch: int) -> None:
        noise = np.random.default_rng([epoch, index]).normal(size=3) if self.augment else 0.0
        buffers["x"][position] = self.store.labels["x"][index] + noise

    def name(self, index: int) -> str:
        return self.store.name(index)

    def totals(self, indices: np.ndarray) -> dict[str, float]:
        return {"index": float(indices.sum())}


class PointData(StoreDataModule):
    def source(self, split: str, augment: bool) -> Points:
        return Points(self.store(split), augment)


class Fit(pl.LightningModule):
    """Learn the sum of three numbers; remember which samples came, and in which epoch."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(3, 1)
        self.seen: list[tuple[int, list[int]]] = []
        self.evaluated: list[tuple[int, float]] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.seen.append((batch["epoch"], batch["index"][batch["weight"] > 0].tolist()))
        error = self.layer(batch["x"]).squeeze(1) - batch["x"].sum(1)
        parts = self.trainer.world_size * self.trainer.accumulate_grad_batches
        return (
            parts
            * (batch["weight"] * F.huber_loss(error, torch.zeros_like(error), reduction="none")).sum()
            / (batch["total_samples"])
        )

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.evaluated.extend(zip(batch["index"].tolist(), batch["weight"].tolist(), strict=True))

    test_step = validation_step

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.validation_step(batch, batch_idx)
        return batch["index"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        assert self.trainer.estimated_stepping_batches > 0  # asks for the loader before the checkpoint is loaded
        return torch.optim.Adam(self.parameters(), lr=0.1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("points")
    random = np.random.default_rng(0)
    for split, length in (("train", TRAIN), ("val", VAL), ("test", VAL)):
        with StoreWriter(directory / f"{split}.h5", codec=None, attrs={"split": split}) as writer:
            for index in range(length):
                writer.append(None, {"name": f"{split}{index}", "x": random.normal(size=3).astype(np.float32)})
    return directory


def trainer(**settings: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return pl.Trainer(**{"max_epochs": 2, "enable_checkpointing": False, **quiet, **settings})


def planned(epochs: int, seed: int = 0) -> list[tuple[int, list[int]]]:
    plan = BatchPlan(TRAIN, 6, seed, shuffle=True)
    return [(epoch, plan.batch(epoch, i).tolist()) for epoch in range(epochs) for i in range(plan.batches)]


def test_training_sees_the_plan_and_evaluation_every_sample_once_by_index(root: Path) -> None:
    model, data = Fit(), PointData(root, 6)
    runner = trainer(max_epochs=3)
    runner.fit(model, data)
    assert model.seen == planned(epochs=3)
    model.evaluated.clear()
    for run in (runner.validate, runner.test, partial(runner.predict, return_predictions=False)):
        run(model, data)
        assert model.evaluated == [(index, 1.0) for index in range(VAL)]
        model.evaluated.clear()


def test_validation_in_the_middle_of_an_epoch_starts_at_its_first_sample(root: Path) -> None:
    model = Fit()
    trainer(max_epochs=1, val_check_interval=2).fit(model, PointData(root, 6))
    sanity_check = range(12)  # two batches
    assert [index for index, _ in model.evaluated] == [*sanity_check, *range(VAL), *range(VAL)]
    assert model.seen == planned(epochs=1)


def test_accumulated_batches_join_to_the_planned_ones(root: Path) -> None:
    model = Fit()
    runner = trainer(accumulate_grad_batches=2)
    runner.fit(model, PointData(root, 6))
    pairs = zip(model.seen[::2], model.seen[1::2], strict=True)
    assert [(epoch, first + second) for (epoch, first), (_, second) in pairs] == planned(epochs=2)
    assert runner.global_step == 8


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("validation", [0, 1.0])
def test_a_run_resumed_after_any_step_sees_what_is_left_and_ends_with_the_same_bits(
    root: Path, tmp_path: Path, accumulate: int, validation: float
) -> None:
    saving = partial(ModelCheckpoint, tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    settings = {
        "enable_checkpointing": True,
        "accumulate_grad_batches": accumulate,
        "limit_val_batches": validation,
        "num_sanity_val_steps": 0,
    }
    whole = Fit()
    trainer(callbacks=[saving()], **settings).fit(whole, PointData(root, 6))
    steps = 8
    assert len(whole.seen) == steps * accumulate
    for step in range(1, steps + 1):
        resumed = Fit()
        trainer(callbacks=[saving()], **settings).fit(
            resumed, PointData(root, 6), ckpt_path=tmp_path / f"step={step}.ckpt"
        )
        assert resumed.seen == whole.seen[step * accumulate :]
        assert torch.equal(resumed.layer.weight, whole.layer.weight)
        assert torch.equal(resumed.layer.bias, whole.layer.bias)


def test_a_checkpoint_of_other_batches_is_refused(root: Path, tmp_path: Path) -> None:
    saving = ModelCheckpoint(tmp_path, "half", every_n_train_steps=2)
    trainer(callbacks=[saving], enable_checkpointing=True, max_steps=2, max_epochs=-1).fit(Fit(), PointData(root, 6))
    half = tmp_path / "half.ckpt"
    for data, settings, key in [
        (PointData(root, 4), {}, "batch_size 6, this run has 4"),
        (PointData(root, 6, seed=1), {}, "seed 0, this run has 1"),
        (PointData(root, 6, limit_samples=20), {}, "training samples 23, this run has 20"),
        (PointData(root, 6), {"accumulate_grad_batches": 2}, "accumulate_grad_batches 1, this run has 2"),
    ]:
        with pytest.raises(UserError, match=key):
            trainer(**settings).fit(Fit(), data, ckpt_path=half)
    model = Fit()
    trainer(callbacks=[saving], enable_checkpointing=True).validate(model, PointData(root, 4), ckpt_path=half)
    assert len(model.evaluated) == VAL


def test_a_batch_that_does_not_divide_is_refused_with_sizes_that_do(root: Path) -> None:
    with pytest.raises(UserError, match=r"batch_size 6 .* 1 devices x 4 accumulated batches; take 4 or 8"):
        trainer(accumulate_grad_batches=4).fit(Fit(), PointData(root, 6))
    with pytest.raises(UserError, match=r"batch_size 3 .* take 4$"):
        trainer(accumulate_grad_batches=4).fit(Fit(), PointData(root, 3))


def test_accumulation_that_changes_during_a_run_is_refused(root: Path) -> None:
    with pytest.raises(UserError, match="GradientAccumulationScheduler"):
        trainer(callbacks=[GradientAccumulationScheduler({0: 1, 1: 2})]).fit(Fit(), PointData(root, 6))


class CountSamples(pl.Callback):
    def __init__(self) -> None:
        self.after_step = [0]

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        assert isinstance(module, Fit)
        if trainer.global_step == len(self.after_step):
            self.after_step.append(sum(len(indices) for _, indices in module.seen))


@pytest.mark.parametrize("settings", [{}, {"accumulate_grad_batches": 3}, {"limit_train_batches": 3}])
def test_samples_seen_counts_what_training_saw(root: Path, settings: dict[str, int]) -> None:
    counts, data = CountSamples(), PointData(root, 6)
    runner = trainer(max_epochs=3, callbacks=[counts], **settings)
    runner.fit(Fit(), data)
    assert [data.samples_seen(step) for step in range(runner.global_step + 1)] == counts.after_step


def test_limit_samples_takes_the_first_training_samples_only(root: Path) -> None:
    data = PointData(root, 6, limit_samples=8)
    indices = [batch["index"].tolist() for batch in data.train_dataloader()]
    assert [len(batch) for batch in indices] == [6, 2]
    assert sorted(indices[0] + indices[1]) == list(range(8))
    assert [len(batch["index"]) for batch in data.val_dataloader()] == [6, 6, 1]
    assert data.samples_seen(3) == 8 + 6
    with pytest.raises(UserError, match="limit_samples=0"):
        PointData(root, 6, limit_samples=0)


def test_a_missing_split_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no store at .*val\.h5; make it with `python -m pose_lightning\.convert"):
        PointData(tmp_path, 6).val_dataloader()


def two_processes(work: Callable[[str, str], None], root: Path, out: Path) -> None:
    """Run `work(root, out)` of this file in two processes, as `torchrun` would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    call = f"import runpy; runpy.run_path({__file__!r})[{work.__name__!r}]({str(root)!r}, {str(out)!r})"
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", call],
            env={**os.environ, **common, "LOCAL_RANK": str(rank), "RANK": str(rank), "NODE_RANK": "0"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    for rank in ranks:
        output, _ = rank.communicate(timeout=100)
        assert rank.returncode == 0, output


def fit_in_ddp(root: str, out: str) -> None:
    model, data = Fit(), PointData(Path(root), 6)
    runner = trainer(strategy="ddp", devices=2)
    runner.fit(model, data)
    model.evaluated.clear()
    runner.validate(model, data, verbose=False)
    found = {"seen": model.seen, "evaluated": model.evaluated, "weights": model.state_dict()}
    torch.save(found, Path(out) / f"{runner.global_rank}.pt")
    torch.distributed.destroy_process_group()  # gloo's threads may abort a process that ends with them


@pytest.mark.ddp
def test_two_processes_share_the_planned_batches_and_count_every_sample_once(root: Path, tmp_path: Path) -> None:
    two_processes(fit_in_ddp, root, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    together = [(epoch, left + right) for (epoch, left), (_, right) in zip(first["seen"], second["seen"], strict=True)]
    assert together == planned(epochs=2)
    counted = [index for index, weight in first["evaluated"] + second["evaluated"] if weight > 0]
    assert sorted(counted) == list(range(VAL))
    assert second["evaluated"][-1] == (VAL - 1, 0.0)  # its share of the last batch is empty, and it does not wait

    alone = Fit()
    trainer().fit(alone, PointData(root, 6))
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(first["weights"][key], value)
        assert torch.equal(first["weights"][key], second["weights"][key])
