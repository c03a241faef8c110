"""Losses in MPEG transport streams: their packets are counted, and decoders conceal most of what is missing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

PACKET: Final = 188
STRIDES: Final = (188, 192, 204)
"""Bytes from packet to packet: plain, of cameras (a time before each), of receivers (a checksum behind each)."""

SYNC: Final = 0x47
IN_A_ROW: Final = 5
"""Packets that must follow each other where reading begins."""

CHUNK: Final = 1 << 16
"""Packets read at once."""


class Losses(NamedTuple):
    """Positions of a stream's units, of a frame each, in the file.

    Attributes:
        damaged: Units of which a part is missing.
        resumed: Units before which others may be missing, as where two recordings were joined.
    """

    damaged: frozenset[int]
    resumed: frozenset[int]


NONE: Final = Losses(frozenset(), frozenset())


class _Packets(NamedTuple):
    """Packets of one stream that have a payload: a value for each."""

    position: np.ndarray
    counter: np.ndarray
    starts: np.ndarray
    """Whether a unit begins in it."""
    ends: np.ndarray
    """Whether it was stuffed, as is only the last one of a unit."""
    announced: np.ndarray
    """Whether it says that the count starts again."""
    wrong: np.ndarray
    """Whether the receiver found an error in it."""


def find_losses(path: Path, stream: int) -> Losses:
    """Find where packets of a stream are missing, by the counts that they have from 0 to 15.

    A unit that ended before the gap is whole, and so is one that begins behind it: that is how pieces are joined.
    """
    damaged: set[int] = set()
    resumed: set[int] = set()
    unit, ended, count = -1, True, -1
    for packets, torn in _read(path, stream):
        previous = np.concatenate([[count], packets.counter[:-1]])
        gap = (packets.counter != (previous + 1) % 16) & (packets.counter != previous)
        gap[0] |= torn
        gap &= previous >= 0
        before = np.concatenate([[ended], packets.ends[:-1]])
        units = np.maximum.accumulate(np.where(packets.starts, packets.position, unit))
        old = np.concatenate([[unit], units[:-1]])
        damaged |= set(old[gap & ~before & ~packets.announced].tolist()) | set(units[packets.wrong].tolist())
        damaged |= set(old[gap & ~packets.starts].tolist())
        resumed |= set(packets.position[gap & packets.starts].tolist())
        unit, ended, count = int(units[-1]), bool(packets.ends[-1]), int(packets.counter[-1])
    return Losses(frozenset(damaged), frozenset(resumed))


def _read(path: Path, stream: int) -> Iterator[tuple[_Packets, bool]]:
    """The stream's packets, many at once, and whether bytes before them were in no packet."""
    data = np.memmap(path, np.uint8, "r")
    start, torn = 0, False
    while (aligned := _aligned(data, start)) is not None:
        start, stride = aligned
        while count := min(CHUNK, (len(data) - start + stride - PACKET) // stride):
            rows = np.lib.stride_tricks.as_strided(data[start:], (count, PACKET), (stride, 1), writeable=False)
            wrong = np.flatnonzero(rows[:, 0] != SYNC)
            count = int(wrong[0]) if len(wrong) else count
            positions = start - (stride - PACKET) + stride * np.arange(count)  # as FFmpeg gives those of its packets
            packets = _of_stream(rows[:count], positions, stream)
            if len(packets.position):
                yield packets, torn
                torn = False
            start += stride * count
            if len(wrong):
                break
        else:
            return
        torn = True


def _aligned(data: np.ndarray, start: int) -> tuple[int, int] | None:
    """Where packets begin from here on, and their stride; None where none do."""
    while start + PACKET <= len(data):
        window = np.asarray(data[start : start + 64 * PACKET])
        for first in np.flatnonzero(window == SYNC).tolist():
            for stride in STRIDES:
                places = start + first + stride * np.arange(IN_A_ROW)
                places = places[places + PACKET <= len(data)]
                if len(places) and np.all(data[places] == SYNC):
                    return start + first, stride
        start += len(window)
    return None


def _of_stream(rows: np.ndarray, positions: np.ndarray, stream: int) -> _Packets:
    """By ISO 13818-1, 2.4.3.2 and 2.4.3.4."""
    chosen = ((rows[:, 1] & 0x1F).astype(int) << 8 | rows[:, 2]) == stream
    chosen &= (rows[:, 3] & 0x10) > 0  # has a payload
    rows, positions = rows[chosen], positions[chosen]
    field = (rows[:, 3] & 0x20) > 0
    length, flags = rows[:, 4].astype(int), np.where(field & (rows[:, 4] > 0), rows[:, 5], 0).astype(int)
    needed = 1 + 6 * (flags >> 4 & 1) + 6 * (flags >> 3 & 1) + (flags >> 2 & 1)
    for bit in (1, 0):  # private data and the extension, each of a length of its own
        own = rows[np.arange(len(rows)), np.minimum(5 + needed, PACKET - 1)].astype(int)
        needed += (flags >> bit & 1) * (1 + own)
    return _Packets(
        position=positions,
        counter=(rows[:, 3] & 0x0F).astype(int),
        starts=(rows[:, 1] & 0x40) > 0,
        ends=field & ((length == 0) | (length > needed)),
        announced=(flags & 0x80) > 0,
        wrong=(rows[:, 1] & 0x80) > 0,
    )
