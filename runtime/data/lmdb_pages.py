"""The pages of an LMDB file, read with pread and checked, one at a time: nothing is mapped, and LMDB never sees them.

A file that is cut off while it is read gives a short read where a map would end the process with SIGBUS, and whatever a
damaged page says is held against the page's own size, its number and the tree above it before it is followed. So any
bytes are records or a Fault. Formats: the comments of LMDB's mdb.c (MDB_page, MDB_node).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from netc.runtime.data.lmdb_meta import Fault, Meta, Tree

_BRANCH, _LEAF, _OVERFLOW, _KINDS = 0x01, 0x02, 0x04, 0x6F
_NAMES = {_BRANCH: "a branch", _LEAF: "a leaf", _OVERFLOW: "an overflow page"}
_BIG, _NAMED = 0x01, 0x06
_SHORT, _NUMBER, _NODE = struct.Struct("<H"), struct.Struct("<Q"), struct.Struct("<HHHH")
_OTHER_ORDER = 0x02 | 0x08
"""Flags of a tree whose keys are not in the order of their bytes: MDB_REVERSEKEY, MDB_INTEGERKEY."""
MOST_BYTES = 1 << 30
"""Longest value that is read: a picture of the largest size that is decoded has half of that."""


class Leaf(NamedTuple):
    """A leaf page: its number, how many records it has, and where its nodes begin."""

    number: int
    size: int
    upper: int
    page: bytes


class Pages:
    """The pages of an open file as of one transaction. Raises Fault D511 (the file ends too early), D514 (damaged)."""

    def __init__(self, file: int, meta: Meta, tree: Tree) -> None:
        self.file, self.meta, self.tree = file, meta, tree
        self.most_bytes = MOST_BYTES
        self._head = struct.Struct("<Q" + "xx" * ((meta.layout.head - 14) // 2) + "HHH")  # number, flags, lower, upper

    def leaves(self, backwards: bool = False) -> Iterator[Leaf]:
        """All leaves in the order of their keys, or from the last one back. Each page can come once, so that this ends,
        and no key is outside of what the branches above promise."""
        seen: set[int] = set()
        todo = [(self.tree.root, 1, b"", b"")] if self.tree.root is not None else []
        while todo:
            number, level, low, high = todo.pop()
            if number in seen:
                raise Fault("D514", f"is damaged: page {number:,} is in its tree twice")
            seen.add(number)
            if level == self.tree.depth:
                leaf = self.leaf(number)
                self._check_bounds(leaf, low, high)
                yield leaf
            else:
                children = self._children(number, level + 1, low, high)
                todo += children if backwards else reversed(children)

    def leaf(self, number: int) -> Leaf:
        return Leaf(number, *self._page(number, _LEAF))

    def record(self, leaf: Leaf, index: int) -> tuple[bytes, bytes]:
        """(key, value) of a record of a leaf; its key is held against the one before it."""
        node = self._split(leaf, index)
        key = leaf.page[node[0] : node[1]]
        if index:
            start, end, *_ = self._split(leaf, index - 1)
            if not self._ordered(leaf.page[start:end], key):
                raise self._wrong(leaf.number, "its keys are not in order")
        return key, self._value(leaf, *node)

    def _value(self, leaf: Leaf, start: int, end: int, low: int, high: int, flags: int) -> bytes:
        """The value of a node whose key lies between `start` and `end`."""
        size = low | high << 16
        end += (end - start) & 1 if self.meta.layout.even else 0
        if flags & _NAMED:
            raise Fault("D515", "holds databases with names of their own, not records")
        if not flags & _BIG:
            if end + size > len(leaf.page):
                raise self._wrong(leaf.number, "a value reaches beyond it")
            return leaf.page[end : end + size]
        if end + 8 > len(leaf.page):
            raise self._wrong(leaf.number, "a node reaches beyond it")
        return self._overflow(_NUMBER.unpack_from(leaf.page, end)[0], size)

    def spare(self, first: int) -> int:
        """Of a tree of free pages: how many from page `first` on it lists. They need not be in the file."""
        self.most_bytes = 8 * (self.meta.last_page + 2)
        listed = np.zeros(0, np.uint64)
        for leaf in self.leaves():
            for index in range(leaf.size):
                value = self.record(leaf, index)[1]
                listed = np.append(listed, np.frombuffer(value[8 : len(value) & ~7], np.uint64))  # behind their count
                if len(listed) > self.meta.last_page:
                    raise self._wrong(leaf.number, "it lists more free pages than there are")
        return len(np.unique(listed[(listed >= first) & (listed <= self.meta.last_page)]))

    # -- pages ---------------------------------------------------------------------------------------------------------

    def _page(self, number: int, kind: int) -> tuple[int, int, bytes]:
        """(number of nodes, where they begin, the page) of a branch or a leaf."""
        if not 2 <= number <= self.meta.last_page:
            raise self._wrong(number, "it is not one of the file")
        page = self._read(self.meta.page_size, number * self.meta.page_size)
        lower, upper = self._check_head(page, number, kind)
        head, base = self.meta.layout.head, self.meta.layout.base
        count = (lower + base - head) // 2
        if lower + base < head or lower > upper or upper + base > len(page) or not count:
            raise self._wrong(number, f"its nodes are said to lie between {lower:,} and {upper:,}")
        return count, upper + base, page

    def _overflow(self, number: int, size: int) -> bytes:
        """A value that has pages of its own."""
        head, start = self.meta.layout.head, number * self.meta.page_size
        if size > self.most_bytes:
            raise self._wrong(number, f"a value of {size:,} bytes, and at most {self.most_bytes:,} are read")
        if not 2 <= number <= self.meta.last_page - (head + size - 1) // self.meta.page_size:
            raise self._wrong(number, "it is not one of the file")
        low, high = self._check_head(self._read(head, start), number, _OVERFLOW)
        if (low | high << 16) * self.meta.page_size < head + size:
            raise self._wrong(number, "it is too short for its value")
        return self._read(size, start + head)

    def _read(self, size: int, start: int) -> bytes:
        data = os.pread(self.file, size, start)
        if len(data) < size:
            raise Fault("D511", f"is truncated: it ends in page {(start + len(data)) // self.meta.page_size:,}")
        return data

    def _check_head(self, page: bytes, number: int, kind: int) -> tuple[int, int]:
        """The page is what it should be: the two numbers in its head that tell where its nodes are, or its length."""
        own, flags, low, high = self._head.unpack_from(page)
        if own != number or flags & _KINDS != kind:
            raise self._wrong(number, f"it is not {_NAMES[kind]} of this number")
        return low, high

    def _wrong(self, number: int, what: str) -> Fault:
        return Fault("D514", f"is damaged: page {number:,}: {what}")

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _split(self, leaf: Leaf, index: int) -> tuple[int, int, int, int, int]:
        """(where the key of a node begins, where it ends, the node's three numbers)."""
        page, head = leaf.page, self.meta.layout.head
        at = _SHORT.unpack_from(page, head + 2 * index)[0] + self.meta.layout.base
        if not leaf.upper <= at <= len(page) - 8:
            raise self._wrong(leaf.number, "a node lies outside of it")
        low, high, flags, length = _NODE.unpack_from(page, at)
        if at + 8 + length > len(page):
            raise self._wrong(leaf.number, "a key reaches beyond it")
        return at + 8, at + 8 + length, low, high, flags

    def _key(self, leaf: Leaf, index: int) -> bytes:
        start, end, *_ = self._split(leaf, index)
        return leaf.page[start:end]

    def _children(self, number: int, level: int, low: bytes, high: bytes) -> list[tuple[int, int, bytes, bytes]]:
        """What a branch leads to: (page, level, the lowest key there, the first one that is not there)."""
        branch = Leaf(number, *self._page(number, _BRANCH))
        nodes = [self._split(branch, index) for index in range(branch.size)]
        keys = [low, *(branch.page[start:end] for start, end, *_ in nodes[1:]), high]
        for one, other in pairwise(keys[:-1]):
            if not self._ordered(one, other):
                raise self._wrong(number, "its keys are not in order")
        pages = [first | second << 16 | third << 32 for _, _, first, second, third in nodes]
        return [(page, level, *bounds) for page, bounds in zip(pages, pairwise(keys), strict=True)]

    def _check_bounds(self, leaf: Leaf, low: bytes, high: bytes) -> None:
        """`high` is empty at the right edge of the tree."""
        if self.tree.flags & _OTHER_ORDER:
            return
        if self._key(leaf, 0) < low or (high and self._key(leaf, leaf.size - 1) >= high):
            raise self._wrong(leaf.number, "it is not in its place")

    def _ordered(self, one: bytes, other: bytes) -> bool:
        return one < other or bool(self.tree.flags & _OTHER_ORDER)
