"""Pictures of 8 px and their brightness."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose_lightning.data import StoreDataModule
from pose_lightning.store import Store, StoreWriter

SIDE = 8


def write_stores(folder: Path) -> Path:
    """`train.h5` of 12 pictures and `val.h5` of 6, of one grey each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 6)):
        attrs = {"kind": "brightness", "dataset": "greys", "split": split, "synthetic": True}
        with StoreWriter(folder / f"{split}.h5", codec="raw", attrs=attrs, shape=(SIDE, SIDE, 3)) as store:
            for number in range(count):
                value = int(rng.integers(0, 256))
                picture = np.full((SIDE, SIDE, 3), value, np.uint8)
                store.append(picture, {"name": f"{split}-{number}", "brightness": value / 255})
    return folder


class Pictures:
    """A store's pictures."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def allocate(self, size: int) -> dict[str, np.ndarray]:
        """Room for a batch."""
        return {"image": np.empty((size, SIDE, SIDE, 3), np.uint8), "brightness": np.empty(size, np.float32)}

    def fill(self, buffers: dict[str, np.ndarray], position: int, index: int, epoch: int) -> None:
        """One sample."""
        self.store.read_into(index, buffers["image"][position])
        buffers["brightness"][position] = self.store.labels["brightness"][index]

    def name(self, index: int) -> str:
        """Of a sample."""
        return self.store.name(index)

    def totals(self, indices: np.ndarray) -> dict[str, float]:
        """Nothing but the number of samples."""
        return {}


class BrightnessData(StoreDataModule):
    """Batches of `image` (b, 3, 8, 8) in [0, 1] and `brightness` (b,).

    Args:
        root: Directory of the stores.
        batch_size: Pictures per step.
        seed: Of their order.
    """

    def __init__(self, root: Path, batch_size: int = 4, *, seed: int = 0) -> None:
        super().__init__(root, batch_size, num_threads=0, seed=seed)

    def source(self, split: str, augment: bool) -> Pictures:
        """The pictures of a split."""
        return Pictures(self.store(split))

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, torch.Tensor]:
        """Colours first, in [0, 1]."""
        return {**batch, "image": batch["image"].permute(0, 3, 1, 2).float() / 255}
