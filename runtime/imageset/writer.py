"""A database that is there whole or not at all.

It is built in a folder beside its place, `NAME.building`, flushed to the disk and then renamed. Whatever goes wrong
before that, the folder is removed and nothing else was touched; what a killed process leaves behind is removed by the
next one (claim.py tells it from a build that is still going on).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from netc.errors import NetcError, Place
from netc.files.durable import flush, free_bytes, sync_folder, write_whole
from netc.files.opening import read_bytes
from netc.runtime.imageset.claim import LOCK, Claim

BATCH_BYTES = 1 << 24
BATCH_RECORDS = 1000
FIRST_MAP = 1 << 26
_FILES = ("data.mdb", "lock.mdb")


class Database:
    """Context manager: `put` records, then `publish`. Leaving it without `publish` leaves nothing behind. `replace`: a
    database that has the name already makes way when this one is complete; anything else does not.

    Raises O140 if `path` exists, O141 if another process is building it, O142 if it cannot be made there, X140 if it
    cannot be written (disk full).
    """

    def __init__(self, path: Path, map_size: int = FIRST_MAP, replace: bool = False) -> None:
        self.path, self.map_size, self.replace = path, map_size, replace
        self._batch: list[tuple[bytes, bytes]] = []
        self._batch_bytes = 0
        self._env: Any = None
        self._claim: Claim | None = None

    @property
    def building(self) -> Path:
        return self.path.with_name(self.path.name + ".building")

    def __enter__(self) -> Database:
        self._refuse_existing()
        with self._reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._claim = Claim(self.building, _FILES, self.path)
        try:
            self._refuse_existing()  # another build may have published it meanwhile
            with self._reported():
                self._open()
        except BaseException:
            self._give_up()
            raise
        return self

    def _open(self) -> None:
        import lmdb

        # No flush at each commit: nothing counts until publish() has flushed everything.
        self._env = lmdb.open(str(self.building), map_size=self.map_size, sync=False, metasync=False, meminit=False)

    def put(self, key: bytes, value: bytes) -> None:
        self._batch.append((key, value))
        self._batch_bytes += len(key) + len(value)
        if len(self._batch) >= BATCH_RECORDS or self._batch_bytes >= BATCH_BYTES:
            self._commit()

    def _commit(self) -> None:
        with self._reported():
            while not self._try_commit():
                self.map_size = max(self.map_size, self._batch_bytes) * 2
                self._env.set_mapsize(self.map_size)
        self._batch, self._batch_bytes = [], 0

    def _try_commit(self) -> bool:
        """False, and nothing written, where the map is too small."""
        import lmdb

        try:
            with self._env.begin(write=True) as transaction:
                for key, value in self._batch:
                    transaction.put(key, value)
        except lmdb.MapFullError:
            return False
        return True

    def publish(self) -> None:
        """Flush to the disk and give the database its name."""
        self._commit()
        with self._reported():
            self._env.sync(True)
            self._env.close()
            self._env = None
            flush(self.building / "data.mdb")
            sync_folder(self.building)
            self._take_name()
            (self.path / LOCK).unlink()
            sync_folder(self.path.parent)

    def _take_name(self) -> None:
        self._refuse_existing()
        older = self.path.with_name(f"{self.path.name}.replaced")
        if self.replace and self.path.exists():
            os.rename(self.path, older)
        try:
            os.rename(self.building, self.path)
        except OSError:
            if older.exists() and not self.path.exists():
                os.rename(older, self.path)
            self._refuse_existing()  # it came meanwhile
            raise
        if self.replace and older.exists():
            shutil.rmtree(older)
        assert self._claim is not None
        self._claim.release()
        self._claim = None

    def _give_up(self) -> None:
        if self._env is not None:
            self._env.close()
        if self._claim is not None:
            self._claim.discard()

    def _refuse_existing(self) -> None:
        if not (self.replace and _is_database(self.path)):
            refuse_existing(self.path)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._give_up()

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """LMDB's and the system's errors in words: which file, and how much room there is."""
        import lmdb

        try:
            yield
        except (OSError, lmdb.Error) as error:
            if not self._env and isinstance(error, PermissionError | FileExistsError | NotADirectoryError):
                raise NetcError("O142", f"cannot make it: {error.strerror}", Place(str(self.path))) from error
            raise self._write_error(error) from error

    def _write_error(self, error: Exception) -> NetcError:
        free = free_bytes(self.path.parent) if self.path.parent.is_dir() else 0
        data = self.building / "data.mdb"
        written = data.stat().st_size if data.exists() else 0
        state = f"{written / 2**20:.1f} MiB were written, {free / 2**20:.1f} MiB are free there"
        full = free < BATCH_BYTES  # LMDB reports a full disk as a plain I/O error
        message = "the disk is full" if full else f"writing failed ({getattr(error, 'strerror', None) or error})"
        hint = "free some space or write the database elsewhere; nothing was left behind"
        return NetcError("X140", f"{message}: {state}", Place(str(self.path)), hint)


def _is_database(path: Path) -> bool:
    """A folder with an LMDB in it and nothing else."""
    if path.is_symlink() or not path.is_dir():
        return False
    names = {entry.name for entry in path.iterdir()}
    return _FILES[0] in names and names <= set(_FILES)


def refuse_existing(path: Path, hint: str | None = None) -> None:
    if os.path.lexists(path):
        raise NetcError("O140", "this exists already", Place(str(path)), hint or "remove it or choose another name")


def refuse_others(path: Path, content: bytes) -> None:
    """O140 where there is something of this name, unless it is just what would be written."""
    if not os.path.lexists(path):
        return
    with contextlib.suppress(OSError, NetcError):
        if not path.is_symlink() and read_bytes(path, len(content)) == content:
            return
    refuse_existing(path)


def write_file(path: Path, content: bytes) -> None:
    """Write a small file so that it is there whole or not at all (an older one stays until then). Raises O165, X166,
    X167."""
    write_whole(path, [content])
