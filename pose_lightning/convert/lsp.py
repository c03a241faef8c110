"""Leeds Sports Pose (LSP) and its extension (LSPET) -> stores `train.h5` and `val.h5`, and `test.h5` on request.

Both hold `joints.mat` and `images/`, one person in each photograph, and no official training split is used here:

- LSP (Johnson and Everingham, BMVC 2010): `joints` (3, 14, n), images im0001.jpg; every joint is labelled, and the
  third row is 1 where a joint is occluded.
- LSPET (Johnson and Everingham, CVPR 2011): `joints` (14, 3, n), images im00001.jpg; the third column is 1 where a
  joint is labelled, and the coordinates of the others mean nothing. Nothing says which joints are occluded.

Neither has a person box or a head box. The box comes from the labelled joints, which a detector would not have; the
head size is the distance from the neck to the top of the head.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import xxhash
from jaxtyping import Float64, UInt64

from pose_lightning import files
from pose_lightning.convert import ConvertError
from pose_lightning.convert.crops import (
    LISTED,
    Pixels,
    add_pixel_arguments,
    decode,
    in_threads,
    no_photograph,
    pixels_from,
    print_summary,
    report_path,
    write_split,
)
from pose_lightning.convert.people import People, check_people, empty_joints, hash_files, read_mat
from pose_lightning.convert.staging import owning, staged
from pose_lightning.joints import LSP, LSP_TO_MPII, MPII

REPORT: Final = "missing.txt"
BOX_MARGIN: Final = 1.25
SMALLEST_BOX: Final = 32.0  # px; a person all of whose labelled joints coincide still needs a window
FEWEST_JOINTS: Final = 2
NECK: Final = LSP.names.index("neck")
HEAD_TOP: Final = LSP.names.index("head top")
SMALLEST_HEAD: Final = 1.0  # px; three persons of LSPET have neck and head top at one point

ALIKE: Final = 5
"""Of the 64 bits of a dHash. In 4,000 photographs of LSPET, 6 pairs differ in no more: 4 copies, one scene shot twice,
and one pair unlike each other, which costs nothing; unlike pairs become common from 7 on."""

OPTIONS: Final = {"val": "validation", "test": "test"}
"""By split that is held out: the option that says how much of the persons it holds."""

BITS_SET: Final = np.array([number.bit_count() for number in range(1 << 16)], dtype=np.uint8)
"""How many bits of each 16-bit number are set (numpy itself counts from 2.0 on)."""

BOX_SOURCE: Final = "labelled joints (privileged)"
SCALE_CONVENTION: Final = (
    "box = 1.25 x the longer side of the labelled joints' tight box, at least 32 px, centred on it"
)


SOURCE_ORIGIN: Final = {
    "lsp": (1.0, "MATLAB's first pixel; the file does not say so"),
    "lspet": (0.5, "measured: 0 is the photograph's edge"),
}
"""Coordinates of the centre of the top-left pixel in each file.

Neither file says. LSPET's coordinates are fractional and begin at 0.0, which no 1-based file has. Mirrored samples
leave a network no way to learn an offset in x: an hourglass trained on labels less 1 read 0.46 px (95 % 0.27 to 0.64)
to the right of them, and one trained on labels less 0.5 still 0.27 px (0.12 to 0.42). So it is between 0 and 0.5.
"""


@dataclass(frozen=True)
class _Set:
    dataset: str
    digits: int
    joints: Float64[np.ndarray, "n 14 2"]
    labelled: np.ndarray
    visible: np.ndarray
    flag: str


def read_joints(path: Path) -> _Set:
    """Read `joints.mat`; the axes tell LSP from LSPET, and with it what the flag means.

    Raises:
        ConvertError: If the array is of neither form.
    """
    array = np.asarray(read_mat(path, "joints")["joints"])
    if array.ndim == 2:  # one person: the reader squeezes
        array = array[..., None]
    if array.ndim != 3 or array.shape[:2] not in ((3, 14), (14, 3)) or array.dtype.kind not in "fiu":
        raise ConvertError(
            f"{path}: joints is {array.dtype} {array.shape}; wanted LSP's (3, 14, n) or LSPET's (14, 3, n)"
        )
    extended = array.shape[0] == 14
    rows = array.transpose(2, 0, 1) if extended else array.transpose(2, 1, 0)
    coordinates, flag = rows[..., :2].astype(np.float64), rows[..., 2]
    if not np.isin(flag, (0, 1)).all():
        raise ConvertError(f"{path}: a third value of joints is {flag[~np.isin(flag, (0, 1))][0]}; wanted 0 or 1")
    finite = np.isfinite(coordinates).all(axis=2)
    if extended:
        labelled = visible = flag == 1
        text = "flag 1 = labelled; occlusion is not annotated, so every labelled joint counts as visible"
    else:
        labelled, visible = np.ones_like(finite), flag == 0
        text = "all joints labelled; flag 1 = occluded"
    if (labelled & ~finite).any():
        persons = np.flatnonzero((labelled & ~finite).any(axis=1)) + 1
        raise ConvertError(
            f"{path}: a labelled joint of person {persons[0]} is not finite ({len(persons)} persons are like that)"
        )
    dataset = "lspet" if extended else "lsp"
    return _Set(dataset, 5 if extended else 4, coordinates - SOURCE_ORIGIN[dataset][0], labelled, visible, text)


def to_people(joints: _Set) -> tuple[People, int]:
    """Persons in the MPII joint set, and how many had too few labelled joints for a box."""
    usable = np.flatnonzero(joints.labelled.sum(axis=1) >= FEWEST_JOINTS)
    points = np.where(joints.labelled[usable][..., None], joints.joints[usable], np.nan)
    order = list(LSP_TO_MPII)
    placed, labelled = empty_joints(len(usable))
    visible = labelled.copy()
    placed[:, order] = points
    labelled[:, order], visible[:, order] = joints.labelled[usable], joints.visible[usable]
    low, high = np.nanmin(points, axis=1), np.nanmax(points, axis=1)
    head_size = np.linalg.norm(points[:, NECK] - points[:, HEAD_TOP], axis=1)
    people = People(
        image=np.array([f"im{row + 1:0{joints.digits}d}.jpg" for row in usable], dtype=np.str_),
        number=np.zeros(len(usable), dtype=np.int64),
        group=usable.astype(np.int64) + 1,
        joints=placed,
        labelled=labelled,
        visible=visible,
        center=(low + high) / 2,
        box=np.maximum(BOX_MARGIN * (high - low).max(axis=1), SMALLEST_BOX),
        head_size=np.where(head_size >= SMALLEST_HEAD, head_size, np.nan),
    )
    return people, len(joints.labelled) - len(usable)


@dataclass(frozen=True)
class Photograph:
    """What a look at a photograph tells.

    Attributes:
        trouble: Why it cannot be used.
        dhash: 64 bits that similar photographs share.
        size: Width and height, px.
    """

    trouble: str | None = None
    dhash: int = 0
    size: tuple[int, int] = (0, 0)


def look_all(folder: Path, names: Sequence[str]) -> list[Photograph]:
    """Every one of these photographs, looked at."""
    return list(in_threads(lambda name: _look(folder / name), list(names), title="photographs"))


def _look(path: Path) -> Photograph:
    """Whether a photograph decodes, its size, and its dHash: the signs of 64 horizontal differences at 9 x 8 px."""
    if trouble := no_photograph(path):
        return Photograph(trouble)
    try:
        pixels = decode(path)
    except (ValueError, OSError) as error:
        return Photograph(f"undecodable: {error}")
    small = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    bits = np.packbits(small[:, 1:] > small[:, :-1])
    return Photograph(None, int.from_bytes(bits.tobytes(), "big"), (pixels.shape[1], pixels.shape[0]))


def _bits_set(words: UInt64[np.ndarray, " n"]) -> np.ndarray:
    return BITS_SET[words.view(np.uint16).reshape(-1, 4)].sum(axis=1)


def group_alike(hashes: UInt64[np.ndarray, " n"]) -> np.ndarray:
    """For every hash, the first member of its group: hashes that differ in at most `ALIKE` bits, and theirs."""
    leader = np.arange(len(hashes))

    def find(item: int) -> int:
        while leader[item] != item:
            leader[item] = leader[leader[item]]
            item = int(leader[item])
        return item

    for row in range(len(hashes)):
        others = row + 1 + np.flatnonzero(_bits_set(hashes[row + 1 :] ^ hashes[row]) <= ALIKE)
        for other in others:
            first, second = sorted((find(row), find(int(other))))
            leader[second] = first
    return np.array([find(row) for row in range(len(hashes))], dtype=np.int64)


def held_out(groups: np.ndarray, shares: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
    """By split, truth values (n,): which persons it holds; whole groups, `round(share * n)` persons in all.

    Groups are taken in the order of a hash of the seed and their number, so that a split depends on nothing else but
    those that took before it.

    Raises:
        ConvertError: If a split, or what is left to train on, would be empty.
    """
    numbers, sizes = np.unique(groups, return_counts=True)
    left = sorted(range(len(numbers)), key=lambda item: xxhash.xxh3_64_intdigest(f"{seed}:{numbers[item]}".encode()))
    splits: dict[str, np.ndarray] = {}
    for split, share in shares.items():
        wanted, chosen, taken = round(share * len(groups)), set[int](), 0
        for item in left:
            if taken + sizes[item] <= wanted:
                chosen.add(item)
                taken += int(sizes[item])
        left = [item for item in left if item not in chosen]
        if not chosen or not left:
            others = " or ".join(["train", *shares])
            given = " ".join(f"--{OPTIONS[name]} {value:g}" for name, value in shares.items())
            raise ConvertError(f"{given} of {len(groups)} persons leaves {others} empty")
        splits[split] = np.isin(groups, numbers[sorted(chosen)])
    return splits


def convert(
    source: Path, target: Path, pixels: Pixels, *, validation: float = 0.1, test: float = 0.0, seed: int = 0
) -> dict[Path, dict[str, int] | None]:
    """Write `train.h5`, `val.h5` and, where a share of the persons is to test on, `test.h5`; return their counts.

    Args:
        source: Folder with `joints.mat` and `images/`.
        target: Folder of the stores.
        pixels: How persons are cut and stored.
        validation: Share of the persons to hold out.
        test: A further share, for a score of what was chosen on the others.
        seed: Of the split.

    Raises:
        ConvertError: If a file cannot be read, photographs are missing and `pixels.skip_missing` is false, or there is
            a `test.h5` of an earlier conversion, whose persons this one would train on.
    """
    with owning(target):
        return _convert(source, target, pixels, validation=validation, test=test, seed=seed)


def _convert(
    source: Path, target: Path, pixels: Pixels, *, validation: float, test: float, seed: int
) -> dict[Path, dict[str, int] | None]:
    if not test and (target / "test.h5").exists():
        raise ConvertError(
            f"{target / 'test.h5'} is of an earlier conversion with --test, and this one would train on its persons; "
            "give --test again, or remove it"
        )
    joints = read_joints(source / "joints.mat")
    people, too_few = to_people(joints)
    check_people(people, source / "joints.mat")
    images = source / "images"
    pixels = replace(pixels, images=images)
    photographs = look_all(images, people.image.tolist())
    found = np.array([photograph.trouble is None for photograph in photographs])
    troubles = _troubles(people, photographs)
    _check(target, source, people, troubles, skip=pixels.skip_missing)
    left = people.take(found)
    readable = [photograph for photograph in photographs if photograph.trouble is None]
    leaders = group_alike(np.array([photograph.dhash for photograph in readable], dtype=np.uint64))
    left = replace(left, group=left.group[leaders])
    outside = _outside(left, np.array([photograph.size for photograph in readable]))
    shares = {"val": validation, **({"test": test} if test else {})}
    attrs = _attrs(joints, source, pixels, shares, seed)
    attrs["left_out"] = {"without_photograph": len(troubles), "too_few_joints": too_few}
    splits = held_out(left.group, shares, seed)
    splits["train"] = ~np.logical_or.reduce(list(splits.values()))
    results: dict[Path, dict[str, int] | None] = {}
    stores = {split: target / f"{split}.h5" for split in splits}
    names = [path.name for store in stores.values() for path in (store, report_path(store))]
    with staged(target, [*names, REPORT]) as unfinished:
        for split, rows in splits.items():
            part = left.take(rows)
            counts = {
                "joints_outside_image": int(outside[rows].sum()),
                "similar_photographs": int((np.bincount(left.group)[part.group] > 1).sum()),
            }
            own = attrs | {"split": split, "counts": counts}
            results[stores[split]] = write_split(stores[split], part, pixels, own, unfinished=unfinished)
        if troubles:
            _report(unfinished / REPORT, troubles)
    return results


def _troubles(people: People, photographs: list[Photograph]) -> dict[str, str]:
    """Photograph -> reason, of those that cannot be used."""
    return {str(name): photo.trouble for name, photo in zip(people.image, photographs, strict=True) if photo.trouble}


def _report(path: Path, troubles: Mapping[str, str]) -> None:
    files.write_text(path, "".join(f"{name}\t{reason}\n" for name, reason in troubles.items()))


def _check(target: Path, source: Path, people: People, troubles: Mapping[str, str], *, skip: bool) -> None:
    """List photographs that cannot be used in TARGET/missing.txt where that is an error.

    Raises:
        ConvertError: If there are any and `skip` is false, or no other is left.
    """
    if not troubles or (skip and len(troubles) < len(people)):
        return
    _report(target / REPORT, troubles)
    some = ", ".join(f"{name} ({reason})" for name, reason in list(troubles.items())[:LISTED])
    text = f"{source}: {len(troubles)} of {len(people)} photographs are missing or undecodable: {some}"
    if not skip:
        raise ConvertError(f"{text}. All are listed in {target / REPORT}; --skip-missing leaves their persons out")
    raise ConvertError(f"{text}: not one is left")


def _outside(people: People, sizes: np.ndarray) -> np.ndarray:
    """How many labelled joints of each person lie more than a pixel outside the photograph; they stay labelled."""
    with np.errstate(invalid="ignore"):
        beyond = (people.joints < -1.5) | (people.joints > sizes[:, None] + 0.5)
    return (beyond.any(axis=2) & people.labelled).sum(axis=1)


def _attrs(joints: _Set, source: Path, pixels: Pixels, shares: Mapping[str, float], seed: int) -> dict[str, Any]:
    parts = " and ".join(f"{share:g}" for share in shares.values())
    return {
        "kind": "pose",
        "dataset": joints.dataset,
        "joint_set": MPII.plain(),
        "origin": 0,
        "units": "px",
        "source_origin": "{} ({})".format(*SOURCE_ORIGIN[joints.dataset]),
        "source_axes": "(14, 3, n)" if joints.dataset == "lspet" else "(3, 14, n)",
        "visible_source": joints.flag,
        "scale_convention": SCALE_CONVENTION,
        "box_source": BOX_SOURCE,
        "head_size_source": "distance from neck to head top; unknown where either is unlabelled or they coincide",
        "synthetic": False,
        "sources": hash_files([source / "joints.mat"]),
        "crop_size": pixels.crop,
        "box_in_crop": pixels.box_in_crop,
        "split_rule": (
            f"no official split: {parts} of the persons, by xxh3-64 of (seed {seed}, image number); photographs "
            f"that differ in at most {ALIKE} of the 64 bits of a dHash are on one side"
        ),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `convert lsp`."""
    parser.add_argument("--source", type=Path, required=True, metavar="DIR", help="folder with joints.mat and images/")
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="gets the stores")
    parser.add_argument("--validation", type=float, default=0.1, metavar="SHARE", help="of the persons (0.1)")
    parser.add_argument("--test", type=float, default=0.0, metavar="SHARE", help="a further share, in test.h5 (none)")
    parser.add_argument("--seed", type=int, default=0, help="of the split (0)")
    add_pixel_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Convert LSP or LSPET and print what was written."""
    pixels = pixels_from(args, None)
    results = convert(args.source, args.target, pixels, validation=args.validation, test=args.test, seed=args.seed)
    without = sum((counts or {}).get("without_head_size", 0) for counts in results.values())
    notes = [
        "the person box comes from the labelled joints: privileged, a detector would not have it",
        f"{without} persons have no head size (neck or head top unlabelled): they train, but have no PCKh",
    ]
    if (report := args.target / REPORT).exists():
        notes.append(f"{sum(1 for _ in report.open())} photographs are missing or undecodable and left out: {report}")
    print_summary(results, notes)
