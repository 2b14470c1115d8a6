"""The functions and classes that emitted code carries with it, read as text: those of netc.layers.functions, which
`forward` calls as well, and a plug-in's own. `needed` picks what some code uses, and what that uses in turn."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from netc.errors import NetcError, Place, raise_all
from netc.layers import functions

FOLDER = Path(functions.__file__).parent
HAVE = frozenset({*dir(builtins), "torch", "F", "nn", "Tensor", "math", "Callable", "Any"})
"""Names that mean something in any emitted file."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function or class: its text, and the names that the text uses."""

    name: str
    text: str
    uses: frozenset[str]
    place: Place


@cache
def table(plugins: frozenset[str] = frozenset()) -> Mapping[str, Function]:
    """Name → function, in the order of the files; `plugins`: files whose top-level functions belong to it.

    Raises NetcError L392 where a plug-in's function has the name of one of netc's.
    """
    found: dict[str, Function] = {}
    for path in (*sorted(FOLDER.glob("[a-z]*.py")), *map(Path, sorted(plugins))):
        for function in _functions(path):
            if function.name in found and path.parent != FOLDER:
                message = f'the plug-in\'s "{function.name}" has the name of a function of netc that emitted code uses'
                raise NetcError("L392", message, Place(str(path)), "give it another name")
            found.setdefault(function.name, function)
    return found


def _functions(path: Path) -> Iterable[Function]:
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not _is_layer(node):
            place = Place(str(path), node.lineno, node.col_offset + 1, 1, text.splitlines()[node.lineno - 1])
            yield Function(node.name, _source(text, node), names_in(node) - _own(node), place)


def _is_layer(node: ast.FunctionDef | ast.ClassDef) -> bool:
    """Whether it is a plug-in's layer class, `@layer("Type")`, rather than something that emitted code calls."""
    calls = [decorator.func for decorator in node.decorator_list if isinstance(decorator, ast.Call)]
    return any(isinstance(call, ast.Name) and call.id == "layer" for call in calls)


def _source(text: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    first = min([node.lineno, *[decorator.lineno for decorator in node.decorator_list]])
    lines = text.splitlines()[first - 1 : node.end_lineno]
    return "\n".join(line.partition("  # type: ignore")[0] for line in lines)


def _own(tree: ast.AST) -> frozenset[str]:
    """The names of arguments and variables: a function of such a name is not what is meant."""
    return frozenset(name for node in ast.walk(tree) if (name := _bound(node)))


def _bound(node: ast.AST) -> str | None:
    """The name that this piece of code gives a meaning to."""
    match node:
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.ExceptHandler(name=name):
            return name
        case ast.alias(name=name, asname=other):
            return other or name.partition(".")[0]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
    return None


def names_in(tree: ast.AST) -> frozenset[str]:
    """The names that some code reads."""
    return frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def needed(code: str, known: Mapping[str, Function]) -> list[Function]:
    """The functions that `code` calls, directly or through others, in the order of the table."""
    wanted: set[str] = set()
    waiting = [name for name in names_in(ast.parse(code)) if name in known]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += [other for other in known[name].uses if other in known]
    chosen = [function for name, function in known.items() if name in wanted]
    raise_all([error for function in chosen if (error := _incomplete(function, known))])
    return chosen


def _incomplete(function: Function, known: Mapping[str, Function]) -> NetcError | None:
    """A function that reads what stands in its file outside functions and classes is not complete by itself."""
    missing = sorted(function.uses - known.keys() - HAVE)
    if not missing:
        return None
    message = f'the function "{function.name}" cannot be copied into emitted code: it reads {", ".join(missing)}'
    hint = "a copied function has torch, F, nn, math and other functions; give it the rest as arguments"
    return NetcError("L393", message, function.place, hint)
