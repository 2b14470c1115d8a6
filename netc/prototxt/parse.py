"""Text → syntax tree (:mod:`netc.prototxt.ast`), within limits of depth, size and count.

lark is imported where the first text is parsed: a net in a weight file is none.
"""

from __future__ import annotations

import re
from itertools import accumulate

from netc.errors import NetcError, Place, raise_all
from netc.prototxt.ast import Message
from netc.prototxt.brackets import BRACKETS
from netc.prototxt.diagnose import foreign, syntax_errors, unresolved
from netc.prototxt.source import MAX_BYTES, MAX_FIELDS, Source

MAX_DEPTH = 100
"""Deepest nesting; protobuf's own limit for binary messages."""


def parse(source: Source) -> Message:
    """Parse a whole file.

    Raises NetcError P101 (syntax; all errors of the file at once), P102 (nested too deeply), P103 (too long),
    P104 (too many fields), P105 (not a prototxt at all: a web page, a binary file), P107 (a comment that takes lines in
    which end by a carriage return alone).
    """
    raise_all(foreign(source))
    _check_limits(source)
    _check_comments(source)
    from lark import UnexpectedInput

    from netc.prototxt.grammar import parser

    try:
        tree = parser().parse(source.text)
    except UnexpectedInput as error:
        raise_all(syntax_errors(source, error, parser().parse))
        raise
    assert isinstance(tree, Message)
    return tree


# -- limits ------------------------------------------------------------------------------------------------------------


_BRACKET = re.compile("[{}<>]")
_STEP = {"{": 1, "<": 1, "}": -1, ">": -1}


def _check_limits(source: Source) -> None:
    if len(source.text) > MAX_BYTES:
        raise NetcError(
            "P103", f"the text is {len(source.text):,} characters; {MAX_BYTES:,} are read", Place(source.path)
        )
    text = source.text
    if max(accumulate(map(_STEP.__getitem__, _BRACKET.findall(text))), default=0) > MAX_DEPTH:
        _check_depth(source)  # which knows brackets from those in strings and comments
    halves = sum(map(text.count, ":<,{{")) + (text.count('"') + text.count("'")) // 2
    if halves > 2 * MAX_FIELDS:  # a colon and its string are one field, and a block costs as much as two numbers
        raise NetcError(
            "P104", f"more than {MAX_FIELDS:,} fields", Place(source.path), "weights belong in a .caffemodel"
        )


def _check_comments(source: Source) -> None:
    """A carriage return alone is white space, in Caffe as here, and does not end a comment: in a file of the old Mac's
    line ends, the first comment would silently be all there is."""
    if not _LONE_RETURN.search(source.text):
        return
    for match in BRACKETS.finditer(source.text):
        if match.group()[0] == "#" and "\r" in match.group().rstrip("\r \t"):
            message = "a carriage return does not end this comment: what follows would not count"
            hint = "save the file with line feeds: tr '\\r' '\\n' < FILE > NEW"
            raise NetcError("P107", message, source.place(match.start()), hint)


_LONE_RETURN = re.compile(r"\r(?!\n)")


def _check_depth(source: Source) -> None:
    depth = 0
    for match in BRACKETS.finditer(source.text):
        char = match.group()
        depth += _STEP.get(char, 0)
        if depth > MAX_DEPTH:
            raise_all(unresolved(source))
            raise NetcError("P102", f"nested more than {MAX_DEPTH} levels deep", source.place(match.start()))
