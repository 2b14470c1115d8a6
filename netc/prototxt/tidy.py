"""A layout → text in canonical form: what `netc fmt` and `netc upgrade` write. The rules: docs/prototxt.md.

One field a line, two blanks a level, `name: value` and `name { … }`, strings in double quotes, no separators. The order
of the fields, the comments and the way numbers are written stay, and of blank lines one. A block that was written on
one line stays on one line where it fits; so does a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netc.prototxt.layout import BLANK_LINE, STRING, Node

WIDTH = 120
"""Longest line that a block or list may take without its comment."""


def tidy(root: Node) -> str:
    """The text of a file's layout. Tidying it again changes nothing."""
    return "".join(f"{line}\n" for line in _inside(root, ""))


def _inside(node: Node, indent: str) -> Iterator[str]:
    for number, item in enumerate(node.items):
        yield from _lines(item.above, indent, first=not number)
        comma = "," if node.kind == "list" and item is not node.items[-1] else ""
        yield from _item(item, indent, comma)
    yield from _lines(node.below, indent, first=not node.items, last=True)


def _lines(lines: Sequence[str], indent: str, first: bool, last: bool = False) -> Iterator[str]:
    """Comments and blank lines: no two blank ones in a row, none at the beginning or end of a block."""
    blank = False
    written = not first
    for line in lines:
        if line == BLANK_LINE:
            blank = written
            continue
        if blank:
            yield BLANK_LINE
        yield indent + line
        blank, written = False, True
    if blank and not last:
        yield BLANK_LINE


def _item(node: Node, indent: str, comma: str) -> Iterator[str]:
    end = f"{comma}  {node.beside}" if node.beside else comma
    head = f"{node.name}: " if node.name and node.kind != "block" else f"{node.name} ".lstrip()
    if node.kind == "scalar":
        first, *rest = map(_normal, node.value)
        lines = [indent + head + first, *(f"{indent}    {line}" for line in rest)]
        yield from (*lines[:-1], lines[-1] + end)
    elif (flat := _flat(node)) is not None and len(indent) + len(flat) + len(comma) <= WIDTH:
        yield indent + flat + end
    else:
        opening, closing = "{}" if node.kind == "block" else "[]"
        yield indent + head + opening + (f"  {node.opening}" if node.opening else "")
        yield from _inside(node, f"{indent}  ")
        yield indent + closing + end


def _flat(node: Node) -> str | None:
    """A block, list or scalar on one line; None where it was not on one, or has a comment in it."""
    if node.kind == "scalar":
        text = _normal(node.value[0])
        return (f"{node.name}: {text}" if node.name else text) if len(node.value) == 1 else None
    empty = not node.items and not any(node.below) and not node.opening
    if not (node.one_line or empty):
        return None
    parts = [_flat(item) for item in node.items]
    if node.opening or any(node.below) or None in parts or any(any(i.above) or i.beside for i in node.items):
        return None
    if node.kind == "list":
        return f"{node.name}: [{', '.join(filter(None, parts))}]"
    return f"{node.name} {{ {' '.join(filter(None, parts))} }}".lstrip() if parts else f"{node.name} {{}}".lstrip()


def _normal(line: str) -> str:
    """A line of a scalar: strings in double quotes where that needs no escape."""
    if "'" not in line or "#" in line:
        return line
    return " ".join(map(_double_quoted, STRING.findall(line)))


def _double_quoted(literal: str) -> str:
    body = literal[1:-1]
    return f'"{body}"' if literal[0] == "'" and '"' not in body and "\\" not in body else literal
