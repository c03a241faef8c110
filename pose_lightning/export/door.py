"""`python -m pose_lightning.export RUN_DIR --format onnx|exported-program|safetensors`."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException
from torch.nn import functional as F

from pose_lightning import cli, trust
from pose_lightning.errors import UserError
from pose_lightning.export.formats import FORMATS, FormatName
from pose_lightning.export.networks import Exportable, exportable
from pose_lightning.files import check_target, local_path, make_folder, writing
from pose_lightning.options import OptionParser
from pose_lightning.runs import RunDirectory
from pose_lightning.terminal import say
from pose_lightning.trained import load
from pose_lightning.trust import Trust

BATCHES: Final = (1, 3)
"""Samples that the file is asked with, at a time; it must take any number."""

SEED: Final = 7

INTERRUPTED: Final = 130

TOLERANCE: Final = 1e-4
"""Of the largest answer: by so much a file may differ from the network, because others add in another order."""

COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")
"""Of a terminal, in PyTorch's messages."""

DESCRIPTION: Final = """Writes a run's network into one file that says what it is, reads the file back, and compares.

  onnx              for onnxruntime and others; `predict --onnx FILE` needs no PyTorch (extra: export)
  exported-program  torch.export's archive, for PyTorch without this package: torch.export.load(FILE).module()
  safetensors       the weights: of heatmaps as `predict --weights` and `evaluate --weights` take them, which then
                    answer as the run does; of heatmaps and activities as model.weights takes them

The network is the one that `evaluate` scores. The input is RGB in [0, 1] in batches of any size; normalization is
inside. Heatmap runs give the last stack's maps, regression runs mm, activity runs probabilities."""


@dataclass(frozen=True)
class Agreement:
    """How near a file's answers are to the network's.

    Attributes:
        difference: The largest one.
        largest: The network's largest answer.
        samples: Asked.
    """

    difference: float
    largest: float
    samples: int

    @property
    def holds(self) -> bool:
        """Whether they are the same but for rounding; NaN is not."""
        return self.difference <= TOLERANCE * self.largest

    def __str__(self) -> str:
        return f"{self.samples} samples differ by at most {self.difference:.2g}, of answers up to {self.largest:.3g}"


def samples(count: int, shape: Sequence[int]) -> Tensor:
    """Seeded pictures or clips: colours that change slowly, in [0, 1]."""
    *frames, channels, height, width = shape
    generator = torch.Generator().manual_seed(SEED)
    small = torch.rand((count * (frames[0] if frames else 1), channels, 6, 6), generator=generator)
    smooth = F.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)
    return smooth.reshape(count, *shape)


def write(network: Exportable, form: FormatName, path: Path) -> Agreement:
    """Write the file, read it back, and compare; it gets its name when it agrees.

    Raises:
        UserError: If the format cannot hold the network, or an extra is missing; if the file cannot be written; if the
            network gives NaN or infinity; if the file does not agree. Then there is no file, or the one of before.
    """
    how = FORMATS[form]
    if os.fsencode(path).decode(errors="replace") != str(path):
        raise UserError(
            f"{path} has bytes that are no UTF-8, which readers of {form} cannot open; choose another --out"
        )
    how.check(network)
    with writing(path, extension=how.suffix) as partial:
        _write(network, form, partial)
        agreement = compare(network, form, partial)
        if not agreement.holds:
            raise UserError(
                f"{path} is not kept: it does not give what the network gives ({agreement}; allowed are "
                f"{TOLERANCE:g} of the largest); take another --format"
            )
    return agreement


def _write(network: Exportable, form: FormatName, path: Path) -> None:
    try:
        FORMATS[form].write(network, path)
    except (torch.onnx.OnnxExporterError, TorchDynamoException) as error:
        first = COLOURS.sub("", str(error)).strip().partition("\n")[0]
        raise UserError(
            f"PyTorch {torch.__version__} cannot export this network as {form}: {first}; take --format safetensors"
        ) from error


@torch.no_grad()
def compare(network: Exportable, form: FormatName, path: Path) -> Agreement:
    """What a file says of seeded samples, beside what the network says."""
    ask, difference, largest = FORMATS[form].read(network, path), 0.0, 0.0
    for count in BATCHES:
        batch = samples(count, network.facts.input.shape)
        expected, found = network.answer(batch), ask(batch)
        if not expected.isfinite().all():
            about = network.facts
            raise UserError(
                f"{about.experiment} ({about.checkpoint}, step {about.step}) gives numbers that are none (NaN or "
                "infinity): its training diverged, or its weights are damaged; take another checkpoint"
            )
        if found.shape != expected.shape:
            raise AssertionError(f"{path} answers {tuple(found.shape)} and not {tuple(expected.shape)}")
        difference = max(difference, float((found - expected).abs().nan_to_num(nan=torch.inf).max()))
        largest = max(largest, float(expected.abs().max()))
    return Agreement(difference, largest, sum(BATCHES))


def _parser() -> argparse.ArgumentParser:
    parser = OptionParser(
        prog="python -m pose_lightning.export",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=local_path, metavar="RUN_DIR", help="a run's directory")
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="of the file")
    parser.add_argument("--out", type=local_path, metavar="FILE", help="the file (RUN_DIR/exports/EXPERIMENT + suffix)")
    trust.add_argument(parser)
    return parser


@cli.door
def main(args: Sequence[str] | None = None) -> None:
    """Run the door."""
    args = sys.argv[1:] if args is None else list(args)
    options = _parser().parse_args(args)
    run, suffix = RunDirectory.open(options.run), FORMATS[options.format].suffix
    if options.out is not None and options.out.suffix != suffix:
        raise UserError(f"--out {options.out}: files of --format {options.format} end with {suffix}")
    if options.out is not None:
        check_target(options.out)
    built, checkpoint, step = load(run, trusted=Trust.of("export", args, options.trust))
    network = exportable(built, checkpoint, step)
    facts = network.facts
    path = options.out or make_folder(run.path / "exports", inside=run.path) / f"{facts.experiment}{suffix}"
    say(f"exporting {facts.experiment} ({facts.task}, {checkpoint}, step {step}) as {options.format}")
    if facts.synthetic:
        say("trained on SYNTHETIC (demo) data; the file says so")
    try:
        agreement = write(network, options.format, path)
    except KeyboardInterrupt:
        say(f"interrupted: {path} is as it was before")
        raise SystemExit(INTERRUPTED) from None
    for each in (facts.input, facts.output):
        say(f"{each}: {each.values}")
    say(f"read back: {agreement}")
    say(path)
