"""An LMDB of records, opened read-only and checked before the first read.

LMDB maps the file into memory: of a truncated one, the first touch of a missing page kills the process with SIGBUS. So
the file's size is compared with what its meta pages promise before LMDB sees it. A file may be opened once a process
(lmdb ≥ 2), so TRAIN and TEST nets on one database share a handle, and so does a forked child with its parent.
"""

from __future__ import annotations

import os
import struct
import threading
import weakref
from array import array
from collections.abc import Iterator
from typing import Any, NamedTuple

import lmdb
import numpy as np

from netc.errors import NetcError, Place
from netc.runtime.data.leveldb import LevelDB, is_leveldb

_MAGIC = struct.pack("=I", 0xBEEFC0DE)
_HEADERS = (16, 24)
"""Bytes before the magic number in a meta page: LMDB 0.9 and 1.0."""
_PAGE_SIZE, _LAST_PAGE, _END = 24, 120, 136
"""From the magic number on: 4 bytes of page size; 8 of the last page's number and 8 of the transaction's."""

_MADE_BY = "give the folder that `netc convert-imageset` or Caffe's convert_imageset wrote"
_COPY_AGAIN = "copy it again, or build it anew with `netc convert-imageset`"


class _Meta(NamedTuple):
    """What one of the file's two meta pages says; the one with the later transaction holds."""

    transaction: int
    last_page: int
    page_size: int


class _Handle:
    """An open environment of this process, how many databases use it, and its keys once somebody asked for them."""

    def __init__(self, env: Any) -> None:
        self.env, self.users = env, 0
        self.keys: _Keys | None = None


class _Keys:
    """All keys, in order, in one buffer: 1.3 million keys of 27 bytes take 45 MB, where a list takes 130."""

    def __init__(self, env: Any) -> None:
        buffer, lengths = bytearray(), array("H")
        with env.begin() as transaction:
            for key in transaction.cursor().iternext(keys=True, values=False):
                buffer += key
                lengths.append(len(key))
        self.buffer, self.ends = bytes(buffer), np.cumsum(np.frombuffer(lengths, np.uint16), dtype=np.int64)

    def __getitem__(self, index: int) -> bytes:
        return self.buffer[int(self.ends[index - 1]) if index else 0 : int(self.ends[index])]


def open_database(path: str, place: Place | None = None) -> Database | LevelDB:
    """The records of an LMDB, or of a LevelDB. Raises what these two raise."""
    return LevelDB(path, place) if is_leveldb(path) else Database(path, place)


_File = tuple[int, int]
_handles: dict[_File, _Handle] = {}
"""By device and inode of the data file, so that neither a link nor a rebuilt database is mistaken."""
_lock = threading.RLock()


def _new_lock() -> None:
    """A forked child must not wait for a thread it does not have."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def _give_back(file: _File, handle: _Handle) -> None:
    with _lock:
        handle.users -= 1
        if handle.users == 0:
            _handles.pop(file, None)
            handle.env.close()


class Database:
    """The records of an LMDB by their position in key order. Threads may read at the same time.

    Raises NetcError D510 (no LMDB), D511 (truncated), D512 (empty), X120 (cannot be read);
    D514 (damaged pages) when a record is read.
    """

    def __init__(self, path: str, place: Place | None = None) -> None:
        self.path, self.place = path, place or Place(path)
        file = self._check()
        with _lock:
            self._handle = _handles.get(file) or _Handle(self._open())
            _handles[file] = self._handle
            self._handle.users += 1
        self.close = weakref.finalize(self, _give_back, file, self._handle)
        """Give the handle back (once, however often it is called); the last user closes the file."""
        self._count = int(self._handle.env.stat()["entries"])
        if self._count == 0:
            self.close()
            raise self._error("D512", "has no record", _COPY_AGAIN)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    def record(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index`, 0 ≤ index < len."""
        try:
            key = self._keys()[index]
            with self._handle.env.begin() as transaction:
                value = transaction.get(key)
        except lmdb.Error as error:
            raise self._damaged(error) from None
        if value is None:
            raise self._error("D512", f'lost the record "{os.fsdecode(key)}" while in use', "leave it alone meanwhile")
        return key, value

    def first(self) -> tuple[bytes, bytes]:
        """The first record, without reading the keys of all others."""
        try:
            with self._handle.env.begin() as transaction:
                cursor = transaction.cursor()
                cursor.first()
                return cursor.item()  # type: ignore[no-any-return]
        except lmdb.Error as error:
            raise self._damaged(error) from None

    def values(self, backwards: bool = False) -> Iterator[bytes]:
        """The values of all records from the first on, or from the last back, without reading the keys of others."""
        try:
            with self._handle.env.begin() as transaction:
                cursor = transaction.cursor()
                step = cursor.iterprev if backwards else cursor.iternext
                yield from step(keys=False, values=True)
        except lmdb.Error as error:
            raise self._damaged(error) from None

    def _keys(self) -> _Keys:
        if self._handle.keys is None:
            with _lock:
                self._handle.keys = self._handle.keys or _Keys(self._handle.env)
        return self._handle.keys

    # -- opening -------------------------------------------------------------------------------------------------------

    def _error(self, code: str, message: str, hint: str | None = None) -> NetcError:
        return NetcError(code, f"the database {self.path} {message}", self.place, hint)

    def _damaged(self, error: Exception) -> NetcError:
        return self._error("D514", f"is damaged: {error}", _COPY_AGAIN)

    def _open(self) -> Any:
        try:
            return lmdb.open(self.path, subdir=os.path.isdir(self.path), readonly=True, lock=False, max_spare_txns=16)
        except lmdb.Error as error:
            raise self._error("D510", f"cannot be opened: {error}") from None

    def _check(self) -> _File:
        """The file is an LMDB and as long as its newest meta page says. Nothing is mapped for this."""
        path = os.path.join(self.path, "data.mdb") if os.path.isdir(self.path) else self.path
        if not os.path.isfile(path):
            raise self._not_there()
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                self._check_size(file, status.st_size)
                return status.st_dev, status.st_ino
        except OSError as error:
            raise self._error("X120", f"cannot be read: {error.strerror}") from None

    def _not_there(self) -> NetcError:
        return self._error("D510", "is not an LMDB: it holds no data.mdb", _MADE_BY)

    def _check_size(self, file: Any, size: int) -> None:
        first = self._meta(file, 0, size)
        newest = max(first, self._meta(file, first.page_size, size))
        needed = (newest.last_page + 1) * newest.page_size
        if size < needed:
            raise self._error("D511", f"is truncated: {size:,} of its {needed:,} bytes are there", _COPY_AGAIN)

    def _meta(self, file: Any, start: int, size: int) -> _Meta:
        file.seek(start)
        page = file.read(_HEADERS[-1] + _END)
        magic = next((at for at in _HEADERS if page[at : at + 4] == _MAGIC), None)
        if magic is None or len(page) < magic + _END:
            if start or size < len(page) or not size:
                raise self._error("D511", f"is truncated or damaged: {size:,} bytes", _COPY_AGAIN)
            raise self._error(
                "D510",
                "is not an LMDB (or one of a machine with another byte order)",
                _MADE_BY,
            )
        (page_size,) = struct.unpack_from("=I", page, magic + _PAGE_SIZE)
        last_page, transaction = struct.unpack_from("=QQ", page, magic + _LAST_PAGE)
        if page_size not in (1 << n for n in range(8, 17)):
            raise self._error("D511", f"is damaged: pages of {page_size} bytes do not exist", _COPY_AGAIN)
        return _Meta(transaction, last_page, page_size)
