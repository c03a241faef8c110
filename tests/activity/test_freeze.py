"""What is frozen stands still, to the last bit."""

from itertools import chain

import pytest
import torch
from torch import nn

from pose_lightning.activity.freeze import Freeze, depths, parts, thawing
from pose_lightning.activity.model import ActivityClassifier
from pose_lightning.errors import UserError

NAMES = list("abcdefgh")


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        (Freeze(), ""),
        (Freeze("all"), "abcdefgh"),
        (Freeze("last", 3), "fgh"),
        (Freeze("all_but_last", 3), "abcde"),
    ],
)
def test_which_parts_each_mode_freezes(freeze: Freeze, frozen: str) -> None:
    assert freeze.choose(NAMES) == list(frozen)


def test_all_but_last_is_keras_slice() -> None:
    assert Freeze("all_but_last", 7).choose(NAMES) == NAMES[:-7]


@pytest.mark.parametrize(
    ("mode", "n", "words"), [("last", 0, "how many"), ("all_but_last", -1, "how many"), ("none", 7, "no meaning")]
)
def test_a_number_that_is_missing_or_means_nothing_is_refused(mode: str, n: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Freeze(mode, n)  # type: ignore[arg-type]


def test_more_than_there_is_cannot_be_frozen() -> None:
    with pytest.raises(UserError, match="9, but the backbone has 8"):
        Freeze("last", 9).choose(NAMES)


def test_parts_are_what_holds_parameters_in_order() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.BatchNorm2d(1, affine=False))
    network = nn.Sequential(nn.Linear(1, 1), nn.Dropout(), inner)
    assert list(parts(network)) == ["0", "2.0", "2.2"]


def test_every_parameter_and_statistic_belongs_to_one_part() -> None:
    network = ActivityClassifier(backbone="test_resnet", num_classes=2, input_size=64).backbone
    held = [list(module.named_parameters(recurse=False)) for module in parts(network).values()]
    assert len(list(chain.from_iterable(held))) == len(list(network.named_parameters()))


def test_depth_grows_from_the_input_to_the_maps() -> None:
    network = ActivityClassifier(backbone="test_resnet", num_classes=2, input_size=64).backbone
    depth = depths(network)
    assert depth.keys() == {name for name, _ in network.named_parameters()}
    assert depth["conv1.0.weight"] == 0
    assert depth["layer1.0.conv1.weight"] == 1
    assert depth["layer4.0.bn2.weight"] == 4
    with pytest.raises(UserError, match="layer_decay"):
        depths(nn.Linear(1, 1))


def test_stages_thaw_from_the_last_to_the_first() -> None:
    network = ActivityClassifier(backbone="test_resnet", num_classes=2, input_size=64).backbone
    names = list(parts(network))
    groups = thawing(network, names)
    assert [group[0].split(".")[0] for group in groups] == ["layer4", "layer3", "layer2", "layer1", "conv1"]
    assert sorted(chain.from_iterable(groups)) == sorted(names)
    assert thawing(network, names[-2:]) == [names[-2:]]


def test_what_is_held_stays_evaluated_at_every_train_and_keeps_its_statistics() -> None:
    network = ActivityClassifier(backbone="test_resnet", num_classes=2, input_size=64)
    names = list(parts(network.backbone))
    network.hold(names[:10])
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    for _ in range(2):
        network.eval()
        network.train()
        network(torch.rand(4, 3, 64, 64))
    assert network.training
    after = network.backbone.state_dict()
    statistics = [key for key in before if "running" in key or "num_batches" in key]
    held = {key for key in statistics if key.rpartition(".")[0] in names[:10]}
    assert held
    assert held != set(statistics)
    for key in statistics:
        assert torch.equal(before[key], after[key]) == (key in held), key


def test_what_is_no_longer_held_trains_again() -> None:
    network = ActivityClassifier(backbone="test_resnet", num_classes=2, input_size=64)
    network.hold(list(parts(network.backbone)))
    assert not any(module.training for module in parts(network.backbone).values())
    network.hold([])
    assert all(module.training for module in network.modules())
