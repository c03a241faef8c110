"""What training makes of one sample: the data module of an experiment, asked for it in several epochs."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pose_lightning import cli, kinds
from pose_lightning.browse.cards import Card
from pose_lightning.data import StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.loader import Source


def data_module(experiment: Sequence[Path], root: Path, settings: Sequence[str]) -> StoreDataModule:
    """The data module of an experiment, over the stores of `root`.

    Args:
        experiment: YAML files in layers, as `fit` takes them.
        root: Folder of the stores.
        settings: Further arguments of `fit`.

    Raises:
        UserError: If a file is missing or a setting does not fit.
    """
    for path in experiment:
        if not path.is_file():
            raise UserError(f"--experiment {path} is no file; `ls experiments/*.yaml` lists them")
    layers = [f"--config={path}" for path in experiment]
    chatter = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    level = chatter.level
    chatter.setLevel(logging.WARNING)  # which devices a trainer would use is nobody's question here
    try:
        return cli.build([*layers, f"--data.root={root}", *settings], from_checkpoint=True).datamodule
    finally:
        chatter.setLevel(level)


def versions(data: StoreDataModule, name: str, count: int, side: int) -> list[Card]:
    """The sample as validation sees it, and as training does in epochs 0 to `count` - 1.

    Raises:
        UserError: If training does not learn from a sample of this name.
    """
    plain = data.source("train", augment=False)
    trained = data.source("train", augment=True)
    cards = [_card(data, plain, _find(plain, name, data), 0, side, "as it is")]
    last = _find(trained, name, data)
    return cards + [_card(data, trained, last, epoch, side, f"epoch {epoch}") for epoch in range(count)]


def _find(source: Source, name: str, data: StoreDataModule) -> int:
    """The sample's last place: where copies are appended, the copy."""
    found = [index for index in range(len(source)) if source.name(index) == name]
    if not found:
        such = source.name(0)
        raise UserError(
            f"--sample {name!r}: training on {data.store_path('train')} does not learn from it; names are such as "
            f"{such!r}" + ("; set --set=--data.sampling=uniform" if such.startswith("draw ") else "")
        )
    return found[-1]


def _card(data: StoreDataModule, source: Source, index: int, epoch: int, side: int, note: str) -> Card:
    kind = kinds.of(data)
    if kind is None or not kind.has("sheet"):
        names = ", ".join(each.data_name for each in kinds.having("sheet"))
        raise UserError(f"data={type(data).__name__} cannot be shown: it is derived from none of {names}")
    buffers = source.allocate(1)
    source.fill(buffers, 0, index, epoch)
    batch: dict[str, Any] = {key: torch.from_numpy(value.copy()) for key, value in buffers.items()}
    shown = data.on_after_batch_transfer(batch, 0)
    card: Card = kind.part("sheet").version(data, shown, side, note)
    return card
