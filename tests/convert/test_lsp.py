"""LSP and LSPET: axes, flags, boxes, the split, and the real photographs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from numpy.testing import assert_allclose, assert_array_equal
from scipy.io import savemat

from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import Pixels
from pose_lightning.convert.lsp import convert, group_alike, held_out, read_joints, to_people
from pose_lightning.joints import LSP, MPII
from pose_lightning.store import Store

SMALL = Pixels(None, crop=56, box_in_crop=32)
SKIP = Pixels(None, crop=56, box_in_crop=32, skip_missing=True)
PHOTOGRAPHS = 20


def points(count: int = PHOTOGRAPHS) -> np.ndarray:
    """Joints (count, 14, 2) of 80 x 60 photographs, as a file has them."""
    return np.random.default_rng(3).uniform((5, 5), (75, 55), (count, 14, 2))


def photograph(index: int) -> bytes:
    """Noise, different in every photograph."""
    coarse = np.random.default_rng(index).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(coarse.repeat(10, axis=0).repeat(10, axis=1)), 95, "RGB", "444")


def write_images(folder: Path, digits: int, count: int = PHOTOGRAPHS) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for index in range(count):
        (folder / "images" / f"im{index + 1:0{digits}d}.jpg").write_bytes(photograph(index))


@pytest.fixture
def lsp(tmp_path: Path) -> Path:
    """LSP's layout: (3, 14, n), flag 1 = occluded; the neck of person 1 and the left wrist of person 2 are."""
    folder = tmp_path / "lsp"
    write_images(folder, 4)
    flags = np.zeros((PHOTOGRAPHS, 14, 1))
    flags[0, 12] = flags[1, 11] = 1
    savemat(folder / "joints.mat", {"joints": np.concatenate([points(), flags], axis=2).transpose(2, 1, 0)})
    return folder


@pytest.fixture
def lspet(tmp_path: Path) -> Path:
    """LSPET's layout: (14, 3, n), flag 0 = junk; person 1 lacks the head top, 2 all but a knee, 3 all joints."""
    folder = tmp_path / "lspet"
    write_images(folder, 5)
    joints = np.concatenate([points(), np.ones((PHOTOGRAPHS, 14, 1))], axis=2)
    joints[0, 13] = (-500, 900, 0)
    joints[1, np.arange(14) != 1] = (-500, 900, 0)
    joints[2, :] = (np.nan, -np.inf, 0)
    savemat(folder / "joints.mat", {"joints": joints.transpose(1, 2, 0)})
    return folder


def test_each_form_has_its_own_origin(lsp: Path, lspet: Path) -> None:
    first, second = read_joints(lsp / "joints.mat"), read_joints(lspet / "joints.mat")
    assert (first.dataset, second.dataset) == ("lsp", "lspet")
    assert_allclose(first.joints[3:], points()[3:] - 1)  # MATLAB's first pixel
    assert_allclose(second.joints[3:], points()[3:] - 0.5)  # 0 is the photograph's edge


def test_the_flag_of_lsp_is_occluded_and_that_of_lspet_is_labelled(lsp: Path, lspet: Path) -> None:
    first, second = read_joints(lsp / "joints.mat"), read_joints(lspet / "joints.mat")
    assert first.labelled.all()
    assert_array_equal(np.argwhere(~first.visible), [[0, 12], [1, 11]])
    assert second.labelled.sum(axis=1)[:4].tolist() == [13, 1, 0, 14]
    assert_array_equal(second.visible, second.labelled)


def test_joints_go_to_their_namesakes(lsp: Path) -> None:
    people, _ = to_people(read_joints(lsp / "joints.mat"))
    namesakes = {"neck": "upper neck"}
    for number, name in enumerate(LSP.names):
        assert_allclose(people.joints[:, MPII.names.index(namesakes.get(name, name))], points()[:, number] - 1)
    for name in ("pelvis", "thorax"):
        assert not people.labelled[:, MPII.names.index(name)].any()
        assert np.isnan(people.joints[:, MPII.names.index(name)]).all()


def test_box_and_head_size_come_from_labelled_joints(lspet: Path) -> None:
    people, too_few = to_people(read_joints(lspet / "joints.mat"))
    assert too_few == 2
    assert people.image.tolist()[:2] == ["im00001.jpg", "im00004.jpg"]
    seen = points()[0, :13] - 0.5
    width, height = np.ptp(seen, axis=0)
    assert people.box[0] == pytest.approx(1.25 * max(width, height))
    assert_allclose(people.center[0], (seen.min(axis=0) + seen.max(axis=0)) / 2)
    assert np.isnan(people.head_size[0])
    assert people.head_size[1] == pytest.approx(np.hypot(*(points()[3, 12] - points()[3, 13])))


def test_a_person_whose_joints_coincide_still_has_a_box(tmp_path: Path) -> None:
    joints = np.full((14, 3, 2), 7.0)
    joints[:, 2] = 1
    savemat(tmp_path / "joints.mat", {"joints": joints})
    people, _ = to_people(read_joints(tmp_path / "joints.mat"))
    assert people.box.tolist() == [32.0, 32.0]
    assert np.isnan(people.head_size).all()  # a head of no size cannot divide an error


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (np.zeros((14, 2, 5)), r"joints\.mat: joints is float64 \(14, 2, 5\); wanted LSP's \(3, 14, n\)"),
        (np.full((3, 14, 5), 2.0), r"joints\.mat: a third value of joints is 2\.0; wanted 0 or 1"),
        (np.array([[[np.nan] * 5] * 14] * 2 + [[[0.0] * 5] * 14]), r"labelled joint of person 1 is not finite"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, joints: np.ndarray, message: str) -> None:
    savemat(tmp_path / "joints.mat", {"joints": joints})
    with pytest.raises(ConvertError, match=message):
        read_joints(tmp_path / "joints.mat")


@pytest.mark.parametrize("content", [None, b"", b"MATLAB 5.0 MAT-file" + bytes(200), b"not MATLAB's" * 30])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "joints.mat").write_bytes(content)
    with pytest.raises(ConvertError, match=r"joints\.mat"):
        read_joints(tmp_path / "joints.mat")


def test_the_split_is_exact_and_of_nothing_but_seed_and_numbers() -> None:
    groups = np.arange(1, 1001)
    val = held_out(groups, {"val": 0.1}, seed=0)["val"]
    assert val.sum() == 100
    assert_array_equal(held_out(groups[::-1], {"val": 0.1}, seed=0)["val"][::-1], val)
    assert (held_out(groups, {"val": 0.1}, seed=1)["val"] != val).any()
    with pytest.raises(ConvertError, match=r"--validation 0\.1 of 4 persons leaves train or val empty"):
        held_out(groups[:4], {"val": 0.1}, seed=0)


def test_a_test_split_takes_from_training_and_leaves_validation_as_it_was() -> None:
    groups = np.arange(1, 1001)
    splits = held_out(groups, {"val": 0.1, "test": 0.2}, seed=0)
    assert_array_equal(splits["val"], held_out(groups, {"val": 0.1}, seed=0)["val"])
    assert splits["test"].sum() == 200
    assert not (splits["val"] & splits["test"]).any()
    with pytest.raises(ConvertError, match=r"--validation 0\.5 --test 0\.5 of 4 persons leaves train or val or test"):
        held_out(groups[:4], {"val": 0.5, "test": 0.5}, seed=0)


def test_similar_photographs_are_on_one_side() -> None:
    groups = np.repeat(np.arange(50), 3)
    for seed in range(5):
        val = held_out(groups, {"val": 0.2}, seed)["val"].reshape(50, 3)
        assert val.sum() == 30
        assert_array_equal(val.all(axis=1), val.any(axis=1))


def test_hashes_that_differ_in_few_bits_are_one_group_also_through_a_third() -> None:
    hashes = np.array([0, 0b11111, 0b1111111111, 0xFFFF000000000000, 0b111111 << 20], dtype=np.uint64)
    assert group_alike(hashes).tolist() == [0, 0, 0, 3, 4]


def test_a_copy_of_a_photograph_never_straddles_the_split(lspet: Path, tmp_path: Path) -> None:
    for copy, original in ((4, 10), (5, 11), (6, 12), (7, 13)):
        (lspet / "images" / f"im{copy:05d}.jpg").write_bytes(photograph(original - 1))
    for seed in range(4):
        convert(lspet, tmp_path / str(seed), SMALL, validation=0.5, seed=seed)
        sides = {name: set(Store(tmp_path / str(seed) / f"{name}.h5").labels["group"]) for name in ("train", "val")}
        assert not sides["train"] & sides["val"]
        images = {name: set(Store(tmp_path / str(seed) / f"{name}.h5").labels["image"]) for name in ("train", "val")}
        for copy, original in ((4, 10), (5, 11), (6, 12), (7, 13)):
            assert len({f"im{copy:05d}.jpg", f"im{original:05d}.jpg"} & images["val"]) in (0, 2)


def test_the_stores_hold_every_usable_person_once(lspet: Path, tmp_path: Path) -> None:
    results = convert(lspet, tmp_path / "out", SMALL, validation=0.25)
    train, val = Store(tmp_path / "out" / "train.h5"), Store(tmp_path / "out" / "val.h5")
    assert (len(train), len(val)) == (14, 4)  # 18 usable persons; a quarter is 4.5, and halves round to even
    names = [f"im{index + 1:05d}.jpg#0" for index in range(PHOTOGRAPHS) if index not in (1, 2)]
    assert sorted([*train.labels["name"], *val.labels["name"]]) == names
    assert results[tmp_path / "out" / "val.h5"] == val.attrs["counts"]
    assert val.attrs["dataset"] == "lspet"
    assert val.attrs["box_source"] == "labelled joints (privileged)"
    assert val.attrs["left_out"] == {"without_photograph": 0, "too_few_joints": 2}
    assert "seed 0" in val.attrs["split_rule"]
    assert list(val.attrs["sources"]) == ["joints.mat"]
    assert train.shape == (56, 56, 3)


def test_nobody_is_trained_on_whom_an_earlier_conversion_kept_to_test(lspet: Path, tmp_path: Path) -> None:
    convert(lspet, tmp_path, SMALL, validation=0.25, test=0.25)
    sizes = {split: len(Store(tmp_path / f"{split}.h5")) for split in ("train", "val", "test")}
    assert sizes == {"train": 10, "val": 4, "test": 4}
    with pytest.raises(ConvertError, match=r"test\.h5 is of an earlier conversion with --test"):
        convert(lspet, tmp_path, SMALL, validation=0.25)
    assert len(Store(tmp_path / "train.h5")) == 10


def test_converting_twice_gives_the_same_bytes(lsp: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        convert(lsp, tmp_path / name, SMALL)
    for split in ("train", "val"):
        first, second = ((tmp_path / name / f"{split}.h5").read_bytes() for name in ("first", "second"))
        assert first == second


def test_missing_photographs_are_an_error_or_counted(lspet: Path, tmp_path: Path) -> None:
    (lspet / "images" / "im00007.jpg").unlink()
    (lspet / "images" / "im00009.jpg").write_bytes(photograph(8)[:-300])
    with pytest.raises(
        ConvertError, match=r"2 of 18 photographs are missing .* im00007\.jpg \(missing\).*--skip-missing"
    ):
        convert(lspet, tmp_path / "out", SMALL)
    assert not (tmp_path / "out" / "train.h5").exists()

    convert(lspet, tmp_path / "out", SKIP)
    val = Store(tmp_path / "out" / "val.h5")
    assert len(val) + len(Store(tmp_path / "out" / "train.h5")) == 16
    assert val.attrs["left_out"]["without_photograph"] == 2
    report = (tmp_path / "out" / "missing.txt").read_text().splitlines()
    assert report[0] == "im00007.jpg\tmissing"
    assert report[1].startswith("im00009.jpg\tundecodable: ")


@pytest.mark.real_data
def test_the_annotations_of_lspet_are_as_measured(shared_data: Path) -> None:
    joints = read_joints(shared_data / "lspet" / "joints.mat")
    assert joints.joints.shape == (10_000, 14, 2)
    present = np.array(sorted(int(path.stem[2:]) - 1 for path in (shared_data / "lspet" / "images").glob("*.jpg")))
    assert len(present) == 4000
    assert joints.labelled[present].mean() == pytest.approx(0.8809, abs=1e-4)
    assert joints.labelled[present].all(axis=1).mean() == pytest.approx(0.39175)
    people, too_few = to_people(joints)
    assert (len(people), too_few) == (10_000, 0)


@pytest.mark.real_data
@pytest.mark.slow
def test_lspet_converts_whole(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"6000 of 10000 photographs are missing"):
        convert(shared_data / "lspet", tmp_path, SMALL)
    convert(shared_data / "lspet", tmp_path, SKIP)
    stores: dict[str, Any] = {name: Store(tmp_path / f"{name}.h5") for name in ("train", "val")}
    assert {name: len(store) for name, store in stores.items()} == {"train": 3600, "val": 400}
    assert sum(store.attrs["counts"]["without_head_size"] for store in stores.values()) == 831
    assert sum(store.attrs["counts"]["joints_outside_image"] for store in stores.values()) == 0
    assert not set(stores["train"].labels["group"]) & set(stores["val"].labels["group"])
