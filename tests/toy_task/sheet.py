"""A contact sheet of greys."""

from typing import Any

import torch

from pose_lightning.browse.cards import Card, pixels
from pose_lightning.browse.overview import Chart, histogram
from pose_lightning.browse.scan import Scanned
from pose_lightning.browse.splits import Doubt, Splits

FACETS = ()
SIZE = "Side"
NOUN = "greys"


def doubts(splits: Splits, scanned: Scanned | None) -> list[Doubt]:
    """None."""
    return []


def card(splits: Splits, index: int, side: int) -> Card:
    """A picture and its brightness."""
    return Card((splits.pixels(index),), facts=[("brightness", f"{splits.labels['brightness'][index]:.2f}")])


def charts(splits: Splits) -> list[Chart]:
    """How bright they are."""
    return [histogram(splits, splits.labels["brightness"], "Brightness", "")]


def features(splits: Splits, scanned: Scanned | None) -> None:
    """No map."""


def skeleton(splits: Splits) -> dict[str, Any]:
    """None."""
    return {"joints": [], "bones": [], "sides": [], "labelled": []}


def version(data: object, batch: dict[str, torch.Tensor], side: int, note: str) -> Card:
    """As training sees it."""
    return Card((pixels(batch["image"][0]),), note=note)
