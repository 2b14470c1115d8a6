"""Opening what a user or a file names: regular files alone, and no more bytes than such a file can sensibly have.

    open_regular(path)          an open file
    read_bytes(path, most)      its bytes
    read_stdin(most)            what comes in at the standard input
    handle_of(path)             a bare descriptor, for what is mapped or read in a thread

A FIFO would wait for a writer, a device may have no end, and a folder has no bytes: each is refused at once, also
behind a link. Whatever reads a file that a user or another file names opens it here;
`tests/test_opening.py` holds this.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from io import BufferedReader

from netc.errors import NetcError, Place

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: str | os.PathLike[str], place: Place | None = None) -> BufferedReader:
    """Open a regular file for reading. `place`: where it is named, for the error; by default the path itself.

    Raises OSError (missing, no right to read), NetcError F102 (a folder, pipe, device, socket, or links
    that lead in a circle).
    """
    return os.fdopen(handle_of(path, place), "rb")


def handle_of(path: str | os.PathLike[str], place: Place | None = None) -> int:
    """The same as a descriptor, which the caller closes."""
    if "\0" in os.fsdecode(path):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))
    handle = _opened(path, place)
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            what = next((what for is_kind, what in _KINDS if is_kind(mode)), "something else")
            raise NetcError("F102", f"{os.fspath(path)} is not a regular file but {what}", _place(path, place))
        return handle
    except BaseException:
        os.close(handle)
        raise


def _opened(path: str | os.PathLike[str], place: Place | None) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)  # a FIFO must not block this
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _circle(path, place) from None
        raise


def is_there(path: str | os.PathLike[str], place: Place | None = None) -> bool:
    """Whether there is something of this name. Raises NetcError F102 for links that lead in a circle."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _circle(path, place) from None
        return False
    except ValueError:  # a NUL in the name
        return False
    return True


def _circle(path: str | os.PathLike[str], place: Place | None) -> NetcError:
    return NetcError("F102", f"{os.fspath(path)} leads nowhere: its links go in a circle", _place(path, place))


def read_bytes(path: str | os.PathLike[str], most: int, place: Place | None = None) -> bytes:
    """The bytes of a regular file of at most `most` bytes; one that grows meanwhile is read as far as it went.

    Raises OSError, NetcError F102 (not a regular file), F104 (larger).
    """
    with open_regular(path, place) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise too_large(os.fspath(path), size, most, _place(path, place))
        return file.read(size)  # so much is allocated


def read_stdin(most: int) -> bytes:
    """What comes in at the standard input, of at most `most` bytes. Raises OSError, NetcError F104 (more)."""
    content = sys.stdin.buffer.read(most + 1)
    if len(content) > most:
        message = f"more than {most:,} bytes come in at the standard input, and no more are read here"
        raise NetcError("F104", message, Place("<stdin>"), "is it the file that you mean?")
    return content


def too_large(name: str, size: int, most: int, place: Place) -> NetcError:
    message = f"{name} has {size:,} bytes, and at most {most:,} are read here"
    return NetcError("F104", message, place, "is it the file that you mean?")


def _place(path: str | os.PathLike[str], place: Place | None) -> Place:
    return place or Place(os.fspath(path))
