"""Curves of a run, from its metrics.csv."""

from pathlib import Path

import cv2
import pytest

from pose_lightning.curves import read_curves, write_curves
from pose_lightning.errors import UserError
from tests.room import room

METRICS = """step,samples,epoch,train/loss_step,val/loss,val/mpjpe,train/loss
5,10,0,0.5,,,
10,20,0,,0.4,150.5,
10,20,0,,,,0.45
20,40,1,,nan,120.0,
20,40,1,,,,0.3
"""


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.csv"
    path.write_text(METRICS)
    return path


def test_a_curve_holds_the_finite_values_by_samples_seen(metrics: Path) -> None:
    assert read_curves(metrics, "loss") == {"val": ([20.0], [0.4]), "train": ([20.0, 40.0], [0.45, 0.3])}
    assert read_curves(metrics, "mpjpe") == {"val": ([20.0, 40.0], [150.5, 120.0])}
    assert read_curves(metrics, "pckh") == {}


def test_a_picture_per_metric_that_was_measured(metrics: Path, tmp_path: Path) -> None:
    names = {"loss": "MSE, m^2", "mpjpe": "MPJPE, mm", "pckh": "PCKh, %"}
    written = write_curves(tmp_path / "curves", metrics, names, title="a run", epoch=20)
    assert written == [tmp_path / "curves" / "loss.png", tmp_path / "curves" / "mpjpe.png"]
    assert sorted((tmp_path / "curves").iterdir()) == written
    loss, mpjpe = (cv2.imread(str(path)) for path in written)
    red = (loss[..., 2] > 190) & (loss[..., 1] < 80) & (loss[..., 0] < 60)  # the validation's colour, BGR
    blue = (loss[..., 0] > 150) & (loss[..., 2] < 90)
    assert red.any()
    assert blue.any()
    assert not ((mpjpe[..., 0] > 150) & (mpjpe[..., 2] < 90)).any()  # nothing of training to show


def test_a_picture_is_written_whole_or_not_at_all_and_through_no_link(metrics: Path, tmp_path: Path) -> None:
    folder = tmp_path / "curves"
    with room(100), pytest.raises(UserError, match=r"loss\.png cannot be written"):
        write_curves(folder, metrics, {"loss": "MSE"}, title="a run", epoch=20)
    assert list(folder.iterdir()) == []
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(UserError, match="curves is a link"):
        write_curves(folder, metrics, {"loss": "MSE"}, title="a run", epoch=20)
