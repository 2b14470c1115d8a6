"""Standard streams that text of any origin may be written to: a terminal obeys control characters, so none reaches it.

    with clean_streams():       the command line does this once, around everything
        print(name_from_a_file)

Names are also shown with escapes where messages are made (`netc.errors.printable`): into a file or for a program's own
use. This is the last place, which nothing passes by.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from netc.errors import visible

HARMFUL = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that steer a terminal (C0, C1), turn text round (bidi) or cannot be encoded."""


def clean(text: str) -> str:
    """`text` with escapes for what is harmful in it; lines and tabs stay."""
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(visible(c) if c not in "\n\t" and unicodedata.category(c) in HARMFUL else c for c in text)


class Clean:
    """A text stream whose `write` cleans; all else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        if text != "":  # Python writes to the file even so (click tries b"", to see what kind of stream this is)
            self.raw.write(clean(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw(stream: Any) -> Any:
    """The stream below, for what moves the cursor itself (a progress line)."""
    return stream.raw if isinstance(stream, Clean) else stream


@contextmanager
def clean_streams() -> Iterator[None]:
    """Within it, sys.stdout and sys.stderr are there and clean."""
    open_closed()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Clean(raw(before[0])), Clean(raw(before[1]))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


_STANDARD = (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_RDONLY, "w"), ("stderr", os.O_WRONLY, "w"))
"""What takes the place of each: a write to stdout fails, since somebody wants the result."""


def open_closed() -> None:
    """Give standard streams that were closed (`2>&-`) to /dev/null, before a file that is opened takes their number and
    what is printed goes into it."""
    for number, (name, flags, mode) in enumerate(_STANDARD):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, errors="backslashreplace", closefd=False))  # noqa: SIM115
