"""Batches of pictures and their classes or tags, from activity stores."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from pose_lightning.activity.augmentation import Augmentation
from pose_lightning.activity.framing import FitName, Framing, Picture
from pose_lightning.activity.mixing import Mixing
from pose_lightning.activity.policy import RandAugment
from pose_lightning.activity.source import (
    ActivitySource,
    RandomChanges,
    Sampling,
    label_numbers,
    targets,
    with_pixels,
)
from pose_lightning.activity.truth import Target, classes_of
from pose_lightning.data import LARGEST_SIDE, StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.loader import BatchPlan
from pose_lightning.reading.records import between, optional
from pose_lightning.store import Selection, Store


class ActivityData(StoreDataModule):
    """Batches of pictures from `ROOT/train.h5`, `val.h5` and `test.h5`.

    Each batch holds `image` (b, 3, h, w) float32 RGB in [0, 1]; `target` (b, k) float32, 1 at the picture's class or
    tags and 0 elsewhere, or a mixture; `label` (b,) int64, the class's number (of a mixture the larger part's), -1 for
    tags; and what every loader adds (`index`, `weight`, `total_samples`). The number of a class is its place in
    `classes`, for all splits. Pictures whose class is unknown are left out, and tags are known where the activity is.
    Only training pictures are augmented, and by default not even they.

    Args:
        root: Directory of the stores.
        batch_size: Pictures per optimizer step, over all devices and accumulation.
        target: What is learned: one of the `category` or `activity` names, or any number of `tags`.
        input_size: Side of the network's input, px.
        evaluation_size: Side outside training; None is `input_size`. Random crops show things larger than the whole
            picture does, so that a larger one is often better there. Source: Touvron et al., Fixing the train-test
            resolution discrepancy, NeurIPS 2019.
        fit: What it shows of a picture: the `crop` of a square over the shorter side, the picture `squash`ed to a
            square, or a square over the longer side, `pad`ded with black.
        crop_share: Share of that part's sides that is shown, about its middle: what timm calls `crop_pct`.
        fold: Validate on this fold of `train.h5`, and train on the others; None validates on `val.h5`.
        shuffle: Draw a new order every epoch; otherwise pictures come in the store's order.
        append_augmented: An epoch holds every picture as it is and an augmented copy.
        sampling: Draw an epoch's pictures `uniform`ly (each once), or `balanced`: with replacement, each class equally
            often.
        rotation: Largest turn, degrees.
        zoom: Each side of what the input shows is multiplied by its own factor, 1 - zoom to 1 + zoom.
        shear: Largest slant of the vertical, degrees.
        shift: Largest way of the picture along x and along y, as a share of its side.
        flip: Share of the training pictures that are mirrored.
        random_crop: Smallest share of a picture's area that the input shows, at a random place; 0 is what `fit`
            says.
        contrast: Distances from mid grey are multiplied by 1 - contrast to 1 + contrast.
        brightness: Added to all channels, of a range of 1: -brightness to brightness.
        color: Each channel is multiplied by its own factor, 1 - color to 1 + color.
        rand_augment_ops: Changes that RandAugment draws per picture; 0 is none.
        rand_augment_magnitude: Their strength, 0 to 10.
        mixup: Alpha of MixUp; 0 is off.
        cutmix: Alpha of CutMix; 0 is off.
        mix_probability: Share of the training pictures that are mixed, where either is on.
        num_threads: Threads that fill batches.
        ring_depth: Batches in memory, including the one in use.
        verify: Compare every picture with its checksum when it is read.
        seed: Of the order and the augmentation; the experiment's `seed_everything`.
        limit_samples: Train on the split's first pictures only; other splits stay whole.
    """

    def __init__(
        self,
        root: Path,
        batch_size: int,
        *,
        target: Target = "category",
        input_size: int = 224,
        evaluation_size: int | None = None,
        fit: FitName = "crop",
        crop_share: float = 1.0,
        fold: int | None = None,
        shuffle: bool = True,
        append_augmented: bool = False,
        sampling: Sampling = "uniform",
        rotation: float = 0.0,
        zoom: float = 0.0,
        shear: float = 0.0,
        shift: float = 0.0,
        flip: float = 0.0,
        random_crop: float = 0.0,
        contrast: float = 0.0,
        brightness: float = 0.0,
        color: float = 0.0,
        rand_augment_ops: int = 0,
        rand_augment_magnitude: float = 9.0,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        mix_probability: float = 1.0,
        num_threads: int = 2,
        ring_depth: int = 3,
        verify: bool = True,
        seed: int = 0,
        limit_samples: int | None = None,
    ) -> None:
        super().__init__(
            root,
            batch_size,
            num_threads=num_threads,
            ring_depth=ring_depth,
            verify=verify,
            seed=seed,
            limit_samples=limit_samples,
        )
        self.target, self.fold, self.shuffle = target, fold, shuffle
        self.training_framing = Framing(input_size, fit, crop_share)
        self.framing = Framing(evaluation_size or input_size, fit, crop_share)
        self.changes = RandomChanges(
            augmentation=Augmentation(
                rotation=rotation,
                zoom=zoom,
                shear=shear,
                shift=shift,
                flip=flip,
                random_crop=random_crop,
                contrast=contrast,
                brightness=brightness,
                color=color,
            ),
            policy=RandAugment(rand_augment_ops, rand_augment_magnitude),
            mixing=Mixing(mixup, cutmix, mix_probability),
            append=append_augmented,
            sampling=sampling,
        )

    @property
    def input_size(self) -> int:
        """Side of the network's input in training, px."""
        return self.training_framing.input_size

    @property
    def evaluation_size(self) -> int:
        """Side of the network's input outside training, px."""
        return self.framing.input_size

    def source(self, split: str, augment: bool) -> ActivitySource:
        """The pictures of a split, augmented or not; `augment` also limits their number."""
        pictures = self._training_samples() if augment else self.samples(split)
        framing, changes = (self.training_framing, self.changes) if augment else (self.framing, None)
        return ActivitySource(with_pixels(pictures), self.target, framing, changes, self.seed)

    def prepare(self, picture: Picture) -> UInt8[np.ndarray, "s s 3"]:
        """What the network sees of a picture outside training; times 1/255, it is a batch's `image`."""
        return self.framing.show(picture)

    def samples(self, split: str) -> Selection:
        """The pictures of a split whose label is known, in the order in which they are served.

        Raises:
            UserError: If the store is missing, damaged or of another kind, lacks the target, or no picture is left.
        """
        store = self.store(split)
        if self._is_trained and self._facts is not None:
            _check_classes({"classes": list(classes_of(store, self.target))}, self._facts, store.path)
        return Selection(store, self._rows(store, split))

    def store_path(self, split: str) -> Path:
        """Where a split's store is, or should be: a fold that validates is in the training store."""
        return super().store_path("train" if split == "val" and self.fold is not None else split)

    def same_samples(self, split: str, other: str) -> bool:
        """Whether two splits are the same samples."""
        return split == other if self.fold is not None else super().same_samples(split, other)

    def check(self) -> None:
        """Open training and validation once, so that a run is not begun in vain.

        Raises:
            UserError: If a store is missing (the message says how to make it), damaged, of another kind or without
                pixels, the two share a picture or do not have the same classes, or the fold does not exist.
        """
        if self.fold is None and not self.store_path("val").is_file() and self.store_path("train").is_file():
            with self.store("train") as store:
                if folds := int(store.attrs.get("folds", 0)):
                    raise UserError(
                        f"{self.store_path('train')} has folds and there is no val.h5; say which one validates: "
                        f"data.fold=0 to {folds - 1}"
                    )
        images: list[set[str]] = []
        classes: list[tuple[str, ...]] = []
        for split in ("train", "val"):
            with self.samples(split) as pictures:
                with_pixels(pictures)
                images.append(set(pictures.labels["image"].tolist()))
                classes.append(classes_of(pictures, self.target))
        both = images[0] & images[1]
        if both or classes[0] != classes[1]:
            what = f"both have {min(both)!r}" if both else f"their lists for target={self.target} differ"
            raise UserError(f"{self.root}: train.h5 and val.h5 are not of one conversion: {what}; convert again")

    @property
    def classes(self) -> list[str]:
        """Names of the classes or tags, by their numbers."""
        if self._facts is not None:
            return list(self._facts["classes"])
        with self.store(self._any_split()) as store:
            return list(classes_of(store, self.target))

    def class_counts(self) -> Float64[np.ndarray, " k"]:
        """How many of the training pictures each class or tag has."""
        with self._training_samples() as pictures:
            return targets(pictures, self.target).sum(axis=0, dtype=np.float64)

    def training_length(self) -> int:
        """How many pictures training learns from."""
        with self._training_samples() as pictures:
            return len(pictures)

    facts_shape: ClassVar[Mapping[str, Any]] = {
        **StoreDataModule.facts_shape,
        "classes": [str],
        "shorter_side": optional(between(1, LARGEST_SIDE)),
    }

    def describe(self, store: Store) -> dict[str, Any]:
        """Names of the classes, the shorter side of the pictures as stored, and whether they are drawn."""
        shorter = store.attrs.get("shorter_side")
        return {
            **super().describe(store),
            "classes": list(classes_of(store, self.target)),
            "shorter_side": None if shorter is None else int(shorter),
        }

    def check_stores(self, state_dict: Mapping[str, Any]) -> None:
        """As for every task; other classes are never accepted."""
        super().check_stores(state_dict)
        if self._facts is not None:
            _check_classes(self._facts, state_dict["facts"], self.store_path("train"))

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Make the images float32 in [0, 1], on the device that the batch has come to; they stay channels last."""
        return {**batch, "image": batch["image"].permute(0, 3, 1, 2).float().mul_(1 / 255)}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must agree in with the run that goes on from it."""
        return {**super().state_dict(), "fold": self.fold}

    def _plan(self) -> BatchPlan:
        return BatchPlan(len(self._source("train", augment=True)), self.batch_size, self.seed, shuffle=self.shuffle)

    def _training_samples(self) -> Selection:
        store = self.store("train")
        return Selection(store, self._rows(store, "train")[: self.limit_samples])

    def _rows(self, store: Store, split: str) -> Int64[np.ndarray, " n"]:
        """Which of the store's samples are served."""
        known = label_numbers(store, self.target) >= 0
        rows: np.ndarray = np.flatnonzero(known & self._in_fold(store, split))
        if not len(rows):
            raise UserError(f"{store.path}: no picture of {split} has a label for data.target={self.target}")
        return rows

    def _in_fold(self, store: Store, split: str) -> np.ndarray:
        """Which of the store's samples belong to the split."""
        if self.fold is None or split not in ("train", "val"):
            return np.ones(len(store), np.bool_)
        folds = int(store.attrs.get("folds", 0))
        if not folds:
            raise UserError(f"data.fold={self.fold}: {store.path} has no folds; convert again with --folds K")
        if not 0 <= self.fold < folds:
            raise UserError(f"data.fold={self.fold}: {store.path} has folds 0 to {folds - 1}")
        here: np.ndarray = store.labels["fold"] == self.fold
        return here if split == "val" else ~here

    def _any_split(self) -> Literal["train", "val", "test"]:
        splits: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")
        return next((split for split in splits if self.store_path(split).is_file()), "train")


def _check_classes(current: Mapping[str, Any], trained: Mapping[str, Any], path: Path) -> None:
    if current["classes"] != trained["classes"]:
        raise UserError(
            f"{path} has other classes than the run was trained on, or another order: {', '.join(current['classes'])}; "
            f"not {', '.join(trained['classes'])}"
        )
