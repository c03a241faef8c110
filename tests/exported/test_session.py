"""What a file says is held against its graph, and against what its task needs."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pose_lightning.activity.exported import OnnxActivities
from pose_lightning.errors import UserError
from pose_lightning.exported.facts import Facts, Tensor
from pose_lightning.exported.session import OnnxNetwork
from pose_lightning.heatmap.exported import OnnxJoints
from pose_lightning.joints import COCO, H36M, MPII
from pose_lightning.regression.exported import OnnxPoses

onnx = pytest.importorskip("onnx")

SHAPES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "heatmap": ((3, 16, 16), (16, 4, 4)),
    "activity": ((3, 8, 8), (3,)),
    "regression": ((2, 3, 8, 8), (2, 17, 3)),
}

DETAILS: Mapping[str, Mapping[str, Any]] = {
    "heatmap": {
        "joint_set": MPII.plain(),
        "joints_never_taught": ["pelvis"],
        "decoding": "dark",
        "sigma": 1.0,
        "grid": "cells",
        "stride": 4,
        "crop": 112,
        "box_in_crop": 64,
    },
    "activity": {
        "target": "category",
        "classes": ["run", "sit", "row"],
        "fit": "crop",
        "crop_share": 0.875,
        "shorter_side": None,
    },
    "regression": {
        "joint_set": H36M.plain(),
        "unit": "mm",
        "frames": 2,
        "frame_rate": 12.5,
        "margin": 0.15,
        "side": 24,
    },
}

KINDS: Mapping[str, Any] = {"heatmap": OnnxJoints, "activity": OnnxActivities, "regression": OnnxPoses}


def facts(task: Any, **details: Any) -> Facts:
    given, answer = SHAPES[task]
    return Facts(
        task=task,
        experiment="tiny",
        checkpoint="best.ckpt",
        step=7,
        synthetic=True,
        input=Tensor("image", given, "RGB"),
        output=Tensor("answer", answer, "numbers"),
        details={**DETAILS[task], **details},
    )


def write(path: Path, said: Facts, **graph: Any) -> Path:
    """A graph of the task's shapes, in which one product of matrices is everything, with facts that may say otherwise.

    Args:
        path: The file.
        said: The facts.
        graph: What is otherwise in the graph: `batch`, `kind`, the `declared` shape of its answer, `outputs`.
    """
    given, answer = SHAPES[said.task]
    kind, batch = graph.get("kind", onnx.TensorProto.FLOAT), graph.get("batch", "batch")
    weights = np.random.default_rng(1).normal(size=(int(np.prod(given)), int(np.prod(answer))))
    weights = weights.astype(onnx.helper.tensor_dtype_to_np_dtype(kind))
    helper, names = onnx.helper, [f"answer{'' if number == 0 else number}" for number in range(graph.get("outputs", 1))]
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Flatten", ["image"], ["flat"]),
                helper.make_node("MatMul", ["flat", "weights"], ["product"]),
                # the answer's shape, by way of the pixels, so that nobody can infer it
                helper.make_node("ReduceMin", ["product"], ["lowest"], keepdims=0),
                helper.make_node("Sub", ["lowest", "lowest"], ["nothing"]),
                helper.make_node("Cast", ["nothing"], ["added"], to=onnx.TensorProto.INT64),
                helper.make_node("Add", ["added", "constant"], ["shape"]),
                *(helper.make_node("Reshape", ["product", "shape"], [name]) for name in names),
            ],
            "tiny",
            [helper.make_tensor_value_info("image", kind, [batch, *given])],
            [helper.make_tensor_value_info(name, kind, graph.get("declared", [batch, *answer])) for name in names],
            [
                onnx.numpy_helper.from_array(weights, "weights"),
                onnx.numpy_helper.from_array(np.array([-1, *answer]), "constant"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    helper.set_model_props(model, said.to_metadata())
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("task", sorted(SHAPES))
def test_a_file_that_says_what_its_graph_does_is_asked(task: str, tmp_path: Path) -> None:
    network = OnnxNetwork(write(tmp_path / "file.onnx", facts(task)))
    given, answer = SHAPES[task]
    assert network(np.ones((5, *given), np.float32)).shape == (5, *answer)
    assert KINDS[task](network).input_size == given[-1]


@pytest.mark.parametrize(
    ("change", "graph", "message"),
    [
        ({"input": Tensor("picture", (3, 8, 8), "")}, {}, r"its input is picture \(batch, 3, 8, 8\) float32, but its"),
        (
            {"input": Tensor("image", (3, 8, 9), "")},
            {},
            r"its input is image \(batch, 3, 8, 9\) float32, .* has image \(batch, 3, 8, 8\) tensor\(float\)",
        ),
        ({"input": Tensor("image", (8, 8), "")}, {}, r"its input is image \(batch, 8, 8\) float32, but"),
        (
            {"output": Tensor("poses", (3,), "")},
            {},
            r"its output is poses \(batch, 3\) float32, but its graph has answer",
        ),
        ({"output": Tensor("answer", (4,), "")}, {}, r"its output is answer \(batch, 4\) float32, but its"),
        ({}, {"batch": 1}, r"its input is image \(batch, 3, 8, 8\) float32, but its graph has image \(1, 3, 8, 8\)"),
        ({}, {"kind": 11}, r"its input is .* its graph has image \(batch, 3, 8, 8\) tensor\(double\)"),
        ({}, {"outputs": 2}, r"its output is .* its graph has answer \(batch, 3\) .*; answer1 \(batch, 3\) tensor"),
    ],
    ids=["name", "side", "axes", "output", "classes", "batch", "double", "two"],
)
def test_facts_that_its_graph_does_not_bear_out_are_refused(
    change: dict[str, Any], graph: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "file.onnx", replace(facts("activity"), **change), **graph)
    with pytest.raises(UserError, match=rf"file\.onnx says that {message}.*changed since the export; write it with"):
        OnnxNetwork(path)


def test_an_answer_of_another_shape_than_it_says_is_refused(tmp_path: Path) -> None:
    said = replace(facts("activity"), output=Tensor("answer", (4,), ""))
    network = OnnxNetwork(write(tmp_path / "file.onnx", said, declared=["batch", "open"]))
    with pytest.raises(UserError, match=r"file\.onnx answers \(2, 3\) and not \(2, 4\), as it says"):
        network(np.ones((2, 3, 8, 8), np.float32))


def test_a_graph_that_fails_is_an_error_of_its_file(tmp_path: Path) -> None:
    network = OnnxNetwork(write(tmp_path / "file.onnx", facts("activity")))
    with pytest.raises(UserError, match=r"file\.onnx cannot be run"):
        network(np.ones((2, 3, 8, 9), np.float32))


def test_a_detail_that_is_missing_is_named(tmp_path: Path) -> None:
    said = facts("heatmap")
    short = replace(said, details={key: said.details[key] for key in said.details if key not in ("grid", "crop")})
    with pytest.raises(UserError, match=r"file\.onnx: what it says of itself lacks grid, crop; write it"):
        OnnxJoints(OnnxNetwork(write(tmp_path / "file.onnx", short)))


@pytest.mark.parametrize(
    ("task", "key", "value", "wanted"),
    [
        ("heatmap", "decoding", "magic", "one of argmax, quarter, dark, soft_argmax"),
        ("heatmap", "decoding", ["dark"], "one of argmax"),
        ("heatmap", "sigma", 0, "a number above 0 and up to 4"),
        ("heatmap", "sigma", True, "a number above 0"),
        ("heatmap", "sigma", 1e9, "a number above 0"),
        ("heatmap", "grid", "hexagons", "one of cells, udp"),
        ("heatmap", "stride", 8, "4"),
        ("heatmap", "joints_never_taught", ["tail"], "a list of some of right ankle"),
        ("heatmap", "crop", 10**9, "a whole number from 1 to 4096"),
        ("heatmap", "crop", "112", "a whole number from 1 to 4096"),
        ("heatmap", "box_in_crop", 113, "a whole number from 1 to 112"),
        ("activity", "classes", ["run", "sit"], "a list of 3 names, each once"),
        ("activity", "classes", ["run", "sit", "run"], "a list of 3 names, each once"),
        ("activity", "classes", ["run", "sit", 3], "a list of 3 names"),
        ("activity", "target", "weather", "one of category, activity, tags"),
        ("activity", "fit", "stretch", "one of crop, squash, pad"),
        ("activity", "crop_share", 1.5, "a number above 0 and up to 1"),
        ("activity", "shorter_side", 0, "a whole number from 1 to .*, or null"),
        ("regression", "unit", "m", "'mm'"),
        ("regression", "frames", 8, "2"),
        ("regression", "frame_rate", 1e-300, "a number above 0.001 .*, or null"),
        ("regression", "margin", -0.5, "a number from 0 to 2, or null"),
        ("regression", "side", -1, "a whole number from 1"),
        ("regression", "joint_set", None, r"\{'name': 'h36m'"),
    ],
)
def test_a_detail_that_cannot_be_is_refused(task: str, key: str, value: Any, wanted: str, tmp_path: Path) -> None:
    network = OnnxNetwork(write(tmp_path / "file.onnx", facts(task, **{key: value})))
    with pytest.raises(UserError, match=rf"file\.onnx says that its {key} is .+; wanted {wanted}.*; write it with"):
        KINDS[task](network)


@pytest.mark.parametrize("value", [None, {"name": "mpii"}, {**MPII.plain(), "bones": [[0, 99]]}])
def test_a_joint_set_that_is_none_is_refused(value: Any, tmp_path: Path) -> None:
    network = OnnxNetwork(write(tmp_path / "file.onnx", facts("heatmap", joint_set=value)))
    with pytest.raises(UserError, match=r"file\.onnx: of its joint set, "):
        OnnxJoints(network)


def test_a_network_of_another_number_of_maps_than_joints_is_refused(tmp_path: Path) -> None:
    network = OnnxNetwork(write(tmp_path / "file.onnx", facts("heatmap", joint_set=COCO.plain())))
    with pytest.raises(UserError, match=r"output shape is .+; wanted \(17, 4, 4\)"):
        OnnxJoints(network)


def test_a_number_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "file.onnx", facts("heatmap"))
    model = onnx.load(str(path))
    for each in model.metadata_props:
        each.value = each.value.replace('"sigma": 1.0', '"sigma": NaN')
    onnx.save(model, str(path))
    with pytest.raises(UserError, match=r"file\.onnx says that its sigma is nan; wanted a number"):
        OnnxJoints(OnnxNetwork(path))


@pytest.mark.parametrize(
    ("task", "shape"), [("heatmap", (3, 8, 8)), ("activity", (1, 8, 8)), ("regression", (2, 3, 8, 6))]
)
def test_a_network_of_other_inputs_than_its_task_has_is_refused(
    task: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SHAPES, task, (shape, SHAPES[task][1]))  # type: ignore[arg-type]
    network = OnnxNetwork(write(tmp_path / "file.onnx", facts(task)))
    with pytest.raises(UserError, match=r"file\.onnx says that its (in|out)put shape is .*; wanted \("):
        KINDS[task](network)
