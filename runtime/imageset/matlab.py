"""What a MATLAB file (level 5) holds, as far as the devkits of ImageNet need it: arrays of structs with numbers and
text. "MAT-File Format" of The MathWorks describes it."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from math import prod
from typing import Any

from netc.errors import NetcError, Place

MOST = 64 << 20
"""Bytes of a variable, unpacked; the meta.mat of ILSVRC2012 has 1 MB."""
DEEPEST = 8
MATRIX, COMPRESSED = 14, 15
STRUCT, CHAR, NUMBERS = 2, 4, range(6, 16)
FORMATS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q", 16: "B"}
"""The kinds of elements that hold values, as `struct` calls them; 16 is UTF-8."""


def is_matlab(content: bytes) -> bool:
    return content.startswith(b"MATLAB 5.0 MAT-file")


def variables(content: bytes, path: str) -> dict[str, Any]:
    """Name → value of each variable: a list of {field: value} for an array of structs, a string, a list of numbers;
    None for anything else.

    Raises NetcError D549 for a file that is damaged or larger than `MOST`.
    """
    try:
        order = {b"IM": "<", b"MI": ">"}[content[126:128]]
        found = {}
        for kind, body in _elements(content[128:], order):
            if kind == COMPRESSED:
                kind, body = next(_elements(_unpacked(body), order))
            if kind == MATRIX:
                name, value = _matrix(body, order)
                found[name] = value
        return found
    except (struct.error, zlib.error, KeyError, ValueError, StopIteration, IndexError) as error:
        raise NetcError("D549", "the MATLAB file is damaged or of an unknown kind", Place(path)) from error


def _unpacked(body: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(body, MOST)
    if unpacker.unconsumed_tail:
        raise ValueError("too large")
    return content


def _elements(content: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """(kind, bytes) of the elements that follow one another; each is padded to 8 bytes but for compressed ones."""
    at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(order + "II", content, at)
        if kind >> 16:  # a small element: size and bytes stand in the tag itself
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start = at + 8
            end = start + size + (0 if kind == COMPRESSED else -size % 8)
        if start + size > len(content):
            raise ValueError("cut off")
        yield kind, content[start : start + size]
        at = end


def _matrix(body: bytes, order: str, depth: int = 0) -> tuple[str, Any]:
    """An array's name and value."""
    if depth > DEEPEST:
        raise ValueError("too deep")
    if not body:
        return "", None  # an empty field
    parts = _elements(body, order)
    kind = struct.unpack_from(order + "I", next(parts)[1])[0] & 0xFF
    count = prod(_values(*next(parts), order))
    name = next(parts)[1].decode("latin-1")
    if kind == STRUCT:
        return name, _structs(count, parts, order, depth)
    if kind == CHAR:
        return name, _text(*next(parts), order)
    return name, _values(*next(parts), order) if kind in NUMBERS else None


def _structs(count: int, parts: Iterator[tuple[int, bytes]], order: str, depth: int) -> list[dict[str, Any]]:
    (width,) = _values(*next(parts), order)
    names = next(parts)[1]
    fields = [names[at : at + width].split(b"\0")[0].decode("latin-1") for at in range(0, len(names), width)]
    if not fields:
        raise ValueError("no fields")  # any count of them would take no bytes
    rows: list[dict[str, Any]] = []
    for _ in range(count):
        rows.append({field: _matrix(next(parts)[1], order, depth + 1)[1] for field in fields})
    return rows


def _values(kind: int, body: bytes, order: str) -> list[Any]:
    form = FORMATS[kind]
    return [value for (value,) in struct.iter_unpack(order + form, body)]


def _text(kind: int, body: bytes, order: str) -> str:
    return body.decode("utf-8", "replace") if kind == 16 else "".join(map(chr, _values(kind, body, order)))
