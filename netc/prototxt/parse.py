"""Text → syntax tree (:mod:`netc.prototxt.ast`), by the grammar in prototxt.lark.

The tree is built while the text is parsed (the transformer is inlined), so depth never meets Python's stack; depth,
size and count are limited before that.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cache
from importlib import resources
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args

from netc.errors import NetcError, raise_all
from netc.prototxt.ast import Field, Message, Scalar
from netc.prototxt.source import MAX_BYTES, Source

MAX_DEPTH = 100
"""Deepest nesting; protobuf's own limit for binary messages."""

MAX_FIELDS = 400_000
"""Most fields in one file; the largest net in the wild has 20,000."""

MAX_ERRORS = 20
"""Most syntax errors reported for one file."""

MAX_RETRIED = 1 << 18
"""Longest text that is parsed again to find its further errors; a longer one gets its first error only."""


def parse(source: Source) -> Message:
    """Parse a whole file.

    Raises NetcError P101 (syntax; all errors of the file at once), P102 (nested too deeply), P103 (too long),
    P104 (too many fields), P105 (not a prototxt at all: a web page, a binary file).
    """
    _check_kind(source)
    _check_limits(source)
    try:
        tree = _lark().parse(source.text)
    except UnexpectedInput as error:
        raise_all(_all_errors(source, error))
        raise
    assert isinstance(tree, Message)
    tree.end = len(source.text)
    return tree


@v_args(inline=True)
class _Build(Transformer[Token, Message]):
    """One method a grammar rule; lark calls it with the rule's children as soon as the rule is reduced."""

    def start(self, *fields: Field) -> Message:
        return Message(list(fields))

    def PAIR(self, token: Token) -> Field:
        text = str(token)
        name, _, rest = text.partition(":")
        value = rest.lstrip(" \t")
        start = token.start_pos or 0
        return Field(name.rstrip(" \t"), Scalar(_kind(value), value, start + len(text) - len(value)), start)

    def braced(self, opening: Token, *rest: Any) -> Field:
        text, start = str(opening), opening.start_pos or 0
        bare = text[:-1].rstrip(" \t")
        name = bare.rstrip(": \t")
        inner = Message(list(rest), start + len(text) - 1)
        return Field(name, inner, start, colon=bare.endswith(":"))

    angled = braced

    def message(self, opening: Token, *fields: Field) -> Message:
        return Message(list(fields), opening.start_pos or 0)

    def list_value(self, *values: Scalar | Message) -> list[Scalar | Message]:
        return [*values]

    def scalar_field(self, name: Token, value: Scalar) -> Field:
        return Field(str(name), value, name.start_pos or 0)

    def message_field(self, name: Token, value: Message) -> Field:
        return Field(str(name), value, name.start_pos or 0, colon=False)

    def list_field(self, name: Token, value: list[Scalar | Message]) -> Field:
        return Field(str(name), value, name.start_pos or 0)

    def number(self, *tokens: Token) -> Scalar:
        return Scalar("number", "".join(tokens), tokens[0].start_pos or 0)

    def name(self, *tokens: Token) -> Scalar:
        return Scalar("name", "".join(tokens), tokens[0].start_pos or 0)

    def string(self, *tokens: Token) -> Scalar:
        return Scalar("string", " ".join(tokens), tokens[0].start_pos or 0)


def _kind(value: str) -> str:
    first = value[1] if value[0] == "-" else value[0]
    if first in "\"'":
        return "string"
    return "number" if first.isdigit() or first == "." else "name"


@cache
def _lark() -> Lark:
    grammar = resources.files("netc.prototxt").joinpath("prototxt.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=_Build())


# -- limits ------------------------------------------------------------------------------------------------------------


def _check_kind(source: Source) -> None:
    head = source.text[:400].lstrip("\ufeff \t\r\n").lower()
    if head.startswith(("<!doctype", "<html", "<?xml")):
        raise NetcError(
            "P105",
            "this is a web page, not a prototxt",
            source.place(0, 1),
            "it was saved from a browser's view of the file; download the raw file instead",
        )
    if "\0" in head:
        raise NetcError(
            "P105",
            "this is a binary file, not a prototxt",
            source.place(0, 1),
            "weights (.caffemodel) go to --weights; a prototxt is text",
        )


_BRACKETS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*|[{}<>]|:')


def _check_limits(source: Source) -> None:
    if len(source.text) > MAX_BYTES:
        raise NetcError("P103", f"the text is {len(source.text):,} characters; {MAX_BYTES:,} are read", source.place(0))
    text = source.text
    if text.count("{") + text.count("<") > MAX_DEPTH:  # the scan below costs a tenth of the parse
        _check_depth(source)
    if text.count(":") + text.count("{") > MAX_FIELDS:
        raise NetcError("P104", f"more than {MAX_FIELDS:,} fields", source.place(0))


def _check_depth(source: Source) -> None:
    depth = 0
    for match in _BRACKETS.finditer(source.text):
        char = match.group()
        depth += (char in ("{", "<")) - (char in ("}", ">"))
        if depth > MAX_DEPTH:
            raise NetcError("P102", f"nested more than {MAX_DEPTH} levels deep", source.place(match.start()))


# -- syntax errors -----------------------------------------------------------------------------------------------------


def _all_errors(source: Source, error: UnexpectedInput) -> list[NetcError]:
    """The error, and those of the other top-level blocks: each block with an error is blanked and the rest parsed
    again (the place of every character stays)."""
    errors = [_describe(source, error)]
    text = source.text
    for _ in range(MAX_ERRORS if len(text) <= MAX_RETRIED else 0):
        text = _blank_block(text, _offset(source, error))
        try:
            _lark().parse(text)
            break
        except UnexpectedInput as next_error:
            if _at_end(next_error) or _offset(source, next_error) <= _offset(source, error):
                break
            error = next_error
            errors.append(_describe(source, error))
    return errors


_BLOCK_START = re.compile(r"^[A-Za-z_]", re.MULTILINE)


def _blank_block(text: str, offset: int) -> str:
    """Blank the unindented line at or above `offset` and everything down to the next unindented line below it."""
    starts = [m.start() for m in _BLOCK_START.finditer(text)]
    row = bisect_right(starts, offset)
    begin = starts[row - 1] if row else 0
    end = starts[row] if row < len(starts) else len(text)
    return text[:begin] + re.sub(r"[^\n]", " ", text[begin:end]) + text[end:]


def _at_end(error: UnexpectedInput) -> bool:
    return isinstance(error, UnexpectedToken) and error.token.type == "$END"


def _offset(source: Source, error: UnexpectedInput) -> int:
    if _at_end(error) or error.pos_in_stream is None:
        return len(source.text)
    return min(error.pos_in_stream, len(source.text))


def _describe(source: Source, error: UnexpectedInput) -> NetcError:
    offset = _offset(source, error)
    if _at_end(error):
        return _unclosed(source)
    if isinstance(error, UnexpectedToken):
        token = str(error.token)
        return NetcError(
            "P101",
            f"{_expected(error.accepts or error.expected)}, found {token.strip()[:40]!r}",
            source.place(offset, len(token)),
            _hint(source, offset, token),
        )
    char = source.text[offset : offset + 1]
    return NetcError("P101", _bad_character(source, offset, char), source.place(offset), _hint(source, offset, char))


_TOKENS = {
    "NAME": "a field name",
    "PAIR": "",
    "OPEN_BRACE": "",
    "OPEN_ANGLE": "",
    "RBRACE": '"}"',
    "MORETHAN": '">"',
    "COLON": '":"',
    "LBRACE": '"{"',
    "LANGLE": '"<"',
    "LSQB": '"["',
    "RSQB": '"]"',
    "COMMA": '","',
    "NUMBER": "a number",
    "STRING": "a string",
    "MINUS": "",
    "_SEP": "",
    "$END": "the end of the file",
}


def _expected(names: set[str]) -> str:
    if {"NUMBER", "STRING", "NAME"} <= names:
        return "expected a value"
    words = sorted({_TOKENS.get(name, name) for name in names} - {""})
    return f"expected {' or '.join(words)}" if words else "unexpected text"


def _bad_character(source: Source, offset: int, char: str) -> str:
    if char in "\"'":
        return "this string is not closed on its line (or has a stray backslash)"
    if source.text[offset : offset + 2] == "//":
        return 'comments start with "#", not "//"'
    if char == "\ufeff":
        return "the file starts with a byte order mark, which Caffe's parser refuses"
    if char.isdigit() or char == ".":
        return "this is not a number Caffe's parser reads (a letter or a dot follows the digits)"
    return f"unexpected character {char!r}"


def _hint(source: Source, offset: int, token: str) -> str | None:
    if token == "\ufeff":
        return "save the file as UTF-8 without BOM"
    if token == "+":
        return "numbers take no plus sign"
    if token in ("}", ">"):
        opening = _innermost_open(source.text[:offset])
        if opening is None:
            return f'there is one "{token}" too many: every block before it is closed'
        if (source.text[opening] == "{") != (token == "}"):
            return (
                f'the block opened at line {source.place(opening).line} with "{source.text[opening]}" must close alike'
            )
    return None


def _open_brackets(text: str) -> list[int]:
    stack: list[int] = []
    for match in _BRACKETS.finditer(text):
        if match.group() in ("{", "<"):
            stack.append(match.start())
        elif match.group() in ("}", ">") and stack:
            stack.pop()
    return stack


def _innermost_open(text: str) -> int | None:
    stack = _open_brackets(text)
    return stack[-1] if stack else None


def _unclosed(source: Source) -> NetcError:
    """The file ended inside a block: point at the block that most likely lacks its bracket."""
    stack = _open_brackets(source.text)
    if not stack:
        return NetcError(
            "P101", "the file ends where a value should follow", source.place(max(len(source.text) - 1, 0))
        )
    suspect = _misindented(source)
    opening = source.place(stack[-1] if suspect is None else suspect)
    name = opening.text.strip()[:60]
    hint = f"by its indentation, `{name}` is the one" if suspect is not None else f"close `{name}`"
    return NetcError("P101", 'the file ends, but the block opened here is not closed: missing "}"', opening, hint)


def _misindented(source: Source) -> int | None:
    """The first block that closes on a line indented less than the one it was opened on, or that is still open where a
    line of its own indentation opens another."""
    stack: list[int] = []
    for match in _BRACKETS.finditer(source.text):
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
