"""Which pictures are the same, or so alike that they are not independent of each other.

A picture's fingerprint is a 64-bit difference hash of its grey values (is a cell darker than its right neighbour, on a
grid of 8 rows x 9 columns; N. Krawetz, "Kind of like that", 2013) and a thumbnail of 16 x 16 colours. Two pictures are
compared by the Hamming distance of their hashes and by the mean difference of their thumbnails; both must be small,
because the hashes of plain pictures agree by chance. All pairs are compared, so nothing is missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import xxhash
from jaxtyping import Bool, Int64, UInt8
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

HASH_BITS: Final = 64
THUMBNAIL: Final = 16
BLOCK: Final = 1 << 24
"""Pairs that are compared at a time."""


@dataclass(frozen=True)
class Likeness:
    """How near two fingerprints must be.

    Attributes:
        bits: Hamming distance of the hashes, at most.
        levels: Mean absolute difference of the thumbnails, at most, of 255.
    """

    bits: int
    levels: float

    def __str__(self) -> str:
        return (
            f"at most {self.bits} of {HASH_BITS} bits of a difference hash and on average {self.levels:g} of 255 grey "
            f"levels of a {THUMBNAIL} x {THUMBNAIL} thumbnail apart"
        )


SAME: Final = Likeness(bits=4, levels=2.0)
"""One picture, saved or resized again."""
ALIKE: Final = Likeness(bits=10, levels=24.0)
"""Neighbouring frames of a film, or two crops of one photograph."""


@dataclass(frozen=True)
class Fingerprints:
    """What is kept of pictures to compare them, one row each.

    Attributes:
        pixels: Hash of the size and of all pixels: equal = the same picture, whatever the file.
        bits: The difference hash.
        thumbnail: Mean colours.
    """

    pixels: np.ndarray
    bits: Bool[np.ndarray, "n 64"]
    thumbnail: UInt8[np.ndarray, "n 16 16 3"]

    def __len__(self) -> int:
        return len(self.pixels)

    @classmethod
    def of(cls, prints: Sequence[tuple[int, np.ndarray, np.ndarray]]) -> "Fingerprints":
        """Put what `fingerprint` returned together."""
        return cls(
            np.array([pixels for pixels, _, _ in prints], dtype=np.uint64),
            np.array([bits for _, bits, _ in prints], dtype=np.bool_).reshape(-1, HASH_BITS),
            np.array([thumbnail for _, _, thumbnail in prints], dtype=np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL, 3),
        )

    def take(self, rows: np.ndarray) -> "Fingerprints":
        """The named rows."""
        return Fingerprints(self.pixels[rows], self.bits[rows], self.thumbnail[rows])


def fingerprint(picture: UInt8[np.ndarray, "h w 3"]) -> tuple[int, np.ndarray, np.ndarray]:
    """The hash of all pixels, the difference hash and the thumbnail of an RGB picture."""
    digest = xxhash.xxh3_64(str(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    thumbnail = cv2.resize(picture, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return digest.intdigest(), (grey[:, :-1] < grey[:, 1:]).ravel(), thumbnail


def near_pairs(prints: Fingerprints, likeness: Likeness) -> Int64[np.ndarray, "m 2"]:
    """All pairs of rows (first < second) that are as near as `likeness` asks."""
    # The product of two rows of -1 and 1 is 64 less twice their Hamming distance; float32 holds it exactly.
    signs = np.where(prints.bits, np.float32(1), np.float32(-1))
    thumbnails = prints.thumbnail.reshape(len(prints), -1).astype(np.int16)
    step = max(1, BLOCK // max(1, len(prints)))
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(prints), step):
        near = signs[start : start + step] @ signs[start:].T >= HASH_BITS - 2 * likeness.bits
        first, second = (np.nonzero(np.triu(near, 1))[place] + start for place in (0, 1))
        for part in range(0, len(first), step):
            i, j = first[part : part + step], second[part : part + step]
            alike = np.abs(thumbnails[i] - thumbnails[j]).mean(axis=1) <= likeness.levels
            found.append(np.stack([i[alike], j[alike]], axis=1))
    return np.concatenate(found)


def joined(count: int, pairs: Int64[np.ndarray, "m 2"]) -> Int64[np.ndarray, " n"]:
    """Group numbers of `count` rows, so that the rows of every pair share one; pairs of pairs too."""
    links = coo_matrix((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


def alike(prints: Fingerprints, likeness: Likeness = ALIKE) -> Int64[np.ndarray, " n"]:
    """Groups of pictures that are not independent of each other."""
    return joined(len(prints), near_pairs(prints, likeness))
