"""A run's directory and its record of metrics."""

import json
import os
from pathlib import Path

import pytest

from pose_lightning.errors import UserError
from pose_lightning.files import write_json, write_text
from pose_lightning.history import MetricsFile, MetricsLogger
from pose_lightning.runs import RUN_ID, RunDirectory


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_rows_carry_steps_done_and_samples_seen(tmp_path: Path) -> None:
    logger = MetricsLogger(MetricsFile(tmp_path / "metrics.csv"), samples_seen=lambda steps: 8 * steps)
    logger.log_metrics({"train/loss_step": 0.5, "epoch": 0}, step=0)
    logger.log_metrics({"val/pckh": 12.5, "epoch": 1}, step=4)
    assert read(tmp_path / "metrics.csv") == [
        "step,samples,epoch,train/loss_step,val/pckh",
        "1,8,0,0.5,",
        "5,40,1,,12.5",
    ]


def test_a_replayed_step_is_not_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = MetricsFile(path)
    first.append({"train/loss_step": 0.5}, step=1, samples=8, epoch=0)
    first.append({"train/loss_step": 0.4}, step=2, samples=16, epoch=0)
    before = read(path)
    logger = MetricsLogger(MetricsFile(path), samples_seen=lambda steps: 8 * steps)
    for step, value in enumerate((0.5, 0.4, 0.3)):
        logger.log_metrics({"train/loss_step": value}, step=step)
    assert read(path) == [*before, "3,24,0,0.3"]


def test_another_metric_of_a_known_step_is_still_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    MetricsFile(path).append({"train/loss_step": 0.5}, step=1, samples=8, epoch=0)
    assert MetricsFile(path).fresh({"train/loss_step": 0.5, "val/pckh": 3.0}, 1) == {"val/pckh": 3.0}


def test_a_row_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    file.append({"train/loss_step": 0.5}, step=1, samples=8, epoch=0)
    whole = path.read_text()
    path.write_text(whole + "2,16,0,0.4")  # no end of line: 0.4 may have been 0.43
    assert MetricsFile(path).fresh({"train/loss_step": 0.43}, 2) == {"train/loss_step": 0.43}
    assert path.read_text() == whole


def test_the_loss_that_ended_a_run_is_dropped_when_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path)
    file.append({"train/loss_step": 0.5}, step=1, samples=8, epoch=0)
    file.append({"val/mpjpe": float("nan")}, step=1, samples=8, epoch=0)
    whole = read(path)
    file.append({"train/loss_step": float("nan")}, step=2, samples=16, epoch=0)
    MetricsFile(path).append({"train/loss_step": 0.25}, step=2, samples=16, epoch=0)
    assert read(path) == [*whole, "2,16,0,0.25,"]


def test_a_folder_without_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run directory.*config\.yaml"):
        RunDirectory.open(tmp_path)


def test_every_run_has_a_directory_of_its_own_and_the_processes_of_one_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (RunDirectory.create(tmp_path, "hourglass") for _ in range(2))
    assert first.path != second.path
    with first.shared():
        assert RunDirectory.create(tmp_path, "hourglass").path == first.path
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=RUN_ID):
        RunDirectory.create(tmp_path, "hourglass")


def test_the_id_on_wandb_has_no_characters_that_it_refuses(tmp_path: Path) -> None:
    assert RunDirectory(tmp_path / "timm:resnet18, a=1").wandb_id == "timm-resnet18--a-1"
    assert RunDirectory(tmp_path / "20260101-120000-ab12").wandb_id == "20260101-120000-ab12"


def test_a_text_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, sync, found = tmp_path / "config.yaml", os.fsync, []

    def synced(descriptor: int) -> None:
        sync(descriptor)
        if not path.exists():  # the folder is synced after it
            found.append((tmp_path / "config.yaml.partial").read_text())

    monkeypatch.setattr(os, "fsync", synced)
    write_text(path, "seed_everything: 1\n")
    assert found == ["seed_everything: 1\n"]
    assert path.read_text() == "seed_everything: 1\n"


def test_json_refuses_nan_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, {"pckh": 12.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"pckh": float("nan")})
    assert json.loads(path.read_text()) == {"pckh": 12.5}
