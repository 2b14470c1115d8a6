"""What a user sees when something fails: one message on stderr and an exit status, never a bare traceback.

Imported only then.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import click

from netc.cli._status import BROKEN_PIPE, FAILED, INTERRUPTED
from netc.errors import NetcError, Place, printable

MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST})
HINTS = {
    errno.ENOSPC: "the disk is full: free some space, or write to another one",
    errno.EDQUOT: "your disk quota is used up",
    errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
    errno.EACCES: "check the permissions of the file and of its folder",
}


def report(error: BaseException, debug: bool = False) -> int:
    """Print what `error` means to the user and return the exit status."""
    if debug and not isinstance(error, SystemExit | click.ClickException):
        traceback.print_exception(error)
    match error:
        case SystemExit():
            return _exit_code(error)
        case BrokenPipeError():
            _hush_stdout()
            return BROKEN_PIPE
        case KeyboardInterrupt() | click.Abort():
            return _say("netc: interrupted", INTERRUPTED)
        case click.ClickException():
            error.show()
            return error.exit_code
        case NetcError():
            return _say(str(error), error.exit_status)
        case OSError() if error.errno is not None:
            _hush_stdout()
            mapped = from_os_error(error)
            return _say(str(mapped), mapped.exit_status)
    if out_of_memory(error):
        return _say(f"netc: out of memory: {_first_line(error)}\n  help: a smaller batch_size needs less", FAILED)
    return _say(
        f"netc: internal error: {_first_line(error)} ({_where(error)}); please report it; {_how(debug)}", FAILED
    )


def from_os_error(error: OSError) -> NetcError:
    """The operating system's refusal as an error of ours, with the file it is about."""
    number = error.errno or 0
    code = "F900" if number in MISSING else "O900" if number in FORBIDDEN else "X900"
    place = Place(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    return NetcError(code, error.strerror or str(error), place, HINTS.get(number))


def out_of_memory(error: BaseException) -> bool:
    """Whether the machine or the GPU ran out; torch says so by a RuntimeError of its own."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


def _exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    return _say(str(error.code), FAILED)


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {printable(lines[0])}" if lines else type(error).__name__


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"


def _how(debug: bool) -> str:
    return "the traceback is above" if debug else "--debug shows the traceback"


def _say(text: str, status: int) -> int:
    with suppress(OSError):  # stderr may be closed or full: the status still tells
        click.echo(text, err=True)
    return status


def _hush_stdout() -> None:
    """Where stdout takes no more, let the interpreter's last flush go nowhere: it would print a second error."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
