"""Checkpoints of networks that were trained nowhere, as a run would have written them."""

from pathlib import Path

import torch

from pose_lightning.cli import PoseCLI


def save(built: PoseCLI, path: Path, step: int) -> None:
    """Write the checkpoint of a model with its weights as they are."""
    model, data = built.model, built.datamodule
    data.check()
    torch.save(
        {
            "state_dict": model.state_dict(),
            "global_step": step,
            model.CHECKPOINT_HYPER_PARAMS_KEY: dict(model.hparams),
            data.CHECKPOINT_HYPER_PARAMS_KEY: dict(data.hparams),
            "task": model.record,
            type(data).__qualname__: data.state_dict(),
        },
        path,
    )
    data.teardown("fit")
