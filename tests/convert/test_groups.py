"""Near duplicates: the hash by hand, all pairs against a loop, and what is and is not the same picture."""

import cv2
import numpy as np
import pytest
import simplejpeg
from numpy.testing import assert_array_equal

from pose_lightning.convert import groups
from pose_lightning.convert.groups import ALIKE, SAME, Fingerprints, Likeness, alike, fingerprint, joined, near_pairs


def scene(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """A picture with structure, unlike that of any other seed."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)


def prints_of(*pictures: np.ndarray) -> Fingerprints:
    return Fingerprints.of([fingerprint(picture) for picture in pictures])


def test_the_hash_says_where_it_gets_brighter_to_the_right() -> None:
    columns = np.array([0, 20, 40, 30, 30, 60, 50, 70, 90], np.uint8)  # one value for each of the hash's cells
    picture = np.repeat(np.tile(columns.repeat(10), (80, 1))[..., None], 3, axis=2)
    _, bits, thumbnail = fingerprint(picture)
    assert_array_equal(bits.reshape(8, 8), [[True, True, False, False, True, False, True, True]] * 8)
    assert thumbnail.shape == (16, 16, 3)


def test_all_pairs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bits = rng.random((60, 64)) < 0.5
    for row in range(20, 60):  # relatives of the first twenty, 0 to 12 bits away
        bits[row] = bits[row % 20]
        bits[row, rng.choice(64, rng.integers(0, 13), replace=False)] ^= True
    thumbnail = rng.integers(0, 60, (60, 16, 16, 3)).astype(np.uint8)
    prints = Fingerprints(np.arange(60, dtype=np.uint64), bits, thumbnail)
    likeness = Likeness(bits=7, levels=20.0)
    expected = [
        (i, j)
        for i in range(60)
        for j in range(i + 1, 60)
        if sum(a != b for a, b in zip(bits[i], bits[j], strict=True)) <= 7
        and np.abs(thumbnail[i].astype(float) - thumbnail[j]).mean() <= 20.0
    ]
    assert len(expected) > 10
    assert sorted(map(tuple, near_pairs(prints, likeness).tolist())) == expected
    monkeypatch.setattr(groups, "BLOCK", 200)  # three rows at a time
    assert sorted(map(tuple, near_pairs(prints, likeness).tolist())) == expected


def test_pairs_of_pairs_are_one_group() -> None:
    found = joined(6, np.array([[0, 4], [4, 2], [1, 5]]))
    assert found[0] == found[2] == found[4]
    assert found[1] == found[5]
    assert len(set(found.tolist())) == 3


def test_a_picture_saved_again_is_the_same() -> None:
    picture = scene(1)
    again = simplejpeg.decode_jpeg(simplejpeg.encode_jpeg(picture, 60, "RGB", "420"))
    half = cv2.resize(picture, (160, 120), interpolation=cv2.INTER_AREA)
    prints = prints_of(picture, again, half, scene(2))
    assert {tuple(pair) for pair in near_pairs(prints, SAME).tolist()} == {(0, 1), (0, 2), (1, 2)}
    assert len(set(prints.pixels.tolist())) == 4  # none has equal pixels


def test_neighbouring_frames_are_alike_but_not_the_same() -> None:
    film = scene(3, height=260, width=340)
    prints = prints_of(film[:240, :320], film[3:243, 4:324])
    assert not len(near_pairs(prints, SAME))
    assert_array_equal(near_pairs(prints, ALIKE), [[0, 1]])


def test_plain_pictures_of_different_colours_are_not_alike() -> None:
    plain = [np.full((64, 64, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255), (0, 0, 0))]
    assert len(set(alike(prints_of(*plain)).tolist())) == 3


def test_equal_pixels_have_equal_hashes_and_the_shape_counts() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    turned = np.zeros((30, 20, 3), np.uint8)
    prints = prints_of(picture, picture[:, ::-1], turned)
    assert prints.pixels[0] == prints.pixels[1] != prints.pixels[2]
