"""`python -m pose_lightning.heatmap.published FILE --format psh|bearpaw --target OUT.safetensors`.

Turns a checkpoint of a hourglass that others trained and published on MPII into one of ours.

- psh: princeton-vl/pytorch_stacked_hourglass. Its network is the paper's; every residual also holds a convolution for
  its skip path, which those of equal widths never use and which is left out here.
- bearpaw: bearpaw/pytorch-pose, with one residual per module (its `-b1` networks). Its stem is wide, and the mean of
  MPII's colours is taken from the image, which is not divided by anything (its issues 27 and 99).

Both order their heatmaps by MPII's joint ids, take RGB in [0, 1], and draw their targets at whole cells, a joint's
coordinates cut off; the middle of a cell is then the answer without bias, as `codec.decode` gives it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from pose_lightning import weights
from pose_lightning.errors import UserError, door
from pose_lightning.files import local_path
from pose_lightning.heatmap.model import StackedHourglass
from pose_lightning.joints import MPII
from pose_lightning.options import OptionParser
from pose_lightning.terminal import say

MPII_MEAN: Final = (0.4404, 0.4440, 0.4327)
"""RGB of MPII's photographs, as bearpaw/pytorch-pose takes it from every image."""

DEPTH: Final = 4
"""Halvings inside a hourglass, of both."""

Names = Iterator[tuple[str, str]]
"""Pairs of module names: theirs, ours."""


@dataclass(frozen=True)
class Format:
    """How one repository names the parts of a stacked hourglass.

    Attributes:
        repository: Where its checkpoints come from.
        first: A weight of the stem; what stands before it is a wrapper's.
        heatmaps: The weight that gives a stack's heatmaps, with a place for the stack's number.
        modules: Pairs of module names, theirs and ours, of a number of stacks.
        settings: Of our network, where they are not the paper's.
        unused: How the names of modules end whose weights may be there and have no part in the heatmaps.
    """

    repository: str
    first: str
    heatmaps: str
    modules: Callable[[int], Names]
    settings: Mapping[str, Any]
    unused: tuple[str, ...] = ()


def _residual(theirs: str, ours: str, *, conv: str, skip: str | None) -> Names:
    """The parts of a residual; `conv` is what stands between a convolution's name and its weight's."""
    for number, (norm, convolution) in enumerate(((0, 2), (3, 5), (6, 8)), start=1):
        yield f"{theirs}.bn{number}", f"{ours}.bottleneck.{norm}"
        yield f"{theirs}.conv{number}{conv}", f"{ours}.bottleneck.{convolution}"
    if skip is not None:
        yield f"{theirs}.{skip}", f"{ours}.skip"


def _psh(stacks: int) -> Names:
    def residual(theirs: str, ours: str, *, widens: bool = False) -> Names:
        return _residual(theirs, ours, conv=".conv", skip="skip_layer.conv" if widens else None)

    yield from (("pre.0.conv", "stem.0"), ("pre.0.bn", "stem.1"))
    yield from residual("pre.1", "stem.3", widens=True)
    yield from residual("pre.3", "stem.5")
    yield from residual("pre.4", "stem.6", widens=True)
    for stack in range(stacks):
        ours = f"stacks.{stack}"
        for level in range(DEPTH):
            at, here = f"hgs.{stack}.0{'.low2' * level}", f"{ours}.features.0{'.inner' * level}"
            parts = {"up1": "skip", "low1": "down", "low3": "up"} | ({"low2": "inner"} if level == DEPTH - 1 else {})
            for part, name in parts.items():
                yield from residual(f"{at}.{part}", f"{here}.{name}")
        yield from residual(f"features.{stack}.0", f"{ours}.features.1")
        yield from (
            (f"features.{stack}.1.conv", f"{ours}.features.2"),
            (f"features.{stack}.1.bn", f"{ours}.features.3"),
        )
        yield f"outs.{stack}.conv", f"{ours}.heatmaps"
    for stack in range(stacks - 1):
        yield f"merge_features.{stack}.conv.conv", f"injections.{stack}.features"
        yield f"merge_preds.{stack}.conv.conv", f"injections.{stack}.heatmaps"


def _bearpaw(stacks: int) -> Names:
    def residual(theirs: str, ours: str, *, widens: bool = False) -> Names:
        return _residual(f"{theirs}.0", ours, conv="", skip="downsample.0" if widens else None)

    yield from (("conv1", "stem.0"), ("bn1", "stem.1"))
    yield from residual("layer1", "stem.3", widens=True)
    yield from residual("layer2", "stem.5", widens=True)
    yield from residual("layer3", "stem.6")
    for stack in range(stacks):
        ours = f"stacks.{stack}"
        for level in range(DEPTH):  # theirs count from the inside
            at, here = f"hg.{stack}.hg.{DEPTH - 1 - level}", f"{ours}.features.0{'.inner' * level}"
            for part, name in enumerate(("skip", "down", "up", *(("inner",) if level == DEPTH - 1 else ()))):
                yield from residual(f"{at}.{part}", f"{here}.{name}")
        yield from residual(f"res.{stack}", f"{ours}.features.1")
        yield from ((f"fc.{stack}.0", f"{ours}.features.2"), (f"fc.{stack}.1", f"{ours}.features.3"))
        yield f"score.{stack}", f"{ours}.heatmaps"
    for stack in range(stacks - 1):
        yield f"fc_.{stack}", f"injections.{stack}.features"
        yield f"score_.{stack}", f"injections.{stack}.heatmaps"


FORMATS: Final[Mapping[str, Format]] = {
    "psh": Format(
        repository="princeton-vl/pytorch_stacked_hourglass",
        first="pre.0.conv.weight",
        heatmaps="outs.{}.conv.weight",
        modules=_psh,
        settings={},
        unused=("skip_layer.conv",),
    ),
    "bearpaw": Format(
        repository="bearpaw/pytorch-pose",
        first="layer1.0.conv1.weight",
        heatmaps="score.{}.weight",
        modules=_bearpaw,
        settings={"wide_stem": True, "image_mean": MPII_MEAN},
    ),
}


def mapping(name: str, stacks: int) -> dict[str, str]:
    """What every module of a format that we use is called there, and here."""
    return dict(FORMATS[name].modules(stacks))


def convert(state: Mapping[str, Tensor], name: str, *, source: str) -> StackedHourglass:
    """The hourglass that these weights are of, in evaluation mode.

    Args:
        state: Weights under the names of `FORMATS[name]`, whatever wraps them.
        name: The format.
        source: What messages call the file.

    Raises:
        UserError: If a weight is missing, foreign, of another shape, or no finite number.
    """
    form = FORMATS[name]
    theirs = _unwrapped(state, name, source)
    stacks = next(number for number in range(len(theirs) + 1) if form.heatmaps.format(number) not in theirs)
    if not stacks:
        raise UserError(f"{source} has no {form.heatmaps.format(0)}, so it is no hourglass of {form.repository}")
    shape = theirs[form.heatmaps.format(0)].shape
    if len(shape) != 4 or not shape[1] or shape[1] % 4:
        raise UserError(
            f"{source}: {form.heatmaps.format(0)} has the shape {list(shape)}; wanted [{len(MPII)}, width, 1, 1], with "
            "a width that is a multiple of 4"
        )
    joints, features = shape[:2]
    if joints != len(MPII):
        raise UserError(f"{source} gives {joints} heatmaps; only those of MPII's {len(MPII)} joints are read")
    network = StackedHourglass(stacks, features, joints, DEPTH, **form.settings)
    names = mapping(name, stacks)
    ours_to_theirs = {ours: module for module, ours in names.items()}
    wanted = {_renamed(key, ours_to_theirs): value for key, value in network.state_dict().items()}
    state = {key: value for key, value in theirs.items() if not _module(key).endswith(form.unused or "\0")}
    used = {key: value for key, value in theirs.items() if _module(key) in names}
    weights.check(
        state | used,
        wanted,
        f"{source} is no hourglass of {stacks} stacks and width {features} of {form.repository} that has one residual "
        "per module",
    )
    if damaged := sorted(key for key, value in used.items() if not value.isfinite().all()):
        raise UserError(f"{source}: {damaged[0]} is not finite (NaN or infinite), and so no heatmap would be")
    network.load_state_dict({**network.state_dict(), **{_renamed(key, names): used[key] for key in used}})
    return network.eval()


def _module(key: str) -> str:
    return key.rpartition(".")[0]


def _renamed(key: str, names: Mapping[str, str]) -> str:
    module, _, weight = key.rpartition(".")
    return f"{names[module]}.{weight}"


def _unwrapped(state: Mapping[str, Tensor], name: str, source: str) -> dict[str, Tensor]:
    """The weights without what DataParallel and trainers put before their names, in single precision."""
    form = FORMATS[name]
    wrappers = [key.removesuffix(form.first) for key in state if f".{key}".endswith(f".{form.first}")]
    if len(wrappers) != 1:
        others = [
            other for other, each in FORMATS.items() if any(f".{key}".endswith(f".{each.first}") for key in state)
        ]
        hint = f"; it looks like --format {others[0]}" if others and others[0] != name else ""
        raise UserError(f"{source} has no {form.first}, so it is no hourglass of {form.repository}{hint}")
    if outside := sorted(key for key in state if not key.startswith(wrappers[0])):
        raise UserError(f"{source} has weights outside the network, such as {outside[0]}")
    return {
        key.removeprefix(wrappers[0]): value.float() if value.is_floating_point() else value
        for key, value in state.items()
    }


def main(args: Sequence[str] | None = None) -> int:
    """Run the door; returns the exit status."""
    parser = OptionParser(
        prog="python -m pose_lightning.heatmap.published",
        description="Turn a stacked hourglass that others published into one of ours.",
    )
    parser.add_argument("file", type=local_path, metavar="FILE", help="the checkpoint, such as checkpoint.pth.tar")
    parser.add_argument("--format", required=True, choices=list(FORMATS), help="whose it is")
    parser.add_argument("--target", required=True, type=local_path, metavar="OUT.safetensors", help="the file to write")
    options = parser.parse_args(args)
    try:
        door(lambda: say(write(options.file, options.format, options.target)))()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def write(path: Path, name: str, target: Path) -> str:
    """Convert a file, and return a line that says what became of it.

    Raises:
        UserError: If the file cannot be read or does not fit, or the target is no .safetensors file or cannot be
            written.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"--target {target} must end in .safetensors")
    network = convert(weights.read(path, said=""), name, source=str(path))
    repository = FORMATS[name].repository
    try:
        network.save_weights(target, MPII, format=name, repository=repository, file=path.name)
    except UserError as error:
        reason = str(error).removeprefix(f"{target} cannot be written: ")
        raise UserError(f"--target {target} cannot be written: {reason}") from error
    sizes = network.settings
    return f"{target}: a hourglass of {sizes['stacks']} stacks and width {sizes['features']}, from {repository}"


if __name__ == "__main__":
    sys.exit(main())
