"""Tests of averaging: with a network that answers exact gaussians, neither the flip nor a scale moves a joint."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from pose_lightning import geometry
from pose_lightning.errors import UserError
from pose_lightning.heatmap.codec import DecodeMethod, Grid, decode, encode, input_to_heatmap
from pose_lightning.heatmap.data import PoseData
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.heatmap.testing import average_scales
from pose_lightning.joints import MPII
from pose_lightning.manner import UNSCALED, Scales, read_scales
from pose_lightning.store import StoreWriter

SCALES = (0.9, 1.0, 1.1)
SIZE = 64
METHODS: tuple[DecodeMethod, ...] = ("argmax", "quarter", "dark", "soft_argmax")


def maps_at(joints: Tensor, scale: float) -> Tensor:
    """What an exact network answers for the same persons, larger by `scale`."""
    middle = (SIZE - 1) / 2
    return encode(middle + scale * (joints - middle), torch.ones(joints.shape[:-1], dtype=torch.bool), SIZE, 1.0)


def random_joints(low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(250, 16, 2, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("low", "high"), [(-0.5, 63.5), (-0.5, 5.5), (57.5, 63.5)], ids=["anywhere", "near the start", "near the end"]
)
def test_averaging_over_scales_has_no_signed_bias(method: DecodeMethod, low: float, high: float) -> None:
    joints = random_joints(low, high)
    average = average_scales([maps_at(joints, scale) for scale in SCALES], SCALES)
    error = decode(average, method)[0] - joints
    assert error.abs().max() <= 0.62  # half a cell, and what the border's cells are broader by at 0.9
    assert (error.mean(dim=(0, 1)).abs() < 0.02).all()


def test_averaging_over_scales_keeps_sub_pixel_places_inside_the_map() -> None:
    joints = random_joints(8, 55)
    average = average_scales([maps_at(joints, scale) for scale in SCALES], SCALES)
    assert (decode(average, "dark")[0] - joints).abs().max() < 0.02
    assert (decode(average, "quarter")[0] - joints).abs().max() < 0.27


def test_one_scale_is_left_as_it_is() -> None:
    maps = maps_at(random_joints(5, 50), 1.0)
    assert average_scales([maps], UNSCALED) is maps
    assert_close(average_scales([maps, maps], (1.0, 1.0)), maps, atol=1e-5, rtol=0)


def test_a_place_that_no_scale_shows_is_empty() -> None:
    average = average_scales([torch.ones(1, 1, SIZE, SIZE)], (2.0,))
    assert average[0, 0, 32, 32] == 1
    assert average[0, 0, 10, 32] == 0


def test_a_scale_that_does_not_show_a_place_does_not_lower_it() -> None:
    """At 2 only the middle is seen; a peak outside it keeps the height that scale 1 gives it."""
    joints = torch.full((1, 16, 2), 8.0)
    average = average_scales([maps_at(joints, scale) for scale in (1.0, 2.0)], (1.0, 2.0))
    assert_close(decode(average, "dark"), (joints, torch.ones(1, 16)), atol=1e-3, rtol=0)


def test_scales_are_read_from_a_list() -> None:
    assert read_scales("0.9,1.0,1.1") == (0.9, 1.0, 1.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.9;1.1", "is no list of numbers"),
        ("", "is no list of numbers"),
        ("1,3", "3 is out of range"),
        ("1,nan", "nan is out of range"),
        ("1,1.0", "names a scale twice"),
    ],
)
def test_scales_that_mean_nothing_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_scales(text)


PERSONS, CROP, BOX, INPUT = 6, 112, 64, 128
PLACES = np.random.default_rng(4).uniform(32, 80, size=(PERSONS, 16, 2))
"""Px of the crop, all inside the box."""


class SeeingNetwork(nn.Module):
    """Reads from the picture where in the crop each of its px is, and who is in it, and draws exact gaussians.

    A person in a mirror has right and left exchanged, as a real network would say.
    """

    grid: Grid = "cells"

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([self._maps(each) for each in image])[:, None]

    def _maps(self, image: Tensor) -> Tensor:
        length = image.shape[-1]
        px = torch.arange(length, dtype=torch.float64)
        inner = slice(length // 8, -length // 8)
        ends = [image[0].double().mean(dim=0), image[1].double().mean(dim=1)]  # twice the crop's x along x, y along y
        lines = [np.polyfit(px[inner].numpy(), 255 * end[inner].numpy() / 2, 1) for end in ends]
        slope, start = np.array(lines).T
        person = round(float(image[2, length // 2, length // 2]) * 255 / 20)
        places = (PLACES[person] - start) / slope
        if slope[0] < 0:
            places = places[list(MPII.mirrored)]
        size = length // 4
        cells = input_to_heatmap(torch.from_numpy(places), grid=self.grid, size=size)
        return encode(cells, torch.ones(16, dtype=torch.bool), size, 1.0)


@pytest.fixture(scope="module")
def ramps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose crops hold twice their own coordinates as red and green, and the person's number as blue."""
    folder = tmp_path_factory.mktemp("ramps")
    attrs: dict[str, Any] = {"kind": "pose", "joint_set": "mpii", "origin": 0, "units": "px", "box_in_crop": BOX}
    y, x = np.mgrid[:CROP, :CROP]
    with StoreWriter(folder / "val.h5", codec="raw", attrs=attrs, shape=(CROP, CROP, 3)) as writer:
        for person in range(PERSONS):
            pixels = np.stack([2 * x, 2 * y, np.full_like(x, 20 * person)], axis=-1).astype(np.uint8)
            scale, corner = 0.5 + 0.1 * person, np.array([30.0, 7.0 * person])
            to_image = (PLACES[person] + 0.5) / scale + corner - 0.5
            row = {
                "name": f"{person}.jpg#0",
                "image": f"{person}.jpg",
                "group": np.int64(person),
                "joints": to_image,
                "labelled": np.ones(16, bool),
                "visible": np.ones(16, bool),
                "center": np.full(2, CROP / 2 / scale) + corner - 0.5,
                "box": np.float64(BOX / scale),
                "head_size": np.float64(BOX / scale / 10),
                "crop": np.array([*corner, scale]),
            }
            writer.append(pixels, row)
    return folder


def errors_of(folder: Path, *, flip_test: bool, scales: Scales, warp: Any, grid: Grid = "cells") -> np.ndarray:
    """Predicted minus true joints in heatmap px, through the loader, the task and the decoding."""
    task = HeatmapEstimation(
        network=partial(StackedHourglass, stacks=1, features=4, depth=1), decoding="dark", grid=grid
    )
    task.model = SeeingNetwork()
    task.model.grid = grid
    data = PoseData(folder, 4, input_size=INPUT, num_threads=1, warp=warp)
    task.flip_test, task.scales, data.scales, data.predict_split = flip_test, scales, scales, "val"
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
    batches: Any = trainer.predict(task, datamodule=data)
    with data.store("val") as store:
        joints, box = store.labels["joints"], store.labels["box"]
    index = torch.cat([batch["index"] for batch in batches]).numpy()
    preds = torch.cat([batch["preds"] for batch in batches]).numpy()
    assert sorted(index) == list(range(PERSONS))
    return (preds - joints[index]) * (INPUT / 4 / box[index])[:, None, None]


@pytest.mark.parametrize("warp", ["host", "device"])
@pytest.mark.parametrize("scales", [UNSCALED, SCALES, (0.8, 1.3)], ids=str)
@pytest.mark.parametrize("flip_test", [False, True], ids=["upright", "flip"])
def test_no_way_of_asking_moves_what_an_exact_network_says(
    ramps: Path, flip_test: bool, scales: Scales, warp: str
) -> None:
    errors = errors_of(ramps, flip_test=flip_test, scales=scales, warp=warp)
    assert abs(errors).max() < (0.25 if 1.3 in scales else 0.1)  # half of a peak, where the view of 1.3 ends
    assert abs(errors.mean(axis=(0, 1))).max() < 0.02


def test_udps_grid_needs_no_shift_in_the_flip_test_either(ramps: Path) -> None:
    errors = errors_of(ramps, flip_test=True, scales=UNSCALED, warp="host", grid="udp")
    assert abs(errors).max() < 0.1
    assert abs(errors.mean(axis=(0, 1))).max() < 0.02


def test_the_views_show_the_person_larger_by_the_scale(ramps: Path) -> None:
    """The ramp across a view of scale s rises 1 / s as fast as across the image, about the same middle."""
    data = PoseData(ramps, 2, input_size=INPUT, num_threads=1, warp="device")
    data.scales = (0.8, 1.25)
    source = data.source("val", augment=False)
    buffers = source.allocate(1)
    source.fill(buffers, 0, 3, 0)
    batch = data.on_after_batch_transfer({key: torch.from_numpy(value) for key, value in buffers.items()}, 0)
    red = torch.stack([batch["image"], *batch["views"].unbind(1)])[:, 0, 0, INPUT // 2]
    rise = red[:, 96] - red[:, 32]
    assert_close(rise[1:] * torch.tensor([0.8, 1.25]), rise[0].expand(2), atol=1e-4, rtol=0)
    middle = (red[:, 63] + red[:, 64]) / 2
    assert_close(middle[1:], middle[0].expand(2), atol=1e-4, rtol=0)
    assert geometry.turn_and_scale(0.0, 2.0, 4)[0].tolist() == [2.0, 0.0, -1.5]
