"""Before the first iteration: can snapshots be written, is there room for one, and is nobody else writing them?

Found out now, in milliseconds, and not after the first hour.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path

from netc.errors import NetcError, Place
from netc.files.durable import free_bytes, write_all
from netc.files.owned import Foreign, open_own


def check_folder(prefix: Path, need: int, place: Place | None = None) -> None:
    """Create the folder that snapshots go to and write to it; `need` is the size of one snapshot in bytes,
    `place` where the solver names the prefix.

    Raises NetcError O610 (cannot be created or written), X610 (too little room for a snapshot).
    """
    folder = prefix.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NetcError(
            "O610",
            f'snapshots cannot be written to the folder "{folder}": {error.strerror}',
            place,
            "set snapshot_prefix to a place you can write to",
        ) from None
    free = free_bytes(folder)
    if free < need:
        raise NetcError(
            "X610",
            f'a snapshot takes {_mib(need)}, but "{folder}" has only {_mib(free)} free',
            place,
            "free some space, or set snapshot_prefix to another disk",
        )


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB" if count >= 10 * 2**20 else f"{count / 2**10:,.0f} KiB"


class PrefixLock:
    """While entered, no other training run on this machine can use the same snapshot prefix.

    An flock on PREFIX.netc.lock, so that it goes with the process however that ends. Raises NetcError O611 (another run
    has it), O613 (a link, or a file that is not a lock of netc's).
    """

    def __init__(self, prefix: Path) -> None:
        self.path = prefix.with_name(f"{prefix.name}.netc.lock")
        self._mark = f"netc training lock of {prefix.name}\n".encode()
        self._file: int | None = None

    def __enter__(self) -> PrefixLock:
        while self._file is None:
            handle = self._open()
            self._lock(handle)
            if self._is_current(handle):
                self._file = handle
            else:  # its owner removed it between our open and our lock
                os.close(handle)
        with suppress(OSError):  # a full disk: the lock holds all the same
            mark = b"" if os.fstat(self._file).st_size else self._mark
            write_all(self._file, mark + f"process {os.getpid()}\n".encode())
        return self

    def _open(self) -> int:
        try:
            return open_own(self.path, self._mark)
        except Foreign as error:
            message = f"the lock of the training has no place: {error}"
            raise NetcError("O613", message, Place(str(self.path)), error.hint) from None

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            found = re.findall(rb"^process (\d{1,20})$", os.pread(handle, 1 << 16, 0), re.MULTILINE)
            owner = found[-1].decode() if found else "unknown"
            os.close(handle)
            raise NetcError(
                "O611",
                f"another training run (process {owner}) writes snapshots with this prefix",
                Place(str(self.path)),
                "wait for it, end it, or set another snapshot_prefix",
            ) from None
        except OSError:  # a file system without locks: better to train unguarded than not at all
            pass

    def _is_current(self, handle: int) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(handle), os.lstat(self.path))
        return False

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            if self._is_current(self._file):
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None
