"""Batches of clips and poses, from clip stores."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float32

from pose_lightning import geometry
from pose_lightning.data import LARGEST_SIDE, StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.joints import H36M, H36M_ROOT
from pose_lightning.loader import Buffers
from pose_lightning.reading.records import between, optional
from pose_lightning.regression.augmentation import UNCHANGED, Augmentation, Change
from pose_lightning.regression.framing import frame_to_input, reduction
from pose_lightning.store import Store
from pose_lightning.warping import warp

_NEEDED_ATTRS: Final = {"kind": "clips", "joint_set": H36M.name, "root": H36M_ROOT, "units": "mm"}


@runtime_checkable
class Clips(Protocol):
    """What is read of a split: a `Store`, or anything that serves clips in the same way, such as `convert.npy`'s pair.

    `read_into` is called from several threads at once.
    """

    @property
    def path(self) -> Path:
        """For messages."""

    @property
    def attrs(self) -> Mapping[str, Any]:
        """As in a clip store."""

    @property
    def labels(self) -> Mapping[str, np.ndarray]:
        """As in a clip store; read here is only `joints`."""

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Of a clip's pixels: (t, h, w, 3)."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """The clip's unique name."""

    def buffer(self, size: int) -> np.ndarray:
        """An array (size, t, h, w, 3) of uint8 that is good to read into."""

    def read_into(self, index: int, out: np.ndarray) -> None:
        """Read the clip's pixels into `out`, a contiguous uint8 array (t, h, w, 3)."""


class ClipSource:
    """How one clip gets into a batch's buffers: the pixels, and the poses of its frames in mm.

    Clips as large as the input that do not move are read straight into the batch. All others are warped once, all
    frames alike, straight from the stored pixels: with `warp_on_device` by `finish` in one batch, otherwise by cv2
    here, in the ring's threads. Where the input has half the stored resolution or less, the frames are first averaged
    over squares of 2, 4 or 8 px: bilinear look-ups alone would skip pixels.

    Args:
        clips: A clip store, or what serves clips as one does.
        input_size: Side of the network's input, px; it shows the whole frame.
        augmentation: Random changes, or None.
        seed: Of the random changes.
        warp_on_device: Leave the warp to `finish`.
        frames: Take only so many frames, the first ones; None takes all.

    Raises:
        UserError: If the store holds something else, labels only, frames that are not square, or too few.
    """

    def __init__(
        self,
        clips: Clips,
        input_size: int,
        augmentation: Augmentation | None,
        seed: int,
        *,
        warp_on_device: bool,
        frames: int | None = None,
    ) -> None:
        stored, self._stored_size = _check(clips)
        self.frames = stored if frames is None else frames
        if not 1 <= self.frames <= stored:
            raise UserError(f"data.frames {frames}: the clips of {clips.path} have {stored} frames; take 1 to {stored}")
        self.clips, self.input_size, self.seed = clips, input_size, seed
        self.augmentation = augmentation if augmentation and (augmentation.moves or augmentation.colors) else None
        self._reduction = reduction(self._stored_size, input_size)
        self._reduced_size = self._stored_size // self._reduction
        self._colors = augmentation is not None and augmentation.colors
        self._warps = self._reduced_size != input_size or (augmentation is not None and augmentation.moves)
        self._warps_later = self._warps and warp_on_device
        self._whole = stored == self.frames
        self._frame_to_input = frame_to_input(self._reduced_size, input_size)
        self._scratch = threading.local()

    def __len__(self) -> int:
        return len(self.clips)

    def name(self, index: int) -> str:
        """The clip's name in its store."""
        return self.clips.name(index)

    def totals(self, indices: np.ndarray) -> dict[str, float]:
        """Nothing: every clip weighs the same, and the loader counts them."""
        return {}

    def allocate(self, size: int) -> Buffers:
        """Buffers for `size` clips."""
        buffers: Buffers = {"joints": np.empty((size, self.frames, len(H36M), 3), np.float32)}
        if self._colors:
            buffers["gain"] = np.empty((size, 3), np.float32)
            buffers["offset"] = np.empty(size, np.float32)
        if self._warps_later:
            buffers["stored"] = self._pictures(size, self._reduced_size)
            buffers["input_to_stored"] = np.empty((size, 2, 3), np.float64)
        else:
            buffers["clip"] = self._pictures(size, self.input_size)
        return buffers

    def fill(self, buffers: Buffers, position: int, index: int, epoch: int) -> None:
        """Lay clip `index`, as it is in `epoch`, into the buffers at `position`."""
        change = UNCHANGED if self.augmentation is None else self.augmentation.draw(self.seed, epoch, index)
        buffers["joints"][position] = change.poses(self.clips.labels["joints"][index, : self.frames])
        if self._colors:
            buffers["gain"][position], buffers["offset"][position] = change.gain, change.offset
        if self._warps_later:
            self._read(index, buffers["stored"][position])
            buffers["input_to_stored"][position] = self._input_to_stored(change)
        elif self._warps:
            frames = self._own("reduced", (self.frames, *2 * (self._reduced_size,), 3))
            self._read(index, frames)
            _warp_into(buffers["clip"][position], frames, self._input_to_stored(change))
        else:
            self._read(index, buffers["clip"][position])

    def _input_to_stored(self, change: Change) -> geometry.Matrix:
        return geometry.invert(geometry.compose(change.matrix(self.input_size), self._frame_to_input))

    def _read(self, index: int, out: np.ndarray) -> None:
        """Read the clip's frames, averaged where the input is smaller."""
        if self._whole and self._reduction == 1:
            self.clips.read_into(index, out)
            return
        stored = self._own("stored", self.clips.shape or ())
        self.clips.read_into(index, stored)
        if self._reduction == 1:
            out[...] = stored[: self.frames]
            return
        for frame, place in zip(stored, out, strict=False):
            cv2.resize(frame, place.shape[:2], dst=place, interpolation=cv2.INTER_AREA)

    def _pictures(self, size: int, side: int) -> np.ndarray:
        """Room for `size` clips; page for page like the store's where they are read straight into it."""
        if self._whole and side == self._stored_size:
            return self.clips.buffer(size)
        return np.empty((size, self.frames, side, side, 3), np.uint8)

    def _own(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Memory that this thread reuses for every clip."""
        if not hasattr(self._scratch, name):
            setattr(self._scratch, name, np.empty(shape, np.uint8))
        return getattr(self._scratch, name)


def _check(clips: Clips) -> tuple[int, int]:
    """Return the stored clips' number of frames and the side of a frame."""
    for key, wanted in _NEEDED_ATTRS.items():
        if (found := clips.attrs.get(key)) != wanted:
            raise UserError(
                f"{clips.path}: {key} is {found!r}, but clip regression reads clip stores with {key} {wanted!r}; "
                "make one with `python -m pose_lightning.convert clips`, `human36m` or `demo`"
            )
    if clips.shape is None:
        raise UserError(
            f"{clips.path} holds labels only, no pixels to train or predict from; convert again with pixels"
        )
    if len(clips.shape) != 4 or clips.shape[1] != clips.shape[2] or clips.shape[3] != 3:
        raise UserError(f"{clips.path} has clips of {clips.shape}; wanted (frames, side, side, 3): square RGB frames")
    return clips.shape[0], clips.shape[1]


def _warp_into(out: np.ndarray, frames: np.ndarray, out_to_frame: np.ndarray) -> None:
    for place, frame in zip(out, frames, strict=True):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(frame, out_to_frame, place.shape[1::-1], dst=place, flags=flags)


def finish(batch: dict[str, Any], input_size: int) -> dict[str, Any]:
    """Return the batch of a `ClipSource` with its `clip`: warped if it is not yet, coloured, float32 in [0, 1].

    Runs on the device that the batch is on. Frames that were not warped there are channels last in memory, as stored.
    """
    fields = dict(batch)
    gain, offset = fields.pop("gain", None), fields.pop("offset", None)
    if "stored" in fields:
        stored, matrices = fields.pop("stored"), fields.pop("input_to_stored")
        size, frames = stored.shape[:2]
        pixels = warp(stored.flatten(0, 1), matrices.repeat_interleave(frames, dim=0), input_size)
        pixels = pixels.view(size, frames, *pixels.shape[1:])
    else:
        pixels = fields["clip"].permute(0, 1, 4, 2, 3).float()
    if gain is None:
        pixels.mul_(1 / 255)
    else:
        pixels.mul_((gain / 255)[:, None, :, None, None]).add_(offset[:, None, None, None, None]).clamp_(0, 1)
    return {**fields, "clip": pixels}


class ClipData(StoreDataModule):
    """Batches of clips from `ROOT/train.h5`, `val.h5` and `test.h5`.

    Each batch holds `clip` (b, t, 3, h, w) float32 RGB in [0, 1]; `joints` (b, t, j, 3) float32 in mm, relative to the
    root on every frame, camera axes, in `joints.H36M`'s order; and what every loader adds (`index`, `weight`,
    `total_samples`). Only training clips are augmented, and by default not even they: no report did.

    Where there is no `val.h5` but a `test.h5`, as `convert human36m` writes without `--validation`, validation reads
    the test split: `best.ckpt` is then chosen on it, as published protocol-1 numbers mostly are.

    Args:
        root: Directory of the stores.
        batch_size: Clips per optimizer step, over all devices and accumulation.
        input_size: Side of the network's input, px; it shows the whole frame.
        frames: Take only so many frames of each clip, the first ones.
        rotation: Largest turn about the optical axis, degrees; the poses turn too.
        rotation_probability: Share of the training clips that turn at all.
        scale: The side of what the input shows is multiplied by 1 - scale to 1 + scale.
        shift: Largest way of the picture along x and along y, as a share of its side: what a looser crop would allow.
        flip: Share of the training clips that are mirrored.
        contrast: Distances from mid grey are multiplied by 1 - contrast to 1 + contrast.
        brightness: Added to all channels, of a range of 1: -brightness to brightness.
        color: Each channel is multiplied by its own factor, 1 - color to 1 + color.
        warp: Where pictures are warped: cv2 on uint8 in the loader's threads (`host`), in one batch on the training
            `device`, or `auto`, which is the device if that is a CUDA one.
        num_threads: Threads that fill batches.
        ring_depth: Batches in memory, including the one in use.
        verify: Compare every clip with its checksum when it is read.
        seed: Of the order and the augmentation; the experiment's `seed_everything`.
        limit_samples: Train on the split's first clips only; other splits stay whole.
    """

    def __init__(
        self,
        root: Path,
        batch_size: int,
        *,
        input_size: int = 224,
        frames: int | None = None,
        rotation: float = 0.0,
        rotation_probability: float = 1.0,
        scale: float = 0.0,
        shift: float = 0.0,
        flip: float = 0.0,
        contrast: float = 0.0,
        brightness: float = 0.0,
        color: float = 0.0,
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
        self.input_size, self.frames, self.warp = input_size, frames, warp
        self.augmentation = Augmentation(
            rotation=rotation,
            rotation_probability=rotation_probability,
            scale=scale,
            shift=shift,
            flip=flip,
            contrast=contrast,
            brightness=brightness,
            color=color,
        )
        self._test_clips: Clips | None = None

    def read_from(self, clips: Clips) -> None:
        """Serve these clips as the test split, whatever the directory holds."""
        self._test_clips = clips

    def source(self, split: str, augment: bool) -> ClipSource:
        """The clips of a split, augmented or not."""
        given = self._test_clips if split == "test" else None
        return ClipSource(
            self.store(split) if given is None else given,
            self.input_size,
            self.augmentation if augment else None,
            self.seed,
            warp_on_device=self._warps_on_device(),
            frames=self.frames,
        )

    def store_path(self, split: str) -> Path:
        """Where a split's store is, or should be; validation falls back to the test split."""
        return super().store_path("test" if split == "val" and self.selects_on_test else split)

    @property
    def selects_on_test(self) -> bool:
        """Whether there is no validation split, so that `best.ckpt` is chosen on the test split."""
        val, test = (super(ClipData, self).store_path(split) for split in ("val", "test"))
        return test.is_file() and not val.is_file()

    def check(self) -> None:
        """Open the stores of training and validation once, so that a run is not begun in vain.

        Raises:
            UserError: If one is missing (the message says how to make it), damaged or no clip store, or if clips of one
                sequence are in both. Clips of unknown subjects have no sequence that could be compared.
        """
        sequences: list[set[str]] = []
        for split in ("train", "val"):
            with self.store(split) as store:
                _check(store)
                known = store.labels["subject"] != ""
                sequences.append(set(store.labels["sequence"][known].tolist()))
        if both := sequences[0] & sequences[1]:
            raise UserError(
                f"{self.root}: {len(both)} sequences are in train.h5 and in {self.store_path('val').name}, such as "
                f"{min(both)!r}: they are not of one conversion; convert again"
            )

    def training_joints(self) -> Float32[np.ndarray, "n t 17 3"]:
        """The poses that training learns from, mm, as they are without augmentation; `TargetTransform.fit` wants them.

        Raises:
            StoreError: If the training store is missing or damaged.
        """
        with self.store("train") as store:
            _check(store)
            joints: np.ndarray = store.labels["joints"][: self.limit_samples, : self.frames]
        return joints

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Finish the batch on the device that it has come to."""
        return finish(batch, self.input_size)

    facts_shape: ClassVar[Mapping[str, Any]] = {
        **StoreDataModule.facts_shape,
        "frames": optional(between(1, LARGEST_SIDE)),
        "side": optional(between(1, LARGEST_SIDE)),
        "frame_rate": optional(between(1e-3, 1e5)),
        "margin": optional(between(0.0, 2.0)),
    }

    def describe(self, store: Store) -> dict[str, Any]:
        """Frames and side of the clips as stored, their rate and margin where known, and whether they are drawn."""
        _check(store)
        rate, margin = store.attrs.get("frame_rate"), store.attrs.get("margin")
        frames, side = (None, None) if store.shape is None else map(int, store.shape[:2])
        return {
            **super().describe(store),
            "frames": frames,
            "side": side,
            "frame_rate": None if rate is None else float(rate),
            "margin": None if margin is None else float(margin),
        }

    def _warps_on_device(self) -> bool:
        if self.warp != "auto":
            return self.warp == "device"
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
