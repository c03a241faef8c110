"""Files get their names whole or not at all, by one writer at a time, and never through a link."""

import argparse
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pose_lightning import files
from pose_lightning.errors import UserError, door
from pose_lightning.files import (
    BusyError,
    Lock,
    PathError,
    appending,
    as_cell,
    check_target,
    held_by,
    local_path,
    make_folder,
    owning,
    replacing_folder,
    write_text,
    writing,
)

HOLDER = """
import sys
from pathlib import Path
from pose_lightning import files
with getattr(files, sys.argv[1])(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(function: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process inside `function(path)`."""
    command = [sys.executable, "-c", HOLDER, function, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_at_the_end_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "metrics.json"
    write_text(path, "old")
    with writing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(path.parent) == ["metrics.json"]


def test_a_name_that_is_no_utf8_is_written_as_an_escape(tmp_path: Path) -> None:
    write_text(tmp_path / "page.html", name := os.fsdecode(b"b\xff.h5"))
    with files.appending(tmp_path / "log.txt") as log:
        log.write(name)
    for path in tmp_path.iterdir():
        assert path.read_text() == r"b\udcff.h5"


def test_a_pipe_in_the_place_of_a_log_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "log.txt")
    with pytest.raises(SystemExit):
        door(lambda: files.appending(tmp_path / "log.txt").close())()
    assert "log.txt: it is a named pipe" in capsys.readouterr().err


def test_an_error_keeps_what_was_there_and_leaves_nothing_partial(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), writing(path) as partial:
        partial.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["metrics.json"]


@pytest.mark.parametrize("name", ["report.html", "report.html.partial", ".report.html.lock"])
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "run"
    outside.write_text("mine")
    folder.mkdir()
    (folder / name).symlink_to(outside)
    with pytest.raises(UserError, match=r"is a link, to .*outside"):
        write_text(folder / "report.html", "theirs")
    assert outside.read_text() == "mine"
    assert names(folder) == [name]


def test_a_link_that_appears_while_a_file_is_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with pytest.raises(UserError, match="is a link"), writing(path):
        path.symlink_to(tmp_path / "outside")


def test_links_on_the_way_to_a_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "runs").symlink_to("scratch")
    write_text(tmp_path / "runs" / "x" / "metrics.json", "{}")
    assert (tmp_path / "scratch" / "x" / "metrics.json").read_text() == "{}"


def test_a_linked_folder_inside_a_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "curves").symlink_to(tmp_path)
    with pytest.raises(UserError, match="curves is a link"):
        make_folder(tmp_path / "run" / "curves" / "deep", inside=tmp_path / "run")
    assert make_folder(tmp_path / "run" / "exports", inside=tmp_path / "run").is_dir()


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "val.h5"
    with held("writing", path) as process:
        (tmp_path / "val.h5.partial").write_text("a long half")
        process.kill()
        process.wait()
    assert ".val.h5.lock" in names(tmp_path)
    with writing(path) as partial:
        assert partial.read_text() == ""
        partial.write_text("whole")
    assert names(tmp_path) == ["val.h5"]


@pytest.mark.parametrize("function", ["writing", "owning", "replacing_folder"])
def test_the_second_writer_is_told_who_is_first(tmp_path: Path, function: str) -> None:
    path = tmp_path / "target"
    with held(function, path) as process:
        message = rf"target is being written by process {process.pid} \(.*{function}"
        with pytest.raises(BusyError, match=message), getattr(files, function)(path):
            pass
    with getattr(files, function)(path):
        pass


def test_a_short_write_waits_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.csv"
    with held("writing", path) as process:
        assert process.stdin is not None
        monkeypatch.setattr(time, "sleep", lambda _: process.stdin.close())
        write_text(path, "ours")
    assert path.read_text() == "ours"


def test_a_lock_knows_its_holder(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert held_by(path) is None
    with Lock.take(path, guards=tmp_path) as lock:
        token, holder = held_by(path) or ("", "")
        assert token == lock.token
        assert f"process {os.getpid()}" in holder
    assert held_by(path) is None
    assert names(tmp_path) == []


def test_a_file_system_without_locks_is_warned_of_and_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_locks)
    with pytest.warns(UserWarning, match="has no locks"), owning(tmp_path):
        pass


def test_a_folder_takes_its_place_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "official"
    for text in ("old", "new"):
        with replacing_folder(folder) as partial:
            (partial / text).write_text(text)
    assert names(folder) == ["new"]
    with pytest.raises(ZeroDivisionError), replacing_folder(folder) as partial:
        (partial / "half").write_text(f"half {1 / 0}")
    assert names(folder) == ["new"]
    assert names(tmp_path) == ["official"]


def test_a_folder_is_replaced_where_two_cannot_be_exchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: None)
    test_a_folder_takes_its_place_at_once(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EDQUOT])
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "in a library's error"])
def test_a_fault_of_the_disk_names_the_file_and_the_remedy(tmp_path: Path, number: int, wrapped: bool) -> None:
    def fail() -> None:
        try:
            raise OSError(number, os.strerror(number))
        except OSError:
            if wrapped:
                raise RuntimeError("unexpected pos 64 vs 0") from None
            raise

    with pytest.raises(UserError, match=r"a\.ckpt cannot be written: .*; "), writing(tmp_path / "a.ckpt"):
        fail()
    assert names(tmp_path) == []


def test_the_text_of_hdf5_says_why(tmp_path: Path) -> None:
    text = "Can't write data (file write failed: errno = 28, error message = 'No space left on device')"
    with pytest.raises(UserError, match="the disk is full"), writing(tmp_path / "a.h5"):
        raise OSError(text)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.csv"), "error: a.csv: the disk is full; make room\n"),
        (MemoryError("Unable to allocate 7 TiB"), "error: there is not enough memory (Unable to allocate 7 TiB); "),
        (UserError("two\nlines of \x1b[31mred"), "error: two\nlines of \\x1b[31mred\n"),
    ],
)
def test_a_door_says_it_in_one_line(error: Exception, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    @door
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize("error", [KeyError("a"), FileNotFoundError(errno.ENOENT, "No such file", "a")])
def test_a_bug_keeps_its_traceback(error: Exception) -> None:
    @door
    def main() -> None:
        raise error

    with pytest.raises(type(error)):
        main()


@pytest.mark.parametrize("text", ["s3://bucket/runs", "file:///runs", "gs:/bucket", Path("s3://bucket/runs")])
def test_a_url_is_no_path(text: str | Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PathError, match=r"://.*is a URL; give a file or a folder of this machine"):
        local_path(text)
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=local_path)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--runs={text}"])
    assert "argument --runs: " in (error := capsys.readouterr().err)
    assert "is a URL" in error


def test_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_path("~/runs") == tmp_path / "runs"
    assert local_path("runs/~/a: b") == Path("runs/~/a: b")
    with pytest.raises(PathError, match="write the folder out"):
        local_path("~nobody-of-that-name/runs")


def test_lines_are_not_added_through_a_link(tmp_path: Path) -> None:
    with appending(tmp_path / "log.txt") as file:
        file.write("one\n")
    with appending(tmp_path / "log.txt") as file:
        file.write("two\n")
    assert (tmp_path / "log.txt").read_bytes() == b"one\ntwo\n"
    (tmp_path / "link.txt").symlink_to("log.txt")
    with pytest.raises(OSError, match="Too many levels"):
        appending(tmp_path / "link.txt")


def test_a_target_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    check_target(tmp_path / "new" / "folder" / "report.html")
    for name, reason in (("", "is a folder"), ("link", "is a link"), ("file/report.html", "not a folder")):
        with pytest.raises(UserError, match=reason):
            check_target(tmp_path / name)
    assert names(tmp_path) == ["file", "link"]

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(files.tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match=r"report\.html cannot be written: the file system is read-only"):
        check_target(tmp_path / "report.html")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written: .*file: a part of the path is a file"):
        write_text(tmp_path / "file" / "a.json", "{}")


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("-1+1", "'-1+1"),
        ("\uff1d1", "'\uff1d1"),
        ("\ra", "'\ra"),
        ("-1.5e-3", "-1.5e-3"),
        ("+4", "+4"),
        (-2, -2),
        ("", ""),
        ("a=b", "a=b"),
    ],
)
def test_a_cell_is_no_formula(value: object, cell: object) -> None:
    assert as_cell(value) == cell
