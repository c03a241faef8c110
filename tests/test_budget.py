"""A budget of samples: one stream for every batch size, and as many validations."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn

from pose_lightning.budget import Budget
from pose_lightning.data import StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.loader import BatchPlan
from pose_lightning.store import Store, StoreWriter

TRAIN = 23


class Points:
    """A source that brings what was asked of it, (epoch, index), which a test reads back; never with a gap."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def allocate(self, size: int) -> dict[str, np.ndarray]:
        return {"asked": np.empty((size, 2), np.int64)}

    def fill(self, buffers: dict[str, np.ndarray], position: int, index: int, epoch: int) -> None:
        buffers["asked"][position] = epoch, index

    def name(self, index: int) -> str:
        return self.store.name(index)

    def totals(self, indices: np.ndarray) -> dict[str, float]:
        return {"index": float(indices.sum())}


class PointData(StoreDataModule):
    def source(self, split: str, augment: bool) -> Points:
        return Points(self.store(split))


class Fit(pl.LightningModule):
    """Remember which samples of which pass came, and how many samples every validation had behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: list[list[tuple[int, int]]] = []
        self.validated: list[int] = []

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        asked = [tuple(pair) for pair in batch["asked"].tolist()]
        assert batch["total_index"] == sum(index for _, index in asked) or self.trainer.accumulate_grad_batches > 1
        self.seen.append(asked)
        return self.layer(batch["weight"][:, None]).sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        if batch_idx == 0:
            self.validated.append(sum(map(len, self.seen)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("points")
    for split, length in (("train", TRAIN), ("val", 3)):
        with StoreWriter(directory / f"{split}.h5", codec=None, attrs={"split": split}) as writer:
            for index in range(length):
                writer.append(None, {"name": f"{split}{index}"})
    return directory


def trainer(**settings: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return pl.Trainer(**{"enable_checkpointing": False, "num_sanity_val_steps": 0, **quiet, **settings})


def budgeted(root: Path, batch_size: int, budget: Budget) -> StoreDataModule:
    data = PointData(root, batch_size, seed=5)
    data.budget = budget
    return data


def stream(length: int) -> list[tuple[int, int]]:
    plan = BatchPlan(TRAIN, 1, 5, shuffle=True)
    return [(number, int(plan.order(number)[place])) for number, place in (divmod(k, TRAIN) for k in range(length))]


def flat(batches: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    return [asked for batch in batches for asked in batch]


@pytest.mark.parametrize(("batch_size", "step"), [(1, 30), (2, 15), (3, 10), (4, 8), (7, 4), (20, 2), (60, 1), (99, 1)])
def test_a_part_is_rounded_to_whole_batches_and_has_at_least_one(batch_size: int, step: int) -> None:
    assert Budget(max_samples=120, validations=4).steps(batch_size) == step  # 30 samples a part


def test_every_batch_size_sees_the_same_stream_and_as_many_validations(root: Path) -> None:
    for batch_size in (1, 4, 7, 40):
        model, data = Fit(), budgeted(root, batch_size, Budget(max_samples=90, validations=3))
        runner = trainer(max_epochs=3)
        runner.fit(model, data)
        part = data.budget.steps(batch_size) * batch_size
        assert {len(batch) for batch in model.seen} == {batch_size}
        assert flat(model.seen) == stream(3 * part)
        assert model.validated == [part, 2 * part, 3 * part]
        assert abs(part - 30) <= batch_size / 2
        assert data.samples_seen(runner.global_step) == 3 * part
        assert data.samples_per_pass == TRAIN


def test_accumulated_batches_join_to_those_of_the_stream(root: Path) -> None:
    model = Fit()
    trainer(max_epochs=3, accumulate_grad_batches=2).fit(model, budgeted(root, 6, Budget(90, 3)))
    assert {len(batch) for batch in model.seen} == {3}
    assert flat(model.seen) == stream(90)


@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists")
def test_a_run_resumed_after_any_step_sees_what_is_left_of_the_stream(root: Path, tmp_path: Path) -> None:
    saving = partial(ModelCheckpoint, tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1)
    run = partial(trainer, max_epochs=2, enable_checkpointing=True)
    run(callbacks=[saving()]).fit(Fit(), budgeted(root, 10, Budget(60, 2)))
    for step in range(1, 7):
        resumed = Fit()
        run(callbacks=[saving()]).fit(
            resumed, budgeted(root, 10, Budget(60, 2)), ckpt_path=tmp_path / f"step={step}.ckpt"
        )
        assert flat(resumed.seen) == stream(60)[10 * step :]
    with pytest.raises(UserError, match=r"resume with budget\.max_samples 60"):
        run().fit(Fit(), budgeted(root, 10, Budget(80, 2)), ckpt_path=tmp_path / "step=2.ckpt")


def test_a_budget_of_nothing_is_refused() -> None:
    for settings in ({"max_samples": 0}, {"validations": 0}):
        with pytest.raises(UserError, match="1 or more"):
            Budget(**settings)
