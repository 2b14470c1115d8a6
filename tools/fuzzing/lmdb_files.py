"""Small LMDBs, made by the words of their format: what the fuzzer starts from, and what LMDB would not write."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from typing import TypeVar

from netc.runtime.data.lmdb import LMDB
from tools.fuzzing.folders import read_files
from tools.fuzzing.mutations import INTERESTING, mutate_bytes

_Item = TypeVar("_Item")
Records = Sequence[tuple[bytes, bytes]]

BRANCH, LEAF, OVERFLOW, META = 1, 2, 4, 8
NO_PAGE = 2**64 - 1


class LMDBFile:
    """An LMDB of `records`, in the order that they are given in; `version`: 1 or 3, of format 0.9 or 1.0. `a_page`: how
    many nodes a page has. `flags`: of the tree of records. `bytes()` of it is the file, `pages` its parts."""

    def __init__(
        self, records: Records, page_size: int = 512, version: int = 1, a_page: int = 3, flags: int = 0
    ) -> None:
        self.page_size, self.head, self.base = page_size, *((16, 0) if version == 1 else (24, 24))
        self.pages: list[bytes] = [b"", b""]
        self.depth = 1 if records else 0
        counts = [0, 0, 0]
        level = [(part[0][0], self._leaf(part)) for part in _parts(records, a_page)]
        counts[1] = len(level)
        while len(level) > 1:
            level = [(part[0][0], self._branch(part)) for part in _parts(level, a_page)]
            self.depth, counts[0] = self.depth + 1, counts[0] + len(level)
        root = level[0][1] if level else NO_PAGE
        free = struct.pack("<IHHQQQQQ", page_size, 8, 0, 0, 0, 0, 0, NO_PAGE)
        tree = struct.pack("<IHHQQQQQ", 0, flags, self.depth, *counts, len(records), root)
        for number in (0, 1):
            meta = struct.pack("<IIQQ", 0xBEEFC0DE, version, 0, 1 << 20) + free + tree
            self._put(number, META, 0, 0, meta + struct.pack("<QQ", len(self.pages) - 1, number))

    def __bytes__(self) -> bytes:
        return b"".join(self.pages)

    def _put(self, number: int, kind: int, lower: int, upper: int, rest: bytes) -> int:
        head = struct.pack("<Q", number) + bytes(self.head - 14) + struct.pack("<HHH", kind, lower, upper)
        page = head + rest
        page += bytes(-len(page) % self.page_size)
        taken = len(page) // self.page_size
        self.pages += [b""] * (number + taken - len(self.pages))
        self.pages[number : number + taken] = [
            page[i : i + self.page_size] for i in range(0, len(page), self.page_size)
        ]
        return number

    def _nodes(self, kind: int, nodes: list[bytes]) -> int:
        """A page of these nodes, from its end on."""
        ends: list[int] = []
        at, body = self.page_size, b""
        for node in nodes:
            node += bytes(len(node) % 2)
            at -= len(node)
            body, ends = node + body, [*ends, at - self.base]
        lower, upper = self.head + 2 * len(nodes) - self.base, at - self.base
        gap = bytes(at - self.head - 2 * len(nodes))
        return self._put(len(self.pages), kind, lower, upper, struct.pack(f"<{len(ends)}H", *ends) + gap + body)

    def _leaf(self, records: Records) -> int:
        return self._nodes(LEAF, [self._record(*record) for record in records])

    def _record(self, key: bytes, value: bytes) -> bytes:
        padded = key + bytes(len(key) % 2 if self.base else 0)
        if len(value) <= self.page_size // 8:
            return struct.pack("<HHHH", len(value) & 0xFFFF, len(value) >> 16, 0, len(key)) + padded + value
        taken = (self.head + len(value) - 1) // self.page_size + 1
        page = self._put(len(self.pages), OVERFLOW, taken & 0xFFFF, taken >> 16, value)
        place = struct.pack("<Q", page) + (struct.pack("<QQ", 0, taken) if self.base else b"")
        return struct.pack("<HHHH", len(value) & 0xFFFF, len(value) >> 16, 1, len(key)) + padded + place

    def _branch(self, children: Sequence[tuple[bytes, int]]) -> int:
        keys = [b"", *(key for key, _ in children[1:])]
        numbers = [struct.pack("<Q", page)[:6] for _, page in children]
        return self._nodes(
            BRANCH, [number + struct.pack("<H", len(key)) + key for key, number in zip(keys, numbers, strict=True)]
        )


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def cut(data: bytes, page_size: int) -> list[bytes]:
    return [data[i : i + page_size] for i in range(0, len(data), page_size)]


def some_records(count: int, longest: int) -> list[tuple[bytes, bytes]]:
    rng = random.Random(count)
    return [(b"%05d" % i + b"n" * rng.randrange(9), rng.randbytes(rng.randrange(longest))) for i in range(count)]


def lmdb_seeds() -> list[bytes]:
    sizes = [(0, 1), (1, 20), (9, 700), (40, 90), (60, 30)]
    return [bytes(LMDBFile(some_records(*size), 256, version)) for size in sizes for version in (1, 3)]


def mutate_lmdb(data: bytes, other: bytes, rng: random.Random, page_size: int = 256) -> bytes:
    """One of the accidents of a disk, or a number in the head of a page or at a node that means something else."""
    pages = cut(data, page_size) or [b""]
    at, to = rng.randrange(len(pages)), rng.randrange(len(pages))
    match rng.randrange(9):
        case 0:
            pages[at] = bytes(len(pages[at]))
        case 1:
            pages[at], pages[to] = pages[to], pages[at]
        case 2:
            pages[at] = pages[to]
        case 3:
            return b"".join(pages)[: rng.randrange(len(data) + 1)]
        case 4:
            start = rng.randrange(len(data) + 1)
            length = len(data) - start
            return data[:start] + (rng.randbytes(length) if rng.random() < 0.5 else bytes(length))
        case 5 | 6:
            pages[at] = _number_put(pages[at], 2 * rng.randrange(24), rng)
        case 7:
            pages[at] = _number_put(pages[at], 2 * rng.randrange(len(pages[at]) // 2 + 1), rng)
        case _:
            return mutate_bytes(data, other, rng)
    return b"".join(pages)


def _number_put(page: bytes, at: int, rng: random.Random) -> bytes:
    size = rng.choice([1, 2, 2, 4, 8])
    number = rng.choice([rng.randrange(64), rng.randrange(1 << 16), *rng.sample(INTERESTING, 3)])
    new = (number & (1 << 8 * size) - 1).to_bytes(size, "little")
    return (page[:at] + new + page[at + size :])[: len(page)]


def read_lmdb(data: bytes) -> None:
    """All of an LMDB, by position, forwards and backwards."""
    read_files({"data.mdb": data}, LMDB)
