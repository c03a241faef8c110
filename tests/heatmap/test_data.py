"""From a pose store to the batches that a task sees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import simplejpeg
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.testing import assert_close

from pose_lightning import geometry
from pose_lightning.errors import UserError
from pose_lightning.heatmap.augmentation import UNCHANGED, Augmentation
from pose_lightning.heatmap.data import PoseData, PoseSource, finish, reduction
from pose_lightning.joints import MPII
from pose_lightning.store import Codec, Store, StoreWriter

CROP, BOX, SAMPLES, WRIST = 448, 256, 6, 10
STILL = {"rotation": 0.0, "rotation_probability": 0.0, "scale": 0.0, "flip": 0.0}
COLORLESS = {"contrast": 0.0, "brightness": 0.0, "color": 0.0}
MOVING = Augmentation(rotation=30.0, rotation_probability=0.8, scale=0.25, flip=0.5, **COLORLESS)
ATTRS = {
    "kind": "pose",
    "joint_set": "mpii",
    "origin": 0,
    "units": "px",
    "synthetic": True,
    "crop_size": CROP,
    "box_in_crop": BOX,
}

Picture = Callable[[np.ndarray, int], np.ndarray]


def bright_wrist(wrist: np.ndarray, _: int) -> np.ndarray:
    """A crop that is black but for a gaussian at the wrist (crop px)."""
    y, x = np.mgrid[:CROP, :CROP]
    spot = 255 * np.exp(-((x - wrist[0]) ** 2 + (y - wrist[1]) ** 2) / (2 * 6.0**2))
    return np.repeat(spot.round().astype(np.uint8)[..., None], 3, axis=-1)


def clouds(_: np.ndarray, sample: int) -> np.ndarray:
    coarse = np.random.default_rng(sample).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    return cv2.resize(coarse, (CROP, CROP), interpolation=cv2.INTER_CUBIC)


def stripes(_: np.ndarray, __: int) -> np.ndarray:
    """Columns of one px, black and white in turn: mid grey from a distance."""
    return np.broadcast_to((np.arange(CROP) % 2 * 255).astype(np.uint8)[None, :, None], (CROP, CROP, 3)).copy()


def write_store(path: Path, codec: Codec | None, picture: Picture = clouds, **attrs: Any) -> Path:
    """Six persons, each with a right wrist and, but for the last, a left ankle; the ankle is occluded."""
    rng = np.random.default_rng(5)
    with StoreWriter(path, codec=codec, attrs=ATTRS | attrs, shape=(CROP, CROP, 3) if codec else None) as writer:
        for sample in range(SAMPLES):
            center, box = rng.uniform(300, 600, 2), rng.uniform(150, 400)
            scale = BOX / box
            corner = center - CROP / scale / 2 + 0.5
            joints = np.full((16, 2), np.nan)
            joints[WRIST] = center + rng.uniform(-0.2, 0.2, 2) * box
            if sample < SAMPLES - 1:
                joints[5] = center + rng.uniform(-0.2, 0.2, 2) * box
            labelled = ~np.isnan(joints[:, 0])
            visible = labelled.copy()
            visible[5] = False
            pixels = picture((joints[WRIST] - corner + 0.5) * scale - 0.5, sample)
            jpeg = simplejpeg.encode_jpeg(pixels, quality=98, colorsubsampling="444")
            labels = {
                "name": f"person{sample}",
                "joints": joints,
                "labelled": labelled,
                "visible": visible,
                "center": center,
                "box": box,
                "head_size": box / 10,
                "crop": np.array([*corner, scale]),
            }
            writer.append({"raw": pixels, "jpeg": jpeg, None: None}[codec], labels)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("stores")
    return {
        "spots_raw": write_store(root / "spots_raw.h5", "raw", bright_wrist),
        "spots_jpeg": write_store(root / "spots_jpeg.h5", "jpeg", bright_wrist),
        "clouds": write_store(root / "clouds.h5", "raw", clouds),
        "stripes": write_store(root / "stripes.h5", "raw", stripes),
    }


def load(source: PoseSource, epoch: int = 0) -> dict[str, Any]:
    """All samples of a source as one finished batch."""
    buffers = source.allocate(len(source))
    for array in buffers.values():
        array.view(np.uint8).fill(255)  # whatever is not overwritten shows
    for index in range(len(source)):
        source.fill(buffers, index, index, epoch)
    return finish({key: torch.from_numpy(array) for key, array in buffers.items()}, source.input_size)


def centroids(images: Tensor) -> Tensor:
    """Centre of the light (x, y) of every picture, px."""
    light = images.double().sum(dim=1)
    across, down = light.sum(dim=-2), light.sum(dim=-1)
    sums = [(shares * torch.arange(shares.shape[-1], dtype=torch.float64)).sum(-1) for shares in (across, down)]
    return torch.stack(sums, dim=-1) / light.sum(dim=(-2, -1))[:, None]


@pytest.mark.parametrize("augmentation", [None, MOVING], ids=["still", "moving"])
@pytest.mark.parametrize("warp_on_device", [False, True], ids=["host", "device"])
@pytest.mark.parametrize(
    ("name", "size"),
    [("spots_raw", 256), ("spots_jpeg", 128), ("spots_raw", 64), ("spots_raw", (256, 192)), ("spots_raw", (64, 96))],
)
def test_the_picture_shows_each_joint_where_the_batch_says(
    stores: dict[str, Path], name: str, size: geometry.Size, warp_on_device: bool, augmentation: Augmentation | None
):
    with Store(stores[name]) as store:
        batch = load(PoseSource(store, size, augmentation, seed=2, warp_on_device=warp_on_device), epoch=3)
    wrist = torch.where(batch["labelled"][:, WRIST, None], batch["joints"][:, WRIST], batch["joints"][:, 15])
    assert_close(centroids(batch["image"]), wrist.double(), atol=0.05, rtol=0)


@pytest.mark.parametrize("size", [256, (256, 192)], ids=["square", "tall"])
@pytest.mark.parametrize("epoch", range(4))
def test_the_matrix_takes_augmented_joints_back_to_the_image(stores: dict[str, Path], epoch: int, size: geometry.Size):
    with Store(stores["clouds"]) as store:
        batch = load(PoseSource(store, size, MOVING, seed=1, warp_on_device=False), epoch)
        original = torch.from_numpy(np.array(store.labels["joints"]))
    back = geometry.apply_to_points(batch["matrix"], batch["joints"].double())
    mirrored = batch["matrix"][:, :, :2].det() < 0
    in_order = torch.where(mirrored[:, None, None], back[:, list(MPII.mirrored)], back)
    assert_close(in_order, original, atol=1e-3, rtol=0, equal_nan=True)


def test_half_of_the_samples_are_mirrored_with_their_masks(stores: dict[str, Path]):
    with Store(stores["clouds"]) as store:
        source = PoseSource(store, 256, MOVING, seed=1, warp_on_device=False)
        batches = [load(source, epoch) for epoch in range(20)]
        labelled, visible = np.array(store.labels["labelled"]), np.array(store.labels["visible"])
    count = 0
    for batch in batches:
        mirrored = (batch["matrix"][:, :, :2].det() < 0).numpy()
        order = np.where(mirrored[:, None], np.array(MPII.mirrored), np.arange(16))
        assert_allclose(batch["labelled"].numpy(), np.take_along_axis(labelled, order, 1))
        assert_allclose(batch["visible"].numpy(), np.take_along_axis(visible, order, 1))
        assert torch.equal(batch["joints"][..., 0].isnan(), ~batch["labelled"])
        count += int(mirrored.sum())
    assert 35 <= count <= 85  # 120 samples; four standard deviations are 22


@pytest.mark.parametrize("size", [256, 128, (256, 192)])
def test_host_and_device_agree_to_the_rounding_of_a_grey_level(stores: dict[str, Path], size: geometry.Size):
    with Store(stores["clouds"]) as store:
        host, device = (
            load(PoseSource(store, size, MOVING, seed=4, warp_on_device=warp_on_device), epoch=1)
            for warp_on_device in (False, True)
        )
    assert (host["image"] - device["image"]).abs().max() * 255 <= 0.55
    assert host.keys() == device.keys()
    for key in host.keys() - {"image"}:
        assert_close(host[key], device[key], rtol=0, atol=0, equal_nan=True)


def test_without_augmentation_a_box_of_the_inputs_size_is_copied(tmp_path: Path):
    crop = clouds(np.zeros(2), 0)
    labels = {
        "name": "one",
        "joints": np.full((16, 2), np.nan),
        "labelled": np.zeros(16, bool),
        "visible": np.zeros(16, bool),
        "center": np.array([1000.0, 500.0]),
        "box": 256.0,
        "head_size": np.nan,
        "crop": np.array([1000.0 - 223.5, 500.0 - 223.5, 1.0]),
    }
    with StoreWriter(tmp_path / "val.h5", codec="raw", attrs=ATTRS, shape=crop.shape) as writer:
        writer.append(crop, labels)
    with Store(tmp_path / "val.h5") as store:
        batch = load(PoseSource(store, 256, None, seed=0, warp_on_device=False))
    expected = torch.from_numpy(crop[96:352, 96:352]).permute(2, 0, 1)[None] / 255
    assert_close(batch["image"], expected, atol=1e-6, rtol=0)
    assert_close(batch["matrix"][0], torch.tensor([[1.0, 0.0, 872.5], [0.0, 1.0, 372.5]], dtype=torch.float64))
    assert batch["unit"].isnan().all()


@pytest.mark.parametrize("warp_on_device", [False, True], ids=["host", "device"])
@pytest.mark.parametrize("size", [128, 64])
def test_a_small_input_does_not_skip_pixels(stores: dict[str, Path], size: int, warp_on_device: bool):
    with Store(stores["stripes"]) as store:
        batch = load(PoseSource(store, size, None, seed=0, warp_on_device=warp_on_device))
    assert (batch["image"] - 0.5).abs().max() < 0.01


def test_a_crop_is_averaged_as_long_as_the_box_is_larger_than_the_input():
    assert [reduction(448, 256.0, size) for size in (384, 256, 192, 128, 100, 64, 32, 16)] == [1, 1, 1, 2, 2, 4, 8, 8]
    assert reduction(450, 256.0, 64) == 2


def test_colour_is_gain_and_offset_of_the_draw_clamped_to_what_can_be_shown(stores: dict[str, Path]):
    augmentation = Augmentation(**STILL, contrast=0.5, brightness=0.4, color=0.5)
    with Store(stores["clouds"]) as store:
        plain = load(PoseSource(store, 64, None, seed=8, warp_on_device=False))["image"]
        colored = load(PoseSource(store, 64, augmentation, seed=8, warp_on_device=False), epoch=2)["image"]
    for sample in range(SAMPLES):
        change = augmentation.draw(8, 2, sample)
        expected = plain[sample] * torch.tensor(change.gain).float()[:, None, None] + change.offset
        assert_close(colored[sample], expected.clamp(0, 1), atol=1e-5, rtol=0)
    assert colored.min() == 0
    assert colored.max() == 1


def test_contrast_turns_about_mid_grey_and_brightness_shifts_it():
    contrast = Augmentation(**STILL, contrast=0.5, brightness=0.0, color=0.0).draw(0, 0, 0)
    assert_allclose(contrast.gain * 0.5 + contrast.offset, 0.5)
    brightness = Augmentation(**STILL, contrast=0.0, brightness=0.3, color=0.0).draw(0, 0, 0)
    assert_allclose(brightness.gain, 1.0)
    assert 0 < abs(brightness.offset) <= 0.3


def test_draws_fill_their_ranges_evenly():
    augmentation = Augmentation(
        rotation=30.0, rotation_probability=0.4, scale=0.25, flip=0.5, contrast=0.0, brightness=0.1, color=0.4
    )
    changes = [augmentation.draw(seed=3, epoch=1, sample=sample) for sample in range(4000)]
    degrees, zoom = np.array([change.degrees for change in changes]), np.array([change.zoom for change in changes])
    turned = degrees[degrees != 0]
    assert_allclose(len(turned) / 4000, 0.4, atol=0.03)
    assert_allclose(np.percentile(turned, [0, 25, 50, 75, 100]), [-30, -15, 0, 15, 30], atol=1.6)
    assert_allclose(np.percentile(1 / zoom, [0, 25, 50, 75, 100]), [0.75, 0.875, 1, 1.125, 1.25], atol=0.015)
    assert_allclose(np.mean([change.mirrored for change in changes]), 0.5, atol=0.03)
    gains, offsets = np.array([change.gain for change in changes]), np.array([change.offset for change in changes])
    assert_allclose(
        np.percentile(gains, [0, 25, 50, 75, 100], axis=0),
        np.repeat([[0.6], [0.8], [1], [1.2], [1.4]], 3, 1),
        atol=0.03,
    )
    assert_allclose(np.percentile(offsets, [0, 50, 100]), [-0.1, 0, 0.1], atol=0.01)
    assert np.abs(np.corrcoef(np.column_stack([degrees, zoom, gains, offsets]).T) - np.eye(6)).max() < 0.06


def test_a_draw_depends_on_seed_epoch_and_sample_and_on_nothing_else():
    def drawn(seed: int, epoch: int, sample: int) -> tuple[float, ...]:
        change = MOVING.draw(seed, epoch, sample)
        return change.zoom, *change.gain

    first = drawn(1, 2, 3)
    np.random.default_rng(0).random(10)
    torch.manual_seed(4)
    assert drawn(1, 2, 3) == first
    assert len({drawn(1, 2, 3), drawn(1, 2, 4), drawn(1, 3, 3), drawn(2, 2, 3), drawn(2, 1, 3)}) == 5


def test_switching_one_change_off_leaves_the_others_as_they_were():
    colored = Augmentation(
        rotation=30.0, rotation_probability=1.0, scale=0.25, flip=0.5, contrast=0.2, brightness=0.1, color=0.4
    )
    whole, part = colored.draw(1, 2, 3), MOVING.draw(1, 2, 3)
    assert part.zoom == whole.zoom
    assert part.mirrored == whole.mirrored
    assert_allclose(part.gain, 1.0)
    assert Augmentation(**STILL, **COLORLESS).draw(1, 2, 3).matrix(64).tolist() == UNCHANGED.matrix(64).tolist()


@pytest.mark.parametrize(
    "setting", [{"rotation": 200.0}, {"scale": 1.0}, {"flip": 1.5}, {"color": -0.1}, {"brightness": float("nan")}]
)
def test_a_setting_out_of_range_is_refused(setting: dict[str, float]):
    key, value = next(iter(setting.items()))
    with pytest.raises(UserError, match=f"{key}={value} is out of range"):
        Augmentation(**{**STILL, **COLORLESS, **setting})


def test_totals_count_the_labelled_joints_of_the_samples(stores: dict[str, Path]):
    with Store(stores["clouds"]) as store:
        source = PoseSource(store, 256, MOVING, seed=0, warp_on_device=False)
        assert source.totals(np.array([0, 5, 2])) == {"labelled": 5.0}


def test_a_store_of_labels_only_is_refused_with_the_remedy(tmp_path: Path):
    path = write_store(tmp_path / "val.h5", None)
    with (
        Store(path) as store,
        pytest.raises(UserError, match=r"val\.h5 holds labels only, .* convert again with `--images"),
    ):
        PoseSource(store, 256, None, seed=0, warp_on_device=False)


@pytest.mark.parametrize(("key", "value"), [("kind", "clips"), ("origin", 1), ("units", "mm")])
def test_a_store_of_something_else_is_refused(tmp_path: Path, key: str, value: object):
    path = write_store(tmp_path / "val.h5", None, **{key: value})
    with Store(path) as store, pytest.raises(UserError, match=f"{key} is {value!r}"):
        PoseSource(store, 256, None, seed=0, warp_on_device=False)


class Recorder(pl.LightningModule):
    """Keeps the batches that a task would see."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.batches: dict[str, list[dict[str, Any]]] = {"train": [], "val": []}

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        self.batches["train"].append(batch)
        return self.weight.sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.batches["val"].append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pose")
    for split in ("train", "val"):
        write_store(root / f"{split}.h5", "jpeg")
    return root


def test_a_task_gets_finished_batches_augmented_in_training_only(root: Path):
    module, data = Recorder(), PoseData(root, batch_size=4, input_size=64, seed=3)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    for batches in module.batches.values():
        assert [len(batch["image"]) for batch in batches] == [4, 2]
    train, val = module.batches["train"][0], module.batches["val"][0]
    assert set(train) == {
        "image", "joints", "labelled", "visible", "matrix", "unit",
        "index", "weight", "epoch", "total_samples", "total_labelled",
    }  # fmt: skip
    assert train["image"].shape == (4, 3, 64, 64)
    assert train["image"].is_contiguous(memory_format=torch.channels_last)
    with Store(root / "train.h5") as store:
        still = load(PoseSource(store, 64, None, seed=3, warp_on_device=False))
        moved = load(PoseSource(store, 64, data.augmentation, seed=3, warp_on_device=False), epoch=0)
    assert_close(val["image"], still["image"][:4], rtol=0, atol=0)
    assert_close(train["image"], moved["image"][train["index"]], rtol=0, atol=0)
    assert_close(train["joints"], moved["joints"][train["index"]], rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(moved["image"], still["image"])


def test_auto_warps_on_the_host_without_a_cuda_device(root: Path):
    assert "image" in PoseData(root, batch_size=2).source("val", augment=False).allocate(1)
    assert "crop" in PoseData(root, batch_size=2, warp="device").source("val", augment=False).allocate(1)


def test_threads_do_not_change_a_bit(root: Path):
    def images(num_threads: int) -> list[Tensor]:
        data = PoseData(root, batch_size=4, input_size=128, seed=9, num_threads=num_threads)
        return [data.on_after_batch_transfer(batch, 0)["image"] for batch in data.train_dataloader()]

    assert all(torch.equal(one, other) for one, other in zip(images(0), images(3), strict=True))


def test_the_data_module_tells_whether_persons_are_drawn(root: Path, tmp_path: Path):
    write_store(tmp_path / "test.h5", "raw", synthetic=False)
    assert PoseData(root, batch_size=2).synthetic
    assert not PoseData(tmp_path, batch_size=2).synthetic


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_warp_agrees_with_cv2_on_a_gpu(stores: dict[str, Path]):
    with Store(stores["clouds"]) as store:
        host = load(PoseSource(store, 256, MOVING, seed=4, warp_on_device=False))
        source = PoseSource(store, 256, MOVING, seed=4, warp_on_device=True)
        buffers = source.allocate(len(source))
        for index in range(len(source)):
            source.fill(buffers, index, index, 0)
        on_gpu = finish({key: torch.from_numpy(array).cuda() for key, array in buffers.items()}, 256)
    assert on_gpu["image"].is_cuda
    assert (on_gpu["image"].cpu() - host["image"]).abs().max() * 255 <= 0.55
