"""Text → syntax tree (:mod:`netc.prototxt.ast`), by the grammar in prototxt.lark.

The tree is built while the text is parsed (the transformer is inlined), so depth never meets Python's stack; depth,
size and count are limited before that.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from itertools import accumulate
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedInput, v_args

from netc.errors import NetcError, Place, raise_all
from netc.prototxt.ast import FieldNode, Message, Scalar
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
    try:
        tree = _lark().parse(source.text)
    except UnexpectedInput as error:
        raise_all(syntax_errors(source, error, _lark().parse))
        raise
    assert isinstance(tree, Message)
    return tree


@v_args(inline=True)
class _Build(Transformer[Token, Message]):
    """One method a grammar rule; lark calls it with the rule's children as soon as the rule is reduced."""

    def start(self, *rest: Any) -> Message:
        return Message(_flat(rest))

    def PLAIN(self, token: Token) -> list[FieldNode]:
        return _plain_fields(token, token.start_pos or 0)

    def message(self, opening: Token, *rest: Any) -> Message:
        return Message(_flat(rest), opening.start_pos or 0)

    def list_value(self, *values: Scalar | Message) -> list[Scalar | Message]:
        return [*values]

    def scalar_field(self, name: Token, value: Scalar) -> FieldNode:
        return FieldNode(str(name), value, name.start_pos or 0)

    def message_field(self, name: Token, *rest: Any) -> FieldNode:
        return FieldNode(str(name), rest[-1], name.start_pos or 0, colon=len(rest) > 1)

    def list_field(self, name: Token, *rest: Any) -> FieldNode:
        return FieldNode(str(name), rest[-1], name.start_pos or 0, colon=len(rest) > 1)

    def number(self, *tokens: Token) -> Scalar:
        return Scalar("number", "".join(tokens), tokens[0].start_pos or 0)

    def name(self, *tokens: Token) -> Scalar:
        return Scalar("name", "".join(tokens), tokens[0].start_pos or 0)

    def string(self, *tokens: Token) -> Scalar:
        return Scalar("string", " ".join(tokens), tokens[0].start_pos or 0)


def _flat(items: tuple[FieldNode | list[FieldNode], ...]) -> list[FieldNode]:
    fields: list[FieldNode] = []
    for item in items:
        if isinstance(item, list):
            fields += item
        else:
            fields.append(item)
    return fields


_ITEM = re.compile(
    r"""(\w+)[ \t]*(:?)[ \t]*
        (?: (\{) | ("[^"]*"|'[^']*') | (-?[.0-9][^\s}>,;#]*) | ([^\s}>,;#]+) )
        | (\}) | \#[^\n]*""",
    re.VERBOSE,
)
"""One step through a PLAIN token, whose form the grammar has checked: a pair or an opening, a closing, a comment."""
_OPENING, _CLOSING = 3, 7
_KINDS = {4: "string", 5: "number", 6: "name"}


def _plain_fields(text: str, start: int) -> list[FieldNode]:
    """The fields of a PLAIN token that stands at `start`."""
    fields: list[FieldNode] = []
    outer: list[list[FieldNode]] = []
    for match in _ITEM.finditer(text):
        group = match.lastindex
        if group == _OPENING:
            block = Message([], start + match.start(_OPENING))
            fields.append(FieldNode(match[1], block, start + match.start(), bool(match[2])))
            outer.append(fields)
            fields = block.fields
        elif group == _CLOSING:
            fields = outer.pop()
        elif group is not None:
            value = Scalar(_KINDS[group], match[group], start + match.start(group))
            fields.append(FieldNode(match[1], value, start + match.start()))
    return fields


@cache
def _lark() -> Lark:
    grammar = resources.files("netc.prototxt").joinpath("prototxt.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=_Build())


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
