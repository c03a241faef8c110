"""The data module of all tasks: the splits of a directory of stores, and their loaders, built one way."""

from abc import ABC, abstractmethod
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from pose_lightning.budget import Budget, StreamPlan, StreamSource
from pose_lightning.errors import UserError
from pose_lightning.loader import BatchPlan, RingLoader, Source
from pose_lightning.store import Selection, Store


class StoreDataModule(pl.LightningDataModule, ABC):
    """Loaders over `train.h5`, `val.h5` and `test.h5` of one directory.

    Training draws a new order every epoch and starts where the trainer stands, so that a run resumed in the middle of
    an epoch sees exactly the samples that it has not seen. Validation, test and prediction bring every sample once, by
    index: a rank that has no sample in a batch gets one of weight 0. A task says in `source` what a sample is.

    Args:
        root: Directory of the stores.
        batch_size: Samples per optimizer step, over all devices, nodes and accumulated batches.
        num_threads: Threads per process that load; 0 loads in the training loop's own thread.
        ring_depth: Batches in memory, including the one in use.
        verify: Compare every sample's pixels with their checksum.
        seed: Of the order of the samples, and of whatever a source draws.
        limit_samples: Train on the split's first samples only; other splits stay whole.
    """

    def __init__(
        self,
        root: Path,
        batch_size: int,
        *,
        num_threads: int = 2,
        ring_depth: int = 3,
        verify: bool = True,
        seed: int = 0,
        limit_samples: int | None = None,
    ) -> None:
        super().__init__()
        for key, value, least in (
            ("batch_size", batch_size, 1),
            ("num_threads", num_threads, 0),
            ("ring_depth", ring_depth, 1),
            ("limit_samples", limit_samples, 1),
        ):
            if value is not None and value < least:
                whole = ", or null for the whole split" if key == "limit_samples" else ""
                raise UserError(f"data.{key}={value} is out of range; it is {least} or more{whole}")
        self.root, self.batch_size = Path(root), batch_size
        self.num_threads, self.ring_depth = num_threads, ring_depth
        self.verify, self.seed, self.limit_samples = verify, seed, limit_samples
        self.predict_split = "test"
        self.budget = Budget()
        self._sources: dict[tuple[str, bool], Source] = {}

    @abstractmethod
    def source(self, split: str, augment: bool) -> Source:
        """How the samples of a split get into a batch; `augment` in training only."""

    def store_path(self, split: str) -> Path:
        """Where a split's store is, or should be."""
        return self.root / f"{split}.h5"

    def same_samples(self, split: str, other: str) -> bool:
        """Whether two splits are the same samples."""
        return self.store_path(split) == self.store_path(other)

    def samples(self, split: str) -> Store | Selection:
        """What `source` serves of a split, in its order: the whole store, unless a task leaves samples out.

        Raises:
            StoreError: As `store`.
        """
        return self.store(split)

    def store(self, split: str) -> Store:
        """The split's store.

        Raises:
            StoreError: If it is missing (the message says how to make it) or damaged.
        """
        return Store(self.store_path(split), verify=self.verify)

    def check(self) -> None:
        """Open the stores of training and validation once, so that a run is not begun in vain.

        Raises:
            UserError: If one is missing (the message says how to make it) or damaged, or they share an image.
        """
        images: list[set[str]] = []
        for split in ("train", "val"):
            with self.store(split) as store:
                images.append(set(store.labels.get("image", store.labels["name"]).tolist()))
        if both := images[0] & images[1]:
            raise UserError(
                f"{self.root}: {len(both)} images are in train.h5 and in val.h5, such as {min(both)!r}: they are not "
                "of one conversion; convert again"
            )

    def setup(self, stage: str) -> None:
        """Refuse what would fail later, before anything is built.

        Raises:
            UserError: If the batch does not divide over devices and accumulated batches, or the trainer has a setting
                that these loaders cannot keep.
        """
        if self.trainer is None:
            return
        if self.trainer.strategy.root_device.type == "mps":
            raise UserError("Apple's MPS has no float64, which the labels need; set trainer.accelerator=cpu")
        if stage != "fit":
            return
        self._check_batch_size()
        if development := int(self.trainer.fast_dev_run):  # type: ignore[attr-defined]
            self.trainer.limit_train_batches = development * self._accumulate  # Lightning counts parts of batches
        self._check_limit()
        if self.trainer.overfit_batches:  # type: ignore[attr-defined]
            raise UserError("trainer.overfit_batches does not hold these samples fixed; use data.limit_samples")
        if self.trainer.precision in ("16-true", "bf16-true"):
            half = str(self.trainer.precision).removesuffix("-true")
            raise UserError(f"trainer.precision={half}-true rounds the labels too; take {half}-mixed")

    def train_dataloader(self) -> RingLoader:
        """The training split, shuffled, from the trainer's position on."""
        self._check_batch_size()
        source = self._source("train", augment=True)
        if self.budget.max_samples is not None:
            source = StreamSource(source, self._plan())
        position = partial(self._position, self._accumulate)
        plan = self._epoch()
        return RingLoader(source, plan, position=position, accumulate=self._accumulate, **self._settings)

    def val_dataloader(self) -> RingLoader:
        """The validation split, every sample once."""
        return self.evaluation_loader("val")

    def test_dataloader(self) -> RingLoader:
        """The test split, every sample once."""
        return self.evaluation_loader("test")

    def predict_dataloader(self) -> RingLoader:
        """The split named by `predict_split`, every sample once."""
        return self.evaluation_loader(self.predict_split)

    def evaluation_loader(self, split: str) -> RingLoader:
        """Any split as `validate`, `test` and `predict` need it: by index, not augmented, every sample once.

        A device gets as many samples at a time as in training.
        """
        source = self._source(split, augment=False)
        size = max(1, self.batch_size // self._accumulate)
        return RingLoader(source, BatchPlan(len(source), size, self.seed, shuffle=False), **self._settings)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of what the trainer calls an epoch, within `limit_train_batches`."""
        return -(-self._training_batches() // self._accumulate)

    @property
    def samples_per_pass(self) -> int:
        """Training samples of one pass over the data: an epoch, under a budget too."""
        return self._plan().length

    def samples_seen(self, step: int) -> int:
        """Samples that training has seen after `step` optimizer steps: the last batch of an epoch may be smaller."""
        plan, batches = self._epoch(), self.steps_per_epoch
        epochs, rest = divmod(step, batches)
        return epochs * min(batches * plan.batch_size, plan.length) + rest * plan.batch_size

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must agree in with the run that goes on from it."""
        return {
            "batch_size": self.batch_size,
            "accumulate_grad_batches": self._accumulate,
            "seed": self.seed,
            "training samples": self._plan().length,
            "budget.max_samples": self.budget.max_samples,
            "budget.validations": self.budget.validations,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Refuse to go on with training that would not see the samples that are left.

        Raises:
            UserError: If the checkpoint was made with other batches.
        """
        if self.trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        for key, value in self.state_dict().items():
            if value != state_dict.get(key, value):
                raise UserError(
                    f"the checkpoint was made with {key} {state_dict[key]}, this run has {value}: it would not go on "
                    f"with the samples that are left; resume with {key} {state_dict[key]}"
                )

    def teardown(self, stage: str) -> None:
        """Let go of the stores."""
        self._sources.clear()

    @property
    def _accumulate(self) -> int:
        return 1 if self.trainer is None else self.trainer.accumulate_grad_batches

    @property
    def _parts(self) -> int:
        """Into how many parts a global batch is cut, over devices and accumulated batches."""
        devices = 1 if self.trainer is None else self.trainer.num_devices * self.trainer.num_nodes
        return devices * self._accumulate

    @property
    def _settings(self) -> dict[str, Any]:
        """What all loaders share."""
        trainer = self.trainer
        return {
            "rank": 0 if trainer is None else trainer.global_rank,
            "world_size": 1 if trainer is None else trainer.world_size,
            "num_threads": self.num_threads,
            "depth": self.ring_depth,
        }

    def _source(self, split: str, *, augment: bool) -> Source:
        if (split, augment) not in self._sources:
            self._sources[split, augment] = self.source(split, augment)
        return self._sources[split, augment]

    def _plan(self) -> BatchPlan:
        """The plan of one pass over the training split."""
        length = len(self._source("train", augment=True))
        return BatchPlan(min(length, self.limit_samples or length), self.batch_size, self.seed, shuffle=True)

    def _epoch(self) -> BatchPlan:
        """The plan of what the trainer calls an epoch: a pass, or a part of the budget."""
        if self.budget.max_samples is None:
            return self._plan()
        steps = self.budget.steps(self.batch_size)
        return StreamPlan(steps * self.batch_size, self.batch_size, self.seed, shuffle=False)

    def smallest_share(self) -> int:
        """Samples of the smallest part of a batch that one device gets in an epoch of training."""
        plan, steps = self._epoch(), self.steps_per_epoch
        last = min(plan.length - (steps - 1) * plan.batch_size, plan.batch_size)
        return max(1, last // self._parts)

    def batch_sizes_of_pairs(self) -> list[int]:
        """The next smaller and the next larger batch size whose parts have two samples or more throughout a pass."""
        length, parts = self.samples_per_pass, self._parts

        def fits(size: int) -> bool:
            return size // parts > 1 and (length % size or size) // parts > 1

        below = range(self.batch_size - parts, 0, -parts)
        above = range(self.batch_size + parts, length + 1, parts)
        return [size for sizes in (below, above) for size in [next(filter(fits, sizes), None)] if size is not None]

    def _training_batches(self) -> int:
        """Batches of one device that the trainer takes of an epoch, as Lightning counts and limits them."""
        batches = self._epoch().batches * self._accumulate
        limit = 1.0 if self.trainer is None else self.trainer.limit_train_batches
        return min(batches, limit) if isinstance(limit, int) else int(batches * limit)

    def _check_limit(self) -> None:
        """Refuse a limit that ends an epoch inside a global batch, whose part would count as a whole one."""
        batches, whole, parts = self._training_batches(), self._epoch().batches * self._accumulate, self._accumulate
        if batches and batches % parts == 0:
            return
        limit = None if self.trainer is None else self.trainer.limit_train_batches
        below = batches // parts * parts
        sizes = " or ".join(str(number) for number in (below, below + parts) if 0 < number < whole)
        advice = f"take trainer.limit_train_batches={sizes}" if sizes else "leave it out"
        if not batches:
            raise UserError(f"trainer.limit_train_batches={limit} of {whole} batches is none to train on; {advice}")
        raise UserError(
            f"trainer.limit_train_batches={limit} ends an epoch after {batches} parts of batches, and a batch of "
            f"data.batch_size={self.batch_size} has trainer.accumulate_grad_batches={parts} of them; {advice}"
        )

    def check_validation_interval(self) -> None:
        """Refuse an interval between validations that no epoch is long enough for."""
        trainer: Any = self.trainer
        interval, batches = trainer.val_check_interval, self._training_batches()
        within_epochs = trainer.check_val_every_n_epoch is not None and trainer.limit_val_batches > 0
        if isinstance(interval, int) and interval > batches and within_epochs:
            raise UserError(
                f"trainer.val_check_interval={interval} is more than the {batches} batches of an epoch; take {batches} "
                "or fewer, or count on over epochs with trainer.check_val_every_n_epoch=null"
            )

    def _check_batch_size(self) -> None:
        parts, devices = self._parts, self._parts // self._accumulate
        if self.batch_size % parts:
            below = self.batch_size // parts * parts
            sizes = f"{below} or {below + parts}" if below else f"{parts}"
            raise UserError(
                f"data.batch_size {self.batch_size} is that of all devices together and does not divide over {devices} "
                f"devices x {self._accumulate} accumulated batches; take {sizes}"
            )

    def _position(self, accumulate: int) -> tuple[int, int]:
        """Epoch, and batches of it that are done, as the trainer counts them once a checkpoint is loaded."""
        if self.trainer is None:
            return 0, 0
        if self._accumulate != accumulate:
            raise UserError(
                f"trainer.accumulate_grad_batches went from {accumulate} to {self._accumulate}; a batch is cut into "
                "the same number of parts throughout, so leave GradientAccumulationScheduler out"
            )
        return self.trainer.current_epoch, self.trainer.fit_loop.epoch_loop.batch_progress.current.completed
