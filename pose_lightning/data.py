"""The data module of all tasks: the splits of a directory of stores, and their loaders, built one way."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from pose_lightning import settings
from pose_lightning.budget import Budget, StreamPlan, StreamSource
from pose_lightning.errors import UserError
from pose_lightning.loader import BatchPlan, RingLoader, Source
from pose_lightning.ranges import check_ranges
from pose_lightning.reading.records import misfit
from pose_lightning.store import Selection, Store

FLAG: Final = "--accept-changed-stores"
"""Option of `fit --resume` and `evaluate` that lets a run go on with other stores."""

FREE: Final = frozenset({"root", "num_threads", "ring_depth", "verify"})
"""Settings that change no sample: they say where the stores are and how they are read."""


LARGEST_SIDE: Final = 4096
"""Px of the side of a stored picture, and frames of a stored clip, beyond which a checkpoint is not believed."""


@dataclass(frozen=True)
class Fingerprint:
    """Which samples a store holds, in which order; it may lie anywhere.

    Attributes:
        path: Of the store, as the run's configuration had it.
        samples: How many there are.
        checksum: Of the store's header and of all its rows and their pixels.
    """

    path: str
    samples: int
    checksum: str

    @classmethod
    def of(cls, store: Store) -> "Fingerprint":
        """That of an open store."""
        return cls(str(store.path), len(store), store.fingerprint)

    def __str__(self) -> str:
        return f"{self.path} ({self.samples} samples, fingerprint {self.checksum[:12]})"


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
        self.save_hyperparameters(settings.of_constructor(StoreDataModule)[0], logger=False)
        check_ranges({"data.batch_size": batch_size, "data.num_threads": num_threads, "data.ring_depth": ring_depth})
        if limit_samples is not None and limit_samples < 1:
            raise UserError(
                f"data.limit_samples={limit_samples} is out of range; it is 1 or more, or null for the whole split"
            )
        self.root, self.batch_size = Path(root), batch_size
        self.num_threads, self.ring_depth = num_threads, ring_depth
        self.verify, self.seed, self.limit_samples = verify, seed, limit_samples
        self.predict_split = "test"
        self.budget = Budget()
        self.accept_changed_stores = False
        self.changed_stores: dict[str, tuple[Fingerprint, Fingerprint]] = {}
        self._stores: dict[str, Fingerprint] = {}
        self._facts: Mapping[str, Any] | None = None
        self._is_trained = False  # whether the facts are those of a checkpoint
        self._sources: dict[tuple[str, bool], Source] = {}

    facts_shape: ClassVar[Mapping[str, Any]] = {"synthetic": bool}
    """Shape of the facts that `describe` gives, as `misfit` takes it: a checkpoint may come from somebody else."""

    @abstractmethod
    def source(self, split: str, augment: bool) -> Source:
        """How the samples of a split get into a batch; `augment` in training only."""

    def describe(self, store: Store) -> dict[str, Any]:
        """Facts about the training store that the doors of a trained network need, as plain data.

        Checkpoints hold them, so that a run needs no store to predict or to be exported.
        """
        return {"synthetic": bool(store.attrs.get("synthetic", False))}

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that `describe` gives of the store that the checkpoint was trained on, or else of the one at hand.

        Raises:
            StoreError: If no checkpoint was loaded, and the training store is missing or damaged.
        """
        if self._facts is None:
            with self.store("train") as store:
                self._facts = self.describe(store)
        return self._facts

    @property
    def synthetic(self) -> bool:
        """Whether the training samples are drawn, not photographed or filmed."""
        if self._facts is None and not self.store_path("train").is_file():
            splits = [split for split in ("val", "test") if self.store_path(split).is_file()]
            with self.store(next(iter(splits), "train")) as store:
                return bool(store.attrs["synthetic"])
        return bool(self.facts["synthetic"])

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
            UserError: If it is not the one that the run was trained or validated on, or that this process began with.
        """
        store = Store(self.store_path(split), verify=self.verify)
        try:
            self._recognize(split, store)
        except UserError:
            store.close()
            raise
        return store

    def _recognize(self, split: str, store: Store) -> None:
        """Compare a store with the one that the run, or this process, has had as this split."""
        current = Fingerprint.of(store)
        known = self._known(split)
        if known is None or known.checksum == current.checksum:
            self._stores.setdefault(split, current)
        elif self.accept_changed_stores:
            self.changed_stores.setdefault(split, (known, current))
        else:
            raise UserError(_changed(split, known, current))
        if split == "train" and self._facts is None:
            self._facts = self.describe(store)

    def checksum(self, split: str) -> str | None:
        """That of the store that the run has had as this split; None where it is not known."""
        known = self._known(split)
        return None if known is None else known.checksum

    def _known(self, split: str) -> Fingerprint | None:
        """The store that the run, or this process, has had as this split, whatever its name was."""
        same = [other for other in self._stores if self.store_path(other) == self.store_path(split)]
        return self._stores.get(split) or next((self._stores[other] for other in same), None)

    def check(self) -> None:
        """Open the stores of training and validation once, so that a run is not begun in vain.

        Raises:
            UserError: If one is missing (the message says how to make it) or damaged, or they share an image.
        """
        if not self.store_path("train").exists() and (reason := self._root_at_fault()):
            raise UserError(f"data.root={self.root} {reason}")
        images: list[set[str]] = []
        for split in ("train", "val"):
            with self.store(split) as store:
                images.append(set(store.labels.get("image", store.labels["name"]).tolist()))
        if both := images[0] & images[1]:
            raise UserError(
                f"{self.root}: {len(both)} images are in train.h5 and in val.h5, such as {min(both)!r}: they are not "
                "of one conversion; convert again"
            )

    def _root_at_fault(self) -> str | None:
        """Why there is no training store, where the path itself shows it."""
        if self.root.is_file():
            return f"is a file; give the folder of train.h5 and val.h5, such as {self.root.parent}"
        below = sorted(str(path.parent) for path in self.root.glob("*/train.h5"))
        return f"has no train.h5, but {' and '.join(below)} have one; give that" if below else None

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
            "stores": {split: asdict(store) for split, store in self._current_stores().items()},
            "facts": dict(self.facts),
        }

    def _current_stores(self) -> dict[str, Fingerprint]:
        """Those that this process trains and validates on."""
        current = self._stores | {split: now for split, (_, now) in self.changed_stores.items()}
        return {split: store for split, store in current.items() if split in ("train", "val")}

    def check_stores(self, state_dict: Mapping[str, Any]) -> None:
        """Compare the stores that are open with those of a checkpoint, and those that will be opened from here on.

        Raises:
            UserError: If one is another store and changes are not accepted, or the checkpoint does not know its stores.
        """
        if not {"stores", "facts"} <= state_dict.keys():
            raise UserError(
                "the checkpoint does not say which stores it was trained on: it was written by an earlier version of "
                "this package; train the run again"
            )
        shape = {"stores": {...: {"path": str, "samples": int, "checksum": str}}, "facts": self.facts_shape}
        if reason := misfit(dict(state_dict), shape):
            raise UserError(f"the checkpoint is damaged: of its data, {reason}; train the run again")
        opened = self._current_stores()
        self._stores = {
            split: Fingerprint(store["path"], store["samples"], store["checksum"])
            for split, store in state_dict["stores"].items()
        }
        for split in opened.keys() & self._stores.keys():
            before, current = self._stores[split], opened[split]
            if before.checksum == current.checksum:
                continue
            if not self.accept_changed_stores:
                raise UserError(_changed(split, before, current))
            self.changed_stores[split] = before, current

    def check_settings(self, checkpoint: Mapping[str, Any], name: str, free: frozenset[str] = FREE) -> None:
        """Refuse a checkpoint that was trained on samples of other settings than these.

        Raises:
            UserError: If they differ, or the checkpoint has none.
        """
        trained = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY)
        if not isinstance(trained, Mapping):
            raise UserError(f"{name} does not hold the settings of its data; train the run again")
        if unlike := [key for key in settings.differences(trained, self.hparams) if key not in free]:
            differences = ", ".join(f"data.{key}={trained.get(key)} (here {self.hparams.get(key)})" for key in unlike)
            raise UserError(f"{name} was trained with {differences}; put the run's config.yaml back as it was")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the stores and facts of a checkpoint; refuse to go on with training on other samples or batches.

        Raises:
            UserError: If the checkpoint was made with other batches or stores.
        """
        self.check_stores(state_dict)
        if self.trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            self._facts, self._is_trained = state_dict["facts"], True
            return
        for key, value in self.state_dict().items():
            if key in ("stores", "facts"):
                continue
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


def _changed(split: str, before: Fingerprint, now: Fingerprint) -> str:
    return (
        f"{now} is not the {split} store of the run, which was {before}: samples, labels, order or crops differ; give "
        f"that one with --data.root DIR, or accept the change with {FLAG}"
    )
