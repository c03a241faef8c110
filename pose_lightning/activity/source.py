"""How one picture gets into a batch: read, moved by one warp, coloured, and mixed with another."""

import threading
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from pose_lightning import geometry
from pose_lightning.activity.augmentation import Augmentation
from pose_lightning.activity.draws import Use, draws
from pose_lightning.activity.framing import Framing
from pose_lightning.activity.mixing import Mixing
from pose_lightning.activity.policy import RandAugment
from pose_lightning.activity.truth import Pictures, Target, classes_of
from pose_lightning.errors import UserError
from pose_lightning.loader import Buffers
from pose_lightning.store import Selection

Sampling = Literal["uniform", "balanced"]

TAGGED = 0
"""What `label_numbers` gives where tags are known, which have no single number."""


@dataclass(frozen=True)
class RandomChanges:
    """What training does to its pictures.

    Args:
        augmentation: Of single pictures.
        policy: Further ones.
        mixing: Of two pictures.
        append: Whether an epoch holds every picture as it is, and then a changed copy of each.
        sampling: See `ActivityData`.

    Raises:
        UserError: If settings contradict each other.
    """

    augmentation: Augmentation = field(default_factory=Augmentation)
    policy: RandAugment = field(default_factory=RandAugment)
    mixing: Mixing = field(default_factory=Mixing)
    append: bool = False
    sampling: Sampling = "uniform"

    def __post_init__(self) -> None:
        """Refuse what does not belong together."""
        if self.append and self.sampling != "uniform":
            raise UserError(f"append_augmented=true goes with sampling=uniform, not with sampling={self.sampling}")


class ActivitySource:
    """How one picture gets into a batch's buffers: `image` uint8 (s, s, 3), `target` (k,) and `label`.

    An epoch has places; which picture stands at a place is the place's own number, unless copies are appended or the
    sampling is balanced. Random changes belong to the place, so that a picture drawn twice is changed twice.

    Args:
        pictures: The split's pictures, all of which have a label.
        target: What of their labels.
        framing: What the input shows.
        changes: Random changes, or None outside training.
        seed: Of the random changes.
    """

    def __init__(
        self, pictures: Selection, target: Target, framing: Framing, changes: RandomChanges | None, seed: int
    ) -> None:
        self.pictures, self.framing, self.changes, self.seed = pictures, framing, changes, seed
        self._targets = targets(pictures, target)
        self._labels = np.full(len(pictures), -1) if target == "tags" else label_numbers(pictures, target)
        self._balanced = changes is not None and changes.sampling == "balanced"
        if self._balanced and target == "tags":
            raise UserError("sampling=balanced needs one class per picture; with target=tags take model.pos_weights")
        self._draws: dict[int, np.ndarray] = {}  # of the last epoch
        self._scratch = threading.local()

    def __len__(self) -> int:
        return len(self.pictures) * (2 if self.changes is not None and self.changes.append else 1)

    def name(self, index: int) -> str:
        """The picture's name in its store; drawn ones have names of their own in every epoch."""
        return f"draw {index}" if self._balanced else self.pictures.name(index % len(self.pictures))

    def totals(self, indices: np.ndarray) -> dict[str, float]:
        """Nothing: every picture weighs the same, and the loader counts them."""
        return {}

    def allocate(self, size: int) -> Buffers:
        """Buffers for `size` pictures."""
        side = self.framing.input_size
        return {
            "image": np.empty((size, side, side, 3), np.uint8),
            "target": np.empty((size, self._targets.shape[1]), np.float32),
            "label": np.empty(size, np.int64),
        }

    def fill(self, buffers: Buffers, position: int, index: int, epoch: int) -> None:
        """Lay the picture at place `index` of the epoch into the buffers at `position`."""
        image, sample = buffers["image"][position], self.sample(index, epoch)
        self._show(image, index, epoch)
        target, label = self._targets[sample], self._labels[sample]
        if self.changes is not None and self._changes_at(index):
            mix = self.changes.mixing.draw(self.seed, epoch, index, len(self))
            if mix is not None:
                other, partner = self._other(image.shape), self.sample(mix.partner, epoch)
                self._show(other, mix.partner, epoch)
                share = np.float32(mix.blend(image, other))
                target = share * target + (1 - share) * self._targets[partner]
                label = label if share >= 0.5 else self._labels[partner]
        buffers["target"][position], buffers["label"][position] = target, label

    def sample(self, index: int, epoch: int) -> int:
        """Which picture stands at place `index` of the epoch."""
        if not self._balanced:
            return index % len(self.pictures)
        drawn = self._draws.get(epoch)
        if drawn is None:  # several threads may come here at once, and find the same
            drawn = balanced_draw(self._labels, seed=self.seed, epoch=epoch)
            self._draws = {epoch: drawn}
        return int(drawn[index])

    def _changes_at(self, index: int) -> bool:
        """Whether the picture at this place is changed: all are, unless copies are appended, which come last."""
        return self.changes is not None and (not self.changes.append or index >= len(self.pictures))

    def _show(self, out: UInt8[np.ndarray, "s s 3"], index: int, epoch: int) -> None:
        """Write the picture at a place of the epoch, changed but not mixed."""
        picture, size = self.pictures.pixels(self.sample(index, epoch)), self.framing.input_size
        if self.changes is None or not self._changes_at(index):
            self.framing.warp(picture, self.framing.box(picture).to_input(size), out)
            return
        change = self.changes.augmentation.draw(self.seed, epoch, index)
        steps = self.changes.policy.draw(self.seed, epoch, index)
        box = change.box(picture, self.framing.box(picture))
        moved = geometry.compose(change.matrix(size), box.to_input(size))
        self.framing.warp(picture, geometry.compose(self.changes.policy.matrix(steps, size), moved), out)
        change.color(out)
        self.changes.policy.color(steps, out)

    def _other(self, shape: tuple[int, ...]) -> np.ndarray:
        """Memory for the picture that is mixed in, which this thread uses again."""
        if not hasattr(self._scratch, "other"):
            self._scratch.other = np.empty(shape, np.uint8)
        other: np.ndarray = self._scratch.other
        return other


def balanced_draw(labels: Int64[np.ndarray, " n"], *, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
    """As many samples as there are, drawn with replacement: every class that occurs is equally likely."""
    counts = np.bincount(labels)
    likelihood = 1 / counts[labels]
    edges = np.cumsum(likelihood)
    numbers = draws(Use.SAMPLING, seed=seed, epoch=epoch, sample=0, count=len(labels))
    return np.searchsorted(edges, numbers * edges[-1], side="right").clip(max=len(labels) - 1)


def label_numbers(pictures: Pictures, target: Target) -> Int64[np.ndarray, " n"]:
    """The number of each picture's class, -1 where it is unknown; of tags, 0 where they are known.

    Raises:
        UserError: If the store is of another kind, has no such labels, or has a label that is not in its list.
    """
    classes = classes_of(pictures, target)
    if target == "tags":
        return np.where(pictures.labels["activity"] != "", TAGGED, -1)
    numbers = {name: number for number, name in enumerate(classes)} | {"": -1}
    texts = pictures.labels[target].tolist()
    if lost := set(texts) - set(numbers):
        raise UserError(f"{pictures.path}: {target} {min(lost)!r} is not in the store's own list; convert again")
    return np.array([numbers[text] for text in texts], np.int64)


def targets(pictures: Pictures, target: Target) -> Float32[np.ndarray, "n k"]:
    """1 at each picture's class or tags, 0 elsewhere; all 0 where it is unknown."""
    if target == "tags":
        return np.asarray(pictures.labels["tags"], np.float32)
    numbers = label_numbers(pictures, target)
    return (numbers[:, None] == np.arange(len(classes_of(pictures, target)))).astype(np.float32)


def with_pixels(pictures: Selection) -> Selection:
    """The same pictures.

    Raises:
        UserError: If the store holds labels only.
    """
    if pictures.shape is None:
        raise UserError(
            f"{pictures.path} holds labels only, no pixels to train or predict from; convert again with `--images DIR` "
            "and without `--labels-only`"
        )
    return pictures
