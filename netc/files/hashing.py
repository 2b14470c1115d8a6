"""SHA-256 of files: of what is written on its way to the disk, of what lies there, in a thread beside other work.

Nothing heavy is imported here, so that hashing half a gigabyte can begin before what works with it is even loaded.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from netc.errors import NetcError, Place
from netc.files.opening import handle_of, open_regular

Chunk = bytes | memoryview
_SMALL = 1 << 16
_PIECE = 1 << 22
"""Bytes read at a time. After each call the thread waits for a busy interpreter (`short_turns`), so a piece must not be
small beside what is hashed in that time."""

_TURN = 5e-4
"""Seconds: an eighth of what reading and hashing a piece takes."""


class Digest(NamedTuple):
    """Size in bytes and SHA-256, in hexadecimal."""

    size: int
    sha256: str


def hashed(chunks: Iterable[Chunk], write: Callable[[Chunk], object]) -> Digest:
    """Hand on chunks to `write`, small ones joined, and tell what they came to."""
    size, sha = 0, hashlib.sha256()
    for piece in _joined(chunks):
        sha.update(piece)
        size += len(piece)
        write(piece)
    return Digest(size, sha.hexdigest())


def _joined(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    small = bytearray()
    for chunk in chunks:
        if len(chunk) < _SMALL:
            small += chunk
        if small and (len(chunk) >= _SMALL or len(small) >= _SMALL):
            yield bytes(small)
            small.clear()
        if len(chunk) >= _SMALL:
            yield chunk
    if small:
        yield bytes(small)


def digest_of(path: Path, limit: int) -> Digest:
    """Size and SHA-256 of a file; the SHA-256 of one that is not `limit` bytes long is not computed. Raises
    OSError, NetcError F102 (not a regular file)."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return Digest(size, hashlib.file_digest(file, "sha256").hexdigest() if size == limit else "")


@contextmanager
def short_turns() -> Iterator[None]:
    """Threads of this process that ask a busy one for the interpreter get it after half a millisecond, not after
    Python's five, in which a hash beside an import stands still. For commands: it is the whole process that is set."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Hashing:
    """The hash of an open file, under way. Takes the descriptor over: it is closed when all is read."""

    def __init__(self, handle: int, name: str) -> None:
        self.name, self.found = name, os.fstat(handle)
        self._handle, self._sha = handle, hashlib.sha256()
        self._error: NetcError | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    @classmethod
    def begun(cls, path: str | os.PathLike[str]) -> Hashing | None:
        """Of the file of that name; None where none can be opened, which whoever reads it will say."""
        try:
            return cls(handle_of(path), os.fspath(path))
        except (OSError, ValueError, NetcError):
            return None

    def is_of(self, handle: int) -> bool:
        """Whether another descriptor is of the same file, unchanged since."""
        now, found = os.fstat(handle), self.found
        return os.path.samestat(now, found) and (now.st_size, now.st_mtime_ns) == (found.st_size, found.st_mtime_ns)

    def hexdigest(self) -> str:
        """Wait for it. Raises NetcError X110 where the file cannot be read any more."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._sha.hexdigest()

    def _work(self) -> None:
        try:
            self._read(memoryview(bytearray(min(_PIECE, self.found.st_size))))
        except OSError as error:
            self._error = self._unreadable(error.strerror or str(error))
        finally:
            os.close(self._handle)

    def _read(self, room: memoryview) -> None:
        at, size = 0, self.found.st_size
        while at < size:
            count = os.preadv(self._handle, [room[: size - at]], at)
            if not count:
                self._error = self._unreadable(f"it ends at byte {at:,} now, and had {size:,} when it was opened")
                return
            self._sha.update(room[:count])
            at += count

    def _unreadable(self, reason: str) -> NetcError:
        hint = "is another process writing or truncating it? wait until it is done"
        return NetcError("X110", f"the file cannot be read any more: {reason}", Place(self.name), hint)
