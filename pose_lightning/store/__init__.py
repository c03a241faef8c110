"""The store: samples of one split in one immutable HDF5 file, each with its checksum.

A file holds `labels`, a table with one row per sample, and, unless it is labels only, `pixels`: either uint8 arrays of
one shape (codec `raw`, one sample per chunk) or JPEG files laid end to end (codec `jpeg`, where `offsets` says where
each begins). Nothing is filtered, so a sample is a range of bytes of the file: the reader asks HDF5 once where the
chunks lie, closes it, and reads with `preadv`, which is safe in threads and after a fork and costs what the disk costs.

Every sample carries two xxh3-64 checksums: of its pixels, and of its row in the tables (labels, place, and the first
checksum). Both are seeded with the sample's index, so that a sample at the wrong place is as wrong as a flipped bit; a
third one covers the header. Rows and header are verified at opening, pixels on every read. They find accidents, not
attackers.

    python -m pose_lightning.store verify FILE    names every damaged sample
    python -m pose_lightning.store info FILE      says what a store holds
"""

from pose_lightning.store.layout import ANY_SIZE, LAYOUT, Codec, StoreError
from pose_lightning.store.reader import Store, damaged_samples
from pose_lightning.store.selection import Selection
from pose_lightning.store.writer import StoreWriter

__all__ = ["ANY_SIZE", "LAYOUT", "Codec", "Selection", "Store", "StoreError", "StoreWriter", "damaged_samples"]
