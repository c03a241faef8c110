"""Small activity stores, written without the converter."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

WriteStore = Callable[..., Path]

CATEGORIES = ("bicycling", "dancing", "sitting, at rest")


@pytest.fixture(scope="session")
def write_activity_store() -> WriteStore:
    return _write


def _write(
    path: Path,
    labels: Sequence[str],
    *,
    pictures: Sequence[np.ndarray] | None = None,
    folds: Sequence[int] | None = None,
    tags: Sequence[Sequence[bool]] | None = None,
    prefix: str = "",
    pixels: bool = True,
    **attrs: Any,
) -> Path:
    """One picture per label, its category; the activity of a picture is its category and 0 or 1, none for ''."""
    from pose_lightning.store import ANY_SIZE, StoreWriter  # noqa: PLC0415 - jaxtyping's hook must come before

    found = {
        "kind": "activity",
        "dataset": "test",
        "synthetic": True,
        "folds": 0 if folds is None else max(folds) + 1,
        "categories": list(CATEGORIES),
        "activities": [f"{name} {i}" for name in CATEGORIES for i in range(2)],
        "tags": ["fast", "slow"] if tags is not None else [],
    }
    with StoreWriter(
        path, codec="jpeg" if pixels else None, attrs=found | attrs, shape=ANY_SIZE if pixels else None
    ) as writer:
        for i, category in enumerate(labels):
            picture = pictures[i] if pictures is not None else noise(i)
            row: dict[str, Any] = {
                "name": f"{prefix}{i:05}.jpg",
                "image": f"{prefix}{i:05}.jpg",
                "category": category,
                "activity": f"{category} {i % 2}" if category else "",
                "group": np.int64(i),
                "fold": np.int32(-1 if folds is None else folds[i]),
                "height": np.int32(picture.shape[0]),
                "width": np.int32(picture.shape[1]),
            }
            if tags is not None:
                row["tags"] = np.array(tags[i], dtype=bool)
            writer.append(simplejpeg.encode_jpeg(picture, 98, "RGB", "444") if pixels else None, row)
    return path


def noise(seed: int) -> np.ndarray:
    """A coloured picture of smooth noise, each of another size."""
    import cv2  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (48 + 4 * (seed % 5), 40 + 3 * (seed % 7)), interpolation=cv2.INTER_CUBIC)
