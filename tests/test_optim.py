"""Optimizers and schedules by name."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, MultiStepLR, OneCycleLR, StepLR
from torch.testing import assert_close

from pose_lightning.errors import UserError
from pose_lightning.optim import OPTIMIZERS, OptimizerName, Schedule, ScheduleName, make_optimizer

GRADIENTS = torch.randn(4, 7, generator=torch.Generator().manual_seed(1))


def after_steps(make: Callable[[list[torch.Tensor]], Optimizer]) -> torch.Tensor:
    """The weights after one step per row of `GRADIENTS`."""
    weights = torch.linspace(-1, 1, 7, requires_grad=True)
    optimizer = make([weights])
    for gradient in GRADIENTS:
        weights.grad = gradient.clone()
        optimizer.step()
    return weights.detach()


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("sgd", {}, lambda p: torch.optim.SGD(p, lr=0.1)),
        ("sgd", {"momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        ("nesterov", {}, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True)),
        ("adam", {}, lambda p: torch.optim.Adam(p, lr=0.1)),
        ("adam", {"betas": (0.5, 0.9)}, lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.5, 0.9))),
        ("adamw", {}, lambda p: torch.optim.AdamW(p, lr=0.1)),
        ("rmsprop", {}, lambda p: torch.optim.RMSprop(p, lr=0.1)),
        (
            "rmsprop",
            {"alpha": 0.8, "eps": 0.1, "momentum": 0.5, "weight_decay": 0.2},
            lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.8, eps=0.1, momentum=0.5, weight_decay=0.2),
        ),
    ],
)
def test_optimizers_step_as_those_of_pytorch(
    name: OptimizerName, settings: dict[str, Any], expected: Callable[[list[torch.Tensor]], Optimizer]
):
    ours = after_steps(lambda params: make_optimizer(params, optimizer=name, lr=0.1, **settings))
    assert torch.equal(ours, after_steps(expected))


def test_rmsprop_tf_has_eps_inside_the_root_and_starts_its_mean_square_at_one():
    ours = after_steps(lambda params: make_optimizer(params, optimizer="rmsprop_tf", lr=0.1, eps=0.5))
    weights, mean_square = torch.linspace(-1, 1, 7), torch.ones(7)
    for gradient in GRADIENTS:
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        weights = weights - 0.1 * gradient / (mean_square + 0.5).sqrt()
    assert_close(ours, weights)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_value_is_left_to_timm(name: OptimizerName):
    optimizer = make_optimizer([torch.zeros(1, requires_grad=True)], optimizer=name, lr=0.25)
    group = optimizer.param_groups[0]
    assert {key: group[key] for key in OPTIMIZERS[name][1]} == OPTIMIZERS[name][1]
    assert group["lr"] == 0.25


def test_weight_decay_reaches_biases_too():
    optimizer = make_optimizer(torch.nn.Linear(3, 2).parameters(), optimizer="adamw", lr=0.1, weight_decay=0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5]
    assert len(optimizer.param_groups[0]["params"]) == 2


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("adam", {"momentum": 0.9}, r"adam has no momentum=0\.9; it has lr, betas, eps, weight_decay"),
        ("adam", {"momentum": 0.0}, r"adam has no momentum=0\.0"),
        ("sgd", {"alpha": 0.9, "eps": 1e-8}, r"sgd has no alpha=0\.9, eps=1e-08"),
        ("rmsprop", {"betas": (0.9, 0.99)}, r"rmsprop has no betas=\(0\.9, 0\.99\)"),
        ("adagrad", {}, "'adagrad' is unknown; there are sgd, nesterov"),
        ("nesterov", {"momentum": 0.0}, "needs a momentum above 0"),
        ("sgd", {"momentum": 1.5}, r"momentum=1\.5 is out of range; it is from 0 to below 1"),
        ("adam", {"betas": (0.9, 1.0)}, r"betas=1\.0 is out of range"),
        ("rmsprop", {"weight_decay": -1.0}, r"weight_decay=-1\.0 is out of range"),
    ],
)
def test_a_value_that_the_optimizer_lacks_is_refused(name: OptimizerName, settings: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        make_optimizer([torch.zeros(1, requires_grad=True)], optimizer=name, lr=0.1, **settings)


@pytest.mark.parametrize("lr", [0.0, -1e-3, float("nan"), float("inf")])
def test_a_learning_rate_must_be_positive_and_finite(lr: float):
    with pytest.raises(UserError, match="lr="):
        make_optimizer([torch.zeros(1, requires_grad=True)], optimizer="sgd", lr=lr)


def learning_rates(make: Callable[[Optimizer], LRScheduler], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(), lambda o: LambdaLR(o, lambda step: 1.0)),
        (Schedule("step", step_every=7.0, decay=0.3), lambda o: StepLR(o, 7, gamma=0.3)),
        (Schedule("multistep", milestones=[5.0, 12.0], decay=0.2), lambda o: MultiStepLR(o, [5, 12], gamma=0.2)),
        (Schedule("cosine", total=29.0, final=0.02), lambda o: CosineAnnealingLR(o, 29, eta_min=0.01)),
        (Schedule("constant", warmup=10.0), lambda o: LinearLR(o, start_factor=1e-3, total_iters=10)),
        (
            Schedule("one_cycle", warmup=8.0, total=29.0),  # PyTorch: 0.3 * 30 - 1 and 30 - 1
            lambda o: OneCycleLR(o, max_lr=0.5, total_steps=30, pct_start=0.3, cycle_momentum=False),
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Schedule) else "",
)
def test_schedules_follow_those_of_pytorch(schedule: Schedule, expected: Callable[[Optimizer], LRScheduler]):
    ours = learning_rates(lambda optimizer: LambdaLR(optimizer, schedule.factor), 30)
    assert ours == pytest.approx(learning_rates(expected, 30), abs=1e-12)


def test_a_warm_up_multiplies_the_decays_and_precedes_the_cosine():
    decayed = Schedule("multistep", warmup=10.0, milestones=[4.0], decay=0.5)
    assert decayed.factor(5) == pytest.approx(0.5 * (0.001 + 0.999 * 0.5))
    cosine = Schedule("cosine", warmup=10.0, total=30.0)
    assert [cosine.factor(t) for t in (0, 10, 20, 30, 99)] == pytest.approx([0.001, 1.0, 0.5, 0.0, 0.0])


def test_samples_give_the_same_curve_as_steps_of_that_many_samples():
    steps = Schedule("multistep", warmup=100.0, milestones=[1000.0, 3000.0], decay=0.1)
    samples = Schedule("multistep", warmup=1600.0, milestones=[16e3, 48e3], decay=0.1)
    assert all(steps.factor(step) == pytest.approx(samples.factor(16 * step)) for step in range(0, 4000, 7))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("constant", {"milestones": [3.0]}, r"constant has no milestones=\[3\.0\]; it takes warmup: leave out"),
        ("cosine", {"total": 9.0, "decay": 0.1}, r"cosine has no decay=0\.1"),
        ("step", {"step_every": 9.0, "decay": 0.1, "total": 3.0}, r"step has no schedule_total=3\.0"),
        ("step", {"step_every": 9.0}, "step needs decay"),
        ("multistep", {}, "multistep needs milestones and decay"),
        ("cosine", {}, "cosine needs schedule_total"),
        ("one_cycle", {"total": 9.0}, "one_cycle needs warmup"),
        ("cosine", {"total": 9.0, "warmup": 9.0}, "leaves nothing before schedule_total"),
        ("multistep", {"milestones": [5.0, 5.0], "decay": 0.1}, "do not ascend"),
        ("multistep", {"milestones": [], "decay": 0.1}, "give at least one"),
        ("step", {"step_every": 0.0, "decay": 0.1}, r"step_every=0\.0 is out of range"),
        ("constant", {"warmup": float("nan")}, "warmup=nan is out of range"),
        ("linear", {}, "'linear' is unknown; there are constant, step"),
    ],
)
def test_a_schedule_refuses_what_it_does_not_take(name: ScheduleName, settings: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        Schedule(name, **settings)
