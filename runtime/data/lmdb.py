"""An LMDB of records, read without LMDB: Caffe's first database.

LMDB maps the file and trusts what it says: a damaged page ends the process with SIGABRT, a file that is cut off while
it is read with SIGBUS. Here each page is read with pread and checked (lmdb_pages.py). Nothing is written, locked or
shared, so any number of nets, threads and forked processes can read one file.
"""

from __future__ import annotations

import os
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from threading import Lock

from netc.errors import NetcError, Place
from netc.files.opening import open_regular
from netc.runtime.data.lmdb_meta import META_BYTES, Fault, read_meta
from netc.runtime.data.lmdb_pages import Leaf, Pages

_LEAVES_KEPT = 64
_COPY_AGAIN = "copy it again, or build it anew with `netc convert-imageset`"
_HINTS = {
    "D510": "give the folder that `netc convert-imageset` or Caffe's convert_imageset wrote",
    "D512": "leave it alone while it is read",
    "D515": "`netc convert-imageset` and Caffe's convert_imageset write databases that can be read",
}


class _Index:
    """The leaves in the order of their keys, and how many records lie in them up to each one's end."""

    def __init__(self, pages: Pages) -> None:
        self.numbers, self.ends = array("Q"), array("Q")
        end = 0
        for leaf in pages.leaves():
            end += leaf.size
            self.numbers.append(leaf.number)
            self.ends.append(end)
        if end != pages.tree.entries:
            raise Fault("D514", f"is damaged: its pages hold {end:,} records, and its head says {pages.tree.entries:,}")


class LMDB:
    """The records of an LMDB by their position in key order, as of when it was opened. Threads may read together.

    The first `record` goes once through the pages of keys. Raises NetcError F102 (not a regular file), D510 (no LMDB),
    D511 (truncated), D512 (empty), D515 (an LMDB that Caffe would not write), X120 (cannot be read); when records are
    read D514 (damaged), D511 and D512 (changed meanwhile).
    """

    def __init__(self, path: str, place: Place | None = None) -> None:
        self.path, self.place = path, place or Place(path)
        data = os.path.join(path, "data.mdb") if os.path.isdir(path) else path
        with self._faults():
            if not os.path.lexists(data):
                raise Fault("D510", "is not an LMDB: it holds no data.mdb")
            file = open_regular(data, self.place)
        self.close = weakref.finalize(self, file.close)
        """Close the file (once, however often it is called)."""
        self._file, self._lock = file.fileno(), Lock()
        try:
            with self._faults():
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        size = os.fstat(self._file).st_size
        self._meta = meta = read_meta(self._file, size)
        self._head = self._read_head()
        self._check_length(size)
        if not meta.records.entries:
            raise NetcError("D512", f"the database {self.path} has no record", self.place, _COPY_AGAIN)
        self._pages = Pages(self._file, meta, meta.records)
        self._leaf = lru_cache(_LEAVES_KEPT)(self._pages.leaf)

    def __enter__(self) -> LMDB:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._meta.records.entries

    def record(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index`, 0 ≤ index < len."""
        try:
            leaf, number = self._find(index)
            found = self._pages.record(leaf, number)
            self._check_unchanged()
            return found
        except (Fault, OSError) as error:
            raise self._explained(error) from None

    def _find(self, index: int) -> tuple[Leaf, int]:
        """The leaf of a record, and its number there."""
        ends = self._index.ends
        at = bisect_right(ends, index)
        start = ends[at - 1] if at else 0
        leaf = self._leaf(self._index.numbers[at])
        if leaf.size != ends[at] - start:
            raise Fault("D514", f"is damaged: page {leaf.number:,} has changed")
        return leaf, index - start

    def first(self) -> tuple[bytes, bytes]:
        """The first record, without a look at the pages of the others."""
        with self._faults():
            return self._pages.record(next(self._pages.leaves()), 0)

    def values(self, backwards: bool = False) -> Iterator[bytes]:
        """The values of all records from the first on, or from the last back, without a look at the pages of others."""
        with self._faults():
            for leaf in self._pages.leaves(backwards):
                order = range(leaf.size)
                for index in reversed(order) if backwards else order:
                    yield self._pages.record(leaf, index)[1]
            self._check_unchanged()

    @cached_property
    def _index(self) -> _Index:
        with self._lock:
            return self.__dict__.get("_index") or _Index(self._pages)

    # -- what can be wrong ---------------------------------------------------------------------------------------------

    def _read_head(self) -> bytes:
        """Both meta pages in one read; a writer changes one of them when it is done."""
        return os.pread(self._file, self._meta.page_size + META_BYTES, 0)

    def _check_length(self, size: int) -> None:
        """All pages are there that the head promises, but for free ones at the end."""
        meta = self._meta
        missing = meta.last_page + 1 - size // meta.page_size
        if missing <= 0:
            return
        try:
            free = Pages(self._file, meta, meta.free).spare(size // meta.page_size)
        except Fault:
            free = 0
        if free < missing:
            needed = (meta.last_page + 1) * meta.page_size
            raise Fault("D511", f"is truncated: {size:,} of its {needed:,} bytes are there")

    def _check_unchanged(self) -> None:
        """What was just read belongs to the state of the file that was opened: a writer uses pages again that the
        records had before."""
        head = self._read_head()
        if head != self._head:
            if read_meta(self._file, os.fstat(self._file).st_size).transaction != self._meta.transaction:
                raise Fault("D512", "was changed by another program while it is read")
            self._head = head

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (Fault, OSError) as error:
            raise self._explained(error) from None

    def _explained(self, error: Fault | OSError) -> NetcError:
        if isinstance(error, OSError):
            return NetcError("X120", f"the database {self.path} cannot be read: {error.strerror}", self.place)
        hint = _HINTS.get(error.code, _COPY_AGAIN)
        return NetcError(error.code, f"the database {self.path} {error}", self.place, hint)
