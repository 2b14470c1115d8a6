"""Functions and classes that emitted files carry with them, where torch has no call with Caffe's meaning.

The files of this folder hold them as ordinary Python, checked like all of netc; they are read as text and never
imported (they need torch). `needed` picks what some code uses, and what that uses in turn.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Helper:
    """A function or class: its text, and the names that the text uses."""

    name: str
    text: str
    uses: frozenset[str]


@cache
def helpers() -> dict[str, Helper]:
    """Name → helper, in the order of the files."""
    found: dict[str, Helper] = {}
    for path in sorted(FOLDER.glob("_[a-z]*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name not in found, f"two helpers are called {node.name}"
                found[node.name] = Helper(node.name, _source(text, node), names_in(node))
    return found


def _source(text: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    first = min([node.lineno, *[decorator.lineno for decorator in node.decorator_list]])
    lines = text.splitlines()[first - 1 : node.end_lineno]
    return "\n".join(line.partition("  # type: ignore")[0] for line in lines)


def names_in(tree: ast.AST) -> frozenset[str]:
    """The names that some code reads."""
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def needed(code: str) -> list[Helper]:
    """The helpers that `code` calls, directly or through others, in the order of the files."""
    table = helpers()
    wanted: set[str] = set()
    waiting = [name for name in names_in(ast.parse(code)) if name in table]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [other for other in table[name].uses if other in table]
    return [helper for name, helper in table.items() if name in wanted]
