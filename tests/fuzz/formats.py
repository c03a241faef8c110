"""The table of formats: a small file of each, and the door that reads it."""

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch

from pose_lightning import trained
from pose_lightning.convert import clips, coco, demo
from pose_lightning.convert.crops import Pixels
from pose_lightning.export.door import write as write_export
from pose_lightning.export.networks import exportable
from pose_lightning.store import Store
from tests import toy_skeleton
from tests.activity.conftest import _write as write_activity_store
from tests.export.conftest import TASKS, write_run
from tests.fuzz import mutations
from tests.fuzz.mutations import Mutation
from tests.heatmap.test_published import checkpoint
from tests.report.conftest import Maker


@dataclass(frozen=True)
class Format:
    """A format and its door.

    Attributes:
        file: The file that is mutated, below the sources.
        door: Key of `warm.DOORS`.
        args: Its arguments; the files of `inputs` lie in the working directory.
        inputs: Files and folders below the sources that the door needs, beside `file`.
        answers: Files that the door writes; without, its output is the answer.
        inner: A mutation that keeps the file's outer form whole.
        header: Bytes of the header.
    """

    file: str
    door: str
    args: str
    inputs: Sequence[str] = ()
    answers: Sequence[str] = ()
    inner: Mutation | None = None
    header: int = 128


_PREDICT: Final = "run photograph.png --out out"
FORMATS: Final = {
    "mat": Format(
        "people.mat", "convert", "mpii --annotations people.mat --labels-only --validation 0.3 --target out",
        answers=["out/pose/train.h5"],
    ),
    "npy_frames": Format(
        "frames.npy", "convert", "clips --frames frames.npy --joints joints.npy --split val --target out",
        inputs=["joints.npy"], answers=["out/val.h5"],
    ),
    "npy_joints": Format(
        "joints.npy", "convert", "clips --frames frames.npy --joints joints.npy --split val --target out",
        inputs=["frames.npy"], answers=["out/val.h5"],
    ),
    "npy_predictions": Format(
        "preds.npy", "evaluate", "--predictions preds.npy --store pose.h5 --origin 0 --json out.json",
        inputs=["pose.h5"], answers=["out.json"],
    ),
    "pose_store": Format("pose.h5", "store", "verify pose.h5", header=2048),
    "pose_store_read": Format(
        "pose.h5", "browse", "pose.h5 --out out.html --limit 3", answers=["out.html"], header=2048
    ),
    "clip_store": Format("clips.h5", "store", "verify clips.h5", header=2048),
    "clip_store_read": Format(
        "clips.h5", "browse", "clips.h5 --out out.html --limit 2", answers=["out.html"], header=2048
    ),
    "activity_store": Format("activity.h5", "store", "verify activity.h5", header=2048),
    "activity_store_read": Format(
        "activity.h5", "browse", "activity.h5 --out out.html --limit 3", answers=["out.html"], header=2048
    ),
    "metrics_json": Format(
        "scored/metrics.json", "report", "scored --without-network --out out.html", inputs=["scored"],
        answers=["out.html"], inner=mutations.json_text,
    ),
    "config_yaml": Format(
        "run/config.yaml", "predict", _PREDICT, inputs=["run", "photograph.png"],
        answers=["out/joints.json"], inner=mutations.yaml_text,
    ),
    "annotation_json": Format(
        "people.json", "convert",
        "mpii --annotations people.json --labels-only --adjusted no --split train --target out",
        answers=["out/pose/train.h5"], inner=mutations.json_text, header=16,
    ),
    "annotation_json_gz": Format(
        "people.json.gz", "convert",
        "mpii --annotations people.json.gz --labels-only --adjusted no --split train --target out",
        answers=["out/pose/train.h5"], inner=mutations.packed_json, header=16,
    ),
    "checkpoint": Format(
        "run/checkpoints/best.ckpt", "predict", _PREDICT, inputs=["run", "photograph.png"],
        answers=["out/joints.json"], inner=mutations.zipped,
    ),
    "weights_pth": Format(
        "hg.pth.tar", "published", "hg.pth.tar --format psh --target out.safetensors",
        answers=["out.safetensors"], inner=mutations.zipped,
    ),
    "safetensors": Format(
        "tiny.safetensors", "predict", "--weights tiny.safetensors --input-size 64 photograph.png --out out",
        inputs=["photograph.png"], answers=["out/joints.json"], header=2048,
    ),
    "onnx": Format(
        "tiny.onnx", "predict", "--onnx tiny.onnx photograph.png --out out",
        inputs=["photograph.png"], answers=["out/joints.json"],
    ),
    "coco_annotations": Format(
        "birds.json", "convert", "coco --annotations birds.json --split val --target out",
        answers=["out/val.h5"], inner=mutations.json_text, header=16,
    ),
    "coco_detections": Format(
        "found.json", "convert", "coco --annotations birds.json --detections found.json --split val --target out",
        inputs=["birds.json"], answers=["out/val.h5"], inner=mutations.json_text, header=16,
    ),
    "coco_results": Format(
        "results.json", "evaluate", "--predictions results.json --store birds.h5 --json out.json",
        inputs=["birds.h5"], answers=["out.json"], inner=mutations.json_text, header=16,
    ),
}  # fmt: skip


def people_json(count: int = 6) -> list[dict[str, Any]]:
    """Persons in HRNet's form."""
    draw = np.random.default_rng(4)
    return [
        {
            "joints_vis": [int(flag) for flag in draw.random(16) < 0.9],
            "joints": (draw.uniform(20, 300, (16, 2)).round(1)).tolist(),
            "image": f"{index:09d}.jpg",
            "scale": round(float(draw.uniform(0.8, 3)), 6),
            "center": draw.uniform(100, 200, 2).round(1).tolist(),
        }
        for index in range(count)
    ]


def make_birds(folder: Path) -> None:
    """Annotations in COCO's form, detections and results beside them."""
    toy_skeleton.write(folder / "birds", pictures=4)
    shutil.copy(folder / "birds" / "birds.json", folder / "birds.json")
    part = coco.read(folder / "birds.json", None)
    coco.convert({"val": part}, folder / "birds", Pixels(None))
    shutil.move(folder / "birds" / "val.h5", folder / "birds.h5")
    labels = part.people.numbers
    common = [{"image_id": int(image), "category_id": part.category, "score": 0.5} for image in labels["image_id"]]
    boxes, points = labels["bbox"].tolist(), np.nan_to_num(part.people.joints)
    found = [{**each, "bbox": box} for each, box in zip(common, boxes, strict=True)]
    (folder / "found.json").write_text(json.dumps(found))
    ones = np.ones((*points.shape[:2], 1))
    keypoints = np.concatenate([points, ones], axis=2).reshape(len(points), -1).tolist()
    results = [{**each, "keypoints": row} for each, row in zip(common, keypoints, strict=True)]
    (folder / "results.json").write_text(json.dumps(results))


def make(folder: Path, pose_stores: Path) -> None:
    """Write the small files."""
    make_birds(folder)
    drawn = demo.planned(6, seed=1)
    annotations = [demo.scenes.drawn(frame.video, frame.index)[1] for frame in drawn]
    demo.write_annotations(folder / "people.mat", drawn, annotations)
    text = json.dumps(people_json())
    (folder / "people.json").write_text(text)
    (folder / "people.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    shutil.copy(pose_stores / "val.h5", folder / "pose.h5")
    write_activity_store(folder / "activity.h5", ["dancing", "bicycling", "dancing", "sitting, at rest"])
    draw = np.random.default_rng(5)
    np.save(folder / "frames.npy", draw.integers(0, 255, (3, 2, 16, 16, 3), dtype=np.uint8))
    joints = draw.uniform(-0.85, 0.85, (3, 2, 17, 3))
    joints[:, :, 1, 1], joints[:, :, 2, 1] = -0.85, 0.85
    np.save(folder / "joints.npy", (joints - joints[:, :, :1]).astype(np.float32))
    clips.write(folder / "frames.npy", folder / "joints.npy", folder, "val").rename(folder / "clips.h5")
    with Store(folder / "pose.h5") as store:
        truth = np.array(store.labels["joints"])
    np.save(folder / "preds.npy", np.nan_to_num(truth) + draw.normal(0, 3, truth.shape))
    cv2.imwrite(str(folder / "photograph.png"), draw.integers(0, 255, (60, 50, 3), dtype=np.uint8))
    maker = Maker({"hourglass_mpii": pose_stores})
    maker.make(folder / "scored", "hourglass_mpii")
    _, *arguments = TASKS["heatmap"]
    run = write_run(folder / "run", pose_stores, (*arguments, "--model.network.stacks=1"))
    network = exportable(*trained.load(run))
    write_export(network, "onnx", folder / "tiny.onnx")
    write_export(network, "safetensors", folder / "tiny.safetensors")
    torch.save({"state_dict": checkpoint("psh", stacks=1)[0]}, folder / "hg.pth.tar")
