"""`python -m pose_lightning.store verify|info FILE`: look into a store."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.table import Table
from rich.text import Text

from pose_lightning.errors import door
from pose_lightning.files import local_path
from pose_lightning.options import OptionParser
from pose_lightning.store.layout import ANY_SIZE, LAYOUT
from pose_lightning.store.reader import Store, damaged_samples
from pose_lightning.terminal import Terminal, say

LONGEST_ATTRIBUTE: Final = 300
"""Characters that `info` shows."""


def main(args: Sequence[str] | None = None) -> int:
    """Run `python -m pose_lightning.store`; returns the exit status: 1 where samples are damaged, 2 for no store."""
    parser = OptionParser(prog="python -m pose_lightning.store", description="Look into a store.")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, text in (("verify", "read everything; name every damaged sample"), ("info", "say what a store holds")):
        commands.add_parser(command, help=text, description=text).add_argument("file", type=local_path)
    chosen = parser.parse_args(args)
    damaged = False

    def run() -> None:
        nonlocal damaged
        if chosen.command == "verify":
            damaged = _verify(chosen.file)
        else:
            _info(chosen.file)

    try:
        door(run)()
    except SystemExit as end:
        return int(end.code or 0)
    return int(damaged)


def _verify(path: Path) -> bool:
    """Name the damaged samples; returns whether there are any."""
    damaged = list(damaged_samples(path, progress=True))
    for line in damaged:
        say(line)
    say(f"{path}: {f'{len(damaged)} samples are damaged' if damaged else 'every sample is as it was written'}")
    return bool(damaged)


def _info(path: Path) -> None:
    with Store(path) as store:
        pixels = "none, labels only" if store.codec is None else f"{store.codec}, uint8 {_size(store)}"
        facts = {
            "samples": f"{len(store):,}",
            "pixels": pixels,
            "on disk": f"{path.stat().st_size / 2**20:,.1f} MiB",
            "written by": f"pose_lightning {store.package_version}, layout {LAYOUT}",
        }
        fields = {field: f"{_text_or_dtype(column)} {column.shape[1:] or ''}" for field, column in store.labels.items()}
        attrs = {key: _abbreviated(json.dumps(value, ensure_ascii=False)) for key, value in store.attrs.items()}
    console = Terminal()
    for title, entries in ((str(path), facts), ("labels", fields), ("attributes", attrs)):
        console.print(Text(title, style="bold"))
        table = Table.grid(padding=(0, 1, 0, 2))
        for key, text in entries.items():
            table.add_row(Text(key), Text(text))
        console.print(table)


def _size(store: Store) -> str:
    return "of each picture's own size" if store.shape == ANY_SIZE else str(store.shape)


def _text_or_dtype(column: np.ndarray) -> str:
    return "text" if column.dtype.kind == "U" else str(column.dtype)


def _abbreviated(text: str) -> str:
    return text if len(text) <= LONGEST_ATTRIBUTE else f"{text[:LONGEST_ATTRIBUTE]}... ({len(text):,} characters)"


if __name__ == "__main__":
    sys.exit(main())
