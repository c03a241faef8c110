"""A run's network as it was trained, and what it predicts."""

import argparse
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import torch

from pose_lightning import cli, kinds, sealed, trust, weights
from pose_lightning.cli import PoseCLI
from pose_lightning.data import FREE, StoreDataModule
from pose_lightning.errors import UserError
from pose_lightning.manner import LARGEST_BATCH, UNSCALED, DecodeMethod, Scales, read_scales
from pose_lightning.runs import RunDirectory
from pose_lightning.scoring import Found
from pose_lightning.sealed import SealError
from pose_lightning.trust import NOBODY, Trust


@dataclass(frozen=True)
class Manner:
    """How a network is asked, beyond what it was trained to answer; the training's own validation has none of it.

    Attributes:
        flip_test: Average with what the mirrored image gives.
        scales: Of persons: average over these; only networks of heatmaps can.
        decoding: How their peaks become positions, where that is not as the run says.
    """

    flip_test: bool = False
    scales: Scales = UNSCALED
    decoding: DecodeMethod | None = None

    @property
    def of_poses(self) -> dict[str, bool]:
        """The options that only networks of heatmaps have, and whether they are given."""
        return {"--scales": self.scales != UNSCALED, "--decoding": self.decoding is not None}

    def __str__(self) -> str:
        """What a message adds, such as `, flip test, scales 0.9 1 1.1`."""
        scales = " ".join(f"{scale:g}" for scale in self.scales)
        said = [
            "flip test" if self.flip_test else "",
            f"scales {scales}" if self.scales != UNSCALED else "",
            self.decoding or "",
        ]
        return "".join(f", {each}" for each in said if each)

    @property
    def note(self) -> str:
        """A sentence below a table; none for a plain one."""
        return f"Asked with{str(self)[1:]}." if self != Manner() else ""

    @property
    def facts(self) -> dict[str, Any]:
        """For `metrics.json`."""
        return {"flip_test": self.flip_test, "scales": list(self.scales), "decoding": self.decoding}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Self:
        """What `metrics.json` says of it; a file that says nothing was asked plainly."""
        return cls(
            flip_test=bool(facts.get("flip_test")),
            scales=tuple(facts.get("scales") or UNSCALED),
            decoding=facts.get("decoding"),
        )

    def apply(self, model: Any, data: Any) -> None:
        """Ask a model so.

        Raises:
            UserError: If it has no heatmaps to average or decode.
        """
        model.flip_test = self.flip_test
        kind = kinds.of(model)
        if kind is not None and kind.has("testing"):
            model.scales = data.scales = self.scales
            model.decoding = self.decoding or model.decoding
        elif given := [name for name, is_given in self.of_poses.items() if is_given]:
            raise UserError(f"{', '.join(given)} cannot go with {type(model).__name__}, which has no heatmaps")


PLAIN: Final = Manner()


def open_weights(path: Path) -> Any:
    """A file of weights alone, as the task reads it that can.

    Raises:
        UserError: If it cannot be read, or is of another task.
    """
    return kinds.having("weight_file")[0].part("weight_file").WeightFile.open(path)


def manner_from(options: argparse.Namespace) -> Manner:
    """What `manner.add_arguments` asked for."""
    scales = UNSCALED if options.scales is None else read_scales(options.scales)
    return Manner(flip_test=options.flip_test, scales=scales, decoding=options.decoding)


def load(
    run: RunDirectory,
    *,
    manner: Manner = PLAIN,
    trusted: Trust = NOBODY,
    root: Path | None = None,
    accept_changed_stores: bool = False,
) -> tuple[PoseCLI, Path, int]:
    """What the run's configuration describes, with the weights of the checkpoint to score; its path and its step.

    That is the best one, or the last where there is no best one or the run says `checkpoint.evaluate=last`. No store
    is opened: the data module has its facts from the checkpoint, and compares every store that is opened later.

    Args:
        run: The run.
        manner: How the network is asked.
        trusted: Names that the configuration may import beside those that are known.
        root: Directory of the stores, where it is not the run's.
        accept_changed_stores: Open stores too that are not those of the run.

    Raises:
        UserError: If there is no checkpoint, it is damaged or was trained with other settings than the configuration's,
            the configuration names what is neither known nor trusted, or the network cannot be asked in this manner.
    """
    settings = trust.read_config(run.config, trusted)
    if not (run.best.is_file() or run.last.is_file()):
        raise UserError(
            f"{run.path} has no checkpoint yet; `python -m pose_lightning.fit --resume {run.path}` trains it"
        )
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # `fit` has said it all
    built = cli.build_for_scoring(settings, root=root)
    best = run.best.is_file() and built.config.checkpoint.evaluate == "best"
    checkpoint = run.best if best or not run.last.is_file() else run.last
    try:
        state = sealed.load(checkpoint)
    except SealError as error:
        if checkpoint == run.best and run.last.is_file():
            error.add_note(f"remove it, and {run.last.name} is scored")
        raise
    built.model.check_settings(state, str(checkpoint))
    built.datamodule.check_settings(state, str(checkpoint), FREE | {"batch_size"})
    built.datamodule.accept_changed_stores = accept_changed_stores
    built.datamodule.load_state_dict(data_state(state, built.datamodule, checkpoint))
    built.model.check_facts(built.datamodule.facts, str(checkpoint))
    weights.check(state["state_dict"], built.model.state_dict(), f"{checkpoint} does not fit its run's config.yaml")
    built.model.load_state_dict(state["state_dict"])
    manner.apply(built.model, built.datamodule)
    return built, checkpoint, int(state["global_step"])


def data_state(checkpoint: Mapping[str, Any], data: StoreDataModule, path: Path) -> dict[str, Any]:
    """The state of the data module in a checkpoint.

    Raises:
        UserError: If it was trained with another one.
    """
    state = checkpoint.get(type(data).__qualname__)
    if not isinstance(state, dict):
        raise UserError(f"{path} was not trained with data of {type(data).__name__}; put config.yaml back as it was")
    return state


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
