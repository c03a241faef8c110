"""Losses between the poses of clips; one number per clip, in float32 whatever the precision."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pose_lightning.joints import H36M, JointSet

LossName = Literal["mse", "smooth_l1", "l1"]

Poses = Float[Tensor, "b t j 3"]


def clip_loss(preds: Poses, target: Poses, *, loss: LossName = "mse", beta: float = 0.05) -> Float[Tensor, " b"]:
    """Mean over frames, joints and coordinates.

    Args:
        preds: Predicted poses.
        target: True poses, in the same unit.
        loss: `mse` is the mean square, which every report trained on; `l1` the mean of absolute values, which Sun et
            al. (ECCV 2018, section 3) take for integral regression; `smooth_l1` is square up to `beta` and straight
            beyond.
        beta: Where `smooth_l1` changes, in the unit of the poses. PyTorch's default of 1 would be a metre, and so a
            mean square.
    """
    difference = preds.float() - target.float()
    match loss:
        case "mse":
            errors = difference.square()
        case "l1":
            errors = difference.abs()
        case "smooth_l1":
            errors = F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none", beta=beta)
    return errors.mean(dim=(1, 2, 3))


def bone_length_loss(preds: Poses, target: Poses, *, joint_set: JointSet = H36M) -> Float[Tensor, " b"]:
    """Mean over frames and bones of how much too long or too short a bone is, in the poses' unit.

    Only where that unit is a length: coordinates that were scaled one by one have no bones.
    """
    starts, ends = (list(side) for side in zip(*joint_set.bones, strict=True))

    def lengths(poses: Tensor) -> Tensor:
        return torch.linalg.vector_norm(poses[:, :, ends].float() - poses[:, :, starts].float(), dim=-1)

    return (lengths(preds) - lengths(target)).abs().mean(dim=(1, 2))


def velocity_loss(preds: Poses, target: Poses) -> Float[Tensor, " b"]:
    """Mean distance between the predicted and the true step from each frame to the next, in the poses' unit.

    0 where a clip has a single frame, and so no step. This is the MPJVE of Pavllo et al., CVPR 2019, section 4.
    """
    if preds.shape[1] < 2:
        return preds.new_zeros(len(preds), dtype=torch.float32)
    steps = (preds.float() - target.float()).diff(dim=1)
    return torch.linalg.vector_norm(steps, dim=-1).mean(dim=(1, 2))
