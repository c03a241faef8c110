"""The forms in which MPII's annotations are passed around, each read into `Source`.

All are 1-based (MATLAB's first pixel is 1) and become 0-based. They differ in what they say of a joint that was not
annotated, and in whether `center` and `scale` are still the official ones or were already moved and enlarged
(`center.y += 15 * scale`, then `scale *= 1.25`, in pose-hg-train's mpii.lua); `Source.people` always has them adjusted.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float64

from pose_lightning.convert import ConvertError
from pose_lightning.convert.matlab import items_of, number_of, scalar_of, text_of
from pose_lightning.convert.people import People, by_first_appearance, check_names, empty_joints, read_mat
from pose_lightning.joints import MPII
from pose_lightning.reading.hdf5 import open_hdf5, read_dataset
from pose_lightning.reading.raw import LARGEST_ANNOTATIONS, read_start, read_text
from pose_lightning.reading.records import read_json

Form = Literal["matlab", "bearpaw", "hrnet", "newell"]

REFERENCE_HEIGHT: Final = 200.0
"""px of the person box at scale 1 (MPII's annotation guide)."""
SHIFT: Final = 15.0
ENLARGEMENT: Final = 1.25
HEAD_FACTOR: Final = 0.6
"""SC_BIAS of the official evaluation: head size = 0.6 x the diagonal of the head box."""

START: Final = 4096  # bytes that tell what a file is
INTEGER_TOLERANCE: Final = 0.02  # px; scales are rounded to three digits at worst: 12 * 0.0005 * 1.25 = 0.0075 px
CLEARLY: Final = 0.95
CLEARLY_NOT: Final = 0.5

SPLIT_WORDS: Final[Mapping[str, str]] = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class Source:
    """One annotation file.

    Attributes:
        path: The file.
        form: Its form.
        people: Its persons, 0-based, with adjusted boxes.
        split: `train`, `val`, `test` or, where the file does not say, the empty string; one for each person.
        video: Number of the video that the photograph is a frame of; -1 where unknown.
        adjusted: Whether centre and scale were already adjusted in the file.
        occlusion: Whether the file says which joints are occluded.
        left_out: Reason -> number of persons that cannot be used.
    """

    path: Path
    form: Form
    people: People
    split: np.ndarray
    video: np.ndarray
    adjusted: bool
    occlusion: bool
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass
class _Rows:
    """Persons as a file has them, 1-based, column by column."""

    image: list[str] = field(default_factory=list)
    number: list[int] = field(default_factory=list)
    joints: list[np.ndarray] = field(default_factory=list)  # (16, 2), NaN where unlabelled (`_marked`)
    visible: list[np.ndarray] = field(default_factory=list)
    center: list[Sequence[float]] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    head_size: list[float] = field(default_factory=list)
    split: list[str] = field(default_factory=list)
    video: list[int] = field(default_factory=list)
    tags: dict[str, list[str]] = field(default_factory=dict)


def detect_form(path: Path) -> Form | Literal["list", "activities"]:
    """What an annotation file is, by its content.

    Raises:
        ConvertError: If it is none of the known forms.
    """
    head = read_start(path, START, error=ConvertError)
    if head.startswith(b"MATLAB 5.0"):
        return "matlab"
    if head.startswith(b"\x89HDF\r\n") or head.startswith(b"MATLAB 7.3"):
        return "newell"
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if text.startswith("["):
        # HRNet's has `image`, and `joints_vis` but for test persons; bearpaw's has `img_paths`: within the first ones.
        return "hrnet" if '"joints_vis"' in text or '"image"' in text else "bearpaw"
    first = text.split("\n", 1)[0].strip()
    if first.startswith("ID,NAME,") and first.endswith("Activity,Category"):
        return "activities"
    if re.fullmatch(r"[\w.-]+\.jpe?g", first, flags=re.IGNORECASE):
        return "list"
    raise ConvertError(
        f"{path}: not a MATLAB v5 file, Newell's HDF5, a JSON list (bearpaw's or HRNet's, plain or "
        "gzipped), a list of image names, or activities.csv"
    )


def read_source(
    path: Path,
    form: Form,
    *,
    split: str | None = None,
    adjusted: bool | None = None,
    limit: int = LARGEST_ANNOTATIONS,
) -> Source:
    """Read one annotation file.

    Args:
        path: The file.
        form: What `detect_form` found.
        split: Where the form itself does not say: the split of all its persons (else the file's name must tell).
        adjusted: Whether centre and scale are already adjusted, for a file that leaves it in doubt.
        limit: Bytes of JSON, unpacked.

    Raises:
        ConvertError: If it is damaged, or leaves in doubt what it means.
    """
    if form == "matlab":
        rows, left_out = _read_matlab(path)
        return _source(path, form, rows, adjusted=False, occlusion=True, left_out=left_out)
    if form == "bearpaw":
        rows = _read_bearpaw(path, limit)
    else:
        rows = _read_hrnet(path, limit) if form == "hrnet" else _read_newell(path)
        rows.split = [split or _split_of(path)] * len(rows.image)
    found = is_adjusted(np.array(rows.center, dtype=np.float64).reshape(-1, 2), np.array(rows.scale, dtype=np.float64))
    if found is None:
        found = adjusted
    if found is None:
        raise ConvertError(
            f"{path}: cannot tell whether center and scale are the official ones or already adjusted (center.y += 15 * "
            "scale, scale *= 1.25); say so with --adjusted yes or --adjusted no"
        )
    if adjusted is not None and adjusted != found:
        raise ConvertError(
            f"{path}: --adjusted {'yes' if adjusted else 'no'}, but its centers are whole pixels only "
            f"{'after taking the adjustment back' if found else 'as they are'}; leave the option out"
        )
    return _source(path, form, rows, adjusted=found, occlusion=form != "hrnet", left_out={})


def is_adjusted(center: Float64[np.ndarray, "n 2"], scale: Float64[np.ndarray, " n"]) -> bool | None:
    """Whether centres and scales are already adjusted; None where they leave it in doubt.

    The official centres are whole pixels. After the adjustment y is y + 15 s, with 1.25 s beside it, so that
    y - 12 * (1.25 s) is whole again. In Newell's validation file all 2,958 are; in the JSON all 25,204 are as they are.
    """
    known = (center[:, 0] != -1) & np.isfinite(center).all(axis=1) & np.isfinite(scale)
    if not known.any():
        return None
    y, s = center[known, 1], scale[known]
    as_is, taken_back = (_share_of_integers(values) for values in (y, y - SHIFT / ENLARGEMENT * s))
    if as_is >= CLEARLY and taken_back <= CLEARLY_NOT:
        return False
    if taken_back >= CLEARLY and as_is <= CLEARLY_NOT:
        return True
    return None


def _share_of_integers(values: np.ndarray) -> float:
    return float((np.abs(values - np.round(values)) <= INTEGER_TOLERANCE).mean())


def _split_of(path: Path) -> str:
    words = re.findall(r"[a-z]+", path.name.lower())
    found = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    if len(found) != 1:
        raise ConvertError(f"{path}: the file's name does not say which split it is; add --split train or --split val")
    return found.pop()


def _source(
    path: Path, form: Form, rows: _Rows, *, adjusted: bool, occlusion: bool, left_out: dict[str, int]
) -> Source:
    count = len(rows.image)
    if not count:
        raise ConvertError(f"{path}: not one person with joints, centre and scale")
    center, scale = np.array(rows.center, dtype=np.float64), np.array(rows.scale, dtype=np.float64)
    if not adjusted:
        center, scale = center + np.stack([np.zeros(count), SHIFT * scale], axis=1), ENLARGEMENT * scale
    joints = np.stack(rows.joints).astype(np.float64) - 1
    labelled = ~np.asarray(np.isnan(joints).any(axis=2))
    image = np.array(rows.image, dtype=np.str_)
    people = People(
        image=image,
        number=np.array(rows.number, dtype=np.int64),
        group=by_first_appearance(image),
        joints=np.where(labelled[..., None], joints, np.nan),
        labelled=labelled,
        visible=np.stack(rows.visible) & labelled,
        center=center - 1,
        box=REFERENCE_HEIGHT * scale,
        head_size=np.array(rows.head_size or [np.nan] * count, dtype=np.float64),
        tags={key: np.array(values, dtype=np.str_) for key, values in rows.tags.items()},
    )
    usable = (np.array(rows.center, dtype=np.float64)[:, 0] != -1) & labelled.any(axis=1)
    left_out = left_out | ({"without_center_or_joints": int((~usable).sum())} if not usable.all() else {})
    check_names(people.take(usable), path)
    video = np.array(rows.video or [-1] * count, dtype=np.int64)
    split = np.array(rows.split or [""] * count, dtype=np.str_)
    return Source(path, form, people.take(usable), split[usable], video[usable], adjusted, occlusion, left_out)


def _read_newell(path: Path) -> _Rows:
    """Newell's h5: missing joints are (0, 0), `normalize` is the head size, `visible` tells occluded joints."""
    with open_hdf5(path, error=ConvertError) as file:
        if missing := sorted({"imgname", "center", "scale", "part"} - set(file)):
            hint = "; a MATLAB v7.3 file must be saved again with `save -v7`" if "RELEASE" in file else ""
            raise ConvertError(f"{path} lacks {missing}; it has {sorted(file)}{hint}")
        keys = ("imgname", "center", "scale", "part", "person", "visible", "normalize")
        columns = {key: read_dataset(file, key, path, error=ConvertError) for key in keys if key in file}
    if not columns["imgname"].ndim:
        raise ConvertError(f"{path}: imgname is no list")
    count = len(columns["imgname"])
    shapes = {"center": (2,), "scale": (), "part": (16, 2), "person": (), "visible": (16,), "normalize": ()}
    for key, shape in shapes.items():
        if key in columns and (columns[key].shape != (count, *shape) or columns[key].dtype.kind not in "fiu"):
            found = f"{columns[key].dtype} {columns[key].shape}"
            raise ConvertError(f"{path}: {key} is {found}, wanted numbers of shape {(count, *shape)}")
    parts = columns["part"].astype(np.float64)
    image = _names(columns["imgname"], path)
    return _Rows(
        image=image,
        number=columns["person"].astype(np.int64).tolist() if "person" in columns else _running(image),
        joints=_marked(parts, (parts != 0).any(axis=2)),
        visible=list(columns["visible"] != 0 if "visible" in columns else np.ones(parts.shape[:2], dtype=bool)),
        center=columns["center"].tolist(),
        scale=columns["scale"].tolist(),
        head_size=columns["normalize"].tolist() if "normalize" in columns else [],
    )


def _marked(joints: np.ndarray, labelled: np.ndarray) -> list[np.ndarray]:
    """Joints (n, 16, 2) as `_Rows` has them: NaN where unlabelled, infinity where the file has no finite number."""
    return list(np.where(labelled[..., None], np.where(np.isfinite(joints), joints, np.inf), np.nan))


def _names(column: np.ndarray, path: Path) -> list[str]:
    """Image names: byte strings, or rows of character codes as the first of Newell's files have them."""
    if column.ndim == 2 and column.dtype.kind in "fiu":
        return [bytes(int(code) for code in row if 0 < code < 128).decode().strip() for row in column]
    if column.ndim == 1 and column.dtype.kind in "SO":
        try:
            return [value.decode() if isinstance(value, bytes) else str(value) for value in column]
        except UnicodeDecodeError as error:
            raise ConvertError(f"{path}: imgname holds text that is not UTF-8: {error}") from error
    raise ConvertError(f"{path}: imgname is {column.dtype} {column.shape}, wanted text")


def _running(images: list[str]) -> list[int]:
    """For every person, how many persons of the same image came before."""
    seen: dict[str, int] = {}
    numbers = []
    for image in images:
        numbers.append(seen.get(image, 0))
        seen[image] = numbers[-1] + 1
    return numbers


def _read_json(path: Path, keys: tuple[str, ...], limit: int) -> list[dict[str, Any]]:
    persons = read_json(path, limit, error=ConvertError)
    if not isinstance(persons, list):
        raise ConvertError(f"{path} holds no list of persons")
    for index, person in enumerate(persons):
        if not isinstance(person, dict) or not person.keys() >= set(keys):
            missing = sorted(set(keys) - set(person)) if isinstance(person, dict) else list(keys)
            if missing == ["joints", "joints_vis"]:
                raise ConvertError(
                    f"{path}: person {index} has no joints, as in HRNet's test.json: MPII publishes none of its test "
                    "split; give train.json and valid.json"
                )
            raise ConvertError(f"{path}: person {index} lacks {missing}")
    return persons


def _measured(persons: list[dict[str, Any]], key: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """One key of all persons as float64 (n, *shape); numbers that are not finite are left to `crops.write_split`.

    Raises:
        ConvertError: If a person's are no numbers, or of another shape.
    """
    values = [person[key] for person in persons]
    try:
        column = np.array(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        column = np.empty(0)
    if column.shape != (len(persons), *shape) or not np.isfinite(column).all():
        for index, value in enumerate(values):
            if not _is_numbers(value, shape):
                raise _not_numbers(path, index, key, value, shape)
    return column


def _column(persons: list[dict[str, Any]], key: str, path: Path) -> np.ndarray:
    """One key of all persons as float64 (n,).

    Raises:
        ConvertError: If a person's is no finite number.
    """
    column = _measured(persons, key, (), path)
    if not np.isfinite(column).all():
        index = int(np.argmin(np.isfinite(column)))
        raise _not_numbers(path, index, key, persons[index][key], ())
    return column


def _not_numbers(path: Path, index: int, key: str, value: object, shape: tuple[int, ...]) -> ConvertError:
    return ConvertError(f"{path}: person {index}: {key} is {str(value)[:80]}; wanted finite numbers of shape {shape}")


def _is_numbers(value: object, shape: tuple[int, ...]) -> bool:
    """Whether a value of JSON holds numbers of a shape; numpy takes null for NaN."""
    try:
        array = np.array(value, dtype=object)
    except ValueError:
        return False
    return array.shape == shape and all(
        isinstance(number, float) or (isinstance(number, int) and abs(number) < 1 << 63) for number in array.ravel()
    )


def _read_bearpaw(path: Path, limit: int) -> _Rows:
    """The JSON of bearpaw's and anibali's repositories: (0, 0, 0) is missing; 0 after coordinates is occluded."""
    persons = _read_json(path, ("img_paths", "objpos", "scale_provided", "joint_self", "isValidation"), limit)
    if not persons:
        return _Rows()
    joints = _measured(persons, "joint_self", (len(MPII), 3), path)
    labelled = (joints[..., :2] != 0).any(axis=2)
    image = [str(person["img_paths"]) for person in persons]
    numbered = all("people_index" in person for person in persons)
    number = (_column(persons, "people_index", path).astype(np.int64) - 1).tolist() if numbered else _running(image)
    return _Rows(
        image=image,
        number=number,
        joints=_marked(joints[..., :2], labelled),
        visible=list(joints[..., 2] > 0),
        center=_measured(persons, "objpos", (2,), path).tolist(),
        scale=_measured(persons, "scale_provided", (), path).tolist(),
        split=["val" if value else "train" for value in _column(persons, "isValidation", path)],
    )


def _read_hrnet(path: Path, limit: int) -> _Rows:
    """The JSON of HRNet and mmpose: `joints_vis` 0 is missing, with (-1, -1); it does not tell occluded joints."""
    persons = _read_json(path, ("image", "center", "scale", "joints", "joints_vis"), limit)
    if not persons:
        return _Rows()
    joints = _measured(persons, "joints", (len(MPII), 2), path)
    labelled = _measured(persons, "joints_vis", (len(MPII),), path) > 0
    image = [str(person["image"]) for person in persons]
    return _Rows(
        image=image,
        number=_running(image),
        joints=_marked(joints, labelled),
        visible=list(labelled),
        center=_measured(persons, "center", (2,), path).tolist(),
        scale=_measured(persons, "scale", (), path).tolist(),
    )


def _read_matlab(path: Path) -> tuple[_Rows, dict[str, int]]:
    """The official file: persons of training images that have joints, a centre and a scale (Newell's rule)."""
    release = read_mat(path, "RELEASE")["RELEASE"]
    images = items_of(getattr(release, "annolist", None))
    training = items_of(getattr(release, "img_train", None))
    acts = items_of(getattr(release, "act", None))
    if not images or len(training) != len(images):
        raise ConvertError(
            f"{path}: RELEASE.annolist has {len(images)} images, RELEASE.img_train {len(training)} values"
        )
    if acts and len(acts) != len(images):
        raise ConvertError(f"{path}: RELEASE.annolist has {len(images)} images, RELEASE.act {len(acts)}")
    rows = _Rows(tags={"activity": [], "category": []} if acts else {})
    left_out = {"test_images": 0, "without_joints": 0, "without_center_or_scale": 0}
    for index, (image, train) in enumerate(zip(images, training, strict=True)):
        where = f"{path}: RELEASE.annolist({index + 1})"
        name = text_of(getattr(getattr(image, "image", None), "name", None))
        if not name:
            raise ConvertError(f"{where}.image.name is empty")
        if not number_of(train):
            left_out["test_images"] += 1
            continue
        video = number_of(getattr(image, "vididx", None))
        for number, person in enumerate(items_of(getattr(image, "annorect", None))):
            reason = _add_person(rows, person, f"{where}.annorect({number + 1})")
            if reason:
                left_out[reason] += 1
                continue
            rows.image.append(name)
            rows.number.append(number)
            rows.video.append(-1 if video is None else int(video))
            if acts:
                rows.tags["activity"].append(text_of(getattr(acts[index], "act_name", None)))
                rows.tags["category"].append(text_of(getattr(acts[index], "cat_name", None)))
    return rows, {reason: count for reason, count in left_out.items() if count}


def _add_person(rows: _Rows, person: Any, where: str) -> str | None:
    """Add what one annorect says, or return why it cannot be used."""
    points = [
        point
        for annotated in items_of(getattr(person, "annopoints", None))
        for point in items_of(getattr(annotated, "point", None))
    ]
    if not points:
        return "without_joints"
    position = getattr(person, "objpos", None)
    center = [scalar_of(getattr(position, axis, None)) for axis in ("x", "y")]
    scale = scalar_of(getattr(person, "scale", None))
    if scale is None or center[0] is None or center[1] is None:
        return "without_center_or_scale"
    joints, visible = empty_joints(1)
    for index, point in enumerate(points):
        number, x, y = (scalar_of(getattr(point, key, None)) for key in ("id", "x", "y"))
        if number is None or x is None or y is None or number not in range(len(MPII)):
            raise ConvertError(f"{where}.annopoints.point({index + 1}) has id {number}, x {x}, y {y}; ids are 0 to 15")
        joints[0, int(number)] = (x, y) if np.isfinite([x, y]).all() else np.inf
        # Empty for most heads and necks, which Newell's and bearpaw's files call visible.
        visible[0, int(number)] = number_of(getattr(point, "is_visible", None)) != 0
    rows.joints.append(joints[0])
    rows.visible.append(visible[0])
    rows.center.append([center[0], center[1]])
    rows.scale.append(scale)
    rows.head_size.append(_head_size(person))
    return None


def _head_size(person: Any) -> float:
    corners = [number_of(getattr(person, key, None)) for key in ("x1", "y1", "x2", "y2")]
    if any(corner is None for corner in corners):
        return float("nan")
    x1, y1, x2, y2 = (float(corner) for corner in corners if corner is not None)
    return HEAD_FACTOR * float(np.hypot(x2 - x1, y2 - y1))


def read_head_sizes(path: Path, people: People) -> Float64[np.ndarray, " n"]:
    """Head sizes of the validation persons, in their order, from the evaluation's `gt_valid.mat`.

    Raises:
        ConvertError: If the file is of other persons.
    """
    content = read_mat(path, "headboxes_src", "pos_gt_src")
    boxes = np.asarray(content["headboxes_src"], dtype=np.float64)
    if boxes.shape == (2, 2):
        boxes = boxes[..., None]
    if boxes.shape != (2, 2, len(people)):
        raise ConvertError(
            f"{path}: headboxes_src is {boxes.shape}; wanted (2, 2, {len(people)}), the validation persons"
        )
    if "pos_gt_src" in content:
        truth = np.asarray(content["pos_gt_src"], dtype=np.float64).reshape(len(MPII), 2, -1).transpose(2, 0, 1)
        # 13 joints of the public file have a coordinate zeroed, so those with a zero cannot be compared.
        compared = people.labelled & (truth != 0).all(axis=2)
        differ = compared & (np.abs(truth - 1 - people.joints) > 1.5).any(axis=2)
        if differ.any():
            row = int(differ.any(axis=1).argmax())
            raise ConvertError(
                f"{path}: pos_gt_src({row + 1}) is not person {people.name(row)} of the validation split"
            )
    sizes = HEAD_FACTOR * np.linalg.norm(boxes[0] - boxes[1], axis=0)
    return np.where(np.isfinite(sizes) & (sizes > 0), sizes, np.nan)


def read_list(path: Path) -> list[str]:
    """Image names, one a line, as in Newell's `valid_images.txt`; repeated names count once."""
    text = read_text(path, error=ConvertError)
    return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
