import contextlib
import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from pose_lightning.errors import UserError
from pose_lightning.reading import arrays, hdf5, matlab, raw, records
from pose_lightning.store import StoreError


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "it")
    return folder / "it"


def _folder(folder: Path) -> Path:
    return folder


def _socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(folder):  # its name has at most 107 characters
        server.bind("it")
    return folder / "it"


def _circle(folder: Path) -> Path:
    (folder / "it").symlink_to(folder / "it")
    return folder / "it"


NO_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "fifo": (_fifo, "a named pipe"),
    "folder": (_folder, "a folder"),
    "socket": (_socket, "a socket"),
    "device": (lambda _: Path("/dev/zero"), "a device"),
    "circle": (_circle, "its links lead in a circle"),
    "missing": (lambda folder: folder / "it", "there is no such file"),
    "long": (lambda folder: folder / ("a" * 5000), r"5,\d+ characters.*the name is too long"),
    "null": (lambda _: Path("a\0b"), "embedded null byte"),
}


@pytest.fixture(params=NO_FILES)
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    make, reason = NO_FILES[request.param]
    return make(tmp_path), reason


def test_only_regular_files_are_opened(no_file: tuple[Path, str]) -> None:
    path, reason = no_file
    for read in (raw.open_regular, raw.read_bytes, records.read_json, arrays.read_array, matlab.load_mat):
        with pytest.raises(UserError, match=reason):
            read(path)
    with pytest.raises(UserError, match=reason), hdf5.open_hdf5(path):
        pass
    assert not raw.is_file(path)


def test_the_given_class_of_error_is_raised(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        raw.read_bytes(tmp_path / "none", error=StoreError)


def test_too_many_open_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    code = (
        "import resource, pathlib\n"
        "from pose_lightning.reading import raw\nfrom pose_lightning.errors import UserError\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5)); held = []\n"
        "try:\n  while True: held.append(raw.open_regular(pathlib.Path('a')))\n"
        "except UserError as error: held.clear(); print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert "ulimit -n" in done.stdout, done.stderr


def test_files_larger_than_the_limit_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 1 << 40)  # a hole
    with pytest.raises(UserError, match="1,048,576 MiB, more than the 32 MiB"):
        records.read_json(path)


def test_json_of_all_spellings_is_read(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, "ü", None]}
    text = json.dumps(value, ensure_ascii=False).encode()
    members = gzip.compress(text[:9]) + gzip.compress(text[9:]) + b"\0" * 7
    for number, data in enumerate((text, b"\xef\xbb\xbf" + text, gzip.compress(text), members)):
        path = tmp_path / str(number)
        path.write_bytes(data)
        assert records.read_json(path) == value


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JSON"),
        (b'{"a": 1', "no JSON"),
        (b"[" * 200_000, "nested too deep"),
        (b'{"a": "\xff"}', "line 1 has the byte 0xff"),
        (gzip.compress(b"[1]" * 9)[:-9], "ends too early"),
        (gzip.compress(b"[1]" * 9)[:-8] + b"\0" * 8, "cannot be unpacked"),
        (gzip.compress(b" " * (40 << 20)), "unpacks to more than 32 MiB"),
    ],
    ids=["empty", "cut", "deep", "latin", "gzip cut", "gzip damaged", "bomb"],
)
def test_what_is_no_json_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(UserError, match=reason):
        records.read_json(path, 1 << 30)


@pytest.mark.parametrize("value", [[], "a", 1, None, True])
def test_json_that_is_no_object_is_refused(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match="wanted a JSON object"):
        records.read_object(path)


def test_csv_rows_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'\xef\xbb\xbfa,b\r\n1,"2\r\n3"\r\n4,\r\n')
    assert records.read_csv(path) == [{"a": "1", "b": "2\r\n3"}, {"a": "4", "b": ""}]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"a,b\n1,2,3\n", "line 2 has more fields"),
        (b"a,b\n1,2\n3\n", "line 3 has fewer fields"),
        (b"a,b\n1," + b"x" * 200_000, "line 2 cannot be read: field larger than field limit"),
        (b"a,b\n1,\xff\n", "line 2 has the byte 0xff"),
    ],
    ids=["more", "fewer", "long", "latin"],
)
def test_damaged_csv_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(UserError, match=reason):
        records.read_csv(path)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3), np.asfortranarray(np.eye(3)), np.zeros((0, 2)), np.array(3)]
)
def test_arrays_are_read_as_numpy_does(tmp_path: Path, array: np.ndarray, mapped: bool) -> None:
    path = tmp_path / "a.npy"
    np.save(path, array)
    read = arrays.read_array(path, mapped=mapped)
    assert read.dtype == array.dtype
    assert read.flags.f_contiguous == array.flags.f_contiguous
    np.testing.assert_array_equal(read, array)


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04", "an archive"),
        (b"hello, world", "something else"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (94489280512,)}"), "declares float64 .*720,896 MiB"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "header is damaged"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (0, 36893488147419103232)}"), "header is damaged"),
        (npy("{'descr': '|S0', 'fortran_order': False, 'shape': (99999999999,)}"), "header is damaged"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), "Python objects"),
        (npy("{'descr': [('a', 'q', ], 'shape': (1,)"), "header is damaged"),
        (npy("(" * 5000), "header is damaged"),
    ],
    ids=["empty", "npz", "text", "705 GiB", "negative", "overflow", "nothing", "objects", "cut", "nested"],
)
def test_damaged_arrays_are_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    for mapped in (False, True):
        with pytest.raises(UserError, match=reason):
            arrays.read_array(path, mapped=mapped)


def test_hdf5_declares_no_more_than_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rows", (10**12,), "f8")
        file.create_dataset("chunked", (10**12,), "f8", chunks=(1024,), compression="gzip")
        file.create_dataset("zeros", data=np.zeros(1 << 20), compression="gzip")
        file["here"] = np.arange(3)
        file["preds/preds"] = np.arange(4)
    with hdf5.open_hdf5(path) as file:
        for name in ("rows", "chunked"):
            with pytest.raises(UserError, match=f"{name}.*declares float64.*and the file holds 0 bytes"):
                hdf5.read_dataset(file, name, path)
        assert hdf5.read_dataset(file, "zeros", path).shape == (1 << 20,)
        assert hdf5.read_dataset(file, "here", path).tolist() == [0, 1, 2]
        assert hdf5.read_dataset(file, "preds/preds", path).tolist() == [0, 1, 2, 3]
        with pytest.raises(UserError, match="no dataset 'here/below'"):
            hdf5.read_dataset(file, "here/below", path)
        with pytest.raises(UserError, match="no dataset 'nowhere'; it has"):
            hdf5.read_dataset(file, "nowhere", path)


def test_hdf5_leads_nowhere_else(tmp_path: Path) -> None:
    path, other = tmp_path / "a.h5", tmp_path / "b.h5"
    with h5py.File(other, "w") as file:
        file["secret"] = np.arange(3)
    (tmp_path / "raw").write_bytes(b"secret!!")
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource(other, "secret", (3,))
    with h5py.File(path, "w") as file:
        file["external"] = h5py.ExternalLink("b.h5", "secret")
        file["soft"] = h5py.SoftLink("/external")
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("raw", (8,), "u1", external=[(str(tmp_path / "raw"), 0, 8)])
        file["folder/external"] = h5py.ExternalLink("b.h5", "secret")
    with hdf5.open_hdf5(path) as file:
        for name in ("external", "soft", "folder/external"):
            with pytest.raises(UserError, match="link to elsewhere"):
                hdf5.read_dataset(file, name, path)
        for name in ("virtual", "raw"):
            with pytest.raises(UserError, match="in other files"):
                hdf5.read_dataset(file, name, path)


def test_hdf5_that_a_killed_writer_left_is_said_to_be_mended(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    code = "import h5py, os; file = h5py.File('a.h5', 'w', libver='latest'); file['a'] = 1; file.flush(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    with pytest.raises(UserError, match=r"open for writing, or died.*h5clear -s .*a.h5`"), hdf5.open_hdf5(path):
        pass


def test_attributes_of_one_element_are_that_element(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs.update({"origin": np.array([1.0]), "axes": "xy", "bytes": np.bytes_(b"m"), "two": [1, 2]})
    with hdf5.open_hdf5(path) as file:
        attributes = hdf5.read_attributes(file)
    assert attributes["origin"] == 1
    assert attributes["axes"] == "xy"
    assert attributes["bytes"] == "m"
    assert attributes["two"].tolist() == [1, 2]


def test_matlab_values_arrive_as_they_were(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.mat"
    cells = np.empty(2, object)
    cells[:] = [np.array("two"), {"x": 1.5, "y": np.array([]), "name": "im.jpg"}]
    large = rng.random((3, 14, 20)).astype(np.float32)
    scipy.io.savemat(path, {"large": large, "small": np.eye(2), "flag": True, "cells": cells, "nan": np.nan})
    read = matlab.load_mat(path)
    assert set(read) == {"large", "small", "flag", "cells", "nan"}
    assert read["large"].dtype == np.float32
    np.testing.assert_array_equal(read["large"], large)
    np.testing.assert_array_equal(read["small"], np.eye(2))
    assert read["cells"][0] == "two"
    assert vars(read["cells"][1])["x"] == 1.5
    assert read["cells"][1].name == "im.jpg"
    assert read["cells"][1].y.size == 0
    assert np.isnan(read["nan"])
    assert set(matlab.load_mat(path, "small", "none")) == {"small"}
    assert matlab.load_mat(path, "flag", squeeze=False)["flag"].shape == (1, 1)


@pytest.mark.parametrize("name", ["v7.3", "text", "empty", "cut"])
def test_what_is_no_matlab_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"preds": np.random.default_rng(0).random((4, 16, 2))}, do_compression=True)
    whole = path.read_bytes()
    path.write_bytes(
        {"v7.3": b"MATLAB 7.3" + whole[10:124] + b"\0\2IM", "text": b"hello" * 40, "empty": b""}.get(name, whole[:-20])
    )
    with pytest.raises(UserError, match="v7.3" if name == "v7.3" else "no such file, or damaged"):
        matlab.load_mat(path)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "its reader crashed on it .signal 11"),
        ("while True: pass", "more than 1 s"),
        ("bytearray(1 << 34)", "more than 640 MiB of memory"),
    ],
    ids=["crash", "hang", "memory"],
)
def test_a_reader_that_ends_badly_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, reason: str
) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0")
    source = Path(matlab.__file__).with_name("matlab_process.py").read_text()
    stub = source.replace("        source: Any = file", f"        {body}\n        source: Any = file")
    (tmp_path / "matlab_process.py").write_text(stub)
    monkeypatch.setattr(matlab, "__file__", str(tmp_path / "matlab.py"))
    monkeypatch.setattr(matlab, "MAT_SECONDS", (1, 0))
    with pytest.raises(UserError, match=reason):
        matlab.load_mat(path)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": 1, "b": [{"c": "x"}], "d": {"e": 2.0, "f": None}, "other": []}, None),
        ({"a": 1, "b": []}, None),
        ({"b": []}, "it has no 'a'"),
        ({"a": True, "b": []}, "/a is True"),
        ({"a": 1, "b": {}}, "/b is an object"),
        ({"a": 1, "b": [{"c": "x"}, {"c": 3}]}, "/b/1/c is 3"),
        ({"a": 1, "b": [], "d": {"e": "1"}}, "/d/e is '1'"),
        ({"a": 1, "b": [], "d": {"e": 1 << 64}}, "/d/e is 18446744073709551616"),
        ([], "it is a list"),
    ],
)
def test_a_value_of_another_shape_is_told_by_its_place(value: Any, found: str | None) -> None:
    shape = {"a": (int, str), "b": [{"c": str}], "d?": {...: records.is_number}}
    assert records.misfit(value, shape) == found
