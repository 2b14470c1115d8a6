"""Files that appear whole: made in a folder beside their place, flushed to the disk, renamed.

What fails or is interrupted on the way leaves nothing behind; what a killed process leaves, the next one removes.
"""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from netc.errors import NetcError, Place

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


class Staging:
    """Context manager: a folder for the files that will stand beside `out`. Write them there under their last names
    (`path`), then `publish`. Leaving it without that leaves nothing behind. An OSError inside it becomes a NetcError.

    Raises NetcError O165 (no place to write), O166 (disk full), O167 (I/O error).
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.out = Path(out)
        self.folder = self.out.parent / f".{self.out.name}.tmp-{host()}-{os.getpid()}"  # "." and "/" have no name
        self._flushes: list[_Flush] = []

    @property
    def path(self) -> Path:
        """Where `out` is made."""
        return self.folder / self.out.name

    def __enter__(self) -> Staging:
        try:
            if self.out.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(self.out))
            self._remove_stale()
            shutil.rmtree(self.folder, ignore_errors=True)  # our own number, of a process before a restart
            self.folder.mkdir()
        except OSError as error:
            raise write_error(error, self.out) from error
        return self

    def flush(self, path: Path) -> None:
        """Begin to write a finished file down to the disk, while other work goes on; `publish` waits for it."""
        self._flushes.append(_Flush(path))

    def publish(self) -> None:
        """Flush what was not flushed yet, and give the files their names, over whatever has them, `out` last."""
        files = sorted(self.folder.iterdir(), key=lambda path: path.name == self.out.name)
        begun = {flush.path for flush in self._flushes}
        for path in files:
            if path not in begun:
                self.flush(path)
        for flush in self._flushes:
            flush.wait()
        for path in files:
            os.replace(path, self.out.with_name(path.name))
        sync_folder(self.out.parent)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for flush in self._flushes:
            flush.join()
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise write_error(error, self.out) from error

    def _remove_stale(self) -> None:
        pattern = re.compile(rf"\.{re.escape(self.out.name)}\.tmp-{re.escape(host())}-(\d+)")
        for name in os.listdir(self.out.parent):
            match = pattern.fullmatch(name)
            if match and not alive(int(match[1])):
                shutil.rmtree(self.out.with_name(name), ignore_errors=True)


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
    free = _free(out.parent)
    if error.errno in FULL:
        hint = f"{free} are free there: make room, or write to another disk; nothing was left behind"
        return NetcError("O166", f"the file cannot be written: {reason}", Place(os.fspath(out)), hint)
    hint = "check the disk (dmesg names it), or write to another one; nothing was left behind"
    return NetcError("O167", f"the file cannot be written: {reason} ({free} free)", Place(os.fspath(out)), hint)


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free:,} bytes"
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
