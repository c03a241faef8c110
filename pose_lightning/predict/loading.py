"""The network that a command line names, where PyTorch runs it."""

import argparse
from pathlib import Path
from typing import Any

from pose_lightning import kinds
from pose_lightning.errors import UserError
from pose_lightning.runs import RunDirectory
from pose_lightning.trained import load, manner_from, open_weights
from pose_lightning.trust import Trust


def of_weights(options: argparse.Namespace) -> Any:
    """The one of `--weights`.

    Raises:
        UserError: If it cannot be had.
    """
    estimator = kinds.having("weight_file")[0].part("estimator")
    file = open_weights(options.weights)
    return estimator.of_weights(file, input_size=options.input_size, manner=manner_from(options))


def of_run(path: Path, options: argparse.Namespace, trusted: Trust) -> Any:
    """That of a run.

    Raises:
        UserError: If it cannot be had.
    """
    built, checkpoint, step = load(RunDirectory.open(path), manner=manner_from(options), trusted=trusted)
    kind = kinds.of(built.model)
    if kind is None or not kind.has("estimator"):
        names = kinds.listed(kinds.having("estimator"), " and ")
        raise UserError(
            f"{path} is a run of {type(built.model).__name__}, whose predictions cannot be shown: it is derived from "
            f"none of {names}"
        )
    return kind.part("estimator").of_run(built, checkpoint, step)
