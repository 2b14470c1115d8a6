"""Files that netc goes on writing to from one run to the next: its own, told by how they begin, and never a link.

    handle = open_own("run.metrics.jsonl", b'{"netc_metrics": 1, "run": "run"')

What has the name and is something else, a user's or another program's, is left as it is.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class Foreign(Exception):
    """What has the name is not a file of netc's, or no file can have it; the text says so. `hint`: what to do."""

    def __init__(self, reason: str, hint: str = "move it away, or set another snapshot_prefix") -> None:
        super().__init__(reason)
        self.hint = hint


def open_own(path: str | os.PathLike[str], mark: bytes) -> int:
    """A handle to read `path` and to append to it: a new file, or one that begins with `mark` or is empty.

    Raises Foreign, OSError.
    """
    if "\0" in os.fsdecode(path):
        raise Foreign("no file can have this name", "set a snapshot_prefix without a NUL (\\0)")
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        pass
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise Foreign(_kind(path)) from None
        raise
    if stat.S_ISREG(os.fstat(handle).st_mode) and os.pread(handle, len(mark), 0) in (b"", mark):
        return handle
    os.close(handle)
    raise Foreign(_kind(path))


def _kind(path: str | os.PathLike[str]) -> str:
    path = Path(path)
    if path.is_symlink():
        return "it is a link"
    return "netc did not write it" if path.is_file() else "it is not a regular file"
