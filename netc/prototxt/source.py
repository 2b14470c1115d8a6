"""A source text and the places in it."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from functools import cached_property
from itertools import accumulate

from netc.errors import NetcError, Place
from netc.files.opening import open_regular, read_bytes
from netc.files.paths import nearest_path

MAX_BYTES = 4 << 20
"""Longest prototxt that is read. The largest net in the wild is 0.3 MB; hostile files come in gigabytes."""

MAX_FIELDS = 100_000
"""Most fields, blocks, list items or strings in one file; the largest net in the wild has 20,000 fields."""

HEAD = 4096
"""Bytes by which text and binary are told apart."""

CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
"""Bytes that no text has and nearly every binary message: tags, lengths, small numbers."""


class Source:
    """Text with the name it is known by (a path, or "<text>"), able to turn an offset into a :class:`Place`."""

    def __init__(self, text: str, path: str = "<text>") -> None:
        self.text, self.path = text, path
        self._line: tuple[int, str] = (-1, "")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Source:
        """Read a prototxt file. Bytes that are not UTF-8 survive as surrogates (C++ strings hold any byte).

        Raises NetcError F101 (missing), F102 (not a regular file), P103 (too long), X101 (cannot be read).
        """
        name = os.fspath(path)
        return cls(_read_bytes(name).decode("utf-8", "surrogateescape"), name)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *accumulate(len(line) + 1 for line in self.text.split("\n"))][:-1]

    def place(self, offset: int, length: int = 1) -> Place:
        """The place of `length` characters at `offset`."""
        row = bisect_right(self._starts, offset) - 1
        return Place(self.path, row + 1, offset - self._starts[row] + 1, max(1, length), self._row(row))

    def offset(self, place: Place) -> int:
        """Where a place of this source begins in the text."""
        return self._starts[place.line - 1] + place.column - 1

    def _row(self, row: int) -> str:
        """The text of a line; places in one line share it (it may be the whole file)."""
        if self._line[0] != row:
            start = self._starts[row]
            end = self.text.find("\n", start)
            self._line = (row, self.text[start : end if end >= 0 else len(self.text)].rstrip("\r"))
        return self._line[1]


def may_be_binary(path: str | os.PathLike[str]) -> bool:
    """Whether a file looks binary by its first bytes: control characters, or nothing that a prototxt is made of."""
    try:
        with open_regular(path) as file:
            head = file.read(HEAD)
    except (OSError, ValueError, NetcError):  # whoever reads the file will say so
        return False
    return CONTROL.search(head) is not None or (head.strip() != b"" and b":" not in head and b"{" not in head)


def _read_bytes(name: str) -> bytes:
    try:
        return read_bytes(name, MAX_BYTES)
    except NetcError as error:
        raise _too_long(error, name) from None
    except FileNotFoundError:
        raise NetcError("F101", f"no such file: {name}", Place(name), _sibling_hint(name)) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise NetcError("X101", f"cannot read {name!r}: {error}", Place(name)) from None


def _too_long(error: NetcError, name: str) -> NetcError:
    """A file that is too large, in the words of a prototxt; another error as it is."""
    if error.code != "F104":
        return error
    return NetcError("P103", error.message, Place(name), "weights belong in a .caffemodel, not in the prototxt")


def _sibling_hint(name: str) -> str | None:
    folder = os.path.dirname(name)
    if not os.path.isdir(folder or "."):
        return f"the folder {folder} does not exist either"
    near = nearest_path(name)
    return f"did you mean {near}?" if near else None
