"""From a clip store to the batches that a task sees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.testing import assert_close

from pose_lightning import geometry
from pose_lightning.errors import UserError
from pose_lightning.joints import H36M
from pose_lightning.loader import Source
from pose_lightning.regression.augmentation import Augmentation
from pose_lightning.regression.data import ClipData, ClipSource, finish, reduction
from pose_lightning.store import Store, StoreError, StoreWriter

SIDE, FRAMES, SAMPLES, FACTOR = 128, 3, 6, 0.06  # px, frames, clips, px/mm
COLORLESS = {"contrast": 0.0, "brightness": 0.0, "color": 0.0}
STILL = {"rotation": 0.0, "rotation_probability": 1.0, "scale": 0.0, "shift": 0.0, "flip": 0.0}
MOVING = Augmentation(rotation=30.0, rotation_probability=0.8, scale=0.2, shift=0.1, flip=0.5, **COLORLESS)
COLORED = Augmentation(**STILL, contrast=0.5, brightness=0.4, color=0.5)
ATTRS = {
    "kind": "clips",
    "joint_set": "h36m",
    "root": 0,
    "units": "mm",
    "synthetic": True,
    "frames": FRAMES,
}
SHOWN = [H36M.names.index(name) for name in ("right wrist", "left knee", "head top")]  # one colour channel each

Picture = Callable[[np.ndarray, int, int], np.ndarray]


def dots(places: np.ndarray, _: int, __: int) -> np.ndarray:
    """A frame that is black but for a gaussian at each joint of `SHOWN` (px), in a channel of its own."""
    y, x = np.mgrid[:SIDE, :SIDE]
    spots = [255 * np.exp(-((x - places[k, 0]) ** 2 + (y - places[k, 1]) ** 2) / (2 * 4.0**2)) for k in SHOWN]
    return np.stack(spots, axis=-1).round().astype(np.uint8)


def clouds(_: np.ndarray, clip: int, frame: int) -> np.ndarray:
    coarse = np.random.default_rng([clip, frame]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def one_cloud(_: np.ndarray, clip: int, __: int) -> np.ndarray:
    """The same picture in every frame."""
    return clouds(_, clip, 0)


def stripes(*_: object) -> np.ndarray:
    """Columns of one px, black and white in turn: mid grey from a distance."""
    return np.broadcast_to((np.arange(SIDE) % 2 * 255).astype(np.uint8)[None, :, None], (SIDE, SIDE, 3)).copy()


def write_store(
    path: Path,
    picture: Picture = clouds,
    *,
    subject: str = "S1",
    shape: tuple[int, ...] = (FRAMES, SIDE, SIDE, 3),
    pixels: bool = True,
    **attrs: Any,
) -> Path:
    """Six clips of a weak-perspective camera whose root stands in another place in every frame."""
    rng = np.random.default_rng(5)
    with StoreWriter(
        path, codec="raw" if pixels else None, attrs=ATTRS | attrs, shape=shape if pixels else None
    ) as writer:
        for clip in range(SAMPLES):
            joints = rng.uniform(-300, 300, (FRAMES, 17, 3)).astype(np.float32)
            joints[:, 0] = 0
            roots = (SIDE - 1) / 2 + rng.uniform(-4, 4, (FRAMES, 1, 2))
            points = roots + FACTOR * joints[..., :2]
            frames = np.stack([picture(places, clip, frame) for frame, places in enumerate(points)])
            labels = {
                "name": f"{subject}/Walking 1/{clip:06d}" if subject else f"clip {clip:06d}",
                "subject": subject,
                "sequence": f"{subject}/Walking {clip // 3}" if subject else f"clip {clip:06d}",
                "joints": joints,
                "points": points.astype(np.float32),
            }
            writer.append(np.resize(frames, shape) if pixels else None, labels)
    return path


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("stores")
    pictures: dict[str, Picture] = {"dots": dots, "clouds": clouds, "one_cloud": one_cloud, "stripes": stripes}
    return {name: write_store(root / f"{name}.h5", picture) for name, picture in pictures.items()}


def load(source: ClipSource, epoch: int = 0) -> dict[str, Any]:
    """All clips of a source as one finished batch."""
    buffers = source.allocate(len(source))
    for array in buffers.values():
        array.view(np.uint8).fill(255)  # whatever is not overwritten shows
    for index in range(len(source)):
        source.fill(buffers, index, index, epoch)
    return finish({key: torch.from_numpy(array) for key, array in buffers.items()}, source.input_size)


def centroids(clips: Tensor) -> Tensor:
    """Centre of the light (x, y) of every frame and channel, px."""
    light = clips.double()
    places = torch.arange(clips.shape[-1], dtype=torch.float64)
    across, down = light.sum(dim=-2), light.sum(dim=-1)
    return (
        torch.stack([(across * places).sum(-1), (down * places).sum(-1)], dim=-1) / light.sum(dim=(-2, -1))[..., None]
    )


@pytest.mark.parametrize("augmentation", [None, MOVING], ids=["still", "moving"])
@pytest.mark.parametrize("warp_on_device", [False, True], ids=["host", "device"])
@pytest.mark.parametrize("size", [SIDE, 160, 64, 48])
def test_the_picture_shows_the_poses_of_the_batch(
    stores: dict[str, Path], size: int, warp_on_device: bool, augmentation: Augmentation | None
):
    with Store(stores["dots"]) as store:
        batch = load(ClipSource(store, size, augmentation, seed=2, warp_on_device=warp_on_device), epoch=3)
        joints, points = (torch.from_numpy(np.array(store.labels[key])) for key in ("joints", "points"))
    assert batch["clip"].shape == (SAMPLES, FRAMES, 3, size, size)
    for clip in range(SAMPLES):
        change = None if augmentation is None else augmentation.draw(2, 3, clip)
        mirrored, zoom = (False, 1.0) if change is None else (change.mirrored, change.zoom)
        named = [H36M.mirrored[k] if mirrored else k for k in SHOWN]  # a right wrist is a left one in a mirror
        seen = centroids(batch["clip"][clip])
        pose = batch["joints"][clip].double()
        # The camera is the stored one, seen from nearer or farther: offsets between joints are those of the poses ...
        scale = FACTOR * zoom * size / SIDE
        offsets = scale * (pose[:, named, :2] - pose[:, named[:1], :2])
        assert_close(seen - seen[:, :1], offsets, atol=0.06, rtol=0)
        # ... and the root is where the change takes it.
        matrix = geometry.box_to_input(np.full(2, (SIDE - 1) / 2), float(SIDE), size)
        if change is not None:
            matrix = geometry.compose(change.matrix(size), matrix)
        root = geometry.apply_to_points(torch.from_numpy(matrix), points[clip, :, :1].double())
        assert_close(seen - scale * pose[:, named, :2], root.expand(-1, 3, -1), atol=0.06, rtol=0)
        order = list(H36M.mirrored) if mirrored else list(range(17))
        assert_close(batch["joints"][clip, ..., 2], joints[clip, :, order, 2], rtol=0, atol=0)


@pytest.mark.parametrize("size", [SIDE, 48])
def test_host_and_device_agree_to_the_rounding_of_a_grey_level(stores: dict[str, Path], size: int):
    with Store(stores["clouds"]) as store:
        host, device = (
            load(ClipSource(store, size, MOVING, seed=4, warp_on_device=warp_on_device), epoch=1)
            for warp_on_device in (False, True)
        )
    assert (host["clip"] - device["clip"]).abs().max() * 255 <= 0.55
    assert host.keys() == device.keys() == {"clip", "joints"}
    assert torch.equal(host["joints"], device["joints"])


@pytest.mark.parametrize("warp_on_device", [False, True], ids=["host", "device"])
def test_all_frames_of_a_clip_change_alike(stores: dict[str, Path], warp_on_device: bool):
    augmentation = Augmentation(
        rotation=30.0, rotation_probability=1.0, scale=0.2, shift=0.1, flip=0.5, contrast=0.2, brightness=0.1, color=0.4
    )
    with Store(stores["one_cloud"]) as store:
        clips = load(ClipSource(store, 64, augmentation, seed=4, warp_on_device=warp_on_device))["clip"]
    assert torch.equal(clips, clips[:, :1].expand_as(clips))
    assert not torch.equal(clips[0], clips[1])


@pytest.mark.parametrize("warp_on_device", [False, True], ids=["host", "device"])
def test_a_clip_as_large_as_the_input_is_what_was_stored(stores: dict[str, Path], warp_on_device: bool):
    with Store(stores["clouds"]) as store:
        batch = load(ClipSource(store, SIDE, None, seed=0, warp_on_device=warp_on_device))
        stored = torch.from_numpy(np.stack([store.pixels(index) for index in range(SAMPLES)]))
        joints = torch.from_numpy(np.array(store.labels["joints"]))
    assert_close(batch["clip"] * 255, stored.permute(0, 1, 4, 2, 3).float(), rtol=0, atol=1e-4)
    assert batch["clip"].max() == 1
    assert torch.equal(batch["joints"], joints)


def test_settings_that_are_all_off_cost_no_warp_and_no_colour(stores: dict[str, Path]):
    off = Augmentation(**STILL, **COLORLESS)
    with Store(stores["clouds"]) as store:
        buffers = ClipSource(store, SIDE, off, seed=0, warp_on_device=True).allocate(2)
    assert buffers.keys() == {"clip", "joints"}
    assert buffers["clip"].ctypes.data % 4096 == 0  # where the kernel copies fastest


@pytest.mark.parametrize("augmentation", [None, MOVING], ids=["still", "moving"])
@pytest.mark.parametrize("warp_on_device", [False, True], ids=["host", "device"])
@pytest.mark.parametrize("size", [SIDE, 48])
def test_fewer_frames_are_the_first_ones(
    stores: dict[str, Path], size: int, warp_on_device: bool, augmentation: Augmentation | None
):
    with Store(stores["clouds"]) as store:
        whole, part = (
            load(ClipSource(store, size, augmentation, seed=1, warp_on_device=warp_on_device, frames=frames))
            for frames in (None, 2)
        )
    assert part["clip"].shape[1] == 2
    assert_close(part["clip"], whole["clip"][:, :2], rtol=0, atol=1e-6)
    assert torch.equal(part["joints"], whole["joints"][:, :2])


@pytest.mark.parametrize("frames", [0, 4])
def test_more_frames_than_there_are_is_refused(stores: dict[str, Path], frames: int):
    with Store(stores["clouds"]) as store, pytest.raises(UserError, match=rf"frames {frames}: .* have 3 frames"):
        ClipSource(store, SIDE, None, seed=0, warp_on_device=False, frames=frames)


@pytest.mark.parametrize("warp_on_device", [False, True], ids=["host", "device"])
@pytest.mark.parametrize("size", [64, 48, 32])
def test_a_small_input_does_not_skip_pixels(stores: dict[str, Path], size: int, warp_on_device: bool):
    with Store(stores["stripes"]) as store:
        batch = load(ClipSource(store, size, None, seed=0, warp_on_device=warp_on_device))
    inside = batch["clip"][..., 1:-1, 1:-1]  # the border is half outside the picture where the factor is not whole
    assert (inside - 0.5).abs().max() < 0.01


def test_frames_are_averaged_as_long_as_they_are_larger_than_the_input():
    assert [reduction(224, size) for size in (256, 224, 128, 112, 96, 64, 56, 28, 14)] == [1, 1, 1, 2, 2, 2, 4, 8, 8]
    assert reduction(226, 56) == 2


def test_colour_is_gain_and_offset_of_the_draw_clamped_to_what_can_be_shown(stores: dict[str, Path]):
    with Store(stores["clouds"]) as store:
        plain = load(ClipSource(store, 64, None, seed=8, warp_on_device=False))["clip"]
        colored = load(ClipSource(store, 64, COLORED, seed=8, warp_on_device=False), epoch=2)["clip"]
    for sample in range(SAMPLES):
        change = COLORED.draw(8, 2, sample)
        expected = plain[sample] * torch.tensor(change.gain).float()[:, None, None] + change.offset
        assert_close(colored[sample], expected.clamp(0, 1), atol=1e-5, rtol=0)
    assert colored.min() == 0
    assert colored.max() == 1


@pytest.mark.parametrize(("key", "value"), [("kind", "pose"), ("joint_set", "mpii"), ("root", 7), ("units", "m")])
def test_a_store_of_something_else_is_refused(tmp_path: Path, key: str, value: object):
    wanted = rf"val\.h5: {key} is {value!r}, .*convert clips`"
    with Store(write_store(tmp_path / "val.h5", **{key: value})) as store, pytest.raises(UserError, match=wanted):
        ClipSource(store, SIDE, None, seed=0, warp_on_device=False)


def test_a_store_without_pixels_is_refused(tmp_path: Path):
    wanted = r"val\.h5 holds labels only"
    with Store(write_store(tmp_path / "val.h5", pixels=False)) as store, pytest.raises(UserError, match=wanted):
        ClipSource(store, SIDE, None, seed=0, warp_on_device=False)


def test_frames_that_are_not_square_are_refused(tmp_path: Path):
    path = write_store(tmp_path / "val.h5", shape=(FRAMES, 64, 32, 3))
    with Store(path) as store, pytest.raises(UserError, match=r"clips of \(3, 64, 32, 3\); wanted \(frames, side,"):
        ClipSource(store, 64, None, seed=0, warp_on_device=False)


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
    root = tmp_path_factory.mktemp("clips")
    write_store(root / "train.h5")
    write_store(root / "val.h5", subject="S8")
    return root


MOVES = {"rotation": 30.0, "scale": 0.2, "shift": 0.1, "flip": 0.5, "color": 0.4}


@pytest.mark.parametrize("warp", ["host", "device"])
def test_a_task_gets_finished_batches_augmented_in_training_only(root: Path, warp: Any):
    module, data = Recorder(), ClipData(root, batch_size=4, input_size=64, seed=3, warp=warp, **MOVES)
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
        assert [len(batch["clip"]) for batch in batches] == [4, 2]
    train, val = module.batches["train"][0], module.batches["val"][0]
    assert set(train) == {"clip", "joints", "index", "weight", "epoch", "total_samples"}
    assert train["clip"].shape == (4, FRAMES, 3, 64, 64)
    assert train["joints"].shape == (4, FRAMES, 17, 3)
    assert train["clip"].dtype == train["joints"].dtype == torch.float32
    on_device = warp == "device"
    assert on_device or train["clip"].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    with Store(root / "train.h5") as store:
        moved = load(ClipSource(store, 64, data.augmentation, seed=3, warp_on_device=on_device), epoch=0)
    with Store(root / "val.h5") as store:
        still = load(ClipSource(store, 64, None, seed=3, warp_on_device=on_device))
    assert_close(val["clip"], still["clip"][:4], rtol=0, atol=1e-6)
    assert_close(train["clip"], moved["clip"][train["index"]], rtol=0, atol=1e-6)
    assert_close(train["joints"], moved["joints"][train["index"]], rtol=0, atol=0)
    assert not torch.equal(moved["joints"], still["joints"])


def test_nothing_is_augmented_unless_it_is_asked_for(root: Path):
    data = ClipData(root, batch_size=2, input_size=64)
    train, plain = (data.source("train", augment) for augment in (True, False))
    assert torch.equal(load(train)["clip"], load(plain)["clip"])


def test_auto_warps_on_the_host_without_a_cuda_device(root: Path):
    def buffers(**settings: Any) -> set[str]:
        source = ClipData(root, batch_size=2, input_size=48, **settings).source("train", augment=True)
        return set(source.allocate(1))

    assert buffers() == {"clip", "joints"}
    assert buffers(warp="device") == {"stored", "input_to_stored", "joints"}


def test_threads_do_not_change_a_bit(root: Path):
    def clips(num_threads: int) -> list[Tensor]:
        data = ClipData(root, batch_size=4, input_size=48, seed=9, num_threads=num_threads, **MOVES)
        return [data.on_after_batch_transfer(batch, 0)["clip"] for batch in data.train_dataloader()]

    assert all(torch.equal(one, other) for one, other in zip(clips(0), clips(3), strict=True))


def test_validation_falls_back_to_the_test_split(tmp_path: Path):
    data = ClipData(tmp_path, batch_size=2)
    assert not data.selects_on_test
    assert data.store_path("val") == tmp_path / "val.h5"
    write_store(tmp_path / "test.h5", subject="S9")
    assert data.selects_on_test
    assert data.store_path("val") == data.store_path("test") == tmp_path / "test.h5"
    assert next(iter(data.val_dataloader()))["joints"].shape == (2, FRAMES, 17, 3)
    write_store(tmp_path / "val.h5", subject="S8")
    assert not data.selects_on_test
    assert data.store_path("val") == tmp_path / "val.h5"


def test_a_sequence_in_training_and_validation_is_refused(root: Path, tmp_path: Path):
    ClipData(root, batch_size=2).check()
    write_store(tmp_path / "train.h5")
    write_store(tmp_path / "test.h5")
    with pytest.raises(UserError, match=r"2 sequences are in train\.h5 and in test\.h5, such as 'S1/Walking 0'"):
        ClipData(tmp_path, batch_size=2).check()


def test_clips_of_unknown_subjects_may_have_equal_names(tmp_path: Path):
    write_store(tmp_path / "train.h5", subject="")
    write_store(tmp_path / "val.h5", subject="")
    ClipData(tmp_path, batch_size=2).check()


def test_check_refuses_stores_of_another_task_and_missing_ones(tmp_path: Path):
    with pytest.raises(StoreError, match=r"no store at .*train\.h5"):
        ClipData(tmp_path, batch_size=2).check()
    write_store(tmp_path / "train.h5", kind="pose")
    with pytest.raises(UserError, match="kind is 'pose'"):
        ClipData(tmp_path, batch_size=2).check()


def test_training_joints_are_those_that_training_sees(root: Path):
    with Store(root / "train.h5") as store:
        joints = np.array(store.labels["joints"])
    assert np.array_equal(ClipData(root, batch_size=2, **MOVES).training_joints(), joints)
    some = ClipData(root, batch_size=2, limit_samples=4, frames=2).training_joints()
    assert np.array_equal(some, joints[:4, :2])


def test_other_clips_may_be_served_as_the_test_split(root: Path, stores: dict[str, Path]):
    data = ClipData(root, batch_size=SAMPLES, input_size=SIDE)
    with Store(stores["dots"]) as store:
        data.read_from(store)
        batch = next(iter(data.test_dataloader()))
        assert np.array_equal(batch["clip"][0].numpy(), store.pixels(0))
    val: Source = data.source("val", augment=False)
    assert val.name(0) == "S8/Walking 1/000000"


def test_the_data_module_tells_whether_clips_are_drawn(root: Path, tmp_path: Path):
    assert ClipData(root, batch_size=2).synthetic
    write_store(tmp_path / "test.h5", synthetic=False)
    assert not ClipData(tmp_path, batch_size=2).synthetic


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_device_warp_agrees_with_cv2_on_a_gpu(stores: dict[str, Path]):
    with Store(stores["clouds"]) as store:
        host = load(ClipSource(store, SIDE, MOVING, seed=4, warp_on_device=False))
        source = ClipSource(store, SIDE, MOVING, seed=4, warp_on_device=True)
        buffers = source.allocate(len(source))
        for index in range(len(source)):
            source.fill(buffers, index, index, 0)
        on_gpu = finish({key: torch.from_numpy(array).cuda() for key, array in buffers.items()}, SIDE)
    assert on_gpu["clip"].is_cuda
    assert (on_gpu["clip"].cpu() - host["clip"]).abs().max() * 255 <= 0.55
