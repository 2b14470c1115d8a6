"""What a user sees when something fails: one message on stderr and an exit status, never a bare traceback; with
`--json`, the same errors on stdout as one document.

Imported only then.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from contextlib import suppress
from io import StringIO
from pathlib import Path

import click

from netc.cli._options import json_text
from netc.cli._status import BROKEN_PIPE, DONE, FAILED, INTERRUPTED
from netc.errors import NetcError, Place, nearest, printable
from netc.errors.remark import as_dict

USAGE = "C100"
"""The code of what click refuses, in JSON."""

MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST})
HINTS = {
    errno.ENOSPC: "the disk is full: free some space, or write to another one",
    errno.EDQUOT: "your disk quota is used up",
    errno.EMFILE: "too many open files: raise the limit (ulimit -n)",
    errno.EBADF: "stdout is closed: give it a file or a pipe, /dev/null for nothing",
    errno.EACCES: "check the permissions of the file and of its folder",
}


def report(error: BaseException, debug: bool = False, as_json: bool = False) -> int:
    """Say on stderr what `error` means to the user, with `as_json` also as one JSON document on stdout; return the exit
    status. What ends without a message (a closed pipe, an exit by status) has no document either."""
    if debug and not isinstance(error, SystemExit | click.ClickException):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        _hush_stdout()
        return BROKEN_PIPE
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or DONE
    if isinstance(error, OSError):
        _hush_stdout()
        error = from_os_error(error) if error.errno is not None else error
    if isinstance(error, click.UsageError):
        error = _mended(error)
    text, status = _said(error, debug)
    if as_json:
        _print_json(error, text)
    with suppress(OSError):  # stderr may be closed or full: the status still tells
        click.echo(text, err=True)
    return status


def _said(error: BaseException, debug: bool) -> tuple[str, int]:
    """The text for stderr and the exit status."""
    match error:
        case SystemExit():
            return str(error.code), FAILED
        case KeyboardInterrupt() | click.Abort():
            return "netc: interrupted", INTERRUPTED
        case click.ClickException():
            return _usage(error), error.exit_code
        case NetcError():
            return str(error), error.exit_status
    if out_of_memory(error):
        return f"netc: out of memory: {_first_line(error)}\n  help: a smaller batch_size needs less", FAILED
    return f"netc: internal error: {_first_line(error)} ({_where(error)}); please report it; {_how(debug)}", FAILED


PLAIN = (("a valid integer range", "a whole number"), ("a valid float range", "a number"))
"""What click says of a value, and what it means."""


def _mended(error: click.UsageError) -> click.UsageError:
    """What click says of an option in plain words, and without names that are not near."""
    if isinstance(error, click.NoSuchOption):
        name = error.option_name.lstrip("-")
        near = [one for one in error.possibilities or () if nearest(name, [one.lstrip("-")])]
        own = error.ctx is None or error.ctx.parent is not None
        where = None if own else f"Options of a command stand behind its name: netc COMMAND {error.option_name}"
        message = f"No such option '{error.option_name}'. {where}." if where else None
        return click.NoSuchOption(error.option_name, message, near, error.ctx)
    if isinstance(error, click.BadParameter):
        message = error.format_message()
        for term, word in PLAIN:
            message = message.replace(term, word)
        return click.UsageError(message, error.ctx)
    return error


def _usage(error: click.ClickException) -> str:
    """As click shows it: how the command is used, and what was wrong; the whole help where nothing was asked for."""
    text = StringIO()
    error.show(text)
    return text.getvalue().rstrip("\n")


def _print_json(error: BaseException, text: str) -> None:
    """The document of docs/look.md. What has no code of its own is an interruption or a fault of netc."""
    if isinstance(error, click.ClickException):
        error = NetcError(USAGE, error.format_message())
    errors = error.errors if isinstance(error, NetcError) else ()
    bare = {"code": None, "message": text.split("\n")[0], "path": "", "line": 0, "column": 0, "hint": None}
    with suppress(OSError):
        click.echo(json_text({"ok": False, "errors": [as_dict(one) for one in errors] or [bare]}))


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


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {printable(lines[0])}" if lines else type(error).__name__


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "nowhere"


def _how(debug: bool) -> str:
    return "the traceback is above" if debug else "--debug shows the traceback"


def _hush_stdout() -> None:
    """Where stdout takes no more, let the interpreter's last flush go nowhere: it would print a second error."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
