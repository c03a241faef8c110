"""Gaussian targets and their decoding."""

import jaxtyping
import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor
from torch.testing import assert_close

from pose_lightning import geometry
from pose_lightning.errors import UserError
from pose_lightning.heatmap import codec
from pose_lightning.heatmap.codec import DecodeMethod, Grid
from pose_lightning.joints import MPII

SIZE = 64
METHODS: tuple[DecodeMethod, ...] = ("argmax", "quarter", "dark", "soft_argmax")


def random_joints(count: int, low: float, high: float) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return low + (high - low) * torch.rand(count, 16, 2, generator=generator)


def labelled_like(joints: Tensor) -> Tensor:
    return torch.ones(joints.shape[:-1], dtype=torch.bool)


def test_the_gaussian_has_its_peak_at_the_joint_and_falls_as_the_formula():
    joints = torch.tensor([[[10.0, 20.0]]])
    maps = codec.encode(joints, labelled_like(joints), SIZE, sigma=1.5)
    y, x = np.mgrid[:SIZE, :SIZE]
    expected = np.exp(-((x - 10.0) ** 2 + (y - 20.0) ** 2) / (2 * 1.5**2))
    assert_close(maps[0, 0], torch.from_numpy(expected).float())
    assert maps[0, 0, 20, 10] == 1.0


def test_a_joint_between_cells_is_drawn_between_them():
    joints = torch.tensor([[[10.5, 20.25]]])
    maps = codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0)[0, 0]
    assert_close(maps[20, 10], maps[20, 11])
    assert_close(maps[20, 10], torch.tensor(np.exp(-(0.25 + 0.0625) / 2)).float())
    across, down = maps.sum(0), maps.sum(1)
    cells = torch.arange(SIZE)
    assert_close((across * cells).sum() / across.sum(), torch.tensor(10.5), atol=1e-4, rtol=0)
    assert_close((down * cells).sum() / down.sum(), torch.tensor(20.25), atol=1e-4, rtol=0)


def test_an_unlabelled_joint_is_an_empty_map_whatever_its_coordinates():
    joints = torch.tensor([[[torch.nan, torch.nan], [5.0, 5.0], [5.0, 5.0]]])
    maps = codec.encode(joints, torch.tensor([[False, False, True]]), SIZE, sigma=1.0)
    assert maps[0, :2].eq(0).all()
    assert maps[0, 2, 5, 5] == 1


def test_a_labelled_joint_without_a_position_is_loud():
    joints = torch.full((1, 1, 2), torch.nan)
    assert codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0).isnan().all()


def test_a_joint_outside_the_map_leaves_its_tail():
    joints = torch.tensor([[[-2.0, 7.0]]])
    maps = codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0)[0, 0]
    assert_close(maps.max(), torch.exp(torch.tensor(-2.0)))
    assert maps.argmax() == 7 * SIZE


def test_heatmap_and_input_px_share_their_edges():
    points = torch.tensor([[-0.5, 1.5], [255.5, 1.5]])
    assert_close(codec.input_to_heatmap(points), torch.tensor([[-0.5, 0.0], [63.5, 0.0]]))
    points = random_joints(1, 0, 255)
    assert_close(codec.heatmap_to_input(codec.input_to_heatmap(points)), points)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("low", "high"), [(-0.5, 63.5), (-0.5, 2.5), (60.5, 63.5)], ids=["all", "low", "high"])
def test_decoding_has_no_signed_bias(method: DecodeMethod, low: float, high: float):
    """The edges of the ranges are edges of cells, so rounding to a cell has mean zero in each."""
    joints = random_joints(1000, low, high)
    decoded, _ = codec.decode(codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0), method)
    error = decoded - joints
    assert error.abs().max() <= 0.5 + 1e-5
    bias, spread = error.mean(dim=(0, 1)), error.std() / (16 * 1000) ** 0.5
    assert (bias.abs() < 4 * spread).all()
    assert spread < 0.003


def test_quarter_is_within_a_quarter_inside_the_map():
    joints = random_joints(500, 0.5, 62.5)
    decoded, _ = codec.decode(codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0), "quarter")
    assert (decoded - joints).abs().max() <= 0.25 + 1e-5


def test_quarter_of_a_known_map():
    heatmaps = torch.zeros(1, 1, 5, 5)
    heatmaps[0, 0, 2, 3], heatmaps[0, 0, 2, 2], heatmaps[0, 0, 1, 3] = 0.8, 0.1, 0.2
    decoded, confidence = codec.decode(heatmaps, "quarter")
    assert decoded.tolist() == [[[2.75, 1.75]]]
    assert_close(confidence, torch.tensor([[0.8]]))
    assert codec.decode(heatmaps, "argmax")[0].tolist() == [[[3.0, 2.0]]]


@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("method", ["dark", "soft_argmax"])
def test_both_find_the_top_of_a_gaussian_inside_the_map(method: DecodeMethod, sigma: float):
    radius = 3 * sigma
    joints = random_joints(200, radius, 63 - radius)
    maps = codec.encode(joints, labelled_like(joints), SIZE, sigma)
    decoded, _ = codec.decode(maps, method, sigma=sigma)
    assert (decoded - joints).abs().max() < 0.01


def test_dark_finds_the_top_where_only_the_blur_would_not_fit():
    joints = random_joints(200, 0.5, 3.0)
    decoded, _ = codec.decode(codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0), "dark")
    assert (decoded - joints).abs().max() < 1e-3


def test_dark_finds_the_top_of_a_tilted_gaussian():
    """Its logarithm has a mixed derivative; a step along each axis by itself would end 0.1 px off."""
    x, y = torch.meshgrid(torch.arange(SIZE) - 20.3, torch.arange(SIZE) - 31.6, indexing="xy")
    maps = torch.exp(-(x.square() + 1.2 * x * y + y.square()) / 4)[None, None]
    decoded, _ = codec.decode(maps, "dark", sigma=1.0)
    assert_close(decoded, torch.tensor([[[20.3, 31.6]]]), atol=0.01, rtol=0)


def test_dark_takes_the_step_of_the_papers_formula():
    """Equations 6 to 9 restated: blur, logarithm, derivatives by differences, and Newton's step."""
    joints = torch.tensor([[[30.3, 22.8]]])
    maps = codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0)
    maps = maps + 0.1 * torch.rand(maps.shape, generator=torch.Generator().manual_seed(1))
    x, y = codec.decode(maps, "argmax")[0][0, 0].int().tolist()
    blurred = scipy.ndimage.gaussian_filter(maps[0, 0].double().numpy(), 1.0, mode="constant", radius=3)
    logs = np.log(blurred)[y - 1 : y + 2, x - 1 : x + 2]
    slope = np.array([logs[1, 2] - logs[1, 0], logs[2, 1] - logs[0, 1]]) / 2
    mixed = (logs[2, 2] - logs[2, 0] - logs[0, 2] + logs[0, 0]) / 4
    curvature = np.array(
        [
            [logs[1, 2] - 2 * logs[1, 1] + logs[1, 0], mixed],
            [mixed, logs[2, 1] - 2 * logs[1, 1] + logs[0, 1]],
        ]
    )
    expected = np.array([x, y]) - np.linalg.solve(curvature, slope)
    decoded, _ = codec.decode(maps, "dark", sigma=1.0)
    np.testing.assert_allclose(decoded[0, 0].numpy(), expected, atol=1e-4)
    assert abs(expected - codec.decode(maps, "quarter")[0][0, 0].numpy()).max() > 0.01


def test_dark_falls_back_to_a_quarter_where_there_is_no_top():
    """The logarithm of an empty map is flat, and of a cell alone in it the step is none; noise may have a saddle."""
    heatmaps = torch.zeros(2, 1, 9, 9)
    heatmaps[1, 0, 0, :] = torch.arange(9.0).flip(0)  # the peak in a corner, rising no more
    assert codec.decode(heatmaps, "dark")[0].isfinite().all()
    assert_close(codec.decode(heatmaps, "dark")[0], codec.decode(heatmaps, "quarter")[0])


def test_more_exact_decoders_stay_more_exact_under_noise():
    joints = random_joints(200, 8, 55)
    maps = codec.encode(joints, labelled_like(joints), SIZE, sigma=2.0)
    maps = maps + 0.02 * torch.randn(maps.shape, generator=torch.Generator().manual_seed(2))
    errors = {method: (codec.decode(maps, method, sigma=2.0)[0] - joints).square().mean().sqrt() for method in METHODS}
    assert errors["dark"] < errors["quarter"] / 2 < errors["argmax"] / 3
    assert errors["soft_argmax"] < errors["argmax"]


def test_soft_argmax_of_a_known_map():
    """Along x the window reaches one cell to each side, as far as the nearer border."""
    heatmaps = torch.zeros(1, 1, 5, 5)
    heatmaps[0, 0, 2, 3], heatmaps[0, 0, 2, 2], heatmaps[0, 0, 1, 3], heatmaps[0, 0, 4, 3] = 0.8, 0.1, 0.2, -0.3
    heatmaps[0, 0, 2, 1] = 0.7  # two cells off, outside the window
    decoded, _ = codec.decode(heatmaps, "soft_argmax", sigma=1.0)
    assert_close(decoded, torch.tensor([[[3 - 0.1 / 1.1, 2 - 0.2 / 1.1]]]))


def test_udp_lays_the_outer_px_on_each_other():
    ends = torch.tensor([[0.0, 0.0], [191.0, 255.0]])
    assert_close(codec.input_to_heatmap(ends, grid="udp", size=(64, 48)), torch.tensor([[0.0, 0.0], [47.0, 63.0]]))
    points = random_joints(1, 0, 255)
    there = codec.input_to_heatmap(points, grid="udp", size=64)
    assert_close(codec.heatmap_to_input(there, grid="udp", size=64), points)


def test_equal_neighbours_move_nothing():
    joints = torch.arange(1.0, 17.0).reshape(1, 16, 1).expand(1, 16, 2)
    decoded, _ = codec.decode(codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0), "quarter")
    assert torch.equal(decoded, joints)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (63, 0), (0, 31), (31, 63)])
def test_a_peak_at_the_border_moves_only_along_it(x: int, y: int):
    joints = torch.tensor([[[x + 0.2, y + 0.2]]])
    decoded, _ = codec.decode(codec.encode(joints, labelled_like(joints), SIZE, sigma=1.0), "quarter")
    expected = [place + (0.25 if 0 < place < SIZE - 1 else 0.0) for place in (x, y)]
    assert decoded.tolist() == [[expected]]


def test_maps_need_not_be_square():
    heatmaps = torch.zeros(2, 1, 6, 9)
    heatmaps[0, 0, 4, 7], heatmaps[1, 0, 1, 2] = 1.0, 1.0
    assert codec.decode(heatmaps)[0].tolist() == [[[7.0, 4.0]], [[2.0, 1.0]]]


def test_an_empty_map_has_no_confidence():
    assert codec.decode(torch.zeros(1, 1, 8, 8))[1].item() == 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_damaged_map_never_becomes_a_position(value: float, method: DecodeMethod):
    heatmaps = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    heatmaps[1, 2, 6, 6] = value
    joints, confidence = codec.decode(heatmaps, method)
    assert joints[1, 2].isnan().all()
    assert confidence[1, 2].isnan()
    assert joints.isnan().sum() == 2
    assert confidence.isnan().sum() == 1


def test_an_unknown_method_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which would refuse it first, in tests only
    with pytest.raises(UserError, match="'peak' is unknown; it is one of argmax, quarter, dark"):
        codec.decode(torch.zeros(1, 1, 8, 8), "peak")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", METHODS)
def test_a_peak_of_a_tall_map_is_found_where_it_is(method: DecodeMethod):
    joints = random_joints(4, 3, 44) + torch.tensor([0.0, 16.0])
    maps = codec.encode(joints, labelled_like(joints), (64, 48), sigma=1.0)
    assert maps.shape == (4, 16, 64, 48)
    decoded, _ = codec.decode(maps, method)
    assert (decoded - joints).abs().max() <= 0.5 + 1e-5


@pytest.mark.parametrize("size", [SIZE, (SIZE, 48)], ids=["square", "tall"])
@pytest.mark.parametrize("grid", ["cells", "udp"])
def test_mirroring_maps_back_is_exact_without_a_shift(grid: Grid, size: geometry.Size):
    joints = random_joints(4, 0, 191)
    in_mirror = geometry.mirror(joints, MPII, 4 * geometry.sides(size)[1])
    upright, mirrored = (
        codec.encode(codec.input_to_heatmap(points, grid=grid, size=size), labelled_like(joints), size, sigma=1.0)
        for points in (joints, in_mirror)
    )
    assert_close(codec.mirror_back(mirrored, MPII), upright, atol=2e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_averaging_over_the_flip_has_no_signed_bias(method: DecodeMethod):
    joints = random_joints(1000, 3.5, 251.5)
    in_mirror = geometry.mirror(joints, MPII, 256)
    upright, mirrored = (
        codec.encode(codec.input_to_heatmap(points), labelled_like(joints), SIZE, sigma=1.0)
        for points in (joints, in_mirror)
    )
    average = (upright + codec.mirror_back(mirrored, MPII)) / 2
    error = codec.decode(average, method)[0] - codec.input_to_heatmap(joints)
    assert (error.mean(dim=(0, 1)).abs() < 4 * error.std() / (16 * 1000) ** 0.5).all()
    assert error.abs().max() <= {"argmax": 0.5, "dark": 1e-3}.get(method, 0.25) + 1e-4
