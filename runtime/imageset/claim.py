"""A folder in which one process at a time builds something, told from what others put there by a lock with netc's mark.

Of several that claim it one succeeds, whatever their order: whoever has the lock of the folder of that name owns it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from netc.errors import NetcError, Place

LOCK, MARK = "build.lock", b"netc is building an LMDB here\n"
_ATTEMPTS, _PAUSE = 50, 0.01
_NOT_OURS = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR}
"""What opening says of links, files, pipes and folders where a folder or its lock should be."""


class Claim:
    """`folder`, made anew, or as a killed process has left it, but without its `files`. `wanted`: what will be made of
    it. Raises NetcError O141 (another process has it), O142 (it is not netc's), OSError."""

    def __init__(self, folder: Path, files: tuple[str, ...], wanted: Path) -> None:
        self.folder, self.files, self._wanted = folder, files, wanted
        for _ in range(_ATTEMPTS):  # others may come and go in between
            lock = self._attempt()
            if lock is not None:
                self._lock = lock
                return
        raise self._in_the_way()

    def release(self) -> None:
        """Let others have the folder, which is there no more, or has another name."""
        os.close(self._lock)

    def discard(self) -> None:
        """Remove the folder with its files, and let others have it."""
        self._remove()
        self.release()

    def _remove(self) -> None:
        """The lock goes last: until then nobody else touches the folder."""
        for name in (*self.files, LOCK):
            with suppress(OSError):
                (self.folder / name).unlink()
        with suppress(OSError):
            self.folder.rmdir()

    def _attempt(self) -> int | None:
        """The lock; None where the folder has just gone, or whoever made it has no lock there yet."""
        fresh = _made(self.folder)
        try:
            folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return self._locked(folder, _open_lock(folder, fresh))
            except FileNotFoundError:
                if fresh:  # another made it anew, and has given it its last name by now: the lock here is ours alone
                    with suppress(OSError):
                        os.unlink(LOCK, dir_fd=folder)
                raise
            finally:
                os.close(folder)
        except (FileNotFoundError, FileExistsError):
            with suppress(OSError):
                self.folder.rmdir()  # it is empty if its maker was killed at once
            time.sleep(_PAUSE)
            return None
        except OSError as error:
            if fresh:
                with suppress(OSError):
                    self.folder.rmdir()  # it is empty where no lock could be made
            if error.errno in _NOT_OURS:
                raise self._in_the_way() from None
            raise

    def _locked(self, folder: int, lock: int) -> int | None:
        """The lock, held and marked, if it still is that of the folder; what a killed process left is cleared away."""
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(lock), os.lstat(self.folder / LOCK)):
                raise FileNotFoundError
            mark = os.pread(lock, len(MARK) + 1, 0)
            if mark != MARK and (mark or os.listdir(folder) != [LOCK]):
                raise self._in_the_way()
            self._mark(lock)
            for name in self.files:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
            return lock
        except BaseException as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                raise NetcError("O141", "another netc is building this", Place(str(self._wanted))) from None
            raise

    def _mark(self, lock: int) -> None:
        """Write the mark, of which a full disk may take a part: a folder that it does not tell is removed again."""
        try:
            if os.pwrite(lock, MARK, 0) < len(MARK):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder / LOCK))
        except OSError:
            self._remove()
            raise

    def _in_the_way(self) -> NetcError:
        message = f"{self.folder} is in the way, which netc did not make"
        return NetcError("O142", message, Place(str(self._wanted)), "move it away, or choose another name")


def _made(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _open_lock(folder: int, fresh: bool) -> int:
    create = os.O_CREAT | os.O_EXCL if fresh else 0
    return os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | create, 0o644, dir_fd=folder)
