"""A skeleton that this package has never heard of, as annotations in COCO's form beside drawn pictures."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

NAMES = ("beak", "left_wing", "right_wing", "left_foot", "right_foot", "back", "tail")
"""Of a bird, 7 joints."""

SHAPE = np.array([[0, -44], [-30, -12], [30, -8], [-14, 40], [16, 44], [0, 0], [4, 24]], dtype=np.float64)
"""Px from the middle."""

COLOURS = ((255, 60, 60), (60, 255, 60), (60, 60, 255), (255, 255, 60), (60, 255, 255), (255, 60, 255), (255, 255, 255))
CATEGORY = {
    "id": 3,
    "name": "bird",
    "keypoints": list(NAMES),
    "skeleton": [[1, 6], [2, 6], [3, 6], [6, 7], [7, 4], [7, 5]],
}
SIZE = (200, 160)
"""Width and height of a picture, px."""


def write(folder: Path, *, pictures: int = 12, seed: int = 0, **more: Any) -> Path:
    """Draw pictures of one or two birds into FOLDER/images; returns FOLDER/birds.json, their annotations.

    Every third bird has an unlabelled tail and an occluded foot. `more` are further keys of the file.
    """
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(pictures):
        name = f"bird{number:03d}.jpg"
        picture = rng.integers(20, 90, (*SIZE[::-1], 3), dtype=np.uint8)
        cv2.rectangle(picture, (0, 0), (200, int(rng.integers(20, 120))), rng.integers(0, 120, 3).tolist(), -1)
        for middle in ([60, 80], [140, 82])[: 1 + number % 2]:
            joints = np.array(middle) + SHAPE * rng.uniform(0.7, 1.1) + rng.normal(size=SHAPE.shape) * 2
            joints = joints.clip(1, np.array(SIZE) - 2)
            for joint, colour in zip(joints, COLOURS, strict=True):
                cv2.circle(picture, joint.round().astype(int).tolist(), 5, colour, -1)
            annotations.append(annotation(len(annotations) + 100, number + 1, joints))
        cv2.imwrite(str(folder / "images" / name), picture[..., ::-1])
        images.append({"id": number + 1, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
    content = {"images": images, "categories": [CATEGORY], "annotations": annotations, **more}
    path = folder / "birds.json"
    path.write_text(json.dumps(content))
    return path


def annotation(number: int, image: int, joints: np.ndarray) -> dict[str, Any]:
    """Of one bird."""
    visibility = np.full(len(joints), 2)
    if number % 3 == 0:
        visibility[6], visibility[3] = 0, 1
    low, high = joints.min(axis=0) - 4, joints.max(axis=0) + 4
    width, height = (high - low).tolist()
    points = np.column_stack([np.where(visibility[:, None] > 0, joints, 0), visibility])
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORY["id"],
        "keypoints": points.ravel().round(2).tolist(),
        "num_keypoints": int((visibility > 0).sum()),
        "bbox": [*low.tolist(), width, height],
        "area": 0.5 * width * height,
        "iscrowd": 0,
    }
