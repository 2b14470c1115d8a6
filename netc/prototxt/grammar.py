"""The grammar in prototxt.lark, as a parser that builds the syntax tree (:mod:`netc.prototxt.ast`).

The tree is built while the text is parsed (the transformer is inlined), so depth never meets Python's stack.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

from lark import Lark, Token, Transformer, v_args

from netc.prototxt.ast import FieldNode, Message, Scalar


@cache
def parser() -> Lark:
    grammar = resources.files("netc.prototxt").joinpath("prototxt.lark").read_text("utf-8")
    return Lark(grammar, parser="lalr", lexer="contextual", transformer=_Build())


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
