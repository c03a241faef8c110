"""The size of a run's network."""

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pose_lightning import cli, trust
from pose_lightning.errors import UserError
from pose_lightning.report.subject import Run
from pose_lightning.runs import RunDirectory
from pose_lightning.trust import NOBODY, Trust

TRAINING_ONLY: Final = frozenset(
    {
        *("optimizer", "lr", "momentum", "weight_decay", "alpha", "eps", "schedule", "schedule_unit", "schedule_total"),
        *("warmup", "milestones", "step_every", "decay", "final", "loss", "missing", "sigma", "decoding"),
        *("label_smoothing", "class_weights"),
    }
)
"""Settings of a task that change nothing of its network's size."""

MOST_NETWORKS: Final = 8


@dataclass(frozen=True)
class Size:
    """Of a network.

    Attributes:
        parameters: That are trained or frozen.
        multiply_adds: For one sample forwards; None where it could not be run.
    """

    parameters: int
    multiply_adds: int | None


@contextlib.contextmanager
def at_base(run: Run) -> Iterator[RunDirectory]:
    """The run, seen from where its relative paths start."""
    folder = run.folder.resolve()
    with contextlib.chdir(run.base or Path.cwd()):
        yield RunDirectory(folder)


def sizes(runs: Sequence[Run], trusted: Trust = NOBODY) -> tuple[dict[str, Size], list[str]]:
    """The networks' sizes by label, each distinct network built once; and why some are missing."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    by_network: dict[str, Size | None] = {}
    found: dict[str, Size] = {}
    remarks: list[str] = []
    for run in runs:
        if run.label in found:
            continue
        key = _network(run)
        if key not in by_network:
            if len(by_network) >= MOST_NETWORKS:
                remarks.append(f"Only {MOST_NETWORKS} different networks were measured.")
                break
            try:
                by_network[key] = size(run, trusted)
            except (UserError, OSError, RuntimeError, SystemExit) as error:
                remarks.append(f"The network of {run.name} could not be built: {error}")
                by_network[key] = None
        if (each := by_network[key]) is not None:
            found[run.label] = each
    return found, remarks


def _network(run: Run) -> str:
    """What runs with the same network have in common."""
    model, data = run.config["model"], run.config["data"]["init_args"]
    settings = {key: value for key, value in model.get("init_args", {}).items() if key not in TRAINING_ONLY}
    return json.dumps([model["class_path"], settings, data.get("input_size"), data.get("frames")], sort_keys=True)


def size(run: Run, trusted: Trust = NOBODY) -> Size:
    """Build a run's network, without its weights, and count.

    Raises:
        UserError: If its configuration does not fit this version of the package.
    """
    with at_base(run) as directory:
        built = cli.build_for_scoring(trust.read_config(directory.config, trusted), accelerator="cpu")
    model = built.model.eval()
    if not run.page:
        raise UserError(f"nobody has said what inputs {run.task} takes")
    shape = run.page.input_shape(run.config["data"]["init_args"])
    with torch.no_grad():
        counted = multiply_adds(model, torch.zeros(1, *shape))
    return Size(sum(each.numel() for each in model.parameters()), counted)


def multiply_adds(model: nn.Module, sample: torch.Tensor) -> int:
    """Of convolutions and matrix products, recurrent layers included, which torch's counter leaves out where fused."""
    recurrent = 0

    def count(module: nn.RNNBase, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
        nonlocal recurrent
        steps = inputs[0].shape[0] * inputs[0].shape[1]
        recurrent += steps * sum(weight.numel() for name, weight in module.named_parameters() if "weight" in name)

    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # of fused attention the counter sees nothing: products instead
    handles = [each.register_forward_hook(count) for each in model.modules() if isinstance(each, nn.RNNBase)]
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(sample)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()
    inside = sum(_inside(name, counter) for name, each in model.named_modules() if isinstance(each, nn.RNNBase))
    return (counter.get_total_flops() - inside) // 2 + recurrent


def _inside(name: str, counter: FlopCounterMode) -> int:
    """What the counter has seen within one module."""
    places = counter.get_flop_counts()
    return next((sum(counts.values()) for place, counts in places.items() if place.endswith(f".{name}")), 0)
