"""What an exported file says of itself: text by key, each value JSON, in every format alike."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

from pose_lightning.errors import UserError

LAYOUT: Final = 1
"""Of what is said; a reader refuses a newer one."""

MARK: Final = "pose_lightning"
"""The key of the layout."""

TaskName = Literal["heatmap", "regression", "activity"]

AGAIN: Final = "write it with `python -m pose_lightning.export RUN_DIR`"


@dataclass(frozen=True)
class Tensor:
    """An input or an output.

    Attributes:
        name: In the file.
        shape: Without the batch, which comes first and may have any size.
        values: What they are, their range and unit; always float32.
    """

    name: str
    shape: tuple[int, ...]
    values: str


@dataclass(frozen=True)
class Facts:
    """What an exported network is, and what must be known to ask it.

    Attributes:
        task: What it was trained for.
        experiment: The run's.
        checkpoint: Name of the file that the weights are from.
        step: Optimizer steps behind them.
        synthetic: Whether it was trained on drawn data; None where the stores are gone and nobody knows.
        input: What it takes.
        output: What it gives.
        details: Of the task. Heatmaps: `joint_set`, `joint_order`, `bones`, `joints_never_taught`, `decoding`, `sigma`,
            `grid` and `stride` (`heatmap.codec`), and `crop` and `box_in_crop`, px, of the crop that the input is cut
            from. Regression: `joint_set`, `joint_order`, `bones`, `root`, `unit`, `frames`, `frame_rate`, `side` of the
            stored frames that the input is resized from, px. Activity: `target`, `classes`, `fit` and `crop_share`
            (`activity.framing.whole`), and `shorter_side`, px, that pictures are first made as small as.
        model: The run's settings of the network, without the weights that it started from.
        package_version: Of this package.
    """

    task: TaskName
    experiment: str
    checkpoint: str
    step: int
    synthetic: bool | None
    input: Tensor
    output: Tensor
    details: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    package_version: str = ""

    def to_metadata(self) -> dict[str, str]:
        """Text by key."""
        return {key: json.dumps(value, allow_nan=False) for key, value in {MARK: LAYOUT, **asdict(self)}.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> "Facts":
        """What `to_metadata` wrote.

        Raises:
            UserError: If it is not there, is damaged, or of a newer layout.
        """
        if MARK not in metadata:
            raise UserError(f"{path} does not say what it is, as an exported run does; {AGAIN}")
        try:
            if (layout := int(metadata[MARK])) > LAYOUT:
                raise UserError(f"{path} has layout {layout}, which is newer than this package's {LAYOUT}; update it")
            found = {each.name: json.loads(metadata[each.name]) for each in fields(cls)}
            for name in ("input", "output"):
                found[name] = Tensor(**{**found[name], "shape": tuple(found[name]["shape"])})
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path}: what it says of itself is damaged ({error!r}); {AGAIN}") from error
        return cls(**found)
