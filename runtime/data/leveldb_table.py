"""The blocks of a LevelDB's tables: where they are, and what is in one (doc/table_format.md)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from netc.runtime.data.leveldb_log import Entry
from netc.runtime.data.snappy import Damaged, varint

_KEYS_OF_A_BLOCK = 32
"""How many times the length of its block all keys may have together, which share beginnings: LevelDB writes every 16th
key whole."""


class Block(NamedTuple):
    """Where a block of a table begins, and its length without the byte that tells its compression."""

    table: str
    start: int
    length: int


def handle(table: str, data: bytes, at: int) -> Block:
    start, at = varint(data, at)
    length, _ = varint(data, at)
    return Block(table, start, length)


def entries(block: bytes) -> Iterator[Entry]:
    """The entries of a block: each key tells how much of the one before it keeps, and comes behind it; of one key, the
    newest entry comes first."""
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end, at, key, room = len(block) - 4 * (restarts + 1), 0, b"", _KEYS_OF_A_BLOCK * len(block)
    last: tuple[bytes, int] | None = None
    if end < 0:
        raise Damaged("a block is shorter than its list of restarts")
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at, room = at + fresh + length, room - len(key)
        if at > end or len(key) != shared + fresh or len(key) < 8 or room < 0:
            raise Damaged("an entry reaches beyond its block")
        user, sequence = key[:-8], int.from_bytes(key[-8:], "little")
        if last is not None and last >= (user, -sequence):
            raise Damaged("the keys of a block are not in order")
        last = user, -sequence
        yield user, sequence, block[at - length : at]
