"""The ranges of numeric settings, which are refused by the user's own key before anything is built."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pose_lightning.errors import UserError


@dataclass(frozen=True)
class Range:
    """Finite numbers from `least` to `most`; of these ends, an open one is left out."""

    least: float = 0
    most: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, number: float) -> bool:
        """Whether the number is in range; NaN and infinite numbers are in none."""
        low = self.least < number if self.above else self.least <= number
        high = number < self.most if self.below else number <= self.most
        return math.isfinite(number) and low and high

    def __str__(self) -> str:
        """The end of a sentence that begins with "it is"."""
        if math.isinf(self.most):
            return f"above {self.least:g}" if self.above else f"{self.least:g} or more"
        low = f"above {self.least:g}" if self.above else f"from {self.least:g}"
        return f"{low} {'to below' if self.below else 'and at most' if self.above else 'to'} {self.most:g}"


_ABOVE_0: Final = Range(above=True)
_SHARE: Final = Range(most=1)
_BELOW_1: Final = Range(most=1, below=True)
_FACTOR: Final = Range(most=1, above=True)
_COUNT: Final = Range(1)

RANGES: Final[Mapping[str, Range]] = {
    **dict.fromkeys(("model.lr", "model.step_every", "model.milestones", "model.schedule_total"), _ABOVE_0),
    **dict.fromkeys(("model.sigma", "model.beta", "model.encoder_width", "model.unfreeze_every"), _ABOVE_0),
    **dict.fromkeys(
        ("model.momentum", "model.alpha", "model.dropout", "model.drop_path", "model.network.drop_path"), _BELOW_1
    ),
    **dict.fromkeys(("model.label_smoothing", "model.effective_beta"), _BELOW_1),
    **dict.fromkeys(("model.weight_decay", "model.eps", "model.warmup", "model.probe_penalty"), Range()),
    **dict.fromkeys(("model.bone_weight", "model.velocity_weight"), Range()),
    **dict.fromkeys(("model.decay", "model.layer_decay", "model.backbone_rate", "data.crop_share"), _FACTOR),
    "model.final": _SHARE,
    **dict.fromkeys(("model.network.stacks", "model.network.features", "model.num_classes"), _COUNT),
    **dict.fromkeys(("model.input_size", "data.input_size", "data.evaluation_size", "data.frames"), _COUNT),
    **dict.fromkeys(("model.encoder_features", "model.head_features", "model.temporal_features"), _COUNT),
    **dict.fromkeys(("model.temporal_layers", "model.volume_features", "model.depth_bins"), _COUNT),
    **dict.fromkeys(("data.batch_size", "data.ring_depth"), _COUNT),
    **dict.fromkeys(("model.volume_upsamplings", "data.num_threads", "data.rand_augment_ops"), Range()),
    **dict.fromkeys(("data.mixup", "data.cutmix"), Range()),
    **dict.fromkeys(("data.flip", "data.rotation_probability", "data.mix_probability"), _SHARE),
    **dict.fromkeys(("data.random_crop", "data.contrast", "data.brightness", "data.color"), _SHARE),
    **dict.fromkeys(("data.scale", "data.zoom"), Range(most=0.9)),
    "data.shift": Range(most=0.5),
    "data.rotation": Range(most=180),
    "data.shear": Range(most=60),
    **dict.fromkeys(("trainer.accumulate_grad_batches", "trainer.check_val_every_n_epoch"), _COUNT),
    "trainer.val_check_interval": _ABOVE_0,
    "trainer.gradient_clip_val": Range(),
}
"""By short dotted name, of all tasks; where only a combination of settings is wrong, the task itself refuses it."""


def check_ranges(settings: Mapping[str, object]) -> None:
    """Refuse settings that are out of range; a list is checked number by number.

    Raises:
        UserError: If one is, by its key and value.
    """
    for key, allowed in RANGES.items():
        value = settings.get(key)
        numbers: Iterable[object] = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(number, int | float) and number not in allowed for number in numbers):
            raise UserError(f"{key}={value} is out of range; it is {allowed}")
