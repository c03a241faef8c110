"""A sealed file is whole or refused, and there is always one to go on from."""

import errno
import os
import resource
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from pose_lightning import sealed
from pose_lightning.errors import UserError
from pose_lightning.sealed import SealError, previous


def step(path: Path) -> int:
    sealed.verify(path)
    return int(torch.load(path, weights_only=True)["step"])


def value(step: int) -> dict[str, Any]:
    return {"step": step, "weights": torch.arange(1000.0) + step}


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """`last.ckpt` of step 2, and the one before it of step 1."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    for number in (1, 2):
        sealed.write(value(number), path, keep=True)
    return path


def test_a_sealed_file_is_one_that_torch_reads(last: Path) -> None:
    assert torch.equal(torch.load(last, weights_only=True)["weights"], torch.arange(1000.0) + 2)
    assert (step(last), step(previous(last))) == (2, 1)
    assert {path.name for path in last.parent.iterdir()} == {"last.ckpt", "last.prev.ckpt"}


def test_every_flipped_bit_and_every_lost_end_is_found(last: Path) -> None:
    whole = last.read_bytes()
    for place in [*range(0, len(whole), 97), *range(len(whole) - 60, len(whole))]:
        last.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(SealError, match=r"last\.ckpt is damaged"):
            sealed.verify(last)
    for length in (0, 1, 21, 22, 45, 46, len(whole) // 2, len(whole) - 24, len(whole) - 1):
        last.write_bytes(whole[:length])
        with pytest.raises(SealError, match=r"last\.ckpt is damaged: it is cut short"):
            sealed.verify(last)


def test_a_file_without_a_seal_passes(tmp_path: Path) -> None:
    torch.save(value(3), tmp_path / "old.ckpt")
    assert step(tmp_path / "old.ckpt") == 3


def test_a_damaged_file_is_named_and_the_one_before_it_taken(last: Path) -> None:
    last.write_bytes(last.read_bytes()[:-100])
    with pytest.warns(UserWarning, match=r"last\.ckpt is damaged.*going on from the one before it, .*last\.prev\.ckpt"):
        assert sealed.first_whole((last, previous(last))) == previous(last)
    sealed.write(value(3), last, keep=True)  # the damaged one must not take the place of the one that is whole
    assert (step(last), step(previous(last))) == (3, 1)
    assert (last.parent / "last.damaged.ckpt").is_file()


def test_a_file_that_the_disk_does_not_give_back_is_one_that_is_damaged(last: Path) -> None:
    last.unlink()
    last.symlink_to("/proc/self/mem")  # whose first byte nobody can read
    with pytest.warns(
        UserWarning, match=r"last\.ckpt cannot be read: Input/output error; going on from the one before"
    ):
        assert sealed.first_whole((last, previous(last))) == previous(last)


def test_where_none_is_whole_all_are_named(last: Path) -> None:
    last.write_bytes(b"")
    previous(last).unlink()
    with pytest.raises(SealError, match=r"last\.ckpt is damaged.*last\.prev\.ckpt is not there"):
        sealed.first_whole((last, previous(last)))


def test_what_cannot_be_saved_leaves_the_file_before_it(last: Path) -> None:
    with pytest.raises(Exception, match="pickle"):
        sealed.write({"step": (n for n in range(3))}, last, keep=True)
    assert (step(last), step(previous(last))) == (2, 1)


def test_a_file_system_without_hard_links_keeps_the_one_before(last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuse)
    sealed.write(value(3), last, keep=True)
    assert (step(last), step(previous(last))) == (3, 2)


def test_the_temporary_directory_is_not_used(last: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", None)
    sealed.write(value(3), last, keep=True)
    assert step(last) == 3


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_all_is_done(
    last: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, sync, rename = [], os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append(("sync", Path(os.readlink(f"/proc/self/fd/{descriptor}")).name))  # noqa: PTH115
        sync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        done.append(("rename", Path(target).name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    sealed.write(value(3), last, keep=True)
    assert done == [
        ("sync", "last.ckpt.partial"),
        ("rename", "last.prev.ckpt"),
        ("sync", "last.ckpt.partial"),
        ("rename", "last.ckpt"),
        ("sync", "checkpoints"),
    ]


@pytest.mark.parametrize("room", [0, 64, 3000])
def test_a_file_that_has_no_room_is_an_error_with_a_remedy(last: Path, room: int) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(SealError, match=r"last\.ckpt could not be written: .*make room and go on with `--resume`"):
            sealed.write(value(3), last, keep=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (step(last), step(previous(last))) == (2, 1)
    assert {path.name for path in last.parent.iterdir()} == {"last.ckpt", "last.prev.ckpt"}


FULL = """
import sys
import zipfile
from pathlib import Path
import torch
from pose_lightning import sealed

path = Path(sys.argv[1]) / "last.ckpt"
sealed.write({"step": 1, "weights": torch.zeros(20_000)}, path, keep=True)
for size in (200_000, 40_000):
    try:
        sealed.write({"step": 2, "weights": torch.zeros(size)}, path, keep=True)
    except sealed.SealError as error:
        print(error)
    sealed.verify(path)
    print(torch.load(path, weights_only=True)["step"], sorted(each.name for each in path.parent.iterdir()))
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_file_before_it(tmp_path: Path) -> None:
    """On a file system of 300 kB; its mount belongs to the process alone."""
    inside = f"mount -t tmpfs -o size=300k none {tmp_path} && {sys.executable} -c '{FULL}' {tmp_path}"
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*alone, f"mount -t tmpfs none {tmp_path}"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    done = subprocess.run([*alone, inside], check=True, capture_output=True, text=True).stdout.splitlines()
    assert "No space left on device" in done[0]
    assert "is untouched" in done[0]
    assert done[1] == "1 ['last.ckpt']"
    assert done[2] == "2 ['last.ckpt', 'last.prev.ckpt']"


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from pose_lightning import sealed

path, draw = Path(sys.argv[1]) / "last.ckpt", random.Random(1)
written = 0
for kill in range(int(sys.argv[2])):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        for step in range(written + 1, 10**9):
            sealed.write({"step": step, "weights": torch.zeros(20_000)}, path, keep=True)
            os.write(write, b"%d\\n" % step)
    os.close(write)
    said = os.read(read, 64)
    time.sleep(draw.uniform(0, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(read, 65536):
        said += more
    os.close(read)
    acknowledged = max(map(int, said.split()), default=written)
    sealed.verify(path)
    written = torch.load(path, weights_only=True)["step"]
    assert written >= acknowledged, (kill, written, acknowledged)
    if sealed.previous(path).is_file():
        sealed.verify(sealed.previous(path))
print(written)
"""


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_no_kill_during_saves_loses_a_file(tmp_path: Path, kills: int) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(kills)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= kills


@pytest.mark.parametrize("name", ["last.ckpt", "last.ckpt.partial"])
def test_a_checkpoint_is_not_written_through_a_link(last: Path, tmp_path: Path, name: str) -> None:
    last.unlink()
    (last.parent / name).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="is a link"):
        sealed.write(value(3), last, keep=True)
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize(("number", "remedy"), [(errno.EROFS, "read-only"), (errno.EMFILE, "ulimit -n")])
def test_another_fault_of_the_disk_has_its_own_remedy(
    last: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", fail)
        with pytest.raises(SealError, match=rf"{remedy}.* and go on with `--resume`"):
            sealed.write(value(3), last, keep=True)
    assert step(last) == 2


class Foreign:
    """An object that no checkpoint of ours holds."""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"state_dict": {"a": Foreign()}, "global_step": 1}, "it holds .*Foreign, which would run code"),
        ({"state_dict": {"a": 1}, "global_step": 1}, "it has no weights by name"),
        ({"state_dict": {}, "global_step": "1"}, "or no step"),
        ([], "it has no weights by name"),
        ({"model": {}}, "it has no weights by name"),
    ],
    ids=["class", "number", "step", "list", "other"],
)
def test_a_foreign_checkpoint_is_refused_without_the_advice_to_run_it(tmp_path: Path, content: Any, why: str) -> None:
    path = tmp_path / "best.ckpt"
    sealed.write(content, path, keep=False)
    with pytest.raises(SealError, match=rf"best\.ckpt is no checkpoint.*{why}") as caught:
        sealed.load(path)
    assert "weights_only" not in str(caught.value)


def test_a_checkpoint_is_loaded_as_it_was_written(tmp_path: Path) -> None:
    state = {"state_dict": {"a": torch.arange(3.0)}, "global_step": 7, "epoch": 1}
    sealed.write(state, tmp_path / "best.ckpt", keep=False)
    loaded = sealed.load(tmp_path / "best.ckpt")
    assert torch.equal(loaded["state_dict"]["a"], state["state_dict"]["a"])
    assert loaded["global_step"] == 7


def test_a_zip_archive_with_an_end_and_no_pickle_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "best.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", b"junk")
    with pytest.raises(SealError, match="is no checkpoint of this package: it is damaged, or something else"):
        sealed.load(tmp_path / "best.ckpt")


def test_a_fifo_is_no_checkpoint_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "best.ckpt")
    with pytest.raises(SealError, match="is not there"):
        sealed.load(tmp_path / "best.ckpt")
