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
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import pairwise
from typing import BinaryIO, NamedTuple

from netc.errors import NetcError, Place
from netc.files.opening import open_regular, read_bytes
from netc.runtime.data.leveldb_log import DELETION, LOG_NUMBER, OLD_LOG_NUMBER, Entry, apply, batch_entries, log_records
from netc.runtime.data.leveldb_table import Block, entries, handle
from netc.runtime.data.snappy import Damaged, skip, uncompressed

_FOOTER, _TABLE_MAGIC = 48, bytes.fromhex("57fb808b247547db")
_NOT_COMPRESSED, _SNAPPY = 0, 1
_BLOCKS_KEPT, _LARGE_KEPT, _INDEXES_KEPT = 16, 1, 4
_LARGE = 1 << 22
"""Bytes of a block of which only the last one read is kept."""
_MOST_BLOCK, _MOST_CURRENT = 1 << 30, 4096
_HINT = "copy it again, or build an LMDB from the pictures with `netc convert-imageset`"


class _At(NamedTuple):
    """Where the newest entry of a key is: the n-th of a block of a table, or a value from the log."""

    sequence: int
    block: Block | None
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
        read = _Folder(path).block
        self._small, self._large = lru_cache(_BLOCKS_KEPT)(read), lru_cache(_LARGE_KEPT)(read)
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
        self._small.cache_clear()
        self._large.cache_clear()

    def __len__(self) -> int:
        return len(self._index)

    def record(self, index: int) -> tuple[bytes, bytes]:
        """(key, value) of record `index`, 0 ≤ index < len."""
        key, at = self._index[index]
        if at.block is None:
            assert at.value is not None
            return key, at.value
        with self._faults():
            block = self._large(at.block) if at.block.length > _LARGE else self._small(at.block)
            return key, block[at.number][2]

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
            what = str(error) if isinstance(error, Damaged) else "a number breaks off"
            raise self._error("D513", f"is a LevelDB that is damaged: {what}", _HINT) from None

    def _error(self, code: str, message: str, hint: str | None = None) -> NetcError:
        return NetcError(code, f"the database {self.path} {message}", self.place, hint)


@lru_cache(_INDEXES_KEPT)
def _index(path: str, state: tuple[tuple[str, int, int], ...]) -> list[tuple[bytes, _At]]:
    """All keys in order, and where their entries are; for the nets of a run on one database only once."""
    return sorted(_Folder(path).newest().items())


def _state(path: str) -> tuple[tuple[str, int, int], ...]:
    """What tells a database from itself after a change: names, sizes and times of its files."""
    found = []
    for name in sorted(os.listdir(path)):
        with suppress(FileNotFoundError):  # a link to nothing, perhaps none of its files
            status = os.stat(os.path.join(path, name))
            found.append((name, status.st_size, status.st_mtime_ns))
    return tuple(found)


class _Folder:
    """The files of a LevelDB, as the manifest has them."""

    def __init__(self, path: str) -> None:
        self.path = path

    def newest(self) -> dict[bytes, _At]:
        tables, logs = self._live_files()
        self._check_distinct([*tables, *logs])
        found: dict[bytes, _At] = {}
        for table in tables:
            for block in self._blocks(table):
                for number, (key, sequence, _) in enumerate(self.block(block)):
                    _keep(found, key, _At(sequence, block, number, None))
        for log in logs:
            with self._open(log) as file:
                for batch in log_records(file):
                    for key, sequence, value in batch_entries(batch):
                        _keep(found, key, _At(sequence, None, 0, value))
        return {key: at for key, at in found.items() if at.sequence & 255 != DELETION}

    def _live_files(self) -> tuple[list[str], list[str]]:
        """The names of the tables and logs that count, from the manifest."""
        current = read_bytes(os.path.join(self.path, "CURRENT"), _MOST_CURRENT).decode("ascii", "replace").strip()
        if not re.fullmatch(r"MANIFEST-[0-9]+", current):
            raise Damaged("CURRENT names no manifest")
        tables: set[int] = set()
        numbers = {LOG_NUMBER: 0, OLD_LOG_NUMBER: 0}
        with self._open(current) as file:
            for edit in log_records(file):
                apply(edit, tables, numbers)
        names = set(os.listdir(self.path))
        logs = sorted(int(name[:-4]) for name in names if re.fullmatch(r"[0-9]+\.log", name))
        live = [n for n in logs if n >= numbers[LOG_NUMBER] or n == numbers[OLD_LOG_NUMBER]]
        return [_table_name(n, names) for n in sorted(tables)], [f"{n:06d}.log" for n in live]

    def _check_distinct(self, names: list[str]) -> None:
        """Each file is read once: one that stands there under many names would be read as often."""
        seen: dict[tuple[int, int], str] = {}
        for name in names:
            status = os.stat(os.path.join(self.path, name))
            other = seen.setdefault((status.st_dev, status.st_ino), name)
            if other != name:
                raise Damaged(f"{name} is {other} under another name")

    def _open(self, name: str) -> BinaryIO:
        return open_regular(os.path.join(self.path, name))

    def _blocks(self, table: str) -> list[Block]:
        """The data blocks of a table, which its index block lists; each begins behind the one before it."""
        with self._open(table) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - _FOOTER, 0))
            footer = file.read(_FOOTER)
        if not footer.endswith(_TABLE_MAGIC):
            raise Damaged(f"{table} does not end as a table does")
        at = skip(footer, 0, 2)  # the metaindex, which holds filters
        index = handle(table, footer, at)
        blocks = [handle(table, value, 0) for _, _, value in self.block(index)]
        if any(one.start + one.length >= other.start for one, other in pairwise([*blocks, index])):
            raise Damaged(f"the index of {table} names a block twice, or out of order")
        return blocks

    def block(self, block: Block) -> list[Entry]:
        with self._open(block.table) as file:
            if block.start + block.length >= os.fstat(file.fileno()).st_size:
                raise Damaged(f"{block.table} breaks off")
            if block.length > _MOST_BLOCK:
                raise Damaged(
                    f"a block of {block.length:,} bytes in {block.table}, and at most {_MOST_BLOCK:,} are read"
                )
            file.seek(block.start)
            data = file.read(block.length + 1)
        if len(data) <= block.length:
            raise Damaged(f"{block.table} breaks off")
        kind = data[-1]
        if kind not in (_NOT_COMPRESSED, _SNAPPY):
            raise Damaged(f"compression {kind} in {block.table} is unknown")
        return list(entries(data[:-1] if kind == _NOT_COMPRESSED else uncompressed(data[:-1], _MOST_BLOCK)))


def _keep(found: dict[bytes, _At], key: bytes, at: _At) -> None:
    if key not in found or at.sequence > found[key].sequence:
        found[key] = at


def _table_name(number: int, names: set[str]) -> str:
    """Older versions of LevelDB end the names of tables in .sst."""
    return f"{number:06d}.sst" if f"{number:06d}.sst" in names else f"{number:06d}.ldb"
