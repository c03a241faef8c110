"""A run's network as it was trained, and what it predicts."""

import logging
from pathlib import Path
from typing import Any, Final

import torch

from pose_lightning import cli
from pose_lightning.cli import PoseCLI
from pose_lightning.errors import UserError
from pose_lightning.runs import RunDirectory
from pose_lightning.scoring import Found

LARGEST_BATCH: Final = 32
"""One device predicts what several may have trained on; the batch changes nothing but the memory."""


def load(run: RunDirectory, *, flip_test: bool = False) -> tuple[PoseCLI, Path, int]:
    """What the run's configuration describes, with the weights of the checkpoint to score; its path and its step.

    That is the best one, or the last where there is no best one or the run says `checkpoint.evaluate=last`.
    """
    if not (run.best.is_file() or run.last.is_file()):
        raise UserError(
            f"{run.path} has no checkpoint; `python -m pose_lightning.fit --resume` needs one too: start anew"
        )
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # `fit` has said it all
    built = cli.build(
        [f"--config={run.config}", "--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"],
        from_checkpoint=True,
    )
    best = run.best.is_file() and built.config.checkpoint.evaluate == "best"
    checkpoint = run.best if best or not run.last.is_file() else run.last
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    built.model.load_state_dict(state["state_dict"])
    built.model.flip_test = flip_test
    return built, checkpoint, int(state["global_step"])


def predict(built: PoseCLI, split: str) -> Found:
    """What the model predicts for every sample of a split, in the store's order."""
    data = built.datamodule
    data.predict_split = split
    data.batch_size = min(data.batch_size, LARGEST_BATCH)
    batches: Any = built.trainer.predict(built.model, datamodule=data)
    joined = {key: torch.cat([batch[key] for batch in batches]).cpu() for key in batches[0]}
    real = joined["weight"] > 0
    order = joined["index"][real].argsort()
    if not torch.equal(joined["index"][real][order], torch.arange(len(order))):
        raise AssertionError("the loader left out or repeated a sample")
    return {
        key: values[real][order].double().numpy() for key, values in joined.items() if key not in ("index", "weight")
    }
