"""From mm to the space that a network learns in, and back."""

import io

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from pose_lightning.errors import UserError
from pose_lightning.joints import H36M
from pose_lightning.regression.targets import TargetName, TargetTransform, check_range

LEFT_KNEE = H36M.names.index("left knee")


@pytest.fixture
def joints() -> np.ndarray:
    """Poses (20, 3, 17, 3), mm, with a root that never moves."""
    poses = np.random.default_rng(1).normal([50, -200, 10], [300, 200, 400], (20, 3, 17, 3)).astype(np.float32)
    poses[:, :, 0] = 0
    return poses


def fitted(name: TargetName, joints: np.ndarray) -> TargetTransform:
    transform = TargetTransform(name)
    transform.fit(joints)
    return transform


def test_none_is_metres_without_fitting():
    transform = TargetTransform("none")
    pose = torch.full((17, 3), 250.0)
    assert_close(transform(pose), torch.full((17, 3), 0.25))
    assert_close(transform.inverse(torch.full((17, 3), -1.5)), torch.full((17, 3), -1500.0))


def test_fitting_none_changes_nothing(joints: np.ndarray):
    assert_close(fitted("none", joints).state_dict(), TargetTransform("none").state_dict())


def test_minmax_maps_the_training_splits_range_to_0_to_1(joints: np.ndarray):
    targets = fitted("minmax", joints)(torch.from_numpy(joints)).numpy()
    low, high = joints.min(axis=(0, 1)), joints.max(axis=(0, 1))
    assert_allclose(targets[:, :, 1:], ((joints - low)[:, :, 1:] / (high - low)[1:]), atol=1e-6)
    assert_allclose(targets[:, :, 1:].min(axis=(0, 1)), 0, atol=1e-6)
    assert_allclose(targets[:, :, 1:].max(axis=(0, 1)), 1, atol=1e-6)


def test_standardized_coordinates_have_mean_0_and_deviation_1(joints: np.ndarray):
    targets = fitted("standardize", joints)(torch.from_numpy(joints)).double().numpy()[:, :, 1:]
    assert_allclose(targets.mean(axis=(0, 1)), 0, atol=1e-5)
    assert_allclose(targets.std(axis=(0, 1)), 1, atol=1e-5)


@pytest.mark.parametrize(("name", "middle"), [("minmax", 0.5), ("standardize", 0.0)])
@pytest.mark.parametrize("place", [0.0, 1234.567])
def test_a_constant_coordinate_maps_to_the_middle_and_back_exactly(
    joints: np.ndarray, name: TargetName, middle: float, place: float
):
    joints[:, :, 0] = place
    transform = fitted(name, joints)
    targets = transform(torch.from_numpy(joints))
    assert (targets[:, :, 0] == middle).all()
    assert torch.equal(transform.inverse(targets)[:, :, 0], torch.from_numpy(joints)[:, :, 0])


@pytest.mark.parametrize("name", ["minmax", "standardize"])
def test_rounding_noise_of_the_root_is_not_blown_up(joints: np.ndarray, name: TargetName):
    joints[:, :, 0] = np.random.default_rng(2).uniform(-1e-5, 1e-5, (20, 3, 3))
    targets = fitted(name, joints)(torch.from_numpy(joints))
    assert (targets[:, :, 0] - targets[0, 0, 0]).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["none", "minmax", "standardize"])
def test_inverse_undoes_the_transform(joints: np.ndarray, name: TargetName):
    transform = fitted(name, joints)
    other = torch.from_numpy(joints) * 3 + 100  # also outside the fitted range
    assert_close(transform.inverse(transform(other)), other, atol=1e-3, rtol=1e-6)


@pytest.mark.parametrize("name", ["minmax", "standardize"])
def test_fitted_numbers_survive_a_checkpoint(joints: np.ndarray, name: TargetName):
    transform, file = fitted(name, joints), io.BytesIO()
    torch.save(transform.state_dict(), file)
    file.seek(0)
    again = TargetTransform(name)
    again.load_state_dict(torch.load(file, weights_only=True))
    pose = torch.from_numpy(joints[0])
    assert torch.equal(again(pose), transform(pose))
    assert torch.equal(again.inverse(pose), transform.inverse(pose))


def test_nothing_is_learnt_by_gradient(joints: np.ndarray):
    assert not list(fitted("minmax", joints).parameters())


def test_gradients_reach_the_network_through_the_inverse(joints: np.ndarray):
    transform = fitted("minmax", joints)
    said = torch.full((17, 3), 0.5, requires_grad=True)
    transform.inverse(said).sum().backward()
    assert said.grad is not None
    extent = np.ptp(joints, axis=(0, 1))
    assert_allclose(said.grad[1:].numpy(), extent[1:], rtol=1e-5)


@pytest.mark.parametrize("name", ["minmax", "standardize"])
def test_an_unfitted_transform_is_an_error(name: TargetName):
    for use in (TargetTransform(name), TargetTransform(name).inverse):
        with pytest.raises(RuntimeError, match=f"'{name}' was neither fitted nor loaded"):
            use(torch.zeros(17, 3))


@pytest.mark.parametrize("name", ["none", "minmax", "standardize"])
def test_a_pose_that_is_not_finite_is_refused_by_its_place(joints: np.ndarray, name: TargetName):
    joints[7, 2, LEFT_KNEE, 1] = np.nan
    with pytest.raises(UserError, match="training clip 7, frame 2: y of the left knee is nan"):
        TargetTransform(name).fit(joints)


@pytest.mark.parametrize("name", ["none", "standardize"])
def test_a_sigmoid_is_refused_where_targets_lie_outside_its_range(joints: np.ndarray, name: TargetName):
    with pytest.raises(UserError, match=f"with target_transform={name}; take target_transform=minmax"):
        check_range(fitted(name, joints), joints)


def test_the_refusal_names_the_farthest_coordinate():
    joints = np.full((4, 2, 17, 3), 500.0, np.float32)
    joints[2, 1, LEFT_KNEE, 2] = -620.0
    joints[3, 0, LEFT_KNEE, 0] = 1610.0
    with pytest.raises(UserError, match=r"z of the left knee is -0\.620 m in training clip 2, frame 1"):
        check_range(TargetTransform("none"), joints)


def test_a_sigmoid_may_learn_what_lies_in_its_range(joints: np.ndarray):
    check_range(fitted("minmax", joints), joints)
    check_range(TargetTransform("none"), np.abs(joints) / 10)


def test_a_read_only_array_of_a_store_may_be_fitted(joints: np.ndarray):
    joints.flags.writeable = False
    check_range(fitted("minmax", joints), joints)
