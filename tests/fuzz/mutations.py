"""Seeded mutations of the bytes of a file."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import yaml

Draw = np.random.Generator
Mutation = Callable[[bytes, Draw], bytes]

EXTREMES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 1e308, -1e308, 1e-320, 0.5, float("nan")),
    *(float("inf"), "", " ", "nan", "x" * 5000, "../../x", "/etc/passwd", "\x1b[31m", "=1+1", "ä\u202e", "\ud800"),
    *([], {}, [[]], [None], {"": None}, [1e9] * 40),
)


def _place(data: bytes, header: int, behind: bool, draw: Draw) -> int:
    header = min(header, len(data) // 2)
    return int(draw.integers(header, len(data)) if behind else draw.integers(0, max(header, 1)))


def binary(data: bytes, header: int, behind: bool, draw: Draw) -> tuple[str, bytes]:
    """One mutation that begins in the header or behind it: its kind, and the new bytes."""
    kind = str(draw.choice(["flip", "flip", "flip", "cut", "insert", "remove", "swap", "number", "zeros"]))
    at, mutated = _place(data, header, behind, draw), bytearray(data)
    length = int(draw.choice([1, 2, 4, 8, 16, 64, 500]))
    if kind == "flip":
        for _ in range(int(draw.integers(1, 6))):
            mutated[at] ^= 1 << int(draw.integers(8))
            at = (
                _place(data, header, behind, draw)
                if draw.random() < 0.5
                else min(at + int(draw.integers(4)), len(data) - 1)
            )
    elif kind == "cut":
        del mutated[at:]
    elif kind == "insert":
        mutated[at:at] = draw.bytes(length)
    elif kind == "remove":
        del mutated[at : at + length]
    elif kind == "swap":
        other = _place(data, header, behind, draw)
        length = min(length, abs(other - at), len(data) - max(at, other))
        mutated[at : at + length], mutated[other : other + length] = (
            data[other : other + length],
            data[at : at + length],
        )
    elif kind == "number":
        width = int(draw.choice([1, 2, 4, 8]))
        value = int(EXTREMES[draw.integers(len(EXTREMES))]) % (1 << 8 * width)
        at += -at % width
        mutated[at : at + width] = value.to_bytes(width, str(draw.choice(["little", "big"])))  # type: ignore[arg-type]
    else:
        mutated[at : at + length] = bytes(min(length, len(data) - at))
    return kind, bytes(mutated)


def tree(value: Any, draw: Draw) -> Any:
    """A change of one value in nested lists and objects, made in place; returns the new root."""
    nodes: list[tuple[Any, Any]] = []
    _walk(value, nodes)
    if not nodes:
        return VALUES[draw.integers(len(VALUES))]
    parent, key = nodes[draw.integers(len(nodes))]
    kind = draw.choice(["value", "value", "value", "delete", "nest", "double", "rename", "wrap", "number"])
    if kind == "value":
        parent[key] = VALUES[draw.integers(len(VALUES))]
    elif kind == "delete":
        del parent[key]
    elif kind == "nest":
        for _ in range(int(draw.choice([2, 50, 3000]))):
            parent[key] = [parent[key]]
    elif kind == "wrap":
        parent[key] = {"a": parent[key]}
    elif kind == "number" and isinstance(parent[key], int | float):
        parent[key] *= float(draw.choice([-1, 1e-9, 1e9, 1e300]))
    elif isinstance(parent, list):
        parent.insert(key, parent[key])
    else:
        parent[str(key) + str(draw.choice(["x", " ", "\x00", ".y"]))] = parent.pop(key)
    return value


def _walk(value: Any, nodes: list[tuple[Any, Any]]) -> None:
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        nodes.append((value, key))
        _walk(value[key], nodes)


def _dumped(value: Any) -> str:
    """JSON of a tree that may be nested deeper than `json` goes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))}: {_dumped(entry)}" for key, entry in value.items()) + "}"
    depth = 0
    while isinstance(value, list) and len(value) == 1:
        depth, value = depth + 1, value[0]
    if isinstance(value, list):
        text = "[" + ", ".join(map(_dumped, value)) + "]"
    else:
        text = _dumped(value) if isinstance(value, dict) else json.dumps(value)
    return "[" * depth + text + "]" * depth


def json_text(data: bytes, draw: Draw) -> bytes:
    """A change of the tree of JSON."""
    return _dumped(tree(json.loads(data), draw)).encode("utf-8", "surrogatepass")


def yaml_text(data: bytes, draw: Draw) -> bytes:
    """A change of the tree of YAML, or of its lines."""
    if draw.random() < 0.6:
        return _dumped(tree(yaml.safe_load(data), draw)).encode("utf-8", "surrogatepass")  # YAML includes JSON
    lines = data.decode().splitlines()
    at = int(draw.integers(len(lines)))
    key, _, text = lines[at].partition(": ")
    options = ["", "~", "!!python/object/apply:os.getcwd []", "!!float x", "&a [*a]", "*b", ".nan", "1e999", "- - -"]
    options += ["{", "'", "\t", "1:2:3", "2001-99-99", "0x", "| \n", "<<: 3", text + text, "? x", "%YAML 9"]
    kind = draw.integers(4)
    if kind == 0:
        lines[at] = f"{key}: {options[draw.integers(len(options))]}"
    elif kind == 1:
        lines.insert(int(draw.integers(len(lines))), lines[at])
    elif kind == 2:
        del lines[at]
    else:
        lines[at] = " " * int(draw.integers(1, 5)) + lines[at]
    return "\n".join(lines).encode()


def packed_json(data: bytes, draw: Draw) -> bytes:
    """A change of the tree of JSON that is packed."""
    return gzip.compress(json_text(gzip.decompress(data), draw), 1)


def zipped(data: bytes, draw: Draw) -> bytes:
    """A mutation of one member of an archive, whose checksum is right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    names = sorted(members)
    pickles = [name for name in names if name.endswith(".pkl")]
    name = pickles[0] if pickles and draw.random() < 0.6 else names[draw.integers(len(names))]
    if members[name]:
        members[name] = binary(members[name], 8, draw.random() < 0.8, draw)[1]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return out.getvalue()
