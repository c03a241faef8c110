"""Optimizers and learning rate schedules by name, from flat arguments that a sweep can vary one at a time.

A value that the named optimizer or schedule does not have is refused: in a sweep over names it would otherwise be
dropped in silence, and two cells of the grid would be the same run.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final, Literal

from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]  # timm re-exports without __all__
from torch import Tensor
from torch.optim import Optimizer

from pose_lightning.errors import UserError

OptimizerName = Literal["sgd", "nesterov", "adam", "adamw", "rmsprop", "rmsprop_tf"]
ScheduleName = Literal["constant", "step", "multistep", "cosine", "one_cycle"]

_Settings = Mapping[str, float | tuple[float, float]]

OPTIMIZERS: Final[Mapping[str, tuple[str, _Settings]]] = MappingProxyType(
    {
        "sgd": ("momentum", {"momentum": 0.0, "weight_decay": 0.0}),
        "nesterov": ("sgd", {"momentum": 0.9, "weight_decay": 0.0}),
        "adam": ("adam", {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
        "adamw": ("adamw", {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2}),
        "rmsprop": ("rmsprop", {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0}),
        "rmsprop_tf": ("rmsproptf", {"alpha": 0.9, "eps": 1e-10, "momentum": 0.0, "weight_decay": 0.0}),
    }
)
"""Our name -> timm's name, and every value that the optimizer has, as PyTorch documents its defaults.

timm means other things by the same names: its `sgd` is Nesterov's with momentum 0.9, its `rmsprop` has alpha 0.9 and
momentum 0.9. `nesterov` has no momentum to speak of in PyTorch; 0.9 is Keras' and timm's. `rmsprop_tf` is TensorFlow
1's: eps inside the root, the mean square starting at 1, the learning rate inside the momentum buffer.
"""

_FRACTIONS: Final = ("momentum", "alpha", "betas")


def make_optimizer(
    params: Iterable[Tensor] | Iterable[dict[str, Any]],
    *,
    optimizer: OptimizerName,
    lr: float,
    momentum: float | None = None,
    weight_decay: float | None = None,
    alpha: float | None = None,
    betas: tuple[float, float] | None = None,
    eps: float | None = None,
) -> Optimizer:
    """Return the named optimizer, made by timm with every value spelled out; None takes the value of `OPTIMIZERS`.

    Weight decay reaches all parameters, biases and the scales of norms too, as in PyTorch; timm would leave those out.

    Args:
        params: Parameters, or groups of them.
        optimizer: Which one.
        lr: Learning rate.
        momentum: Of sgd, nesterov, rmsprop and rmsprop_tf.
        weight_decay: L2 penalty added to the gradient; decoupled from it in adamw.
        alpha: Smoothing of the mean square, of rmsprop and rmsprop_tf.
        betas: Smoothing of the mean and the mean square, of adam and adamw.
        eps: Added to the root of the mean square, in rmsprop_tf under the root.

    Raises:
        UserError: If the name is unknown, the optimizer lacks a value that was set, or a value is out of range.
    """
    if optimizer not in OPTIMIZERS:
        raise UserError(f"optimizer={optimizer!r} is unknown; there are {', '.join(OPTIMIZERS)}")
    timm_name, defaults = OPTIMIZERS[optimizer]
    given = {"momentum": momentum, "weight_decay": weight_decay, "alpha": alpha, "betas": betas, "eps": eps}
    chosen = {key: value for key, value in given.items() if value is not None}
    if foreign := [f"{key}={value}" for key, value in chosen.items() if key not in defaults]:
        raise UserError(
            f"optimizer={optimizer} has no {', '.join(foreign)}; it has lr, {', '.join(defaults)}; leave out the "
            "rest, or set it to null where a YAML has it, as in --model.alpha=null"
        )
    values: dict[str, Any] = {**defaults, **chosen}
    _check_range("lr", lr, positive=True)
    for key, value in values.items():
        for number in value if isinstance(value, (tuple, list)) else (value,):
            _check_range(key, number, below_one=key in _FRACTIONS)
    if optimizer == "nesterov" and values["momentum"] == 0:
        raise UserError("optimizer=nesterov needs a momentum above 0; without one it is optimizer=sgd")
    return create_optimizer_v2(params, opt=timm_name, lr=lr, filter_bias_and_bn=False, **values)


def _check_range(key: str, value: float, *, positive: bool = False, below_one: bool = False) -> None:
    if not math.isfinite(value) or value < 0 or (positive and value == 0) or (below_one and value >= 1):
        wanted = "a number above 0" if positive else "from 0 to below 1" if below_one else "a number, 0 or more"
        raise UserError(f"{key}={value} is out of range; it is {wanted}")


WARMUP_START: Final = 1e-3
"""Factor of the very first step of a warm-up; at 0 that step would move nothing."""

ONE_CYCLE_START: Final = 1 / 25
ONE_CYCLE_FINAL: Final = ONE_CYCLE_START / 1e4
"""First and last factor of a cycle: `div_factor` and `final_div_factor` of torch.optim.lr_scheduler.OneCycleLR."""

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "constant": (),
        "step": ("step_every", "decay"),
        "multistep": ("milestones", "decay"),
        "cosine": ("schedule_total",),
        "one_cycle": ("schedule_total",),
    }
)
_ALLOWED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"cosine": ("final",), "one_cycle": ("final",)})


@dataclass(frozen=True)
class Schedule:
    """The learning rate over a run, as a factor of the one that was asked for: a pure function of progress.

    Progress, and every length here, counts from the start of the run in one unit, which is the caller's: optimizer
    steps, or training samples seen, in which runs of different batch sizes share one schedule.

    Args:
        name: `constant`; `step`: times `decay` every `step_every`; `multistep`: times `decay` at each of the
            `milestones`; `cosine`: half a cosine from 1 where the warm-up ends to `final` at `total`; `one_cycle`: half
            a cosine up to 1 during the warm-up, which it must have, and half a cosine down to `final` at `total` (the
            shape of PyTorch's OneCycleLR; the momentum stays).
        warmup: Length of the warm-up: linear from 0.001, times what the schedule says; 0 is none.
        step_every: Length between two decays, of `step`.
        milestones: When to decay, of `multistep`; ascending.
        decay: What one decay multiplies by, of `step` and `multistep`.
        total: Where the curve ends, of `cosine` and `one_cycle`; the factor stays there. Messages call it
            `schedule_total`, as the tasks do.
        final: The factor from `total` on; default 0 for `cosine`, 4e-6 for `one_cycle`.

    Raises:
        UserError: If the schedule lacks a value that was set, a value that it needs is not set, or one is out of range.
    """

    name: ScheduleName = "constant"
    warmup: float = 0.0
    step_every: float | None = None
    milestones: list[float] | None = None
    decay: float | None = None
    total: float | None = None
    final: float | None = None

    def __post_init__(self) -> None:
        """Refuse what does not belong together."""
        if self.name not in _NEEDED:
            raise UserError(f"schedule={self.name!r} is unknown; there are {', '.join(_NEEDED)}")
        settings = {
            "step_every": self.step_every,
            "milestones": self.milestones,
            "decay": self.decay,
            "schedule_total": self.total,
            "final": self.final,
        }
        given = {key: value for key, value in settings.items() if value is not None}
        needed, allowed = _NEEDED[self.name], _ALLOWED.get(self.name, ())
        if foreign := [f"{key}={value}" for key, value in given.items() if key not in needed + allowed]:
            takes = ", ".join(("warmup", *needed, *allowed))
            raise UserError(f"schedule={self.name} has no {', '.join(foreign)}; it takes {takes}: leave out the rest")
        if missing := [key for key in needed if key not in given]:
            raise UserError(f"schedule={self.name} needs {' and '.join(missing)}")
        self._check_values(given)

    def _check_values(self, given: Mapping[str, Any]) -> None:
        _check_range("warmup", self.warmup)
        for key, value in given.items():
            for number in value if key == "milestones" else (value,):
                _check_range(key, number, positive=key != "final")
        if self.milestones is not None and not (self.milestones and _ascend(self.milestones)):
            raise UserError(f"milestones={self.milestones} do not ascend; give at least one, the earliest first")
        if self.total is not None and self.warmup >= self.total:
            raise UserError(f"warmup={self.warmup} leaves nothing before schedule_total={self.total}")
        if self.name == "one_cycle" and self.warmup == 0:
            raise UserError("schedule=one_cycle needs warmup, the length of its rise (PyTorch: 0.3 of the total)")

    def factor(self, progress: float) -> float:
        """Return the factor of the learning rate for the step that starts at `progress`."""
        if progress >= self.warmup:
            return self._main(progress)
        fraction = progress / self.warmup
        if self.name == "one_cycle":
            return _half_cosine(ONE_CYCLE_START, 1.0, fraction)
        return self._main(progress) * (WARMUP_START + (1 - WARMUP_START) * fraction)

    def _main(self, progress: float) -> float:
        """The factor with the warm-up left out."""
        if self.step_every is not None and self.decay is not None:
            return float(self.decay ** (progress // self.step_every))
        if self.milestones is not None and self.decay is not None:
            return float(self.decay ** sum(milestone <= progress for milestone in self.milestones))
        if self.total is not None:
            default = ONE_CYCLE_FINAL if self.name == "one_cycle" else 0.0
            final = default if self.final is None else self.final
            return _half_cosine(1.0, final, (progress - self.warmup) / (self.total - self.warmup))
        return 1.0


def _ascend(numbers: list[float]) -> bool:
    return all(before < after for before, after in pairwise(numbers))


def _half_cosine(start: float, end: float, fraction: float) -> float:
    """Half a cosine from `start` at 0 to `end` at 1, level outside."""
    fraction = min(max(fraction, 0.0), 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
