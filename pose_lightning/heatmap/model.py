"""The stacked hourglass network."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor, nn

from pose_lightning import weights
from pose_lightning.errors import UserError
from pose_lightning.files import write_bytes
from pose_lightning.heatmap.decoding import STRIDE
from pose_lightning.joints import DEFAULT, JointSet
from pose_lightning.reading.raw import check_regular

NETWORK: Final = "hourglass"
"""What a file of weights calls the network."""


def check_sizes(sizes: Sequence[int], step: int, name: str, remedy: str = "") -> None:
    """Refuse image sizes, in px, that a network cannot cut into whole cells.

    Raises:
        UserError: If one is not a multiple of `step`.
    """
    for size in sizes:
        if size < step or size % step:
            below = max(size // step, 1) * step
            raise UserError(
                f"input_size is {size}; {name} takes only a multiple of {step}: {below} or {below + step}{remedy}"
            )


class Residual(nn.Module):
    """Pre-activation bottleneck: (BN, ReLU, conv) of 1x1, 3x3 and 1x1 around a skip path.

    The skip path is the identity where the widths agree, a 1x1 convolution where they do not.
    Source: Newell et al., ECCV 2016, section 3.2, figure 4 left; He et al., ECCV 2016, for the order.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        narrow = out_features // 2
        self.bottleneck = nn.Sequential(
            nn.BatchNorm2d(in_features),
            nn.ReLU(inplace=True),  # in place on what the norm has just written, which nobody else reads
            nn.Conv2d(in_features, narrow, 1),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, narrow, 3, padding=1),
            nn.BatchNorm2d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv2d(narrow, out_features, 1),
        )
        self.skip = nn.Identity() if in_features == out_features else nn.Conv2d(in_features, out_features, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Features of width `out_features`."""
        return self.skip(x) + self.bottleneck(x)


class Hourglass(nn.Module):
    """Features gathered over `depth` halvings of the resolution and brought back, with a skip path at each.

    Max-pooling goes down, nearest-neighbour up-sampling comes up.
    Source: Newell et al., ECCV 2016, section 3.1 and figure 3.
    """

    def __init__(self, depth: int, features: int) -> None:
        super().__init__()
        self.skip = Residual(features, features)
        self.down = Residual(features, features)
        self.inner = Hourglass(depth - 1, features) if depth > 1 else Residual(features, features)
        self.up = Residual(features, features)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Features that have seen the whole map; height and width must be multiples of 2**depth."""
        coarse = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(coarse, scale_factor=2, mode="nearest")


class Stem(nn.Sequential):
    """From the image to features of a quarter of its size: a 7x7 convolution, a max-pool and three residuals.

    The first widths are a quarter and a half of `features`: Newell's 64 and 128 at 256. A wide stem reaches the full
    width one residual earlier, with the second.
    """

    def __init__(self, features: int, *, wide: bool = False) -> None:
        quarter, half = features // 4, features // 2
        second = features if wide else half
        super().__init__(
            nn.Conv2d(3, quarter, 7, stride=2, padding=3),
            nn.BatchNorm2d(quarter),
            nn.ReLU(inplace=True),
            Residual(quarter, half),
            nn.MaxPool2d(2),
            Residual(half, second),
            Residual(second, features),
        )


class Stack(nn.Module):
    """One hourglass and the heatmaps read from it."""

    def __init__(self, depth: int, features: int, joints: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            Hourglass(depth, features),
            Residual(features, features),
            nn.Conv2d(features, features, 1),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
        )
        self.heatmaps = nn.Conv2d(features, joints, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b j h w"]]:
        """The features behind the heatmaps, and the heatmaps."""
        features = self.features(x)
        return features, self.heatmaps(features)


class Injection(nn.Module):
    """What the next stack sees: the last one's input, plus its features and its heatmaps, each through a 1x1."""

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(features, features, 1)
        self.heatmaps = nn.Conv2d(joints, features, 1)

    def forward(
        self, x: Float[Tensor, "b c h w"], features: Float[Tensor, "b c h w"], heatmaps: Float[Tensor, "b j h w"]
    ) -> Float[Tensor, "b c h w"]:
        """The next stack's input."""
        return x + self.features(features) + self.heatmaps(heatmaps)


class StackedHourglass(nn.Module):
    """Newell's stacked hourglass: heatmaps of every joint, once per stack, each stack correcting the last.

    The sizes of the paper are the defaults. Weights start as PyTorch starts them (convolutions uniform by He with
    a = sqrt(5), norms at 1 and 0), as those of the authors' PyTorch code do.

    Source: Newell et al., Stacked Hourglass Networks for Human Pose Estimation, ECCV 2016; widths and the place of
    the residuals after princeton-vl/pose-hg-train, src/models/hg.lua (one residual per module).

    Args:
        stacks: How many hourglasses; the paper's network has 8.
        features: Width of the hourglasses, a multiple of 4; the stem's widths are a quarter and a half of it.
        joints: Heatmaps per stack.
        depth: Halvings of the resolution within an hourglass. The paper's 4 takes 64 px heatmaps down to 4 px.
        wide_stem: Widen to `features` with the second residual, as bearpaw/pytorch-pose does, and not with the third.
        image_mean: Per colour, in [0, 1], taken from the image; the paper takes nothing.
        channels_last: Keep weights and images in that memory format, which changes the speed and nothing else:
            1.2 to 1.3 times as fast on a CPU.

    Attributes:
        settings: What describes the network to someone who wants to build it again: the arguments by name, but for
            `channels_last`.
        size_step: Image height and width must be multiples of this, in pixels: 64 at depth 4.

    Raises:
        UserError: If a size is out of its range.
    """

    mean: Float[Tensor, "3 1 1"]

    def __init__(
        self,
        stacks: int = 8,
        features: int = 256,
        joints: int = 16,
        depth: int = 4,
        *,
        wide_stem: bool = False,
        image_mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("stacks", stacks), ("joints", joints), ("depth", depth)):
            if value < 1:
                raise UserError(f"{name} is {value}; the hourglass network needs at least 1")
        if features < 4 or features % 4:
            raise UserError(f"features is {features}; the hourglass network needs a multiple of 4, such as 256")
        self.settings: dict[str, Any] = {
            "stacks": stacks,
            "features": features,
            "joints": joints,
            "depth": depth,
            "wide_stem": wide_stem,
            "image_mean": tuple(image_mean),
        }
        self.size_step = STRIDE * 2**depth
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        # not in the state: it is a setting
        self.register_buffer("mean", torch.tensor(image_mean).reshape(3, 1, 1), persistent=False)
        self._centres = any(image_mean)
        self.stem = Stem(features, wide=wide_stem)
        self.stacks = nn.ModuleList(Stack(depth, features, joints) for _ in range(stacks))
        self.injections = nn.ModuleList(Injection(features, joints) for _ in range(stacks - 1))
        self.to(memory_format=self.memory_format)

    @classmethod
    def from_weights(cls, path: Path | str) -> "StackedHourglass":
        """The network of a file that `save_weights` wrote, ready to predict: on the CPU and in evaluation mode.

        Raises:
            UserError: If the file is missing or damaged, or is no such file; the message says how to make one.
        """
        network = cls(**settings_of(Path(path)))
        own = network.state_dict()
        weights.check(state := weights.read(Path(path), said=""), own, f"{path} is not what it says")
        network.load_state_dict({**own, **state})
        return network.eval()

    def save_weights(self, path: Path, joint_set: JointSet = DEFAULT, **facts: Any) -> None:
        """Write a .safetensors file, whole or not at all, that `from_weights` reads; with facts about its origin.

        Raises:
            UserError: If the file cannot be written.
        """
        about = {"network": NETWORK, "settings": self.settings, "joint_set": joint_set.plain(), **facts}
        state = {key: value.contiguous() for key, value in self.state_dict().items()}
        write_bytes(path, save(state, metadata={key: json.dumps(value) for key, value in about.items()}))

    def check_input_size(self, *sizes: int) -> None:
        """Refuse image sizes, in pixels, that the hourglasses cannot halve evenly.

        Raises:
            UserError: If one is not a multiple of `size_step`.
        """
        check_sizes(sizes, self.size_step, "this hourglass", ", or use a smaller depth")

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b s j h//4 w//4"]:
        """Heatmaps of each stack, the last being the answer, of RGB images in [0, 1].

        Raises:
            UserError: If the height or the width is not a multiple of `size_step`.
        """
        self.check_input_size(*image.shape[-2:])
        x = image.contiguous(memory_format=self.memory_format)
        x = self.stem(x - self.mean if self._centres else x)
        features, heatmaps = self.stacks[0](x)
        outputs = [heatmaps]
        for injection, stack in zip(self.injections, self.stacks[1:], strict=True):
            x = injection(x, features, heatmaps)
            features, heatmaps = stack(x)
            outputs.append(heatmaps)
        return torch.stack(outputs, dim=1)


def read_settings(path: Path) -> dict[str, Any] | None:
    """The arguments of the hourglass that a file's weights are of; None where the file does not say.

    Raises:
        UserError: If it is of another network, or what it says makes no sense.
    """
    about = weights.read_metadata(path)
    if not {"network", "settings", "joint_set"} <= about.keys():
        return None
    try:
        found = {key: json.loads(about[key]) for key in ("network", "settings", "joint_set")}
        given = found["settings"]
        settings: dict[str, Any] = {key: int(given[key]) for key in ("stacks", "features", "joints", "depth")}
        red, green, blue = (float(value) for value in given["image_mean"])
        settings |= {"wide_stem": bool(given["wide_stem"]), "image_mean": (red, green, blue)}
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: its metadata are damaged ({error!r}); make the file again") from error
    if found["network"] != NETWORK:
        raise UserError(f"{path} is of {found['network']}; wanted {NETWORK}")
    joint_set = JointSet.read(found["joint_set"], path)
    if len(joint_set) != settings["joints"]:
        raise UserError(f"{path} is of {len(joint_set)} joints and {settings['joints']} heatmaps; make the file again")
    return settings


def read_joint_set(path: Path) -> JointSet:
    """The joint set of a file's weights; the usual one where the file does not say.

    Raises:
        UserError: If what it says makes no sense.
    """
    about = weights.read_metadata(path)
    try:
        return JointSet.read(json.loads(about["joint_set"]), path) if "joint_set" in about else DEFAULT
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its metadata are damaged ({error!r}); make the file again") from error


def settings_of(path: Path) -> dict[str, Any]:
    """The arguments of the hourglass that a file's weights are of.

    Raises:
        UserError: As `read_settings`, and if the file is missing or does not say; the message says how to make one.
    """
    check_regular(path)
    settings = read_settings(path)
    if settings is None:
        raise UserError(
            f"{path} does not say which network it is of; checkpoints that others published become such files with "
            "`python -m pose_lightning.heatmap.published FILE --format psh|bearpaw --target OUT.safetensors`, and a "
            "run's directory goes to `evaluate` and `predict` as it is"
        )
    return settings
