"""What a file says of itself."""

import sys
from pathlib import Path

import pytest

from pose_lightning.errors import UserError
from pose_lightning.exported.facts import MARK, Facts, Tensor
from pose_lightning.exported.session import OnnxNetwork

SAID = Facts(
    task="heatmap",
    experiment="tiny",
    checkpoint="best.ckpt",
    step=7,
    synthetic=True,
    input=Tensor("image", (3, 64, 64), "RGB"),
    output=Tensor("heatmaps", (16, 16, 16), "heights"),
    details={"crop": 448, "joint_order": ["head top"]},
    model={"stacks": 2},
    package_version="1",
)


def test_facts_come_back_from_text() -> None:
    metadata = SAID.to_metadata()
    assert all(isinstance(value, str) for value in metadata.values())
    assert Facts.from_metadata({**metadata, "other": "of another program"}, Path("file")) == SAID


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({MARK: None}, "does not say what it is"),
        ({MARK: "3"}, "has layout 3, which is newer"),
        ({MARK: "1"}, "was written by an earlier version"),
        ({MARK: '"first"'}, "says that its pose_lightning is 'first'; wanted a whole number"),
        ({"step": "{"}, "is damaged"),
        ({"details": "[" * 200_000}, "is damaged"),
        ({"input": None}, "lacks input"),
        ({"input": '{"name": "image"}'}, "lacks input shape, input values"),
        ({"input": '{"name": 3, "shape": [3], "values": ""}'}, "says that its input name is 3; wanted text of one"),
        ({"output": '{"name": "a", "shape": [3, -1], "values": ""}'}, r"output shape is \[3, -1\]; wanted a list of 1"),
        ({"output": "3"}, "output is 3; wanted an object"),
        ({"task": '"hand"'}, "says that its task is 'hand'; wanted one of heatmap, regression, activity; write it"),
        ({"step": '"7"'}, "step is '7'; wanted a whole number from 0"),
        ({"synthetic": "1"}, "synthetic is 1; wanted true or false, or null"),
        ({"details": "[]"}, r"details is \[\]; wanted an object"),
        ({"experiment": '"a\\nb"'}, "experiment is .*; wanted text of one line"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_facts_that_cannot_be_read_are_refused(change: dict[str, str | None], message: str) -> None:
    metadata = {key: value for key, value in {**SAID.to_metadata(), **change}.items() if value is not None}
    with pytest.raises(UserError, match=rf"file\.onnx.* {message}|file\.onnx {message}"):
        Facts.from_metadata(metadata, Path("file.onnx"))


@pytest.mark.parametrize("content", [None, b"", b"no protobuf at all"], ids=["absent", "empty", "other"])
def test_what_is_no_onnx_file_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"file\.onnx"):
        OnnxNetwork(path)


def test_a_missing_onnxruntime_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'pose_lightning\[export\]'"):
        OnnxNetwork(tmp_path / "file.onnx")
