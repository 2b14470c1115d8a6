"""Text → syntax tree (:mod:`netc.prototxt.ast`), by the grammar in prototxt.lark.

The tree is built while the text is parsed (the transformer is inlined), so depth never meets Python's stack; depth,
size and count are limited before that.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args

from netc.errors import NetcError, raise_all
from netc.prototxt.ast import Field, Message, Scalar
from netc.prototxt.source import MAX_BYTES, Source

MAX_DEPTH = 100
"""Deepest nesting; protobuf's own limit for binary messages."""

MAX_FIELDS = 400_000
"""Most fields in one file; the largest net in the wild has 20,000."""

MAX_ERRORS = 20
"""Syntax errors reported for one file; after that they mostly repeat the first."""

_PAIR = re.compile(r"(\w+)[ \t]*:[ \t]*(.*)", re.DOTALL)


def parse(source: Source) -> Message:
    """Parse a whole file.

    Raises NetcError P101 (syntax; all errors of the file at once), P102 (nested too deeply), P103 (too long),
    P104 (too many fields), P105 (not a prototxt at all: a web page, a binary file).
    """
    _check_kind(source)
    _check_limits(source)
    errors: list[NetcError] = []
    tree = _lark().parse(source.text, on_error=lambda error: _recover(source, errors, error))
    raise_all(errors)
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

    def list(self, *values: Scalar | Message) -> list[Scalar | Message]:
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
        raise NetcError("P105", "this is a web page, not a prototxt", source.place(0, 1),
                        "it was saved from a browser's view of the file; download the raw file instead")
    if "\0" in head:
        raise NetcError("P105", "this is a binary file, not a prototxt", source.place(0, 1),
                        "weights (.caffemodel) go to --weights; a prototxt is text")


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


def _recover(source: Source, errors: list[NetcError], error: UnexpectedInput) -> bool:
    """Note the error and let lark drop the offending token; one report a line, and none that only echoes."""
    offset = error.pos_in_stream if error.pos_in_stream is not None else len(source.text)
    found = _describe(source, error, min(offset, len(source.text)))
    if not errors or found.line > errors[-1].line + 1:
        errors.append(found)
    at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
    if at_end or len(errors) >= MAX_ERRORS:
        raise_all(errors)
    return True


def _describe(source: Source, error: UnexpectedInput, offset: int) -> NetcError:
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return _unclosed(source)
    if isinstance(error, UnexpectedToken):
        token = str(error.token)
        return NetcError("P101", f"{_expected(error.accepts or error.expected)}, found {token.strip()[:40]!r}",
                         source.place(offset, len(token)), _hint(source, offset, token))
    assert isinstance(error, UnexpectedCharacters)
    char = source.text[offset : offset + 1]
    return NetcError("P101", _bad_character(source, offset, char), source.place(offset), _hint(source, offset, char))


_TOKENS = {"NAME": "a field name", "PAIR": "", "OPEN_BRACE": "", "OPEN_ANGLE": "", "RBRACE": '"}"', "MORETHAN": '">"',
           "COLON": '":"', "LBRACE": '"{"', "LANGLE": '"<"', "LSQB": '"["', "RSQB": '"]"', "COMMA": '","',
           "NUMBER": "a number", "STRING": "a string", "MINUS": "", "_SEP": "", "$END": "the end of the file"}


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
            return f'the block opened at line {source.place(opening).line} with "{source.text[opening]}" must close alike'
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
    """The file ended inside a block. The likeliest culprit is a block whose content is followed by a line that is
    indented no deeper than the block's own line."""
    stack = _open_brackets(source.text)
    if not stack:
        return NetcError("P101", "the file ends where a value should follow", source.place(max(len(source.text) - 1, 0)))
    opening = source.place(_suspect(source, stack))
    name = opening.text.strip()
    return NetcError("P101", f'the file ends, but the block opened here is not closed: missing "}}"', opening,
                     f'`{name[:60]}` looks unfinished: the next block starts at the same indentation')


def _suspect(source: Source, stack: list[int]) -> int:
    """The first still-open block that is directly followed, one level in, by a line of the block's own indentation."""
    for outer, inner in zip(stack, stack[1:], strict=False):
        if _indent(source, inner) <= _indent(source, outer):
            return outer
    return stack[-1]


def _indent(source: Source, offset: int) -> int:
    text = source.place(offset).text
    return len(text) - len(text.lstrip())
