"""A run's directory and its record of metrics."""

import errno
import json
import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pose_lightning import files, runs
from pose_lightning.errors import UserError
from pose_lightning.files import BusyError, held_by, write_json, write_text
from pose_lightning.history import MetricsFile, MetricsLogger, read_metrics
from pose_lightning.runs import OWNER, RUN_ID, RunDirectory

OWNS = """
import sys
from pathlib import Path
from pose_lightning.runs import RunDirectory
with RunDirectory(Path(sys.argv[1])).owned():
    print("owned", flush=True)
    sys.stdin.read()
"""


@contextmanager
def owned_by_another(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the run at `path`."""
    command = [sys.executable, "-c", OWNS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "owned\n"
        try:
            yield process
        finally:
            process.stdin.close()


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


def test_a_run_has_one_owner_who_is_named(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    with owned_by_another(run.path) as process:
        message = rf"run is being written by process {process.pid} \(-c .*; wait for it, or stop it"
        with pytest.raises(BusyError, match=message), run.owned():
            pass
        process.kill()
        process.wait()
        with run.owned():  # after a kill at once
            assert run.checkpoints.is_dir()
    assert sorted(path.name for path in run.path.iterdir()) == ["checkpoints"]


def test_what_the_owner_starts_and_the_other_ranks_share_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory(tmp_path)
    with run.owned(), run.owned(), owned_by_another(tmp_path):  # which inherits the environment
        pass
    assert OWNER not in os.environ
    with owned_by_another(tmp_path), monkeypatch.context() as patch:
        patch.setenv("RANK", "1")
        with run.owned():
            pass
        patch.setenv("RANK", "0")
        with pytest.raises(BusyError), run.owned():
            pass
        token, _ = held_by(tmp_path / ".lock") or ("", "")
        patch.setenv(OWNER, token)
        with run.owned():
            pass
    assert held_by(tmp_path / ".lock") is None


def test_a_token_of_another_run_opens_none(tmp_path: Path) -> None:
    with (
        RunDirectory(tmp_path / "a").owned(),
        RunDirectory(tmp_path / "b").owned(),
        pytest.raises(BusyError),
        RunDirectory(tmp_path / "a").owned(),
    ):
        pass


def test_a_run_on_a_file_system_without_locks_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match="has no locks"), RunDirectory(tmp_path).owned():
        pass


@pytest.mark.parametrize(
    "name",
    ["metrics.csv", "metrics-test.json.partial", "log.txt", "cost.json", "checkpoints", "samples", "samples.h5",
     "predictions.h5", "curves", "overlays", "config.yaml", "wandb", ".lock"],
)  # fmt: skip
def test_a_link_in_the_place_of_what_a_run_writes_is_refused(tmp_path: Path, name: str) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    (run / name).symlink_to(outside)
    with pytest.raises(UserError, match=rf"{name} is a link, to .*outside"), RunDirectory(run).owned():
        pass
    assert not outside.exists()


def test_links_to_a_run_and_those_of_wandb_are_followed(tmp_path: Path) -> None:
    (tmp_path / "scratch" / "run" / "wandb").mkdir(parents=True)
    (tmp_path / "runs").symlink_to("scratch")
    (tmp_path / "scratch" / "run" / "wandb" / "latest-run").symlink_to("nowhere")
    (tmp_path / "scratch" / "run" / "data").symlink_to("nowhere")
    with RunDirectory(tmp_path / "runs" / "run").owned():
        assert (tmp_path / "scratch" / "run" / "checkpoints").is_dir()


def test_a_name_that_is_taken_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2026, 1, 1, tzinfo=UTC)

    draws = iter(["ab12", "ab12", "cd34"])
    monkeypatch.setattr(runs, "datetime", Clock)
    monkeypatch.setattr(secrets, "token_hex", lambda _: next(draws))
    names = [RunDirectory.create(tmp_path, "hourglass").id for _ in range(2)]
    assert names == ["20260101-000000-ab12", "20260101-000000-cd34"]


@pytest.mark.parametrize("name", ["/abs", "../..", "a/../../b", "", "."])
def test_an_experiment_stays_below_the_runs(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"is no name of a folder below .*runs"):
        RunDirectory.create(tmp_path / "runs", name)
    monkeypatch.setenv(RUN_ID, name)
    with pytest.raises(UserError, match=r"is no name of a folder below .*runs/hourglass"):
        RunDirectory.create(tmp_path / "runs", "hourglass")
    assert not (tmp_path / "runs").exists()


def test_a_log_on_a_full_disk_does_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "appending", lambda _: open("/dev/full", "a"))  # noqa: PTH123, SIM115
    with RunDirectory(tmp_path).log():
        logging.getLogger("pytorch_lightning").warning("a line")
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("step,samples\n", r"lacks the columns \['epoch'\]"),
        ("step,samples,epoch,val/loss\n1,8,0,abc\n", "line 2: val/loss is 'abc', no number"),
        ("step,samples,epoch\n1,8,0\n,8,0\n", "line 3 has no step"),
        ("step,samples,epoch\n1.5,8,0\n", "line 2: step is '1.5', no number"),
        ("step,samples,epoch\n1,inf,0\n", "line 2: samples is 'inf', no number"),
        ("step,samples,epoch\n1,8\n", "line 2 has fewer fields"),
        ("step,samples,epoch,a\n1,8,0," + "1" * 200_000 + "\n", "field larger than field limit"),
    ],
    ids=["columns", "text", "step", "half", "infinite", "fields", "long"],
)
def test_a_damaged_metrics_file_is_refused_by_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    for read_it in (read_metrics, MetricsFile):
        with pytest.raises(UserError, match=rf"metrics\.csv.*{reason}"):
            read_it(path)
    path.write_bytes(b"step,samples,epoch\n1,8,\xff\n")
    with pytest.raises(UserError, match="line 2 has the byte 0xff"):
        read_metrics(path)


def test_values_that_are_no_number_in_a_metrics_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,samples,epoch,val/loss\n1,8,0,nan\n2,16,0,\n3,24,")
    assert [row["val/loss"] for row in read_metrics(path)] == ["nan", ""]
