"""The lines of a text file that a user made: a list of pictures or of HDF5 files, names of classes, a window file.

Such files come from any editor and any system: with the line ends of Unix, Windows or an old Mac, with a byte-order
mark, as UTF-8, as UTF-16 (Windows' "Unicode"), or in bytes that are neither.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator

from netc.errors import NetcError, Place
from netc.files.opening import read_bytes

MOST_BYTES = 1 << 30
"""A list of 15 million pictures has less; each of its lines takes more memory than disk."""

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_LINE = re.compile(r"[^\r\n]+")
_END = re.compile(r"\r\n?|\n")


def read_text(path: str, what: str, most: int = MOST_BYTES) -> str:
    """The text of a file that is `what` (a list of pictures, …) of at most `most` bytes, without byte-order mark; bytes
    that are not UTF-8 stay as os.fsdecode keeps them, so that they name the same file.

    Raises NetcError X120 (cannot be read), F102, F104 (netc.files.opening), D531 (not a text file).
    """
    try:
        content = read_bytes(path, most)
    except OSError as error:
        raise NetcError("X120", f"the {what} {path} cannot be read: {error.strerror}", Place(path)) from None
    if content.startswith(_WIDE):
        return content.decode("utf-16", "replace")
    if b"\0" in content or _is_hdf5(content):
        raise _not_text(path, what, content)
    return os.fsdecode(content.removeprefix(codecs.BOM_UTF8))


def numbered(text: str) -> Iterator[tuple[int, str]]:
    """(number from 1, line) of every line that is not blank, without the blanks at its ends."""
    number, end = 1, 0
    for found in _LINE.finditer(text):
        number += _ends(text, end, found.start())
        end = found.end()
        if line := found[0].strip(" \t\f\v"):
            yield number, line


def _ends(text: str, start: int, stop: int) -> int:
    """How many lines end between two places that have nothing but line ends between them."""
    between = text[start:stop]
    return 1 if between == "\n" else len(_END.findall(between))


def _is_hdf5(content: bytes) -> bool:
    """Something of the user's own may stand in front, as in MATLAB's .mat files."""
    return any(content.startswith(_HDF5, at) for at in (0, 512, 1024, 2048))


def _not_text(path: str, what: str, content: bytes) -> NetcError:
    place = Place(path)
    if _is_hdf5(content):
        message = f"{path} is an HDF5 file itself, where a {what} is asked for"
        return NetcError("D531", message, place, f"write the line {path} into a text file, and name that as source")
    message = f"{path} is not a {what}: it holds bytes that no text has"
    return NetcError("D531", message, place, "it should be plain text")
