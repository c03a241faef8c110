"""Conversions into one folder: one at a time, and whole or not at all."""

import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from scipy.io import savemat

from pose_lightning.convert import activities, demo
from pose_lightning.convert.__main__ import main
from pose_lightning.convert.staging import owning, staged
from pose_lightning.errors import UserError
from pose_lightning.files import BusyError

HOLDER = """
import sys
from pathlib import Path
from pose_lightning.convert.staging import owning
with owning(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(folder: Path) -> Iterator[int]:
    """Another process, of the number that is given, converts into a folder."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process.pid
        process.stdin.close()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def save_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    path.write_bytes(simplejpeg.encode_jpeg(pixels, 90, "RGB", "444"))


def images(source: Path) -> list[str]:
    for index in range(24):
        save_picture(source / "ab"[index % 2] / f"{index}.jpg", index)
    return ["images", f"--source={source}"]


def lsp(source: Path) -> list[str]:
    joints = np.random.default_rng(0).uniform(10, 50, (3, 14, 12))
    joints[2] = 0
    source.mkdir()
    savemat(source / "joints.mat", {"joints": joints})
    for index in range(12):
        save_picture(source / "images" / f"im{index + 1:04d}.jpg", index)
    return ["lsp", f"--source={source}", "--crop=64", "--box=48", "--validation=0.3", "--codec=raw"]


def clips(source: Path) -> list[str]:
    source.mkdir()
    np.save(source / "frames.npy", np.random.default_rng(0).integers(0, 256, (9, 8, 64, 64, 3), dtype=np.uint8))
    np.save(source / "joints.npy", np.random.default_rng(1).uniform(0, 1.7, (9, 8, 17, 3)))
    return ["clips", f"--frames={source / 'frames.npy'}", f"--joints={source / 'joints.npy'}", "--split=train"]


def photographs(source: Path) -> list[str]:
    rng, rows = np.random.default_rng(0), ["image,joint,x,y"]
    for index in range(4):
        save_picture(source / f"{index}.jpg", index)
        joints = rng.uniform(-500, 500, (17, 3))
        joints[0] = 0
        np.savetxt(source / f"{index}.csv", joints, delimiter=",")
        rows += [f"{index},{joint},{40 + joints[joint, 0] / 20},{30 + joints[joint, 1] / 20}" for joint in (2, 9, 13)]
    (source / "marks.csv").write_text("\n".join(rows))
    return ["human36m", f"--source={source}", f"--marks={source / 'marks.csv'}", "--size=64"]


CONVERTERS = pytest.mark.parametrize(
    ("arguments", "folder"),
    [(images, "activity"), (lsp, "."), (clips, "."), (photographs, ".")],
    ids=["images", "lsp", "clips", "photographs"],
)


@CONVERTERS
def test_the_second_converter_is_told_who_is_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: Callable[[Path], list[str]], folder: str
) -> None:
    target = tmp_path / "target"
    command = [*arguments(tmp_path / "source"), f"--target={target}"]
    with held(target / folder) as process:
        assert main(command) == 2
        (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert message.startswith(f"error: {(target / folder).resolve()} is being written by process {process} (")
        assert [path.name for path in target.rglob("*") if path.is_file()] == [".lock"]
    assert main(command) == 0
    assert not [name for name in contents(target) if not name.endswith(".h5")]


@CONVERTERS
def test_a_disk_that_refuses_leaves_what_stood_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: Callable[[Path], list[str]], folder: str
) -> None:
    target = tmp_path / "target"
    command = [*arguments(tmp_path / "source"), f"--target={target}"]
    assert main(command) == 0
    before = contents(target)
    sizes = [len(data) for data in before.values()]
    for most in (100, min(sizes) - 100, max(sizes) - 100, 4 * max(sizes)):
        capsys.readouterr()
        with file_size_limited(most):
            code = main(command)
        if code:
            (message,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
            assert "cannot be written: the file would be larger than this system allows (`ulimit -f`)" in message
        assert code == (2 if most < max(sizes) else 0)
        assert contents(target) == before


@contextmanager
def file_size_limited(most: int) -> Iterator[None]:
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_two_conversions_in_forced_order_lose_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "activity"
    folder.mkdir()
    (folder / "val.h5").write_text("old")
    with activities._replacing(folder) as first:
        (first / "train.h5").write_text("new")
        second = activities._replacing(folder)
        with pytest.raises(BusyError, match="activity is being written by"):
            second.__enter__()
    assert contents(folder) == {"train.h5": b"new"}


def test_a_conversion_that_fails_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "val.h5").write_text("old")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "stray").write_text("of a killed run")
    with pytest.raises(ZeroDivisionError), staged(tmp_path, ["train.h5", "val.h5"]) as unfinished:
        (unfinished / "train.h5").write_text(f"{len(list(unfinished.iterdir())) / 0}")
    assert contents(tmp_path) == {"val.h5": b"old"}


@pytest.mark.parametrize("name", ["val.h5", "unfinished", ".unfinished.lock", ".lock"])
def test_stores_are_not_written_through_a_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").write_text("mine")
    folder = tmp_path / "stores"
    folder.mkdir()
    (folder / name).symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="is a link, to"), owning(folder), staged(folder, ["train.h5", "val.h5"]):
        pass
    assert (tmp_path / "mine").read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == [name]


def test_a_converter_inside_another_shares_its_folders(tmp_path: Path) -> None:
    with owning(tmp_path / "a"):
        with owning(tmp_path / "a", tmp_path / "b"):
            assert (tmp_path / "b" / ".lock").exists()
        assert (tmp_path / "a" / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_demo_is_drawn_by_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (tmp_path, tmp_path / "mpii" / "pose"):
        with held(folder) as process:
            assert main(["demo", f"--target={tmp_path}", "--only=mpii", "--people=1"]) == 2
            assert f"{folder} is being written by process {process} (" in capsys.readouterr().err
    assert contents(tmp_path) == {}
    demo.draw(tmp_path, people=1, seed=0)
