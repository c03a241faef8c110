"""Recurrent layers written out."""

import pytest
import torch
from torch.testing import assert_close

from pose_lightning.regression.temporal import RECURRENT
from pose_lightning.regression.unrolled import Unrolled


@pytest.mark.parametrize("bidirectional", [False, True], ids=["forwards", "both ways"])
@pytest.mark.parametrize("name", sorted(RECURRENT))
def test_written_out_layers_say_the_same(name: str, bidirectional: bool) -> None:
    torch.manual_seed(1)
    layers = RECURRENT[name](5, 4, num_layers=2, batch_first=True, bidirectional=bidirectional).eval()
    clips = torch.randn(3, 6, 5)
    assert_close(Unrolled(layers)(clips)[0], layers(clips)[0])
