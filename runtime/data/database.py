"""An LMDB of records, opened read-only and checked before the first read.

LMDB maps the file into memory: of a truncated one, the first touch of a missing page kills the process with SIGBUS. So
the file's size is compared with what its meta pages promise before anything else is read. A path may be opened once a
process (lmdb ≥ 2), so TRAIN and TEST nets on one database share a handle.
"""

from __future__ import annotations

import os
import struct
import threading
from typing import Any

import numpy as np

from netc.errors import NetcError, Place

_MAGIC = struct.pack("=I", 0xBEEFC0DE)
_HEADERS = (16, 24)
"""Where the magic number stands in a meta page: LMDB 0.9 and 1.0."""

_handles: dict[tuple[int, str], _Handle] = {}
_lock = threading.Lock()


class _Handle:
    """One open environment of this process, and how many databases use it."""

    def __init__(self, env: Any) -> None:
        self.env, self.users = env, 0
        self.keys: _Keys | None = None


class _Keys:
    """All keys, in order, in one buffer (a million keys take 30 bytes each instead of a hundred)."""

    def __init__(self, env: Any) -> None:
        with env.begin() as transaction:
            keys = list(transaction.cursor().iternext(keys=True, values=False))
        self.ends = np.cumsum([len(key) for key in keys], dtype=np.int64)
        self.buffer = b"".join(keys)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        return self.buffer[int(self.ends[index - 1]) if index else 0 : int(self.ends[index])]


class Database:
    """The records of an LMDB by their position in key order. Threads may read at the same time.

    Raises NetcError D510 (no LMDB), D511 (truncated), D512 (empty), D513 (LevelDB), F120 via the caller's path.
    """

    def __init__(self, path: str, place: Place | None = None) -> None:
        self.path, self.place = path, place or Place(path)
        self._key = (os.getpid(), os.path.realpath(path))
        with _lock:
            if self._key not in _handles:
                _handles[self._key] = _Handle(self._open())
            self._handle = _handles[self._key]
            self._handle.users += 1
        try:
            self._check_whole()
        except NetcError:
            self.close()
            raise

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the handle back; the last user closes the file."""
        with _lock:
            self._handle.users -= 1
            if self._handle.users == 0:
                _handles.pop(self._key, None)
                self._handle.env.close()

    def __len__(self) -> int:
        return int(self._handle.env.stat()["entries"])

    def record(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index`, 0 ≤ index < len."""
        if self._handle.keys is None:
            with _lock:
                self._handle.keys = self._handle.keys or _Keys(self._handle.env)
        return self._read(self._handle.keys[index])

    def first(self) -> tuple[bytes, bytes]:
        """The first record, without reading the index of all keys."""
        with self._handle.env.begin() as transaction:
            cursor = transaction.cursor()
            cursor.first()
            return bytes(cursor.key()), bytes(cursor.value())

    def _read(self, key: bytes) -> tuple[bytes, bytes]:
        with self._handle.env.begin() as transaction:
            value = transaction.get(key)
        if value is None:
            raise self._error("D512", f'the record "{os.fsdecode(key)}" is gone', "the database changed while in use")
        return key, bytes(value)

    # -- opening -------------------------------------------------------------------------------------------------------

    def _error(self, code: str, message: str, hint: str | None = None) -> NetcError:
        return NetcError(code, f"database {self.path}: {message}", self.place, hint)

    def _open(self) -> Any:
        import lmdb

        self._check_meta()
        try:
            return lmdb.open(
                self.path,
                subdir=os.path.isdir(self.path),
                readonly=True,
                lock=False,
                readahead=True,
                meminit=False,
                max_spare_txns=16,
            )
        except lmdb.Error as error:
            raise self._error("D510", f"cannot be opened: {error}") from None

    def _file(self) -> str:
        return os.path.join(self.path, "data.mdb") if os.path.isdir(self.path) else self.path

    def _check_meta(self) -> None:
        """Both meta pages lie within the file and begin as LMDB's do."""
        file = self._file()
        if not os.path.isfile(file):
            if os.path.isdir(self.path) and any(
                name == "CURRENT" or name.endswith(".ldb") for name in os.listdir(self.path)
            ):
                raise self._error(
                    "D513",
                    "is a LevelDB, which netc does not read",
                    "build an LMDB from the images: netc convert-imageset",
                )
            raise self._error("D510", "is no LMDB: it holds no data.mdb")
        try:
            with open(file, "rb") as handle:
                head = handle.read(64)
        except OSError as error:
            raise self._error("X120", f"cannot be read: {error.strerror}") from None
        if not any(head[at : at + 4] == _MAGIC for at in _HEADERS):
            raise self._error("D510", "is no LMDB (or one of a machine with another byte order)")
        if os.path.getsize(file) < 2 * 4096:
            raise self._error("D511", f"is truncated: {os.path.getsize(file)} bytes", "copy it again, or build it anew")

    def _check_whole(self) -> None:
        """The file is as long as its newest meta page says (two numbers: no page of the data is touched)."""
        env = self._handle.env
        needed = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        found = os.path.getsize(self._file())
        if found < needed:
            raise self._error(
                "D511", f"is truncated: {found:,} of {needed:,} bytes are there", "copy it again, or build it anew"
            )
        if len(self) == 0:
            raise self._error("D512", "has no record")
