"""Which bracket is one too many, and which block lacks its own: judged by nesting and by indentation."""

from __future__ import annotations

import re

from netc.errors import NetcError
from netc.prototxt.source import Source

BRACKETS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*|[{}<>]')
"""Strings and comments (to be skipped) and brackets."""


def bracket_hint(source: Source, offset: int, token: str) -> str | None:
    """The remedy for a closing bracket that does not fit at `offset`."""
    stack, last = _open_brackets(source.text[:offset])
    if not stack:
        if last is None:
            return "no block is open here"
        begin, end = (source.place(spot).line for spot in last)
        return f'one "{token}" too many: the block opened on line {begin} is closed on line {end} already'
    opening = stack[-1]
    if (source.text[opening] == "{") != (token == "}"):
        closing = ">" if source.text[opening] == "<" else "}"
        return (
            f'the block opened on line {source.place(opening).line} with "{source.text[opening]}" ends with "{closing}"'
        )
    return None


def _open_brackets(text: str) -> tuple[list[int], tuple[int, int] | None]:
    """Offsets of the brackets still open at the end of `text`, and (opening, closing) of the last closed block."""
    stack: list[int] = []
    last = None
    for match in BRACKETS.finditer(text):
        if match.group() in ("{", "<"):
            stack.append(match.start())
        elif match.group() in ("}", ">") and stack:
            last = (stack.pop(), match.start())
    return stack, last


def unclosed(source: Source) -> NetcError:
    """The file ended inside a block: point at the block that most likely lacks its bracket."""
    stack, _ = _open_brackets(source.text)
    if not stack:
        end = source.place(max(len(source.text.rstrip()) - 1, 0))
        return NetcError("P101", "the file ends where a value should follow", end)
    suspect = _misindented(source)
    offset = stack[-1] if suspect is None else suspect
    opening, closing = source.place(offset), "}" if source.text[offset] == "{" else ">"
    hint = None if suspect is None else "judged by the indentation; the blocks around it are closed"
    return NetcError("P101", f'this block is never closed: the file ends without its "{closing}"', opening, hint)


def _misindented(source: Source) -> int | None:
    """The first block that closes on a line indented less than the one it was opened on, or that is still open where a
    line of its own indentation opens another."""
    stack: list[int] = []
    for match in BRACKETS.finditer(source.text):
        char, offset = match.group(), match.start()
        if char in ("{", "<"):
            if stack and _starts_line(source, offset) and _indent(source, offset) <= _indent(source, stack[-1]):
                return stack[-1]
            stack.append(offset)
        elif char in ("}", ">") and stack:
            opening = stack.pop()
            if _starts_line(source, offset) and _indent(source, offset) < _indent(source, opening):
                return opening
    return None


def _starts_line(source: Source, offset: int) -> bool:
    """Is this bracket (with the name before it, if any) the first thing on its line?"""
    place = source.place(offset)
    return re.fullmatch(r"\s*(?:\w+\s*:?\s*)?", place.text[: place.column - 1]) is not None


def _indent(source: Source, offset: int) -> int:
    text = source.place(offset).text
    return len(text) - len(text.lstrip())
