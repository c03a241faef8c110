"""Numbers that the sources of the experiments published, and what stands between them and ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

COURSE: Final = "the course's clips and split, which are not public; no protocol of Human3.6M"
MPII: Final = "MPII's 2,958 validation persons"
ACTIVITY: Final = "20 categories of MPII, with a split by picture, so that frames of one video are on both sides"


@dataclass(frozen=True)
class Published:
    """A number of a source.

    Attributes:
        experiment: That re-implements it.
        metric: Ours, which is the same or closest.
        value: In the metric's unit.
        where: Resolved settings that a run has to have for the number to be of its kind.
        source: Where it stands.
        data: That it was measured on.
        budget: That it took.
    """

    experiment: str
    metric: str
    value: float
    where: Mapping[str, Any]
    source: str
    data: str
    budget: str


NUMBERS: Final = (
    Published(
        "hourglass_mpii",
        "val/pckh",
        88.1,
        {"model.network.stacks": 8},
        "Newell et al., ECCV 2016, as later papers quote it",
        f"{MPII}; the mirrored image was averaged in",
        "RMSprop 2.5e-4, batch 8, about 3 days on one GPU",
    ),
    Published(
        "hourglass_mpii",
        "val/pckh_16",
        88.5,
        {"model.network.stacks": 8},
        "report 004, its own training",
        f"{MPII}; over all 16 joints",
        "about 200,000 iterations, 3 days on four GPUs",
    ),
    Published(
        "regression_vgg_lstm",
        "val/mpjpe",
        101.27,
        {"model.optimizer": "sgd"},
        "report 000",
        COURSE,
        "SGD 1e-2, batch 3, 20 epochs",
    ),
    Published(
        "regression_conv_lstm",
        "val/mpjpe",
        89.76,
        {},
        "report 001, mean of its joints",
        COURSE,
        "Adam 1e-4, batch 5, 30 epochs",
    ),
    Published(
        "regression_conv_rnn",
        "val/mpjpe",
        150.0,
        {"model.temporal": "lstm"},
        "report 002, about",
        COURSE,
        "Adam 1e-3, batch 2, 10 epochs",
    ),
    Published(
        "regression_conv_rnn",
        "val/mpjpe",
        150.0,
        {"model.temporal": "rnn"},
        "report 002, about",
        COURSE,
        "Adam 1e-3, batch 2, 10 epochs",
    ),
    Published(
        "activity_xception",
        "val/top1",
        74.0,
        {"data.batch_size": 30, "model.freeze.n": 7},
        "report 003",
        ACTIVITY,
        "10 epochs of 30",
    ),
    Published(
        "activity_xception",
        "val/top1",
        81.0,
        {"data.batch_size": 30, "model.freeze.n": 47},
        "report 003",
        ACTIVITY,
        "30 epochs of 30",
    ),
    Published("activity_vgg16", "val/top1", 73.0, {"data.batch_size": 50}, "report 003", ACTIVITY, "10 epochs of 50"),
    Published("activity_inception_resnet_v2", "val/top1", 64.0, {}, "report 003", ACTIVITY, "10 epochs of 100"),
)


def published(settings: Mapping[str, Any], metric: str) -> list[Published]:
    """The numbers that a run with these resolved settings can be held against."""
    return [
        each
        for each in NUMBERS
        if (each.experiment, each.metric) == (settings.get("experiment"), metric)
        and all(settings.get(name) == wanted for name, wanted in each.where.items())
    ]
