"""Compiled networks."""

from typing import Any, Final

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

BACKEND: Final = "inductor"


class CompiledNetwork(Callback):
    """Compiles the task's network when training begins, with `torch.compile`.

    In place: the names of weights in checkpoints stay, so that a run goes on, is scored and is fine-tuned without it.
    """

    def __init__(self, backend: str = BACKEND) -> None:
        self.backend = backend

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Compile; nothing is run before the first batch."""
        network: Any = pl_module.model
        if stage == "fit":
            network.compile(backend=self.backend)
