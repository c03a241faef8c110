"""From poses in mm to the space that a network learns in, and back."""

from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from pose_lightning.errors import UserError
from pose_lightning.joints import H36M

TargetName = Literal["none", "minmax", "standardize"]

CONSTANT_BELOW: Final = 1e-3
"""mm; a coordinate that varies less over the training split is constant: dividing by so little would learn noise."""

RANGE_TOLERANCE: Final = 1e-4
"""By which a label may lie outside a sigmoid's range: float32 rounds the ends of a fitted range by 1e-7."""


class TargetTransform(nn.Module):
    """An affine map of every coordinate of every joint: target = (mm - center) / scale + middle.

    `none` gives metres. `minmax` maps each coordinate's range over the training split to 0 to 1, which is what makes a
    sigmoid head meaningful; poses beyond the training split's range lie outside, and a sigmoid cannot reach them.
    `standardize` subtracts the mean over the training split and divides by the standard deviation. A coordinate that is
    constant, as the root's are, becomes 0.5 (`minmax`) or 0 (`standardize`), comes back exactly, and is learnt in mm.

    The fitted numbers are buffers: a checkpoint holds them, and they follow the module to its device.

    Args:
        name: Which of the three.
    """

    center: Float32[Tensor, "17 3"]
    scale: Float32[Tensor, "17 3"]
    middle: Float32[Tensor, ""]
    fitted: Bool[Tensor, ""]

    def __init__(self, name: TargetName) -> None:
        super().__init__()
        self.name = name
        shape = (len(H36M), 3)
        self.register_buffer("center", torch.zeros(shape))
        self.register_buffer("scale", torch.full(shape, 1000.0))
        self.register_buffer("middle", torch.tensor(0.5 if name == "minmax" else 0.0))
        self.register_buffer("fitted", torch.tensor(name == "none"))
        self._known_as_fitted = False

    def fit(self, joints: Float32[np.ndarray, "n t 17 3"]) -> None:
        """Take the ranges or the means and deviations of the training split's poses, mm; `none` takes nothing.

        The same poses give the same numbers on every rank.

        Raises:
            UserError: If a value is not finite.
        """
        if not np.isfinite(joints).all():
            clip, frame, joint, axis = np.argwhere(~np.isfinite(joints))[0].tolist()
            value = joints[clip, frame, joint, axis]
            raise UserError(
                f"training clip {clip}, frame {frame}: {_coordinate(joint, axis)} is {value}; convert the clips again, "
                "which names the place in their source"
            )
        if self.name == "none":
            return
        low, high = joints.min(axis=(0, 1)).astype(np.float64), joints.max(axis=(0, 1)).astype(np.float64)
        center = (low + high) / 2
        scale = high - low
        constant = scale < CONSTANT_BELOW
        if self.name == "standardize":
            center = np.where(constant, center, joints.mean(axis=(0, 1), dtype=np.float64))
            scale = joints.std(axis=(0, 1), dtype=np.float64)
        self.center.copy_(torch.from_numpy(center))
        self.scale.copy_(torch.from_numpy(np.where(constant, 1.0, scale)))
        self.fitted.fill_(True)

    def forward(self, joints: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 17 3"]:
        """Poses in mm as targets.

        Raises:
            RuntimeError: If the transform was neither fitted nor loaded from a checkpoint.
        """
        self._check_fitted()
        return (joints - self.center) / self.scale + self.middle

    def inverse(self, targets: Float[Tensor, "*batch 17 3"]) -> Float[Tensor, "*batch 17 3"]:
        """What a network says as poses in mm.

        Raises:
            RuntimeError: If the transform was neither fitted nor loaded from a checkpoint.
        """
        self._check_fitted()
        return (targets - self.middle) * self.scale + self.center

    def _check_fitted(self) -> None:
        # asked of the buffer only once: on a GPU every answer waits for the device
        self._known_as_fitted = self._known_as_fitted or bool(self.fitted)
        if not self._known_as_fitted:
            raise RuntimeError(f"the target transform {self.name!r} was neither fitted nor loaded from a checkpoint")


def check_range(transform: TargetTransform, joints: Float32[np.ndarray, "n t 17 3"]) -> None:
    """Refuse poses that a sigmoid head cannot say, because their targets are not in 0 to 1.

    Args:
        transform: Fitted, if it is to be.
        joints: The training split's poses, mm.

    Raises:
        UserError: If a target lies outside; the message names the farthest.
    """
    targets = transform(torch.tensor(joints, device=transform.center.device)).cpu().numpy()
    excess = np.abs(targets - 0.5) - 0.5
    if excess.max() <= RANGE_TOLERANCE:
        return
    clip, frame, joint, axis = (int(part) for part in np.unravel_index(excess.argmax(), excess.shape))
    unit = " m" if transform.name == "none" else ""
    raise UserError(
        f"a sigmoid head says 0 to 1, but {_coordinate(joint, axis)} is {targets[clip, frame, joint, axis]:.3f}{unit} "
        f"in training clip {clip}, frame {frame} with target_transform={transform.name}; take target_transform=minmax, "
        "or head_activation=linear"
    )


def _coordinate(joint: int, axis: int) -> str:
    return f"{'xyz'[axis]} of the {H36M.names[joint]}"
