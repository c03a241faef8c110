"""Every number out of its range is refused by the user's own key, and none of the experiments has one."""

import math
import re
from pathlib import Path

import pytest
import yaml
from jsonargparse._parameter_resolvers import get_signature_parameters
from jsonargparse._util import import_object

from pose_lightning.activity.data import ActivityData
from pose_lightning.activity.task import ActivityClassification
from pose_lightning.errors import UserError
from pose_lightning.heatmap import KIND
from pose_lightning.heatmap.data import PoseData
from pose_lightning.heatmap.task import HeatmapEstimation
from pose_lightning.ranges import RANGES, check_ranges
from pose_lightning.regression.data import ClipData
from pose_lightning.regression.task import ClipRegression

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = {
    f"{group}.{parameter.name}"
    for group, owners in (
        ("model", (HeatmapEstimation, ClipRegression, ActivityClassification)),
        ("model.network", tuple(map(import_object, KIND.named["network"].values()))),
        ("data", (PoseData, ClipData, ActivityData)),
    )
    for owner in owners
    for parameter in get_signature_parameters(owner, None)
    if re.search(r"\b(int|float)\b", str(parameter.annotation))
    and not re.search("Literal|Callable", str(parameter.annotation))
}


def test_every_number_of_tasks_and_data_has_a_range_or_a_check_of_its_own() -> None:
    elsewhere = {"data.limit_samples", "data.fold", "data.seed", "data.rand_augment_magnitude"}
    elsewhere |= {"model.network.image_mean", "model.network.depth", "model.network.joints", "model.encoder_stride"}
    assert NUMBERS - RANGES.keys() == elsewhere
    assert {key for key in RANGES.keys() - NUMBERS if not key.startswith("trainer.")} == set()


@pytest.mark.parametrize("key", RANGES)
def test_a_number_is_taken_up_to_the_ends_of_its_range(key: str) -> None:
    allowed = RANGES[key]
    wrong = [math.nan, math.inf, -math.inf, -1.0, allowed.most + 0.5, *([allowed.least] if allowed.above else [])]
    wrong += [allowed.most] if allowed.below else []
    right = [allowed.least + (0.1 if allowed.above else 0), min(allowed.most - (0.01 if allowed.below else 0), 1e6)]
    for number in right:
        check_ranges({key: number})
        check_ranges({key: [number, number]})
    for number in wrong:
        for value in (number, [right[0], number]):
            with pytest.raises(UserError) as refusal:
                check_ranges({key: value})
            assert str(refusal.value) == f"{key}={value} is out of range; it is {allowed}"
    check_ranges({key: None})


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.yaml")), ids=lambda path: path.name)
def test_the_experiments_are_in_range(path: Path) -> None:
    settings = yaml.safe_load(path.read_text())
    for group in ("model", "data"):
        owner = settings.get(group) or {}
        values = {**owner, **owner.get("init_args", {})} if isinstance(owner, dict) else {}
        parts = values.get("network") if isinstance(values.get("network"), dict) else {}
        network = {f"network.{key}": value for key, value in (parts or {}).get("init_args", {}).items()}
        check_ranges({f"{group}.{key}": value for key, value in {**values, **network}.items()})
