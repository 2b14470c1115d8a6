"""The head of an LMDB file: two meta pages, of which the one with the later transaction holds (mdb.c: MDB_meta).

LMDB itself opens a file only where both are whole, and so does this. LMDB writes numbers as its machine has them; those
with the lowest byte first are read.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

_MAGIC = 0xBEEFC0DE
_P_META, _P_ALL = 0x08, 0x6F
_NUMBERS = struct.Struct("<II8xQ" + 2 * "IHHQQQQQ" + "QQ")
"""Magic number, version, size of the map; the trees of free pages and of records (_Tree); last page, transaction."""
_ENCRYPTED, _DUPLICATES = 0x2000, 0x04
_NO_PAGE = 2**64 - 1
_MOST_FILE, _LEAST_NODE = 2**63, 10
"""Bytes that a file can have, and those that a record needs at least."""
MOST_LEVELS = 32
"""LMDB's own limit (CURSOR_STACK)."""


class Fault(Exception):
    """What is wrong with the file: the code of its error, and the words for it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Layout(NamedTuple):
    """One of the two formats. `head`: bytes of a page before its list of nodes; `base`: what is added to the places in
    that list; `even`: whether a key is padded to an even length."""

    version: int
    head: int
    base: int
    even: bool


LAYOUTS = (Layout(1, 16, 0, False), Layout(3, 24, 24, True))
"""Those of LMDB 0.9 and 1.0."""
_HEAD_32, _LONGEST_HEAD = 12, 24
META_BYTES = _LONGEST_HEAD + _NUMBERS.size
"""As many bytes of a meta page tell all of it."""


class Tree(NamedTuple):
    """A tree of the file: `flags` as mdb_dbi_open knows them; `root` is None where `entries` is 0."""

    flags: int
    depth: int
    entries: int
    root: int | None


class Meta(NamedTuple):
    """What the file says of itself as of its last transaction."""

    transaction: int
    layout: Layout
    page_size: int
    last_page: int
    free: Tree
    records: Tree


def read_meta(file: int, size: int) -> Meta:
    """The meta page that holds, of an open file. Raises Fault D510 (no LMDB), D511 (not whole), D515 (another kind)."""
    first = _meta(os.pread(file, META_BYTES, 0), size, first=True)
    second = _meta(os.pread(file, META_BYTES, first.page_size), size, first=False)
    if (first.page_size, first.layout) != (second.page_size, second.layout):
        raise Fault("D511", "is damaged: its two meta pages contradict each other")
    return max(first, second, key=lambda meta: meta.transaction)


def _meta(page: bytes, size: int, first: bool) -> Meta:
    layout = next((layout for layout in LAYOUTS if _magic(page, layout.head)), None)
    if layout is None or len(page) < layout.head + _NUMBERS.size:
        raise _stranger(page, size) if first else Fault("D511", f"is truncated or damaged: {size:,} bytes")
    _, version, _, *rest = _NUMBERS.unpack_from(page, layout.head)
    page_size, flags, last_page, transaction = rest[0], rest[1], *rest[-2:]
    (page_flags,) = struct.unpack_from("<H", page, layout.head - 6)
    if version != layout.version:
        raise Fault("D515", f"has version {version} of LMDB's format, which is not one of its releases")
    if page_flags & _P_ALL != _P_META or page_size not in (1 << n for n in range(8, 17)):
        raise Fault("D511", f"is damaged: a meta page with flags {page_flags:#x} and pages of {page_size:,} bytes")
    if last_page >= _MOST_FILE // page_size:
        raise Fault("D511", f"is damaged: it claims {last_page + 1:,} pages")
    if flags & _ENCRYPTED:
        raise Fault("D515", "is encrypted")
    free, records = (_tree(numbers, last_page, page_size) for numbers in (rest[1:8], rest[9:16]))
    if records.flags & _DUPLICATES:
        raise Fault("D515", "has several values for one key (MDB_DUPSORT)")
    return Meta(transaction, layout, page_size, last_page, free, records)


def _tree(numbers: list[int], last_page: int, page_size: int) -> Tree:
    flags, depth, _, _, _, entries, root = numbers
    if entries > last_page * page_size // _LEAST_NODE:
        raise Fault("D511", f"is damaged: a meta page with {entries:,} entries in {last_page + 1:,} pages")
    if (entries == 0) != (root == _NO_PAGE) or not (entries == 0 or 1 <= depth <= MOST_LEVELS):
        raise Fault("D511", f"is damaged: a meta page with {entries:,} entries in {depth} levels")
    if root != _NO_PAGE and not 2 <= root <= last_page:
        raise Fault("D511", f"is damaged: the root is page {root:,} of {last_page + 1:,}")
    return Tree(flags, depth, entries, None if root == _NO_PAGE else root)


def _stranger(page: bytes, size: int) -> Fault:
    """What a file without LMDB's number is, as far as its beginning tells."""
    if size < len(page) or not size:
        return Fault("D511", f"is truncated or damaged: {size:,} bytes")
    if _magic(page, _HEAD_32):
        return Fault("D515", "was written by a 32-bit program")
    if any(_magic(page, head, swapped=True) for head in (_HEAD_32, *(layout.head for layout in LAYOUTS))):
        return Fault("D515", "was written on a machine with the highest byte first")
    return Fault("D510", "is not an LMDB")


def _magic(page: bytes, at: int, swapped: bool = False) -> bool:
    return int.from_bytes(page[at : at + 4], "big" if swapped else "little") == _MAGIC
