"""Files written anew: whole or not at all, with the rights they had; text that goes to a terminal or a pipe."""

from __future__ import annotations

import difflib
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from netc.errors import NetcError, Place, printable, printable_lines

if TYPE_CHECKING:
    from netc.prototxt import Source


def replace_file(name: str, chunks: Iterable[bytes | memoryview], force: bool = True) -> None:
    """Write a file so that it is there whole or not at all; one that is there already keeps its rights, and a link
    stays a link. Raises NetcError O151 (no right to write), O152 (the system refuses), X166 (disk full), X167; without
    `force` O140."""
    from netc.files.durable import NO_PLACE, refuse_existing, write_error, write_whole

    if not force:
        refuse_existing(name)
    path = Path(os.path.realpath(name))
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        why = "it is read-only" if path.is_file() else "it is not a regular file"
        raise NetcError("O151", f"cannot be written: {why}", Place(name), "give another name with -o")

    def explain(error: OSError) -> NetcError:
        if error.errno not in NO_PLACE:
            return write_error(error, Path(name))
        hint = "check the folder and the room on the disk; what was there is untouched"
        return NetcError("O152", f"cannot be written: {error.strerror or error}", Place(name), hint)

    write_whole(path, chunks, explain, stat.S_IMODE(path.stat().st_mode) if path.exists() else None)


def stdin() -> Source:
    from netc.files.opening import read_stdin
    from netc.prototxt import Source
    from netc.prototxt.source import MAX_BYTES

    return Source(read_stdin(MAX_BYTES).decode("utf-8", "surrogateescape"), "<stdin>")


def encoded(text: str) -> bytes:
    """A source's text as the bytes it came from."""
    return text.encode("utf-8", "surrogateescape")


def show(text: str) -> None:
    """Print a file's text on stdout: byte for byte into a pipe, without control characters on a terminal."""
    sys.stdout.flush()
    sys.stdout.buffer.write(encoded(printable_lines(text) if sys.stdout.isatty() else text))
    sys.stdout.buffer.flush()


def show_diff(name: str, before: str, after: str) -> None:
    """Print what would change, as `diff -u` does."""
    name = printable(name)
    lines = difflib.unified_diff(_split(before), _split(after), name, f"{name} (rewritten)", lineterm="")
    show("".join(f"{line}\n" for line in lines))


def _split(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []
