"""The logs of a LevelDB: writes that are in no table yet, and the manifest, a log of edits (doc/log_format.md)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from netc.runtime.data.snappy import Damaged, skip, varint

_BLOCK, _HEADER = 32768, 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
LOG_NUMBER, OLD_LOG_NUMBER = 2, 9
_DELETED_FILE, _NEW_FILE = 6, 7
_STRINGS, _NUMBERS, _COMPACT_POINTER = {1}, {2, 3, 4, 9}, 5
DELETION, _PUT = 0, 1

Entry = tuple[bytes, int, bytes]
"""(key, sequence number · 256 + kind, value)"""


def log_records(file: BinaryIO) -> Iterator[bytes]:
    """The records of a log, put together from their pieces. One that breaks off at the end does not count."""
    pieces: list[bytes] = []
    for kind, piece in _pieces(file):
        if kind in (_FULL, _FIRST):
            pieces = []  # of a write that a program did not finish
        elif not pieces:
            raise Damaged("a log has a record without its beginning")
        pieces.append(piece)
        if kind in (_FULL, _LAST):
            yield b"".join(pieces)
            pieces = []


def _pieces(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(kind, bytes) of each piece up to the end, or to the zeros or the piece cut off that a log may end in."""
    while block := file.read(_BLOCK):
        at = 0
        while at + _HEADER <= len(block):
            length, kind = struct.unpack_from("<HB", block, at + 4)
            at += _HEADER + length
            if (not kind and not length) or at > len(block) < _BLOCK:
                return
            if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or at > len(block):
                raise Damaged("a log has a piece that is none")
            yield kind, block[at - length : at]


def batch_entries(batch: bytes) -> Iterator[Entry]:
    """The puts and deletions of one write, numbered on from the number at its beginning."""
    sequence, count = struct.unpack_from("<QI", batch)
    at = 12
    for number in range(sequence, sequence + count):
        kind, value = batch[at], b""
        if kind not in (DELETION, _PUT):
            raise Damaged(f"a write of kind {kind} is unknown")
        key, at = _text(batch, at + 1)
        if kind != DELETION:
            value, at = _text(batch, at)
        yield key, number * 256 + kind, value


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = varint(data, at)
    if at + length > len(data):
        raise Damaged("a string reaches beyond its record")
    return data[at : at + length], at + length


def apply(edit: bytes, tables: set[int], numbers: dict[int, int]) -> None:
    """One edit of the manifest: tables that came and went, the log that goes with them."""
    at = 0
    while at < len(edit):
        tag, at = varint(edit, at)
        if tag in _NUMBERS:
            value, at = varint(edit, at)
            numbers[tag] = value
        elif tag in _STRINGS:
            _, at = _text(edit, at)
        elif tag == _COMPACT_POINTER:
            _, at = _text(edit, skip(edit, at, 1))
        elif tag == _DELETED_FILE:
            number, at = varint(edit, skip(edit, at, 1))
            tables.discard(number)
        elif tag == _NEW_FILE:
            number, at = varint(edit, skip(edit, at, 1))
            _, at = _text(edit, skip(edit, at, 1))
            _, at = _text(edit, at)
            tables.add(number)
        else:
            raise Damaged(f"the manifest has an edit {tag}, which is unknown")
