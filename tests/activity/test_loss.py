"""Losses of classification, against numbers by hand and other implementations."""

import math

import pytest
import torch
from timm.loss import AsymmetricLossMultiLabel
from torch.nn import functional as F
from torch.testing import assert_close

from pose_lightning.activity import loss as losses
from pose_lightning.errors import UserError

LOGITS = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
ONE_HOT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
TAGS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def test_cross_entropy_of_single_classes_is_torchs() -> None:
    label = torch.tensor([0, 2])
    assert_close(losses.cross_entropy(LOGITS, ONE_HOT), F.cross_entropy(LOGITS, label, reduction="none"))


def test_cross_entropy_of_a_mixture_is_the_mixture_of_cross_entropies() -> None:
    other = ONE_HOT.flip(1)
    mixed = losses.cross_entropy(LOGITS, 0.3 * ONE_HOT + 0.7 * other)
    assert_close(mixed, 0.3 * losses.cross_entropy(LOGITS, ONE_HOT) + 0.7 * losses.cross_entropy(LOGITS, other))


def test_label_smoothing_is_torchs() -> None:
    wanted = F.cross_entropy(LOGITS, torch.tensor([0, 2]), reduction="none", label_smoothing=0.1)
    assert_close(losses.cross_entropy(LOGITS, losses.smooth(ONE_HOT, 0.1)), wanted)


def test_binary_cross_entropy_is_a_mean_over_tags() -> None:
    by_hand = [
        (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-0.5))) / 3,
        (math.log(2) + math.log(1 + math.exp(3)) + math.log(1 + math.exp(1))) / 3,
    ]
    assert_close(losses.binary_cross_entropy(LOGITS, TAGS), torch.tensor(by_hand))


def test_the_asymmetric_loss_is_timms() -> None:
    theirs = AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=0.05, disable_torch_grad_focal_loss=False)
    ours = losses.asymmetric(LOGITS, TAGS, gamma_positive=1.0, gamma_negative=4.0, margin=0.05)
    assert_close(ours.mean() * 3, theirs(LOGITS, TAGS))


def test_the_asymmetric_loss_without_focus_and_margin_is_binary_cross_entropy() -> None:
    plain = losses.asymmetric(LOGITS, TAGS, gamma_positive=0.0, gamma_negative=0.0, margin=0.0)
    assert_close(plain, losses.binary_cross_entropy(LOGITS, TAGS))


def test_the_asymmetric_loss_has_a_gradient_where_logits_are_extreme() -> None:
    logits = torch.tensor([[-200.0, 200.0, 0.0]], requires_grad=True)
    losses.asymmetric(logits, torch.tensor([[1.0, 0.0, 1.0]])).sum().backward()
    assert torch.isfinite(logits.grad).all()


def test_inverse_weights_are_those_of_keras_users() -> None:
    counts = torch.tensor([6.0, 3.0, 1.0], dtype=torch.float64)
    weights = losses.class_weights(counts, by="inverse", beta=0.999)
    assert_close(weights, torch.tensor([10 / 18, 10 / 9, 10 / 3]))  # n / (k n_k): scikit-learn's "balanced"


def test_effective_weights_by_hand() -> None:
    counts = torch.tensor([2.0, 1.0], dtype=torch.float64)
    weights = losses.class_weights(counts, by="effective", beta=0.5)  # effective numbers 1.5 and 1
    assert_close(weights, torch.tensor([2 / 3, 1.0]) * 3 / (2 * 2 / 3 + 1))


@pytest.mark.parametrize("by", ["inverse", "effective"])
def test_the_mean_weight_of_the_training_pictures_is_one(by: losses.ClassWeights) -> None:
    counts = torch.tensor([700.0, 41.0, 0.0, 3.0], dtype=torch.float64)
    weights = losses.class_weights(counts, by=by, beta=0.999)
    assert weights is not None
    assert weights[2] == 0
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1, rel=1e-6)


def test_weighted_cross_entropy_weighs_the_true_class() -> None:
    weights = torch.tensor([2.0, 5.0, 0.5])
    wanted = F.cross_entropy(LOGITS, torch.tensor([0, 2]), weight=weights, reduction="none")
    assert_close(losses.cross_entropy(LOGITS, ONE_HOT, weights=weights), wanted)


def test_positive_weights_balance_each_tag() -> None:
    counts = torch.tensor([2.0, 5.0, 0.0], dtype=torch.float64)
    weights = losses.pos_weights(counts, 10)
    assert weights.tolist() == [4.0, 1.0, 1.0]
    # pairs: 2 x 4 + 8, 5 + 5, 10
    assert losses.mean_weight(weights, counts, 10) == pytest.approx(36 / 30)


@pytest.mark.parametrize(
    ("loss", "setting"),
    [
        ("bce", {"label_smoothing": 0.1}),
        ("asymmetric", {"positive": "ratio"}),
        ("bce", {"weights": "inverse"}),
        ("cross_entropy", {"positive": "ratio"}),
        ("cross_entropy", {"label_smoothing": 1.0}),
    ],
)
def test_what_a_loss_does_not_have_is_refused(loss: losses.LossName, setting: dict[str, object]) -> None:
    given = {"label_smoothing": 0.0, "weights": "none", "positive": "none", "beta": 0.999} | setting
    with pytest.raises(UserError, match="model"):
        losses.check(loss, **given)  # type: ignore[arg-type]
