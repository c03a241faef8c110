"""Batches of person crops and joints, from pose stores."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import cv2
import numpy as np
import torch

from pose_lightning import geometry
from pose_lightning.data import LARGEST_SIDE, StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.heatmap.augmentation import UNCHANGED, Augmentation
from pose_lightning.heatmap.framing import image_to_crop, reduction
from pose_lightning.heatmap.truth import units
from pose_lightning.joints import JointSet, fault
from pose_lightning.loader import Buffers
from pose_lightning.manner import UNSCALED, Scales
from pose_lightning.reading.records import between, optional
from pose_lightning.store import Store
from pose_lightning.warping import warp

PERSON: Final = "person_size"
"""Label of a store: width and height of the person's tight box, px."""

_NEEDED_ATTRS: Final = {"kind": "pose", "origin": 0, "units": "px"}


def joint_set_of(store: Store) -> JointSet:
    """The joint set of a pose store.

    Raises:
        UserError: If the store holds something else.
    """
    for key, wanted in _NEEDED_ATTRS.items():
        if (found := store.attrs.get(key)) != wanted:
            raise UserError(
                f"{store.path}: {key} is {found!r}, but heatmap estimation reads pose stores with {key} {wanted!r}; "
                "make one with `python -m pose_lightning.convert mpii`, `lsp`, `coco` or `demo`"
            )
    return JointSet.read(store.attrs.get("joint_set"), store.path)


class PoseSource:
    """How one person gets into a batch's buffers: the pixels, the joints in input px, and the way back to the image.

    The stored crop is warped once, straight to the input, whatever the augmentation. With `warp_on_device` only the
    crop is laid into the buffer and `finish` warps the whole batch; otherwise cv2 does it here, in the ring's threads.

    Where the input shows the box at half the crop's resolution or less, the crop is first averaged over squares of 2, 4
    or 8 px: bilinear look-ups alone would skip pixels. Both ways of warping start from the same averaged crop.

    Args:
        store: A pose store with pixels, as `convert mpii`, `lsp` and `demo` write them.
        input_size: Of the network's input, px.
        augmentation: Random changes, or None.
        seed: Of the random changes.
        warp_on_device: Leave the warp to `finish`.
        scales: Also lay `views` into the batch, the person larger by each of these factors; none if it is `UNSCALED`.

    Raises:
        UserError: If the store holds something else, or labels only.
    """

    def __init__(
        self,
        store: Store,
        input_size: geometry.Size,
        augmentation: Augmentation | None,
        seed: int,
        *,
        warp_on_device: bool,
        scales: Scales = UNSCALED,
    ) -> None:
        self.joint_set = joint_set_of(store)
        if store.shape is None:
            raise UserError(
                f"{store.path} holds labels only, no pixels to train or predict from; convert again with "
                "`--images DIR` and without `--labels-only`"
            )
        self.store = store
        self.input_size, self.warp_on_device = input_size, warp_on_device
        scales = () if scales == UNSCALED else scales
        self._zooms = [geometry.turn_and_scale(0.0, scale, input_size) for scale in scales]
        self.augmentation, self.seed = augmentation, seed
        self._reduction = reduction(store.shape[0], float(store.attrs["box_in_crop"]), input_size)
        self._crop_size = store.shape[0] // self._reduction
        labels = store.labels
        heights = geometry.shown_heights(labels["box"], labels.get(PERSON), input_size)
        self._image_to_input = geometry.box_to_input(labels["center"], heights, input_size)
        self._image_to_crop = image_to_crop(labels["crop"], self._reduction)
        self._units = units(labels, self.joint_set, store.path)
        self._mirrored = list(self.joint_set.mirrored)
        self._scratch = threading.local()

    def __len__(self) -> int:
        return len(self.store)

    def name(self, index: int) -> str:
        """The sample's name in its store."""
        return self.store.name(index)

    def totals(self, indices: np.ndarray) -> dict[str, float]:
        """How many joints of these samples are labelled; what the loss over them divides by."""
        return {"labelled": float(self.store.labels["labelled"][indices].sum())}

    def allocate(self, size: int) -> Buffers:
        """Buffers for `size` samples."""
        joints = len(self.joint_set)
        buffers: Buffers = {
            "joints": np.empty((size, joints, 2), np.float32),
            "labelled": np.empty((size, joints), np.bool_),
            "visible": np.empty((size, joints), np.bool_),
            "unit": np.empty(size, np.float64),
            "matrix": np.empty((size, 2, 3), np.float64),
            "gain": np.empty((size, 3), np.float32),
            "offset": np.empty(size, np.float32),
        }
        if self.warp_on_device:
            buffers["crop"] = np.empty((size, self._crop_size, self._crop_size, 3), np.uint8)
            buffers["input_to_crop"] = np.empty((size, 2, 3), np.float64)
        else:
            buffers["image"] = np.empty((size, *geometry.sides(self.input_size), 3), np.uint8)
        if self._zooms:
            shape = (2, 3) if self.warp_on_device else (*geometry.sides(self.input_size), 3)
            name, dtype = ("view_to_crop", np.float64) if self.warp_on_device else ("views", np.uint8)
            buffers[name] = np.empty((size, len(self._zooms), *shape), dtype)
        return buffers

    def fill(self, buffers: Buffers, position: int, index: int, epoch: int) -> None:
        """Lay sample `index`, as it is in `epoch`, into the buffers at `position`."""
        change = UNCHANGED if self.augmentation is None else self.augmentation.draw(self.seed, epoch, index)
        image_to_input = geometry.compose(change.matrix(self.input_size), self._image_to_input[index])
        input_to_image = geometry.invert(image_to_input)
        input_to_crop = geometry.compose(self._image_to_crop[index], input_to_image)
        labels = self.store.labels
        order = self._mirrored if change.mirrored else slice(None)
        buffers["joints"][position] = geometry.apply_to_points(image_to_input, labels["joints"][index])[order]
        buffers["labelled"][position] = labels["labelled"][index][order]
        buffers["visible"][position] = labels["visible"][index][order]
        buffers["unit"][position] = self._units[index]
        buffers["matrix"][position] = input_to_image
        buffers["gain"][position], buffers["offset"][position] = change.gain, change.offset
        if self.warp_on_device:
            self._read_crop(index, buffers["crop"][position])
            buffers["input_to_crop"][position] = input_to_crop
        else:
            crop = self._own("reduced", self._crop_size)
            self._read_crop(index, crop)
            _warp_into(buffers["image"][position], crop, input_to_crop)
        for place, zoom in enumerate(self._zooms):
            view_to_crop = geometry.compose(input_to_crop, geometry.invert(zoom))
            if self.warp_on_device:
                buffers["view_to_crop"][position, place] = view_to_crop
            else:
                _warp_into(buffers["views"][position, place], crop, view_to_crop)

    def _read_crop(self, index: int, out: np.ndarray) -> None:
        if self._reduction == 1:
            self.store.read_into(index, out)
            return
        full = self._own("full", out.shape[0] * self._reduction)
        self.store.read_into(index, full)
        cv2.resize(full, out.shape[:2], dst=out, interpolation=cv2.INTER_AREA)

    def _own(self, name: str, size: int) -> np.ndarray:
        """A square picture that this thread reuses for every sample."""
        if not hasattr(self._scratch, name):
            setattr(self._scratch, name, np.empty((size, size, 3), np.uint8))
        return getattr(self._scratch, name)


def _warp_into(out: np.ndarray, picture: np.ndarray, out_to_picture: np.ndarray) -> None:
    cv2.warpAffine(picture, out_to_picture, out.shape[1::-1], dst=out, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def finish(batch: dict[str, Any], input_size: geometry.Size) -> dict[str, Any]:
    """Return the batch of a `PoseSource` with its `image`: warped if it is not yet, coloured, float32 in [0, 1].

    Runs on the device that the batch is on. An image that the host warped is channels last in memory. With several
    scales, `views` (b, v, 3, h, w) are the same.
    """
    fields = dict(batch)
    gain, offset = fields.pop("gain"), fields.pop("offset")
    if "crop" in fields:
        crop = fields.pop("crop")
        pixels = warp(crop, fields.pop("input_to_crop"), input_size)
        zoomed = fields.pop("view_to_crop").unbind(1) if "view_to_crop" in fields else ()
        views = [warp(crop, matrices, input_size) for matrices in zoomed]
    else:
        pixels = fields["image"].permute(0, 3, 1, 2).float()
        laid = fields.pop("views").unbind(1) if "views" in fields else ()
        views = [view.permute(0, 3, 1, 2).float() for view in laid]
    for each in (pixels, *views):
        each.mul_((gain / 255)[..., None, None]).add_(offset[:, None, None, None]).clamp_(0, 1)
    return {**fields, "image": pixels, **({"views": torch.stack(views, dim=1)} if views else {})}


class PoseData(StoreDataModule):
    """Batches of persons from `ROOT/train.h5`, `val.h5` and `test.h5`.

    Each batch holds `image` (b, 3, h, w) float32 RGB in [0, 1]; `joints` (b, j, 2) float32 in input px, NaN where
    unlabelled, in the order of the stores' joint set; `labelled` and `visible` (b, j) bool; `matrix` (b, 2, 3) float64
    from input px to image px; `unit` (b,) float64, what the person's distances are measured by, such as the size of
    the head, in image px, NaN where unknown (`heatmap.truth.units`); and what every loader adds (`index`,
    `weight`, `total_labelled`, `total_samples`). The joints of a mirrored person have changed names: `matrix` takes
    them back to their places in the image, under the mirrored names. Only training samples are augmented. Where
    `scales` is set, the others' batches also hold `views` (b, v, 3, h, w), the person larger by each of the factors.

    Args:
        root: Directory of the stores.
        batch_size: Samples per optimizer step, over all devices and accumulation.
        input_size: Side of the network's input, px, or its height and width, as `[256, 192]`; it shows the person's box
            (`geometry.shown_heights`).
        rotation: Largest turn, degrees. A crop of 448 px, with the box at 256, covers 30 degrees and a scale of 0.25.
        rotation_probability: Share of the training samples that turn at all.
        scale: The box's side is multiplied by 1 - scale to 1 + scale.
        flip: Share of the training samples that are mirrored.
        contrast: Distances from mid grey are multiplied by 1 - contrast to 1 + contrast.
        brightness: Added to all channels, of a range of 1: -brightness to brightness.
        color: Each channel is multiplied by its own factor, 1 - color to 1 + color.
        warp: Where pictures are warped: cv2 on uint8 in the loader's threads (`host`), in one batch on the training
            `device`, or `auto`, which is the device if that is a CUDA one.
        num_threads: Threads that fill batches.
        ring_depth: Batches in memory, including the one in use.
        verify: Compare every sample with its checksum when it is read.
        seed: Of the order and the augmentation; the experiment's `seed_everything`.
        limit_samples: Train on the split's first samples only; other splits stay whole.
    """

    def __init__(
        self,
        root: Path,
        batch_size: int,
        *,
        input_size: int | tuple[int, int] = 256,
        rotation: float = 30.0,
        rotation_probability: float = 0.4,
        scale: float = 0.25,
        flip: float = 0.5,
        contrast: float = 0.2,
        brightness: float = 0.1,
        color: float = 0.4,
        warp: Literal["auto", "host", "device"] = "auto",
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
        self.input_size, self.warp = input_size, warp
        self.scales: Scales = UNSCALED
        self.augmentation = Augmentation(
            rotation=rotation,
            rotation_probability=rotation_probability,
            scale=scale,
            flip=flip,
            contrast=contrast,
            brightness=brightness,
            color=color,
        )

    @property
    def joint_set(self) -> JointSet:
        """That of the training store."""
        return JointSet.read(self.facts["joint_set"], self.store_path("train"))

    def store(self, split: str) -> Store:
        """The split's store.

        Raises:
            UserError: As `StoreDataModule.store`, and if it is of another joint set than the training store.
        """
        store = super().store(split)
        if self._facts is None:
            return store
        known, current = JointSet.read(self._facts["joint_set"], "the run's checkpoint"), joint_set_of(store)
        if (difference := known.differences(current)) is not None:
            store.close()
            raise UserError(
                f"{store.path} has the joint set {current.name}, and training had {known.name}: {difference}; give a "
                "store of the same joints, or convert it to them"
            )
        return store

    def source(self, split: str, augment: bool) -> PoseSource:
        """The persons of a split, augmented or not."""
        return PoseSource(
            self.store(split),
            self.input_size,
            self.augmentation if augment else None,
            self.seed,
            warp_on_device=self._warps_on_device(),
            scales=UNSCALED if augment else self.scales,
        )

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Finish the batch on the device that it has come to."""
        return finish(batch, self.input_size)

    facts_shape: ClassVar[Mapping[str, Any]] = {
        **StoreDataModule.facts_shape,
        "joint_set": lambda value: fault(value) is None,
        "taught": [bool],
        "crop": optional(between(1, LARGEST_SIDE)),
        "box_in_crop": optional(between(1, LARGEST_SIDE)),
    }

    def describe(self, store: Store) -> dict[str, Any]:
        """The joint set, which joints are labelled at all, how people were cut out, and whether they are synthetic."""
        pixels = store.shape is not None
        return {
            **super().describe(store),
            "joint_set": joint_set_of(store).plain(),
            "taught": np.any(store.labels["labelled"], axis=0).tolist(),
            "crop": int(store.shape[0]) if store.shape is not None else None,
            "box_in_crop": int(store.attrs["box_in_crop"]) if pixels else None,
        }

    def _warps_on_device(self) -> bool:
        if self.warp != "auto":
            return self.warp == "device"
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
