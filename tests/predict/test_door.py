"""The options of the door, before any network is asked."""

import argparse
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pose_lightning.errors import UserError
from pose_lightning.predict.door import _joined, _parser, main
from pose_lightning.predict.request import _inputs, _rate


def options(**given: Any) -> argparse.Namespace:
    names = ("box", "center", "boxes", "json", "rate", "clips", "onnx", "weights")
    return argparse.Namespace(**(dict.fromkeys(names) | given))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.zeros((40, 40, 3), np.uint8))
    return folder / "a.png"


def test_what_is_written_is_not_beside_what_is_read(photo: Path, tmp_path: Path) -> None:
    for place in (photo, photo.parent, photo.parent / "*.png"):
        with pytest.raises(UserError, match="an input"):
            _inputs(options(), [place], photo.parent, films=False)
    _inputs(options(), [photo], tmp_path, films=False)


@pytest.mark.parametrize("name", ["joints.json", "joints.csv", "classes.csv"])
def test_boxes_are_not_replaced_by_what_is_written(name: str, photo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"--out .*: {name} there is read, and would be replaced"):
        _inputs(options(boxes=tmp_path / name), [photo], tmp_path, films=False)


@pytest.mark.parametrize(
    ("json", "message"),
    [
        ("photos/a.png", "is read too"),
        ("boxes.csv", "is read too"),
        ("out/joints.csv", "is written too"),
        ("out/../out/classes.csv", "is written too"),
        ("photos", "is a folder"),
    ],
    ids=["input", "boxes", "joints", "classes", "folder"],
)
def test_json_is_a_file_of_its_own(json: str, message: str, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    given = options(json=tmp_path / json, boxes=tmp_path / "boxes.csv")
    with pytest.raises(UserError, match=message):
        _inputs(given, [photo], tmp_path / "out", films=False)
    given.json = tmp_path / "out" / "joints.json"
    _inputs(given, [photo], tmp_path / "out", films=False)


@pytest.mark.parametrize("given", [{"rate": "25"}, {"clips": "1"}], ids=["rate", "clips"])
def test_options_of_which_no_input_takes_notice_are_refused(given: dict[str, str], photo: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(given))} .* and no input is one"):
        _inputs(options(**given), [photo], tmp_path, films=False)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10", Fraction(10)),
        ("30", Fraction(30)),
        ("12.5", Fraction(25, 2)),
        ("29.97", Fraction(30000, 1001)),
        ("23.976", Fraction(24000, 1001)),
        ("60000/1001", Fraction(60000, 1001)),
    ],
    ids=str,
)
def test_rates_are_what_is_meant(text: str, rate: Fraction) -> None:
    assert _rate(text) == rate


@pytest.mark.parametrize("text", ["fast", "0", "-5", "1/0", "nan", "1e9"])
def test_rates_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=re.escape(f"--rate {text}: wanted frames per second")):
        _rate(text)


def test_boxes_may_begin_left_of_the_picture() -> None:
    assert _joined(["run", "--box", "-10,2,3,4", "a.png", "--center", "-.5,1"]) == [
        "run",
        "--box=-10,2,3,4",
        "a.png",
        "--center=-.5,1",
    ]
    assert _joined(["--box", "--out", "-1"]) == ["--box", "--out", "-1"]


@pytest.mark.parametrize("option", ["--out", "--json", "--boxes", "--onnx", "--weights", "input"])
def test_urls_are_no_paths(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    url = "s3://bucket/a"
    with pytest.raises(SystemExit) as stop:
        main(["run", url] if option == "input" else ["run", "a.png", option, url])
    assert stop.value.code == 2
    assert "s3://bucket/a is a URL; give a file or a folder of this machine" in capsys.readouterr().err


def test_a_home_is_expanded(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(photo.parent))
    parsed = _parser().parse_args(["run", "~/a.png", "--out", "~/out"])
    assert (parsed.places[1], parsed.out) == (photo, photo.parent / "out")
