"""Which parts of a backbone stand still: all of the time, or until their turn comes.

What is counted are the modules that hold parameters themselves, in the order in which the backbone registers them.
(Keras counts every layer, those without weights too, so its numbers mean other places.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pose_lightning.errors import UserError

Mode = Literal["none", "all", "last", "all_but_last"]


@dataclass(frozen=True)
class Freeze:
    """What of a backbone is frozen.

    Args:
        mode: `none`; `all`; the `last` n parts, as report 003 describes itself ("its last 7 layers untrainable"); or
            `all_but_last`, which is what Keras' `layers[:-7]` freezes.
        n: How many, for the latter two.

    Raises:
        UserError: If n is missing, or has no meaning.
    """

    mode: Mode = "none"
    n: int = 0

    def __post_init__(self) -> None:
        """Refuse what does not belong together."""
        counts = self.mode in ("last", "all_but_last")
        if counts and self.n < 1:
            raise UserError(f"freeze.mode={self.mode} with freeze.n={self.n}; say how many: n is at least 1")
        if not counts and self.n:
            raise UserError(f"freeze.n={self.n} has no meaning with freeze.mode={self.mode}; set it to 0")

    def choose(self, names: Sequence[str]) -> list[str]:
        """The frozen ones of a backbone's parts.

        Raises:
            UserError: If there are fewer than n.
        """
        if self.n > len(names):
            raise UserError(f"freeze.n={self.n}, but the backbone has {len(names)} parts that hold parameters")
        match self.mode:
            case "none":
                return []
            case "all":
                return list(names)
            case "last":
                return list(names[-self.n :])
            case "all_but_last":
                return list(names[: -self.n])


def parts(network: nn.Module) -> dict[str, nn.Module]:
    """The modules that hold parameters, or a batch norm's statistics, themselves; by name, in order of registration."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) or any(True for _ in module.parameters(recurse=False))
    }


def depths(network: nn.Module) -> dict[str, int]:
    """How deep every parameter lies, by name: 0 at the input, and one more for every stage, as timm cuts them.

    Raises:
        UserError: If timm does not say.
    """
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is None:
        raise UserError(
            f"timm does not cut {type(network).__name__} into stages, which layer_decay and unfreeze_every need; leave "
            "both out"
        )
    found: Mapping[str, int] = group_parameters(network, matcher(coarse=True), reverse=True)
    numbers = {stage: number for number, stage in enumerate(sorted(set(found.values())))}
    return {name: numbers[stage] for name, stage in found.items()}


def thawing(network: nn.Module, frozen: Sequence[str]) -> list[list[str]]:
    """The frozen parts stage by stage, the last one first: the order in which they may thaw."""
    depth = depths(network)
    modules = parts(network)

    def stage(part: str) -> int:
        own = next((name for name, _ in modules[part].named_parameters(recurse=False)), None)
        return depth[f"{part}.{own}" if part else str(own)] if own else 0

    ordered = sorted(frozen, key=stage, reverse=True)
    return [list(group) for _, group in groupby(ordered, key=stage)]
