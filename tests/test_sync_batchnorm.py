"""Synchronised batch norms compute what timm's and PyTorch's own do, and stay frozen where those were."""

from copy import deepcopy

import pytest
import timm
import torch
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import BatchNormAct2d
from torch import nn
from torch.testing import assert_close

from pose_lightning.activity.model import ActivityClassifier
from pose_lightning.sync_batchnorm import SyncBatchNorms, synchronise_by_timm


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet10t", "efficientnet_b0"])
def test_outputs_stay_where_norms_are_synchronised_and_where_they_are_plain_again(name: str) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, pretrained=False).eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        converted = SyncBatchNorms().apply(network)
        assert any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())
        assert_close(converted(image), before)
        reverted = SyncBatchNorms().revert(converted)
        assert not any(isinstance(module, nn.SyncBatchNorm) for module in reverted.modules())
        assert_close(reverted(image), before)
    assert any(isinstance(module, BatchNormAct2d) for module in reverted.modules()) == (name != "resnet10t")


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_norms_stay_frozen_when_they_are_synchronised(frozen: bool) -> None:
    model = ActivityClassifier(num_classes=3, backbone="efficientnet_b0", input_size=64, freeze_statistics=frozen)
    model.hold(["bn1"])
    names = list(model.state_dict())
    converted = SyncBatchNorms().apply(deepcopy(model)).train()
    assert list(converted.state_dict()) == names
    norms = {name: norm for name, norm in converted.named_modules() if isinstance(norm, nn.SyncBatchNorm)}
    assert not norms["backbone.bn1"].training
    assert [norm.training for norm in norms.values()].count(True) == (0 if frozen else len(norms) - 1)


def test_the_trainer_takes_timms_converter_in_the_place_of_pytorchs() -> None:
    class Stub:
        world_size = 2

    class Strategy:
        root_device = torch.device("cuda")
        _layer_sync = TorchSyncBatchNorm()

    trainer = Stub()
    trainer.strategy = Strategy()  # type: ignore[attr-defined]
    synchronise_by_timm(trainer)  # type: ignore[arg-type]
    assert type(trainer.strategy._layer_sync) is SyncBatchNorms  # type: ignore[attr-defined]
