"""The table of what conventions cost, on places whose errors one can work out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_lightning.convert.__main__ import main as convert
from pose_lightning.heatmap import codec_table
from pose_lightning.heatmap.codec_table import Ceiling, ceilings, decoders, main, without_zeroed
from pose_lightning.heatmap.published_truth import as_published
from pose_lightning.heatmap.truth import Truth
from pose_lightning.joints import MPII
from pose_lightning.store import Store, StoreWriter

ATTRS: dict[str, Any] = {"kind": "pose", "joint_set": "mpii", "origin": 0, "split": "val", "synthetic": True}


def person(x: float, y: float, *, head_size: float = 4.0, joint: int = 0) -> Truth:
    """One joint of one person whose box of 64 px ends at the edges of an image of 64 px: c = x + 0.5."""
    joints = np.full((1, 16, 2), np.nan)
    joints[0, joint] = x, y
    labelled = np.isfinite(joints).all(axis=-1)
    return Truth(
        joint_set=MPII,
        joints=joints,
        labelled=labelled,
        visible=labelled,
        unit=np.array([head_size]),
        center=np.array([[31.5, 31.5]]),
        box=np.array([64.0]),
        group=np.array([0]),
        names=("a.jpg#0",),
        notes=ATTRS,
    )


def by_name(rows: list[Ceiling]) -> dict[str, Ceiling]:
    return {row.convention: row for row in rows}


BY_HAND = {
    "exact sub-pixel": (0.0, 0.0),
    "trunc encode, arg-max, no": (-0.75, -0.125),  # 10.75 -> 10, 20.125 -> 20
    "trunc encode, arg-max +0.5": (-0.25, 0.375),
    "same, int()": (-0.25, 0.375),  # 11 and 21 of px from 1: whole already
    "trunc +0.5 -0.25": (-0.5, 0.125),
    "round encode, arg-max (MSRA": (0.25, -0.125),  # 10.75 -> 11, 20.125 -> 20
    "round encode, arg-max +0.5": (0.75, 0.375),
    "round, 1-based": (1.25, 0.875),
    "exact, +1": (1.0, 1.0),
    "exact, unaligned": (0.5, 0.0),
}


@pytest.mark.parametrize("start", BY_HAND)
def test_the_bias_of_one_joint_is_what_one_works_out(start: str) -> None:
    (row,) = (row for row in ceilings(person(10.25, 19.625)) if row.convention.startswith(start))
    assert row.bias == pytest.approx(BY_HAND[start], abs=1e-9)
    distance = np.hypot(*BY_HAND[start]) / 4.0
    assert row.within == tuple(100.0 if distance <= threshold else 0.0 for threshold in (0.5, 0.1, 0.05))


def test_a_box_adjusted_twice_is_lower_and_larger() -> None:
    """15 * 64 / 200 = 4.8 px down and 80 px: c = ((10.25, 19.625) - (31.5, 36.3)) * 0.8 + 32 = (15, 18.66)."""
    row = next(row for row in ceilings(person(10.25, 19.625)) if "twice" in row.convention)
    assert row.bias == pytest.approx((0.0, (19 - 18.66) / 0.8), abs=1e-9)


def test_int_cuts_off_what_is_behind_the_point_of_image_px_that_begin_at_1() -> None:
    truth = person(10.25, 19.625)
    truth.box[:] = 128.0  # c = (x - 31.5) / 2 + 32 = (21.375, 26.0625); 21.5 and 26.5 are x = 10.5 and 20.5
    row = next(row for row in ceilings(truth) if row.convention.startswith("same, int()"))
    assert row.bias == pytest.approx(((10 - 10.25) / 2, (20 - 19.625) / 2), abs=1e-9)


def test_a_joint_outside_the_box_decodes_to_its_edge() -> None:
    rows = by_name(list(ceilings(person(-3.5, 40.0))))
    assert rows["exact sub-pixel (DARK's, UDP's ideal)"].bias == pytest.approx((3.0, 0.0))
    assert rows["trunc encode, arg-max +0.5 (Newell, bearpaw)"].bias == pytest.approx((3.5, -0.5 + 0.5))


def test_pelvis_and_thorax_are_not_counted_and_without_head_size_there_is_no_pckh() -> None:
    truth = person(10.25, 19.625, head_size=np.nan)
    row = next(iter(ceilings(truth)))
    assert row.bias == (0.0, 0.0)
    assert np.isnan(row.within).all()
    pelvis = next(iter(ceilings(person(10.25, 19.625, joint=6))))
    assert np.isnan(pelvis.bias).all()


def test_our_decoders_are_scored_by_their_maps() -> None:
    rows = by_name(list(decoders(person(10.25, 19.625), 1.0)))
    assert rows["ours, argmax"].bias == pytest.approx((-0.25, 0.375), abs=1e-6)
    assert rows["ours, quarter"].bias == pytest.approx((0.0, 0.125), abs=1e-6)
    assert rows["ours, dark"].bias == pytest.approx((0.0, 0.0), abs=1e-3)
    assert rows["ours, soft_argmax"].bias == pytest.approx((0.0, 0.0), abs=0.01)


def write_store(path: Path, truth: Truth) -> Path:
    with StoreWriter(path, codec=None, attrs=ATTRS, shape=None) as writer:
        row = {
            "name": truth.names[0],
            "image": "a.jpg",
            "group": truth.group[0],
            "joints": truth.joints[0],
            "labelled": truth.labelled[0],
            "visible": truth.visible[0],
            "center": truth.center[0],
            "box": truth.box[0],
            "head_size": truth.unit[0],
        }
        writer.append(None, row)
    return path


def test_the_door_prints_both_groups_in_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(write_store(tmp_path / "val.h5", person(10.25, 19.625))), "--sigma", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines[1:])
    assert any("SYNTHETIC" in line for line in lines)
    newell = next(line for line in lines if "(Newell, bearpaw)" in line)
    assert newell.split()[-5:] == ["100.00", "0.00", "0.00", "-0.25", "+0.38"]
    assert next(line for line in lines if "ours, dark" in line).split()[-5:] == ["100.00"] * 3 + ["0.00"] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sigma", "0"], "--sigma 0 is out of range"),
        (["--published-truth", "absent.mat"], "absent.mat cannot be opened: there is no such file"),
        (["--published-truth", __file__], "cannot be read"),
    ],
    ids=["sigma", "no truth", "no matlab"],
)
def test_the_door_refuses_in_one_message(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(write_store(tmp_path / "val.h5", person(10.0, 20.0))), *options])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_store_without_labels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = person(10.0, 20.0)
    truth.labelled[:] = False
    with pytest.raises(SystemExit):
        main([str(write_store(tmp_path / "val.h5", truth))])
    assert "has no labelled joint" in capsys.readouterr().err


PUBLISHED = (
    (99.91, 99.66, 99.60, 0.0, 0.0),
    (99.89, 32.28, 7.89, -0.50, -0.50),
    (99.89, 97.60, 31.95, 0.0, 0.0),
    (99.89, 95.30, 31.91, -0.05, -0.06),
    (99.89, 69.41, 28.47, -0.25, -0.25),
    (99.89, 97.74, 31.90, 0.0, 0.0),
    (99.89, 32.05, 8.14, 0.50, 0.50),
    (99.89, 90.52, 31.99, 0.11, 0.11),
    (99.91, 99.65, 94.55, 0.11, 0.11),
    (99.91, 99.62, 0.00, 0.50, 0.0),
    (100.00, 81.56, 20.47, 0.0, 0.0),
)
"""An independent computation on the same persons, in the order of `CONVENTIONS`, with two digits."""


@pytest.mark.real_data
def test_newells_validation_set_gives_the_numbers_of_an_independent_computation(
    shared_data: Path, tmp_path: Path
) -> None:
    annotations = shared_data / "mpii" / "annotations"
    source = ["--annotations", str(annotations / "newell_valid.h5"), "--split", "val", "--labels-only"]
    assert (
        convert(["mpii", "--target", str(tmp_path), *source, "--headboxes", str(annotations / "headboxes_valid.mat")])
        == 0
    )
    with Store(tmp_path / "pose" / "val.h5") as store:
        truth = Truth.from_store(store)
    left, zeroed = without_zeroed(as_published(truth, annotations / "headboxes_valid.mat"))
    assert zeroed == 13
    rows = list(ceilings(left))
    assert len(rows) == len(codec_table.CONVENTIONS)
    for row, expected in zip(rows, PUBLISHED, strict=True):
        found = [round(value, 2) for value in (*row.within, *row.bias)]
        assert found == pytest.approx(expected, abs=0.0101), row.convention
    as_stored = by_name(
        list(ceilings(truth))
    )  # with neck and head top as whole px, and the 13 where they were annotated
    assert as_stored["round encode, arg-max (MSRA, HRNet)"].within == pytest.approx(PUBLISHED[5][:3], abs=0.1)
