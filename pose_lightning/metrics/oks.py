"""Object keypoint similarity (OKS): average precision and recall of persons found in whole images, as COCO measures it.

The numbers are those of `faster-coco-eval`; their intervals come from resampling images and accumulating again here.

Shapes: n persons, m detections, j joints, i images, t thresholds, r resamples.
Source: cocodataset.org, Keypoint Evaluation; pycocotools/cocoeval.py.
"""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float64, Int64

from pose_lightning import statistics
from pose_lightning.errors import UserError

EXTRA: Final = "pip install 'pose_lightning[coco]'"
THRESHOLDS: Final = np.linspace(0.5, 0.95, 10)
RECALLS: Final = np.linspace(0.0, 1.0, 101)
AREAS: Final[Mapping[str, tuple[float, float]]] = {"all": (0, 1e10), "medium": (32**2, 96**2), "large": (96**2, 1e10)}
"""Square px of a person's segment; persons and detections of other sizes are ignored."""

MOST_DETECTIONS: Final = 20
"""Of an image, the surest."""

USUAL_SIGMA: Final = 0.08
"""Spread of a joint's labels where it was never measured: about the mean of COCO's twelve joints of the body, 0.083."""

MEASURES: Final = ("ap", "ap_50", "ap_75", "ap_medium", "ap_large", "ar", "ar_50", "ar_75", "ar_medium", "ar_large")
"""In the order of cocoeval's `stats`."""

CHUNK: Final = 1 << 22
"""Numbers of resampled detections in memory at once."""


@dataclass(frozen=True)
class Persons:
    """The labelled persons of a split, crowds and persons without labelled joints among them.

    Attributes:
        images: Numbers of all images, those without a person too.
        image: Number of every person's image.
        joints: Image px; of any value where the visibility is 0.
        visibility: 0 unlabelled, 1 occluded, 2 visible.
        box: Left, top, width, height, px.
        area: Square px of the person's segment.
        crowd: Whether it is a group of people, which may be found several times.
    """

    images: Int64[np.ndarray, " i"]
    image: Int64[np.ndarray, " n"]
    joints: Float64[np.ndarray, "n j 2"]
    visibility: Int64[np.ndarray, "n j"]
    box: Float64[np.ndarray, "n 4"]
    area: Float64[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]

    @property
    def ignored(self) -> Bool[np.ndarray, " n"]:
        """Crowds, and persons without a labelled joint: finding one, or not, changes nothing."""
        return self.crowd | ~(self.visibility > 0).any(axis=1)


@dataclass(frozen=True)
class Detections:
    """Persons as somebody has found them.

    Attributes:
        image: Number of every person's image.
        joints: Image px.
        score: How sure it is.
    """

    image: Int64[np.ndarray, " m"]
    joints: Float64[np.ndarray, "m j 2"]
    score: Float64[np.ndarray, " m"]


def evaluate(
    persons: Persons,
    detections: Detections,
    sigmas: Float64[np.ndarray, " j"],
    *,
    resamples: int = statistics.RESAMPLES,
    seed: int = 0,
) -> dict[str, tuple[float, float, float]]:
    """AP and AR by their names in `MEASURES`, in per cent, and the ends of their 95 % intervals from resampled images.

    Args:
        persons: The labels.
        detections: What was found, of the same images.
        sigmas: Spread of every joint's labels.
        resamples: How many.
        seed: Of the resamples.

    Raises:
        UserError: If `faster-coco-eval` is not installed.
    """
    values, similarities = _by_library(persons, detections, sigmas)
    images = np.unique(persons.images)
    matches = _match(persons, detections, similarities, images)
    again = accumulate(matches, np.ones((1, len(images))))[0]
    if not np.allclose(again, values, rtol=0, atol=1e-9, equal_nan=True):
        raise AssertionError(f"accumulated {again}, and faster-coco-eval {values}")
    weights = statistics.draws(len(images), resamples, seed)
    low, high = statistics.ends(accumulate(matches, weights), clusters=len(images))
    rows = zip(MEASURES, 100 * values, 100 * low, 100 * high, strict=True)
    return {name: (float(value), float(start), float(end)) for name, value, start, end in rows}


def _by_library(
    persons: Persons, detections: Detections, sigmas: Float64[np.ndarray, " j"]
) -> tuple[Float64[np.ndarray, " 10"], Mapping[int, Any]]:
    """The measures, NaN where nobody is of a size; and by image the OKS of detections, surest first, and persons."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(f"OKS needs faster-coco-eval: {EXTRA}") from error
    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(_truth_json(persons))
        found = truth.loadRes(_results_json(detections)) if len(detections.image) else COCO(_empty_json(persons))
        run = COCOeval_faster(truth, found, "keypoints", kpt_oks_sigmas=np.asarray(sigmas, dtype=np.float64))
        run.params.imgIds = np.unique(persons.images).tolist()
        run.evaluate()
        run.accumulate()
        run.summarize()
    stats = np.asarray(run.stats, dtype=np.float64)[: len(MEASURES)]
    return np.where(stats < 0, np.nan, stats), {int(image): values for (image, _), values in run.ious.items()}


def _truth_json(persons: Persons) -> dict[str, Any]:
    """The labels as an annotation file has them."""
    points = np.concatenate([np.nan_to_num(persons.joints), persons.visibility[..., None]], axis=2)
    columns = zip(
        persons.image.tolist(),
        points.reshape(len(points), points.shape[1] * 3).tolist(),
        (persons.visibility > 0).sum(axis=1).tolist(),
        persons.box.tolist(),
        persons.area.tolist(),
        persons.crowd.astype(int).tolist(),
        strict=True,
    )
    names = ("image_id", "keypoints", "num_keypoints", "bbox", "area", "iscrowd")
    annotations = [
        {"id": number, "category_id": 1, **dict(zip(names, values, strict=True))}
        for number, values in enumerate(columns, start=1)
    ]
    return {**_empty_json(persons), "annotations": annotations}


def _empty_json(persons: Persons) -> dict[str, Any]:
    images = [{"id": number} for number in np.unique(persons.images).tolist()]
    return {"images": images, "categories": [{"id": 1, "name": "person"}], "annotations": []}


def _results_json(detections: Detections) -> list[dict[str, Any]]:
    ones = np.ones((*detections.joints.shape[:2], 1))
    points = np.concatenate([detections.joints, ones], axis=2).reshape(len(detections.joints), 3 * ones.shape[1])
    columns = zip(detections.image.tolist(), points.tolist(), detections.score.tolist(), strict=True)
    return [
        {"image_id": image, "category_id": 1, "keypoints": keypoints, "score": score}
        for image, keypoints, score in columns
    ]


@dataclass(frozen=True)
class Matches:
    """What became of every detection and person of one size, image by image.

    Attributes:
        score: Of the detections, of all images in their order, each image's surest first.
        image: Place of a detection's image among all.
        hit: By threshold, whether a detection is of a person that no surer one has taken.
        counted: By threshold, whether it counts at all.
        persons: By image, how many persons there are to find.
    """

    score: Float64[np.ndarray, " m"]
    image: Int64[np.ndarray, " m"]
    hit: Bool[np.ndarray, "t m"]
    counted: Bool[np.ndarray, "t m"]
    persons: Float64[np.ndarray, " i"]


def _match(
    persons: Persons,
    detections: Detections,
    similarities: Mapping[int, Any],
    images: Int64[np.ndarray, " i"],
) -> dict[str, Matches]:
    """Of every size of `AREAS`."""
    low, high = detections.joints.min(axis=1, initial=np.inf), detections.joints.max(axis=1, initial=-np.inf)
    sizes = np.prod(high - low, axis=1)  # a detection's area is that of its joints' tight box
    parts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in AREAS}
    of_persons, of_detections = (_rows_by_image(owner.image) for owner in (persons, detections))
    nothing = np.empty(0, dtype=np.int64)
    for place, number in enumerate(images.tolist()):
        mine, found = of_persons.get(number, nothing), of_detections.get(number, nothing)
        found = found[np.argsort(-detections.score[found], kind="stable")][:MOST_DETECTIONS]
        oks = np.asarray(similarities.get(number, [])).reshape(len(found), len(mine))
        for name, (least, most) in AREAS.items():
            outside = (persons.area[mine] < least) | (persons.area[mine] > most)
            ignored = persons.ignored[mine] | outside
            taken_by, is_ignored = _greedy(oks, ignored, persons.crowd[mine])
            other_size = (sizes[found] < least) | (sizes[found] > most)
            parts[name].append(
                {
                    "score": detections.score[found],
                    "image": np.full(len(found), place),
                    "hit": taken_by >= 0,
                    "counted": ~np.where(taken_by >= 0, is_ignored, other_size),
                    "persons": np.array([(~ignored).sum()], dtype=np.float64),
                }
            )
    return {
        name: Matches(**{key: np.concatenate([row[key] for row in rows], axis=-1) for key in rows[0]})
        for name, rows in parts.items()
    }


def _rows_by_image(image: Int64[np.ndarray, " n"]) -> dict[int, Int64[np.ndarray, " k"]]:
    order = np.argsort(image, kind="stable")
    numbers, starts = np.unique(image[order], return_index=True)
    return dict(zip(numbers.tolist(), np.split(order, starts[1:])[: len(numbers)], strict=True))


def _greedy(
    oks: Float64[np.ndarray, "m n"], ignored: Bool[np.ndarray, " n"], crowd: Bool[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, "t m"], Bool[np.ndarray, "t m"]]:
    """Which person every detection takes at every threshold, -1 for none, and whether that person is ignored.

    Detections choose in their order: the most similar person that is free and counts; one that is ignored, only where
    there is no such person. A crowd may be taken again. Of equally similar persons the last is taken.
    """
    count, people = oks.shape
    taken_by = np.full((len(THRESHOLDS), count), -1)
    is_ignored = np.zeros((len(THRESHOLDS), count), dtype=bool)
    if not people:
        return taken_by, is_ignored
    least = np.minimum(THRESHOLDS, 1 - 1e-10)
    for level in range(len(THRESHOLDS)):
        free = np.ones(people, dtype=bool)
        for row in range(count):
            for group in (~ignored, ignored):
                able = np.flatnonzero(group & (free | crowd) & (oks[row] >= least[level]))
                if len(able):
                    best = int(able[len(able) - 1 - np.argmax(oks[row, able][::-1])])
                    taken_by[level, row], is_ignored[level, row], free[best] = best, ignored[best], False
                    break
    return taken_by, is_ignored


def accumulate(matches: Mapping[str, Matches], weights: Float64[np.ndarray, "r i"]) -> Float64[np.ndarray, "r 10"]:
    """The measures as shares, with every image as often as its weight says; NaN where there is nobody of a size."""
    precision, recall = {}, {}
    for name, part in matches.items():
        precision[name], recall[name] = _curves(part, weights)
    columns = []
    for kind in (precision, recall):
        everyone = kind["all"]
        columns += [everyone.mean(axis=0), everyone[0], everyone[5]]
        columns += [kind[name].mean(axis=0) for name in ("medium", "large")]
    return np.stack(columns, axis=1)


def _curves(
    part: Matches, weights: Float64[np.ndarray, "r i"]
) -> tuple[Float64[np.ndarray, "t r"], Float64[np.ndarray, "t r"]]:
    """Average precision and largest recall, by threshold and resample."""
    order = np.argsort(-part.score, kind="stable")
    persons = weights @ part.persons
    shape = (len(THRESHOLDS), len(weights))
    precision, recall = np.zeros(shape), np.zeros(shape)
    for level, rows in product(range(len(THRESHOLDS)), _chunks(len(weights), len(order))):
        chosen = order[part.counted[level, order]]
        hit = part.hit[level, chosen]
        times = weights[rows][:, part.image[chosen]]
        true, false = np.cumsum(times * hit, axis=1), np.cumsum(times * ~hit, axis=1)
        for row, right, wrong in zip(range(rows.start, rows.stop), true, false, strict=True):
            precision[level, row], recall[level, row] = _average(right, wrong, persons[row])
    return precision, recall


def _chunks(count: int, width: int) -> Iterator[slice]:
    size = max(1, CHUNK // max(width, 1))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _average(right: Float64[np.ndarray, " m"], wrong: Float64[np.ndarray, " m"], persons: float) -> tuple[float, float]:
    """Precision averaged over `RECALLS`, and the largest recall, of running sums of hits and misses."""
    if persons == 0:
        return np.nan, np.nan
    if not len(right):
        return 0.0, 0.0
    recall = right / persons
    precision = right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    return float(precision[places[places < len(recall)]].sum() / len(RECALLS)), float(recall[-1])
