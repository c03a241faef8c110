"""The shared study: who takes a trial, and what becomes of those that nobody runs any more."""

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from stubs import GRID, open_study, runner, stub, sweep_file

from pose_lightning.errors import UserError
from pose_lightning.sweep.files import SweepFile
from pose_lightning.sweep.keeping import explained, place
from pose_lightning.sweep.study import Study


@pytest.fixture
def file(tmp_path: Path) -> SweepFile:
    return sweep_file(tmp_path)


@pytest.fixture
def study(file: SweepFile, tmp_path: Path) -> Study:
    study = open_study(file, tmp_path / "sweep")
    study.enqueue((cell, 1) for cell in file.cells())
    return study


def test_a_trial_is_enqueued_once_whoever_enqueues_it(file: SweepFile, tmp_path: Path) -> None:
    together = [open_study(file, tmp_path / "sweep") for _ in range(3)]
    wanted = [(cell, seed) for seed in file.seeds for cell in file.cells()]
    threads = [threading.Thread(target=study.enqueue, args=(wanted,)) for study in together]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(entry.cell, entry.seed) for entry in together[0].entries()] == [(cell.name, seed) for cell, seed in wanted]
    assert len(together[0].study.get_trials()) == len(wanted)


def test_of_two_runners_one_gets_a_trial(file: SweepFile, study: Study, tmp_path: Path) -> None:
    other = open_study(file, tmp_path / "sweep")
    entry = study.entries()[0]
    held = study.claim(entry, 0)
    assert held is not None
    assert held.state == "running"
    assert other.claim(entry, 0) is None
    assert other.is_here(held)


def test_a_released_trial_can_be_claimed_again_and_keeps_its_time(study: Study) -> None:
    held = study.claim(study.entries()[0], 0)
    assert held is not None
    study.started(held)
    study.release(held, failures=1, seconds=12.5)
    entry = study.entries()[0]
    assert (entry.state, entry.attempts, entry.failures, entry.seconds) == ("waiting", 1, 1, 12.5)
    assert study.claim(entry, 1) is not None


def test_an_ended_trial_never_changes(study: Study) -> None:
    held = study.claim(study.entries()[0], 0)
    assert held is not None
    study.finish(held, "complete", value=3.0, failures=0, seconds=1.0)
    study.finish(held, "failed", value=None, failures=1, seconds=2.0)
    study.release(held, failures=5, seconds=9.0)
    study.lose(held)
    study.report(held, [1.0])
    entry = study.entries()[0]
    assert (entry.state, entry.value, entry.failures, entry.seconds) == ("complete", 3.0, 0, 1.0)
    assert study.hold(held, 0) is None
    assert len(study.entries()) == 3


def test_a_lost_trial_has_one_successor_however_many_lose_it(file: SweepFile, study: Study, tmp_path: Path) -> None:
    held = study.claim(study.entries()[0], 0)
    assert held is not None
    study.started(held)
    other = open_study(file, tmp_path / "sweep")
    for each in (study, other, study):
        each.lose(held)
        each.again(held)
    entry = study.entries()[0]
    assert (entry.cell, entry.state, entry.attempts) == (held.cell, "waiting", 1)
    assert entry.id != held.id
    assert len(study.study.get_trials()) == 4
    assert study.hold(held, 0) is None, "the runner that lost it learns so"


def test_where_two_successors_were_made_at_once_the_older_counts(study: Study) -> None:
    held = study.claim(study.entries()[0], 0)
    assert held is not None
    study.finish(held, "failed", value=None, failures=1, seconds=1.0)
    for _ in range(2):
        study._add(held.cell, held.seed, held.values, after=held.id)
    numbers = [entry.number for entry in study.entries()]
    assert numbers == [3, 1, 2]


def test_a_trial_on_another_machine_is_not_here(study: Study, tmp_path: Path) -> None:
    held = study.claim(study.entries()[0], 0)
    assert held is not None
    assert study.is_here(held)
    study.host = "elsewhere-12345678"
    assert not study.is_here(held)
    study.host, study.place = str(held.holder["host"]), "another folder"
    assert not study.is_here(held)
    assert place(tmp_path / "sweep") == held.holder["place"]


def test_the_study_says_what_it_is_about(file: SweepFile, study: Study) -> None:
    told = json.loads((study.folder / "study.json").read_text())
    created = told.pop("created")
    assert created.endswith("+00:00")
    assert told == {
        "name": "sweep",
        "experiment": "hourglass_mpii",
        "demo": True,  # the folder is not named after the file
        "kind": "as the source ran it",
        "metric": "val/score",
        "goal": "minimize",
        "sweep_file": str(file.path),
        "layers": [],
    }
    assert (study.folder / "sweep.yaml").read_text() == GRID


def test_a_changed_layer_is_refused_with_the_difference(file: SweepFile, tmp_path: Path) -> None:
    layer = tmp_path / "experiment.yaml"
    layer.write_text("seed_everything: 1\n")
    Study.open(file, tmp_path / "sweep", layers=[f"--config={layer}"]).close()
    layer.write_text("seed_everything: 2\n")
    with pytest.raises(UserError, match=r"(?s)-seed_everything: 1.*\+seed_everything: 2"):
        Study.open(file, tmp_path / "sweep", layers=[f"--config={layer}"])


def test_a_decision_is_made_once(file: SweepFile, study: Study, tmp_path: Path) -> None:
    assert study.settle("chosen", lambda: ["a"]) == ["a"]
    assert open_study(file, tmp_path / "sweep").settle("chosen", lambda: ["b"]) == ["a"]


@pytest.mark.parametrize("url", ["nonsense", "nosuchengine://host/name", "sqlite:////no/such/folder/study.db"])
def test_a_database_that_cannot_be_opened_is_a_users_mistake(
    file: SweepFile, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pose_lightning.sweep.keeping.TRIES", 1)
    with pytest.raises(UserError, match="--storage"):
        Study.open(file, tmp_path / "sweep", layers=[], storage=url)


def test_a_password_is_not_shown(file: SweepFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pose_lightning.sweep.keeping.TRIES", 1)
    pytest.importorskip("psycopg")
    with pytest.raises(UserError) as refused:
        Study.open(file, tmp_path / "sweep", layers=[], storage="postgresql://pose:secret@127.0.0.1:1/none")
    assert "secret" not in str(refused.value)
    assert "cannot be opened" in str(refused.value)


FOREIGN: dict[str, dict[str, Any]] = {
    "a folder elsewhere": {"cell": "../../elsewhere"},
    "another parameter": {"values": {"model.lr": 1.0, "trainer.callbacks": "[{class_path: theirs.Callback}]"}},
    "a parameter in place of the sweep's": {"values": {"config": "theirs.yaml"}},
    "a value that the sweep has not": {"values": {"model.lr": "{class_path: theirs.Rate}"}},
    "a seed that the sweep has not": {"seed": 7},
    "a text for a seed": {"seed": "../1"},
    "no values": {"values": None},
    "a holder that is none": {"holder": "me"},
    "an end that is none": {"ended": {"outcome": "won", "failures": 0, "seconds": 1.0}},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_trial_that_is_not_of_the_sweep_is_refused(study: Study, name: str) -> None:
    cell = study.file.cells()[0]
    told = {"cell": cell.name, "seed": 1, "values": dict(cell.values)} | FOREIGN[name]
    study.study.enqueue_trial({}, user_attrs=told)
    with pytest.raises(UserError, match="move the folder away to begin anew"):
        study.entries()


@pytest.mark.parametrize("name", ["sweep.yaml", "place"])
def test_what_a_link_leads_to_is_not_told(file: SweepFile, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / name).symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="is a link") as error:
        open_study(file, tmp_path / "sweep")
    assert "a secret" not in str(error.value)


@pytest.mark.parametrize("ending", ["", "-journal", "-wal", "-shm"])
def test_a_database_is_not_written_through_a_link(file: SweepFile, tmp_path: Path, ending: str) -> None:
    (target := tmp_path / "theirs").write_text("kept")
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / f"study.db{ending}").symlink_to(target)
    with pytest.raises(UserError, match="is a link"):
        open_study(file, tmp_path / "sweep")
    assert target.read_text() == "kept"


def test_a_damaged_database_is_refused_at_once(file: SweepFile, study: Study) -> None:
    study.close()
    (study.folder / "study.db").write_bytes(b"garbage " * 1000)
    with pytest.raises(UserError, match="damaged"), explained(study.folder):
        open_study(file, study.folder)
    (study.folder / "study.db").unlink()
    os.mkfifo(study.folder / "study.db")
    with pytest.raises(UserError, match="FIFO"):
        open_study(file, study.folder)


def test_attributes_of_another_shape_are_refused(file: SweepFile, study: Study) -> None:
    study.study.set_user_attr("texts", [1])
    with pytest.raises(UserError, match="is damaged: /texts is a list"):
        open_study(file, study.folder)


def fill(study: Study) -> None:
    for number in range(1000):
        study.study.set_user_attr(f"text {number}", "x" * 1500)


@pytest.mark.parametrize(
    ("pragma", "write", "reason"),
    [
        ("max_page_count = 1", lambda study, _: fill(study), "the disk is full; make room"),  # 1: as many as there are
        ("query_only = 1", lambda study, folder: runner(study.file, study, stub(folder)).run(), "is read-only"),
    ],
)
def test_a_disk_that_fails_ends_a_sweep_in_one_line(
    study: Study, tmp_path: Path, pragma: str, write: Callable[[Study, Path], None], reason: str
) -> None:
    study.enqueue((cell, seed) for seed in study.file.seeds for cell in study.file.cells())  # the runner adds none
    study.storage.engine.dispose()
    sqlalchemy.event.listen(study.storage.engine, "connect", lambda opened, _: opened.execute(f"PRAGMA {pragma}"))
    begun = time.monotonic()
    with pytest.raises(UserError, match=rf"study\.db: .*{reason}"), explained(study.folder):
        write(study, tmp_path)
    assert time.monotonic() - begun < 30  # a database server would be waited for
