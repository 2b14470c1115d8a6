"""Python source as text: literals, identifiers, comments that cannot end where they should not, and lines that fit.

Nothing of a prototxt reaches the source but through these functions: a name may hold quotes, line ends or code.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator

from netc.errors import printable
from netc.layers.base import Shape
from netc.layers.code import tuple_of

WIDTH = 120
MAX_NAME = 60
INDENT = "    "


def shape_text(shape: Shape) -> str:
    return tuple_of(shape) if shape else "scalar"


def is_attribute(name: str) -> bool:
    """Whether `self.name` in a class body finds the module of exactly that name (no keyword, no mangling, no NFKC)."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")


def identifier(text: str, otherwise: str = "value") -> str:
    """The nearest ASCII identifier to `text`."""
    name = re.sub(r"[^0-9A-Za-z_]+", "_", text).strip("_")
    if not name:
        return otherwise
    name = name[:MAX_NAME]
    if name[0].isdigit():
        name = f"{otherwise}_{name}"
    return f"{name}_" if keyword.iskeyword(name) or keyword.issoftkeyword(name) else name


def class_name(text: str) -> str:
    """A class name in CapWords from a net's name ("vgg_E" → VggE, "ResNet-50" → ResNet50)."""
    words = re.findall(r"[0-9A-Za-z]+", text)
    name = "".join(word[0].upper() + word[1:] for word in words)
    name = f"Net{name}" if name[:1].isdigit() else name[:MAX_NAME]
    return "Net" if not name or keyword.iskeyword(name) else name


def shown(text: str, limit: int = 60) -> str:
    """`text` for a comment: one line of printable characters, the middle of a long one left out."""
    line = printable(text)
    return line if len(line) <= limit else f"{line[: limit // 2]}…{line[-limit // 2 + 1 :]}"


def docstring(text: str) -> str:
    """`text` for the inside of a docstring."""
    return text.replace("\\", "\\\\").replace('"', "'")


# -- lines -------------------------------------------------------------------------------------------------------------


def laid_out(code: str, depth: int, comment: str = "") -> list[str]:
    """A statement as lines that fit, in the form that formatters keep; the comment behind it, or above where long."""
    indent = INDENT * depth
    line = indent + code
    if comment and len(line) + 4 + len(comment) <= WIDTH:
        return [f"{line}  # {comment}"]
    lines = [line] if len(line) <= WIDTH else _split(code, depth)
    return ([checked(f"{indent}# {comment}")] if comment else []) + [checked(line) for line in lines]


def checked(line: str) -> str:
    return line if len(line) <= WIDTH else f"{line}  # noqa: E501"


def _split(code: str, depth: int, tail: str = "") -> list[str]:
    """`code` over several lines: its last bracket opened, or a chain of operators in brackets of its own."""
    indent, deeper = INDENT * depth, INDENT * (depth + 1)
    operands = _operands(code)
    if operands:
        head, parts = operands
        return [f"{indent}{head}(", *[deeper + part for part in parts], f"{indent}){tail}"]
    span = _last_bracket(code)
    if span is None:
        return _in_brackets(code, depth, tail)
    opening, closing = span
    head, body, end = code[: opening + 1], code[opening + 1 : closing], code[closing:]
    if not body:
        return [indent + code + tail]
    is_call = code[opening] == "(" and re.search(r"[\w\])]$", code[:opening])
    if is_call and len(deeper + body) <= WIDTH and not body.endswith(","):
        return [indent + head, deeper + body, indent + end + tail]
    return [indent + head, *_items(body, depth + 1), indent + end + tail]


def _in_brackets(code: str, depth: int, tail: str) -> list[str]:
    """A right side without brackets of its own, in a pair of its own."""
    indent, (target, *value) = INDENT * depth, _top_level(code, " = ")
    if not value:
        return [indent + code + tail]
    return [f"{indent}{target} = (", f"{indent}{INDENT}{' = '.join(value)}", f"{indent}){tail}"]


def _items(body: str, depth: int) -> Iterator[str]:
    """The items of a bracket, one a line."""
    for item in _top_level(body, ", "):
        item = item.rstrip(",")
        line = f"{INDENT * depth}{item},"
        if len(line) <= WIDTH:
            yield line
        else:
            yield from _split(item, depth, ",")


def _operands(code: str) -> tuple[str, list[str]] | None:
    """(text before, operands each with its operator in front) of a chain of + at the top level."""
    start = re.match(r"(?:return |[\w, ]+ = )?", code)
    assert start is not None
    head, chain = code[: start.end()], code[start.end() :]
    parts = _top_level(chain, " + ")
    return (head, [parts[0], *[f"+ {part}" for part in parts[1:]]]) if len(parts) > 1 else None


def _top_level(code: str, separator: str) -> list[str]:
    """`code` cut at the separators that stand in no bracket and no string."""
    parts, start = [], 0
    for index, level in _levels(code):
        if level == 0 and code.startswith(separator, index):
            parts.append(code[start:index])
            start = index + len(separator)
    return [*parts, code[start:]]


def _last_bracket(code: str) -> tuple[int, int] | None:
    """Opening and closing position of the last bracket at the top level that is not an index."""
    opening, found, before = 0, None, 0
    for index, level in _levels(code):
        if level == 1 and before == 0:
            opening = index
        if level == 0 and before == 1 and not re.search(r"[\w\])]\[$", code[: opening + 1]):
            found = (opening, index)
        before = level
    return found


def _levels(code: str) -> Iterator[tuple[int, int]]:
    """(position, depth of brackets there, an opening one counted) of each character outside strings."""
    level, quote, index = 0, "", 0
    while index < len(code):
        char = code[index]
        if quote:
            index += char == "\\"
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        else:
            level += (char in "([{") - (char in ")]}")
            yield index, level
        index += 1
