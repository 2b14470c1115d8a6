"""A prototxt as it lies on the page: fields with their comments, blank lines, and what stood on one line.

The syntax tree (`netc.prototxt.ast`) is what a file means; this is what it looks like, for those who write it anew
(`netc.prototxt.tidy`). It is read from text that parses, and checks nothing itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from netc.prototxt.parse import parse
from netc.prototxt.source import Source

BLANK_LINE = ""
"""Stands for a blank line among comments."""


@dataclass(slots=True)
class Node:
    """A field, an item of a list (`name` is ""), or the file itself (a block without a name)."""

    name: str
    offset: int = 0
    """Where it begins in the text; `value_at`: where its value does."""

    value_at: int = 0
    kind: str = "block"
    """ "scalar", "block" or "list"."""

    value: list[str] = field(default_factory=list)
    """A scalar, as written, in as many lines as its adjacent strings took."""

    items: list[Node] = field(default_factory=list)
    one_line: bool = False
    """A block or list that was written on one line."""

    above: list[str] = field(default_factory=list)
    """Comments and blank lines on the lines above."""

    opening: str = ""
    """The comment after the opening bracket."""

    below: list[str] = field(default_factory=list)
    """Comments and blank lines between the last item and the closing bracket."""

    beside: str = ""
    """The comment at the end of the last line."""

    def walk(self) -> Iterator[Node]:
        """This node and all in it, in the order of the text."""
        yield self
        for item in self.items:
            yield from item.walk()

    def comments(self) -> list[str]:
        """Every comment of this node and of all in it."""
        found = [line for line in (*self.above, self.opening) if line]
        found += filter(None, map(comment_in, self.value))
        for item in self.items:
            found += item.comments()
        return found + [line for line in (*self.below, self.beside) if line]


def layout(source: Source) -> Node:
    """The layout of a file. Raises NetcError as `netc.prototxt.parse`."""
    parse(source)
    return _Reader(source.text).file()


class _Trivia(NamedTuple):
    """What lies between two tokens: the comment on the same line, then the lines below (comments and blank ones)."""

    beside: str
    lines: list[str]

    def comments(self) -> list[str]:
        return [line for line in (self.beside, *self.lines) if line]


_SPACE = re.compile(r"[ \t\r\v\f]*")
STRING = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""")
_TOKEN = re.compile(STRING.pattern + r"""|[{}<>\[\]:,;-]|[^\s{}<>\[\]:,;#"'-][^\s{}<>\[\]:,;#"']*""")
_OPENING, _CLOSING = ("{", "<", "["), ("}", ">", "]", "")


def comment_in(line: str) -> str:
    """The comment in a line of a scalar's value, "" for none."""
    bare = STRING.sub(lambda match: " " * len(match.group()), line)
    at = bare.find("#")
    return line[at:] if at >= 0 else ""


class _Reader:
    """Goes through the tokens of a text that has been parsed, so that none can be where it should not."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0

    def file(self) -> Node:
        root = Node("")
        self.items(root, self.trivia("blank").lines)
        return root

    def items(self, node: Node, pending: list[str]) -> None:
        """All up to the closing bracket. `pending`: the comments and blank lines above the first."""
        while self.peek() not in _CLOSING:
            item, inner = self.field() if node.kind == "block" else self.bare(self.at, "")
            after = self.trivia()
            if self.peek() in (",", ";"):
                self.take()
                after = _joined(after, self.trivia())
            if inner and not after.beside:
                after = _Trivia(inner.pop(), after.lines)
            item.above = [*pending, *inner, *item.above]
            item.beside, pending = after
            node.items.append(item)
        node.below = pending

    def field(self) -> tuple[Node, list[str]]:
        """A field, and the comments inside it that have no place there."""
        start, name = self.at, self.take()
        inner = self.trivia().comments()
        if self.peek() == ":":
            self.take()
            inner += self.trivia().comments()
        node, more = self.bare(start, name)
        if node.kind != "scalar" and inner:  # between the name and its bracket
            node.opening = node.opening or inner.pop()
            node.above, inner = inner, []
        return node, inner + more

    def bare(self, start: int, name: str) -> tuple[Node, list[str]]:
        """A value."""
        if self.peek() not in _OPENING:
            node = Node(name, start, self.at, "scalar")
            node.value, inner = self.scalar()
            return node, inner
        node = Node(name, start, self.at, "list" if self.take() == "[" else "block")
        node.opening, first = self.trivia()
        self.items(node, first)
        self.take()
        node.one_line = "\n" not in self.text[start : self.at]
        return node, []

    def scalar(self) -> tuple[list[str], list[str]]:
        token = self.take()
        if token == "-":
            inner = self.trivia().comments()
            return [token + self.take()], inner
        lines = [token]
        while token[0] in "\"'":
            back = self.at
            between = self.trivia()
            if self.peek()[:1] not in ('"', "'"):
                self.at = back
                break
            if "\n" in self.text[back : self.at]:
                lines[-1] += f"  {between.beside}" if between.beside else ""
                lines += [*filter(None, between.lines), self.take()]
            else:
                lines[-1] += f" {self.take()}"
        return lines, []

    # -- tokens --------------------------------------------------------------------------------------------------------

    def peek(self) -> str:
        match = _TOKEN.match(self.text, self.at)
        return match.group() if match else ""

    def take(self) -> str:
        token = self.peek()
        self.at += len(token)
        return token

    def trivia(self, line: str = "token") -> _Trivia:
        """Step over blanks and comments. `line`: what the current line holds so far ("token", "comment", "blank")."""
        beside, lines = "", []
        while True:
            self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            char = self.text[self.at : self.at + 1]
            if char == "\n":
                lines += [BLANK_LINE] if line == "blank" else []
                self.at, line = self.at + 1, "blank"
            elif char == "#":
                end = self.text.find("\n", self.at)
                comment = self.text[self.at : end if end >= 0 else None].rstrip()
                if line == "token":
                    beside = comment
                else:
                    lines.append(comment)
                self.at, line = end if end >= 0 else len(self.text), "comment"
            else:
                return _Trivia(beside, lines)


def _joined(before: _Trivia, after: _Trivia) -> _Trivia:
    """What lies before and after a separator, as if the separator were not there."""
    if before.beside or before.comments() or not after.beside:
        extra = [after.beside] if after.beside else []
        return _Trivia(before.beside, [*before.lines, *extra, *after.lines])
    return _Trivia(after.beside, after.lines)
