"""Files that appear whole: written under another name, flushed to the disk, renamed. SHA-256 on the way."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from netc.errors import NetcError, Place
from netc.files.durable import FULL, NO_PLACE, alive, host
from netc.files.durable import sync_folder as sync_folder

_PIECE = 1 << 16


class Digest(NamedTuple):
    """Size in bytes and SHA-256, in hexadecimal."""

    size: int
    sha256: str


class Staged:
    """Temporary files on their way to their names; what was not published is removed at the end."""

    def __init__(self) -> None:
        self._waiting: dict[Path, Path] = {}

    def __enter__(self) -> Staged:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for temporary in self._waiting.values():
            with suppress(OSError):
                temporary.unlink()

    def write(self, path: Path, chunks: Iterable[bytes | memoryview], mode: int | None = None) -> Digest:
        """Write what will be `path`, down to the disk; `mode`: its permissions, if not the usual. Raises OSError."""
        temporary = path.with_name(f"{path.name}.tmp-{host()}-{os.getpid()}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._waiting[path] = temporary
        try:
            if mode is not None:
                os.fchmod(handle, mode)
            result = _write(handle, chunks)
            # an fsync that failed is never tried again: the kernel forgets the pages it could not write
            os.fsync(handle)
        finally:
            os.close(handle)
        return result

    def publish(self, *paths: Path) -> None:
        """Give the files their names, over whatever has them. Raises OSError."""
        for path in paths:
            os.replace(self._waiting[path], path)
            del self._waiting[path]


def digest(path: Path, limit: int) -> Digest:
    """Size and SHA-256 of a file; the SHA-256 of one that is not `limit` bytes long is not computed. Raises OSError."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        return Digest(size, hashlib.file_digest(file, "sha256").hexdigest() if size == limit else "")


def free_bytes(folder: Path) -> int:
    """Bytes that may be written where `folder` lies (2⁶³ where the file system does not say). Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize if found.f_blocks else 1 << 63


def remove_stale(prefix: Path) -> None:
    """Remove temporary files of this prefix whose process on this machine is no more. Raises OSError where the folder
    cannot be listed."""
    pattern = re.compile(rf"{re.escape(prefix.name)}_iter_\d+\..*\.tmp-{re.escape(host())}-(\d+)")
    for name in os.listdir(prefix.parent):
        match = pattern.fullmatch(name)
        if match and not alive(int(match[1])):
            with suppress(OSError):
                prefix.with_name(name).unlink()


def write_error(error: OSError, folder: Path, need: int) -> NetcError:
    """What the system said, as an error with the room there is."""
    where = Place(os.fspath(error.filename or folder))
    reason = error.strerror or str(error)
    kept = "earlier snapshots are untouched"
    if error.errno in NO_PLACE:
        return NetcError(
            "O701", f"the snapshot cannot be written: {reason}", where, f"check snapshot_prefix and its folder; {kept}"
        )
    if error.errno in FULL:
        return NetcError(
            "X701",
            f"the snapshot cannot be written: {reason}; it takes {need:,} bytes, {_free(folder)} are free",
            where,
            f"free some space, or set snapshot_prefix to another disk; {kept}",
        )
    return NetcError(
        "X702",
        f"the snapshot cannot be written: {reason} ({need:,} bytes, {_free(folder)} free)",
        where,
        f"check the disk (dmesg names it), or set snapshot_prefix to another one; {kept}",
    )


def _write(handle: int, chunks: Iterable[bytes | memoryview]) -> Digest:
    size, sha = 0, hashlib.sha256()
    for piece in _pieces(chunks):
        sha.update(piece)
        size += len(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(handle, rest) :]
    return Digest(size, sha.hexdigest())


def _pieces(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """The same bytes, small chunks joined."""
    small = bytearray()
    for chunk in chunks:
        if len(chunk) < _PIECE:
            small += chunk
        if small and (len(chunk) >= _PIECE or len(small) >= _PIECE):
            yield bytes(small)
            small.clear()
        if len(chunk) >= _PIECE:
            yield chunk
    if small:
        yield bytes(small)


def _free(folder: Path) -> str:
    try:
        return f"{free_bytes(folder):,}"
    except OSError:
        return "an unknown number"
