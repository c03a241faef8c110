"""The linear probe, against another optimizer on the same objective."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from pose_lightning.activity import probe
from pose_lightning.errors import UserError

PENALTY = 0.02


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    labels = torch.arange(60) % 3
    features = torch.randn(60, 4, generator=generator) + torch.eye(4)[labels]
    return features * torch.tensor([1e-2, 1.0, 10.0, 300.0]) + 5, labels


def test_it_minimizes_what_it_says(problem: tuple[torch.Tensor, torch.Tensor]) -> None:
    features, labels = problem
    weight, bias = probe.fit(features, labels, classes=3, penalty=PENALTY)
    raw, truth = features.double().numpy(), labels.numpy()
    scaled = (raw - raw.mean(axis=0)) / raw.std(axis=0)

    def objective(flat: np.ndarray) -> float:
        weights, biases = flat[:12].reshape(3, 4), flat[12:]
        logits = scaled @ weights.T + biases
        losses = logsumexp(logits, axis=1) - logits[np.arange(60), truth]
        return float(losses.mean() + PENALTY * np.square(weights).sum())

    found = minimize(objective, np.zeros(15), method="BFGS", options={"gtol": 1e-9}).x
    wanted = scaled @ found[:12].reshape(3, 4).T + found[12:]
    logits = (features.double() @ weight.double().T + bias.double()).numpy()
    centred = logits - logits.mean(axis=1, keepdims=True)  # a number added to all classes changes nothing
    np.testing.assert_allclose(centred, wanted - wanted.mean(axis=1, keepdims=True), atol=1e-3)


def test_a_constant_feature_has_no_say(problem: tuple[torch.Tensor, torch.Tensor]) -> None:
    features, labels = problem
    weight, _ = probe.fit(torch.cat([features, torch.full((60, 1), 3.0)], dim=1), labels, classes=3, penalty=PENALTY)
    assert not weight[:, 4].any()
    assert weight[:, :4].all()


def test_features_that_are_no_numbers_are_refused(problem: tuple[torch.Tensor, torch.Tensor]) -> None:
    features, labels = problem
    features[7, 2] = torch.nan
    with pytest.raises(UserError, match="not finite"):
        probe.fit(features, labels, classes=3, penalty=PENALTY)
