"""Batch norms that take their statistics from all devices together."""

from typing import cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers.norm_act import BatchNormAct2d, SyncBatchNormAct, convert_sync_batchnorm
from torch.nn import Module

from pose_lightning.errors import UserError


class SyncBatchNorms(TorchSyncBatchNorm):
    """Lightning's plugin behind `trainer.sync_batchnorm`, with timm's converter in the place of PyTorch's.

    PyTorch's drops the activation that timm keeps inside its batch norms (`BatchNormAct2d`), and Lightning's way back
    drops it once more.
    """

    def apply(self, model: Module) -> Module:
        """Return the model with its batch norms synchronised."""
        return cast("Module", convert_sync_batchnorm(model))  # type: ignore[no-untyped-call]

    def revert(self, model: Module) -> Module:
        """Return the model with plain batch norms again, each in the mode that it was in."""
        modes = {name: module.training for name, module in model.named_modules()}
        reverted = super().revert(_revert_activated(model))
        for name, module in reverted.named_modules():
            module.training = modes[name]
        return reverted


def _revert_activated(module: Module) -> Module:
    """Make timm's synchronised batch norms `BatchNormAct2d` again; the other ones stay."""
    for name, child in module.named_children():
        if isinstance(child, SyncBatchNormAct):
            module.add_module(name, _plain(child))
        else:
            _revert_activated(child)
    return module


def _plain(norm: SyncBatchNormAct) -> BatchNormAct2d:
    with torch.device("meta"):  # every tensor is the synchronised norm's own
        plain = BatchNormAct2d(
            norm.num_features,
            norm.eps,
            cast("float", norm.momentum),
            affine=norm.affine,
            track_running_stats=norm.track_running_stats,
        )
    plain.weight, plain.bias = norm.weight, norm.bias
    plain.running_mean, plain.running_var = norm.running_mean, norm.running_var
    plain.num_batches_tracked = norm.num_batches_tracked
    plain.act, plain.drop = cast("Module", norm.act), cast("Module", norm.drop)
    return plain


def synchronise_by_timm(trainer: pl.Trainer) -> None:
    """Take timm's converter wherever the trainer would take PyTorch's.

    Raises:
        UserError: If the devices are CPUs, which PyTorch's synchronised batch norm does not know.
    """
    strategy = trainer.strategy
    if type(getattr(strategy, "_layer_sync", None)) is not TorchSyncBatchNorm:
        return
    if strategy.root_device.type == "cpu" and trainer.world_size > 1:
        raise UserError("trainer.sync_batchnorm=true needs GPUs: PyTorch joins no batch norms of CPUs; leave it out")
    strategy._layer_sync = SyncBatchNorms()  # type: ignore[attr-defined]


def has_synchronised_norms(trainer: pl.Trainer) -> bool:
    """Whether batch norms will take their statistics from all devices together."""
    return trainer.world_size > 1 and getattr(trainer.strategy, "_layer_sync", None) is not None
