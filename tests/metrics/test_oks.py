"""AP and AR of OKS against pycocotools, and against a restatement of its rules."""

import contextlib
import io
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("faster_coco_eval")

from pose_lightning.metrics import oks
from pose_lightning.metrics.oks import MEASURES, Detections, Persons, evaluate

SETS = 200


def case(seed: int) -> tuple[Persons, Detections, np.ndarray]:
    """A few images: crowds, persons without labels, images without anybody, false alarms, equal scores."""
    rng = np.random.default_rng(seed)
    joints = (17, 5)[seed % 2]
    images = rng.permutation(1000)[: rng.integers(1, 8)].astype(np.int64)
    count = int(rng.integers(0, 16))
    image = rng.choice(images, count)
    size = rng.choice([20.0, 60.0, 150.0], count) * rng.uniform(0.7, 1.4, count)
    corner = rng.uniform(0, 300, (count, 2))
    box = np.column_stack([corner, size, size * rng.uniform(0.6, 1.6, count)])
    points = corner[:, None] + rng.uniform(0, 1, (count, joints, 2)) * box[:, None, 2:]
    visibility = rng.integers(0, 3, (count, joints))
    visibility[rng.random(count) < 0.15] = 0
    persons = Persons(
        images=images,
        image=image,
        joints=np.where(visibility[..., None] > 0, points, 0.0),
        visibility=visibility,
        box=box,
        area=0.53 * box[:, 2] * box[:, 3],
        crowd=rng.random(count) < 0.15,
    )
    again = rng.integers(0, 3, count).repeat(1) if count else np.empty(0, dtype=int)
    owner = np.repeat(np.arange(count), again)
    noise = rng.normal(size=(len(owner), joints, 2)) * box[owner, 2][:, None, None] * 0.06
    alarms = int(rng.integers(0, 25))
    found = np.concatenate([points[owner] + noise, rng.uniform(0, 300, (alarms, joints, 2))])
    detections = Detections(
        image=np.concatenate([image[owner], rng.choice(images, alarms)]).astype(np.int64),
        joints=found,
        score=rng.integers(1, 12, len(found)) / 12,  # many are equal
    )
    return persons, detections, rng.uniform(0.025, 0.11, joints)


def by_pycocotools(persons: Persons, detections: Detections, sigmas: np.ndarray) -> np.ndarray:
    from pycocotools.coco import COCO  # noqa: PLC0415
    from pycocotools.cocoeval import COCOeval  # noqa: PLC0415

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = oks._truth_json(persons)
        truth.createIndex()
        results = oks._results_json(detections)
        if results:
            found = truth.loadRes(results)
        else:
            found = COCO()
            found.dataset = oks._empty_json(persons)
            found.createIndex()
        run = COCOeval(truth, found, "keypoints")
        run.params.kpt_oks_sigmas = sigmas
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.where(run.stats < 0, np.nan, run.stats)


def similarity(persons: Persons, person: int, points: np.ndarray, sigmas: np.ndarray) -> float:
    """OKS of one detection and one person."""
    known = persons.visibility[person] > 0
    if known.any():
        shift = points - persons.joints[person]
    else:  # the distance to the box, as large again on each side
        left, top, width, height = persons.box[person]
        low, high = np.array([left - width, top - height]), np.array([left + 2 * width, top + 2 * height])
        shift, known = np.maximum(low - points, 0) + np.maximum(points - high, 0), np.full(len(points), True)
    exponent = (shift**2).sum(axis=1) / (2 * (2 * sigmas) ** 2 * (persons.area[person] + np.spacing(1)))
    return float(np.exp(-exponent)[known].mean())


def restated(persons: Persons, detections: Detections, sigmas: np.ndarray) -> list[float]:
    """The rules of cocoeval.py, one detection after the other."""
    found: dict[str, list[np.ndarray]] = {}
    for name, (least, most) in {"all": (0, 1e10), "medium": (1024, 9216), "large": (9216, 1e10)}.items():
        curves = []
        for threshold in np.linspace(0.5, 0.95, 10):
            rows, total = [], 0
            for image in sorted(persons.images.tolist()):
                people = np.flatnonzero(persons.image == image).tolist()
                ignored = {
                    person
                    for person in people
                    if persons.crowd[person]
                    or not persons.visibility[person].any()
                    or not least <= persons.area[person] <= most
                }
                total += len(people) - len(ignored)
                mine = np.flatnonzero(detections.image == image)
                mine = mine[np.argsort(-detections.score[mine], kind="stable")][:20]
                taken: set[int] = set()
                for detection in mine.tolist():
                    best, height = None, min(threshold, 1 - 1e-10)
                    for person in [*(p for p in people if p not in ignored), *(p for p in people if p in ignored)]:
                        if person in taken and not persons.crowd[person]:
                            continue
                        if best is not None and best not in ignored and person in ignored:
                            break
                        value = similarity(persons, person, detections.joints[detection], sigmas)
                        if value >= height:
                            best, height = person, value
                    if best is not None:
                        taken.add(best)
                        rows.append((detections.score[detection], True, best in ignored))
                        continue
                    width, tall = np.ptp(detections.joints[detection], axis=0)
                    rows.append((detections.score[detection], False, not least <= width * tall <= most))
            curves.append(average(rows, total))
        found[name] = np.array(curves).T.tolist()
    values = []
    for kind in (0, 1):
        values += [np.mean(found["all"][kind]), found["all"][kind][0], found["all"][kind][5]]
        values += [np.mean(found["medium"][kind]), np.mean(found["large"][kind])]
    return [float(value) for value in values]


def average(rows: list[tuple[float, bool, bool]], total: int) -> tuple[float, float]:
    if not total:
        return np.nan, np.nan
    rows = sorted(rows, key=lambda row: -row[0])
    hits = misses = 0
    points = []
    for _, hit, ignored in rows:
        if not ignored:
            hits, misses = hits + hit, misses + (not hit)
            points.append((hits / total, hits / (hits + misses)))
    heights = [
        max((precision for recall, precision in points if recall >= level), default=0.0)
        for level in np.linspace(0, 1, 101)
    ]
    return float(np.mean(heights)), points[-1][0] if points else 0.0


def test_ap_and_ar_are_those_of_pycocotools_and_of_the_restated_rules() -> None:
    pytest.importorskip("pycocotools")
    defined = 0
    for seed in range(SETS):
        persons, detections, sigmas = case(seed)
        ours = [value / 100 for value, _, _ in evaluate(persons, detections, sigmas, resamples=2).values()]
        np.testing.assert_allclose(ours, by_pycocotools(persons, detections, sigmas), rtol=0, atol=1e-9)
        np.testing.assert_allclose(ours, restated(persons, detections, sigmas), rtol=0, atol=1e-9)
        defined += np.isfinite(ours).sum()
    assert defined > 5 * SETS


def test_resampling_an_image_twice_is_having_it_twice() -> None:
    for seed in range(10, 40):
        persons, detections, sigmas = case(seed)
        detections = replace(detections, score=np.random.default_rng(seed).permutation(len(detections.score)) + 1.0)
        images = np.unique(persons.images)
        if not len(persons.image):
            continue
        _, similarities = oks._by_library(persons, detections, sigmas)
        matches = oks._match(persons, detections, similarities, images)
        weights = np.ones(len(images))
        weights[0] = 2
        twice = oks.accumulate(matches, weights[None])[0]
        mine, found = persons.image == images[0], detections.image == images[0]

        def repeated(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
            return np.concatenate([values, values[chosen]])

        copied = {
            key: repeated(getattr(persons, key), mine) for key in ("joints", "visibility", "box", "area", "crowd")
        }
        new = np.full(mine.sum(), 5000)
        more = Persons(
            images=np.append(images, 5000), image=np.concatenate([persons.image, new]).astype(np.int64), **copied
        )
        other = Detections(
            image=np.concatenate([detections.image, np.full(found.sum(), 5000)]).astype(np.int64),
            joints=repeated(detections.joints, found),
            score=repeated(detections.score, found),
        )
        values = [value / 100 for value, _, _ in evaluate(more, other, sigmas, resamples=2).values()]
        np.testing.assert_allclose(twice, values, rtol=0, atol=1e-9)


def test_the_interval_holds_the_value_and_is_narrower_for_more_images() -> None:
    def interval(images: int) -> tuple[float, float, float]:
        rng = np.random.default_rng(0)
        numbers = np.arange(images)
        joints = rng.uniform(0, 100, (images, 5, 2))
        persons = Persons(
            images=numbers,
            image=numbers,
            joints=joints,
            visibility=np.full((images, 5), 2),
            box=np.tile([0.0, 0.0, 100.0, 100.0], (images, 1)),
            area=np.full(images, 5000.0),
            crowd=np.zeros(images, dtype=bool),
        )
        noise = rng.normal(size=joints.shape) * rng.uniform(1, 12, (images, 1, 1))
        found = Detections(image=numbers, joints=joints + noise, score=rng.random(images))
        return evaluate(persons, found, np.full(5, 0.08), resamples=300)["ap"]

    few, many = interval(20), interval(200)
    for value, low, high in (few, many):
        assert 0 < low < value < high < 100
    assert many[2] - many[1] < 0.6 * (few[2] - few[1])


def test_a_person_who_is_not_found_is_missed() -> None:
    persons, _, sigmas = case(3)
    nothing = Detections(np.empty(0, np.int64), np.empty((0, len(sigmas), 2)), np.empty(0))
    values = evaluate(persons, nothing, sigmas, resamples=2)
    assert values["ap"][0] == values["ar"][0] == 0.0
    assert list(values) == list(MEASURES)
