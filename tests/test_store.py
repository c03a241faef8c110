import errno
import json
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import simplejpeg
import xxhash
from numpy.testing import assert_array_equal

from pose_lightning.errors import UserError
from pose_lightning.files import BusyError
from pose_lightning.store import ANY_SIZE, LAYOUT, Codec, Selection, Store, StoreError, StoreWriter, damaged_samples
from pose_lightning.store.__main__ import main
from pose_lightning.store.layout import HEADER, header_checksum, row_checksums, text

SHAPE = (24, 16, 3)
LENGTH = 12


def picture(index: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, shape, np.uint8)


def jpeg(index: int, shape: tuple[int, ...] = SHAPE) -> bytes:
    return bytes(simplejpeg.encode_jpeg(picture(index, shape), quality=95))


def labels(index: int) -> dict[str, Any]:
    joints = np.random.default_rng(index).normal(size=(4, 2))
    joints[index % 4] = np.nan
    return {
        "name": f"bild_ä{index}.jpg#0",
        "image": "x" * (index % 3),
        "group": index // 2,
        "box": 200.5 + index,
        "joints": joints,
        "labelled": ~np.isnan(joints[:, 0]),
    }


def write(path: Path, codec: Codec | None, length: int = LENGTH, shape: tuple[int, ...] = SHAPE) -> Path:
    with StoreWriter(path, codec=codec, attrs={"joint_set": "mpii"}, shape=shape) as writer:
        for index in range(length):
            pixels = {"raw": picture, "jpeg": jpeg}[codec](index, shape) if codec else None
            writer.append(pixels, labels(index))
    return path


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write(tmp_path / "raw.h5", "raw")


def payload_ranges(path: Path) -> list[list[tuple[int, int]]]:
    """For every sample its pieces (place in the file, bytes), as HDF5 itself tells them."""
    with h5py.File(path) as file:
        pixels, offsets = file["pixels"], file["offsets"][()]
        size = int(np.prod(pixels.chunks))
        places = sorted(
            (info.chunk_offset[0] // pixels.chunks[0], info.byte_offset)
            for info in map(pixels.id.get_chunk_info, range(pixels.id.get_num_chunks()))
        )
    pieces: list[list[tuple[int, int]]] = []
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        cuts = [start, *range((start // size + 1) * size, stop, size), stop]
        pieces.append([(places[low // size][1] + low % size, high - low) for low, high in pairwise(cuts)])
    return pieces


def table_ranges(path: Path) -> dict[str, tuple[int, int, int]]:
    """For every table its place in the file, bytes and rows."""
    with h5py.File(path) as file:
        tables = {name: file[name] for name in ("labels", "offsets", "pixel_checksums", "row_checksums")}
        return {name: (table.id.get_offset(), table.nbytes, len(table)) for name, table in tables.items()}


def flip(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ (1 << bit)]))


def test_a_store_returns_what_was_written(tmp_path: Path) -> None:
    for codec in ("raw", "jpeg"):
        with Store(write(tmp_path / f"{codec}.h5", codec)) as store:
            assert (len(store), store.codec, store.shape) == (LENGTH, codec, SHAPE)
            assert store.attrs == {"joint_set": "mpii"}
            for index in reversed(range(LENGTH)):
                assert store.name(index) == f"bild_ä{index}.jpg#0"
                stored = picture(index).tobytes() if codec == "raw" else jpeg(index)
                assert store.payload(index) == stored
                decoded = picture(index) if codec == "raw" else simplejpeg.decode_jpeg(stored)
                assert_array_equal(store.pixels(index), decoded)
                for field, value in labels(index).items():
                    assert_array_equal(store.labels[field][index], value)


def test_labels_keep_their_dtypes_and_cannot_be_changed_in_place(raw: Path) -> None:
    found = Store(raw).labels
    kinds = {field: column.dtype.kind for field, column in found.items()}
    assert kinds == {"name": "U", "image": "U", "group": "i", "box": "f", "joints": "f", "labelled": "b"}
    assert found["joints"].shape == (LENGTH, 4, 2)
    with pytest.raises(ValueError, match="read-only"):
        found["joints"][0] *= -1


def test_a_store_of_labels_has_no_pixels_and_says_so(tmp_path: Path) -> None:
    store = Store(write(tmp_path / "labels.h5", None))
    assert (len(store), store.codec) == (LENGTH, None)
    with pytest.raises(StoreError, match=r"labels\.h5 holds labels only"):
        store.payload(0)


def test_jpegs_that_straddle_chunks_are_read_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "large.h5", "jpeg", length=5, shape=(640, 512, 3))
    straddling = [index for index, pieces in enumerate(payload_ranges(path)) if len(pieces) > 1]
    assert straddling
    with Store(path) as store:
        for index in range(5):
            assert store.payload(index) == jpeg(index, (640, 512, 3))


def test_pictures_may_have_each_their_own_size(tmp_path: Path) -> None:
    sizes = [(24, 16, 3), (16, 40, 3), (8, 8, 3)]
    with StoreWriter(tmp_path / "any.h5", codec="jpeg", attrs={}, shape=ANY_SIZE) as writer:
        for index, size in enumerate(sizes):
            writer.append(jpeg(index, size), labels(index))
    with Store(tmp_path / "any.h5") as store:
        assert store.shape == ANY_SIZE
        for index, size in enumerate(sizes):
            assert_array_equal(store.pixels(index), simplejpeg.decode_jpeg(jpeg(index, size)))
        for read in (lambda: store.buffer(2), lambda: store.read_into(0, np.empty(sizes[0], np.uint8))):
            with pytest.raises(ValueError, match="of their own sizes"):
                read()
    assert not list(damaged_samples(tmp_path / "any.h5"))
    with pytest.raises(StoreError, match="need the codec `jpeg`"):
        StoreWriter(tmp_path / "raw.h5", codec="raw", attrs={}, shape=ANY_SIZE)


def test_a_selection_reads_as_a_store_of_its_samples(tmp_path: Path) -> None:
    path = write(tmp_path / "whole.h5", "jpeg")
    with Store(path) as store, Selection(Store(path), np.array([7, 2, 5])) as chosen:
        assert len(chosen) == 3
        assert (chosen.path, chosen.shape, chosen.attrs) == (store.path, store.shape, store.attrs)
        for place, row in enumerate((7, 2, 5)):
            assert chosen.name(place) == store.name(row)
            assert chosen.labels["name"][place] == store.labels["name"][row]
            assert_array_equal(chosen.pixels(place), store.pixels(row))
    with pytest.raises(StoreError, match="was closed"):
        chosen.pixels(0)


def test_the_jpeg_of_a_clip_is_read_as_its_frames(tmp_path: Path) -> None:
    shape = (3, 8, 16, 3)
    with StoreWriter(tmp_path / "clips.h5", codec="jpeg", attrs={}, shape=shape) as writer:
        for index in range(LENGTH):
            writer.append(jpeg(index, (24, 16, 3)), labels(index))
        with pytest.raises(StoreError, match=r"JPEG of \(16, 24, 3\); the store has RGB \(24, 16, 3\)"):
            writer.append(jpeg(0, (16, 24, 3)), {**labels(0), "name": "other"})
    with Store(tmp_path / "clips.h5") as store:
        assert store.shape == shape
        buffer = store.buffer(2)
        for index in range(LENGTH):
            stacked = simplejpeg.decode_jpeg(jpeg(index))
            store.read_into(index, buffer[1])
            for frame in range(3):
                assert_array_equal(buffer[1, frame], stacked[8 * frame : 8 * frame + 8])
            assert_array_equal(store.pixels(index), buffer[1])


def test_large_samples_and_buffers_begin_at_a_page(tmp_path: Path) -> None:
    path = write(tmp_path / "large.h5", "raw", length=3, shape=(256, 256, 3))
    assert [place % 4096 for pieces in payload_ranges(path) for place, _ in pieces] == [0, 0, 0]
    with Store(path) as store:
        for size in (1, 3, 8):
            buffer = store.buffer(size)
            assert (buffer.ctypes.data % 4096, buffer.shape, buffer.dtype) == (0, (size, 256, 256, 3), np.uint8)
            store.read_into(2, buffer[size - 1])
            assert_array_equal(buffer[size - 1], picture(2, (256, 256, 3)))


def test_the_same_samples_make_the_same_bytes(tmp_path: Path) -> None:
    for codec in ("raw", "jpeg", None):
        first, second = (write(tmp_path / f"{codec}{turn}.h5", codec) for turn in range(2))
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_each_of_a_thousand_bit_flips_in_the_pixels_is_found(tmp_path: Path, codec: Codec) -> None:
    path = write(tmp_path / f"{codec}.h5", codec)
    ranges, random, found = payload_ranges(path), np.random.default_rng(0), 0
    with Store(path) as store:
        for _ in range(1000):
            index = int(random.integers(LENGTH))
            pieces = np.concatenate([np.arange(place, place + size) for place, size in ranges[index]])
            place, bit = int(random.choice(pieces)), int(random.integers(8))
            flip(path, place, bit)
            with pytest.raises(StoreError, match=re.escape(f"{path}: sample {index} ('bild_ä{index}.jpg#0')")):
                store.pixels(index)
            found += 1
            flip(path, place, bit)
        for index in range(LENGTH):
            store.pixels(index)
    assert found == 1000


def test_a_switch_leaves_the_checksum_of_pixels_out(raw: Path) -> None:
    (place, _), *_ = payload_ranges(raw)[3]
    flip(raw, place, 0)
    changed = picture(3)
    changed[0, 0, 0] ^= 1
    assert_array_equal(Store(raw, verify=False).pixels(3), changed)


def test_each_bit_flip_in_the_tables_is_found_at_opening(tmp_path: Path) -> None:
    path = write(tmp_path / "jpeg.h5", "jpeg")
    tables, random = table_ranges(path), np.random.default_rng(1)
    for _ in range(400):
        table = str(random.choice(list(tables)))
        start, size, rows = tables[table]
        place, bit = start + int(random.integers(size)), int(random.integers(8))
        row = (place - start) // (size // rows)
        touched = {"offsets": {max(row - 1, 0), min(row, LENGTH - 1)}}.get(table, {row})
        flip(path, place, bit)
        with pytest.raises(StoreError, match="labels or its place") as caught:
            Store(path)
        assert int(re.findall(r"sample (\d+)", str(caught.value))[0]) in touched
        flip(path, place, bit)
    assert len(Store(path)) == LENGTH


@pytest.mark.parametrize("codec", ["raw", "jpeg", None])
def test_no_bit_flip_anywhere_is_ever_read_as_good(tmp_path: Path, codec: Codec | None) -> None:
    path = write(tmp_path / "any.h5", codec, length=3)
    whole = content(path)
    used = np.flatnonzero(np.frombuffer(path.read_bytes(), np.uint8))  # the last chunk of a JPEG store is mostly empty
    random, refused = np.random.default_rng(2), 0
    for _ in range(400):
        place, bit = int(random.choice(used)), int(random.integers(8))
        flip(path, place, bit)
        try:
            found = content(path)
        except StoreError:
            refused += 1
        else:
            assert found == whole  # the bit is in space that HDF5 keeps free
        flip(path, place, bit)
    assert refused > 200
    assert content(path) == whole


def content(path: Path) -> bytes:
    """Everything that a reader gets to see."""
    with Store(path) as store:
        pixels = [store.payload(index) for index in range(len(store))] if store.codec else []
        tables = {field: column.tolist() for field, column in store.labels.items()}
        return b"".join(pixels) + json.dumps([tables, store.attrs, store.shape, store.package_version]).encode()


@pytest.mark.parametrize("codec", ["raw", "jpeg", None])
def test_a_file_cut_at_any_length_is_refused(tmp_path: Path, codec: Codec | None) -> None:
    whole = write(tmp_path / "whole.h5", codec).read_bytes()
    cut = tmp_path / "cut.h5"
    for length in [0, 1, 8, 47, *range(48, len(whole), len(whole) // 60), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        with pytest.raises(StoreError, match=r"cut\.h5 is no store, or truncated or damaged .* make it again"):
            Store(cut)


def test_a_file_that_shrinks_while_it_is_open_names_the_sample(raw: Path) -> None:
    with Store(raw) as store:
        os.truncate(raw, payload_ranges(raw)[5][0][0])
        with pytest.raises(StoreError, match=r"sample 5 .*: the file ends before it"):
            store.pixels(5)


def test_samples_that_changed_places_are_refused(raw: Path) -> None:
    content, ranges, tables = bytearray(raw.read_bytes()), payload_ranges(raw), table_ranges(raw)
    (first, size), (second, _) = ranges[2][0], ranges[7][0]
    content[first : first + size], content[second : second + size] = (
        content[second : second + size],
        content[first : first + size],
    )
    start, size, rows = tables["pixel_checksums"]
    width = size // rows
    a, b = (slice(start + row * width, start + (row + 1) * width) for row in (2, 7))
    content[a], content[b] = content[b], content[a]
    raw.write_bytes(content)
    with pytest.raises(StoreError, match=r"sample 2 .*\(1 more are\)"):
        Store(raw)

    for table in ("labels", "row_checksums"):  # now everything has moved, and only the index says so
        start, size, rows = tables[table]
        width = size // rows
        a, b = (slice(start + row * width, start + (row + 1) * width) for row in (2, 7))
        content[a], content[b] = content[b], content[a]
    raw.write_bytes(content)
    with pytest.raises(StoreError, match=r"sample 2 .*\(1 more are\)"):
        Store(raw)


def test_what_is_no_store_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "notes.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["labels"] = [1, 2, 3]
    (tmp_path / "directory.h5").mkdir()
    for name, reason in {
        "notes.h5": "is no store",
        "foreign.h5": "is an HDF5 file, but not a store",
        "directory.h5": "is a folder",
        "missing.h5": r"make it with `python -m pose_lightning\.convert`",
    }.items():
        with pytest.raises(StoreError, match=reason) as caught:
            Store(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def test_a_layout_of_the_future_is_refused_with_both_numbers(raw: Path) -> None:
    with h5py.File(raw, "r+") as file:
        file.attrs["layout"] = 99
    with pytest.raises(StoreError, match=rf"has layout 99; this version of the package reads {LAYOUT}"):
        Store(raw)


@pytest.mark.parametrize(("key", "value"), [("attrs", '{"joint_set": "lsp"}'), ("shape", "[16, 24, 3]")])
def test_a_header_that_was_edited_is_refused(raw: Path, key: str, value: str) -> None:
    with h5py.File(raw, "r+") as file:
        file.attrs[key] = value
    with pytest.raises(StoreError, match="header does not match its checksum"):
        Store(raw)


def test_labels_of_another_type_are_refused(raw: Path) -> None:
    with h5py.File(raw, "r+") as file:
        rows = file["labels"][()]
        del file["labels"]
        file["labels"] = rows[["name", "box"]]
    with pytest.raises(StoreError, match="header does not match its checksum"):
        Store(raw)


BAD_SAMPLES = [
    ("raw", picture(0).astype(np.int16), {}, r"pixels are int16 \(24, 16, 3\); the store has uint8"),
    ("raw", picture(0)[:, :8], {}, r"pixels are uint8 \(24, 8, 3\)"),
    ("raw", None, {}, "pixels are NoneType"),
    ("jpeg", b"\x89PNG", {}, "wanted the bytes of a JPEG file"),
    ("jpeg", jpeg(0)[:20], {}, "the JPEG header cannot be read"),
    ("jpeg", jpeg(0, (24, 32, 3)), {}, r"JPEG of \(24, 32, 3\); the store has RGB \(24, 16, 3\)"),
    (None, picture(0), {}, "pixels for a store of labels only"),
    (None, None, {"name": "bild_ä0.jpg#0"}, "sample 0 has the same name"),
    (None, None, {"name": 7}, "a label `name`, which is text"),
    (None, None, {"extra": 1.0}, r"labels \[.*'extra'.*\]; the samples before have"),
    (None, None, {"joints": np.zeros((3, 2))}, r"label 'joints' is float64 \(3, 2\); .* have float64 \(4, 2\)"),
    (None, None, {"box": 3}, r"label 'box' is int64 \(\); .* have float64 \(\)"),
    (None, None, {"box": None}, "label 'box' is NoneType None; wanted text, numbers or truth values"),
    (None, None, {"image": "a\0b"}, "label 'image' has a NUL"),
    (None, None, {"image": "\ud800"}, "label 'image' is no valid Unicode"),
]


@pytest.mark.parametrize(("codec", "pixels", "changes", "reason"), BAD_SAMPLES)
def test_a_sample_that_does_not_fit_is_named_and_left_out(
    tmp_path: Path, codec: Codec | None, pixels: Any, changes: dict[str, Any], reason: str
) -> None:
    good = {"raw": picture, "jpeg": jpeg, None: lambda _: None}[codec]
    with StoreWriter(tmp_path / "a.h5", codec=codec, attrs={}, shape=SHAPE) as writer:
        writer.append(good(0), labels(0))
        bad = labels(1) | changes
        where = re.escape(f"{tmp_path / 'a.h5'}: sample 1 ({bad['name']!r})")
        with pytest.raises(StoreError, match=where + ".*" + reason):
            writer.append(pixels, bad)
        writer.append(good(1), labels(1))
    assert Store(tmp_path / "a.h5").labels["name"].tolist() == ["bild_ä0.jpg#0", "bild_ä1.jpg#0"]


def test_a_writer_that_fails_leaves_what_was_there(raw: Path) -> None:
    before = raw.read_bytes()

    def fail() -> None:
        with StoreWriter(raw, codec="raw", attrs={}, shape=SHAPE) as writer:
            writer.append(picture(99), labels(99))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert raw.read_bytes() == before
    assert list(raw.parent.iterdir()) == [raw]


def test_an_empty_store_and_attrs_that_are_no_json_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreError, match=r"a\.h5: not one sample"),
        StoreWriter(tmp_path / "a.h5", codec=None, attrs={}),
    ):
        pass
    with pytest.raises(StoreError, match="attrs cannot be written as JSON"):
        StoreWriter(tmp_path / "a.h5", codec=None, attrs={"counts": {1, 2}})
    with pytest.raises(StoreError, match="needs `shape`"):
        StoreWriter(tmp_path / "a.h5", codec="raw", attrs={})
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"a\.h5 cannot be written: .*file: a part of the path is a file"),
        StoreWriter(tmp_path / "file" / "a.h5", codec=None, attrs={}),
    ):
        pass


def test_a_file_that_does_not_hold_what_was_written_gets_no_name(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"

    def write_on_a_bad_disk() -> None:
        with StoreWriter(path, codec="raw", attrs={}, shape=SHAPE) as writer:
            for index in range(3):
                writer.append(picture(index), labels(index))
            flip(writer.partial, writer.partial.read_bytes().index(picture(1).tobytes()), 0)

    with pytest.raises(StoreError, match=r"sample 1 \('bild_ä1\.jpg#0'\).*; 1 of 3 samples are not as they were"):
        write_on_a_bad_disk()
    assert list(tmp_path.iterdir()) == []


WRITE_SLOWLY = """
import sys, time
from pathlib import Path
import numpy as np
from pose_lightning.store import StoreWriter
with StoreWriter(Path(sys.argv[1]), codec="raw", attrs={}, shape=(100, 100, 3)) as writer:
    for index in range(300):
        writer.append(np.full((100, 100, 3), index % 256, np.uint8), {"name": str(index)})
    print("written", flush=True)
    time.sleep(60)
"""


WRITE_TOO_MUCH = """
import resource, sys
from pathlib import Path
import numpy as np, simplejpeg
from pose_lightning.errors import UserError
from pose_lightning.store import StoreWriter
path, codec, most = Path(sys.argv[1]), {"None": None}.get(sys.argv[2], sys.argv[2]), int(sys.argv[3])
pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
pixels = {"raw": pixels, "jpeg": simplejpeg.encode_jpeg(pixels), None: None}[codec]
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
try:
    with StoreWriter(path, codec=codec, attrs={}, shape=None if codec is None else (100, 100, 3)) as writer:
        for index in range(100 if codec else 20_000):
            writer.append(pixels, {"name": str(index)})
except UserError as error:
    print(str(error), end="")
"""


def test_a_killed_writer_leaves_only_a_partial_file_which_the_next_one_overwrites(raw: Path) -> None:
    before, partial = raw.read_bytes(), raw.with_name("raw.h5.partial")
    with subprocess.Popen([sys.executable, "-c", WRITE_SLOWLY, str(raw)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"written\n"
        with pytest.raises(BusyError, match=rf"raw\.h5 is being written by process {writer.pid} "):
            write(raw, "raw")
        writer.send_signal(signal.SIGKILL)
    assert raw.read_bytes() == before
    assert partial.stat().st_size > 300 * 30_000
    with pytest.raises(StoreError):
        Store(partial)
    write(raw, "raw", length=2)
    assert len(Store(raw)) == 2
    assert list(raw.parent.iterdir()) == [raw]


@pytest.mark.parametrize("name", ["a.h5", "a.h5.partial", ".a.h5.lock"])
def test_a_store_is_not_written_through_a_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / name).symlink_to("mine")
    with pytest.raises(UserError, match="is a link, to mine"):
        write(tmp_path / "a.h5", None)
    assert (tmp_path / "mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["mine", name])


@pytest.mark.parametrize("codec", ["raw", "jpeg", None])
@pytest.mark.parametrize("kilobytes", [1, 40, 200])
def test_a_file_that_becomes_too_large_leaves_the_earlier_store(
    tmp_path: Path, codec: Codec | None, kilobytes: int
) -> None:
    path = tmp_path / "a.h5"
    write(path, codec, length=2)
    before = path.read_bytes()
    command = [sys.executable, "-c", WRITE_TOO_MUCH, str(path), str(codec), str(kilobytes << 10)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    reason = re.escape("cannot be written: the file would be larger than this system allows (`ulimit -f`)")
    assert re.fullmatch(rf".*a\.h5(: sample \d+ \('\d+'\))? {reason}", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_second_writer_in_the_same_process_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with StoreWriter(path, codec=None, attrs={}) as writer:
        writer.append(None, labels(0))
        with pytest.raises(BusyError, match="being written"):
            write(path, None)
    assert len(Store(path)) == 1


def test_an_open_store_stays_what_it_was_when_its_file_is_replaced(raw: Path) -> None:
    with Store(raw) as store:
        write(raw, "raw", length=1)
        assert_array_equal(store.pixels(LENGTH - 1), picture(LENGTH - 1))


def anonymous_memory() -> int:
    """Bytes of this process that no file backs."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"RssAnon:\s+(\d+) kB", status)[0]) * 1024


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_writing_keeps_memory_flat(tmp_path: Path, codec: Codec) -> None:
    shape = (1000, 700, 3)
    pixels = picture(0, shape) if codec == "raw" else jpeg(0, shape)
    size = pixels.nbytes if isinstance(pixels, np.ndarray) else len(pixels)
    with StoreWriter(tmp_path / "a.h5", codec=codec, attrs={}, shape=shape) as writer:
        writer.append(pixels, labels(0))
        before = anonymous_memory()
        for index in range(1, 40):
            writer.append(pixels, labels(index))
        assert anonymous_memory() - before < 10 * size


def test_threads_read_the_same_as_one(tmp_path: Path) -> None:
    for codec in ("raw", "jpeg"):
        with Store(write(tmp_path / f"{codec}.h5", codec)) as store, ThreadPoolExecutor(4) as threads:
            order = np.random.default_rng(0).integers(LENGTH, size=400).tolist()
            for index, pixels in zip(order, threads.map(store.pixels, order), strict=True):
                expected = picture(index) if codec == "raw" else simplejpeg.decode_jpeg(jpeg(index))
                assert_array_equal(pixels, expected)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_processes_read_beside_their_parent(raw: Path) -> None:
    order = list(range(LENGTH)) * 20
    with Store(raw) as store, multiprocessing.get_context("fork").Pool(2) as children:
        pending = children.map_async(store.pixels, order)
        for index in order:
            assert_array_equal(store.pixels(index), picture(index))
        for index, pixels in zip(order, pending.get(timeout=30), strict=True):
            assert_array_equal(pixels, picture(index))


def test_a_pickled_store_opens_the_file_itself(raw: Path) -> None:
    store = Store(raw, verify=False)
    other = pickle.loads(pickle.dumps(store))  # noqa: S301  # our own bytes
    store.close()
    assert not other.verify
    assert_array_equal(other.pixels(4), picture(4))


def test_closing_frees_the_descriptor_and_reading_then_says_so(raw: Path) -> None:
    before = os.listdir("/proc/self/fd")  # noqa: PTH208  # Path.iterdir would open one more
    store = Store(raw)
    store.close()
    store.close()
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208
    assert len(store.labels["name"]) == LENGTH
    with pytest.raises(StoreError, match=r"sample 0 .*: the store was closed"):
        store.pixels(0)


def test_a_refused_store_leaves_no_descriptor(raw: Path) -> None:
    start, *_ = table_ranges(raw)["labels"]
    flip(raw, start, 0)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        with pytest.raises(StoreError):
            Store(raw)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_an_index_beyond_the_store_and_a_buffer_that_does_not_fit_are_refused(raw: Path) -> None:
    store = Store(raw)
    for index in (-1, LENGTH):
        with pytest.raises(IndexError, match=f"sample {index} of {LENGTH}"):
            store.pixels(index)
    for out in (np.empty(SHAPE, np.int8), np.empty((2, *SHAPE), np.uint8), np.empty(SHAPE[::-1], np.uint8).T):
        with pytest.raises(ValueError, match="contiguous uint8"):
            store.read_into(0, out)


def test_verify_names_every_damaged_sample(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(raw)]) == 0
    assert "every sample is as it was written" in capsys.readouterr().out
    for index in (3, 8):
        flip(raw, payload_ranges(raw)[index][0][0], 7)
    start, size, rows = table_ranges(raw)["labels"]
    flip(raw, start + 5 * size // rows, 7)  # in the name of sample 5, which is then no text any more
    assert main(["verify", str(raw)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [int(re.findall(r"sample (\d+)", line)[0]) for line in lines[:-1]] == [3, 5, 8]
    assert lines[-1] == f"{raw}: 3 samples are damaged"


def test_info_describes_a_store_in_80_columns(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(raw)]) == 0
    out = capsys.readouterr().out
    for fact in ("12", "raw, uint8 (24, 16, 3)", "joint_set", '"mpii"', "float64 (4, 2)", f"layout {LAYOUT}"):
        assert fact in out
    assert max(len(line) for line in out.splitlines()[1:]) <= 80  # the first is the path


def test_the_commands_report_what_is_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("info", "verify"):
        assert main([command, str(tmp_path / "missing.h5")]) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert "make it with" in message


def test_the_commands_report_a_fault_of_the_disk(
    raw: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.EIO, "Input/output error", str(raw))

    monkeypatch.setattr("pose_lightning.store.__main__.damaged_samples", fail)
    assert main(["verify", str(raw)]) == 2
    assert "error: " in capsys.readouterr().err


def sealed_again(path: Path, **tables: Any) -> Path:
    """Change tables and the header of a store, and make all checksums right, as somebody who means harm would."""
    with h5py.File(path, "r+") as file:
        for name, value in tables.items():
            if name in HEADER:
                file.attrs[name] = value
            else:
                del file[name]
                file[name] = value
        rows = file["labels"][()]
        header = {key: text(file.attrs[key]) for key in HEADER}
        file.attrs["header_checksum"] = np.uint64(header_checksum(header, rows))
        if "row_checksums" not in tables:
            try:
                checksums = row_checksums(rows, file["offsets"][()], file["pixel_checksums"][()])
            except ValueError:  # tables that fit no row
                return path
            del file["row_checksums"]
            file["row_checksums"] = checksums
    return path


SIZE = picture(0).size
STARTS = np.arange(LENGTH + 1, dtype="<i8") * SIZE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shape": "[-1, -2, 3]"}, "shape list "),
        ({"shape": '"a"'}, "shape str "),
        ({"shape": "[true, 24, 3]"}, "shape list "),
        ({"shape": "[24, 16, 4]"}, "sample 0 .*it cannot be bytes 0 to 1152 of .* with 1536 bytes a sample"),
        ({"codec": '"evil"'}, "codec str 'evil', wanted raw or jpeg"),
        ({"codec": "[]"}, "codec list"),
        ({"attrs": "[]"}, "its attributes are list"),
        ({"attrs": "[" * 50_000}, "nested too deep"),
        ({"offsets": STARTS - SIZE}, "sample 0 .*it cannot be bytes -1152 to 0 of"),
        ({"offsets": STARTS[::-1].copy()}, "sample 0 .*it cannot be bytes 13824 to 12672 of"),
        ({"offsets": STARTS << 40}, "sample 0 .*it cannot be bytes 0 to "),
        ({"offsets": STARTS[:-1]}, r"offsets is int64 \(12,\); wanted int64 \(13,\)"),
        ({"offsets": STARTS.astype(float)}, r"offsets is float64 \(13,\)"),
        ({"pixel_checksums": np.zeros(3, "<u8")}, "pixel_checksums is uint64"),
        ({"row_checksums": np.zeros((2, 2), "<u8")}, "row_checksums is uint64"),
        ({"labels": np.zeros(3)}, "no table of samples"),
        ({"labels": np.zeros(0, [("name", "S3")])}, "no table of samples"),
        ({"labels": np.zeros(3, [("a", "f4")])}, "no table of samples"),
        ({"labels": np.zeros(LENGTH, [("name", "S3"), ("a", "c8")])}, "its label 'a' is complex64"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(value),
)
def test_a_store_that_contradicts_itself_is_refused_whatever_its_checksums(
    raw: Path, changes: dict[str, Any], reason: str
) -> None:
    sealed_again(raw, **changes)
    with pytest.raises(StoreError, match=rf"raw\.h5.*{reason}.*make it again"):
        Store(raw)
    assert main(["verify", str(raw)]) == 2


def test_a_store_that_somebody_sealed_unchanged_is_read(raw: Path) -> None:
    whole = content(raw)
    assert content(sealed_again(raw, offsets=STARTS, codec='"raw"')) == whole


@pytest.mark.parametrize("bit", range(0, 64, 7))
def test_verify_takes_no_memory_that_a_damaged_offset_asks_for(
    raw: Path, bit: int, capsys: pytest.CaptureFixture[str]
) -> None:
    start, _, _ = table_ranges(raw)["offsets"]
    flip(raw, start + 4 * 8 + bit // 8, bit % 8)
    assert main(["verify", str(raw)]) == 1
    assert "2 samples are damaged" in capsys.readouterr().out


def test_tables_that_are_declared_larger_than_the_file_are_refused(raw: Path) -> None:
    with h5py.File(raw, "r+") as file:
        dtype = file["labels"].dtype
        del file["labels"]
        file.create_dataset("labels", (10**12,), dtype)
    with pytest.raises(StoreError, match=r"'/labels' declares .*\(1000000000000,\)"):
        Store(raw)


def test_pixels_in_other_files_are_refused(raw: Path, tmp_path: Path) -> None:
    raw.rename(tmp_path / "other.h5")
    layout = h5py.VirtualLayout((LENGTH, *picture(0).shape), "u1")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "pixels", layout.shape)
    with h5py.File(tmp_path / "other.h5") as other, h5py.File(raw, "w") as file:
        for name in ("labels", "offsets", "pixel_checksums", "row_checksums"):
            other.copy(name, file)
        file.attrs.update(other.attrs)
        file.create_virtual_dataset("pixels", layout)
    with pytest.raises(StoreError, match="'/pixels' keeps its elements in other files"):
        Store(raw)


def test_a_small_jpeg_that_declares_a_huge_picture_is_refused(tmp_path: Path) -> None:
    jpeg = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))
    start_of_size = jpeg.index(b"\xff\xc0") + 5
    huge = jpeg[:start_of_size] + b"\xff\xdc\xff\xdc" + jpeg[start_of_size + 4 :]
    with StoreWriter(tmp_path / "a.h5", codec="jpeg", attrs={}, shape=ANY_SIZE) as writer:
        writer.append(jpeg, {"name": "a"})
        writer._packed[: len(jpeg)] = huge
        writer._checksums[0] = xxhash.xxh3_64_intdigest(huge, seed=0)
    with pytest.raises(StoreError, match="declares more than"):
        Store(tmp_path / "a.h5").pixels(0)


def test_a_fifo_is_no_store_and_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "a.h5")
    for command in ("verify", "info"):
        assert main([command, str(tmp_path / "a.h5")]) == 2
        assert "a named pipe" in capsys.readouterr().err


def test_a_store_that_another_program_died_with_is_mended_by_h5clear(raw: Path) -> None:
    code = "import h5py, os, sys; file = h5py.File(sys.argv[1], 'r+', libver='latest'); file.flush(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(raw)], check=True)
    with pytest.raises(StoreError, match=r"h5clear -s .*raw\.h5`"):
        Store(raw)


@pytest.mark.parametrize("size", [100, 5000])
def test_a_full_disk_under_the_labels_is_told_in_one_line(tmp_path: Path, size: int) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from pose_lightning.errors import door
        from pose_lightning.store import StoreWriter
        from tests.room import room

        def main():
            with StoreWriter(Path(sys.argv[1]), codec=None, attrs={}) as writer:
                for index in range(40):
                    writer.append(None, {"name": str(index), "joints": [[0.5] * 16] * 2})

        with room(int(sys.argv[2])):
            door(main)()
    """
    command = [sys.executable, "-c", code, str(tmp_path / "a.h5"), str(size)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
