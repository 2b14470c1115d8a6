"""Files that appear whole or not at all: made in a folder beside their place, flushed to the disk, renamed.

    write_whole(path, chunks)      one file
    with Staging(out) as staging:  several that belong together, the one that vouches for the others last
        …

What fails or is interrupted on the way leaves nothing behind; what a killed process leaves, the next one removes.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType

from netc.errors import NetcError, Place
from netc.files.hashing import Chunk, Digest, hashed

NO_PLACE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ELOOP,
    errno.EEXIST,
    errno.ENOTEMPTY,
}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says where there is no room (`FULL`), or where nothing can be written at all (`NO_PLACE`)."""

Explain = Callable[[OSError], Exception]
"""What the system said, as an error that says what was written and what to do."""


def refuse_existing(*paths: str | os.PathLike[str], force: bool = False) -> None:
    """The rule of all commands that write: no file is replaced that they have not written, unless `force` (--force)
    says so; what is not a regular file is never replaced. Raises NetcError O140, O151, and O165 for a folder, and where
    there is none to write to: before the work, not after it."""
    for path in map(Path, paths):
        if not path.parent.is_dir():
            number = errno.ENOTDIR if os.path.lexists(path.parent) else errno.ENOENT
            raise write_error(OSError(number, os.strerror(number)), path)
        if not force and os.path.lexists(path):
            replaces = "; --force replaces it" if path.is_file() or path.is_symlink() else ""
            raise NetcError("O140", "this exists already", Place(os.fspath(path)), f"give another name{replaces}")
        if path.is_dir():
            raise write_error(IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)), path)
        _refuse_special(path)


def _refuse_special(path: Path) -> None:
    """Raises NetcError O151 for a pipe, a device or a socket: a new file would take its place."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise NetcError("O151", "cannot be written: it is not a regular file", Place(os.fspath(path)))


def write_whole(
    path: str | os.PathLike[str],
    chunks: Iterable[Chunk],
    explain: Explain | None = None,
    mode: int | None = None,
    force: bool = True,
) -> None:
    """Write one file, over whatever has its name. `explain`, `mode`, `force`: see `Staging`."""
    with Staging(path, explain, force=force) as staging:
        staging.write(path, chunks, mode)
        staging.publish()


class Staging:
    """Context manager: a folder for the files that will stand beside `out`. Write them there under their last names
    (with `write`, or at `path`), then `publish`. Leaving it without that leaves nothing behind.

    An OSError inside it is raised as what `explain` makes of it; by default NetcError O165 (no place to write), X166
    (disk full), X167 (I/O error). `kin`: a regular expression of names, whose leftovers are removed as well as `out`'s.
    `force`: whether files that are there may be replaced; if not, as `refuse_existing`. What is neither a file nor a
    folder is never replaced.
    """

    def __init__(
        self, out: str | os.PathLike[str], explain: Explain | None = None, kin: str = "", force: bool = True
    ) -> None:
        self.out, self._force = Path(out), force
        self.folder = self.out.parent / f".{self.out.name}.tmp-{host()}-{os.getpid()}"  # "." and "/" have no name
        self._explain = explain or partial(write_error, out=self.out)
        self._kin = kin or re.escape(self.out.name)
        self._flushes: list[_Flush] = []
        self._flushed: set[Path] = set()

    @property
    def path(self) -> Path:
        """Where `out` is made."""
        return self.folder / self.out.name

    def __enter__(self) -> Staging:
        try:
            self._refuse_existing(self.out)
            if self.out.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(self.out))
            for folder in stale(self.out.parent, self._kin):
                _remove(folder)
            _remove(self.folder)  # our own number, of a process before a restart
            self.folder.mkdir()
        except OSError as error:
            raise self._explain(error) from error
        return self

    def write(self, path: str | os.PathLike[str], chunks: Iterable[Chunk], mode: int | None = None) -> Digest:
        """Write what will be `path`, a name beside `out`, down to the disk; `mode`: its permissions, if not the usual.
        Raises OSError."""
        made = self.folder / Path(path).name
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            if mode is not None:
                os.fchmod(handle, mode)
            digest = hashed(chunks, partial(write_all, handle))
            # an fsync that failed is never tried again: the kernel forgets the pages it could not write
            os.fsync(handle)
        finally:
            os.close(handle)
        self._flushed.add(made)
        return digest

    def flush(self, path: Path) -> None:
        """Begin to write a finished file down to the disk, while other work goes on; `publish` waits for it."""
        self._flushes.append(_Flush(path))
        self._flushed.add(path)

    def publish(self) -> None:
        """Flush what was not flushed yet, and give the files their names, over whatever has them. `out` comes last,
        when the names of the others are on the disk."""
        for path in self.folder.iterdir():
            if path not in self._flushed:
                self.flush(path)
        for flush in self._flushes:
            flush.wait()
        others = [path for path in self.folder.iterdir() if path.name != self.out.name]
        self._refuse_existing(self.out, *(self.out.with_name(path.name) for path in others))
        for path in others:
            os.replace(path, self.out.with_name(path.name))
        if others:
            sync_folder(self.out.parent)
        os.replace(self.path, self.out)
        sync_folder(self.out.parent)

    def _refuse_existing(self, *paths: Path) -> None:
        if not self._force:
            refuse_existing(*paths)
        for path in paths:
            _refuse_special(path)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for flush in self._flushes:
            flush.join()
        _remove(self.folder)
        if isinstance(error, OSError) and error.errno is not None:
            raise self._explain(error) from error


def stale(parent: Path, kin: str) -> Iterator[Path]:
    """The folders that processes of this machine made in `parent` for files called like `kin`, a regular expression,
    and did not live to rename or remove. Raises OSError."""
    pattern = re.compile(rf"\.(?:{kin})\.tmp-{re.escape(host())}-(?P<process>\d+)")
    for name in os.listdir(parent):
        match = pattern.fullmatch(name)
        if match and not alive(int(match["process"])):
            yield parent / name


def _remove(folder: Path) -> None:
    with suppress(OSError):  # `ignore_errors` does not ignore those of fstat
        shutil.rmtree(folder, ignore_errors=True)


def write_all(handle: int, piece: Chunk) -> None:
    """Write all of `piece`, however many calls it takes. Raises OSError."""
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(handle, rest) :]


class _Flush(threading.Thread):
    """fsync of one file, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self._error: OSError | None = None
        self.start()

    def run(self) -> None:
        try:
            flush(self.path)
        except OSError as error:
            self._error = error

    def wait(self) -> None:
        self.join()
        if self._error is not None:
            raise self._error


def flush(path: Path) -> None:
    """fsync a file. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder last. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that has nothing to flush
            raise
    finally:
        os.close(handle)


def write_error(error: OSError, out: Path) -> NetcError:
    """What the system said while `out` was written, as an error with its remedy."""
    reason = error.strerror or str(error)
    if error.errno in NO_PLACE:
        return NetcError("O165", f"the file cannot be written: {reason}", Place(os.fspath(out)), "give another place")
    free = free_text(out.parent)
    if error.errno in FULL:
        hint = f"{free} are free there: make room, or write to another disk; nothing was left behind"
        return NetcError("X166", f"the file cannot be written: {reason}", Place(os.fspath(out)), hint)
    hint = "check the disk (dmesg names it), or write to another one; nothing was left behind"
    return NetcError("X167", f"the file cannot be written: {reason} ({free} free)", Place(os.fspath(out)), hint)


def free_bytes(folder: Path) -> int:
    """Bytes that may be written where `folder` lies (2⁶³ where the file system does not say). Raises OSError."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize if found.f_blocks else 1 << 63


def free_text(folder: Path) -> str:
    """The same for a message."""
    try:
        return f"{free_bytes(folder):,} bytes"
    except OSError:
        return "an unknown number of bytes"


def host() -> str:
    return re.sub(r"[^\w.]", "_", platform.node()) or "localhost"


def alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # our own, of an earlier failure
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
    return True
