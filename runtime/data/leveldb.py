"""A LevelDB of records, read without LevelDB: Caffe's other database, and the default of `backend`.

CURRENT names the manifest, a log of edits that leaves the set of live tables; what was written after the newest table
stands in a write-ahead log. Tables are sorted blocks of (key, sequence number, value), perhaps under Snappy. Of the
entries of a key the one with the highest number holds, and a deletion hides it. Formats: LevelDB's own
doc/table_format.md and doc/log_format.md. Checksums are not looked at, as LevelDB itself does not by default.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

from netc.errors import NetcError, Place
from netc.runtime.data.snappy import Damaged, uncompressed, varint

_LOG_BLOCK, _LOG_HEADER, _FOOTER = 32768, 7, 48
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
_LOG_NUMBER, _DELETED_FILE, _NEW_FILE, _OLD_LOG_NUMBER = 2, 6, 7, 9
_STRINGS, _NUMBERS, _COMPACT_POINTER = {1}, {2, 3, 4, 9}, 5
_DELETION, _NOT_COMPRESSED, _SNAPPY = 0, 0, 1
_BLOCKS_KEPT, _INDEXES_KEPT = 16, 4
_HINT = "copy it again, or build an LMDB from the pictures with `netc convert-imageset`"

_Entry = tuple[bytes, int, bytes]
"""(key, sequence number · 256 + kind, value)"""


class _Block(NamedTuple):
    """Where a block of a table begins, and its length without the byte that tells its compression."""

    table: str
    start: int
    length: int


class _At(NamedTuple):
    """Where the newest entry of a key is: the n-th of a block of a table, or a value from the log."""

    sequence: int
    block: _Block | None
    number: int
    value: bytes | None


def is_leveldb(path: str) -> bool:
    """Whether `path` is the folder of a LevelDB (one that cannot be listed is none)."""
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return "data.mdb" not in names and ("CURRENT" in names or any(n.endswith((".ldb", ".sst")) for n in names))


class LevelDB:
    """The records of a LevelDB by their position in key order. Threads may read at the same time.

    Opening one goes through all of it for its keys, once a process as long as its files stay as they are.
    Raises NetcError D512 (empty), D513 (a file is missing, or damaged), X120 (cannot be read).
    """

    def __init__(self, path: str, place: Place | None = None) -> None:
        self.path, self.place = path, place or Place(path)
        self._block = lru_cache(_BLOCKS_KEPT)(_Folder(path).block)
        with self._faults():
            self._index = _index(os.path.realpath(path), _state(path))
        if not self._index:
            raise self._error("D512", "has no record", _HINT)

    def __enter__(self) -> LevelDB:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the blocks go that are held; no file stays open between reads."""
        self._block.cache_clear()

    def __len__(self) -> int:
        return len(self._index)

    def record(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index`, 0 ≤ index < len."""
        key, at = self._index[index]
        if at.block is None:
            assert at.value is not None
            return key, at.value
        with self._faults():
            return key, self._block(at.block)[at.number][2]

    def first(self) -> tuple[bytes, bytes]:
        """The first record."""
        return self.record(0)

    def values(self, backwards: bool = False) -> Iterator[bytes]:
        """The values of all records from the first on, or from the last back."""
        order = range(len(self))
        for index in reversed(order) if backwards else order:
            yield self.record(index)[1]

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            missing = os.path.basename(str(error.filename))
            raise self._error("D513", f"is a LevelDB without its file {missing}", _HINT) from None
        except OSError as error:
            raise self._error("X120", f"cannot be read: {error.strerror}") from None
        except (Damaged, IndexError, struct.error) as error:
            raise self._error("D513", f"is a LevelDB that is damaged: {error}", _HINT) from None

    def _error(self, code: str, message: str, hint: str | None = None) -> NetcError:
        return NetcError(code, f"the database {self.path} {message}", self.place, hint)


@lru_cache(_INDEXES_KEPT)
def _index(path: str, state: tuple[tuple[str, int, int], ...]) -> list[tuple[bytes, _At]]:
    """All keys in order, and where their entries are; for the nets of a run on one database only once."""
    return sorted(_Folder(path).newest().items())


def _state(path: str) -> tuple[tuple[str, int, int], ...]:
    """What tells a database from itself after a change: names, sizes and times of its files."""
    with os.scandir(path) as entries:
        return tuple(sorted((e.name, e.stat().st_size, e.stat().st_mtime_ns) for e in entries))


class _Folder:
    """The files of a LevelDB, as the manifest has them."""

    def __init__(self, path: str) -> None:
        self.path = path

    def newest(self) -> dict[bytes, _At]:
        tables, logs = self._live_files()
        found: dict[bytes, _At] = {}
        for table in tables:
            for block in self._blocks(table):
                for number, (key, sequence, _) in enumerate(self.block(block)):
                    _keep(found, key, _At(sequence, block, number, None))
        for log in logs:
            for batch in _log_records(self._read(log)):
                for key, sequence, value in _batch_entries(batch):
                    _keep(found, key, _At(sequence, None, 0, value))
        return {key: at for key, at in found.items() if at.sequence & 255 != _DELETION}

    def _live_files(self) -> tuple[list[str], list[str]]:
        """The names of the tables and logs that count, from the manifest."""
        manifest = self._read("CURRENT").decode("ascii", "replace").strip()
        if not re.fullmatch(r"MANIFEST-\d+", manifest):
            raise Damaged("CURRENT names no manifest")
        tables: set[int] = set()
        numbers = {_LOG_NUMBER: 0, _OLD_LOG_NUMBER: 0}
        for edit in _log_records(self._read(manifest)):
            _apply(edit, tables, numbers)
        names = os.listdir(self.path)
        logs = sorted(int(name[:-4]) for name in names if re.fullmatch(r"\d+\.log", name))
        live = [n for n in logs if n >= numbers[_LOG_NUMBER] or n == numbers[_OLD_LOG_NUMBER]]
        return [self._table_name(n, names) for n in sorted(tables)], [f"{n:06d}.log" for n in live]

    def _table_name(self, number: int, names: list[str]) -> str:
        """Older versions of LevelDB end the names of tables in .sst."""
        return f"{number:06d}.sst" if f"{number:06d}.sst" in names else f"{number:06d}.ldb"

    def _read(self, name: str) -> bytes:
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def _blocks(self, table: str) -> list[_Block]:
        """The data blocks of a table, which its index block lists."""
        with open(os.path.join(self.path, table), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _FOOTER, 0))
            footer = file.read(_FOOTER)
        if not footer.endswith(_TABLE_MAGIC):
            raise Damaged(f"{table} does not end as a table does")
        at = _skip(footer, 0, 2)  # the metaindex, which holds filters
        index = _handle(table, footer, at)
        return [_handle(table, value, 0) for _, _, value in self.block(index)]

    def block(self, block: _Block) -> list[_Entry]:
        with open(os.path.join(self.path, block.table), "rb") as file:
            if block.start + block.length >= os.fstat(file.fileno()).st_size:
                raise Damaged(f"{block.table} breaks off")
            file.seek(block.start)
            data = file.read(block.length + 1)
        kind = data[-1]
        if kind not in (_NOT_COMPRESSED, _SNAPPY):
            raise Damaged(f"compression {kind} in {block.table} is unknown")
        return list(_entries(data[:-1] if kind == _NOT_COMPRESSED else uncompressed(data[:-1])))


def _keep(found: dict[bytes, _At], key: bytes, at: _At) -> None:
    if key not in found or at.sequence > found[key].sequence:
        found[key] = at


def _handle(table: str, data: bytes, at: int) -> _Block:
    start, at = varint(data, at)
    length, _ = varint(data, at)
    return _Block(table, start, length)


def _skip(data: bytes, at: int, count: int) -> int:
    for _ in range(count):
        _, at = varint(data, at)
    return at


def _entries(block: bytes) -> Iterator[_Entry]:
    """The entries of a block: each key tells how much of the one before it keeps."""
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end, at, key = len(block) - 4 * (restarts + 1), 0, b""
    if end < 0:
        raise Damaged("a block is shorter than its list of restarts")
    while at < end:
        shared, at = varint(block, at)
        fresh, at = varint(block, at)
        length, at = varint(block, at)
        key = key[:shared] + block[at : at + fresh]
        at += fresh + length
        if at > end or len(key) != shared + fresh or len(key) < 8:
            raise Damaged("an entry reaches beyond its block")
        yield key[:-8], int.from_bytes(key[-8:], "little"), block[at - length : at]


# -- logs --------------------------------------------------------------------------------------------------------------


def _log_records(data: bytes) -> Iterator[bytes]:
    """The records of a log, put together from their pieces. One that breaks off at the end does not count."""
    at, pieces = 0, b""
    while at + _LOG_HEADER <= len(data):
        room = _LOG_BLOCK - at % _LOG_BLOCK
        if room < _LOG_HEADER:
            at += room
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        at += _LOG_HEADER
        piece = data[at : at + length]
        at += length
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or len(piece) < length:
            return
        pieces = piece if kind in (_FULL, _FIRST) else pieces + piece
        if kind in (_FULL, _LAST):
            yield pieces


def _batch_entries(batch: bytes) -> Iterator[_Entry]:
    """The puts and deletions of one write, numbered on from the number at its beginning."""
    sequence, count = struct.unpack_from("<QI", batch)
    at = 12
    for number in range(sequence, sequence + count):
        kind, value = batch[at], b""
        key, at = _text(batch, at + 1)
        if kind != _DELETION:
            value, at = _text(batch, at)
        yield key, number * 256 + kind, value


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    length, at = varint(data, at)
    if at + length > len(data):
        raise Damaged("a string reaches beyond its record")
    return data[at : at + length], at + length


def _apply(edit: bytes, tables: set[int], numbers: dict[int, int]) -> None:
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
            _, at = _text(edit, _skip(edit, at, 1))
        elif tag == _DELETED_FILE:
            number, at = varint(edit, _skip(edit, at, 1))
            tables.discard(number)
        elif tag == _NEW_FILE:
            number, at = varint(edit, _skip(edit, at, 1))
            _, at = _text(edit, _skip(edit, at, 1))
            _, at = _text(edit, at)
            tables.add(number)
        else:
            raise Damaged(f"the manifest has an edit {tag}, which is unknown")
