"""The state of every generator that training may draw from, in each process, as part of a checkpoint."""

import random
from typing import Any, Final

import numpy as np
import pytorch_lightning as pl
import torch

_CPU: Final = torch.device("cpu")


def capture(device: torch.device) -> dict[str, Any]:
    """The states of Python's, NumPy's and PyTorch's global generators and of the device's, as plain numbers."""
    version, words, gauss = random.getstate()
    numpy: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002 - libraries draw from it
    return {
        "python": [version, list(words), gauss],
        "numpy": {**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def restore(state: dict[str, Any], device: torch.device) -> None:
    """Set the generators to what `capture` found; the device's only on the kind of device that it was found on."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = state["numpy"]
    key = np.array(numpy["state"]["key"], np.uint32)
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})  # noqa: NPY002 - as above
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)


class RandomStates(pl.Callback):
    """Keeps the generators of every process in the checkpoint: dropout of a resumed run goes on where it was.

    A run that goes on with more processes than it had gives the new ones the state of the first: they all started
    from one seed.
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        self.trainer = trainer
        self._loaded: list[dict[str, Any]] | None = None
        self._before_validation: dict[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The states by rank; every process takes part."""
        own = self._before_validation or capture(self.trainer.strategy.root_device)
        if self.trainer.world_size == 1:
            return {"ranks": [own]}
        ranks: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(ranks, own)
        return {"ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until training begins: what is set up until then may draw, too."""
        states, current = state_dict["ranks"], capture(_CPU)
        try:
            for state in (states[0], *states[1:]):
                restore(state, _CPU)  # those of a damaged checkpoint fail here, where it is read
        finally:
            restore(current, _CPU)
        self._loaded = states

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set this process's generators."""
        if self._loaded is not None:
            rank = trainer.global_rank if trainer.global_rank < len(self._loaded) else 0
            restore(self._loaded[rank], trainer.strategy.root_device)
            self._loaded = None

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        """Note the state before a validation: its loader may draw before the first hook, and does so again."""
        fetcher = trainer.fit_loop._data_fetcher
        if fetcher is not None and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher):
            self._before_validation = capture(trainer.strategy.root_device)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From here on, the state as it is."""
        self._before_validation = None
