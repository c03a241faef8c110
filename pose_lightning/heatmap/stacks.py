"""Heatmaps on a report's page, joint by joint and stack by stack."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
import torch

from pose_lightning import draw, trained
from pose_lightning.cli import PoseCLI
from pose_lightning.heatmap.codec import decode, heatmap_to_input
from pose_lightning.heatmap.loss import probabilities
from pose_lightning.metrics import points as metrics
from pose_lightning.report.network import at_base
from pose_lightning.report.page import Content, Html, element, join, note, picture, scrolling, short
from pose_lightning.report.subject import Run
from pose_lightning.trust import NOBODY, Trust

TILE: Final = 96
"""Side of a heatmap's picture, px; the page shows it smaller."""


def heatmaps(run: Run, split: str, samples: Sequence[tuple[str, int]], trusted: Trust = NOBODY) -> Html:
    """The heatmaps of some samples: a row for each stack, a column for each joint.

    Args:
        run: Of heatmap estimation, with a checkpoint.
        split: That the samples are of.
        samples: What to call each, and its number in the store.
        trusted: Names that the run's configuration may import.

    Raises:
        UserError: If the network or the store cannot be loaded.
    """
    with at_base(run) as directory, torch.no_grad():
        built, checkpoint, step = trained.load(directory, trusted=trusted)
        built.model.cpu().eval()
        reference = built.model.joint_set.reference
        parts = [_sample(built, split, name, index) for name, index in samples]
    weights = f"{checkpoint.name}, step {step}"
    return join(
        [
            note(
                f"From {weights}. Every map is as bright as its own highest cell; below it the height of that cell, "
                f"and a mark: a check where the joint is within {metrics.FOUND[reference]:g} "
                f"{metrics.UNIT_NAMES[reference][1]} of the truth, a cross where not, nothing where it has no label."
            ),
            *parts,
        ]
    )


def _sample(built: PoseCLI, split: str, name: str, index: int) -> Html:
    data, model = built.datamodule, built.model
    source = data.source(split, False)
    buffers = source.allocate(1)
    source.fill(buffers, 0, index, 0)
    batch = data.on_after_batch_transfer({key: torch.from_numpy(value) for key, value in buffers.items()}, 0)
    maps = model(batch["image"])[0].float()  # s j h w
    maps = probabilities(maps) if model.loss == "cross_entropy" else maps
    image = (batch["image"][0].permute(1, 2, 0) * 255).byte().numpy()
    tile = np.asarray(cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    points, peaks = decode(maps, model.decoding)
    right, labelled = _right(heatmap_to_input(points), batch, metrics.FOUND[model.joint_set.reference])
    shown_joints = np.flatnonzero(source.store.labels["labelled"].any(axis=0)).tolist()  # LSP has no pelvis and thorax
    names = [model.joint_set.names[joint] for joint in shown_joints]
    heads: list[Content] = [element("th", "stack", scope="col"), *(element("th", each, scope="col") for each in names)]
    rows = []
    for stack in range(len(maps)):
        cells: list[Content] = [
            element("th", f"{stack + 1}", " ", element("small", _verdict(right[stack], labelled)), scope="row")
        ]
        for joint, joint_name in zip(shown_joints, names, strict=True):
            shown = picture(_blend(tile, maps[stack, joint].numpy()), f"{joint_name}, stack {stack + 1}", class_="tile")
            mark = "" if not labelled[joint] else " ✓" if right[stack, joint] else " ✗"
            cells.append(element("td", shown, element("small", f"{short(float(peaks[stack, joint]), 2)}{mark}")))
        rows.append(element("tr", *cells))
    caption = f"{name.capitalize()}: {source.name(index)}"
    return scrolling(caption, element("thead", element("tr", *heads)), element("tbody", *rows), class_="heatmaps")


def _right(points: torch.Tensor, batch: dict[str, torch.Tensor], found: float) -> tuple[np.ndarray, np.ndarray]:
    """Which joints of every stack count as right, and which are labelled; distances are taken in image px."""
    scale = batch["matrix"][0, :, :2].norm(dim=0).mean()
    distance = (points.double() - batch["joints"][0].double()).norm(dim=-1) * scale
    labelled = batch["labelled"][0] & batch["unit"][0].isfinite()
    return (distance <= found * batch["unit"][0]).numpy(), labelled.numpy()


def _verdict(right: np.ndarray, labelled: np.ndarray) -> str:
    return f"{int((right & labelled).sum())} of {int(labelled.sum())} right" if labelled.any() else "no labels"


def _blend(tile: draw.Picture, heatmap: np.ndarray) -> draw.Picture:
    """A grey picture with the map over it in colour."""
    height = float(heatmap.max())
    share = np.clip(heatmap / height, 0, 1) if height > 0 else np.zeros_like(heatmap)
    large = cv2.resize((255 * share).astype(np.uint8), tile.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colour = cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB).astype(np.float32)
    grey = cv2.cvtColor(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    weight = 0.35 + 0.65 * (large[..., None] / 255)
    return np.asarray((1 - weight) * 0.7 * grey + weight * colour, dtype=np.uint8)
