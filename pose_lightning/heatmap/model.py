"""The stacked hourglass network."""

from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from pose_lightning.errors import UserError

STRIDE: Final = 4
"""Input pixels per heatmap pixel: the stem halves the image twice."""


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

    The first widths are a quarter and a half of `features`: Newell's 64 and 128 at 256.
    """

    def __init__(self, features: int) -> None:
        quarter, half = features // 4, features // 2
        super().__init__(
            nn.Conv2d(3, quarter, 7, stride=2, padding=3),
            nn.BatchNorm2d(quarter),
            nn.ReLU(inplace=True),
            Residual(quarter, half),
            nn.MaxPool2d(2),
            Residual(half, half),
            Residual(half, features),
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
        channels_last: Keep weights and images in that memory format, which changes the speed and nothing else:
            1.2 to 1.3 times as fast on a CPU.

    Raises:
        UserError: If a size is out of its range.
    """

    def __init__(
        self, stacks: int = 8, features: int = 256, joints: int = 16, depth: int = 4, channels_last: bool = True
    ) -> None:
        super().__init__()
        for name, value in (("stacks", stacks), ("joints", joints), ("depth", depth)):
            if value < 1:
                raise UserError(f"{name} is {value}; the hourglass network needs at least 1")
        if features < 4 or features % 4:
            raise UserError(f"features is {features}; the hourglass network needs a multiple of 4, such as 256")
        self.size_step = STRIDE * 2**depth
        """Image height and width must be multiples of this, in pixels: 64 at depth 4."""
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.stem = Stem(features)
        self.stacks = nn.ModuleList(Stack(depth, features, joints) for _ in range(stacks))
        self.injections = nn.ModuleList(Injection(features, joints) for _ in range(stacks - 1))
        self.to(memory_format=self.memory_format)

    def check_input_size(self, *sizes: int) -> None:
        """Refuse image sizes, in pixels, that the hourglasses cannot halve evenly.

        Raises:
            UserError: If one is not a multiple of `size_step`.
        """
        for size in sizes:
            if size < self.size_step or size % self.size_step:
                below = max(size // self.size_step, 1) * self.size_step
                raise UserError(
                    f"input_size is {size}; this hourglass halves it evenly only if it is a multiple of "
                    f"{self.size_step}: {below} or {below + self.size_step}, or use a smaller depth"
                )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b s j h//4 w//4"]:
        """Heatmaps of each stack, the last being the answer, of RGB images in [0, 1].

        Raises:
            UserError: If the height or the width is not a multiple of `size_step`.
        """
        self.check_input_size(*image.shape[-2:])
        x = self.stem(image.contiguous(memory_format=self.memory_format))
        features, heatmaps = self.stacks[0](x)
        outputs = [heatmaps]
        for injection, stack in zip(self.injections, self.stacks[1:], strict=True):
            x = injection(x, features, heatmaps)
            features, heatmaps = stack(x)
            outputs.append(heatmaps)
        return torch.stack(outputs, dim=1)
